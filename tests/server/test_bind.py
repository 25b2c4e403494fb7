"""BIND in memory: where it listens, what the two replies say, who comes in, and when the port closes."""

import errno
from typing import Any

import pytest
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError

from socks5 import OutgoingFamily, PerFamily, Settings
from socks5.access import ALLOWED, DENIED, Verdict
from socks5.outbound import peers
from socks5.relay.relay import RESET_DELAYS
from socks5.server import stream_command
from tests.support.failures import Failures
from tests.support.providers import Allow
from tests.support.reactor import FakeTCPPort
from tests.support.sessions import (
    BIND,
    GREETING,
    NO_AUTHENTICATION,
    TARGET,
    Client,
    Server,
    octets,
    refusal,
)
from tests.support.transports import CLIENT, FakeTransport, address

ANYONE = octets("01 00000000 0000")
NAME = octets("03 0b 6578616d706c652e6f7267 0050")  # example.org:80
IPV6 = octets("04 20010db8000000000000000000000050 0050")  # [2001:db8::50]:80
LOOPBACK = octets("01 7f000001 0050")

LISTENING = octets("05 00 00 01 cb007101 9c40")  # at 203.0.113.1:40000, the first free port
PEER = address("192.0.2.80", 20)  # who TARGET names
PEER_CAME = octets("05 00 00 01 c0000250 0014")
STRANGER = address("192.0.2.81", 20)


def listening(server: Server, target: bytes = TARGET, **options: Any) -> tuple[Client, FakeTCPPort]:
    """A client that has its first reply, and the port behind it."""
    client = server.client(GREETING, BIND + target, **options)
    return client, server.reactor.tcp_ports[-1]


def joined(server: Server) -> tuple[Client, FakeTransport]:
    """A client that has both replies, and the transport towards its peer."""
    client, port = listening(server)
    peer = port.connect(PEER)
    assert client.received() == NO_AUTHENTICATION + LISTENING + PEER_CAME
    return client, peer


def comes(port: FakeTCPPort, peer: Any) -> bool:
    """Whether a peer that connects is let in."""
    transport = port.connect(peer)
    transport.reactor.turn()
    return transport.connected


@pytest.fixture
def route(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A routing table that leads everywhere by one address of each family; the hosts it was asked for."""
    asked: list[str] = []

    def towards(host: str) -> str:
        asked.append(host)
        return "2001:db8::10" if ":" in host else "192.0.2.10"

    monkeypatch.setattr(peers, "local_address_towards", towards)
    return asked


# ---------------------------------------------------------------- the replies


def test_first_reply_has_the_listening_address_and_the_second_the_peers() -> None:
    server = Server()
    client, port = listening(server)
    assert client.received() == NO_AUTHENTICATION + LISTENING
    port.connect(PEER)
    assert client.received() == PEER_CAME
    assert server.counters.replies == {0: 2}
    client.reset()
    server.reactor.advance(RESET_DELAYS[0])
    assert [record.bound for record in server.records] == ["192.0.2.80:20"]


def test_second_reply_unmaps_the_peer() -> None:
    client, port = listening(Server())
    port.connect(address("::ffff:192.0.2.80", 20))
    assert client.received() == NO_AUTHENTICATION + LISTENING + PEER_CAME


@pytest.mark.parametrize(
    ("host", "reply"),
    [
        (address("203.0.113.1", 1080), "01 c0000263 9c40"),
        (address("2001:db8::1", 1080), "04 20010db8000000000000000000000063 9c40"),
    ],
)
def test_first_reply_has_the_advertised_address(host: Any, reply: str) -> None:
    server = Server(Settings(advertise=PerFamily("192.0.2.99", "2001:db8::63")))
    client, port = listening(server, ANYONE, host=host)
    assert port.getHost().host == host.host
    assert client.received() == NO_AUTHENTICATION + octets("05 00 00" + reply)


# ---------------------------------------------------------------- where it listens


@pytest.mark.parametrize("target", [ANYONE, TARGET])
def test_listens_on_the_control_connections_address(target: bytes) -> None:
    _, port = listening(Server(), target)
    assert port.getHost() == address("203.0.113.1", 40000)


def test_listens_on_the_unmapped_address_of_a_mapped_control_connection() -> None:
    client, port = listening(Server(), host=address("::ffff:203.0.113.1", 1080))
    assert port.getHost() == address("203.0.113.1", 40000)
    assert client.received() == NO_AUTHENTICATION + LISTENING


def test_link_local_interface_keeps_its_zone() -> None:
    client, port = listening(Server(), ANYONE, host=address("fe80::1%eth0", 1080))
    assert port.getHost().host == "fe80::1%eth0"
    reply = octets("05 00 00 04 fe800000000000000000000000000001 9c40")
    assert client.received() == NO_AUTHENTICATION + reply


@pytest.mark.parametrize(("target", "host"), [(TARGET, "192.0.2.99"), (IPV6, "2001:db8::63")])
def test_listens_on_the_outgoing_address_of_the_peers_family(target: bytes, host: str) -> None:
    server = Server(Settings(outgoing=PerFamily("192.0.2.99", "2001:db8::63")))
    _, port = listening(server, target)
    assert port.getHost().host == host


@pytest.mark.parametrize(
    ("family", "target", "code"),
    [
        (OutgoingFamily.IPV4, IPV6, 8),
        (OutgoingFamily.IPV6, TARGET, 8),
        (OutgoingFamily.IPV6, NAME, 8),
        (OutgoingFamily.IPV6, ANYONE, 8),  # over the control connection's family, IPv4
    ],
)
def test_a_peer_of_a_family_that_is_not_used_is_not_awaited(
    family: OutgoingFamily, target: bytes, code: int
) -> None:
    server = Server(Settings(outgoing_family=family))
    server.resolver.answers[b"example.org"] = ["192.0.2.80"]
    client = server.client(GREETING, BIND + target)
    assert client.received() == NO_AUTHENTICATION + refusal(code)
    assert server.reactor.tcp_ports == []


@pytest.mark.parametrize(
    ("outgoing", "host", "bound"),
    [
        (PerFamily(ipv4="192.0.2.99"), "2001:db8::1", "192.0.2.99"),
        (PerFamily(ipv6="2001:db8::63"), "203.0.113.1", "2001:db8::63"),
    ],
)
def test_anybody_is_awaited_over_the_family_that_is_used(
    outgoing: PerFamily, host: str, bound: str
) -> None:
    server = Server(Settings(outgoing=outgoing))
    _, port = listening(server, ANYONE, host=address(host, 1080))
    assert port.getHost().host == bound


def test_of_a_name_the_peers_of_the_family_that_is_used_are_awaited(route: list[str]) -> None:
    server = Server(Settings(outgoing_family=OutgoingFamily.IPV6))
    server.resolver.answers[b"example.org"] = ["192.0.2.80", "2001:db8::50"]
    _, port = listening(server, NAME)
    assert port.getHost().host == "2001:db8::10"
    assert port.connect(address("2001:db8::50", 20)).connected


def test_peer_of_the_other_family_is_awaited_where_it_can_come(route: list[str]) -> None:
    client, port = listening(Server(), IPV6)
    assert route == ["2001:db8::50"]
    assert port.getHost().host == "2001:db8::10"
    port.connect(address("2001:db8::50", 20))
    first = octets("05 00 00 04 20010db8000000000000000000000010 9c40")
    second = octets("05 00 00 04 20010db8000000000000000000000050 0014")
    assert client.received() == NO_AUTHENTICATION + first + second


def test_peer_elsewhere_is_not_awaited_on_the_loopback(route: list[str]) -> None:
    _, port = listening(Server(), host=address("127.0.0.1", 1080))
    assert route == ["192.0.2.80"]
    assert port.getHost().host == "192.0.2.10"


def test_peer_elsewhere_is_awaited_in_the_control_connections_family(route: list[str]) -> None:
    server = Server()
    server.resolver.answers[b"example.org"] = ["2001:db8::50", "192.0.2.80"]
    listening(server, NAME, host=address("127.0.0.1", 1080))
    assert route == ["192.0.2.80"]


def test_peer_on_this_host_is_awaited_on_the_loopback(route: list[str]) -> None:
    local = {"peer": address("127.0.0.1", 50000), "host": address("127.0.0.1", 1080)}
    _, port = listening(Server(), LOOPBACK, **local)
    assert route == []
    assert port.getHost().host == "127.0.0.1"


def test_unix_clients_peer_is_awaited_where_it_can_come(route: list[str]) -> None:
    unix = UNIXAddress(None)
    _, port = listening(Server(), TARGET, peer=unix, host=unix)
    assert port.getHost().host == "192.0.2.10"
    _, port = listening(Server(), ANYONE, peer=unix, host=unix)
    assert port.getHost().host == "127.0.0.1"


def test_no_route_to_the_peer_gets_reply_3(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(host: str) -> str:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(peers, "local_address_towards", nowhere)
    server = Server()
    client = server.client(GREETING, BIND + IPV6)
    assert client.received() == NO_AUTHENTICATION + refusal(3)
    assert client.sees == "end"


@pytest.mark.parametrize(("number", "code"), [(errno.EADDRNOTAVAIL, 3), (errno.EMFILE, 1)])
def test_interface_that_cannot_be_listened_on_gets_its_reply(number: int, code: int) -> None:
    server = Server()
    server.reactor.listen_error = OSError(number, "")
    client = server.client(GREETING, BIND + TARGET)
    assert client.received() == NO_AUTHENTICATION + refusal(code)
    assert client.sees == "end"


# ---------------------------------------------------------------- who comes in


def test_stranger_is_turned_away_and_the_wait_goes_on() -> None:
    client, port = listening(Server())
    for _ in range(3):
        assert not port.connect(STRANGER).connected
    assert client.received() == NO_AUTHENTICATION + LISTENING
    assert port.connect(PEER).connected
    assert client.received() == PEER_CAME


def test_named_port_does_not_matter() -> None:
    client, port = listening(Server())
    assert port.connect(address("192.0.2.80", 33333)).connected
    assert client.received() == NO_AUTHENTICATION + LISTENING + octets("05 00 00 01 c0000250 8235")


@pytest.mark.parametrize("host", ["192.0.2.80", "192.0.2.82"])
def test_any_address_of_a_named_peer_may_come(host: str) -> None:
    server = Server()
    server.resolver.answers[b"example.org"] = ["192.0.2.80", "2001:db8::50", "192.0.2.82"]
    _, port = listening(server, NAME)
    assert not port.connect(STRANGER).connected
    assert port.connect(address(host, 20)).connected


def test_address_as_a_name_is_an_address() -> None:
    server = Server()
    _, port = listening(server, octets("03 0a 3139322e302e322e3830 0050"))  # 192.0.2.80
    assert server.resolver.asked == []
    assert port.connect(PEER).connected


@pytest.mark.usefixtures("route")
def test_peer_with_a_zone_is_the_one_without() -> None:
    server = Server(rules=Allow(lambda *_: True))
    name = b"fe80::50%lo"
    _, port = listening(server, octets("03") + bytes([len(name)]) + name + octets("0050"))
    assert port.connect(address("fe80::50%lo", 20)).connected


def test_mapped_address_is_the_one_it_means() -> None:
    _, port = listening(Server(), octets("04 00000000000000000000ffffc0000250 0050"))
    assert port.getHost().host == "203.0.113.1"
    assert port.connect(PEER).connected


@pytest.mark.parametrize("zeros", ["01 00000000 0000", "04" + 16 * "00" + "0000", "03 00 0000"])
def test_zeros_let_anyone_come(zeros: str) -> None:
    _, port = listening(Server(), octets(zeros))
    assert port.connect(STRANGER).connected


def test_rules_judge_the_peer() -> None:
    rules = Allow(lambda _, host: host in (None, "192.0.2.81"))
    _, port = listening(Server(rules=rules), ANYONE)
    assert not comes(port, PEER)
    assert comes(port, STRANGER)
    assert [host for _, host in rules.asked] == [None, "192.0.2.80", "192.0.2.81"]


class Waiting:
    """Peers of one BIND, and the verdicts that they wait for."""

    def __init__(self, **settings: Any) -> None:
        self.verdicts: list[Deferred[Verdict]] = []
        self.server = Server(Settings(**settings), rules=Allow(self._judge))
        self.client, self.port = listening(self.server, ANYONE)
        self.peers = [self.port.connect(address(f"192.0.2.{host}", 20)) for host in range(8)]
        self.server.reactor.turn()
        self.client.received()

    def _judge(self, _: object, host: str | None) -> Any:
        if host is None:
            return ALLOWED
        self.verdicts.append(Deferred())
        return self.verdicts[-1]

    @property
    def connected(self) -> list[int]:
        self.server.reactor.turn()
        return [host for host, peer in enumerate(self.peers) if peer.connected]


def test_peers_wait_for_their_verdicts_and_the_first_that_is_allowed_comes_in() -> None:
    waiting = Waiting()
    assert not comes(waiting.port, STRANGER), "no more than eight wait"
    waiting.peers[1].deliver(b"early")
    waiting.verdicts[0].callback(DENIED)
    waiting.peers[2].deliver_reset()
    waiting.verdicts[1].callback(ALLOWED)
    assert waiting.client.received() == octets("05 00 00 01 c0000201 0014") + b"early"
    assert waiting.connected == [1]
    assert all(verdict.called for verdict in waiting.verdicts)
    assert not waiting.port.is_listening


@pytest.mark.parametrize("is_late", [False, True])
def test_none_waits_longer_than_the_command(is_late: bool) -> None:
    waiting = Waiting(bind_timeout=60)
    if is_late:
        waiting.server.reactor.advance(60)
        assert waiting.client.received() == refusal(6)
    else:
        waiting.client.end()
    assert waiting.connected == []
    assert all(verdict.called for verdict in waiting.verdicts)


def test_client_elsewhere_cannot_let_this_host_in() -> None:
    _, port = listening(Server(), ANYONE)
    assert not comes(port, address("127.0.0.1", 20))
    assert port.is_listening


def test_bug_in_the_rules_ends_the_wait(failures: Failures) -> None:
    rules = Allow(lambda _, host: host is None or bool(1 / 0))
    server = Server(rules=rules)
    client, port = listening(server, ANYONE)
    assert not comes(port, PEER)
    assert failures.take(ZeroDivisionError) == ["division by zero"]
    assert client.received() == NO_AUTHENTICATION + LISTENING + refusal(1)
    assert not port.is_listening


def test_bug_once_the_peer_is_there_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch, failures: Failures
) -> None:
    monkeypatch.setattr(stream_command, "join", lambda *_: 1 / 0)
    server = Server()
    client, port = listening(server)
    peer = port.connect(PEER)
    assert failures.take(ZeroDivisionError) == ["division by zero"]
    assert client.received() == NO_AUTHENTICATION + LISTENING + refusal(1)
    client.end()
    assert not client.is_connected
    assert not peer.connected
    assert list(server.factory.sessions) == []
    assert [record.reason for record in server.records] == ["internal error"]


def test_peer_that_the_rules_forbid_is_not_even_awaited(route: list[str]) -> None:
    """Otherwise a stranger could open ports on this host's loopback."""
    server = Server()
    client = server.client(GREETING, BIND + LOOPBACK)
    assert client.received() == NO_AUTHENTICATION + refusal(2)
    assert server.reactor.tcp_ports == []
    client.end()
    assert [record.reason for record in server.records] == [
        "NotAllowed: the rules forbid the expected peer"
    ]


def test_client_that_names_no_peer_gets_the_port_that_it_asks_for() -> None:
    _, port = listening(Server(), octets("01 00000000 1f90"))
    assert port.getHost().port == 8080


def test_taken_port_is_replaced() -> None:
    server = Server()
    server.reactor.taken_ports = {8080}
    _, port = listening(server, octets("01 00000000 1f90"))
    assert port.getHost().port == 40000


@pytest.mark.parametrize(("asked", "port"), [("0050", 40000), ("03ff", 40000), ("0400", 1024)])
def test_port_that_belongs_to_the_system_is_not_given_away(asked: str, port: int) -> None:
    _, listening_port = listening(Server(), octets("01 00000000" + asked))
    assert listening_port.getHost().port == port


def test_named_peers_port_is_not_where_it_is_awaited() -> None:
    _, port = listening(Server(), octets("01 c0000250 1f90"))
    assert port.getHost().port == 40000


def test_second_peer_finds_nobody() -> None:
    _, port = listening(Server())
    port.connect(PEER)
    assert not port.is_listening
    with pytest.raises(ConnectionRefusedError):
        port.connect(PEER)


def test_second_peer_of_one_reading_is_turned_away() -> None:
    _, port = listening(Server())
    port.connect(PEER)
    assert port.factory.buildProtocol(PEER) is None


# ---------------------------------------------------------------- names


def test_name_is_resolved_before_the_first_reply() -> None:
    server = Server()
    client = server.client(GREETING, BIND + NAME)
    assert client.received() == NO_AUTHENTICATION
    assert server.resolver.askers == [CLIENT.host]
    server.resolver.answer(b"example.org", ["192.0.2.80"])
    assert client.received() == LISTENING


def test_unknown_name_gets_reply_4() -> None:
    server = Server()
    client = server.client(GREETING, BIND + NAME)
    server.resolver.answer(b"example.org", DNSLookupError())
    assert client.received() == NO_AUTHENTICATION + refusal(4)
    assert server.reactor.tcp_ports == []


def test_bug_in_the_resolver_is_logged_and_gets_reply_1(failures: Failures) -> None:
    server = Server()
    client = server.client(GREETING, BIND + NAME)
    server.resolver.answer(b"example.org", RuntimeError("a bug"))
    assert failures.take(RuntimeError) == ["a bug"]
    assert client.received() == NO_AUTHENTICATION + refusal(1)


def test_resolver_that_raises_is_logged_and_gets_reply_1(failures: Failures) -> None:
    server = Server()
    server.resolver.resolve = lambda name, client: 1 // 0
    client = server.client(GREETING, BIND + NAME)
    assert len(failures.take(ZeroDivisionError)) == 1
    assert client.received() == NO_AUTHENTICATION + refusal(1)


@pytest.mark.parametrize("leave", [Client.end, Client.reset])
def test_client_that_leaves_cancels_the_lookup(leave: Any) -> None:
    server = Server()
    client = server.client(GREETING, BIND + NAME)
    leave(client)
    assert server.resolver.cancelled == [b"example.org"]
    assert not client.is_connected
    assert server.reactor.tcp_ports == []


# ---------------------------------------------------------------- every way out closes the port


def test_wait_is_bounded() -> None:
    server = Server()
    client, port = listening(server)
    server.reactor.advance(59.99)
    assert port.is_listening
    assert client.received() == NO_AUTHENTICATION + LISTENING
    server.reactor.advance(0.01)
    assert not port.is_listening
    assert client.received() == refusal(6)
    assert client.sees == "end"
    client.end()
    (record,) = server.records
    assert (record.reply, record.reason) == (6, "TTLExpired: no peer connected in time")
    assert (record.bytes_up, record.bytes_down, record.dropped) == (0, 0, 0)


def test_wait_ends_with_the_peer() -> None:
    server = Server()
    client, peer = joined(server)
    server.reactor.advance(3600)
    peer.deliver(b"late")
    assert client.received() == b"late"


@pytest.mark.parametrize("leave", [Client.end, Client.reset])
def test_client_that_leaves_closes_the_port(leave: Any) -> None:
    server = Server()
    client, port = listening(server)
    leave(client)
    assert not port.is_listening
    assert not client.is_connected
    server.reactor.advance(60)
    assert [record.reply for record in server.records] == [0]


def test_shutdown_closes_both_sides() -> None:
    server = Server()
    client, peer = joined(server)
    server.factory.close_sessions("shutdown", 1)
    assert client.sees == peer.far_sees == "end"


def test_shutdown_closes_the_port() -> None:
    server = Server()
    client, port = listening(server)
    server.factory.close_sessions("shutdown", 1)
    assert not port.is_listening
    assert client.sees == "end"


# ---------------------------------------------------------------- afterwards


def test_octets_pass_both_ways() -> None:
    server = Server()
    client, peer = joined(server)
    client.send(b"up")
    peer.deliver(b"down")
    assert (peer.value(), client.received()) == (b"up", b"down")
    client.reset()
    server.reactor.advance(RESET_DELAYS[0])
    assert peer.far_sees == "reset"
    assert [(record.bytes_up, record.bytes_down) for record in server.records] == [(2, 4)]


def test_octets_before_the_peer_are_kept() -> None:
    server = Server(Settings(max_optimistic=8))
    client, port = listening(server)
    client.send(b"12345678")
    assert client.transport.is_reading
    client.send(b"9")
    assert not client.transport.is_reading
    peer = port.connect(PEER)
    server.reactor.turn()
    assert peer.value() == b"123456789"
    assert client.transport.is_reading


def test_octets_and_an_end_before_the_peer_are_kept() -> None:
    server = Server()
    client, port = listening(server)
    client.send(b"!")
    client.end()
    assert port.is_listening
    peer = port.connect(PEER)
    server.reactor.turn()
    assert (peer.value(), peer.far_sees) == (b"!", "end")
    peer.deliver_end()
    assert not client.is_connected


@pytest.mark.parametrize("is_client_first", [False, True])
def test_an_end_passes_and_the_other_direction_goes_on(is_client_first: bool) -> None:
    server = Server()
    client, peer = joined(server)
    if is_client_first:
        client.end()
        assert peer.far_sees == "end"
        peer.deliver(b"down")
        peer.deliver_end()
        assert client.received() == b"down"
    else:
        peer.deliver_end()
        assert client.sees == "end"
        client.send(b"up")
        client.end()
        assert peer.value() == b"up"
    assert not client.is_connected
    assert not peer.connected


def test_peers_connection_sends_at_once() -> None:
    _, peer = joined(Server())
    assert peer.nodelay
