"""Sessions that enter and leave all their counters at once: the same is let in as if each were counted by itself."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest

from socks5.access import Access
from socks5.limits import ILease
from socks5.policy.buckets import LEAST_BURST, LEAST_ROOM
from socks5.policy.limit import Limit, Per
from socks5.policy.table import MOST_ASLEEP
from tests.support.limited import Limited, asks, person

HERE, THERE = "192.0.2.1", "192.0.2.2"


# ---------------------------------------------------------------- whatever happens


@dataclass
class Plain:
    """The sessions under limits, each counted by itself."""

    limits: tuple[Limit, ...]
    there: list[Access] = field(default_factory=list)
    begun: list[tuple[float, Access]] = field(default_factory=list)

    def shares(self, limit: Limit, one: Access, other: Access) -> bool:
        """Whether they have a counter."""
        if limit.per == Per.ALL:
            return True
        if limit.per == Per.USER and one.user is not None:
            return one.user == other.user
        return one.client == other.client and (limit.per != Per.USER or other.user is None)

    def lets_in(self, asking: Access, now: float) -> bool:
        for limit in self.limits:
            there = [each for each in self.there if self.shares(limit, asking, each)]
            clients = {each.client for each in there}
            if limit.sessions is not None and len(there) >= limit.sessions:
                return False
            most = limit.client_addresses
            if most is not None and asking.client not in clients and len(clients) >= most:
                return False
            if limit.new_sessions is not None:
                level, since = 0.0, 0.0
                most, seconds = limit.new_sessions
                for when, each in self.begun:
                    if self.shares(limit, asking, each):
                        level = max(0.0, level - (when - since) * most / seconds) + 1
                        since = when
                if max(0.0, level - (now - since) * most / seconds) + 1 > most:
                    return False
        self.there.append(asking)
        self.begun.append((now, asking))
        return True


@pytest.mark.parametrize("seed", range(12))
def test_whoever_comes_and_goes_the_same_are_let_in(seed: int) -> None:
    random = Random(seed)
    first = (
        Limit("all", sessions=16, client_addresses=5),
        Limit("each", per="client", sessions=6, new_sessions=(8, 4.0)),
        Limit("user", per="user", sessions=7, down=1e9),
    )
    second = (
        Limit("all", sessions=12, down=1e9),
        Limit("each", per="client", client_addresses=1, sessions=4, new_sessions=(8, 4.0)),
        Limit("user", per="user", client_addresses=2),
    )
    limited, plain = Limited(*first), Plain(first)
    leases: list[tuple[ILease, Access]] = []
    outcomes: Counter[bool] = Counter()
    for _ in range(1200):
        deed = random.random()
        if deed < 0.5:
            user = random.choice([None, person("alice"), person("bob")])
            access = asks(f"192.0.2.{random.randrange(7)}", user)
            lease = limited.limits.enter(access)
            outcomes[lease is not None] += 1
            assert (lease is not None) == plain.lets_in(access, limited.clock.seconds())
            if lease is not None:
                leases.append((lease, access))
        elif deed < 0.9 and leases:
            lease, access = leases.pop(random.randrange(len(leases)))
            lease.leave()
            plain.there.remove(access)
        elif deed < 0.99:
            limited.clock.advance(random.choice([0.125, 0.5]))
        else:
            plain.limits = second if plain.limits is first else first
            limited.become(*plain.limits)
    assert min(outcomes[True], outcomes[False]) > 50
    for lease, _ in leases:
        lease.leave()
    limited.clock.advance(10)
    limited.enter().leave()
    limited.clock.advance(10)
    limited.enter(THERE)
    assert len(limited.limits) <= 6


# ---------------------------------------------------------------- places


def test_a_place_that_is_kept_is_anybody_s_who_needs_it() -> None:
    limited = Limited(Limit("few", sessions=3))
    leases = [limited.enter(HERE) for _ in range(3)]
    leases.pop().leave()
    limited.enter(THERE)
    assert limited.refusal(HERE) == limited.refusal("192.0.2.3") == "limit few: 3 sessions"
    leases.pop().leave()
    limited.enter("192.0.2.3")
    assert limited.refusal(HERE) == "limit few: 3 sessions"


def test_a_place_that_is_kept_counts_nowhere_when_limits_are_replaced() -> None:
    limited = Limited(Limit("few", sessions=9))
    leases = [limited.enter(HERE) for _ in range(4)]
    leases.pop().leave()
    limited.become(Limit("few", sessions=3))
    assert limited.refusal() == "limit few: 3 sessions"
    leases.pop().leave()
    limited.enter(HERE)
    assert limited.refusal(THERE) == "limit few: 3 sessions"


# ---------------------------------------------------------------- coming again


def test_who_comes_again_finds_counters_that_others_have_meanwhile() -> None:
    limited = Limited(Limit("few", sessions=2), Limit("each", per="client", sessions=2))
    limited.enter(HERE).leave()
    assert len(limited.limits) == 0
    limited.enter(THERE)
    limited.enter(HERE)
    assert limited.refusal("192.0.2.3") == "limit few: 2 sessions"


def test_no_more_clients_are_remembered_than_that() -> None:
    limited = Limited(Limit("few", sessions=2))
    for number in range(MOST_ASLEEP + 50):
        limited.enter(f"192.0.{number // 250}.{number % 250}").leave()
    assert len(limited.limits.table.parties) == MOST_ASLEEP
    limited.become(Limit("few", sessions=2))
    assert len(limited.limits.table.parties) == 0


# ---------------------------------------------------------------- what is told at the end


def test_what_sessions_tell_at_their_end_is_charged_together() -> None:
    limited = Limited(Limit("slow", up=1000.0, down=1000.0))
    stays, other = limited.enter(HERE), limited.enter(THERE)
    other.moved(LEAST_BURST, LEAST_BURST)
    limited.enter(HERE).leave(1000, LEAST_ROOM - 1001)
    assert other.moved(1, 0) == 0.001
    limited.enter(HERE).leave(1, 0)
    assert other.moved(1, 0) == 1.003
    limited.enter(HERE).leave(0, 2000)
    stays.leave()
    assert other.moved(0, 1) == (LEAST_ROOM - 1001 + 2001) / 1000


def test_what_sessions_tell_at_their_end_is_used_of_a_quota() -> None:
    limited = Limited(Limit("month", quota=(10_000, "month")))
    used = limited.quotas.usage("month", "", "month")
    lease = limited.enter()
    limited.enter().leave(100, 200)
    lease.leave(20, 30)
    assert used.octets == 350
    limited.enter().leave(0, 9_650)
    assert limited.refusal() == "limit month: quota is used up until the next month"
