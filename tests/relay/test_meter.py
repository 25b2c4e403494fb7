"""A relay under limits, in memory: who is held, until when, and what passes all the same.

What it has in common with every relay is in ``test_relay.py``, what is so on real sockets in
``tests/sockets/test_metered_sockets.py``.
"""

from math import inf
from typing import Any

import pytest
from twisted.internet.task import Clock

from socks5.deadlines import IdleTimers
from socks5.outbound.attempts import Stream
from socks5.relay.joining import join
from socks5.relay.meter import SMALL, waits_of
from socks5.relay.relay import RESET_DELAYS
from socks5.settings import Settings
from tests.support.failures import Failures
from tests.support.limited import Meter
from tests.support.reactor import FakeReactor
from tests.support.sessions import Ends
from tests.support.transports import BUFFER_SIZE, FakeTLSTransport, FakeTransport

LINGER = 40.0
IDLE = 100.0


class World:
    """A metered relay between a client (``near``) and a target (``far``): whatever moves has to wait a second."""

    def __init__(
        self,
        kind: type[FakeTransport] = FakeTransport,
        near_window: int | None = None,
        idle: float = 0.0,
        first: bytes = b"",
    ) -> None:
        self.reactor = FakeReactor()
        self.done = Ends()
        self.meter = Meter(1.0)
        self.near = kind(self.reactor, window=near_window).connect(Stream())
        self.far = FakeTransport(self.reactor).connect(Stream())
        settings = Settings(idle_timeout=idle, linger_timeout=LINGER, keepalive=0)
        timers = IdleTimers(self.reactor)
        near, far = self.near.protocol, self.far.protocol
        self.relay: Any = join(timers, settings, near, far, self.done, self.meter)
        self.relay.start(first)

    def wait(self, seconds: float) -> None:
        self.reactor.pump([0.0, seconds, 0.0])


@pytest.mark.parametrize("kind", [FakeTransport, FakeTLSTransport])
def test_who_has_to_pay_is_not_read_until_it_has_paid(kind: type[FakeTransport]) -> None:
    world = World(kind)
    for _ in range(3):
        world.near.deliver(bytes(SMALL))
        world.reactor.turn()
        assert not world.near.is_reading
        world.near.deliver(b"more")
        world.far.deliver(b"an answer")
        world.wait(0.9)
        assert not world.near.is_reading
        assert world.far.is_reading
        world.wait(0.1)
        assert world.near.is_reading
    world.reactor.turn()
    assert world.far.value() == (bytes(SMALL) + b"more") * 3
    assert world.near.value() == b"an answer" * 3


def test_small_messages_are_charged_together_and_the_rest_at_the_end() -> None:
    world = World()
    for _ in range(SMALL // 100):
        world.near.deliver(bytes(100))
        world.far.deliver(bytes(10))
    assert (world.meter.up, world.meter.down) == (0, 0)
    world.near.deliver(bytes(100))
    assert (world.meter.up, world.meter.down) == ((SMALL // 100 + 1) * 100, 0)
    world.near.deliver(bytes(50))
    world.far.deliver_reset()
    world.reactor.pump([0, RESET_DELAYS[0], 0])
    assert world.done == ["reset by target"]
    assert (world.meter.up, world.meter.down) == (world.relay.bytes_up, world.relay.bytes_down)


def test_what_the_client_sent_before_is_paid_for_too() -> None:
    world = World(first=bytes(SMALL))
    assert world.meter.up == SMALL
    assert not world.near.is_reading
    world.wait(1)
    assert world.near.is_reading


@pytest.mark.parametrize("first", ["buffer", "payment"])
def test_a_pause_has_two_reasons_and_ends_with_the_last(first: str) -> None:
    world = World(near_window=0)
    far = world.far
    far.deliver(bytes(BUFFER_SIZE + SMALL))
    world.reactor.turn()
    assert not far.is_reading
    if first == "buffer":
        world.near.accept()
        world.wait(0.5)
        assert not far.is_reading
        world.wait(0.5)
    else:
        world.wait(2)
        assert not far.is_reading
        world.near.accept()
        world.reactor.turn()
    assert far.is_reading


def test_octets_that_come_while_it_is_held_prolong_that() -> None:
    """As TLS does: what it has read it delivers."""
    world = World()
    world.near.deliver(bytes(SMALL))
    world.near.protocol.receiver.dataReceived(bytes(2 * SMALL))
    world.meter.wait = 0.0
    world.near.protocol.receiver.dataReceived(bytes(SMALL))  # which is free
    world.wait(0.5)
    assert not world.near.is_reading
    world.wait(0.5)
    assert world.near.is_reading


def test_an_end_of_the_other_side_is_passed_on_to_who_is_held() -> None:
    world = World()
    world.near.deliver(bytes(SMALL))
    world.far.deliver_end()
    world.reactor.turn()
    assert world.near.far_sees == "end"
    world.near.deliver_end()
    world.wait(1)
    assert world.done == ["client closed"]


def test_a_reset_of_the_other_side_is_passed_on_to_who_is_held() -> None:
    world = World()
    world.near.deliver(bytes(SMALL))
    world.far.deliver_reset()
    world.reactor.pump([0, RESET_DELAYS[0], 0])
    assert world.near.far_sees == "reset"
    assert world.done == ["reset by target"]
    world.wait(1)
    assert world.reactor.getDelayedCalls() == []


def test_stopping_does_not_wait_for_who_is_held() -> None:
    world = World()
    world.near.deliver(bytes(SMALL))
    world.near.deliver(b"not read")
    world.relay.stop("shutdown")
    world.reactor.turn()
    assert world.done == ["shutdown"]
    assert world.far.value() == bytes(SMALL)


def test_being_held_is_not_idle() -> None:
    world = World(idle=IDLE)
    world.meter.wait = 5 * IDLE
    world.near.deliver(bytes(SMALL))
    for _ in range(25):
        world.wait(IDLE / 5)
        assert world.done == []
    for _ in range(5):
        world.wait(IDLE / 4)
    assert world.done == ["idle"]


def test_being_held_does_not_keep_a_relay_that_closes() -> None:
    world = World(near_window=0)
    world.meter.wait = 1000.0
    world.far.deliver(bytes(SMALL))
    world.relay.stop("shutdown")
    for _ in range(5):
        world.wait(LINGER / 4)
    assert world.done == ["closing and silent"]


def test_more_than_there_may_be_is_the_end() -> None:
    world = World()
    world.meter.wait = inf
    world.near.deliver(bytes(SMALL) + b"the last")
    world.reactor.turn()
    world.reactor.turn()
    assert world.done == ["limit reached"]
    assert world.far.value() == bytes(SMALL) + b"the last"
    assert (world.near.far_sees, world.far.far_sees) == ("end", "end")


# ---------------------------------------------------------------- waits


def test_waits_end_in_their_order_by_one_delayed_call() -> None:
    clock = Clock()
    waits = waits_of(clock)
    assert waits_of(clock) is waits
    over: list[Any] = []
    for seconds in (3.0, 1.0, 2.0, 1.0, 4.0):
        waits.hold(seconds, lambda seconds=seconds: over.append(seconds))  # type: ignore[misc]
        assert len(clock.getDelayedCalls()) == 1
    given_up = waits.hold(0.5, lambda: over.append("given up"))
    waits.give_up(given_up)
    clock.advance(1)
    assert over == [1.0, 1.0]
    clock.advance(1)
    assert over == [1.0, 1.0, 2.0]
    clock.pump([1, 1])
    assert over == [1.0, 1.0, 2.0, 3.0, 4.0]
    assert clock.getDelayedCalls() == []


def test_waits_that_were_given_up_leave_nothing() -> None:
    clock = Clock()
    waits = waits_of(clock)
    over: list[float] = []
    holds = [waits.hold(n, lambda: over.append(clock.seconds())) for n in range(1, 11)]
    for hold in holds[:4]:
        waits.give_up(hold)
    clock.advance(2)
    for hold in holds[4:9]:
        waits.give_up(hold)
    assert len(clock.getDelayedCalls()) == 1
    clock.pump([1] * 8)
    assert over == [10]
    waits.give_up(waits.hold(1000, over.clear))
    assert clock.getDelayedCalls() == []


def test_one_that_is_given_up_by_another_of_that_moment_is_not_called() -> None:
    clock = Clock()
    waits = waits_of(clock)
    over: list[int] = []
    waits.hold(1, lambda: waits.give_up(second))
    second = waits.hold(1, lambda: over.append(2))
    waits.hold(2, lambda: over.append(3))
    clock.pump([1, 1])
    assert over == [3]


def test_who_is_held_again_waits_for_the_next_time() -> None:
    clock = Clock()
    waits = waits_of(clock)
    over: list[float] = []

    def paid() -> None:
        over.append(clock.seconds())
        waits.hold(0 if len(over) < 3 else 5, paid)

    waits.hold(1, paid)
    waits.hold(7, lambda: None)
    clock.pump([1, 0, 0])
    assert over == [1, 1, 1]
    clock.advance(5)
    assert over == [1, 1, 1, 6]


def test_a_bug_of_one_does_not_hold_the_others(failures: Failures) -> None:
    clock = Clock()
    waits = waits_of(clock)
    over: list[int] = []
    waits.hold(1, lambda: 1 // 0)
    waits.hold(1, lambda: over.append(2))
    clock.advance(1)
    assert over == [2]
    assert len(failures.take(ZeroDivisionError)) == 1
