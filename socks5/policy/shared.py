"""Counters that several workers share, as one of them sees them.

It decides at once, by what it has counted itself and what it was told last of the others. What it has counted it tells
their parent (:mod:`socks5.policy.summed`), and only what has changed: whoever carries it asks for
:meth:`SharedTable.news` and hands what comes to :meth:`SharedTable.take`. Of a rate's burst each worker lets pass its
part. Counters of single sessions are nobody else's, and exact.

What is said of a counter is a limit's name, who shares it, as :func:`written` has it, and an object. That of a worker
may have:

.. code-block:: text

    sessions      so many it has now
    began         so many have begun
    moved         octets up, octets down
    late          of a quota that it is told no more of
    came, left    addresses that clients have here now, or no longer
    forgotten     it does not know this counter any more

What it is told may have:

.. code-block:: text

    sessions      so many the others have now
    charged       by bucket, what the others have charged
    came, left    addresses that clients have elsewhere now, or no longer
    used          octets of the quota that it did not know of
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from typing_extensions import override

from socks5.policy.counters import Counter, Quotas, Sharer
from socks5.policy.limit import Limit
from socks5.policy.shared_parties import SharedMeteredParty, SharedParty
from socks5.policy.shared_quotas import Told
from socks5.policy.table import Table

NEW = "new"
"""What the bucket of new sessions is called, beside those of rates."""

Entry = tuple[str, str, Mapping[str, Any]]
"""What is said of a counter; see the module."""

Key = tuple[str, str | bytes]
"""A limit's name, and who shares a counter."""

_NAME = "="


def written(who: str | bytes) -> str:
    """Whose counter it is, for a message: a user's name, or a client's octets."""
    return _NAME + who if isinstance(who, str) else who.hex()


def read(text: str) -> str | bytes:
    """The same as it was before."""
    return text[len(_NAME) :] if text.startswith(_NAME) else bytes.fromhex(text)


def is_about_presence(limit: Limit) -> bool:
    """Whether those who are there count, so that all workers have to know of them."""
    return limit.sessions is not None or limit.client_addresses is not None


class SharedCounter(Counter):
    """Counts the sessions of all workers, and remembers which are this one's.

    :ivar up: octets towards targets that the parent does not know of.
    :ivar down: the same towards clients.
    :ivar is_changed: whether there is something to tell.
    :ivar is_parted: whether it is not the one any more that is told of.
    """

    __slots__ = (
        "_began",
        "_elsewhere",
        "_here",
        "_others",
        "_told",
        "_touched",
        "down",
        "is_changed",
        "is_parted",
        "up",
    )

    usage: Told | None

    def __init__(self, table: Any, limit: Limit, who: str | bytes, now: float) -> None:
        self._others = self._began = self.up = self.down = 0
        self._told: int | None = 0
        self._here: dict[bytes, int] = {}
        self._elsewhere: set[bytes] = set()
        self._touched: set[bytes] = set()
        self.is_changed = self.is_parted = False
        super().__init__(table, limit, who, now)

    @override
    def become(self, limit: Limit, now: float) -> None:
        """See :meth:`socks5.policy.counters.Counter.become`. What is limited no more, nobody tells us."""
        super().become(limit, now)
        if not is_about_presence(limit):
            self._others_have(0)
        if limit.client_addresses is None:
            self._are_not(self._elsewhere)

    @property
    @override
    def share(self) -> int:  # type: ignore[override]
        """See :attr:`socks5.policy.counters.Counter.share`."""
        workers: int = self._table.workers
        return workers

    @override
    def retire(self) -> None:
        """See :meth:`socks5.policy.counters.Counter.retire`."""
        super().retire()
        self.is_parted = True

    @override
    def part(self) -> None:
        """See :meth:`socks5.policy.counters.Counter.part`."""
        self.is_parted = True

    @override
    def recount(self) -> None:
        """See :meth:`socks5.policy.counters.Counter.recount`. All are counted, for they are told."""

    # Here

    @override
    def joins(self, party: Sharer) -> None:
        """See :meth:`socks5.policy.counters.Counter.joins`."""
        super().joins(party)
        self._here[party.client] = self._here.get(party.client, 0) + 1
        self._touched.add(party.client)

    @override
    def parts(self, party: Sharer) -> None:
        """See :meth:`socks5.policy.counters.Counter.parts`."""
        client = party.client
        self._here[client] -= 1
        if not self._here[client]:
            del self._here[client]
        self._touched.add(client)
        super().parts(party)

    def begins(self) -> None:
        """One more session."""
        self._began += 1
        self.changes()

    def ends(self, has_begun: bool) -> None:
        """One less."""
        if not has_begun and self._began:  # else the others know of it
            self._began -= 1
        self.changes()

    @property
    def _own(self) -> int:
        return self.sessions - self._others

    def changes(self) -> None:
        """There is something to tell."""
        if not self.is_changed:
            self.is_changed = True
            self._table.changes(self)

    def tell_all(self, is_told: bool) -> None:
        """Tell all that is here, whatever the parent knows.

        :param is_told: whether it takes this one for ours.
        """
        self._touched.update(self._here)
        if self._own or is_told:
            self._told = None
            self.changes()

    def news(self) -> dict[str, Any]:
        """What has changed since it was asked last."""
        limit, said = self.limit, dict[str, Any]()
        if self._own != self._told:
            said["sessions"] = self._told = self._own
        if self._began and limit.new_sessions is not None:
            said["began"] = self._began
        if (self.up or self.down) and self.is_metered:
            said["moved"] = self.up, self.down
            if self.usage is not None and self.usage.is_left:
                said["late"] = True
        if self._touched and limit.client_addresses is not None:
            said["came"] = [each.hex() for each in self._touched if each in self._here]
            said["left"] = [each.hex() for each in self._touched if each not in self._here]
        self.is_changed = False
        self._began = self.up = self.down = 0
        self._touched.clear()
        return said

    # Elsewhere

    def take(self, said: Mapping[str, Any], now: float) -> None:
        """What was told of the others."""
        limit = self.limit
        if is_about_presence(limit):
            self._others_have(said.get("sessions", self._others))
        if limit.client_addresses is not None:
            for client in {*map(bytes.fromhex, said.get("came", ()))} - self._elsewhere:
                self._elsewhere.add(client)
                self._addresses[client] = self._addresses.get(client, 0) + 1
            self._are_not(map(bytes.fromhex, said.get("left", ())))
        for name, count in said.get("charged", {}).items():
            bucket = self.new if name == NEW else self.buckets.get(name)
            if bucket is not None:
                bucket.charge(count, now)
        if self.usage is not None:
            self.usage.octets += said.get("used", 0)

    def _others_have(self, sessions: int) -> None:
        self.sessions += sessions - self._others
        self._others = sessions

    def _are_not(self, elsewhere: Iterable[bytes]) -> None:
        for client in self._elsewhere.intersection(elsewhere):
            self._elsewhere.remove(client)
            self.drop_address(client)


def _of_quota(counter: SharedCounter, said: Mapping[str, Any]) -> dict[str, Any]:
    """What the parent is told of a counter that is nobody's but those sessions' which have entered."""
    if counter.usage is None or "moved" not in said:
        return {}
    return {"moved": said["moved"], "late": True, "forgotten": True}


class SharedTable(Table):
    """The counters of a worker.

    :param clock: see :class:`socks5.policy.table.Table`.
    :param workers: how many there are.
    :param quotas: :class:`~socks5.policy.shared_quotas.SharedQuotas`.
    :ivar wake: called when there is something to tell, and was not before.
    """

    kind = SharedParty
    metered_kind = SharedMeteredParty
    counter_kind = SharedCounter
    quotas: Any  # SharedQuotas, or None

    def __init__(self, clock: Any, workers: int, quotas: Quotas | None = None) -> None:
        super().__init__(clock, quotas)
        self.workers = workers
        self.wake: Callable[[], object] = lambda: None
        self._changed: list[SharedCounter] = []
        self._told: set[Key] = set()
        """What the parent takes for ours."""

    @override
    def forget(self, counter: Counter, now: float) -> None:
        """See :meth:`socks5.policy.table.Table.forget`."""
        super().forget(counter, now)
        shared: Any = counter
        if counter.key in self._told:
            shared.changes()  # should it be forgotten

    @override
    def become(self, limits: Mapping[str, Limit]) -> None:
        """See :meth:`socks5.policy.table.Table.become`."""
        forgotten = {key for key in self._told if self.get(*key) is None}  # and not said yet
        super().become(limits)
        kept = {each.key: each.usage for each in self}
        self._told &= {*kept, *forgotten}
        if self.quotas is not None:
            uses: Any = (kept.get(key) for key in self._told)
            self.quotas.keep(use for use in uses if use is not None)
        self.tell_all()

    # To the parent

    def changes(self, counter: SharedCounter) -> None:
        """A counter has something to tell."""
        self._changed.append(counter)
        if len(self._changed) == 1:
            self.wake()
        if self.quotas is not None and counter.usage is not None:
            self.quotas.changes()

    def tell_all(self) -> None:
        """Tell everything anew."""
        counters: Any = self
        for counter in counters:
            counter.tell_all(counter.key in self._told)
            if not counter.sessions:  # as the others' may not count any more
                self.left(counter)

    def news(self) -> list[Entry]:
        """What has changed since it was asked last."""
        self.sweep()
        changed, self._changed = self._changed, []
        found: list[Entry] = []
        for counter in changed:
            said = counter.news()
            if counter.is_parted:
                said = _of_quota(counter, said)
            else:
                self._tell_of(counter, said)
            if said:
                found.append((counter.limit.name, written(counter.who), said))
        return found

    def _tell_of(self, counter: SharedCounter, said: dict[str, Any]) -> None:
        """The parent is about to be told so much, and what it takes for ours then."""
        key, use = counter.key, counter.usage
        is_kept = self.get(*key) is not None
        if said and is_kept:
            self._told.add(key)
            if use is not None and self.quotas is not None:
                self.quotas.also(use)
        elif not is_kept and (said or key in self._told):
            said["forgotten"] = True
            self._told.discard(key)
            if use is not None and self.quotas is not None:
                self.quotas.leave(use)

    # From the parent

    def take(self, said: Iterable[Entry]) -> None:
        """What the parent says of the others."""
        now = self.now()
        self.sweep()
        for name, who, what in said:
            counter = self.at(name, read(who))
            if isinstance(counter, SharedCounter):  # as its limit has not just gone
                counter.take(what, now)
                if not counter.sessions:
                    self.left(counter)
                if self.quotas is not None and counter.usage is not None:
                    self.quotas.changes()
