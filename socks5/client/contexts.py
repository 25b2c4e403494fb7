"""Logging in to a proxy by a security context (RFC 1961): the order of the steps, whatever the mechanism."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from socks5.net.protected import Envelope, Sealing
from socks5.protocol.client_negotiation import ClientEvent, ClientNegotiation
from socks5.protocol.errors import (
    AuthenticationFailed,
    NoAcceptableProtection,
    RemoteProtocolError,
    SOCKSError,
)
from socks5.protocol.gssapi import Protection
from socks5.protocol.stages import ProtectionReceived, TokenReceived
from socks5.streams import IStream

_AGREED = (Protection.NONE, Protection.INTEGRITY, Protection.CONFIDENTIALITY)
"""What a proxy may answer, each stronger than the one before."""


class IContext(Sealing, Protocol):
    """Our side of a context with one proxy."""

    @property
    def is_complete(self) -> bool:
        """Whether both sides know who the other one is."""

    def step(self, token: bytes) -> Deferred[bytes]:
        """Go on with the context.

        :param token: the proxy's; none at the beginning.
        :returns: ours, or none; fails if there can be no context.
        """


class IInitiator(Protocol):
    """Begins contexts, such as :class:`socks5.client.kerberos.Initiator`."""

    @property
    def level(self) -> Protection:
        """The level of protection that is wanted. With less than that a proxy is refused."""

    @property
    def is_bare(self) -> bool:
        """Whether it is told bare, as NEC's implementation has it."""

    @property
    def host(self) -> str | None:
        """The name of the proxy, if not that by which it is reached."""

    def initiate(self, host: str, client: str = "", for_datagrams: bool = False) -> IContext:
        """A context with a proxy of that name.

        :param for_datagrams: whether its messages may be lost or overtake each other (RFC 1961 section 3.2).
        :param client: whom that is for: the IP literal of a server's client, or "". Steps of theirs may be taken in
            turn.
        """


class Asker(Protocol):
    """Who logs in to a proxy, and asks it for something then."""

    @property
    def stream(self) -> IStream:
        """Leads to the proxy."""

    def protect(self, envelope: Envelope) -> None:
        """What travels from now on is in an envelope."""

    def go_on(self, events: Sequence[ClientEvent]) -> None:
        """The machine has made this of an answer of ours."""

    def refused(self, error: SOCKSError) -> None:
        """There is no login."""


class ContextLogin:
    """One login, between a machine and a context.

    :param initiator: says what is wanted of what travels.
    :param context: a new one of its.
    :param asker: its stream is not read while a step is under way.
    """

    def __init__(
        self,
        initiator: IInitiator,
        context: IContext,
        machine: ClientNegotiation,
        asker: Asker,
    ) -> None:
        self._initiator = initiator
        self._context = context
        self._machine = machine
        self._asker = asker
        self._transport: Any = asker.stream.transport
        self._stepping: Deferred[bytes] | None = None

    def take(self, event: TokenReceived | ProtectionReceived) -> None:
        """The proxy wants an answer."""
        if isinstance(event, ProtectionReceived):
            self._answer(self._agree, event)
        elif self._context.is_complete:
            self._answer(self._require)
        else:
            self._transport.pauseProducing()
            self._stepping = stepping = maybeDeferred(self._context.step, event.token)
            stepping.addCallbacks(self._stepped, self._refused)

    def _stepped(self, token: bytes) -> None:
        self._transport.resumeProducing()
        self._answer(self._go_on, token)

    def _answer(self, make: Callable[..., list[ClientEvent]], *arguments: Any) -> None:
        """Give an answer, or up: a context may fail at whatever it is asked for."""
        try:
            events = make(*arguments)
        except (NoAcceptableProtection, RemoteProtocolError) as error:
            self._asker.refused(error)
        except Exception:
            self._refused(Failure())
        else:
            self._asker.go_on(events)

    def _refused(self, failure: Failure) -> None:
        words = str(failure.value) or type(failure.value).__name__
        self._asker.refused(AuthenticationFailed(f"no security context: {words}"))

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        if self._stepping is not None:
            self._stepping.cancel()

    def _go_on(self, token: bytes) -> list[ClientEvent]:
        """Send our token, or what is due behind the last one."""
        if token:
            return self._machine.send_token(token)
        if self._context.is_complete:
            return self._require()
        raise AuthenticationFailed("it does not go on")

    def _require(self) -> list[ClientEvent]:
        """Tell the level that is wanted."""
        level = bytes((self._initiator.level,))
        token = level if self._initiator.is_bare else self._context.wrap(level, False)
        return self._machine.require_protection(token)

    def _agree(self, event: ProtectionReceived) -> list[ClientEvent]:
        """:raises SOCKSError: the level that the proxy answers will not do, or is none."""
        if event.is_bare is not self._initiator.is_bare:
            raise RemoteProtocolError("a level of protection in another form than ours")
        answer = event.token if event.is_bare else self._context.unwrap(event.token)[0]
        if len(answer) != 1 or answer[0] not in _AGREED:
            raise RemoteProtocolError("no level of protection where one is due")
        level = Protection(answer[0])
        if level < self._initiator.level:
            raise NoAcceptableProtection(self._initiator.level, (level,))
        if level is not Protection.NONE:
            self._asker.protect(Envelope(self._context, level))
        return self._machine.accept_protection()
