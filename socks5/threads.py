"""Twisted's thread pools, also where the system has no thread to give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool


class NoThread(Exception):
    """The system has none to give."""


def aside(reactor: Any, call: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    """Call something in a thread of the reactor's.

    :returns: fires with what it returns; fails with what it raises, or :exc:`NoThread`.
    """
    pool = reactor.getThreadPool()
    try:
        return deferToThreadPool(reactor, pool, call, *arguments)
    except Exception as error:  # RuntimeError, MemoryError
        forget_unstarted(pool)
        return fail(NoThread(str(error) or type(error).__name__))


def forget_unstarted(pool: ThreadPool) -> None:
    """Take the threads that the system has refused out of a pool, which keeps them: their number has no bound, and the
    end of the pool would fail, for what was never started cannot be joined.
    """
    pool.threads[:] = [thread for thread in pool.threads if thread.ident is not None]
