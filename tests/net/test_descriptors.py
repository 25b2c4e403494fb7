"""How many sessions fit into a process, and who is told when there is no room, or room again."""

import resource

import pytest
from twisted.internet.task import Clock

from socks5.loglimit import Sparing
from socks5.net.descriptors import SessionLimit, raise_descriptor_limit, sessions_within
from tests.support.sessions import session_limit


class Listener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def turn_away(self) -> None:
        self.told.append("turn away")


def limit_with_listener(maximum: int) -> tuple[SessionLimit, Listener]:
    limit, listener = session_limit(maximum), Listener()
    limit.listeners.add(listener)
    return limit, listener


# ---------------------------------------------------------------- descriptors


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The process's limits of open files, (soft, hard), latest last; nothing real is changed."""
    values = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: values[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: values.append(pair))
    return values


def test_the_soft_limit_is_raised_to_the_hard_one(limits: list[tuple[int, int]]) -> None:
    raise_descriptor_limit()
    assert limits[-1] == (4096, 4096)


@pytest.mark.parametrize("error", [ValueError("not allowed"), PermissionError()])
def test_a_limit_that_cannot_be_raised_stays(
    error: Exception, limits: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(which: int, pair: tuple[int, int]) -> None:
        raise error

    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_descriptor_limit()
    assert limits == [(1024, 4096)]


@pytest.mark.parametrize(
    ("descriptors", "sessions"),
    [
        (64, 16),  # 32 are kept back, each session has two
        (1024, 496),
        (35, 1),
        (32, 1),
        (10, 1),
        (resource.RLIM_INFINITY, 524_272),
    ],
)
def test_sessions_within_a_number_of_descriptors(descriptors: int, sessions: int) -> None:
    assert sessions_within(descriptors) == sessions


def test_a_limit_without_a_number_goes_by_the_descriptors(limits: list[tuple[int, int]]) -> None:
    assert session_limit(0).maximum == 496
    raise_descriptor_limit()
    assert session_limit(0).maximum == 2032


def test_a_limit_with_a_number_is_that_number(limits: list[tuple[int, int]]) -> None:
    assert session_limit(7).maximum == 7


# ---------------------------------------------------------------- sessions


def test_so_many_sessions_enter_and_no_more() -> None:
    limit = session_limit(2)
    assert [limit.enter() for _ in range(4)] == [True, True, False, False]
    assert limit.open == 2
    assert not limit.has_room


def test_who_leaves_makes_room() -> None:
    limit = session_limit(1)
    assert limit.enter()
    limit.leave()
    assert limit.has_room
    assert limit.enter()


def test_listeners_pause_with_the_last_session_that_fits() -> None:
    limit, listener = limit_with_listener(2)
    limit.enter()
    assert listener.told == []
    limit.enter()
    assert listener.told == ["pause"]
    limit.enter()
    assert listener.told == ["pause"]


def test_listeners_resume_with_the_first_session_that_leaves() -> None:
    limit, listener = limit_with_listener(2)
    limit.enter()
    limit.enter()
    limit.leave()
    assert listener.told == ["pause", "resume"]
    limit.leave()
    assert listener.told == ["pause", "resume"]


def test_below_the_limit_listeners_hear_nothing() -> None:
    limit, listener = limit_with_listener(3)
    for _ in range(5):
        limit.enter()
        limit.enter()
        limit.leave()
        limit.leave()
    assert listener.told == []


def test_every_listener_is_told() -> None:
    limit, first = limit_with_listener(1)
    second = Listener()
    limit.listeners.add(second)
    limit.enter()
    limit.listeners.discard(first)
    limit.leave()
    assert (first.told, second.told) == (["pause"], ["pause", "resume"])


# ---------------------------------------------------------------- lines in a log


def test_strangers_get_so_many_lines_in_a_period_and_the_rest_is_counted() -> None:
    clock = Clock()
    lines = Sparing(clock, lines=2, seconds=10)
    assert [lines.next() for _ in range(5)] == [0, 0, None, None, None]
    clock.advance(9.9)
    assert lines.next() is None
    clock.advance(0.1)
    assert [lines.next() for _ in range(3)] == [4, 0, None]
