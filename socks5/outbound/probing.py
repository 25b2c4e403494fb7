"""Looks whether upstreams are in order while nobody asks them for anything: each is asked for a target of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from socks5.deadlines import Deadlines
from socks5.outbound.path import Path
from socks5.outbound.through import Through
from socks5.protocol.address import Address
from socks5.protocol.errors import SOCKSError


class Probe:
    """The looks at one upstream; the first when nobody has asked for so long.

    :param path: leads through it.
    :param target: what it is asked for.
    :param seconds: between two looks, and behind whatever else it was asked for.
    :param reach: reaches that target by that way.
    :param deadlines: serve the looks.
    """

    _log = Logger()

    def __init__(
        self,
        path: Path,
        target: Address,
        seconds: float,
        reach: Callable[[Path, Address], Deferred[Through]],
        deadlines: Deadlines,
    ) -> None:
        self._path = path
        self._seconds = seconds
        self._reach = partial(reach, path, target)
        self._deadlines = deadlines
        self._looking: Deferred[Any] | None = None

    def start(self) -> None:
        """Wait for the time of the next look."""
        self._looking = None
        self._wait(self._seconds)

    def _wait(self, seconds: float) -> None:
        self._deadlines.set(self, seconds, self._look)

    def _look(self) -> None:
        since = self._path.now() - self._path.used
        if since < self._seconds:  # others have looked
            self._wait(self._seconds - since)
            return
        self._looking = looking = self._reach()
        looking.addCallbacks(self._reached, self._failed)

    def _reached(self, through: Through) -> None:
        transport: Any = through.transport
        transport.abortConnection()
        self.start()

    def _failed(self, failure: Failure) -> None:
        if self._looking is None:
            return
        if not failure.check(SOCKSError):
            self._log.failure("an upstream could not be looked at", failure)
        self.start()

    def stop(self) -> None:
        """Look no more."""
        self._deadlines.clear(self)
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
