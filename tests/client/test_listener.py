"""BIND as a listening port, in memory: what is told when, and how it can fail."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from socks5.client import (
    CommandNotSupported,
    HostUnreachable,
    Proxy,
    ProxyClosed,
    ProxyProtocolError,
    ProxyTimeout,
    TTLExpired,
    tunnel_of,
)
from socks5.client.hops import Hop
from socks5.client.urls import read
from socks5.client.whereabouts import own_address
from socks5.protocol.address import Address
from tests.support.deferreds import told
from tests.support.reactor import FakeReactor
from tests.support.through import METHOD, OK, PROXY, Asked, Program, proxies
from tests.support.transports import FakeTransport

PEER = "198.51.100.7"
CAME = bytes.fromhex("05 00 00 01 c6336407 0014")
"""The second reply: that peer, from port 20."""

ZEROS = bytes.fromhex("05 00 00 01 00000000 1f90")


class Bound(Asked):
    """One BIND, through a proxy."""

    def __init__(
        self,
        proxy: str | Proxy = PROXY,
        peer: str | None = None,
        *,
        port: int = 0,
        program: Program | None = None,
        reactor: FakeReactor | None = None,
        then: Callable[[Any], Any] = lambda port: port,
        **options: Any,
    ) -> None:
        self.reactor = reactor or FakeReactor()
        if isinstance(proxy, str):
            proxy = Proxy.from_url(self.reactor, proxy, **options)
        self.program = program or Program()
        self.deferred = proxy.bind(self.program, peer, port).addCallback(then)
        self.outcome = told(self.deferred)

    def listens(self, reply: bytes = OK, is_asked: bool = True) -> Any:
        """The first reply has come."""
        self.transport = self.accept()
        self.transport.deliver(METHOD)
        self.reactor.turn()
        self.transport.deliver(reply)
        self.reactor.turn()
        [port] = self.outcome
        self.accepted: list[Any] = told(port.when_accepted()) if is_asked else []
        return port


def test_a_port_is_told_and_then_its_peer() -> None:
    bound = Bound(peer=PEER, port=20)
    port = bound.listens()
    assert bound.transport.value() == b"\5\1\0" + b"\5\2\0\1\xc6\x33\x64\7\0\x14"
    assert verifyObject(IListeningPort, port)
    assert port.getHost() == IPv4Address("TCP", "203.0.113.5", 8080)
    assert (bound.accepted, bound.program.targets) == ([], [])
    with pytest.raises(error.CannotListenError):
        port.startListening()
    bound.transport.deliver(CAME + b"220 hi")
    came = IPv4Address("TCP", PEER, 20)
    assert bound.program.targets == [came]
    assert bound.program.notes == ["made", b"220 hi"]
    [protocol] = bound.accepted
    assert told(port.when_accepted()) == [protocol]
    assert protocol.transport.getPeer() == came
    assert protocol.transport.getHost() == port.getHost()
    tunnel = tunnel_of(protocol.transport)
    assert tunnel is not None
    assert (tunnel.target, tunnel.bound) == (came, Address(PEER, 20))
    assert told(port.stopListening()) == [None]
    assert bound.transport.connected
    protocol.transport.loseConnection()
    bound.reactor.turn()
    assert bound.leaves_nothing()


def test_both_replies_in_one_piece() -> None:
    bound = Bound(then=lambda port: port.when_accepted())
    transport = bound.accept()
    transport.deliver(METHOD)
    bound.reactor.turn()
    transport.deliver(OK + CAME + b"hi")
    assert bound.program.notes == ["made", b"hi"]
    assert len(bound.outcome) == 1
    assert not isinstance(bound.outcome[0], Failure)


def test_octet_by_octet() -> None:
    bound = Bound()
    transport = bound.accept()
    for octet in METHOD + OK + CAME + b"x":
        transport.deliver(bytes((octet,)))
    assert bound.program.notes == ["made", b"x"]


def test_who_gives_up_at_the_first_reply_gets_no_peer() -> None:
    bound = Bound(then=lambda port: port.stopListening())
    transport = bound.accept()
    transport.deliver(METHOD)
    bound.reactor.turn()
    transport.deliver(OK + CAME)
    assert bound.program.targets == []
    assert bound.leaves_nothing()
    assert not transport.connected


@pytest.mark.parametrize(
    ("reply", "host"),
    [
        ("04 00000000000000000000ffffcb007105 1f90", IPv4Address("TCP", "203.0.113.5", 8080)),
        ("04 20010db8000000000000000000000005 1f90", IPv6Address("TCP", "2001:db8::5", 8080)),
        ("03 03 777777 1f90", HostnameAddress(b"www", 8080)),
        ("03 00 1f90", IPv4Address("TCP", "192.0.2.9", 8080)),
        ("01 00000000 1f90", IPv4Address("TCP", "192.0.2.9", 8080)),
    ],
    ids=["mapped", "IPv6", "name", "no name", "zeros"],
)
def test_where_it_listens(reply: str, host: Any) -> None:
    assert Bound().listens(b"\5\0\0" + bytes.fromhex(reply)).getHost() == host


def test_an_unknown_address_is_the_last_hops() -> None:
    reactor = FakeReactor()
    bound = Bound(proxies(reactor, PROXY, "socks5://second.example"), reactor=reactor)
    transport = bound.accept()
    for heard in (METHOD, OK, METHOD, ZEROS):
        transport.deliver(heard)
        reactor.turn()
    [port] = bound.outcome
    assert port.getHost() == HostnameAddress(b"second.example", 8080)
    transport.deliver(CAME)
    assert bound.program.targets == [IPv4Address("TCP", PEER, 20)]


@pytest.mark.parametrize(
    "came",
    ["01 c6336408 0014", "01 00000000 0000", "03 03 777777 0014", "04" + "00" * 18],
    ids=["another", "unknown", "name", "IPv6"],
)
def test_another_peer_is_turned_away(came: str) -> None:
    bound = Bound(peer=PEER)
    bound.listens()
    bound.transport.deliver(b"\5\0\0" + bytes.fromhex(came))
    [failure] = bound.accepted
    assert type(failure.value) is ProxyProtocolError
    assert failure.value.stage == "peer"
    assert bound.program.targets == []
    assert bound.leaves_nothing()
    assert not bound.transport.connected


@pytest.mark.parametrize("peer", [None, "0.0.0.0", "www.example.org", "::ffff:198.51.100.7"])
def test_any_peer_that_the_proxy_lets_in(peer: str | None) -> None:
    bound = Bound(peer=peer)
    bound.listens()
    bound.transport.deliver(b"\5\0\0\4" + bytes(10) + b"\xff\xff" + CAME[4:])
    assert bound.program.targets == [IPv4Address("TCP", PEER, 20)]


FAILURES: dict[str, tuple[bytes, type[Exception]]] = {
    "failure": (b"\5\6", TTLExpired),
    "garbage": (b"\4", ProxyProtocolError),
    "end": (b"", ProxyClosed),
}


@pytest.mark.parametrize("is_asked", [False, True])
@pytest.mark.parametrize("way", FAILURES)
def test_a_peer_that_does_not_come(way: str, is_asked: bool, log: list[str]) -> None:
    """Whoever asks is told; a line is logged if nobody does."""
    data, kind = FAILURES[way]
    bound = Bound()
    port = bound.listens(is_asked=is_asked)
    if data:
        bound.transport.deliver(data)
    else:
        bound.transport.deliver_end()
        bound.reactor.turn()
    [failure] = told(port.when_accepted())
    assert (type(failure.value), failure.value.stage) == (kind, "peer")
    assert bound.accepted == ([failure] if is_asked else [])
    assert [line for line in log if "no peer came" in line] == (
        [] if is_asked else [f"no peer came: {failure.value}"]
    )
    assert bound.leaves_nothing()
    assert not bound.transport.connected


@pytest.mark.parametrize("is_asked", [False, True])
def test_a_port_that_is_stopped(is_asked: bool, log: list[str]) -> None:
    bound = Bound(timeout=5)
    port = bound.listens(is_asked=is_asked)
    bound.reactor.advance(100)  # the time-out is over
    assert bound.accepted == []
    for _ in range(2):
        assert told(port.stopListening()) == [None]
    [failure] = told(port.when_accepted())
    assert failure.check(error.ConnectingCancelledError)
    assert bound.accepted == ([failure] if is_asked else [])
    assert not any("no peer" in line for line in log)
    assert bound.leaves_nothing()


def test_one_who_waits_no_more_is_not_missed() -> None:
    bound = Bound()
    port = bound.listens()
    waiting = port.when_accepted()
    outcome = told(waiting)
    waiting.cancel()
    assert outcome[0].check(CancelledError)
    bound.transport.deliver(CAME)
    assert len(bound.accepted) == 1


def test_a_factory_that_builds_none() -> None:
    bound = Bound(program=Program(builds=lambda _: None))
    bound.listens()
    bound.transport.deliver(CAME)
    assert bound.accepted[0].check(error.NoProtocol)
    assert bound.leaves_nothing()


@pytest.mark.parametrize("way", ["refused", "cancelled", "silence", "end"])
def test_there_is_no_port(way: str) -> None:
    bound = Bound(timeout=5)
    transport = bound.accept()
    transport.deliver(METHOD)
    kind: Any = {
        "refused": CommandNotSupported,
        "cancelled": error.ConnectingCancelledError,
        "silence": ProxyTimeout,
        "end": ProxyClosed,
    }[way]
    if way == "refused":
        transport.deliver(b"\5\7")
    elif way == "cancelled":
        bound.deferred.cancel()
    elif way == "silence":
        bound.reactor.advance(5)
    else:
        transport.deliver_end()
        bound.reactor.turn()
    assert type(bound.error) is kind
    if way == "refused":
        assert str(bound.error).startswith("192.0.2.9:1080 (hop 1), asked for a port for a peer: ")
    assert bound.leaves_nothing()


def test_a_peers_name_that_no_proxy_is_to_know() -> None:
    """It is resolved here, and another of its addresses is asked for only where there is no port for one."""
    bound = Bound(peer="www.example.org", rdns=False)
    bound.listens()
    assert bound.transport.value().endswith(b"\5\2\0\1\x7f\0\0\1\0\0")
    bound.transport.deliver(b"\5\4")
    assert type(bound.accepted[0].value) is HostUnreachable
    assert bound.leaves_nothing()


def test_on_a_unix_socket_the_proxy_is_on_this_host() -> None:
    class Unix(FakeTransport):
        def getPeer(self) -> Any:
            return UNIXAddress("/run/proxy")

    hops = [Hop(read("socks5://localhost/run/proxy")[0])]
    transport = Unix(FakeReactor(), UNIXAddress(None), UNIXAddress(None))  # type: ignore[arg-type]
    assert own_address(hops, transport) == "127.0.0.1"


@pytest.mark.parametrize(
    ("proxy", "peer", "port", "words"),
    [
        ("http://192.0.2.9:8080", None, 0, "an HTTP proxy knows no BIND"),
        (PROXY, "fe80::1%eth0", 0, "an address with a zone"),
        (PROXY, "a" * 256, 0, "1-255 octets"),
        (PROXY, PEER, 65536, "from 0 to 65535"),
        (PROXY, None, -1, "from 0 to 65535"),
    ],
)
def test_wrong_arguments(proxy: str, peer: str | None, port: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Bound(proxy, peer, port=port)
