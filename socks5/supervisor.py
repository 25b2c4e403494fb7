"""Starts, restarts and ends the workers: Twisted's :class:`~twisted.runner.procmon.ProcessMonitor`,
whose processes inherit sockets.

The parent keeps every socket open: when a worker dies, the clients in its queue wait in the kernel
until its successor takes the same sockets. The other workers notice nothing. A worker that cannot begin at all ends
the parent, too: its clients would wait for ever.

Imported only where there are workers to start, for the monitor's module installs a reactor.

Floor 5: imports :mod:`socks5.workers`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.runner.procmon import ProcessMonitor
from typing_extensions import override
from zope.interface import directlyProvides, providedBy

from socks5.workers import FIRST_DESCRIPTOR, VARIABLE, Opening

KILL_TIME = 4.0
"""Seconds until a worker that was asked to end is killed: its sessions have half of that to send
what is written.
"""


RESTART_DELAY = 0.1
"""Seconds until a worker that died at once is started again; doubled each time it does, to an hour
at the most.
"""

BEGINNING = 30.0
"""Seconds in which a first worker's end means that it could not begin."""

REFUSALS = (1, 2)
"""Exit statuses of ``python -m socks5`` when it does not start."""

LOOK_INTERVAL = 0.02
"""Seconds between looks whether all workers are gone."""


class _Spawning:
    """A reactor whose ``spawnProcess`` hands a worker what it inherits; everything else is the
    reactor's.
    """

    def __init__(self, reactor: Any, workers: Workers) -> None:
        self._reactor = reactor
        self._workers = workers
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def spawnProcess(self, protocol: Any, *arguments: Any, **options: Any) -> Any:
        """See :meth:`twisted.internet.interfaces.IReactorProcess.spawnProcess`."""
        self._workers.begins(protocol)
        inherited = enumerate(self._workers.descriptors_of(protocol.name), FIRST_DESCRIPTOR)
        streams: dict[int, Any] = {0: "w", 1: "r", 2: "r"}
        return self._reactor.spawnProcess(
            protocol, *arguments, childFDs={**streams, **dict(inherited)}, **options
        )


class Workers(ProcessMonitor):
    """Starts, restarts and ends the workers.

    :param reactor: runs the parent.
    :param opening: what the workers inherit.
    :param arguments: a worker's command line, behind ``python -m socks5``.
    :param count: how many.
    :param give_up: ends the parent; told why.
    """

    threshold = 1
    killTime = KILL_TIME  # type: ignore[assignment]  # noqa: N815
    minRestartDelay = RESTART_DELAY  # type: ignore[assignment]  # noqa: N815

    def __init__(
        self,
        reactor: Any,
        opening: Opening,
        arguments: Sequence[str],
        count: int,
        give_up: Callable[[str], object],
    ) -> None:
        super().__init__(reactor=_Spawning(reactor, self))  # type: ignore[arg-type]
        self._give_up = give_up
        self._is_giving_up = False
        self._lives: Counter[str] = Counter()
        self._opening = opening
        self._command = [sys.executable, "-m", "socks5", *arguments]
        self._count = count

    @override
    def startService(self) -> None:
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        sockets = len(self._opening.sockets)
        for number in range(1, self._count + 1):
            about = f"{number},{sockets},{FIRST_DESCRIPTOR + sockets}"
            environment = {**os.environ, "PYTHONPATH": path, VARIABLE: about}
            self.addProcess(f"worker-{number}", self._command, env=environment)
        super().startService()

    @override
    def startProcess(self, name: str) -> None:
        if self._is_giving_up:
            return
        if name in self.timeStarted:
            self.log.warn("{name} died and is started again", name=name)
        super().startProcess(name)

    def begins(self, protocol: Any) -> None:
        """Watch for the end of a worker that is about to be started."""
        name, ended, began = protocol.name, protocol.processEnded, self._clock.seconds()
        self._lives[name] += 1

        def process_ended(reason: Failure) -> None:
            is_new = self._lives[name] == 1 and self._clock.seconds() - began < BEGINNING
            status = getattr(reason.value, "exitCode", None)
            if self.running and is_new and status in REFUSALS:
                self._is_giving_up = True
                self._give_up(f"{name} ended with status {status}; its lines say why")
            ended(reason)

        protocol.processEnded = process_ended

    def descriptors_of(self, name: str) -> list[int]:
        """What a worker inherits beside its standard streams: its sockets, and our output."""
        number = int(name.rpartition("-")[2]) - 1
        return [*(sockets[number].fileno() for sockets in self._opening.sockets), 1]

    def reopen(self) -> None:
        """Let every worker reopen its access log."""
        for protocol in list(self.protocols.values()):
            with suppress(ProcessExitedAlready):
                protocol.transport.signalProcess(signal.SIGUSR1)  # type: ignore[union-attr]

    @override
    def stopService(self) -> Deferred[None]:  # type: ignore[override]
        """End the workers.

        :returns: fires with None when all are gone.
        """
        super().stopService()
        self._waiting = LoopingCall(self._look)
        self._waiting.clock = self._clock
        return self._waiting.start(LOOK_INTERVAL).addCallback(lambda _: None)

    def _look(self) -> None:
        if not self.protocols:
            self._waiting.stop()


class WorkersLog:
    """The access logs of all workers, as the parent's service sees them."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def open(self) -> None:
        """Each worker opens its own."""

    def reopen(self) -> None:
        """See :meth:`Workers.reopen`."""
        self._workers.reopen()

    def close(self) -> None:
        """Each worker closes its own."""
