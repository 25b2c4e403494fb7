"""Several processes: what the parent opens, what a worker inherits, who is started again."""

import errno
import fcntl
import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IListeningPort, IReactorTime, IReadDescriptor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.python.usage import UsageError
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socks5.app import heartbeat
from socks5.app import workers as supervisor
from socks5.app.heartbeat import Heart
from socks5.app.inherit import (
    FIRST_DESCRIPTOR,
    VARIABLE,
    Inheriting,
    NextInherited,
    Opening,
    Worker,
    worker_count,
)
from socks5.app.options import Options
from socks5.app.plugin import makeService
from socks5.app.service import refusal_of
from socks5.app.workers import Workers, WorkersFiles, WorkersLog
from socks5.net.own import OwnPorts
from socks5.server.factory import ServerFactory
from tests.sockets.wires import until
from tests.support.certificates import self_signed
from tests.support.failures import Failures
from tests.support.sessions import session_limit

pytestmark = pytest.mark.usefixtures("handlers")


def test_auto_is_one_worker_for_each_processor() -> None:
    assert worker_count("auto") == len(os.sched_getaffinity(0))
    assert worker_count("3") == 3


@pytest.mark.parametrize("text", ["0", "1025", "-1", "two", "", "1.5"])
def test_a_number_of_workers_is_sensible(text: str) -> None:
    with pytest.raises(ValueError, match="not a number of workers"):
        worker_count(text)


# ---------------------------------------------------------------- what the parent opens


def opened(opening: Opening, description: str) -> Any:
    """What an endpoint gives the parent."""
    ports: list[Any] = []
    serverFromString(opening, description).listen(Factory()).addCallback(ports.append)
    return ports[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_every_worker_has_a_socket_of_its_own_at_the_same_address(host: str) -> None:
    opening = Opening(3)
    escaped = host.replace(":", "\\:")
    port = opened(opening, f"tcp:0:interface={escaped}")
    verifyObject(IListeningPort, port)
    (sockets,) = opening.sockets
    assert len({sock.fileno() for sock in sockets}) == 3
    assert {sock.getsockname()[:2] for sock in sockets} == {(host, port.getHost().port)}
    assert port.getHost().host == host
    assert all(sock.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE) for sock in sockets)
    port.startListening()
    port.stopListening()
    assert {sock.fileno() for sock in sockets} == {-1}


def test_an_address_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(CannotListenError) as caught:
            Opening(2).listenTCP(number, Factory(), interface="127.0.0.1")
    assert caught.value.socketError.errno == errno.EADDRINUSE


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", ""),
        ("", "127.0.0.1"),
        ("::1", "::1"),
        ("::", "::1"),
        ("::1", "::"),
        ("::", "127.0.0.1"),
        ("127.0.0.1", "::"),
    ],
)
def test_a_second_proxy_with_workers_does_not_share_the_port(first: str, second: str) -> None:
    opened = Opening(2).listenTCP(0, Factory(), interface=first)
    with pytest.raises(CannotListenError) as caught:
        Opening(2).listenTCP(opened.getHost().port, Factory(), interface=second)
    assert caught.value.socketError.errno == errno.EADDRINUSE
    opened.stopListening()


def test_a_port_whose_connections_have_just_ended_is_free_at_once() -> None:
    opening = Opening(2)
    first = opening.listenTCP(0, Factory(), interface="127.0.0.1")
    where = first.getHost()
    with socket.create_connection((where.host, where.port)):
        ready = select.select([sock for each in opening.sockets for sock in each], [], [], 10)[0]
        ready[0].accept()[0].close()  # first, so that this side stays in TIME_WAIT
    first.stopListening()
    again = Opening(2).listenTCP(where.port, Factory(), interface="127.0.0.1")
    again.stopListening()


def test_a_port_that_the_second_worker_cannot_have_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[socket.socket] = []

    def once(interface: str, port: int, backlog: int, is_first: bool) -> socket.socket:
        if made:
            raise OSError(errno.EMFILE, "Too many open files")
        made.append(socket.create_server((interface, port), backlog=backlog))
        return made[0]

    monkeypatch.setattr(Opening, "_open", staticmethod(once))
    with pytest.raises(CannotListenError):
        Opening(2).listenTCP(0, Factory(), interface="127.0.0.1")
    assert made[0].fileno() == -1


@pytest_twisted.ensureDeferred
async def test_tls_is_the_workers_business(inherited: Any, tmp_path: Path) -> None:
    path = self_signed(tmp_path)
    opening = Opening(1)
    description = f"ssl:0:interface=127.0.0.1:privateKey={path}:certKey={path}"
    parents = opened(opening, description)
    where = parents.getHost()
    ((sock,),) = opening.sockets
    ports: list[Any] = []
    worker = inherited(sock)
    factory = Welcoming()
    serverFromString(worker, description).listen(factory).addCallback(ports.append)
    with socket.create_connection((where.host, where.port)) as client:
        client.sendall(b"no TLS")
        await until(lambda: factory.clients)
    await ports[0].stopListening()


def test_a_unix_socket_is_shared(tmp_path: Path) -> None:
    path = tmp_path / "proxy"
    opening = Opening(2)
    port = opened(opening, f"unix:{path}:mode=600")
    first, second = opening.sockets[0]
    assert first is second
    assert path.stat().st_mode & 0o777 == 0o600
    assert port.getHost().name == os.fsencode(path)
    with pytest.raises(CannotListenError):
        Opening(2).listenUNIX(str(path), Factory())
    port.stopListening()
    assert not path.exists()


def test_an_inherited_socket_is_shared() -> None:
    opening = Opening(2)
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        port = opening.adoptStreamPort(inherited.fileno(), socket.AF_INET, Factory())
        assert port.getHost().port == inherited.getsockname()[1]
    port.stopListening()


# ---------------------------------------------------------------- what a worker inherits


@pytest.fixture
def inherited(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a worker's reactor that inherits the sockets given."""

    def make(*sockets: socket.socket) -> Inheriting:
        first = os.dup(sockets[0].fileno()) if sockets else 1000
        for number, sock in enumerate(sockets, first):
            os.dup2(sock.fileno(), number)
            sock.close()
        monkeypatch.setattr("socks5.app.inherit.FIRST_DESCRIPTOR", first)
        return Inheriting(reactor, session_limit(10), len(sockets))

    return make


class Noted(Factory):
    """Counts its clients and lets none in."""

    def __init__(self) -> None:
        self.clients = 0

    def buildProtocol(self, addr: Any) -> Protocol | None:
        self.clients += 1
        return None


class Welcoming(Noted):
    """Counts its clients and lets them in, for TLS needs somebody behind it."""

    def buildProtocol(self, addr: Any) -> Protocol:
        super().buildProtocol(addr)
        return Protocol()


@pytest_twisted.ensureDeferred
async def test_a_listener_takes_the_next_inherited_socket(inherited: Any) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    where = sock.getsockname()
    worker = inherited(sock)
    factory = Noted()
    port = worker.listenTCP(1, factory, interface="ignored")
    assert port.socket.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)
    with socket.create_connection(where):
        await until(lambda: factory.clients)
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_is_adopted(inherited: Any, tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "proxy"))
    sock.listen()
    factory = Noted()
    port = inherited(sock).listenUNIX("ignored", factory)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "proxy"))
        await until(lambda: factory.clients)
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_socket_of_systemd_is_the_next_one(inherited: Any) -> None:
    """Whose name and number only the parent knows."""
    sock = socket.create_server(("127.0.0.1", 0))
    where = sock.getsockname()
    factory = Noted()
    port = await NextInherited(inherited(sock)).listen(factory)
    with socket.create_connection(where):
        await until(lambda: factory.clients)
    await port.stopListening()


def test_an_address_that_the_parent_had_not_is_missing_here_too(inherited: Any) -> None:
    with pytest.raises(CannotListenError) as caught:
        inherited().listenTCP(1080, Factory(), interface="::1")
    assert caught.value.socketError.errno == errno.EADDRNOTAVAIL


def test_the_rest_is_the_reactors(inherited: Any) -> None:
    assert inherited().seconds == reactor.seconds


def test_a_worker_knows_itself_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "2,3,6,8,7")
    assert Worker.from_environment() == Worker(2, sockets=3, output=6, heart=8, ports=7)
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
    Worker(1, 0, 1, 2, 3).watch_parent(watching)
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
    Worker(1, 0, 1, 2, 3).watch_parent(stopped)
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
    opening = Opening(2)
    port = opening.listenTCP(0, Factory(), interface="127.0.0.1")
    made = Workers(spawner, opening, ["--port", "1"], 2, spawner.reasons.append)
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
    assert options["env"][VARIABLE] == f"1,1,{output},{heart},{ports}"
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
    monkeypatch.setattr(supervisor, "MAX_LINE", 10)
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
    monkeypatch.setenv(VARIABLE, "1,1,1,2,3")
    options = Options()
    options.parseOptions(arguments)
    [(_, endpoint)], _ = options.listeners(reactor, ServerFactory(reactor))
    assert isinstance(endpoint, NextInherited)


def test_systemds_word_on_sockets_is_for_the_parent_alone(
    spawner: Spawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTEN_FDNAMES", "proxy")
    workers = Workers(spawner, Opening(1), [], 1, spawner.reasons.append)
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
    inherited: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    first = os.dup(sock.fileno())
    monkeypatch.setattr("socks5.app.inherit.FIRST_DESCRIPTOR", first)
    reading, writing = os.pipe()
    table = OwnPorts.file_for(7)
    monkeypatch.setenv(VARIABLE, f"7,1,1,{writing},{table.fileno()}")
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
