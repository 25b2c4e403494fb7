"""Time-outs that cost next to nothing to set and to clear, by a clock that only goes forward.

:class:`Deadlines` is for many waits of a few lengths: setting one is an insertion into two dicts and clearing one a
deletion, because those of one length run out in the order of insertion. One delayed call serves all of a length. A
:class:`Line` is those of one length, for what every connection waits for, such as the handshake: one insertion.
:class:`Young` is for what is to be done if something is not over soon, and need not be done punctually.
:class:`IdleTimer` is for the silence of one thing, which pays nothing for being active; :class:`IdleTimers` makes
them. :func:`clock_of` is the clock of everything that has a length.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from itertools import islice, takewhile
from time import monotonic
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python import runtime

_T = TypeVar("_T")

A_TURN = 100
"""Waits of one length that end before others get their turn: thousands may have begun at one moment, and to end a
session over TLS takes a tenth of a millisecond.
"""

_log = Logger()


def clock_of(reactor: Any) -> Callable[[], float]:
    """The clock to measure lengths of time by: it gives seconds, and nobody sets it.

    :param reactor: or another thing with its ``seconds()``. Most of Twisted's give the time of day, which an
        administrator or NTP may set back by any length; then it is the system's monotonic clock instead. One in
        memory, for tests, has its own.
    """
    seconds: Callable[[], float] = reactor.seconds
    return monotonic if seconds is runtime.seconds else seconds


class Deadlines:
    """Waits of any lengths; those of one length cost one delayed call together.

    :param reactor: the clock.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._now = clock_of(reactor)
        self._lines: dict[float, Line] = {}
        self._kept: dict[tuple[float, object], Line] = {}
        self._where: dict[object, tuple[Line, Callable[[], object]]] = {}

    def __len__(self) -> int:
        return sum(len(line.waits) for line in (*self._lines.values(), *self._kept.values()))

    def line(self, seconds: float, late: Callable[[Any], object]) -> Line:
        """A line for whoever has many waits of one length that end alike, and knows himself who waits there: a third
        of the cost.

        :param late: called with each that has waited so long.
        """
        line = self._kept.get((seconds, late))
        if line is None:
            line = self._kept[seconds, late] = Line(seconds, late, self._now, self._wait)
        return line

    def set(self, key: object, seconds: float, callback: Callable[[], object]) -> None:
        """Call *callback* once, unless *key* is cleared or set again before.

        :param seconds: 0 or less: it never runs out.
        """
        self.clear(key)  # it goes to the end of a line
        if seconds <= 0:
            return
        line = self._lines.get(seconds)
        if line is None:
            line = self._lines[seconds] = Line(seconds, self._late, self._now, self._wait)
        self._where[key] = line, callback
        line.set(key)

    def prolong(self, key: object, seconds: float) -> None:
        """Have *key*, if it is set, wait anew, and so long."""
        found = self._where.get(key)
        if found is not None:
            self.set(key, seconds, found[1])

    def clear(self, key: object) -> None:
        """Forget *key*; nothing happens if it is not set."""
        found = self._where.pop(key, None)
        if found is not None:
            found[0].clear(key)

    def _late(self, key: object) -> None:
        _, callback = self._where.pop(key)
        callback()

    def _expire(self, line: Line) -> None:
        """Tell those that are due, a few a turn, then wait for the next; one that raises does not keep the others
        from being told.
        """
        now, waits = self._now(), line.waits
        due = list(islice(takewhile(lambda item: item[1] <= now, waits.items()), A_TURN))
        try:
            for key, when in due:
                if waits.get(key) is when:  # nobody told before it has cleared or set it
                    del waits[key]
                    line.late(key)
        finally:
            line.is_watched = False
            self._wait(line)

    def _wait(self, line: Line) -> None:
        """Come back when a line's first wait runs out; one that is empty keeps no delayed call, and no place unless it
        is kept.
        """
        if line.seconds <= 0:
            line.waits.clear()
        elif line.waits:
            line.is_watched = True
            when = next(iter(line.waits.values()))
            self._reactor.callLater(max(0.0, when - self._now()), self._expire, line)
        elif self._lines.get(line.seconds) is line:
            del self._lines[line.seconds]


async def in_time(
    deadlines: Deadlines,
    key: object,
    seconds: float,
    coroutine: Coroutine[Any, Any, _T],
    late: Callable[[], Exception],
) -> _T:
    """What a coroutine returns, unless its time is over before: then it is cancelled.

    :param key: of its deadline, which may be prolonged or cleared meanwhile.
    :param seconds: 0 or less: its time is never over.
    :param late: makes what is raised then.
    """
    is_late = False

    def end() -> None:
        nonlocal is_late
        is_late = True
        going.cancel()

    deadlines.set(key, seconds, end)
    going = Deferred.fromCoroutine(coroutine)
    try:
        return await going
    except CancelledError:
        if not is_late:
            raise
        raise late() from None
    finally:
        deadlines.clear(key)


class Line:
    """Waits of one length: the order in which they begin is that in which they run out. See :meth:`Deadlines.line`.

    :param seconds: the length; 0 or less: nothing ever runs out.
    :param late: see there.
    :param now: the clock.
    :param begin: wait for the first one.
    """

    __slots__ = ("_begin", "_now", "is_watched", "late", "seconds", "waits")

    def __init__(
        self,
        seconds: float,
        late: Callable[[Any], object],
        now: Callable[[], float],
        begin: Callable[[Line], object],
    ) -> None:
        self.seconds = seconds
        self.late = late
        self._now = now
        self._begin = begin
        self.waits: dict[object, float] = {}
        """Until when, in their order."""
        self.is_watched = False
        """Whether somebody comes back for the first one."""

    def set(self, key: object) -> None:
        """*key*, which is not in the line, waits from now on."""
        now = self._now  # a call of its own: as a method it would be looked up slowly
        self.waits[key] = now() + self.seconds
        if not self.is_watched:
            self._begin(self)

    def clear(self, key: object) -> None:
        """It waits no more, if it did."""
        self.waits.pop(key, None)


YOUNG = 10.0
"""Seconds within which most things are over."""


class Lasting(Protocol):
    """Something that has more to do once it has lasted."""

    def lasts(self) -> None:
        """It has."""


class Young:
    """What has begun lately. Whatever lasts is told so, between :data:`YOUNG` seconds and twice that after its
    beginning; what ends before costs less than with a deadline of its own.

    :param reactor: the clock.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._newest: set[Lasting] = set()
        self._older: set[Lasting] = set()
        self._call: IDelayedCall | None = None

    def add(self, one: Lasting) -> None:
        """It begins."""
        self._newest.add(one)
        if self._call is None:
            self._call = self._reactor.callLater(YOUNG, self._grow_older)

    def discard(self, one: Lasting) -> None:
        """It is over; nothing happens to one that is not young any more."""
        self._newest.discard(one)
        self._older.discard(one)

    def _grow_older(self) -> None:
        self._call = None
        grown, self._older, self._newest = self._older, self._newest, set()
        if self._older:
            self._call = self._reactor.callLater(YOUNG, self._grow_older)
        for one in grown:
            try:
                one.lasts()
            except Exception:
                _log.failure("what lasts has failed")


class IdleTimers:
    """Makes timers that notice when something makes no progress.

    :param reactor: the clock.
    :ivar young: of what they are about, what has begun lately.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self.reactor = reactor
        self.young = Young(reactor)
        self._deadlines = Deadlines(reactor)

    def start(
        self,
        seconds: float,
        progress: Callable[[], int],
        expired: Callable[[], Any],
        looks: int = 4,
        seen: int | None = None,
    ) -> IdleTimer:
        """Start one.

        :param seconds: the time without progress after which *expired* is called, once; measured to one of *looks*
            parts of its length, never early.
        :param progress: a number that changes with every sign of life, such as octets moved; asked so many
            times in that time.
        :param expired: what to do then.
        :param looks: into how many parts the time is divided.
        :param seen: what that number is now, if the caller has it at hand; if it is not quite, the time may be
            longer by one part.
        """
        interval = max(0.001, seconds / looks)  # deadlines of no length would never run out
        seen = progress() if seen is None else seen
        return IdleTimer(self._deadlines, interval, looks, progress, expired, seen)


class IdleTimer:
    """Notices that something makes no progress; see :meth:`IdleTimers.start`.

    :param deadlines: serve its looks.
    :param interval: seconds between two of them.
    """

    __slots__ = (
        "_deadlines",
        "_expired",
        "_interval",
        "_looks",
        "_progress",
        "_quiet_looks",
        "_seen",
    )

    def __init__(
        self,
        deadlines: Deadlines,
        interval: float,
        looks: int,
        progress: Callable[[], int],
        expired: Callable[[], Any],
        seen: int,
    ) -> None:
        self._deadlines = deadlines
        self._interval = interval
        self._looks = looks
        self._progress = progress
        self._expired = expired
        self._seen = seen
        self._quiet_looks = 0
        deadlines.set(self, interval, self._tick)

    def stop(self) -> None:
        """Never expire; may be called at any time, and twice."""
        self._deadlines.clear(self)

    def _tick(self) -> None:
        seen = self._seen
        try:
            self._seen = self._progress()
        except Exception:  # what cannot be watched does not go on unwatched
            _log.failure("progress cannot be measured")
            self._expired()
            return
        self._quiet_looks = self._quiet_looks + 1 if seen == self._seen else 0
        if self._quiet_looks < self._looks:
            self._deadlines.set(self, self._interval, self._tick)
        else:
            self._expired()
