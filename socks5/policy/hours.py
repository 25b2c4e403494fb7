"""Times of the week, by the wall clock of a zone: ``mon-fri 08:00-18:00``, ``22:00-06:00``, ``sat,sun``.

What goes over midnight belongs to the day that it begins on. The wall clock is asked anew each second, for it jumps:
what a night in spring leaves out is not there, and what one in autumn has twice is there twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from socks5.policy.ranges import quoted

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_A_DAY = 24 * 60  # minutes
_A_WEEK = 7 * _A_DAY

_DAY = "|".join(DAYS)
_SPAN = re.compile(rf"({_DAY})(?:-({_DAY}))?\Z")
_TIMES = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})\Z")


def _expected(text: str, remedy: str) -> ValueError:
    return ValueError(f"expected days and a time of day, got {quoted(text)}; {remedy}")


def check(text: str) -> int:
    """What stands among ``during``.

    :returns: a bit for each minute of the week, the first of Monday's the lowest.
    :raises ValueError: it is none. What it says is a sentence for whoever wrote it.
    """
    words = text.split(" ")
    times = words.pop() if words[-1][:1].isdigit() else "00:00-24:00"
    if len(words) > 1:
        raise _expected(text, 'write "mon-fri 08:00-18:00"')
    first, minutes = _times(text, times)
    window = (1 << minutes) - 1
    found = 0
    for day in _days(text, words[0]) if words else range(7):
        found |= window << day * _A_DAY + first
    return found & (1 << _A_WEEK) - 1 | found >> _A_WEEK  # behind Sunday's midnight is Monday


def _days(text: str, days: str) -> Iterator[int]:
    for part in days.split(","):
        span = _SPAN.match(part)
        if span is None:
            raise _expected(text, f'days are {", ".join(DAYS)}, as in "mon-fri" or "sat,sun"')
        first = DAYS.index(span[1])
        last = first if span[2] is None else DAYS.index(span[2])
        for number in range((last - first) % 7 + 1):
            yield (first + number) % 7


def _times(text: str, times: str) -> tuple[int, int]:
    """The first minute of the day, and how many there are."""
    found = _TIMES.match(times)
    if found is None:
        raise _expected(text, 'a time of day is as in "08:00-18:00"')
    start, end = (int(found[at]) * 60 + int(found[at + 1]) for at in (1, 3))
    if start >= _A_DAY or end > _A_DAY or int(found[2]) > 59 or int(found[4]) > 59:
        raise _expected(text, "a day begins at 00:00 and ends at 24:00")
    if start == end:
        raise _expected(text, 'the edges are equal; leave the time out, or write "00:00-24:00"')
    return start, (end - start) % _A_DAY or _A_DAY


def check_zone(text: str) -> ZoneInfo:
    """A time zone by its name, such as ``Europe/Berlin``.

    :raises ValueError: this host knows none of that name.
    """
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = (
            "write UTC, or a name as Europe/Berlin; a host without the package tzdata knows none"
        )
        raise ValueError(f"expected a time zone, got {quoted(text)}; {known}") from None


@lru_cache(maxsize=8)
def _minute(second: int, zone: tzinfo) -> int:
    """The minute of the week."""
    there = datetime.fromtimestamp(second, zone)
    return there.weekday() * _A_DAY + there.hour * 60 + there.minute


class Hours:
    """Some times of the week in a zone.

    :param entries: see :func:`check`.
    :param zone: whose wall clock counts.
    """

    __slots__ = ("_holds", "_minutes", "_second", "_zone")

    def __init__(self, entries: Iterable[str], zone: tzinfo) -> None:
        self._minutes = 0
        for text in entries:
            self._minutes |= check(text)
        self._zone = zone
        self._second = -1
        self._holds = False

    def holds(self, second: int) -> bool:
        """Whether it is such a time.

        :param second: since 1970.
        """
        if second != self._second:
            self._second = second
            self._holds = bool(self._minutes >> _minute(second, self._zone) & 1)
        return self._holds

    def shown(self, second: int) -> str:
        """What time it is there."""
        there = datetime.fromtimestamp(second, self._zone)
        return f"{DAYS[there.weekday()].title()} {there:%H:%M} {self._zone}"
