"""Values of the file: what each kind takes, and the sentence for what it does not."""

import datetime
from typing import Any

import pytest

from socks5.app.config.values import (
    Choice,
    Count,
    Flag,
    Hidden,
    IPAddress,
    Kind,
    Listed,
    PortRange,
    Secret,
    Several,
    Text,
    Wrong,
    as_key,
    as_toml,
    quoted,
)

NUMBER = Count(1, 9, "auto")
HOST = IPAddress("an address of this host", is_of_a_host=True)
SWITCH = Choice({"on": 1, "off": 0})


@pytest.mark.parametrize(
    ("kind", "written", "read"),
    [
        (Flag(), True, True),
        (Text(), "a", "a"),
        (Secret("TYPE:ARGUMENTS"), "memory:a:b", Hidden("memory:a:b")),
        (Text("a name", "[a-z]+"), "abc", "abc"),
        (SWITCH, "off", 0),
        (Choice(["a", "b"]), "b", "b"),
        (NUMBER, 3, 3),
        (NUMBER, "auto", 0),
        (PortRange(), "1-65535", (1, 65535)),
        (PortRange(), 443, (443, 443)),
        (PortRange(is_list_item=True), "8000-8999", "8000-8999"),
        (PortRange(is_list_item=True), 443, 443),
        (IPAddress(), "::", "::"),
        (HOST, "2001:db8::1", "2001:db8::1"),
        (Listed(NUMBER), [1, "auto"], (1, 0)),
        (Listed(NUMBER), 1, (1,)),
    ],
)
def test_a_value_is_read_and_shown_again(kind: Kind, written: Any, read: Any) -> None:
    found = kind.read(written)
    assert found == read
    assert type(found) is type(read)
    assert kind.read(kind.show(found)) == found


@pytest.mark.parametrize(
    ("kind", "written", "sentence"),
    [
        (Flag(), 1, "expected true or false, got 1"),
        (Flag(), "True", 'expected true or false, got "True"; write true'),
        (Text(), 3, 'expected a text, got 3; write "3"'),
        (Text(), True, "expected a text, got true"),
        (Text(), "", 'expected a text, got ""'),
        (Text(), "a\0b", r'expected a text, got "a\u0000b"'),
        (Text("a name", "[a-z]+"), "A", 'expected a name, got "A"'),
        (Secret("TYPE:ARGUMENTS"), ["memory:a:b"], "expected TYPE:ARGUMENTS"),
        (SWITCH, "of", 'expected "on" or "off", got "of"; did you mean "off"?'),
        (SWITCH, 0, 'expected "on" or "off", got 0'),
        (SWITCH, ["on"], 'expected "on" or "off", got ["on"]'),
        (NUMBER, 0, 'expected a whole number from 1 to 9 or "auto", got 0'),
        (NUMBER, True, 'expected a whole number from 1 to 9 or "auto", got true'),
        (NUMBER, 1.0, 'expected a whole number from 1 to 9 or "auto", got 1.0'),
        (Count(0, 9), "7", 'expected a whole number from 0 to 9, got "7"; write 7, without quotes'),
        (Count(0, 9), "", 'expected a whole number from 0 to 9, got ""'),
        (PortRange(), 0, f"expected {PortRange.words}, got 0"),
        (PortRange(), True, f"expected {PortRange.words}, got true"),
        (PortRange(), "1-65536", f'expected {PortRange.words}, got "1-65536"'),
        (PortRange(), "90-80", f'expected {PortRange.words}, got "90-80"; did you mean "80-90"?'),
        (PortRange(), "443", f'expected {PortRange.words}, got "443"; write 443, without quotes'),
        (PortRange(), [1, 2], f"expected {PortRange.words}, got [1, 2]"),
        (IPAddress(), 1, "expected an IP address, got 1"),
        (IPAddress(), "[::1]", 'expected an IP address, got "[::1]"; write "::1"'),
        (IPAddress(), "localhost", 'expected an IP address, got "localhost"'),
        (HOST, "0.0.0.0", 'expected an address of this host, got "0.0.0.0"'),
        (HOST, "::ffff:1.2.3.4", 'expected an address of this host, got "::ffff:1.2.3.4"'),
        (HOST, "fe80::1%eth0", 'expected an address of this host, got "fe80::1%eth0"'),
        (
            Listed(NUMBER),
            [],
            "expected something in the list; leave the key out where nothing is meant",
        ),
    ],
)
def test_what_is_no_such_value_is_said_in_a_sentence(
    kind: Kind, written: Any, sentence: str
) -> None:
    with pytest.raises(Wrong) as raised:
        kind.read(written)
    assert str(raised.value) == sentence


def test_everything_that_is_wrong_in_a_list_is_said() -> None:
    with pytest.raises(Several, match="2 errors") as raised:
        Listed(NUMBER).read([1, "x", 2, 0])
    assert [path for path, _ in raised.value.errors] == [(1,), (3,)]


def test_a_list_of_secrets_is_secret() -> None:
    assert Listed(Secret()).is_secret


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("\u00e4\u202e\U000e0001\n", r'"ä\u202e\U000e0001\n"'),
        ({"a b": {}, "c": 1}, "a table"),
        ([1, {}], "a list of tables"),
        (datetime.date(2026, 11, 29), "2026-11-29"),
        ("x" * 70, '"' + "x" * 58 + "…"),
        (["socks5://a:s/e@c@[::1]", "a:s@x:1", "b@C"], '["socks5://…@[::1]", "…@x:1", "b@C"]'),
    ],
)
def test_a_sentence_quotes_a_value_as_the_file_has_it(value: Any, text: str) -> None:
    assert quoted(value) == text


def test_a_table_can_be_written_on_a_line() -> None:
    assert as_toml({"a b": {}, "c": [1, {}]}) == '{ "a b" = {}, c = [1, {}] }'


def test_a_key_is_quoted_where_that_is_needed() -> None:
    assert (as_key("a-b_1"), as_key("a.b"), as_toml([True, "x"])) == (
        "a-b_1",
        '"a.b"',
        '[true, "x"]',
    )
