"""Time-outs: many of one length, and the silence of one thing; on a clock that tests turn."""

import random
from collections.abc import Callable

import pytest
from twisted.internet.task import Clock

from socks5 import deadlines as module
from socks5.deadlines import A_TURN, YOUNG, Deadlines, IdleTimers, Young, clock_of
from tests.support.failures import Failures
from tests.support.reactor import TimeOfDay

LENGTH = 10.0


class Line:
    """Deadlines on a clock: what is called is noted by its name. And something that makes progress, or none."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock)
        self.timers = IdleTimers(self.clock)
        self.calls: list[str] = []
        self.moved = self.asked = 0

    def will(self, name: str) -> Callable[[], None]:
        return lambda: self.calls.append(name)

    def set(self, *names: str, length: float = LENGTH) -> None:
        for name in names:
            self.deadlines.set(name, length, self.will(name))

    def after(self, seconds: float) -> list[str]:
        """Time passes, and what is called meanwhile."""
        self.calls.clear()
        self.clock.advance(seconds)
        return [*self.calls]

    def progress(self) -> int:
        self.asked += 1
        return self.moved

    @property
    def is_over(self) -> bool:
        """Nothing waits, and nobody will look."""
        return len(self.deadlines) == 0 and self.clock.getDelayedCalls() == []


@pytest.fixture
def line() -> Line:
    return Line()


# ---------------------------------------------------------------- Deadlines


def test_a_deadline_holds_whatever_is_done_to_the_time_of_day(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reactor with a clock of its own keeps that."""
    monkeypatch.setattr(module, "monotonic", line.clock.seconds)
    assert clock_of(another := Clock()) == another.seconds
    reactor = TimeOfDay()
    deadlines = Deadlines(reactor)  # type: ignore[arg-type]
    deadlines.set("one", LENGTH, line.will("one"))
    line.clock.advance(LENGTH - 1)
    reactor.run()  # it was set forward
    assert line.calls == []
    line.clock.advance(LENGTH)  # it was set back
    reactor.run()
    assert line.calls == ["one"]


@pytest.mark.parametrize("length", [LENGTH, 1 / 64])
def test_a_deadline_is_called_once_and_not_early(line: Line, length: float) -> None:
    line.set("one", length=length)
    assert [line.after(part * length) for part in (0.5, 0.5, 3)] == [[], ["one"], []]


def test_many_are_served_by_one_delayed_call(line: Line) -> None:
    names = [str(number) for number in range(100)]
    for name in names:
        line.set(name)
        line.clock.advance(0.01)
    assert (len(line.clock.getDelayedCalls()), len(line.deadlines)) == (1, 100)
    assert line.after(LENGTH) == names
    assert line.is_over


def test_many_run_out_a_few_a_turn(line: Line) -> None:
    names = [str(number) for number in range(2 * A_TURN + 1)]
    line.set(*names)
    line.clock.advance(LENGTH - 1)
    turns: list[int] = []

    def look() -> None:
        turns.append(len(line.calls))
        if len(line.calls) < len(names):
            line.clock.callLater(0, look)

    line.clock.callLater(1, look)
    assert line.after(1) == names
    assert turns == [A_TURN, 2 * A_TURN, len(names)]
    assert line.is_over


def test_a_cleared_one_is_not_called(line: Line) -> None:
    line.deadlines.clear("nothing")
    line.set("one", "two")
    line.deadlines.clear("one")
    assert line.after(LENGTH) == ["two"]
    assert line.is_over
    line.set("three")
    line.deadlines.clear("three")
    assert line.after(LENGTH) == []
    assert line.is_over


def test_setting_again_moves_behind_those_set_since(line: Line) -> None:
    line.set("one")
    line.clock.advance(1)
    line.set("two")
    line.clock.advance(1)
    line.set("one")
    assert [line.after(LENGTH - 1), line.after(1)] == [["two"], ["one"]]


def test_a_wait_may_begin_anew_with_another_length(line: Line) -> None:
    line.set("wait")
    line.after(9)
    line.deadlines.prolong("wait", 2)
    line.deadlines.prolong("nobody", 2)
    assert line.after(1.9) == []
    assert line.after(0.1) == ["wait"]
    assert line.is_over


def test_waits_of_several_lengths_run_out_each_in_its_time(line: Line) -> None:
    for length in (3, 1, 2):
        line.set(str(length), length=length)
    line.set("3", length=4)
    assert [line.after(1) for _ in range(4)] == [["1"], ["2"], [], ["3"]]
    assert line.is_over


@pytest.mark.parametrize("length", [0, -1])
def test_without_a_length_nothing_ever_runs_out(line: Line, length: float) -> None:
    """Nor one that had a length before."""
    line.set("one")
    line.set("one", "two", length=length)
    assert len(line.deadlines) == 0
    assert line.after(1000) == []
    assert line.is_over


def test_a_callback_may_clear_one_that_is_due_too(line: Line) -> None:
    line.deadlines.set("one", LENGTH, lambda: line.deadlines.clear("two"))
    line.set("two")
    assert line.after(LENGTH) == []
    assert line.is_over


@pytest.mark.parametrize("which", ["one", "two", "three"])
def test_what_a_callback_sets_waits_its_whole_time_and_delays_no_other(
    line: Line, which: str
) -> None:
    """Be it itself, another that is due, or a new one."""
    line.deadlines.set("one", LENGTH, lambda: line.set(which))
    line.set("two")
    line.clock.advance(1)
    line.set("later")
    assert line.after(LENGTH - 1) == ([] if which == "two" else ["two"])
    assert line.after(1) == ["later"]
    assert [line.after(LENGTH - 1.001), line.after(0.001)] == [[], [which]]


def test_a_callback_that_raises_does_not_cost_the_others_theirs(line: Line) -> None:
    line.deadlines.set("one", LENGTH, lambda: 1 / 0)
    line.set("two")
    line.clock.advance(1)
    line.set("three")
    with pytest.raises(ZeroDivisionError):
        line.clock.advance(LENGTH - 1)
    assert [line.after(0), line.after(1)] == [["two"], ["three"]]


def test_a_line_stays_and_knows_nothing_of_who_has_a_deadline_of_that_length(line: Line) -> None:
    """Nor is that known there; all are called in their time, and counted."""
    kept = line.deadlines.line(LENGTH, line.calls.append)
    kept.set("one")
    line.set("two", "three")
    kept.set("two")
    kept.set("four")
    kept.clear("four")
    kept.clear("five")
    line.deadlines.clear("three")
    line.set("seven", length=2 * LENGTH)
    assert (len(line.deadlines), len(line.clock.getDelayedCalls())) == (4, 3)
    assert sorted(line.after(LENGTH)) == ["one", "two", "two"]
    assert line.after(LENGTH) == ["seven"]
    assert line.is_over
    kept.set("six")
    assert line.deadlines.line(LENGTH, line.calls.append) is kept
    assert line.after(LENGTH) == ["six"]
    assert line.is_over


@pytest.mark.parametrize("length", [0, -1])
def test_nothing_runs_out_in_a_line_without_a_length(line: Line, length: float) -> None:
    kept = line.deadlines.line(length, line.calls.append)
    kept.set("one")
    kept.clear("one")
    assert line.after(1000) == []
    assert line.is_over


# ---------------------------------------------------------------- IdleTimer


def test_silence_from_the_start_is_noticed_on_time_and_once(line: Line) -> None:
    """What moved before is no sign of life. Progress is asked for four times in that time, and no time at all is over
    at once.
    """
    line.moved = 1000
    line.timers.start(LENGTH, line.progress, line.will("idle"))
    begun = line.asked
    line.clock.pump([LENGTH / 64] * 63)
    assert line.calls == []
    assert [line.after(LENGTH / 64), line.after(LENGTH * 3)] == [["idle"], []]
    assert line.asked - begun <= 4
    line.timers.start(0, line.progress, line.will("none"))
    line.clock.pump([0.001] * 4)
    assert line.calls == ["none"]
    assert line.is_over


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("seed", range(10))
def test_silence_is_never_noticed_early_and_at_most_a_quarter_late(
    line: Line, seed: int, step: int
) -> None:
    chance = random.Random(seed)
    line.timers.start(LENGTH, line.progress, line.will("idle"))
    tick = 1 / 16
    last = 0.0
    for _ in range(5):
        line.clock.pump([tick] * chance.randrange(int(LENGTH / tick)))
        assert line.calls == []
        line.moved += step
        last = line.clock.seconds()
    while not line.calls:
        line.clock.advance(tick)
    assert LENGTH <= line.clock.seconds() - last <= LENGTH * 1.25


def test_timers_of_one_length_share_a_delayed_call(line: Line) -> None:
    for name in ("one", "two"):
        line.timers.start(LENGTH, line.progress, line.will(name))
    assert len(line.clock.getDelayedCalls()) == 1
    line.timers.start(2 * LENGTH, line.progress, line.will("three"), looks=2)
    assert len(line.clock.getDelayedCalls()) == 2
    line.clock.pump([LENGTH / 4] * 8)
    assert line.calls == ["one", "two", "three"]


@pytest.mark.parametrize(("seen", "looks"), [(1000, 4), (999, 5)])
def test_a_caller_may_say_what_it_has_seen(line: Line, seen: int, looks: int) -> None:
    line.moved = 1000
    line.timers.start(LENGTH, line.progress, line.will("idle"), seen=seen)
    assert line.asked == 0
    line.clock.pump([LENGTH / 4] * (looks - 1))
    assert line.calls == []
    assert line.after(LENGTH / 4) == ["idle"]


def test_a_stopped_timer_never_expires_and_may_be_stopped_at_any_time(line: Line) -> None:
    """By what it calls, too."""
    timer = line.timers.start(LENGTH, line.progress, line.will("idle"))
    line.clock.advance(LENGTH / 2)
    timer.stop()
    timer.stop()
    assert line.after(LENGTH * 2) == []
    assert line.is_over
    timer = line.timers.start(LENGTH, line.progress, lambda: (line.will("two")(), timer.stop()))
    line.clock.pump([LENGTH / 4] * 4)
    timer.stop()
    assert line.calls == ["two"]


def test_what_cannot_be_measured_any_more_is_over(line: Line, failures: Failures) -> None:
    line.timers.start(LENGTH, lambda: 1 // (1 - line.moved), line.will("idle"))
    line.moved = 1
    assert line.after(LENGTH / 4) == ["idle"]
    assert len(failures.take(ZeroDivisionError)) == 1
    assert line.is_over


# ---------------------------------------------------------------- what lasts


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


def test_what_lasts_is_told_so_once_between_one_and_two_times_of_youth(
    failures: Failures,
) -> None:
    """What is over by then is told nothing, and what fails then keeps no other from being told."""
    clock = Clock()
    young, things = Young(clock), [Thing(fails=True), Thing(fails=True), Thing(), Thing()]  # type: ignore[arg-type]
    over = [Thing(), Thing()]
    for thing in (*things[:3], *over):
        young.add(thing)
    young.discard(over[0])
    clock.advance(YOUNG - 1)
    young.add(things[3])
    clock.advance(1)
    young.discard(over[1])
    young.discard(over[1])
    assert [thing.told for thing in things] == [0] * 4
    clock.advance(YOUNG)
    assert [thing.told for thing in things] == [1] * 4
    assert failures.take(RuntimeError) == ["a bug"] * 2
    clock.pump([YOUNG] * 3)
    assert [thing.told for thing in (*things, *over)] == [1] * 4 + [0] * 2
    assert clock.getDelayedCalls() == []
