"""In which order the ways of a pool are tried."""

from typing import Any

import pytest
from twisted.internet.task import Clock

from socks5.auth import User
from socks5.client.hops import Hop
from socks5.client.urls import read
from socks5.outbound.path import Path
from socks5.outbound.pool import CHOICES, HASHED, Hashed, Pool
from socks5.outbound.terms import Terms
from socks5.outbound.upstream import Places, Upstream
from socks5.protocol.address import Address
from socks5.protocol.messages import Command
from tests.support.providers import ASKER

TARGET = Address("192.0.2.80", 80)


def path(name: str, clock: Any = None, **terms: Any) -> Path:
    hop = Hop(read(f"socks5://{name}.example")[0])
    return Path(name, [Upstream(name, hop, Terms(**terms))], clock or Clock())


def three(clock: Any = None) -> list[Path]:
    return [path(name, clock) for name in "abc"]


def order(pool: Pool, access: Any = ASKER, target: Address = TARGET) -> str:
    return "".join(each.name for each in pool.order(access, target))


def test_one_way_is_its_own_order() -> None:
    one = path("a")
    assert one.order(ASKER, TARGET) == (one,)


def test_the_first_is_first_and_each_has_its_turn_otherwise() -> None:
    first, turns = Pool(three()), Pool(three(), CHOICES["round-robin"]())
    assert [order(first) for _ in range(2)] == ["abc", "abc"]
    assert [order(turns) for _ in range(4)] == ["abc", "bca", "cab", "abc"]
    assert {"".join(sorted(order(Pool(three(), CHOICES["random"]())))) for _ in range(9)} == {"abc"}


@pytest.mark.parametrize("by", HASHED)
def test_the_same_goes_the_same_way_as_long_as_that_is_there(by: str) -> None:
    paths = [path(f"p{number}") for number in range(8)]
    pool, fewer = Pool(paths, Hashed(by)), Pool(paths[1:], Hashed(by))
    accesses = [
        (
            ASKER._replace(client=f"192.0.2.{number}", user=User(f"user{number}")),
            Address(f"198.51.100.{number}", 80),
        )
        for number in range(100)
    ]
    orders = [[each.name for each in pool.order(*asked)] for asked in accesses]
    assert orders == [[each.name for each in pool.order(*asked)] for asked in accesses]
    assert {names[0] for names in orders} == {each.name for each in paths}
    for names, asked in zip(orders, accesses, strict=True):
        names.remove("p0")
        assert [each.name for each in fewer.order(*asked)] == names


def test_a_host_goes_the_same_way_whatever_its_port() -> None:
    pool = Pool([path(f"p{number}") for number in range(8)], Hashed("target"))
    assert len({order(pool, target=Address(b"ftp.example", port)) for port in range(20)}) == 1


def test_who_is_nobody_is_known_by_his_address() -> None:
    paths = [path(f"p{number}") for number in range(8)]
    one, other = Pool(paths, Hashed("user")), Pool(paths, Hashed("client"))
    for number in range(20):
        access = ASKER._replace(client=f"192.0.2.{number}")
        assert one.order(access, TARGET) == other.order(access, TARGET)


def test_who_is_out_is_passed_by_unless_all_are() -> None:
    clock = Clock()
    paths = three(clock)
    pool = Pool(paths)
    for number, each in enumerate(paths[:2]):
        each.health.failed("x", is_final=True)
        each.health.due = 30.0 - number
    assert order(pool) == "c"
    clock.advance(29)
    assert order(pool) == "bc"
    clock.advance(-5)
    paths[2].health.failed("x", is_final=True)
    paths[2].health.due = 40.0
    assert order(pool) == "b"  # the one due first


def test_only_who_serves_a_command_is_asked() -> None:
    paths = [path("a", commands=frozenset((Command.BIND,))), path("b")]
    pool = Pool(paths)
    assert order(pool) == "b"
    assert pool.commands == {Command.BIND, Command.CONNECT, Command.UDP_ASSOCIATE}


def test_names_are_resolved_there_if_all_do_that() -> None:
    assert Pool([path("a"), path("b")]).resolves
    assert not Pool([path("a"), path("b", resolves=False)]).resolves


def test_a_client_has_a_quarter_of_the_places_of_each_on_the_way() -> None:
    wide, narrow = (
        Upstream(name, Hop(read("socks5://x")[0]), Terms(max_connections=count))
        for name, count in (("w", 100), ("n", 8))
    )
    taken = [Places((wide, narrow), "192.0.2.1") for _ in range(3)]
    assert [each.are_there for each in taken] == [True, True, False]
    others = [Places((wide, narrow), f"2001:db8:{number}::1") for number in range(7)]
    assert [each.are_there for each in others] == [True] * 6 + [False]
    assert not Places((wide, narrow), "2001:db8:100::1").are_there
    for _ in range(2):  # the second time it does nothing
        taken[0].give_back()
    assert Places((wide, narrow), "2001:db8:100::1").are_there
    assert not Places((wide, narrow), "2001:db8:101::1").are_there
    assert [Places((wide,), "192.0.2.1").are_there for _ in range(24)] == [True] * 24
    assert not Places((wide,), "192.0.2.1").are_there


def test_there_is_a_place_where_there_are_few() -> None:
    one = Upstream("a", Hop(read("socks5://x")[0]), Terms(max_connections=1))
    assert [Places((one,), "192.0.2.1").are_there for _ in range(2)] == [True, False]
