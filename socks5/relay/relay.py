"""Two streams joined: what one receives, the other sends, with back pressure both ways.

:class:`Relay` is the life of a joint, the same on every path: the end of one direction is passed on
as an end, the other goes on for as long as octets still come
(:attr:`~socks5.settings.Settings.linger_timeout`); where there is no half-close (TLS), an end
becomes a close once all is sent. A reset is passed on as a reset, behind the octets that came
before it. A :class:`Side` moves the octets of one end; :class:`~socks5.relay.transports.TransportSide` does it for any
Twisted transport: each side's send buffer pauses the other side's reading, so memory is bounded
while a reader is slow. Knows no SOCKS.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from socks5.access import Reason
from socks5.deadlines import IdleTimer, IdleTimers
from socks5.protocol.address import Address
from socks5.settings import Settings
from socks5.streams import IStream

RESET_DELAYS = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.46)
"""Seconds between looks whether the octets before a reset have arrived: the system does not tell. Twice as long
each time, for readers that stand still come in thousands; so a reset is late by no more than it had to wait.
"""

RESET_PATIENCE = sum(RESET_DELAYS)
"""Seconds that a slow reader has for the octets before a reset."""


class Side(ABC):
    """One end of a relay: what it receives, its peer sends.

    A subclass moves the octets; it counts them in :attr:`octets`, and calls the relay's
    ``half_closed`` and ``lost``.
    """

    __slots__ = ("has_ended", "is_lost", "octets", "peer", "relay", "stream")

    can_half_close = True

    sends_later = False
    """Whether octets may wait in a place that :meth:`unsent` does not see, until the reactor's next
    turn."""

    def __init__(self, relay: Relay, stream: IStream) -> None:
        self.relay: Any = relay
        self.stream: Any = stream
        self.peer: Any = None
        self.octets = 0
        self.has_ended = False
        self.is_lost = False

    @abstractmethod
    def attach(self) -> None:
        """Take the stream's events from now on; the peer is set."""

    @abstractmethod
    def start(self) -> None:
        """Begin with what has arrived already; both sides are attached."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send octets that did not come from the peer's transport."""

    @abstractmethod
    def end(self) -> None:
        """Send our end behind everything the peer has received; receiving goes on."""

    @abstractmethod
    def close(self) -> None:
        """Close once everything is sent."""

    @abstractmethod
    def abort(self) -> None:
        """Close now, with a reset."""

    @property
    @abstractmethod
    def far(self) -> Address | None:
        """Whom the stream leads to, while it is there; None: somebody without an address."""

    @abstractmethod
    def keep_alive(self, seconds: int) -> None:
        """Have the system ask whether the far end is still there, where that is TCP; see
        :attr:`socks5.settings.Settings.keepalive`.
        """

    @abstractmethod
    def unsent(self) -> int:
        """Octets on their way that an abort would lose; 0 when all have arrived."""

    def receive_end(self) -> None:
        """The transport will receive nothing more."""
        if not (self.has_ended or self.is_lost):
            self.has_ended = True
            self.relay.half_closed(self)

    def connectionLost(self, reason: Failure) -> None:
        """The transport is gone; said once."""
        self.is_lost = True
        self.relay.lost(self, reason)


class Owner(Protocol):
    """Whose relay it is."""

    def end(self, reason: Reason) -> None:
        """Both streams are gone."""


class Relay:
    """Joins two streams until both are gone.

    :param timers: make those that notice silence.
    :param settings: the idle and linger limits, and when a silent target is probed.
    :param near: the client's stream; ours from :meth:`start` on.
    :param far: the target's, likewise.
    :param owner: told once, with the reason, when both are gone.
    :param kind: what moves the octets.
    """

    __slots__ = (
        "_far",
        "_near",
        "_owner",
        "_reason",
        "_resetting",
        "_settings",
        "_timer",
        "_timers",
        "is_closing",
    )

    def __init__(
        self,
        timers: IdleTimers,
        settings: Settings,
        near: IStream,
        far: IStream,
        owner: Owner,
        kind: Callable[[Relay, IStream], Any],
    ) -> None:
        self._timers = timers
        self._settings = settings
        self._near = kind(self, near)
        self._far = kind(self, far)
        self._near.peer, self._far.peer = self._far, self._near
        self._owner: Owner | None = owner
        self._reason: Reason | None = None
        self.is_closing = False
        self._timer: IdleTimer | None = None
        self._resetting: IDelayedCall | None = None

    @property
    def bytes_up(self) -> int:
        """Octets received from the near side so far."""
        return int(self._near.octets)

    @property
    def bytes_down(self) -> int:
        """Octets received from the far side so far."""
        return int(self._far.octets)

    @property
    def far(self) -> Address | None:
        """Whom the far stream leads to."""
        far: Address | None = self._far.far
        return far

    def goes_on(self, octets_up: int, octets_down: int) -> None:
        """Begin, where so many octets have been passed on already."""
        self._near.octets, self._far.octets = octets_up, octets_down
        self.start()

    def start(self, first: bytes = b"", near_has_ended: bool = False, passed: int = 0) -> None:
        """Begin.

        :param first: octets that the near side has sent already; they go to the far side before all
            others.
        :param near_has_ended: the near side's end came behind them.
        :param passed: octets of the far side that the near one has been sent already.
        """
        if self._settings.keepalive:
            self._timers.young.add(self)
        if self._settings.idle_timeout > 0:
            self._watch(self._settings.idle_timeout, Reason.IDLE)
        near, far = self._near, self._far
        far.octets += passed
        near.attach()
        far.attach()
        if first:
            near.octets += len(first)
            far.send(first)
        if not far.is_lost:
            far.start()
        if not near.is_lost:
            near.start()
        if near_has_ended:
            near.receive_end()

    def lasts(self) -> None:
        """See :class:`socks5.deadlines.Lasting`. The client's socket has inherited what the far one is told only now:
        most relays do not live to need it.
        """
        if not self._far.is_lost:
            with suppress(OSError):  # it is about to be lost
                self._far.keep_alive(self._settings.keepalive)

    def stop(self, reason: Reason, by_force: bool = False) -> None:
        """End it, in order: close both sides, each once it has taken what is written; what does not close within
        the linger limit is aborted. Harmless when over, and while a reset is being passed on.

        :param by_force: abort both sides.
        """
        if self._owner is None:
            return
        if by_force:
            self._abort(reason)
        elif self._resetting is None:
            self._finish(reason)

    def _closed(self, side: Side) -> Reason:
        return Reason.CLIENT_CLOSED if side is self._near else Reason.TARGET_CLOSED

    def _reset_by(self, side: Side) -> Reason:
        return Reason.CLIENT_RESET if side is self._near else Reason.TARGET_RESET

    def half_closed(self, side: Side) -> None:
        """*side* will send nothing more: its peer is told so once it has all; both ends make an end
        of the relay.
        """
        peer = side.peer
        if peer.is_lost:
            return  # by a reset, which is about to be passed on
        if peer.has_ended or not (side.can_half_close and peer.can_half_close):
            self._finish(self._closed(side))
        else:
            self._watch(self._settings.linger_timeout, Reason.HALF_CLOSED)
            peer.end()

    def failing(self, side: Side) -> None:
        """*side* was reset, but octets that came before have still to be read, once its peer has
        taken others. That may take a while, not for ever.
        """
        self._watch(RESET_PATIENCE, self._reset_by(side))

    def lost(self, side: Side, reason: Failure) -> None:
        """*side*'s transport is gone: its peer follows, in order after an orderly end, else with a
        reset.
        """
        peer = side.peer
        if peer.is_lost:
            self._conclude()
        elif isinstance(reason.value, ConnectionDone):
            self._finish(self._closed(side))
        else:
            self._reason = self._reason or self._reset_by(side)
            self.is_closing = True
            if self._timer is not None:
                self._stop_watching()
            if peer.sends_later:
                self._reset_later(peer, RESET_DELAYS)
            else:
                self._reset(peer, RESET_DELAYS)

    def _reset(self, side: Side, delays: Sequence[float]) -> None:
        """Pass a reset on to *side*, behind the octets that came before it, if they get through.

        :param delays: until each further look.
        """
        self._resetting = None
        if delays and side.unsent():
            self._reset_later(side, delays)
        else:
            side.abort()

    def _reset_later(self, side: Side, delays: Sequence[float]) -> None:
        first, *others = delays
        self._resetting = self._timers.reactor.callLater(first, self._reset, side, others)

    def _finish(self, reason: Reason) -> None:
        """Close what is still open once everything written is sent."""
        self._reason = self._reason or reason
        self.is_closing = True
        for side in (self._near, self._far):
            if not side.is_lost:
                side.close()
        if self._owner is not None:
            self._watch(self._settings.linger_timeout, Reason.CLOSING)

    def _watch(self, seconds: float, reason: Reason) -> None:
        """Abort both sides after that much silence."""
        self._stop_watching()
        # As if nothing were unsent, which would have to be asked: most are over before the first look.
        seen = self.bytes_up + self.bytes_down
        self._timer = self._timers.start(
            seconds, self._progress, lambda: self._abort(reason), seen=seen
        )

    def _stop_watching(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()

    def _progress(self) -> int:
        """Changes with every octet received, and with every one that a slow reader has taken."""
        moved = 0
        for side in (self._near, self._far):
            moved += side.octets - (0 if side.is_lost else side.unsent())
        return moved

    def _abort(self, reason: Reason) -> None:
        self._reason = reason
        for side in (self._near, self._far):
            if not side.is_lost:
                side.abort()

    def _conclude(self) -> None:
        """Both sides are gone: nothing is left that ticks, and no circle to the collector."""
        for side in (self._near, self._far):
            side.peer = side.relay = side.stream = None
        self._timers.young.discard(self)
        owner, self._owner = self._owner, None
        if self._timer is not None:
            self._stop_watching()
        resetting, self._resetting = self._resetting, None
        if resetting is not None:
            resetting.cancel()
        assert owner is not None
        assert self._reason is not None
        owner.end(self._reason)
