"""How many sessions fit into a process, and who is told when there is no room, or room again."""

import resource
from unittest.mock import MagicMock

import pytest
from twisted.internet.task import Clock

from socks5.loglimit import Sparing
from socks5.net.descriptors import raise_descriptor_limit, sessions_within
from tests.support.sessions import session_limit


def told(listener: MagicMock) -> list[str]:
    """What a listener was told."""
    return [name for name, _, _ in listener.method_calls]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The process's limits of open files, (soft, hard), latest last; nothing real is changed."""
    values = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: values[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: values.append(pair))
    return values


@pytest.mark.parametrize("error", [ValueError("not allowed"), PermissionError()])
def test_a_limit_that_cannot_be_raised_stays(
    error: Exception, limits: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(which: int, pair: tuple[int, int]) -> None:
        raise error

    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_descriptor_limit()
    assert limits == [(1024, 4096)]


def test_a_limit_without_a_number_goes_by_the_descriptors(limits: list[tuple[int, int]]) -> None:
    """32 are kept back, each session has two."""
    assert session_limit(0).maximum == 496
    raise_descriptor_limit()
    assert limits[-1] == (4096, 4096)
    assert session_limit(0).maximum == 2032
    assert session_limit(7).maximum == 7
    within = {64: 16, 35: 1, 10: 1, resource.RLIM_INFINITY: 524_272}
    assert {number: sessions_within(number) for number in within} == within


def test_listeners_pause_without_room_and_resume_with_the_first_that_leaves() -> None:
    limit, first, second = session_limit(2), MagicMock(), MagicMock()
    limit.listeners |= {first, second}
    for _ in range(5):
        limit.enter()
        limit.leave()
    assert told(first) == []
    assert [limit.enter() for _ in range(4)] == [True, True, False, False]
    assert (limit.open, limit.has_room) == (2, False)
    assert told(first) == told(second) == ["pause"]
    limit.listeners.discard(first)
    limit.leave()
    assert limit.has_room
    limit.leave()
    assert (told(first), told(second)) == (["pause"], ["pause", "resume"])
    assert limit.enter()


def test_strangers_get_so_many_lines_in_a_period_and_the_rest_is_counted() -> None:
    clock = Clock()
    lines = Sparing(clock, lines=2, seconds=10)
    assert [lines.next() for _ in range(5)] == [0, 0, None, None, None]
    clock.advance(9.9)
    assert lines.next() is None
    clock.advance(0.1)
    assert [lines.next() for _ in range(3)] == [4, 0, None]
