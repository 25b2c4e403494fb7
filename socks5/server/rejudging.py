"""Sessions judged by new rules, a few a turn, so that nobody waits for that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from socks5.access import Reason
from socks5.interfaces import IManagedSession, IRules

A_TURN = 100
"""Sessions that are judged before others get their turn."""

_log = Logger()


def rejudge_all(reactor: Any, sessions: Iterable[IManagedSession], rules: IRules) -> Deferred[int]:
    """Judge sessions by other rules; see :meth:`socks5.interfaces.IManagedSession.rejudge`.

    :returns: how many are no longer allowed, and end.
    """
    return Deferred.fromCoroutine(_rejudge(reactor, sessions, rules))


async def _rejudge(reactor: Any, sessions: Iterable[IManagedSession], rules: IRules) -> int:
    judging: list[Deferred[bool]] = []
    for count, session in enumerate(sessions, 1):
        judging.append(maybeDeferred(session.rejudge, rules).addErrback(_failed, session))
        if count % A_TURN == 0:
            await deferLater(reactor, 0)
    return [await each for each in judging].count(False)


def _failed(failure: Failure, session: IManagedSession) -> bool:
    """Nobody could judge it: it is not allowed then."""
    _log.failure("a session could not be judged", failure=failure)
    session.close(Reason.CRASHED)
    return False
