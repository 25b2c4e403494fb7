"""What becomes of Twisted's thread pools where the system has no thread to give."""

from __future__ import annotations

from twisted.python.threadpool import ThreadPool


def forget_unstarted(pool: ThreadPool) -> None:
    """Take the threads that the system has refused out of a pool, which keeps them: their number has no bound, and the
    end of the pool would fail, for what was never started cannot be joined.
    """
    pool.threads[:] = [thread for thread in pool.threads if thread.ident is not None]
