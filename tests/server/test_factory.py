"""What the sessions of a factory share, in memory: room, turns and counters, one end for all, and its own parts."""

import math
import time
from typing import Any

import pytest
from OpenSSL.SSL import Error as TLSError
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IProtocol
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from socks5 import Rules, ServerFactory, Settings
from socks5.net import crowds
from socks5.net.resolver import Resolver
from socks5.outbound.direct import DirectDialer
from socks5.protocol.errors import ConnectionRefused
from socks5.protocol.messages import Command, Method
from socks5.settings import Capacity
from tests.support.failures import Failures
from tests.support.providers import Begun, FakeCommand
from tests.support.reactor import FakeReactor, TimeOfDay
from tests.support.sessions import (
    BIND,
    CONNECT,
    CONNECTED,
    GREETING,
    NO_AUTHENTICATION,
    TARGET,
    Client,
    Server,
    refusal,
)
from tests.support.transports import CLIENT

# ---------------------------------------------------------------- room, and what is counted


def test_counters_count() -> None:
    server = Server(Settings(commands=frozenset({Command.CONNECT})), access_log=None)
    server.relaying()
    client = server.client()
    assert client.transport.nodelay
    assert client.transport.keepalive
    server.client(b"?").end()
    server.client(GREETING, BIND + TARGET).end()
    counters = server.counters
    assert (counters.connections, counters.open_connections) == (4, 2)
    assert counters.requests == {1: 1, 2: 1}
    assert counters.replies == {0: 1, 7: 1}
    assert (counters.violations, counters.refused_logins) == (1, 0)


def test_session_limit_turns_clients_away_until_a_connection_is_gone() -> None:
    server = Server(capacity=Capacity(max_sessions=2))
    first, _ = server.client(GREETING, CONNECT), server.client()
    assert server.factory.buildProtocol(CLIENT) is None
    server.dialer.fail(ConnectionRefused())
    assert server.factory.buildProtocol(CLIENT) is None
    assert (server.counters.connections, server.counters.open_connections) == (2, 2)
    first.end()
    assert server.counters.open_connections == 1
    assert IProtocol.providedBy(server.factory.buildProtocol(CLIENT))


def test_a_session_that_cannot_be_built_does_not_count() -> None:
    server = Server(capacity=Capacity(max_sessions=1))
    with pytest.raises(AttributeError):
        server.factory.buildProtocol(CLIENT, object())
    assert server.counters.connections == server.counters.open_connections == 0
    assert server.factory.buildProtocol(CLIENT) is not None


def test_tls_that_fails_has_a_few_lines_and_all_are_counted() -> None:
    server = Server()
    with capturedLogs() as events:
        for _ in range(30):
            client = server.client()
            client.session.connectionLost(Failure(TLSError([("SSL", "", "no shared cipher")])))
        server.reactor.advance(60)
        server.client().session.connectionLost(Failure(TLSError([])))
    lines = [formatEvent(event) for event in events]
    assert lines[:10] == [f"no TLS with {CLIENT.host}:{CLIENT.port}: no shared cipher"] * 10
    assert lines[10:] == ["no TLS with 198.51.100.7:51234: ; 20 more had none without a line"]
    assert server.counters.turned_away == {"TLS": 31}


# ---------------------------------------------------------------- the end of all


def closing(server: Server, grace: float = 5) -> list[None]:
    """Close every session; the list has an item when all are gone."""
    done: list[None] = []
    server.factory.close_sessions("shutdown", grace).addCallback(done.append)
    return done


def test_closing_without_sessions_is_done_at_once() -> None:
    server = Server()
    assert closing(server) == [None]
    assert server.reactor.getDelayedCalls() == []


def test_closing_sends_what_is_written_and_twice_is_done_once_for_both() -> None:
    server = Server()
    client, target = server.relaying()
    idle, asked = server.client(), server.client(GREETING, CONNECT)
    target.deliver(b"last words")
    first, second = closing(server), closing(server)
    assert first == second == []
    assert client.received() == b"last words"
    assert [each.sees for each in (client, idle, asked)] == ["end"] * 3
    assert target.far_sees == "end"
    assert first == second == [None]
    assert [record.reason for record in server.records] == ["shutdown"] * 2
    assert sorted(record.bytes_down for record in server.records) == [0, 10]


def test_closing_waits_for_a_slow_client_no_longer_than_told() -> None:
    server = Server()
    slow = server.client(GREETING, CONNECT, window=12)
    server.dialer.succeed().deliver(b"x" * 100)
    done = closing(server, grace=30)
    server.reactor.advance(29.99)
    assert slow.sees == ""
    slow.transport.accept(40)
    server.reactor.turn()
    assert done == []
    server.reactor.advance(0.01)
    assert slow.sees == "reset"
    assert len(slow.received()) == 52
    assert done == [None]


def test_session_that_cannot_be_closed_keeps_no_other_from_its_end(failures: Failures) -> None:
    def raise_bug(*_: object) -> None:
        raise RuntimeError("a bug")

    commands = Begun(Command.CONNECT, FakeCommand)
    server = Server(commands=commands)
    broken, slow, quick = (server.client(GREETING, CONNECT) for _ in range(3))
    commands.begun[0].stop = broken.transport.abortConnection = raise_bug
    slow.transport.loseConnection = lambda: None
    closing(server)
    assert not quick.is_connected
    assert slow.is_connected
    server.reactor.advance(5)
    assert not slow.is_connected
    assert set(failures.take(RuntimeError)) == {"a bug"}


# ---------------------------------------------------------------- its own parts


class Empty:
    """False, as a collection that has nothing in it is."""

    methods = (Method.USERNAME_PASSWORD,)

    def __len__(self) -> int:
        return 0

    def judge(self, *_: object) -> bool:
        return False

    is_banned = failed = succeeded = judge


@pytest.mark.parametrize("name", ["authenticator", "rules", "resolver", "dialer", "bans"])
def test_what_is_given_is_used_even_if_it_is_false(name: str) -> None:
    given: Any = Empty()
    factory = ServerFactory(FakeReactor(), **{name: given})
    used = factory if name in ("resolver", "bans") else factory.policy
    assert getattr(getattr(used, name), "given", getattr(used, name)) is given


def test_factory_makes_do_with_a_reactor() -> None:
    factory = ServerFactory(TimeOfDay())
    assert list(factory.in_force.methods) == [Method.NO_AUTHENTICATION]
    assert isinstance(factory.in_force.rules, Rules)
    assert isinstance(factory.resolver, Resolver)
    dialer: Any = factory.in_force.dialer
    assert isinstance(dialer, DirectDialer)
    assert factory.settings == Settings()
    assert factory.access_log is None
    assert factory.now is dialer.now is time.monotonic  # whatever is done to the time of day


# ---------------------------------------------------------------- clients of one address


def test_a_session_takes_its_addresss_turn_until_it_has_asked() -> None:
    server = Server(capacity=Capacity(handshakes_per_client=1))
    crowds = server.factory.crowds
    asking = server.client(GREETING)
    assert not crowds.is_free(CLIENT.host)
    asking.send(CONNECT)
    assert crowds.is_free(CLIENT.host)
    silent = server.client()
    assert not crowds.is_free(CLIENT.host)
    silent.reset()
    assert crowds.is_free(CLIENT.host)


def test_clients_whose_address_is_not_known_yet_take_no_turn() -> None:
    server = Server(capacity=Capacity(handshakes_per_client=1))
    server.factory.buildProtocol(None)
    assert server.factory.crowds.is_free("")
    server.factory.buildProtocol(UNIXAddress(None))
    assert not server.factory.crowds.is_free("")


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server at which every other request waits for its turn."""
    monkeypatch.setattr(crowds, "REQUESTS", 1)
    server = Server(Settings(max_optimistic=8))
    server.factory.crowds._round_ends = math.inf
    server.client(GREETING + CONNECT)
    return server


def late_request(server: Server, *behind: bytes, end: bool = False) -> Client:
    """A client whose request waits, with what it sends behind it."""
    client = Client(server)
    for piece in (GREETING + CONNECT, *behind):
        client.transport.deliver(piece)
    if end:
        client.transport.deliver_end()
    return client


def test_a_request_that_is_one_too_many_is_served_in_the_next_turn(busy: Server) -> None:
    """And what comes behind it is bounded."""
    client = late_request(busy, b"1234", b"56789", b"behind")
    assert not client.transport.is_reading
    assert busy.counters.requests[Command.CONNECT] == 1
    assert len(busy.factory.deadlines) == 0
    busy.reactor.turn()
    assert busy.counters.requests[Command.CONNECT] == 2
    target = busy.dialer.succeed()
    assert client.received() == NO_AUTHENTICATION + CONNECTED
    assert target.value() == b"123456789behind"


def test_a_client_that_ends_while_its_request_waits_has_left_unless_it_has_sent_something(
    busy: Server,
) -> None:
    late_request(busy, end=True)
    speaking = late_request(busy, b"all", end=True)
    busy.reactor.turn()
    assert [record.reason for record in busy.records] == ["client closed"]
    target = busy.dialer.succeed()
    busy.reactor.turn()
    assert (target.value(), target.far_sees) == (b"all", "end")
    assert speaking.is_connected


def test_a_request_that_has_waited_and_cannot_be_served_ends_its_session_alone(
    busy: Server, failures: Failures
) -> None:
    busy.factory.commands = {Command.CONNECT: lambda session: 1 / 0}
    assert late_request(busy).received() == NO_AUTHENTICATION + refusal(1)
    assert failures.take(ZeroDivisionError) == ["division by zero"]
