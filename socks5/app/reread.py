"""What SIGHUP asks for: files that an operator keeps are read again, and logs go on in the files that their paths
lead to now.

What cannot be read replaces nothing. One line of the log says what was read, and what stays as it was.

Files are also looked at every few seconds, by each process for itself: what one has said counts, even if it
says something else, or is gone, before anybody logs in here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure
from twisted.python.logfile import BaseLogFile

from socks5.app.announcing import Announcer
from socks5.threads import NoThread, aside

_Read = tuple[list[str], list[str]]
"""What was read, and the sentences of what failed."""

LOOK_INTERVAL = 2.0
"""Seconds between two looks whether files have changed."""


class Source(Protocol):
    """Something that was read from files."""

    def look(self) -> None:
        """Read them again if they have changed, in a thread of its own; what comes of it, it says itself."""

    def reread(self) -> str:
        """Read them again, in a thread of its own.

        :returns: which, in a few words.
        :raises ValueError: they cannot be used, and what was read before stays; says which, and why.
        """


class Log(Protocol):
    """A log in a file."""

    def reopen(self) -> str | None:
        """Continue in the file that the path leads to now.

        :returns: the path; None if it has none.
        :raises OSError: it cannot be opened, and the file of before stays.
        """


class Rereading:
    """Reads everything again when it is told to.

    :param reactor: gives the thread.
    :param sources: what is read.
    :param access_log: what is opened anew, beside the program's own log.
    :param announcer: tells the operator that it begins, and what came of it.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        sources: Sequence[Source],
        access_log: Log | None,
        announcer: Announcer | None = None,
    ) -> None:
        self._reactor = reactor
        self._announcer = Announcer() if announcer is None else announcer
        self._outcome = "nothing is read again"
        self._sources = sources
        self._logs: list[Callable[[], str | None]] = [reopen_program_log]
        if access_log is not None:
            self._logs.append(access_log.reopen)
        self._is_under_way = False
        self._is_asked_again = False
        self._rounds = LoopingCall(self._look)
        self._rounds.clock = reactor

    def become(self, sources: Sequence[Source]) -> None:
        """Other files are read from now on."""
        self._sources = sources

    def watch(self) -> None:
        """From now on look whether the files have changed, whether anybody asks for them or not."""
        self._rounds.start(LOOK_INTERVAL, now=False)

    def _look(self) -> Deferred[_Read]:
        return self._aside([source.look for source in self._sources])

    def begin(self) -> None:
        """Read everything again; once more, if it is asked for while that is under way."""
        if self._is_under_way:
            self._is_asked_again = True
            return
        self._is_under_way = True
        self.log.info("SIGHUP: files are read again")
        self._announcer.rereads()
        done, failed = _each(self._logs)
        reading = self._aside([source.reread for source in self._sources])
        reading.addCallback(lambda read: self._say(done + read[0], failed + read[1]))
        reading.addBoth(self._over)

    def _aside(self, reads: Sequence[Callable[[], str | None]]) -> Deferred[_Read]:
        """Read in a thread, or nothing if there is none to be had."""
        return aside(self._reactor, _each, reads).addErrback(_no_thread)

    def _say(self, done: Sequence[str], failed: Sequence[str]) -> None:
        outcome = f"read again: {', '.join(done) or 'nothing'}"
        if failed:
            outcome += f"; stays as it was: {'; '.join(failed)}"
            self.log.error("SIGHUP: {outcome}", outcome=outcome)
        else:
            self.log.info("SIGHUP: {outcome}", outcome=outcome)
        self._outcome = outcome

    def _over(self, outcome: Any) -> Any:
        self._is_under_way = False
        self._announcer.has_reread(self._outcome)
        if self._is_asked_again:
            self._is_asked_again = False
            self.begin()
        return outcome


def _each(reads: Sequence[Callable[[], str | None]]) -> _Read:
    """Call each, whatever the others raise."""
    done: list[str] = []
    failed: list[str] = []
    for read in reads:
        try:
            name = read()
        except OSError as error:
            failed.append(f"{error.filename}: {error.strerror}")
        except Exception as error:
            failed.append(_words(error))
        else:
            done += [name] if name else []
    return done, failed


def _no_thread(failure: Failure) -> _Read:
    failure.trap(NoThread)
    return [], [f"files, for there is no thread to read them in: {failure.value}"]


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def reopen_program_log() -> str | None:
    """Continue the log that ``twistd --logfile`` names in the file that its path leads to now.

    :returns: its path; None if it goes elsewhere.
    :raises OSError: it cannot be opened; the log goes on in the file of before.
    """
    for observer in globalLogPublisher._observers:
        file = getattr(observer, "_outFile", None)
        if isinstance(file, BaseLogFile):
            open(file.path, "ab").close()  # or it would be closed, and not opened again
            file.reopen()
            return str(file.path)
    return None
