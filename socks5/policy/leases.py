"""One session's part in limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from typing_extensions import override
from zope.interface import implementer

from socks5.interfaces import ILease
from socks5.policy.buckets import MOST_ROOM, Bucket, Flow
from socks5.policy.counters import Counter, Table


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
    """Of a session whose octets are counted, see :class:`Lease`."""

    __slots__ = (
        "_down",
        "_held_until",
        "_is_over",
        "_now",
        "_quotas",
        "_up",
        "ended",
        "slowed",
        "why",
    )

    is_metered = True

    def __init__(
        self, table: Table, counters: Sequence[Counter], client: bytes, now: float
    ) -> None:
        super().__init__(table, counters, client, now)
        self._now = table.now
        self.slowed = 0.0
        self._held_until = 0.0
        self._is_over = False
        self.why = ""
        self.ended: Callable[[], object] | None = None
        table.metered[self] = None
        self._fill()

    def _fill(self) -> None:
        """Take the buckets and quotas of the counters."""
        counters = self._counters
        down: tuple[Bucket, ...] = ()
        up = down
        for counter in counters:
            more_down, more_up = counter.filled
            down += more_down
            up += more_up
        self._down, self._up = Flow(down), Flow(up)
        self._quotas = [each for each in counters if each.usage is not None]
        for counter in self._quotas:
            counter.leases[self] = None

    def _empty(self) -> None:
        """Wait for no bucket, and hear of no quota, any more."""
        self._down.release()
        self._up.release()
        for counter in self._quotas:
            counter.leases.pop(self, None)

    def numbers_changed(self) -> None:
        """The limits have other numbers now."""
        table = self._table
        for counter in self._counters:
            if not counter.is_retired and counter is not table.get(counter.limit.name, counter.who):
                limit = table.limits.get(counter.limit.name)
                if limit is None:  # and nobody else tells it
                    counter.retire()
                else:
                    counter.become(limit, table.now())
        self._empty()
        self._fill()

    @override
    def room(self, is_up: bool) -> int:
        """See :meth:`socks5.interfaces.ILease.room`."""
        return (self._up if is_up else self._down).room(self._now())

    @override
    def moved(self, up: int, down: int) -> float:
        """See :meth:`socks5.interfaces.ILease.moved`."""
        now = self._now()
        wait = self._up.moved(up, now) if up else 0.0
        if down:
            wait = max(wait, self._down.moved(down, now))
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

    def _waits(self, wait: float, now: float, is_up: bool) -> None:
        """Both directions may wait at a time."""
        if wait < inf:
            until = max(self._held_until, now + wait)
            self.slowed += until - max(now, self._held_until)
            self._held_until = until
            for counter in self._counters:
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
        super().leave(has_begun)


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
