"""However many rules there are, few are asked. That it changes no verdict is in ``test_walk.py``."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from socks5.access import Access
from socks5.policy.compiling import Compiler
from socks5.policy.facts import ASSOCIATING, KNOWN, NAMED, Facts
from socks5.policy.index import FEW, MOST_KEYS, Index
from socks5.policy.ruleset import Rule, Ruleset
from socks5.protocol.messages import Command
from tests.support.rules import PUBLIC, allow, asks, deny

MANY = 250


@dataclass
class Compiled:
    """A rule as an index sees it."""

    name: str
    conditions: Any
    is_report_only: bool = False
    kind: Any = field(default="")


def found(
    rules: list[Rule], access: Access, address: str | None, unknown: int = KNOWN
) -> list[str]:
    compiler = Compiler({}, {}, None, None)
    compiled = [
        Compiled(rule.name, compiler.conditions(rule), rule.report_only, rule.action)
        for rule in rules
    ]
    index = Index(compiled, unknown)
    return [rule.name for rule in index.candidates(Facts(access, address))]


ALIKE: dict[str, Any] = {
    "users": lambda n: [f"u{n}"],
    "groups": lambda n: [f"g{n}"],
    "names": lambda n: [f".d{n}.example"],
    "networks": lambda n: [f"10.0.{n}.0/24"],
    "clients": lambda n: [f"2001:db8:{n:x}::/48"],
    "ports": lambda n: [n],
    "listeners": lambda n: [f"l{n}"],
    "methods": lambda n: [f"{n}"],
}


@pytest.mark.parametrize("key", ALIKE)
@pytest.mark.parametrize("beside", [{}, {"commands": ["connect"]}, {"ports": ["1-60000"]}])
def test_a_rule_is_found_by_what_few_others_have(key: str, beside: dict[str, Any]) -> None:
    rules = [deny(f"r{n}", **beside | {key: ALIKE[key](n)}) for n in range(MANY)] + [allow("rest")]
    access = asks(
        b"www.d7.example",
        7,
        user="u7",
        groups=("g7",),
        client="2001:db8:7::1",
        listener="l7",
        method="7",
    )
    assert found(rules, access, "10.0.7.1") == ["r7", "rest"]
    other = asks(PUBLIC, 999, client="")
    assert found(rules, other, PUBLIC) == ["rest"]


def test_of_several_conditions_the_most_selective_counts() -> None:
    rules = [
        allow(f"r{n}", groups=["staff"], networks=["10.0.0.0/8"], ports=[n]) for n in range(MANY)
    ]
    assert found(rules, asks(port=7, user="a", groups=("staff",)), "10.0.0.1") == ["r7"]


@pytest.mark.parametrize("key", ["networks", "clients"])
@pytest.mark.parametrize("written", ["::ffff:127.0.0.0/104", "::ffff:127.0.0.1", "@here"])
@pytest.mark.parametrize("beside", [0, FEW + 4])
def test_a_rule_on_a_mapped_network_is_found_by_the_ipv4_address_however_many_there_are(
    key: str, written: str, beside: int
) -> None:
    others = [deny(f"r{n}", users=[f"u{n}"]) for n in range(beside)]
    keys: dict[str, Any] = {key: [written]}
    rules = Ruleset(
        [deny("d", **keys), *others, allow("rest", networks=["0.0.0.0/0"], unguarded=True)],
        networks={"here": ["::ffff:127.0.0.0/104"]},
    )
    access = asks(client="127.0.0.1")
    for address in ("127.0.0.1", "::ffff:127.0.0.1"):
        assert rules.judge(access, address).rule == "d"
        assert rules.walk(access, address).verdict.rule == "d"


def test_a_few_are_all_asked() -> None:
    rules = [deny(f"r{n}", users=[f"u{n}"]) for n in range(FEW)]
    assert len(found(rules, asks(), PUBLIC)) == FEW
    more = [*rules, deny("one-more", users=["x"])]
    assert found(more, asks(), PUBLIC) == []


def test_what_has_too_many_values_or_none_that_can_be_found_is_always_asked() -> None:
    many = [f"h{n}.example" for n in range(MOST_KEYS + 1)]
    always = [
        deny("long", names=many),
        deny("any", names=["*"]),
        deny("star", names=["ads*"]),
        deny("self", clients=["@local"]),
        deny("public", networks=["@public"]),
        deny("ports", ports=["1-100"]),
        deny("bind", commands=["bind"]),
    ]
    rules = [deny(f"r{n}", users=[f"u{n}"]) for n in range(MANY)] + always
    assert found(rules, asks(user="u7"), PUBLIC) == ["r7", *(rule.name for rule in always)]


def test_before_an_address_is_known_one_rule_speaks_for_those_that_differ_in_networks_alone() -> (
    None
):
    rules = [
        *(deny(f"d{n}", networks=[f"10.0.{n}.0/24"]) for n in range(MANY)),
        *(deny(f"p{n}", networks=[f"10.0.{n}.0/24"], ports=[25]) for n in range(MANY)),
        *(allow(f"a{n}", networks=[f"10.1.{n}.1"]) for n in range(MANY)),
        *(deny(f"r{n}", networks=["10.0.0.0/8"], report_only=True) for n in range(MANY)),
        *(deny(f"n{n}", names=[f"h{n}.example"]) for n in range(MANY)),
    ]
    assert found(rules, asks(b"h7.example", 25), None, NAMED) == ["d0", "p0", "a0", "n7"]
    association = asks(b"", 0, Command.UDP_ASSOCIATE)
    assert found(rules, association, None, ASSOCIATING) == ["d0", "a0"]
    assert found(rules, asks(b"h7.example", 25), "10.0.7.1") == [
        "d7",
        "p7",
        *(f"r{n}" for n in range(MANY)),
        "n7",
    ]
