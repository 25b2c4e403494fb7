"""What a session's part in limits says of rates and quotas, by a clock."""

from math import inf

import pytest
from zope.interface.verify import verifyObject

from socks5.limits import ILease
from socks5.policy.buckets import LEAST_BURST, LEAST_ROOM, MOST_GRAIN, MOST_ROOM
from socks5.policy.leases import MOST_SHARING, Together
from socks5.policy.limit import Limit
from tests.support.limited import Limited, greedy, person

MB = 10**6


def test_each_direction_pays_for_itself_and_both_for_the_total() -> None:
    limited = Limited(Limit("all", up=1000.0, down=2000.0, total=4000.0))
    lease = limited.enter()
    assert verifyObject(ILease, lease)
    assert lease.is_metered
    assert lease.moved(LEAST_BURST, 0) == 0.0
    assert lease.moved(1000, 0) == 1.0
    assert lease.moved(0, 1000) == 0.5  # of the total
    assert lease.moved(0, LEAST_BURST) == (LEAST_BURST + 2000) / 4000
    assert lease.moved(0, 0) == 0.0


def test_a_lease_without_rates_lets_everything_pass() -> None:
    lease = Limited(Limit("few", sessions=1)).enter()
    assert not lease.is_metered
    assert lease.moved(1 << 40, 1 << 40) == 0.0
    assert lease.room(True) == lease.room(False) == 1 << 20


def test_what_moves_behind_the_end_still_counts() -> None:
    limited = Limited(Limit("slow", down=1000.0))
    lease, other = limited.enter(), limited.enter()
    lease.leave()
    lease.moved(0, LEAST_BURST)
    assert other.moved(0, 1000) == 1.0


def test_who_has_left_keeps_no_room_from_others() -> None:
    limited = Limited(Limit("slow", down=1e6))
    other, *leases = [limited.enter() for _ in range(3)]
    leases[0].moved(0, 200_000)
    for lease in leases:
        lease.leave()
        lease.moved(0, 1)
        assert lease.room(False) == MOST_ROOM
    assert other.room(False) == 50_000


def test_the_first_octets_count_as_all_others() -> None:
    limited = Limited(Limit("each", per="session", down=1000.0))
    lease = limited.enter()
    assert lease.moved(0, 1000) == 0.0
    limited.clock.advance(0.5)
    assert lease.moved(0, LEAST_BURST) == 0.5


def test_the_first_octets_wait_for_those_of_others() -> None:
    limited = Limited(Limit("slow", up=1e6, down=1e6))
    other, lease = limited.enter(), limited.enter()
    other.moved(0, 200_000)
    assert lease.moved(1, 0) == 0.0
    assert limited.enter().moved(0, 100_000) == 0.2
    assert other.room(False) == 25_000
    assert limited.reached == {"slow": 2}


@pytest.mark.parametrize("per", ["session", "all"])
@pytest.mark.parametrize("first", [0, 1000])
def test_other_numbers_hold_for_what_has_hardly_moved(per: str, first: int) -> None:
    """Though others share the limit from now on, they do not share the counter."""
    limited = Limited(Limit("each", per="session", down=1000.0))
    lease = limited.enter()
    lease.moved(0, first)
    limited.become(Limit("each", per=per, down=2000.0))
    assert lease.moved(0, LEAST_BURST) == first / 2000
    assert limited.enter().moved(0, LEAST_BURST) == 0.0


def test_a_limit_that_is_back_holds_nobody_whom_it_held_before() -> None:
    limit = Limit("each", per="session", down=1000.0)
    limited = Limited(limit)
    lease = limited.enter()
    limited.become()
    limited.become(limit)
    assert lease.moved(0, 1 << 20) == 0.0
    assert limited.enter().moved(0, 1 << 20) > 0


def test_it_says_how_long_it_was_slowed() -> None:
    limited = Limited(Limit("slow", up=1000.0, down=1000.0))
    lease = limited.enter()
    lease.moved(0, LEAST_BURST + 10_000)
    assert lease.slowed == 10.0
    lease.moved(LEAST_BURST + 4_000, 0)  # at the same time
    assert lease.slowed == 10.0
    limited.clock.advance(8)
    lease.moved(8_000, 0)
    assert lease.slowed == 12.0
    limited.clock.advance(3)
    lease.leave()
    assert lease.slowed == 11.0


def test_what_may_be_told_of_together_is_a_part_of_what_is_left() -> None:
    limited = Limited(Limit("slow", down=1e6), Limit("fast", total=1e9))
    lease = limited.enter()
    assert (lease.grain(False), lease.grain(True)) == (25_000, MOST_GRAIN)
    other = limited.enter()
    assert (other.grain(False), lease.grain(False)) == (12_500, 12_500)
    other.moved(0, 60_000)
    assert lease.grain(False) == 5_000
    other.moved(0, 60_000)
    assert lease.grain(False) == LEAST_ROOM
    other.leave()
    limited.clock.advance(0.12)
    assert lease.grain(False) == 25_000
    limited.become(Limit("slow", down=2e6))
    assert lease.grain(False) == 50_000
    assert Limited(Limit("few", sessions=2)).enter().grain(True) == MOST_GRAIN


def test_of_a_quota_that_is_soon_used_up_little_is_told_together() -> None:
    limited = Limited(Limit("month", quota=(2 * MOST_SHARING * MOST_GRAIN, "month")))
    lease = limited.enter()
    assert lease.grain(True) == MOST_GRAIN
    lease.moved(0, (2 * MOST_GRAIN - 5000) * MOST_SHARING)
    assert lease.grain(True) == 5000
    lease.moved(0, 2000 * MOST_SHARING)
    assert lease.grain(True) == LEAST_ROOM


# ---------------------------------------------------------------- rates, simulated


@pytest.mark.parametrize("rate", [50_000.0, 10 * MB])
@pytest.mark.parametrize("sessions", [1, 50])
@pytest.mark.parametrize("chunk", [16_384, 1 << 20])
def test_a_rate_is_kept_and_those_who_share_it_get_the_same(
    rate: float, sessions: int, chunk: int
) -> None:
    """However large the reads. Each gets 4 KiB at the least, so a slow rate wants more time until all have had their
    turns.
    """
    limited = Limited(Limit("shared", down=rate))
    leases = [limited.enter() for _ in range(sessions)]
    greedy(limited.clock, leases, 1.0, chunk, speed=1e10)
    seconds = 10.0 if rate > MB else 500.0
    moved = greedy(limited.clock, leases, seconds, chunk, speed=1e10)
    assert sum(moved.values()) == pytest.approx(rate * seconds, rel=0.025)
    assert min(moved.values()) >= 0.8 * max(moved.values())


@pytest.mark.parametrize("sessions", [1, 10, 50])
def test_no_span_has_more_than_its_rate_and_a_little(sessions: int) -> None:
    limited = Limited(Limit("shared", down=10.0 * MB))
    leases = [limited.enter() for _ in range(sessions)]
    harmonic = sum(1 / n for n in range(1, sessions + 1))
    most = 10 * MB * (0.1 + 0.05 * harmonic)
    moved = 0
    for _ in range(40):
        moved += sum(greedy(limited.clock, leases, 0.05).values())
        assert moved <= 10 * MB * limited.clock.seconds() + most


def test_users_with_a_rate_each_do_not_disturb_each_other() -> None:
    limited = Limited(Limit("person", per="user", down=1.0 * MB))
    alone = limited.enter("192.0.2.1", person("alice"))
    crowd = [limited.enter("192.0.2.1", person("bob")) for _ in range(50)]
    moved = greedy(limited.clock, [alone, *crowd], 10.0)
    assert moved[alone] == pytest.approx(10 * MB, rel=0.025)


def test_one_limit_in_another() -> None:
    """The narrower holds, and does not keep others from what it leaves of the wider."""
    limited = Limited(Limit("uplink", down=10.0 * MB), Limit("person", per="user", down=1.0 * MB))
    slow = [limited.enter("192.0.2.1", person("bob")) for _ in range(20)]
    others = [limited.enter("192.0.2.1", person(f"user{n}")) for n in range(4)]
    moved = greedy(limited.clock, [*slow, *others], 10.0)
    assert sum(moved[each] for each in slow) == pytest.approx(10 * MB, rel=0.05)
    for each in others:
        assert moved[each] == pytest.approx(10 * MB, rel=0.05)


# ---------------------------------------------------------------- quotas


def test_a_quota_ends_who_uses_it_up_and_refuses_others(log: list[str]) -> None:
    limited = Limited(Limit("person", per="user", quota=(1000, "day")))
    lease = limited.enter("192.0.2.1", person())
    assert lease.moved(400, 599) == 0.0
    assert lease.why == ""
    assert lease.moved(0, 1) == inf
    assert lease.moved(1, 0) == inf
    assert lease.why == "limit person: quota is used up until the next day"
    assert limited.quotas.used["person", "user:alice", "day"].octets == 1001
    assert limited.refusal("192.0.2.1", person()) == lease.why
    assert log == ["limit person is reached by user alice: quota is used up until the next day"] * 2
    limited.enter("192.0.2.1", person("bob"))


def test_others_whose_quota_it_was_end_soon() -> None:
    limited = Limited(Limit("person", per="user", quota=(1000, "day")))
    ended = []
    leases = [limited.enter("192.0.2.1", person()) for _ in range(4)]
    left, mover, silent, unwatched = leases
    unwatched.ended = None
    for lease in (left, mover, silent):
        lease.ended = lambda lease=lease: ended.append(lease)  # type: ignore[misc]
    other = limited.enter("192.0.2.1", person("bob"))
    other.ended = lambda: ended.append(other)
    assert limited.quotas.look is not None
    limited.quotas.look()
    assert ended == []
    mover.moved(0, 1000)
    left.leave()
    limited.quotas.look()
    limited.quotas.look()
    assert ended == [silent]
    assert silent.why == unwatched.why == mover.why
    mover.leave()
    mover.moved(0, 1000)


def test_a_quota_that_is_gone_holds_nobody() -> None:
    limited = Limited(Limit("person", quota=(1000, "day")))
    lease = limited.enter()
    lease.moved(0, 1000)
    limited.become(Limit("person", quota=(5000, "week")))
    assert lease.moved(0, 1000) == 0.0
    limited.become(Limit("person", down=1e9))
    assert lease.moved(0, 100_000) == 0.0
    assert limited.quotas.used["person", "", "week"].octets == 1000


# ---------------------------------------------------------------- two leases


def test_two_leases_are_one() -> None:
    limited = Limited(
        Limit("slow", down=1000.0),
        Limit("quota", quota=(100_000, "day")),
        server=["slow"],
        rules={"web": ["quota"], "free": []},
    )
    first, second = limited.enter(), limited.enter(rule="web")
    both = Together([first, second])
    assert verifyObject(ILease, both)
    assert both.is_metered
    ended = []
    both.ended = lambda: ended.append(1)
    assert both.ended is not None
    assert both.room(False) == first.room(False) < second.room(False)
    assert both.grain(False) == second.grain(False) < first.grain(False)
    assert both.moved(0, LEAST_BURST + 1000) == 1.0
    assert (both.slowed, both.why) == (1.0, "")
    assert both.moved(0, LEAST_BURST) == inf
    assert both.why == "limit quota: quota is used up until the next day"
    both.leave()
    assert first.ended is second.ended is None
    plain = Together([limited.enter(rule="free"), limited.enter(rule="free")])
    assert not plain.is_metered


def test_there_may_be_more_leases_later() -> None:
    leases: list[ILease] = []
    together = Together(leases)
    assert (together.moved(1 << 30, 1 << 30), together.room(True)) == (0.0, 1 << 20)
    assert together.grain(True) == MOST_GRAIN
    assert (together.slowed, together.why, together.ended) == (0.0, "", None)
    leases.append(Limited(Limit("slow", down=1000.0)).enter())
    assert together.moved(0, LEAST_BURST + 1000) == 1.0
