"""Two streams joined: what one receives, the other sends, with back pressure both ways.

The relay for any two Twisted transports (TCP, TLS, UNIX, in-memory). Each side's send buffer pauses
the other side's reading, so memory is bounded while a reader is slow. The end of one direction is
passed on as an end, the other goes on, for as long as octets still come
(:attr:`~socks5.settings.Settings.linger_timeout`); TLS has no half-close, so there an end becomes a
close once all is sent. A reset is passed on as a reset. Knows no SOCKS.

Floor 2: imports floor 1 and :mod:`socks5.deadlines`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import INegotiated, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.deadlines import IdleTimer
from socks5.interfaces import IStream, IStreamReceiver
from socks5.settings import Settings


def can_half_close(transport: Any) -> bool:
    """Whether one direction of *transport* can end while the other goes on: not so with TLS."""
    return (
        hasattr(transport, "loseWriteConnection")
        and not INegotiated.providedBy(transport)
        and not getattr(transport, "TLS", False)
    )


@implementer(IStreamReceiver, IPushProducer)
class Side:
    """One end of a relay: receives from its own transport, sends to its peer's, which pauses and
    resumes it.
    """

    __slots__ = ("has_ended", "is_lost", "name", "octets", "peer", "relay", "transport")

    peer: Side

    def __init__(self, relay: Relay, transport: Any, name: str) -> None:
        self.relay = relay
        self.transport = transport
        self.name = name
        self.octets = 0
        self.has_ended = False
        self.is_lost = False

    def dataReceived(self, data: bytes) -> None:
        """See :meth:`socks5.interfaces.IStreamReceiver.dataReceived`.

        Once the relay is closing nothing goes on: with TLS octets arrive still, and without back
        pressure they would fill the memory.
        """
        relay = self.relay
        if relay.is_closing:
            return
        self.octets += len(data)
        if relay.timer is not None:
            relay.timer.active = True
        self.peer.transport.write(data)

    def readConnectionLost(self) -> None:
        """See :meth:`socks5.interfaces.IStreamReceiver.readConnectionLost`."""
        if not self.has_ended:
            self.has_ended = True
            self.relay.half_closed(self)

    def connectionLost(self, reason: Failure) -> None:
        """See :meth:`socks5.interfaces.IStreamReceiver.connectionLost`."""
        self.is_lost = True
        self.relay.lost(self, reason)

    def pauseProducing(self) -> None:
        """The peer's send buffer is full."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """It is empty again."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The peer's transport is gone, which its ``connectionLost`` is about to say with the
        reason; closing here already would turn a reset into an end.
        """


class Relay:
    """Joins two streams until both are gone.

    :param reactor: the clock.
    :param settings: the idle and linger limits.
    :param near: the client's stream; its receiver and its transport's producer are ours from
        :meth:`start` on.
    :param far: the target's, likewise.
    :param done: called once, with the reason in a few words, when both transports are gone.
    """

    __slots__ = (
        "_done",
        "_far",
        "_far_stream",
        "_near",
        "_near_stream",
        "_reactor",
        "_reason",
        "_settings",
        "is_closing",
        "timer",
    )

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        near: IStream,
        far: IStream,
        done: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._near_stream, self._far_stream = near, far
        self._near = Side(self, near.transport, "client")
        self._far = Side(self, far.transport, "target")
        self._near.peer, self._far.peer = self._far, self._near
        self._done = done
        self._reason = ""
        self.is_closing = False
        self.timer: IdleTimer | None = None

    @property
    def bytes_up(self) -> int:
        """Octets received from the near side so far."""
        return self._near.octets

    @property
    def bytes_down(self) -> int:
        """Octets received from the far side so far."""
        return self._far.octets

    def start(self, first: bytes = b"", near_has_ended: bool = False) -> None:
        """Begin.

        :param first: octets that the near side has sent already; they go to the far side before all
            others.
        :param near_has_ended: the near side's end came behind them.
        """
        near, far = self._near, self._far
        near.transport.registerProducer(far, True)
        far.transport.registerProducer(near, True)
        self._near_stream.receiver, self._far_stream.receiver = near, far
        if self._settings.idle_timeout > 0:
            self._watch(self._settings.idle_timeout, "idle")
        if first:
            near.dataReceived(first)
        if near_has_ended:
            near.readConnectionLost()

    def stop(self, reason: str) -> None:
        """Close both sides, in order; what does not close within the linger limit is aborted.
        Harmless when over.
        """
        if not (self._near.is_lost and self._far.is_lost):
            self._finish(reason)

    def half_closed(self, side: Side) -> None:
        """*side* will send nothing more: its peer is told so once it has all; both ends make an end
        of the relay.
        """
        peer = side.peer
        if peer.has_ended or not (
            can_half_close(side.transport) and can_half_close(peer.transport)
        ):
            self._finish(f"{side.name} closed")
            return
        peer.transport.unregisterProducer()
        peer.transport.loseWriteConnection()
        self._watch(self._settings.linger_timeout, "half-closed and silent")

    def lost(self, side: Side, reason: Failure) -> None:
        """*side*'s transport is gone: its peer follows, in order after an orderly end, else with a
        reset.
        """
        peer = side.peer
        if peer.is_lost:
            self._conclude()
        elif reason.check(ConnectionDone):
            self._finish(f"{side.name} closed")
        else:
            self._reason = self._reason or f"reset by {side.name}"
            peer.transport.abortConnection()

    def _finish(self, reason: str) -> None:
        """Close what is still open once everything written is sent."""
        self._reason = self._reason or reason
        self.is_closing = True
        self._watch(self._settings.linger_timeout, "closing and silent")
        for side in (self._near, self._far):
            if not side.is_lost:
                side.transport.unregisterProducer()
                side.transport.loseConnection()

    def _watch(self, seconds: float, reason: str) -> None:
        """Abort both sides after that much silence."""
        if self.timer is not None:
            self.timer.stop()
        self.timer = IdleTimer(self._reactor, seconds, lambda: self._abort(reason))

    def _abort(self, reason: str) -> None:
        self._reason = reason
        for side in (self._near, self._far):
            if not side.is_lost:
                side.transport.abortConnection()

    def _conclude(self) -> None:
        if self.timer is not None:
            self.timer.stop()
        self._done(self._reason)
