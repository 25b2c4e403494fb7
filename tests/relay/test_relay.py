"""Two streams joined, in memory: octets, ends, resets, limits, in every order that matters.

What every relay must do on real sockets is in ``tests/sockets/test_relay_sockets.py``.
"""

import errno
from typing import Any

import pytest
from twisted.internet.interfaces import IPushProducer
from typing_extensions import override
from zope.interface.verify import verifyObject

from socks5.deadlines import YOUNG, IdleTimers
from socks5.outbound.attempts import Stream
from socks5.relay.joining import join
from socks5.relay.relay import RESET_DELAYS, RESET_PATIENCE, Relay
from socks5.relay.transports import TransportSide, can_half_close
from socks5.settings import Settings
from socks5.streams import IStreamReceiver
from tests.support.limited import Meter
from tests.support.reactor import FakeReactor
from tests.support.sessions import Ends
from tests.support.transports import BUFFER_SIZE, FakeTLSTransport, FakeTransport

MUCH = bytes(range(256)) * 1024
"""More than a send buffer."""

LINGER = 240.0
IDLE = 100.0


class World:
    """A relay between a client (``near``) and a target (``far``).

    Most of what a relay does holds both ways: ``one`` is the side that a test begins with, ``other`` its
    peer.

    :param one: "client" or "target".
    :param one_window: octets that side takes until :meth:`FakeTransport.accept`.
    """

    meter: type[Meter] | None = None

    def __init__(
        self,
        one: str = "client",
        one_window: int | None = None,
        other_window: int | None = None,
        one_kind: type[FakeTransport] = FakeTransport,
        other_kind: type[FakeTransport] = FakeTransport,
        idle: float = 0.0,
        keepalive: int = 180,
    ) -> None:
        self.reactor = FakeReactor()
        self.done = Ends()
        self.one_name, self.other_name = one, "target" if one == "client" else "client"
        self.one = one_kind(self.reactor, window=one_window).connect(Stream())
        self.other = other_kind(self.reactor, window=other_window).connect(Stream())
        is_client = one == "client"
        self.near, self.far = (self.one, self.other) if is_client else (self.other, self.one)
        self.timers = IdleTimers(self.reactor)
        self.relay = join(
            self.timers,
            Settings(idle_timeout=idle, linger_timeout=LINGER, keepalive=keepalive),
            self.near.protocol,
            self.far.protocol,
            self.done,
            self.meter and self.meter(),
        )

    def start(self, *arguments: Any) -> "World":
        self.relay.start(*arguments)
        return self

    def turn(self) -> None:
        self.reactor.turn()

    def settle(self) -> None:
        """Until a reset has been passed on: it waits a moment for octets that go before it."""
        self.reactor.pump([0, RESET_DELAYS[0], 0])

    def wait(self, seconds: float) -> None:
        """Let time pass, a second at a time."""
        self.reactor.pump([1.0] * int(seconds))

    @property
    def seen(self) -> tuple[str, str]:
        """What the one and the other see of the end."""
        return self.one.far_sees, self.other.far_sees

    def assert_nothing_ticks(self) -> None:
        """What many share runs out once more."""
        self.reactor.advance(LINGER / 4)
        assert self.reactor.getDelayedCalls() == []

    def assert_over(self, reason: str) -> None:
        """Told once, with *reason*; nothing is left that ticks, produces or holds."""
        assert self.done == [reason]
        self.assert_nothing_ticks()
        for transport in (self.near, self.far):
            assert not transport.connected
            assert transport.producer is None
            assert transport.protocol.receiver is None
        self.relay.stop("too late")
        self.turn()
        assert self.done == [reason]


@pytest.fixture(autouse=True, params=[None, Meter], ids=["unmetered", "metered"])
def meter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same holds under limits that are not reached."""
    monkeypatch.setattr(World, "meter", request.param)


@pytest.fixture(params=["client", "target"])
def begin(request: pytest.FixtureRequest) -> Any:
    """Makes a world whose ``one`` is the client, then the target, and starts its relay."""
    return lambda **options: World(request.param, **options).start()


# ---------------------------------------------------------------- a target that is gone


@pytest.mark.parametrize("keepalive", [180, 0])
def test_a_target_is_probed_once_the_relay_lasts(keepalive: int) -> None:
    world = World(keepalive=keepalive).start()
    world.reactor.advance(YOUNG)
    assert not world.far.keepalive
    world.reactor.advance(YOUNG)
    assert world.far.keepalive is (keepalive > 0)
    assert world.reactor.getDelayedCalls() == []


def test_a_target_that_is_gone_already_is_not_probed() -> None:
    world = World(one_window=0).start()
    world.far.deliver(b"octets")
    world.near.deliver_end()
    world.far.deliver_end()
    world.turn()
    assert not world.far.connected
    assert world.done == []
    world.reactor.pump([YOUNG, YOUNG])
    assert not world.far.keepalive


def test_a_target_lost_at_the_moment_it_would_be_probed_harms_nobody() -> None:
    def refuse(enabled: bool) -> None:
        raise OSError(errno.EINVAL, "the connection is gone")

    world = World().start()
    world.far.setTcpKeepAlive = refuse  # type: ignore[method-assign]
    world.reactor.pump([YOUNG, YOUNG])
    world.near.deliver(b"octets")
    world.turn()
    assert world.far.value() == b"octets"


# ---------------------------------------------------------------- back pressure


def test_a_full_buffer_stops_reading_until_it_is_empty_and_nothing_is_lost(begin: Any) -> None:
    """And does not hold up the other direction."""
    world = begin(other_window=0)
    assert verifyObject(IStreamReceiver, world.one.protocol.receiver)
    assert verifyObject(IPushProducer, world.one.producer)
    world.one.deliver(bytes(BUFFER_SIZE))
    assert world.one.is_reading
    world.one.deliver(b"more")
    assert not world.one.is_reading
    for _ in range(100):
        world.one.deliver(bytes(BUFFER_SIZE))
        world.turn()
    assert world.other.unsent == BUFFER_SIZE + 4
    assert world.other.is_reading
    world.other.deliver(b"still here")
    world.turn()
    assert world.one.value() == b"still here"
    world.other.accept(BUFFER_SIZE)
    world.turn()
    assert not world.one.is_reading
    while not world.one.is_reading:
        world.other.accept()
        world.turn()
    assert world.other.value() == bytes(BUFFER_SIZE) + b"more" + bytes(BUFFER_SIZE * 100)


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize("pieces", [[b"octets"], [MUCH], [MUCH, b"which are not read"]])
def test_an_end_waits_behind_what_is_not_sent(begin: Any, pieces: list[bytes]) -> None:
    """It is passed on once; nor is the side read again: a socket at its end is readable for ever."""
    world = begin(other_window=0)
    for octets in pieces:
        world.one.deliver(octets)
    world.one.deliver_end()
    world.other.accept(len(pieces[0]) - 1)
    world.turn()
    assert world.seen == ("", "")
    world.other.accept()
    world.turn()
    assert (world.other.value(), world.seen) == (b"".join(pieces), ("", "end"))
    assert not world.one.is_reading
    world.one.resumeProducing()
    world.other.deliver(b"answer")
    world.turn()
    assert (world.one.value(), world.done) == (b"answer", [])
    assert world.other.calls.count("loseWriteConnection") == 1


@pytest.mark.parametrize("first", [b"all there is", b"", MUCH])
def test_the_client_s_end_may_have_come_before(first: bytes) -> None:
    world = World(other_window=0).start(first, True)
    world.turn()
    assert world.seen == ("", "" if first else "end")
    world.far.accept()
    world.turn()
    assert (world.far.value(), world.seen) == (first, ("", "end"))
    world.far.deliver(b"answer")
    world.far.deliver_end()
    world.turn()
    assert world.near.value() == b"answer"
    world.assert_over("target closed")


@pytest.mark.parametrize(
    ("octets", "reason"), [(b"octets", "closing and silent"), (MUCH, "half-closed and silent")]
)
def test_the_last_octets_reach_a_slow_reader_but_not_one_that_stands_still(
    begin: Any, octets: bytes, reason: str
) -> None:
    """Whether the end behind them is read already or waits behind a full buffer."""
    slow, still = begin(one_window=0), begin(one_window=0)
    for world in (slow, still):
        world.one.deliver_end()
        world.other.deliver(octets)
        world.other.deliver_end()
        world.wait(LINGER - 1)
        assert world.done == []
    slow.one.accept()
    slow.turn()
    assert (slow.one.value(), slow.seen) == (octets, ("end", "end"))
    slow.assert_over(f"{slow.other_name} closed")
    still.wait(LINGER / 4 + 1)
    assert still.one.far_sees == "reset"
    still.assert_over(reason)


# ---------------------------------------------------------------- resets


KINDS = {
    "TCP": {},
    "one of TLS": {"one_kind": FakeTLSTransport},
    "the other of TLS": {"other_kind": FakeTLSTransport},
    "both of TLS": {"one_kind": FakeTLSTransport, "other_kind": FakeTLSTransport},
}


@pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("are_both", [False, True])
def test_a_reset_is_a_reset_with_tls_too(begin: Any, kinds: Any, are_both: bool) -> None:
    world = begin(idle=IDLE, **kinds)
    world.one.deliver_reset()
    if are_both:
        world.other.deliver_reset()
    world.settle()
    assert are_both or world.other.far_sees == "reset"
    world.assert_over(f"reset by {world.one_name}")


def test_a_reset_while_the_last_octets_are_sent_ends_the_relay(begin: Any) -> None:
    world = begin(one_window=0)
    world.one.deliver_end()
    world.other.deliver(b"octets")
    world.other.deliver_end()
    world.turn()
    assert world.other.connected is False
    world.one.deliver_reset()
    world.settle()
    world.assert_over(f"{world.other_name} closed")


# ---------------------------------------------------------------- TLS


def test_tls_has_no_half_close() -> None:
    """Nor has TLS as after ``startTLS``, and on reactors whose TLS transports provide nothing but an attribute."""
    transport = FakeTransport(FakeReactor())
    assert can_half_close(transport)
    transport.TLS = True  # type: ignore[attr-defined]
    assert not can_half_close(transport)
    assert not can_half_close(FakeTLSTransport(FakeReactor()))
    assert not can_half_close(object())


@pytest.mark.parametrize("kinds", [*KINDS.values()][1:], ids=[*KINDS][1:])
def test_with_tls_an_end_is_a_close_once_all_is_sent(begin: Any, kinds: Any) -> None:
    """Of the side that is still there: the other is not touched when it is given up."""
    slow, still = begin(other_window=0, **kinds), begin(other_window=0, **kinds)
    for world in (slow, still):
        world.one.deliver(b"octets")
        world.one.deliver_end()
        world.turn()
        assert (world.one.connected, world.other.far_sees) == (False, "")
    slow.other.accept()
    slow.turn()
    assert (slow.other.value(), slow.seen) == (b"octets", ("end", "end"))
    slow.assert_over(f"{slow.one_name} closed")
    still.wait(LINGER * 1.25)
    assert still.other.far_sees == "reset"
    still.assert_over("closing and silent")


def test_what_arrives_while_closing_is_dropped_and_not_gathered(begin: Any) -> None:
    """With TLS the peer may send on, and there is no back pressure any more."""
    world = begin(one_window=0, other_kind=FakeTLSTransport)
    world.other.answers_close = False
    world.other.deliver(b"octets")
    world.one.deliver_end()
    world.turn()
    for _ in range(100):
        world.other.deliver(bytes(BUFFER_SIZE))
    assert world.one.unsent == 6
    assert world.relay.bytes_up + world.relay.bytes_down == 6
    world.one.accept()
    world.turn()
    assert world.one.value() == b"octets"
    world.other.deliver_end()
    world.turn()
    world.assert_over(f"{world.one_name} closed")


def test_a_peer_that_sends_on_does_not_keep_a_closing_relay_open(begin: Any) -> None:
    world = begin(other_kind=FakeTLSTransport)
    world.other.answers_close = False
    world.one.deliver_end()
    for _ in range(int(LINGER) + 1):
        world.other.deliver(b"still here")
        world.wait(1)
    assert world.other.far_sees == "reset"
    world.assert_over("closing and silent")


# ---------------------------------------------------------------- silence


@pytest.mark.parametrize(
    ("idle", "has_ended", "limit", "reason"),
    [
        (IDLE, False, IDLE, "idle"),
        (0, True, LINGER, "half-closed and silent"),
        (IDLE, True, LINGER, "half-closed and silent"),
    ],
    ids=["idle", "half-closed", "half-closed, in the idle limit's place"],
)
def test_a_silent_relay_is_given_up_and_octets_keep_it_open(
    begin: Any, idle: float, has_ended: bool, limit: float, reason: str
) -> None:
    """The answer to a last request may take longer than a pause between two."""
    silent, open_still = begin(idle=idle), begin(idle=idle)
    for world in (silent, open_still):
        if has_ended:
            world.one.deliver_end()
        world.wait(limit - 1)
        assert world.done == []
    silent.wait(1)
    silent.turn()
    assert silent.seen == ("reset", "reset")
    silent.assert_over(reason)
    for _ in range(5):
        open_still.other.deliver(b"still here")
        open_still.wait(limit - 1)
    assert (open_still.done, open_still.one.value()) == ([], b"still here" * 5)
    open_still.wait(limit * 1.25)
    assert open_still.done == [reason]


# ---------------------------------------------------------------- stopped from outside


def test_stopping_waits_for_a_stalled_reader_only_so_long(begin: Any) -> None:
    world = begin(other_window=0)
    world.one.deliver(MUCH)
    world.relay.stop("shutdown")
    world.wait(LINGER + 1)
    assert world.seen == ("end", "reset")
    world.assert_over("closing and silent")


@pytest.mark.parametrize("before", ["nothing", "a stop", "a reset"])
def test_stopping_by_force_waits_for_nobody(begin: Any, before: str) -> None:
    world = begin(other_window=0)
    world.one.deliver(MUCH)
    world.turn()
    if before == "a stop":
        world.relay.stop("shutdown")
    elif before == "a reset":
        world.one.deliver_reset()
    world.relay.stop("shutdown", by_force=True)
    world.turn()
    assert world.other.far_sees == "reset"
    world.assert_over("shutdown")


def test_an_end_while_a_reset_is_passed_on_does_not_make_it_an_end(begin: Any) -> None:
    world = begin()
    world.one.deliver_reset()
    world.other.deliver(b"too late")
    world.other.deliver_end()
    world.settle()
    assert world.other.far_sees == "reset"
    assert world.relay.bytes_up + world.relay.bytes_down == 0
    world.assert_over(f"reset by {world.one_name}")


def test_what_is_told_of_the_end_may_stop_the_relay_once_more() -> None:
    """As a session does, whose end stops its command."""
    world = World()
    reasons: list[str] = []

    class Session:
        def end(self, reason: str) -> None:
            reasons.append(reason)
            relay.stop("again")

    relay = Relay(
        world.timers, Settings(), world.near.protocol, world.far.protocol, Session(), TransportSide
    )
    relay.start()
    world.near.deliver_reset()
    world.settle()
    assert reasons == ["reset by client"]
    world.assert_nothing_ticks()


# ---------------------------------------------------------------- sides of another kind


class Scripted(TransportSide):
    """A side whose unsent octets a test decides."""

    __slots__ = ("left", "looks")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.left = self.looks = 0

    @override
    def unsent(self) -> int:
        self.looks += 1
        return self.left


def scripted(world: World) -> tuple[Scripted, Scripted]:
    """Give the world a relay with scripted sides, and start it.

    :returns: those of the client and of the target.
    """
    sides: list[Scripted] = []

    def kind(*arguments: Any) -> Scripted:
        sides.append(Scripted(*arguments))
        return sides[-1]

    streams = world.near.protocol, world.far.protocol
    settings = Settings(linger_timeout=LINGER)
    world.relay = Relay(world.timers, settings, *streams, world.done, kind)
    world.start()
    return sides[0], sides[1]


def with_a_reset_that_waits() -> tuple[World, Scripted]:
    """The target has reset its connection, and the client has an octet to read first."""
    world = World()
    near, _ = scripted(world)
    near.left = 1
    world.far.deliver_reset()
    return world, near


def test_a_reader_that_takes_octets_keeps_a_closing_relay_open() -> None:
    """However slowly: progress is what it has taken, too."""
    world = World(other_window=0)
    _, far = scripted(world)
    world.near.deliver(b"octets")
    far.left = 6
    world.near.deliver_end()
    world.far.deliver_end()
    for left in range(5, 0, -1):
        world.wait(LINGER - 1)
        far.left = left
    world.turn()
    assert world.done == []
    world.wait(LINGER * 1.25)
    assert world.done == ["closing and silent"]


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_target_that_is_gone_already_when_the_first_octets_are_sent(has_ended: bool) -> None:
    world = World()
    world.far.write = lambda data: world.far.deliver_reset()  # type: ignore[method-assign]
    world.start(b"first", has_ended)
    world.settle()
    assert world.near.far_sees == "reset"
    world.assert_over("reset by target")


def test_a_reset_waits_for_the_octets_before_it() -> None:
    world, near = with_a_reset_that_waits()
    world.reactor.pump(RESET_DELAYS[:5])
    assert world.near.far_sees == ""
    near.left = 0
    world.reactor.pump([RESET_DELAYS[5], 0])
    assert world.near.far_sees == "reset"
    world.assert_over("reset by target")


def test_a_reset_does_not_wait_for_a_reader_that_stands_still_and_looks_ever_more_rarely() -> None:
    world, near = with_a_reset_that_waits()
    world.reactor.pump([0.01] * int(RESET_PATIENCE / 0.01))
    assert (world.near.far_sees, near.looks) == ("", len(RESET_DELAYS) - 1)
    world.reactor.pump([0.01] * len(RESET_DELAYS))
    assert world.near.far_sees == "reset"
    world.assert_over("reset by target")


def test_stopping_leaves_a_reset_that_waits_to_itself() -> None:
    world, near = with_a_reset_that_waits()
    world.relay.stop("shutdown")
    world.turn()
    assert (world.near.far_sees, world.done) == ("", [])
    near.left = 0
    world.settle()
    assert world.near.far_sees == "reset"
    world.assert_over("reset by target")


@pytest.mark.parametrize("one", ["client", "target"])
def test_a_goodbye_of_tls_is_answered_by_who_was_not_read(one: str) -> None:
    world = World(one, other_window=0, one_kind=FakeTLSTransport).start()
    world.one.deliver(MUCH)
    world.turn()
    assert not world.one.is_reading
    world.relay.stop("shutdown")
    world.turn()
    world.turn()
    assert not world.one.connected
    world.other.accept()
    world.turn()
    world.assert_over("shutdown")
    assert world.other.value() == MUCH
