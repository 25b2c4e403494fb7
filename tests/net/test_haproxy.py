"""Clients behind a balancer, in memory: who may send a header, what it changes, and what it does not."""

from typing import Any
from unittest.mock import MagicMock

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from socks5 import ListenerPolicy, Networks, Settings
from socks5.access import ALLOWED, DENIED, ClaimedAccess
from socks5.counters import Counters
from socks5.net.haproxy import HeaderFactory, HeaderProtocol
from tests.protocol.test_proxy_header import BLOCK4, line, version_2
from tests.support.providers import Allow, Logins
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
    Client,
    Server,
    octets,
)
from tests.support.transports import FakeTransport, address

BALANCERS = Networks.parse("203.0.113.0/24,127.0.0.1")
POLICY = ListenerPolicy(proxies=BALANCERS)
BALANCER = address("203.0.113.9", 40000)
NEAR = address("203.0.113.1", 1080)

HEADER = line("TCP4 198.51.100.7 192.0.2.1 51234 1080")
TO_LOOPBACK = octets("05 01 00 01 7f000001 0050")


class Balanced:
    """A server's listener for balancers; a client is a connection of a balancer's."""

    def __init__(self, policy: ListenerPolicy = POLICY, **parameters: Any) -> None:
        self.server = Server(**parameters)
        self.reactor, self.counters = self.server.reactor, self.server.counters
        listener = self.server.factory.at(policy)
        assert policy.proxies is not None
        self.factory = HeaderFactory(listener, policy.proxies, self.reactor, self.counters)

    def client(self, *sent: bytes, peer: Any = BALANCER, **options: Any) -> Client:
        client = Client(self, peer=peer, **{"host": NEAR, **options})  # type: ignore[arg-type]
        client.send(*sent)
        return client

    @property
    def clients(self) -> list[str]:
        """Who has used it, by the access log."""
        return [record.client for record in self.server.records]


# ---------------------------------------------------------------- the header


@pytest.mark.parametrize("header", [HEADER, version_2(1, 0x11, BLOCK4 + b"\4\0\0")])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_the_client_is_the_one_in_the_header(header: bytes, size: int) -> None:
    balanced = Balanced(rules=(rules := Allow()))
    sent = header + GREETING + CONNECT + b"first octets"
    client = balanced.client(*(sent[at : at + size] for at in range(0, len(sent), size)))
    target = balanced.server.dialer.succeed()
    assert client.received() == NO_AUTHENTICATION + CONNECTED
    assert target.value() == b"first octets"
    assert {access.client for access, _ in rules.asked} == {"198.51.100.7"}
    for claimed, _ in rules.asked:  # which stays one for every target
        assert isinstance(claimed, ClaimedAccess)
        assert not claimed._replace(client="127.0.0.1").is_local
    client.reset()
    balanced.reactor.advance(10)
    assert balanced.clients == ["198.51.100.7:51234"]


class Octet(bytes):
    """One that counts what is copied to put it behind others, which would be all that wait."""

    copied = 0

    def __radd__(self, before: bytes) -> bytes:
        Octet.copied += len(before)
        return before + bytes(self)


def test_a_long_header_is_not_copied_for_each_octet_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    header = version_2(1, 0x11, BLOCK4 + bytes(4000))
    protocol: Any = HeaderProtocol(
        HeaderFactory(Factory(), BALANCERS, Clock(), Counters()), Plain()
    )
    FakeTransport(Clock(), peer=BALANCER).connect(protocol)
    monkeypatch.setattr(Octet, "copied", 0)
    for at in range(len(header)):
        protocol.dataReceived(Octet(header[at : at + 1]))
    assert protocol.getPeer().host == "198.51.100.7"
    assert Octet.copied <= len(header)


def test_octets_flow_and_ends_are_passed_on_behind_a_header() -> None:
    balanced = Balanced()
    client = balanced.client(HEADER, GREETING, CONNECT)
    target = balanced.server.dialer.succeed()
    client.received()
    client.send(b"up")
    client.end()
    assert target.value() == b"up"
    assert target.far_sees == "end"
    target.deliver(b"down")
    target.deliver_end()
    assert client.received() == b"down"
    assert client.sees == "end"
    assert not client.is_connected


@pytest.mark.parametrize("sent", [(), (HEADER[:1],), (HEADER[:-1],), (HEADER,), (HEADER, b"\5")])
def test_the_deadline_covers_the_header(sent: tuple[bytes, ...]) -> None:
    balanced = Balanced()
    client = balanced.client()
    balanced.reactor.advance(9)
    client.send(*sent)
    balanced.reactor.advance(0.99)
    assert client.sees == ""
    balanced.reactor.advance(0.01)
    assert client.sees == "end"
    assert not client.is_connected
    assert list(balanced.server.factory.sessions) == []


@pytest.mark.parametrize("how", [Client.end, Client.reset])
@pytest.mark.parametrize("size", range(len(HEADER)))
def test_a_header_that_is_cut_is_no_session(how: Any, size: int) -> None:
    balanced = Balanced()
    client = balanced.client(HEADER[:size])
    how(client)
    assert not client.is_connected
    assert client.received() == b""
    assert balanced.counters.open_connections == 0
    assert balanced.clients == []


@pytest.mark.parametrize("sent", [GREETING, b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 here\r\n"])
def test_what_is_no_header_is_closed_and_told(sent: bytes, log: list[str]) -> None:
    balanced = Balanced()
    client = balanced.client(sent)
    assert client.received() == b""
    assert not client.is_connected
    assert balanced.counters.turned_away == {"PROXY header": 1}
    assert balanced.counters.open_connections == 0
    assert len(log) == 1
    assert log[0].startswith("closed a connection from 203.0.113.9:40000: ")
    assert "PROXY header" in log[0]


def test_a_stranger_is_closed_and_told_sparingly(log: list[str]) -> None:
    balanced = Balanced()
    for _ in range(30):
        stranger = address("198.51.100.66", 5000)
        assert balanced.factory.buildProtocol(stranger) is None
    balanced.reactor.advance(60)
    assert balanced.factory.buildProtocol(address("198.51.100.66", 5000)) is None
    assert len(log) == 11
    sentence = "closed a connection from 198.51.100.66:5000: --proxy-from does not list it"
    assert log[0] == sentence
    assert log[10] == f"{sentence}; 20 more were closed without a line"
    assert balanced.counters.turned_away == {"stranger": 31}
    assert balanced.counters.connections == 0


# ---------------------------------------------------------------- what a header says of a client, and what it does not

LOCAL_HEADER = version_2(0, 0x00, b"")
UNKNOWN = [line("UNKNOWN"), version_2(1, 0x00, b""), version_2(1, 0x31, bytes(216))]


CLAIMS = [
    line("TCP4 127.0.0.1 127.0.0.1 5000 1080"),
    line("TCP6 ::1 ::1 5000 1080"),
    line("TCP6 ::ffff:127.0.0.1 ::1 5000 1080"),
    *UNKNOWN,
]
HERE = [address("127.0.0.1", 5000), UNIXAddress(None)]


@pytest.mark.parametrize(
    ("header", "peer", "is_local"),
    [
        *((header, peer, False) for header in CLAIMS for peer in HERE),
        *((LOCAL_HEADER, peer, True) for peer in HERE),  # the balancer's own connection
        (LOCAL_HEADER, BALANCER, False),  # of one that is elsewhere
    ],
)
def test_no_header_makes_a_client_local(header: bytes, peer: Any, is_local: bool) -> None:
    balanced = Balanced()
    client = balanced.client(header, GREETING, TO_LOOPBACK, peer=peer)
    access = client.session.wrappedProtocol.access
    assert access.is_local is is_local
    rules = balanced.server.factory.in_force.rules
    assert rules.judge(access, "127.0.0.1") is (ALLOWED if is_local else DENIED)


def test_the_networks_of_clients_are_the_true_clients() -> None:
    """An unknown one is of none."""
    policy = ListenerPolicy(proxies=BALANCERS, clients=Networks.parse("198.51.100.0/24"))
    balanced = Balanced(policy)
    assert balanced.client(HEADER, GREETING).received() == NO_AUTHENTICATION
    others = [line("TCP4 192.0.2.66 192.0.2.1 5 1080"), *UNKNOWN]
    for peer in (BALANCER, UNIXAddress(None)):
        for header in others:
            other = balanced.client(header, GREETING, peer=peer)
            assert other.received() == b""
            assert not other.is_connected
    assert balanced.counters.turned_away == {"network": 2 * len(others)}


def test_bans_are_for_the_true_client() -> None:
    logins = Logins()
    balanced = Balanced(settings=Settings(ban_after=1), authenticator=logins)
    balanced.client(HEADER, PASSWORD_GREETING, LOGIN)
    logins.refuse(UnauthorizedLogin())
    assert balanced.client(HEADER, PASSWORD_GREETING).received() == b""
    other = balanced.client(line("TCP4 192.0.2.66 192.0.2.1 5 1080"), PASSWORD_GREETING, LOGIN)
    logins.accept()
    assert other.received() == PASSWORD_CHOSEN + LOGIN_RIGHT
    assert logins.asked[-1][1] == "192.0.2.66"


LOOPBACK = address("127.0.0.1", 1080)


@pytest.mark.parametrize(
    ("destination", "host", "bound"),
    [
        ("192.0.2.1", NEAR, "203.0.113.1"),  # the balancer's own
        ("127.0.0.1", NEAR, "203.0.113.1"),  # its loopback
        ("127.0.0.2", LOOPBACK, "127.0.0.2"),  # ours
        ("::1", LOOPBACK, "::1"),
        *((other, LOOPBACK, "127.0.0.1") for other in ("192.0.2.1", "2001:db8::1")),
        *((other, LOOPBACK, "127.0.0.1") for other in ("0.0.0.0", "::", "224.0.0.1")),
        ("192.0.2.1", UNIXAddress(b"/run/proxy.sock"), "127.0.0.1"),
    ],
)
def test_peers_are_awaited_on_an_address_of_this_host(
    destination: str, host: Any, bound: str
) -> None:
    balanced = Balanced(rules=(rules := Allow()))
    client_of = "TCP6 2001:db8::7" if ":" in destination else "TCP4 198.51.100.7"
    header = line(f"{client_of} {destination} 5000 1080")
    peer = UNIXAddress(None) if isinstance(host, UNIXAddress) else address("127.0.0.1", 5000)
    client = balanced.client(
        header, GREETING, BIND + octets("01 00000000 0000"), host=host, peer=peer
    )
    assert client.session.wrappedProtocol.near == bound
    assert {access.server for access, _ in rules.asked} == {bound}


class Plain(Protocol):
    """Has no half-close."""


def test_what_has_no_half_close_gets_none() -> None:
    factory = HeaderFactory(Factory.forProtocol(Plain), BALANCERS, Clock(), Server().counters)
    protocol = factory.buildProtocol(BALANCER)
    assert protocol is not None
    reactor = Server().reactor
    transport = FakeTransport(reactor, peer=BALANCER).connect(protocol)
    assert not IHalfCloseableProtocol.providedBy(protocol)
    transport.deliver_end()
    assert not transport.connected


def test_the_end_of_our_sending_is_told() -> None:
    factory = HeaderFactory(Factory(), BALANCERS, Clock(), Server().counters)
    wrapped = MagicMock()
    HeaderProtocol(factory, wrapped).writeConnectionLost()
    wrapped.writeConnectionLost.assert_called_once_with()
