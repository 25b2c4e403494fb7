"""Days, weeks and months of the calendar, by their names: ``2026-11-27``, ``2026-W48`` (ISO 8601), ``2026-11``."""

from __future__ import annotations

from datetime import date, timedelta

from socks5.policy.limit import Span


def period_of(span: str, day: date) -> str:
    """The name of the one that *day* is in."""
    if span == Span.DAY:
        return day.isoformat()
    if span == Span.WEEK:
        year, week, _ = day.isocalendar()
        return f"{year:04}-W{week:02}"
    return f"{day.year:04}-{day.month:02}"


def next_begin(span: str, day: date) -> date:
    """The first day of the next one."""
    if span == Span.DAY:
        return day + timedelta(1)
    if span == Span.WEEK:
        return day + timedelta(8 - day.isoweekday())
    return (day.replace(day=1) + timedelta(32)).replace(day=1)
