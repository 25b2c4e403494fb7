"""What rules and sets are made of, as far as the file can tell."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socks5.app.config.conditions import (
    Hours,
    NameEntry,
    NetworkEntry,
    RuleMethod,
    RuleSource,
    UserEntry,
)
from socks5.app.config.values import Kind, Wrong
from socks5.policy.sets import check_network

EXAMPLES = 'write "www.example.com", ".example.com" or "*.example.com"'


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (NetworkEntry(), "10.0.0.0/8"),
        (NetworkEntry(), "::1"),
        (NetworkEntry(), "@home-1"),
        (NetworkEntry(takes_sets=False), "file:lists/x"),
        (NameEntry(), ".example.com"),
        (NameEntry(), "*.example.com"),
        (NameEntry(), "@x"),
        (UserEntry(), "bob@PARTNER.EXAMPLE"),
        (UserEntry(), "@alice"),
        (UserEntry(), "file:users"),
        (RuleMethod(), "certificate"),
        (RuleMethod(), 128),
        (Hours(), "mon-fri,sun 08:00-24:00"),
        (Hours(), "22:00-06:00"),
        (Hours(), "sat,sun"),
        (RuleSource(), "accepted"),
        (RuleSource(), "::1"),
    ],
)
def test_what_is_one_stays_as_the_file_has_it(kind: Kind, value: Any) -> None:
    assert kind.read(value) == value
    assert kind.schema()


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        (NetworkEntry(), 1, "expected a network or @set, got 1"),
        (NetworkEntry(), "x", 'expected a network or @set, got "x"; names are another key'),
        (NetworkEntry(), "@X", 'expected @ and a name of small letters, digits and "-", got "@X"'),
        (NetworkEntry(), "file:", 'expected a path, got ""'),
        (NetworkEntry(takes_sets=False), "@x", 'expected a network, got "@x"; sets do not nest'),
        (NameEntry(), "", f'expected a name, .suffix or @set, got ""; {EXAMPLES}'),
        (NameEntry(), "a b", f'expected a name, .suffix or @set, got "a b"; {EXAMPLES}'),
        (
            NameEntry(takes_sets=False),
            "http://video.example/",
            'expected a name or .suffix, got "http://video.example/"; write "video.example"',
        ),
        (UserEntry(), "", 'expected the name of a user, got ""'),
        (UserEntry(), "a\n", r'expected the name of a user, got "a\n"'),
        (UserEntry(), "\u00e4" * 128, None),
        (
            UserEntry(),
            "file:~/x",
            'expected a path, got "~/x"; write it out, for ~ is nobody\'s here',
        ),
        (
            RuleMethod(),
            "pasword",
            f'expected {RuleMethod.words}, got "pasword"; did you mean "password"?',
        ),
        (RuleMethod(), True, f"expected {RuleMethod.words}, got true"),
        (RuleMethod(), 2, f"expected {RuleMethod.words}, got 2"),
        (
            Hours(),
            "8-9",
            'expected days and a time of day, got "8-9"; a time of day is as in "08:00-18:00"',
        ),
        (Hours(), 8, f"expected {Hours.words}, got 8"),
        (
            Hours(),
            "08:00-08:00",
            (
                'expected days and a time of day, got "08:00-08:00"; the edges are equal; leave the time out, or write '
                '"00:00-24:00"'
            ),
        ),
        (RuleSource(), "acepted", f'expected {RuleSource.words}, got "acepted"'),
    ],
)
def test_what_is_none_is_said_in_a_sentence(kind: Kind, value: Any, sentence: str | None) -> None:
    with pytest.raises(Wrong) as raised:
        kind.read(value)
    assert sentence is None or str(raised.value) == sentence


def refusal(call: Callable[[], object]) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


@given(st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?", fullmatch=True))
def test_a_network_is_what_the_rules_take_for_one(text: str) -> None:
    assert refusal(lambda: NetworkEntry().read(text)) == refusal(lambda: check_network(text))
