"""What a limit is, and its words."""

from typing import Any

import pytest

from socks5.policy.limit import (
    Limit,
    client_text,
    events_text,
    size_text,
    who_key,
    who_text,
)
from socks5.protocol.networks import subscriber


@pytest.mark.parametrize(
    ("numbers", "is_metered"),
    [
        ({}, False),
        ({"sessions": 1, "client_addresses": 2, "new_sessions": (3, 60.0)}, False),
        ({"up": 1.0}, True),
        ({"down": 1.0}, True),
        ({"total": 1.0}, True),
        ({"quota": (1, "day")}, True),
    ],
)
def test_rates_and_quotas_are_about_what_moves(numbers: Any, is_metered: bool) -> None:
    assert Limit("some", **numbers).is_metered is is_metered


@pytest.mark.parametrize(
    "numbers",
    [
        {"sessions": 0},
        {"client_addresses": -1},
        {"new_sessions": (0, 60.0)},
        {"new_sessions": (1, 0.0)},
        {"down": 0.0},
        {"total": float("nan")},
        {"quota": (0, "day")},
        {"quota": (1, "year")},
        {"quota": (1, "day"), "per": "session"},
        {"per": "planet"},
    ],
)
def test_what_limits_nothing_is_none(numbers: Any) -> None:
    with pytest.raises(ValueError, match=r"limit some|not a valid"):
        Limit("some", **numbers)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (1, "1B"),
        (1000, "1KB"),
        (1024, "1KiB"),
        (1500, "1500B"),
        (2097152.0, "2MiB"),
        (50e6, "50MB"),
        (200 << 30, "200GiB"),
        (10**9, "1GB"),
    ],
)
def test_sizes_in_words(octets: float, text: str) -> None:
    assert size_text(octets) == text


def test_events_in_words() -> None:
    assert [events_text(5, seconds) for seconds in (1, 60.0, 3600.0, 2.5)] == [
        "5/s",
        "5/min",
        "5/h",
        "5/2.5s",
    ]


@pytest.mark.parametrize(
    ("who", "text", "key"),
    [
        ("", "", ""),
        ("alice", "user alice", "user:alice"),
        (subscriber("192.0.2.1"), "client 192.0.2.1", "client:192.0.2.1"),
        (subscriber("2001:db8::1"), "client 2001:db8::/64", "client:2001:db8::/64"),
        (subscriber("fe80::1"), "client fe80::1", "client:fe80::1"),
        (subscriber(""), "client unix", "client:unix"),
    ],
)
def test_who_shares_a_counter_in_words(who: str | bytes, text: str, key: str) -> None:
    assert (who_text(who), who_key(who)) == (text, key)
    if isinstance(who, bytes):
        assert client_text(who) == text.removeprefix("client ")
