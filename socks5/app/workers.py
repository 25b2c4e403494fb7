"""Starts, restarts and ends the workers: Twisted's :class:`~twisted.runner.procmon.ProcessMonitor`,
whose processes inherit sockets.

The parent keeps every socket open: when a worker dies, the clients in its queue wait in the kernel
until its successor takes the same sockets. The other workers notice nothing. One that gives no sign of life any more
is killed, so that it has a successor, too. A worker that cannot begin at all ends the parent: its clients would wait
for ever.

Imported only where there are workers to start, for the monitor's module installs a reactor.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.runner.procmon import ProcessMonitor
from typing_extensions import override
from zope.interface import directlyProvides, providedBy

from socks5.app.announcing import Announcer, LogAnnouncer
from socks5.app.channel import Channel
from socks5.app.heartbeat import INTERVAL
from socks5.app.inherit import FIRST_DESCRIPTOR, VARIABLE, Worker, file_of
from socks5.app.lives import Life
from socks5.app.sharing import PortsForWorkers
from socks5.app.signals import held
from socks5.net.own import OwnPorts
from socks5.server.draining import drained

_SOURCES = str(Path(__file__).resolve().parents[2])
"""Where a worker finds this package, wherever it is started."""

KILL_TIME = 4.0
"""Seconds until a worker that was asked to end is killed: its sessions have half of that to send
what is written.
"""

RESTART_DELAY = 0.1
"""Seconds until a worker that died at once is started again; doubled each time it does, to an hour
at the most.
"""

REFUSALS = (1, 2)
"""Exit statuses of ``python -m socks5`` when it does not start."""

LOOK_INTERVAL = 0.02
"""Seconds between looks whether all workers are gone."""


def _number(name: str) -> int:
    """A worker's, from 1."""
    return int(name.rpartition("-")[2])


class Companion(Protocol):
    """Has a part in every worker's life."""

    def begins(self, life: Life) -> object:
        """It is about to begin; nothing has come through its channel yet."""

    def ends(self, life: Life) -> object:
        """It is over; all that was to come through its channel has come."""


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
        ours, theirs = socket.socketpair()
        life = self._workers.begins_life(protocol, ours)
        inherited = [*self._workers.descriptors_of(life.name), theirs.fileno()]
        try:
            with open(os.devnull) as nothing, theirs, held():
                streams: dict[int, Any] = {0: nothing.fileno(), 1: "r", 2: "r"}
                descriptors = {**streams, **dict(enumerate(inherited, FIRST_DESCRIPTOR))}
                own = {**options, "env": self._workers.environment_of(life.name)}
                return self._reactor.spawnProcess(life, *arguments, childFDs=descriptors, **own)
        except OSError:  # no process or descriptor is to be had; it is tried again
            self._workers.has_no_life(life)
            raise


class Workers(Announcer, ProcessMonitor):
    """Starts, restarts and ends the workers. Announces them, when all have begun: see
    :class:`socks5.app.announcing.Announcer`.

    :param reactor: runs the parent.
    :param opener: what the workers inherit.
    :param arguments: a worker's command line, behind ``python -m socks5``.
    :param count: how many.
    :param give_up: ends the parent; told why.
    :param announcer: tells the operator of all together.
    :param told: what every worker is told besides, until :meth:`become`.
    """

    threshold = 1
    killTime = KILL_TIME  # type: ignore[assignment]  # noqa: N815
    minRestartDelay = RESTART_DELAY  # type: ignore[assignment]  # noqa: N815

    def __init__(
        self,
        reactor: Any,
        opener: PortsForWorkers,
        arguments: Sequence[str],
        count: int,
        give_up: Callable[[str], object],
        announcer: Announcer | None = None,
        told: bytes = b"",
    ) -> None:
        super().__init__(reactor=_Spawning(reactor, self))  # type: ignore[arg-type]
        self._give_up = give_up
        self._text = told
        self._sockets: Sequence[tuple[str, Sequence[socket.socket]]] = ()
        self._is_over = False  # who dies now has no successor
        self._started: Counter[str] = Counter()
        self._lives: dict[str, Life] = {}
        self._companions: list[Companion] = []
        self._opener = opener
        self._command = [sys.executable, "-m", "socks5", *arguments]
        self._count = count
        self._announcer = LogAnnouncer() if announcer is None else announcer
        self._places: Sequence[str] = ()
        self._is_announced = False
        self._ending: list[Life] | None = None
        self._rounds = LoopingCall(self._look_for_silence)
        self._rounds.clock = self._clock

    @override
    def startService(self) -> None:
        self._ports = OwnPorts.file_for(self._count)
        self._sockets = self._opener.sockets
        self._told = file_of(self._text)
        self._text = b""
        for number in range(1, self._count + 1):
            self.addProcess(f"worker-{number}", self._command)
        super().startService()
        self._rounds.start(INTERVAL, now=False)

    @override
    def startProcess(self, name: str) -> None:
        if self._is_over:
            return
        if name in self.timeStarted:
            self.log.warn("{name} died and is started again", name=name)
        super().startProcess(name)

    def accompany(self, companion: Companion) -> None:
        """Let *companion* know of every life, from now on."""
        self._companions.append(companion)

    def part_from(self, companion: Companion) -> None:
        """Let *companion* know of no more lives."""
        self._companions.remove(companion)

    @property
    def lives(self) -> Collection[Life]:
        """Those of now."""
        return self._lives.values()

    def begins_life(self, monitored: Any, end: socket.socket) -> Life:
        """The protocol of a worker that is about to be started.

        :param end: ours, of the channel to it.
        """
        life = Life(monitored, Channel(self._clock, end), self._noticed, self._life_ended)
        self._started[life.name] += 1
        self._lives[life.name] = life
        for companion in [*self._companions]:
            companion.begins(life)
        return life

    def has_no_life(self, life: Life) -> None:
        """The system could not start that worker: there is nothing to signal, and its first start is still to come."""
        self._started[life.name] -= 1
        life.channel.close()
        self._forget(life)

    def _forget(self, life: Life) -> None:
        del self._lives[life.name]
        for companion in [*self._companions]:
            companion.ends(life)

    def environment_of(self, name: str) -> dict[str, str]:
        """What stands in the environment of a worker that begins: what its descriptors are, and nothing of systemd's
        word on sockets, which is for the parent alone (sd_listen_fds(3)).
        """
        names = [each for each, _ in self._sockets]
        first = FIRST_DESCRIPTOR + len(names)
        output, ports, told, channel = range(first, first + 4)
        about = Worker(_number(name), self._count, names, output, channel, ports, told)
        path = os.pathsep.join(filter(None, [_SOURCES, os.environ.get("PYTHONPATH")]))
        inherited = {key: text for key, text in os.environ.items() if not key.startswith("LISTEN_")}
        return {**inherited, "PYTHONPATH": path, VARIABLE: about.environment}

    def descriptors_of(self, name: str) -> list[int]:
        """What it inherits before its channel: its sockets, our output, the table of ports, what it is told."""
        sockets = [row[_number(name) - 1].fileno() for _, row in self._sockets]
        return [*sockets, 1, self._ports.fileno(), self._told.fileno()]

    def coming(self, name: str) -> tuple[Sequence[str], Sequence[int]]:
        """What has been opened for a worker that lives, or begins: what all sockets are called, and the last of them,
        which it has not inherited.
        """
        sockets = self._opener.sockets
        more = [row[_number(name) - 1].fileno() for _, row in sockets[len(self._sockets) :]]
        return [each for each, _ in sockets], more

    def become(self, told: IO[bytes]) -> None:
        """Let whoever begins from now on inherit what is open now.

        :param told: what it is told, in a file that is ours from now on.
        """
        self._sockets = self._opener.sockets
        self._told.close()
        self._told = told

    def _life_ended(self, life: Life, reason: Failure) -> None:
        self._forget(life)
        is_first = self._started[life.name] == 1
        status = getattr(reason.value, "exitCode", None)
        cannot_begin = is_first and not life.pulse.is_felt and status in REFUSALS
        if self.running and cannot_begin and not self._is_over:
            self._is_over = True
            self._give_up(f"{life.name} ended with status {status}; its lines say why")
        self._monitoredProcessExited(life.name, reason)
        life.pulse.is_last = True
        self._noticed()

    def hand_on(self, number: signal.Signals) -> int:
        """Send every worker a signal.

        :returns: how many there are.
        """
        for life in self._lives.values():
            life.signal(number)
        return len(self._lives)

    # Signs of life

    def _look_for_silence(self) -> None:
        for life in self._lives.values():
            if life.pulse.next_round() and not life.is_given_up:
                life.is_given_up = True
                self.log.warn("{name} gives no sign of life and is killed", name=life.name)
                life.signal(signal.SIGKILL)

    @override
    def begins(self, places: Sequence[str]) -> None:
        self._places = [*self._places, *places]
        self._noticed()

    @override
    def refuses(self, sentence: str) -> None:
        self._announcer.refuses(sentence)

    @override
    def closes(self, place: str) -> None:
        if self._is_announced:
            self._announcer.closes(place)

    @override
    def rereads(self) -> None:
        self._announcer.rereads()

    @override
    def has_reread(self, outcome: str) -> None:
        self._announcer.has_reread(outcome)

    @override
    def drains(self, seconds: float, sessions: int) -> None:
        """How many sessions there are, the workers know."""
        self._announcer.drains(seconds, self._sessions)

    @override
    def has_drained(self, seconds: float, sessions: int) -> None:
        self._announcer.has_drained(seconds, sessions)

    @override
    def ends(self, sessions: int) -> None:
        """How many sessions there are, the workers know."""

    @property
    def _sessions(self) -> int:
        """Those of all workers, a second ago at the most."""
        return sum(life.pulse.sessions for life in self._lives.values())

    def _noticed(self) -> None:
        """One of the workers has begun, or says how many sessions it ends, or is gone."""
        if self._places and self.running and self._have_begun:
            places, self._places = self._places, ()
            self._is_announced = True
            self._announcer.begins(places)
        if self._ending is not None and all(life.pulse.is_last for life in self._ending):
            ending, self._ending = self._ending, None
            self._announcer.ends(sum(life.pulse.sessions for life in ending))

    @property
    def _have_begun(self) -> bool:
        lives = self._lives.values()
        return len(lives) == self._count and all(life.pulse.is_felt for life in lives)

    # The end

    def drain(self, within: float) -> Deferred[int]:
        """Have every worker listen no more, and end when its last session is gone. Our copies of their sockets must be
        closed, or the kernel would go on to queue clients there.

        :param within: seconds until the wait is over in any case.
        :returns: fires with how many sessions are left, when all workers are gone, or the wait is over. Cancelled, it
            fires at once.
        """
        self._is_over = True
        for life in self._lives.values():
            life.drain()
        waiting = drained(self._clock, lambda: len(self._lives), within)
        return waiting.addCallback(lambda _: self._sessions)

    @override
    def stopService(self) -> Deferred[None]:  # type: ignore[override]
        """End the workers.

        :returns: fires with None when all are gone.
        """
        self._rounds.stop()
        self._ending = list(self._lives.values())
        for life in self._ending:
            life.end()
        super().stopService()  # which has them killed, should they not
        self._ports.close()
        self._told.close()
        self._noticed()
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
        """Each worker reopens its own."""
        self._workers.hand_on(signal.SIGUSR1)

    def close(self) -> None:
        """Each worker closes its own."""


class WorkersFiles:
    """What the workers read and write, as one thing that SIGHUP concerns: see :class:`socks5.app.reread.Log`."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def reopen(self) -> str:
        """Each worker is asked to; what it can read it says itself."""
        return f"what {self._workers.hand_on(signal.SIGHUP)} workers say themselves"
