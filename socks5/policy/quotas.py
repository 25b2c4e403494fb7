"""Remembers what is used of quotas: counted in memory, added to a file every :data:`INTERVAL` seconds and at the end,
in a thread, and read back from there, for others may add to it too.

A process that is killed loses what it has counted since. A file that cannot be written stops nobody: that is said once,
and counting goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import date, datetime, tzinfo
from functools import partial
from sqlite3 import Error
from typing import Any
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from socks5.deadlines import clock_of
from socks5.policy.ledger import Ledger, Spent
from socks5.policy.limit import Span
from socks5.policy.periods import next_begin, period_of

INTERVAL = 10.0
"""Seconds between two visits to the file."""

LOOK = 0.5
"""Seconds between two looks at the calendar, and at whose quota is used up."""

Run = Callable[[Callable[[], Mapping[Spent, int]]], Deferred[Mapping[Spent, int]]]
"""Calls something elsewhere, and fires with what it returns."""


class Use:
    """What somebody has used in the present period.

    :ivar octets: so many, as far as we know.
    :ivar saved: so many of them are in the file, or on their way there.
    """

    __slots__ = ("__weakref__", "octets", "row", "saved", "span")

    def __init__(self, row: Spent, span: str) -> None:
        self.row = row
        self.span = span
        self.octets = self.saved = 0


class Quotas:
    """See the module, and :class:`socks5.policy.counters.Quotas`.

    :param reactor: calls back; its threads visit the file.
    :param ledger: the file.
    :param zone: whose calendar counts.
    :param wall: gives the time of day, in seconds.
    :param run: calls something in a thread; default: one of the reactor's.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        ledger: Ledger,
        zone: tzinfo,
        wall: Callable[[], float] = time.time,
        run: Run | None = None,
    ) -> None:
        self._reactor = reactor
        self._clock = clock_of(reactor)
        self._ledger = ledger
        self.zone = zone
        self._wall = wall
        self._run: Run = self._in_thread if run is None else run
        self._uses: dict[tuple[str, str, str], Use] = {}
        self._known: dict[Spent, int] = {}
        self._left: list[tuple[Spent, int]] = []
        """What periods that are over have not saved."""
        self._check: Callable[[], None] = lambda: None
        self._call: IDelayedCall | None = None
        self._visit = 0.0
        self._visiting: Deferred[None] | None = None
        self._is_failing = False
        self._is_open = False
        self._periods = self._now()
        self.readings = 0
        """How often what is used has become something else than what was counted."""

    def _in_thread(self, call: Callable[[], Mapping[Spent, int]]) -> Deferred[Mapping[Spent, int]]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call)

    def _today(self) -> date:
        return datetime.fromtimestamp(self._wall(), self.zone).date()

    def _now(self) -> dict[str, str]:
        today = self._today()
        return {span: period_of(span, today) for span in Span}

    # Who counts

    def usage(self, limit: str, who: str, span: str) -> Use:
        """See :meth:`socks5.policy.counters.Quotas.usage`."""
        key = limit, who, span
        use = self._uses.get(key)
        if use is None:
            row = Spent(limit, who, self._periods[span])
            use = self._uses[key] = Use(row, span)
            use.octets = use.saved = self._known.get(row, 0)
        return use

    def all(self) -> Mapping[tuple[str, str, str], int]:
        """What everybody has used in the present periods: by limit, who and span."""
        spans = {period: span for span, period in self._periods.items()}
        found = {
            (row.limit, row.who, spans[row.period]): octets
            for row, octets in self._known.items()
            if row.period in spans
        }
        return found | {key: use.octets for key, use in self._uses.items()}

    def until(self, span: str) -> str:
        """See :meth:`socks5.policy.counters.Quotas.until`."""
        return next_begin(span, self._today()).isoformat()

    def watch(self, check: Callable[[], None]) -> None:
        """See :meth:`socks5.policy.counters.Quotas.watch`."""
        self._check = check

    # The file

    def open(self) -> None:
        """Read what is used, and begin to visit the file.

        :raises OSError: it cannot be opened, read or written: its ``filename`` is the file's, its ``strerror`` why.
        """
        if self._is_open:
            return
        try:
            self._ledger.forget_old(self._today())
            self._known = dict(self._ledger.add([], self._periods.values()))
        except Error as error:
            raise OSError(0, str(error), self._ledger.path) from None
        for use in self._uses.values():
            self._is_known(use, self._known.get(use.row, 0))
        self.readings += 1
        self._is_open = True
        self._visit = self._clock() + INTERVAL
        self._wait()

    @staticmethod
    def _is_known(use: Use, octets: int) -> None:
        """So many are in the file."""
        use.octets += octets - use.saved
        use.saved = octets

    def _wait(self) -> None:
        self._call = self._reactor.callLater(LOOK, self._look)

    def _look(self) -> None:
        self._wait()
        if self._now() != self._periods:
            self._begin_anew()
            self._forget()
        self._check()
        if self._visiting is None and self._clock() >= self._visit:
            self.save()

    def _begin_anew(self) -> None:
        """A period is over: what is not saved of it will be, and another one begins."""
        self._periods = self._now()
        self.readings += 1
        for use in self._uses.values():
            period = self._periods[use.span]
            if use.row.period != period:
                if use.octets != use.saved:
                    self._left.append((use.row, use.octets - use.saved))
                use.row = use.row._replace(period=period)
                use.octets = use.saved = 0
        self._visit = self._clock()  # others may have used of the new one

    def _forget(self) -> None:
        """Forget who has used nothing yet, unless somebody has that for their counter."""
        counted = WeakValueDictionary(
            {key: use for key, use in self._uses.items() if not use.octets}
        )
        self._uses = {key: use for key, use in self._uses.items() if use.octets}
        self._uses.update(counted)

    def save(self) -> Deferred[None]:
        """Visit the file now, behind a visit that is under way.

        :returns: fires with None when that is done, or has failed, which is logged.
        """
        if self._visiting is not None:
            return self._visiting.addCallback(lambda _: self.save())
        self._visit = self._clock() + INTERVAL
        new = [use for use in self._uses.values() if use.octets != use.saved]
        added = [(use, use.row, use.octets - use.saved) for use in new]
        rows = [(use.row, use.octets - use.saved, use.octets) for use in new]
        left, self._left = self._left, []
        rows += [(row, difference, difference) for row, difference in left]
        for use in new:
            use.saved = use.octets
        done: Deferred[None] = Deferred()
        self._visiting = done
        visit = self._run(partial(self._ledger.add, rows, tuple(self._periods.values())))
        visit.addCallbacks(self._is_saved, self._is_not_saved, errbackArgs=(added, left))
        visit.addBoth(self._visited, done)
        return done

    def _is_saved(self, found: Mapping[Spent, int]) -> None:
        self._known = dict(found)
        for use in self._uses.values():
            if use.row in found:
                self._is_known(use, found[use.row])
        self.readings += 1
        self._check()
        if self._is_failing:
            self._is_failing = False
            self.log.info("{path}: what is used of quotas is saved again", path=self._ledger.path)

    def _is_not_saved(
        self, failure: Failure, added: list[tuple[Use, Spent, int]], left: list[tuple[Spent, int]]
    ) -> None:
        for use, row, difference in added:
            if use.row == row:
                use.saved -= difference
            else:  # its period is over meanwhile
                left.append((row, difference))
        self._left = left + self._left
        if not failure.check(Error, OSError):
            self.log.failure("what is used of quotas is not saved", failure=failure)
        elif not self._is_failing:
            self._is_failing = True
            self.log.error(
                "{path}: what is used of quotas is not saved: {reason}; it is counted all the same",
                path=self._ledger.path,
                reason=failure.getErrorMessage(),
            )

    def _visited(self, _: object, done: Deferred[None]) -> None:
        self._visiting = None
        done.callback(None)

    def close(self) -> Deferred[None]:
        """Save what is not saved.

        :returns: fires with None when that is done, or has failed.
        """
        if not self._is_open:
            return succeed(None)
        self._is_open = False
        assert self._call is not None
        self._call.cancel()
        return self.save()
