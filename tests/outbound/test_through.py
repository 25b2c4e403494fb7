"""Upstreams that are logged in to by a security context, in memory: what is in tokens, who is asked for contexts, and
what will not do.
"""

from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from socks5.client.hops import Same
from socks5.outbound.path import Path
from socks5.outbound.pool import Way
from socks5.outbound.terms import Terms
from socks5.protocol.address import Address
from socks5.protocol.errors import LocalProtocolError, RemoteProtocolError
from socks5.protocol.gssapi import Message, MessageType, Protection
from socks5.protocol.messages import Command, Request
from socks5.settings import Settings
from tests.support.contexts import SECRET, Half, Initiating
from tests.support.providers import ASKER
from tests.support.sessions import NO_AUTHENTICATION
from tests.support.transports import FakeTransport
from tests.support.upstreams import (
    BOUND,
    HOST,
    NAME,
    TARGET,
    UP,
    Dialling,
    World,
    reply,
    request,
    upstream,
)

AT = Address(UP, 4000)
PEER = Address(HOST, 20)

GREETING, METHOD = b"\5\1\1", b"\5\1"
TICKET = b"alice\0" + SECRET
NONE, INTEGRITY, CONFIDENTIALITY = list(Protection)[:3]


def message(token: bytes, kind: MessageType = MessageType.ENCAPSULATED) -> bytes:
    return Message(kind, token).encode()


class Upstream:
    """A proxy's side of its login, and of what travels behind.

    :param outside: one that it is reached through, whose tokens are around its own.
    """

    def __init__(self, world: World, transport: FakeTransport, key: bytes, outside: Any = None):
        self._half = Half(key, b"server")
        self._key = key
        self._outside = outside
        self._world = world
        self._transport = transport
        self.is_protected = False

    def wrap(self, data: bytes) -> bytes:
        if self.is_protected:
            data = message(self._half.wrap(data, True))
        return data if self._outside is None else self._outside.wrap(data)

    def unwrap(self, data: bytes) -> bytes:
        if self._outside is not None:
            data = self._outside.unwrap(data)
        if data and self.is_protected:
            assert data[:2] == b"\1\3"
            data, is_encrypted = self._half.unwrap(data[4:])
            assert is_encrypted
        return data

    def hear(self) -> bytes:
        """What it is sent."""
        return self.unwrap(self._world.sent(self._transport))

    def say(self, data: bytes) -> None:
        self._world.answer(self._transport, self.wrap(data))

    def answered(self, data: bytes) -> bytes:
        """What it is sent for an answer."""
        self.say(data)
        return self.hear()

    def established(self) -> bytes:
        """Its login, until the level that is wanted."""
        assert self.hear() == GREETING
        assert self.answered(METHOD) == message(TICKET, MessageType.CONTEXT)
        wanted = self.answered(message(self._key, MessageType.CONTEXT))
        assert wanted[:2] == b"\1\2"
        return self._half.unwrap(wanted[4:])[0]

    def agree(self, level: int) -> None:
        self.say(message(self._half.wrap(bytes((level,)), False), MessageType.PROTECTION))
        self.is_protected = level != NONE

    def logged_in(self) -> bytes:
        """Its login.

        :returns: the request behind it.
        """
        assert self.established() == b"\2"
        self.agree(CONFIDENTIALITY)
        return self.hear()


def by_context(
    commands: frozenset[int] = Terms().commands, **options: Any
) -> tuple[World, Initiating]:
    """One upstream; its initiator is given these options."""
    initiating = Initiating(**options)
    return World(gssapi=Same(initiating), commands=commands), initiating


def begun(world: World, number: int = 1) -> Upstream:
    """It has accepted."""
    return Upstream(world, world.accept(), b"key%05d" % number)


def test_what_is_behind_a_login_is_in_tokens_both_ways() -> None:
    world, initiating = by_context()
    dialling = world.dial()
    far = begun(world)
    assert far.logged_in() == request()
    far.say(reply() + b"early")
    stream = dialling.stream
    assert (stream.waiting, stream.bound, stream.far) == (b"early", BOUND, TARGET)
    assert (initiating.hosts, initiating.clients) == ([UP], [ASKER.client])
    got: list[bytes] = []
    stream.receiver = receiver = Receiver(got)
    far.say(b"hello")
    stream.transport.write(b"world")
    assert (got, far.hear()) == ([b"hello"], b"world")
    assert receiver.reason is None
    stream.transport.loseConnection()
    world.reactor.turn()
    assert world.counters["up"].open == 0
    world.assert_nothing_is_left()


class Receiver:
    """Notes what comes."""

    def __init__(self, got: list[bytes]) -> None:
        self.dataReceived = got.append
        self.reason: Any = None

    def connectionLost(self, reason: Any) -> None:
        self.reason = reason.type


def test_something_that_is_no_token_ends_it() -> None:
    world, _ = by_context()
    dialling = world.dial()
    far = begun(world)
    far.logged_in()
    far.say(reply())
    dialling.stream.receiver = receiver = Receiver([])
    far.is_protected = False
    far.say(b"hello")
    assert receiver.reason is RemoteProtocolError
    assert (far._transport.far_sees, world.counters["up"].open) == ("reset", 0)
    world.assert_nothing_is_left()


def two(*initiating: Any) -> Any:
    """Two hops, each with a login by a context or with none."""

    def ways(reactor: Any) -> dict[str, Way]:
        urls = (f"socks5://{UP}", "socks5://second.example")
        legs = [
            upstream(f"hop{number}", url, gssapi=None if each is None else Same(each))
            for number, (url, each) in enumerate(zip(urls, initiating, strict=True))
        ]
        return {"up": Path("up", legs, reactor)}

    return ways


@pytest.mark.parametrize("which", ["the first", "the second", "both"])
def test_each_hop_has_its_own_tokens_or_none(which: str) -> None:
    """And its datagrams travel in the last one's."""
    first = Initiating() if which != "the second" else None
    second = Initiating() if which != "the first" else None
    world = World(two(first, second))
    dialling = world.dial()
    outer = inner = begun(world)
    if first is None:
        assert outer.answered(b"") == b"\5\1\0"
        asked = outer.answered(NO_AUTHENTICATION)
    else:
        asked = outer.logged_in()
    assert asked == request(b"second.example", 1080)
    outer.say(reply())
    inner = Upstream(world, outer._transport, b"inner key", outer)
    if second is None:
        assert inner.hear() == b"\5\1\0"
        asked = inner.answered(NO_AUTHENTICATION)
    else:
        asked = inner.logged_in()
        assert second.hosts == ["second.example"]
    assert asked == request()
    inner.say(reply(0, BOUND) + b"hi")
    stream = dialling.stream
    assert (stream.waiting, stream.envelope is None) == (b"hi", second is None)
    if second is not None:
        assert inner._half.unwrap(stream.envelope.wrap(b"datagram")[4:]) == (b"datagram", True)
        assert stream.envelope.unwrap(message(inner._half.wrap(b"answer", True))) == b"answer"
        with pytest.raises(LocalProtocolError):
            stream.envelope.wrap(bytes(65536))
    got: list[bytes] = []
    stream.receiver = Receiver(got)
    inner.say(b"hello")
    assert got == [b"hello"]


@pytest.mark.parametrize(
    ("options", "level", "is_taken"),
    [
        ({"level": NONE}, NONE, True),
        ({"level": INTEGRITY}, CONFIDENTIALITY, True),
        ({}, INTEGRITY, False),
        ({"level": INTEGRITY}, NONE, False),
    ],
)
def test_less_than_is_wanted_is_refused_and_the_upstream_is_out(
    options: Any, level: int, is_taken: bool
) -> None:
    world, initiating = by_context(**options)
    dialling = world.dial()
    far = begun(world)
    assert far.established() == bytes((initiating.level,))
    far.agree(level)
    if is_taken:
        assert far.hear() == request()
        return
    assert (dialling.code, world.counters["up"].is_out) == (1, True)
    assert "upstream up, hop 1, login: " in dialling.failure.getErrorMessage()
    world.assert_nothing_is_left()


@pytest.mark.parametrize("way", ["none", "late", "left", "lost"])
def test_a_step_that_takes_its_time(way: str) -> None:
    """Nobody reads meanwhile; and it is taken back if nobody waits for it any more."""
    world, initiating = by_context(is_slow=True)
    dialling = world.dial()
    far = begun(world)
    far.say(METHOD)
    [context] = initiating.contexts
    assert not far._transport.is_reading
    if way == "none":
        context.go.errback(RuntimeError("no ticket"))
        assert dialling.code == 1
        assert "no security context: no ticket" in dialling.failure.getErrorMessage()
        assert world.counters["up"].is_out
    elif way == "late":
        world.reactor.advance(10)
        text = dialling.failure.getErrorMessage()
        assert "login: 203.0.113.1:1080 (hop 1), asked for " in text
        assert text.endswith(": no answer within 10 s")
    elif way == "left":
        dialling.deferred.cancel()
        assert dialling.failure.check(CancelledError)
    else:
        far._transport.deliver_reset()
        world.reactor.turn()
        assert dialling.code == 1
    world.reactor.turn()
    assert context.go.called
    assert far._transport.far_sees == "reset" or way == "lost"
    world.assert_nothing_is_left()


def test_a_proxy_may_listen_within_its_tokens() -> None:
    world, _ = by_context()
    bound = world.bind()
    far = begun(world)
    assert far.logged_in() == Request(Command.BIND, TARGET).encode()
    far.say(reply(0, Address("0.0.0.0", AT.port)))
    port = bound.stream
    assert port.bound == AT
    far.say(reply(0, PEER) + b"first")
    peer = Dialling(port.peer).stream
    assert (peer.bound, peer.waiting, world.asked) == (PEER, b"first", [HOST, HOST])


def test_a_name_may_be_asked_for_within_them() -> None:
    world, _ = by_context(commands=frozenset({Command.RESOLVE}))
    access = ASKER._replace(command=Command.RESOLVE, target=Address(NAME, 0))
    asked: Any = {"settings": Settings(), "near": "::1"}
    looking = Dialling(world.dialer.look_up(access, "up", Address(NAME, 0), **asked))
    far = begun(world)
    assert far.logged_in() == Request(Command.RESOLVE, Address(NAME, 0)).encode()
    far.say(reply(0, Address(HOST, 0)))
    assert looking.stream.said == Address(HOST, 0)
    world.assert_nothing_is_left()
