"""Addresses to names: what is a name, and how many are looked up at a time."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import DNSLookupError
from twisted.python.failure import Failure

from socks5.net.resolver import Resolver
from socks5.net.reverse import ReverseLookups
from socks5.settings import Capacity, Settings
from tests.sockets.wires import until
from tests.support.reactor import FakeReactor


class World:
    """Lookups whose system answers when a test lets it."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, seconds: float = 10.0, **capacity: int
    ) -> None:
        self.asked: list[str] = []
        self.answers = threading.Event()
        self.given: list[Any] = []
        monkeypatch.setattr(socket, "getnameinfo", self._hang)
        settings = Settings(resolve_timeout=seconds)
        self.reverse = ReverseLookups(reactor, lambda: settings, Capacity(**capacity))

    def _hang(self, name: tuple[Any, ...], flags: int) -> tuple[str, str]:
        assert flags == socket.NI_NAMEREQD
        self.asked.append(name[0])
        self.answers.wait(10)
        return f"host-{name[0]}.example.", "0"

    def ask(self, address: str, client: str = "a") -> Deferred[bytes]:
        wait = self.reverse.name_of(address, client)
        wait.addBoth(self.given.append)
        return wait

    async def end(self) -> None:
        self.answers.set()
        for _ in range(2):
            self.reverse.close()
        await until(lambda: not [each for each in threading.enumerate() if "names" in each.name])


Begin = Callable[..., World]


@pytest_twisted.async_yield_fixture
async def begin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a world, whose threads are gone behind the test."""
    worlds: list[World] = []

    def make(**options: Any) -> World:
        worlds.append(World(monkeypatch, **options))
        return worlds[-1]

    yield make
    for each in worlds:
        await each.end()


@pytest_twisted.ensureDeferred
async def test_a_name_has_no_dot_at_its_end(begin: Begin) -> None:
    world = begin()
    world.answers.set()
    world.ask("192.0.2.1")
    await until(lambda: world.given)
    assert world.given == [b"host-192.0.2.1.example"]


@pytest.mark.parametrize(
    "answer",
    [
        socket.gaierror(socket.EAI_NONAME, "unknown"),
        "not a name",
        "192.0.2.7",
        "",
        "a" * 64,
        "\udce9.example",
    ],
)
@pytest_twisted.ensureDeferred
async def test_whoever_has_the_address_can_say_nothing_but_a_name(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    world = begin()

    def answers(*_: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer, "0"

    monkeypatch.setattr(socket, "getnameinfo", answers)
    world.ask("2001:db8::1")
    await until(lambda: world.given)
    [failure] = world.given
    assert failure.check(DNSLookupError)


@pytest_twisted.ensureDeferred
async def test_threads_are_shared_out_by_client(begin: Begin) -> None:
    world = begin(resolver_threads=8, names_waiting=1, names_waiting_per_client=1)
    for number in range(3):
        world.ask(f"192.0.2.{number}")
    world.ask("192.0.2.9", client="b")
    await until(lambda: len(world.asked) == 2)
    assert sorted(world.asked) == ["192.0.2.0", "192.0.2.9"]
    [failure] = world.given
    assert failure.getErrorMessage().endswith("too many names are being resolved.")
    world.answers.set()
    await until(lambda: len(world.given) == 4)
    assert sorted(world.given[1:]) == [b"host-192.0.2.%d.example" % each for each in (0, 1, 9)]


@pytest.mark.parametrize("is_too_late", [True, False])
@pytest_twisted.ensureDeferred
async def test_who_waits_no_more_is_not_told_and_the_thread_stays_taken(
    begin: Begin, is_too_late: bool
) -> None:
    world = begin(seconds=0.01 if is_too_late else 10.0, resolver_threads=8)
    first, second = world.ask("192.0.2.1"), world.ask("192.0.2.2")
    await until(lambda: world.asked)
    if not is_too_late:
        first.cancel()
        second.cancel()
    await until(lambda: len(world.given) == 2)
    expected = DNSLookupError if is_too_late else CancelledError
    assert all(isinstance(each, Failure) and each.check(expected) for each in world.given)
    world.answers.set()
    await world.end()
    assert world.asked == ["192.0.2.1"]


def test_a_resolver_s_threads_end_with_the_reactor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getnameinfo", lambda *_: ("host.example", "0"))
    before = set(threading.enumerate())
    fake = FakeReactor()
    told, given = threading.Event(), []

    def call(function: Any, *arguments: Any) -> None:
        function(*arguments)
        told.set()

    fake.callFromThread = call  # type: ignore[method-assign]
    resolver = Resolver(fake)
    resolver.name_of("192.0.2.1", "").addBoth(given.append)
    assert told.wait(10)
    resolver.name_of("192.0.2.1", "").addBoth(given.append)
    [(close, arguments, named)] = fake.triggers["during"]["shutdown"]
    close(*arguments, **named)
    resolver.close()
    for each in {*threading.enumerate()} - before:
        each.join(10)  # none asks the system behind the test
    assert {*threading.enumerate()} <= before
    assert given == [b"host.example"] * 2
