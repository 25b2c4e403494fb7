"""Twisted's epoll reactor, turned inside out: it waits in a poller, not the poller in it.

A :class:`~socks5.net.poller.Poller` stands in an ordinary reactor as one descriptor, so each wait is two:
the reactor's, then the poller's. :class:`PollerReactor` waits in the poller, where Twisted's own epoll stands as one
descriptor. Its sockets are one system call away, and everything else - timers, threads,
signals, Twisted's transports - stays Twisted's.

``twistd socks5`` runs on it unless it is told which reactor to run on (``twistd --reactor``). An
embedding program may call :func:`install` first thing, as with any reactor; without it, everything
works the same.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.net.poller import Poller

ROUNDS = 64
"""Batches of the poller's sockets, with nothing else to do between them, before the reactor's own round."""


class PollerReactor(EPollReactor):
    """The reactor; see the module. Its ``poller`` is what :func:`socks5.net.poller.poller_of` gives."""

    seconds = staticmethod(monotonic)
    """Delayed calls count by a clock that nobody sets; the other reactors' is the time of day."""

    _log = Logger()

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.poller = Poller(self)
        self.poller.watch(self._poller.fileno(), self)

    @override
    def doPoll(self, timeout: float | None) -> None:
        """Serve what is ready, and go on while only the poller's sockets are: a round of the reactor's costs
        as much as a small message.

        :param timeout: seconds to wait for the first at the most; None: for ever.
        """
        self.poller.serve(-1 if timeout is None else timeout, ROUNDS)

    doIteration = doPoll

    def ready(self, events: int) -> None:
        """See :class:`socks5.net.poller.Owner`: descriptors of Twisted's are ready; one of them wakes us for calls
        from threads and signals.
        """
        self.poller.is_interrupted = True
        super().doPoll(0)  # type: ignore[no-untyped-call]

    @override
    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kw: object
    ) -> DelayedCall:
        """See :meth:`twisted.internet.interfaces.IReactorTime.callLater`."""
        self.poller.is_interrupted = True  # it may be due sooner than what is waited for
        return super().callLater(delay, callable, *args, **kw)

    @override
    def _moveCallLaterSooner(self, delayedCall: DelayedCall) -> None:
        """A call that was set is to come sooner: told to no reactor in public."""
        self.poller.is_interrupted = True
        super()._moveCallLaterSooner(delayedCall)

    def crashed(self, failure: Failure) -> None:
        """See :class:`socks5.net.poller.Owner`. Twisted itself catches what a descriptor raises."""
        self._log.failure("the reactor failed", failure=failure)

    @override
    def stop(self) -> None:
        """See :meth:`twisted.internet.interfaces.IReactorCore.stop`."""
        self.poller.is_interrupted = True
        super().stop()

    @override
    def crash(self) -> None:
        """See :meth:`twisted.internet.interfaces.IReactorCore.crash`."""
        self.poller.is_interrupted = True
        super().crash()


def install() -> PollerReactor:
    """Make a :class:`PollerReactor` this process's reactor.

    :raises twisted.internet.error.ReactorAlreadyInstalledError: it has one.
    """
    reactor = PollerReactor()
    installReactor(reactor)
    return reactor
