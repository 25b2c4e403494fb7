"""A relay under limits of how much may move: each end asks how much it may receive, tells what came, and if that has to
be paid for, is not read until it is.

While an end is held so it is as with a peer that takes no more. Ends and resets pass, for they move nothing, and a
relay that is held is not idle. An end charges 4 KiB at a time at the least, so small messages cost no question each.
:class:`MeteredTransportSide` does so for any Twisted transport, :mod:`socks5.relay.metered_sockets` for plain sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.access import Reason
from socks5.deadlines import IdleTimers, clock_of
from socks5.limits import ILease
from socks5.relay.relay import Owner, Relay, Side
from socks5.relay.transports import TransportSide
from socks5.settings import Settings
from socks5.streams import IStream

SMALL = 4096
"""Octets of one end that are charged together."""

BLOCK = SMALL // 2
"""The same on the short way (:mod:`socks5.relay.metered_passing`), where no more are received at a time: so less than
:data:`SMALL` are not charged."""

_log = Logger()


class Hold:
    """A wait.

    :param paid: called when it is over; None: it was given up.
    """

    __slots__ = ("paid",)

    def __init__(self, paid: Callable[[], object] | None) -> None:
        self.paid = paid


class Waits:
    """All waits of a process, which have one delayed call.

    :param reactor: the clock.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._now = clock_of(reactor)
        self._heap: list[tuple[float, int, Hold]] = []
        self._numbers = count()
        self._call: IDelayedCall | None = None
        self._given_up = 0

    def hold(self, seconds: float, paid: Callable[[], object]) -> Hold:
        """Call *paid* after some time, in the order of those times, unless its hold is given up."""
        hold = Hold(paid)
        when = self._now() + seconds
        heappush(self._heap, (when, next(self._numbers), hold))
        if self._heap[0][2] is hold:
            if self._call is None:
                self._wait(seconds)
            else:
                self._call.reset(seconds)
        return hold

    def give_up(self, hold: Hold) -> None:
        """Whoever waits so does not any more."""
        hold.paid = None
        self._given_up += 1
        heap = self._heap
        if 2 * self._given_up > len(heap):
            self._given_up = 0
            heap[:] = [each for each in heap if each[2].paid is not None]
            heapify(heap)
            if not heap and self._call is not None:
                self._call.cancel()
                self._call = None

    def _wait(self, seconds: float) -> None:
        self._call = self._reactor.callLater(max(0.0, seconds), self._serve)

    def _serve(self) -> None:
        """Call whom nothing holds any more. Who is held again meanwhile waits for the next time."""
        self._call = None
        heap, now = self._heap, self._now()
        due: list[Hold] = []
        while heap and heap[0][0] <= now:
            due.append(heappop(heap)[2])
        for hold in due:
            paid, hold.paid = hold.paid, None
            if paid is None:
                self._given_up = max(0, self._given_up - 1)
            else:
                try:
                    paid()
                except Exception:
                    _log.failure("what was held does not go on")
        self._wait_for_next()

    def _wait_for_next(self) -> None:
        if self._heap and self._call is None:
            self._wait(self._heap[0][0] - self._now())


_waits: WeakKeyDictionary[Any, Waits] = WeakKeyDictionary()


def waits_of(reactor: Any) -> Waits:
    """The reactor's waits, made at the first call."""
    waits = _waits.get(reactor)
    if waits is None:
        waits = _waits[reactor] = Waits(reactor)
    return waits


class Metered(Protocol):
    """One end of a relay that is metered."""

    gate: Gate


class MeteredRelay(Relay):
    """A relay that is told by a lease how much it may move; the other parameters are
    :class:`~socks5.relay.relay.Relay`'s.

    :param meter: the session's part in limits.
    """

    __slots__ = ("_is_failing", "_looks", "_waits", "meter")

    def __init__(
        self,
        timers: IdleTimers,
        settings: Settings,
        near: IStream,
        far: IStream,
        owner: Owner,
        kind: Callable[[Any, IStream], Metered],
        meter: ILease,
    ) -> None:
        self.meter = meter
        self._waits = waits_of(timers.reactor)
        self._is_failing = False
        self._looks = 0
        super().__init__(timers, settings, near, far, owner, kind)
        self._near.gate.is_up = True

    @override
    def start(self, first: bytes = b"", near_has_ended: bool = False, passed: int = 0) -> None:
        """See :meth:`socks5.relay.relay.Relay.start`."""
        if first:
            self._near.charge(len(first))
        if passed:
            self._far.charge(passed)
        super().start(first, near_has_ended, passed)

    @override
    def goes_on(self, octets_up: int, octets_down: int) -> None:
        """See :meth:`socks5.relay.relay.Relay.goes_on`. Whole blocks have been charged
        (:mod:`socks5.relay.metered_passing`).
        """
        self._near.charge(octets_up % BLOCK)
        self._far.charge(octets_down % BLOCK)
        super().goes_on(octets_up, octets_down)

    def give_up(self, hold: Hold) -> None:
        """Have it wait no more."""
        self._waits.give_up(hold)

    def hold(self, seconds: float, paid: Callable[[], object]) -> Hold:
        """Have an end wait. Once more than there may be has moved it is the end for both."""
        if seconds == inf:
            return self._waits.hold(0, self._used_up)
        return self._waits.hold(seconds, paid)

    def _used_up(self) -> None:
        ended = self.meter.ended
        if ended is None:
            self.stop(Reason.LIMIT)
        else:  # soon, for the session of whoever uses it up itself as for others
            ended()

    @override
    def failing(self, side: Side) -> None:
        """See :meth:`socks5.relay.relay.Relay.failing`. It does not last longer because the octets are held."""
        self._is_failing = True
        super().failing(side)

    @override
    def _progress(self) -> int:
        """Being held is not silence."""
        is_held = self._near.gate.is_held or self._far.gate.is_held
        if is_held and not (self.is_closing or self._is_failing):
            self._looks += 1
        return super()._progress() + self._looks


class Gate:
    """Whether one end may receive.

    :param relay: the end's.
    :param resume: called when it may again.
    :ivar is_up: whether it is the client's.
    :ivar owed: octets that came and are not charged yet.
    :ivar hold: what it waits for, if it has to.
    """

    __slots__ = ("_meter", "_relay", "_resume", "hold", "is_up", "owed")

    def __init__(self, relay: MeteredRelay, resume: Callable[[], None]) -> None:
        self._relay: MeteredRelay | None = relay
        self._resume: Any = resume
        self._meter = relay.meter
        self.hold: Hold | None = None
        self.is_up = False
        self.owed = 0

    @property
    def is_held(self) -> bool:
        """Whether it has to wait."""
        return self.hold is not None

    @property
    def room(self) -> int:
        """Octets that may be received next."""
        return self._meter.room(self.is_up)

    def charge(self, octets: int) -> bool:
        """So many have come.

        :returns: whether no more is to be received for now.
        """
        self.owed += octets
        if self.owed < SMALL:
            return False
        wait = self._settle()
        if not wait or self._relay is None:
            return False
        self.wait(wait)
        return True

    def wait(self, seconds: float) -> None:
        """No more is to be received for so long."""
        self._let_go()
        assert self._relay is not None
        self.hold = self._relay.hold(seconds, self._paid)

    def _settle(self) -> float:
        """Say what is not charged yet."""
        owed, self.owed = self.owed, 0
        return self._meter.moved(owed, 0) if self.is_up else self._meter.moved(0, owed)

    def _let_go(self) -> None:
        hold, self.hold = self.hold, None
        if hold is not None and self._relay is not None:
            self._relay.give_up(hold)

    def _paid(self) -> None:
        self.hold = None
        self._meter.room(self.is_up)  # which says that it does not wait any more
        self._resume()

    def close(self) -> None:
        """Nothing more will come."""
        self._let_go()
        self._settle()
        self._relay = self._resume = None


class MeteredTransportSide(TransportSide):
    """One end on a Twisted transport of any kind. What came is charged, for a transport cannot be asked for less; it is
    paused while the peer's buffer is full or this end is held, or both.
    """

    __slots__ = ("_is_full", "gate")

    def __init__(self, relay: MeteredRelay, stream: IStream) -> None:
        super().__init__(relay, stream)
        self.gate = Gate(relay, self._resume)
        self._is_full = False

    def charge(self, octets: int) -> None:
        """So many have come."""
        if self.gate.charge(octets):
            super().pauseProducing()

    @override
    def dataReceived(self, data: bytes) -> None:
        """See :meth:`socks5.relay.transports.TransportSide.dataReceived`."""
        if not self.relay.is_closing:
            self.charge(len(data))
        super().dataReceived(data)

    @override
    def pauseProducing(self) -> None:
        """See :meth:`socks5.relay.transports.TransportSide.pauseProducing`."""
        self._is_full = True
        super().pauseProducing()

    @override
    def resumeProducing(self) -> None:
        """See :meth:`socks5.relay.transports.TransportSide.resumeProducing`."""
        self._is_full = False
        self._resume()

    def _resume(self) -> None:
        if not (self._is_full or self.gate.is_held):
            super().resumeProducing()

    @override
    def connectionLost(self, reason: Failure) -> None:
        """See :meth:`socks5.relay.relay.Side.connectionLost`."""
        self.gate.close()
        super().connectionLost(reason)
