"""What is counted under limits: how many sessions there are, from where, how many are new, and what has moved.

A counter is there while a session or a debt is; without both it is forgotten. It outlives what its limit says: other
numbers may hold for it from one moment to the next, and nothing that is counted gets lost by that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from socks5.access import Access
from socks5.deadlines import clock_of
from socks5.loglimit import Sparing
from socks5.policy.buckets import Bucket, burst_of
from socks5.policy.limit import (
    Limit,
    Per,
    events_text,
    size_text,
    who_key,
    who_text,
)

QUIET = 60.0
"""Seconds without a wait after which a rate that is reached is told again."""

RATES = ("up", "down", "total")

_ALL, _USER, _SESSION = Per.ALL, Per.USER, Per.SESSION
"""For every session asks, and Python 3.11 takes its time to get a member of an enumeration."""


class Usage(Protocol):
    """What is used of a quota."""

    octets: int


class Quotas(Protocol):
    """Remembers what is used of quotas: :class:`socks5.policy.quotas.Quotas`."""

    zone: Any

    def open(self) -> None:
        """Read what is used. Said again, it does nothing.

        :raises OSError: it cannot be read, or not be written later.
        """

    def close(self) -> Deferred[None]:
        """Save what is not saved."""

    def usage(self, limit: str, who: str, span: str) -> Usage:
        """What somebody has used of a limit's quota in the calendar's present day, week or month: the same object each
        time.
        """

    def until(self, span: str) -> str:
        """The first day of the next one."""

    def watch(self, check: Callable[[], None]) -> None:
        """Call *check* at least once a second, and nobody else's any more."""


class Counter:
    """Of one limit, for whoever shares it.

    :param table: whose it is.
    :param limit: what may be.
    :param who: a user's name, a client's :func:`~socks5.protocol.networks.subscriber`, or "".
    :param now: the time.
    :ivar sessions: how many there are.
    :ivar new: how many have begun, as they are forgotten.
    :ivar buckets: those of rates.
    :ivar is_metered: whether it is about what moves.
    :ivar filled: the buckets that octets fill which move down, and those that octets fill which move up.
    :ivar is_listed: whether it is looked at when its debts are paid.
    :ivar is_retired: whether there is no such limit any more.
    :ivar may_object: whether there may be too many sessions for a further one.
    """

    __slots__ = (
        "_addresses",
        "_lines",
        "_slowed",
        "_table",
        "buckets",
        "filled",
        "is_listed",
        "is_metered",
        "is_retired",
        "leases",
        "limit",
        "may_object",
        "new",
        "sessions",
        "usage",
        "who",
    )

    share = 1
    """So many processes have it."""

    def __init__(self, table: Table, limit: Limit, who: str | bytes, now: float) -> None:
        self._table = table
        self.who = who
        self.sessions = 0
        self._addresses: dict[bytes, int] = {}
        self.new: Bucket | None = None
        self.buckets: dict[str, Bucket] = {}
        self.usage: Usage | None = None
        self.leases: dict[Any, None] = {}
        """Those to be told when a quota is used up."""
        self._lines: Sparing | None = None
        self._slowed = -inf
        self.is_listed = self.is_retired = False
        self.become(limit, now)

    def become(self, limit: Limit, now: float) -> None:
        """Let other numbers hold."""
        self.limit = limit
        self.is_metered = limit.is_metered
        share = self.share
        before, self.buckets = self.buckets, {}
        for name in RATES:
            rate = getattr(limit, name)
            if rate is not None:
                bucket = before.get(name)
                if bucket is None:
                    bucket = Bucket(rate, burst_of(rate) / share, now, share)
                else:
                    bucket.change(rate, burst_of(rate) / share, now)
                self.buckets[name] = bucket
        down, up, total = map(self.buckets.get, ("down", "up", "total"))
        self.filled = tuple(filter(None, (down, total))), tuple(filter(None, (up, total)))
        if limit.new_sessions is None:
            self.new = None
        else:
            most, seconds = limit.new_sessions
            if self.new is None:
                self.new = Bucket(most / seconds, most, now)
            else:
                self.new.change(most / seconds, most, now)
        self.usage = self._table.usage_of(limit, self.who)
        counts = limit.sessions, limit.client_addresses, self.new, self.usage
        self.may_object = any(each is not None for each in counts)

    def retire(self) -> None:
        """There is no such limit any more."""
        self.buckets, self.filled = {}, ((), ())
        self.new = self.usage = None
        self.is_retired = True

    def part(self) -> None:
        """Others share the limit from now on, in another way; here are those who have entered."""

    # Sessions

    def objection(self, client: bytes, now: float) -> str:
        """Why there may be no further session of a client's; "" if there may."""
        limit = self.limit
        if limit.sessions is not None and self.sessions >= limit.sessions:
            return f"{limit.sessions} sessions"
        most = limit.client_addresses
        if most is not None and client not in self._addresses and len(self._addresses) >= most:
            return f"{most} client addresses"
        if self.new is not None and self.new.level(now) + 1 > self.new.burst:
            assert limit.new_sessions is not None
            return f"{events_text(*limit.new_sessions)} new sessions"
        return "" if self.usage is None else self.used_up

    @property
    def used_up(self) -> str:
        """That the quota is used up; "" if it is not."""
        limit = self.limit
        if self.usage is None or limit.quota is None or self.usage.octets < limit.quota[0]:
            return ""
        return f"quota is used up until {self._table.until(limit.quota[1])}"

    def enter(self, client: bytes, now: float) -> None:
        """One more session."""
        if not self.sessions:
            self._table.keep(self)
        self.sessions += 1
        addresses = self._addresses  # though they may be limited only later
        addresses[client] = addresses.get(client, 0) + 1
        if self.new is not None:
            self.new.charge(1, now)

    def leave(self, client: bytes, has_begun: bool = True) -> None:
        """One less.

        :param has_begun: whether it counts as a new one. Not if it was turned away after all.
        """
        self.sessions -= 1
        if not has_begun and self.new is not None:
            self.new.take_back(1, self._table.now())
        addresses = self._addresses
        left = addresses[client] - 1
        if left:
            addresses[client] = left
        else:
            del addresses[client]
        if not self.sessions:
            self._table.left(self)

    def paid(self, now: float) -> float:
        """When there will be no debt any more."""
        buckets = [*self.buckets.values()] + ([] if self.new is None else [self.new])
        return now + max((each.level(now) / each.rate for each in buckets), default=0.0)

    # Saying that it is reached

    def refused(self, why: str) -> str:
        """A session is refused, or ended: count that, and say so.

        :returns: the reason.
        """
        self._say(why)
        self._count()
        return f"limit {self.limit.name}: {why}"

    def slows(self, is_up: bool, now: float) -> None:
        """A session waits: if it is because of this counter, count that, and say so where it is news."""
        own = ("up" if is_up else "down", "total")
        rates = [
            f"{size_text(each.rate)}/s {name}"
            for name, each in self.buckets.items()
            if name in own and each.level(now) > each.burst
        ]
        if rates:
            is_news = now - self._slowed >= QUIET
            self._slowed = now
            if is_news:
                self._say(", ".join(rates))
            self._count()

    def _count(self) -> None:
        reached, name = self._table.reached, self.limit.name
        reached[name] = reached.get(name, 0) + 1

    def _say(self, what: str) -> None:
        if self._lines is None:
            self._lines = self._table.lines_of(self.limit)
        left_out = self._lines.next()
        if left_out is not None:
            who = who_text(self.who)
            self._table.log.info(
                "limit {limit} is reached{who}: {what}{others}",
                limit=self.limit.name,
                who=f" by {who}" if who else "",
                what=what,
                others=f"; {left_out} times without a line" if left_out else "",
            )


class Table:
    """All counters of a process.

    :param clock: the reactor, or another thing with its ``seconds()``.
    :param quotas: remember what is used.
    """

    log = Logger()

    kind: type[Counter] = Counter
    """What its counters are made of; those of single sessions are ordinary ones."""

    def __init__(self, clock: Any, quotas: Quotas | None = None) -> None:
        self._clock = clock
        self.now: Callable[[], float] = clock_of(clock)
        self.quotas = quotas
        self.limits: Mapping[str, Limit] = {}
        """Those in force, by name."""
        self.reached: MutableMapping[str, int] = {}
        """How often each has refused or held somebody."""
        self.metered: dict[Any, None] = {}
        """The leases that are asked and told what moves."""
        self._counters: dict[tuple[str, str | bytes], Counter] = {}
        self._idle: list[tuple[float, int, Counter]] = []
        self._numbers = count()
        self._shared_lines: dict[str, Sparing] = {}

    def __len__(self) -> int:
        return len(self._counters)

    def __iter__(self) -> Iterator[Counter]:
        return iter(tuple(self._counters.values()))

    def find(
        self, names: Iterable[str], access: Access, client: bytes, now: float
    ) -> tuple[list[Counter], list[Limit]]:
        """What a session would be under.

        :param client: the client's :func:`~socks5.protocol.networks.subscriber`.
        :returns: counters, of which those that there are not yet are not kept yet; and the limits of single sessions.
            One session is neither too many nor too new, so those only count what it moves.
        """
        if self._idle:
            self.sweep(now)
        found: list[Counter] = []
        own: list[Limit] = []
        user = access.user
        for name in names:
            limit = self.limits.get(name)
            if limit is None:  # it has just gone
                continue
            per = limit.per
            if per == _SESSION:
                own.append(limit)
                continue
            who: str | bytes = ""
            if per != _ALL:
                who = user.name if per == _USER and user is not None else client
            found.append(self._counters.get((name, who)) or self.kind(self, limit, who, now))
        return found, own

    def get(self, name: str, who: str | bytes) -> Counter | None:
        """That of a limit's name and whoever shares it, if it is kept."""
        return self._counters.get((name, who))

    def at(self, name: str, who: str | bytes) -> Counter | None:
        """The same, which is kept from now on; None: there is no such limit any more."""
        limit = self.limits.get(name)
        if limit is None or limit.per == _SESSION:
            return None
        counter = self.get(name, who)
        if counter is None:
            counter = self._counters[name, who] = self.kind(self, limit, who, self.now())
        return counter

    def keep(self, counter: Counter) -> None:
        """A first session is under it."""
        self._counters[counter.limit.name, counter.who] = counter

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
        key = counter.limit.name, counter.who
        if self._counters.get(key) is counter:
            del self._counters[key]

    def sweep(self, now: float) -> None:
        """Forget those whose debts are paid."""
        idle = self._idle
        while idle and idle[0][0] <= now:
            counter = heappop(idle)[2]
            counter.is_listed = False
            if not counter.sessions:
                self.forget(counter, now)

    def become(self, limits: Mapping[str, Limit]) -> None:
        """Let other limits hold: those of the same name, for the same who, go on counting. Where others share one than
        before, those who have entered go on together, by its numbers of now.
        """
        self.limits = limits
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
        for lease in self.metered:
            lease.numbers_changed()

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
            if counter.leases and counter.used_up:
                for lease in tuple(counter.leases):
                    lease.check()

    def lines_of(self, limit: Limit) -> Sparing:
        """What says how many lines a counter may say. Those of sessions have them together."""
        if limit.per != _SESSION:
            return Sparing(self._clock)
        return self._shared_lines.setdefault(limit.name, Sparing(self._clock))
