"""Quotas that workers share, by one clock: their parent has the file, and they know what is used up."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from socks5.limits import ILimits
from socks5.policy.ledger import Ledger, Spent
from socks5.policy.limit import Limit
from socks5.policy.quotas import INTERVAL, LOOK, Quotas
from tests.support.limited import person
from tests.support.sharing import Family, Life

EVENING = datetime(2026, 11, 30, 23, 50, tzinfo=UTC).timestamp()
QUOTA = Limit("person", per="user", quota=(1000, "month"))
UNTIL = "limit person: quota is used up until 2026-12-01"
ALICE: Any = {"user": person("alice")}
BOB: Any = {"user": person("bob")}


class World:
    """A family, and its file.

    :param used: what alice has used already.
    """

    def __init__(self, folder: Path, used: int = 0) -> None:
        self.ledger = Ledger(str(folder / "state.sqlite3"))
        if used:
            self.add(used)
        self.clock = Clock()
        quotas = Quotas(self.clock, self.ledger, UTC, self.wall, maybeDeferred)
        self.quotas = quotas
        self.family = Family(QUOTA, clock=self.clock, quotas=quotas, wall=self.wall)
        self.lives = self.family.lives
        self.exchange()

    def wall(self) -> float:
        return EVENING + self.clock.seconds()

    def exchange(self) -> None:
        self.family.exchange()

    def wait(self, seconds: float) -> None:
        self.clock.pump([LOOK / 5] * round(5 * seconds / LOOK))

    def add(self, octets: int) -> None:
        """Another process adds to the file."""
        self.ledger.add([(Spent("person", "user:alice", "2026-11"), octets, octets)], [])

    def saved(self, who: str = "user:alice", period: str = "2026-11") -> int:
        found = self.ledger.add([], [period])
        return found.get(Spent("person", who, period), 0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def entered(life: Life, **facts: Any) -> Any:
    lease = life.enter(**facts)
    assert lease is not None
    return lease


def why(life: Life, **facts: Any) -> str:
    assert life.limits is not None
    assert life.enter(**facts) is None
    return life.limits.why(None)  # type: ignore[arg-type]


def test_what_is_used_through_several_workers_is_used_up_for_all(world: World) -> None:
    leases = [entered(life, **ALICE) for life in world.lives[:3]]
    ended: list[int] = []
    for number, lease in enumerate(leases):
        lease.ended = lambda number=number: ended.append(number)
    for lease in leases:
        world.exchange()
        assert lease.moved(100, 200) == 0.0
    world.exchange()
    assert leases[2].moved(0, 100) == float("inf")
    assert leases[2].why == UNTIL
    world.exchange()
    assert [why(life, **ALICE) for life in world.lives] == [UNTIL] * 4
    world.wait(0.8)
    assert sorted(ended) == [0, 1]
    assert leases[0].why == UNTIL
    entered(world.lives[3], **BOB)
    for life in world.lives:
        assert life.limits is not None
        verifyObject(ILimits, life.limits)


def test_the_parent_alone_has_the_file(world: World) -> None:
    first, second, *_ = (entered(life, **ALICE) for life in world.lives)
    first.moved(0, 300)
    second.moved(100, 0)
    world.exchange()
    world.wait(INTERVAL)
    assert world.saved() == 400
    for life in world.lives:
        assert life.limits is not None
        life.limits.open()
        life.limits.close()
    assert world.saved() == 400


def test_what_was_used_up_before_is_known_from_the_first_message_on(tmp_path: Path) -> None:
    world = World(tmp_path, used=1000)
    assert [why(life, **ALICE) for life in world.lives] == [UNTIL] * 4
    world.family.kill(world.lives[0])
    born = world.family.start()
    world.clock.pump([0, 0])
    assert why(born, **ALICE) == UNTIL
    entered(born, **BOB)


def test_what_was_used_before_counts_from_the_first_session_on(tmp_path: Path) -> None:
    world = World(tmp_path, used=900)
    lease = entered(world.lives[0], **ALICE)
    assert lease.moved(0, 50) == 0.0
    world.exchange()
    assert lease.moved(0, 50) == float("inf")


def test_what_is_set_back_is_seen(world: World) -> None:
    lease = entered(world.lives[0], **ALICE)
    lease.moved(0, 999)
    world.exchange()
    world.wait(INTERVAL)
    world.ledger.reset(["2026-11"])
    world.wait(INTERVAL + LOOK)
    assert lease.moved(0, 999) == 0.0
    assert lease.moved(0, 1) == float("inf")
    lease.leave()
    world.exchange()
    assert [why(life, **ALICE) for life in world.lives] == [UNTIL] * 4
    world.wait(INTERVAL)
    world.ledger.reset(["2026-11"])
    world.wait(INTERVAL + LOOK)
    for life in world.lives:
        entered(life, **ALICE)


def test_what_another_process_uses_counts(world: World) -> None:
    lease = entered(world.lives[0], **ALICE)
    ended: list[int] = []
    lease.ended = lambda: ended.append(1)
    world.add(1000)
    world.wait(INTERVAL + 2 * LOOK)
    assert ended == [1]
    lease.leave()
    world.exchange()
    assert [why(life, **ALICE) for life in world.lives] == [UNTIL] * 4


def test_a_worker_that_dies_has_used_what_it_has_said(world: World) -> None:
    entered(world.lives[0], **ALICE).moved(0, 600)
    world.exchange()
    world.family.kill(world.lives[0])
    world.exchange()
    lease = entered(world.lives[0], **ALICE)
    world.exchange()
    assert lease.moved(0, 399) == 0.0
    assert lease.moved(0, 1) == float("inf")


def test_the_next_period_begins_for_all(world: World) -> None:
    leases = [entered(life, **ALICE) for life in world.lives]
    leases[0].moved(0, 600)
    leases[1].moved(0, 400)
    world.exchange()
    assert why(world.lives[3], **ALICE) == UNTIL
    world.wait(600 + LOOK)
    assert entered(world.lives[3], **ALICE).moved(0, 400) == 0.0
    world.wait(INTERVAL)
    assert (world.saved(), world.saved(period="2026-12")) == (1000, 400)


def test_other_numbers_hold_for_what_is_used(world: World) -> None:
    lease = entered(world.lives[0], **ALICE)
    lease.moved(0, 1000)
    world.exchange()
    assert why(world.lives[1], **ALICE) == UNTIL
    entered(world.lives[2], **BOB).moved(0, 9)
    world.exchange()
    world.family.become(QUOTA)
    world.exchange()
    assert why(world.lives[1], **ALICE) == UNTIL
    world.family.become(Limit("person", per="user", quota=(1500, "month")))
    world.exchange()
    lease = entered(world.lives[1], **ALICE)
    world.exchange()
    assert lease.moved(0, 499) == 0.0
    world.exchange()
    world.family.become(Limit("person", per="user", quota=(1400, "month")))
    world.exchange()
    assert why(world.lives[2], **ALICE) == UNTIL
    world.family.become(Limit("person", per="user", quota=(100, "day")))
    world.exchange()
    entered(world.lives[2], **ALICE)
    lease.moved(0, 100)
    world.exchange()
    assert why(world.lives[2], **ALICE) == UNTIL
    world.family.become(Limit("person", per="user", sessions=9))
    world.exchange()
    assert lease.moved(0, 10_000) == 0.0


def test_who_has_entered_before_a_limit_was_shared_otherwise_uses_the_quota_still(
    world: World,
) -> None:
    lease = entered(world.lives[0], **ALICE)
    lease.moved(0, 100)
    world.exchange()
    world.family.become(Limit("person", per="client", quota=(1000, "month")))
    lease.moved(0, 200)
    world.exchange()
    assert world.quotas.usage("person", "user:alice", "month").octets == 300
    lease.leave()
    world.exchange()
    assert world.family.limits is not None
    assert len(world.family.limits) == 0


def test_sessions_one_after_another_know_what_was_used(world: World) -> None:
    """Whatever is forgotten between them."""
    first, second, *_ = world.lives
    lease = entered(first, **ALICE)
    for _ in range(8):
        lease.moved(0, 50)
        world.exchange()
        gone = lease
        gone.leave()
        world.exchange()
        gone.moved(0, 5)
        world.exchange()
        gone.moved(0, 5)
        entered(second, **ALICE).leave()
        lease = entered(first, **ALICE)
        gone.moved(0, 10)
        world.exchange()
        gone.moved(0, 10)
        world.exchange()
    assert lease.moved(0, 1000 - 8 * 80 - 1) == 0.0
    world.exchange()
    assert world.quotas.usage("person", "user:alice", "month").octets == 999
    assert lease.moved(0, 1) == float("inf")


def test_nobody_looks_while_nothing_is_used(world: World) -> None:
    entered(world.lives[0], **ALICE).moved(0, 1)
    world.exchange()
    world.wait(1.0)
    assert len(world.clock.getDelayedCalls()) == 1  # the parent's, at the calendar
    entered(world.lives[0], **ALICE).moved(0, 1)
    for life in world.lives:
        assert life.limits is not None
        life.limits.close()
    world.exchange()
    assert len(world.clock.getDelayedCalls()) == 1
