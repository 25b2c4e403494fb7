"""Several processes: what a worker knows of itself, who is started again, and how they end."""

import errno
import fcntl
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IReactorTime, IReadDescriptor
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.python.usage import UsageError
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socks5.app import heartbeat, lives
from socks5.app import workers as supervisor
from socks5.app.heartbeat import Heart
from socks5.app.inherit import FIRST_DESCRIPTOR, VARIABLE, Worker, name_of, worker_count
from socks5.app.options import Options
from socks5.app.plugin import makeService
from socks5.app.service import refusal_of
from socks5.app.sharing import PortsForWorkers
from socks5.app.workers import Workers, WorkersFiles, WorkersLog
from socks5.net.own import OwnPorts
from socks5.net.places import TCP, Inherited, Listen
from tests.sockets.wires import until
from tests.support.failures import Failures

pytestmark = pytest.mark.usefixtures("handlers")


def test_auto_is_one_worker_for_each_processor() -> None:
    assert worker_count("auto") == len(os.sched_getaffinity(0))
    assert worker_count("3") == 3


@pytest.mark.parametrize("text", ["0", "1025", "-1", "two", "", "1.5"])
def test_a_number_of_workers_is_sensible(text: str) -> None:
    with pytest.raises(ValueError, match="not a number of workers"):
        worker_count(text)


# ---------------------------------------------------------------- what a worker knows


def test_a_worker_knows_itself_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(2, sockets=["a", "b\udcff"], output=5, heart=7, ports=6)
    monkeypatch.setenv(VARIABLE, worker.environment)
    assert Worker.from_environment() == worker
    assert Worker.from_environment() is None, "what it starts is no worker"


@pytest.mark.parametrize("by_hang_up", [False, True])
def test_a_worker_ends_with_its_parent(monkeypatch: pytest.MonkeyPatch, by_hang_up: bool) -> None:
    class Watching:
        running = True

        def __init__(self) -> None:
            self.readers: list[Any] = []
            self.is_stopped = False

        def addReader(self, reader: Any) -> None:
            self.readers.append(reader)

        def removeReader(self, reader: Any) -> None:
            self.readers.remove(reader)

        def stop(self) -> None:
            self.is_stopped = True

    watching = Watching()
    Worker(1, [], 1, 2, 3).watch_parent(watching)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN, "Ctrl-C is for the parent"
    (watch,) = watching.readers
    verifyObject(IReadDescriptor, watch)
    assert watch.fileno() == 0
    assert watch.logPrefix() == "parent"
    said = [b"x", b""]
    monkeypatch.setattr(os, "read", lambda fd, size: said.pop(0))
    watch.doRead()
    assert not watching.is_stopped
    if by_hang_up:
        watch.connectionLost(None)
    else:
        watch.doRead()
    assert watching.is_stopped
    assert watching.readers == []


def test_the_end_of_the_reactor_ends_nothing_twice() -> None:
    class Stopped:
        running = False

        def addReader(self, reader: Any) -> None:
            self.reader = reader

        def removeReader(self, reader: Any) -> None:
            del self.reader

    stopped = Stopped()
    Worker(1, [], 1, 2, 3).watch_parent(stopped)
    stopped.reader.connectionLost(None)
    assert not hasattr(stopped, "reader")


# ---------------------------------------------------------------- starting and ending them


@implementer(IReactorTime)
class Spawner(Clock):
    """Notes what it is asked to start; each process ends when told."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self.signals: list[str | int] = []
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


@pytest.fixture
def spawner() -> Spawner:
    return Spawner()


@pytest.fixture
def workers(spawner: Spawner) -> Any:
    opener = PortsForWorkers(spawner, 2)
    port = opener.open(TCP(0, "127.0.0.1"), Factory())
    made = Workers(spawner, opener, ["--port", "1"], 2, spawner.reasons.append)
    made.startService()
    yield made
    if made.running:
        made.stopService()
    port.stopListening()


def test_each_worker_gets_its_sockets_our_output_the_table_of_ports_and_a_pipe(
    workers: Any, spawner: Spawner
) -> None:
    (first, second) = spawner.spawned
    life, (executable, command), options = first
    output, ports, heart = (FIRST_DESCRIPTOR + number for number in (1, 2, 3))
    assert command == [executable, "-m", "socks5", "--port", "1"]
    name = name_of(TCP(0, "127.0.0.1"))
    assert options["env"][VARIABLE] == Worker(1, [name], output, heart, ports).environment
    own, _, table = workers.descriptors_of("worker-1")
    inherited = {3: own, output: 1, ports: table}
    assert options["childFDs"] == {0: "w", 1: "r", 2: "r", **inherited, heart: "r"}
    assert second[2]["childFDs"][ports] == table
    assert second[2]["childFDs"][3] == workers.descriptors_of("worker-2")[0] != own
    assert life.name == "worker-1"


def end(spawner: Spawner, number: int, status: int | None) -> None:
    """A process that was started ends with a status, or by a signal."""
    life = spawner.spawned[number][0]
    life.processEnded(Failure(ProcessTerminated(status, None if status else 9)))


def beat(workers: Any, spawner: Spawner, number: int, sign: bytes = b"0\n") -> None:
    """A process that was started gives a sign of life."""
    spawner.spawned[number][0].childDataReceived(workers.heart, sign)


def test_a_worker_that_dies_is_started_again_with_the_same_sockets(
    workers: Any, spawner: Spawner
) -> None:
    before = spawner.spawned[0]
    end(spawner, 0, None)
    spawner.advance(supervisor.RESTART_DELAY)
    assert len(spawner.spawned) == 3
    assert spawner.spawned[2][2]["childFDs"] == before[2]["childFDs"]


@pytest.mark.parametrize("status", [1, 2])
def test_a_worker_that_cannot_begin_ends_the_parent(
    status: int, workers: Any, spawner: Spawner
) -> None:
    end(spawner, 1, status)
    assert spawner.reasons == [f"worker-2 ended with status {status}; its lines say why"]
    spawner.advance(supervisor.RESTART_DELAY)
    assert len(spawner.spawned) == 2


def test_a_worker_that_had_begun_is_started_again_whatever_its_end(
    workers: Any, spawner: Spawner
) -> None:
    end(spawner, 0, None)
    beat(workers, spawner, 1)
    end(spawner, 1, 1)
    spawner.advance(supervisor.RESTART_DELAY)
    assert len(spawner.spawned) == 4
    end(spawner, 3, 1)  # a successor that cannot begin: the others serve
    assert spawner.reasons == []


def refuse(*arguments: Any, **options: Any) -> None:
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


def test_a_worker_that_the_system_cannot_start_is_tried_again(
    workers: Any, spawner: Spawner, monkeypatch: pytest.MonkeyPatch, failures: Failures
) -> None:
    end(spawner, 0, None)
    with monkeypatch.context() as patch:
        patch.setattr(spawner, "spawnProcess", refuse)
        spawner.advance(supervisor.RESTART_DELAY)
    assert len(failures.take(BlockingIOError)) == 1
    assert workers.hand_on(signal.SIGHUP) == 1
    spawner.pump([supervisor.RESTART_DELAY] * 3)
    assert len(spawner.spawned) == 3
    assert workers.hand_on(signal.SIGHUP) == 2


def test_workers_that_end_with_the_parent_are_no_reason(workers: Any, spawner: Spawner) -> None:
    workers.stopService()
    end(spawner, 0, 1)
    assert spawner.reasons == []


def test_the_lines_of_a_worker_are_the_parents_too(
    workers: Any, spawner: Spawner, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without blank ones, whole, and not without end."""
    monkeypatch.setattr(lives, "MAX_LINE", 10)
    life, *_ = spawner.spawned[0]
    life.childDataReceived(1, b"one\n\ntw")
    life.childDataReceived(2, b"\tan error \xff\n \n")
    life.childDataReceived(1, b"o\n")
    life.childDataReceived(1, b"x" * 25)
    life.childDataReceived(2, b"cut")
    end(spawner, 0, None)
    assert log == [
        "[worker-1] one",
        "[worker-1] \tan error \\xff",
        "[worker-1] two",
        *(f"[worker-1] {'x' * 10}",) * 2,
        "[worker-1] xxxxx",
        "[worker-1] cut",
    ]


def test_where_it_listens_is_said_once_all_workers_have_begun(
    workers: Any, spawner: Spawner, log: list[str]
) -> None:
    beat(workers, spawner, 0)
    workers.begins(["127.0.0.1:1080"])
    assert log == []
    beat(workers, spawner, 1)
    beat(workers, spawner, 1)
    assert log == ["SOCKS5 proxy listens on 127.0.0.1:1080"]


def test_a_worker_that_dies_before_all_have_begun_is_waited_for(
    workers: Any, spawner: Spawner, log: list[str]
) -> None:
    workers.begins(["127.0.0.1:1080"])
    beat(workers, spawner, 0)
    end(spawner, 0, None)
    beat(workers, spawner, 1)
    spawner.advance(supervisor.RESTART_DELAY)
    assert not any("listens" in line for line in log)
    beat(workers, spawner, 2)
    assert log[-1] == "SOCKS5 proxy listens on 127.0.0.1:1080"


def test_the_end_says_how_many_sessions_all_workers_had(
    workers: Any, spawner: Spawner, log: list[str]
) -> None:
    beat(workers, spawner, 0, b"7\n")
    workers.stopService()
    workers.ends(0)
    beat(workers, spawner, 0, b"1\n2!\n")
    beat(workers, spawner, 1, b"3")
    assert log == []
    beat(workers, spawner, 1, b"0!\n")
    end(spawner, 0, None)
    end(spawner, 1, None)
    assert log == ["SOCKS5 proxy stops; open sessions: 32"]


def test_a_worker_that_is_killed_at_the_end_is_not_waited_for(
    workers: Any, spawner: Spawner, log: list[str]
) -> None:
    beat(workers, spawner, 0, b"7\n")
    workers.stopService()
    beat(workers, spawner, 1, b"3!\n")
    end(spawner, 0, None)
    assert log == ["SOCKS5 proxy stops; open sessions: 10"]


def pass_time(spawner: Spawner, seconds: int) -> None:
    for _ in range(seconds):
        spawner.advance(heartbeat.INTERVAL)


def test_a_worker_that_gives_no_sign_of_life_is_killed(
    workers: Any, spawner: Spawner, log: list[str]
) -> None:
    for _ in range(heartbeat.SILENCE + 5):
        beat(workers, spawner, 0)
        spawner.advance(heartbeat.INTERVAL)
    assert log == []
    beat(workers, spawner, 0)
    beat(workers, spawner, 1)
    for _ in range(heartbeat.SILENCE):
        beat(workers, spawner, 0)
        spawner.advance(heartbeat.INTERVAL)
    assert spawner.signals == []
    pass_time(spawner, 2)
    assert spawner.signals == [signal.SIGKILL]  # and not again while the system takes its time
    assert log == ["worker-2 gives no sign of life and is killed"]


def test_a_worker_has_longer_to_begin(workers: Any, spawner: Spawner) -> None:
    pass_time(spawner, heartbeat.BEGINNING)
    assert spawner.signals == []
    pass_time(spawner, 1)
    assert spawner.signals == [signal.SIGKILL, signal.SIGKILL]


def test_a_parent_that_was_stopped_itself_kills_nobody(workers: Any, spawner: Spawner) -> None:
    beat(workers, spawner, 0)
    beat(workers, spawner, 1)
    spawner.advance(1000 * heartbeat.SILENCE)
    assert spawner.signals == []


def test_a_rotation_of_the_log_is_every_workers(workers: Any, spawner: Spawner) -> None:
    log = WorkersLog(workers)
    log.open()
    log.reopen()
    log.close()
    assert spawner.signals == [signal.SIGUSR1, signal.SIGUSR1]


def test_sighup_is_handed_on_to_every_worker(workers: Any, spawner: Spawner) -> None:
    assert WorkersFiles(workers).reopen() == "what 2 workers say themselves"
    assert spawner.signals == [signal.SIGHUP, signal.SIGHUP]


def test_a_worker_that_is_gone_reopens_nothing(
    workers: Any, spawner: Spawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(name: str | int) -> None:
        raise ProcessExitedAlready

    monkeypatch.setattr(spawner, "signalProcess", gone)
    WorkersLog(workers).reopen()


def test_the_end_waits_for_every_worker(workers: Any, spawner: Spawner) -> None:
    done: list[Any] = []
    workers.stopService().addCallback(done.append)
    assert spawner.signals == ["TERM", "TERM"]
    end(spawner, 0, None)
    spawner.advance(supervisor.LOOK_INTERVAL)
    assert done == []
    end(spawner, 1, None)
    spawner.advance(supervisor.LOOK_INTERVAL)
    assert done == [None]


def test_a_worker_that_does_not_end_is_killed(workers: Any, spawner: Spawner) -> None:
    workers.stopService()
    spawner.advance(supervisor.KILL_TIME)
    assert spawner.signals == ["TERM", "TERM", "KILL", "KILL"]


# ---------------------------------------------------------------- a worker's signs of life


@pytest.fixture
def heart() -> Iterator[Any]:
    """A worker's pipe to its parent, and the worker's clock."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    clock = Clock()
    counts = iter(range(5, 1000000))
    heart = Heart(clock, writing, lambda: next(counts))
    yield SimpleNamespace(heart=heart, reading=reading, writing=writing, clock=clock)
    os.close(reading)
    os.close(writing)


def test_a_worker_says_each_second_that_it_lives(heart: Any) -> None:
    heart.heart.begins(["a place"])
    heart.heart.begins(["another place"])
    assert os.read(heart.reading, 100) == b"5\n"
    heart.clock.advance(heartbeat.INTERVAL)
    assert os.read(heart.reading, 100) == b"6\n"
    heart.heart.ends(3)
    assert os.read(heart.reading, 100) == b"3!\n"
    assert heart.clock.getDelayedCalls() == []


def test_a_worker_that_never_began_says_that_it_ends(heart: Any) -> None:
    heart.heart.ends(0)
    assert os.read(heart.reading, 100) == b"0!\n"


def test_a_parent_that_does_not_listen_holds_no_worker_up(heart: Any) -> None:
    fcntl.fcntl(heart.reading, fcntl.F_SETPIPE_SZ, 4096)
    heart.heart.begins([])
    for _ in range(2000):
        heart.clock.advance(heartbeat.INTERVAL)
    assert os.read(heart.reading, 3) == b"5\n6"


# ---------------------------------------------------------------- the command line


def service(*arguments: str) -> Any:
    options = Options()
    options.parseOptions(arguments)
    return makeService(options, reactor)


def test_a_parent_has_a_front_and_its_workers() -> None:
    front, workers = service("--port", "0", "--workers", "2")
    assert isinstance(workers, Workers)
    assert front.factory.counters.connections == 0


def test_a_worker_looks_for_no_socket_of_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--listen", "systemd:domain=INET:name=proxy"]
    with pytest.raises(UsageError, match="no such socket is inherited"):
        Options().parseOptions(arguments)
    monkeypatch.setenv(VARIABLE, Worker(1, [], 1, 2, 3).environment)
    options = Options()
    options.parseOptions(arguments)
    assert [each.at for each in options.listeners(reactor)] == [Listen(Inherited(arguments[1]))]


def test_systemds_word_on_sockets_is_for_the_parent_alone(
    spawner: Spawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTEN_FDNAMES", "proxy")
    workers = Workers(spawner, PortsForWorkers(spawner, 1), [], 1, spawner.reasons.append)
    workers.startService()
    assert "LISTEN_FDNAMES" not in spawner.spawned[0][2]["env"]
    workers.stopService()


def test_workers_that_cannot_begin_are_a_start_that_is_refused(spawner: Spawner) -> None:
    options = Options()
    options.parseOptions(["--port", "0", "--workers", "2"])
    family: Any = makeService(options, spawner)
    _, workers = family
    workers.startService()
    end(spawner, 0, 1)
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
    monkeypatch.setattr(Worker, "watch_parent", lambda self, reactor: None)
    where = sock.getsockname()
    sock.close()
    proxy = service("--port", "0", "--workers", "2", "--access-log", str(tmp_path / "log"))
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
