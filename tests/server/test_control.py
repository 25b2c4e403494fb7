"""A control connection inside the protection of a security context, in memory: octets, datagrams, ends, bad tokens."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from socks5 import Settings
from socks5.interfaces import ISession
from socks5.net.protected import Envelope
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from socks5.protocol.errors import RemoteProtocolError
from socks5.protocol.gssapi import ABORT, Protection
from socks5.protocol.messages import Request
from socks5.relay.transports import TransportSide
from socks5.streams import IStream
from tests.support.contexts import FakeAcceptor
from tests.support.failures import Failures
from tests.support.protection import (
    TO_TARGET,
    Connected,
    agreed,
    connected,
    server_of,
    spoilt,
    token,
)
from tests.support.sessions import CONNECT, GREETING, TARGET, Server
from tests.support.transports import FakeTLSTransport, FakeTransport, address

N, I, C = Protection.NONE, Protection.INTEGRITY, Protection.CONFIDENTIALITY  # noqa: E741
ALL = (N, I, C)


@pytest.fixture
def server() -> Server:
    return server_of()


# ---------------------------------------------------------------- the way through


@pytest.mark.parametrize("size", [1 << 20, 1, 7], ids=["glued", "octet by octet", "by sevens"])
@pytest.mark.parametrize("is_bare", [False, True], ids=["wrapped", "bare"])
@pytest.mark.parametrize(("level", "agreed"), [(N, N), (I, I), (C, C), (Protection.SELECTIVE, C)])
def test_a_connect_at_every_level(
    level: Protection, agreed: Protection, is_bare: bool, size: int, server: Server
) -> None:
    client = Connected(server, level, is_bare=is_bare, size=size)
    session = client.wire.session
    for contract in (ISession, IStream, IHalfCloseableProtocol):
        assert verifyObject(contract, session)
    client.send(b"at once, ")  # and behind the request, in tokens of their own
    target = server.dialer.succeed()
    assert client.bound == Address("192.0.2.10", 40001)
    assert client.side.agreed is agreed
    assert (session.control is session) is (session.protection is None) is (agreed is N)
    assert (session.control.bound, session.control.far) == (session.bound, session.far)
    client.send(b"and later")
    assert target.value() == b"at once, and later"
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
    assert (record.bytes_up, record.bytes_down) == (18, 15)
    assert server.counters.refused_logins == server.counters.violations == 0
    # Nothing is kept of a session that is over.
    assert not client.wire.is_connected
    assert (session.protection, session.control) == (None, session)
    assert session.transport is client.wire.transport


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
def test_a_failure_reply_is_protected_too(level: Protection, server: Server) -> None:
    client = Connected(server, level)
    server.dialer.fail(OSError())
    client.pump()
    assert str(client.side.error) == "general failure (REP 1)"
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


@pytest.mark.parametrize("amount", [10_000, 100_000])
def test_too_much_before_the_reply_waits(amount: int) -> None:
    server = server_of(settings=Settings(max_optimistic=20_000, ban_after=0))
    client = Connected(server)
    client.send(bytes(amount))
    assert client.wire.transport.is_reading is (amount < 20_000)
    assert client.wire.session.pending_octets <= max(20_000 + 32_768, amount)
    target = server.dialer.succeed()
    server.reactor.turn()
    client.pump()
    assert target.value() == bytes(amount)
    assert client.wire.transport.is_reading


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
    payloads = (b"", b"ping", bytes(2000))
    for payload in payloads:
        association.near.receive(association.ask(payload), FROM)
        association.far.receive(payload, DNS)
    assert association.far.written == [(each, DNS) for each in payloads]
    side = association.client.side
    for (data, where), payload in zip(association.near.written, payloads, strict=True):
        assert where == FROM
        assert (data[3:4] == b"\1") is (level is N)
        answer = side.open_datagram(data) if side.is_protected else data
        assert Datagram.decode(answer) == Datagram(Address(*DNS), payload)
    assert not server.counters.dropped
    association.client.wire.end()
    [record] = server.records
    assert (record.bytes_up, record.bytes_down, record.reason) == (2004, 2004, "client closed")


def test_only_whole_and_fresh_tokens_of_the_client_are_taken(server: Server) -> None:
    association = Associated(server, I)
    good = association.ask(b"ping")
    plain = Datagram(Address(*DNS), b"ping").encode()
    for bad in (plain, b"", good[:-1], good + b"x", good[:-1] + b"!", ABORT, token(b"x", 3)):
        association.near.receive(bad, FROM)
    assert server.counters.dropped == {"unprotected": 7}
    association.near.receive(good, ("192.0.2.66", 5000))  # a stranger's is not even looked at
    association.near.receive(good, FROM)
    association.near.receive(good, FROM)
    association.near.receive(association.client.side.seal(b"\0\0\0\5"), FROM)
    assert association.far.written == [(b"ping", DNS)]
    assert server.counters.dropped == {"unprotected": 8, "stranger": 1, "malformed": 1}


def test_an_answer_that_no_message_carries_is_dropped() -> None:
    association = Associated(server_of(FakeAcceptor(ALL, limit=100)), I)
    association.near.receive(association.ask(b"ping"), FROM)
    association.far.receive(bytes(91), DNS)
    association.far.receive(bytes(90), DNS)
    assert len(association.near.written) == 1
    assert association.server.counters.dropped == {"unsendable": 1}


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize("is_client", [False, True])
def test_a_reset_passes_either_way(is_client: bool, server: Server) -> None:
    client, target = connected(server)
    client.wire.reset() if is_client else target.deliver_reset()
    server.reactor.advance(0.1)
    assert (target.far_sees if is_client else client.wire.sees) == "reset"
    whose = "client" if is_client else "target"
    assert [record.reason for record in server.records] == [f"reset by {whose}"]
    assert not is_client or list(server.factory.sessions) == []


@pytest.mark.parametrize("kind", [FakeTransport, FakeTLSTransport])
@pytest.mark.parametrize("is_whole", [False, True])
def test_an_end_comes_behind_the_last_octets_or_is_a_reset(
    is_whole: bool, kind: Any, server: Server
) -> None:
    """Also without half-close, as a close of TLS's is."""
    client, target = connected(server, kind=kind)
    message = client.side.seal(b"last")
    client.wire.transport.deliver(message if is_whole else message[:-1])
    client.wire.transport.deliver_end()
    server.reactor.advance(0.1)
    expected = (b"last", "end") if is_whole else (b"", "reset")
    assert (target.value(), target.far_sees) == expected
    if not is_whole and kind is FakeTransport:
        reasons = [record.detail for record in server.records]
        assert reasons == ["RemoteProtocolError: the end within a token"]


@pytest.mark.parametrize("is_bad", [False, True])
def test_a_bad_token_or_an_end_within_one_ends_the_lingering_at_once(
    is_bad: bool, server: Server
) -> None:
    """The server has refused the command."""
    client = Connected(server)
    server.dialer.fail(OSError())
    client.pump()
    message = client.side.seal(b"late")
    if is_bad:
        client.wire.send(spoilt(message), b"later")
    else:
        client.wire.send(message[:-1])
        assert client.wire.is_connected
        client.wire.end()
    assert client.wire.received() == b""
    assert server.counters.violations == 0
    assert not client.wire.is_connected
    assert list(server.factory.sessions) == []


def test_a_bug_while_the_last_octets_are_delivered_costs_nothing_more(
    server: Server, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, target = connected(server)
    target.window = 0
    sealed = [client.side.seal(each) for each in (bytes(40_000), bytes(40_000), b"waits")]
    client.wire.send(b"".join(sealed))
    monkeypatch.setattr(TransportSide, "dataReceived", lambda *_: 1 / 0)
    client.wire.session.connectionLost(Failure(ConnectionDone()))
    assert failures.take(ZeroDivisionError) == ["division by zero"]
    server.reactor.advance(10)
    assert server.counters.open_connections == server.factory.limit.open == 0
    assert len(server.records) == 1


# ---------------------------------------------------------------- bad tokens

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
    client, initiator = agreed(server)
    request = token(initiator.wrap(CONNECT, False), 3)
    client.send(spoil(request) + request)
    assert client.received() == ABORT
    assert client.sees == "end"
    assert server.dialer.targets == []
    assert server.counters.violations == 1
    [record] = server.records
    assert record.detail.startswith("RemoteProtocolError: ")


@pytest.mark.parametrize("request_", [TO_TARGET, ASSOCIATE])
def test_a_bad_token_ends_a_command_that_has_no_stream(request_: Request, server: Server) -> None:
    client = Connected(server, request=request_)
    client.wire.send(spoilt(client.side.seal(b"hello")))
    assert client.wire.received() == ABORT
    assert server.dialer.cancelled == server.dialer.targets
    assert not any(port.is_listening for port in server.reactor.udp_ports)
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
    assert record.detail.startswith("RemoteProtocolError: ")
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


@pytest.mark.parametrize("is_encrypted", [1, "yes", None, 0, False])
def test_a_token_needs_the_answer_true_to_count_as_encrypted(is_encrypted: Any) -> None:
    class Context:
        def size_limit(self, is_confidential: bool) -> int:
            return 1000

        def unwrap(self, token: bytes) -> tuple[bytes, Any]:
            return token, is_encrypted

    with pytest.raises(RemoteProtocolError):
        Envelope(Context(), C).open(b"token")


def test_one_that_is_gone_is_not_read_on() -> None:
    server = Server(Settings(max_optimistic=1, ban_after=0))
    client = server.client(GREETING + CONNECT + b"much more")
    session = client.session
    assert session.is_reading is False
    client.reset()
    session.transport = None
    session.read_on()
