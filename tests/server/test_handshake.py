"""A client before its command, in memory: greeting and request, their time, and octets and ends that come early."""

from typing import Any

import pytest
from twisted.internet.address import UNIXAddress

from socks5 import Settings
from socks5.access import Access
from socks5.protocol.address import Address
from socks5.protocol.messages import Command, Credentials
from tests.support.negotiations import Cut, glued, octet_by_octet
from tests.support.providers import Allow, Begun, FakeCommand, Logins
from tests.support.sessions import (
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
from tests.support.transports import CLIENT, SERVER, FakeTLSTransport, FakeTransport, address

# ---------------------------------------------------------------- the negotiation


@pytest.mark.parametrize("has_login", [False, True])
@pytest.mark.parametrize("cut", [glued, octet_by_octet])
def test_segments_make_no_difference(cut: Cut, has_login: bool) -> None:
    logins = Logins()
    server = Server(authenticator=logins if has_login else None)
    hello = PASSWORD_GREETING + LOGIN if has_login else GREETING
    client = server.client(*cut(hello + CONNECT + b"first octets"))
    if has_login:
        assert client.received() == PASSWORD_CHOSEN
        assert logins.asked == [(Credentials(b"user", b"secret"), CLIENT.host)]
        logins.accept()
    assert client.received() == (LOGIN_RIGHT if has_login else NO_AUTHENTICATION)
    assert server.dialer.targets == [Address("192.0.2.80", 80)]
    assert [access.client for access in server.dialer.askers] == [CLIENT.host]
    target = server.dialer.succeed()
    assert client.received() == CONNECTED
    assert target.value() == b"first octets"
    assert server.counters.refused_logins == 0


def test_client_without_an_acceptable_method_is_told_so() -> None:
    server = Server(authenticator=Logins())
    client = server.client(GREETING)
    assert client.received() == octets("05 ff")
    assert client.sees == "end"
    assert [record.detail[:18] for record in server.records] == ["NoAcceptableMethod"]


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
    first: bytes, kind: str, told: bytes
) -> None:
    server = Server()
    client = server.client(first)
    received = client.received()
    assert told in received
    assert bool(told) == bool(received)
    assert client.sees == "end"
    client.end()
    assert server.records == []
    assert server.counters.turned_away == {f"no SOCKS5: {kind}": 1}
    assert (server.counters.violations, len(server.factory.deadlines)) == (1, 0)


@pytest.mark.parametrize(
    ("request_octets", "code"),
    [
        (octets("05 01 00 02"), 8),  # ATYP
        (octets("05 01 00 03 03 610062 0050"), 4),  # a zero octet in a name
        (octets("04 01 00") + TARGET, 1),  # VER
    ],
)
def test_malformed_requests_have_their_reply(request_octets: bytes, code: int) -> None:
    server = Server()
    client = server.client(GREETING, request_octets)
    assert client.received() == NO_AUTHENTICATION + refusal(code)
    assert client.sees == "end"
    assert (server.counters.violations, server.counters.replies) == (1, {code: 1})
    client.end()
    assert [record.reply for record in server.records] == [code]


@pytest.mark.parametrize(
    ("peer", "host", "near"),
    [
        (CLIENT, SERVER, "203.0.113.1"),
        (address(f"::ffff:{CLIENT.host}", 1), address(f"::ffff:{SERVER.host}", 2), "203.0.113.1"),
        (address("fe80::7%eth0", 1), address("fe80::1%eth0", 2), "fe80::1%eth0"),
        (UNIXAddress(None), UNIXAddress("socks"), "127.0.0.1"),
    ],
    ids=["IPv4", "mapped", "with a zone, which stays in the interface", "UNIX"],
)
def test_rules_and_commands_are_told_who_the_client_is(
    peer: object, host: object, near: str
) -> None:
    commands, rules = Begun(Command.CONNECT, FakeCommand), Allow()
    server = Server(rules=rules, commands=commands)
    server.client(GREETING, CONNECT, peer=peer, host=host)
    is_unix = peer == UNIXAddress(None)
    client = "fe80::7" if "%" in near else CLIENT.host
    [(access, _)] = rules.asked
    assert (access.client, access.server) == ("" if is_unix else client, near.removesuffix("%eth0"))
    assert access.is_local is is_unix
    session = commands.begun[0].session
    assert (session.client_host, session.near) == (near if is_unix else client, near)


def test_rules_may_refuse_a_name_before_it_is_resolved() -> None:
    rules = Allow(lambda access, _: access.target.host != b"example.org")
    server = Server(rules=rules)
    client = server.client(GREETING, octets("05 01 00 03 0b 6578616d706c652e6f7267 0050"))
    assert client.received() == NO_AUTHENTICATION + refusal(2)
    assert (client.sees, server.dialer.targets) == ("end", [])
    assert [record.detail for record in server.records] == ["NotAllowed: the rules forbid it"]
    target, listeners = Address(b"example.org", 80), server.factory.listeners
    assert rules.asked == [(Access(CLIENT.host, SERVER.host, None, 1, target, listeners), None)]


# ---------------------------------------------------------------- its time


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [GREETING[:1]],
        [PASSWORD_GREETING],
        octet_by_octet(PASSWORD_GREETING + LOGIN)[:9],  # a trickle
        [PASSWORD_GREETING, LOGIN],  # and the check never ends
    ],
)
def test_handshake_ends_after_ten_seconds(sent: list[bytes]) -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = server.client()
    for piece in sent:
        client.send(piece)
        server.reactor.advance(1)
    server.reactor.advance(9.99 - len(sent))
    assert client.sees == ""
    server.reactor.advance(0.01)
    assert client.sees == "end"
    assert not client.is_connected
    assert logins.cancelled == (LOGIN in sent)
    reasons = ["handshake timed out"] if len(b"".join(sent)) >= len(PASSWORD_GREETING) else []
    assert [record.reason for record in server.records] == reasons
    assert list(server.factory.sessions) == []


@pytest.mark.parametrize("has_login", [False, True])
@pytest.mark.parametrize("sent", [b"", CONNECT[:5]])
def test_a_client_that_may_ask_has_two_minutes_more(has_login: bool, sent: bytes) -> None:
    """Some clients keep such connections in stock. An octet of the request gives no more time."""
    logins = Logins()
    server = Server(authenticator=logins if has_login else None)
    client = server.client(*((PASSWORD_GREETING, LOGIN) if has_login else (GREETING,)))
    if has_login:
        server.reactor.advance(9)
        logins.accept()
    server.reactor.advance(60)
    client.send(*octet_by_octet(sent))
    server.reactor.advance(59.99)
    assert client.sees == ""
    server.reactor.advance(0.01)
    assert client.sees == "end"
    assert [record.reason for record in server.records] == ["no request in time"]


def test_a_client_that_has_asked_has_no_deadline() -> None:
    server = Server()
    client = server.client()
    server.reactor.advance(9)
    client.send(GREETING)
    server.reactor.advance(60)
    client.send(CONNECT)
    server.reactor.advance(150)
    assert client.sees == ""
    server.dialer.succeed()
    assert client.received() == NO_AUTHENTICATION + CONNECTED
    server.reactor.advance(120)
    assert client.is_connected


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
    client.send(b"no longer", b"early")
    assert target.value() == b"123456789behindno longerearly"
    assert client.transport.is_reading


@pytest.mark.parametrize("too_many", [False, True])
def test_reading_pauses_during_a_check_and_resumes_unless_too_many_octets_wait(
    too_many: bool,
) -> None:
    logins, early = Logins(), b"0123456789" + b"!" * too_many
    server = Server(Settings(max_optimistic=10), authenticator=logins)
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    assert client.transport.is_reading  # a request of ten octets is exactly the bound
    client.send(early)
    assert not client.transport.is_reading
    logins.accept()
    assert client.transport.is_reading is not too_many
    target = server.dialer.succeed()
    server.reactor.turn()
    assert client.transport.is_reading
    assert target.value() == early


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


# ---------------------------------------------------------------- clients that leave


@pytest.mark.parametrize(
    ("leave", "reason"), [(Client.end, "client closed"), (Client.reset, "reset by client")]
)
@pytest.mark.parametrize("kind", [FakeTransport, FakeTLSTransport])
@pytest.mark.parametrize("sent", [b"", GREETING[:2], GREETING, GREETING + CONNECT[:4]])
def test_who_leaves_before_a_request_has_asked_nothing_and_before_a_greeting_is_no_session(
    leave: Any, reason: str, sent: bytes, kind: type[FakeTransport]
) -> None:
    server = Server()
    client = server.client(sent, kind=kind)
    leave(client)
    assert not client.is_connected
    is_session = sent.startswith(GREETING)
    expected = [(None, reason)] if is_session else []
    assert [(record.command, record.reason) for record in server.records] == expected
    assert (list(server.factory.sessions), len(server.factory.deadlines)) == ([], 0)


@pytest.mark.parametrize(
    ("behind", "told"), [(CONNECT[:5], b""), (CONNECT, b""), (CONNECT, refusal(2))]
)
def test_an_end_behind_octets_waits_for_the_check_and_leads_nowhere(
    behind: bytes, told: bytes
) -> None:
    logins = Logins()
    server = Server(authenticator=logins, rules=Allow(lambda *_: not told))
    client = server.client(PASSWORD_GREETING, LOGIN, behind)
    client.end()
    assert client.is_connected
    logins.accept()
    assert server.dialer.cancelled == server.dialer.targets
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT + told
    assert not client.is_connected


@pytest.mark.parametrize("is_there_at_once", [False, True])
def test_an_end_behind_early_octets_is_passed_on_after_the_check(is_there_at_once: bool) -> None:
    logins, targets = Logins(), []
    server = Server(authenticator=logins)
    dial = server.dialer.dial

    def dial_and_succeed(*arguments: object, **circumstances: object) -> object:
        dialling = dial(*arguments, **circumstances)
        targets.append(server.dialer.succeed())
        return dialling

    if is_there_at_once:
        server.dialer.dial = dial_and_succeed
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT, b"a question")
    client.end()
    logins.accept()
    [target] = targets or [server.dialer.succeed()]
    server.reactor.turn()
    assert (target.value(), target.far_sees) == (b"a question", "end")
    target.deliver(b"an answer")
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT + CONNECTED + b"an answer"
