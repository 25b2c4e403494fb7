"""Upstreams that nobody asks for anything are looked at, in memory."""

from typing import Any

from twisted.internet.error import ConnectionRefusedError, DNSLookupError

from socks5.protocol.address import Address
from socks5.settings import Settings
from tests.support.sessions import NO_AUTHENTICATION
from tests.support.transports import FakeTransport
from tests.support.upstreams import (
    TARGET,
    World,
    reply,
    request,
)

PROBED = {"probe": Address(b"probe.example", 443), "probe_every": 30.0, "fails": 1}


def probing(world: World) -> FakeTransport:
    """Somebody has asked, and left; then nobody asks."""
    world.dial().deferred.cancel()
    world.reactor.advance(30)
    return world.accept()


def test_who_is_not_asked_for_anything_is_asked_for_its_probe() -> None:
    world = World(**PROBED)
    world.reactor.advance(100)
    assert world.reactor.connectors == []  # nobody has asked for anything yet
    transport = probing(world)
    world.answer(transport, NO_AUTHENTICATION)
    assert world.sent(transport)[3:] == request(b"probe.example", 443)
    world.answer(transport, reply())
    assert (transport.far_sees, world.counters["up"].open) == ("reset", 0)
    world.reactor.advance(29)
    dialling = world.dial()
    world.reactor.advance(1)
    assert len(world.reactor.connectors) == 3  # for somebody has asked
    dialling.deferred.cancel()
    world.reactor.advance(30)
    assert len(world.reactor.connectors) == 4
    world.dialer.end()
    world.assert_nothing_is_left()


def test_a_name_is_resolved_for_an_upstream_that_gets_addresses() -> None:
    """No rule is asked about them. A name that there is not is no fault of the upstream's."""
    hosts: dict[bytes, Any] = {b"probe.example": ["10.0.0.1"]}
    world = World(hosts=hosts, resolves=False, **PROBED)
    transport = probing(world)
    assert world.asked == [TARGET.host]  # of whoever has asked
    world.answer(transport, NO_AUTHENTICATION)
    assert world.sent(transport)[3:] == request("10.0.0.1", 443)
    world.answer(transport, reply())
    world.resolver.answers[b"probe.example"] = DNSLookupError("no such name")
    world.reactor.advance(30)
    assert len(world.reactor.connectors) == 2
    assert (world.counters["up"].is_out, +world.counters["up"].failures) == (False, {})
    world.dialer.end()
    world.assert_nothing_is_left()


def test_one_that_serves_again_looks_again() -> None:
    world = World(**PROBED)
    world.dialer.end()
    world.dial().deferred.cancel()
    world.reactor.advance(100)
    assert len(world.reactor.connectors) == 1
    world.dialer.begin(world.direct, Settings())
    probing(world)
    assert len(world.reactor.connectors) == 3
    world.dialer.end()


def test_a_probe_puts_it_out_and_in() -> None:
    world = World(**PROBED)
    world.dial().deferred.cancel()
    world.reactor.advance(30)
    world.reactor.connectors[-1].fail(ConnectionRefusedError())
    assert world.counters["up"].is_out
    world.reactor.advance(30)
    world.answer(world.greeted(), reply(5))
    assert not world.counters["up"].is_out
    world.dialer.end()
    world.dial().deferred.cancel()
    world.assert_nothing_is_left()


def test_a_bug_in_a_probe_is_logged_and_the_next_comes(failures: Any) -> None:
    world = World(url="socks5://proxy.example", hosts={}, **PROBED)
    world.dial().deferred.cancel()
    world.ways["up"].dial = None
    world.reactor.advance(30)
    assert len(failures.take(TypeError)) == 1
    world.reactor.advance(30)
    assert len(failures.take(TypeError)) == 1
    world.dialer.end()
    world.assert_nothing_is_left()
