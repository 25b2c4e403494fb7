"""Days, weeks and months of the calendar."""

from datetime import date

import pytest

from socks5.policy.periods import next_begin, period_of


@pytest.mark.parametrize(
    ("span", "day", "name", "following"),
    [
        ("day", date(2026, 11, 27), "2026-11-27", date(2026, 11, 28)),
        ("day", date(2026, 12, 31), "2026-12-31", date(2027, 1, 1)),
        ("week", date(2026, 11, 27), "2026-W48", date(2026, 11, 30)),
        ("week", date(2026, 11, 30), "2026-W49", date(2026, 12, 7)),
        ("week", date(2027, 1, 3), "2026-W53", date(2027, 1, 4)),
        ("week", date(2027, 1, 4), "2027-W01", date(2027, 1, 11)),
        ("month", date(2026, 11, 1), "2026-11", date(2026, 12, 1)),
        ("month", date(2026, 12, 31), "2026-12", date(2027, 1, 1)),
        ("month", date(2028, 1, 31), "2028-01", date(2028, 2, 1)),
    ],
)
def test_a_day_is_in_a_period_and_another_follows(
    span: str, day: date, name: str, following: date
) -> None:
    assert period_of(span, day) == name
    assert next_begin(span, day) == following
