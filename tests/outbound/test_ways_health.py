"""Which of several upstreams is asked, as they die and come back, are full and empty, and what each reply leads to."""

import errno
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from twisted.internet.error import ConnectError, ConnectionRefusedError, DNSLookupError

from socks5.outbound.path import Path
from socks5.outbound.pool import Pool, Way
from socks5.protocol.messages import Credentials
from tests.support.providers import ASKER
from tests.support.sessions import NO_AUTHENTICATION, octets
from tests.support.transports import FakeTransport
from tests.support.upstreams import UP, Dialling, World, reply, upstream

HOSTS = {"one": UP, "two": "203.0.113.2"}


def two(**options: Any) -> Callable[[Any], dict[str, Way]]:
    """A pool of two."""

    def make(reactor: Any) -> dict[str, Way]:
        paths = [
            Path(name, [upstream(name, f"socks5://{host}", **options)], reactor)
            for name, host in HOSTS.items()
        ]
        return {"up": Pool(paths)}

    return make


def refuse(world: World) -> None:
    """Whoever is being connected to does; the first of them."""
    next(each for each in world.reactor.connectors if each.state == "connecting").fail(
        ConnectionRefusedError()
    )


def answer(world: World, code: int = 0) -> FakeTransport:
    """Whoever was connected to last does."""
    transport = world.greeted()
    world.answer(transport, reply(code))
    return transport


def asked(world: World) -> list[str]:
    """Which are being connected to."""
    names = {host: name for name, host in HOSTS.items()}
    return [names[host] for host, _ in world.connecting]


# ---------------------------------------------------------------- dead, and back


def test_the_first_of_two_dies_is_tried_by_one_and_comes_back() -> None:
    world = World(two())
    for _ in range(3):
        dialling = world.dial()
        assert asked(world) == ["one"]
        refuse(world)
        answer(world)
        assert dialling.stream.upstream == "two"
    assert world.counters["one"].is_out
    world.dial()
    assert asked(world) == ["two"]  # at once
    answer(world)
    world.reactor.advance(12)
    dials = [world.dial() for _ in range(3)]
    assert asked(world) == ["one", "two", "two"]  # one tries it, others pass it by
    refuse(world)
    assert asked(world) == ["two", "two", "two"]
    for connector in list(world.reactor.connectors):
        if connector.state == "connecting":
            world.answer(transport := connector.succeed(), NO_AUTHENTICATION)
            world.answer(transport, reply())
    assert [each.stream.upstream for each in dials] == ["two"] * 3
    world.reactor.advance(15)
    world.dial()
    assert asked(world) == ["two"]
    answer(world)
    world.reactor.advance(9)  # twice as long by now
    trying = world.dial()
    assert asked(world) == ["one"]
    answer(world, 5)  # of the target that is
    assert (trying.code, world.counters["one"].is_out) == (5, False)
    world.dial()
    world.dial()
    assert asked(world) == ["one", "one"]


@pytest.mark.parametrize(
    ("answers", "end"), [((), 10), ((NO_AUTHENTICATION,), 12), ((NO_AUTHENTICATION, reply()), 12)]
)
def test_a_chain_with_a_silent_proxy_leaves_time_for_the_next_of_the_pool(
    answers: Sequence[bytes], end: float
) -> None:
    """Each proxy has its own, from when the one before it is asked for it."""

    def ways(reactor: Any) -> dict[str, Way]:
        chain = Path("one", [upstream("near", fails=1), upstream("far")], reactor)
        return {"up": Pool([chain, Path("two", [upstream(url="socks5://203.0.113.2")], reactor)])}

    world = World(ways)
    dialling, clock = world.dial(), world.reactor
    begun = clock.seconds()
    clock.advance(1)
    transport = world.accept()
    for each in answers:
        clock.advance(1)
        world.answer(transport, each)
    clock.advance(begun + end - 0.1 - clock.seconds())
    assert asked(world) == []
    clock.advance(0.2)
    assert asked(world) == ["two"]
    assert world.counters["one"].is_out
    answer(world)
    assert dialling.stream.upstream == "two"


def test_a_want_of_descriptors_is_no_upstream_s_fault() -> None:
    world = World(two(fails=1))
    dialling = world.dial()
    for name in HOSTS:
        assert asked(world) == [name]
        world.reactor.connectors[-1].fail(ConnectError(errno.EMFILE, "Too many open files"))
    assert dialling.code == 1
    assert not any(each.is_out for each in world.counters.values())


def test_a_trial_that_a_client_gives_up_says_nothing() -> None:
    world = World(two(fails=1))
    world.dial()
    refuse(world)
    answer(world)
    world.reactor.advance(12)
    world.dial().deferred.cancel()
    world.dial()
    assert asked(world) == ["one"]  # the next one tries


def test_a_wrong_login_is_said_once_and_then_nobody_says_it_again(log: list[str]) -> None:
    world = World(two(login=Credentials(b"relay", b"secret")))
    dials = [world.dial() for _ in range(3)]
    for connector in list(world.reactor.connectors):
        transport = connector.succeed()
        for heard in ("05 02", "01 01"):
            world.answer(transport, octets(heard))
    assert asked(world) == ["two"] * 3
    world.dial()
    assert asked(world) == ["two"] * 4
    assert [each.given for each in dials] == [[]] * 3
    [line] = [line for line in log if "upstream one is out" in line]
    assert "user name or password not accepted" in line
    assert not any("secret" in each for each in log)


def test_when_all_are_out_the_one_that_is_due_first_is_tried_all_the_same() -> None:
    world = World(two(fails=1))
    dialling = world.dial()
    refuse(world)
    refuse(world)
    assert dialling.code == 1
    assert [world.counters[name].is_out for name in HOSTS] == [True, True]
    first = min(HOSTS, key=lambda name: health(world, name).due)
    for _ in range(2):
        dialling = world.dial()
        assert asked(world) == [first]
        refuse(world)
        assert dialling.code == 1
    world.dial()
    answer(world)
    assert [name for name in HOSTS if not world.counters[name].is_out] == [first]


def health(world: World, name: str) -> Any:
    [found] = [path.health for path in world.ways["up"].paths if path.name == name]
    return found


# ---------------------------------------------------------------- full


@pytest.mark.parametrize("is_one_of_two", [True, False])
def test_one_client_takes_a_quarter_of_the_places_and_others_the_rest(is_one_of_two: bool) -> None:
    world = World(two(max_connections=8)) if is_one_of_two else World(max_connections=8)

    def dial(number: int) -> Dialling:
        before = len(world.reactor.connectors)
        dialling = world.dial(asker=ASKER._replace(client=f"192.0.2.{number}"))
        if len(world.reactor.connectors) > before:
            answer(world)
        return dialling

    def upstreams(numbers: Sequence[int]) -> list[str]:
        found = [dial(number) for number in numbers]
        return [getattr(each.given[0], "upstream", "refused") for each in found]

    one, other = ("one", "two") if is_one_of_two else ("up", "refused")
    held = dial(1)
    assert upstreams([1, 1, 2, 2, 2]) == [one, other, one, one, other]
    assert upstreams([3, 3, 4, 4, 5]) == [one, one, one, one, other]  # there are eight
    assert not world.counters[one].is_out
    assert world.counters[one].open == 8
    held.stream.transport.abortConnection()
    world.reactor.turn()
    assert upstreams([5, 1]) == [one, other]


# ---------------------------------------------------------------- replies


@pytest.mark.parametrize("hops", [1, 2])
def test_every_reply_of_the_last_goes_to_the_client_and_says_that_it_works(hops: int) -> None:
    def make(reactor: Any) -> dict[str, Way]:
        legs = [upstream(f"hop{number}", fails=1) for number in range(hops)]
        return {"up": Path("up", legs, reactor)}

    world = World(make)
    told = {}
    for code in range(1, 256):
        dialling = world.dial()
        world.answer(world.greeted(*[NO_AUTHENTICATION, reply()] * (hops - 1)), reply(code))
        told[code] = dialling.code
    assert told == {code: code for code in range(1, 256)}
    assert not world.counters["up"].is_out
    assert world.counters["up"].failures == {"reply": 255}
    world.assert_nothing_is_left()


def test_every_reply_of_another_is_about_the_way() -> None:
    world = World(lambda reactor: {"up": Path("up", [upstream("a"), upstream("b")], reactor)})
    told = set()
    for code in range(1, 256):
        dialling = world.dial()
        answer(world, code)
        told.add(dialling.code)
    assert (told, world.counters["up"].failures) == ({1}, {"connect": 255})


# ---------------------------------------------------------------- where it is


def test_an_upstream_whose_name_is_unknown_is_one_that_is_not_there() -> None:
    names = {b"proxy.example": DNSLookupError()}
    world = World(url="socks5://proxy.example", hosts=names)  # type: ignore[arg-type]
    dialling = world.dial()
    assert (dialling.code, world.counters["up"].failures) == (1, {"connect": 1})
    assert "upstream up, hop 1, connect: proxy.example:1080" in dialling.failure.getErrorMessage()


def test_an_upstream_whose_first_address_is_dead_is_reached_at_another() -> None:
    hosts = {b"proxy.example": [UP, "2001:db8::1", "203.0.113.3"]}
    world = World(url="socks5://proxy.example", hosts=hosts)
    dialling = world.dial()
    refuse(world)
    world.reactor.advance(1)  # the second is silent
    assert world.connecting == [("2001:db8::1", 1080), ("203.0.113.3", 1080)]
    answer(world)
    assert (dialling.stream.upstream, world.counters["up"].failures) == ("up", {})
    assert world.connecting == []
