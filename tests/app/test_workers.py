"""Several processes: what a worker knows of itself, who is started again, and how they end."""

import errno
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.app import heartbeat, lives
from socks5.app import workers as supervisor
from socks5.app.announcing import Announcer, LogAnnouncer, Together
from socks5.app.assembly import makeService
from socks5.app.channel import Channel
from socks5.app.heartbeat import SIGN, Heart
from socks5.app.inherit import (
    DRAIN,
    FIRST_DESCRIPTOR,
    VARIABLE,
    Worker,
    file_of,
    obey,
    told_by,
)
from socks5.app.lives import Life
from socks5.app.service import refusal_of
from socks5.app.sharing import PortsForWorkers
from socks5.app.workers import Workers, WorkersFiles, WorkersLog
from socks5.net.own import OwnPorts
from socks5.net.places import TCP, Inherited, Listen, name_of
from tests.app.test_reread import Threads
from tests.sockets.wires import until
from tests.support.failures import Failures
from tests.support.options import asked, parse, refusal
from tests.support.reactor import BeginningReactor

pytestmark = pytest.mark.usefixtures("handlers")


# ---------------------------------------------------------------- what a worker knows


def test_a_worker_knows_itself_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(2, 3, sockets=["a", "b\udcff"], output=5, channel=7, ports=6)
    monkeypatch.setenv(VARIABLE, worker.environment)
    assert Worker.from_environment() == worker
    assert Worker.from_environment() is None, "what it starts is no worker"


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """The channel to a worker, as the parent has it, and the worker's."""
    ours, theirs = (Channel(Mock(), end) for end in socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_worker_inherits_its_channel() -> None:
    """What it starts does not."""
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    channel = Worker(1, 2, [], 1, theirs.detach(), 3).channel_to_parent(Mock())
    assert not os.get_inheritable(channel.fileno())
    ours.close()
    ended = Mock()
    channel.open(ended)
    channel.doRead()
    ended.assert_called_once_with()
    channel.close()


def test_a_worker_drains_when_its_parent_says_so(ends: tuple[Channel, Channel]) -> None:
    parent, own = ends
    running, drain = Mock(), Mock()
    obey(own, running, drain)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN, "Ctrl-C is for the parent"
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN, "so is a hand-over"
    parent.send({"is": DRAIN})
    own.doRead()
    drain.assert_called_once_with()
    running.stop.assert_not_called()


@pytest.mark.parametrize("stops", [0, 1])
def test_a_worker_ends_with_its_parent_but_not_twice(
    stops: int, ends: tuple[Channel, Channel]
) -> None:
    """A signal and the end of the parent may come in one turn: the reactor runs still, and is stopped already."""
    parent, own = ends
    running = BeginningReactor()
    for _ in range(stops):
        running.stop()
    obey(own, running, Mock())
    parent.close()
    own.doRead()
    assert running.stops == 1


# ---------------------------------------------------------------- starting and ending them


@implementer(IReactorTime)
class Spawner(Threads):
    """Notes what it is asked to start; each process ends when told."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self.signals: list[str | int] = []
        self.words: list[str] = []
        """What the workers were told; the end of that is "", and as many signals as workers come behind it."""
        self.channels: list[Channel] = []
        """Those of the processes."""
        self.reasons: list[str] = []
        """Why the parent gave up."""
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1

    def callWhenRunning(self, call: object) -> None:
        """It never runs."""

    def spawnProcess(self, protocol: Any, *arguments: Any, **options: Any) -> None:
        theirs = os.dup(max(options["childFDs"].items())[1])
        channel = Channel(Mock(), socket.socket(fileno=theirs))
        channel.hear(DRAIN, lambda message, descriptors: self.words.append(DRAIN))
        channel.open(lambda: self.words.append(""))
        self.channels.append(channel)
        protocol.makeConnection(self)
        self.spawned.append((protocol, arguments, options))

    def close(self) -> None:
        """No process lives any more."""
        for life, *_ in self.spawned:
            life.channel.close()
        for channel in self.channels:
            channel.close()

    def addReader(self, reader: object) -> None:
        """Channels are read when something has come: see :meth:`sign`, :meth:`told`."""

    removeReader = removeWriter = addReader

    def sign(self, number: int, sessions: int, is_last: bool = False) -> None:
        """A process that was started gives a sign of life."""
        self.channels[number].send({"is": SIGN, "sessions": sessions, "last": is_last})
        self.spawned[number][0].channel.doRead()

    def told(self) -> list[str]:
        """What the workers were told."""
        for channel in self.channels:
            channel.doRead()
        return self.words

    def signalProcess(self, name: str | int) -> None:
        self.signals.append(name)

    def end(self, number: int, status: int | None = None) -> None:
        """A process that was started ends with a status, or by a signal."""
        life = self.spawned[number][0]
        self.channels[number].close()
        life.processEnded(Failure(ProcessTerminated(status, None if status else 9)))


class Told(Announcer):
    """What an announcer was told of files."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def rereads(self) -> None:
        self.words.append("begins")

    def has_reread(self, outcome: str) -> None:
        self.words.append(outcome)

    refuses = has_reread


class Parent(Spawner):
    """Two workers, and what they do."""

    def __init__(self) -> None:
        super().__init__()
        self.reread = Told()
        self.opener = opener = PortsForWorkers(self, 2)
        self.port = opener.open(TCP(0, "127.0.0.1"), Factory())
        self.workers: Any = Workers(
            self,
            opener,
            ["--port", "1"],
            2,
            self.reasons.append,
            Together(LogAnnouncer(), self.reread),
        )
        self.workers.startService()

    def restart(self) -> None:
        self.advance(supervisor.RESTART_DELAY)


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parent]:
    monkeypatch.setenv("LISTEN_FDNAMES", "proxy")
    made = Parent()
    yield made
    if made.workers.running:
        made.workers.stopService()
    made.close()
    made.port.stopListening()


def test_each_worker_gets_its_sockets_our_output_the_table_of_ports_and_a_pipe(
    parent: Parent,
) -> None:
    """Systemd's word on sockets is for the parent alone."""
    (first, second) = parent.spawned
    life, (executable, command), options = first
    output, ports, told, channel = (FIRST_DESCRIPTOR + number for number in (1, 2, 3, 4))
    assert command == [executable, "-m", "socks5", "--port", "1"]
    name = name_of(TCP(0, "127.0.0.1"))
    assert (
        options["env"][VARIABLE] == Worker(1, 2, [name], output, channel, ports, told).environment
    )
    assert "LISTEN_FDNAMES" not in options["env"]
    own, _, table, text = parent.workers.descriptors_of("worker-1")
    descriptors = options["childFDs"]
    assert [descriptors[number] for number in (1, 2, 3, output, ports)] == ["r", "r", own, 1, table]
    assert descriptors[told] == text
    assert sorted(descriptors) == [0, 1, 2, 3, output, ports, told, channel]
    assert second[2]["childFDs"][ports] == table
    assert second[2]["childFDs"][3] == parent.workers.descriptors_of("worker-2")[0] != own
    assert life.name == "worker-1"


@pytest.mark.parametrize("status", [1, 2])
def test_a_worker_that_cannot_begin_ends_the_parent(status: int, parent: Parent) -> None:
    parent.end(1, status)
    assert parent.reasons == [f"worker-2 ended with status {status}; its lines say why"]
    parent.restart()
    assert len(parent.spawned) == 2


def test_a_worker_that_had_begun_is_started_again_whatever_its_end(parent: Parent) -> None:
    """With the same sockets; so is one that dies before."""
    parent.end(0)
    parent.sign(1, 0)
    parent.end(1, 1)
    parent.restart()
    sockets = [options["childFDs"][FIRST_DESCRIPTOR] for *_, options in parent.spawned]
    assert sockets[2:] == sockets[:2]
    parent.end(3, 1)  # a successor that cannot begin: the others serve
    assert parent.reasons == []


def test_who_begins_inherits_what_has_been_in_force_last(parent: Parent) -> None:
    """What is opened for a change that is not in force yet, and that one's text, it does not."""
    more = parent.opener.open(TCP(0, "127.0.0.2"), Factory())
    before, after = (name_of(TCP(0, host)) for host in ("127.0.0.1", "127.0.0.2"))
    names, [coming] = parent.workers.coming("worker-2")
    assert names == [before, after]
    assert coming == parent.opener.sockets[1][1][1].fileno()
    parent.end(1)
    parent.restart()
    parent.port.stopListening()
    parent.workers.become(file_of(b"another text"))
    parent.end(2)
    parent.pump([supervisor.RESTART_DELAY] * 2)
    first, second = (json.loads(each[2]["env"][VARIABLE]) for each in parent.spawned[2:])
    assert [first["sockets"], second["sockets"]] == [[before], [after]]
    assert parent.spawned[3][2]["childFDs"][FIRST_DESCRIPTOR] == coming
    assert told_by(parent.spawned[3][2]["childFDs"][second["told"]]) == b"another text"
    more.stopListening()


def refuse(*arguments: Any, **options: Any) -> None:
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


def test_whoever_accompanies_workers_knows_of_every_life(
    parent: Parent, monkeypatch: pytest.MonkeyPatch, failures: Failures
) -> None:
    """Of what comes through its channel, too."""
    told: list[str] = []

    class Companion:
        def begins(self, life: Life) -> None:
            told.append(f"{life.name} begins")
            life.channel.hear("word", lambda message, descriptors: told.append(message["word"]))

        def ends(self, life: Life) -> None:
            told.append(f"{life.name} ends")

    companion = Companion()
    parent.workers.accompany(companion)
    parent.end(0)
    with monkeypatch.context() as patch:
        patch.setattr(parent, "spawnProcess", refuse)
        parent.restart()
    failures.take(BlockingIOError)
    parent.pump([supervisor.RESTART_DELAY] * 2)
    assert [life.name for life in parent.workers.lives] == ["worker-2", "worker-1"]
    parent.channels[2].send({"is": "word", "word": "hello"})
    parent.end(2)
    one_life = ["worker-1 begins", "worker-1 ends"]
    assert told == ["worker-1 ends", *one_life, "worker-1 begins", "hello", "worker-1 ends"]
    parent.workers.part_from(companion)
    parent.pump([supervisor.RESTART_DELAY] * 8)
    assert (len(parent.spawned), len(told)) == (4, 6)


def test_a_worker_that_the_system_cannot_start_is_tried_again(
    parent: Parent, monkeypatch: pytest.MonkeyPatch, failures: Failures
) -> None:
    parent.end(0)
    with monkeypatch.context() as patch:
        patch.setattr(parent, "spawnProcess", refuse)
        parent.restart()
    assert len(failures.take(BlockingIOError)) == 1
    assert parent.workers.hand_on(signal.SIGHUP) == 1
    parent.pump([supervisor.RESTART_DELAY] * 3)
    assert len(parent.spawned) == 3
    assert parent.workers.hand_on(signal.SIGHUP) == 2


def test_the_lines_of_a_worker_are_the_parents_too(
    parent: Parent, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without blank ones, whole, and not without end."""
    monkeypatch.setattr(lives, "MAX_LINE", 10)
    life, *_ = parent.spawned[0]
    life.childDataReceived(1, b"one\n\ntw")
    life.childDataReceived(2, b"\tan error \xff\n \n")
    life.childDataReceived(1, b"o\n")
    life.childDataReceived(1, b"x" * 25)
    life.childDataReceived(2, b"cut")
    parent.end(0)
    assert log == [
        "[worker-1] one",
        "[worker-1] \tan error \\xff",
        "[worker-1] two",
        *(f"[worker-1] {'x' * 10}",) * 2,
        "[worker-1] xxxxx",
        "[worker-1] cut",
    ]


def test_where_it_listens_is_said_once_all_workers_have_begun(
    parent: Parent, log: list[str]
) -> None:
    """One that dies before is waited for."""
    parent.sign(0, 0)
    parent.workers.begins(["127.0.0.1:1080"])
    parent.end(0)
    parent.sign(1, 0)
    parent.restart()
    assert not any("listens" in line for line in log)
    log.clear()
    parent.sign(2, 0)
    parent.sign(2, 0)
    assert log == ["SOCKS5 proxy listens on 127.0.0.1:1080"]


@pytest.mark.parametrize("is_killed", [False, True])
def test_the_end_waits_for_every_worker_and_says_how_many_sessions_all_had(
    is_killed: bool, parent: Parent, log: list[str]
) -> None:
    """Of one that is killed, how many it had. Their ends are no reason to give up."""
    done: list[Any] = []
    parent.sign(0, 7)
    parent.workers.stopService().addCallback(done.append)
    parent.workers.ends(0)
    if not is_killed:
        parent.sign(0, 2, is_last=True)
    parent.sign(1, 30)
    assert (log, parent.signals) == ([], ["TERM", "TERM"])
    parent.sign(1, 30, is_last=True)
    parent.end(0, 1)
    parent.advance(supervisor.LOOK_INTERVAL)
    assert (log, done) == ([f"SOCKS5 proxy stops; open sessions: {37 if is_killed else 32}"], [])
    parent.end(1)
    parent.advance(supervisor.LOOK_INTERVAL)
    assert (done, len(log), parent.reasons) == ([None], 1, [])


def test_a_worker_that_does_not_end_is_killed(parent: Parent) -> None:
    parent.workers.stopService()
    assert parent.told() == ["", ""]
    parent.advance(supervisor.KILL_TIME)
    assert parent.signals == ["TERM", "TERM", "KILL", "KILL"]


@pytest.mark.parametrize("is_in_time", [True, False])
def test_workers_drain_until_the_last_is_gone_and_none_has_a_successor(
    is_in_time: bool, parent: Parent, log: list[str]
) -> None:
    """Not one that has died before, either; and the end of none is a start that is refused."""
    parent.sign(0, 7)
    parent.sign(1, 3)
    parent.workers.begins(["127.0.0.1:1080"])
    parent.end(1)
    left: list[int] = []
    log.clear()
    parent.workers.closes("127.0.0.1:1080")
    parent.workers.drains(30, 0)
    parent.workers.drain(30).addCallback(left.append)
    assert (parent.told(), parent.signals) == ([DRAIN], [])
    parent.restart()
    parent.sign(0, 2)
    pass_time(parent, 10)
    assert (left, len(parent.spawned)) == ([], 2)
    if is_in_time:
        parent.sign(0, 0, is_last=True)
        parent.end(0, 1)
        pass_time(parent, 1)
        assert left == [0]
    else:
        for _ in range(20):
            parent.sign(0, 2)
            pass_time(parent, 1)
        assert left == [2]
    parent.workers.has_drained(11, left[0])
    assert (len(parent.spawned), parent.reasons) == (2, [])
    assert log == [
        "SOCKS5 proxy listens no more on 127.0.0.1:1080",
        "SOCKS5 proxy drains, for 30 s at the most; open sessions: 7",
        f"SOCKS5 proxy has drained for 11.0 s; sessions left: {left[0]}",
    ]


def test_of_a_place_of_which_nobody_was_told_nobody_is_told_that_it_is_closed(
    parent: Parent, log: list[str]
) -> None:
    parent.workers.closes("127.0.0.1:1080")
    assert log == []


def pass_time(parent: Parent, seconds: int) -> None:
    for _ in range(seconds):
        parent.advance(heartbeat.INTERVAL)


def test_a_worker_that_gives_no_sign_of_life_is_killed(parent: Parent, log: list[str]) -> None:
    for number in range(2 * heartbeat.SILENCE):
        parent.sign(0, 0)
        if number <= heartbeat.SILENCE:
            parent.sign(1, 0)
        pass_time(parent, 1)
    assert (parent.signals, log) == ([], [])
    pass_time(parent, 2)
    assert parent.signals == [signal.SIGKILL]  # and not again while the system takes its time
    assert log == ["worker-2 gives no sign of life and is killed"]


def test_a_worker_has_longer_to_begin_and_a_parent_that_was_stopped_itself_kills_nobody(
    parent: Parent,
) -> None:
    parent.advance(1000 * heartbeat.BEGINNING)
    pass_time(parent, heartbeat.BEGINNING - 1)
    assert parent.signals == []
    pass_time(parent, 1)
    assert parent.signals == [signal.SIGKILL, signal.SIGKILL]


def test_what_the_parent_is_told_is_handed_on_to_every_worker(
    parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for those that are gone."""
    log = WorkersLog(parent.workers)
    log.open()
    log.reopen()
    log.close()
    parent.workers.rereads()
    parent.workers.has_reread("all of it")
    parent.workers.refuses("that it does not start")
    assert parent.reread.words == ["begins", "all of it", "that it does not start"]
    assert WorkersFiles(parent.workers).reopen() == "what 2 workers say themselves"
    assert parent.signals == [signal.SIGUSR1] * 2 + [signal.SIGHUP] * 2

    def gone(name: str | int) -> None:
        raise ProcessExitedAlready

    monkeypatch.setattr(parent, "signalProcess", gone)
    log.reopen()


# ---------------------------------------------------------------- a worker's signs of life


def test_a_worker_says_each_second_that_it_lives(ends: tuple[Channel, Channel]) -> None:
    """Even if it never began, it says that it ends. A parent that does not listen gets no queue of signs."""
    parent, own = ends
    signs: list[tuple[int, bool]] = []
    parent.hear(SIGN, lambda sign, descriptors: signs.append((sign["sessions"], sign["last"])))
    clock, counts = Clock(), iter(range(5, 1000000))
    heart = Heart(clock, own, lambda: next(counts))

    def told() -> list[tuple[int, bool]]:
        signs.clear()
        parent.doRead()
        return signs

    heart.ends(0)
    assert told() == [(0, True)]
    heart.begins(["a place"])
    heart.begins(["another place"])
    assert told() == [(5, False)]
    clock.advance(heartbeat.INTERVAL)
    assert told() == [(6, False)]
    while own.is_clear:
        clock.advance(heartbeat.INTERVAL)
    last = next(counts)
    clock.advance(heartbeat.INTERVAL)
    assert next(counts) == last + 1
    assert told()[0] == (7, False)
    own.doWrite()
    heart.drains(60, 4)
    heart.ends(3)
    assert told()[-2:] == [(4, False), (3, True)]
    assert clock.getDelayedCalls() == []


# ---------------------------------------------------------------- the command line


def test_a_worker_looks_for_no_socket_of_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--listen", "systemd:domain=INET:name=proxy"]
    assert "no such socket is inherited" in refusal(*arguments, "--open")
    monkeypatch.setenv(VARIABLE, Worker(1, 2, [], 1, 2, 3).environment)
    assert [each.at for each in asked(*arguments).listeners(reactor)] == [
        Listen(Inherited(arguments[1]))
    ]


def test_workers_that_cannot_begin_are_a_start_that_is_refused() -> None:
    spawner = Spawner()
    family: Any = makeService(parse("--port", "0", "--workers", "2"), spawner)
    front, workers = family
    assert isinstance(workers, Workers)
    assert front.factory.counters.connections == 0
    workers.startService()
    spawner.end(0, 1)
    assert "worker-1 ended with status 1" in str(refusal_of(family))
    assert spawner.stops == 1
    workers.stopService()
    spawner.close()


@pytest_twisted.ensureDeferred
async def test_a_worker_serves_and_its_records_say_which(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    first = os.dup(sock.fileno())
    monkeypatch.setattr("socks5.app.inherit.FIRST_DESCRIPTOR", first)
    ours, theirs = socket.socketpair()
    parent = Channel(reactor, ours)
    signs: list[Any] = []
    parent.hear(SIGN, lambda sign, descriptors: signs.append(sign["last"]))
    parent.open()
    table = OwnPorts.file_for(7)
    own = Channel(reactor, theirs)
    worker = Worker(7, 2, [name_of(TCP(0, "127.0.0.1"))], 1, theirs.fileno(), table.fileno())
    monkeypatch.setattr(Worker, "channel_to_parent", lambda self, reactor: own)
    monkeypatch.setenv(VARIABLE, worker.environment)
    where = sock.getsockname()
    sock.close()
    options = parse("--port", "0", "--workers", "2", "--access-log", str(tmp_path / "log"))
    proxy: Any = makeService(options, reactor)
    proxy.privilegedStartService()
    with socket.create_connection(where) as client:
        client.sendall(b"\5\1\xfe")
        await until(lambda: proxy.factory.counters.connections)
    await until(lambda: not proxy.factory.counters.open_connections)
    assert proxy.factory.worker == 7
    await proxy.stopService()
    await until(lambda: signs == [True])
    table.close()
    own.close()
    parent.close()
