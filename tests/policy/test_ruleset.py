"""Rules of one's own: the first that matches decides, what is not known is not guessed, the guard is always there."""

import re
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from socks5.access import ACCEPTED, ALLOWED, NO_NAME, NO_SOURCE, Verdict
from socks5.interfaces import IRules
from socks5.policy.ruleset import Rule, Ruleset
from socks5.policy.sets import Listed
from socks5.protocol.messages import Command
from socks5.settings import PerFamily
from tests.support.rules import OTHER, PUBLIC, allow, asks, deny, said

BIND, UDP = Command.BIND, Command.UDP_ASSOCIATE
RESOLVE, RESOLVE_PTR = Command.RESOLVE, Command.RESOLVE_PTR


def one(rule: Rule, **sets: Any) -> Ruleset:
    """That rule, and all else denied."""
    return Ruleset([rule], **sets)


# ---------------------------------------------------------------- order and conditions


def test_the_first_rule_that_matches_decides() -> None:
    rules = Ruleset(
        [
            allow("mail-relay", networks=[PUBLIC], ports=[25]),
            deny("no-mail", ports=[25]),
            allow("rest"),
        ]
    )
    assert verifyObject(IRules, rules)
    assert said(rules, asks(port=25), PUBLIC) == "allow mail-relay"
    assert said(rules, asks(port=25), OTHER) == "deny no-mail"
    assert said(rules, asks(), OTHER) == "allow rest"


def test_within_a_key_one_entry_suffices_and_between_keys_all_must_hold() -> None:
    rules = one(allow("web", ports=[80, "443-444"], users=["alice", "bob"]))
    for user in ("alice", "bob"):
        for port in (80, 443, 444):
            assert said(rules, asks(port=port, user=user), PUBLIC) == "allow web"
    assert said(rules, asks(port=81, user="alice"), PUBLIC) == "deny builtin:default"
    assert said(rules, asks(user="carol"), PUBLIC) == "deny builtin:default"


@pytest.mark.parametrize(
    ("default", "says", "would"),
    [
        ("allow", "allow builtin:default", ()),
        ("deny", "deny builtin:default", ()),
        ("report", "allow builtin:default", ("builtin:default",)),
    ],
)
def test_what_no_rule_decides_the_default_does(
    default: str, says: str, would: tuple[str, ...]
) -> None:
    rules = Ruleset([deny("no-mail", ports=[25])], default=default)
    assert said(rules, asks(), PUBLIC) == says
    assert rules.judge(asks(), PUBLIC).would == would
    assert said(rules, asks(), None) == ("deny builtin:default" if default == "deny" else "allow")


CLIENTS = [
    # entry, client's address, is it said by a PROXY header, does it hold
    ("192.0.2.0/24", "192.0.2.9", False, True),
    ("192.0.2.0/24", "192.0.3.9", False, False),
    ("@private", "10.0.0.1", True, True),
    ("@office", "192.0.2.9", False, True),
    ("@office", "2001:db8::1", False, True),
    ("0.0.0.0/0", "", False, False),
    ("::/0", "", True, False),
    ("@local", "", False, True),
    ("@local", "127.0.0.2", False, True),
    ("@local", "::1", False, True),
    ("@local", "192.0.2.1", False, False),
    ("@local", "", True, False),
    ("@local", "127.0.0.1", True, False),
    ("@unix", "", False, True),
    ("@unix", "127.0.0.1", False, False),
    ("@unix", "", True, False),
    ("@self", "192.0.2.1", False, True),
    ("@self", "192.0.2.9", False, False),
    ("@self", "", False, False),
    ("fe80::/10", "fe80::1%eth0", False, True),
    ("0.0.0.0/0", "a balancer's word", True, False),
]


@pytest.mark.parametrize(("entry", "client", "is_claimed", "holds"), CLIENTS)
def test_clients_are_known_by_their_address(
    entry: str, client: str, is_claimed: bool, holds: bool
) -> None:
    """Who is certainly on this host no PROXY header says: its unknown client looks like a UNIX socket's."""
    rules = one(
        deny("them", clients=[entry]),
        networks={"office": ["192.0.2.0/24", "2001:db8::/32"]},
        own=lambda host, unknown: host == "192.0.2.1",
        default="allow",
    )
    says = said(rules, asks(client=client, is_claimed=is_claimed), PUBLIC)
    assert says == ("deny them" if holds else "allow builtin:default")


def test_users_and_groups_are_exact_and_never_somebody_who_has_not_logged_in() -> None:
    rules = Ruleset(
        [
            allow("users", users=["alice", "bob@EXAMPLE.ORG", Listed("users.txt", ["carol"])]),
            allow("groups", groups=["staff", "guests"]),
        ],
        groups={"guests": ["dave"], "staff": ["dave"]},
    )
    for user, groups, says in [
        ("alice", (), "allow users"),
        ("carol", (), "allow users"),
        ("bob@EXAMPLE.ORG", (), "allow users"),
        ("Alice", (), "deny builtin:default"),
        ("bob", (), "deny builtin:default"),
        ("erin", ("x", "staff"), "allow groups"),
        ("dave", (), "allow groups"),
        ("erin", ("STAFF",), "deny builtin:default"),
        (None, (), "deny builtin:default"),
    ]:
        assert said(rules, asks(user=user, groups=groups), PUBLIC) == says


class Nobody:
    """A user of somebody's own source, without groups."""

    name = "frank"


def test_a_user_without_groups_is_in_none_but_ours() -> None:
    rules = one(allow("staff", groups=["staff"]), groups={"staff": ["frank"]})
    access = asks()._replace(user=Nobody())
    assert said(rules, access, PUBLIC) == "allow staff"
    assert said(Ruleset([allow("staff", groups=["staff"])]), access, PUBLIC).startswith("deny")


def test_listeners_commands_and_methods_are_words() -> None:
    rules = Ruleset(
        [
            allow("listener", listeners=["office"]),
            allow("command", commands=["bind"]),
            allow("method", methods=["gssapi", 130, "131"]),
            allow("either", commands=["resolve"]),
        ]
    )
    for more, says in [
        ({"listener": "office"}, "allow listener"),
        ({"listener": "road"}, "deny builtin:default"),
        ({"command": BIND}, "allow command"),
        ({"method": "gssapi"}, "allow method"),
        ({"method": "130"}, "allow method"),
        ({"method": "131"}, "allow method"),
        ({"method": "password"}, "deny builtin:default"),
        ({"command": UDP}, "deny builtin:default"),
        ({"command": 0xF2}, "deny builtin:default"),
        *(({"command": command}, "allow either") for command in (RESOLVE, RESOLVE_PTR)),
    ]:
        assert said(rules, asks(**more), PUBLIC) == says


@pytest.mark.parametrize("command", [BIND, RESOLVE, RESOLVE_PTR])
def test_a_port_is_never_that_of_a_bind_or_a_resolve(command: int) -> None:
    rules = Ruleset([deny("no-mail", ports=[25]), allow("mail", ports=[25]), allow("rest")])
    assert said(rules, asks(PUBLIC, 25, command), PUBLIC) == "allow rest"
    assert said(rules, asks(PUBLIC, 25), PUBLIC) == "deny no-mail"


def test_hours_are_looked_at_each_second() -> None:
    clock = Clock()
    clock.advance(1764489600 - 2)  # Sunday 2025-11-30 07:59:58 UTC
    rules = Ruleset(
        [deny("work", during=["sun 08:00-09:00"]), allow("rest")], zone="UTC", now=clock.seconds
    )
    assert (said(rules, asks(), PUBLIC), rules.phase()) == ("allow rest", (False,))
    clock.advance(2)
    assert (said(rules, asks(), PUBLIC), rules.phase()) == ("deny work", (True,))
    clock.advance(3600)
    assert (said(rules, asks(), PUBLIC), rules.phase()) == ("allow rest", (False,))
    assert Ruleset([]).phase() == ()


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    "spelling",
    [b"example.com", b"EXAMPLE.com", b"example.com.", b"www.example.com", b"a.b.Example.Com."],
)
def test_no_spelling_of_a_name_passes_a_deny(spelling: bytes) -> None:
    """With a dot at its end it did once (hysteria PR 1574)."""
    rules = Ruleset([deny("them", names=[".example.com"]), allow("rest")])
    assert said(rules, asks(spelling)) == "deny them"
    assert said(rules, asks(b"notexample.com"), PUBLIC) == "allow rest"


def test_a_name_in_unicode_is_the_name_that_is_asked_for() -> None:
    for written in (".bücher.example", ".xn--bcher-kva.example"):
        rules = Ruleset([deny("them", names=[written]), allow("rest")])
        for asked in ("bücher.example", "www.BÜCHER.example", "xn--BCHER-kva.example."):
            assert said(rules, asks(asked.encode())) == "deny them"


def test_a_set_is_one_for_all_rules_that_name_it() -> None:
    names = {"ours": [".example.com"]}
    rules = Ruleset([deny("one", names=["@ours", "x"]), deny("two", names=["@ours"])], names=names)
    assert said(rules, asks(b"a.example.com")) == "deny one"
    assert said(rules, asks(b"x")) == "deny one"


def test_a_suffix_is_the_name_and_all_below_and_nothing_else() -> None:
    """ "trusted.net" let in "untrusted.net", and ".trusted.net" missed the apex (tinyproxy#627)."""
    for pattern, let_in in [
        ("trusted.net", {b"trusted.net"}),
        (".trusted.net", {b"trusted.net", b"a.trusted.net"}),
        ("*.trusted.net", {b"a.trusted.net"}),
    ]:
        rules = one(allow("them", names=[pattern]))
        names = (b"trusted.net", b"a.trusted.net", b"untrusted.net", b"trusted.net.example")
        assert {name for name in names if rules.judge(asks(name), PUBLIC).is_allowed} == let_in


@pytest.mark.parametrize("name", [b"exa mple.com", b"..", b"\xff\xfe", b"a" * 64, b"300.1.1.1"])
def test_what_can_be_no_name_is_refused_before_any_rule(name: bytes) -> None:
    rules = Ruleset([allow("all")], default="allow")
    assert rules.judge(asks(name), None) is NO_NAME
    assert rules.walk(asks(name), PUBLIC) == (NO_NAME, [])
    assert Verdict(False, reply=4) == NO_NAME


@pytest.mark.parametrize("host", [b"1.1.1.1", b"1.1.1.1.", b"0x1010101", b"[::ffff:1.1.1.1]"])
def test_an_address_that_is_sent_as_a_name_is_an_address(host: bytes) -> None:
    rules = Ruleset([allow("names", names=["*"]), deny("them", networks=[PUBLIC]), allow("rest")])
    assert said(rules, asks(host)) == "deny them"


def test_a_client_that_sends_an_address_has_asked_for_no_name() -> None:
    rules = Ruleset([deny("ads", names=[".ads.example"]), allow("names", names=["*"])])
    assert said(rules, asks(PUBLIC), PUBLIC) == "deny builtin:default"


# ---------------------------------------------------------------- addresses

SPELLINGS = [
    *("192.88.0.1", "::ffff:192.88.0.1", "64:ff9b::c058:1", "2002:c058:1::", "::c058:1"),
    *("64:ff9b:1::c058:1", "2001:db8::5efe:c058:1"),
]


@pytest.mark.parametrize("host", SPELLINGS)
def test_a_deny_holds_for_every_spelling_of_an_address(host: str) -> None:
    """Of which ``::ffff:`` and NAT64's passed once (3proxy#807)."""
    rules = Ruleset([deny("them", networks=["192.88.0.0/24"]), allow("rest")])
    assert said(rules, asks(host)) == "deny them"
    assert said(rules, asks(), host) == "deny them"


def test_an_allow_needs_every_meaning_of_an_address() -> None:
    rules = one(allow("them", networks=["64:ff9b::/96", "10.0.0.0/8"]))
    assert said(rules, asks(), "64:ff9b::a00:1") == "allow them"
    assert said(rules, asks(), "64:ff9b::b00:1") == "deny builtin:default"
    assert said(one(allow("them", networks=["10.0.0.0/8"])), asks(), "64:ff9b::a00:1").startswith(
        "deny"
    )
    assert said(one(allow("them", networks=["64:ff9b::/96"])), asks(), "64:ff9b::a00:1").startswith(
        "deny"
    )
    assert said(one(allow("web", networks=["@public"])), asks(), "64:ff9b::808:808") == "allow web"
    assert said(one(allow("web", networks=["@public"])), asks(), "64:ff9b::a00:1").startswith(
        "deny"
    )


def test_an_exception_stands_before_a_denied_range() -> None:
    """There was no way to say so (shadowsocks-libev#2322)."""
    rules = Ruleset(
        [
            allow("printer", networks=["10.0.0.9"]),
            deny("inside", networks=["10.0.0.0/8"]),
            allow("rest"),
        ]
    )
    assert said(rules, asks(), "10.0.0.9") == "allow printer"
    assert said(rules, asks(), "10.0.0.8") == "deny inside"


def test_an_allowed_name_does_not_lead_to_a_denied_address() -> None:
    """It did (smokescreen PR 210), and address rules were left out for names (sing-box#326, Xray-core#1460)."""
    rules = Ruleset(
        [deny("inside", networks=["10.0.0.0/8"]), allow("them", names=[".example.com"])]
    )
    assert said(rules, asks(), None) == "allow"
    assert said(rules, asks(), "10.0.0.1") == "deny inside"
    assert said(rules, asks(), PUBLIC) == "allow them"


def test_an_address_of_this_host_is_known_by_asking() -> None:
    asked = []

    def own(host: str, unknown: bool) -> bool:
        asked.append((host, unknown))
        return host == "10.0.0.1"

    rules = Ruleset([deny("own", networks=["@self"]), allow("rest")], own=own)
    assert said(rules, asks(), "64:ff9b::a00:1") == "deny own"
    assert said(rules, asks(), PUBLIC) == "allow rest"
    assert said(one(allow("own", networks=["@self"]), own=own), asks(), "10.0.0.1") == "allow own"
    assert asked == [
        ("64:ff9b::a00:1", True),
        ("10.0.0.1", True),
        (PUBLIC, True),
        ("10.0.0.1", False),
    ]


# ---------------------------------------------------------------- the guard

SPECIAL = ["127.0.0.1", "::1", "169.254.169.254", "64:ff9b::7f00:1", "fe80::1", "224.0.0.1"]


@pytest.mark.parametrize("host", SPECIAL)
@pytest.mark.parametrize("default", ["allow", "deny", "report"])
def test_no_allow_holds_for_a_special_address_unless_it_says_so(host: str, default: str) -> None:
    rules = Ruleset([allow("all"), allow("them", names=["*"])], default=default)
    assert said(rules, asks(), host) == "deny builtin:guard"
    assert said(rules, asks(host)) == "deny builtin:guard"
    assert said(rules, asks(client="127.0.0.1"), host) == "allow all"
    assert said(rules, asks(client="", is_claimed=True), host) == "deny builtin:guard"
    unguarded = Ruleset([allow("them", networks=["0.0.0.0/0", "::/0"], unguarded=True)])
    assert said(unguarded, asks(), host) == "allow them"


@pytest.mark.parametrize("client", ["192.0.2.9", "127.0.0.1"])
def test_nobody_connects_to_the_proxy_through_itself(client: str) -> None:
    ours = {"listeners": {("192.0.2.1", 1080)}, "client": client}
    rules = Ruleset([allow("all", networks=["0.0.0.0/0"], unguarded=True), allow("rest")])
    assert said(rules, asks(port=1080, **ours), "192.0.2.1") == "deny builtin:guard"
    assert said(rules, asks(port=1081, **ours), "192.0.2.1") == "allow all"
    assert said(rules, asks(port=1080, command=BIND, **ours), "192.0.2.1") == "allow all"
    assert said(rules, asks(port=1080, **ours)) == "allow"


# ---------------------------------------------------------------- what is not known


def test_a_deny_by_name_needs_no_address() -> None:
    rules = Ruleset([deny("ads", names=[".ads.example"]), allow("rest")])
    assert said(rules, asks(b"x.ads.example")) == "deny ads"


def test_an_allow_by_name_is_final_only_with_the_address() -> None:
    rules = one(allow("them", names=[".example.com"]))
    assert rules.judge(asks(), None) is ALLOWED
    assert said(rules, asks(), PUBLIC) == "allow them"
    assert said(rules, asks(b"example.org")) == "deny builtin:default"


def test_behind_an_open_deny_nothing_is_allowed_for_good() -> None:
    rules = Ruleset(
        [
            deny("inside", networks=["10.0.0.0/8"]),
            allow("local", clients=["@local"], commands=["udp"]),
        ]
    )
    local = {"client": "127.0.0.1", "command": UDP}
    assert said(rules, asks(**local)) == "allow"
    assert said(rules, asks(**local, is_datagram=True), PUBLIC) == "allow local"
    assert said(one(rules.rules[1]), asks(**local)) == "allow local"
    assert said(rules, asks(b"exa.mple", client="192.0.2.9")) == "deny builtin:default"


@pytest.mark.parametrize("held", [b"\0", b"", "0.0.0.0", "127.0.0.1", b"ads.example"])
def test_an_association_is_open_whatever_its_request_holds(held: Any) -> None:
    """A deny of loopback refused every one (3proxy#1022)."""
    rules = Ruleset(
        [
            deny("loopback", networks=["@loopback"]),
            deny("ads", names=["ads.example"]),
            deny("no-mail", ports=[25]),
            allow("rest"),
        ]
    )
    assert rules.judge(asks(held, 25, UDP), None) is ALLOWED
    assert said(Ruleset([deny("udp", commands=["udp"])]), asks(held, 25, UDP)) == "deny udp"


def test_a_datagram_is_judged_with_its_user_and_its_target() -> None:
    """Its user was left out (gost#328)."""
    rules = Ruleset(
        [
            deny("ads", names=[".ads.example"]),
            allow("dns", users=["alice"], commands=["udp"], ports=[53]),
        ]
    )
    datagram = {"command": UDP, "is_datagram": True, "user": "alice"}
    assert said(rules, asks(b"x.ads.example", 53, **datagram)) == "deny ads"
    assert said(rules, asks(PUBLIC, 53, **datagram)) == "allow dns"
    assert said(rules, asks(PUBLIC, 54, **datagram)) == "deny builtin:default"
    assert said(rules, asks(PUBLIC, 53, **datagram | {"user": "bob"})) == "deny builtin:default"


@pytest.mark.parametrize("zeros", ["0.0.0.0", "::", b""])
def test_a_bind_without_a_peer_is_open(zeros: Any) -> None:
    rules = Ruleset([deny("them", networks=[PUBLIC]), allow("peers", commands=["bind"])])
    assert said(rules, asks(zeros, 0, BIND)) == "allow"
    assert said(rules, asks(zeros, 0, BIND), PUBLIC) == "deny them"
    assert said(rules, asks(zeros, 0, BIND), OTHER) == "allow peers"
    assert said(rules, asks(zeros, 0, BIND), "127.0.0.1") == "deny builtin:guard"
    assert said(rules, asks(PUBLIC, 0, BIND)) == "deny them"
    assert said(rules, asks(OTHER, 0, BIND)) == "allow peers"


def test_a_name_that_goes_by_an_upstream_is_not_resolved_here() -> None:
    through = allow("far", names=[".example.com"], via="upstream")
    assert one(through).judge(asks(), None) == Verdict(True, "far", "upstream")
    assert said(one(through), asks(), "127.0.0.1") == "deny builtin:guard"
    assert said(one(through), asks(b"", 0, BIND)) == "deny builtin:default"
    assert said(one(allow("far", via="upstream")), asks(b"", 0, BIND)) == "allow"
    behind = Ruleset([deny("inside", networks=["@private"]), through])
    assert behind.judge(asks(), None) is ALLOWED
    assert behind.judge(asks(), PUBLIC).via == "upstream"


# ---------------------------------------------------------------- what verdicts carry


def test_a_deny_may_say_how_it_is_replied() -> None:
    for reply, code in [("not-allowed", 2), ("unreachable", 4), ("refused", 5)]:
        rules = Ruleset([deny("them", reply=reply)])
        assert rules.judge(asks(), None) == Verdict(False, "them", reply=code)


@pytest.mark.parametrize(
    ("written", "source"),
    [
        ((), NO_SOURCE),
        (("accepted",), ACCEPTED),
        (("203.0.113.7",), PerFamily("203.0.113.7")),
        (("2001:db8::7", "203.0.113.7"), PerFamily("203.0.113.7", "2001:db8::7")),
    ],
)
def test_an_allow_may_say_from_where_and_under_which_limits(
    written: tuple[str, ...], source: Any
) -> None:
    rules = one(allow("them", source=written, limits=["per-person"]))
    verdict = rules.judge(asks(), PUBLIC)
    assert (verdict.source, verdict.limits) == (source, ("per-person",))
    assert rules.judge(asks(), PUBLIC) is verdict


def test_a_rule_that_only_reports_is_noted_where_it_would_have_decided_otherwise() -> None:
    rules = Ruleset(
        [
            deny("video", names=[".video.example"], report_only=True),
            deny("nets", networks=[PUBLIC], report_only=True),
            allow("more", ports=[25], report_only=True),
            deny("no-mail", ports=[25]),
            allow("rest"),
        ]
    )
    video = asks(b"a.video.example")
    assert rules.judge(video, None) == Verdict(True, would=("video",))
    assert rules.judge(video, PUBLIC) == Verdict(True, "rest", would=("video", "nets"))
    assert rules.judge(video, OTHER) == Verdict(True, "rest", would=("video",))
    mail = Verdict(False, "no-mail", agreed=("video",))
    assert rules.judge(asks(b"a.video.example", 25), OTHER) == replace(mail, would=("more",))
    mail = Verdict(False, "no-mail", would=("more",), agreed=("nets",))
    assert rules.judge(asks(PUBLIC, 25), None) == mail
    assert rules.judge(asks(), OTHER) == Verdict(True, "rest")
    reporting = Ruleset(
        [deny("video", names=[".video.example"], report_only=True)], default="report"
    )
    assert reporting.judge(video, PUBLIC).would == ("builtin:default", "video")


# ---------------------------------------------------------------- what cannot be

BAD = [
    ({"rules": [deny("a"), deny("a")]}, 'there are two rules "a"'),
    (
        {"rules": [deny("builtin:mine")]},
        'expected a name of your own for a rule, got "builtin:mine"',
    ),
    ({"rules": [deny("")]}, 'got ""'),
    ({"rules": [Rule("a", "permit")]}, 'expected "allow" or "deny", got "permit"'),
    ({"rules": [], "default": "no"}, 'expected "allow", "deny" or "report", got "no"'),
    ({"rules": [allow("a", unguarded=True)]}, "unguarded needs networks"),
    ({"rules": [allow("a", source=["1.1.1.1"], via="x")]}, "source does not go with via"),
    ({"rules": [allow("a", reply="refused")]}, "an allow has no reply"),
    ({"rules": [deny("a", reply="no")]}, 'expected one of "not-allowed", "unreachable", "refused"'),
    ({"rules": [deny("a", limits=["x"])]}, "a deny has neither unguarded, source, via nor limits"),
    ({"rules": [deny("a", source=["1.1.1.1"])]}, "a deny has neither"),
    ({"rules": [deny("a", via="x")]}, "a deny has neither"),
    ({"rules": [deny("a", unguarded=True, networks=["::1"])]}, "a deny has neither"),
    ({"rules": [allow("a", source=["x"])]}, 'expected an address or "accepted", got "x"'),
    ({"rules": [allow("a", source=["1.1.1.1", "1.1.1.2"])]}, "expected one address a family"),
    ({"rules": [deny("a", networks=["@x"])]}, "there is no [networks.x]"),
    ({"rules": [deny("a", names=["@x"])]}, "there is no [names.x]"),
    ({"rules": [deny("a", networks=["@self"])]}, "nobody says which addresses @self has"),
    ({"rules": [deny("a", networks=["x"])]}, "expected a network or @set"),
    ({"rules": [deny("a", names=["/"])]}, "expected a name, .suffix or @set"),
    ({"rules": [deny("a", ports=["x"])]}, "expected a port"),
    (
        {"rules": [deny("a", commands=["x"])]},
        'expected one of "connect", "bind", "udp", "resolve", got "x"',
    ),
    ({"rules": [deny("a", during=["x"])], "zone": "UTC"}, "expected days"),
    ({"rules": [deny("a", during=["mon"])]}, "during needs a time zone"),
    ({"rules": [], "zone": "Nowhere"}, "expected a time zone"),
    ({"rules": [deny("a", names=["@x"])], "names": {"x": ["@y"]}}, "sets do not nest"),
]


@pytest.mark.parametrize(("parts", "says"), BAD)
def test_what_cannot_be_a_rule_is_said(parts: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        Ruleset(**parts)
