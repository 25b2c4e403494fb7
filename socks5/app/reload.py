"""What SIGHUP asks for where there is a file of settings: it is read again, with everything that it names, and takes
the place of what was in force; as a whole, or not at all.

It is read, and everything is made of it, in a thread. What it changes happens in one turn of the reactor; then the
sessions that have begun are judged, a few a turn. Where there are workers, each of them does so, or none:
:mod:`socks5.app.agreement`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from socks5.app.announcing import Announcer
from socks5.app.config.document import Document, Refused
from socks5.app.configured import Configured
from socks5.app.exchange import Exchange, NotExchanged
from socks5.app.lists import Lists
from socks5.app.reread import reopen_program_log
from socks5.threads import NoThread, aside

LOOK_INTERVAL = 5.0
"""Seconds between two looks whether lists have changed."""


class Changing(Protocol):
    """What a file changes: in this process (:class:`~socks5.app.change.Change`), or in workers, too
    (:class:`~socks5.app.agreement.Agreement`). Nothing is different before :meth:`begin`.
    """

    @property
    def exchange(self) -> Exchange:
        """Of the listeners."""

    async def open(self) -> None:
        """Open what is needed, all of it or nothing.

        :raises NotExchanged: says what is in the way.
        """

    def give_up(self) -> None:
        """Close again what was opened."""

    def begin(self) -> Deferred[int]:
        """Let it hold.

        :returns: fires with how many sessions ended for that, when all are judged.
        :raises NotExchanged: it may not now, and nothing is different.
        """


class Reload:
    """Reads the file again when it is told to.

    :param reactor: gives the thread.
    :param configured: what is in force.
    :param change: makes what a file changes: of what is in force, and what is to be.
    :param reopen: continues the access log in the file that its path leads to now.
    :param announcer: tells the operator that it begins, and what came of it.
    :param objection: says why nothing may change just now, as *change* does, so that lists are looked at later; "": it
        may.
    :param now: seconds since 1970.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        configured: Configured,
        change: Callable[[Configured, Configured], Changing],
        reopen: Callable[[], object] = lambda: None,
        announcer: Announcer | None = None,
        objection: Callable[[], str] = lambda: "",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._reactor = reactor
        self.in_force = configured
        self._change = change
        self._logs = (reopen_program_log, reopen)
        self._announcer = Announcer() if announcer is None else announcer
        self._objection = objection
        self._now = now
        self._since = now()
        self._is_under_way = False
        self._is_asked_again = False
        self._lists = Lists()
        self._rounds = LoopingCall(self._look)
        self._rounds.clock = reactor

    @property
    def _file(self) -> str:
        return self.in_force.made.document.file

    def begin(self) -> None:
        """Read the file again; once more, if it is asked for while that is under way."""
        if self._is_under_way:
            self._is_asked_again = True
            return
        self.log.info("SIGHUP: {file} is read again", file=self._file)
        self._reopen_logs()
        self._begin(None)

    def _begin(self, document: Document | None) -> None:
        self._is_under_way = True
        self._announcer.rereads()
        Deferred.fromCoroutine(self._reload(document)).addBoth(self._over)

    def watch(self) -> None:
        """From now on look whether lists have changed: they are taken for the text in force then, for somebody may be
        writing the file.
        """
        self._rounds.start(LOOK_INTERVAL, now=False)

    def _look(self) -> Deferred[None] | None:
        if self._is_under_way or self._objection():
            return None
        looking = aside(self._reactor, self._lists.changed, self.in_force.made)
        return looking.addCallbacks(self._take_lists, lambda _: None)  # no thread: at the next look

    def _take_lists(self, changed: Sequence[str]) -> None:
        if changed and not self._is_under_way:
            self.log.info(
                "{lists} changed: taken for {file}", lists=_listed(changed), file=self._file
            )
            self._begin(self.in_force.made.document)

    def _reopen_logs(self) -> None:
        for reopen in self._logs:
            try:
                reopen()
            except OSError as error:
                self.log.error(
                    "log {path} stays as it was: {reason}",
                    path=error.filename,
                    reason=error.strerror,
                )

    async def _reload(self, document: Document | None) -> str:
        """
        :param document: what is to be taken for the file; None: what is in it.
        :returns: what came of it, in words.
        """
        began = self._now()
        try:
            after = await aside(self._reactor, self.in_force.again, document)
            change = self._change(self.in_force, after)
            await change.open()
            try:
                judged = change.begin()
            except BaseException:
                change.give_up()
                raise
        except Exception as error:
            return self._stays(reasons_of(error, self.log))
        self.in_force, self._since = after, began
        after.warn()
        return self._is_done(change, await judged)

    def _stays(self, reasons: Sequence[str]) -> str:
        for reason in reasons:
            self.log.error("{reason}", reason=reason)
        at = time.strftime("%H:%M:%S", time.localtime(self._since))
        outcome = f"{self._file} is not reloaded; that of {at} stays in force"
        self.log.error("{outcome}", outcome=outcome)
        return outcome

    def _is_done(self, change: Changing, ended: int) -> str:
        rules = len(self.in_force.made.configuration.rule)
        outcome = (
            f"{self._file} is reloaded: {_counted(rules, 'rule')}, listeners +{change.exchange.opened} "
            f"-{change.exchange.closed}, {_counted(ended, 'session')} ended"
        )
        self.log.info("{outcome}", outcome=outcome)
        return outcome

    def _over(self, outcome: Any) -> None:
        self._is_under_way = False
        self._announcer.has_reread(str(outcome))
        if self._is_asked_again:
            self._is_asked_again = False
            self.begin()


def reasons_of(error: Exception, log: Logger) -> Sequence[str]:
    """Why a file is not reloaded.

    :param log: gets the traceback of what is a bug.
    """
    if isinstance(error, Refused):
        return [*map(str, error.problems)]
    if isinstance(error, NotExchanged):
        return error.reasons
    if isinstance(error, NoThread):
        return [f"there is no thread to read it in: {error}"]
    log.failure("the file cannot be reloaded")
    return [type(error).__name__]


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'has' if len(names) == 1 else 'have'}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
