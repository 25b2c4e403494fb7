"""What is remembered of quotas, by a clock: when it is saved, when a period ends, and what happens to the file."""

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from socks5.policy.ledger import Ledger, Spent
from socks5.policy.limit import Limit
from socks5.policy.limits import Limits
from socks5.policy.quotas import INTERVAL, LOOK, Quotas
from tests.support.failures import Failures
from tests.support.limited import asks, person

BERLIN = ZoneInfo("Europe/Berlin")
EVENING = datetime(2026, 11, 30, 23, 59, 0, tzinfo=BERLIN)


class World:
    """Quotas whose file is visited at once, or when a test says so."""

    def __init__(self, path: Path, at: datetime = EVENING) -> None:
        self.clock = Clock()
        self.begin = at.timestamp()
        self.path = path
        self.waiting: list[tuple[Deferred[Any], Any]] = []
        self.waits = False
        self.connect: Any = sqlite3.connect
        self.quotas = self.another()

    def another(self) -> Quotas:
        """Those of another process."""
        ledger = Ledger(str(self.path), self._open)
        return Quotas(self.clock, ledger, BERLIN, self.wall, self.run)

    def _open(self, *arguments: Any, **named: Any) -> Any:
        return self.connect(*arguments, **named)

    def wall(self) -> float:
        return self.begin + self.clock.seconds()

    def run(self, call: Any) -> Deferred[Mapping[Spent, int]]:
        if not self.waits:
            return maybeDeferred(call)
        waiting: Deferred[Any] = Deferred()
        self.waiting.append((waiting, call))
        return waiting

    def visit(self) -> None:
        """The visit that is under way comes to its end."""
        waiting, call = self.waiting.pop(0)
        maybeDeferred(call).chainDeferred(waiting)

    def wait(self, seconds: float = INTERVAL) -> None:
        self.clock.pump([LOOK] * int(seconds / LOOK))

    def use(self, octets: int, quotas: Quotas | None = None, span: str = "month") -> None:
        self.of(quotas, span).octets += octets

    def of(self, quotas: Quotas | None = None, span: str = "month") -> Any:
        return (quotas or self.quotas).usage("person", "user:alice", span)

    def saved(self, period: str = "2026-11") -> int:
        """What the file says."""
        found = Ledger(str(self.path)).add([], [period])
        return found.get(Spent("person", "user:alice", period), 0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "state.sqlite3")
    made.quotas.open()
    made.quotas.open()  # which changes nothing
    return made


def test_what_is_used_is_saved_every_so_often_and_at_the_end(world: World) -> None:
    world.use(100)
    world.wait(INTERVAL - LOOK)
    assert world.saved() == 0
    world.wait(LOOK)
    assert world.saved() == 100
    world.use(20)
    world.quotas.close()
    assert world.saved() == 120
    world.quotas.close()
    assert world.clock.getDelayedCalls() == []


def test_a_process_that_is_killed_loses_one_interval_at_most(world: World) -> None:
    world.use(100)
    world.wait()
    world.use(20)
    other = world.another()
    world.use(3, other)  # somebody who asks before it is read
    other.open()
    assert world.of(other).octets == 103
    assert other.usage("person", "user:bob", "month").octets == 0


def test_several_processes_share_a_file(world: World) -> None:
    other = world.another()
    other.open()
    world.use(100)
    world.use(1000, other)
    world.wait()
    assert world.saved() == 1100
    world.wait()
    assert world.of().octets == world.of(other).octets == 1100


def test_what_is_set_back_is_seen_at_the_next_visit(world: World) -> None:
    world.use(100)
    world.wait()
    Ledger(str(world.path)).reset(["2026-11"])
    world.use(7)
    world.wait()
    assert world.of().octets == world.saved() == 7


def test_each_span_has_its_periods(world: World) -> None:
    for span in ("day", "week", "month"):
        world.use(100, span=span)
        assert world.of(span=span) is world.of(span=span)
    assert [world.quotas.until(span) for span in ("day", "week", "month")] == [
        "2026-12-01",
        "2026-12-07",
        "2026-12-01",
    ]
    world.wait(61)
    assert [world.of(span=span).octets for span in ("day", "week", "month")] == [0, 100, 0]
    assert [world.saved(each) for each in ("2026-11-30", "2026-W49", "2026-11")] == [100] * 3
    assert world.quotas.until("day") == "2026-12-02"


def test_a_period_ends_in_the_zone_of_the_proxy(world: World) -> None:
    """And what was not saved of it is, where it belongs."""
    world.wait(59)
    world.use(50)
    world.wait(0.5)
    assert world.of().octets == 50
    world.wait(0.5)
    assert world.of().octets == 0
    assert world.saved() == 50
    world.use(3)
    world.wait()
    assert (world.saved(), world.saved("2026-12")) == (50, 3)
    world.quotas.zone = ZoneInfo("UTC")
    world.wait()
    assert world.of().octets == 50


def test_who_has_used_something_once_is_forgotten_when_the_period_is_over(world: World) -> None:
    world.use(50, span="week")
    for name in ("alice", "bob"):
        world.quotas.usage("person", f"user:{name}", "month").octets += 50
    held = world.of()
    world.wait(61)
    assert world.quotas.all() == {
        ("person", "user:alice", "month"): 0,
        ("person", "user:alice", "week"): 50,
    }
    assert world.of() is held


def test_a_period_may_end_during_a_visit(world: World) -> None:
    world.wait(45)
    world.waits = True
    world.use(50)
    world.wait(15)
    world.use(3)
    assert world.of().octets == 3
    world.visit()
    assert world.of().octets == 3
    world.waits = False
    world.wait()
    assert (world.saved(), world.saved("2026-12")) == (50, 3)


def test_a_visit_that_fails_while_the_period_ends_loses_nothing(world: World) -> None:
    world.wait(45)
    world.waits = True
    world.use(50)
    world.wait(10)
    world.use(2)
    waiting, _ = world.waiting.pop()
    world.wait(5)
    world.use(1)
    waiting.errback(sqlite3.OperationalError("disk I/O error"))
    world.waits = False
    world.wait()
    assert (world.saved(), world.saved("2026-12")) == (52, 1)


def test_what_is_used_during_a_visit_is_saved_by_the_next(world: World) -> None:
    world.waits = True
    world.use(50)
    world.wait()
    world.use(3)
    world.wait(2 * INTERVAL)
    assert len(world.waiting) == 1
    world.visit()
    assert world.of().octets == 53
    world.wait()
    world.visit()
    assert world.saved() == 53


def test_closing_waits_for_a_visit_and_visits_once_more(world: World) -> None:
    world.waits = True
    world.use(50)
    world.wait()
    world.use(3)
    closed: list[None] = []
    world.quotas.close().addCallback(closed.append)
    world.visit()
    assert closed == []
    world.visit()
    assert closed == [None]
    assert world.saved() == 53


# ---------------------------------------------------------------- the file


def test_a_full_disk_is_said_once_and_counting_goes_on(world: World, log: list[str]) -> None:
    def full(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(*arguments, **named)
        connection.execute("pragma max_page_count = 1")
        return connection

    for n in range(200):
        world.quotas.usage("person", f"user:{n:0200}", "month").octets = 1
    world.use(100)
    world.connect = full
    for _ in range(3):
        world.wait()
    said = (
        "what is used of quotas is not saved: database or disk is full; it is counted all the same"
    )
    assert log == [f"{world.path}: {said}"]
    assert world.of().octets == 100
    assert world.saved() == 0
    world.connect = sqlite3.connect
    world.use(1)
    world.wait()
    assert world.saved() == 101
    assert log[1:] == [f"{world.path}: what is used of quotas is saved again"]


def test_a_file_that_has_vanished_is_made_anew(world: World, log: list[str]) -> None:
    world.use(100)
    world.wait()
    world.path.unlink()
    world.use(1)
    world.wait()
    assert world.of().octets == world.saved() == 101
    world.path.unlink()
    world.wait()
    assert world.of().octets == 101
    assert log == []


def test_a_file_that_cannot_be_read_any_more_is_said_once(world: World, log: list[str]) -> None:
    world.path.unlink()
    world.path.mkdir()
    world.use(100)
    for _ in range(3):
        world.wait()
    assert len(log) == 1
    world.path.rmdir()
    world.wait()
    assert world.saved() == 100


@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_that_cannot_be_opened_at_the_start_is_refused(
    tmp_path: Path, is_there: bool
) -> None:
    path = tmp_path / "missing" / "state"
    if is_there:
        path.parent.mkdir()
        path.write_text("not what it should be" * 100)
    with pytest.raises(OSError, match="database") as caught:
        World(path).quotas.open()
    assert caught.value.filename == str(path)
    expected = "file is not a database" if is_there else "unable to open database file"
    assert caught.value.strerror == expected


def test_a_bug_is_logged_and_loses_nothing(world: World, failures: Failures) -> None:
    world.connect = lambda *_, **__: 1 // 0
    world.use(100)
    world.wait()
    assert len(failures.take(ZeroDivisionError)) == 1
    world.connect = sqlite3.connect
    world.wait()
    assert world.saved() == 100


@pytest_twisted.ensureDeferred
async def test_the_file_is_visited_in_a_thread(tmp_path: Path) -> None:
    from twisted.internet import reactor

    quotas = Quotas(reactor, Ledger(str(tmp_path / "state")), BERLIN)
    quotas.open()
    quotas.usage("person", "user:alice", "month").octets = 100
    await quotas.close()
    found = Ledger(str(tmp_path / "state")).add([], [f"{datetime.now(BERLIN):%Y-%m}"])
    assert list(found.values()) == [100]


# ---------------------------------------------------------------- under limits


def limits_of(world: World, octets: int, zone: Any = BERLIN) -> Limits:
    limit = Limit("person", per="user", quota=(octets, "month"))
    quotas = world.another()
    quotas.zone = zone
    return Limits([limit], server=["person"], clock=world.clock, quotas=quotas)


def test_a_quota_begins_anew_with_its_period(world: World) -> None:
    limits = limits_of(world, 1000)
    limits.open()
    limits.begin(None, {})
    lease = limits.enter(asks(user=person()))
    assert lease is not None
    lease.moved(0, 1000)
    assert limits.enter(asks(user=person())) is None
    assert limits.why(asks()) == "limit person: quota is used up until 2026-12-01"
    world.wait(61)
    assert limits.enter(asks(user=person())) is not None
    limits.close()
    assert world.saved() == 1000


def test_sessions_whose_quota_is_used_up_elsewhere_end(world: World) -> None:
    limits = limits_of(world, 1000)
    limits.open()
    limits.begin(None, {})
    lease = limits.enter(asks(user=person()))
    assert lease is not None
    ended: list[str] = []
    lease.ended = lambda: ended.append(lease.why)
    world.use(5000)
    world.wait(2 * INTERVAL)
    assert ended == ["limit person: quota is used up until 2026-12-01"]


def test_limits_that_follow_keep_what_is_used_and_the_file(world: World) -> None:
    limits, following = limits_of(world, 1000), limits_of(world, 500, ZoneInfo("UTC"))
    limits.open()
    limits.begin(None, {})
    lease = limits.enter(asks(user=person()))
    assert lease is not None
    lease.moved(0, 600)
    following.begin(limits, {})
    assert following.enter(asks(user=person())) is None
    plain = Limits([Limit("few", sessions=1)], clock=world.clock)
    plain.begin(following, {})
    plain.close()
    assert world.saved() == 600


def test_limits_with_quotas_may_follow_some_without(world: World) -> None:
    plain = Limits([Limit("few", sessions=1)], clock=world.clock)
    plain.open()
    plain.begin(None, {})
    world.use(5000)
    world.quotas.save()
    limits = limits_of(world, 1000)
    limits.begin(plain, {})
    assert limits.enter(asks(user=person())) is None
    assert plain.close() is not None


def test_those_whose_file_cannot_be_opened_do_not_follow(world: World) -> None:
    plain = Limits([Limit("few", sessions=1)], server=["few"], clock=world.clock)
    plain.open()
    plain.begin(None, {})
    world.path.unlink()
    world.path.mkdir()
    with pytest.raises(OSError, match="database"):
        limits_of(world, 1000).begin(plain, {})
    assert plain.enter(asks()) is not None
    assert plain.enter(asks()) is None
