"""A session in memory: what its command sees, and its one end, whatever leads to it; with its record."""

from typing import Any

import pytest
from twisted.python.failure import Failure

from socks5 import Settings
from socks5.access import ALLOWED, SessionInfo, Verdict
from socks5.protocol.address import Address
from socks5.protocol.errors import ConnectionRefused
from socks5.protocol.messages import Command, ReplyCode
from socks5.server.handshake import ServerProtocol
from socks5.settings import COMMAND_NAMES
from tests.support.failures import Failures
from tests.support.providers import Allow, Begun, FakeCommand, Logins
from tests.support.sessions import (
    BIND,
    CONNECT,
    GREETING,
    LOGIN,
    NO_AUTHENTICATION,
    PASSWORD_GREETING,
    TARGET,
    Client,
    Server,
    commanded,
    octets,
    refusal,
)
from tests.support.transports import FakeTLSTransport, FakeTransport


def raise_bug(*_: object, **__: object) -> Any:
    raise RuntimeError("a bug")


# ---------------------------------------------------------------- its command


@pytest.mark.parametrize(("command", "name"), COMMAND_NAMES.items())
def test_only_the_commands_of_the_settings_are_served(command: int, name: str) -> None:
    begun: list[FakeCommand] = []

    def begin(session: Any) -> FakeCommand:
        begun.append(FakeCommand(session))
        return begun[-1]

    server = Server(Settings(commands=frozenset({command})), commands=dict.fromkeys(Command, begin))
    for each in (*Command, 9):
        client = server.client(GREETING, bytes((5, each, 0)) + TARGET)
        refused = b"" if each == command else refusal(7)
        assert client.received() == NO_AUTHENTICATION + refused
        assert client.sees == ("end" if refused else "")
        client.end()
    assert [command.session.access.command for command in begun] == [command]
    assert [record.command for record in server.records if record.reply is None] == [name]
    unknown = server.records[-1]
    assert (unknown.session, unknown.command, unknown.reply) == (6, "9", 7)
    assert unknown.detail == "CommandNotSupported: this command is not served"
    assert server.counters.requests == dict.fromkeys((*Command, 9), 1)
    assert (server.counters.replies, server.counters.violations) == ({7: 5}, 0)


def test_command_that_nothing_serves_gets_reply_7() -> None:
    commands = Begun(Command.CONNECT, FakeCommand)
    client = Server(commands=commands).client(GREETING, BIND + TARGET)
    assert client.received() == NO_AUTHENTICATION + refusal(7)


def test_command_sees_its_session_and_ends_it_in_order() -> None:
    server, client, command = commanded(b"early")
    session = command.session
    assert command.is_started
    assert session.control is session
    assert (session.client_host, session.near) == ("198.51.100.7", "203.0.113.1")
    assert session.access.target == Address("192.0.2.80", 80)
    assert (session.pending_octets, session.has_client_ended) == (5, False)
    session.reply(ReplyCode.SUCCEEDED, Address("192.0.2.10", 40001))
    assert client.received() == NO_AUTHENTICATION + octets("05 00 00 01 c000020a 9c41")
    assert session.take_optimistic() == b"early"
    session.end("idle")
    assert (client.sees, command.stopped) == ("end", [("idle", 0)])
    assert [record.reason for record in server.records] == ["idle"]


def test_a_target_that_no_named_rule_allows_has_no_rule_though_one_has_refused_another() -> None:
    reached, refused = Address("192.0.2.80", 80), "192.0.2.81"
    no = Verdict(False, "no")
    commands = Begun(Command.CONNECT, FakeCommand)
    server = Server(
        rules=Allow(lambda _, host: no if host == refused else ALLOWED), commands=commands
    )
    client = server.client(GREETING, CONNECT)
    [command] = commands.begun
    command.far = reached
    for host in (reached.text, refused):
        command.session.judge(host)
    command.session.reply(ReplyCode.SUCCEEDED, reached)
    client.end()
    assert [record.rule for record in server.records] == [None]


@pytest.mark.parametrize(
    ("leave", "reason"), [(Client.end, "client closed"), (Client.reset, "reset by client")]
)
@pytest.mark.parametrize("kind", [FakeTransport, FakeTLSTransport])
def test_client_that_leaves_stops_its_command(leave: Any, reason: str, kind: Any) -> None:
    server, client, command = commanded(kind=kind)
    leave(client)
    assert command.stopped == [(reason, 0)]
    assert not client.is_connected
    assert [record.reason for record in server.records] == [reason]
    assert (server.counters.open_connections, server.factory.limit.open) == (0, 0)
    assert (list(server.factory.sessions), len(server.factory.deadlines)) == ([], 0)


# ---------------------------------------------------------------- failure, and the close after it


@pytest.mark.parametrize("how", ["ends", "resets", "stays"])
def test_a_failure_is_a_full_reply_and_our_end_and_then_the_client_has_two_seconds(
    how: str,
) -> None:
    server = Server(Settings(max_optimistic=8))
    client = server.client(GREETING + CONNECT + b"123456789")
    assert not client.transport.is_reading
    server.dialer.fail(ConnectionRefused("nobody there"))
    assert client.received() == NO_AUTHENTICATION + refusal(5)
    assert client.sees == "end"
    server.reactor.advance(1.99)
    client.send(b"more than that")  # gives no more time
    assert (client.is_connected, client.transport.is_reading) == (True, True)
    if how == "stays":
        server.reactor.advance(0.01)
    else:
        {"ends": client.end, "resets": client.reset}[how]()
    assert not client.is_connected
    assert client.received() == b""
    assert list(server.factory.sessions) == []
    [record] = server.records
    assert (record.reply, record.bound) == (5, None)
    assert record.detail == "ConnectionRefused: nobody there"
    assert (record.bytes_up, record.bytes_down, record.dropped) == (0, 0, 0)


@pytest.mark.parametrize("is_tls", [False, True])
def test_connection_closes_at_once_after_a_failure_if_nobody_can_send_any_more(
    is_tls: bool,
) -> None:
    """The client has ended, or TLS has no end of one side."""
    server = Server()
    kind = FakeTLSTransport if is_tls else FakeTransport
    client = server.client(GREETING, CONNECT, b"a question", kind=kind)
    if not is_tls:
        client.end()
    server.dialer.fail(ConnectionRefused())
    assert client.received() == NO_AUTHENTICATION + refusal(5)
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


# ---------------------------------------------------------------- bugs end one session


class BuggyCommand(FakeCommand):
    start = raise_bug


@pytest.mark.parametrize("bug", ["rules", "dialer", "dialling", "command", "its start"])
@pytest.mark.parametrize("has_login", [False, True])
def test_bug_in_one_session_is_answered_and_leaves_the_others_alone(
    bug: str, has_login: bool, failures: Failures
) -> None:
    logins = Logins()
    rules = Allow(lambda access, _: access.command == 1 or raise_bug())
    server = Server(rules=rules, authenticator=logins if has_login else None)

    def ask(request: bytes) -> Client:
        client = server.client(*((PASSWORD_GREETING, LOGIN) if has_login else (GREETING,)))
        if has_login:
            logins.accept()
        client.received()
        client.send(request)
        return client

    client = ask(CONNECT)
    target = server.dialer.succeed()
    client.received()
    if bug == "dialer":
        server.dialer.dial = raise_bug
    elif bug in ("command", "its start"):
        server.factory.commands = {1: raise_bug if bug == "command" else BuggyCommand}
    other = ask(BIND + TARGET if bug == "rules" else CONNECT)
    if bug == "dialling":
        server.dialer.fail(RuntimeError("a bug"))
    assert failures.take(RuntimeError) == ["a bug"]
    assert other.received() == refusal(1)
    assert other.sees == "end"
    other.end()
    assert [record.reason for record in server.records] == ["internal error"]
    client.send(b"up")
    target.deliver(b"down")
    assert (target.value(), client.received()) == (b"up", b"down")


def test_bug_after_the_reply_closes(failures: Failures) -> None:
    server, client, command = commanded()
    command.session.reply(ReplyCode.SUCCEEDED)
    command.session.crashed(Failure(RuntimeError("a bug")))
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
    server, client, command = commanded()
    command.session.fail(Failure(error))
    assert set(failures.take(RuntimeError)) == {"a bug"}
    client.end()
    assert not client.is_connected
    assert list(server.factory.sessions) == []


def test_bug_at_the_client_s_end_is_answered(failures: Failures) -> None:
    server, client, command = commanded()
    command.client_ended = raise_bug
    client.end()
    assert failures.take(RuntimeError) == ["a bug"]
    assert client.received() == NO_AUTHENTICATION + refusal(1)
    assert [record.reason for record in server.records] == ["internal error"]


def test_bug_after_the_end_is_logged_only(failures: Failures) -> None:
    server, client, command = commanded()
    client.end()
    command.session.fail(Failure(RuntimeError("a bug")))
    command.session.fail(Failure(OSError("what is expected")))
    assert failures.take(RuntimeError) == ["a bug"]
    assert client.received() == NO_AUTHENTICATION
    assert len(server.records) == 1


# ---------------------------------------------------------------- the record


def test_record_says_who_did_what() -> None:
    logins, commands = Logins(), Begun(Command.CONNECT, FakeCommand)
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
