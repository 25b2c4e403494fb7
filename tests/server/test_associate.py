"""UDP ASSOCIATE in memory: who may use an association, what passes it, what is dropped, when it ends."""

import errno
import random
from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import DNSLookupError, MessageLengthError
from zope.interface.verify import verifyObject

from socks5 import OutgoingFamily, PerFamily, Settings, UDPFiltering, UDPPin
from socks5.access import ALLOWED, DENIED, Reason, Verdict
from socks5.interfaces import ICommand
from socks5.net.own import ports_of
from socks5.net.turns import LOOKUP, turns_of
from socks5.outbound import ourselves
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from socks5.protocol.messages import Command
from socks5.server.associate import Associate
from tests.support import sessions
from tests.support.failures import Failures
from tests.support.providers import Allow, Begun, Logins
from tests.support.reactor import FakeUDPPort
from tests.support.sessions import (
    ASSOCIATE,
    GREETING,
    NO_AUTHENTICATION,
    Client,
    Server,
    octets,
    refusal,
)
from tests.support.transports import CLIENT, SERVER, FakeTLSTransport, FakeTransport, address

HOST = "198.51.100.7"  # the control connection's peer
FROM = (HOST, 5000)
MOVED = (HOST, 5001)

TARGET = ("192.0.2.53", 53)
TARGET6 = ("2001:db8::53", 53)
OTHER = ("192.0.2.54", 53)
SAME_HOST = (TARGET[0], 5353)

ASSOCIATED = octets("05 00 00 01 cb007101 9c40")  # at 203.0.113.1:40000, the first free port


def to(target: tuple[str | bytes, int], payload: bytes = b"ping", fragment: int = 0) -> bytes:
    """A client's datagram, as RFC 1928 section 7 has it."""
    return Datagram(Address(*target), payload, fragment).encode()


class Association:
    """A client with an association.

    :param parameters: as for :class:`~tests.support.sessions.Server`.
    :param announced: DST.ADDR and DST.PORT of the request.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        announced: tuple[str, int] = ("0.0.0.0", 0),
        host: Any = SERVER,
        peer: Any = CLIENT,
        kind: type[FakeTransport] = FakeTransport,
        server: Server | None = None,
        **parameters: Any,
    ) -> None:
        self.server = server or Server(settings, **parameters)
        self.reactor = self.server.reactor
        request = octets("05 03 00") + Address(*announced).encode()
        first = len(self.reactor.udp_ports)
        self.client = self.server.client(GREETING, request, host=host, peer=peer, kind=kind)
        self.reply = self.client.received().removeprefix(NO_AUTHENTICATION)
        self._ports = self.reactor.udp_ports[first:]

    @property
    def near(self) -> FakeUDPPort:
        """The client-facing socket."""
        return self._ports[0]

    @property
    def far(self) -> list[FakeUDPPort]:
        """The outbound sockets, in the order in which they were opened."""
        return self.reactor.udp_ports[self.reactor.udp_ports.index(self.near) + 1 :]

    @property
    def sent(self) -> list[tuple[bytes, tuple[str, int]]]:
        """Payloads and targets of what left, over all outbound sockets in their order."""
        return [each for port in self.far for each in port.written]

    @property
    def received(self) -> list[tuple[bytes, tuple[str, int], tuple[str, int]]]:
        """What went to the client: payload, the sender in the header, and where it was sent."""
        decoded = [(Datagram.decode(data), where) for data, where in self.near.written]
        return [(each.payload, (each.address.text, each.address.port), to) for each, to in decoded]

    @property
    def dropped(self) -> dict[str, int]:
        return dict(self.server.counters.dropped)

    def ask(self, *targets: tuple[str | bytes, int], sender: tuple[str, int] = FROM) -> None:
        """The client sends one datagram to each target."""
        for target in targets or (TARGET,):
            self.near.receive(to(target), sender)

    @property
    def is_alive(self) -> bool:
        return self.near.is_listening and self.client.is_connected


# ---------------------------------------------------------------- the reply


def test_reply_has_the_address_that_answers_come_from() -> None:
    association = Association()
    assert association.reply == ASSOCIATED
    assert association.near.getHost() == address("203.0.113.1", 40000, "UDP")
    association.ask()
    association.far[0].receive(b"pong", TARGET)
    assert association.received == [(b"pong", TARGET, FROM)]


@pytest.mark.parametrize(
    ("host", "peer", "bound"),
    [
        ("2001:db8::1", "2001:db8::7", "04 20010db8000000000000000000000001 9c40"),
        ("::ffff:203.0.113.1", "::ffff:198.51.100.7", "01 cb007101 9c40"),
        ("fe80::1%eth0", "fe80::7%eth0", "04 fe800000000000000000000000000001 9c40"),
    ],
)
def test_socket_is_on_the_control_connections_address(host: str, peer: str, bound: str) -> None:
    association = Association(host=address(host, 1080), peer=address(peer, 51234))
    assert association.near.getHost().host == host.removeprefix("::ffff:")
    assert association.reply == octets("05 00 00" + bound)
    association.ask(sender=(peer, 5000))
    assert association.sent == [(b"ping", TARGET)]


def test_unix_clients_socket_is_on_the_loopback() -> None:
    unix = UNIXAddress(None)
    association = Association(host=unix, peer=unix)
    assert association.near.getHost().host == "127.0.0.1"
    association.ask(sender=("127.0.0.1", 5000))
    assert association.sent == [(b"ping", TARGET)]


@pytest.mark.parametrize(
    ("host", "bound"),
    [
        ("203.0.113.1", "01 c0000263 9c40"),
        ("2001:db8::1", "04 20010db8000000000000000000000063 9c40"),
    ],
)
def test_reply_has_the_advertised_address(host: str, bound: str) -> None:
    settings = Settings(advertise=PerFamily("192.0.2.99", "2001:db8::63"))
    association = Association(settings, host=address(host, 1080))
    assert association.reply == octets("05 00 00" + bound)
    assert association.near.getHost().host == host


def test_sockets_cut_nothing_that_udp_can_carry() -> None:
    association = Association()
    association.ask(TARGET, TARGET6)
    assert all(port.maxPacketSize > 65535 for port in (association.near, *association.far))


# ---------------------------------------------------------------- the port range


def ranged(first: int, last: int) -> Settings:
    return Settings(udp_ports=(first, last))


@pytest.mark.parametrize("chance", [0, 1, 2])
def test_port_is_any_of_the_range(monkeypatch: pytest.MonkeyPatch, chance: int) -> None:
    monkeypatch.setattr(random, "randrange", lambda count: chance if count == 3 else None)
    assert Association(ranged(6000, 6002)).near.getHost().port == 6000 + chance


@pytest.mark.parametrize("free", [6000, 6001, 6002])
def test_taken_ports_of_the_range_are_passed_over(free: int) -> None:
    server = Server(ranged(6000, 6002))
    server.reactor.taken_ports = {6000, 6001, 6002} - {free}
    assert Association(server=server).near.getHost().port == free


@pytest.mark.parametrize(("number", "code"), [(errno.EADDRNOTAVAIL, 3), (errno.EMFILE, 1)])
def test_address_without_a_socket_gets_its_reply(number: int, code: int) -> None:
    server = Server()
    server.reactor.listen_error = OSError(number, "")
    assert Association(server=server).reply == refusal(code)


def test_range_without_a_free_port_gets_reply_1() -> None:
    server = Server(ranged(6000, 6001))
    server.reactor.taken_ports = {6000, 6001}
    client = server.client(GREETING, ASSOCIATE)
    assert client.received() == NO_AUTHENTICATION + refusal(1)
    assert client.sees == "end"
    assert server.counters.open_associations == {}


# ---------------------------------------------------------------- who may use it


def test_other_hosts_are_dropped() -> None:
    association = Association()
    association.ask(sender=("198.51.100.8", 5000))
    association.ask(sender=("203.0.113.1", 5000))
    assert association.sent == []
    assert association.dropped == {"stranger": 2}
    assert association.is_alive


def test_other_hosts_do_not_redirect_the_answers() -> None:
    association = Association()
    association.ask()
    association.ask(sender=("198.51.100.8", 6000))
    association.far[0].receive(b"pong", TARGET)
    assert association.received == [(b"pong", TARGET, FROM)]


def test_pin_by_ip_follows_the_latest_port() -> None:
    association = Association(Settings(udp_pin=UDPPin.IP), announced=FROM)
    association.ask()
    association.ask(sender=MOVED)
    association.far[0].receive(b"pong", TARGET)
    assert len(association.sent) == 2
    assert association.received == [(b"pong", TARGET, MOVED)]


def test_garbage_does_not_redirect_the_answers() -> None:
    association = Association()
    association.ask()
    association.near.receive(b"garbage", MOVED)
    association.far[0].receive(b"pong", TARGET)
    assert association.received == [(b"pong", TARGET, FROM)]


def test_pin_by_port_keeps_the_first_port() -> None:
    association = Association(Settings(udp_pin=UDPPin.IP_PORT))
    association.near.receive(b"garbage", MOVED)
    association.ask()
    association.ask(sender=MOVED)
    association.far[0].receive(b"pong", TARGET)
    assert len(association.sent) == 1
    assert association.received == [(b"pong", TARGET, FROM)]
    assert association.dropped == {"malformed": 1, "stranger": 1}


def test_pin_by_port_does_not_care_what_was_announced() -> None:
    association = Association(Settings(udp_pin=UDPPin.IP_PORT), announced=FROM)
    association.ask(sender=MOVED)
    assert association.sent == [(b"ping", TARGET)]


ANNOUNCED = Settings(udp_pin=UDPPin.ANNOUNCED)


def test_pin_as_announced_takes_that_port_only() -> None:
    association = Association(ANNOUNCED, announced=FROM)
    association.ask(sender=MOVED)
    assert association.sent == []
    association.ask()
    association.ask(sender=MOVED)
    assert len(association.sent) == 1
    assert association.dropped == {"stranger": 2}


def test_announced_port_holds_without_an_address() -> None:
    association = Association(ANNOUNCED, announced=("0.0.0.0", 5000))
    association.ask(sender=MOVED)
    assert association.sent == []
    association.ask()
    assert len(association.sent) == 1


@pytest.mark.parametrize(
    "announced",
    [
        ("0.0.0.0", 0),
        (HOST, 0),
        ("192.0.2.53", 53),  # the target, as some clients do
        ("10.0.0.7", 4000),  # in front of a NAT
        ("2001:db8::7", 4000),
    ],
)
def test_what_is_not_announced_is_learnt(announced: tuple[str, int]) -> None:
    association = Association(ANNOUNCED, announced=announced)
    association.ask()
    association.ask(sender=MOVED)
    assert len(association.sent) == 1
    assert association.dropped == {"stranger": 1}


def test_announced_mapped_address_is_the_one_it_means() -> None:
    association = Association(ANNOUNCED, announced=(f"::ffff:{HOST}", 5000))
    association.ask(sender=MOVED)
    assert association.sent == []


# ---------------------------------------------------------------- to targets


def test_one_socket_serves_all_targets_of_a_family() -> None:
    association = Association()
    association.ask(TARGET, OTHER, TARGET6, ("2001:db8::54", 53))
    ipv4, ipv6 = association.far
    assert [port.getHost().host for port in (ipv4, ipv6)] == ["0.0.0.0", "::"]
    assert all(port.getHost().port > 40000 for port in (ipv4, ipv6))  # the system's choice
    assert ipv4.written == [(b"ping", TARGET), (b"ping", OTHER)]
    assert ipv6.written == [(b"ping", TARGET6), (b"ping", ("2001:db8::54", 53))]


def test_outbound_sockets_have_the_outgoing_addresses() -> None:
    association = Association(Settings(outgoing=PerFamily("192.0.2.99", "2001:db8::63")))
    association.ask(TARGET, TARGET6)
    assert [port.getHost().host for port in association.far] == ["192.0.2.99", "2001:db8::63"]


@pytest.mark.parametrize("size", [0, 1, 8193, 65507])
def test_payloads_pass_whole(size: int) -> None:
    association = Association()
    association.near.receive(to(TARGET, b"x" * size), FROM)
    association.far[0].receive(b"y" * size, TARGET)
    assert association.sent == [(b"x" * size, TARGET)]
    assert association.received == [(b"y" * size, TARGET, FROM)]


def test_mapped_target_is_the_one_it_means() -> None:
    association = Association()
    association.ask(("::ffff:192.0.2.53", 53))
    assert association.sent == [(b"ping", TARGET)]
    association.far[0].receive(b"pong", TARGET)
    assert association.received == [(b"pong", TARGET, FROM)]


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENETUNREACH, errno.EAGAIN, None])
def test_datagram_that_cannot_be_sent_is_dropped(error: int | None) -> None:
    association = Association()
    association.ask()
    association.far[0].error = OSError(error, "") if error else MessageLengthError()
    association.ask(OTHER)
    association.far[0].error = None
    assert association.dropped == {"unsendable": 1}
    association.far[0].receive(b"pong", OTHER)  # who was never reached
    assert association.received == []
    association.ask(OTHER)
    assert association.sent == [(b"ping", TARGET), (b"ping", OTHER)]
    assert association.is_alive


NAME = (b"example.org", 53)


class Named(Association):
    """An association, and a name with these addresses. Both outbound sockets are open."""

    def __init__(self, *hosts: str) -> None:
        super().__init__()
        self.server.resolver.answers[NAME[0]] = hosts
        self.ask(OTHER, TARGET6)
        self.ipv4, self.ipv6 = self.far
        self.tried: list[str] = []
        self.unreachable: dict[str, Exception] = {}
        for port in self.far:
            port.written.clear()
            port.write = self._write(port.write)  # type: ignore[method-assign]

    def _write(self, write: Any) -> Any:
        def tried(datagram: bytes, addr: tuple[str, int]) -> None:
            self.tried.append(addr[0])
            if addr[0] in self.unreachable:
                raise self.unreachable[addr[0]]
            write(datagram, addr)

        return tried


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES])
def test_a_name_is_tried_at_its_next_address_where_one_has_no_route(number: int) -> None:
    """The family of the control connection first, then the other."""
    named = Named(TARGET6[0], TARGET[0])
    named.unreachable[TARGET[0]] = OSError(number, "")
    named.ask(NAME)
    assert named.tried == [TARGET[0], TARGET6[0]]
    assert named.sent == [(b"ping", TARGET6)]
    assert named.dropped == {}
    named.ipv6.receive(b"pong", TARGET6)
    assert named.received == [(b"pong", TARGET6, FROM)]
    named.ask(NAME)
    assert named.tried[2:] == [TARGET6[0]], "it keeps that address"


def test_a_name_s_address_that_cannot_be_sent_to_any_more_is_left_at_once() -> None:
    named = Named(TARGET[0], "192.0.2.55")
    named.ask(NAME)
    named.unreachable[TARGET[0]] = OSError(errno.EHOSTUNREACH, "")
    named.ask(NAME)
    assert [to for _, to in named.sent] == [TARGET, ("192.0.2.55", 53)]
    assert named.dropped == {}


def test_a_family_without_a_socket_is_passed_over() -> None:
    association = Association()
    association.server.resolver.answers[NAME[0]] = [TARGET6[0], TARGET[0]]
    association.ask(TARGET6)
    association.reactor.listen_error = OSError(errno.EAFNOSUPPORT, "")
    association.ask(NAME)
    assert [to for _, to in association.sent] == [TARGET6, TARGET6]
    assert association.dropped == {}


@pytest.mark.parametrize("error", [OSError(errno.EAGAIN, ""), MessageLengthError()])
def test_what_is_not_the_address_s_fault_leads_to_no_other(error: Exception) -> None:
    """A full buffer, a datagram that is too long."""
    named = Named(TARGET[0], "192.0.2.55")
    named.ask(NAME)
    named.unreachable[TARGET[0]] = error
    named.ask(NAME)
    assert named.dropped == {"unsendable": 1}
    named.unreachable.clear()
    named.ask(NAME)
    assert set(named.tried) == {TARGET[0]}


def test_an_address_for_which_there_was_no_descriptor_is_tried_again() -> None:
    association = Association()
    hosts = [f"192.0.2.{number}" for number in range(1, 10)]
    association.server.resolver.answers[NAME[0]] = hosts
    association.reactor.listen_error = OSError(errno.EMFILE, "")
    association.ask(NAME)
    assert association.dropped == {"unsendable": 1}
    association.reactor.listen_error = None
    association.ask(NAME)
    assert association.sent == [(b"ping", (hosts[0], 53))]


def test_a_name_that_cannot_be_reached_at_all_is_one_datagram_dropped() -> None:
    """And so many addresses of it are tried, not all that its owner has thought of."""
    hosts = [f"192.0.2.{number}" for number in range(1, 100)]
    named = Named(*hosts)
    named.unreachable = dict.fromkeys(hosts, OSError(errno.ENETUNREACH, ""))
    named.ask(NAME)
    assert named.tried == hosts[:8]
    assert named.dropped == {"unsendable": 1}
    named.ask(NAME)
    assert named.tried[8:] == hosts[8:16], "those that were not tried go first"
    named.unreachable.clear()
    named.ask(NAME)
    assert len(named.sent) == 1


def test_rules_are_asked_for_the_next_address_too() -> None:
    association = Association(rules=Allow(lambda _, host: host != "192.0.2.55"))
    association.server.resolver.answers[NAME[0]] = [TARGET[0], "192.0.2.55"]
    association.ask(OTHER)
    association.far[0].error = OSError(errno.EHOSTUNREACH, "")
    association.ask(NAME)
    assert association.dropped == {"unsendable": 1}


def test_host_without_a_family_drops_its_datagrams() -> None:
    association = Association()
    association.reactor.listen_error = OSError(errno.EADDRNOTAVAIL, "")
    association.ask(TARGET6)
    assert association.dropped == {"unsendable": 1}
    association.reactor.listen_error = None
    association.ask(TARGET)
    assert association.sent == [(b"ping", TARGET)]


# ---------------------------------------------------------------- malformed datagrams


@pytest.mark.parametrize(
    "datagram",
    [
        "",
        "00",
        "0000",
        "000000",
        "00000001",
        "00000001c000023500",  # shorter than its header
        "00010001c00002350035ff",  # RSV
        "01000001c00002350035ff",
        "00000002c00002350035ff",  # ATYP
        "0000000303610062 0035ff",  # a zero octet in a name
    ],
)
def test_malformed_datagram_is_dropped(datagram: str) -> None:
    association = Association()
    association.near.receive(octets(datagram), FROM)
    assert association.far == []
    assert association.dropped == {"malformed": 1}
    association.ask()
    assert association.sent == [(b"ping", TARGET)]


# ---------------------------------------------------------------- names


def test_name_is_resolved_without_holding_up_the_others() -> None:
    association = Association()
    association.ask((b"example.org", 53), OTHER)
    assert association.sent == [(b"ping", OTHER)]
    association.server.resolver.answer(b"example.org", [TARGET[0]])
    assert association.sent == [(b"ping", OTHER), (b"ping", TARGET)]
    association.far[0].receive(b"pong", TARGET)
    assert association.received == [(b"pong", TARGET, FROM)]


def test_a_name_that_has_to_be_looked_up_takes_from_the_client_s_share() -> None:
    association = Association()
    share = turns_of(association.reactor).share_of(FROM[0])
    before = share.left
    association.server.resolver.answers[NAME[0]] = [TARGET[0]]
    for target in (NAME, NAME, TARGET):
        association.ask(target)
    assert before - share.left == LOOKUP


def test_address_as_a_name_is_not_resolved() -> None:
    association = Association()
    association.ask((b"192.0.2.53", 53))
    assert association.sent == [(b"ping", TARGET)]
    assert association.server.resolver.asked == []


@pytest.mark.parametrize(
    ("host", "peer", "target"),
    [("203.0.113.1", HOST, TARGET), ("2001:db8::1", "2001:db8::7", TARGET6)],
)
def test_name_leads_to_the_control_connections_family(
    host: str, peer: str, target: tuple[str, int]
) -> None:
    association = Association(host=address(host, 1080), peer=address(peer, 51234))
    association.server.resolver.answers[b"example.org"] = [TARGET6[0], TARGET[0]]
    association.ask((b"example.org", 53), sender=(peer, 5000))
    assert association.sent == [(b"ping", target)]


def test_only_so_many_datagrams_wait_for_names() -> None:
    association = Association(Settings(udp_names_waiting=2))
    association.ask((b"a", 53), (b"a", 53), (b"b", 53))
    assert association.server.resolver.asked == [b"a", b"a"]
    assert association.server.resolver.askers == [HOST] * 2
    assert association.dropped == {"too many names": 1}
    association.server.resolver.answer(b"a", [TARGET[0]])
    association.ask((b"b", 53), (b"b", 53), (b"b", 53))
    association.server.resolver.answer(b"b", [OTHER[0]])
    assert association.sent == [(b"ping", TARGET)] * 2 + [(b"ping", OTHER)] * 2
    assert association.dropped == {"too many names": 2}


def test_only_so_many_octets_wait_for_names() -> None:
    association = Association(Settings(udp_octets_waiting=10))
    for size in (6, 5, 4):
        association.near.receive(to((b"a", 53), b"x" * size), FROM)
    assert association.dropped == {"too many names": 1}
    association.server.resolver.answer(b"a", [TARGET[0]])
    assert [len(payload) for payload, _ in association.sent] == [6, 4]
    association.near.receive(to((b"b", 53), b"x" * 10), FROM)
    assert association.dropped == {"too many names": 1}


def test_unknown_name_is_dropped() -> None:
    association = Association(Settings(udp_names_waiting=1))
    for _ in range(2):
        association.ask((b"example.org", 53))
        association.server.resolver.answer(b"example.org", DNSLookupError())
    assert association.dropped == {"unknown name": 2}
    assert association.is_alive


def test_name_that_is_resolved_too_late_is_dropped() -> None:
    association = Association()
    association.ask((b"example.org", 53))
    association.client.end()
    association.server.resolver.answer(b"example.org", [TARGET[0]])
    assert association.far == []


def test_the_end_of_an_association_ends_its_lookups() -> None:
    """They are in the client's share, where they would keep its next ones waiting."""
    association = Association()
    association.ask((b"a", 53), (b"b", 53))
    association.client.end()
    assert sorted(association.server.resolver.cancelled) == [b"a", b"b"]
    assert association.dropped == {}


# ---------------------------------------------------------------- the rules


def test_rules_judge_every_target() -> None:
    rules = Allow(lambda _, host: host != OTHER[0])
    association = Association(rules=rules)
    association.ask(TARGET, OTHER)
    assert association.sent == [(b"ping", TARGET)]
    assert association.dropped == {"not allowed": 1}
    asked = [(access.target, host) for access, host in rules.asked[1:]]
    assert asked == [
        (Address(*TARGET), None),
        (Address(*TARGET), TARGET[0]),
        (Address(*OTHER), None),
        (Address(*OTHER), OTHER[0]),
    ]
    assert {(access.client, access.command) for access, _ in rules.asked} == {(HOST, 3)}


def test_rules_may_refuse_a_name() -> None:
    association = Association(rules=Allow(lambda access, _: access.target.host != b"example.org"))
    association.server.resolver.answers[b"example.org"] = [TARGET[0]]
    association.ask((b"example.org", 53))
    assert association.sent == []
    assert association.dropped == {"not allowed": 1}


def test_name_leads_to_the_first_address_that_the_rules_allow() -> None:
    association = Association(rules=Allow(lambda _, host: host != TARGET[0]))
    association.server.resolver.answers[b"example.org"] = [TARGET[0], OTHER[0]]
    association.ask((b"example.org", 53))
    assert association.sent == [(b"ping", OTHER)]


@pytest.mark.parametrize(
    "target",
    [
        ("127.0.0.1", 53),
        ("0.0.0.0", 53),
        ("::1", 53),
        ("::ffff:127.0.0.1", 53),
        ("169.254.169.254", 53),
        ("224.0.0.251", 5353),
        (b"127.0.0.1", 53),
        (b"localhost", 53),
    ],
)
def test_client_elsewhere_cannot_reach_this_host(target: tuple[str | bytes, int]) -> None:
    association = Association()
    association.server.resolver.answers[b"localhost"] = ["127.0.0.1", "::1"]
    association.ask(target)
    assert association.far == []
    assert association.dropped == {"not allowed": 1}


def test_client_on_this_host_may() -> None:
    loopback = "127.0.0.1"
    association = Association(host=address(loopback, 1080), peer=address(loopback, 51234))
    association.ask((loopback, 53), sender=(loopback, 5000))
    assert association.sent == [(b"ping", (loopback, 53))]


@pytest.mark.parametrize(
    ("family", "sent"),
    [
        (OutgoingFamily.ANY, [TARGET, TARGET6, TARGET]),
        (OutgoingFamily.PREFER_IPV6, [TARGET, TARGET6, TARGET6]),
        (OutgoingFamily.IPV4, [TARGET, TARGET]),
        (OutgoingFamily.IPV6, [TARGET6, TARGET6]),
    ],
)
def test_datagrams_leave_over_the_families_of_the_settings(
    family: OutgoingFamily, sent: list[tuple[str, int]]
) -> None:
    """The others are dropped and counted; a name is reached over the family that is left."""
    association = Association(Settings(outgoing_family=family))
    association.server.resolver.answers = {
        b"example.org": [TARGET6[0], TARGET[0]],
        b"only4.example": [TARGET[0]],
        b"only6.example": [TARGET6[0]],
    }
    association.ask(TARGET, TARGET6, (b"example.org", 53))
    assert sorted(to for _, to in association.sent) == sorted(sent)
    dropped = 3 - len(sent)
    assert association.dropped == ({"address family": dropped} if dropped else {})
    association.ask((b"only4.example", 53), (b"only6.example", 53))
    assert len(association.sent) == len(sent) + 2 - dropped


def test_rules_are_asked_once_for_what_is_in_use() -> None:
    rules = Allow()
    association = Association(rules=rules)
    association.server.resolver.answers[b"example.org"] = [TARGET[0]]
    association.ask(TARGET, TARGET, (b"example.org", 53), (b"example.org", 53))
    targets = [access.target for access, host in rules.asked[1:] if host is None]
    assert targets == [Address(*TARGET), Address(b"example.org", 53)]


THIRD = ("192.0.2.55", 53)


def test_targets_beyond_the_bound_are_none_until_another_is_silent() -> None:
    association = Association(Settings(udp_targets=2))
    association.ask(TARGET, OTHER, THIRD)
    assert association.sent == [(b"ping", TARGET), (b"ping", OTHER)]
    for _ in range(4):
        association.reactor.advance(60)
        association.ask(TARGET)
    association.ask(THIRD)
    for sender in (TARGET, OTHER, THIRD):
        association.far[0].receive(b"pong", sender)
    assert [sender for _, sender, _ in association.received] == [TARGET, THIRD]
    assert association.dropped == {"too many targets": 1, "unasked": 1}


def test_whoever_was_asked_may_answer_for_two_minutes() -> None:
    """RFC 4787 REQ-5, however many they are."""
    association = Association(Settings(udp_filtering=UDPFiltering.ADDRESS_AND_PORT_DEPENDENT))
    peers = [(f"192.0.2.{number % 250}", 1024 + number) for number in range(1500)]
    association.ask(*peers)
    association.reactor.pump([60, 60])
    for peer in peers:
        association.far[0].receive(b"pong", peer)
    assert [sender for _, sender, _ in association.received] == peers
    assert association.dropped == {}


def test_a_target_that_is_silent_for_long_may_not_answer_any_more() -> None:
    association = Association()
    association.ask(TARGET)
    for _ in range(6):
        association.reactor.advance(60)
        association.ask(OTHER)
    association.far[0].receive(b"pong", TARGET)
    assert association.received == []
    assert association.dropped == {"unasked": 1}


def test_the_targets_of_all_associations_of_a_client_count() -> None:
    server = Server(Settings(udp_targets=2))
    first, second = Association(server=server), Association(server=server)
    first.ask(TARGET)
    second.ask(OTHER, THIRD)
    assert first.dropped == {"too many targets": 1}
    first.client.end()
    second.ask(THIRD)
    assert first.dropped == {"too many targets": 1}


# ---------------------------------------------------------------- names in use


def test_a_name_keeps_its_address_while_datagrams_flow() -> None:
    association = Association()
    name = (b"example.org", 443)
    answers = association.server.resolver.answers
    answers[b"example.org"] = [TARGET[0]]
    for _ in range(10):
        association.ask(name)
        answers[b"example.org"] = [OTHER[0]]
        association.far[0].receive(b"pong", (TARGET[0], 443))
        association.reactor.advance(60)
    assert {host for _, (host, _) in association.sent} == {TARGET[0]}
    association.reactor.pump([60] * 3)
    association.ask(name)
    assert association.sent[-1] == (b"ping", (OTHER[0], 443))


@pytest.mark.parametrize(
    ("found", "reached"),
    [
        ([OTHER[0]], OTHER[0]),
        ([OTHER[0], TARGET[0]], TARGET[0]),  # not everybody answers
        (DNSLookupError(), TARGET[0]),
    ],
)
def test_a_name_that_never_answers_is_looked_up_anew(
    found: Sequence[str] | Exception, reached: str
) -> None:
    """In the time after which a silent one's would be, without a datagram that is held up."""
    association = Association()
    name = (b"example.org", 443)
    resolver = association.server.resolver
    resolver.answers[b"example.org"] = [TARGET[0]]
    association.ask(name)
    del resolver.answers[b"example.org"]
    for _ in range(4):
        association.reactor.advance(60)
        association.ask(name)
    assert {host for _, (host, _) in association.sent} == {TARGET[0]}
    assert (len(association.sent), len(resolver.asked)) == (5, 2)
    resolver.answers[b"example.org"] = found
    resolver.answer(b"example.org", found)
    association.ask(name)
    assert association.sent[5:] == [(b"ping", (reached, 443))]


def test_a_name_whose_address_fails_is_resolved_anew() -> None:
    association = Association()
    name = (b"example.org", 443)
    answers = association.server.resolver.answers
    answers[b"example.org"] = [TARGET[0]]
    association.ask(name)
    answers[b"example.org"] = [OTHER[0]]
    association.far[0].error = OSError(errno.EHOSTUNREACH, "")
    association.ask(name)
    association.far[0].error = None
    association.ask(name)
    assert association.sent == [(b"ping", (TARGET[0], 443)), (b"ping", (OTHER[0], 443))]


def test_a_name_of_which_no_address_is_reached_is_distrusted() -> None:
    """What is remembered of it may be wrong."""
    association = Association()
    resolver = association.server.resolver
    resolver.answers[b"example.org"] = [TARGET[0], OTHER[0]]
    association.ask((b"example.org", 443))
    association.far[0].error = OSError(errno.EHOSTUNREACH, "")
    association.ask((b"other.example", 443))
    resolver.answer(b"other.example", [TARGET[0], "192.0.2.55"])
    assert resolver.distrusted == []
    for _ in range(2):
        association.ask((b"example.org", 443))
    assert resolver.distrusted == [b"example.org"]


# ---------------------------------------------------------------- a client with several ports


def test_answers_go_to_the_port_that_last_sent_to_their_sender() -> None:
    association = Association()
    association.ask(TARGET, sender=FROM)
    association.ask(OTHER, sender=MOVED)
    for sender in (TARGET, OTHER, SAME_HOST):
        association.far[0].receive(b"pong", sender)
    association.ask(TARGET, sender=MOVED)
    association.far[0].receive(b"pong", TARGET)
    assert association.received == [
        (b"pong", TARGET, FROM),
        (b"pong", OTHER, MOVED),
        (b"pong", SAME_HOST, FROM),
        (b"pong", TARGET, MOVED),
    ]


def test_answers_of_strangers_go_to_the_latest_port() -> None:
    association = Association(Settings(udp_filtering=UDPFiltering.ENDPOINT_INDEPENDENT))
    association.ask(TARGET, sender=FROM)
    association.far[0].receive(b"pong", SAME_HOST)
    association.ask(OTHER, sender=MOVED)
    association.far[0].receive(b"pong", SAME_HOST)
    association.far[0].receive(b"pong", TARGET)
    assert [where for _, _, where in association.received] == [FROM, MOVED, FROM]


def test_a_name_that_is_resolved_later_is_asked_from_its_own_port() -> None:
    association = Association()
    association.ask((b"example.org", 53), sender=FROM)
    association.ask(OTHER, sender=MOVED)
    association.server.resolver.answer(b"example.org", [TARGET[0]])
    association.far[0].receive(b"pong", TARGET)
    assert association.received == [(b"pong", TARGET, FROM)]


def test_bug_in_the_rules_ends_the_association(failures: Failures) -> None:
    rules = Allow(lambda access, _: access.target.port == 0 or bool(1 / 0))
    association = Association(rules=rules)
    association.ask()
    assert failures.take(ZeroDivisionError) == ["division by zero"]
    assert not association.is_alive
    assert association.client.sees == "end"


def test_bug_behind_a_name_ends_the_association(failures: Failures) -> None:
    rules = Allow(lambda access, _: access.target.port == 0 or bool(1 / 0))
    association = Association(rules=rules)
    association.ask((b"example.org", 53))
    association.server.resolver.answer(b"example.org", [TARGET[0]])
    assert failures.take(ZeroDivisionError) == ["division by zero"]
    assert not association.is_alive


def test_datagram_behind_the_end_opens_nothing(failures: Failures) -> None:
    association = Association(rules=Allow(lambda access, _: access.target.port != 53 or 1 // 0))
    protocol = association.near.protocol
    protocol.datagramReceived(to(TARGET), FROM)
    protocol.datagramReceived(to(("192.0.2.53", 54)), FROM)  # of the same reading
    assert len(failures.take(ZeroDivisionError)) == 1
    assert association.far == []


# ---------------------------------------------------------------- ourselves

HERE = "127.0.0.1"


def local(server: Server | None = None, **parameters: Any) -> Association:
    """An association of a client on this machine."""
    host, peer = address(HERE, 1080), address(HERE, 51234)
    return Association(host=host, peer=peer, server=server, **parameters)


def test_nothing_is_sent_to_a_socket_of_the_proxy() -> None:
    first = local()
    second = local(first.server)
    first.ask(sender=(HERE, 5000))
    ports = [port.getHost().port for port in (first.near, second.near, first.far[-1])]
    for port in ports:
        for host in (HERE, "::ffff:127.0.0.1", b"127.0.0.1", "0.0.0.0"):
            first.ask((host, port), sender=(HERE, 5000))
        first.ask(("64:ff9b::127.0.0.1", port), sender=(HERE, 5000))  # which a NAT64 leads here
    first.ask(("127.0.0.9", ports[2]), sender=(HERE, 5000))  # a socket of all IPv4 addresses
    assert first.sent == [(b"ping", TARGET)]
    assert first.dropped == {"ourselves": 16}
    first.ask((HERE, 53), sender=(HERE, 5000))
    assert first.sent[1:] == [(b"ping", (HERE, 53))]


def test_another_program_may_have_the_same_port_at_another_address() -> None:
    association = local()
    target = ("127.0.0.9", association.near.getHost().port)
    association.ask(target, sender=(HERE, 5000))
    association.far[0].receive(b"pong", target)
    assert association.sent == [(b"ping", target)]
    assert association.dropped == {}


def test_a_name_leads_to_no_socket_of_the_proxy() -> None:
    association = local()
    association.server.resolver.answers[b"localhost"] = [HERE]
    association.ask((b"localhost", association.near.getHost().port), sender=(HERE, 5000))
    assert association.dropped == {"ourselves": 1}


@pytest.mark.parametrize("is_own", [False, True])
def test_a_link_local_client_is_looked_for_in_its_zone(
    monkeypatch: pytest.MonkeyPatch, is_own: bool
) -> None:
    monkeypatch.setattr(
        ourselves, "is_own_address", lambda host, unknown: is_own and host == "fe80::7%lo"
    )
    client = ("fe80::7%lo", 5000)
    association = Association(host=address("fe80::1%lo", 1080), peer=address("fe80::7%lo", 51234))
    association.ask(sender=client)
    ports_of(association.reactor).add("fe80::7%lo", 5000)
    association.far[0].receive(b"pong", TARGET)
    assert association.dropped == ({"ourselves": 1} if is_own else {})


def test_a_port_that_the_proxy_no_longer_has_is_anothers() -> None:
    first = local()
    second = local(first.server)
    port = second.near.getHost().port
    second.client.end()
    first.ask((HERE, port), sender=(HERE, 5000))
    assert first.sent == [(b"ping", (HERE, port))]


def test_the_same_port_elsewhere_is_not_the_proxys() -> None:
    association = Association()
    elsewhere = (TARGET[0], association.near.getHost().port)
    association.ask(elsewhere)
    assert association.sent == [(b"ping", elsewhere)]


def test_an_advertised_address_is_the_proxys() -> None:
    settings = Settings(advertise=PerFamily(ipv4="192.0.2.99"))
    association = Association(settings)
    association.ask(("192.0.2.99", 40000), ("192.0.2.99", 53))
    assert association.sent == [(b"ping", ("192.0.2.99", 53))]
    assert association.dropped == {"ourselves": 1}


def test_a_target_that_becomes_the_proxys_is_none_any_more() -> None:
    association = local()
    target = (HERE, 41000)
    association.ask(target, sender=(HERE, 5000))
    ports_of(association.reactor).add(HERE, 41000)
    association.ask(target, sender=(HERE, 5000))
    association.far[0].receive(b"pong", target)
    assert association.sent == [(b"ping", target)]
    assert association.received == []
    assert association.dropped == {"ourselves": 2}


def test_a_client_whose_port_becomes_the_proxys_gets_nothing() -> None:
    association = local()
    association.ask(sender=(HERE, 41000))
    ports_of(association.reactor).add(HERE, 41000)
    association.far[0].receive(b"pong", TARGET)
    association.ask(OTHER, sender=(HERE, 41000))
    assert association.received == []
    assert association.sent == [(b"ping", TARGET)]
    assert association.dropped == {"ourselves": 2}


# ---------------------------------------------------------------- verdicts that come later, and new rules


class Judged(Association):
    """An association whose targets' verdicts a test gives. They are asked for twice: without and with the address."""

    def __init__(self, **settings: Any) -> None:
        self.verdicts: list[Deferred[Verdict]] = []
        rules = Allow(lambda access, _: self._wait() if access.target.port else ALLOWED)
        super().__init__(Settings(**settings), rules=rules)

    def _wait(self) -> Deferred[Verdict]:
        self.verdicts.append(Deferred())
        return self.verdicts[-1]

    def answer(self, *verdicts: Verdict) -> None:
        for verdict in verdicts:
            waiting, self.verdicts = self.verdicts, []
            for each in waiting:
                each.callback(verdict)


@pytest.mark.parametrize(
    ("verdicts", "dropped"),
    [
        ([ALLOWED, ALLOWED], {}),
        ([DENIED], {"not allowed": 1}),
        ([ALLOWED, DENIED], {"not allowed": 1}),
    ],
)
def test_a_datagram_waits_for_its_verdicts(
    verdicts: list[Verdict], dropped: dict[str, int]
) -> None:
    association = Judged()
    association.ask()
    assert association.sent == []
    association.answer(*verdicts)
    assert association.dropped == dropped
    assert association.sent == ([] if dropped else [(b"ping", TARGET)])


def test_so_do_a_name_s_addresses() -> None:
    association = Judged()
    association.server.resolver.answers[b"example.org"] = [TARGET[0], OTHER[0]]
    association.ask((b"example.org", 53))
    association.answer(ALLOWED, DENIED, ALLOWED)
    assert association.sent == [(b"ping", OTHER)]


@pytest.mark.parametrize("bounds", [{"udp_names_waiting": 2}, {"udp_octets_waiting": 8}])
def test_so_many_wait_and_no_more(bounds: dict[str, int]) -> None:
    association = Judged(**bounds)
    association.ask(TARGET, OTHER, SAME_HOST)
    assert association.dropped == {"too many verdicts": 1}
    association.answer(*[ALLOWED] * 2)
    assert association.sent == [(b"ping", TARGET), (b"ping", OTHER)]
    association.ask(("192.0.2.99", 53))
    association.answer(*[ALLOWED] * 2)
    assert len(association.sent) == 3


def test_what_waits_is_given_up_with_the_association() -> None:
    association = Judged()
    association.ask()
    [verdict] = association.verdicts
    association.client.end()
    assert verdict.called
    assert turns_of(association.reactor).share_of(HOST).budget.octets_waiting == 0
    assert association.dropped == {}


def test_rules_that_were_replaced_judge_the_next_datagram() -> None:
    verdicts = {TARGET[0]: True, OTHER[0]: True}
    commands = Begun(Command.UDP_ASSOCIATE, Associate)
    rules = Allow(lambda access, _: verdicts.get(access.target.text, True))
    association = Association(rules=rules, commands=commands)
    assert verifyObject(ICommand, commands.begun[0])
    association.ask(TARGET, OTHER)
    verdicts[TARGET[0]] = False
    assert commands.begun[0].rejudge() is True
    association.far[0].receive(b"pong", TARGET)
    association.ask(TARGET, OTHER)
    association.far[0].receive(b"pong", OTHER)
    assert association.sent == [(b"ping", TARGET), (b"ping", OTHER), (b"ping", OTHER)]
    assert association.received == [(b"pong", OTHER, FROM)]
    assert association.dropped == {"unasked": 1, "not allowed": 1}


def test_a_datagram_behind_the_end_in_one_reading_is_nothing() -> None:
    association = Association()
    association.ask()
    association.client.end()
    for port in (association.near, *association.far):
        port.protocol.datagramReceived(b"late", FROM)
    assert association.dropped == {}


def test_what_the_kernel_does_not_take_of_a_batch_is_counted() -> None:
    association = Association()
    association.server.dialer.opened.unsendable(False, 2)
    assert association.dropped == {"unsendable": 2}


def test_rules_that_fail_to_give_a_verdict_are_a_bug(failures: Failures) -> None:
    association = Association()
    association.client.session.factory.rules = Allow(lambda *_: fail(RuntimeError("a bug")))
    association.ask()
    assert failures.take(RuntimeError) == ["a bug"]
    assert not association.is_alive


def test_a_verdict_of_the_rules_before_sends_nothing() -> None:
    association = Judged()
    association.ask()
    association.server.dialer.opened.rejudge()
    assert association.verdicts[0].called
    assert association.dropped == {"not allowed": 1}


@pytest.mark.parametrize("within", [0.0, 10.0])
def test_an_end_from_outside_comes_at_once(within: float) -> None:
    commands = Begun(Command.UDP_ASSOCIATE, Associate)
    association = Association(commands=commands)
    association.ask()
    assert (commands.begun[0].far, commands.begun[0].client_ended()) == (None, False)
    for _ in range(2):
        commands.begun[0].stop(Reason.KICKED, within)
    assert commands.begun[0].rejudge() is True
    assert not any(port.is_listening for port in (association.near, *association.far))
    assert [record.reason for record in association.server.records] == [Reason.KICKED]
    assert not association.client.is_connected


# ---------------------------------------------------------------- fragments


def fragments(
    association: Association, *positions: int, target: tuple[str, int] = TARGET, size: int = 0
) -> None:
    """The client sends one fragment of each position; its payload is the position, or *size* octets."""
    for position in positions:
        payload = b"x" * size if size else b"%d" % (position & 0x7F)
        association.near.receive(to(target, payload, position), FROM)


def test_fragments_make_one_datagram() -> None:
    association = Association()
    fragments(association, 1, 2, 0x80 | 3)
    assert association.sent == [(b"123", TARGET)]
    assert association.dropped == {}


def test_fragments_of_two_ports_make_no_datagram() -> None:
    association = Association()
    association.near.receive(to(TARGET, b"1", 1), FROM)
    association.near.receive(to(TARGET, b"2", 0x80 | 2), (FROM[0], FROM[1] + 1))
    assert association.sent == []
    assert association.dropped == {"fragment": 2}


def test_a_whole_datagram_between_fragments_drops_the_sequence() -> None:
    association = Association()
    fragments(association, 1)
    association.ask(OTHER)
    fragments(association, 0x80 | 2)
    assert association.sent == [(b"ping", OTHER)]
    assert association.dropped == {"fragment": 2}
    fragments(association, 1, 0x80 | 2)
    assert association.sent[1:] == [(b"12", TARGET)]


def test_so_does_one_that_the_kernel_does_not_take_on_its_way_up() -> None:
    association = Association()
    fragments(association, 1)
    association.server.dialer.receiver.unsendable(True, 1)
    fragments(association, 0x80 | 2)
    assert association.dropped == {"fragment": 2, "unsendable": 1}
    assert association.sent == []


def test_lower_position_starts_anew() -> None:
    association = Association()
    fragments(association, 1, 2, 1, 0x80 | 2)
    assert association.sent == [(b"12", TARGET)]
    assert association.dropped == {"fragment": 2}


def test_missing_fragment_drops_the_sequence() -> None:
    association = Association()
    fragments(association, 1, 0x80 | 3)
    assert association.sent == []
    assert association.dropped == {"fragment": 2}


def test_fragments_are_dropped_in_time() -> None:
    association = Association()
    fragments(association, 1)
    association.reactor.advance(2)
    fragments(association, 2)  # does not prolong it
    association.reactor.advance(2.99)
    assert association.dropped == {}
    association.reactor.advance(0.01)
    assert association.dropped == {"fragment": 2}
    fragments(association, 0x80 | 3)
    assert association.sent == []


def test_timer_starts_anew_with_the_sequence() -> None:
    association = Association()
    fragments(association, 1)
    association.reactor.advance(4)
    fragments(association, 1, 2, 1)
    association.reactor.advance(4)
    fragments(association, 0x80 | 2)
    assert association.sent == [(b"12", TARGET)]


def test_timer_ends_with_the_sequence() -> None:
    association = Association()
    fragments(association, 1)
    association.reactor.advance(2)
    fragments(association, 2)
    association.reactor.advance(2)
    fragments(association, 0x80 | 3, 1)
    association.reactor.advance(4)
    fragments(association, 0x80 | 2)
    assert association.sent == [(b"123", TARGET), (b"12", TARGET)]


def test_reassembly_is_bounded() -> None:
    association = Association()
    fragments(association, 1, size=65000)
    fragments(association, 2, size=508)
    assert association.dropped == {"fragment": 2}
    fragments(association, 1, size=65000)
    fragments(association, 0x80 | 2, size=507)
    assert [len(payload) for payload, _ in association.sent] == [65507]


# ---------------------------------------------------------------- from targets


def answers(filtering: UDPFiltering, senders: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Who of *senders* reaches a client that has sent to TARGET."""
    association = Association(Settings(udp_filtering=filtering))
    association.ask()
    for sender in senders:
        association.far[0].receive(b"pong", sender)
    reached = [sender for _, sender, _ in association.received]
    unasked = len(senders) - len(reached)
    assert association.dropped == ({"unasked": unasked} if unasked else {})
    return reached


@pytest.mark.parametrize(
    ("filtering", "reached"),
    [
        (UDPFiltering.ENDPOINT_INDEPENDENT, [TARGET, SAME_HOST, OTHER]),
        (UDPFiltering.ADDRESS_DEPENDENT, [TARGET, SAME_HOST]),
        (UDPFiltering.ADDRESS_AND_PORT_DEPENDENT, [TARGET]),
    ],
)
def test_filtering_lets_in(filtering: UDPFiltering, reached: list[tuple[str, int]]) -> None:
    assert answers(filtering, [TARGET, SAME_HOST, OTHER]) == reached


def test_hosts_that_were_asked_may_answer_by_default() -> None:
    assert Settings().udp_filtering is UDPFiltering.ADDRESS_DEPENDENT


def test_refused_target_cannot_answer() -> None:
    association = Association(rules=Allow(lambda _, host: host != OTHER[0]))
    association.ask(TARGET, OTHER)
    association.far[0].receive(b"pong", OTHER)
    assert association.received == []


def test_answer_over_ipv6_has_its_address() -> None:
    association = Association()
    association.ask(TARGET6)
    association.far[0].receive(b"pong", (TARGET6[0], 53, 0, 0))  # type: ignore[arg-type]
    assert association.received == [(b"pong", TARGET6, FROM)]


def test_sender_has_neither_mapping_nor_zone() -> None:
    association = Association(Settings(udp_filtering=UDPFiltering.ENDPOINT_INDEPENDENT))
    association.ask()
    association.far[0].receive(b"1", ("::ffff:192.0.2.53", 53))
    association.far[0].receive(b"2", ("fe80::1%eth0", 53))
    assert [sender for _, sender, _ in association.received] == [TARGET, ("fe80::1", 53)]


@pytest.mark.parametrize("filtering", UDPFiltering)
def test_target_with_a_zone_may_answer(filtering: UDPFiltering) -> None:
    """Its zone is a matter of this host: the client is told the address alone."""
    association = Association(Settings(udp_filtering=filtering), rules=Allow(lambda *_: True))
    association.ask((b"fe80::1%lo", 53), (b"fe80::1%lo", 53))
    assert association.sent == [(b"ping", ("fe80::1%lo", 53))] * 2
    association.far[0].receive(b"pong", ("fe80::1%lo", 53))
    assert association.received == [(b"pong", ("fe80::1", 53), FROM)]


@pytest.mark.parametrize("error", [MessageLengthError(), OSError(errno.EAGAIN, "")])
def test_answer_that_cannot_be_sent_is_dropped(error: Exception) -> None:
    association = Association()
    association.ask()
    association.near.error = error
    association.far[0].receive(b"pong", TARGET)
    association.near.error = None
    association.far[0].receive(b"again", TARGET)
    assert association.dropped == {"unsendable": 1}
    assert association.received == [(b"again", TARGET, FROM)]


def test_bug_on_the_way_back_ends_the_association(failures: Failures) -> None:
    association = Association()
    association.ask()
    association.near.error = RuntimeError("a bug")
    association.far[0].receive(b"pong", TARGET)
    assert failures.take(RuntimeError) == ["a bug"]
    assert not association.is_alive


# ---------------------------------------------------------------- the end


@pytest.mark.parametrize("kind", [FakeTransport, FakeTLSTransport])
@pytest.mark.parametrize(
    ("leave", "reason"), [(Client.end, "client closed"), (Client.reset, "reset by client")]
)
def test_association_ends_with_its_control_connection(leave: Any, reason: str, kind: Any) -> None:
    association = Association(
        Settings(handshake_timeout=0, request_timeout=0, close_timeout=0), kind=kind
    )
    association.ask(TARGET, TARGET6)
    fragments(association, 1)
    leave(association.client)
    assert not any(port.is_listening for port in (association.near, *association.far))
    assert not association.client.is_connected
    assert association.server.counters.open_associations == {}
    association.reactor.advance(60)  # what many share runs out once more
    assert association.reactor.getDelayedCalls() == []
    assert [record.reason for record in association.server.records] == [reason]


def test_octets_on_the_control_connection_mean_nothing() -> None:
    server = Server(Settings(max_optimistic=8))
    client = server.client(GREETING + ASSOCIATE + b"0123456789")
    client.send(b"0123456789")
    assert client.transport.is_reading
    assert client.received() == NO_AUTHENTICATION + ASSOCIATED
    assert server.reactor.udp_ports[0].is_listening


def test_end_behind_the_request_ends_the_association() -> None:
    server = Server()
    client = server.client(GREETING + ASSOCIATE)
    client.end()
    assert not client.is_connected
    assert not server.reactor.udp_ports[0].is_listening


def test_end_before_the_verdict_ends_the_association() -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = server.client(sessions.PASSWORD_GREETING, sessions.LOGIN, ASSOCIATE)
    client.end()
    logins.accept()
    assert not client.is_connected
    assert not server.reactor.udp_ports[0].is_listening
    assert server.counters.open_associations == {}
    assert [record.reason for record in server.records] == ["client closed"]


def test_what_moved_in_batches_is_counted() -> None:
    association = Association()
    both = association.server.dialer.receiver
    fragments(association, 1)
    both.moved(False, 2, 200)
    assert association.dropped == {}
    both.moved(True, 3, 30)
    counters = association.server.counters
    assert (counters.datagrams_up, counters.datagrams_down) == (3, 2)
    assert association.dropped == {"fragment": 1}
    association.client.end()
    [record] = association.server.records
    assert (record.bytes_up, record.bytes_down, record.dropped) == (30, 200, 1)


def test_silence_ends_the_association() -> None:
    association = Association()
    association.reactor.pump([75] * 3 + [74.9])
    assert association.is_alive
    association.reactor.pump([75, 75])
    assert not association.is_alive
    assert association.client.sees == "end"
    assert [record.reason for record in association.server.records] == ["idle"]


@pytest.mark.parametrize("is_from_client", [False, True])
def test_datagrams_either_way_keep_it_alive(is_from_client: bool) -> None:
    association = Association()
    association.ask()
    for _ in range(10):
        association.reactor.pump([74] * 3)
        if is_from_client:
            association.ask()
        else:
            association.far[0].receive(b"pong", TARGET)
    assert association.is_alive


def test_datagrams_that_are_dropped_do_not_keep_it_alive() -> None:
    association = Association()
    association.ask()
    for _ in range(10):
        association.reactor.pump([75] * 2)
        association.ask(sender=("198.51.100.8", 5000))
        association.near.receive(b"garbage", FROM)
        association.far[0].receive(b"pong", OTHER)
    assert not association.is_alive


def test_shutdown_ends_the_association() -> None:
    association = Association()
    association.ask()
    association.server.factory.close_sessions("shutdown", 1)
    assert not association.near.is_listening
    assert not association.far[0].is_listening
    assert association.client.sees == "end"


def test_associations_of_a_client_are_limited() -> None:
    server = Server(Settings(associations_per_client=2))
    first, second = Association(server=server), Association(server=server)
    third = server.client(GREETING, ASSOCIATE)
    assert third.received() == NO_AUTHENTICATION + refusal(2)
    assert third.sees == "end"
    third.end()
    other = Association(server=server, peer=address("198.51.100.8", 51234))
    assert all(each.is_alive for each in (first, second, other))
    assert server.counters.open_associations == {HOST: 2, "198.51.100.8": 1}
    first.client.end()
    assert Association(server=server).is_alive


def test_an_ipv6_network_is_one_client_to_the_limit() -> None:
    server = Server(Settings(associations_per_client=1))
    host = address("2001:db8::1", 1080)
    assert Association(server=server, host=host, peer=address("2001:db8:0:1::7", 51234)).is_alive
    assert Association(server=server, host=host, peer=address("2001:db8:0:2::7", 51234)).is_alive
    second = server.client(GREETING, ASSOCIATE, host=host, peer=address("2001:db8:0:1::8", 51234))
    assert second.received() == NO_AUTHENTICATION + refusal(2)


def test_record_and_counters_count_payload() -> None:
    association = Association()
    association.near.receive(to(TARGET, b"12345"), FROM)
    association.far[0].receive(b"123", TARGET)
    association.far[0].receive(b"123", OTHER)
    counters = association.server.counters
    assert (counters.datagrams_up, counters.datagrams_down) == (1, 1)
    association.client.end()
    (record,) = association.server.records
    assert (record.bytes_up, record.bytes_down, record.dropped) == (5, 3, 1)
    assert (record.command, record.target, record.bound) == (
        "udp",
        "0.0.0.0:0",
        "203.0.113.1:40000",
    )


def test_system_chooses_the_ports_that_nobody_chose() -> None:
    assert Settings().udp_ports is None
    assert Association().near.getHost().port == 40000
