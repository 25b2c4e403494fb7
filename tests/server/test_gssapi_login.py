"""Sessions that log in by a security context, in memory: what a client sees at every level, and what bad input does.

The mechanism is :mod:`tests.support.contexts`'; the real one is tried in tests/interop/.
"""

from collections.abc import Callable
from itertools import repeat
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from socks5 import ListenerPolicy, Settings
from socks5.auth import CheckFailed, LoginNotJudged, User
from socks5.interfaces import ISession
from socks5.logins import Step
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from socks5.protocol.gssapi import ABORT, MAX_TOKENS, Message, Protection
from socks5.protocol.messages import Method, Request
from socks5.relay.transports import TransportSide
from socks5.streams import IStream
from tests.support.contexts import SECRET, ContextClient, FakeAcceptor, FakeContext, FakeInitiator
from tests.support.failures import Failures
from tests.support.providers import Allow, Logins
from tests.support.sessions import (
    CONNECT,
    CONNECTED,
    LOGIN,
    LOGIN_RIGHT,
    PASSWORD_CHOSEN,
    TARGET,
    Client,
    Server,
    octets,
    refusal,
)
from tests.support.transports import FakeTLSTransport, FakeTransport, address

N, I, C = Protection.NONE, Protection.INTEGRITY, Protection.CONFIDENTIALITY  # noqa: E741
ALL = (N, I, C)
GREETING = octets("05 01 01")
CHOSEN = octets("05 01")
TO_TARGET = Request(1, Address("192.0.2.80", 80))
UNBANNED = Settings(ban_after=0)


def token(data: bytes, kind: int = 1) -> bytes:
    return Message(kind, data).encode()


TICKET = token(b"alice\0" + SECRET)


class Connected:
    """A client of RFC 1961 and its connection.

    :param size: how many octets the client sends at a time.
    """

    def __init__(
        self,
        server: Server,
        level: Protection = I,
        is_bare: bool = False,
        request: Request = TO_TARGET,
        size: int = 1 << 20,
        initiator: FakeInitiator | None = None,
        **options: Any,
    ) -> None:
        self._size = size
        self.side = ContextClient(request, initiator or FakeInitiator(), level, is_bare)
        self.wire: Client = server.client(**options)
        self.pump()

    def pump(self) -> None:
        """Send and receive until there is nothing more of both."""
        size = self._size
        is_quiet = False
        while not is_quiet:
            data = self.side.take_output()
            self.wire.send(*(data[at : at + size] for at in range(0, len(data), size)))
            received = self.wire.received()
            self.side.receive(received)
            is_quiet = not (data or received)

    def send(self, data: bytes) -> None:
        """Send octets to the target."""
        self.side.send(data)
        self.pump()

    @property
    def bound(self) -> Address | None:
        self.pump()
        return self.side.bound if self.side.replies else None


def connected(server: Server, level: Protection = I, **options: Any) -> tuple[Connected, Any]:
    """A client with an established connection, and the target's transport."""
    client = Connected(server, level, **options)
    target = server.dialer.succeed()
    assert client.bound == Address("192.0.2.10", 40001)
    return client, target


@pytest.fixture
def acceptor() -> FakeAcceptor:
    return FakeAcceptor(ALL)


@pytest.fixture
def server(acceptor: FakeAcceptor) -> Server:
    return Server(gssapi=acceptor)


# ---------------------------------------------------------------- the way through


@pytest.mark.parametrize("size", [1 << 20, 1, 7], ids=["glued", "octet by octet", "by sevens"])
@pytest.mark.parametrize("is_bare", [False, True], ids=["wrapped", "bare"])
@pytest.mark.parametrize(("level", "agreed"), [(N, N), (I, I), (C, C), (Protection.SELECTIVE, C)])
def test_a_connect_at_every_level(
    level: Protection, agreed: Protection, is_bare: bool, size: int, server: Server
) -> None:
    client, target = connected(server, level, is_bare=is_bare, size=size)
    assert client.side.agreed is agreed
    client.send(b"hello")
    assert target.value() == b"hello"
    target.deliver(b"banner")
    client.pump()
    assert client.side.received == b"banner"
    client.wire.end()
    target.deliver(b" and more")
    client.pump()
    assert client.side.received == b"banner and more"
    target.deliver_end()
    assert client.wire.sees == "end"
    [record] = server.records
    assert (record.user, record.command, record.reply) == ("alice", "connect", 0)
    assert (record.bytes_up, record.bytes_down) == (5, 15)
    assert server.counters.refused_logins == server.counters.violations == 0


def test_nothing_is_readable_on_the_way(server: Server) -> None:
    client, target = connected(server, C)
    client.side.send(b"secretly")
    sent = client.side.take_output()
    client.wire.send(sent)
    target.deliver(b"an answer")
    received = client.wire.received()
    assert target.value() == b"secretly"
    assert b"secretly" not in sent
    assert b"an answer" not in received
    client.side.receive(received)
    assert client.side.received == b"an answer"


@pytest.mark.parametrize("level", ALL)
def test_optimistic_octets_reach_the_target_first(level: Protection, server: Server) -> None:
    """They came behind the request, in tokens of their own."""
    client = Connected(server, level)
    client.send(b"at once, ")
    target = server.dialer.succeed()
    client.pump()
    client.send(b"and later")
    assert target.value() == b"at once, and later"


@pytest.mark.parametrize("level", ALL)
def test_a_failure_reply_is_protected_too(level: Protection, server: Server) -> None:
    client = Connected(server, level)
    server.dialer.fail(OSError())
    client.pump()
    assert str(client.side.error) == "GeneralFailure (REP 1)"
    assert client.wire.sees == "end"


def test_a_bind_has_two_protected_replies(server: Server) -> None:
    client = Connected(server, C, request=Request(2, Address("192.0.2.80", 0)))
    [port] = server.reactor.tcp_ports
    peer = port.connect(address("192.0.2.80", 5000))
    client.pump()
    assert [reply.address.port for reply in client.side.replies] == [port.getHost().port, 5000]
    peer.deliver(b"hello")
    client.pump()
    assert client.side.received == b"hello"


def test_a_long_answer_takes_several_messages(acceptor: FakeAcceptor, server: Server) -> None:
    acceptor.limit = 1000
    client, target = connected(server, C)
    target.deliver(bytes(range(256)) * 100)
    client.pump()
    assert client.side.received == bytes(range(256)) * 100


@pytest.mark.parametrize("legs", [2, 3, MAX_TOKENS])
def test_a_context_may_need_several_tokens(legs: int) -> None:
    acceptor = FakeAcceptor(legs=legs)
    client, _ = connected(Server(gssapi=acceptor))
    assert [len(each.tokens) for each in acceptor.accepted] == [legs]
    assert client.side.agreed is I


def test_the_last_token_may_be_empty(acceptor: FakeAcceptor, server: Server) -> None:
    """Then a message without one says that the context is complete (RFC 1961 section 3.6)."""
    acceptor.says_more = False
    client = server.client(GREETING, TICKET)
    assert client.received() == CHOSEN + octets("01 01 0000")


def test_a_token_is_judged_while_others_go_on(acceptor: FakeAcceptor, server: Server) -> None:
    acceptor.is_slow = True
    client = Connected(server)
    assert client.side.agreed is None
    acceptor.waiting.callback(None)
    client.pump()
    assert client.side.agreed is I


# ---------------------------------------------------------------- the relay behind it


def test_without_protection_the_transport_stays(server: Server) -> None:
    """So that the lean path does."""
    client, _ = connected(server, N)
    assert client.wire.session.transport is client.wire.transport
    assert client.wire.session.protection is None


def test_a_slow_target_pauses_the_client(server: Server) -> None:
    client, target = connected(server)
    target.window = 0
    client.send(bytes(70_000))
    assert not client.wire.transport.is_reading
    held = client.wire.transport
    client.send(b"more")
    assert target.unsent == 70_000
    target.accept()
    server.reactor.turn()
    assert held.is_reading
    assert target.value() == bytes(70_000) + b"more"


def test_a_slow_client_pauses_the_target(server: Server) -> None:
    client, target = connected(server)
    client.wire.transport.window = 0
    target.deliver(bytes(70_000))
    assert not target.is_reading
    client.wire.transport.accept()
    server.reactor.turn()
    assert target.is_reading
    client.pump()
    assert client.side.received == bytes(70_000)


@pytest.mark.parametrize("amount", [10_000, 100_000])
def test_too_much_before_the_reply_waits(amount: int) -> None:
    server = Server(Settings(max_optimistic=20_000, ban_after=0), gssapi=FakeAcceptor())
    client = Connected(server)
    client.send(bytes(amount))
    assert client.wire.transport.is_reading is (amount < 20_000)
    assert client.wire.session.pending_octets <= max(20_000 + 32_768, amount)
    target = server.dialer.succeed()
    server.reactor.turn()
    client.pump()
    assert target.value() == bytes(amount)
    assert client.wire.transport.is_reading


def test_a_reset_of_the_target_is_one_for_the_client(server: Server) -> None:
    client, target = connected(server)
    target.deliver_reset()
    server.reactor.advance(0.1)
    assert client.wire.sees == "reset"
    assert [record.reason for record in server.records] == ["reset by target"]


def test_a_reset_of_the_client_is_one_for_the_target(server: Server) -> None:
    client, target = connected(server)
    client.wire.reset()
    server.reactor.advance(0.1)
    assert target.far_sees == "reset"
    assert [record.reason for record in server.records] == ["reset by client"]
    assert list(server.factory.sessions) == []


def test_nothing_is_kept_of_a_session_that_is_over(server: Server) -> None:
    client, target = connected(server)
    session = client.wire.session
    client.wire.end()
    target.deliver_end()
    server.reactor.turn()
    assert not client.wire.is_connected
    assert session.protection is None
    assert session.control is session
    assert session.transport is client.wire.transport


def test_over_tls_the_last_octets_arrive(server: Server) -> None:
    """A close of TLS's is an end without half-close."""
    client, target = connected(server, kind=FakeTLSTransport)
    client.side.send(b"last")
    client.wire.transport.deliver(client.side.take_output())
    client.wire.transport.deliver_end()
    server.reactor.turn()
    assert target.value() == b"last"
    assert target.far_sees == "end"


def test_over_tls_an_end_within_a_token_is_a_reset(server: Server) -> None:
    client, target = connected(server, kind=FakeTLSTransport)
    client.side.send(b"last")
    client.wire.transport.deliver(client.side.take_output()[:-1])
    client.wire.transport.deliver_end()
    server.reactor.advance(0.1)
    assert target.value() == b""
    assert target.far_sees == "reset"


# ---------------------------------------------------------------- datagrams

ASSOCIATE = Request(3, Address("0.0.0.0", 0))
FROM = ("198.51.100.7", 5000)
DNS = ("192.0.2.53", 53)


class Associated:
    """A client with an association."""

    def __init__(self, server: Server, level: Protection) -> None:
        self.client = Connected(server, level, request=ASSOCIATE)
        assert self.client.bound == Address("203.0.113.1", 40000)
        self.near = server.reactor.udp_ports[0]
        self.server = server

    def ask(self, payload: bytes) -> bytes:
        """What the client sends for a payload."""
        datagram = Datagram(Address(*DNS), payload).encode()
        side = self.client.side
        return side.seal(datagram) if side.is_protected else datagram

    @property
    def far(self) -> Any:
        return self.server.reactor.udp_ports[1]


@pytest.mark.parametrize("level", ALL)
def test_datagrams_travel_as_the_octets_do(level: Protection, server: Server) -> None:
    association = Associated(server, level)
    for payload in (b"", b"ping", bytes(2000)):
        association.near.receive(association.ask(payload), FROM)
        association.far.receive(payload, DNS)
    assert association.far.written == [(each, DNS) for each in (b"", b"ping", bytes(2000))]
    side = association.client.side
    for (data, where), payload in zip(
        association.near.written, (b"", b"ping", bytes(2000)), strict=True
    ):
        assert where == FROM
        assert (data[3:4] == b"\1") is (level is N)
        answer = side.open_datagram(data) if side.is_protected else data
        assert Datagram.decode(answer) == Datagram(Address(*DNS), payload)
    assert not server.counters.dropped
    client = association.client.wire
    client.end()
    [record] = server.records
    assert (record.bytes_up, record.bytes_down, record.reason) == (2004, 2004, "client closed")


def test_only_whole_and_fresh_tokens_are_taken(server: Server) -> None:
    association = Associated(server, I)
    good = association.ask(b"ping")
    plain = Datagram(Address(*DNS), b"ping").encode()
    for bad in (plain, b"", good[:-1], good + b"x", good[:-1] + b"!", ABORT, token(b"x", 3)):
        association.near.receive(bad, FROM)
    assert server.counters.dropped == {"unprotected": 7}
    association.near.receive(good, FROM)
    association.near.receive(good, FROM)
    assert association.far.written == [(b"ping", DNS)]
    assert server.counters.dropped == {"unprotected": 8}


def test_a_stranger_is_dropped_before_its_token_is_looked_at(server: Server) -> None:
    association = Associated(server, I)
    good = association.ask(b"ping")
    association.near.receive(good, ("192.0.2.66", 5000))
    assert server.counters.dropped == {"stranger": 1}
    association.near.receive(good, FROM)
    assert association.far.written == [(b"ping", DNS)]


def test_a_token_may_hold_no_request(server: Server) -> None:
    association = Associated(server, I)
    association.near.receive(association.client.side.seal(b"\0\0\0\5"), FROM)
    assert server.counters.dropped == {"malformed": 1}


def test_an_answer_that_no_message_carries_is_dropped(acceptor: FakeAcceptor) -> None:
    acceptor.limit = 100
    association = Associated(Server(gssapi=acceptor), I)
    association.near.receive(association.ask(b"ping"), FROM)
    association.far.receive(bytes(91), DNS)
    association.far.receive(bytes(90), DNS)
    assert len(association.near.written) == 1
    assert association.server.counters.dropped == {"unsendable": 1}


# ---------------------------------------------------------------- who may come in


def test_the_factory_prefers_contexts() -> None:
    server = Server(gssapi=FakeAcceptor(), authenticator=Logins())
    assert list(server.factory.in_force.methods) == [Method.GSSAPI, Method.USERNAME_PASSWORD]
    assert server.client(octets("05 03 00 02 01")).received() == CHOSEN
    assert server.client(octets("05 02 00 02")).received() == PASSWORD_CHOSEN
    assert server.client(octets("05 01 00")).received() == octets("05 ff")


def test_without_an_authenticator_there_is_nothing_else(server: Server) -> None:
    assert list(server.factory.in_force.methods) == [Method.GSSAPI]
    assert server.client(octets("05 02 00 02")).received() == octets("05 ff")


@pytest.mark.parametrize("method", [Method.GSSAPI, Method.NO_AUTHENTICATION])
def test_a_door_may_want_a_context_or_not(method: Method, server: Server) -> None:
    listener = server.factory.at(ListenerPolicy(methods=(method,)))
    session = listener.buildProtocol(None)
    assert session is not None
    assert list(session.methods) == [method]


def test_a_door_cannot_want_a_context_without_an_acceptor() -> None:
    with pytest.raises(ValueError, match="the authenticator has"):
        Server().factory.at(ListenerPolicy(methods=(Method.GSSAPI,)))


def test_a_password_is_one_here_too() -> None:
    logins = Logins()
    server = Server(gssapi=FakeAcceptor(), authenticator=logins)
    client = server.client(octets("05 01 02"), LOGIN, CONNECT)
    logins.accept()
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT
    server.dialer.succeed()
    assert client.received() == CONNECTED


def test_the_session_keeps_its_contracts(server: Server) -> None:
    session = server.client().session
    for contract in (ISession, IStream, IHalfCloseableProtocol):
        assert verifyObject(contract, session)


def test_inside_its_protection_the_connection_is_where_it_is(server: Server) -> None:
    session = connected(server)[0].wire.session
    assert session.control is not session
    assert (session.control.bound, session.control.far) == (session.bound, session.far)


def test_a_context_that_is_not_accepted_is_a_failed_login(server: Server) -> None:
    client = server.client(GREETING, token(b"alice\0" + b"forged"))
    assert client.received() == CHOSEN + ABORT
    assert client.sees == "end"
    assert server.counters.refused_logins == 1
    assert server.counters.unjudged_logins == server.counters.violations == 0
    [record] = server.records
    assert (record.user, record.reason) == (
        None,
        "AuthenticationFailed: security context not accepted",
    )


def test_a_refused_context_is_nobodys_whatever_a_certificate_says(server: Server) -> None:
    client = server.client()
    client.session.user = User("anna")
    client.send(GREETING, token(b"alice\0" + b"forged"))
    assert client.received() == CHOSEN + ABORT
    assert [record.user for record in server.records] == [None]


def test_a_context_that_nobody_can_judge_is_none(acceptor: FakeAcceptor, server: Server) -> None:
    acceptor.is_slow = True
    client = server.client(GREETING, TICKET)
    acceptor.waiting.errback(LoginNotJudged())
    assert client.received() == CHOSEN + ABORT
    assert server.counters.unjudged_logins == 1


def test_a_bug_of_the_acceptors_is_logged_and_refuses(
    acceptor: FakeAcceptor, server: Server, failures: Failures
) -> None:
    acceptor.is_slow = True
    client = server.client(GREETING, TICKET)
    acceptor.waiting.errback(RuntimeError("no library"))
    assert client.received() == CHOSEN + ABORT
    assert len(failures.take(CheckFailed)) == 1


@pytest.mark.parametrize("user", [True, False, 1, "alice"])
def test_a_context_needs_a_user(
    user: Any, server: Server, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is complete for somebody without a name is complete for nobody."""
    monkeypatch.setattr(FakeContext, "judge", lambda self, token: Step(b"", user))
    client = server.client(GREETING, TICKET)
    assert client.received() == CHOSEN + ABORT
    assert len(failures.take(CheckFailed)) == 1


def test_an_acceptor_that_cannot_begin_ends_its_session_only(
    acceptor: FakeAcceptor, server: Server, failures: Failures
) -> None:
    def accept(client: str) -> Any:
        raise RuntimeError("no library")

    acceptor.accept = accept  # type: ignore[method-assign]
    client = server.client(GREETING, TICKET)
    assert client.received() == CHOSEN
    assert client.sees == "end"
    assert failures.take(RuntimeError) == ["no library"]


BANNING = Settings(ban_after=2)


def test_refused_contexts_ban_as_wrong_passwords_do() -> None:
    server = Server(BANNING, gssapi=FakeAcceptor())
    early = server.client(GREETING)
    first = server.client(GREETING, token(b"forged"))
    assert first.received() == CHOSEN
    server.reactor.advance(0.5)
    assert first.received() == ABORT
    server.client(GREETING, token(b"forged"))
    assert server.counters.bans == 1
    early.send(TICKET)
    assert early.received() == CHOSEN
    assert not early.is_connected
    assert server.counters.turned_away == {"banned": 1}


def test_a_context_that_waits_when_its_client_is_banned_is_cancelled_and_refused() -> None:
    acceptor = FakeAcceptor(is_slow=True)
    server = Server(BANNING, gssapi=acceptor)
    late = server.client(GREETING, TICKET)
    acceptor.is_slow = False
    for _ in range(2):
        server.client(GREETING, token(b"forged"))
    assert len(acceptor.cancelled) == 1
    assert late.received() == CHOSEN + ABORT
    assert server.counters.refused_logins == 3


def test_beside_tickets_an_empty_password_is_no_login_where_none_is_required() -> None:
    server = Server(authenticator=Logins(), gssapi=FakeAcceptor())
    session: Any = server.factory.at(ListenerPolicy(methods=(1, 2, 0))).buildProtocol(None)
    transport = FakeTransport(server.reactor)
    transport.connect(session)
    transport.deliver(octets("05 02 00 02 01 04 726f6f74 00"))
    server.reactor.turn()
    assert transport.value() == octets("05 02 01 00")


def test_contexts_that_are_accepted_count_as_logins() -> None:
    server = Server(Settings(ban_after=3), gssapi=FakeAcceptor())
    told: list[str] = []
    server.factory.bans.succeeded = told.append  # type: ignore[union-attr, method-assign]
    Connected(server)
    assert told == ["198.51.100.7"]


def test_rules_see_the_user(server: Server) -> None:
    rules = Allow()
    server = Server(gssapi=FakeAcceptor(), rules=rules)
    Connected(server, initiator=FakeInitiator("bob@EXAMPLE.ORG"))
    assert rules.asked[0][0].user.name == "bob@EXAMPLE.ORG"  # type: ignore[union-attr]


# ---------------------------------------------------------------- levels that will not do


@pytest.mark.parametrize("is_bare", [False, True])
def test_a_level_that_is_not_permitted_ends_it(is_bare: bool) -> None:
    server = Server(gssapi=FakeAcceptor((I, C)))
    client = Connected(server, N, is_bare)
    assert client.side.agreed is None
    assert str(client.side.error) == "the server refuses the level of protection"
    assert client.wire.sees == "end"
    [record] = server.records
    assert record.reason == "NoAcceptableProtection: protection level 0 required, permitted [1, 2]"
    assert record.user == "alice"
    assert server.counters.violations == server.counters.refused_logins == 0


def established(server: Server) -> tuple[Client, FakeInitiator]:
    """A client whose context is complete, and its side of that."""
    initiator = FakeInitiator()
    first = initiator.step(None)
    assert first is not None
    client = server.client(GREETING, token(first))
    initiator.step(client.received().removeprefix(CHOSEN)[4:])
    return client, initiator


@pytest.mark.parametrize("level", [b"\4", b"\xff", b"", b"\1\1"])
def test_what_is_no_level_ends_it(level: bytes, server: Server) -> None:
    client, initiator = established(server)
    client.send(token(initiator.wrap(level, False), 2))
    assert client.received() == ABORT
    assert client.sees == "end"
    assert server.counters.violations == 1


@pytest.mark.parametrize("level", [b"\4", b"", b"\1\1", b"garbage"])
def test_a_level_in_no_token_ends_it(level: bytes, server: Server) -> None:
    client, _ = established(server)
    client.send(token(level, 2))
    assert client.received() == ABORT
    assert server.counters.violations == 1


def test_a_context_without_encryption_offers_none(acceptor: FakeAcceptor, server: Server) -> None:
    acceptor.protections = (I,)
    assert Connected(server, Protection.SELECTIVE).side.agreed is I
    assert Connected(server, C).side.agreed is None


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("end", range(len(TICKET)))
def test_a_token_cut_at_every_place(end: int, server: Server) -> None:
    """A silent client ends with the handshake, one that closes at once."""
    silent = server.client(GREETING, TICKET[:end])
    gone = server.client(GREETING, TICKET[:end])
    gone.end()
    assert silent.received() == gone.received() == CHOSEN
    assert not gone.is_connected
    server.reactor.advance(10)
    assert silent.sees == "end"
    reasons = [record.reason for record in server.records]
    assert reasons == ["client closed", "handshake timed out"]
    assert server.counters.refused_logins == 0


def test_a_context_that_never_completes(server: Server, acceptor: FakeAcceptor) -> None:
    acceptor.legs = 1000
    client = server.client(GREETING, TICKET, *[token(b"and more")] * MAX_TOKENS)
    more = token(b"more")
    assert client.received() == CHOSEN + more * MAX_TOKENS + ABORT
    assert client.sees == "end"
    assert server.counters.violations == 1


def test_a_verdict_that_never_comes(acceptor: FakeAcceptor, server: Server) -> None:
    acceptor.is_slow = True
    client = server.client(GREETING, TICKET)
    server.reactor.advance(10)
    assert client.sees == "end"
    assert len(acceptor.cancelled) == 1
    assert [record.reason for record in server.records] == ["handshake timed out"]


def test_a_client_that_leaves_while_it_is_judged(acceptor: FakeAcceptor, server: Server) -> None:
    acceptor.is_slow = True
    client = server.client(GREETING, TICKET)
    client.end()
    assert not client.is_connected
    assert len(acceptor.cancelled) == 1


def test_a_client_that_leaves_between_two_tokens(acceptor: FakeAcceptor, server: Server) -> None:
    """It cannot send the other one any more; what waits is not that."""
    acceptor.is_slow = True
    acceptor.legs = 2
    client = server.client(GREETING, TICKET + b"\1")
    client.end()
    assert client.is_connected
    acceptor.waiting.callback(None)
    assert not client.is_connected


def test_a_verdict_after_the_end_changes_nothing(acceptor: FakeAcceptor, server: Server) -> None:
    class Late(FakeAcceptor):
        """Does not hear that it is cancelled."""

    acceptor.is_slow = True
    client = server.client(GREETING, TICKET)
    verdict = acceptor.waiting
    verdict._canceller = lambda waiting: waiting.callback(None)
    client.end()
    assert client.received() == CHOSEN
    assert server.counters.refused_logins == 0
    assert [record.user for record in server.records] == [None]


def test_endless_octets_while_a_token_is_judged(acceptor: FakeAcceptor) -> None:
    acceptor.is_slow = True
    server = Server(Settings(max_optimistic=1000, ban_after=0), gssapi=acceptor)
    client = server.client(GREETING, TICKET, bytes(5000), bytes(5000))
    assert not client.transport.is_reading
    assert client.session.pending_octets == 5000
    acceptor.waiting.callback(None)
    assert client.received().endswith(ABORT)


def test_the_longest_token_is_read_whole(acceptor: FakeAcceptor) -> None:
    """Although it is longer than what may wait for a verdict."""
    server = Server(Settings(max_optimistic=1000, ban_after=0), gssapi=acceptor)
    secret = SECRET.rjust(65535, b"\0")
    message = token(secret[-65535:])
    client = server.client(GREETING, *(message[at : at + 999] for at in range(0, 65539, 999)))
    assert client.received() == CHOSEN + ABORT
    assert [len(each) for each in acceptor.accepted[0].tokens] == [65535]
    assert client.session.pending_octets == 0


def test_reading_goes_on_between_two_long_tokens(acceptor: FakeAcceptor) -> None:
    acceptor.is_slow = True
    acceptor.legs = 2
    server = Server(Settings(max_optimistic=1000, ban_after=0), gssapi=acceptor)
    second = token(bytes(20_000))
    client = server.client(GREETING, TICKET, second[:10_000], second[10_000:])
    assert not client.transport.is_reading
    acceptor.waiting.callback(None)
    server.reactor.turn()
    assert [len(each) for each in acceptor.accepted[0].tokens] == [len(TICKET) - 4, 20_000]


@pytest.mark.parametrize("data", [CONNECT, octets("00"), octets("01 03"), token(b"", 2)])
@pytest.mark.parametrize("behind", [b"", TICKET])
def test_something_else_where_a_message_is_due(data: bytes, behind: bytes, server: Server) -> None:
    if behind and data[:2] == b"\1\2":
        data = b"\1\1"
    client = server.client(GREETING, behind, data)
    assert client.received().endswith(ABORT)
    assert client.sees == "end"
    assert server.counters.violations == 1


def spoilt(message: bytes) -> bytes:
    return message[:-1] + bytes((message[-1] ^ 1,))


def test_a_client_that_has_agreed_on_a_level_has_two_minutes_to_ask(server: Server) -> None:
    client, initiator = established(server)
    client.send(token(initiator.wrap(b"\1", False), 2))
    server.reactor.advance(60)
    request = token(initiator.wrap(CONNECT, False), 3)
    client.send(request[:20])
    server.reactor.advance(59.99)
    assert client.sees == ""
    server.reactor.advance(0.01)
    assert client.sees == "end"
    assert [record.reason for record in server.records] == ["no request in time"]


@pytest.mark.parametrize("close", [False, True], ids=["leaves", "is closed"])
def test_one_that_has_agreed_on_a_level_and_has_not_asked(close: bool, server: Server) -> None:
    client, initiator = established(server)
    client.send(token(initiator.wrap(b"\1", False), 2))
    if close:
        client.transport.window = 0
        client.session.close(within=3)
        server.reactor.pump([3, 0])
    else:
        client.reset()
    assert (client.is_connected, [*server.factory.sessions]) == (False, [])
    reason = "ended by the operator" if close else "reset by client"
    assert [record.reason for record in server.records] == [reason]


BAD = pytest.mark.parametrize(
    "spoil",
    [
        spoilt,
        lambda message: b"\5" + message[1:],
        lambda message: b"\1\1" + message[2:],
        lambda message: ABORT,
        lambda message: TARGET,
    ],
    ids=["changed", "VER", "MTYP", "abort", "plain"],
)


@BAD
def test_a_bad_token_instead_of_the_request(
    spoil: Callable[[bytes], bytes], server: Server
) -> None:
    client, initiator = established(server)
    client.send(token(initiator.wrap(b"\1", False), 2))
    client.received()
    request = token(initiator.wrap(CONNECT, False), 3)
    client.send(spoil(request) + request)
    assert client.received() == ABORT
    assert client.sees == "end"
    assert server.dialer.targets == []
    assert server.counters.violations == 1
    [record] = server.records
    assert record.reason.startswith("RemoteProtocolError: ")


@BAD
def test_a_bad_token_while_the_target_is_dialled(
    spoil: Callable[[bytes], bytes], server: Server
) -> None:
    client = Connected(server)
    client.wire.send(spoil(client.side.seal(b"hello")))
    assert client.wire.received() == ABORT
    assert server.dialer.cancelled == server.dialer.targets
    assert client.wire.sees == "end"


@BAD
def test_a_bad_token_in_a_relay_resets_the_target(
    spoil: Callable[[bytes], bytes], server: Server
) -> None:
    """What was cut by somebody on the path must not look whole."""
    client, target = connected(server)
    client.send(b"hello")
    client.wire.send(spoil(client.side.seal(b" world")) + client.side.seal(b"!"))
    assert client.wire.received() == ABORT
    server.reactor.advance(0.1)
    assert target.value() == b"hello"
    assert target.far_sees == "reset"
    assert client.wire.sees == "end"
    [record] = server.records
    assert record.reason.startswith("RemoteProtocolError: ")
    assert (record.bytes_up, server.counters.violations) == (5, 1)
    client.wire.end()
    assert not client.wire.is_connected
    assert list(server.factory.sessions) == []


def test_a_bad_token_while_a_reset_is_passed_on(server: Server) -> None:
    client, target = connected(server)
    client.wire.transport.window = 0
    target.deliver(b"on its way")
    target.deliver_reset()
    client.wire.send(spoilt(client.side.seal(b"late")))
    assert [record.reason for record in server.records] == ["reset by target"]
    client.wire.transport.accept()
    assert client.wire.received().endswith(ABORT)
    assert not client.wire.is_connected
    assert len(server.factory.deadlines) == 0
    assert list(server.factory.sessions) == []


def test_a_replayed_token_in_a_relay(server: Server) -> None:
    client, target = connected(server)
    client.side.send(b"pay once")
    message = client.side.take_output()
    client.wire.send(message, message)
    server.reactor.advance(0.1)
    assert target.value() == b"pay once"
    assert target.far_sees == "reset"


def test_a_bad_token_on_an_association_ends_it(server: Server) -> None:
    association = Associated(server, I)
    association.client.wire.send(spoilt(association.client.side.seal(b"x")))
    assert association.client.wire.received() == ABORT
    assert not association.near.is_listening


def test_an_end_within_a_token_resets_the_target(server: Server) -> None:
    client, target = connected(server)
    client.wire.send(client.side.seal(b"hello")[:-1])
    client.wire.end()
    server.reactor.advance(0.1)
    assert target.far_sees == "reset"
    assert [record.reason for record in server.records] == [
        "RemoteProtocolError: the end within a token"
    ]


@pytest.mark.parametrize("cut", [0, 1])
def test_an_end_that_overtakes_the_level_is_one_behind_the_tokens(
    cut: int, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is sent at once, while the context is being checked: a stream that was cut does not look whole then,
    either.
    """
    monkeypatch.setattr(
        "tests.support.contexts._keys", repeat(7)
    )  # what the client of a real context knows before
    side, example = ContextClient(TO_TARGET, FakeInitiator(), I), server.client()
    sent = b""
    while data := side.take_output():
        sent += data
        example.send(data)
        side.receive(example.received())
    server.dialer.succeed()
    side.receive(example.received())
    sent += side.seal(b"first") + side.seal(b"second")

    acceptor = FakeAcceptor(ALL, is_slow=True)
    server = Server(UNBANNED, gssapi=acceptor)
    client = server.client(sent[: len(sent) - cut])
    client.end()
    acceptor.waiting.callback(None)
    if cut:
        assert [record.reason for record in server.records] == [
            "RemoteProtocolError: the end within a token"
        ]
        return
    target = server.dialer.succeed()
    server.reactor.advance(0.1)
    assert target.value() == b"firstsecond"
    assert target.far_sees == "end"


def test_a_bad_token_after_the_end_is_nothing_more(server: Server) -> None:
    """The server has refused the command, and lingers."""
    client = Connected(server)
    server.dialer.fail(OSError())
    client.pump()
    client.wire.send(spoilt(client.side.seal(b"late")), b"later")
    assert client.wire.received() == b""
    assert server.counters.violations == 0
    assert not client.wire.is_connected


def test_an_end_within_a_token_ends_the_lingering_at_once(server: Server) -> None:
    client = Connected(server)
    server.dialer.fail(OSError())
    client.pump()
    client.wire.send(client.side.seal(b"late")[:-1])
    assert client.wire.is_connected
    client.wire.end()
    assert not client.wire.is_connected
    assert list(server.factory.sessions) == []


def test_a_bug_while_the_last_octets_are_delivered_costs_nothing_more(
    server: Server, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, target = connected(server)
    target.window = 0
    sealed = [client.side.seal(each) for each in (bytes(40_000), bytes(40_000), b"waits")]
    client.wire.send(b"".join(sealed))

    def fail(side: TransportSide, data: bytes) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(TransportSide, "dataReceived", fail)
    client.wire.session.connectionLost(Failure(ConnectionDone()))
    assert failures.take(RuntimeError) == ["a bug"]
    server.reactor.advance(10)
    assert server.counters.open_connections == server.factory.limit.open == 0
    assert len(server.records) == 1


def test_a_first_message_that_is_replayed_leads_nowhere(server: Server) -> None:
    """All that a client has sent, once more on another connection: without its key nothing is understood."""
    client = server.client(GREETING, TICKET)
    client.received()
    other, initiator = established(server)
    recorded = token(initiator.wrap(b"\1", False), 2)
    client.send(recorded)
    assert client.received() == ABORT
    other.send(recorded)
    assert other.received() != ABORT


def test_no_token_in_any_text(server: Server, acceptor: FakeAcceptor) -> None:
    client = server.client(GREETING, token(b"alice\0 wrong " + SECRET))
    client.end()
    texts = repr(server.records) + repr(client.session) + repr(acceptor.accepted)
    assert SECRET.decode() not in texts
    assert refusal(1) not in client.received()
