"""One session's part in limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf

from typing_extensions import override
from zope.interface import implementer

from socks5.interfaces import ILease
from socks5.policy.buckets import LEAST_BURST, MOST_ROOM, Flow
from socks5.policy.counters import Counter, Table
from socks5.policy.limit import Limit, Per


@implementer(ILease)
class Unlimited:
    """Of a session that is under no limit."""

    __slots__ = ()

    is_metered = False
    slowed = 0.0
    why = ""
    ended: Callable[[], object] | None = None

    def room(self, is_up: bool) -> int:
        """See :meth:`socks5.interfaces.ILease.room`."""
        return MOST_ROOM

    def moved(self, up: int, down: int) -> float:
        """See :meth:`socks5.interfaces.ILease.moved`."""
        return 0.0

    def leave(self, has_begun: bool = True) -> None:
        """See :meth:`socks5.interfaces.ILease.leave`."""


class Lease(Unlimited):
    """Of a session that is under some counters.

    :param table: has the counters.
    :param counters: those; the session is counted there from now on.
    :param client: the client's :func:`~socks5.protocol.networks.subscriber`.
    :param now: the time.
    """

    __slots__ = ("_client", "_counters", "_table")

    def __init__(
        self, table: Table, counters: Sequence[Counter], client: bytes, now: float
    ) -> None:
        self._table = table
        self._counters = counters
        self._client = client
        for counter in counters:
            counter.enter(client, now)

    @override
    def leave(self, has_begun: bool = True) -> None:
        """See :meth:`socks5.interfaces.ILease.leave`."""
        for counter in self._counters:
            counter.leave(self._client, has_begun)


class MeteredLease(Lease):
    """Of a session whose octets are counted, see :class:`Lease`.

    Most sessions are told of once, at their end. They have no
    :class:`~socks5.policy.buckets.Flow` then, nor counters of their own.

    :param own: the limits that count what moves for this session alone.
    """

    __slots__ = (
        "_before",
        "_flows",
        "_held_until",
        "_is_over",
        "_now",
        "_own",
        "_quotas",
        "_under",
        "ended",
        "slowed",
        "why",
    )

    is_metered = True

    def __init__(
        self,
        table: Table,
        counters: Sequence[Counter],
        own: Sequence[Limit],
        client: bytes,
        now: float,
    ) -> None:
        super().__init__(table, counters, client, now)
        self._own = own
        self._now = table.now
        self._before: tuple[int, int, float] | None = None  # what moved without flows, and when
        self._flows: Sequence[Flow] = ()  # down, up
        self._under = counters
        self._quotas: Sequence[Counter] = ()
        self.slowed = self._held_until = 0.0
        self._is_over = False
        self.why = ""
        self.ended: Callable[[], object] | None = None
        table.metered[self] = None
        if table.quotas is not None:
            self._watch()

    def _flow(self) -> Sequence[Flow]:
        """It is no session that is told of once.

        :returns: its flows, see there; those of one that is over fill nothing.
        """
        if self._is_over:
            return Flow(), Flow()
        up, down, since = self._before or (0, 0, self._now())
        own = [Counter(self._table, limit, "", since) for limit in self._own]
        _charge(own, up, down, since)
        self._under = [*self._counters, *own]
        self._fill()
        return self._flows

    def _fill(self) -> None:
        """Take the buckets of the counters."""
        self._flows = [
            Flow([bucket for counter in self._under for bucket in counter.filled[is_up]])
            for is_up in (False, True)
        ]

    def _watch(self) -> None:
        """Take the quotas of the counters."""
        self._quotas = [each for each in self._under if each.usage is not None]
        for counter in self._quotas:
            counter.leases[self] = None

    def _empty(self) -> None:
        """Wait for no bucket, and hear of no quota, any more."""
        for flow in self._flows:
            flow.release()
        for counter in self._quotas:
            counter.leases.pop(self, None)

    def numbers_changed(self) -> None:
        """The limits have other numbers now."""
        table = self._table
        limits = table.limits
        own = [limits[each.name] for each in self._own if each.name in limits]
        if not self._flows and (self._before or any(each.per != Per.SESSION for each in own)):
            self._flow()
        self._own = own
        for counter in self._under:
            if not counter.is_retired and counter is not table.get(counter.limit.name, counter.who):
                limit = limits.get(counter.limit.name)
                if limit is None:  # and nobody else tells it
                    counter.retire()
                else:
                    counter.become(limit, table.now())
        self._empty()
        if self._flows:
            self._fill()
        self._watch()

    @override
    def room(self, is_up: bool) -> int:
        """See :meth:`socks5.interfaces.ILease.room`."""
        flows = self._flows or self._flow()
        return flows[is_up].room(self._now())

    @override
    def moved(self, up: int, down: int) -> float:
        """See :meth:`socks5.interfaces.ILease.moved`."""
        now = self._now()
        if self._flows:
            of_down, of_up = self._flows
            wait = of_up.moved(up, now) if up else 0.0
            if down:
                wait = max(wait, of_down.moved(down, now))
        else:
            wait = self._moved_first(up, down, now)
        for counter in self._quotas:
            usage = counter.usage
            assert usage is not None
            usage.octets += up + down
            if counter.used_up:
                self._ends_by(counter)
                wait = inf
        if wait and not self._is_over:
            self._waits(wait, now, up > 0)
        return wait

    def _moved_first(self, up: int, down: int, now: float) -> float:
        """The same without flows: for what moves first, which no rate of its own holds, and for what moves last."""
        if self._is_over:
            return _charge(self._counters, up, down, now)
        is_first = self._before is None and up + down <= LEAST_BURST
        if is_first:
            self._before = up, down, now
            if not _charge(self._counters, up, down, now):
                return 0.0
        of_down, of_up = self._flow()
        waits = [
            flow.moved(0 if is_first else octets, now)
            for flow, octets in ((of_up, up), (of_down, down))
            if octets
        ]
        return max(waits, default=0.0)

    def _waits(self, wait: float, now: float, is_up: bool) -> None:
        """Both directions may wait at a time."""
        if wait < inf:
            until = max(self._held_until, now + wait)
            self.slowed += until - max(now, self._held_until)
            self._held_until = until
            for counter in self._under:
                if counter.buckets:
                    counter.slows(is_up, now)

    def _ends_by(self, counter: Counter) -> None:
        if not (self.why or self._is_over):
            self.why = counter.refused(counter.used_up)

    def check(self) -> None:
        """Say that a quota is used up, if it is, to whoever has the lease."""
        for counter in self._quotas:
            if counter.used_up and not self.why:
                self._ends_by(counter)
                if self.ended is not None:
                    self.ended()

    @override
    def leave(self, has_begun: bool = True) -> None:
        """See :meth:`socks5.interfaces.ILease.leave`."""
        table = self._table
        self._is_over = True
        self.ended = None
        if self._held_until:
            self.slowed -= max(0.0, self._held_until - table.now())
        del table.metered[self]
        self._empty()
        self._flows = ()  # nor for one in whatever moves behind the end
        super().leave(has_begun)


def _charge(counters: Iterable[Counter], up: int, down: int, now: float) -> float:
    """So much has moved under counters.

    :returns: seconds to wait for one of them, if there is one to wait for.
    """
    octets = {"up": up, "down": down, "total": up + down}
    wait = 0.0
    for counter in counters:
        for name, bucket in counter.buckets.items():
            wait = bucket.charge(octets[name], now) or wait
    return wait


@implementer(ILease)
class Together:
    """Several leases of one session as one.

    :param leases: those; there may be more later.
    """

    __slots__ = ("_leases",)

    def __init__(self, leases: Sequence[ILease]) -> None:
        self._leases = leases

    @property
    def is_metered(self) -> bool:
        """See :class:`socks5.interfaces.ILease`."""
        return any(each.is_metered for each in self._leases)

    @property
    def slowed(self) -> float:
        """See :class:`socks5.interfaces.ILease`. All are told together, so the longest wait holds the others."""
        return max((each.slowed for each in self._leases), default=0.0)

    @property
    def why(self) -> str:
        """See :class:`socks5.interfaces.ILease`."""
        return next((each.why for each in self._leases if each.why), "")

    @property
    def ended(self) -> Callable[[], object] | None:
        """See :class:`socks5.interfaces.ILease`."""
        return next((each.ended for each in self._leases), None)

    @ended.setter
    def ended(self, ended: Callable[[], object] | None) -> None:
        for each in self._leases:
            each.ended = ended

    def room(self, is_up: bool) -> int:
        """See :meth:`socks5.interfaces.ILease.room`."""
        return min((each.room(is_up) for each in self._leases), default=MOST_ROOM)

    def moved(self, up: int, down: int) -> float:
        """See :meth:`socks5.interfaces.ILease.moved`."""
        leases = self._leases
        if len(leases) == 1:
            return leases[0].moved(up, down)
        return max([each.moved(up, down) for each in leases], default=0.0)

    def leave(self, has_begun: bool = True) -> None:
        """See :meth:`socks5.interfaces.ILease.leave`."""
        for each in self._leases:
            each.leave(has_begun)
