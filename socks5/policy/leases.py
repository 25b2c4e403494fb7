"""One session's part in limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from typing_extensions import override
from zope.interface import implementer

from socks5.limits import ILease
from socks5.policy.buckets import LEAST_ROOM, MOST_GRAIN, MOST_ROOM, Flow
from socks5.policy.counters import Counter

MOST_SHARING = 1024
"""So many sessions may use a quota without more than is left of it, though they tell of it together."""


@implementer(ILease)
class Unlimited:
    """Of a session that is under no limit."""

    __slots__ = ()

    is_metered = False
    slowed = 0.0
    why = ""
    ended: Callable[[], object] | None = None

    def room(self, is_up: bool) -> int:
        """See :meth:`socks5.limits.ILease.room`."""
        return MOST_ROOM

    def grain(self, is_up: bool) -> int:
        """See :meth:`socks5.limits.ILease.grain`."""
        return MOST_GRAIN

    def moved(self, up: int, down: int) -> float:
        """See :meth:`socks5.limits.ILease.moved`."""
        return 0.0

    def leave(self, up: int = 0, down: int = 0, has_begun: bool = True) -> None:
        """See :meth:`socks5.limits.ILease.leave`."""


class MeteredLease(Unlimited):
    """Of a session whose octets are counted.

    Who tells of them at its end alone has neither a :class:`~socks5.policy.buckets.Flow` nor counters of its own.

    :param party: whose session it is: :class:`~socks5.policy.parties.MeteredParty`.
    """

    __slots__ = ("_flows", "_held_until", "_own", "_party", "_quotas", "ended", "slowed", "why")

    is_metered = True

    def __init__(self, party: Any) -> None:
        self._party = party
        self._flows: Sequence[Flow] = ()  # down, up
        self.slowed = 0.0
        self.why = ""
        self.ended: Callable[[], object] | None = None
        party.leases[self] = None

    def _begin(self) -> Sequence[Flow]:
        """It is no session that tells at its end alone.

        :returns: its flows, see there; those of one that is over fill nothing.
        """
        party = self._party
        if self not in party.leases:
            return Flow(), Flow()
        now = party.table.now()
        self._own = [Counter(party.table, limit, "", now) for limit in party.own]
        self._held_until = 0.0
        self._fill()
        return self._flows

    def _fill(self) -> None:
        """Take the buckets and the quotas of the counters."""
        party, own = self._party, self._own
        self._flows = [
            Flow([*party.filled[is_up], *(each for one in own for each in one.filled[is_up])])
            for is_up in (False, True)
        ]
        self._quotas = [*party.quotas, *(each for each in own if each.usage is not None)]

    def become(self) -> None:
        """The limits have other numbers now."""
        if self._flows:
            self._end_flows()
            self._party.keep_up(self._own)
            self._fill()

    def _end_flows(self) -> None:
        for flow in self._flows:
            flow.end()

    @override
    def room(self, is_up: bool) -> int:
        """See :meth:`socks5.limits.ILease.room`."""
        flows = self._flows or self._begin()
        return flows[is_up].room(self._party.table.now())

    @override
    def grain(self, is_up: bool) -> int:
        """See :meth:`socks5.limits.ILease.grain`."""
        flows = self._flows or self._begin()
        grain = flows[is_up].grain(self._party.table.now())
        for counter in self._quotas:
            grain = min(grain, counter.left_of_quota // MOST_SHARING)
        return max(grain, LEAST_ROOM)

    @override
    def moved(self, up: int, down: int) -> float:
        """See :meth:`socks5.limits.ILease.moved`."""
        party, flows = self._party, self._flows
        if not flows:
            if self not in party.leases:
                party.charge(up, down)
                return 0.0
            flows = self._begin()
        of_down, of_up = flows
        now = party.table.now()
        wait = of_up.moved(up, now) if up else 0.0
        if down:
            wait = max(wait, of_down.moved(down, now))
        for counter in self._quotas:
            usage = counter.usage
            assert usage is not None
            usage.octets += up + down
            if counter.used_up:
                self._ends_by(counter)
                wait = inf
        if wait:
            self._waits(wait, now, up > 0)
        return wait

    def _waits(self, wait: float, now: float, is_up: bool) -> None:
        """Both directions may wait at a time."""
        if wait < inf:
            until = max(self._held_until, now + wait)
            self.slowed += until - max(now, self._held_until)
            self._held_until = until
            for counter in (*self._party.counters, *self._own):
                if counter.buckets:
                    counter.slows(is_up, now)

    def _ends_by(self, counter: Counter) -> None:
        if not self.why:
            self.why = counter.refused(counter.used_up)

    def check(self) -> None:
        """Say that a quota is used up, if it is, to whoever has the lease."""
        for counter in self._party.quotas:
            if counter.used_up and not self.why:
                self._ends_by(counter)
                if self.ended is not None:
                    self.ended()

    @override
    def leave(self, up: int = 0, down: int = 0, has_begun: bool = True) -> None:
        """See :meth:`socks5.limits.ILease.leave`."""
        party = self._party
        del party.leases[self]
        self.ended = None
        if self._flows:
            self._end_flows()
            self._flows = ()
            self.slowed -= max(0.0, self._held_until - party.table.now())
        party.owes(up, down)
        party.leave(0, 0, has_begun)


@implementer(ILease)
class Together:
    """Several leases of one session as one.

    :param leases: those; there may be more later.
    """

    __slots__ = ("_leases",)

    def __init__(self, leases: list[ILease]) -> None:
        self._leases = leases

    @property
    def is_metered(self) -> bool:
        """See :class:`socks5.limits.ILease`."""
        return any(each.is_metered for each in self._leases)

    @property
    def slowed(self) -> float:
        """See :class:`socks5.limits.ILease`. All are told together, so the longest wait holds the others."""
        return max((each.slowed for each in self._leases), default=0.0)

    @property
    def why(self) -> str:
        """See :class:`socks5.limits.ILease`."""
        return next((each.why for each in self._leases if each.why), "")

    @property
    def ended(self) -> Callable[[], object] | None:
        """See :class:`socks5.limits.ILease`."""
        return next((each.ended for each in self._leases), None)

    @ended.setter
    def ended(self, ended: Callable[[], object] | None) -> None:
        for each in self._leases:
            each.ended = ended

    def room(self, is_up: bool) -> int:
        """See :meth:`socks5.limits.ILease.room`."""
        return min((each.room(is_up) for each in self._leases), default=MOST_ROOM)

    def grain(self, is_up: bool) -> int:
        """See :meth:`socks5.limits.ILease.grain`."""
        return min((each.grain(is_up) for each in self._leases), default=MOST_GRAIN)

    def moved(self, up: int, down: int) -> float:
        """See :meth:`socks5.limits.ILease.moved`."""
        leases = self._leases
        if len(leases) == 1:
            return leases[0].moved(up, down)
        return max([each.moved(up, down) for each in leases], default=0.0)

    def leave(self, up: int = 0, down: int = 0, has_begun: bool = True) -> None:
        """See :meth:`socks5.limits.ILease.leave`."""
        for each in self._leases:
            each.leave(up, down, has_begun)
