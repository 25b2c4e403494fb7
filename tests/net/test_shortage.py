"""Times without room: what the log says of them, and when who waits is turned away."""

from collections.abc import Iterator
from unittest.mock import MagicMock

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from socks5.counters import Counters
from socks5.net.shortage import NO_ROOM, Shortage

WAIT = 4.0


class World:
    """A shortage, whether there is room, and what was said."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.counters = Counters()
        self.told: list[float] = []
        listener = MagicMock(spec_set=["turn_away"])  # which is not paused by a shortage
        listener.turn_away = lambda: self.told.append(self.clock.seconds())
        self.is_full = True
        self.shortage = Shortage(self.clock, WAIT, self.counters, {listener}, lambda: self.is_full)

    def passes(self, seconds: float) -> None:
        self.clock.pump([0.5] * round(seconds / 0.5))


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What shortages log, and nothing that other tests have left behind."""
    found: list[str] = []

    def observe(event: LogEvent) -> None:
        if isinstance(event.get("log_source"), Shortage):
            found.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def world() -> World:
    return World()


def test_a_shortage_is_said_when_it_begins_and_when_it_is_over_each_time(
    world: World, log: list[str]
) -> None:
    begins = "there are 7 sessions: clients wait, and are closed after 4 s; raise --max-sessions"
    over = "there is room for clients again, after 22 s; 3 came in meanwhile, 2 were closed"
    for _ in range(2):
        world.is_full = True
        for _ in range(2):
            world.shortage.met("there are 7 sessions", "raise --max-sessions")
        assert log == [begins]
        world.passes(20)
        world.counters.connections += 3
        world.counters.turned_away[NO_ROOM] += 2
        world.is_full = False
        world.passes(2)
        assert log == [begins, over]
        assert world.clock.getDelayedCalls() == []
        log.clear()


def test_one_that_ends_for_a_moment_only_goes_on_without_a_word(
    world: World, log: list[str]
) -> None:
    world.shortage.met("full")
    for _ in range(20):
        world.is_full = False
        world.passes(1)
        world.is_full = True
        world.shortage.met("full")
    assert log == ["full: clients wait, and are closed after 4 s"]


def test_listeners_are_told_twice_in_the_time_that_a_client_may_wait(world: World) -> None:
    world.shortage.met("full")
    world.passes(6)
    assert world.told == [2, 4, 6]
