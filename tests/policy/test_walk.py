"""How a verdict comes about; and that neither an index nor a missing fact changes what rules mean."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from socks5.access import Access
from socks5.policy.index import FEW
from socks5.policy.rules import Rules, is_special
from socks5.policy.ruleset import Rule, Ruleset
from socks5.policy.sets import Listed
from socks5.protocol.address import unmap
from socks5.protocol.messages import Command
from tests.support.rules import CLIENT, PUBLIC, allow, asks, deny

BIND, UDP = Command.BIND, Command.UDP_ASSOCIATE


def test_a_walk_tells_what_each_rule_says_and_why() -> None:
    rules = Ruleset(
        [
            deny(
                "blocked",
                networks=["@blocked"],
                place="socks5.toml:43",
            ),
            deny("video", names=["@video", ".v.example"], groups=["staff"], report_only=True),
            deny("inside", networks=["10.20.0.8"], users=["alice"]),
            allow(
                "printers", groups=["staff"], networks=["10.20.0.0/16"], ports=[631, "9100-9102"]
            ),
            deny("never"),
        ],
        networks={"blocked": ["198.51.100.0/24", Listed("lists/blocked", ["192.0.2.0/30"])]},
        names={"video": [".video.example"]},
    )
    access = asks(b"printer.example.org", 631, user="alice", groups=("staff",))
    walk = rules.walk(access, "10.20.0.7")
    assert walk.verdict == rules.judge(access, "10.20.0.7")
    assert [tuple(row) for row in walk.rows] == [
        (
            "no",
            "blocked",
            "socks5.toml:43",
            "networks: 10.20.0.7 is not in @blocked (2 entries, 1 of them a file)",
        ),
        (
            "no",
            "video",
            "",
            "names: printer.example.org is not in @video (1 entry), .v.example (report only)",
        ),
        ("no", "inside", "", "networks: 10.20.0.7 is not in 10.20.0.8"),
        ("yes", "printers", "", "allow"),
    ]
    walk = rules.walk(access, None)
    assert [row.answer for row in walk.rows] == ["open", "no", "open", "open"]
    assert walk.rows[0].why == "networks: not known yet"


def reasons(rule: Rule, access: Any, address: str | None = None, **parts: Any) -> str:
    return Ruleset([rule], **parts).walk(access, address, at=1764489600).rows[0].why


def test_each_condition_says_why() -> None:
    ours = {("1.1.1.1", 443)}
    seven = [f"10.0.0.{n}" for n in range(7)]
    for rule, access, address, why in [
        (
            deny("a", clients=["10.0.0.0/8"]),
            asks(),
            None,
            "clients: 192.0.2.9 is not in 10.0.0.0/8",
        ),
        (
            deny("a", clients=["@office"]),
            asks(client=""),
            None,
            "clients: a client on a UNIX socket is not in @office (1 entry)",
        ),
        (
            deny("a", clients=["@local"]),
            asks(client="", is_claimed=True),
            None,
            "clients: an unknown client is not in @local",
        ),
        (deny("a", listeners=["x"]), asks(listener="road"), None, "listeners: road is not in x"),
        (deny("a", commands=["bind"]), asks(), None, "commands: connect is not in bind"),
        (deny("a", commands=["bind"]), asks(command=9), None, "commands: command 9 is not in bind"),
        (deny("a", methods=[130]), asks(), None, "methods: none is not in 130"),
        (deny("a", users=["alice"]), asks(user="bob"), None, "users: bob is not in alice"),
        (
            deny("a", users=[Listed("users.txt", ["x", "y"])]),
            asks(),
            None,
            "users: nobody is not in users.txt (2 entries)",
        ),
        (deny("a", groups=["staff"]), asks(user="bob"), None, "groups: bob is not in staff"),
        (deny("a", groups=["staff"]), asks(), None, "groups: nobody is not in staff"),
        (
            deny("a", names=["x.example"]),
            asks(PUBLIC),
            None,
            "names: an address is not in x.example",
        ),
        (deny("a", names=["x.example"]), asks(PUBLIC, command=UDP), None, "names: not known yet"),
        (
            deny("a", networks=seven),
            asks(),
            "64:ff9b::101:101",
            "networks: 64:ff9b::101:101 (also 1.1.1.1) is not in 10.0.0.0, 10.0.0.1, 10.0.0.2, 10.0.0.3 and 3 more",
        ),
        (deny("a", ports=[25]), asks(), None, "ports: 443 is not in 25"),
        (deny("a", ports=[25]), asks(command=BIND), None, "ports: the port of a bind is not in 25"),
        (
            deny("a", during=["mon"]),
            asks(),
            None,
            "during: Sun 08:00 UTC is not in mon",
        ),
        (deny("a"), asks(), None, "deny"),
        (allow("a"), asks(), None, "guard: the address is not known yet"),
        (allow("a"), asks(), "::1", "guard: ::1 is in @special"),
        (allow("a"), asks(listeners=ours), PUBLIC, "guard: 1.1.1.1 leads to the proxy itself"),
    ]:
        found = reasons(rule, access, address, zone="UTC", networks={"office": ["10.0.0.0/8"]})
        assert found == why


def test_the_guard_says_why_it_lets_pass() -> None:
    rules = Ruleset([], default="allow")
    for access, address, why in [
        (asks(), PUBLIC, "guard: 1.1.1.1 is not kept from this client"),
        (asks(), "::1", "deny"),
        (asks(), None, "guard: the address is not known yet"),
        (
            asks(command=BIND, client="127.0.0.1"),
            None,
            "guard: www.example.com is not kept from this client",
        ),
        (
            asks(command=UDP, client="127.0.0.1"),
            None,
            "guard: the target is not kept from this client",
        ),
    ]:
        walk = rules.walk(access, address)
        assert walk.rows[0].rule == "builtin:guard"
        assert walk.rows[0].why == why
    assert [row.rule for row in walk.rows] == ["builtin:guard", "builtin:default"]


# ---------------------------------------------------------------- whatever the rules

HOSTS = [
    "1.1.1.1",
    "10.0.0.1",
    "10.0.1.1",
    "127.0.0.1",
    "::1",
    "::",
    "2606:4700::1",
    "64:ff9b::a00:1",
    "64:ff9b::7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::10.0.0.1",
    "2002:a00:1::",
]
NAMES = [b"example.com", b"www.example.com", b"a.b.example.org", b"ads7.example.org", b"x"]
ODD = [
    "0.0.0.0/0",
    "0.0.0.0",
    "::/0",
    "::/64",
    "::/96",
    "::1",
    "::10.0.0.0/104",
    "::ffff:0:0/96",
    "::ffff:10.0.0.0/120",
    "::ffff:127.0.0.0/104",
    "::ffff:192.0.2.9",
    "64:ff9b::/96",
    "64:ff9b::10.0.0.1",
    "2002::/16",
    "2002:a00::/24",
]
"""Networks in every spelling, and those within which others may be found."""
ENTRIES: dict[str, Sequence[Any]] = {
    "clients": [
        "@local",
        "192.0.2.0/24",
        "10.0.0.0/8",
        "@private",
        "@self",
        "2001:db8::/32",
        "@odd",
        *ODD,
    ],
    "listeners": ["office", "road"],
    "commands": ["connect", "bind", "udp", "resolve"],
    "methods": ["none", "password"],
    "users": ["alice", "bob"],
    "groups": ["staff", "guests"],
    "names": [
        ".example.com",
        "www.example.com",
        "*.example.org",
        "ad*.example.org",
        "*",
        "@few",
        "@many",
    ],
    "networks": [
        "10.0.0.0/24",
        "10.0.0.0/8",
        "@public",
        "@special",
        "@many",
        "@self",
        "@odd",
        *ODD,
    ],
    "ports": [53, "400-500", "0-65535"],
    "during": ["sun", "mon"],
}
SETS: dict[str, Any] = {
    "names": {
        "few": [".example.com"],
        "many": [f"h{n}.example" for n in range(99)] + ["ads*.example.org"],
    },
    "networks": {
        "many": [f"10.0.{n}.0/25" for n in range(0, 200, 2)],
        "odd": ["::ffff:10.0.0.0/104", "2002::/16"],
    },
    "groups": {"guests": ["bob"]},
    "zone": "UTC",
    "own": lambda host, unknown: host == "10.0.0.1",
    "now": lambda: 1764489600.0,
}


def a_rule(random: Random) -> dict[str, Any]:
    """One with any number of conditions, rather few: those decide more often."""
    count = min(random.randint(0, len(ENTRIES)) for _ in range(2))
    keys = random.sample([*ENTRIES], count)
    return {
        "action": random.choice(["allow", "deny"]),
        "report_only": random.random() < 0.2,
        **{key: random.sample(ENTRIES[key], random.randint(1, 2)) for key in keys},
    }


WRITTEN = st.lists(st.sampled_from([a_rule(Random(seed)) for seed in range(1000)]), max_size=8)
"""To draw each condition of each rule would take five times as long as all that is made of them."""


def as_rules(written: Sequence[dict[str, Any]]) -> list[Rule]:
    """And often enough of them for an index."""
    many = [*written] + [{"action": "deny", "users": [f"u{n}"]} for n in range(FEW)] + [*written]
    chosen = many if len(written) % 2 else written
    return [Rule(f"r{number}", **keys) for number, keys in enumerate(chosen)]


RULESETS = st.builds(
    lambda written, default: Ruleset(as_rules(written), default=default, **SETS),
    WRITTEN,
    st.sampled_from(["allow", "deny", "report"]),
)
ACCESSES = st.builds(
    asks,
    st.sampled_from([*NAMES, *HOSTS, "0.0.0.0", b""]),
    st.sampled_from([25, 53, 443]),
    st.sampled_from([*Command]),
    client=st.sampled_from(["", "127.0.0.1", "192.0.2.9", "10.0.0.1", "2001:db8::1"]),
    user=st.sampled_from([None, "alice", "bob", "u3"]),
    groups=st.sampled_from([(), ("staff",)]),
    is_claimed=st.booleans(),
    listener=st.sampled_from(["", "office"]),
    method=st.sampled_from(["none", "password"]),
    is_datagram=st.booleans(),
    listeners=st.sampled_from([(), {("1.1.1.1", 443)}]),
)


@settings(max_examples=400)
@given(RULESETS, ACCESSES, st.sampled_from([None, *HOSTS]))
def test_a_walk_comes_to_the_verdict(rules: Ruleset, access: Access, address: str | None) -> None:
    """Rules are found by an index, and the walk asks each of them."""
    assert rules.walk(access, address).verdict == rules.judge(access, address)


@pytest.mark.parametrize("others", [0, FEW])
@pytest.mark.parametrize("action", ["allow", "deny"])
@pytest.mark.parametrize("entry", [*ODD, "@odd", "@special", "10.0.0.0/24"])
def test_networks_are_found_however_they_are_written_and_however_many_rules_there_are(
    entry: str, action: str, others: int
) -> None:
    more = [deny(f"u{n}", users=[f"u{n}"]) for n in range(others)]
    for key in ("networks", "clients"):
        rules = Ruleset([Rule("r", action, **{key: [entry]}), *more], default="allow", **SETS)
        for host in HOSTS:
            access = asks(client=unmap(host) if key == "clients" else CLIENT)
            assert rules.walk(access, host).verdict == rules.judge(access, host)


def is_named(access: Access) -> bool:
    """Whether the address is somebody else's to say."""
    is_open = access.command == BIND and access.target.is_unspecified
    return is_open or isinstance(access.target.host, bytes)


@settings(max_examples=400)
@given(RULESETS, ACCESSES.filter(is_named))
@example(Ruleset([]), asks(b"", 0, BIND))
def test_what_is_not_known_is_not_guessed(rules: Ruleset, access: Access) -> None:
    """Nothing is denied that some address is allowed, and nothing allowed for good that one is denied."""
    before = rules.judge(access, None)
    if before.reply == 4 or (access.command == UDP and not access.is_datagram):
        return
    after = [rules.judge(access, host) for host in HOSTS]
    if not before.is_allowed:
        assert not any(verdict.is_allowed for verdict in after)
    elif before.rule:
        assert all(verdict.is_allowed for verdict in after)


@settings(max_examples=200)
@given(RULESETS, ACCESSES)
def test_an_association_is_denied_only_if_every_datagram_would_be(
    rules: Ruleset, access: Access
) -> None:
    request = access._replace(command=UDP, is_datagram=False)
    if rules.judge(request, None).is_allowed:
        return
    for host in HOSTS:
        for name in (host, *NAMES):
            target = asks(name, 53).target
            assert not rules.judge(
                request._replace(is_datagram=True, target=target), host
            ).is_allowed


@given(st.ip_addresses().map(str))
@example("64:ff9b:1::7f00:1")
@example("::ffff:127.0.0.1")
def test_the_guard_keeps_what_the_built_in_rules_keep(host: str) -> None:
    verdict = Ruleset([allow("all")]).judge(asks(), host)
    assert verdict.rule == ("builtin:guard" if is_special(host) else "all")
    assert verdict.is_allowed is Rules().allows(asks(), host)
