"""What is counted under limits: how many sessions there are, from where, how many are new, and what has moved.

A counter is there while a session or a debt is; without both it is forgotten (:mod:`socks5.policy.table`). It outlives
what its limit says: other numbers may hold for it from one moment to the next, and nothing that is counted gets lost by
that. What sessions do under it their :class:`~socks5.policy.parties.Party` does, for all its counters.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from socks5.loglimit import Sparing
from socks5.policy.buckets import Bucket, burst_of
from socks5.policy.limit import Limit, events_text, size_text, who_text

QUIET = 60.0
"""Seconds without a wait after which a rate that is reached is told again."""

ENOUGH = 7 / 8
"""As much of the sessions that there may be as has to be there for places to be short still."""

RATES = ("up", "down", "total")


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


class Sharer(Protocol):
    """Who is under a counter: a :class:`~socks5.policy.parties.Party`."""

    client: bytes
    sessions: int

    def give_back(self) -> None:
        """Give back the places that it keeps."""

    def look_for_places(self) -> None:
        """Keep some, or none, for they may be short, or may not be any more."""

    def check(self) -> None:
        """A quota may be used up."""


class Counter:
    """Of one limit, for whoever shares it.

    :param table: whose it is: :class:`socks5.policy.table.Table`.
    :param limit: what may be.
    :param who: a user's name, a client's :func:`~socks5.protocol.networks.subscriber`, or "".
    :param now: the time.
    :ivar key: the limit's name, and *who*.
    :ivar parties: those who are under it.
    :ivar sessions: how many there are, and places that parties keep for others, if they are limited; else nobody
        counts them.
    :ivar most: how many there may be.
    :ivar is_short: whether parties keep no places.
    :ivar new: how many have begun, as they are forgotten.
    :ivar buckets: those of rates.
    :ivar is_metered: whether it is about what moves.
    :ivar filled: the buckets that octets fill which move down, and those that octets fill which move up.
    :ivar is_listed: whether it is looked at when its debts are paid.
    :ivar is_retired: whether there is no such limit any more.
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
        "is_short",
        "key",
        "limit",
        "most",
        "new",
        "parties",
        "sessions",
        "usage",
        "who",
    )

    share = 1
    """So many processes have it."""

    def __init__(self, table: Any, limit: Limit, who: str | bytes, now: float) -> None:
        self._table = table
        self.key = limit.name, who
        self.who = who
        self.parties: dict[Sharer, None] = {}
        self.sessions = 0
        self._addresses: dict[bytes, int] = {}  # so many parties of each
        self.new: Bucket | None = None
        self.buckets: dict[str, Bucket] = {}
        self.usage: Usage | None = None
        self._lines: Sparing | None = None
        self._slowed = -inf
        self.is_listed = self.is_retired = self.is_short = False
        self.become(limit, now)

    def become(self, limit: Limit, now: float) -> None:
        """Let other numbers hold."""
        self.limit = limit
        self.most = inf if limit.sessions is None else limit.sessions
        self.is_short = False
        self.recount()
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

    def recount(self) -> None:
        """Sessions may be limited now that were not, or the other way round."""
        if self.parties:
            all_sessions = (party.sessions for party in self.parties)
            self.sessions = 0 if self.limit.sessions is None else sum(all_sessions)

    def retire(self) -> None:
        """There is no such limit any more."""
        self.most = inf
        self.is_short = False
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
        if not self.has_place_for(client):
            return f"{limit.client_addresses} client addresses"
        if self.new is not None and self.new.level(now) + 1 > self.new.burst:
            assert limit.new_sessions is not None
            return f"{events_text(*limit.new_sessions)} new sessions"
        return "" if self.usage is None else self.used_up

    def has_place_for(self, client: bytes) -> bool:
        """Whether there may be sessions from this address."""
        most, addresses = self.limit.client_addresses, self._addresses
        return most is None or client in addresses or len(addresses) < most

    @property
    def left_of_quota(self) -> float:
        """Octets, or less than none."""
        quota = self.limit.quota
        return inf if self.usage is None or quota is None else quota[0] - self.usage.octets

    @property
    def used_up(self) -> str:
        """That the quota is used up; "" if it is not."""
        quota = self.limit.quota
        if quota is None or self.left_of_quota > 0:
            return ""
        return f"quota is used up until {self._table.until(quota[1])}"

    def finds_place(self) -> bool:
        """Whether there is a place once nobody keeps one."""
        if not self.is_short:
            self.is_short = True
            for party in self.parties:
                party.give_back()
            for party in self.parties:
                party.look_for_places()
        return self.sessions < self.most

    def gives_place(self, count: int) -> None:
        """There are so many more. When an eighth of all is free nobody has to give any back for a while."""
        self.sessions -= count
        if self.is_short and self.sessions < self.most * ENOUGH:
            self.is_short = False
            for party in self.parties:
                party.look_for_places()

    def joins(self, party: Sharer) -> None:
        """There is a session under it of those who had none."""
        if not self.parties:
            self._table.keep(self)
        self.parties[party] = None
        addresses = self._addresses  # though they may be limited only later
        addresses[party.client] = addresses.get(party.client, 0) + 1

    def parts(self, party: Sharer) -> None:
        """Theirs was the last one."""
        del self.parties[party]
        self.drop_address(party.client)
        if not self.is_used:
            self._table.left(self)

    def drop_address(self, client: bytes) -> None:
        """One less has this address."""
        addresses = self._addresses
        addresses[client] -= 1
        if not addresses[client]:
            del addresses[client]

    @property
    def is_used(self) -> bool:
        """Whether there is a session under it."""
        return bool(self.parties or self.sessions)

    def paid(self, now: float) -> float:
        """When there will be no debt any more."""
        longest = 0.0 if self.new is None else self.new.level(now) / self.new.rate
        for each in self.buckets.values():
            longest = max(longest, each.level(now) / each.rate)
        return now + longest

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
