"""Twisted's epoll reactor, turned inside out: it waits in a poller, not the poller in it.

A :class:`~socks5.poll.Poller` stands in an ordinary reactor as one descriptor, so each wait is two:
the reactor's, then the poller's. :class:`PollerReactor` waits in the poller, where Twisted's own epoll stands as one
descriptor. Its sockets are one system call away, and everything else - timers, threads,
signals, Twisted's transports - stays Twisted's.

``twistd socks5`` runs on it unless it is told which reactor to run on (``twistd --reactor``). An
embedding program may call :func:`install` first thing, as with any reactor; without it, everything
works the same.

Floor 2: imports :mod:`socks5.poll`.
"""

from __future__ import annotations

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.poll import Poller


class PollerReactor(EPollReactor):
    """The reactor; see the module. Its ``poller`` is what :func:`socks5.poll.poller_of` gives."""

    _log = Logger()

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.poller = Poller(self)
        self.poller.watch(self._poller.fileno(), self)

    @override
    def doPoll(self, timeout: float | None) -> None:
        """Serve what is ready.

        :param timeout: seconds to wait for it at the most; None: for ever.
        """
        self.poller.serve(-1 if timeout is None else timeout)

    doIteration = doPoll

    def ready(self, events: int) -> None:
        """See :class:`socks5.poll.Owner`: descriptors of Twisted's are ready."""
        super().doPoll(0)  # type: ignore[no-untyped-call]

    def crashed(self, failure: Failure) -> None:
        """See :class:`socks5.poll.Owner`. Twisted itself catches what a descriptor raises."""
        self._log.failure("the reactor failed", failure=failure)


def install() -> PollerReactor:
    """Make a :class:`PollerReactor` this process's reactor.

    :raises twisted.internet.error.ReactorAlreadyInstalledError: it has one.
    """
    reactor = PollerReactor()
    installReactor(reactor)
    return reactor
