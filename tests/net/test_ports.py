"""Listening: who is accepted when, and what a port does while it may not accept.

Real sockets on the loopback, with Twisted's transports and with connections of our own; a reactor that reads when the
test says so.
"""

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs, formatEvent
from twisted.protocols.policies import WrappingFactory

from socks5.counters import Counters
from socks5.net import descriptors, ports
from socks5.net.connection import Connection
from socks5.net.descriptors import CROWDED, SessionLimit
from socks5.net.openers import PortOpener
from socks5.net.places import BACKLOG, TCP, UNIX, Inherited
from socks5.net.ports import RETRY_DELAY, prepare_listening
from socks5.net.shortage import NO_ROOM
from socks5.server.factory import ServerFactory
from socks5.settings import ListenerPolicy, Settings
from tests.support.failures import Failures
from tests.support.sessions import session_limit
from tests.support.stepped import SteppedReactor, is_open

WAIT = 5.0
"""Seconds that a client may wait for room."""

RETRIES = round(WAIT / RETRY_DELAY)
"""How often a port tries to accept meanwhile."""

SAID = f": clients wait, and are closed after {WAIT:g} s"
HINT = "; raise the limit of open files (ulimit -n) or lower --max-sessions"


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

    connection_type: Any = Connection

    def __init__(self, limit: SessionLimit) -> None:
        self.limit = limit
        self.sessions: list[Session] = []

    def buildProtocol(self, addr: Any) -> Session | None:
        if not self.limit.enter():
            return None
        self.sessions.append(Session(self))
        self.limit.crowds.begin(getattr(addr, "host", addr), self.sessions[-1])
        return self.sessions[-1]

    @property
    def peers(self) -> list[int]:
        """The ports of the clients that were accepted, in order."""
        return [session.transport.getPeer().port for session in self.sessions]


class World:
    """A port, and clients that connect to it."""

    def __init__(self, is_lean: bool, maximum: int = 1000, **settings: Any) -> None:
        self.is_lean = is_lean
        self.reactor = SteppedReactor(is_lean)
        self.counters = Counters()
        self.limit = session_limit(maximum, self.reactor, self.counters, **settings)
        self.factory: Any = Sessions(self.limit)
        self._factories = [self.factory]
        self.port = self.listen(TCP(0, "127.0.0.1"))
        self._clients: list[socket.socket] = []

    def listen(self, where: TCP | UNIX) -> Any:
        return PortOpener(self.reactor, self.limit).open(where, self.factory)

    def factory_of(self, connection_type: Any) -> Sessions:
        """Another factory, ours from now on."""
        self.factory = Sessions(self.limit)
        self.factory.connection_type = connection_type
        self._factories.append(self.factory)
        return self.factory  # type: ignore[no-any-return]

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

    def reads(self, port: Any) -> bool:
        poller = self.reactor.poller
        return port in (self.reactor.readers if poller is None else poller.watched.values())

    @property
    def is_reading(self) -> bool:
        return self.reads(self.port)

    def accepting_fails(self, *errors: int) -> socket.socket:
        """A client that waits while the attempts to accept it fail with these errors."""
        client = self.connect()
        waiting, real = list(errors), self.port.socket

        class Socket:
            def __getattr__(self, name: str) -> Any:
                found = getattr(real, name)
                return partial(accept, found) if name in ("accept", "_accept") else found

        def accept(really: Callable[[], Any]) -> Any:
            if waiting:
                number = waiting.pop(0)
                raise OSError(number, os.strerror(number))
            return really()

        self.port.socket = Socket()
        return client

    def pass_time(self, seconds: float) -> None:
        self.reactor.advance(seconds)
        self.reactor.turn()

    def try_for_a_while(self) -> None:
        """Accept as often as the port tries to, for as long as a client may wait."""
        for _ in range(RETRIES):
            self.reactor.turn()
            self.reactor.advance(RETRY_DELAY)

    def end_first_session(self) -> None:
        self.factory.sessions.pop(0).transport.abortConnection()
        self.reactor.advance(0)

    def close(self) -> None:
        if self.port.connected and not self.port.disconnecting:
            self.port.stopListening()
        for session in [each for factory in self._factories for each in factory.sessions]:
            if session.transport is not None and session.transport.connected:
                session.transport.abortConnection()
        self.reactor.advance(0)
        if self.reactor.poller is not None:
            self.reactor.poller.close()
        for client in self._clients:
            client.close()


Make = Callable[..., World]


@pytest.fixture(params=["twisted", "lean"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(ports, "poller_of", lambda reactor: reactor.poller)
    made = []

    def make(maximum: int = 1000, **settings: Any) -> World:
        made.append(World(request.param == "lean", maximum, **settings))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make: Make) -> World:
    return make()


def crash(*arguments: Any) -> None:
    raise ZeroDivisionError("a bug")


def refuse(*arguments: Any) -> Any:
    raise OSError(errno.EMFILE, "Too many open files")


# ---------------------------------------------------------------- what a client's socket inherits


def first_probe(sock: Any) -> int:
    """Seconds of silence until the system asks the peer; 0: it never does."""
    is_on = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    seconds: int = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    return seconds if is_on else 0


@pytest.mark.parametrize("keepalive", [60, 0])
@pytest.mark.parametrize("kind", ["factory", "listener", "behind others"])
def test_clients_are_asked_whether_they_are_there_as_the_settings_say(
    keepalive: int, kind: str
) -> None:
    """Sessions behind others, as behind TLS, see to that themselves. systemd may have switched it on (KeepAlive=)."""
    server = ServerFactory(SteppedReactor(), settings=Settings(keepalive=keepalive))
    factories: dict[str, Any] = {
        "factory": server,
        "listener": server.at(ListenerPolicy()),
        "behind others": WrappingFactory(server),
    }
    is_ours = kind != "behind others"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, is_ours)
        prepare_listening(listening, factories[kind])
        assert first_probe(listening) == (keepalive if is_ours else 0)
        assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_clients_from_now_on_have_what_the_settings_say_from_now_on(world: World) -> None:
    world.factory.settings = Settings(keepalive=77)
    world.port.settings_changed()
    assert first_probe(world.port.socket) == 77


# ---------------------------------------------------------------- accepting


@pytest.mark.parametrize("is_behind_another", [False, True])
def test_a_client_whose_transport_cannot_be_made_keeps_no_place(
    is_behind_another: bool, world: World, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_behind_another and not world.is_lean:
        world.port.factory = WrappingFactory(world.factory)
    client = world.connect()
    monkeypatch.setattr(
        world.reactor.poller or world.reactor, "add" if world.is_lean else "addReader", refuse
    )
    world.reactor.turn()
    assert failures.take(OSError) == ["[Errno 24] Too many open files"]
    assert world.limit.open == 0
    assert not is_open(client)


def test_a_factory_that_takes_no_connections_has_twisteds_transports(world: World) -> None:
    world.factory.connection_type = None
    world.port.stopListening()
    world.reactor.advance(0)
    world.port = world.listen(TCP(0, "127.0.0.1"))
    world.connect()
    world.reactor.turn()
    assert not isinstance(world.factory.sessions[0].transport, Connection)


def test_clients_are_served_in_the_order_they_came_and_others_get_their_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "LEAN_BATCH" if world.is_lean else "BATCH", 2)
    clients = [world.connect() for _ in range(3)]
    world.port.doRead()
    assert world.factory.peers == world.ports_of(*clients[:2])
    world.port.doRead()
    assert world.factory.peers == world.ports_of(*clients)
    assert all(map(is_open, clients))
    kinds = {isinstance(session.transport, Connection) for session in world.factory.sessions}
    assert kinds == {world.is_lean}


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


@pytest.mark.parametrize("make", ["lean"], indirect=True)
def test_a_port_that_hits_a_bug_goes_on_after_a_moment(world: World, failures: Failures) -> None:
    client, world.port.doRead = world.connect(), crash
    world.reactor.turn()
    assert failures.take(ZeroDivisionError) == ["a bug"]
    assert not world.is_reading
    del world.port.doRead
    world.pass_time(RETRY_DELAY)
    assert world.factory.peers == world.ports_of(client)


# ---------------------------------------------------------------- the session limit


def test_who_does_not_fit_waits_in_the_queue_until_there_is_room(make: Make) -> None:
    world = make(2)
    longest_queue = int(Path("/proc/sys/net/core/somaxconn").read_text())
    assert world.port.backlog == BACKLOG >= longest_queue
    first, second, third = world.connect(), world.connect(), world.connect()
    world.reactor.turn()
    assert world.factory.peers == world.ports_of(first, second)
    assert not world.is_reading
    world.end_first_session()
    assert world.is_reading
    world.reactor.turn()
    assert world.factory.peers == world.ports_of(second, third)
    assert is_open(third)


def test_a_port_that_begins_without_room_waits(make: Make) -> None:
    world = make(1)
    world.limit.enter()
    late = world.listen(TCP(0, "127.0.0.1"))
    late.doRead()
    assert not world.reads(late)
    world.limit.leave()
    assert world.reads(late)
    late.stopListening()
    world.reactor.advance(0)


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

    world.pass_time(RETRY_DELAY)
    assert world.factory.peers == world.ports_of(client)


def test_a_port_that_fails_again_while_it_rests_has_one_rest_and_none_behind_its_end(
    world: World,
) -> None:
    world.accepting_fails(errno.EMFILE, errno.EMFILE)
    world.reactor.turn()
    world.port.doRead()  # to turn a client away
    assert [call.getTime() for call in world.reactor.getDelayedCalls()].count(RETRY_DELAY) == 1
    world.port.stopListening()
    world.reactor.advance(RETRY_DELAY)
    assert not world.is_reading
    assert world.limit.listeners == set()
    assert len(world.reactor.getDelayedCalls()) == 1  # that says that the shortage is over


def test_a_port_rests_for_its_time_and_until_there_is_room(make: Make) -> None:
    world = make(1)
    world.accepting_fails(errno.EMFILE)
    world.reactor.turn()
    world.limit.enter()  # by another listener
    world.limit.leave()
    assert not world.is_reading
    world.limit.enter()
    world.reactor.advance(RETRY_DELAY)
    assert not world.is_reading
    world.limit.leave()
    assert world.is_reading


# ---------------------------------------------------------------- a bounded wait


def test_who_finds_no_room_waits_for_some_seconds_and_is_closed(make: Make) -> None:
    world = make(1, max_sessions_wait=WAIT)
    first, second, third = world.connect(), world.connect(), world.connect()
    world.reactor.turn()
    world.pass_time(WAIT / 2)
    assert is_open(second)
    world.pass_time(WAIT / 2)
    assert [is_open(client) for client in (first, second, third)] == [True, False, False]
    assert world.counters.turned_away == {NO_ROOM: 2}

    late = world.connect()
    world.reactor.turn()
    assert is_open(late)
    assert not world.is_reading
    world.end_first_session()
    world.reactor.turn()
    assert world.factory.peers == world.ports_of(late)


def test_a_queue_that_was_empty_meanwhile_is_left_alone(make: Make) -> None:
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
    world.pass_time(WAIT / 4)
    assert is_open(waits)
    world.limit.leave()


def test_of_a_queue_that_moves_only_those_are_closed_that_have_waited_for_long(
    make: Make,
) -> None:
    """However long it is all the time."""
    world = make(1, max_sessions_wait=WAIT)
    waiting = [world.connect() for _ in range(4)]
    world.reactor.turn()
    for _ in range(6):
        world.pass_time(WAIT / 2)
        for _ in range(3):  # those that waited at the last look, each while a new one comes
            waiting.append(world.connect())
            world.end_first_session()
            world.reactor.turn()
        assert world.factory.peers == world.ports_of(waiting[-4])
    assert world.counters.turned_away == {}

    patient = waiting[-3:]
    world.pass_time(WAIT / 2)
    late = world.connect()
    world.end_first_session()
    world.reactor.turn()
    world.pass_time(WAIT / 2)
    assert [is_open(client) for client in (*patient, late)] == [True, False, False, True]


def test_of_a_unix_socket_whoever_waits_at_the_second_look_is_closed(
    make: Make, tmp_path: Path
) -> None:
    """The system does not say how many they are."""
    world = make(1, max_sessions_wait=WAIT)
    world.limit.enter()
    path = str(tmp_path / "socket")
    port = world.listen(UNIX(path))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.setblocking(False)
        world.pass_time(WAIT / 2)
        assert is_open(client)
        world.pass_time(WAIT / 2)
        assert not is_open(client)
    world.limit.leave()
    port.stopListening()
    world.reactor.advance(0)


@pytest.mark.parametrize(
    ("has_spare", "errors", "is_closed"),
    [
        (True, [], True),
        (True, [errno.EMFILE], False),
        (True, [errno.ENOBUFS], False),
        (False, [], False),
    ],
)
def test_without_descriptors_the_one_kept_back_closes_who_waits(
    has_spare: bool, errors: list[int], is_closed: bool, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even that may fail, or there was none to keep."""
    if not has_spare:
        monkeypatch.setattr(descriptors.os, "open", refuse)
    world = make(max_sessions_wait=WAIT)
    client = world.accepting_fails(*[errno.EMFILE] * (RETRIES + 1), *errors)
    world.try_for_a_while()
    assert is_open(client)
    world.reactor.turn()
    assert is_open(client) is not is_closed
    assert world.counters.turned_away == ({NO_ROOM: 1} if is_closed else {})
    assert world.factory.sessions == []


def test_a_port_that_closes_turns_nobody_away(make: Make) -> None:
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
def crowd(make: Make) -> World:
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

    crowd.end_first_session()
    crowd.reactor.advance(0)
    assert crowd.factory.peers == crowd.ports_of(*clients[1:3])
    crowd.port.stopListening()
    crowd.reactor.advance(0)
    assert [is_open(client) for client in clients[1:4]] == [True, True, False]
    assert crowd.limit.open == 2


def test_who_waits_is_served_although_a_listener_cannot_go_on(
    crowd: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [crowd.connect() for _ in range(3)]
    crowd.reactor.turn()
    with monkeypatch.context() as patch:
        patch.setattr(crowd.limit, "leave", refuse)
        crowd.limit.crowds.end(crowd.factory.sessions[0])
        with pytest.raises(OSError, match="Too many open files"):
            crowd.reactor.advance(0)
    assert crowd.factory.peers == crowd.ports_of(*clients)


def test_beyond_the_share_accepting_goes_on_for_others(
    crowd: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "LOOK", 5)
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


# ---------------------------------------------------------------- a port that is to close


class Finish:
    """A port is told to finish."""

    def __init__(self, world: World) -> None:
        self.is_done = False
        world.port.finish().addCallback(self._done)

    def _done(self, result: None) -> None:
        self.is_done = True


def test_a_port_that_finishes_serves_who_waits_in_the_kernels_queue(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others get their turn between; who comes in the last moment is served, too. It may be told twice."""
    monkeypatch.setattr(ports, "LEAN_BATCH" if world.is_lean else "BATCH", 2)
    clients = [world.connect() for _ in range(3)]
    finish, again = Finish(world), Finish(world)
    assert world.factory.peers == world.ports_of(*clients[:2])
    world.reactor.turn()
    world.reactor.turn()  # the queue is empty
    assert world.factory.peers == world.ports_of(*clients)
    clients.append(world.connect())
    world.reactor.advance(0)
    assert world.factory.peers == world.ports_of(*clients)
    assert all(map(is_open, clients))
    assert (finish.is_done, again.is_done, world.port.connected) == (True, True, False)
    assert world.limit.listeners == set()
    assert world.reactor.getDelayedCalls() == []


def test_a_port_that_finishes_ends_although_its_queue_does_not(make: Make) -> None:
    world = make(1)
    first, second = world.connect(), world.connect()
    finish = Finish(world)
    world.reactor.advance(ports.FINISH_TIME / 2)
    world.reactor.turn()
    assert not finish.is_done
    world.reactor.advance(ports.FINISH_TIME / 2)
    world.reactor.advance(0)
    assert finish.is_done
    assert [is_open(first), is_open(second)] == [True, False]
    assert world.counters.turned_away == {NO_ROOM: 1}


def test_the_last_moment_of_a_port_takes_no_more_than_a_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Finish(world)
    monkeypatch.setattr(ports, "LOOK", 1)
    clients = [world.connect(), world.connect()]
    world.reactor.advance(0)
    assert finish.is_done
    assert list(map(is_open, clients)) == [True, False]


def test_a_port_that_finishes_may_be_closed_at_once(crowd: World) -> None:
    """Before its queue is empty, and behind it: then those go whose turn has not come."""
    clients = [crowd.connect() for _ in range(4)]
    finish = Finish(crowd)
    crowd.reactor.advance(0)
    assert finish.is_done
    assert all(map(is_open, clients))
    crowd.end_first_session()
    crowd.reactor.advance(0)
    assert crowd.factory.peers == crowd.ports_of(*clients[1:3])
    crowd.port.stopListening()
    assert [is_open(client) for client in clients[1:]] == [True, True, False]
    assert Finish(crowd).is_done


def test_a_port_that_is_closed_while_it_finishes_turns_away_who_waits(make: Make) -> None:
    world = make(1)
    _, late = world.connect(), world.connect()
    finish = Finish(world)
    world.port.stopListening()
    world.reactor.advance(0)
    assert finish.is_done
    assert not is_open(late)
    assert world.counters.turned_away == {}


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_port_that_is_closing_finishes_with_that(is_closed: bool, world: World) -> None:
    world.port.stopListening()
    if is_closed:
        world.reactor.advance(0)
    finish = Finish(world)
    assert finish.is_done == is_closed
    world.reactor.advance(0)
    assert finish.is_done


def test_a_socket_of_others_keeps_its_queue(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        where = Inherited("theirs", theirs.fileno())
        opener = PortOpener(world.reactor, world.limit)
        ours = opener.open(where, world.factory)
        with socket.create_connection(theirs.getsockname()) as client:
            world.port, own = ours, world.port
            finish = Finish(world)
            world.reactor.advance(0)
            world.port = own
            assert finish.is_done
            accepted, address = theirs.accept()
            accepted.close()
            assert address == client.getsockname()
    assert world.factory.sessions == []


def test_a_port_that_closes_already_closes_once(world: World) -> None:
    finished, stopped = world.port.finish(), world.port.stopListening()
    world.reactor.advance(0)
    assert finished.called
    assert stopped.called


# ---------------------------------------------------------------- with another factory


def test_who_comes_from_now_on_is_served_with_another_factory(world: World) -> None:
    """On a transport of its kind."""
    for connection_type in (None, Connection):
        before, another = world.factory, world.factory_of(connection_type)
        first = world.connect()
        world.reactor.turn()
        world.port.serve(another)
        assert (before.numPorts, another.numPorts) == (0, 1)
        second = world.connect()
        world.reactor.turn()
        assert before.peers[-1:] == world.ports_of(first)
        assert another.peers == world.ports_of(second)
        is_lean = world.is_lean and connection_type is not None
        assert isinstance(another.sessions[-1].transport, Connection) is is_lean


@pytest.mark.parametrize("connection_types", [(None, Connection), (Connection, None)])
def test_who_waits_for_his_turn_is_served_with_it_too(connection_types: Any, make: Make) -> None:
    world = make(handshakes_per_client=2, waiting_per_client=2)
    first, second = connection_types
    world.port.serve(world.factory_of(first))
    clients = [world.connect() for _ in range(4)]
    for _ in range(3):
        world.reactor.turn()
    before, another = world.factory, world.factory_of(second)
    world.port.serve(another)
    world.port.serve(another)
    for _ in range(2):
        before.sessions.pop(0).transport.abortConnection()
        world.reactor.advance(0)
    assert another.peers == world.ports_of(*clients[2:])


def test_while_there_is_no_room_another_factory_accepts_nobody_either(make: Make) -> None:
    world = make(1)
    world.connect()
    world.reactor.turn()
    assert not world.is_reading
    world.port.serve(world.factory_of(Connection))
    assert not world.is_reading


def test_a_closed_port_takes_no_other_factory(world: World) -> None:
    world.port.stopListening()
    world.reactor.advance(0)
    another = Sessions(world.limit)
    world.port.serve(another)
    assert another.numPorts == 0
