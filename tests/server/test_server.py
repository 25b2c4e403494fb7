"""The server's face in memory: what a client sees of the negotiation and of every way a session ends."""

import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from OpenSSL.SSL import Error as TLSError
from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5 import PasswordAuthentication, Rules, ServerFactory, Settings
from socks5.access import NOBODY, Access, SessionInfo
from socks5.auth import CheckFailed, Known, LoginNotJudged, User
from socks5.interfaces import ICommand, ISession
from socks5.logins import ILoginSession
from socks5.net import crowds
from socks5.net.resolver import Resolver
from socks5.outbound.direct import DirectDialer
from socks5.protocol.address import Address
from socks5.protocol.errors import ConnectionRefused
from socks5.protocol.messages import Command, Credentials, Method, ReplyCode
from socks5.protocol.password_negotiation import PasswordSubnegotiation
from socks5.server.handshake import ServerProtocol
from socks5.settings import Capacity
from tests.support import sessions
from tests.support.failures import Failures
from tests.support.providers import (
    Allow,
    FakeCommand,
    FakeDialer,
    FakeResolver,
    Logins,
    begin_dial,
)
from tests.support.reactor import FakeReactor, TimeOfDay
from tests.support.sessions import (
    BIND,
    CONNECT,
    CONNECTED,
    GREETING,
    LOGIN,
    LOGIN_RIGHT,
    NO_AUTHENTICATION,
    PASSWORD_CHOSEN,
    PASSWORD_GREETING,
    TARGET,
    Client,
    Server,
    octets,
    refusal,
)
from tests.support.transports import CLIENT, FakeTLSTransport, FakeTransport, address

LOGIN_WRONG = octets("01 01")

MAPPED_CLIENT = address("::ffff:198.51.100.7", 51234)
MAPPED_SERVER = address("::ffff:203.0.113.1", 1080)


def octet_by_octet(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


class Commands(dict[int, Callable[[ISession], ICommand]]):
    """Serves CONNECT by FakeCommands, and keeps them."""

    def __init__(self) -> None:
        self.begun: list[FakeCommand] = []
        super().__init__({Command.CONNECT: self._begin})

    def _begin(self, session: ISession) -> FakeCommand:
        self.begun.append(FakeCommand(session))
        return self.begun[-1]


# ---------------------------------------------------------------- the negotiation


@pytest.mark.parametrize("cut", [lambda data: [data], octet_by_octet])
def test_negotiation_does_not_depend_on_segments(cut: Callable[[bytes], list[bytes]]) -> None:
    server = Server()
    client = server.client(*cut(GREETING + CONNECT + b"first octets"))
    assert server.dialer.targets == [Address("192.0.2.80", 80)]
    assert [access.client for access in server.dialer.askers] == [CLIENT.host]
    assert client.received() == NO_AUTHENTICATION
    target = server.dialer.succeed()
    assert client.received() == CONNECTED
    assert target.value() == b"first octets"


@pytest.mark.parametrize("cut", [lambda data: [data], octet_by_octet])
def test_login_does_not_depend_on_segments(cut: Callable[[bytes], list[bytes]]) -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = server.client(*cut(PASSWORD_GREETING + LOGIN + CONNECT + b"first octets"))
    assert client.received() == PASSWORD_CHOSEN
    assert logins.asked == [(Credentials(b"user", b"secret"), "198.51.100.7")]
    logins.accept()
    assert client.received() == LOGIN_RIGHT
    target = server.dialer.succeed()
    assert client.received() == CONNECTED
    assert target.value() == b"first octets"


def test_client_without_an_acceptable_method_is_told_so() -> None:
    server = Server(authenticator=Logins())
    client = server.client(GREETING)
    assert client.received() == octets("05 ff")
    assert client.sees == "end"
    assert [record.reason[:18] for record in server.records] == ["NoAcceptableMethod"]


@pytest.mark.parametrize("authenticator", [None, Logins()], ids=["open", "logins"])
@pytest.mark.parametrize(
    ("first", "kind", "told"),
    [
        (b"GET http://example.org/ HTTP/1.1\r\n", "HTTP", b"this is a SOCKS5 proxy"),
        (b"CONNECT example.org:443 HTTP/1.1\r\n", "HTTP", b"this is a SOCKS5 proxy"),
        (octets("04 01 0050 c0000250 00"), "SOCKS4", b""),
        (octets("16 03 01 0200 01"), "TLS", b""),
        (b"\r\n\r\n\0\r\nQUIT\n", "PROXY header", b""),
        (b"\xff", "unknown", b""),
    ],
)
def test_other_protocols_end_at_once_and_are_no_sessions(
    first: bytes, kind: str, told: bytes, authenticator: Logins | None
) -> None:
    server = Server(authenticator=authenticator)
    client = server.client(first)
    received = client.received()
    assert told in received
    assert bool(told) == bool(received)
    assert client.sees == "end"
    client.end()
    assert server.records == []
    assert server.counters.turned_away == {f"no SOCKS5: {kind}": 1}
    assert server.counters.violations == 1


@pytest.mark.parametrize(
    ("request_octets", "code"),
    [
        (octets("05 01 00 02"), 8),  # ATYP
        (octets("05 01 00 03 03 610062 0050"), 1),  # a zero octet in a name
        (octets("04 01 00") + TARGET, 1),  # VER
    ],
)
def test_malformed_requests_have_their_reply(request_octets: bytes, code: int) -> None:
    server = Server()
    client = server.client(GREETING, request_octets)
    assert client.received() == NO_AUTHENTICATION + refusal(code)
    assert client.sees == "end"
    assert server.counters.violations == 1
    assert server.counters.replies == {code: 1}
    client.end()
    assert [record.reply for record in server.records] == [code]


# ---------------------------------------------------------------- the handshake's deadline


@pytest.mark.parametrize(
    "sent",
    [
        (),
        (GREETING[:1],),
        (PASSWORD_GREETING,),
        (PASSWORD_GREETING, LOGIN[:5]),
        (PASSWORD_GREETING, LOGIN),  # and the check never ends
    ],
)
def test_handshake_ends_after_ten_seconds(sent: tuple[bytes, ...]) -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = server.client(*sent)
    server.reactor.advance(9.99)
    assert client.sees == ""
    server.reactor.advance(0.01)
    assert client.sees == "end"
    assert not client.is_connected
    assert logins.cancelled == (LOGIN in sent)
    reasons = ["handshake timed out"] if PASSWORD_GREETING in sent else []
    assert [record.reason for record in server.records] == reasons
    assert list(server.factory.sessions) == []


@pytest.mark.parametrize("has_login", [False, True])
@pytest.mark.parametrize("sent", [b"", CONNECT[:5]])
def test_a_client_that_may_ask_has_two_minutes_more(has_login: bool, sent: bytes) -> None:
    """Some clients keep such connections in stock. An octet of the request gives no more time."""
    logins = Logins()
    server = Server(authenticator=logins) if has_login else Server()
    client = server.client(*((PASSWORD_GREETING, LOGIN) if has_login else (GREETING,)))
    if has_login:
        server.reactor.advance(9)
        logins.accept()
    server.reactor.advance(60)
    client.send(*(sent[at : at + 1] for at in range(len(sent))))
    server.reactor.advance(59.99)
    assert client.sees == ""
    server.reactor.advance(0.01)
    assert client.sees == "end"
    assert [record.reason for record in server.records] == ["no request in time"]


def test_a_client_that_asks_after_a_minute_is_served() -> None:
    server = Server()
    client = server.client(GREETING)
    server.reactor.advance(60)
    client.send(CONNECT)
    server.dialer.succeed()
    server.reactor.advance(120)
    assert client.received() == NO_AUTHENTICATION + CONNECTED
    assert client.is_connected


def test_trickling_octets_do_not_prolong_the_handshake() -> None:
    server = Server(authenticator=Logins())
    client = server.client()
    for octet in octet_by_octet(PASSWORD_GREETING + LOGIN)[:9]:
        client.send(octet)
        server.reactor.advance(1)
    assert client.sees == ""
    server.reactor.advance(1)
    assert client.sees == "end"


def test_request_ends_the_handshake_time() -> None:
    server = Server()
    client = server.client()
    server.reactor.advance(9)
    client.send(GREETING, CONNECT)
    server.reactor.advance(9)
    assert client.sees == ""
    server.dialer.succeed()
    assert client.received() == NO_AUTHENTICATION + CONNECTED


# ---------------------------------------------------------------- octets that come early


def test_reading_pauses_beyond_the_bound_and_resumes_with_the_relay() -> None:
    server = Server(Settings(max_optimistic=8))
    client = server.client(GREETING + CONNECT + b"12345678")
    assert client.transport.is_reading
    client.send(b"9")
    assert not client.transport.is_reading
    client.send(b"behind")
    target = server.dialer.succeed()
    server.reactor.turn()
    assert target.value() == b"123456789behind"
    assert client.transport.is_reading


def test_reading_pauses_beyond_the_bound_during_a_check() -> None:
    logins = Logins()
    server = Server(Settings(max_optimistic=10), authenticator=logins)
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    assert client.transport.is_reading  # a request of ten octets is exactly the bound
    client.send(b"0123456789")
    assert not client.transport.is_reading
    logins.accept()
    assert client.transport.is_reading
    target = server.dialer.succeed()
    server.reactor.turn()
    assert target.value() == b"0123456789"


def test_reading_stays_paused_after_a_check_while_too_many_octets_wait() -> None:
    logins = Logins()
    server = Server(Settings(max_optimistic=8), authenticator=logins)
    client = server.client(PASSWORD_GREETING + LOGIN + CONNECT + b"123456789")
    logins.accept()
    assert not client.transport.is_reading
    target = server.dialer.succeed()
    server.reactor.turn()
    assert client.transport.is_reading
    assert target.value() == b"123456789"


def test_reading_stays_paused_where_the_relay_has_paused_it() -> None:
    """The target takes nothing yet: whoever resumed the client now would fill the memory."""
    server = Server(Settings(max_optimistic=8))
    client = server.client(GREETING + CONNECT + bytes(100_000))
    assert not client.transport.is_reading
    target = server.dialer.succeed(window=0)
    server.reactor.turn()
    assert not client.transport.is_reading
    target.accept()
    server.reactor.turn()
    assert client.transport.is_reading
    assert target.value() == bytes(100_000)


def test_bound_is_for_early_octets_only() -> None:
    server = Server(Settings(max_optimistic=8))
    client = server.client(GREETING, CONNECT)
    target = server.dialer.succeed()
    client.send(b"123456789", b"123456789")
    assert client.transport.is_reading
    assert target.value() == b"123456789" * 2


def test_reading_resumes_after_a_failure_until_the_client_closes() -> None:
    server = Server(Settings(max_optimistic=8))
    client = server.client(GREETING + CONNECT + b"123456789")
    assert not client.transport.is_reading
    server.dialer.fail(ConnectionRefused())
    assert client.transport.is_reading
    client.end()
    assert not client.is_connected


# ---------------------------------------------------------------- failure, and the close after it


def failed_client(server: Server, **options: Any) -> Any:
    client = server.client(GREETING, CONNECT, **options)
    server.dialer.fail(ConnectionRefused())
    assert client.received() == NO_AUTHENTICATION + refusal(5)
    return client


def test_failure_is_a_full_reply_and_our_end() -> None:
    client = failed_client(Server())
    assert client.sees == "end"
    assert client.is_connected


def test_connection_closes_when_the_client_closes_after_a_failure() -> None:
    server = Server()
    client = failed_client(server)
    client.send(b"more")
    assert client.is_connected
    client.end()
    assert not client.is_connected
    assert client.received() == b""
    assert client.sees == "end"
    assert list(server.factory.sessions) == []


def test_octets_after_a_failure_do_not_stop_the_reading() -> None:
    client = failed_client(Server(Settings(max_optimistic=8)))
    client.send(b"more than that")
    assert client.transport.is_reading
    client.end()
    assert not client.is_connected


@pytest.mark.parametrize("end", ["no request in time", "closed", "refused"])
def test_octets_after_the_end_do_nothing(end: str) -> None:
    """TLS hands on what arrives even while it closes."""
    server = Server()
    client = server.client(GREETING, kind=FakeTLSTransport, window=0)
    if end == "no request in time":
        server.reactor.advance(120)
    elif end == "closed":
        client.session.close("enough")
    else:
        client.send(octets("04"))
    client.session.dataReceived(CONNECT)
    assert server.dialer.targets == []


@pytest.mark.parametrize("sent", [(), (GREETING,), (b"?",), (GREETING, CONNECT)])
def test_session_leaves_no_deadline_behind(sent: tuple[bytes, ...]) -> None:
    server = Server()
    server.client(*sent).end()
    assert len(server.factory.deadlines) == 0


def test_connection_closes_in_time_after_a_failure() -> None:
    server = Server()
    client = failed_client(server)
    server.reactor.advance(1.99)
    client.send(b"more")
    assert client.is_connected
    server.reactor.advance(0.01)
    assert not client.is_connected
    assert client.sees == "end"


def test_connection_closes_at_once_after_a_failure_if_the_client_has_ended() -> None:
    server = Server()
    client = server.client(GREETING, CONNECT, b"a question")
    client.end()
    server.dialer.fail(ConnectionRefused())
    assert client.received() == NO_AUTHENTICATION + refusal(5)
    assert not client.is_connected
    assert client.sees == "end"


def test_tls_client_is_closed_after_a_failure() -> None:
    client = failed_client(Server(), kind=FakeTLSTransport)
    assert not client.is_connected
    assert client.sees == "end"


@pytest.mark.parametrize("kind", [FakeTransport, FakeTLSTransport])
def test_client_that_takes_nothing_is_reset_in_time(kind: type[FakeTransport]) -> None:
    server = Server()
    client = server.client(GREETING, CONNECT, kind=kind, window=0)
    server.dialer.fail(ConnectionRefused())
    server.reactor.advance(1.99)
    assert client.sees == ""
    server.reactor.advance(0.01)
    server.reactor.advance(2)
    assert client.sees == "reset"
    assert not client.is_connected
    assert list(server.factory.sessions) == []


def test_reset_after_a_failure_ends_the_wait() -> None:
    server = Server()
    client = failed_client(server)
    client.reset()
    assert list(server.factory.sessions) == []
    server.reactor.advance(10)
    assert [record.reply for record in server.records] == [5]


def test_failure_of_the_network_in_a_dialer_is_no_bug() -> None:
    server = Server()
    client = server.client(GREETING, CONNECT)
    server.dialer.fail(ConnectionLost())
    assert client.received() == NO_AUTHENTICATION + refusal(1)


# ---------------------------------------------------------------- clients that leave


def leave_orderly(client: sessions.Client) -> None:
    client.end()


def leave_with_a_reset(client: sessions.Client) -> None:
    client.reset()


LEAVING = pytest.mark.parametrize(
    ("leave", "reason"),
    [(leave_orderly, "client closed"), (leave_with_a_reset, "reset by client")],
)


@LEAVING
@pytest.mark.parametrize("sent", [GREETING, GREETING + CONNECT[:4]])
def test_client_may_leave_during_the_negotiation(
    leave: Callable[[sessions.Client], None], reason: str, sent: bytes
) -> None:
    server = Server()
    client = server.client(sent)
    leave(client)
    assert not client.is_connected
    assert [(record.command, record.reason) for record in server.records] == [(None, reason)]
    assert list(server.factory.sessions) == []


@LEAVING
def test_client_that_leaves_stops_its_command(
    leave: Callable[[sessions.Client], None], reason: str
) -> None:
    commands = Commands()
    server = Server(commands=commands)
    client = server.client(GREETING, CONNECT)
    leave(client)
    assert [command.stopped for command in commands.begun] == [[(reason, 0)]]
    assert not client.is_connected
    assert [record.reason for record in server.records] == [reason]
    assert (server.counters.open_connections, server.factory.limit.open) == (0, 0)


def test_tls_client_that_leaves_stops_its_command() -> None:
    commands = Commands()
    server = Server(commands=commands)
    client = server.client(GREETING, CONNECT, kind=FakeTLSTransport)
    client.end()
    assert [command.stopped for command in commands.begun] == [[("client closed", 0)]]
    assert list(server.factory.sessions) == []


def test_command_may_go_on_behind_the_clients_end() -> None:
    commands = Commands()
    server = Server(commands=commands)
    client = server.client(GREETING, CONNECT)
    commands.begun[0].goes_on = True
    client.end()
    assert client.is_connected
    assert commands.begun[0].stopped == []
    assert commands.begun[0].session.has_client_ended


@LEAVING
def test_client_that_leaves_cancels_its_check(
    leave: Callable[[sessions.Client], None], reason: str
) -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = server.client(PASSWORD_GREETING, LOGIN)
    leave(client)
    assert logins.cancelled == 1
    assert [record.reason for record in server.records] == [reason]
    assert not client.is_connected


def test_clients_end_behind_a_request_cancels_its_dial_after_the_check() -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    client.end()
    assert client.is_connected
    logins.accept()
    assert server.dialer.cancelled == server.dialer.targets
    assert not client.is_connected


def test_clients_end_behind_half_a_request_closes_after_the_check() -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT[:5])
    client.end()
    logins.accept()
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT
    assert not client.is_connected


def test_clients_end_behind_early_octets_is_passed_on_after_the_check() -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT, b"a question")
    client.end()
    logins.accept()
    target = server.dialer.succeed()
    server.reactor.turn()
    assert target.value() == b"a question"
    assert target.far_sees == "end"
    target.deliver(b"an answer")
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT + CONNECTED + b"an answer"


def test_clients_end_is_passed_on_to_a_target_that_is_there_at_once() -> None:
    class Immediate(FakeDialer):
        def dial(self, *arguments: Any, **keywords: Any) -> Any:
            dialling = super().dial(*arguments, **keywords)
            self.target = self.succeed()
            return dialling

    logins, reactor = Logins(), FakeReactor()
    server = Server(authenticator=logins, dialer=(dialer := Immediate(reactor)))
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT, b"a question")
    client.end()
    logins.accept()
    reactor.turn()
    assert (dialer.target.value(), dialer.target.far_sees) == (b"a question", "end")
    dialer.target.deliver(b"an answer")
    assert client.received().endswith(b"an answer")


def test_clients_end_behind_a_request_that_is_refused_closes() -> None:
    logins = Logins()
    server = Server(authenticator=logins, rules=Allow(lambda *_: False))
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    client.end()
    logins.accept()
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT + refusal(2)
    assert not client.is_connected


# ---------------------------------------------------------------- credentials


def test_right_login_goes_on_to_the_request() -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = server.client(PASSWORD_GREETING, LOGIN)
    assert client.received() == PASSWORD_CHOSEN
    logins.accept("somebody")
    assert client.received() == LOGIN_RIGHT
    client.send(CONNECT)
    server.dialer.succeed()
    assert client.received() == CONNECTED
    assert server.counters.refused_logins == 0


def test_rules_see_the_user() -> None:
    logins, rules = Logins(), Allow()
    server = Server(authenticator=logins, rules=rules)
    server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    logins.accept("somebody")
    assert [(access.user, given) for access, given in rules.asked] == [(User("somebody"), None)]


def test_rules_see_the_groups_and_settings_of_the_user() -> None:
    @implementer(ICredentialsChecker)
    class Checker:
        credentialInterfaces = (IUsernamePassword,)

        def requestAvatarId(self, credentials: Any) -> Known:
            return Known(credentials.username, frozenset({"staff"}), {"speed": "fast"})

    rules = Allow()
    server = Server(authenticator=PasswordAuthentication.over(Checker()), rules=rules)
    server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    [(access, _)] = rules.asked
    assert access.user == User("user", frozenset({"staff"}), {"speed": "fast"})


def test_wrong_login_is_told_and_closed() -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    logins.refuse()
    assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert client.sees == "end"
    assert server.dialer.targets == []
    assert server.counters.refused_logins == 1
    assert server.counters.unjudged_logins == 0
    assert server.counters.violations == 0
    client.end()
    assert [record.reason for record in server.records] == [
        "AuthenticationFailed: user name or password not accepted; name sent: 'user'"
    ]


def test_a_login_that_nobody_can_judge_is_refused_and_counted() -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    logins.refuse(LoginNotJudged("too many wait"))
    assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert server.counters.refused_logins == 1
    assert server.counters.unjudged_logins == 1
    client.end()
    assert [record.reason for record in server.records] == [
        "AuthenticationFailed: nobody could judge the login; name sent: 'user'"
    ]


@pytest.mark.parametrize(
    "login", [octets("01 00 00"), octets("01 01 75 00"), octets("01 00 01 70")]
)
def test_empty_login_is_asked_like_any_other(login: bytes) -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = server.client(PASSWORD_GREETING, login)
    assert len(logins.asked) == 1
    logins.refuse()
    assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG


def test_no_verdict_is_taken_after_the_end() -> None:
    class Late(Logins):
        def _cancel(self, verdict: Deferred[Any]) -> None:
            verdict.callback(User("user"))

    server = Server(authenticator=Late())
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    server.reactor.advance(10)
    assert client.received() == PASSWORD_CHOSEN
    assert server.dialer.targets == []


# ---------------------------------------------------------------- the command


def test_request_with_an_unknown_command_gets_reply_7() -> None:
    server = Server()
    client = server.client(GREETING, octets("05 09 00") + TARGET)
    assert client.received() == NO_AUTHENTICATION + refusal(7)
    assert client.sees == "end"
    assert server.counters.requests == {9: 1}
    assert server.counters.violations == 0
    (record,) = server.records
    assert record.command == "9"
    assert record.reason == "CommandNotSupported: this command is not served"


def test_command_that_nothing_serves_gets_reply_7() -> None:
    client = Server(commands=Commands()).client(GREETING, BIND + TARGET)
    assert client.received() == NO_AUTHENTICATION + refusal(7)


@pytest.mark.parametrize(("command", "name"), [(1, "connect"), (2, "bind"), (3, "udp")])
def test_only_the_commands_of_the_settings_are_served(command: int, name: str) -> None:
    begun: list[FakeCommand] = []

    def begin(session: ISession) -> ICommand:
        begun.append(FakeCommand(session))
        return begun[-1]

    server = Server(Settings(commands=frozenset({command})), commands=dict.fromkeys(Command, begin))
    for each in Command:
        client = server.client(GREETING, bytes((5, each, 0)) + TARGET)
        refused = b"" if each == command else refusal(7)
        assert client.received() == NO_AUTHENTICATION + refused
        client.end()
    assert [command.session.access.command for command in begun] == [command]
    assert [record.command for record in server.records if record.reply is None] == [name]


def test_rules_may_refuse_a_name_before_it_is_resolved() -> None:
    rules = Allow(lambda access, _: access.target.host != b"example.org")
    server = Server(rules=rules)
    name = octets("05 01 00 03 0b 6578616d706c652e6f7267 0050")
    client = server.client(GREETING, name)
    assert client.received() == NO_AUTHENTICATION + refusal(2)
    assert client.sees == "end"
    assert server.dialer.targets == []
    assert [record.reason for record in server.records] == ["NotAllowed: the rules forbid it"]
    target, listeners = Address(b"example.org", 80), server.factory.listeners
    access = Access("198.51.100.7", "203.0.113.1", None, 1, target, listeners)
    assert rules.asked == [(access, None)]


def test_command_sees_its_session() -> None:
    commands = Commands()
    server = Server(commands=commands)
    client = server.client(GREETING, CONNECT, b"early")
    session = commands.begun[0].session
    assert commands.begun[0].is_started
    assert session.control is session
    assert (session.client_host, session.near) == ("198.51.100.7", "203.0.113.1")
    assert session.access.target == Address("192.0.2.80", 80)
    assert session.pending_octets == 5
    assert not session.has_client_ended
    session.reply(ReplyCode.SUCCEEDED, Address("192.0.2.10", 40001))
    assert client.received() == NO_AUTHENTICATION + CONNECTED
    assert session.take_optimistic() == b"early"


def test_end_of_a_command_closes_in_order() -> None:
    commands = Commands()
    server = Server(commands=commands)
    client = server.client(GREETING, CONNECT)
    commands.begun[0].session.reply(ReplyCode.SUCCEEDED)
    commands.begun[0].session.end("idle")
    assert client.received() == NO_AUTHENTICATION + refusal(0)
    assert client.sees == "end"
    assert commands.begun[0].stopped == [("idle", 0)]
    assert [record.reason for record in server.records] == ["idle"]


# ---------------------------------------------------------------- bugs end one session


def relaying_client(server: Server) -> tuple[sessions.Client, FakeTransport]:
    client = server.client(GREETING, CONNECT)
    target = server.dialer.succeed()
    client.received()
    return client, target


def raise_bug(*_: object, **__: object) -> Any:
    raise RuntimeError("a bug")


class BuggyCommand(FakeCommand):
    start = raise_bug


@pytest.mark.parametrize(
    "parameters",
    [
        {"rules": Allow(lambda access, _: access.command == 1 or raise_bug())},
        {"commands": {2: BuggyCommand}},
        {"commands": {2: raise_bug}},
    ],
)
def test_bug_before_the_reply_is_logged_and_gets_reply_1(
    parameters: dict[str, Any], failures: Failures
) -> None:
    server = Server(**parameters)
    client = server.client(GREETING, BIND + TARGET)
    assert failures.take(RuntimeError) == ["a bug"]
    assert client.received() == NO_AUTHENTICATION + refusal(1)
    assert client.sees == "end"
    client.end()
    assert [record.reason for record in server.records] == ["internal error"]


@pytest.mark.parametrize("bug", ["rules", "dialer", "dialling"])
def test_bug_in_one_session_leaves_the_others_alone(bug: str, failures: Failures) -> None:
    is_buggy = False
    rules = Allow(lambda *_: not is_buggy or raise_bug())
    server = Server(rules=rules)
    client, target = relaying_client(server)
    if bug == "rules":
        is_buggy = True
    elif bug == "dialer":
        server.dialer.dial = raise_bug
    other = server.client(GREETING, CONNECT)
    if bug == "dialling":
        server.dialer.fail(RuntimeError("a bug"))
    assert failures.take(RuntimeError) == ["a bug"]
    assert other.received() == NO_AUTHENTICATION + refusal(1)
    client.send(b"up")
    target.deliver(b"down")
    assert (target.value(), client.received()) == (b"up", b"down")


def test_bug_after_the_reply_closes(failures: Failures) -> None:
    commands = Commands()
    server = Server(commands=commands)
    client = server.client(GREETING, CONNECT)
    commands.begun[0].session.reply(ReplyCode.SUCCEEDED)
    commands.begun[0].session.crashed(Failure(RuntimeError("a bug")))
    assert failures.take(RuntimeError) == ["a bug"]
    assert client.received() == NO_AUTHENTICATION + refusal(0)
    assert client.sees == "end"
    assert [record.reason for record in server.records] == ["internal error"]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ConnectionRefused()])
@pytest.mark.parametrize("bug", ["reply", "stop"])
def test_bug_in_the_end_of_a_session_leaves_nothing_open(
    bug: str, error: Exception, monkeypatch: pytest.MonkeyPatch, failures: Failures
) -> None:
    """A GSSAPI context that has expired wraps no reply, not even the one that says that something failed."""
    monkeypatch.setattr({"reply": ServerProtocol, "stop": FakeCommand}[bug], bug, raise_bug)
    commands = Commands()
    server = Server(commands=commands)
    client = server.client(GREETING, CONNECT)
    commands.begun[0].session.fail(Failure(error))
    assert set(failures.take(RuntimeError)) == {"a bug"}
    client.end()
    assert not client.is_connected
    assert list(server.factory.sessions) == []


def test_session_that_cannot_be_closed_keeps_no_other_from_its_end(failures: Failures) -> None:
    commands = Commands()
    server = Server(commands=commands)
    broken, slow, quick = (server.client(GREETING, CONNECT) for _ in range(3))
    commands.begun[0].stop = raise_bug
    broken.transport.abortConnection = raise_bug  # type: ignore[method-assign]
    slow.transport.loseConnection = lambda: None  # type: ignore[method-assign]
    server.factory.close_sessions("shutdown", 5)
    assert not quick.is_connected
    assert slow.is_connected
    server.reactor.advance(5)
    assert not slow.is_connected
    assert set(failures.take(RuntimeError)) == {"a bug"}


def test_bug_at_the_client_s_end_is_answered(failures: Failures) -> None:
    commands = Commands()
    server = Server(commands=commands)
    client = server.client(GREETING, CONNECT)
    commands.begun[0].client_ended = raise_bug
    client.end()
    assert failures.take(RuntimeError) == ["a bug"]
    assert client.received() == NO_AUTHENTICATION + refusal(1)
    assert [record.reason for record in server.records] == ["internal error"]


def test_bug_after_the_end_is_logged_only(failures: Failures) -> None:
    commands = Commands()
    server = Server(commands=commands)
    client = server.client(GREETING, CONNECT)
    client.end()
    commands.begun[0].session.fail(Failure(RuntimeError("a bug")))
    commands.begun[0].session.fail(Failure(OSError("what is expected")))
    assert failures.take(RuntimeError) == ["a bug"]
    assert client.received() == NO_AUTHENTICATION
    assert len(server.records) == 1


def refuse_by_raising(logins: Logins) -> None:
    logins.authenticate = raise_bug  # type: ignore[method-assign]


def refuse_by_failing(logins: Logins) -> None:
    def authenticate(*_: object) -> Deferred[Any]:
        failing: Deferred[Any] = Deferred()
        failing.errback(RuntimeError("a bug"))
        return failing

    logins.authenticate = authenticate  # type: ignore[method-assign]


@pytest.mark.parametrize("refuse", [refuse_by_raising, refuse_by_failing])
def test_bug_in_an_authenticator_is_logged_and_refuses(
    refuse: Callable[[Logins], None], failures: Failures
) -> None:
    logins = Logins()
    refuse(logins)
    server = Server(authenticator=logins)
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    assert refuse is refuse_by_failing or "test_server.py" in failures.logged[0].getTraceback()
    assert failures.take(CheckFailed) == [
        "RuntimeError; its message is left out, for it may hold a password"
    ]
    assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert client.sees == "end"
    assert server.dialer.targets == []


def test_check_that_its_authenticator_cancels_refuses(failures: Failures) -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = server.client(PASSWORD_GREETING, LOGIN)
    logins.refuse(CancelledError())
    assert len(failures.take(CheckFailed)) == 1
    assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG


def test_bug_behind_a_login_gets_reply_1(failures: Failures) -> None:
    logins = Logins()
    server = Server(authenticator=logins, rules=Allow(raise_bug))
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    logins.accept()
    assert failures.take(RuntimeError) == ["a bug"]
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT + refusal(1)


class NoBans:
    """Nobody is banned; ``failures`` holds whose logins have failed."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def is_banned(self, client: str) -> bool:
        return False

    def failed(self, client: str, is_judged: bool = True) -> float:
        self.failures.append(client)
        return 0.0

    def succeeded(self, client: str) -> None:
        """Nothing was remembered."""


class OwnMethod:
    """A login method of somebody's: *take* is what a login does with what the client sends."""

    number = 0x80
    refusal = "no"

    def __init__(self, take: Callable[[ILoginSession], None]) -> None:
        self._take = take

    def negotiate(self) -> PasswordSubnegotiation:
        return PasswordSubnegotiation()

    def login(self, session: ILoginSession) -> "OwnMethod":
        self._session = session
        return self

    def take(self, event: object) -> None:
        self._take(self._session)

    def cancel(self) -> None:
        """Nothing waits."""


@pytest.mark.parametrize(
    "take",
    [
        raise_bug,
        lambda session: session.crashed(Failure(RuntimeError("a bug"))),
        lambda session: session.needs_no_login(),
    ],
    ids=["raises", "says so", "lets everybody in"],
)
def test_bug_in_a_login_ends_it_and_is_not_the_client_s(
    take: Callable[[Any], None], failures: Failures
) -> None:
    bans = NoBans()
    server = Server(bans=bans, methods=[OwnMethod(take)])
    client = server.client(octets("05 01 80"), LOGIN, CONNECT)
    assert len(failures.take(RuntimeError) + failures.take(LookupError)) == 1
    assert client.received() == octets("05 80")
    assert [record.reason for record in server.records] == ["internal error"]
    assert not client.is_connected
    assert bans.failures == []


# ---------------------------------------------------------------- who the client is


def accesses(server: Server, **options: Any) -> Access:
    """What the rules are told of a client."""
    server.client(GREETING, CONNECT, **options)
    rules: Any = server.factory.policy.rules
    access: Access = rules.asked[-1][0]
    return access


def test_unix_client_is_local_and_has_no_address() -> None:
    commands = Commands()
    server = Server(rules=Allow(), commands=commands)
    access = accesses(server, peer=UNIXAddress(None), host=UNIXAddress("socks"))
    assert (access.client, access.server, access.is_local) == ("", "127.0.0.1", True)
    session = commands.begun[0].session
    assert (session.client_host, session.near) == ("127.0.0.1", "127.0.0.1")


def test_mapped_addresses_are_unmapped() -> None:
    commands = Commands()
    server = Server(rules=Allow(), commands=commands)
    access = accesses(server, peer=MAPPED_CLIENT, host=MAPPED_SERVER)
    assert (access.client, access.server) == ("198.51.100.7", "203.0.113.1")
    session = commands.begun[0].session
    assert (session.client_host, session.near) == ("198.51.100.7", "203.0.113.1")


def test_zone_stays_in_the_interface_only() -> None:
    commands = Commands()
    server = Server(rules=Allow(), commands=commands)
    client, host = address("fe80::7%eth0", 51234), address("fe80::1%eth0", 1080)
    access = accesses(server, peer=client, host=host)
    assert (access.client, access.server) == ("fe80::7", "fe80::1")
    assert commands.begun[0].session.near == "fe80::1%eth0"


def test_client_behind_a_balancer_is_the_one_that_its_header_names() -> None:
    server = Server(rules=Allow())
    client = server.client(peer=address("127.0.0.1", 40000))  # the balancer connects
    client.transport._peer = address("198.51.100.7", 51234)  # its header has come
    client.send(GREETING, CONNECT)
    assert server.dialer.askers[-1].client == "198.51.100.7"
    client.end()
    assert [record.client for record in server.records] == ["198.51.100.7:51234"]


def test_control_connection_sends_at_once_and_probes_a_silent_client() -> None:
    client = Server().client()
    assert client.transport.nodelay
    assert client.transport.keepalive


# ---------------------------------------------------------------- the access log and the counters


def test_record_says_who_did_what() -> None:
    logins, commands = Logins(), Commands()
    server = Server(authenticator=logins, commands=commands)
    server.reactor.advance(60)
    client = server.client(PASSWORD_GREETING, LOGIN)
    logins.accept("somebody")
    server.reactor.advance(1.5)
    client.send(CONNECT)
    commands.begun[0].session.reply(ReplyCode.SUCCEEDED, Address("192.0.2.10", 40001))
    server.reactor.advance(2)
    client.reset()
    assert server.records == [
        SessionInfo(
            session=1,
            client="198.51.100.7:51234",
            user="somebody",
            command="connect",
            target="192.0.2.80:80",
            bound="192.0.2.10:40001",
            reply=0,
            bytes_up=11,
            bytes_down=22,
            seconds=3.5,
            reason="reset by client",
            dropped=33,
            drops={"malformed": 33},
        )
    ]


def test_record_of_a_failure_says_why() -> None:
    server = Server()
    client = server.client(GREETING, CONNECT)
    server.dialer.fail(ConnectionRefused("nobody there"))
    client.end()
    (record,) = server.records
    assert (record.reply, record.bound) == (5, None)
    assert record.reason == "ConnectionRefused: nobody there"
    assert (record.bytes_up, record.bytes_down, record.dropped) == (0, 0, 0)


def test_record_of_a_refused_login_names_whom_the_client_claimed_to_be_and_no_user() -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    server.client(PASSWORD_GREETING, LOGIN)
    logins.refuse()
    (record,) = server.records
    assert (record.user, record.command, record.reply) == (None, None, None)
    assert record.reason.endswith("not accepted; name sent: 'user'")
    assert "secret" not in str(record)


@pytest.mark.parametrize("sent", [b"", GREETING[:2]])
@pytest.mark.parametrize("leave", [leave_orderly, leave_with_a_reset, None])
def test_client_that_leaves_before_its_greeting_is_no_session(
    sent: bytes, leave: Callable[[sessions.Client], None] | None
) -> None:
    server = Server()
    client = server.client(sent)
    if leave is None:
        server.reactor.advance(10)
    else:
        leave(client)
    assert not client.is_connected
    assert server.records == []


def test_sessions_are_numbered() -> None:
    server = Server()
    for _ in range(3):
        server.client(GREETING).end()
    assert [record.session for record in server.records] == [1, 2, 3]


def test_server_without_an_access_log_serves() -> None:
    server = Server(access_log=None)
    client, target = relaying_client(server)
    client.send(b"up")
    assert target.value() == b"up"
    client.end()
    target.deliver_end()
    assert not client.is_connected


def test_password_is_in_no_record_and_no_log(failures: Failures) -> None:
    logins = Logins()
    server = Server(authenticator=logins, rules=Allow(raise_bug))
    broken = RuntimeError("there is no user with the password 'secret'")
    for verdict in (logins.refuse, lambda: logins.refuse(broken), logins.accept):
        client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
        verdict()
        client.end()
    logged = [failure.getTraceback(detail="verbose") for failure in failures.logged]
    assert len(failures.take(RuntimeError)) == len(failures.take(CheckFailed)) == 1
    assert len(server.records) == 3
    assert not any("secret" in text for text in [*logged, *map(repr, server.records)])


def test_counters_count() -> None:
    server = Server(Settings(commands=frozenset({Command.CONNECT})))
    relaying_client(server)
    server.client()
    server.client(b"?").end()
    server.client(GREETING, BIND + TARGET).end()
    counters = server.counters
    assert (counters.connections, counters.open_connections) == (4, 2)
    assert counters.requests == {1: 1, 2: 1}
    assert counters.replies == {0: 1, 7: 1}
    assert (counters.violations, counters.refused_logins) == (1, 0)


# ---------------------------------------------------------------- all sessions


def test_sessions_may_be_ended_while_they_are_listed() -> None:
    server = Server()
    clients = [server.client(GREETING, CONNECT) for _ in range(3)]
    for session in server.factory.sessions:
        session.close("enough")
        server.reactor.turn()
    assert [client.sees for client in clients] == ["end"] * 3
    assert list(server.factory.sessions) == []
    assert [record.reason for record in server.records] == ["enough"] * 3
    assert server.dialer.cancelled == server.dialer.targets


def test_session_that_has_not_begun_can_be_listed() -> None:
    server = Server()
    server.client()
    (session,) = server.factory.sessions
    assert (session.access, session.client, session.info().command) == (NOBODY, "", None)


def test_session_limit_turns_clients_away_until_there_is_room() -> None:
    server = Server(capacity=Capacity(max_sessions=2))
    first, _ = server.client(GREETING, CONNECT), server.client()
    assert server.factory.buildProtocol(CLIENT) is None
    assert server.counters.connections == 2
    first.end()
    assert IProtocol.providedBy(server.factory.buildProtocol(CLIENT))


def test_a_session_that_cannot_be_built_does_not_count() -> None:
    server = Server(capacity=Capacity(max_sessions=1))
    with pytest.raises(AttributeError):
        server.factory.buildProtocol(CLIENT, object())  # type: ignore[arg-type]
    assert server.counters.connections == server.counters.open_connections == 0
    assert server.factory.buildProtocol(CLIENT) is not None


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


def test_session_counts_until_its_connection_is_gone() -> None:
    server = Server(capacity=Capacity(max_sessions=1))
    client = server.client(GREETING, CONNECT)
    server.dialer.fail(ConnectionRefused())
    assert server.factory.buildProtocol(CLIENT) is None
    assert server.counters.open_connections == 1
    client.end()
    assert server.counters.open_connections == 0
    assert server.factory.buildProtocol(CLIENT) is not None


def closing(server: Server, grace: float = 5) -> list[None]:
    """Close every session; the list has an item when all are gone."""
    done: list[None] = []
    server.factory.close_sessions("shutdown", grace).addCallback(done.append)
    return done


def test_closing_without_sessions_is_done_at_once() -> None:
    server = Server()
    assert closing(server) == [None]
    assert server.reactor.getDelayedCalls() == []


def test_closing_sends_what_is_written() -> None:
    server = Server()
    client, target = relaying_client(server)
    idle, asked = server.client(), server.client(GREETING, CONNECT)
    target.deliver(b"last words")
    done = closing(server)
    assert client.received() == b"last words"
    assert [each.sees for each in (client, idle, asked)] == ["end"] * 3
    assert target.far_sees == "end"
    assert done == [None]
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


def test_closing_twice_is_done_once_for_both() -> None:
    server = Server()
    server.client(GREETING, CONNECT)
    first, second = closing(server), closing(server)
    assert first == second == []
    server.reactor.turn()
    assert first == second == [None]


# ---------------------------------------------------------------- embedding


def test_factory_makes_do_with_a_reactor() -> None:
    factory = ServerFactory(FakeReactor())
    assert list(factory.in_force.methods) == [Method.NO_AUTHENTICATION]
    assert isinstance(factory.in_force.rules, Rules)
    assert isinstance(factory.resolver, Resolver)
    assert isinstance(factory.in_force.dialer, DirectDialer)
    assert factory.settings == Settings()
    assert factory.access_log is None


def test_factorys_own_dialer_uses_the_resolver_that_it_is_given() -> None:
    reactor = FakeReactor()
    resolver = FakeResolver({b"example.org": ["192.0.2.80"]})
    factory = ServerFactory(reactor, resolver=resolver)
    dialling = begin_dial(factory.in_force.dialer, Address(b"example.org", 80), connect_timeout=7)
    dialling.addErrback(lambda _: None)
    assert resolver.asked == [b"example.org"]
    assert [client[0] for client in reactor.tcpClients] == ["192.0.2.80"]
    reactor.advance(7)
    assert [connector.state for connector in reactor.connectors] == ["disconnected"]


def test_factory_takes_an_authenticator_over_cred() -> None:
    checker = InMemoryUsernamePasswordDatabaseDontUse(user=b"secret")
    server = Server(authenticator=PasswordAuthentication.over(checker))
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    server.dialer.succeed()
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT + CONNECTED


def test_connection_error_without_a_code_of_its_own_gets_reply_1() -> None:
    server = Server()
    client = server.client(GREETING, CONNECT)
    server.dialer.fail(ConnectError())
    assert client.received() == NO_AUTHENTICATION + refusal(1)


def test_how_long_a_session_was_or_a_dial_is_does_not_depend_on_the_time_of_day() -> None:
    factory = ServerFactory(TimeOfDay())
    assert factory.now is time.monotonic
    dialer: Any = factory.in_force.dialer
    assert dialer.now is time.monotonic


# ---------------------------------------------------------------- clients of one address


def test_a_session_takes_its_addresss_turn_until_it_has_asked() -> None:
    server = Server(capacity=Capacity(handshakes_per_client=1))
    crowds, host = server.factory.crowds, "198.51.100.7"
    asking = server.client(GREETING)
    assert not crowds.is_free(host)
    asking.send(CONNECT)
    assert crowds.is_free(host)
    silent = server.client()
    assert not crowds.is_free(host)
    silent.reset()
    assert crowds.is_free(host)


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
    client = late_request(busy)
    assert busy.counters.requests[Command.CONNECT] == 1
    busy.reactor.turn()
    assert busy.counters.requests[Command.CONNECT] == 2
    busy.dialer.succeed()
    assert client.received() == NO_AUTHENTICATION + CONNECTED


def test_what_comes_behind_a_request_that_waits_is_bounded(busy: Server) -> None:
    client = late_request(busy, b"1234", b"56789", b"behind")
    assert not client.transport.is_reading
    busy.reactor.turn()
    target = busy.dialer.succeed()
    busy.reactor.turn()
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


def test_a_request_that_waits_has_no_deadline(busy: Server) -> None:
    late_request(busy)
    assert len(busy.factory.deadlines) == 0


def test_a_request_that_has_waited_and_cannot_be_served_ends_its_session_alone(
    busy: Server, failures: Failures
) -> None:
    def crash(session: ISession) -> ICommand:
        raise ZeroDivisionError("a bug")

    busy.factory.commands = {Command.CONNECT: crash}
    client = late_request(busy)
    assert client.received() == NO_AUTHENTICATION + refusal(ReplyCode.GENERAL_FAILURE)
    assert failures.take(ZeroDivisionError) == ["a bug"]
