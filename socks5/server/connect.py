"""CONNECT (RFC 1928 section 4): dial the target, reply, hand both streams to a relay.

While the dial runs the client is still read, so that its leaving is noticed; what it sends already
is kept, bounded, and goes to the target first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.interfaces import ICommand, ISession, IStream
from socks5.net.connection import near_end
from socks5.protocol.messages import ReplyCode
from socks5.relay.relay import Relay
from socks5.relay.sockets import join


@implementer(ICommand)
class Connect:
    """One CONNECT."""

    __slots__ = ("_dialling", "_relay", "_session")

    dropped = 0
    drops: Mapping[str, int] = {}

    def __init__(self, session: ISession) -> None:
        self._session = session
        self._dialling: Deferred[IStream] | None = None
        self._relay: Relay | None = None

    @property
    def bytes_up(self) -> int:
        """See :class:`socks5.interfaces.ICommand`."""
        return 0 if self._relay is None else self._relay.bytes_up

    @property
    def bytes_down(self) -> int:
        """See :class:`socks5.interfaces.ICommand`."""
        return 0 if self._relay is None else self._relay.bytes_down

    def start(self) -> None:
        """See :meth:`socks5.interfaces.ICommand.start`."""
        session = self._session
        self._dialling = dialling = session.dialer.dial(
            session.access,
            session.request.address,
            lambda host: session.rules.allows(session.access, host),
        )
        dialling.addCallbacks(self._connected, session.fail)

    def _connected(self, far: IStream) -> None:
        try:
            self._join(far)
        except Exception:  # here, for an errback of the dial's would cost every session
            self._session.crashed(Failure())
            transport: Any = far.transport
            transport.abortConnection()

    def _join(self, far: IStream) -> None:
        self._dialling = None
        session = self._session
        self._relay = join(session.idle_timers, session.settings, session.stream, far, session)
        session.reply(ReplyCode.SUCCEEDED, near_end(far.transport))
        self._relay.start(session.take_optimistic(), session.has_client_ended)

    def client_ended(self) -> bool:
        """See :meth:`socks5.interfaces.ICommand.client_ended`.

        A client that has sent octets and then its end waits for an answer to them; one that has
        sent nothing has left.
        """
        return self._session.pending_octets > 0

    def stop(self, reason: str) -> None:
        """See :meth:`socks5.interfaces.ICommand.stop`."""
        if self._dialling is not None:
            self._dialling.cancel()
        if self._relay is not None:
            self._relay.stop(reason)
