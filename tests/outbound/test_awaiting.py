"""BIND through an upstream, in memory: where it listens, who may come, and what is left where nobody does."""

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionRefusedError
from zope.interface.verify import verifyObject

from socks5.access import ALLOWED, DENIED, Verdict
from socks5.interfaces import IPeerPort
from socks5.protocol.address import Address
from socks5.protocol.messages import Command, Request
from socks5.settings import PerFamily
from tests.support.sessions import NO_AUTHENTICATION
from tests.support.upstreams import (
    HOST,
    NAME,
    TARGET,
    UP,
    VIA,
    Dialling,
    World,
    chained,
    reply,
    two,
)

AT = Address("203.0.113.1", 4000)
PEER = Address(HOST, 20)


class Listening:
    """A BIND that a proxy serves, and what comes of it."""

    def __init__(
        self, world: World, expected: Address = TARGET, at: Address = AT, **more: Any
    ) -> None:
        self.world = world
        bound = world.bind(expected, **more)
        self.transport = world.greeted()
        world.sent(self.transport)
        world.answer(self.transport, reply(0, at))
        self.port = bound.stream
        self.peer = Dialling(self.port.peer)

    def answer(self, code: int, peer: Address = PEER, more: bytes = b"") -> None:
        self.world.answer(self.transport, reply(code, peer) + more)


def test_a_proxy_listens_and_who_has_come_is_judged() -> None:
    world = World()
    listening = Listening(world)
    assert verifyObject(IPeerPort, listening.port)
    assert (listening.port.bound, world.asked) == (AT, [HOST])
    listening.answer(0, Address(f"::ffff:{HOST}", 20), b"first")
    stream = listening.peer.stream
    assert (stream.bound, stream.far, stream.waiting, stream.upstream) == (
        PEER,
        PEER,
        b"first",
        "up",
    )
    assert world.asked == [HOST, HOST]
    listening.transport.deliver_reset()
    assert world.counters["up"].open == 0
    world.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("expected", "verdicts", "asks_for", "asked"),
    [
        (Address("0.0.0.0", 7), {None: VIA}, Address("0.0.0.0", 0), [None]),
        (Address(b"", 7), {None: VIA}, Address("0.0.0.0", 0), [None]),
        (Address(b"WWW.example.org.", 7), {None: VIA}, Address(NAME, 7), [None]),
        (Address(NAME, 7), {None: ALLOWED, HOST: VIA}, Address(HOST, 7), [None, HOST]),
        (Address(f"::ffff:{HOST}", 7), {HOST: VIA}, Address(HOST, 7), [HOST]),
    ],
)
def test_the_peer_that_is_expected_is_said_as_the_rules_have_seen_it(
    expected: Address, verdicts: Any, asks_for: Address, asked: Any
) -> None:
    world = World(verdicts=verdicts.get, hosts={NAME: [HOST]})
    world.bind(expected)
    transport = world.greeted()
    assert world.sent(transport)[3:] == Request(Command.BIND, asks_for).encode()
    assert world.asked == asked


def test_one_that_is_to_be_resolved_here_is() -> None:
    world = World(hosts={NAME: [HOST]}, resolves=False)
    world.bind(Address(NAME, 7))
    transport = world.greeted()
    assert world.sent(transport)[3:] == Request(Command.BIND, Address(HOST, 7)).encode()


@pytest.mark.parametrize("expected", [TARGET, Address("0.0.0.0", 0), Address(NAME, 7)])
def test_whom_no_rule_sends_there_is_awaited_here(expected: Address) -> None:
    world = World(verdicts=lambda _: ALLOWED, hosts={NAME: [HOST]})
    world.bind(expected, outgoing=PerFamily("127.0.0.1")).stream.close()
    assert (len(world.reactor.tcp_ports), world.connecting) == (1, [])


@pytest.mark.parametrize(
    ("said", "options", "told"),
    [
        ("198.51.100.9", {}, "198.51.100.9"),
        ("::ffff:198.51.100.9", {}, "198.51.100.9"),
        ("0.0.0.0", {}, UP),
        ("127.0.0.1", {}, UP),
        ("10.0.0.1", {}, UP),
        (b"proxy.example", {}, UP),
        ("127.0.0.1", {"udp_address": "198.51.100.7"}, "198.51.100.7"),
        ("198.51.100.9", {"udp_address": "198.51.100.7"}, "198.51.100.7"),
    ],
)
def test_where_a_proxy_listens(said: Any, options: Any, told: str) -> None:
    """As it says, or where it is, if it says nothing or what cannot be; unless it is known better."""
    listening = Listening(World(**options), at=Address(said, 4000))
    assert listening.port.bound == Address(told, 4000)


@pytest.mark.parametrize("said", ["::", b"proxy.example"])
@pytest.mark.parametrize("host", ["203.0.113.2", "second.example"])
def test_behind_others_it_is_where_it_is_reached_if_that_is_an_address(
    said: Any, host: str
) -> None:
    world = World(chained(f"socks5://{UP}", f"socks5://{host}"))
    bound = world.bind()
    transport = world.greeted()
    world.answer(transport, reply())
    world.answer(transport, NO_AUTHENTICATION)
    world.answer(transport, reply(0, Address(said, 4000)))
    if host == "203.0.113.2":
        assert bound.stream.bound == Address(host, 4000)
        return
    assert bound.code == 1
    assert "does not say where it listens" in bound.failure.getErrorMessage()
    assert transport.far_sees == "reset"
    world.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("peer", "verdict", "code"),
    [
        (Address("192.0.2.81", 20), VIA, 1),
        (Address("0.0.0.0", 0), VIA, 1),
        (Address(b"peer.example", 20), VIA, 1),
        (PEER, DENIED, 2),
        (PEER, ALLOWED, 2),
        (PEER, Verdict(True, "far", via="other"), 2),
    ],
)
@pytest.mark.parametrize("is_late", [False, True])
def test_who_may_not_come_is_closed(
    peer: Address, verdict: Verdict, code: int, is_late: bool
) -> None:
    verdicts: list[Any] = [VIA, succeed(verdict) if is_late else verdict]
    world = World(verdicts=lambda _: verdicts.pop(0))
    listening = Listening(world)
    listening.answer(0, peer)
    assert listening.peer.code == code
    world.reactor.turn()
    assert not listening.transport.connected
    assert world.counters["up"].open == 0
    world.assert_nothing_is_left()


def test_rules_that_fail_let_nobody_in() -> None:
    def judge(host: str | None) -> Any:
        if len(world.asked) > 1:
            raise RuntimeError("a bug")
        return VIA

    world = World(verdicts=judge)
    listening = Listening(world)
    listening.answer(0)
    assert listening.peer.failure.check(RuntimeError)
    world.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("play", "code"),
    [
        (lambda listening: listening.answer(0x91), 0x91),
        (lambda listening: listening.transport.deliver_end(), 1),
        (lambda listening: listening.world.reactor.advance(60), 6),
    ],
)
def test_no_peer_comes(play: Any, code: int) -> None:
    world = World(max_connections=1)
    listening = Listening(world)
    play(listening)
    assert listening.peer.code == code
    listening.port.close()
    world.reactor.turn()
    assert not listening.transport.connected
    world.assert_nothing_is_left()
    world.bind()
    assert len(world.connecting) == 1


def test_a_port_can_be_closed_and_nobody_comes_any_more() -> None:
    world = World()
    listening = Listening(world)
    listening.port.peer.cancel()
    for _ in range(2):
        listening.port.close()
    assert listening.peer.failure.check(CancelledError)
    assert world.counters["up"].open == 0
    world.assert_nothing_is_left()


@pytest.mark.parametrize("ends", ["closed", "cancelled", "lost"])
def test_whoever_waits_for_a_verdict_goes_with_the_port(ends: str) -> None:
    later: Deferred[Verdict] = Deferred()
    verdicts: list[Any] = [VIA, later]
    world = World(verdicts=lambda _: verdicts.pop(0))
    listening = Listening(world)
    listening.answer(0)
    assert (listening.peer.given, listening.transport.connected) == ([], True)
    if ends == "lost":
        listening.transport.deliver_reset()
        assert listening.peer.code == 2
    elif ends == "closed":
        listening.port.close()
        assert listening.peer.given == []
    else:
        listening.port.peer.cancel()
        assert listening.peer.failure.check(CancelledError)
    assert later.called
    world.reactor.turn()
    assert not listening.transport.connected
    world.assert_nothing_is_left()


def test_both_replies_may_come_together() -> None:
    world = World()
    bound = world.bind()
    transport = world.greeted()
    world.answer(transport, reply(0, AT) + reply(0, PEER) + b"first")
    assert Dialling(bound.stream.peer).stream.waiting == b"first"


@pytest.mark.parametrize("has_asked", [False, True])
def test_a_client_that_leaves_is_not_listened_for(has_asked: bool) -> None:
    world = World()
    bound = world.bind()
    if has_asked:
        world.greeted()
    bound.deferred.cancel()
    assert bound.failure.check(CancelledError)
    world.assert_nothing_is_left()


def test_another_one_listens_if_the_first_is_not_there() -> None:
    world = World(two)
    bound = world.bind()
    world.reactor.connectors[0].fail(ConnectionRefusedError())
    world.answer(world.greeted(), reply(0, AT))
    assert bound.stream.bound == AT
