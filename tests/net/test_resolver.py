"""Names to addresses: what is a name, whom to ask, what is remembered, how much may wait."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet._resolver import GAIResolver
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import DNSLookupError
from twisted.python.failure import Failure

from socks5.net import resolver as resolve
from socks5.net.lookups import Outcome
from socks5.net.resolver import Resolver
from socks5.outbound.failures import reply_for
from socks5.settings import NameSource, OutgoingFamily
from tests.support.lookups import Stoppable
from tests.support.providers import FakeLookup
from tests.support.reactor import FakeReactor
from tests.support.transports import CLIENT
from tests.support.values import settings_and_capacity

NAME = b"example.org"
HOSTS = ("192.0.2.1", "2001:db8::1")


class World:
    """A resolver, the clock and the system that it asks."""

    def __init__(self, **settings: Any) -> None:
        self.reactor = FakeReactor()
        self.settings, self.capacity = settings_and_capacity(**settings)
        self.lookup = FakeLookup()
        self.resolver = Resolver(self.reactor, self.settings, self.capacity, self.lookup)

    def wait(
        self, name: bytes = NAME, client: str = CLIENT.host
    ) -> tuple[Deferred[Sequence[str]], list[Any]]:
        """Resolve *name*: the Deferred, and the list in which its outcome will be."""
        wait, given = self.resolver.resolve(name, client), []
        wait.addBoth(given.append)
        return wait, given

    def ask(self, name: bytes = NAME, client: str = CLIENT.host) -> list[Any]:
        return self.wait(name, client)[1]


@pytest.fixture
def world() -> World:
    return World()


def unknown(given: list[Any]) -> bool:
    """Whether the outcome is "no such name", which becomes reply 4."""
    [failure] = given
    return (
        isinstance(failure, Failure)
        and bool(failure.check(DNSLookupError))
        and reply_for(failure) == 4
    )


def test_equal_names_share_one_lookup(world: World) -> None:
    given = [world.ask(name) for name in (NAME, NAME, b"EXAMPLE.org", b"other.example")]
    assert unknown(world.ask(b"exa mple.org"))  # which is none
    assert world.lookup.asked == ["example.org", "other.example"]
    world.lookup.answer("example.org", HOSTS)
    assert given == [[HOSTS], [HOSTS], [HOSTS], []]


# ---------------------------------------------------------------- the cache, and time-outs


def answered(
    world: World, name: bytes = NAME, hosts: Sequence[str] = HOSTS, client: str = CLIENT.host
) -> list[Any]:
    """Resolve *name*; the system answers if it is asked."""
    given = world.ask(name, client)
    world.lookup.answer(name.decode(), hosts)
    return given


def test_the_cache_is_bounded_and_the_least_recently_used_makes_room() -> None:
    """A new answer counts as use."""
    world = World(names_cached=2, name_lifetime=30.0)
    answered(world, b"one")
    world.reactor.advance(1)
    answered(world, b"two")
    answered(world, b"one")
    answered(world, b"three")
    assert answered(world, b"one") == answered(world, b"three") == [HOSTS]
    assert world.lookup.asked == ["one", "two", "three"]
    world.reactor.advance(29)
    for name in (b"one", b"four", b"one", b"three"):
        answered(world, name)
    assert world.lookup.asked[3:] == ["one", "four", "three"]
    none = World(names_cached=0)
    assert answered(none) == answered(none) == [HOSTS]
    assert none.lookup.asked == ["example.org"] * 2


def test_each_who_waits_has_the_whole_time_and_a_lookup_that_runs_is_not_begun_again() -> None:
    """It may still hold its thread: another would hold one more."""
    world = World(resolve_timeout=10.0)
    first = world.ask()
    world.reactor.advance(6)
    second = world.ask()
    world.reactor.advance(3.999)
    assert first == []
    world.reactor.advance(0.001)
    assert (unknown(first), second) == (True, [])
    world.reactor.advance(5.999)
    world.lookup.answer("example.org", HOSTS)
    assert second == [HOSTS]
    assert world.lookup.asked == ["example.org"]


# ---------------------------------------------------------------- whose turn it is

ONE, OTHER, THIRD = "198.51.100.7", "198.51.100.8", "2001:db8::7"


class Threads(World):
    """One whose lookups cannot be stopped. A client may have one in eight of *threads*."""

    def __init__(self, threads: int = 16, **settings: Any) -> None:
        super().__init__(resolver_threads=threads, **settings)


def test_a_client_has_a_share_of_the_lookups_and_others_have_theirs() -> None:
    """One of IPv6 is its /64. And a name that is remembered needs none."""
    world = Threads()
    mine = [world.ask(b"hangs%d" % number, f"2001:db8::{number}") for number in range(30)]
    assert world.lookup.asked == ["hangs0", "hangs1"]
    others = world.ask(b"answered", "2001:db8:0:1::1")
    assert world.lookup.asked[2:] == ["answered"]
    world.lookup.answer("answered", HOSTS)
    assert (others, mine) == ([HOSTS], [[]] * 30)
    assert world.ask(b"answered", "2001:db8::1") == [HOSTS]


def test_the_earliest_turn_of_all_who_wait_for_a_name_counts() -> None:
    world = Threads(4)
    world.ask(b"hangs", ONE)
    first = [world.ask(b"queued", ONE), world.ask(b"behind", ONE)]
    second = world.ask(b"queued", OTHER)
    assert world.lookup.asked == ["hangs", "queued"]
    world.lookup.answer("queued", HOSTS)
    assert (first[0], second) == ([HOSTS], [HOSTS])
    world.lookup.answer("hangs", HOSTS)
    assert world.lookup.asked == ["hangs", "queued", "behind"]


def test_only_so_many_names_of_one_client_wait_and_others_notice_nothing() -> None:
    world = Threads(4, names_waiting_per_client=2)
    waiting = [world.ask(name) for name in (b"hangs", b"one", b"two")]
    assert unknown(world.ask(b"three"))
    assert waiting == [[], [], []]
    answered(world, b"four", client=OTHER)
    world.lookup.answer("hangs", HOSTS)
    world.lookup.answer("one", HOSTS)
    assert waiting == [[HOSTS], [HOSTS], []]
    world.lookup.answer("two", HOSTS)
    assert answered(world, b"three") == [HOSTS]  # for it was not remembered as unknown


def test_only_so_many_names_wait_in_all_but_the_first_of_each_client() -> None:
    world = Threads(4, names_waiting=1)
    for number, client in enumerate((ONE, OTHER)):
        for name in (b"hangs%d", b"waits%d"):
            assert world.ask(name % number, client) == []
        assert unknown(world.ask(b"too-many", client))


@pytest.mark.parametrize("way", ["time-out", "cancel"])
def test_a_lookup_that_cannot_be_stopped_takes_room_of_its_client_until_it_is_over(
    way: str,
) -> None:
    """However many give up on it: or names that hang would queue for threads without end. What it finds is kept."""
    world = Threads(4, resolve_timeout=10.0)
    wait, given = world.wait(b"hangs")
    world.reactor.advance(10) if way == "time-out" else wait.cancel()
    assert len(given) == 1
    world.ask(b"next")
    assert answered(world, b"other", client=OTHER) == [HOSTS]
    assert world.lookup.asked == ["hangs", "other"]
    world.lookup.answer("hangs", HOSTS)
    assert world.ask(b"hangs") == [HOSTS]
    assert world.lookup.asked == ["hangs", "other", "next"]


@pytest.mark.parametrize("way", ["time-out", "cancel"])
def test_a_name_that_nobody_waits_for_any_more_leaves_the_queue(way: str) -> None:
    """It takes neither room nor, later, a thread: who asks and leaves holds nobody up."""
    world = Threads(4, names_waiting_per_client=1, resolve_timeout=10.0)
    world.ask(b"hangs")
    wait, given = world.wait(b"queued")
    assert unknown(world.ask(b"no-room"))
    world.reactor.advance(10) if way == "time-out" else wait.cancel()
    assert len(given) == 1
    later = world.ask(b"later")
    assert later == []
    world.lookup.answer("hangs")
    assert world.lookup.asked == ["hangs", "later"]
    world.lookup.answer("later", HOSTS)
    assert later == [HOSTS]


@pytest.mark.parametrize("client", [ONE, OTHER])
def test_a_queued_name_stays_for_the_others_who_wait_for_it(client: str) -> None:
    world = Threads(4)
    world.ask(b"hangs", ONE)
    world.ask(b"hangs2", OTHER)
    wait, _ = world.wait(b"queued", ONE)
    stays = world.ask(b"queued", client)
    wait.cancel()
    world.lookup.answer("hangs")
    world.lookup.answer("hangs2")
    world.lookup.answer("queued", HOSTS)
    assert stays == [HOSTS]


@pytest.mark.parametrize("lifetime", [30.0, 0.0])
def test_one_who_is_told_may_cancel_another(lifetime: float) -> None:
    """Even if the same name is looked up anew by then."""
    world = World(name_lifetime=lifetime)
    first, told = world.wait()
    second, left = world.wait()
    third = world.ask()
    again: list[Any] = []

    def cancel(hosts: Sequence[str]) -> None:
        again.extend(world.wait()[1:])
        second.cancel()

    first.addCallback(lambda _: cancel(HOSTS))
    world.lookup.answer("example.org", HOSTS)
    assert told == third == [HOSTS]
    assert left[0].check(CancelledError)
    world.lookup.answer("example.org", HOSTS)
    assert again == [[HOSTS]]


# ---------------------------------------------------------------- lookups that can be stopped


class Asking(World):
    """A resolver that asks name servers, which are in memory, and has a hosts file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.monkeypatch, self.path = monkeypatch, path
        path.write_text("192.0.2.50 printer.example printer\n")
        monkeypatch.setattr(resolve, "HOSTS", str(path))
        self.begin_with()

    def begin_with(self, **settings: Any) -> None:
        """A new resolver, with these settings."""
        super().__init__(**settings)
        self.lookups = Stoppable()
        self.monkeypatch.setattr(resolve, "NameServerLookups", self._look_up_by)
        self.reactor.nameResolver = GAIResolver(self.reactor, lambda: pytest.fail("a thread"))
        self.resolver = Resolver(self.reactor, self.settings, self.capacity)

    def _look_up_by(self, reactor: Any, path: str, family: Callable[[], Any]) -> Stoppable:
        self.family = family
        return self.lookups

    def answered(self, outcome: Outcome, name: bytes = NAME) -> list[Any]:
        given = self.ask(name)
        self.lookups.answer(name.decode(), outcome)
        return given


def test_name_servers_are_asked_for_the_families_that_the_settings_say(asking: Asking) -> None:
    asking.begin_with(outgoing_family=OutgoingFamily.IPV6)
    asking.ask()
    assert asking.family() is OutgoingFamily.IPV6


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asking:
    return Asking(monkeypatch, tmp_path / "hosts")


def test_a_lookup_that_is_given_up_is_stopped_and_its_place_is_free(asking: Asking) -> None:
    asking.begin_with(names_per_client=1, resolve_timeout=10.0)
    wait, _ = asking.wait(b"left")
    next_one = asking.ask(b"too-long")
    assert asking.lookups.asked == ["left"]
    wait.cancel()
    assert asking.lookups.asked == ["left", "too-long"]
    last = asking.ask(b"last")
    asking.reactor.advance(10)
    assert (unknown(next_one), unknown(last)) == (True, True)
    assert asking.lookups.under_way == {}
    assert asking.reactor.getDelayedCalls() == []


def test_a_lookup_that_takes_too_long_is_begun_anew_for_those_who_still_wait(
    asking: Asking,
) -> None:
    """However many come and go: one whose question was lost would leave all who join it without an answer."""
    asking.begin_with(names_at_once=1, names_per_client=1, resolve_timeout=10.0)
    given = []
    for seconds in (6, 6, 6, 1):
        given.append(asking.ask())
        asking.reactor.advance(seconds)
    assert asking.lookups.asked == ["example.org"] * 2
    waits = asking.ask(b"next")
    asking.lookups.answer("example.org", Outcome(HOSTS, 60))
    assert [unknown(each) for each in given[:2]] == [True, True]
    assert given[2:] == [[HOSTS], [HOSTS]]
    assert asking.lookups.asked[2:] == ["next"]
    asking.reactor.advance(10)
    assert unknown(waits)
    assert (asking.lookups.under_way, asking.reactor.getDelayedCalls()) == ({}, [])


def test_a_lookup_that_cannot_begin_costs_no_place(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking.begin_with(names_at_once=1, names_per_client=1)
    with monkeypatch.context() as broken:
        broken.setattr(asking.lookups, "begin", lambda *_: 1 // 0)
        assert asking.ask()[0].check(ZeroDivisionError)  # a bug comes out as what it is
    assert asking.answered(Outcome(HOSTS, 60)) == [HOSTS]


def test_a_lookup_whose_first_client_has_left_is_in_another_s_share(asking: Asking) -> None:
    asking.begin_with(names_per_client=1)
    wait, _ = asking.wait(b"shared", ONE)
    stays = asking.ask(b"shared", OTHER)
    again, _ = asking.wait(b"shared", ONE)
    asking.wait(b"shared", THIRD)[0].cancel()
    asking.ask(b"one", ONE)
    again.cancel()
    assert asking.lookups.asked == ["shared"]
    wait.cancel()
    assert asking.lookups.asked == ["shared", "one"]
    asking.ask(b"other", OTHER)
    assert asking.lookups.asked == ["shared", "one"]
    asking.lookups.answer("shared", Outcome(HOSTS, 60))
    assert stays == [HOSTS]
    assert asking.lookups.asked == ["shared", "one", "other"]


# ---------------------------------------------------------------- names that nobody need be asked for, and lifetimes


@pytest.mark.parametrize("name", [b"printer", b"Printer.Example", b"printer.example."])
def test_names_of_the_hosts_file_never_wait(asking: Asking, name: bytes) -> None:
    asking.begin_with(names_per_client=1, names_waiting_per_client=1)
    asking.ask(b"dead")
    asking.ask(b"dead2")
    assert asking.ask(name) == [("192.0.2.50",)]
    assert asking.lookups.asked == ["dead"]


def test_a_hosts_file_that_changes_is_read_again(asking: Asking) -> None:
    asking.ask(b"printer")
    asking.path.write_text("192.0.2.51 printer # it moved\n")
    asking.reactor.advance(1)
    assert asking.ask(b"printer") == [("192.0.2.51",)]
    asking.path.write_text("127.0.0.2 localhost\n")
    asking.reactor.advance(1)
    assert asking.ask(b"localhost") == [("127.0.0.2",)]
    asking.path.unlink()
    asking.reactor.advance(1)
    assert asking.ask(b"printer") == []
    assert asking.lookups.asked == ["printer"]


@pytest.mark.parametrize("name", [b"localhost", b"localhost.", b"LOCALHOST", b"app.localhost"])
def test_localhost_is_this_host(asking: Asking, name: bytes) -> None:
    assert asking.ask(name) == [("127.0.0.1", "::1")]


@pytest.mark.parametrize(
    ("said", "is_certain", "lifetime"),
    [
        (0, True, 5.0),
        (60, True, 60.0),
        (86400, True, 3600.0),
        (None, True, 30.0),
        (60, False, 30.0),
        (7, False, 7.0),
    ],
)
def test_an_answer_is_remembered_as_long_as_it_says_within_bounds(
    asking: Asking, said: float | None, is_certain: bool, lifetime: float
) -> None:
    asking.begin_with(name_stale_lifetime=0.0)
    asking.ask()
    asking.reactor.advance(5)
    asking.lookups.answer("example.org", Outcome(HOSTS, said, is_certain))
    asking.reactor.advance(lifetime - 0.125)
    assert asking.ask() == [HOSTS]
    asking.reactor.advance(0.125)
    assert asking.ask() == []


@pytest.mark.parametrize(("said", "lifetime"), [(1.0, 1.0), (900.0, 3.0), (None, 3.0)])
def test_a_denial_is_remembered_as_long_as_it_says_but_not_long(
    asking: Asking, said: float | None, lifetime: float
) -> None:
    assert unknown(asking.answered(Outcome((), said)))
    asking.reactor.advance(lifetime - 0.001)
    assert unknown(asking.ask())
    asking.reactor.advance(0.001)
    assert asking.ask() == []


def test_denials_push_no_addresses_out(asking: Asking) -> None:
    asking.begin_with(names_cached=2)
    asking.answered(Outcome(HOSTS, 60))
    for number in range(5):
        asking.answered(Outcome(()), b"made-up%d" % number)
    assert asking.ask() == [HOSTS]
    assert asking.ask(b"made-up0") == []


# ---------------------------------------------------------------- answers whose time is over, or that do not work


def expired(asking: Asking, **settings: Any) -> None:
    """An answer is known whose time is over."""
    asking.begin_with(**settings)
    asking.answered(Outcome(HOSTS, 60))
    asking.lookups.asked.clear()
    asking.reactor.advance(60)


def test_a_stale_answer_serves_while_a_refresh_takes_long(asking: Asking) -> None:
    expired(asking)
    given = asking.ask()
    asking.reactor.advance(0.999)
    assert (given, asking.lookups.asked) == ([], ["example.org"])
    asking.reactor.advance(0.001)
    assert given == [HOSTS]
    assert asking.ask() == [HOSTS]
    asking.lookups.answer("example.org", Outcome(("192.0.2.9",), 60))
    assert asking.ask() == [("192.0.2.9",)]
    assert asking.lookups.asked == ["example.org"]


def test_a_refresh_in_time_is_what_counts(asking: Asking) -> None:
    expired(asking)
    given = asking.ask()
    asking.lookups.answer("example.org", Outcome(("192.0.2.9",), 60))
    assert given == [("192.0.2.9",)]
    asking.reactor.advance(60)
    assert asking.reactor.getDelayedCalls() == []
    given = asking.ask()
    asking.lookups.answer("example.org", Outcome(()))
    assert unknown(given)
    assert unknown(asking.ask())


def test_a_stale_answer_serves_where_no_server_answers(asking: Asking) -> None:
    expired(asking)
    given = asking.ask()
    asking.lookups.answer("example.org", Outcome((), is_certain=False))
    assert given == asking.ask() == [HOSTS]
    asking.reactor.advance(3)
    assert asking.ask() == []
    assert asking.lookups.asked == ["example.org"] * 2


def test_a_stale_answer_is_not_kept_for_ever(asking: Asking) -> None:
    expired(asking, name_stale_lifetime=100.0)
    given = asking.ask()
    asking.reactor.advance(1)
    assert given == [HOSTS]
    asking.reactor.advance(98.5)
    last = asking.ask()
    asking.reactor.advance(1)  # for which it waits, until it is over
    assert last == []
    asking.reactor.advance(9)
    assert unknown(last)


@pytest.mark.parametrize("comes", [False, True])
def test_a_refresh_ends_unless_one_has_come_to_it(asking: Asking, comes: bool) -> None:
    expired(asking, resolve_timeout=10.0, name_stale_lifetime=5.0)
    asking.ask()
    asking.reactor.pump([1, 4])
    late = asking.ask() if comes else []
    asking.reactor.advance(4.999)
    assert list(asking.lookups.under_way) == ["example.org"]
    asking.reactor.advance(0.001)
    assert list(asking.lookups.under_way) == ["example.org"] * comes
    if comes:
        asking.lookups.answer("example.org", Outcome(HOSTS, 60))
        assert late == [HOSTS]
    asking.reactor.advance(10)
    assert asking.reactor.getDelayedCalls() == []


def test_a_name_that_waits_for_its_turn_is_served_stale_too(asking: Asking) -> None:
    expired(asking, names_per_client=1)
    asking.ask(b"dead")
    given = asking.ask()
    asking.reactor.advance(1)
    assert given == [HOSTS]
    assert asking.lookups.asked == ["dead"]


def test_addresses_that_one_has_not_reached_serve_the_others_if_nobody_knows_better(
    asking: Asking,
) -> None:
    """A connection that is refused, at whatever port, takes no name away, and causes few lookups."""
    asking.answered(Outcome(HOSTS, 60))
    asking.reactor.advance(2.5)
    for name in (NAME, b"unknown.example", b"no name"):  # the first was asked for just now
        asking.resolver.failed(name)
    assert asking.ask() == [HOSTS]
    asking.reactor.advance(0.5)
    asking.resolver.failed(b"Example.org")
    given = asking.ask()
    assert given == []
    asking.lookups.answer("example.org", Outcome((), is_certain=False))
    for _ in range(3):
        asking.resolver.failed(NAME)
        assert given == asking.ask() == [HOSTS]
    assert asking.lookups.asked == ["example.org"] * 2
    asking.reactor.advance(3)
    given = asking.ask()
    asking.reactor.advance(1)
    assert given == [HOSTS]


# ---------------------------------------------------------------- whom to ask


def test_an_installed_resolver_is_asked_whatever_the_hosts_file_says(asking: Asking) -> None:
    asking.reactor.installNameResolver(lookup := FakeLookup({"printer": HOSTS}))
    assert asking.ask(b"printer") == [HOSTS]
    assert lookup.asked == ["printer"]
    asking.resolver.close()


def test_the_system_s_resolver_is_asked_in_threads_of_its_own(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    class System(Stoppable):
        def __init__(self, reactor: Any, threads: int) -> None:
            super().__init__()
            self.threads, self.closed = threads, 0
            made.append(self)

        def close(self) -> None:
            self.closed += 1

    monkeypatch.setattr(resolve, "SystemLookups", System)
    asking.begin_with(resolver=NameSource.SYSTEM, resolver_threads=16)
    asking.resolver.close()  # which has asked nobody yet
    assert made == []
    assert asking.ask(b"printer") == [("192.0.2.50",)]
    for number in range(3):
        asking.ask(b"name%d" % number)
    [system] = made
    assert system.threads == 16
    assert system.asked == ["name0", "name1"]
    [(close, arguments, named)] = asking.reactor.triggers["during"]["shutdown"]
    close(*arguments, **named)
    asking.resolver.close()
    assert system.closed == 2
