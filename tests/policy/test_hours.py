"""Times of the week, by a wall clock that jumps twice a year."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from socks5.policy.hours import Hours, check, check_zone

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> int:
    """The second that a wall clock in Berlin shows, the first one of two; or in UTC, with a Z behind."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=BERLIN)).timestamp())


def holds(entry: str, *moments: str) -> list[bool]:
    hours = Hours([entry], BERLIN)
    return [hours.holds(at(moment)) for moment in moments]


# 2026-11-30 is a Monday.


def test_days_and_times_are_those_of_the_zone() -> None:
    assert holds(
        "mon-fri 08:00-18:00",
        *("2026-11-30T07:59:59", "2026-11-30T08:00:00", "2026-11-30T17:59:59"),
        *("2026-11-30T18:00:00", "2026-11-29T12:00:00", "2026-11-30T07:00:00Z"),
    ) == [False, True, True, False, False, True]


def test_days_alone_are_whole_and_a_time_alone_is_daily() -> None:
    assert holds("sat,sun", "2026-11-28T00:00", "2026-11-29T23:59", "2026-11-30T00:00") == [
        True,
        True,
        False,
    ]
    assert holds("08:00-24:00", "2026-11-28T23:59", "2026-11-29T07:59") == [True, False]
    assert holds("00:00-24:00", "2026-11-28T23:59", "2026-11-29T00:00") == [True, True]
    assert holds("fri-mon,wed", *(f"2026-11-{day}T12:00" for day in range(23, 30))) == [
        *(True, False, True, False, True, True, True)
    ]


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    """It held only behind midnight once (zmeventnotificationNg#52)."""
    assert holds(
        "sun 22:00-06:00",
        *("2026-11-29T05:00", "2026-11-29T21:59", "2026-11-29T22:00"),
        *("2026-11-30T05:59", "2026-11-30T06:00", "2026-11-30T22:30"),
    ) == [False, False, True, True, False, False]


def test_both_nights_of_the_year_go_by_the_wall_clock() -> None:
    """Summer time moved rules (openwrt#9470)."""
    # 2026-03-29: 02:00 becomes 03:00, at 01:00 UTC
    spring = ["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z"]
    assert holds("sun 01:00-02:00", *spring) == [True, False]
    assert holds("sun 02:00-03:00", *spring) == [False, False]
    assert holds("sun 03:00-04:00", *spring) == [False, True]
    assert holds("sat 22:00-06:00", "2026-03-29T03:59:59Z", "2026-03-29T04:00:00Z") == [True, False]
    # 2026-10-25: 03:00 becomes 02:00, at 01:00 UTC
    autumn = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"]
    assert holds("sun 02:00-03:00", *autumn) == [True, True, False]
    assert holds("08:00-18:00", "2026-03-30T06:00:00Z", "2026-10-26T07:00:00Z") == [True, True]


def test_of_several_one_is_enough() -> None:
    hours = Hours(["mon 08:00-09:00", "tue"], BERLIN)
    moments = ["2026-11-30T08:30", "2026-12-01T20:00", "2026-12-02T08:30"]
    assert [hours.holds(at(moment)) for moment in moments] == [True, True, False]
    assert hours.holds(at(moments[2])) is False
    assert hours.shown(at(moments[0])) == "Mon 08:30 Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "days are mon, tue"),
        ("monday", 'expected days and a time of day, got "monday"; days are mon, tue'),
        ("mon-", "days are"),
        ("Mon", "days are"),
        ("mon  08:00-18:00", 'write "mon-fri 08:00-18:00"'),
        ("mon fri 08:00-18:00", 'write "mon-fri 08:00-18:00"'),
        ("mon 08:00", 'a time of day is as in "08:00-18:00"'),
        ("8:00-18:00", "a time of day is as in"),
        ("24:00-08:00", "a day begins at 00:00 and ends at 24:00"),
        ("08:00-24:01", "a day begins"),
        ("08:60-18:00", "a day begins"),
        ("08:00-18:60", "a day begins"),
        ("mon 08:00-08:00", "the edges are equal"),
        ("\u0660\u0668:00-18:00", "got"),
    ],
)
def test_what_is_no_time_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        check(text)


@pytest.mark.parametrize("zone", ["", "Berlin", "Europe/Nowhere", "../etc/passwd", "a" * 300])
def test_a_zone_that_this_host_does_not_know_is_said(zone: str) -> None:
    with pytest.raises(ValueError, match=r'expected a time zone, got ".*"; write UTC'):
        check_zone(zone)
    assert check_zone("Europe/Berlin") == BERLIN
    assert datetime.fromtimestamp(0, check_zone("UTC")).astimezone(UTC).hour == 0
