"""Slow checks in threads of their own, in turn by client; and a short memory of what was right.

A hash costs tens of milliseconds on purpose. So it never runs in the reactor's thread, equal logins
share one check, and a right one is remembered for :data:`LIFETIME` - under a keyed digest, never as
a password.
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
from twisted.cred.error import LoginFailed
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from socks5.auth import LoginNotJudged, client_of
from socks5.auth.check_turns import Turn, Turns
from socks5.auth.users import keyed
from socks5.logins import IMemory
from socks5.loglimit import Sparing
from socks5.protocol.networks import subscriber
from socks5.threads import forget_unstarted

_PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

THREADS = max(1, min(4, (_PROCESSORS or 1) - 1))
"""Checks at a time: one processor is left to the relays. Each Argon2 hash takes 64 MiB meanwhile."""

NICE = 10
"""How far the threads step back behind the relays (nice(1))."""

LIFETIME = 60.0
"""Seconds that a right login is remembered."""

REMEMBERED = 4096
"""Right logins that are remembered; one more, and the oldest is forgotten."""

_Login = tuple[bytes, Hashable]
"""A digest of a login, and the stamp that the verdict on it holds for."""

Judge = Callable[[bytes, bytes], Any]
"""Takes a user name and a password, gives an avatar ID or raises
:exc:`~twisted.cred.error.LoginFailed`. May block."""


class Work:
    """The threads, and who may have one.

    :param reactor: gives the reactor that is told of the outcome; asked at the first check.
    :param threads: checks at a time.
    :param share: how many of those may be one client's; see :class:`~socks5.auth.check_turns.Turns`, also for the rest.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Callable[[], Any],
        threads: int = THREADS,
        share: int | None = None,
        **queue: Any,
    ) -> None:
        self._get_reactor = reactor
        self._reactor: Any = None
        self._pool: ThreadPool | None = None
        self._threads = threads
        self._lines = Sparing(lines=1)
        self._turns = Turns(threads, share, **queue)

    def run(self, client: str, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Call a function in a thread, when it is the client's turn.

        :param client: an IP literal; "" on a UNIX socket.
        :returns: its outcome, or a failure with :exc:`~socks5.auth.LoginNotJudged` if too many wait, or
            the end has come, or the system has no thread. Cancelling takes it out of the queue; what has begun
            runs to its end unheard.
        """
        outcome: Deferred[Any] = self._turns.wait(client)
        return outcome.addCallback(self._begin, partial(function, *arguments))

    def _begin(self, turn: Turn, call: Callable[[], Any]) -> Deferred[Any]:
        outcome: Deferred[Any] = Deferred()
        pool = self._pool or self._start()
        try:
            pool.callInThreadWithCallback(partial(self._tell, turn, outcome), call)
        except (
            Exception
        ) as error:  # the system has no thread for us now (RuntimeError, MemoryError)
            forget_unstarted(pool)
            turn.over()
            raise self._no_thread(error) from None
        return outcome

    def _no_thread(self, error: Exception) -> LoginNotJudged:
        if (left_out := self._lines.next()) is not None:
            self.log.error(
                "no thread to check logins in: {reason}; times: {count}",
                reason=str(error),
                count=left_out + 1,
            )
        return LoginNotJudged("there is no thread to check it in")

    def _start(self) -> ThreadPool:
        self._reactor = self._get_reactor()
        pool = self._pool = ThreadPool(0, self._threads, "socks5-logins")
        # Daemons, for a directory server that hangs must not hold up the exit.
        pool.threadFactory = _thread  # type: ignore[assignment]
        pool.start()
        self._reactor.addSystemEventTrigger("during", "shutdown", self.close)
        return pool

    def _tell(self, turn: Turn, outcome: Deferred[Any], is_success: bool, result: Any) -> None:
        """Called in the thread."""
        self._reactor.callFromThread(self._over, turn, outcome, result)

    def _over(self, turn: Turn, outcome: Deferred[Any], result: Any) -> None:
        turn.over()
        if not outcome.called:  # it may have been cancelled
            outcome.callback(result)

    def close(self) -> None:
        """Let the threads go, without waiting for them; what waits for one fails. Called at the
        reactor's shutdown; harmless twice.
        """
        self._turns.close()
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
        login = credentials.username, credentials.password
        return self._work.run(client_of(credentials), self._judge, *login)


class _Check:
    """One check under way, and who waits for it: logins of one client, all equal."""

    def __init__(self) -> None:
        self.waiting: dict[Deferred[Any], None] = {}
        self.outcome: Deferred[Any] = Deferred()

    def end(self, outcome: Any) -> None:
        """Tell those who wait. The check itself may still be waiting for its turn."""
        waiting, self.waiting = self.waiting, {}
        self.outcome.cancel()
        for wait in waiting:
            if not wait.called:  # one before it may have cancelled it
                wait.callback(outcome)


def _is_verdict(outcome: Any) -> bool:
    """Whether equal logins may be told the same: whose turn it was, or who has left, does not matter to it."""
    if not isinstance(outcome, Failure):
        return True
    return bool(outcome.check(LoginFailed)) and not outcome.check(LoginNotJudged)


@implementer(ICredentialsChecker, IMemory)
class Remembered:
    """Asks a slow checker once for equal logins of a client, and not at all while it remembers that one was right.

    Equal logins of several clients have a check each, so that nobody waits in somebody else's queue, or is cancelled
    with what is there. The first verdict is for all of them.

    :param checker: the slow one.
    :param stamp: what is remembered, or under way, counts only while this stays equal.
    :param lifetime: seconds that a right login is remembered.
    :param size: how many are.
    :param now: a clock.
    :param file: what the slow one judges by, for those who have it read again; None if that is no file.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(
        self,
        checker: ICredentialsChecker,
        stamp: Callable[[], Hashable] = lambda: None,
        lifetime: float = LIFETIME,
        size: int = REMEMBERED,
        now: Callable[[], float] = time.monotonic,
        file: Any = None,
    ) -> None:
        self.file = file
        self._checker = checker
        self._stamp = stamp
        self._lifetime = lifetime
        self._size = size
        self._now = now
        self._right: OrderedDict[bytes, tuple[Hashable, float, Any]] = OrderedDict()
        self._under_way: dict[_Login, dict[bytes, _Check]] = {}

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See :meth:`twisted.cred.checkers.ICredentialsChecker.requestAvatarId`."""
        login = self._login(credentials)
        known = self._recall(login)
        return self._join(login, credentials) if known is None else succeed(known)

    def recall(self, credentials: Any) -> Any:
        """See :meth:`socks5.logins.IMemory.recall`."""
        return self._recall(self._login(credentials))

    def _login(self, credentials: Any) -> _Login:
        return keyed(credentials.username, credentials.password), self._stamp()

    def _recall(self, login: _Login) -> Any:
        digest, stamp = login
        self._forget()
        known = self._right.get(digest)
        if known is None:
            return None
        if known[0] == stamp:
            return known[2]
        del self._right[digest]
        return None

    def _join(self, login: _Login, credentials: Any) -> Deferred[Any]:
        """Wait for the client's check of this login, which begins unless it is under way."""
        client = subscriber(client_of(credentials))
        checks = self._under_way.setdefault(login, {})
        is_new = client not in checks
        check = checks.setdefault(client, _Check())
        wait: Deferred[Any] = Deferred(partial(self._leave, login, client, check))
        check.waiting[wait] = None
        if is_new:
            check.outcome = maybeDeferred(self._checker.requestAvatarId, credentials)
            check.outcome.addCallback(self._remember, login)
            check.outcome.addBoth(self._over, login, client, check)
        return wait

    def _leave(self, login: _Login, client: bytes, check: _Check, gone: Deferred[Any]) -> None:
        """One that waited was cancelled; the last one takes the check with it."""
        if gone in check.waiting:
            del check.waiting[gone]
            if not check.waiting:
                self._drop(login, client)
                check.outcome.cancel()

    def _drop(self, login: _Login, client: bytes) -> _Check:
        checks = self._under_way[login]
        check = checks.pop(client)
        if not checks:
            del self._under_way[login]
        return check

    def _remember(self, avatar: Any, login: _Login) -> Any:
        digest, stamp = login
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

    def _over(self, outcome: Any, login: _Login, client: bytes, check: _Check) -> None:
        """Tell those who wait: of this client, or of all if it is a verdict."""
        checks = self._under_way.get(login, {})
        if checks.get(client) is not check:
            return  # everybody has left, or has been told what another client's check said
        clients = list(checks) if _is_verdict(outcome) else [client]
        for over in [self._drop(login, each) for each in clients]:
            over.end(outcome)
