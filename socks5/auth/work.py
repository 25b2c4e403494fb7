"""Slow checks in threads of their own, behind a bounded queue; and a short memory of what was right.

A hash costs tens of milliseconds on purpose. So it never runs in the reactor's thread, equal logins
share one check, and a right one is remembered for :data:`LIFETIME` - under a keyed digest, never as
a password.

Floor 1½: imports :mod:`socks5.limits`, :mod:`socks5.auth` and :mod:`socks5.auth.users`.
"""

from __future__ import annotations

import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from threading import Thread, get_native_id
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from socks5.auth import LoginNotJudged
from socks5.auth.users import keyed
from socks5.limits import Monotonic, Sparing

_PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

THREADS = max(1, min(4, (_PROCESSORS or 1) - 1))
"""Checks at a time: one processor is left to the relays. Each Argon2 hash takes 64 MiB meanwhile."""

NICE = 10
"""How far the threads step back behind the relays (nice(1))."""

WAITING = 256
"""Checks that wait for a thread; about what the threads get through in a handshake's time."""

LIFETIME = 60.0
"""Seconds that a right login is remembered."""

REMEMBERED = 4096
"""Right logins that are remembered; one more, and the oldest is forgotten."""

Judge = Callable[[bytes, bytes], Any]
"""Takes a user name and a password, gives an avatar ID or raises
:exc:`~twisted.cred.error.LoginFailed`. May block."""


class Work:
    """The threads and their queue.

    :param reactor: gives the reactor that is told of the outcome; asked at the first check.
    :param threads: checks at a time.
    :param waiting: how many more may wait.
    :param clock: by which the log is told of a full queue once a minute.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Callable[[], Any],
        threads: int = THREADS,
        waiting: int = WAITING,
        clock: Any = Monotonic,
    ) -> None:
        self._get_reactor = reactor
        self._reactor: Any = None
        self._pool: ThreadPool | None = None
        self._threads = threads
        self._limit = waiting
        self._lines = Sparing(clock, lines=1)
        self._queue: dict[Deferred[Any], Callable[[], Any]] = {}
        self._running = 0
        self._is_closed = False

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Call a function in a thread.

        :returns: its outcome, or a failure with :exc:`~socks5.auth.LoginNotJudged` if too many wait, or
            the end has come. Cancelling takes it out of the queue; what has begun runs to its end unheard.
        """
        if self._is_closed:
            return fail(_at_the_end())
        if len(self._queue) >= self._limit:
            return fail(self._full())
        self._start()
        outcome: Deferred[Any] = Deferred(self._drop)
        self._queue[outcome] = partial(function, *arguments)
        self._begin_next()
        return outcome

    def _drop(self, gone: Deferred[Any]) -> None:
        self._queue.pop(gone, None)

    def _start(self) -> None:
        if self._pool is None:
            self._reactor = self._get_reactor()
            pool = self._pool = ThreadPool(0, self._threads, "socks5-logins")
            # Daemons, for a directory server that hangs must not hold up the exit.
            pool.threadFactory = _thread  # type: ignore[assignment]
            pool.start()
            self._reactor.addSystemEventTrigger("during", "shutdown", self.close)

    def _begin_next(self) -> None:
        while self._queue and self._running < self._threads and self._pool is not None:
            outcome = next(iter(self._queue))
            function = self._queue.pop(outcome)
            self._running += 1
            self._pool.callInThreadWithCallback(partial(self._tell, outcome), function)

    def _tell(self, outcome: Deferred[Any], is_success: bool, result: Any) -> None:
        """Called in the thread."""
        self._reactor.callFromThread(self._over, outcome, result)

    def _over(self, outcome: Deferred[Any], result: Any) -> None:
        self._running -= 1
        self._begin_next()
        if not outcome.called:  # it may have been cancelled
            outcome.callback(result)

    def _full(self) -> LoginNotJudged:
        if (left_out := self._lines.next()) is not None:
            self.log.warn(
                "too many logins at once: {count} refused unjudged, while {waiting} wait for their check",
                count=left_out + 1,
                waiting=self._limit,
            )
        return LoginNotJudged("too many logins wait for their check")

    def close(self) -> None:
        """Let the threads go, without waiting for them; what waits for one fails. Called at the
        reactor's shutdown; harmless twice.
        """
        self._is_closed = True
        queue, self._queue = self._queue, {}
        for outcome in queue:
            if not outcome.called:  # one before it may have cancelled it
                outcome.errback(_at_the_end())
        pool, self._pool = self._pool, None
        if pool is not None:
            Thread(target=pool.stop, daemon=True).start()


def _thread(*, target: Callable[[], object], name: str) -> Thread:
    """A thread that steps back behind the others."""

    def run() -> None:
        with suppress(
            OSError
        ):  # a limit of the system's; a thread has a priority of its own on Linux only
            if sys.platform == "linux":
                priority = os.getpriority(os.PRIO_PROCESS, get_native_id())
                os.setpriority(os.PRIO_PROCESS, get_native_id(), min(19, priority + NICE))
        target()

    return Thread(target=run, name=name, daemon=True)


def _at_the_end() -> LoginNotJudged:
    return LoginNotJudged("the program ends")


@implementer(ICredentialsChecker)
class Direct:
    """A checker whose judge does not block."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See :meth:`twisted.cred.checkers.ICredentialsChecker.requestAvatarId`."""
        return maybeDeferred(self._judge, credentials.username, credentials.password)


@implementer(ICredentialsChecker)
class Threaded:
    """A checker whose judge blocks, and therefore judges in a thread."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, judge: Judge, work: Work) -> None:
        self._judge = judge
        self._work = work

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See :meth:`twisted.cred.checkers.ICredentialsChecker.requestAvatarId`."""
        return self._work.run(self._judge, credentials.username, credentials.password)


class _Check:
    """One check under way, and who waits for it."""

    def __init__(self) -> None:
        self.waiting: dict[Deferred[Any], None] = {}
        self.outcome: Deferred[Any] = Deferred()


@implementer(ICredentialsChecker)
class Remembered:
    """Asks a slow checker once for equal logins, and not at all while it remembers that one was right.

    :param checker: the slow one.
    :param stamp: what is remembered, or under way, counts only while this stays equal.
    :param lifetime: seconds that a right login is remembered.
    :param size: how many are.
    :param now: a clock.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(
        self,
        checker: ICredentialsChecker,
        stamp: Callable[[], Hashable] = lambda: None,
        lifetime: float = LIFETIME,
        size: int = REMEMBERED,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checker = checker
        self._stamp = stamp
        self._lifetime = lifetime
        self._size = size
        self._now = now
        self._right: OrderedDict[bytes, tuple[Hashable, float, Any]] = OrderedDict()
        self._under_way: dict[tuple[bytes, Hashable], _Check] = {}

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See :meth:`twisted.cred.checkers.ICredentialsChecker.requestAvatarId`."""
        key = keyed(credentials.username, credentials.password)
        stamp = self._stamp()
        self._forget()
        known = self._right.get(key)
        if known is not None:
            if known[0] == stamp:
                return succeed(known[2])
            del self._right[key]
        return self._join((key, stamp), credentials)

    def _join(self, key: tuple[bytes, Hashable], credentials: Any) -> Deferred[Any]:
        """Wait for the check of this login, which begins unless it is under way."""
        check = self._under_way.get(key)
        is_new = check is None
        if check is None:
            check = self._under_way[key] = _Check()
        wait: Deferred[Any] = Deferred(partial(self._leave, key, check))
        check.waiting[wait] = None
        if is_new:
            check.outcome = maybeDeferred(self._checker.requestAvatarId, credentials)
            check.outcome.addCallback(self._remember, key)
            check.outcome.addBoth(self._over, key, check)
        return wait

    def _leave(self, key: tuple[bytes, Hashable], check: _Check, gone: Deferred[Any]) -> None:
        """One that waited was cancelled; the last one takes the check with it."""
        if gone in check.waiting:
            del check.waiting[gone]
            if not check.waiting:
                del self._under_way[key]
                check.outcome.cancel()

    def _remember(self, avatar: Any, key: tuple[bytes, Hashable]) -> Any:
        digest, stamp = key
        self._right[digest] = (stamp, self._now() + self._lifetime, avatar)
        self._right.move_to_end(digest)
        self._forget()
        return avatar

    def _forget(self) -> None:
        """Drop what is too old, or too many: the oldest, which stand in front."""
        now = self._now()
        while self._right:
            oldest = next(iter(self._right.values()))
            if now < oldest[1] and len(self._right) <= self._size:
                break
            self._right.popitem(last=False)

    def _over(self, outcome: Any, key: tuple[bytes, Hashable], check: _Check) -> None:
        """Tell those who wait."""
        if self._under_way.get(key) is check:
            del self._under_way[key]
        waiting, check.waiting = check.waiting, {}
        for wait in waiting:
            if not wait.called:  # one before it may have cancelled it
                wait.callback(outcome)
