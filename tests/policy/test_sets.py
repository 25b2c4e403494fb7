"""What may stand among networks and names, and what is in a set of them."""

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socks5.policy.ranges import meanings_of, number_of
from socks5.policy.sets import (
    BUILT_IN,
    RANGES,
    Listed,
    Names,
    check_client,
    check_name,
    check_network,
    fixed_end,
    names_that_match,
    network_ranges,
    size_of,
)

# ---------------------------------------------------------------- what may be written


@pytest.mark.parametrize("text", ["10.0.0.0/8", "10.0.0.1", "2001:db8::/32", "::1"])
def test_a_network_or_an_address_is_a_network(text: str) -> None:
    assert check_network(text) == check_network(text, may_be_set=False) == ip_network(text)


def test_sets_have_names_and_some_are_about_clients() -> None:
    assert check_network("@office-2") == check_client("@office-2") == "office-2"
    assert check_client("@local") == "local"
    assert check_client("10.0.0.0/8") == ip_network("10.0.0.0/8")
    assert check_name("@video") == "@video"
    assert "special" in BUILT_IN


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "10.20.0.1/16",
            'expected a network or @set, got "10.20.0.1/16"; did you mean "10.20.0.0/16", or "10.20.0.1"?',
        ),
        ("example.com", 'got "example.com"; names are another key'),
        ("10.0.0.0/255.0.0.0", 'did you mean "10.0.0.0/8", or "10.0.0.0"?'),
        ("10.0.0.0/0.0.0.255", 'did you mean "10.0.0.0/24", or "10.0.0.0"?'),
        ("fe80::1%lo", "an address of a set has no zone"),
        ("10.0.0", 'write "10.0.0.0/8", "10.0.0.1" or "@private"'),
        ("", 'got ""; write'),
        ("@", 'expected @ and a name of small letters, digits and "-", got "@"'),
        ("@Office", 'got "@Office"'),
        ("@local", 'got "@local", which only clients of rules can be'),
    ],
)
def test_what_is_no_network_is_said_with_a_remedy(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        check_network(text)


def test_sets_do_not_nest() -> None:
    for check in (check_network, check_name):
        with pytest.raises(ValueError, match='got "@office"; sets do not nest'):
            check("@office", may_be_set=False)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("WWW.Example.COM.", "www.example.com"),
        (".Example.com", ".example.com"),
        ("*.example.com", "*.example.com"),
        ("ad*.example.com", "ad*.example.com"),
        ("*", "*"),
        (".bücher.example", ".xn--bcher-kva.example"),
        ("localhost", "localhost"),
    ],
)
def test_a_name_is_compared_in_the_form_that_is_asked_for(text: str, plain: str) -> None:
    assert check_name(text) == plain


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "http://video.example/",
            'expected a name, .suffix or @set, got "http://video.example/"; write "video.example"',
        ),
        ("https://user:x@video.example:8443/x", 'write "video.example"'),
        ("1.2.3.4", "addresses belong to networks"),
        ("1.2.3.4.", "addresses belong to networks"),
        (".127.1", "addresses belong to networks"),
        ("0x7f.1", "addresses belong to networks"),
        ("10.0.0.0/8", "addresses belong to networks"),
        ("::1", "addresses belong to networks"),
        ("example.com:443", "a port belongs to ports"),
        ("bü*.example", "with an asterisk within, write it in its ASCII form"),
        ("", 'write "www.example.com", ".example.com" or "*.example.com"'),
        ("..example.com", 'got "..example.com"'),
        ("exa mple.com", 'got "exa mple.com"'),
        ("\udc80.example", "got"),
        ("x" * 64 + ".example", "got"),
    ],
)
def test_what_is_no_name_is_said_with_a_remedy(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        check_name(text)


def sentence(check: Callable[[str], object], text: str) -> str:
    """What is said about *text*; "" if it is taken."""
    try:
        check(text)
    except ValueError as error:
        return str(error)
    return ""


@given(st.text())
def test_whatever_is_written_is_taken_or_said(text: str) -> None:
    for check in (check_network, check_client, check_name):
        assert re.match(
            r"\Z|expected .*, got \".*\"[;,] .*\Z|expected @ .*, got", sentence(check, text)
        )


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("127.0.0.1", "loopback special"),
        ("::", "loopback special"),
        ("169.254.169.254", "link-local metadata special"),
        ("169.254.0.1", "link-local special"),
        ("fd00:ec2::254", "metadata private special"),
        ("255.255.255.255", "multicast special"),
        ("ff02::1", "multicast special"),
        ("10.0.0.1", "private"),
        ("100.64.0.1", "private"),
        ("fc00::1", "private"),
        ("1.1.1.1", "public"),
        ("2606:4700::1111", "public"),
        ("64:ff9b::101:101", "public"),
        ("64:ff9b:1::101:101", ""),
        ("2002:101:101::", ""),
        ("192.0.2.1", ""),
        ("240.0.0.1", ""),
        ("2001:db8::1", ""),
        ("4000::1", ""),
    ],
)
def test_built_in_sets_hold_what_they_are_called_after(host: str, names: str) -> None:
    assert {name for name, ranges in RANGES.items() if number_of(host) in ranges} == set(
        names.split()
    )


@given(st.ip_addresses())
def test_what_is_public_is_not_special_nor_private(host: object) -> None:
    number = number_of(str(host))
    others = number in RANGES["special"] or number in RANGES["private"]
    assert not (number in RANGES["public"] and others)


def test_a_translated_address_has_its_ipv4_meaning_too() -> None:
    """So an allow of what is public does not hold for a private address behind NAT64."""
    assert [number in RANGES["public"] for number in meanings_of("64:ff9b::a00:1")] == [True, False]


def test_networks_of_a_set_may_stand_in_files() -> None:
    entries = ["10.0.0.0/8", Listed("lists/blocked", ["192.0.2.0/24", "::1"])]
    ranges = network_ranges(entries)
    assert [number_of(host) in ranges for host in ("10.1.1.1", "192.0.2.9", "::1", "11.0.0.0")] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["a"], "1 entry"),
        (["a", "b"], "2 entries"),
        ([Listed("x", [])], "1 entry, a file"),
        (["a", Listed("x", ["b", "c"])], "2 entries, 1 of them a file"),
    ],
)
def test_a_set_is_described_by_its_size(entries: list, words: str) -> None:
    assert size_of(entries) == words


# ---------------------------------------------------------------- names

MATCHES = [
    ("www.example.com", "www.example.com", True),
    ("www.example.com", "www2.example.com", False),
    ("www.example.com", "a.www.example.com", False),
    (".example.com", "example.com", True),
    (".example.com", "a.b.example.com", True),
    (".example.com", "notexample.com", False),
    ("*.example.com", "example.com", False),
    ("*.example.com", "example.com.org", False),
    ("*.example.com", "a.b.example.com", True),
    ("ad*.example.com", "ad.example.com", True),
    ("ad*.example.com", "ads.example.com", True),
    ("ad*.example.com", "ad.s.example.com", False),
    ("ad*.example.com", "x.ads.example.com", False),
    ("ad*.example.com", "ads.example.com.org", False),
    (".ad*.example.com", "x.ads.example.com", True),
    (".ad*.example.com", "ads.example.com", True),
    (".ad*.example.com", "xads.example.com", False),
    ("*ads.example.com", "a.bads.example.com", True),
    ("*ads*.example.com", "ads.ads2.example.com", True),
    ("a*b*c.example", "abxbc.example", True),
    ("a*b*c.example", "axc.example", False),
    ("www.*.com", "www.example.com", True),
    ("www.*.com", "www.a.example.com", False),
    ("*.*.com", "a.b.com", True),
    ("*.*.com", "b.com", False),
    ("ad*", "ads", True),
    ("ad*", "ads.example", False),
    ("*", "anything.at.all", True),
]


@pytest.mark.parametrize(("pattern", "name", "is_in"), MATCHES)
def test_a_pattern_holds_for_the_names_that_it_means(pattern: str, name: str, is_in: bool) -> None:
    assert (name in Names([pattern])) is is_in
    assert (name in Names([pattern, "other.example"])) is is_in


def test_a_set_of_names_holds_what_one_of_its_patterns_means() -> None:
    names = Names([".example.com", "ad*.example.org", "x*.example.org", "www.example.net"])
    assert [
        name in names for name in ("a.example.com", "ads.example.org", "xy.example.org", "b.net")
    ] == [True, True, True, False]


labels = st.text("ab*", min_size=1, max_size=4)
patterns = st.builds(
    lambda lead, rest: lead + ".".join(rest),
    st.sampled_from(["", ".", "*.", "*"]),
    st.lists(labels, min_size=1, max_size=3),
)
plain = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=4).map(".".join)


def by_definition(pattern: str) -> str:
    """The same as a regular expression without regard to what it costs."""
    if pattern.startswith("*."):
        lead, rest = ".+[.]", pattern[2:]
    elif pattern.startswith("."):
        lead, rest = "(?:.+[.])?", pattern[1:]
    elif pattern.startswith("*"):
        lead, rest = ".*", pattern[1:]
    else:
        lead, rest = "", pattern
    return lead + rest.replace(".", "[.]").replace("*", "[^.]*")


@given(patterns, plain)
def test_patterns_mean_what_they_are_defined_to_mean(pattern: str, name: str) -> None:
    expected = pattern == "*" or re.fullmatch(by_definition(pattern), name) is not None
    assert (name in Names([pattern])) is expected


@given(patterns, plain)
def test_a_pattern_is_found_by_its_fixed_end(pattern: str, name: str) -> None:
    if name in Names([pattern]):
        assert fixed_end(pattern) in {None, *names_that_match(name)}


def test_asterisks_cost_no_more_than_the_square_of_a_name() -> None:
    names = Names(["*" + "a*" * 30 + "b.example"])
    assert "a" * 63 + "." + "a" * 63 + ".example" not in names


@given(st.lists(st.ip_addresses(v=4), min_size=1), st.ip_addresses(v=4))
def test_single_addresses_are_networks_too(hosts: list, host: object) -> None:
    assert (number_of(str(host)) in network_ranges(list(map(str, hosts)))) is (
        ip_address(str(host)) in hosts
    )
