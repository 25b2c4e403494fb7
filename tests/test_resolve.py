"""Names to addresses: what is a name, whom to ask, what is remembered, how much may wait."""

import socket
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import pytest_twisted
from twisted.internet._resolver import GAIResolver
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import DNSLookupError
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from socks5 import resolve
from socks5.interfaces import IResolver
from socks5.replies import reply_for
from socks5.resolve import Resolver
from socks5.settings import Settings
from tests.fakes import CLIENT, FakeLookup, FakeReactor
from tests.sockets.wires import until

# ---------------------------------------------------------------- lookups

NAME = b"example.org"
HOSTS = ("192.0.2.1", "2001:db8::1")


class World:
    """A resolver, the clock and the system that it asks."""

    def __init__(self, **settings: Any) -> None:
        self.reactor = FakeReactor()
        self.settings = Settings(**settings)
        self.lookup = FakeLookup()
        self.resolver = Resolver(self.reactor, self.settings, self.lookup)

    def wait(
        self, name: bytes = NAME, client: str = CLIENT.host
    ) -> tuple[Deferred[Sequence[str]], list[Any]]:
        """Resolve *name*: the Deferred, and the list in which its outcome will be."""
        wait, given = self.resolver.resolve(name, client), []
        wait.addBoth(given.append)
        return wait, given

    def ask(self, name: bytes = NAME) -> list[Any]:
        return self.wait(name)[1]


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


def test_a_name_gives_its_addresses_in_the_system_s_order(world: World) -> None:
    assert verifyObject(IResolver, world.resolver)
    given = world.ask()
    assert given == []
    world.lookup.answer("example.org", ["2001:db8::1", "192.0.2.1", "192.0.2.0"])
    assert given == [("2001:db8::1", "192.0.2.1", "192.0.2.0")]


def test_each_address_is_given_once_and_unmapped(world: World) -> None:
    given = world.ask()
    world.lookup.answer("example.org", ["192.0.2.1", "::ffff:192.0.2.1", "::1", "::1"])
    assert given == [("192.0.2.1", "::1")]


def test_a_name_without_addresses_is_unknown(world: World) -> None:
    given = world.ask()
    world.lookup.answer("example.org")
    assert unknown(given)


def test_a_system_that_answers_at_once(world: World) -> None:
    world.lookup.answers["example.org"] = list(HOSTS)
    assert world.ask() == [HOSTS]
    world.reactor.advance(world.settings.resolve_timeout)
    assert world.reactor.getDelayedCalls() == []


def test_a_name_goes_out_in_idna_form(world: World) -> None:
    world.ask("bücher.example".encode())
    assert world.lookup.asked == ["xn--bcher-kva.example"]


def test_equal_names_share_one_lookup(world: World) -> None:
    given = [world.ask(name) for name in (NAME, NAME, b"EXAMPLE.org", b"other.example")]
    assert world.lookup.asked == ["example.org", "other.example"]
    world.lookup.answer("example.org", HOSTS)
    assert given == [[HOSTS], [HOSTS], [HOSTS], []]


def test_an_unknown_name_is_unknown_to_all_who_share(world: World) -> None:
    given = [world.ask(), world.ask()]
    world.lookup.answer("example.org")
    assert all(unknown(each) for each in given)


def test_a_bad_name_is_never_looked_up(world: World) -> None:
    assert unknown(world.ask(b"exa mple.org"))
    assert world.lookup.asked == []


def test_a_resolver_that_breaks_fails_and_is_asked_again(world: World) -> None:
    """A bug comes out as what it is, and is not remembered as an answer."""

    def broken(*arguments: Any) -> Any:
        raise ZeroDivisionError

    ask, world.lookup.resolveHostName = world.lookup.resolveHostName, broken
    assert world.ask()[0].check(ZeroDivisionError)
    world.lookup.resolveHostName = ask
    world.lookup.answers["example.org"] = list(HOSTS)
    assert world.ask() == [HOSTS]


# ---------------------------------------------------------------- the cache


def answered(world: World, name: bytes = NAME, hosts: Sequence[str] = HOSTS) -> list[Any]:
    """Resolve *name*; the system answers if it is asked."""
    given = world.ask(name)
    world.lookup.answer(name.decode(), hosts)
    return given


def test_an_answer_is_remembered_for_its_lifetime() -> None:
    world = World(name_lifetime=30.0)
    answered(world)
    world.reactor.advance(29.999)
    assert world.ask() == [HOSTS]
    assert world.lookup.asked == ["example.org"]
    world.reactor.advance(0.001)
    assert answered(world, hosts=["192.0.2.9"]) == [("192.0.2.9",)]
    assert world.lookup.asked == ["example.org"] * 2


def test_the_lifetime_counts_from_the_answer() -> None:
    world = World(name_lifetime=30.0)
    given = world.ask()
    world.reactor.advance(5)
    world.lookup.answer("example.org", HOSTS)
    world.reactor.advance(29.999)
    assert given == world.ask() == [HOSTS]
    assert len(world.lookup.asked) == 1


def test_a_failure_is_remembered_for_a_short_while() -> None:
    world = World(name_failure_lifetime=3.0)
    assert unknown(answered(world, hosts=[]))
    world.reactor.advance(2.999)
    assert unknown(world.ask())
    assert len(world.lookup.asked) == 1
    world.reactor.advance(0.001)
    assert answered(world) == [HOSTS]


def test_the_cache_is_bounded_and_the_least_recently_used_makes_room() -> None:
    world = World(names_cached=3)
    names = [b"one", b"two", b"three"]
    for name in names:
        answered(world, name)
    world.ask(b"one")
    answered(world, b"four")
    world.lookup.asked.clear()
    for name in (b"three", b"four", b"one"):
        assert answered(world, name) == [HOSTS]
    assert world.lookup.asked == []
    answered(world, b"two")
    assert world.lookup.asked == ["two"]


def test_a_new_answer_counts_as_use() -> None:
    world = World(names_cached=2, name_lifetime=30.0)
    answered(world, b"one")
    world.reactor.advance(1)
    answered(world, b"two")
    world.reactor.advance(29)
    answered(world, b"one")
    answered(world, b"three")
    world.lookup.asked.clear()
    world.ask(b"one")
    assert world.lookup.asked == []


def test_without_room_nothing_is_remembered() -> None:
    world = World(names_cached=0)
    assert answered(world) == [HOSTS]
    assert answered(world) == [HOSTS]
    assert len(world.lookup.asked) == 2


# ---------------------------------------------------------------- time-outs


def test_a_name_that_takes_too_long_fails() -> None:
    world = World(resolve_timeout=10.0)
    given = world.ask()
    world.reactor.advance(9.999)
    assert given == []
    world.reactor.advance(0.001)
    assert unknown(given)
    assert world.reactor.getDelayedCalls() == []


def test_each_who_waits_has_the_whole_time() -> None:
    world = World(resolve_timeout=10.0)
    first = world.ask()
    world.reactor.advance(6)
    second = world.ask()
    world.reactor.advance(4)
    assert (unknown(first), second) == (True, [])
    world.reactor.advance(5.999)
    world.lookup.answer("example.org", HOSTS)
    assert second == [HOSTS]


def test_a_lookup_that_runs_is_not_begun_again_after_a_time_out() -> None:
    """It may still hold its thread: another would hold one more."""
    world = World(resolve_timeout=10.0)
    world.ask()
    world.reactor.advance(10)
    second = world.ask()
    assert world.lookup.asked == ["example.org"]
    world.lookup.answer("example.org", HOSTS)
    assert second == [HOSTS]


def test_an_answer_that_comes_too_late_is_remembered() -> None:
    world = World(resolve_timeout=10.0)
    given = world.ask()
    world.reactor.advance(11)
    world.lookup.answer("example.org", HOSTS)
    assert unknown(given)
    assert world.ask() == [HOSTS]
    assert world.lookup.asked == ["example.org"]


# ---------------------------------------------------------------- how much may wait


def test_only_so_many_names_are_looked_up_at_a_time() -> None:
    world = World(names_waiting=2)
    waiting = [world.ask(b"one"), world.ask(b"two")]
    assert unknown(world.ask(b"three"))
    assert world.lookup.asked == ["one", "two"]
    assert waiting == [[], []]
    shared = world.ask(b"one")
    world.lookup.answer("one", HOSTS)
    assert (waiting[0], shared) == ([HOSTS], [HOSTS])
    world.ask(b"three")
    assert world.lookup.asked == ["one", "two", "three"]


def test_a_refusal_for_want_of_room_is_not_remembered() -> None:
    world = World(names_waiting=1)
    world.ask(b"one")
    assert unknown(world.ask(b"two"))
    world.lookup.answer("one", HOSTS)
    assert answered(world, b"two") == [HOSTS]


def test_a_remembered_name_needs_no_room() -> None:
    world = World(names_waiting=1)
    answered(world, b"one")
    world.ask(b"two")
    assert world.ask(b"one") == [HOSTS]


@pytest.mark.parametrize("way", ["time-out", "cancel"])
def test_a_lookup_takes_room_until_it_is_over(way: str) -> None:
    """However many give up on it: or names that hang would queue for threads without end."""
    world = World(names_waiting=1, resolve_timeout=10.0)
    wait, given = world.wait(b"hangs")
    world.reactor.advance(10) if way == "time-out" else wait.cancel()
    assert len(given) == 1
    assert unknown(world.ask(b"other"))
    assert world.lookup.asked == ["hangs"]
    world.lookup.answer("hangs")
    assert answered(world, b"other") == [HOSTS]


def test_names_wait_in_order_for_a_thread() -> None:
    world = World(resolver_threads=2)
    given = [world.ask(name) for name in (b"one", b"two", b"three", b"four", b"three")]
    assert world.lookup.asked == ["one", "two"]
    world.lookup.answer("two", HOSTS)
    assert world.lookup.asked == ["one", "two", "three"]
    world.lookup.answer("three", HOSTS)
    assert world.lookup.asked == ["one", "two", "three", "four"]
    assert given == [[], [HOSTS], [HOSTS], [], [HOSTS]]


@pytest.mark.parametrize("way", ["time-out", "cancel"])
def test_a_name_that_nobody_waits_for_any_more_leaves_the_queue(way: str) -> None:
    """It takes neither room nor, later, a thread: who asks and leaves holds nobody up."""
    world = World(resolver_threads=1, names_waiting=2, resolve_timeout=10.0)
    world.ask(b"hangs")
    wait, given = world.wait(b"queued")
    assert unknown(world.ask(b"no room"))
    world.reactor.advance(10) if way == "time-out" else wait.cancel()
    assert len(given) == 1
    later = world.ask(b"later")
    assert later == []
    world.lookup.answer("hangs")
    assert world.lookup.asked == ["hangs", "later"]
    world.lookup.answer("later", HOSTS)
    assert later == [HOSTS]


def test_a_queued_name_stays_for_the_others_who_wait_for_it() -> None:
    world = World(resolver_threads=1)
    world.ask(b"hangs")
    wait, _ = world.wait(b"queued")
    stays = world.ask(b"queued")
    wait.cancel()
    world.lookup.answer("hangs")
    world.lookup.answer("queued", HOSTS)
    assert stays == [HOSTS]


def test_any_number_of_queued_names_may_be_answered_at_once() -> None:
    """From memory, say: one after the other, not one inside the other."""
    names = [f"name{number}" for number in range(2000)]
    world = World(resolver_threads=1, names_waiting=3000)
    world.ask(b"hangs")
    given = [world.ask(name.encode()) for name in names]
    world.lookup.answers = dict.fromkeys(names, HOSTS)
    world.lookup.answer("hangs")
    assert given == [[HOSTS]] * len(names)
    assert world.lookup.asked == ["hangs", *names]


# ---------------------------------------------------------------- cancelling


def test_one_who_leaves_gets_nothing_and_the_others_get_theirs(world: World) -> None:
    wait, left = world.wait()
    stays = world.ask()
    wait.cancel()
    assert left[0].check(CancelledError)
    world.lookup.answer("example.org", HOSTS)
    assert (len(left), stays) == (1, [HOSTS])


def test_an_answer_that_nobody_waits_for_is_remembered(world: World) -> None:
    wait, left = world.wait()
    wait.cancel()
    world.lookup.answer("example.org", HOSTS)
    assert len(left) == 1
    assert world.ask() == [HOSTS]


def test_one_who_left_has_no_time_out() -> None:
    world = World(resolve_timeout=10.0)
    wait, left = world.wait()
    wait.cancel()
    world.reactor.advance(20)
    assert len(left) == 1
    assert world.reactor.getDelayedCalls() == []


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


# ---------------------------------------------------------------- whom to ask


class Pool:
    """A thread pool of no threads."""

    made: list["Pool"]

    def __init__(self, least: int, most: int, name: str) -> None:
        self.size, self.name = (least, most), name
        self.calls: list[str] = []
        self.stopped = threading.Event()
        self.made.append(self)

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        where = "main" if threading.current_thread() is threading.main_thread() else "another"
        self.calls.append(f"stop in {where} thread")
        self.stopped.set()

    def callInThreadWithCallback(self, done: Any, call: Any, host: str, *rest: Any) -> None:  # noqa: N802
        self.calls.append(host)
        done(True, [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))])


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[Pool]:
    Pool.made = []
    monkeypatch.setattr(resolve, "ThreadPool", Pool)
    return Pool.made


def test_an_installed_resolver_is_asked(pools: list[Pool]) -> None:
    reactor = FakeReactor()
    resolver = Resolver(reactor, Settings())
    reactor.installNameResolver(lookup := FakeLookup({"example.org": HOSTS}))
    given: list[Any] = []
    resolver.resolve(NAME, CLIENT.host).addBoth(given.append)
    assert given == [HOSTS]
    assert lookup.asked == ["example.org"]
    resolver.close()
    assert pools == []


def test_the_reactor_s_own_way_gets_threads_of_its_own(pools: list[Pool]) -> None:
    """So that slow names do not hold up what else needs the reactor's."""
    reactor = FakeReactor()
    reactor.nameResolver = GAIResolver(reactor, lambda: pytest.fail("the reactor's own threads"))
    resolver = Resolver(reactor, Settings(resolver_threads=3))
    assert pools == []
    given: list[Any] = []
    for name in (b"one.example", b"two.example"):
        resolver.resolve(name, CLIENT.host).addBoth(given.append)
    reactor.turn()
    assert given == [("192.0.2.1",)] * 2
    [pool] = pools
    assert (pool.size, pool.name) == ((0, 3), "socks5-names")
    assert pool.calls == ["start", "one.example", "two.example"]


def test_the_threads_go_at_shutdown_without_holding_it_up(pools: list[Pool]) -> None:
    reactor = FakeReactor()
    reactor.nameResolver = GAIResolver(reactor, lambda: pytest.fail("the reactor's own threads"))
    resolver = Resolver(reactor, Settings())
    resolver.resolve(NAME, CLIENT.host)
    [(close, arguments, named)] = reactor.triggers["during"]["shutdown"]
    close(*arguments, **named)
    resolver.close()
    [pool] = pools
    assert pool.stopped.wait(10)
    assert pool.calls == ["start", "example.org", "stop in another thread"]


def test_closing_what_has_asked_nobody_does_nothing(world: World) -> None:
    world.resolver.close()


@pytest_twisted.ensureDeferred
async def test_real_threads_resolve_and_end() -> None:
    """A name that needs no name server: it stands in the hosts file, or the system knows it."""
    from twisted.internet import reactor

    resolver = Resolver(reactor, Settings())

    def threads() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if "socks5-names" in each.name]

    assert await resolver.resolve(b"localhost", "")
    assert await resolver.resolve(b"localhost", "")
    [thread] = threads()
    assert thread.daemon
    resolver.close()
    await until(lambda: threads() == [])
