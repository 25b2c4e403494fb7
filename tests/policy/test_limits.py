"""Limits in one process, by a clock: who is under which, what is refused, and what is forgotten."""

from typing import Any

import pytest
from zope.interface.verify import verifyObject

from socks5.limits import ILease, ILimits
from socks5.policy.buckets import MOST_ROOM
from socks5.policy.limit import Limit
from socks5.policy.limits import Limits
from tests.support.limited import Limited, asks, person

HERE, THERE = "192.0.2.1", "192.0.2.2"


# ---------------------------------------------------------------- who is under which


LISTS: Any = {
    "server": ["uplink"],
    "listeners": {"road": ["guests", "uplink"]},
    "groups": {"staff": ["per-person", "guests"], "others": ["rest"]},
    "members": {"others": ["carol"]},
    "rules": {"web": ["web", "guests"]},
}

NAMES = ["uplink", "guests", "per-person", "rest", "web"]


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        ({}, ["uplink"]),
        ({"listener": "elsewhere"}, ["uplink"]),
        ({"listener": "road"}, ["uplink", "guests"]),
        ({"user": person("alice", "staff")}, ["uplink", "per-person", "guests"]),
        (
            {"user": person("alice", "staff"), "listener": "road"},
            ["uplink", "guests", "per-person"],
        ),
        ({"user": person("carol")}, ["uplink", "rest"]),
        ({"user": person("dave", "nobody")}, ["uplink"]),
        ({"rule": "web"}, ["web", "guests"]),
        ({"rule": "web", "listener": "road"}, ["web"]),
        ({"rule": "mail"}, []),
    ],
)
def test_a_session_is_under_all_that_name_it_once_each(facts: Any, names: list[str]) -> None:
    limits = Limits([Limit(name, sessions=1) for name in NAMES], **LISTS)
    assert verifyObject(ILimits, limits)
    assert list(limits.names(asks(**facts))) == names


def test_a_session_under_none_has_a_lease_of_everything() -> None:
    limits = Limits([])
    lease = limits.enter(asks())
    assert verifyObject(ILease, lease)
    assert not lease.is_metered
    assert (lease.room(True), lease.moved(1 << 50, 1 << 50)) == (MOST_ROOM, 0.0)
    lease.leave()
    assert len(limits) == 0


@pytest.mark.parametrize(
    ("limits", "lists", "message"),
    [
        ([Limit("a"), Limit("a")], {}, "limit a: there are two of that name"),
        ([Limit("a")], {"server": ["b"]}, "there is no limit b"),
        ([Limit("a")], {"listeners": {"l": ["c"]}}, "there is no limit c"),
        ([Limit("a")], {"groups": {"g": ["d"]}}, "there is no limit d"),
        ([Limit("a")], {"rules": {"r": ["e"]}}, "there is no limit e"),
        ([Limit("a", quota=(1, "day"))], {}, "limit a: nobody remembers its quota"),
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: Any, lists: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Limits(limits, **lists)


# ---------------------------------------------------------------- sessions


def test_so_many_sessions_at_a_time() -> None:
    limited = Limited(Limit("few", sessions=2))
    first, _ = limited.enter(), limited.enter()
    assert limited.refusal(THERE) == "limit few: 2 sessions"
    first.leave()
    limited.enter(THERE)


@pytest.mark.parametrize(
    ("per", "sharing", "other"),
    [
        ("all", [asks(HERE), asks(THERE)], None),
        ("client", [asks(HERE, person("a")), asks(HERE, person("b"))], asks(THERE, person("a"))),
        ("client", [asks("2001:db8::1"), asks("2001:db8::2")], asks("2001:db8:0:1::1")),
        ("client", [asks(""), asks("")], asks("127.0.0.1")),
        ("user", [asks(HERE, person("a")), asks(THERE, person("a"))], asks(HERE, person("b"))),
        ("user", [asks(HERE), asks(HERE)], asks(THERE)),
    ],
)
def test_who_shares_a_counter(per: str, sharing: list[Any], other: Any) -> None:
    limits = Limits([Limit("one", per=per, sessions=1)], server=["one"])
    first, second = sharing
    lease = limits.enter(first)
    assert lease is not None
    assert limits.enter(second) is None
    if other is not None:
        assert limits.enter(other) is not None
    lease.leave()
    assert limits.enter(second) is not None


def test_a_session_shares_a_counter_of_its_own_with_nobody() -> None:
    limited = Limited(Limit("each", per="session", sessions=1, new_sessions=(1, 60.0)))
    leases = [limited.enter() for _ in range(3)]
    assert len(limited.limits) == 0
    for lease in leases:
        lease.leave()


def test_a_user_is_not_a_client_of_that_name() -> None:
    limited = Limited(Limit("one", per="user", sessions=1))
    limited.enter(HERE)
    limited.enter(THERE, person(HERE))


def test_so_many_addresses_at_a_time() -> None:
    limited = Limited(Limit("person", per="user", client_addresses=2))
    alice = person()
    first, again = limited.enter(HERE, alice), limited.enter(HERE, alice)
    limited.enter("2001:db8::1", alice)
    limited.enter("2001:db8::2", alice)  # the same /64
    assert limited.refusal(THERE, alice) == "limit person: 2 client addresses"
    first.leave()
    limited.refusal(THERE, alice)
    again.leave()
    limited.enter(THERE, alice)


def test_so_many_new_ones_and_one_more_with_time() -> None:
    limited = Limited(Limit("slow", new_sessions=(3, 60.0)))
    for _ in range(3):
        limited.enter().leave()
    assert limited.refusal() == "limit slow: 3/min new sessions"
    limited.clock.advance(19)
    limited.refusal()
    limited.clock.advance(1)
    limited.enter()
    limited.refusal()


def test_who_is_refused_by_one_limit_takes_nothing_of_the_others() -> None:
    limited = Limited(
        Limit("first", sessions=2, new_sessions=(2, 60.0), client_addresses=2),
        Limit("second", sessions=1),
    )
    lease = limited.enter()
    for _ in range(5):
        assert limited.refusal(THERE) == "limit second: 1 sessions"
    lease.leave()
    limited.enter(THERE)


# ---------------------------------------------------------------- what is forgotten


def test_a_counter_without_session_and_debt_is_forgotten() -> None:
    limited = Limited(Limit("client", per="client", sessions=5))
    lease, other = limited.enter(HERE), limited.enter(HERE)
    lease.leave()
    assert len(limited.limits) == 1
    other.leave()
    assert len(limited.limits) == 0


def test_a_debt_is_remembered_until_it_is_paid() -> None:
    limited = Limited(Limit("client", per="client", down=1000.0, new_sessions=(1, 10.0)))
    lease = limited.enter(HERE)
    lease.moved(0, 20_000)
    lease.leave()
    limited.clock.advance(19)
    limited.enter(THERE).leave()
    assert len(limited.limits) == 2
    limited.clock.advance(2)
    limited.refusal(THERE)
    assert len(limited.limits) == 1
    limited.clock.advance(9)
    limited.enter(HERE)
    assert len(limited.limits) == 1


def test_one_that_is_in_use_again_is_not_forgotten_when_its_debt_is_paid() -> None:
    limited = Limited(Limit("client", per="client", sessions=1, down=1000.0))
    lease = limited.enter(HERE)
    lease.moved(0, 20_000)
    lease.leave()
    again = limited.enter(HERE)
    limited.clock.advance(15)
    again.moved(0, 20_000)  # a debt that lasts longer
    limited.clock.advance(10)
    limited.enter(THERE).leave()
    assert limited.refusal(HERE)
    again.leave()
    limited.clock.advance(60)
    limited.enter(THERE).leave()
    assert len(limited.limits) == 0


# ---------------------------------------------------------------- what is said


def test_what_is_reached_is_counted_and_said_ten_times_a_minute(log: list[str]) -> None:
    limited = Limited(Limit("one", per="client", sessions=1), Limit("other", sessions=100))
    limited.enter(HERE)
    for _ in range(15):
        limited.refusal(HERE)
    assert log == ["limit one is reached by client 192.0.2.1: 1 sessions"] * 10
    log.clear()
    limited.enter(THERE)
    limited.refusal(THERE)
    limited.clock.advance(60)
    limited.refusal(HERE)
    assert log == [
        "limit one is reached by client 192.0.2.2: 1 sessions",
        "limit one is reached by client 192.0.2.1: 1 sessions; 5 times without a line",
    ]
    assert limited.reached == {"one": 17}


def test_a_rate_is_said_when_it_is_reached_after_a_while(log: list[str]) -> None:
    limited = Limited(
        Limit("slow", per="user", down=1000.0, total=1000.0, up=1e9), Limit("uplink", total=1e9)
    )
    lease = limited.enter(HERE, person())
    for _ in range(20):
        lease.moved(0, 100_000)
        limited.clock.advance(1)
    assert log == ["limit slow is reached by user alice: 1KB/s down, 1KB/s total"]
    limited.clock.advance(4000)
    lease.moved(100_000, 0)
    assert log[1:] == ["limit slow is reached by user alice: 1KB/s total"]
    assert limited.reached == {"slow": 21}


def test_sessions_with_a_rate_each_share_their_lines(log: list[str]) -> None:
    limited = Limited(Limit("each", per="session", down=1000.0))
    for _ in range(15):
        limited.enter().moved(0, 100_000)
    assert log == ["limit each is reached: 1KB/s down"] * 10


# ---------------------------------------------------------------- other numbers


def test_limits_of_the_same_name_keep_their_counts() -> None:
    limited = Limited(Limit("few", sessions=3, client_addresses=5, new_sessions=(10, 1000.0)))
    first, *others = [limited.enter() for _ in range(3)]
    limited.become(Limit("few", sessions=2, new_sessions=(4, 1000.0)))
    assert limited.refusal() == "limit few: 2 sessions"
    first.leave()
    limited.refusal()
    others[0].leave()
    limited.enter()
    others[1].leave()
    assert limited.refusal() == "limit few: 4/1000s new sessions"


def test_addresses_that_were_not_limited_count_from_now_on() -> None:
    limited = Limited(Limit("few", sessions=9))
    first, second = limited.enter(HERE), limited.enter(THERE)
    limited.become(Limit("few", client_addresses=2))
    again = limited.enter(HERE)
    assert limited.refusal("192.0.2.3") == "limit few: 2 client addresses"
    first.leave()
    limited.refusal("192.0.2.3")
    again.leave()
    second.leave()
    limited.enter("192.0.2.3")


def test_no_level_is_refilled_or_forgotten() -> None:
    limited = Limited(Limit("slow", down=1000.0))
    lease = limited.enter()
    lease.moved(0, 65_536)
    limited.become(Limit("slow", down=500.0, up=100.0))
    assert lease.moved(0, 500) == 1.0
    assert lease.moved(65_636, 0) == 1.0  # the new one, too, holds for it
    lease.leave()


def test_a_limit_that_is_gone_holds_nobody() -> None:
    limited = Limited(
        Limit("a", sessions=1, down=1000.0, new_sessions=(1, 1e6)),
        Limit("b", per="client", sessions=1, up=1000.0),
        Limit("c", per="session", down=1000.0),
        Limit("d", per="session", up=10.0),
        Limit("e", per="session", up=10.0),
    )
    lease = limited.enter()
    assert lease.moved(0, 1 << 20) > 0
    limited.become(
        Limit("b", per="all", sessions=1, up=1e9),
        Limit("d", per="session", up=1e9),
        Limit("e", up=1e9),
    )
    assert lease.moved(0, 1 << 30) == 0.0
    assert 0 < lease.moved(1 << 30, 0) < 1.1
    limited.enter()  # for "b" counts anew
    lease.leave()
    limited.refusal()
    limited.become(Limit("a", sessions=1, new_sessions=(1, 1e6)))
    limited.enter().leave()


def test_those_without_a_meter_get_none() -> None:
    limited = Limited(Limit("few", sessions=3))
    lease = limited.enter()
    limited.become(Limit("few", sessions=3, down=10.0))
    assert not lease.is_metered
    assert lease.moved(0, 1 << 30) == 0.0
    assert limited.enter().is_metered


def test_who_asks_limits_that_are_replaced_is_under_those_of_now() -> None:
    """As a session does whose policy was replaced during its handshake."""
    limited = Limited(Limit("few", sessions=1), Limit("gone", sessions=1))
    before = limited.limits
    limited.become(Limit("few", sessions=2))
    leases = [before.enter(asks()) for _ in range(3)]
    assert [lease is None for lease in leases] == [False, False, True]


def test_limits_may_begin_behind_somebody_else_s() -> None:
    limited = Limited(Limit("few", sessions=1))
    other: Any = object()
    limits = Limits([Limit("few", sessions=1)], server=["few"])
    limits.begin(other, limited.reached)
    assert limits.enter(asks()) is not None
    assert limits.enter(asks()) is None
    assert limited.reached == {"few": 1}
