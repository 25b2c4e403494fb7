"""What a program has of it all: :class:`Proxy`, and the endpoints that it makes.

Whatever can be wrong with arguments is a ValueError at the call; what goes wrong later is one of
:mod:`socks5.client.errors`, or Twisted's where it is about the target's name here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import optionsForClientTLS
from typing_extensions import override
from zope.interface import implementer

from socks5.client.association import Announce
from socks5.client.attempt import Attempt, first_of
from socks5.client.contexts import IInitiator
from socks5.client.datagrams import UDP, udp_by
from socks5.client.environment import NoProxy, proxy_url
from socks5.client.hops import Hop, Same, check_options
from socks5.client.layers import Bind, TLSFactory, check_bind, tcp_endpoint
from socks5.client.listener import Binding, BindPort
from socks5.client.names import address_of, octets_of, target_of
from socks5.client.resolving import Asking, answer
from socks5.client.tunnel import Step
from socks5.client.urls import read
from socks5.protocol.address import Address
from socks5.protocol.messages import Command, Credentials

if TYPE_CHECKING:
    import twisted.web.client
    import twisted.web.iweb

_P = TypeVar("_P", bound=Protocol)

TIMEOUT = 30.0
"""Seconds from ``connect`` to the proxy's reply, unless told otherwise."""


def _octets(text: str | bytes) -> bytes:
    return octets_of(text) if isinstance(text, str) else text


def _login(username: str | bytes | None, password: str | bytes | None) -> Credentials | None:
    """:raises ValueError: one is there without the other."""
    if username is None and password is None:
        return None
    if username is None or password is None:
        raise ValueError('a login is a user name and a password; write password=b"" for none')
    return Credentials(_octets(username), _octets(password))


@dataclass(frozen=True, slots=True, repr=False)
class Proxy:
    """A way through one proxy or several. Made by :meth:`from_url`, :meth:`over`, :meth:`chain` or
    :meth:`from_environment`.

    Two are equal, and of one hash, if they lead the same way by the same logins; reactors and time-outs do not count.

    :param reactor: IReactorTCP, IReactorTime and what else the way needs.
    :param hops: the nearest first.
    :param timeout: seconds that a connection may take until the last proxy's reply; None: no end.
    :param rdns: whether names go to the last proxy; otherwise they are resolved here.
    :param bind_address: where connections to the first proxy come from, with a port or without.
    """

    reactor: Any = field(compare=False)
    hops: tuple[Hop, ...]
    timeout: float | None = field(default=TIMEOUT, compare=False)
    rdns: bool = True
    bind_address: Bind = None
    no_proxy: NoProxy = field(default_factory=NoProxy)

    def __post_init__(self) -> None:
        if not self.hops:
            raise ValueError("a chain has one proxy at least")
        if self.timeout is not None and not (0 < self.timeout < math.inf):
            raise ValueError(f"timeout {self.timeout!r}: expected seconds, or None for no end")
        for before, after in zip(self.hops, self.hops[1:], strict=False):
            before.check(after.address)
        first = self.hops[0].place
        if self.bind_address is not None:
            if first is None or first.path:
                raise ValueError("bind_address: there is no TCP connection of ours to bind")
            check_bind(self.bind_address, first.host)

    @classmethod
    def from_url(
        cls,
        reactor: Any,
        url: str,
        *,
        timeout: float | None = TIMEOUT,
        rdns: bool = True,
        tls: IOpenSSLClientConnectionCreator | None = None,
        gssapi: IInitiator | None = None,
        require_login: bool = False,
        pipelined: bool = False,
        bind_address: Bind = None,
    ) -> Self:
        """The proxy that a URL means.

        :param url: ``socks5://USER:PASSWORD@HOST:PORT``, or one of the others in ``docs/client.rst``. In all of them
            names go to the proxy.
        :param tls: instead of the usual options of ``socks5s://``, which verify the proxy's certificate for its host.
        :param gssapi: logs in by a security context, such as :class:`~socks5.client.kerberos.Initiator`: then by
            nothing else.
        :param require_login: whether a proxy that asks nobody for a login will not do.
        :param pipelined: whether greeting, login and request go out at once, where the proxy can take it.
        :raises ValueError: it means nothing, or something does not go together. The text has none of its login.
        """
        place, login = read(url)
        hop = Hop(
            place,
            None if login is None else Credentials(*login),
            options=None if tls is None else Same(tls),
            gssapi=None if gssapi is None else Same(gssapi),
            require_login=require_login,
            is_pipelined=pipelined,
        )
        return cls(reactor, (hop,), timeout, rdns, bind_address)

    @classmethod
    def over(
        cls,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        username: str | bytes | None = None,
        password: str | bytes | None = None,
        *,
        timeout: float | None = TIMEOUT,
        rdns: bool = True,
        gssapi: IInitiator | None = None,
        require_login: bool = False,
        pipelined: bool = False,
    ) -> Self:
        """The SOCKS5 proxy that an endpoint leads to. See :meth:`from_url`.

        :param username: str is UTF-8, bytes are as they are; so too *password*.
        """
        if not hasattr(endpoint, "connect"):
            raise ValueError(f"{endpoint!r}: expected a client endpoint, which leads to the proxy")
        hop = Hop(
            None,
            _login(username, password),
            endpoint=Same(endpoint),
            gssapi=None if gssapi is None else Same(gssapi),
            require_login=require_login,
            is_pipelined=pipelined,
        )
        return cls(reactor, (hop,), timeout, rdns)

    @classmethod
    def chain(
        cls,
        reactor: Any,
        hops: Sequence[str | Proxy],
        *,
        timeout: float | None = TIMEOUT,
        rdns: bool = True,
        bind_address: Bind = None,
    ) -> Self:
        """The way through several, each by way of those before it.

        :param hops: the nearest first; URLs, or proxies, of which time-out, *rdns* and address do not count here. The
            hops of a chain among them are hops of this one.
        :raises ValueError: see :meth:`from_url`; or one can only be the first.
        """
        if isinstance(hops, str):
            raise ValueError("a chain is a list of proxies, even of one")
        ways = [cls.from_url(reactor, hop) if isinstance(hop, str) else hop for hop in hops]
        together = tuple(hop for way in ways for hop in way.hops)
        return cls(reactor, together, timeout, rdns, bind_address)

    @classmethod
    def from_environment(
        cls,
        reactor: Any,
        environ: Mapping[str, str] = os.environ,
        *,
        timeout: float | None = TIMEOUT,
        rdns: bool = True,
        tls: IOpenSSLClientConnectionCreator | None = None,
        gssapi: IInitiator | None = None,
        require_login: bool = False,
        pipelined: bool = False,
        bind_address: Bind = None,
    ) -> Self | None:
        """The proxy of ``all_proxy``, or of ``ALL_PROXY``, but for what ``no_proxy``, or ``NO_PROXY``, says.

        :returns: None if there is none.
        :raises ValueError: a value cannot be read, which does not mean that there is no proxy.
        """
        url = proxy_url(environ)
        if url is None:
            return None
        found = cls.from_url(
            reactor,
            url,
            timeout=timeout,
            rdns=rdns,
            tls=tls,
            gssapi=gssapi,
            require_login=require_login,
            pipelined=pipelined,
            bind_address=bind_address,
        )
        return replace(found, no_proxy=NoProxy.from_environment(environ))

    def endpoint(
        self, host: str | bytes, port: int, tls: bool | IOpenSSLClientConnectionCreator = False
    ) -> ProxyEndpoint:
        """Leads to a target through the proxy; directly to one that :meth:`goes_direct`.

        :param host: an IP literal or a name. Text that is not ASCII goes as IDNA, bytes as they are.
        :param port: 1-65535.
        :param tls: whether to speak TLS with the target, which is then verified for *host*; or the options for that.
        :raises ValueError: there is no such target, or the last proxy cannot be asked for it.
        """
        target = target_of(host, port)
        self.hops[-1].check(target)
        options: Any = tls
        if isinstance(tls, bool):
            options = optionsForClientTLS(target.text) if tls else None
        else:
            check_options(tls)
        return ProxyEndpoint(self, target, options)

    def resolve(self, name: str | bytes) -> Deferred[str]:
        """Ask the last proxy for an address of a name, by Tor's RESOLVE, which few others know.

        :returns: an IP literal. Fails with :exc:`~socks5.client.errors.NameNotFound` if there is none, else as
            :meth:`ProxyEndpoint.connect` does.
        :raises ValueError: no proxy can be asked for that, or the last one is of another kind.
        """
        return self._ask(Command.RESOLVE, address_of(name))

    def resolve_ptr(self, address: str) -> Deferred[bytes]:
        """Ask the last proxy for the name of an address, by Tor's RESOLVE_PTR. See :meth:`resolve`.

        :param address: an IP literal.
        :returns: the name, as it came.
        """
        target = address_of(address)
        if target.is_name:
            raise ValueError(f"{address!r} is no IP address")
        return self._ask(Command.RESOLVE_PTR, target)

    def _ask(self, command: Command, target: Address) -> Deferred[Any]:
        self.hops[-1].check_command(command)
        asking = Attempt(self, target, Asking(), command).start()
        return answer(asking, Step(len(self.hops), self.hops[-1], target, command))

    def bind(
        self, factory: IProtocolFactory, peer: str | bytes | None = None, port: int = 0
    ) -> Deferred[BindPort]:
        """Have the last proxy listen for one peer, by BIND.

        :param factory: is asked for a protocol once the peer has connected.
        :param peer: an IP literal or a name; None: whoever comes first, as far as the proxy lets him.
        :param port: DST.PORT, 0-65535: the peer's, if one is named; else some proxies listen there if they can.
        :returns: the port, once the proxy listens; tell the peer its ``getHost()``. Fails, and is cancelled, as
            :meth:`ProxyEndpoint.connect`.
        :raises ValueError: there is no such peer, or the last proxy has no BIND.
        """
        if not 0 <= port <= 65535:
            raise ValueError(f"port {port!r}: expected a number from 0 to 65535")
        self.hops[-1].check_command(Command.BIND)
        expected = address_of("0.0.0.0" if peer is None else peer, port)
        return Binding(self, expected, factory).listen()

    def agent(
        self,
        pool: twisted.web.client.HTTPConnectionPool | None = None,
        policy: twisted.web.iweb.IPolicyForHTTPS | None = None,
    ) -> twisted.web.iweb.IAgent:
        """What makes HTTP requests through the proxy, with twisted.web or treq; directly to a server
        that :meth:`goes_direct`.

        :param pool: keeps connections. It may be shared with agents of other proxies and with those of none: a
            connection is used again only by the same way and the same login. None: nothing is kept.
        :param policy: how servers are verified; None: as browsers do.
        """
        from socks5.client.web import agent_by

        return agent_by(self, pool, policy)

    def associate(
        self,
        *,
        ports: int = 16,
        announce: Announce = "nothing",
        udp_address: str | None = None,
        plain_udp: bool = False,
    ) -> UDP:
        """UDP through the proxies, each of which is asked for UDP ASSOCIATE.

        :param ports: associations at most; further ports wait for one.
        :param announce: what the first proxy is told of where datagrams will come from, if it insists: ``nothing``, a
            ``port``, or an ``address`` and a port.
        :param udp_address: an IP literal, instead of the host that the first proxy says its relay has.
        :param plain_udp: whether datagrams may go plain where a proxy is spoken to over TLS, which knows none.
        :returns: opens its first association by ``async with``, or by ``open()``.
        :raises ValueError: a proxy has no UDP, or something does not go together.
        """
        return udp_by(self, ports, announce, udp_address, plain_udp)

    def goes_direct(self, host: str | bytes, port: int) -> bool:
        """Whether the environment says that this target is reached without the proxy."""
        return self.no_proxy.holds(target_of(host, port))

    @override
    def __repr__(self) -> str:
        return f"<Proxy {', '.join(map(str, self.hops))}>"


@implementer(IStreamClientEndpoint)
class ProxyEndpoint:
    """Leads to a target through proxies. See :meth:`Proxy.endpoint`.

    :param options: IOpenSSLClientConnectionCreator; None: no TLS with the target.
    """

    def __init__(self, proxy: Proxy, target: Address, options: Any = None) -> None:
        self._proxy = proxy
        self._target = target
        self._options = options
        is_direct = proxy.no_proxy.holds(target)
        self._first = None if is_direct else first_of(proxy)

    @overload
    def connect(self, protocolFactory: Factory[_P]) -> Deferred[_P]: ...

    @overload
    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]: ...

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """Connect. The factory is asked for a protocol once the last proxy has replied that it succeeded, and not
        before; then the Deferred fires, and then the protocol gets what came behind the reply.

        :returns: the protocol. Fails with one of :mod:`socks5.client.errors`; with
            :exc:`twisted.internet.error.DNSLookupError` for a name that is resolved here; with what the factory raises,
            :exc:`twisted.internet.error.NoProtocol` if it builds none. To cancel it, at any moment, leaves nothing
            behind; it fails with :exc:`twisted.internet.error.ConnectingCancelledError` then.
        """
        proxy, factory = self._proxy, protocolFactory
        if self._options is not None:
            factory = TLSFactory(self._options, True, factory, proxy.reactor)
        if self._first is None:
            connecting: Deferred[Any] = self._direct().connect(factory)
        else:
            connecting = Attempt(proxy, self._target, factory, first=self._first).start()
        if self._options is not None:
            connecting.addCallback(lambda tls: tls.wrappedProtocol)
        return connecting

    def _direct(self) -> IStreamClientEndpoint:
        """Leads to the target by no proxy."""
        proxy, target = self._proxy, self._target
        return tcp_endpoint(
            proxy.reactor, target.text, target.port, proxy.timeout, proxy.bind_address
        )

    @override
    def __repr__(self) -> str:
        tls = " over TLS" if self._options is not None else ""
        way = "directly" if self._first is None else f"by {self._proxy!r}"
        return f"<ProxyEndpoint {self._target}{tls} {way}>"
