"""What is used of quotas, as a worker knows it, whose parent alone has the file (:mod:`socks5.policy.quotas`).

It is told what the others use of those that it has counters for; and of all, which are used up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime, tzinfo
from typing import Any
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall

from socks5.policy.periods import next_begin

LOOK = 0.5
"""Seconds until sessions are told of what was used."""

ALL = 1 << 62
"""Octets: more than there are in any quota."""

Row = tuple[str, str, str]
"""A limit's name, who (:func:`socks5.policy.limit.who_key`), and a :class:`~socks5.policy.limit.Span`."""


class Told:
    """What somebody has used in the present period.

    :ivar octets: so many, as far as we know; with :data:`ALL` on top, while we know that it is all there are.
    :ivar is_left: whether the parent tells us no more of it.
    """

    __slots__ = ("__weakref__", "is_left", "octets", "row")

    def __init__(self, row: Row, octets: int) -> None:
        self.row = row
        self.octets = octets
        self.is_left = False


class SharedQuotas:
    """See the module, and :class:`socks5.policy.counters.Quotas`.

    :param reactor: calls back.
    :param zone: whose calendar counts.
    :param wall: gives the time of day, in seconds.
    """

    def __init__(self, reactor: Any, zone: tzinfo, wall: Callable[[], float] = time.time) -> None:
        self._reactor = reactor
        self.zone = zone
        self._wall = wall
        self._uses: WeakValueDictionary[Row, Told] = WeakValueDictionary()
        self._kept: set[Told] = set()
        self._used_up: set[Row] = set()
        self._check: Callable[[], None] = lambda: None
        self._call: IDelayedCall | None = None

    def open(self) -> None:
        """The parent does."""

    def close(self) -> Deferred[None]:
        """The parent saves."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        return succeed(None)

    def usage(self, limit: str, who: str, span: str) -> Told:
        """See :meth:`socks5.policy.counters.Quotas.usage`: as long as somebody has it, or it is kept."""
        row = limit, who, span
        use = self._uses.get(row)
        if use is None:
            use = self._uses[row] = Told(row, ALL if row in self._used_up else 0)
        return use

    def until(self, span: str) -> str:
        """See :meth:`socks5.policy.counters.Quotas.until`."""
        today = datetime.fromtimestamp(self._wall(), self.zone).date()
        return next_begin(span, today).isoformat()

    def watch(self, check: Callable[[], None]) -> None:
        """See :meth:`socks5.policy.counters.Quotas.watch`: while something is used."""
        self._check = check

    def keep(self, uses: Iterable[Told]) -> None:
        """These alone the parent tells us of from now on."""
        kept = set(uses)
        for use in self._kept - kept:
            self.leave(use)
        self._kept = kept

    def also(self, use: Told) -> None:
        """The parent tells us of this one, too."""
        if not use.is_left:
            self._kept.add(use)

    def leave(self, use: Told) -> None:
        """Of this one no more."""
        self._kept.discard(use)
        if not use.is_left:
            use.is_left = True
            self._uses.pop(use.row, None)

    def take(self, rows: Iterable[tuple[str, str, str, bool]]) -> None:
        """Which are used up, and which are not any more."""
        for *key, is_used_up in rows:
            row: Any = tuple(key)
            if (row in self._used_up) != is_used_up:
                (self._used_up.add if is_used_up else self._used_up.remove)(row)
                use = self._uses.get(row)
                if use is not None:
                    use.octets += ALL if is_used_up else -ALL
            self.changes()

    def changes(self) -> None:
        """Something is used: sessions may have to be told."""
        if self._call is None:
            self._call = self._reactor.callLater(LOOK, self._look)

    def _look(self) -> None:
        self._call = None
        self._check()
