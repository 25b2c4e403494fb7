"""Whether an upstream is in order: what puts it out, for how long, and what brings it back."""

from typing import Any

import pytest
from twisted.internet.task import Clock

from socks5.loglimit import Monotonic
from socks5.outbound.health import LONGEST, Health


class World:
    """An upstream that is out after three failures, and its clock."""

    def __init__(self, chance: float = 0.5, fails: int = 3) -> None:
        self.clock = Clock()
        self.chance = chance
        self.health = Health("office", fails, 10.0, self.clock.seconds, lambda: self.chance)

    def fail(self, times: int = 3) -> None:
        for _ in range(times):
            self.health.failed("refused")


def test_failures_in_a_row_put_it_out_for_a_time(log: list[str]) -> None:
    world = World()
    health = world.health
    world.fail(2)
    health.succeeded()
    world.fail(2)
    assert (health.is_out, health.is_usable, log) == (False, True, [])
    world.fail(1)
    assert (health.is_out, health.is_usable) == (True, False)
    assert log == ["upstream office is out, and tried again in 10 s: refused"]
    world.fail(5)  # of those who were on their way
    world.clock.advance(9.9)
    assert not health.is_usable
    world.clock.advance(0.1)
    assert health.is_usable
    assert len(log) == 1


def test_what_goes_in_and_out_all_the_time_does_not_fill_the_log(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a name does behind which one of several proxies refuses the login."""
    now = 0.0
    monkeypatch.setattr(Monotonic, "seconds", lambda: now)
    health = World().health
    for _ in range(30):
        health.failed("refused", is_final=True)
        health.succeeded()
    assert len(log) == 20
    now = 61.0
    health.failed("refused", is_final=True)
    assert log[20:] == [
        "upstream office is out, and tried again in 10 s: refused (20 such changes more had no line)"
    ]


def test_one_tries_it_while_others_pass_it_by(log: list[str]) -> None:
    world = World()
    health = world.health
    world.fail()
    assert not health.enter()  # too early: this is no trial
    world.clock.advance(10)
    assert [health.enter(), health.is_usable, health.enter()] == [True, False, False]
    health.left(is_trial=True)
    assert health.enter()
    health.succeeded(is_trial=True)
    assert (health.is_out, health.is_usable) == (False, True)
    assert log[1:] == ["upstream office is in again"]
    world.fail(2)
    assert not health.is_out  # it begins anew


def test_each_trial_that_fails_doubles_the_time_up_to_five_minutes(log: list[str]) -> None:
    world = World()
    health = world.health
    world.fail()
    times = []
    for _ in range(7):
        times.append(health.due - world.clock.seconds())
        world.clock.advance(times[-1])
        assert health.enter()
        health.failed("refused", is_trial=True)
    assert times == [10, 20, 40, 80, 160, LONGEST, LONGEST]
    assert len(log) == 1
    world.clock.advance(LONGEST)
    assert health.enter()
    health.succeeded(is_trial=True)
    world.fail()
    assert health.due - world.clock.seconds() == 10


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 8.0), (1.0, 12.0)])
def test_times_differ_by_a_fifth(chance: float, seconds: float) -> None:
    world = World(chance)
    world.fail()
    assert world.health.due == pytest.approx(seconds)


def test_what_is_no_chance_puts_it_out_at_once(log: list[str]) -> None:
    world = World()
    world.health.failed("login refused", is_final=True)
    assert world.health.is_out
    assert log == ["upstream office is out, and tried again in 10 s: login refused"]


def test_who_is_out_is_told_of_once_more_if_that_is_no_chance_any_more(log: list[str]) -> None:
    """Somebody has started the proxy again, and its users are others now."""
    world = World()
    world.fail()
    world.clock.advance(10)
    assert world.health.enter()
    for is_trial in (True, False):
        world.health.failed("login refused", is_trial, is_final=True)
    assert log[1:] == ["upstream office is still out, and tried again in 20 s: login refused"]
    world.health.succeeded()
    world.fail()
    world.health.failed("login refused", is_final=True)
    assert log[4:] == ["upstream office is still out, and tried again in 10 s: login refused"]


def test_the_time_that_it_is_out_is_counted() -> None:
    world = World()
    counters: Any = world.health.counters
    world.clock.advance(5)
    assert (counters.is_out, counters.seconds_out) == (False, 0)
    world.fail()
    world.clock.advance(4)
    assert not world.health.is_usable
    assert (counters.is_out, counters.seconds_out) == (True, 4)
    world.clock.advance(3)
    world.health.succeeded()
    world.clock.advance(50)
    assert (world.health.is_usable, counters.is_out, counters.seconds_out) == (True, False, 7)


def test_it_may_bear_less_from_now_on() -> None:
    world = World()
    world.fail(1)
    world.health.bear(2, 60.0)
    world.fail(1)
    assert world.health.is_out
    world.clock.advance(60)
    assert world.health.enter()
    world.health.succeeded(is_trial=True)
    world.fail(2)
    assert world.health.due == world.clock.seconds() + 60
