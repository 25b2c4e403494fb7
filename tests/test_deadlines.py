"""Time-outs: many of one length, and the silence of one thing; on a clock that tests turn."""

import random
from collections.abc import Callable

import pytest
from twisted.internet.task import Clock

from socks5 import deadlines as module
from socks5.deadlines import YOUNG, Deadlines, IdleTimers, Young, clock_of
from tests.support.failures import Failures
from tests.support.reactor import TimeOfDay

LENGTH = 10.0

# ---------------------------------------------------------------- the clock


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that nobody sets."""
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock.seconds)
    return clock


def test_lengths_are_not_measured_by_the_time_of_day(monotonic: Clock) -> None:
    assert clock_of(TimeOfDay()) == monotonic.seconds


def test_a_reactor_with_a_clock_of_its_own_keeps_it() -> None:
    clock = Clock()
    assert clock_of(clock) == clock.seconds


def test_a_deadline_holds_whatever_is_done_to_the_time_of_day(monotonic: Clock) -> None:
    reactor, calls = TimeOfDay(), Calls()
    deadlines = Deadlines(reactor)  # type: ignore[arg-type]
    deadlines.set("one", LENGTH, calls.will("one"))
    monotonic.advance(LENGTH - 1)
    reactor.run()  # it was set forward
    assert calls == []
    monotonic.advance(LENGTH)  # it was set back
    reactor.run()
    assert calls == ["one"]


class Calls(list[str]):
    """What was called, in order."""

    def will(self, name: str) -> Callable[[], None]:
        return lambda: self.append(name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def deadlines(clock: Clock) -> Deadlines:
    return Deadlines(clock)


# ---------------------------------------------------------------- Deadlines


@pytest.mark.parametrize("length", [LENGTH, 1 / 64])
def test_a_deadline_is_called_once_and_not_early(clock: Clock, calls: Calls, length: float) -> None:
    deadlines = Deadlines(clock)
    deadlines.set("one", length, calls.will("one"))
    clock.advance(length / 2)
    assert calls == []
    clock.advance(length / 2)
    assert calls == ["one"]
    clock.advance(length * 3)
    assert calls == ["one"]


def test_many_are_served_by_one_delayed_call(
    clock: Clock, deadlines: Deadlines, calls: Calls
) -> None:
    for number in range(100):
        deadlines.set(number, LENGTH, calls.will(str(number)))
        clock.advance(0.01)
    assert len(clock.getDelayedCalls()) == 1
    assert len(deadlines) == 100
    clock.advance(LENGTH)
    assert calls == [str(number) for number in range(100)]
    assert len(deadlines) == 0


def test_a_cleared_one_is_not_called(clock: Clock, deadlines: Deadlines, calls: Calls) -> None:
    deadlines.clear("nothing")
    deadlines.set("one", LENGTH, calls.will("one"))
    deadlines.set("two", LENGTH, calls.will("two"))
    deadlines.clear("one")
    clock.advance(LENGTH)
    assert calls == ["two"]
    assert clock.getDelayedCalls() == []
    deadlines.set("three", LENGTH, calls.will("three"))
    deadlines.clear("three")
    clock.advance(LENGTH)
    assert calls == ["two"]
    assert clock.getDelayedCalls() == []


def test_setting_again_moves_behind_those_set_since(
    clock: Clock, deadlines: Deadlines, calls: Calls
) -> None:
    deadlines.set("one", LENGTH, calls.will("one"))
    clock.advance(1)
    deadlines.set("two", LENGTH, calls.will("two"))
    clock.advance(1)
    deadlines.set("one", LENGTH, calls.will("one"))
    clock.advance(LENGTH - 1)
    assert calls == ["two"]
    clock.advance(1)
    assert calls == ["two", "one"]


def test_a_callback_may_clear_one_that_is_due_too(
    clock: Clock, deadlines: Deadlines, calls: Calls
) -> None:
    deadlines.set("one", LENGTH, lambda: deadlines.clear("two"))
    deadlines.set("two", LENGTH, calls.will("two"))
    clock.advance(LENGTH)
    assert calls == []
    assert len(deadlines) == 0


@pytest.mark.parametrize("which", ["one", "two"])
def test_a_callback_may_set_itself_or_another_that_is_due_again(
    clock: Clock, deadlines: Deadlines, calls: Calls, which: str
) -> None:
    """Which then waits its whole time from now."""
    deadlines.set("one", LENGTH, lambda: deadlines.set(which, LENGTH, calls.will("new")))
    deadlines.set("two", LENGTH, calls.will("two"))
    clock.advance(LENGTH)
    assert calls == (["two"] if which == "one" else [])
    clock.advance(LENGTH - 0.001)
    assert "new" not in calls
    clock.advance(0.001)
    assert calls[-1] == "new"


def test_one_set_by_a_callback_does_not_delay_those_set_before(
    clock: Clock, deadlines: Deadlines, calls: Calls
) -> None:
    deadlines.set("one", LENGTH, lambda: deadlines.set("three", LENGTH, calls.will("three")))
    clock.advance(1)
    deadlines.set("two", LENGTH, calls.will("two"))
    clock.advance(LENGTH - 1)
    clock.advance(1)
    assert calls == ["two"]
    clock.advance(LENGTH - 1)
    assert calls == ["two", "three"]


def test_a_callback_that_raises_does_not_cost_the_others_theirs(
    clock: Clock, deadlines: Deadlines, calls: Calls
) -> None:
    deadlines.set("one", LENGTH, lambda: 1 / 0)
    deadlines.set("two", LENGTH, calls.will("two"))
    clock.advance(1)
    deadlines.set("three", LENGTH, calls.will("three"))
    with pytest.raises(ZeroDivisionError):
        clock.advance(LENGTH - 1)
    clock.advance(0)
    assert calls == ["two"]
    clock.advance(1)
    assert calls == ["two", "three"]


def test_waits_of_several_lengths_run_out_each_in_its_time(
    clock: Clock, deadlines: Deadlines, calls: Calls
) -> None:
    for seconds in (3, 1, 2):
        deadlines.set(seconds, seconds, calls.will(str(seconds)))
    deadlines.set(3, 4, calls.will("4"))
    for _ in range(4):
        clock.advance(1)
    assert calls == ["1", "2", "4"]
    assert clock.getDelayedCalls() == []


def test_one_that_is_set_again_without_a_length_never_runs_out(
    clock: Clock, deadlines: Deadlines, calls: Calls
) -> None:
    deadlines.set("one", LENGTH, calls.will("one"))
    deadlines.set("one", 0, calls.will("never"))
    clock.advance(2 * LENGTH)
    assert (calls, len(deadlines)) == ([], 0)


@pytest.mark.parametrize("length", [0, -1])
def test_without_a_length_nothing_ever_runs_out(clock: Clock, calls: Calls, length: float) -> None:
    deadlines = Deadlines(clock)
    deadlines.set("one", length, calls.will("one"))
    assert (len(deadlines), clock.getDelayedCalls()) == (0, [])
    clock.advance(1000)
    assert calls == []


# ---------------------------------------------------------------- IdleTimer


class Mover:
    """Something that makes progress, or none."""

    def __init__(self) -> None:
        self.moved = 0
        self.asked = 0

    def progress(self) -> int:
        self.asked += 1
        return self.moved


@pytest.fixture
def mover() -> Mover:
    return Mover()


def test_silence_from_the_start_is_noticed_on_time(
    clock: Clock, calls: Calls, mover: Mover
) -> None:
    """What moved before is no sign of life."""
    mover.moved = 1000
    IdleTimers(clock).start(LENGTH, mover.progress, calls.will("idle"))
    clock.pump([LENGTH / 4] * 3)
    assert calls == []
    clock.advance(LENGTH / 4)
    assert calls == ["idle"]
    clock.advance(LENGTH * 3)
    assert calls == ["idle"]
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("seed", range(10))
def test_silence_is_never_noticed_early_and_at_most_a_quarter_late(
    clock: Clock, calls: Calls, mover: Mover, seed: int, step: int
) -> None:
    chance = random.Random(seed)
    IdleTimers(clock).start(LENGTH, mover.progress, calls.will("idle"))
    tick = 1 / 16
    last = 0.0
    for _ in range(5):
        clock.pump([tick] * chance.randrange(int(LENGTH / tick)))
        assert calls == []
        mover.moved += step
        last = clock.seconds()
    while not calls:
        clock.advance(tick)
    assert LENGTH <= clock.seconds() - last <= LENGTH * 1.25


def test_no_time_at_all_is_over_at_once(clock: Clock, calls: Calls, mover: Mover) -> None:
    IdleTimers(clock).start(0, mover.progress, calls.will("idle"))
    clock.pump([0.001] * 4)
    assert calls == ["idle"]


def test_timers_of_one_length_share_a_delayed_call(
    clock: Clock, calls: Calls, mover: Mover
) -> None:
    timers = IdleTimers(clock)
    for name in ("one", "two"):
        timers.start(LENGTH, mover.progress, calls.will(name))
    assert len(clock.getDelayedCalls()) == 1
    timers.start(2 * LENGTH, mover.progress, calls.will("three"), looks=2)
    assert len(clock.getDelayedCalls()) == 2
    clock.pump([LENGTH / 4] * 8)
    assert calls == ["one", "two", "three"]


@pytest.mark.parametrize(("seen", "looks"), [(1000, 4), (999, 5)])
def test_a_caller_may_say_what_it_has_seen(
    clock: Clock, calls: Calls, mover: Mover, seen: int, looks: int
) -> None:
    mover.moved = 1000
    IdleTimers(clock).start(LENGTH, mover.progress, calls.will("idle"), seen=seen)
    assert mover.asked == 0
    clock.pump([LENGTH / 4] * (looks - 1))
    assert calls == []
    clock.advance(LENGTH / 4)
    assert calls == ["idle"]


def test_progress_is_asked_for_four_times_in_that_time(
    clock: Clock, calls: Calls, mover: Mover
) -> None:
    """And costs nothing in between, however much moves."""
    IdleTimers(clock).start(LENGTH, mover.progress, calls.will("idle"))
    begun = mover.asked
    clock.pump([LENGTH / 100] * 100)
    assert mover.asked - begun <= 4


def test_a_stopped_timer_never_expires(clock: Clock, calls: Calls, mover: Mover) -> None:
    timer = IdleTimers(clock).start(LENGTH, mover.progress, calls.will("idle"))
    clock.advance(LENGTH / 2)
    timer.stop()
    timer.stop()
    clock.advance(LENGTH * 2)
    assert calls == []
    assert clock.getDelayedCalls() == []


def test_a_timer_may_be_stopped_by_what_it_calls_and_afterwards(
    clock: Clock, calls: Calls, mover: Mover
) -> None:
    timer = IdleTimers(clock).start(
        LENGTH, mover.progress, lambda: (calls.append("idle"), timer.stop())
    )
    clock.pump([LENGTH / 4] * 4)
    timer.stop()
    assert calls == ["idle"]


# ---------------------------------------------------------------- what lasts


def test_what_cannot_be_measured_any_more_is_over(
    clock: Clock, calls: Calls, mover: Mover, failures: Failures
) -> None:
    IdleTimers(clock).start(LENGTH, lambda: 1 // (1 - mover.moved), calls.will("idle"))
    mover.moved = 1
    clock.advance(LENGTH / 4)
    assert calls == ["idle"]
    assert len(failures.take(ZeroDivisionError)) == 1
    assert clock.getDelayedCalls() == []


class Thing:
    """Counts how often it is told that it lasts.

    :param fails: whether it raises then.
    """

    def __init__(self, fails: bool = False) -> None:
        self.told = 0
        self._fails = fails

    def lasts(self) -> None:
        self.told += 1
        if self._fails:
            raise RuntimeError("a bug")


def test_what_lasts_is_told_so_once_between_one_and_two_times_of_youth(clock: Clock) -> None:
    young, first, second = Young(clock), Thing(), Thing()  # type: ignore[arg-type]
    young.add(first)
    clock.advance(YOUNG - 1)
    young.add(second)
    clock.advance(1)
    assert (first.told, second.told) == (0, 0)
    clock.advance(YOUNG)
    assert (first.told, second.told) == (1, 1)
    clock.pump([YOUNG] * 3)
    assert (first.told, second.told) == (1, 1)
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("age", [0, YOUNG])
def test_what_is_over_is_told_nothing(clock: Clock, age: float) -> None:
    young, thing = Young(clock), Thing()  # type: ignore[arg-type]
    young.add(thing)
    clock.advance(age)
    young.discard(thing)
    young.discard(thing)
    clock.pump([YOUNG] * 3)
    assert thing.told == 0
    assert clock.getDelayedCalls() == []


def test_what_fails_then_keeps_no_other_from_being_told(clock: Clock, failures: Failures) -> None:
    young = Young(clock)  # type: ignore[arg-type]
    things = [Thing(fails=True), Thing(fails=True), Thing()]
    for thing in things:
        young.add(thing)
    clock.pump([YOUNG, YOUNG])
    assert [thing.told for thing in things] == [1, 1, 1]
    assert failures.take(RuntimeError) == ["a bug"] * 2
