"""Several processes: what a worker knows of itself, who is started again, and how they end."""

import errno
import fcntl
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IReactorTime, IReadDescriptor
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socks5.app import heartbeat, lives
from socks5.app import workers as supervisor
from socks5.app.announcing import Announcer, LogAnnouncer, Together
from socks5.app.assembly import makeService
from socks5.app.heartbeat import Heart
from socks5.app.inherit import DRAIN, FIRST_DESCRIPTOR, VARIABLE, Worker, name_of, worker_count
from socks5.app.service import refusal_of
from socks5.app.sharing import PortsForWorkers
from socks5.app.workers import Workers, WorkersFiles, WorkersLog
from socks5.net.own import OwnPorts
from socks5.net.places import TCP, Inherited, Listen
from tests.sockets.wires import until
from tests.support.failures import Failures
from tests.support.options import parse, refusal

pytestmark = pytest.mark.usefixtures("handlers")


def test_a_number_of_workers_is_sensible_and_auto_one_for_each_processor() -> None:
    assert worker_count("auto") == len(os.sched_getaffinity(0))
    assert worker_count("3") == 3
    for text in ("0", "1025", "-1", "two", "", "1.5"):
        with pytest.raises(ValueError, match="not a number of workers"):
            worker_count(text)


# ---------------------------------------------------------------- what a worker knows


def test_a_worker_knows_itself_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(2, sockets=["a", "b\udcff"], output=5, heart=7, ports=6)
    monkeypatch.setenv(VARIABLE, worker.environment)
    assert Worker.from_environment() == worker
    assert Worker.from_environment() is None, "what it starts is no worker"


def test_a_worker_drains_when_its_parent_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    watching, drain = Mock(), Mock()
    Worker(1, [], 1, 2, 3).watch_parent(watching, drain)
    [watch] = watching.addReader.call_args.args
    monkeypatch.setattr(os, "read", lambda fd, size: DRAIN)
    watch.doRead()
    drain.assert_called_once_with()
    watching.removeReader.assert_not_called()


@pytest.mark.parametrize(("by_hang_up", "running"), [(False, True), (True, True), (True, False)])
def test_a_worker_ends_with_its_parent_but_not_twice(
    by_hang_up: bool, running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching, drain = Mock(running=running), Mock()
    Worker(1, [], 1, 2, 3).watch_parent(watching, drain)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN, "Ctrl-C is for the parent"
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN, "so is a hand-over"
    [watch] = watching.addReader.call_args.args
    verifyObject(IReadDescriptor, watch)
    assert (watch.fileno(), watch.logPrefix()) == (0, "parent")
    said = [b"x", b""]
    monkeypatch.setattr(os, "read", lambda fd, size: said.pop(0))
    watch.doRead()
    watching.removeReader.assert_not_called()
    drain.assert_not_called()
    if by_hang_up:
        watch.connectionLost(None)
    else:
        watch.doRead()
    watching.removeReader.assert_called_once_with(watch)
    assert watching.stop.call_count == running


# ---------------------------------------------------------------- starting and ending them


@implementer(IReactorTime)
class Spawner(Clock):
    """Notes what it is asked to start; each process ends when told."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self.signals: list[str | int] = []
        self.words: list[bytes] = []
        """What the workers were told; the end of that is "", and as many signals as workers come behind it."""
        self.reasons: list[str] = []
        """Why the parent gave up."""
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1

    def spawnProcess(self, protocol: Any, *arguments: Any, **options: Any) -> None:
        protocol.makeConnection(self)
        self.spawned.append((protocol, arguments, options))

    def signalProcess(self, name: str | int) -> None:
        self.signals.append(name)

    def write(self, word: bytes) -> None:
        self.words.append(word)

    def closeStdin(self) -> None:  # noqa: N802
        self.words.append(b"")

    def end(self, number: int, status: int | None = None) -> None:
        """A process that was started ends with a status, or by a signal."""
        life = self.spawned[number][0]
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
        opener = PortsForWorkers(self, 2)
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

    def beat(self, number: int, sign: bytes = b"0\n") -> None:
        """A process that was started gives a sign of life."""
        self.spawned[number][0].childDataReceived(self.workers.heart, sign)

    def restart(self) -> None:
        self.advance(supervisor.RESTART_DELAY)


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parent]:
    monkeypatch.setenv("LISTEN_FDNAMES", "proxy")
    made = Parent()
    yield made
    if made.workers.running:
        made.workers.stopService()
    made.port.stopListening()


def test_each_worker_gets_its_sockets_our_output_the_table_of_ports_and_a_pipe(
    parent: Parent,
) -> None:
    """Systemd's word on sockets is for the parent alone."""
    (first, second) = parent.spawned
    life, (executable, command), options = first
    output, ports, heart = (FIRST_DESCRIPTOR + number for number in (1, 2, 3))
    assert command == [executable, "-m", "socks5", "--port", "1"]
    name = name_of(TCP(0, "127.0.0.1"))
    assert options["env"][VARIABLE] == Worker(1, [name], output, heart, ports).environment
    assert "LISTEN_FDNAMES" not in options["env"]
    own, _, table = parent.workers.descriptors_of("worker-1")
    inherited = {3: own, output: 1, ports: table}
    assert options["childFDs"] == {0: "w", 1: "r", 2: "r", **inherited, heart: "r"}
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
    parent.beat(1)
    parent.end(1, 1)
    parent.restart()
    inherited = [options["childFDs"] for *_, options in parent.spawned]
    assert inherited[2:] == inherited[:2]
    parent.end(3, 1)  # a successor that cannot begin: the others serve
    assert parent.reasons == []


def refuse(*arguments: Any, **options: Any) -> None:
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


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
    parent.beat(0)
    parent.workers.begins(["127.0.0.1:1080"])
    parent.end(0)
    parent.beat(1)
    parent.restart()
    assert not any("listens" in line for line in log)
    log.clear()
    parent.beat(2)
    parent.beat(2)
    assert log == ["SOCKS5 proxy listens on 127.0.0.1:1080"]


@pytest.mark.parametrize("is_killed", [False, True])
def test_the_end_waits_for_every_worker_and_says_how_many_sessions_all_had(
    is_killed: bool, parent: Parent, log: list[str]
) -> None:
    """Of one that is killed, how many it had. Their ends are no reason to give up."""
    done: list[Any] = []
    parent.beat(0, b"7\n")
    parent.workers.stopService().addCallback(done.append)
    parent.workers.ends(0)
    if not is_killed:
        parent.beat(0, b"1\n2!\n")
    parent.beat(1, b"3")
    assert (log, parent.signals) == ([], ["TERM", "TERM"])
    parent.beat(1, b"0!\n")
    parent.end(0, 1)
    parent.advance(supervisor.LOOK_INTERVAL)
    assert (log, done) == ([f"SOCKS5 proxy stops; open sessions: {37 if is_killed else 32}"], [])
    parent.end(1)
    parent.advance(supervisor.LOOK_INTERVAL)
    assert (done, len(log), parent.reasons) == ([None], 1, [])


def test_a_worker_that_does_not_end_is_killed(parent: Parent) -> None:
    parent.workers.stopService()
    assert parent.words == [b"", b""]
    parent.advance(supervisor.KILL_TIME)
    assert parent.signals == ["TERM", "TERM", "KILL", "KILL"]


@pytest.mark.parametrize("is_in_time", [True, False])
def test_workers_drain_until_the_last_is_gone_and_none_has_a_successor(
    is_in_time: bool, parent: Parent, log: list[str]
) -> None:
    """Not one that has died before, either; and the end of none is a start that is refused."""
    parent.beat(0, b"7\n")
    parent.beat(1, b"3\n")
    parent.workers.begins(["127.0.0.1:1080"])
    parent.end(1)
    left: list[int] = []
    log.clear()
    parent.workers.closes("127.0.0.1:1080")
    parent.workers.drains(30, 0)
    parent.workers.drain(30).addCallback(left.append)
    assert (parent.words, parent.signals) == ([DRAIN], [])
    parent.restart()
    parent.beat(0, b"2\n")
    pass_time(parent, 10)
    assert (left, len(parent.spawned)) == ([], 2)
    if is_in_time:
        parent.beat(0, b"0!\n")
        parent.end(0, 1)
        pass_time(parent, 1)
        assert left == [0]
    else:
        for _ in range(20):
            parent.beat(0, b"2\n")
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
        parent.beat(0)
        if number <= heartbeat.SILENCE:
            parent.beat(1)
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


def test_a_worker_says_each_second_that_it_lives() -> None:
    """Even if it never began, it says that it ends. A parent that does not listen does not hold it up."""
    clock, (reading, writing) = Clock(), os.pipe()
    os.set_blocking(reading, False)
    counts = iter(range(5, 1000000))
    heart = Heart(clock, writing, lambda: next(counts))

    def told() -> bytes:
        return os.read(reading, 100)

    heart.ends(0)
    assert told() == b"0!\n"
    heart.begins(["a place"])
    heart.begins(["another place"])
    assert told() == b"5\n"
    clock.advance(heartbeat.INTERVAL)
    assert told() == b"6\n"
    fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
    for _ in range(2000):
        clock.advance(heartbeat.INTERVAL)
    assert told().startswith(b"7\n8\n")
    with suppress(BlockingIOError):
        while told():
            pass
    heart.drains(60, 4)
    assert told() == b"4\n"
    heart.ends(3)
    assert told() == b"3!\n"
    assert clock.getDelayedCalls() == []
    os.close(reading)
    os.close(writing)


# ---------------------------------------------------------------- the command line


def test_a_worker_looks_for_no_socket_of_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--listen", "systemd:domain=INET:name=proxy"]
    assert "no such socket is inherited" in refusal(*arguments)
    monkeypatch.setenv(VARIABLE, Worker(1, [], 1, 2, 3).environment)
    found = parse(*arguments).listeners(reactor)
    assert [each.at for each in found] == [Listen(Inherited(arguments[1]))]


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


@pytest_twisted.ensureDeferred
async def test_a_worker_serves_and_its_records_say_which(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    first = os.dup(sock.fileno())
    monkeypatch.setattr("socks5.app.inherit.FIRST_DESCRIPTOR", first)
    reading, writing = os.pipe()
    table = OwnPorts.file_for(7)
    worker = Worker(7, [name_of(TCP(0, "127.0.0.1"))], 1, writing, table.fileno())
    monkeypatch.setenv(VARIABLE, worker.environment)
    told: list[Any] = []
    monkeypatch.setattr(Worker, "watch_parent", lambda self, reactor, drain: told.append(drain))
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
    assert os.read(reading, 10) == b"0!\n"
    table.close()
    os.close(reading)
    os.close(writing)
