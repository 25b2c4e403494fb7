"""Sessions judged by new rules, a few a turn, so that nobody waits for that."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import thread_time
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from socks5.access import Reason
from socks5.deadlines import Deadlines
from socks5.interfaces import IManagedSession, IRules
from socks5.policy.ruleset import Ruleset
from socks5.server.reconsidering import Reconsidering

A_TURN = 100
"""Sessions that are judged before others get their turn."""

BUSY = 0.01
"""Seconds of the processor after which others get their turn however few were judged. One that ends takes more, and
once more in the next turn: half a millisecond over TLS, and longer on a slow machine.
"""

A_LOOK = 1.0
"""Seconds between looks at the clock, where rules have hours."""

_log = Logger()


class Edges:
    """Notices when the hours of rules begin and end, for then they are other rules for whoever has begun.

    :param deadlines: serve the looks.
    :param changed: called then.
    """

    def __init__(self, deadlines: Deadlines, changed: Callable[[], object]) -> None:
        self._deadlines = deadlines
        self._changed = changed
        self._rules: Ruleset | None = None
        self._phase: tuple[bool, ...] = ()

    def watch(self, rules: IRules) -> None:
        """Look at these, and no others any more."""
        self._deadlines.clear(self)
        self._rules = None
        if isinstance(rules, Ruleset) and rules.phase():
            self._rules, self._phase = rules, rules.phase()
            self._deadlines.set(self, A_LOOK, self._look)

    def _look(self) -> None:
        assert self._rules is not None
        self._deadlines.set(self, A_LOOK, self._look)
        phase = self._rules.phase()
        if phase != self._phase:
            self._phase = phase
            self._changed()


def given(rules: IRules) -> IRules:
    """Those that a session was told of, which may have them with something before them."""
    return rules.given if isinstance(rules, Reconsidering) else rules


def rejudge_all(
    reactor: Any, sessions: Iterable[Any], rules: IRules, is_renewing: bool = False
) -> Deferred[int]:
    """Judge sessions by other rules; see :meth:`socks5.interfaces.IManagedSession.rejudge`.

    :param is_renewing: whether their users are looked at as well.
    :returns: how many are no longer allowed, and end.
    """
    return Deferred.fromCoroutine(_rejudge(reactor, sessions, rules, is_renewing))


def _judge(session: Any, rules: IRules, is_renewing: bool) -> Deferred[bool]:
    if is_renewing and not session.renew():
        return succeed(False)
    judged: Deferred[bool] = session.rejudge(rules)
    return judged


async def _rejudge(
    reactor: Any, sessions: Iterable[IManagedSession], rules: IRules, is_renewing: bool
) -> int:
    judging: list[Deferred[bool]] = []
    done, began = 0, thread_time()
    for session in sessions:
        done += 1
        judging.append(
            maybeDeferred(_judge, session, rules, is_renewing).addErrback(_failed, session)
        )
        if done == A_TURN or thread_time() - began >= BUSY:
            await deferLater(reactor, 0)
            done, began = 0, thread_time()
    return [await each for each in judging].count(False)


def _failed(failure: Failure, session: IManagedSession) -> bool:
    """Nobody could judge it: it is not allowed then."""
    _log.failure("a session could not be judged", failure=failure)
    session.close(Reason.CRASHED)
    return False
