"""Those who are under the same counters: a client's sessions, of one user, that the same limits are for.

Which counters those are is found out for the first of them. The others enter all at once, and leave so; what is the
same for all of them is counted once. So the address of a party that has a session counts once, however many it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from typing_extensions import override

from socks5.limits import ILease
from socks5.policy.buckets import LEAST_ROOM, Bucket
from socks5.policy.counters import Counter
from socks5.policy.leases import MeteredLease, Unlimited
from socks5.policy.limit import Limit

Key = tuple[tuple[str, ...], str, str | None]
"""What decides about who is of a party: the names of limits, a client's address, and a user's name."""


class Party(Unlimited):
    """See the module. It is the lease of each of its sessions, for there is nothing to say of one of them alone.

    The place of a session that has left it keeps for the next one, unless places are short somewhere: so nobody else
    has to be asked or told in most cases.

    :param table: has the counters: :class:`~socks5.policy.table.Table`.
    :param key: by which the table has it.
    :param client: their :func:`~socks5.protocol.networks.subscriber`.
    :param counters: what they are under.
    :param own: the limits that count what each of them moves for itself.
    :ivar sessions: how many there are.
    """

    __slots__ = (
        "_counted",
        "_keeps",
        "_paced",
        "_placed",
        "_spare",
        "client",
        "counters",
        "key",
        "own",
        "sessions",
        "table",
    )

    def __init__(
        self, table: Any, key: Key, client: bytes, counters: Sequence[Counter], own: list[Limit]
    ) -> None:
        self.table = table
        self.key = key
        self.client = client
        self.counters = counters
        self.own = own
        self.sessions = self._spare = 0
        self._keeps = False
        self._sort()

    def _sort(self) -> None:
        """Look which counters have to be asked or told of what."""
        self._counted = [each for each in self.counters if self.is_counted(each)]
        self._placed = [each for each in self.counters if each.limit.client_addresses is not None]
        self._paced = [each.new for each in self.counters if each.new is not None]

    def is_counted(self, counter: Counter) -> bool:
        """Whether a counter has to know how many sessions there are."""
        return counter.limit.sessions is not None

    def become(self) -> None:
        """Others are the limits now: those of before hold with the numbers of now, or hold nobody any more."""
        limits = self.table.limits
        self.own = [limits[each.name] for each in self.own if each.name in limits]
        self.keep_up(self.counters)
        self._sort()
        self.look_for_places()

    def keep_up(self, counters: Iterable[Counter]) -> None:
        """Tell those of the numbers of now who are told by nobody else."""
        table = self.table
        for counter in counters:
            if not counter.is_retired and counter is not table.get(*counter.key):
                limit = table.limits.get(counter.limit.name)
                if limit is None:
                    counter.retire()
                else:
                    counter.become(limit, table.now())

    # Sessions

    def enter(self) -> ILease | None:
        """One more session.

        :returns: None: there may be none, and nothing is taken; the table says why.
        """
        sessions = self.sessions
        if not sessions and not self._may_begin():
            return None
        if self._counted:
            spare = self._spare
            if spare:
                self._spare = spare - 1
            elif not self._takes_place():
                return None
        if self._paced:
            now = self.table.now()
            for new in self._paced:  # as Bucket.charge does, without a call
                level = new.content - (now - new.since) * new.rate
                level = level + 1 if level > 0 else 1.0
                if level > new.burst:
                    self._too_new(new, now)
                    return None
                new.content = level
                new.since = now
        if not sessions:
            self._begins()
        self.sessions = sessions + 1
        return self

    def _takes_place(self) -> bool:
        """Count one more, if there may be one."""
        counted = self._counted
        for counter in counted:
            if counter.sessions >= counter.most and not counter.finds_place():
                self._refused(counter, counted[: counted.index(counter)])
                return False
            counter.sessions += 1
        return True

    def _may_begin(self) -> bool:
        """Look whether their address is not one too many. Counters that were forgotten since may be others by now."""
        table = self.table
        table.sweep()
        counters = [table.get(*each.key) or each for each in self.counters]
        if counters != self.counters:
            self.counters = counters
            self._sort()
        for counter in self._placed:
            if not counter.has_place_for(self.client):
                self._refused(counter, [])
                return False
        return True

    # Places

    def _give_places(self, count: int) -> None:
        for counter in self._counted:
            counter.gives_place(count)

    def give_back(self) -> None:
        """See :class:`socks5.policy.counters.Sharer`."""
        spare, self._spare = self._spare, 0
        self._give_places(spare)

    def look_for_places(self) -> None:
        """See :class:`socks5.policy.counters.Sharer`."""
        self._keeps = not any(each.is_short for each in self._counted)

    # The first and the last one

    def _begins(self) -> None:
        """There is a first one."""
        self.table.begins(self)
        for counter in self.counters:
            counter.joins(self)
        self.look_for_places()

    def _too_new(self, new: Bucket, now: float) -> None:
        """One more is, for this one and whoever was asked behind it."""
        paced = self._paced
        self._take_back(paced[: paced.index(new)], now)
        by = next(each for each in self.counters if each.new is new)
        self._refused(by, self._counted, now)

    def _refused(self, by: Counter, counted: Iterable[Counter], now: float = 0.0) -> None:
        """There may not be one more: these have counted it."""
        for counter in counted:
            counter.gives_place(1)
        self.table.why = by.refused(by.objection(self.client, now))

    @staticmethod
    def _take_back(paced: Iterable[Bucket], now: float) -> None:
        for new in paced:
            new.take_back(1, now)

    @override
    def leave(self, up: int = 0, down: int = 0, has_begun: bool = True) -> None:
        """See :meth:`socks5.limits.ILease.leave`."""
        self.sessions -= 1
        if self._counted:
            if self._keeps:
                self._spare += 1
            else:
                self._give_places(1)
        if not has_begun:
            self._take_back(self._paced, self.table.now())
        if not self.sessions:
            self._ends()

    def _ends(self) -> None:
        """It was the last one."""
        self.give_back()
        for counter in self.counters:
            counter.parts(self)
        self.table.ends(self)

    @property
    def is_remembered(self) -> bool:
        """Whether its counters can be forgotten and come back."""
        return True

    def check(self) -> None:
        """See :class:`socks5.policy.counters.Sharer`: tell the sessions that tell what they move."""


class MeteredParty(Party):
    """One whose sessions' octets are counted, see :class:`Party`.

    Most sessions tell of what they have moved once, at their end. What such sessions have to pay is charged when
    it has become :data:`~socks5.policy.buckets.LEAST_ROOM` octets, or there is no session any more.

    :ivar filled: the buckets that octets fill which move down, and those that octets fill which move up.
    :ivar quotas: the counters that have one.
    :ivar leases: its sessions'.
    """

    __slots__ = ("_owed_down", "_owed_up", "filled", "leases", "quotas")

    lease_kind = MeteredLease

    def __init__(
        self, table: Any, key: Key, client: bytes, counters: Sequence[Counter], own: list[Limit]
    ) -> None:
        super().__init__(table, key, client, counters, own)
        self.leases: dict[MeteredLease, None] = {}
        self._owed_up = self._owed_down = 0

    @override
    def _sort(self) -> None:
        super()._sort()
        self.quotas = [each for each in self.counters if each.usage is not None]
        self.filled = [
            [bucket for counter in self.counters for bucket in counter.filled[is_up]]
            for is_up in (False, True)
        ]

    @override
    def become(self) -> None:
        """See :meth:`Party.become`."""
        super().become()
        for lease in self.leases:
            lease.become()

    @override
    def enter(self) -> ILease | None:
        """See :meth:`Party.enter`."""
        if self.quotas and self.sessions and not self._has_something_left():
            return None
        return None if Party.enter(self) is None else self.lease_kind(self)

    @override
    def _may_begin(self) -> bool:
        return super()._may_begin() and self._has_something_left()

    def _has_something_left(self) -> bool:
        """Whether no quota is used up."""
        for counter in self.quotas:
            if counter.used_up:
                self._refused(counter, [])
                return False
        return True

    def owes(self, up: int, down: int) -> None:
        """A session is over that has moved so much and was not charged for it."""
        self._owed_up += up
        self._owed_down += down
        if self._owed_up + self._owed_down >= LEAST_ROOM:
            self._settle()

    def _settle(self) -> None:
        up, down, self._owed_up, self._owed_down = self._owed_up, self._owed_down, 0, 0
        self.charge(up, down)

    def charge(self, up: int, down: int) -> None:
        """So much has moved, and nobody waits for it to be paid."""
        now = self.table.now()
        of_down, of_up = self.filled
        for bucket in of_down:
            bucket.charge(down, now)
        for bucket in of_up:
            bucket.charge(up, now)
        for counter in self.quotas:
            assert counter.usage is not None
            counter.usage.octets += up + down

    @override
    def _ends(self) -> None:
        self._settle()
        super()._ends()

    @property
    @override
    def is_remembered(self) -> bool:
        """See :attr:`Party.is_remembered`. What is used of a quota is told, if anything is, of those that are not."""
        return not self.quotas

    @override
    def check(self) -> None:
        """See :meth:`Party.check`."""
        for lease in tuple(self.leases):
            lease.check()
