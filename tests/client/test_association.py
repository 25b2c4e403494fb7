"""UDP associations at one proxy or several, in memory: what they are asked for, and where and how datagrams go."""

from socket import if_nametoindex
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import succeed
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
)
from zope.interface import implementer

from socks5.client import Proxy, ProxyClosed, ProxyUnreachable
from socks5.protocol.gssapi import Message, MessageType, token_of
from tests.support.contexts import ClientContext, Half, Initiating
from tests.support.datagrams import RELAY, TARGET, Associated, datagram, reply
from tests.support.deferreds import told
from tests.support.reactor import FakeReactor
from tests.support.through import METHOD, OK, PROXY, proxies
from tests.support.transports import FakeTransport

SECOND = "socks5://second.example"


# ---------------------------------------------------------------- what is announced


@pytest.mark.parametrize("announce", ["port", "address"])
def test_what_is_announced(announce: str) -> None:
    program = Associated(announce=announce)
    program.opened()
    [control] = program.controls
    host = program.socket.getHost()
    assert len(program.reactor.udp_ports) == 1
    said = reply(host.host if announce == "address" else "0.0.0.0", host.port)
    assert control.value() == b"\5\1\0" + b"\5\3\0" + said[3:]
    port, _ = program.listen()
    port.write(b"", TARGET)
    assert len(program.socket.written) == 1


def test_a_port_that_cannot_be_had_is_not_announced() -> None:
    program = Associated(announce="address")
    program.reactor.listen_error = OSError("no room")
    outcome = told(program.udp.open())
    transport = program.accept(b"")
    assert transport.value().endswith(b"\5\3\0\1" + bytes(6))
    program.reactor.listen_error = None
    transport.deliver(OK)
    program.reactor.turn()
    assert outcome == [program.udp]


def test_a_relay_of_the_other_family_needs_another_socket() -> None:
    for announce in ("nothing", "address"):
        program = Associated(announce=announce)
        socket = program.opened(reply("2001:db8::5"))
        assert socket.getHost().host == "::"
        assert [each.is_listening for each in program.reactor.udp_ports][-1:] == [True]
        port, _ = program.listen()
        port.write(b"", TARGET)
        assert socket.written[0][1] == ("2001:db8::5", 8080)
        assert program.leaves_nothing()
    program = Associated("socks5://[2001:db8::9]")
    assert program.opened().getHost().host == "0.0.0.0"


# ---------------------------------------------------------------- where the relay is


@pytest.mark.parametrize(
    ("proxy", "said", "relay"),
    [
        ("198.51.100.9", "203.0.113.5", "203.0.113.5"),
        ("198.51.100.9", "::ffff:203.0.113.5", "203.0.113.5"),
        ("198.51.100.9", "0.0.0.0", "198.51.100.9"),
        ("198.51.100.9", "127.0.0.1", "198.51.100.9"),
        ("198.51.100.9", "10.1.2.3", "198.51.100.9"),
        ("10.1.2.3", "192.168.1.1", "192.168.1.1"),
        ("10.1.2.3", "198.51.100.9", "198.51.100.9"),
        ("127.0.0.1", "127.0.0.2", "127.0.0.2"),
        ("127.0.0.1", "10.1.2.3", "10.1.2.3"),
        ("[fd00::9]", "fe80::5", "fd00::9"),
    ],
)
def test_where_the_relay_is(proxy: str, said: str, relay: str) -> None:
    program = Associated(f"socks5://{proxy}")
    program.opened(reply(said))
    port, _ = program.listen()
    port.write(b"", TARGET)
    assert program.socket.written[0][1] == (relay, 8080)


@implementer(IStreamClientEndpoint)
class OfALink:
    """Leads to a proxy by addresses of one link, which are of no use without its zone."""

    def __init__(self, reactor: FakeReactor, near: str) -> None:
        host = IPv6Address("TCP", f"{near}%lo", 51234)
        peer = IPv6Address("TCP", "fe80::9%lo", 1080)
        self.transport = FakeTransport(reactor, host, peer)

    def connect(self, protocolFactory: Any) -> Any:
        protocol = protocolFactory.buildProtocol(None)
        self.transport.connect(protocol)
        return succeed(protocol)


@pytest.mark.parametrize("said", ["::", "fe80::9", "2001:db8::9"])
def test_a_proxy_of_a_link_is_sent_datagrams_with_its_zone(said: str) -> None:
    """From our end of the connection: the loopback's address, for the system has no such link."""
    reactor = FakeReactor()
    way = OfALink(reactor, "::1")
    program = Associated(Proxy.over(reactor, way), reactor)
    outcome = told(program.udp.open())
    for answer in (METHOD, reply(said)):
        reactor.turn()
        way.transport.deliver(answer)
    assert outcome == [program.udp]
    assert program.socket.getHost().host == "::1"
    port, protocol = program.listen()
    port.write(b"", TARGET)
    relay = said if said.startswith("2") else "fe80::9"
    assert program.socket.written[0][1] == (relay, 8080, 0, if_nametoindex("lo"))
    program.socket.receive(datagram(), (relay, 8080))
    assert protocol.notes == ["started", (b"pong", TARGET)]
    assert program.leaves_nothing()


def test_our_end_may_be_gone_from_the_link() -> None:
    reactor = FakeReactor()
    way = OfALink(reactor, "fe80::ffff:1")
    program = Associated(Proxy.over(reactor, way), reactor)
    outcome = told(program.udp.open())
    for answer in (METHOD, reply("::")):
        reactor.turn()
        way.transport.deliver(answer)
    [failure] = outcome
    assert failure.check(error.CannotListenError)  # type: ignore[union-attr]
    assert program.leaves_nothing()


def test_a_relay_that_the_program_knows_better() -> None:
    program = Associated(udp_address="::ffff:203.0.113.77")
    program.opened(reply("10.0.0.1"))
    port, _ = program.listen()
    port.write(b"", TARGET)
    assert program.socket.written[0][1] == ("203.0.113.77", 8080)


@pytest.mark.parametrize(
    ("addresses", "relay"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        (["2001:db8::7", "203.0.113.7"], "203.0.113.7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["127.0.0.1"], "192.0.2.9"),
        ([], "192.0.2.9"),
    ],
)
@pytest.mark.parametrize("timeout", [None, 5])
def test_a_relay_that_goes_by_a_name(
    addresses: list[str], relay: str, timeout: float | None
) -> None:
    reactor = FakeReactor()
    reactor.installNameResolver(Names(addresses))
    program = Associated(reactor=reactor, timeout=timeout)
    program.opened(b"\5\0\0\3\5relay\x1f\x90")
    port, _ = program.listen()
    port.write(b"", TARGET)
    assert program.socket.written[0][1] == (relay, 8080)
    assert program.leaves_nothing()


class Names:
    """A resolver; without a list it does not answer by itself."""

    def __init__(self, addresses: list[str] | None) -> None:
        self._addresses = addresses

    def resolveHostName(self, receiver: Any, name: str, port: int = 0) -> Any:
        self._receiver = receiver
        receiver.resolutionBegan(self)
        if self._addresses is not None:
            self.answer(*self._addresses)
        return self

    def answer(self, *addresses: str) -> None:
        for each in addresses:
            self._receiver.addressResolved(IPv4Address("TCP", each, 0))
        self._receiver.resolutionComplete()

    def cancel(self) -> None:
        """It has been told."""


@pytest.mark.parametrize("way", ["silence", "cancelled"])
def test_a_look_up_that_does_not_end(way: str) -> None:
    reactor = FakeReactor()
    reactor.installNameResolver(Names(None))
    program = Associated(reactor=reactor, timeout=5)
    opening = program.udp.open()
    outcome = told(opening)
    program.accept(b"\5\0\0\3\5relay\x1f\x90")
    assert outcome == []
    if way == "silence":
        reactor.advance(5)
        assert outcome == [program.udp]
    else:
        opening.cancel()
        assert outcome != [program.udp]
    assert program.leaves_nothing()


@pytest.mark.parametrize("hop", [1, 2])
def test_an_association_may_be_lost_while_its_relay_is_looked_for(hop: int) -> None:
    """Who has ended it is named."""
    reactor = FakeReactor()
    names = Names(None)
    reactor.installNameResolver(names)
    program = Associated(proxies(reactor, PROXY, SECOND), reactor)
    outcome = told(program.udp.open())
    controls = [program.accept(b"\5\0\0\3\5relay\x1f\x90"), program.accept(OK, (METHOD, OK))]
    controls[hop - 1].deliver_end()
    reactor.turn()
    assert outcome == []
    names.answer("203.0.113.7")
    assert outcome[0].check(ProxyClosed)
    assert outcome[0].value.hop == hop
    assert str(outcome[0].value).startswith(("192.0.2.9:1080: ", "second.example:1080: ")[hop - 1])
    assert program.leaves_nothing()


def test_what_was_in_the_way_to_a_proxy_is_told() -> None:
    program = Associated()
    outcome = told(program.udp.open())
    program.reactor.connectors[-1].fail(error.ConnectionRefusedError())
    program.reactor.turn()
    assert outcome[0].check(ProxyUnreachable)
    assert isinstance(outcome[0].value.__cause__, error.ConnectionRefusedError)
    assert program.leaves_nothing()


# ---------------------------------------------------------------- through several


class Chained(Associated):
    """Through two."""

    def __init__(self, second: bytes = reply("203.0.113.99", 9), **options: Any) -> None:
        reactor = FakeReactor()
        super().__init__(proxies(reactor, PROXY, SECOND), reactor, **options)
        self.outcome = told(self.udp.open())
        self.accept()
        self.accept(second, (METHOD, OK))


@pytest.mark.parametrize(
    ("second", "beyond"),
    [
        (("203.0.113.99", 9), ("203.0.113.99", 9)),
        (("10.0.0.9", 9), ("10.0.0.9", 9)),
        (("0.0.0.0", 9), (b"second.example", 9)),
        (("127.0.0.1", 9), (b"second.example", 9)),
        ((b"localhost", 9), (b"second.example", 9)),
        ((b"relay.example", 9), (b"relay.example", 9)),
    ],
)
def test_headers_are_nested(second: Any, beyond: Any) -> None:
    program = Chained(reply(*second))
    assert program.outcome == [program.udp]
    port, protocol = program.listen()
    port.write(b"ping", TARGET)
    assert program.socket.written == [(datagram(datagram(b"ping"), beyond), RELAY)]
    sender = beyond if isinstance(beyond[0], str) else ("203.0.113.99", 9)
    program.socket.receive(datagram(datagram(), sender), RELAY)
    assert protocol.notes == ["started", (b"pong", TARGET)]
    assert program.leaves_nothing()


def test_what_is_not_taken_through_several() -> None:
    program = Chained()
    _, protocol = program.listen()
    relay = ("203.0.113.99", 9)
    program.socket.receive(datagram(datagram(), ("203.0.113.98", 9)), RELAY)
    program.socket.receive(datagram(datagram(), ("203.0.113.99", 8)), RELAY)
    program.socket.receive(datagram(datagram(), relay, fragment=1), RELAY)
    program.socket.receive(datagram(datagram(fragment=1), relay), RELAY)
    program.socket.receive(datagram(b"", relay), RELAY)
    assert protocol.notes == ["started"]
    assert program.udp.dropped == {"stranger": 2, "fragment": 2, "malformed": 1}


def test_the_longest_datagram_through_several() -> None:
    reactor = FakeReactor()
    program = Associated(proxies(reactor, PROXY, SECOND), reactor)
    port, _ = program.listen()
    port.write(bytes(65507 - 10), TARGET)  # it is not known yet how much room there is
    program.accept()
    program.accept(reply("203.0.113.99"), (METHOD, OK))
    assert program.udp.dropped == {"long": 1}
    with pytest.raises(error.MessageLengthError):
        port.write(bytes(65507 - 19), TARGET)
    port.write(bytes(65507 - 20), TARGET)
    assert len(program.socket.written[0][0]) == 65507


def test_one_hop_that_has_none_is_enough() -> None:
    reactor = FakeReactor()
    program = Associated(proxies(reactor, PROXY, SECOND), reactor)
    outcome = told(program.udp.open())
    program.accept()
    program.accept(b"\5\7", (METHOD, OK))
    assert outcome[0].value.hop == 2
    assert program.leaves_nothing()


def test_each_hops_control_connection_counts() -> None:
    for lost in (0, 1):
        program = Chained()
        _, protocol = program.listen()
        program.controls[lost].deliver_end()
        program.reactor.turn()
        assert protocol.notes == ["started", "refused"]
        assert program.leaves_nothing()


# ---------------------------------------------------------------- in tokens


class Protected(Associated):
    """Through a proxy with a login by a security context, and then through one without."""

    def __init__(self, *beyond: str, **options: Any) -> None:
        reactor = FakeReactor()
        self.initiating = Initiating()
        first = Proxy.from_url(reactor, PROXY, gssapi=self.initiating)
        super().__init__(Proxy.chain(reactor, [first, *beyond]), reactor, **options)
        self.halves: list[Half] = []
        self.outcome = told(self.udp.open())
        for heard in ((OK,), (OK, METHOD, reply(*SECOND_RELAY)))[: 1 + len(beyond)]:
            self.accept_protected(*heard)

    def accept_protected(self, *heard: bytes) -> None:
        connector = next(each for each in self.reactor.connectors if each.state == "connecting")
        transport = connector.succeed()
        half = Half(b"the key.", b"server")
        level = half.wrap(b"\2", False)
        for each in (
            b"\5\1",
            Message(MessageType.CONTEXT, b"the key.").encode(),
            Message(MessageType.PROTECTION, level).encode(),
            *(self.wrap(half, each) for each in heard),
        ):
            transport.deliver(each)
            self.reactor.turn()
        self.controls.append(transport)
        self.halves.append(half)

    @staticmethod
    def wrap(half: Half, data: bytes) -> bytes:
        return Message(MessageType.ENCAPSULATED, half.wrap(data, True)).encode()

    def unwrap(self, data: bytes) -> bytes:
        """A datagram as the first proxy reads it."""
        return self.halves[0].unwrap(token_of(data))[0]


SECOND_RELAY = ("203.0.113.99", 9)


def test_datagrams_are_in_tokens_where_that_was_agreed() -> None:
    program = Protected()
    assert program.outcome == [program.udp]
    port, protocol = program.listen()
    port.write(b"ping", TARGET)
    [(sent, to)] = program.socket.written
    assert (program.unwrap(sent), to) == (datagram(b"ping"), RELAY)
    program.socket.receive(program.wrap(program.halves[0], datagram()), RELAY)
    program.socket.receive(datagram(), RELAY)
    assert protocol.notes == ["started", (b"pong", TARGET)]
    assert program.udp.dropped == {"malformed": 1}
    with pytest.raises(error.MessageLengthError):
        port.write(bytes(65507 - 10), TARGET)
    assert program.leaves_nothing()


def test_a_datagram_that_no_token_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClientContext, "size_limit", lambda self, is_confidential: 100)
    program = Protected()
    port, _ = program.listen()
    port.write(bytes(90), TARGET)
    with pytest.raises(error.MessageLengthError, match="a message takes 100"):
        port.write(bytes(91), TARGET)


def test_each_hop_has_its_own_tokens_or_none() -> None:
    program = Protected(SECOND)
    assert program.outcome == [program.udp]
    port, protocol = program.listen()
    port.write(b"ping", TARGET)
    [(sent, _)] = program.socket.written
    assert program.unwrap(sent) == datagram(datagram(b"ping"), SECOND_RELAY)
    answer = datagram(datagram(), SECOND_RELAY)
    program.socket.receive(program.wrap(program.halves[0], answer), RELAY)
    assert protocol.notes == ["started", (b"pong", TARGET)]
    assert program.initiating.kinds == ["datagrams", "octets"]
    assert program.leaves_nothing()
