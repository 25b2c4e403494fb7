"""Bans, by a clock: what failed logins cost, who is never banned, and what is forgotten."""

import pytest
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from socks5 import deadlines
from socks5.logins import IBans
from socks5.policy import bans as module
from socks5.policy.bans import FORGET, FORGET_BAN, LONGEST_BAN, PARDON_INTERVAL, Bans
from socks5.protocol.networks import Networks
from socks5.settings import Settings
from tests.support.reactor import TimeOfDay

ATTACKER = "198.51.100.7"
OTHER = "198.51.100.8"
LOOPBACK = Networks.parse("127.0.0.0/8,::1")


class World:
    def __init__(self, **settings: object) -> None:
        self.clock = Clock()
        values = {"ban_after": 4, "ban_time": 60.0, **settings}
        self.ours = set[str]()
        self.bans = Bans(self.clock, Settings(**values), self._is_ours)  # type: ignore[arg-type]

    def _is_ours(self, host: str) -> bool:
        return host in self.ours or host in LOOPBACK

    def fail(self, client: str = ATTACKER, times: int = 1) -> float:
        """So many failures; how long the last answer waits."""
        for _ in range(times):
            delay = self.bans.failed(client)
        return delay


@pytest.fixture
def world() -> World:
    return World()


# ---------------------------------------------------------------- delays and bans


def test_each_answer_waits_twice_as_long_up_to_a_bound() -> None:
    world = World(ban_time=0.0)
    assert [world.fail() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert world.fail(times=2000) == 4.0
    assert not world.bans.is_banned(ATTACKER)


def test_the_failure_that_reaches_the_threshold_bans(world: World) -> None:
    verifyObject(IBans, world.bans)
    world.fail(times=3)
    assert not world.bans.is_banned(ATTACKER)
    assert world.fail() == 0.0
    assert world.bans.is_banned(ATTACKER)
    assert world.bans.open_bans == 1
    assert not world.bans.is_banned(OTHER)


def test_failures_that_take_a_while_still_add_up(world: World) -> None:
    for _ in range(4):
        world.fail()
        world.clock.advance(10)
    assert world.bans.is_banned(ATTACKER)


@pytest.mark.parametrize("first", [60.0, 2 * LONGEST_BAN])
def test_each_ban_is_twice_as_long_up_to_a_day_or_as_the_first(first: float) -> None:
    world = World(ban_time=first)
    for number in range(14):
        expected = min(first * 2**number, max(first, LONGEST_BAN))
        world.fail(times=4)
        assert world.fail(times=10) == 0.0  # which changes nothing
        world.clock.advance(expected * 0.98)
        assert world.bans.is_banned(ATTACKER), number
        world.clock.advance(expected * 0.03)
        assert not world.bans.is_banned(ATTACKER), number


# ---------------------------------------------------------------- what nobody judged


def test_what_is_left_of_others_does_not_bring_a_ban_forward() -> None:
    for before in (False, True):
        world = World(ban_after=10)
        world.bans.failed(ATTACKER, is_judged=before)
        world.clock.advance(FORGET * 0.95 * before)
        world.fail(times=9)
        assert not world.bans.is_banned(ATTACKER)
        world.fail()
        assert world.bans.is_banned(ATTACKER)


def test_what_nobody_judged_counts_little() -> None:
    world = World(ban_after=3)
    assert [world.bans.failed(ATTACKER, is_judged=False) for _ in range(2)] == [0.5, 0.5]
    for _ in range(20):
        assert not world.bans.is_banned(ATTACKER)
        world.bans.failed(ATTACKER, is_judged=False)
    for _ in range(20):
        world.bans.failed(ATTACKER, is_judged=False)
    assert world.bans.is_banned(ATTACKER)


# ---------------------------------------------------------------- forgetting


def test_failures_are_forgotten(world: World) -> None:
    world.fail(times=3)
    world.clock.advance(FORGET * 3)
    assert world.fail() == 0.5
    world.clock.advance(FORGET * 10)
    assert world.fail() == 0.5


def test_bans_are_forgotten_after_their_end(world: World) -> None:
    world.fail(times=4)
    world.clock.advance(60 + FORGET_BAN)
    world.fail(times=4)
    world.clock.advance(60)
    assert not world.bans.is_banned(ATTACKER)


def test_nothing_is_forgotten_during_a_ban() -> None:
    world = World(ban_time=FORGET_BAN / 2)
    world.fail(times=4)
    world.clock.advance(FORGET_BAN / 2)
    world.fail(times=4)
    world.clock.advance(FORGET_BAN * 0.99)
    assert world.bans.is_banned(ATTACKER)


# ---------------------------------------------------------------- logins that succeed


def test_a_login_halves_the_score(world: World) -> None:
    world.fail(OTHER, 3)
    world.fail(times=3)
    world.bans.succeeded(ATTACKER)  # half of three is one and a half
    assert world.fail() > 0
    assert world.fail() == 0.0
    assert world.bans.is_banned(ATTACKER)
    assert world.fail(OTHER) == 0.0  # of whom it says nothing


def test_an_account_of_ones_own_does_not_help_to_guess_others(world: World) -> None:
    """Wrong, right, wrong, right ..."""
    for _ in range(5):
        world.fail()
        world.bans.succeeded(ATTACKER)
    assert world.bans.is_banned(ATTACKER)


def test_the_score_is_halved_again_after_an_hour(world: World) -> None:
    world.bans.succeeded(ATTACKER)  # of whom nothing is known
    world.fail()
    world.bans.succeeded(ATTACKER)
    world.clock.advance(PARDON_INTERVAL)
    world.fail(times=3)
    world.bans.succeeded(ATTACKER)
    assert world.fail() > 0
    assert not world.bans.is_banned(ATTACKER)


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "client",
    ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "", "203.0.113.1", "2001:db8::1"],
)
def test_this_host_is_never_banned(client: str, world: World) -> None:
    world.ours.update(("203.0.113.1", "2001:db8::1"))
    assert world.fail(client, 20) == 0.0
    assert not world.bans.is_banned(client)
    world.fail(OTHER, 4)
    assert not world.bans.is_banned(client)


def test_an_address_of_this_host_stays_free_in_a_banned_network_also_once_it_is_known(
    world: World,
) -> None:
    world.fail("2001:db8::2", 4)
    assert world.bans.is_banned("2001:db8::1")
    world.ours.add("2001:db8::1")
    assert not world.bans.is_banned("2001:db8::1")
    assert world.bans.is_banned("2001:db8::2")


def test_listed_networks_are_never_banned() -> None:
    world = World(ban_exempt=Networks.parse("198.51.100.7,2001:db8::/32"))
    assert world.fail(ATTACKER, 20) == world.fail("2001:db8::1", 20) == 0.0
    assert world.bans.open_bans == 0
    world.fail(OTHER, 4)
    assert world.bans.is_banned(OTHER)


@pytest.mark.parametrize(
    ("failed", "banned", "others", "name"),
    [
        (
            "2001:db8:1:2::{}",
            "2001:db8:1:2:ffff::1",
            "2001:db8:1:3::1 32.1.13.184",
            "2001:db8:1:2::/64",
        ),
        ("::ffff:198.51.100.7", ATTACKER, OTHER, ATTACKER),
        ("fe80::1%lo", "fe80::1%lo", "fe80::2%lo", "fe80::1"),
    ],
)
def test_ipv6_counts_by_its_64_but_for_link_local_addresses(
    failed: str, banned: str, others: str, name: str, world: World, log: list[str]
) -> None:
    for number in range(4):
        world.fail(failed.format(number))
    assert world.bans.is_banned(banned)
    assert not any(map(world.bans.is_banned, others.split()))
    assert log == [f"failed logins: {name} is banned for 60 s"]


# ---------------------------------------------------------------- the table


@pytest.fixture
def small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ADDRESSES", 8)


@pytest.mark.usefixtures("small_table")
def test_the_table_is_bounded_and_keeps_the_harmful(world: World) -> None:
    world.fail(ATTACKER, 4)
    world.fail(OTHER, 3)
    for number in range(100):
        world.fail(f"192.0.2.{number}")
    world.fail("192.0.2.0", 3)
    assert not world.bans.is_banned("192.0.2.0")  # its first failure is forgotten
    assert world.bans.is_banned(ATTACKER)
    assert world.fail(OTHER) == 0.0
    assert world.bans.is_banned(OTHER)


@pytest.mark.usefixtures("small_table")
def test_past_bans_count_for_more_than_failures(world: World) -> None:
    world.fail(ATTACKER, 4)
    world.clock.advance(61)
    for number in range(20):
        world.fail(f"192.0.2.{number}", 3)
    world.fail(ATTACKER, 4)
    world.clock.advance(61)
    assert world.bans.is_banned(ATTACKER)


@pytest.mark.usefixtures("small_table")
def test_a_table_full_of_bans_loses_one(world: World, log: list[str]) -> None:
    for number in range(9):
        world.fail(f"192.0.2.{number}", 4)
        world.clock.advance(1)
    assert not world.bans.is_banned("192.0.2.0")
    assert world.bans.open_bans == 8
    log.clear()
    world.clock.advance(51.5)  # when its ban would have ended, and the next one's has
    assert log == []
    world.clock.advance(1)
    assert log == ["failed logins: 192.0.2.1 is no longer banned"]


@pytest.mark.usefixtures("small_table")
def test_ends_of_bans_that_the_table_lost_are_not_kept_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(ban_time=LONGEST_BAN)
    for number in range(200):
        world.fail(f"198.18.0.{number}", 4)
        world.clock.advance(1)
    awaited: list[float] = []
    later = world.clock.callLater
    monkeypatch.setattr(
        world.clock, "callLater", lambda delay, end: awaited.append(delay) or later(delay, end)
    )
    world.clock.advance(LONGEST_BAN - 201)
    world.clock.pump([1] * 201)
    assert world.bans.open_bans == 0
    assert world.clock.getDelayedCalls() == []
    assert len(awaited) <= 16


# ---------------------------------------------------------------- the log


def test_a_ban_is_a_line_when_it_begins_and_when_it_ends(world: World, log: list[str]) -> None:
    world.fail(times=3)
    assert log == []
    world.fail()
    world.clock.advance(1)
    world.fail("2001:db8::1", 4)
    assert log == [
        "failed logins: 198.51.100.7 is banned for 60 s",
        "failed logins: 2001:db8::/64 is banned for 60 s",
    ]
    world.clock.advance(60)
    assert log[2:] == [
        "failed logins: 198.51.100.7 is no longer banned",
        "failed logins: 2001:db8::/64 is no longer banned",
    ]
    assert world.clock.getDelayedCalls() == []


def test_a_ban_is_over_whatever_was_done_to_the_time_of_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monotonic = Clock()
    monkeypatch.setattr(deadlines, "monotonic", monotonic.seconds)
    bans = Bans(TimeOfDay(), Settings(ban_after=1), set[str]().__contains__)
    bans.failed(ATTACKER)
    monotonic.advance(59)
    assert bans.is_banned(ATTACKER)
    monotonic.advance(1)
    assert not bans.is_banned(ATTACKER)


def test_many_bans_are_few_lines(world: World, log: list[str]) -> None:
    for number in range(50):
        world.fail(f"192.0.2.{number}", 4)
    assert len(log) == 10
    world.clock.advance(60)
    assert len(log) == 20
    assert log[10].endswith("is no longer banned; 40 bans began or ended without a line")
