"""Limits that workers share, by one clock: what each lets through, what it tells, and what is forgotten."""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from math import log
from random import Random
from typing import Any

import pytest

from socks5.limits import ILease
from socks5.policy.buckets import LEAST_BURST, LEAST_ROOM
from socks5.policy.limit import Limit
from socks5.policy.shared import read, written
from tests.support.limited import person
from tests.support.sharing import Family, Life

HERE, THERE, ELSEWHERE = "192.0.2.1", "192.0.2.2", "2001:db8::1"
MB = 10**6


def entered(life: Life, *arguments: Any, **facts: Any) -> ILease:
    lease = life.enter(*arguments, **facts)
    assert lease is not None
    return lease


def why(life: Life, *arguments: Any, **facts: Any) -> str:
    """Why there may be no further session."""
    assert life.limits is not None
    assert life.enter(*arguments, **facts) is None
    return life.limits.why(None)  # type: ignore[arg-type]


def sizes(family: Family) -> list[int]:
    """How many counters the parent and each worker have."""
    assert family.limits is not None
    return [len(family.limits), *(len(life.limits or ()) for life in family.lives)]


# ---------------------------------------------------------------- sessions


@pytest.mark.parametrize(
    "who", ["", "alice", "=", b"", b"\xc0\x00\x02\x01", b"\x20\x01\x0d\xb8" * 2]
)
def test_who_shares_a_counter_comes_back_as_it_was_written(who: str | bytes) -> None:
    assert read(written(who)) == who


def test_as_many_sessions_as_there_may_be_get_in_over_all_workers() -> None:
    family = Family(Limit("few", sessions=3))
    leases = []
    for life in family.lives[:3]:
        leases.append(entered(life))
        family.exchange()
    assert [why(life) for life in family.lives] == ["limit few: 3 sessions"] * 4
    leases.pop().leave()
    family.exchange()
    leases.append(entered(family.lives[3]))
    family.exchange()
    assert [why(life) for life in family.lives] == ["limit few: 3 sessions"] * 4
    for lease in leases:
        lease.leave()
    family.exchange()
    assert sizes(family) == [0] * 5


def test_a_worker_decides_at_once_by_what_it_has_counted_itself() -> None:
    family = Family(Limit("few", sessions=1))
    entered(family.lives[0])
    assert why(family.lives[0]) == "limit few: 1 sessions"
    assert family.lives[0].reached == {"few": 1}


def test_of_a_crowd_that_comes_at_one_moment_each_worker_may_let_in_as_many() -> None:
    """And then nobody does until there are too few of them, whoever has died meanwhile."""
    family = Family(Limit("few", sessions=3))
    first, *others = family.lives
    leases = [entered(life) for life in family.lives for _ in range(3)]
    family.exchange()
    family.kill(first)
    family.exchange()
    for lease in leases[3:9]:
        assert {why(life) for life in others} == {"limit few: 3 sessions"}
        lease.leave()
        family.exchange()
    leases[9].leave()
    family.exchange()
    entered(others[0])
    family.exchange()
    assert {why(life) for life in others} == {"limit few: 3 sessions"}


def test_the_first_change_is_told_at_once_and_the_next_a_while_later() -> None:
    family = Family(Limit("few", sessions=2))
    entered(family.lives[0])
    family.clock.pump([0, 0])
    entered(family.lives[0])
    family.clock.pump([0, 0, 0.049])
    entered(family.lives[1])
    family.clock.pump([0.001, 0, 0.05, 0])
    assert why(family.lives[2]) == "limit few: 2 sessions"


@pytest.mark.parametrize("is_told", [False, True])
def test_who_is_turned_away_after_all_is_no_new_session_anywhere(is_told: bool) -> None:
    """Unless the others know of it already, for a while."""
    family = Family(Limit("new", new_sessions=(1, 3600)))
    lease = entered(family.lives[0])
    if is_told:
        family.exchange()
    lease.leave(has_begun=False)
    family.exchange()
    assert (family.lives[1].enter() is None) == is_told
    assert family.lives[0].enter() is not None


def test_an_address_counts_once_wherever_its_clients_are() -> None:
    family = Family(Limit("few", per="user", client_addresses=2))
    alice: Any = {"user": person("alice")}
    first, second, *_ = family.lives
    leases = [entered(first, HERE, **alice), entered(second, HERE, **alice)]
    family.exchange()
    leases.append(entered(second, THERE, **alice))
    family.exchange()
    for life in family.lives:
        assert why(life, ELSEWHERE, **alice) == "limit few: 2 client addresses"
        entered(life, THERE, **alice).leave()
        entered(life, ELSEWHERE, user=person("bob")).leave()
    leases.pop(0).leave()
    family.exchange()
    assert why(first, ELSEWHERE, **alice)
    leases.pop(0).leave()
    family.exchange()
    leases.append(entered(first, ELSEWHERE, **alice))
    family.exchange()
    assert why(second, HERE, **alice)
    for lease in leases:
        lease.leave()
    family.exchange()
    assert sizes(family) == [0] * 5


def test_new_sessions_are_new_to_all() -> None:
    family = Family(Limit("slow", new_sessions=(4, 60.0)))
    for life in family.lives:
        entered(life).leave()
        family.exchange()
    assert [why(life) for life in family.lives] == ["limit slow: 4/min new sessions"] * 4
    family.clock.advance(15)
    entered(family.lives[0]).leave()
    family.exchange()
    assert [why(life) for life in family.lives] == ["limit slow: 4/min new sessions"] * 4
    family.clock.advance(60)
    for life in family.lives:
        entered(life)
        family.exchange()


# ---------------------------------------------------------------- rates


def bound(rate: float, workers: int, sessions: int) -> float:
    """Seconds of the rate that may pass above it, over any span: docs/limits.rst."""
    slices = 0.05 * (1 + log(sessions))
    least = 2 * LEAST_ROOM * sessions / rate
    return max(0.1, LEAST_BURST / rate) + 0.05 * (workers - 1) + max(slices, least)


class Greedy:
    """Sessions of all workers that take all that they may, for ten seconds.

    :ivar passed: octets.
    :ivar excess: seconds of the rate above it, over the worst span.
    :ivar by_worker: octets of each.
    """

    def __init__(self, rate: float, sessions: Sequence[int], seed: int = 1) -> None:
        random = Random(seed)
        family = Family(Limit("all", down=rate), workers=len(sessions))
        leases = [
            (number, entered(life))
            for number, life in enumerate(family.lives)
            for _ in range(sessions[number])
        ]
        order = count()
        turns = [(0.05 * random.random(), next(order), each) for each in leases]
        heapify(turns)
        self.passed, self.excess, least = 0, 0.0, 0.0
        self.by_worker = [0] * len(sessions)
        while turns[0][0] < 10:
            when, _, (number, lease) = heappop(turns)
            family.clock.advance(max(0.0, when - family.clock.seconds()))
            octets = min(lease.room(False), MB)
            least = min(least, self.passed / rate - when)
            self.passed += octets
            self.by_worker[number] += octets
            self.excess = max(self.excess, self.passed / rate - when - least)
            wait = lease.moved(0, octets)
            heappush(turns, (when + max(wait, octets / 1e9), next(order), (number, lease)))


@pytest.mark.parametrize(
    ("rate", "sessions"),
    [
        (10 * MB, [50] * 4),
        (10 * MB, [20] * 8),
        (10 * MB, [1, 5, 10, 40]),
        (10 * MB, [1, 1]),
        (MB, [50] * 4),
        (MB / 10, [2] * 4),
    ],
)
def test_no_more_passes_than_the_docs_say_over_any_span(rate: float, sessions: list[int]) -> None:
    greedy = Greedy(rate, sessions)
    assert greedy.excess < bound(rate, len(sessions), sum(sessions))


@pytest.mark.parametrize(("sessions", "most"), [([50] * 4, 1.5), ([20] * 8, 2.5)])
def test_the_rate_holds_for_all_workers_together(sessions: list[int], most: float) -> None:
    greedy = Greedy(10 * MB, sessions)
    assert abs(greedy.passed / (10 * MB * 10) - 1) < most / 100
    assert min(greedy.by_worker) > 0.95 * max(greedy.by_worker)


def test_who_comes_and_goes_in_turns_gets_no_more() -> None:
    """A rate times the workers is what a client must not get."""
    family = Family(Limit("slow", per="client", down=MB))
    passed = 0
    while family.clock.seconds() < 10:
        for life in family.lives:
            lease = entered(life)
            for _ in range(3):
                octets = lease.room(False)
                passed += octets
                family.clock.advance(lease.moved(0, octets) + 0.001)
            lease.leave()
    assert passed / (MB * family.clock.seconds()) < 1.02


def test_what_is_counted_for_a_session_alone_is_exact() -> None:
    family = Family(Limit("own", per="session", down=MB))
    lease = entered(family.lives[0])
    assert lease.room(False) == MB // 10
    assert lease.moved(0, MB) == 0.9
    family.exchange()
    assert [each for life in family.lives for each in life.line.sent if each.get("counters")] == []


def test_each_worker_lets_its_part_of_a_burst_pass() -> None:
    family = Family(Limit("all", down=8 * MB))
    first, second, *_ = (entered(life) for life in family.lives)
    assert first.room(False) == 200_000
    assert first.moved(0, 8 * MB) == 0.975
    family.exchange()
    assert second.moved(0, 0) == 0.0  # nobody asks for what has not moved
    assert second.moved(0, 1) == pytest.approx(0.975 - 0.1, abs=0.06)


def test_who_meets_a_counter_first_learns_what_is_owed() -> None:
    family = Family(Limit("all", per="user", up=MB, total=10 * MB))
    first, second, *_ = family.lives
    entered(first, user=person()).moved(3 * MB, 0)
    family.exchange()
    late = entered(second, user=person())
    family.exchange()
    assert late.moved(1, 0) == pytest.approx(3 - 0.2 - LEAST_BURST / MB / 4, abs=0.1)


# ---------------------------------------------------------------- what is told


def said(family: Family, life: Life) -> list[Any]:
    """What a worker is told by the next exchange."""
    before = len(life.channel.sent)
    family.exchange()
    return [each for message in life.channel.sent[before:] for each in message.get("counters", ())]


def test_nothing_is_said_while_nothing_changes() -> None:
    family = Family(Limit("each", per="client", sessions=3, down=MB))
    for number in range(500):
        entered(family.lives[number % 4], f"192.0.{number % 250}.{number // 250}")
    family.exchange()
    family.exchange()
    before = family.sent
    assert family.clock.getDelayedCalls() == []
    active = entered(family.lives[0])
    family.clock.pump([0, 0])
    assert family.sent == before + 4  # one counter to the parent, and to the three others
    assert len(family.lives[0].line.sent[-1]["counters"]) == 1
    active.moved(0, 1)
    family.exchange()
    assert family.sent == before + 5
    assert family.clock.getDelayedCalls() == []


def test_octets_are_told_whom_they_concern() -> None:
    family = Family(Limit("each", per="client", down=MB))
    first, second, third, _ = family.lives
    lease = entered(first, HERE)
    entered(second, HERE)
    family.exchange()
    lease.moved(0, MB)
    assert said(family, third) == []
    lease.moved(0, MB)
    [(name, who, what)] = said(family, second)
    assert (name, who) == ("each", "c0000201")
    assert list(what) == ["charged"]


def test_what_is_paid_for_already_is_not_told() -> None:
    family = Family(Limit("all", down=MB))
    lease, *_ = [entered(life) for life in family.lives]
    family.exchange()
    lease.moved(0, 1000)
    assert said(family, family.lives[1]) == []


def test_an_end_that_takes_nothing_is_told_the_sum_later() -> None:
    family = Family(Limit("few", sessions=3, down=MB))
    first, second, *_ = family.lives
    leases = [entered(first), entered(second)]
    family.exchange()
    first.line.is_clear = second.channel.is_clear = False
    before = len(first.line.sent), len(second.channel.sent)
    for _ in range(5):
        leases[0].moved(0, MB)
        family.exchange()
    leases.append(entered(first))
    family.exchange()
    assert (len(first.line.sent), len(second.channel.sent)) == before
    first.line.is_clear = True
    family.exchange()
    assert why(family.lives[2]) == "limit few: 3 sessions"
    assert len(second.channel.sent) == before[1]
    entered(second).leave()
    second.channel.is_clear = True
    family.exchange()
    assert why(second) == "limit few: 3 sessions"
    assert leases[1].moved(0, 1) == pytest.approx(5.0, abs=0.3)


# ---------------------------------------------------------------- workers come and go


def test_what_a_dead_worker_had_is_subtracted() -> None:
    family = Family(Limit("few", sessions=2, client_addresses=2, down=MB))
    first, second, third, _ = family.lives
    entered(first, HERE).moved(0, 5 * MB)
    entered(second, THERE)
    family.exchange()
    assert why(third) == "limit few: 2 sessions"
    family.kill(first)
    family.exchange()
    lease = entered(third, ELSEWHERE)
    family.exchange()
    assert why(second) == "limit few: 2 sessions"
    assert lease.moved(0, 1) > 4  # what it owed is owed still


def test_a_worker_that_is_started_anew_learns_the_others_numbers_first_of_all() -> None:
    limits = [
        Limit("few", sessions=2),
        Limit("places", client_addresses=2),
        Limit("slow", new_sessions=(4, 60.0)),
    ]
    family = Family(*limits)
    first, second, *_ = family.lives
    leases = [entered(first, HERE), entered(first, THERE)]
    family.exchange()
    family.kill(second)
    born = family.start()
    family.clock.pump([0, 0])
    assert why(born) == "limit few: 2 sessions"
    leases[0].leave()
    family.exchange()
    entered(born, ELSEWHERE)
    leases[1].leave()
    family.exchange()
    entered(born, ELSEWHERE).leave()
    family.exchange()
    assert why(born) == "limit slow: 4/min new sessions"
    assert family.start().limits is not None


def test_a_worker_that_says_nothing_may_end() -> None:
    family = Family(Limit("few", sessions=2))
    for life in tuple(family.lives):
        family.kill(life)
    family.exchange()
    assert family.clock.getDelayedCalls() == []


# ---------------------------------------------------------------- what is forgotten


def test_a_counter_without_session_and_debt_is_forgotten_everywhere() -> None:
    family = Family(Limit("each", per="client", sessions=3, client_addresses=1, down=MB))
    leases = [entered(life, f"192.0.2.{number}") for number in range(20) for life in family.lives]
    family.exchange()
    assert sizes(family) == [20] * 5
    for lease in leases:
        lease.moved(0, MB)
        lease.leave()
    family.exchange()
    assert sizes(family) == [20] * 5
    family.clock.advance(5)
    for life in family.lives:
        entered(life, HERE).leave()
    family.exchange()
    family.clock.advance(1)
    for life in family.lives:
        entered(life, HERE).leave()
    family.exchange()
    assert sizes(family) == [0] * 5


def test_what_moves_behind_the_end_counts_for_whoever_comes_next() -> None:
    family = Family(Limit("all", per="user", down=MB))
    first, second, *_ = family.lives
    gone = entered(first, user=person())
    family.exchange()
    gone.leave()
    family.exchange()
    assert sizes(family) == [0] * 5
    here, there = entered(first, user=person()), entered(second, user=person())
    family.exchange()
    gone.moved(0, 2 * MB)
    family.exchange()
    assert there.moved(0, 1) > 1.5
    here.leave()
    there.leave()
    family.clock.advance(5)
    entered(second).leave()
    entered(first).leave()
    family.exchange()
    family.clock.advance(1)
    last = entered(first)
    family.exchange()
    last.leave()
    family.exchange()
    assert sizes(family) == [0] * 5


# ---------------------------------------------------------------- others in force


@pytest.mark.parametrize("is_parent_first", [False, True])
def test_other_numbers_hold_for_what_is_counted(is_parent_first: bool) -> None:
    family = Family(Limit("few", down=MB), Limit("own", per="client", sessions=1))
    leases = [entered(life, HERE[:-1] + str(n)) for n, life in enumerate(family.lives)]
    leases[0].moved(0, 3 * MB)
    family.exchange()
    few = Limit("few", sessions=4, client_addresses=4, down=2 * MB)
    family.become(few, Limit("own", per="user", sessions=9), is_parent_first=is_parent_first)
    family.exchange()
    for life in family.lives:
        assert why(life, ELSEWHERE) == "limit few: 4 sessions"
    assert leases[1].moved(0, 1) == pytest.approx(1.3, abs=0.1)
    family.become(Limit("few", client_addresses=4), is_parent_first=is_parent_first)
    family.exchange()
    for life in family.lives:
        assert why(life, ELSEWHERE) == "limit few: 4 client addresses"
        entered(life, HERE[:-1] + "3").leave()
    for number in (3, 1):
        leases[number].leave()
    family.become(Limit("few", down=MB, sessions=3), is_parent_first=is_parent_first)
    family.exchange()
    lease = entered(family.lives[0], ELSEWHERE)
    family.exchange()
    assert why(family.lives[1]) == "limit few: 3 sessions"
    for each in (lease, leases[0], leases[2]):
        each.leave()
    family.exchange()
    family.clock.advance(10)
    entered(family.lives[0]).leave()
    family.exchange()
    assert sizes(family) == [0] * 5


def test_what_is_said_of_numbers_that_have_just_gone_is_left_out() -> None:
    family = Family(Limit("few", down=MB))
    limits: Any = family.lives[0].limits
    table = limits.table
    table.take([("few", "=", {"charged": {"up": 5.0}, "sessions": 3, "came": ["00"], "left": []})])
    table.take([("gone", "=", {"sessions": 3})])
    assert len(table) == 0


@pytest.mark.parametrize("is_parent_first", [False, True])
def test_limits_may_go_and_come(is_parent_first: bool) -> None:
    family = Family(Limit("few", sessions=1))
    gone = entered(family.lives[0])
    family.exchange()
    family.become(is_parent_first=is_parent_first)
    family.exchange()
    gone.leave()
    family.exchange()
    family.become(Limit("few", sessions=1), is_parent_first=is_parent_first)
    entered(family.lives[0])
    family.exchange()
    assert why(family.lives[1]) == "limit few: 1 sessions"


# ---------------------------------------------------------------- whatever happens


class Chaos:
    """Sessions come, move, and go, and so do workers."""

    LIMITS = (
        Limit("all", sessions=30, down=MB),
        Limit("each", per="client", sessions=8, client_addresses=2, up=MB),
        Limit("user", per="user", total=MB, new_sessions=(100, 1.0)),
    )
    OTHERS = (
        Limit("all", client_addresses=9),
        Limit("each", per="user", sessions=9),
        Limit("user", per="user", sessions=20, down=MB),
    )

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.family = Family(*self.LIMITS)
        self.leases: list[tuple[Life, ILease]] = []
        deeds = {
            self.enter: 40,
            self.leave: 20,
            self.move: 20,
            self.die: 1,
            self.become: 2,
            self.wait: 18,
        }
        for deed in self.random.choices([*deeds], [*deeds.values()], k=400):
            deed()

    def enter(self) -> None:
        life = self.random.choice(self.family.lives)
        user = self.random.choice([None, person("alice"), person("bob")])
        lease = life.enter(f"192.0.2.{self.random.randrange(6)}", user)
        self.leases += [(life, lease)] if lease is not None else []

    def leave(self) -> None:
        if self.leases:
            self.leases.pop(self.random.randrange(len(self.leases)))[1].leave()

    def move(self) -> None:
        if self.leases:
            lease = self.random.choice(self.leases)[1]
            lease.moved(self.random.randrange(9999), self.random.randrange(9999))

    def die(self) -> None:
        dead = self.random.choice(self.family.lives)
        self.family.kill(dead)
        self.leases = [each for each in self.leases if each[0] is not dead]
        self.family.start()

    def become(self) -> None:
        limits = self.random.choice([self.LIMITS, self.OTHERS])
        self.family.become(*limits, is_parent_first=self.random.random() < 0.5)

    def wait(self) -> None:
        self.family.clock.advance(self.random.choice([0.0, 0.01, 0.05, 1.0]))


@pytest.mark.parametrize("seed", range(8))
def test_all_know_the_same_once_they_have_heard_of_it(seed: int) -> None:
    chaos = Chaos(seed)
    family = chaos.family
    family.exchange(1.0)
    family.exchange(1.0)
    assert family.limits is not None
    whole = family.limits.table
    for life in family.lives:
        assert life.limits is not None
        for counter in life.limits.table:
            same = whole.get(counter.limit.name, counter.who)
            assert same is not None
            if counter.limit.sessions is not None:
                assert counter.sessions == same.sessions
    for _, lease in chaos.leases:
        lease.leave()
    for _ in range(3):
        family.exchange(2.0)
        for life in family.lives:
            entered(life).leave()
    family.exchange(2.0)
    assert max(sizes(family)) <= 2
