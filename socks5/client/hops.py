"""One proxy on the way: where it is, how we log in, and the machine that asks it for what is behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import optionsForClientTLS
from typing_extensions import override

from socks5.client.names import target_of
from socks5.client.urls import Place
from socks5.protocol.address import Address
from socks5.protocol.client_negotiation import ClientNegotiation
from socks5.protocol.errors import LocalProtocolError, ReplyError
from socks5.protocol.http_connect import HTTPConnect
from socks5.protocol.messages import Command, Credentials, Method, Request

Negotiation = ClientNegotiation | HTTPConnect
"""The machine of one hop; both have the same shape."""


def check_options(options: object) -> None:
    """:raises ValueError: they are none for TLS, not even of Twisted's older kinds."""
    if not (IOpenSSLClientConnectionCreator.providedBy(options) or hasattr(options, "getContext")):
        raise ValueError(f"tls={options!r}: expected options, as optionsForClientTLS() makes them")


@dataclass(frozen=True, slots=True, eq=False)
class Same:
    """Compares a thing by identity, whatever it says itself."""

    value: Any

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    @override
    def __hash__(self) -> int:
        return id(self.value)


@dataclass(frozen=True, slots=True, repr=False)
class Hop:
    """A proxy. Equal to another that is reached and spoken to in the same way, by the same login.

    :param place: where it is; None: where *endpoint* leads.
    :param login: for USERNAME_PASSWORD, or for Basic.
    :param endpoint: IStreamClientEndpoint; leads to a proxy of SOCKS5.
    :param options: IOpenSSLClientConnectionCreator: those of a TLS that is not the usual one.
    :param gssapi: :class:`~socks5.client.contexts.IInitiator`: logs in by a security context, and by nothing else. A
        proxy that answers with another method would strip it of its proof.
    :param require_login: whether a proxy that asks nobody for a login will not do.
    :param is_pipelined: whether all is said at once.
    :raises ValueError: something does not go together.
    """

    place: Place | None
    login: Credentials | None = None
    endpoint: Same | None = None
    options: Same | None = None
    gssapi: Same | None = None
    require_login: bool = False
    is_pipelined: bool = False
    tls: Any = field(init=False, compare=False)
    """What makes its TLS; None where there is none."""
    text: str = field(init=False, compare=False)
    """As texts name it: without a login."""
    methods: tuple[int, ...] = field(init=False, compare=False)
    """METHOD octets that it is offered."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", self._named())
        object.__setattr__(self, "methods", self._offered())
        if self.require_login and self.login is None:
            raise ValueError("require_login: there is no login")
        if self.gssapi is not None:
            self._check_gssapi()
        if self.is_pipelined and self.is_http:
            raise ValueError("pipelined: an HTTP proxy is told everything at once anyway")
        try:
            self.ask(Command.CONNECT, Address("192.0.2.1", 1))
        except LocalProtocolError as error:
            hint = ", so a login needs require_login" if self.is_pipelined else ""
            raise ValueError(f"{self}: {error}{hint}") from None
        object.__setattr__(self, "tls", self._made_tls())

    def _check_gssapi(self) -> None:
        if self.login is not None or self.is_http:
            raise ValueError(f"{self}: gssapi= is for a SOCKS5 proxy, and goes alone")
        if not self.context_host:
            raise ValueError(f"{self}: gssapi= needs the host= of the proxy's key")

    @property
    def context_host(self) -> str:
        """The name of the proxy in its key; "" if there is none."""
        assert self.gssapi is not None
        name: str | None = self.gssapi.value.host
        return name or ("" if self.place is None else self.place.host.partition("%")[0])

    def _made_tls(self) -> Any:
        if self.place is None or not self.place.is_tls:
            if self.options is not None:
                raise ValueError(f"{self}: tls= is for a proxy over TLS, such as socks5s://")
            return None
        if self.options is not None:
            check_options(self.options.value)
            return self.options.value
        return optionsForClientTLS(self.place.host.partition("%")[0])

    @property
    def is_http(self) -> bool:
        """Whether it is asked by CONNECT of HTTP."""
        return self.place is not None and self.place.is_http

    def _named(self) -> str:
        place = self.place
        if place is None:
            return "the proxy"
        if place.path:
            return place.path
        return f"[{place.host}]:{place.port}" if ":" in place.host else f"{place.host}:{place.port}"

    @override
    def __str__(self) -> str:
        return self.text

    @override
    def __repr__(self) -> str:
        return f"<Hop {self}>"

    @property
    def address(self) -> Address:
        """What the proxy before it is asked for.

        :raises ValueError: no proxy can lead to it.
        """
        place = self.place
        if place is None or place.path:
            raise ValueError(f"{self}: this can only be the first hop")
        return target_of(place.host, place.port)

    def _offered(self) -> tuple[int, ...]:
        if self.gssapi is not None:
            return (Method.GSSAPI,)
        if self.login is None:
            return (Method.NO_AUTHENTICATION,)
        if self.require_login:
            return (Method.USERNAME_PASSWORD,)
        return (Method.NO_AUTHENTICATION, Method.USERNAME_PASSWORD)

    def ask(self, command: int, target: Address) -> Negotiation:
        """The machine that asks it.

        :param command: a CMD octet; CONNECT alone of an HTTP proxy.
        :raises LocalProtocolError: it cannot be asked so.
        :raises socks5.protocol.errors.ReplyError: it cannot be asked for such a target.
        """
        if self.is_http:
            return HTTPConnect(target, self.login)
        request = Request(command, target)
        return ClientNegotiation(request, self.methods, self.login, is_pipelined=self.is_pipelined)

    def check_command(self, command: Command) -> None:
        """:raises ValueError: it is of no kind that knows this command."""
        if self.is_http and command != Command.CONNECT:
            raise ValueError(
                f"{self}: an HTTP proxy knows no {command.name}, it connects and nothing else"
            )

    def check(self, target: Address) -> None:
        """:raises ValueError: it cannot be asked for this target."""
        try:
            self.ask(Command.CONNECT, target)
        except ReplyError as error:
            raise ValueError(f"{target}: {error}") from None
