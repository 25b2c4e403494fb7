"""The sessions of a factory from outside: listed, found, watched, asked, and ended whatever they do."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from zope.interface.verify import verifyObject

from socks5 import IManagedSession, ISessions, PasswordAuthentication, Reason, Settings
from socks5.access import NOBODY, SessionInfo
from socks5.protocol.messages import ReplyCode
from tests.support.contexts import FakeAcceptor
from tests.support.failures import Failures
from tests.support.providers import Logins
from tests.support.sessions import (
    ASSOCIATE,
    BIND,
    CONNECT,
    CONNECTED,
    GREETING,
    LOGIN,
    NO_AUTHENTICATION,
    PASSWORD_GREETING,
    TARGET,
    Client,
    Server,
    commanded,
    octets,
)
from tests.support.transports import FakeTLSTransport, FakeTransport, address

OTHER = address("198.51.100.8", 50000)


@pytest.fixture
def server() -> Server:
    return Server()


def infos(server: Server) -> list[SessionInfo]:
    return [session.info() for session in server.factory.sessions]


def assert_gone(server: Server, *clients: Client) -> None:
    """Nothing is left of the only session but one record."""
    assert [each for each in clients if each.is_connected] == []
    assert (len(server.factory.deadlines), [*server.factory.sessions]) == (0, [])
    assert len(server.records) == 1


# ---------------------------------------------------------------- listed and found


def test_sessions_are_found_by_user_client_and_number() -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    users = {}
    for name, peer in (("anna", OTHER), ("ben", OTHER), ("anna", address("198.51.100.9", 1))):
        client = server.client(PASSWORD_GREETING, LOGIN, peer=peer)
        logins.accept(name)
        users[client.session.number] = client.session
    server.client(peer=OTHER)
    sessions = server.factory.sessions
    assert verifyObject(ISessions, sessions)
    assert len(sessions) == 4
    assert sessions.find(user="anna") == [users[1], users[3]]
    assert sessions.find(client=OTHER.host) == [users[1], users[2]]
    assert sessions.find(user="anna", client=OTHER.host) == [users[1]]
    assert sessions.find(number=2) == [users[2]]
    assert sessions.find(number=2, user="anna") == sessions.find(user="nobody") == []
    for session in sessions:  # which may end meanwhile
        assert verifyObject(IManagedSession, session)
        session.close("enough")
        server.reactor.turn()
    assert [*sessions] == []
    assert [record.reason for record in server.records] == ["enough"] * 3


def test_info_tells_what_is_known_so_far(server: Server) -> None:
    client = server.client()
    assert infos(server) == [SessionInfo(1, "198.51.100.7:51234")]
    assert (client.session.access, client.session.client) == (NOBODY, "")
    client.send(GREETING, CONNECT)
    server.reactor.advance(2)
    asked: dict[str, Any] = {"command": "connect", "target": "192.0.2.80:80", "seconds": 2}
    assert infos(server) == [SessionInfo(1, "198.51.100.7:51234", **asked)]
    target = server.dialer.succeed()
    client.send(b"hello")
    target.deliver(b"hi")
    passed: dict[str, Any] = {
        "bytes_up": 5,
        "bytes_down": 2,
        "reply": 0,
        "bound": "192.0.2.10:40001",
    }
    assert infos(server) == [SessionInfo(1, "198.51.100.7:51234", **asked, **passed)]


def test_info_behind_the_end_is_that_of_the_record(server: Server) -> None:
    client = server.client(GREETING, octets("05 09 00") + TARGET)
    [info] = infos(server)
    assert info == server.records[0]
    assert info.detail == "CommandNotSupported: this command is not served"
    client.end()
    assert infos(server) == []


# ---------------------------------------------------------------- watched


def test_watchers_are_told_of_those_who_greet_and_of_their_end() -> None:
    """Though there is no access log."""
    server = Server(access_log=None)
    told: list[tuple[str, int, str]] = []

    def tell(word: str) -> Callable[[IManagedSession], object]:
        return lambda each: told.append((word, each.number, each.info().reason))

    stop = server.factory.sessions.watch(opened=tell("opened"), closed=tell("closed"))
    server.factory.sessions.watch(closed=tell("also"))
    server.client().end()
    server.client(b"GET / HTTP/1.1\r\n\r\n").end()
    client = server.client(GREETING[:1], GREETING[1:], CONNECT)
    assert told == [("opened", 3, "")]
    stop()
    client.end()
    assert told == [("opened", 3, ""), ("also", 3, "client closed")]


def test_a_watcher_that_fails_harms_nobody(server: Server, failures: Failures) -> None:
    told: list[int] = []
    server.factory.sessions.watch(opened=lambda _: 1 / 0)
    server.factory.sessions.watch(opened=lambda each: told.append(each.number))
    client = server.client(GREETING, CONNECT)
    server.dialer.succeed()
    assert client.received() == NO_AUTHENTICATION + CONNECTED
    assert (told, failures.take(ZeroDivisionError)) == ([1], ["division by zero"])


# ---------------------------------------------------------------- ended


def nobody() -> PasswordAuthentication:
    """Lets nobody in."""
    return PasswordAuthentication.over(InMemoryUsernamePasswordDatabaseDontUse())


BEGINNINGS: dict[str, tuple[dict[str, Any], list[bytes]]] = {
    "in the greeting": ({}, [GREETING]),
    "in a login": ({"authenticator": Logins}, [PASSWORD_GREETING, LOGIN]),
    "in a context": ({"gssapi": FakeAcceptor}, [octets("05 01 01"), octets("01 01 0010")]),
    "while dialling": ({}, [GREETING, CONNECT]),
    "in a BIND's wait": ({}, [GREETING, BIND + TARGET]),
    "in an association": ({}, [GREETING, ASSOCIATE]),
    "while a refusal waits": (
        {"authenticator": nobody, "settings": Settings},
        [PASSWORD_GREETING, LOGIN],
    ),
    "behind a failure": ({}, [GREETING, octets("05 09 00") + TARGET]),
}


@pytest.mark.parametrize("begin", BEGINNINGS)
@pytest.mark.parametrize("within", [0, 5])
@pytest.mark.parametrize("window", [None, 0], ids=["reads", "does not read"])
@pytest.mark.parametrize("kind", [FakeTransport, FakeTLSTransport], ids=["plain", "tls"])
def test_a_session_is_ended_in_time_whatever_it_does(
    begin: str, within: float, window: int | None, kind: type[FakeTransport]
) -> None:
    parameters, sent = BEGINNINGS[begin]
    server = Server(**{name: kind() for name, kind in parameters.items()})
    client = server.client(*sent, kind=kind)
    client.transport.window = window
    for session in server.factory.sessions:  # over TLS a failure has closed it already
        session.close(Reason.KICKED, within=within)
    server.reactor.advance(within)
    server.reactor.turn()
    assert_gone(server, client)
    expected = "refused" if begin == "behind a failure" else "ended by the operator"
    assert server.records[0].reason == expected


@pytest.mark.parametrize("stalled", ["client", "target"])
def test_a_relay_whose_reader_stalls_is_ended_in_time(server: Server, stalled: str) -> None:
    """And the record comes when its streams are gone, with what really passed."""
    client, target = server.relaying()
    near, far = client.transport, target
    (near if stalled == "client" else far).window = 10
    (far if stalled == "client" else near).deliver(bytes(1000))
    [session] = server.factory.sessions
    session.close(Reason.KICKED, within=3)
    server.reactor.advance(2.9)
    assert server.records == []
    server.reactor.advance(0.2)
    assert (client.is_connected, target.connected) == (False, False)
    [record] = server.records
    assert (record.reason, record.bytes_up + record.bytes_down) == ("ended by the operator", 1000)
    assert list(server.factory.sessions) == []


def test_a_session_may_be_ended_again_with_less_time() -> None:
    server = Server(Settings(close_timeout=60))
    client, target = server.relaying()
    client.transport.window = 0
    target.deliver(b"unread")
    [session] = server.factory.sessions
    session.close(within=50)
    session.close(within=1)
    server.reactor.advance(1)
    assert not client.is_connected
    assert [record.reason for record in server.records] == ["ended by the operator"]


@pytest.mark.parametrize("sent", [GREETING, GREETING + CONNECT])
@pytest.mark.parametrize("within", [0, 2])
def test_a_watcher_may_close_a_session_that_has_just_greeted(
    server: Server, sent: bytes, within: float
) -> None:
    server.factory.sessions.watch(opened=lambda each: each.close(within=within))
    client = server.client()
    client.transport.window = 0
    client.send(sent)
    server.reactor.advance(within)
    server.reactor.turn()
    assert_gone(server, client)
    assert server.dialer.targets == []


@pytest.mark.parametrize("within", [0, 2])
@pytest.mark.parametrize("asks", [CONNECT, octets("05 09 00") + TARGET], ids=["asks", "is refused"])
def test_a_watcher_may_close_a_session_once_more(
    server: Server, asks: bytes, within: float
) -> None:
    server.factory.sessions.watch(closed=lambda each: each.close(within=within))
    server.client(GREETING, asks).end()
    server.reactor.turn()
    assert_gone(server)


def test_nothing_on_the_way_gives_a_session_more_time() -> None:
    server, client, command = commanded(settings=Settings(close_timeout=60))
    stop = command.stop
    command.stop = lambda reason, within: within or stop(reason, within)  # when it is ready
    client.transport.window = 0
    client.session.reply(ReplyCode.SUCCEEDED)
    client.session.close(within=3)
    server.reactor.advance(2)
    client.session.end(Reason.TARGET_CLOSED)
    server.reactor.pump([1, 0])
    assert_gone(server, client)


# ---------------------------------------------------------------- what fails at the end


@pytest.mark.parametrize(
    "end",
    [
        Client.end,
        Client.reset,
        lambda client: client.session.end(Reason.IDLE),
        lambda client: client.session.close(within=0),
    ],
    ids=["client's end", "reset", "own end", "by force"],
)
@pytest.mark.parametrize("fails", ["command", "record"])
def test_a_session_whose_command_or_record_fails_is_over_all_the_same(
    end: Callable[[Client], None], fails: str, failures: Failures
) -> None:
    server, client, command = commanded()
    if fails == "command":
        command.stop = lambda *_: 1 / 0
    else:
        server.log.write = lambda record: 1 / 0
    told: list[IManagedSession] = []
    server.factory.sessions.watch(closed=told.append)
    end(client)
    server.reactor.turn()
    assert (client.is_connected, [*server.factory.sessions]) == (False, [])
    assert len(server.factory.deadlines) == 0
    assert told == [client.session]
    assert len(server.records) == (fails == "command")
    assert failures.take(ZeroDivisionError)


def test_a_connection_that_is_cut_on_the_way_is_in_the_record_as_it_was() -> None:
    """Which is written before anybody takes the session for gone."""
    server, client, command = commanded()
    command.stop = lambda *_: client.transport.deliver_reset()
    left: list[int] = []
    server.factory.sessions.watch(closed=lambda _: left.append(len(server.factory.sessions)))
    client.session.end(Reason.IDLE)
    assert_gone(server, client)
    assert [(record.reason, record.bytes_up) for record in server.records] == [("idle", 11)]
    assert left == [1]
