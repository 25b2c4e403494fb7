"""Listening: who is accepted when, what a port does while it may not accept, and what it keeps to itself.

Real sockets on the loopback; a reactor that reads when the test says so.
"""

import errno
import io
import os
import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    SSL4ClientEndpoint,
    TCP4ClientEndpoint,
    UNIXClientEndpoint,
    connectProtocol,
    serverFromString,
)
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import (
    Logger,
    capturedLogs,
    formatEvent,
    globalLogPublisher,
    textFileLogObserver,
)
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer, providedBy

from socks5.counters import Counters
from socks5.net import peer_port
from socks5.net import ports as accept
from socks5.net.connection import Connection
from socks5.net.descriptors import CROWDED, SessionLimit
from socks5.net.listening import ListeningReactor, QuietReactor
from socks5.net.peer_port import PeerPort
from socks5.net.poller import poller_of
from socks5.net.ports import BACKLOG, DATAGRAMS, RETRY_DELAY, Port, UNIXPort, prepare_listening
from socks5.net.shortage import NO_ROOM
from socks5.protocol.address import Address
from socks5.server.factory import ServerFactory
from socks5.settings import ListenerPolicy, Settings
from tests.support.certificates import self_signed
from tests.support.failures import Failures
from tests.support.sessions import session_limit

WAIT = 5.0
"""Seconds that a client may wait for room."""

RETRIES = round(WAIT / RETRY_DELAY)
"""How often a port tries to accept meanwhile."""

SAID = f": clients wait, and are closed after {WAIT:g} s"
HINT = "; raise the limit of open files (ulimit -n) or lower --max-sessions"


class SteppedReactor(Clock):
    """Reads what can be read when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)

    def addWriter(self, writer: Any) -> None:
        raise AssertionError("nothing is written here")

    def removeWriter(self, writer: Any) -> None:
        """None was added."""

    def turn(self) -> None:
        """Read once wherever there is something to read."""
        for reader in select.select(list(self.readers), (), (), 0)[0]:
            reader.doRead()


class Session(Protocol):
    """Stays until the test ends it."""

    def __init__(self, factory: "Sessions") -> None:
        self._sessions = factory

    def connectionLost(self, reason: Any = None) -> None:
        self._sessions.limit.crowds.end(self)
        self._sessions.limit.leave()


class Sessions(Factory):
    """Makes a session for whoever may enter."""

    noisy = False

    def __init__(self, limit: SessionLimit) -> None:
        self.limit = limit
        self.sessions: list[Session] = []

    def buildProtocol(self, addr: Any) -> Session | None:
        if not self.limit.enter():
            return None
        self.sessions.append(Session(self))
        self.limit.crowds.begin(addr.host, self.sessions[-1])
        return self.sessions[-1]

    @property
    def peers(self) -> list[int]:
        """The ports of the clients that were accepted, in order."""
        return [session.transport.getPeer().port for session in self.sessions]


class World:
    """A port, and clients that connect to it."""

    def __init__(self, maximum: int = 1000, **settings: Any) -> None:
        self.reactor = SteppedReactor()
        self.counters = Counters()
        self.limit = session_limit(maximum, self.reactor, self.counters, **settings)
        self.factory: Any = Sessions(self.limit)
        self.listening = ListeningReactor(self.reactor, self.limit)
        self.port = self.listening.listenTCP(0, self.factory, interface="127.0.0.1")
        self._clients: list[socket.socket] = []

    def connect(self) -> socket.socket:
        """A client that waits in the kernel's queue until the port accepts it."""
        before = self._queue_length()
        client = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        client.setblocking(False)
        self._clients.append(client)
        while self._queue_length() == before:  # the handshake's last packet is on its way
            os.sched_yield()
        return client

    def _queue_length(self) -> int:
        """Clients in the kernel's queue: tcpi_unacked of a listening socket (Linux)."""
        information = self.port.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
        return int.from_bytes(information[24:28], sys.byteorder)

    def ports_of(self, *clients: socket.socket) -> list[int]:
        return [client.getsockname()[1] for client in clients]

    @property
    def is_reading(self) -> bool:
        return self.port in self.reactor.readers

    def accepting_fails(self, *errors: int) -> socket.socket:
        """A client that waits while the attempts to accept it fail with these errors."""
        client = self.connect()
        waiting, real = list(errors), self.port.socket

        class Socket:
            def accept(self) -> Any:
                if waiting:
                    number = waiting.pop(0)
                    raise OSError(number, os.strerror(number))
                return real.accept()

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

        self.port.socket = Socket()  # type: ignore[assignment]
        return client

    def try_for_a_while(self) -> None:
        """Accept as often as the port tries to, for as long as a client may wait."""
        for _ in range(RETRIES):
            self.reactor.turn()
            self.reactor.advance(RETRY_DELAY)

    def end_first_session(self) -> None:
        self.factory.sessions.pop(0).transport.abortConnection()
        self.reactor.advance(0)

    def close(self) -> None:
        for reader in list(self.reactor.readers - {self.port}):
            reader.abortConnection()
        if self.port.connected and not self.port.disconnecting:
            self.port.stopListening()
        self.reactor.advance(0)
        for client in self._clients:
            client.close()


@pytest.fixture
def make() -> Iterator[Callable[..., World]]:
    made = []

    def make(maximum: int = 1000, **settings: Any) -> World:
        made.append(World(maximum, **settings))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    return make()


def is_open(client: socket.socket) -> bool:
    """Whether the client's connection is neither ended nor reset."""
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def first_probe(sock: Any) -> int:
    """Seconds of silence until the system asks the peer; 0: it never does."""
    is_on = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    seconds: int = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    return seconds if is_on else 0


# ---------------------------------------------------------------- accepting


@pytest.mark.parametrize("keepalive", [60, 0])
@pytest.mark.parametrize("is_behind_a_door", [False, True])
def test_clients_are_asked_whether_they_are_there_as_the_settings_say(
    keepalive: int, is_behind_a_door: bool
) -> None:
    reactor = SteppedReactor()
    served: Any = ServerFactory(reactor, settings=Settings(keepalive=keepalive))
    factory = served.at(ListenerPolicy()) if is_behind_a_door else served
    port = ListeningReactor(reactor, served.limit).listenTCP(0, factory, interface="127.0.0.1")
    assert first_probe(port.socket) == keepalive
    port.stopListening()
    reactor.advance(0)


@pytest.mark.parametrize("keepalive", [60, 0])
def test_a_listener_that_somebody_else_has_opened_is_told_so_too(keepalive: int) -> None:
    """systemd may have switched it on (KeepAlive=)."""
    factory: Any = ServerFactory(SteppedReactor(), settings=Settings(keepalive=keepalive))
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        inherited.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        prepare_listening(inherited, factory)
        assert first_probe(inherited) == keepalive


def test_of_sessions_behind_others_a_listener_leaves_it_to_them() -> None:
    factory: Any = WrappingFactory(ServerFactory(SteppedReactor(), settings=Settings()))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        prepare_listening(listening, factory)
        assert first_probe(listening) == 0


@pytest.mark.parametrize("is_behind_another", [False, True])
def test_a_client_whose_transport_cannot_be_made_keeps_no_place(
    is_behind_another: bool, world: World, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(reader: Any) -> None:
        raise OSError(errno.ENOSPC, "no more watches")

    if is_behind_another:
        world.port.factory = WrappingFactory(world.factory)
    client = world.connect()
    monkeypatch.setattr(world.reactor, "addReader", refuse)
    world.reactor.turn()
    assert failures.take(OSError) == ["[Errno 28] no more watches"]
    assert world.limit.open == 0
    assert not is_open(client)


def test_clients_are_served_in_the_order_they_came(world: World) -> None:
    first, second = world.connect(), world.connect()
    world.reactor.turn()
    assert world.factory.peers == world.ports_of(first, second)
    assert is_open(first)
    assert is_open(second)


def test_a_port_that_is_called_for_nothing_waits_on(world: World) -> None:
    world.reactor.turn()
    assert world.factory.sessions == []
    assert world.is_reading


def test_others_get_their_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "BATCH", 2)
    clients = [world.connect() for _ in range(3)]
    world.port.doRead()
    assert world.factory.peers == world.ports_of(*clients[:2])
    world.port.doRead()
    assert world.factory.peers == world.ports_of(*clients)


def test_whom_the_factory_does_not_want_is_closed(world: World) -> None:
    world.factory.buildProtocol = lambda addr: None
    client = world.connect()
    world.reactor.turn()
    assert not is_open(client)
    assert world.is_reading


def test_a_port_that_is_told_to_stop_accepts_nobody_any_more(world: World) -> None:
    build = world.factory.buildProtocol

    def last(addr: Any) -> Any:
        world.port.stopListening()
        return build(addr)

    world.factory.buildProtocol = last
    first, _ = world.connect(), world.connect()
    world.reactor.turn()
    assert world.factory.peers == world.ports_of(first)


def crash(*arguments: Any) -> None:
    raise ZeroDivisionError("a bug")


@pytest.mark.parametrize("place", ["buildProtocol", "connectionMade"])
def test_a_client_that_cannot_be_served_ends_alone(
    place: str, world: World, monkeypatch: pytest.MonkeyPatch, failures: Failures
) -> None:
    owner = world.factory if place == "buildProtocol" else Session
    monkeypatch.setattr(owner, place, crash)
    unlucky = world.connect()
    world.reactor.turn()
    world.reactor.advance(0)
    assert len(failures.take(ZeroDivisionError)) == 1
    assert not is_open(unlucky)
    assert world.limit.open == 0

    monkeypatch.undo()
    lucky = world.connect()
    world.reactor.turn()
    assert world.factory.peers[-1:] == world.ports_of(lucky)


# ---------------------------------------------------------------- the session limit


def test_who_does_not_fit_waits_in_the_queue(make: Callable[..., World]) -> None:
    world = make(2)
    first, second, third = world.connect(), world.connect(), world.connect()
    world.reactor.turn()
    assert world.factory.peers == world.ports_of(first, second)
    assert is_open(third)
    assert not world.is_reading


def test_who_waits_is_served_when_there_is_room(make: Callable[..., World]) -> None:
    world = make(1)
    _, second = world.connect(), world.connect()
    world.reactor.turn()
    world.end_first_session()
    assert world.is_reading
    world.reactor.turn()
    assert world.factory.peers == world.ports_of(second)
    assert is_open(second)


def test_a_port_that_begins_without_room_waits(make: Callable[..., World]) -> None:
    world = make(1)
    world.limit.enter()
    late = world.listening.listenTCP(0, world.factory, interface="127.0.0.1")
    late.doRead()
    assert late not in world.reactor.readers
    world.limit.leave()
    assert late in world.reactor.readers
    late.stopListening()
    world.reactor.advance(0)


def test_a_closed_port_hears_nothing_from_the_limit(make: Callable[..., World]) -> None:
    world = make(1)
    world.port.stopListening()
    world.limit.enter()
    world.limit.leave()
    assert not world.is_reading
    world.reactor.advance(0)
    assert world.limit.listeners == set()


# ---------------------------------------------------------------- errors of accept()


@pytest.mark.parametrize("error", [errno.ECONNABORTED, errno.EPROTO, errno.EHOSTUNREACH])
def test_a_client_that_left_already_holds_nobody_up(error: int, world: World) -> None:
    client = world.accepting_fails(error)
    with capturedLogs() as events:
        world.reactor.turn()
    assert world.factory.peers == world.ports_of(client)
    assert list(events) == []


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errno.EMFILE, f"Too many open files{SAID}{HINT}"),
        (errno.ENFILE, f"Too many open files in system{SAID}{HINT}"),
        (errno.ENOBUFS, f"No buffer space available{SAID}"),
        (errno.EIO, f"Input/output error{SAID}"),
    ],
)
def test_what_the_system_lacks_makes_the_port_wait(error: int, sentence: str, world: World) -> None:
    client = world.accepting_fails(error)
    with capturedLogs() as events:
        world.reactor.turn()
    assert [formatEvent(event) for event in events] == [sentence]
    assert not world.is_reading
    assert is_open(client)

    world.reactor.advance(RETRY_DELAY)
    world.reactor.turn()
    assert world.factory.peers == world.ports_of(client)


def test_waiting_is_said_once_for_each_time(world: World) -> None:
    world.accepting_fails(errno.EMFILE, errno.EMFILE, errno.EMFILE)
    with capturedLogs() as events:
        for _ in range(4):
            world.reactor.turn()
            world.reactor.advance(RETRY_DELAY)
        assert len(world.factory.sessions) == 1
        assert len(list(events)) == 1
        world.reactor.pump([0.5] * 6)
        assert [formatEvent(event) for event in events][1:] == [
            "there is room for clients again, after 5 s; 0 came in meanwhile, 0 were closed"
        ]
        world.accepting_fails(errno.EMFILE)
        world.reactor.turn()
        assert len(list(events)) == 3


def test_a_port_that_fails_again_while_it_rests_has_one_rest(world: World) -> None:
    world.accepting_fails(errno.EMFILE, errno.EMFILE)
    world.reactor.turn()
    world.port.doRead()  # to turn a client away
    assert [call.getTime() for call in world.reactor.getDelayedCalls()].count(RETRY_DELAY) == 1
    world.port.stopListening()
    world.reactor.advance(RETRY_DELAY)
    assert not world.is_reading


def test_the_end_of_a_session_does_not_cut_the_wait_short(make: Callable[..., World]) -> None:
    world = make(2)
    world.connect()
    world.reactor.turn()
    world.accepting_fails(errno.EMFILE)
    world.reactor.turn()
    world.limit.enter()  # by another listener
    world.limit.leave()
    assert not world.is_reading
    world.reactor.advance(RETRY_DELAY)
    assert world.is_reading


def test_the_end_of_the_wait_does_not_pass_the_session_limit(make: Callable[..., World]) -> None:
    world = make(1)
    world.accepting_fails(errno.EMFILE)
    world.reactor.turn()
    world.limit.enter()
    world.reactor.advance(RETRY_DELAY)
    assert not world.is_reading
    world.limit.leave()
    assert world.is_reading


def test_closing_ends_the_wait(world: World) -> None:
    world.accepting_fails(errno.EMFILE)
    world.reactor.turn()
    world.port.stopListening()
    world.reactor.advance(0)
    assert len(world.reactor.getDelayedCalls()) == 1  # that says that the shortage is over
    world.reactor.advance(RETRY_DELAY)
    assert not world.is_reading


# ---------------------------------------------------------------- a bounded wait


def test_who_finds_no_room_waits_for_some_seconds_and_is_closed(
    make: Callable[..., World],
) -> None:
    world = make(1, max_sessions_wait=WAIT)
    first, second, third = world.connect(), world.connect(), world.connect()
    world.reactor.turn()
    world.reactor.advance(WAIT / 2)
    world.reactor.turn()
    assert is_open(second)
    world.reactor.advance(WAIT / 2)
    world.reactor.turn()
    assert [is_open(client) for client in (first, second, third)] == [True, False, False]
    assert world.counters.turned_away == {NO_ROOM: 2}

    late = world.connect()
    world.reactor.turn()
    assert is_open(late)
    assert not world.is_reading
    world.end_first_session()
    world.reactor.turn()
    assert world.factory.peers == world.ports_of(late)


def test_a_queue_that_was_empty_meanwhile_is_left_alone(make: Callable[..., World]) -> None:
    world = make(1, max_sessions_wait=WAIT)
    for _ in range(5):
        world.connect()
        world.reactor.turn()
        world.reactor.advance(WAIT / 4)
        world.end_first_session()
        world.reactor.turn()  # nobody waits
        world.reactor.advance(WAIT / 4)
    waits = world.connect()
    world.limit.enter()
    world.reactor.turn()
    world.reactor.advance(WAIT / 4)
    world.reactor.turn()
    assert is_open(waits)
    world.limit.leave()


def test_of_a_queue_that_moves_only_those_are_closed_that_have_waited_for_long(
    make: Callable[..., World],
) -> None:
    """However long it is all the time."""
    world = make(1, max_sessions_wait=WAIT)
    waiting = [world.connect() for _ in range(4)]
    world.reactor.turn()
    for _ in range(6):
        world.reactor.advance(WAIT / 2)
        world.reactor.turn()
        for _ in range(3):  # those that waited at the last look, each while a new one comes
            waiting.append(world.connect())
            world.end_first_session()
            world.reactor.turn()
        assert world.factory.peers == world.ports_of(waiting[-4])
    assert world.counters.turned_away == {}

    patient = waiting[-3:]
    world.reactor.advance(WAIT / 2)
    world.reactor.turn()
    late = world.connect()
    world.end_first_session()
    world.reactor.turn()
    world.reactor.advance(WAIT / 2)
    world.reactor.turn()
    assert [is_open(client) for client in (*patient, late)] == [True, False, False, True]


def test_of_a_unix_socket_whoever_waits_at_the_second_look_is_closed(
    make: Callable[..., World], tmp_path: Path
) -> None:
    """The system does not say how many they are."""
    world = make(1, max_sessions_wait=WAIT)
    world.limit.enter()
    path = str(tmp_path / "socket")
    port = world.listening.listenUNIX(path, world.factory)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.setblocking(False)
        world.reactor.advance(WAIT / 2)
        world.reactor.turn()
        assert is_open(client)
        world.reactor.advance(WAIT / 2)
        world.reactor.turn()
        assert not is_open(client)
    world.limit.leave()
    port.stopListening()
    world.reactor.advance(0)


def test_without_descriptors_the_one_kept_back_closes_who_waits(
    make: Callable[..., World],
) -> None:
    world = make(max_sessions_wait=WAIT)
    client = world.accepting_fails(*[errno.EMFILE] * (RETRIES + 1))
    world.try_for_a_while()
    assert is_open(client)
    world.reactor.turn()
    assert not is_open(client)
    assert world.counters.turned_away == {NO_ROOM: 1}
    assert world.factory.sessions == []


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENOBUFS])
def test_even_that_may_fail(error: int, make: Callable[..., World]) -> None:
    world = make(max_sessions_wait=WAIT)
    client = world.accepting_fails(*[errno.EMFILE] * (RETRIES + 1), error)
    world.try_for_a_while()
    world.reactor.turn()
    assert is_open(client)
    assert world.counters.turned_away == {}


def test_a_port_without_a_spare_descriptor_does_without(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(accept.os, "open", refuse)  # type: ignore[attr-defined]
    world = make(max_sessions_wait=WAIT)
    client = world.accepting_fails(*[errno.EMFILE] * (RETRIES + 1))
    world.try_for_a_while()
    world.reactor.turn()
    assert is_open(client)
    assert world.factory.sessions == []


def test_a_port_that_closes_turns_nobody_away(make: Callable[..., World]) -> None:
    world = make(1, max_sessions_wait=WAIT)
    world.connect()
    world.connect()
    world.reactor.turn()
    world.reactor.advance(WAIT / 2)
    world.port.disconnecting = True
    world.port.turn_away()
    assert not world.is_reading
    world.port.disconnecting = False


# ---------------------------------------------------------------- many of one address


@pytest.fixture
def crowd(make: Callable[..., World]) -> World:
    """A port at which two clients of an address negotiate and two may wait."""
    return make(handshakes_per_client=2, waiting_per_client=2)


def test_of_one_address_some_are_served_some_wait_unread_and_more_are_closed(
    crowd: World,
) -> None:
    clients = [crowd.connect() for _ in range(6)]
    with capturedLogs() as events:
        crowd.reactor.turn()
    assert crowd.factory.peers == crowd.ports_of(*clients[:2])
    assert [is_open(client) for client in clients] == [True] * 4 + [False] * 2
    assert crowd.limit.open == 4
    assert crowd.counters.turned_away == {CROWDED: 2}
    sentence = "closed a connection from 127.0.0.1: others of its address wait for their turn"
    options = " (--handshakes-per-client, --waiting-per-client)"
    assert [formatEvent(event) for event in events] == [sentence + options] * 2


def test_who_waits_is_served_when_another_one_is_through(crowd: World) -> None:
    clients = [crowd.connect() for _ in range(3)]
    crowd.reactor.turn()
    crowd.end_first_session()
    crowd.reactor.advance(0)
    assert crowd.factory.peers == crowd.ports_of(*clients[1:])
    assert crowd.limit.open == 2


def test_who_waits_is_served_although_a_listener_cannot_go_on(
    crowd: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down() -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    clients = [crowd.connect() for _ in range(4)]
    crowd.reactor.turn()
    crowds = crowd.limit.crowds
    with monkeypatch.context() as patch:
        patch.setattr(crowd.limit, "leave", break_down)
        crowds.end(crowd.factory.sessions[0])
        with pytest.raises(OSError, match="Cannot allocate"):
            crowd.reactor.advance(0)
        assert crowd.factory.peers == crowd.ports_of(*clients[:3])
        with pytest.raises(OSError, match="Cannot allocate"):
            crowds.forget(crowd.port)
    assert [is_open(client) for client in clients] == [True] * 3 + [False]


def test_a_closed_port_drops_who_waits(crowd: World) -> None:
    clients = [crowd.connect() for _ in range(3)]
    crowd.reactor.turn()
    crowd.port.stopListening()
    crowd.reactor.advance(0)
    assert [is_open(client) for client in clients] == [True, True, False]
    assert crowd.limit.open == 2


def test_beyond_the_share_accepting_goes_on_for_others(
    crowd: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept, "LOOK", 5)
    clients = [crowd.connect() for _ in range(6)]
    crowd.port.doRead()
    assert [is_open(client) for client in clients] == [True] * 4 + [False, True]
    crowd.port.doRead()
    assert not is_open(clients[5])


def test_what_says_too_much_is_said_some_times_only(crowd: World) -> None:
    with capturedLogs() as events:
        for _ in range(15):
            crowd.limit.turn_away_from_crowd("")
        crowd.reactor.advance(60)
        crowd.limit.turn_away_from_crowd("")
    assert len(events) == 11
    assert formatEvent(events[0]).startswith("closed a connection from a UNIX socket: ")
    assert formatEvent(events[-1]).endswith("; 5 more were closed without a line")


# ---------------------------------------------------------------- keeping quiet


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What an observer of the log writes."""
    file = io.StringIO()
    observer = textFileLogObserver(file)
    globalLogPublisher.addObserver(observer)
    yield file
    globalLogPublisher.removeObserver(observer)


class QuietFactory(Factory):
    noisy = False


class QuietDatagrams(DatagramProtocol):
    noisy = False


LISTEN: dict[str, Callable[[SteppedReactor, Path], Any]] = {
    "TCP": lambda reactor, directory: QuietReactor(reactor).listenTCP(
        0, QuietFactory(), interface="127.0.0.1"
    ),
    "UDP": lambda reactor, directory: QuietReactor(reactor).listenUDP(
        0, QuietDatagrams(), interface="127.0.0.1"
    ),
    "clients by TCP": lambda reactor, directory: ListeningReactor(
        reactor, session_limit(1)
    ).listenTCP(0, Factory(), interface="127.0.0.1"),
    "clients by UNIX socket": lambda reactor, directory: ListeningReactor(
        reactor, session_limit(1)
    ).listenUNIX(str(directory / "socket"), Factory()),
}


@pytest.mark.parametrize("kind", LISTEN)
def test_a_port_says_nothing_by_itself(kind: str, tmp_path: Path, written: io.StringIO) -> None:
    reactor = SteppedReactor()
    port = LISTEN[kind](reactor, tmp_path)
    assert port in reactor.readers
    port.stopListening()
    reactor.advance(0)
    assert port not in reactor.readers
    assert written.getvalue() == ""


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_a_quiet_datagram_port_lets_others_have_their_turn(payload: bytes) -> None:
    """However short the datagrams are."""

    class Counting(QuietDatagrams):
        received = 0

        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            assert (datagram, addr) == (payload, sender.getsockname())
            self.received += 1

    reactor, counting = SteppedReactor(), Counting()
    port = QuietReactor(reactor).listenUDP(0, counting, interface="127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port.getHost().port))
        for _ in range(DATAGRAMS + 3):
            sender.send(payload)
        port.doRead()
        assert counting.received == DATAGRAMS
        for _ in range(2):
            port.doRead()
        assert counting.received == DATAGRAMS + 3
    port.stopListening()
    reactor.advance(0)


def test_the_wrapper_of_an_endpoint_says_nothing(world: World, written: io.StringIO) -> None:
    endpoint = serverFromString(world.listening, "haproxy:tcp:0:interface=127.0.0.1")
    ports: list[Any] = []
    endpoint.listen(world.factory).addCallback(ports.append)
    ports[0].stopListening()
    world.reactor.advance(0)
    assert written.getvalue() == ""


def test_what_is_said_meanwhile_is_heard(world: World, written: io.StringIO) -> None:
    world.factory.stopFactory = lambda: Logger().info("the factory stops")
    world.port.stopListening()
    world.reactor.advance(0)
    assert "the factory stops" in written.getvalue()


def test_a_quiet_reactor_is_otherwise_the_reactor() -> None:
    clock = MemoryReactorClock()
    quiet = QuietReactor(clock)
    assert set(providedBy(quiet)) == set(providedBy(clock))
    quiet.callLater(1, lambda: None)
    assert len(quiet.getDelayedCalls()) == 1


# ---------------------------------------------------------------- every kind of listener


def test_the_queue_is_long_enough(world: World) -> None:
    allowed = int(Path("/proc/sys/net/core/somaxconn").read_text())
    assert world.port.backlog == BACKLOG >= allowed


def test_a_listening_reactor_is_otherwise_the_reactor() -> None:
    clock = Clock()
    ListeningReactor(clock, session_limit(1)).callLater(1, lambda: None)
    assert len(clock.getDelayedCalls()) == 1


class Greeter(Protocol):
    def connectionMade(self) -> None:
        self.transport.write(b"hello")


class Listener(Protocol):
    """Hears the greeting."""

    def __init__(self) -> None:
        self.heard: Deferred[bytes] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard.callback(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.gone.callback(None)


def trusting(pem: Path) -> Any:
    return optionsForClientTLS("localhost", trustRoot=Certificate.loadPEM(pem.read_bytes()))


ENDPOINTS = ["tcp", "tls", "unix"]


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted does
@pytest.mark.parametrize("kind", ENDPOINTS)
@pytest_twisted.ensureDeferred
async def test_an_endpoint_waits_without_room_and_serves_with_it(kind: str, tmp_path: Path) -> None:
    pem, path = self_signed(tmp_path), tmp_path / "socket"
    description = {
        "tcp": "tcp:0:interface=127.0.0.1",
        "tls": f"ssl:0:privateKey={pem}:interface=127.0.0.1",
        "unix": f"unix:{path}",
    }[kind]
    limit = session_limit(1)
    limit.enter()
    endpoint = serverFromString(ListeningReactor(reactor, limit), description)
    port = await endpoint.listen(Factory.forProtocol(Greeter))
    assert type(port) is (UNIXPort if kind == "unix" else Port)
    target = {
        "tcp": lambda: TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port),
        "tls": lambda: SSL4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port, trusting(pem)),
        "unix": lambda: UNIXClientEndpoint(reactor, str(path)),
    }[kind]()

    client = await connectProtocol(target, Listener())
    for _ in range(5):
        await deferLater(reactor, 0)
    assert not client.heard.called
    limit.leave()
    assert await client.heard.addTimeout(10, reactor) == b"hello"

    client.transport.loseConnection()
    await client.gone
    await port.stopListening()


# ---------------------------------------------------------------- connections of our own


@implementer(IHalfCloseableProtocol)
class LeanSession:
    """A session that takes a :class:`~socks5.net.connection.Connection`, and sends back what it receives."""

    def __init__(self, factory: "LeanSessions") -> None:
        self._factory = factory
        self.connection: Any = None
        self.gone: Deferred[None] = Deferred()

    def makeConnection(self, connection: Any) -> None:
        self.connection = connection
        self._factory.greet(self)

    def dataReceived(self, data: bytes) -> None:
        self.connection.write(data)

    def readConnectionLost(self) -> None:
        self.connection.loseConnection()

    def writeConnectionLost(self) -> None:
        """Nothing depends on it."""

    def connectionLost(self, reason: Any) -> None:
        self._factory.limit.leave()
        self.gone.callback(None)


class LeanSessions(Sessions):
    """Makes them."""

    takes_connections = True
    greet: Callable[[LeanSession], None] = staticmethod(lambda session: None)

    def buildProtocol(self, addr: Any) -> Any:
        if not self.limit.enter():
            return None
        self.sessions.append(LeanSession(self))  # type: ignore[arg-type]
        return self.sessions[-1]


class Hearer(Protocol):
    """A client that says hello and hears what comes back, until the end."""

    def __init__(self) -> None:
        self.heard = b""
        self.gone: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(b"hello")
        self.transport.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.gone.callback(self.heard)


class Place:
    """A port for such sessions, on the real reactor."""

    def __init__(self, interface: str = "127.0.0.1", maximum: int = 10) -> None:
        self.limit = session_limit(maximum)
        self.factory: Any = LeanSessions(self.limit)
        self.port = ListeningReactor(reactor, self.limit).listenTCP(
            0, self.factory, interface=interface
        )

    async def hear(self) -> bytes:
        """What a client hears until the end."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port.getHost().port)
        try:
            client = await connectProtocol(endpoint, Hearer())
        except ConnectError:  # reset at once
            return b""
        return await client.gone.addTimeout(10, reactor)

    async def close(self) -> None:
        for session in self.factory.sessions:
            session.connection.abortConnection()
            await session.gone
        await self.port.stopListening()


@pytest_twisted.ensureDeferred
async def test_others_get_their_turn_beside_our_own_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accept, "LEAN_BATCH", 2)
    place = Place()
    where = "127.0.0.1", place.port.getHost().port
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(where))
        place.port.doRead()
        assert len(place.factory.sessions) == 2
        place.port.doRead()
        assert len(place.factory.sessions) == 3
        await place.close()


@pytest.mark.parametrize("interface", ["127.0.0.1", "0.0.0.0"])
@pytest_twisted.ensureDeferred
async def test_a_factory_may_take_our_own_connections(interface: str) -> None:
    place = Place(interface)
    assert await place.hear() == b"hello"
    [session] = place.factory.sessions
    assert isinstance(session.connection, Connection)
    await place.close()
    assert place.limit.open == 0


@pytest.mark.parametrize("interface", ["127.0.0.1", "0.0.0.0"])
@pytest_twisted.ensureDeferred
async def test_our_own_connection_knows_both_ends(interface: str) -> None:
    place = Place(interface)
    ends: list[Any] = []
    place.factory.greet = lambda session: ends.append(
        (session.connection.near, session.connection.far.text)
    )
    await place.hear()
    assert ends == [(Address("127.0.0.1", place.port.getHost().port), "127.0.0.1")]
    await place.close()


@pytest_twisted.ensureDeferred
async def test_whom_such_a_factory_does_not_want_is_closed() -> None:
    place = Place()
    place.factory.buildProtocol = lambda addr: None
    assert await place.hear() == b""
    await place.close()


@pytest.mark.parametrize("place_of_crash", ["buildProtocol", "greet"])
@pytest_twisted.ensureDeferred
async def test_such_a_client_that_cannot_be_served_ends_alone(
    place_of_crash: str, failures: Failures
) -> None:
    place = Place()
    setattr(place.factory, place_of_crash, crash)
    assert await place.hear() == b""
    assert len(failures.take(ZeroDivisionError)) == 1
    assert place.limit.open == 0

    delattr(place.factory, place_of_crash)
    assert await place.hear() == b"hello"
    await place.close()


@pytest_twisted.ensureDeferred
async def test_such_a_port_pauses_and_resumes_however_often_it_is_told() -> None:
    place = Place()
    place.port.pause()
    place.port.pause()
    client = place.hear()
    place.port.resume()
    place.port.resume()
    assert await client == b"hello"
    await place.close()


@pytest_twisted.ensureDeferred
async def test_such_a_port_that_hits_a_bug_goes_on_after_a_moment(
    monkeypatch: pytest.MonkeyPatch, failures: Failures
) -> None:
    monkeypatch.setattr(accept, "RETRY_DELAY", 0.01)
    place = Place()
    place.port._accept = crash
    client = Deferred.fromCoroutine(place.hear())
    while not failures.logged:
        await deferLater(reactor, 0.001)
    del place.port._accept
    assert await client == b"hello"
    assert failures.take(ZeroDivisionError)
    await place.close()


@pytest_twisted.ensureDeferred
async def test_a_socket_that_listens_already_may_be_adopted() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    number = listening.getsockname()[1]
    limit = session_limit(1)
    factory: Any = LeanSessions(limit)
    port = Port(number, factory, BACKLOG, "127.0.0.1", reactor, limit=limit)
    port.adopt(listening)
    assert port.getHost().port == number
    client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", number), Hearer())
    assert await client.gone.addTimeout(10, reactor) == b"hello"
    await port.stopListening()
    assert listening.fileno() == -1


@pytest.mark.parametrize("is_unix", [False, True])
@pytest_twisted.ensureDeferred
async def test_an_inherited_tcp_socket_is_a_port_of_ours(is_unix: bool, tmp_path: Path) -> None:
    limit = session_limit(1)
    listening = ListeningReactor(reactor, limit)
    family = socket.AF_UNIX if is_unix else socket.AF_INET
    with socket.socket(family) as inherited:
        inherited.bind(str(tmp_path / "socket") if is_unix else ("127.0.0.1", 0))
        inherited.listen()
        inherited.setblocking(False)
        port = listening.adoptStreamPort(inherited.fileno(), family, LeanSessions(limit))
    assert isinstance(port, Port) is not is_unix
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_has_twisteds_transport(tmp_path: Path) -> None:
    limit = session_limit(1)
    factory: Any = LeanSessions(limit)
    path = str(tmp_path / "socket")
    port = ListeningReactor(reactor, limit).listenUNIX(path, factory)
    client = await connectProtocol(UNIXClientEndpoint(reactor, path), Hearer())
    assert await client.gone.addTimeout(10, reactor) == b"hello"
    assert not isinstance(factory.sessions[0].connection, Connection)
    await port.stopListening()


# ---------------------------------------------------------------- the peer of a BIND


class Peers:
    """A port for the peer of a BIND, and who came."""

    def __init__(self, awaited: str = "127.0.0.1", port: int = 0) -> None:
        self.asked: list[str] = []
        self.streams: list[Any] = []
        self._awaited = awaited
        poller = poller_of(reactor)
        assert poller is not None
        self.port = PeerPort(poller, "127.0.0.1", port, self.awaits, self.connected)

    def awaits(self, host: str) -> bool:
        self.asked.append(host)
        return host == self._awaited

    def connected(self, stream: Any) -> None:
        self.streams.append(stream)

    async def until(self, condition: Callable[[], Any]) -> None:
        end = reactor.seconds() + 10
        while not condition():
            assert reactor.seconds() < end
            await deferLater(reactor, 0)

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        where = self.port.getHost()
        client = socket.create_connection((where.text, where.port), source_address=(source, 0))
        client.setblocking(False)
        return client


@pytest_twisted.ensureDeferred
async def test_the_awaited_peer_is_let_in_and_strangers_are_closed() -> None:
    peers = Peers("127.0.0.1")
    stranger, peer = peers.connect("127.0.0.2"), peers.connect()
    await peers.until(lambda: peers.streams)
    assert peers.asked == ["127.0.0.2", "127.0.0.1"]
    assert not is_open(stranger)
    assert is_open(peer)
    [stream] = peers.streams
    assert stream.far == Address(*peer.getsockname())
    stream.abortConnection()
    peers.port.stopListening()
    for client in (stranger, peer):
        client.close()


@pytest.mark.parametrize("strangers", [1, 3])
@pytest_twisted.ensureDeferred
async def test_strangers_at_the_port_for_a_peer_let_others_have_their_turn(
    strangers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_port, "BATCH", 2)
    peers = Peers()
    peers.connected = lambda stream: (peers.streams.append(stream), peers.port.stopListening())  # type: ignore
    peers.port._connected = peers.connected
    clients = [peers.connect("127.0.0.2") for _ in range(strangers)] + [peers.connect()]
    peers.port.ready(0)
    assert len(peers.asked) == 2
    await peers.until(lambda: peers.streams)
    assert len(peers.asked) == strangers + 1
    peers.streams[0].abortConnection()
    for client in clients:
        client.close()


@pytest_twisted.ensureDeferred
async def test_who_stops_for_the_peer_gets_no_other() -> None:
    peers = Peers()

    def last(stream: Any) -> None:
        peers.streams.append(stream)
        peers.port.stopListening()

    peers.connected = last  # type: ignore[method-assign]
    poller = poller_of(reactor)
    assert poller is not None
    port = PeerPort(poller, "127.0.0.1", 0, peers.awaits, last)
    peers.port.stopListening()
    peers.port = port
    first, second = peers.connect(), peers.connect()
    await peers.until(lambda: peers.streams)
    await deferLater(reactor, 0)
    assert len(peers.streams) == 1
    peers.port.stopListening()  # twice is harmless
    peers.streams[0].abortConnection()
    for client in (first, second):
        client.close()


@pytest_twisted.ensureDeferred
async def test_a_port_for_a_peer_that_cannot_be_had_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(CannotListenError):
        Peers(port=taken.getsockname()[1])


@pytest_twisted.ensureDeferred
async def test_a_port_for_a_peer_without_a_descriptor_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    peers = Peers()
    peers.port.stopListening()
    monkeypatch.setattr(accept.socket, "socket", refuse)
    with pytest.raises(CannotListenError, match="Too many open files"):
        Peers()


@pytest_twisted.ensureDeferred
async def test_a_peer_that_left_already_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = Peers()
    real, errors = socket.socket.accept, [errno.ECONNABORTED]

    def accepting(self: socket.socket) -> Any:
        if errors:
            raise OSError(errors.pop(), "it left")
        return real(self)

    monkeypatch.setattr(socket.socket, "accept", accepting)
    client = peers.connect()
    await peers.until(lambda: peers.streams)
    peers.streams[0].abortConnection()
    peers.port.stopListening()
    client.close()


@pytest_twisted.ensureDeferred
async def test_a_peer_for_whom_there_is_no_descriptor_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accept, "RETRY_DELAY", 0.01)
    peers = Peers()
    real, errors = socket.socket.accept, [errno.EMFILE, errno.EMFILE]

    def accepting(self: socket.socket) -> Any:
        if errors:
            raise OSError(errors.pop(), "Too many open files")
        return real(self)

    monkeypatch.setattr(socket.socket, "accept", accepting)
    client = peers.connect()
    with capturedLogs() as events:
        await peers.until(lambda: peers.streams)
    assert (errors, list(events)) == ([], [])
    assert is_open(client)
    peers.streams[0].abortConnection()
    peers.port.stopListening()
    client.close()


@pytest_twisted.ensureDeferred
async def test_a_peer_that_cannot_be_let_in_is_logged_and_the_wait_goes_on(
    failures: Failures,
) -> None:
    peers = Peers()
    come = peers.awaits
    peers.port.stopListening()
    crashes = [ZeroDivisionError("a bug")]

    def awaits(host: str) -> bool:
        if crashes:
            raise crashes.pop()
        return come(host)

    poller = poller_of(reactor)
    assert poller is not None
    peers.port = PeerPort(poller, "127.0.0.1", 0, awaits, peers.connected)
    with capturedLogs() as events:
        clients = [peers.connect() for _ in range(2)]  # at once
        await peers.until(lambda: peers.streams)
    said = [formatEvent(event) for event in events]  # perhaps also what earlier tests have left
    assert said.count("a peer could not be let in") == 1
    assert failures.take(ZeroDivisionError) == ["a bug"]
    peers.streams[0].abortConnection()
    peers.port.stopListening()
    for client in clients:
        client.close()


@pytest_twisted.ensureDeferred
async def test_a_bug_at_the_end_of_such_a_port_is_logged_only(failures: Failures) -> None:
    peers = Peers()
    peers.port.stopListening()
    peers.port.crashed(Failure(ZeroDivisionError("a bug")))
    assert failures.take(ZeroDivisionError) == ["a bug"]
