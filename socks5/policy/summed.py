"""What workers have counted under limits, added up by their parent: each is told what the others have.

All are told of what decides about new sessions: how many there are, where from, how many have begun, and which quotas
are used up. Of the octets those are told who know the counter, which somebody who meets it first gets to know as it is;
and of what the others have charged, only what is not paid for yet.

What a worker had is subtracted with it, but for what it has used and owes. See :mod:`socks5.policy.shared` for what is
said.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any

from socks5.policy.buckets import Bucket
from socks5.policy.counters import Counter, Usage
from socks5.policy.limit import who_key
from socks5.policy.shared import NEW, Entry, Key, is_about_presence, read, written
from socks5.policy.shared_quotas import Row
from socks5.policy.table import Table

_PRESENCE = {"sessions", "began", "came"}
"""What a worker says of who is there, and who has come."""


class Part:
    """What a worker has of a counter.

    :ivar sessions: so many.
    :ivar addresses: where from.
    :ivar charged: by bucket, what the others have charged and it does not know of.
    :ivar used: what it knows to be used, of
    :ivar usage: this.
    """

    __slots__ = ("addresses", "charged", "sessions", "usage", "used")

    def __init__(self, usage: Usage | None) -> None:
        self.sessions = 0
        self.addresses: set[bytes] = set()
        self.charged: dict[str, float] = {}
        self.usage = usage
        self.used = 0


class Pending:
    """What a worker is to be told of a counter.

    :ivar sessions: whether the others have another number.
    :ivar addresses: which to look at.
    :ivar began: how many sessions have begun elsewhere.
    """

    __slots__ = ("addresses", "began", "sessions")

    def __init__(self) -> None:
        self.sessions = False
        self.addresses: set[bytes] = set()
        self.began = 0.0


class Listener:
    """A worker, as far as it is to be told something."""

    __slots__ = ("counters", "rows")

    def __init__(self) -> None:
        self.counters: dict[Key, Pending] = {}
        self.rows: set[Row] = set()

    def of(self, key: Key) -> Pending:
        """What it is to be told of a counter."""
        pending = self.counters.get(key)
        if pending is None:
            pending = self.counters[key] = Pending()
        return pending


class Sum:
    """Of all workers.

    :param table: the counters, in which nobody else counts; its quotas are :class:`socks5.policy.quotas.Quotas`.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._workers: dict[Hashable, Listener] = {}
        self._parts: dict[Key, dict[Hashable, Part]] = {}
        self._used_up: set[Row] = set()
        self._readings = -1
        self.become()

    # Workers

    def joins(self, worker: Hashable) -> None:
        """A worker begins, and knows nothing."""
        self._workers[worker] = Listener()
        self.again(worker)
        for counter in self._table:
            if counter.new is not None:
                level = counter.new.level(self._table.now())
                self._workers[worker].of(counter.key).began = level

    def again(self, worker: Hashable, said: Collection[Entry] = ()) -> None:
        """Tell a worker anew what it may not have had to know.

        :param said: of all counters that it has.
        """
        here = {(name, read(who)) for name, who, _ in said}
        for key, parts in tuple(self._parts.items()):
            if worker in parts and key not in here:
                self._without(worker, key)
        listener = self._workers[worker]
        listener.rows |= self._used_up
        for counter in self._table:
            self._all_of(listener, counter)

    def goes(self, worker: Hashable) -> None:
        """A worker has ended."""
        self._workers.pop(worker, None)
        for key, parts in tuple(self._parts.items()):
            if worker in parts:
                self._without(worker, key)

    def waiting(self) -> list[Any]:
        """Those who are to be told something."""
        return [name for name, each in self._workers.items() if each.counters or each.rows]

    # What is in force

    def become(self) -> None:
        """The limits are others now, and workers have to be told what they did not have to know."""
        table = self._table
        for key in [key for key in self._parts if table.get(*key) is None]:
            del self._parts[key]
        for counter in table:
            parts = self._parts.get(counter.key, {})
            for part in parts.values():
                if part.usage is not counter.usage:
                    part.usage, part.used = counter.usage, 0
            for listener in self._workers.values():
                self._all_of(listener, counter)
        self._read()

    def _all_of(self, listener: Listener, counter: Counter) -> None:
        key = counter.key
        if is_about_presence(counter.limit):
            listener.of(key).sessions = True
        if counter.limit.client_addresses is not None:
            parts = self._parts.get(key, {}).values()
            listener.of(key).addresses.update(*(part.addresses for part in parts))

    # Quotas

    def look(self) -> None:
        """What is used may be something else than what was counted, for it was read."""
        quotas: Any = self._table.quotas
        if quotas.readings != self._readings:
            self._read()

    def _read(self) -> None:
        quotas: Any = self._table.quotas
        if quotas is None:
            self._readings = -1
            self._mark(set())
            return
        self._readings = quotas.readings
        found = set()
        for row, octets in quotas.all().items():
            limit = self._table.limits.get(row[0])
            quota = None if limit is None else limit.quota
            if quota is not None and quota[1] == row[2] and octets >= quota[0]:
                found.add(row)
        self._mark(found)
        for key, parts in self._parts.items():
            for worker, part in parts.items():
                if part.usage is not None and part.usage.octets != part.used:
                    self._workers[worker].of(key)

    def _mark(self, used_up: set[Row]) -> None:
        changed, self._used_up = used_up ^ self._used_up, used_up
        if changed:
            for listener in self._workers.values():
                listener.rows |= changed

    # What they say

    def take(self, worker: Hashable, said: Iterable[Entry]) -> None:
        """What a worker has counted."""
        table = self._table
        table.sweep()
        for name, who, what in said:
            counter = table.at(name, read(who))
            if counter is not None:
                self._take(worker, counter, what)

    def _take(self, worker: Hashable, counter: Counter, said: Mapping[str, Any]) -> None:
        key = counter.key
        parts = self._parts.setdefault(key, {})
        part = parts.get(worker)
        if part is None:
            part = parts[worker] = Part(counter.usage)
            self._workers[worker].of(key)  # for it does not know what is used
            for name, bucket in counter.buckets.items():
                self._charged(worker, key, name, bucket, bucket.level(self._table.now()))
        if not _PRESENCE.isdisjoint(said):
            others = [each for name, each in self._workers.items() if name is not worker]
            self._present(counter, part, said, others)
        if "moved" in said:
            knowing = [name for name in parts if name is not worker]
            self._moved(key, counter, said["moved"], knowing)
            if "late" in said:
                self._workers[worker].of(key)
            else:
                part.used += sum(said["moved"])
        if "forgotten" in said:
            self._without(worker, key)

    def _present(
        self, counter: Counter, part: Part, said: Mapping[str, Any], others: list[Listener]
    ) -> None:
        """Who is there, and who has come."""
        key = counter.key
        if "sessions" in said:
            counter.sessions += said["sessions"] - part.sessions
            part.sessions = said["sessions"]
            if is_about_presence(counter.limit):
                for listener in others:
                    listener.of(key).sessions = True
        if "came" in said:
            came, left = ({*map(bytes.fromhex, said[name])} for name in ("came", "left"))
            part.addresses |= came
            part.addresses -= left
            for listener in others:
                listener.of(key).addresses |= came | left
        if "began" in said and counter.new is not None:
            counter.new.charge(said["began"], self._table.now())
            for listener in others:
                listener.of(key).began += said["began"]

    def _moved(
        self, key: Key, counter: Counter, octets: tuple[int, int], knowing: list[Hashable]
    ) -> None:
        up, down = octets
        charged = {"up": up, "down": down, "total": up + down}
        for name, bucket in counter.buckets.items():
            bucket.charge(charged[name], self._table.now())
            for each in knowing:
                self._charged(each, key, name, bucket, charged[name])
        limit, usage = counter.limit, counter.usage
        if usage is not None and limit.quota is not None:
            usage.octets += up + down
            row = limit.name, who_key(counter.who), limit.quota[1]
            if usage.octets >= limit.quota[0] and row not in self._used_up:
                self._used_up.add(row)
                for listener in self._workers.values():
                    listener.rows.add(row)
            for each in knowing:
                self._workers[each].of(key)

    def _charged(self, worker: Hashable, key: Key, name: str, bucket: Bucket, count: float) -> None:
        """Others have charged so much; which need not be told while hardly anything is owed."""
        charged = self._parts[key][worker].charged
        charged[name] = charged.get(name, 0.0) + count
        if bucket.level(self._table.now()) > bucket.burst / (2 * len(self._workers)):
            self._workers[worker].of(key)

    def _without(self, worker: Hashable, key: Key) -> None:
        """A worker does not know a counter any more."""
        parts = self._parts[key]
        part = parts.pop(worker)
        if not parts:
            del self._parts[key]
        counter = self._table.at(*key)
        assert counter is not None
        counter.sessions -= part.sessions
        for name, listener in self._workers.items():
            if name is not worker:
                if part.sessions and is_about_presence(counter.limit):
                    listener.of(key).sessions = True
                if part.addresses:
                    listener.of(key).addresses |= part.addresses
        if not parts:
            self._table.left(counter)

    # What they are told

    def news(self, worker: Hashable) -> dict[str, Any]:
        """What a worker is to be told, and was not yet; nothing where there is nothing."""
        listener = self._workers[worker]
        counters, listener.counters = listener.counters, {}
        rows, listener.rows = listener.rows, set()
        found: dict[str, Any] = {}
        said = ((key, self._said(worker, key, each)) for key, each in counters.items())
        entries = [(name, written(who), what) for (name, who), what in said if what]
        if entries:
            found["counters"] = entries
        if rows:
            found["used_up"] = [(*row, row in self._used_up) for row in rows]
        return found

    def _said(self, worker: Hashable, key: Key, pending: Pending) -> dict[str, Any]:
        said: dict[str, Any] = {}
        counter = self._table.get(*key)
        parts = self._parts.get(key, {})
        part = parts.get(worker)
        if pending.sessions:
            said["sessions"] = 0 if counter is None else counter.sessions
            said["sessions"] -= 0 if part is None else part.sessions
        if pending.addresses:
            others = (each.addresses for each in parts.values() if each is not part)
            there = pending.addresses.intersection(*[set().union(*others)])
            said["came"] = [each.hex() for each in there]
            said["left"] = [each.hex() for each in pending.addresses - there]
        if counter is not None:
            charged = {NEW: pending.began}
            if part is not None:
                charged.update(part.charged)
                part.charged = {}
            unpaid = {name: self._unpaid(counter, name, each) for name, each in charged.items()}
            if any(unpaid.values()):
                said["charged"] = {name: each for name, each in unpaid.items() if each}
            if part is not None and part.usage is not None and part.usage.octets != part.used:
                said["used"] = part.usage.octets - part.used
                part.used = part.usage.octets
        return said

    def _unpaid(self, counter: Counter, name: str, count: float) -> float:
        bucket = counter.new if name == NEW else counter.buckets.get(name)
        return 0.0 if bucket is None else min(count, bucket.level(self._table.now()))
