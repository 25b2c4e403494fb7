"""A server with upstreams, in memory, whose policy is replaced while sessions are on their way there."""

from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.error import ConnectionRefusedError

from socks5 import Policy
from socks5.client.hops import Hop
from socks5.client.urls import read
from socks5.outbound.path import Path
from socks5.outbound.pool import Pool
from socks5.outbound.terms import Terms
from socks5.outbound.upstream import Upstream
from socks5.outbound.ways import Upstreams
from socks5.policy.ruleset import Ruleset
from socks5.protocol.address import Address
from socks5.protocol.messages import Reply
from tests.support.associations import TARGET, Association
from tests.support.rules import allow, deny
from tests.support.sessions import CONNECT, GREETING, NO_AUTHENTICATION, Server, refusal
from tests.support.transports import FakeTransport

ONE, OTHER = "203.0.113.1", "203.0.113.2"
SUCCESS = Reply(0, Address("198.51.100.9", 999)).encode()


def sends(
    server: Server, name: str = "up", host: str = ONE, *before: Any, rejudge: bool = True
) -> None:
    """From now on it sends everything there, through one connection at most, but for what rules before say."""
    hop = Hop(read(f"socks5://{host}")[0])
    legs = [Upstream(name, hop, Terms(max_connections=1))]
    dialer = Upstreams(server.reactor, {name: Path(name, legs, server.reactor)})
    rules = Ruleset([*before, allow("far", via=name)])
    server.factory.replace(Policy(server.factory.settings, rules, dialer=dialer), rejudge)
    server.reactor.turn()


def connecting(server: Server) -> list[str]:
    return [each.host for each in server.reactor.connectors if each.state == "connecting"]


def accept(server: Server) -> FakeTransport:
    """The upstream does, and lets us ask."""
    transport = server.reactor.connectors[-1].succeed()
    transport.deliver(NO_AUTHENTICATION)
    server.reactor.turn()
    return transport


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        (b"192.0.2.80", Address("192.0.2.80", 80)),
        (b"192.0.2.80.", Address("192.0.2.80", 80)),
        (b"::ffff:192.0.2.80", Address("192.0.2.80", 80)),
        (b"[2001:DB8::1]", Address("2001:db8::1", 80)),
        (b"_DMARC.example.", Address(b"_dmarc.example", 80)),
    ],
)
def test_what_a_name_means_is_what_the_upstream_is_asked_for(name: bytes, sent: Address) -> None:
    server = Server()
    sends(server)
    server.client(GREETING, b"\5\1\0" + Address(name, 80).encode())
    transport = accept(server)
    assert transport.value() == GREETING + b"\5\1\0" + sent.encode()


@pytest.mark.parametrize("name", [b"127.1", b"0x7f.1", b"2130706433", b"127.0.0.1", b"::1"])
def test_what_means_an_address_of_ours_goes_nowhere(name: bytes) -> None:
    server = Server()
    sends(server)
    client = server.client(GREETING, b"\5\1\0" + Address(name, 80).encode())
    assert (client.received(), connecting(server)) == (NO_AUTHENTICATION + refusal(2), [])


def test_a_bind_s_peer_is_looked_up_and_judged_once_whatever_the_way() -> None:
    server = Server()
    server.resolver.answers[b"www.example.org"] = ["192.0.2.80"]
    sends(server, "up", ONE, deny("them", networks=["192.0.2.80"]), allow("here"))
    peer = Address(b"www.example.org", 80).encode()
    assert server.client(GREETING, b"\5\2\0" + peer).received()[2:] == refusal(2)
    assert server.resolver.asked == [b"www.example.org"]
    assert server.counters.rules == {"them": 1}


def test_a_reload_while_dialling_leaves_those_who_may_go_there() -> None:
    server = Server()
    sends(server)
    client = server.client(GREETING, CONNECT)
    transport = accept(server)
    sends(server)
    transport.deliver(SUCCESS + b"hi")
    assert client.received() == NO_AUTHENTICATION + SUCCESS + b"hi"
    assert server.counters.upstreams["up"].open == 1
    second = server.client(GREETING, CONNECT)
    assert second.received() == NO_AUTHENTICATION + refusal(1)  # there is no other place
    client.reset()
    transport.deliver_reset()
    assert server.counters.upstreams["up"].open == 0


def test_a_reload_while_dialling_ends_those_who_may_not() -> None:
    server = Server()
    sends(server)
    client = server.client(GREETING, CONNECT)
    transport = accept(server)
    sends(server, "up", ONE, deny("not now", ports=[80]))
    assert (client.received(), client.sees) == (NO_AUTHENTICATION + refusal(2), "end")
    assert not transport.connected
    assert dict(server.counters.upstreams["up"].failures) == {}
    sends(server)
    server.client(GREETING, CONNECT)
    assert connecting(server) == [ONE]  # the place is free


@pytest.mark.parametrize("times", [1, 2])
def test_who_asks_behind_a_reload_goes_by_the_upstreams_that_its_rules_name(times: int) -> None:
    server = Server()
    sends(server)
    client = server.client(GREETING)
    for number in range(times):
        sends(server, f"office {number}", OTHER)
    client.send(CONNECT)
    assert connecting(server) == [OTHER]
    accept(server).deliver(SUCCESS)
    assert client.received() == NO_AUTHENTICATION + SUCCESS
    assert server.counters.upstreams[f"office {times - 1}"].open == 1


def test_who_asks_behind_a_reload_goes_by_what_a_name_means_then() -> None:
    """Also if it meant another upstream before; but not if he keeps the old rules."""
    server = Server()
    sends(server)
    client, another = server.client(GREETING), server.client(GREETING)
    sends(server, "up", OTHER)
    client.send(CONNECT)
    assert connecting(server) == [OTHER]
    client.reset()
    sends(server, "up", ONE, rejudge=False)
    another.send(CONNECT)
    assert connecting(server) == [OTHER]


def test_upstreams_come_and_go_for_those_who_have_begun() -> None:
    """A server without any has another dialer."""
    server = Server(dialer=None)
    client, associated = server.client(GREETING), Association(server=server)
    associated.ask()
    sends(server)
    client.send(CONNECT)
    assert connecting(server) == [ONE]
    client.reset()
    associated.ask()
    assert connecting(server) == [ONE]
    other, accepted = server.client(GREETING), accept(server)
    server.factory.replace(Policy(server.factory.settings, Ruleset([allow("all")])))
    server.reactor.turn()
    assert not accepted.connected
    other.send(CONNECT)
    associated.ask()
    assert connecting(server) == ["192.0.2.80"]
    assert associated.reached == [TARGET] * 3  # also the one that waited
    assert associated.dropped == {}


def test_a_dial_under_way_is_led_to_no_upstream_that_is_gone() -> None:
    def pool(*hosts: str) -> Upstreams:
        paths = []
        for host in hosts:
            legs = [Upstream(host, Hop(read(f"socks5://{host}")[0]), Terms())]
            paths.append(Path(host, legs, server.reactor))
        return Upstreams(server.reactor, {"up": Pool(paths)})

    server = Server()
    both = Policy(
        server.factory.settings, Ruleset([allow("far", via="up")]), dialer=pool(ONE, OTHER)
    )
    server.factory.replace(both)
    client = server.client(GREETING, CONNECT)
    server.factory.replace(replace(both, dialer=pool(ONE)))
    server.reactor.connectors[0].fail(ConnectionRefusedError())
    assert (client.received(), connecting(server)) == (NO_AUTHENTICATION + refusal(1), [])
    server.factory.replace(both)  # which serves again
    server.client(GREETING, CONNECT)
    server.reactor.connectors[-1].fail(ConnectionRefusedError())
    assert connecting(server) == [OTHER]


def test_upstreams_of_two_servers_stay_while_one_has_them() -> None:
    one, other = Server(), Server()
    sends(one)
    policy = one.factory.policy
    other.factory.replace(policy)
    client = other.client(GREETING)
    sends(one, "up", OTHER)
    client.send(CONNECT)
    assert connecting(one) == [ONE]


def test_one_who_serves_again_has_nobody_after_him(log: list[str]) -> None:
    """And where rules name nobody whom there is, nobody is asked."""
    server = Server()
    sends(server)
    one: Any = server.factory.policy
    sends(server, "office", OTHER)
    server.factory.replace(Policy(one.settings, one.rules, dialer=one.dialer))
    server.factory.replace(
        Policy(one.settings, Ruleset([allow("far", via="office")]), dialer=one.dialer)
    )
    assert server.client(GREETING, CONNECT).received() == NO_AUTHENTICATION + refusal(1)
    assert (connecting(server), len([line for line in log if "no upstream office" in line])) == (
        [],
        1,
    )
