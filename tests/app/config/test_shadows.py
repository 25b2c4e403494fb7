"""Rules that never decide are found, and no other."""

import random
import time
from typing import Any

import pytest

from socks5.app.config.policy_keys import Rule
from socks5.app.config.shadows import MOST, shadows

SETS = {
    "home": ["10.0.0.0/8", "2001:db8::/32"],
    "two": ["192.0.2.0/24"],
    "listed": ["file:list"],
    "doors": ["::ffff:169.254.0.0/112", "ff02::/16"],
}


def rule(action: str = "deny", **said: Any) -> Rule:
    values = {
        key: value if isinstance(value, tuple | bool) else (value,) for key, value in said.items()
    }
    return Rule(name="r", action=action, **values)


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (rule(), rule("allow", users="alice")),
        (rule(), rule()),
        (rule(users=("alice", "bob")), rule("allow", users="bob", ports=443)),
        (rule(groups="staff"), rule(groups="staff", networks="10.0.0.0/8")),
        (rule(ports="1-1023"), rule(ports=(22, "80-90"))),
        (rule(names=".example.com"), rule(names=("www.example.com", "*.example.com"))),
        (rule(names="*.example.com"), rule(names=("a.b.example.com", ".b.example.com"))),
        (rule(names="*"), rule(names=("x.example", "ad*.example"))),
        (rule(names="@ads"), rule(names="@ads")),
        (rule(names="*.com"), rule(names="*.example.com")),
        (rule(networks="10.0.0.0/8"), rule("allow", networks=("10.1.0.0/16", "10.2.3.4"))),
        (rule(networks="@home"), rule("allow", networks=("10.1.0.0/16", "2001:db8:1::/48"))),
        (rule(networks="@home"), rule("allow", networks="@home")),
        (rule(networks="::ffff:10.0.0.0/104"), rule("allow", networks="10.1.0.0/16")),
        (rule(networks="@listed"), rule("allow", networks="file:list")),
        (rule("allow", users="alice"), rule(users="alice", ports=25)),
        (rule("allow"), rule(networks=("127.0.0.0/8", "10.0.0.0/8"))),
        (rule("allow"), rule(networks=("@special", "@private"))),
        (rule("allow"), rule(networks=("@special", "fe00::/8"))),
        (rule("allow"), rule(networks="@listed")),
        (rule("allow", networks="10.0.0.0/8"), rule("allow", networks="10.0.0.0/9")),
        (
            rule("allow", networks="10.0.0.0/8", unguarded=True),
            rule("allow", networks="10.0.0.0/9", unguarded=True),
        ),
    ],
)
def test_a_rule_behind_one_that_takes_all_it_could_never_decides(
    before: Rule, behind: Rule
) -> None:
    assert list(shadows([rule("allow", commands="bind"), before, behind], SETS)) == [(2, 1)]


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (rule(users="alice"), rule(users=("alice", "bob"))),
        (rule(users="alice"), rule()),
        (rule(ports="80-90"), rule(ports="80-91")),
        (rule(ports=80), rule()),
        (rule(groups="a", ports=80), rule(groups="a", ports=81)),
        (rule(users="a", names=".x"), rule(users="a", names="y")),
        (rule(users="a", networks="10.0.0.0/8"), rule(users="a", networks="192.0.2.1")),
        (rule(names="www.example.com"), rule(names=".example.com")),
        (rule(names="*.example.com"), rule(names=".example.com")),
        (rule(names="*.example.com"), rule(names="example.com")),
        (rule(names="ad*.example.com"), rule(names="adx.example.com")),
        (rule(names=".example.com"), rule(names="untrusted-example.com")),
        (rule(names="*"), rule(networks="10.0.0.0/8")),
        (rule(networks="10.0.0.0/9"), rule(networks="10.0.0.0/8")),
        (rule(networks="10.0.0.0/8"), rule(names="x")),
        (rule(networks="@two"), rule(networks="@home")),
        (rule(report_only=True), rule()),
        (rule("allow", networks="10.0.0.0/8"), rule(networks="10.0.0.0/8")),
        (rule("allow"), rule("allow", networks="10.0.0.0/8", unguarded=True)),
        (rule("allow"), rule(networks="127.0.0.0/8", reply="refused")),
        (rule("allow"), rule(networks=("@metadata", "::1", "@doors"))),
    ],
)
def test_a_rule_that_may_decide_is_left_alone(before: Rule, behind: Rule) -> None:
    assert list(shadows([before, behind], SETS)) == []


def test_of_rules_without_a_selective_condition_only_some_are_looked_at() -> None:
    many = [rule(ports=number) for number in range(1, MOST + 2)]
    assert list(shadows([*many, rule(ports=MOST)], {})) == [(MOST + 1, MOST - 1)]
    assert list(shadows([*many, rule(ports=MOST + 1)], {})) == []


def test_many_rules_take_their_time_and_not_their_square() -> None:
    """What is looked at for one rule does not grow with their number."""
    numbers = random.Random(7)

    def network() -> str:
        return f"{numbers.randrange(1, 200)}.{numbers.randrange(256)}.{numbers.randrange(256)}.0/24"

    rules = [rule(networks=(network(), network())) for _ in range(2000)]
    start = time.process_time()
    list(shadows(rules, {}))
    assert time.process_time() - start < 2
