"""What carries the counters of limits between a parent and its workers."""

from typing import Any
from unittest.mock import Mock

import pytest
from twisted.internet.task import Clock

from socks5.app.counting import COUNTED, INTERVAL, LAST_TIME, CountingParent, Teller
from socks5.policy.limit import Limit
from tests.support.limited import FakeQuotas
from tests.support.sharing import Family, Life, Line


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_there_is_to_tell_is_told_at_once_and_then_every_interval(clock: Clock) -> None:
    line, news = Line(), ["a", "b"]
    teller = Teller(clock, line, lambda: {"what": news.pop(0)} if news else {})  # type: ignore[arg-type]
    teller.wake()
    teller.wake()
    assert line.sent == []
    clock.advance(0)
    assert line.sent == [{"is": COUNTED, "what": "a"}]
    teller.wake()
    clock.advance(INTERVAL / 2)
    assert len(line.sent) == 1
    clock.advance(INTERVAL / 2)
    assert line.sent[1:] == [{"is": COUNTED, "what": "b"}]
    teller.wake()
    clock.advance(INTERVAL)
    assert len(line.sent) == 2  # as there was nothing
    teller.wake()
    teller.stop()
    teller.stop()
    assert clock.getDelayedCalls() == []


def test_nothing_is_told_while_something_waits_to_be_sent(clock: Clock) -> None:
    line = Line()
    line.is_clear = False
    teller = Teller(clock, line, lambda: {"what": 1})  # type: ignore[arg-type]
    teller.wake()
    clock.pump([0, INTERVAL, INTERVAL])
    assert line.sent == []
    line.is_clear = True
    clock.advance(INTERVAL)
    assert len(line.sent) == 1


def test_the_last_is_told_at_the_end_and_waited_for() -> None:
    family = Family(Limit("few", sessions=9))
    first = family.lives[0]
    family.exchange()
    first.enter()
    first.line.is_clear = False
    done = first.counting.last()
    assert first.line.sent[-1]["counters"]
    assert not done.called
    first.line.is_clear = True
    family.clock.advance(LAST_TIME)
    assert done.called
    first.enter()
    first.line.is_clear = False
    done = first.counting.last()
    family.clock.pump([LAST_TIME / 4] * 4)
    assert done.called  # all the same


def test_the_parent_waits_until_its_workers_are_gone() -> None:
    family = Family(Limit("few", sessions=9))
    done = family.parent.last()
    for life in tuple(family.lives):
        assert not done.called
        family.kill(life)
        family.clock.advance(INTERVAL)
    assert done.called


def test_limits_of_others_are_not_shared(clock: Clock) -> None:
    """Nor is there anything to do where there are none."""
    parent, life = CountingParent(clock), Life(clock)
    parent.begins(life)  # type: ignore[arg-type]
    for limits in (None, Mock()):
        parent.become(limits)
        life.counting.become(limits)
    for line in (life.line, life.channel):
        line.send({"is": COUNTED, "again": True})
    life.counting.last()
    parent.ends(life)  # type: ignore[arg-type]
    assert clock.getDelayedCalls() == []


def test_what_was_under_way_when_limits_went_is_of_no_use() -> None:
    quotas: Any = FakeQuotas()
    quotas.readings, quotas.all = 0, dict
    family = Family(Limit("few", sessions=9, quota=(9, "day")), quotas=quotas)
    family.lives[0].enter()
    family.clock.advance(0)
    family.lives[0].enter()
    family.parent.become(None)
    family.lives[0].counting.become(None)
    quotas.look()
    family.exchange()
    family.limits = family.lives[0].limits = None
    family.become(Limit("few", sessions=9))
    family.lives[0].enter()
    family.exchange()
    assert [
        len(each or ()) for each in (family.limits, *(life.limits for life in family.lives))
    ] == [1] * 5
