"""Quantities of the file: a number is nothing without its unit."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socks5.app.config.quantities import (
    Events,
    Quantity,
    Quota,
    Rate,
    Size,
    Time,
    size_text,
    time_text,
)
from socks5.app.config.values import Wrong

TIME, LONG, IDLE, KEEPALIVE = (
    Time(),
    Time(0.1),
    Time(is_off_allowed=True),
    Time(1, is_whole=True, most=60),
)


@pytest.mark.parametrize(
    ("kind", "written", "read"),
    [
        (TIME, "500ms", 0.5),
        (TIME, "30s", 30.0),
        (TIME, "1.5h", 5400.0),
        (TIME, "1h30m", 5400.0),
        (TIME, "7d", 604800.0),
        (TIME, "0s", 0.0),
        (IDLE, "off", 0),
        (KEEPALIVE, "60s", 60),
        (Size(), "64KiB", 65536),
        (Size(), "20MiB", 20 << 20),
        (Size(), "1GB", 10**9),
        (Size(), "1.5kB", 1500),
        (Size(0), "0B", 0),
        (Rate(), "20MiB/s", 20 << 20),
        (Rate(), "100Mbit/s", 12_500_000),
        (Rate(), "12bit/s", 1.5),
        (Events(), "20/s", (20, 1.0)),
        (Events(), "120/min", (120, 60.0)),
        (Quota(), "5GiB/day", (5 << 30, "day")),
        (Quota(), "50GB/month", (50 * 10**9, "month")),
    ],
)
def test_a_quantity_is_read_and_shown_again(kind: Quantity, written: str, read: Any) -> None:
    assert kind.read(written) == read
    assert kind.read(kind.show(read)) == read
    assert re.search(kind.schema()["pattern"], written)


@pytest.mark.parametrize(
    ("kind", "written", "end"),
    [
        (TIME, 30, 'got 30; a unit is missing: "30s", "30m" or "30h"'),
        (TIME, 0.5, 'got 0.5; a unit is missing: "0.5s", "0.5m" or "0.5h"'),
        (TIME, "30", 'got "30"; a unit is missing: "30s", "30m" or "30h"'),
        (TIME, True, "got true"),
        (TIME, "", 'got ""'),
        (TIME, "30m1h", 'got "30m1h"'),
        (TIME, "off", 'got "off"'),
        (TIME, "400d", 'got "400d"'),
        (TIME, "-1s", 'got "-1s"'),
        (TIME, "30 sec", 'got "30 sec"; did you mean "30s"?'),
        (TIME, "1 hour 5 Minutes", 'got "1 hour 5 Minutes"; did you mean "1h5m"?'),
        (LONG, "50ms", ', 100ms or more, got "50ms"'),
        (IDLE, "0s", ', or "off", got "0s"; write "off"'),
        (
            KEEPALIVE,
            "1500ms",
            'whole seconds, such as "30s" or "1h30m", 1s or more, 1m at the most, got "1500ms"',
        ),
        (KEEPALIVE, "61s", 'got "61s"'),
        (Size(), 64, 'got 64; a unit is missing: "64B", "64KiB" or "64MiB"'),
        (Size(), "0.3B", 'from 1B to 1TiB, such as "64KiB" or "20MB", got "0.3B"'),
        (Size(), "1kib", 'got "1kib"'),
        (Rate(), 8, 'got 8; a unit is missing: "8MiB/s", "8MB/s" or "8Mbit/s"'),
        (Rate(), "20MB", 'got "20MB"; did you mean "20MB/s"?'),
        (Rate(), "20 MB/s", 'got "20 MB/s"; did you mean "20MB/s"?'),
        (Rate(), "20Mb/s", 'got "20Mb/s"; did you mean "20MB/s" or "20Mbit/s"?'),
        (Rate(), "5kbps", 'got "5kbps"; did you mean "5kB/s" or "5kbit/s"?'),
        (Rate(), "0B/s", 'got "0B/s"'),
        (Events(), 20, 'got 20; a unit is missing: "20/s" or "20/min"'),
        (Events(), "20/minute", 'got "20/minute"; did you mean "20/min"?'),
        (Events(), "20/sec", 'got "20/sec"; did you mean "20/s"?'),
        (Events(), "0/s", 'got "0/s"'),
        (Quota(), 5, 'got 5; a unit is missing: "5GiB/day" or "5GiB/month"'),
        (Quota(), "5GiB", 'got "5GiB"; did you mean "5GiB/day" or "5GiB/month"?'),
        (Quota(), "5GiB/year", 'got "5GiB/year"'),
        (Quota(), "0B/day", 'got "0B/day"'),
    ],
)
def test_what_is_none_is_said_with_what_it_could_have_meant(
    kind: Quantity, written: Any, end: str
) -> None:
    with pytest.raises(Wrong) as raised:
        kind.read(written)
    assert str(raised.value).startswith("expected ")
    assert str(raised.value).endswith(end)


@given(st.integers(0, 31_536_000_000))
def test_every_time_can_be_written(milliseconds: int) -> None:
    assert TIME.read(time_text(milliseconds / 1000)) == milliseconds / 1000


@given(st.integers(0, 1 << 40))
def test_every_size_can_be_written(octets: int) -> None:
    assert Size(0).read(size_text(octets)) == octets
