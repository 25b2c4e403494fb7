"""All that is counted in a process, and who is counted together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from heapq import heappop, heappush
from itertools import count
from typing import Any

from twisted.logger import Logger

from socks5.access import Access
from socks5.deadlines import clock_of
from socks5.loglimit import Sparing
from socks5.policy.counters import Counter, Quotas, Usage
from socks5.policy.limit import Limit, Per, who_key
from socks5.policy.parties import Key, MeteredParty, Party
from socks5.protocol.networks import subscriber

MOST_ASLEEP = 256
"""Clients without a session that are remembered."""


class Table:
    """All counters of a process.

    :param clock: the reactor, or another thing with its ``seconds()``.
    :param quotas: remember what is used.
    """

    log = Logger()

    kind: type[Party] = Party
    metered_kind: type[MeteredParty] = MeteredParty
    counter_kind: type[Counter] = Counter
    """What it is made of; counters of single sessions are ordinary ones."""

    def __init__(self, clock: Any, quotas: Quotas | None = None) -> None:
        self._clock = clock
        self.now: Callable[[], float] = clock_of(clock)
        self.quotas = quotas
        self.limits: Mapping[str, Limit] = {}
        """Those in force, by name."""
        self.reached: MutableMapping[str, int] = {}
        """How often each has refused or held somebody."""
        self.why = ""
        """Why the last session was refused that was."""
        self.parties: dict[Key, Party] = {}
        """Who has sessions, or had some lately, by what decides about who that is."""
        self.present: dict[Party, Party] = {}
        """Those who have sessions, if only from before other limits were in force."""
        self._asleep: dict[Party, Party] = {}
        self._counters: dict[tuple[str, str | bytes], Counter] = {}
        self._idle: list[tuple[float, int, Counter]] = []
        self._numbers = count()
        self._shared_lines: dict[str, Sparing] = {}

    def __len__(self) -> int:
        return len(self._counters)

    def __iter__(self) -> Iterator[Counter]:
        return iter(tuple(self._counters.values()))

    def party(self, names: tuple[str, ...], access: Access) -> Party:
        """Who has a session that is under some limits.

        :param names: of those.
        :returns: as :attr:`parties` has it, or one that is not kept yet, nor are its counters which there are not yet.
            It has the limits of single sessions, too: one session is neither too many nor too new, so those only
            count what it moves.
        """
        user = access.user
        key = names, access.client, None if user is None else user.name
        party = self.parties.get(key)
        if party is not None:
            return party
        now, client = self.now(), subscriber(access.client)
        counters: list[Counter] = []
        own: list[Limit] = []
        for limit in map(self.limits.get, names):
            if limit is None:  # it has just gone
                continue
            if limit.per == Per.SESSION:
                own.append(limit)
                continue
            who: str | bytes = ""
            if limit.per != Per.ALL:
                who = user.name if limit.per == Per.USER and user is not None else client
            found = self.get(limit.name, who)
            counters.append(self.counter_kind(self, limit, who, now) if found is None else found)
        limits = [*own, *(each.limit for each in counters)]
        kind = self.metered_kind if any(each.is_metered for each in limits) else self.kind
        return kind(self, key, client, counters, own)

    def begins(self, party: Party) -> None:
        """A party has a session."""
        self.parties[party.key] = self.present[party] = party
        self._asleep.pop(party, None)

    def ends(self, party: Party) -> None:
        """It has none any more. It is remembered, for most clients come again."""
        del self.present[party]
        if self.parties.get(party.key) is not party:
            return
        if not party.is_remembered:
            del self.parties[party.key]
            return
        self._asleep[party] = party
        if len(self._asleep) > MOST_ASLEEP:
            oldest = next(iter(self._asleep))
            del self._asleep[oldest], self.parties[oldest.key]

    def get(self, name: str, who: str | bytes) -> Counter | None:
        """That of a limit's name and whoever shares it, if it is kept."""
        return self._counters.get((name, who))

    def at(self, name: str, who: str | bytes) -> Counter | None:
        """The same, which is kept from now on; None: there is no such limit any more."""
        limit = self.limits.get(name)
        if limit is None or limit.per == Per.SESSION:
            return None
        counter = self.get(name, who)
        if counter is None:
            counter = self.counter_kind(self, limit, who, self.now())
            self.keep(counter)
        return counter

    def keep(self, counter: Counter) -> None:
        """A first session is under it."""
        self._counters[counter.key] = counter

    def left(self, counter: Counter) -> None:
        """No session is under it any more."""
        if not counter.is_listed:
            self.forget(counter, self.now())

    def forget(self, counter: Counter, now: float) -> None:
        """Forget one without a session, now or when it has no debt any more."""
        paid = counter.paid(now)
        counter.is_listed = paid > now
        if counter.is_listed:
            heappush(self._idle, (paid, next(self._numbers), counter))
            return
        if self._counters.get(counter.key) is counter:
            del self._counters[counter.key]

    def sweep(self) -> None:
        """Forget those whose debts are paid."""
        idle = self._idle
        if not idle:
            return
        now = self.now()
        while idle and idle[0][0] <= now:
            counter = heappop(idle)[2]
            counter.is_listed = False
            if not counter.is_used:
                self.forget(counter, now)

    def become(self, limits: Mapping[str, Limit]) -> None:
        """Let other limits hold: those of the same name, for the same who, go on counting. Where others share one than
        before, those who have entered go on together, by its numbers of now.
        """
        self.limits = limits
        for party in self.present:
            party.give_back()
        now = self.now()
        for key, counter in tuple(self._counters.items()):
            limit = limits.get(counter.limit.name)
            if limit is None:
                counter.retire()
                del self._counters[key]
                continue
            if limit.per != counter.limit.per:
                counter.part()
                del self._counters[key]
            counter.become(limit, now)
        self.parties.clear()
        self._asleep.clear()
        for party in self.present:
            party.become()

    # What counters need

    def usage_of(self, limit: Limit, who: str | bytes) -> Usage | None:
        """What is used of its quota, if it has one."""
        if limit.quota is None or self.quotas is None:
            return None
        return self.quotas.usage(limit.name, who_key(who), limit.quota[1])

    def until(self, span: str) -> str:
        """When a quota begins anew."""
        return "" if self.quotas is None else self.quotas.until(span)

    def check(self) -> None:
        """Tell sessions whose quota is used up. To be called once a second, where there are quotas."""
        for counter in self:
            if counter.used_up:
                for party in tuple(counter.parties):
                    party.check()

    def lines_of(self, limit: Limit) -> Sparing:
        """What says how many lines a counter may say. Those of sessions have them together."""
        if limit.per != Per.SESSION:
            return Sparing(self._clock)
        return self._shared_lines.setdefault(limit.name, Sparing(self._clock))
