"""Where the peer of a BIND is awaited, who comes in, and that on every way out the port is closed."""

import errno
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from socks5 import OutgoingFamily, PerFamily, Settings
from socks5.access import ALLOWED, DENIED, Verdict
from socks5.interfaces import IPeerPort
from socks5.outbound import peers
from socks5.outbound.direct import DirectDialer
from socks5.protocol.address import Address
from socks5.protocol.errors import AddressTypeNotSupported, NotAllowed
from socks5.protocol.networks import socket_name
from tests.support.providers import ASKER, FakeResolver, let_in
from tests.support.reactor import FakeReactor, FakeTCPPort
from tests.support.transports import FakeTransport, address

ANYONE = Address("0.0.0.0", 0)
EXPECTED = Address("192.0.2.80", 80)
IPV6 = Address("2001:db8::50", 80)
NAME = Address(b"example.org", 80)
MIXED = ["2001:db8::50", "192.0.2.80"]
NEAR = "203.0.113.1"


class Await:
    """A peer is awaited."""

    def __init__(
        self,
        expected: Address = EXPECTED,
        near: str = NEAR,
        judge: Callable[..., Any] = let_in,
        names: Any = None,
        reactor: FakeReactor | None = None,
        **settings: Any,
    ) -> None:
        self.reactor = reactor or FakeReactor()
        self.resolver = FakeResolver({} if names is None else {b"example.org": names})
        self.found: list[Any] = []
        self.came: list[Any] = []
        dialer = DirectDialer(self.reactor, self.resolver)
        self.opening = dialer.await_peer(
            ASKER, expected, judge, settings=Settings(**settings), near=near
        )
        self.opening.addBoth(self._opened)

    def _opened(self, found: Any) -> None:
        self.found.append(found)
        if not isinstance(found, Failure):
            found.peer.addBoth(self.came.append)

    @property
    def port(self) -> FakeTCPPort:
        return self.reactor.tcp_ports[0]

    @property
    def host(self) -> str:
        """Where it listens."""
        return self.port.getHost().host

    def failed(self, *kinds: type[Exception]) -> bool:
        return self.found[0].check(*kinds) is not None and self.reactor.tcp_ports == []

    def comes(self, host: str) -> FakeTransport:
        transport = self.port.connect(address(host, 20))
        self.reactor.turn()
        return transport


@pytest.fixture
def route(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A routing table that leads everywhere by one address of each family; the hosts it was asked for."""
    asked: list[str] = []

    def towards(host: str) -> str:
        asked.append(host)
        return "2001:db8::10" if ":" in host else "192.0.2.10"

    monkeypatch.setattr(peers, "local_address_towards", towards)
    return asked


# ---------------------------------------------------------------- where it listens

OUTGOING = PerFamily("192.0.2.99", "2001:db8::63")
ONLY6 = OutgoingFamily.IPV6


@pytest.mark.parametrize(
    ("expected", "near", "settings", "host", "routed"),
    [
        (ANYONE, NEAR, {}, NEAR, []),
        (EXPECTED, NEAR, {}, NEAR, []),
        (Address("::ffff:192.0.2.80", 80), NEAR, {}, NEAR, []),
        (ANYONE, "fe80::1%eth0", {}, "fe80::1%eth0", []),
        (EXPECTED, NEAR, {"outgoing": OUTGOING}, "192.0.2.99", []),
        (IPV6, NEAR, {"outgoing": OUTGOING}, "2001:db8::63", []),
        # Over the family that is used
        (ANYONE, "2001:db8::1", {"outgoing": PerFamily(ipv4="192.0.2.99")}, "192.0.2.99", []),
        (ANYONE, NEAR, {"outgoing": PerFamily(ipv6="2001:db8::63")}, "2001:db8::63", []),
        (NAME, NEAR, {"outgoing_family": ONLY6}, "2001:db8::10", ["2001:db8::50"]),
        # Where the peer can come
        (IPV6, NEAR, {}, "2001:db8::10", ["2001:db8::50"]),
        (EXPECTED, "127.0.0.1", {}, "192.0.2.10", ["192.0.2.80"]),
        (NAME, "127.0.0.1", {}, "192.0.2.10", ["192.0.2.80"]),
        (Address("127.0.0.1", 80), "127.0.0.1", {}, "127.0.0.1", []),
        (Address("127.0.0.1", 80), NEAR, {}, NEAR, []),
        (EXPECTED, "::1", {}, "192.0.2.10", ["192.0.2.80"]),
        (ANYONE, "127.0.0.1", {}, "127.0.0.1", []),
    ],
)
def test_it_is_where_the_peer_can_come(
    expected: Address, near: str, settings: Any, host: str, routed: list[str], route: list[str]
) -> None:
    awaited = Await(expected, near, names=MIXED, **settings)
    assert (awaited.host, route) == (host, routed)
    assert awaited.found[0].bound == Address(host.partition("%")[0], 40000)
    assert verifyObject(IPeerPort, awaited.found[0])


@pytest.mark.parametrize(("near", "bound"), [(NEAR, "192.0.2.99"), ("2001:db8::1", "2001:db8::63")])
def test_the_advertised_address_is_told(near: str, bound: str) -> None:
    awaited = Await(ANYONE, near, advertise=OUTGOING)
    assert (awaited.host, awaited.found[0].bound.text) == (near, bound)


@pytest.mark.parametrize(
    ("family", "expected"),
    [(OutgoingFamily.IPV4, IPV6), *((ONLY6, each) for each in (EXPECTED, NAME, ANYONE))],
)
def test_a_peer_of_a_family_that_is_not_used_is_not_awaited(
    family: OutgoingFamily, expected: Address
) -> None:
    assert Await(expected, names=MIXED[1:], outgoing_family=family).failed(AddressTypeNotSupported)


def test_an_interface_may_be_none_that_can_be_listened_on() -> None:
    reactor = FakeReactor()
    reactor.listen_error = OSError(errno.EADDRNOTAVAIL, "")
    assert Await(reactor=reactor).failed(CannotListenError)


@pytest.mark.parametrize(
    ("expected", "port"),
    [
        (Address("0.0.0.0", 8080), 8080),
        (Address("0.0.0.0", 1024), 1024),
        (Address("0.0.0.0", 1023), 40000),  # the system's own
        (Address("0.0.0.0", 9090), 40000),  # taken
        (Address("192.0.2.80", 8080), 40000),  # the peer's
    ],
)
def test_who_names_no_peer_gets_the_port_that_it_would_like(expected: Address, port: int) -> None:
    reactor = FakeReactor()
    reactor.taken_ports = {9090}
    assert Await(expected, reactor=reactor).port.getHost().port == port


def test_a_name_is_resolved_first() -> None:
    awaited = Await(NAME)
    assert (awaited.found, awaited.resolver.askers) == ([], [ASKER.client])
    awaited.resolver.answer(b"example.org", ["192.0.2.80"])
    assert awaited.port.is_listening


# ---------------------------------------------------------------- who comes in, and every way out


@pytest.mark.parametrize(
    ("expected", "strangers", "host"),
    [
        (EXPECTED, ["192.0.2.81"] * 3, "192.0.2.80"),
        (EXPECTED, [], "::ffff:192.0.2.80"),
        (NAME, ["192.0.2.81"], "192.0.2.80"),
        (NAME, ["192.0.2.81"], "2001:db8::50"),
        (Address("fe80::50%lo", 80), ["fe80::51%lo"], "fe80::50%lo"),
        (ANYONE, [], "192.0.2.81"),
        (Address("::", 0), [], "192.0.2.81"),
        (Address(b"", 0), [], "192.0.2.81"),
    ],
)
@pytest.mark.usefixtures("route")
def test_only_whom_the_request_named_comes_in_and_then_nobody(
    expected: Address, strangers: list[str], host: str
) -> None:
    awaited = Await(expected, names=MIXED)
    for stranger in strangers:
        assert not awaited.comes(stranger).connected
    peer = awaited.comes(host)
    [stream] = awaited.came
    seen = host.removeprefix("::ffff:").partition("%")[0]
    assert stream.transport is peer
    assert stream.bound == stream.far == Address(seen, 20)
    assert (peer.connected, peer.nodelay, awaited.port.is_listening) == (True, True, False)
    assert awaited.port.factory.buildProtocol(address(host, 20)) is None, "of the same reading"
    awaited.reactor.advance(3600)
    assert len(awaited.came) == 1


def test_rules_judge_whoever_is_expected_and_whoever_comes() -> None:
    """Otherwise a stranger could open ports on this host's loopback."""
    assert Await(judge=lambda _: DENIED).failed(NotAllowed)
    for expected in (NAME, ANYONE):
        some = Await(expected, names=MIXED, judge=lambda host: Verdict(host == "192.0.2.80"))
        assert not some.comes("2001:db8::50").connected
        assert some.comes("192.0.2.80").connected
    broken = Await(ANYONE, judge=lambda _: 1 / 0)
    assert not broken.comes("192.0.2.80").connected
    assert broken.came[0].check(ZeroDivisionError)


class Waiting(Await):
    """Peers that wait for their verdicts."""

    def __init__(self) -> None:
        self.verdicts: list[Deferred[Verdict]] = []
        super().__init__(ANYONE, judge=self._judge)
        self.peers = [self.comes(f"192.0.2.{host}") for host in range(8)]

    def _judge(self, host: str) -> Deferred[Verdict]:
        self.verdicts.append(Deferred())
        return self.verdicts[-1]

    @property
    def connected(self) -> list[int]:
        self.reactor.turn()
        return [host for host, peer in enumerate(self.peers) if peer.connected]


def test_so_many_wait_unread_and_the_first_that_is_allowed_comes_in() -> None:
    waiting = Waiting()
    assert not waiting.comes("192.0.2.99").connected
    waiting.verdicts[0].callback(DENIED)
    waiting.peers[2].deliver_reset()
    assert not any(peer.is_reading for peer in waiting.peers)
    waiting.verdicts[1].callback(ALLOWED)
    assert [stream.transport for stream in waiting.came] == [waiting.peers[1]]
    assert waiting.connected == [1]
    assert waiting.peers[1].is_reading
    assert all(verdict.called for verdict in waiting.verdicts)


@pytest.mark.parametrize(
    "end",
    [
        lambda waiting: waiting.reactor.advance(60),
        lambda waiting: waiting.found[0].close(),
        lambda waiting: waiting.found[0].peer.cancel(),
    ],
)
def test_every_way_out_closes_the_port_and_whoever_waits(end: Any) -> None:
    waiting = Waiting()
    waiting.reactor.advance(59.9)
    assert waiting.port.is_listening
    end(waiting)
    waiting.found[0].close()  # twice
    assert (waiting.connected, waiting.port.is_listening) == ([], False)
    assert waiting.reactor.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("host", "near", "expected"),
    [
        ("fe80::7%lo", "fe80::1", "fe80::1%lo"),
        ("fe80::7%lo", "2001:db8::1", "2001:db8::1"),
        ("2001:db8::7", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_a_link_local_peer_is_awaited_in_its_zone(
    host: str, near: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = MagicMock()
    probe().__enter__().getsockname.return_value = (near, 50000, 0, 1)
    for loopback in ("127.0.0.1", "::1"):
        assert peers.local_address_towards(loopback) == loopback
    monkeypatch.setattr(peers.socket, "socket", probe)
    assert peers.local_address_towards(host) == expected
    probe().__enter__().connect.assert_called_once_with(socket_name(host, 9))
