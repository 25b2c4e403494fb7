"""Kinds of values with a unit: times, sizes, rates, events, quotas.

A number without its unit is an error that names what it could have meant.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from socks5.app.config.values import Kind, Schema, as_toml

_TIMES = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_BINARY = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}
_DECIMAL = {"TB": 10**12, "GB": 10**9, "MB": 10**6, "kB": 1000}
_SIZES: Mapping[str, int] = {**_BINARY, **_DECIMAL, "KB": 1000, "B": 1}
_BITS = {"Tbit": 10**12, "Gbit": 10**9, "Mbit": 10**6, "kbit": 1000, "bit": 1}
_EVENTS = {"s": 1.0, "min": 60.0, "h": 3600.0}
PERIODS = ("day", "week", "month")
"""What a quota is for, in the calendar of ``server.zone``."""

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_SIZE = re.compile(rf"({_NUMBER})({'|'.join(_SIZES)})")
_RATE = re.compile(rf"({_NUMBER})({'|'.join([*_SIZES, *_BITS])})/s")
_TIME = re.compile(
    rf"(?:({_NUMBER})d)?(?:({_NUMBER})h)?(?:({_NUMBER})m)?(?:({_NUMBER})s)?(?:({_NUMBER})ms)?"
)

MOST_SECONDS = 31_536_000.0
"""A year: more is a mistake."""


class Quantity(Kind):
    """A number with a unit, as a text.

    :cvar readings: units that are proposed to who has left it out.
    """

    readings: Sequence[str] = ()
    pattern = ""
    """Of a text, for the schema."""

    @override
    def read(self, value: object) -> Any:
        if not isinstance(value, str):
            raise self.wrong(value, self._without_unit(value))
        found = self._read(value)
        if found is None:
            raise self.wrong(value, self._without_unit(value) or self._remedy(value))
        return found

    @abstractmethod
    def _read(self, text: str) -> Any:
        """What it means; None if nothing."""

    def _remedy(self, text: str) -> str:
        """What could be done about a text, with its semicolon."""
        return ""

    def _without_unit(self, value: object) -> str:
        text = "" if isinstance(value, bool) else str(value)
        if not re.fullmatch(_NUMBER, text):
            return ""
        *first, last = (as_toml(f"{text}{unit}") for unit in self.readings)
        return f"; a unit is missing: {', '.join(first)} or {last}"

    @override
    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^({self.pattern})$"}


class Time(Quantity):
    """A time, in seconds.

    :param least: the shortest.
    :param is_off_allowed: whether ``"off"`` is one; it reads as 0, which is not to be had otherwise.
    :param is_whole: whether it is whole seconds, and read as an int.
    :param most: the longest.
    """

    readings = ("s", "m", "h")
    pattern = f"(?=.){_TIME.pattern}"
    example = "30s"

    def __init__(
        self,
        least: float = 0.0,
        is_off_allowed: bool = False,
        is_whole: bool = False,
        most: float = MOST_SECONDS,
    ) -> None:
        self._least, self._most = least, most
        self._is_off_allowed, self._is_whole = is_off_allowed, is_whole
        self.pattern += "|off" if is_off_allowed else ""
        bounds = f", {time_text(least)} or more" if least else ""
        bounds += f", {time_text(most)} at the most" if most < MOST_SECONDS else ""
        self.words = (
            f'{"whole seconds" if is_whole else "a time"}, such as "30s" or "1h30m"{bounds}'
            + (', or "off"' if is_off_allowed else "")
        )

    @override
    def _read(self, text: str) -> float | None:
        if text == "off":
            return 0 if self._is_off_allowed else None
        found = _TIME.fullmatch(text) if text else None
        if found is None:
            return None
        pairs = zip(found.groups(), _TIMES.values(), strict=True)
        seconds = sum(float(number) * unit for number, unit in pairs if number is not None)
        is_nothing = seconds == 0 and self._is_off_allowed
        if is_nothing or not self._least <= seconds <= self._most:
            return None
        if self._is_whole:
            return int(seconds) if seconds == int(seconds) else None
        return round(seconds, 6)

    @override
    def _remedy(self, text: str) -> str:
        if (
            self._is_off_allowed
            and _TIME.fullmatch(text)
            and not float("0" + re.sub("[^1-9]", "", text))
        ):
            return '; write "off"'
        spelt = re.sub(r"\s+", "", text)
        for unit, words in _SPELT.items():
            spelt = re.sub(rf"(?<=[0-9])(?:{words})(?![a-z])", unit, spelt, flags=re.IGNORECASE)
        return f"; did you mean {as_toml(spelt)}?" if spelt != text and self._read(spelt) else ""

    @override
    def show(self, value: Any) -> object:
        return "off" if value == 0 and self._is_off_allowed else time_text(value)


_SPELT = {
    "ms": "ms|msecs?|milliseconds?",
    "s": "s|secs?|seconds?",
    "m": "m|mins?|minutes?",
    "h": "h|hours?|hrs?",
    "d": "d|days?",
}
"""How people write units."""


def time_text(seconds: float) -> str:
    """A time as the file has it."""
    left, text = round(seconds * 1000), ""
    for unit, size in _TIMES.items():
        count, left = divmod(left, round(size * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def size_text(octets: int) -> str:
    """A size as the file has it."""
    for unit, size in {**_BINARY, **_DECIMAL}.items():
        if octets and octets % size == 0:
            return f"{octets // size}{unit}"
    return f"{octets}B"


def _size(text: str) -> int | None:
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    octets = float(found[1]) * _SIZES[found[2]]
    return int(octets) if octets == int(octets) and octets < 1 << 62 else None


class Size(Quantity):
    """So many octets.

    :param least: the fewest.
    :param most: the most.
    """

    readings = ("B", "KiB", "MiB")
    pattern = _SIZE.pattern
    example = "64KiB"

    def __init__(self, least: int = 1, most: int = 1 << 40) -> None:
        self._least, self._most = least, most
        bounds = f" from {size_text(least)} to {size_text(most)}"
        self.example = "64KiB" if least <= 65536 <= most else size_text(most)
        self.words = f'a size{bounds}, such as "64KiB" or "20MB"'

    @override
    def _read(self, text: str) -> int | None:
        octets = _size(text)
        return octets if octets is not None and self._least <= octets <= self._most else None

    @override
    def show(self, value: Any) -> object:
        return size_text(value)


class Rate(Quantity):
    """Octets a second."""

    readings = ("MiB/s", "MB/s", "Mbit/s")
    pattern = _RATE.pattern
    words = 'a rate, such as "20MiB/s" or, in bits, "100Mbit/s"'
    example = "20MiB/s"

    @override
    def _read(self, text: str) -> float | None:
        found = _RATE.fullmatch(text)
        if found is None:
            return None
        number, unit = float(found[1]), found[2]
        octets = number * _BITS[unit] / 8 if unit in _BITS else number * _SIZES[unit]
        return octets if 1 <= octets < 1e15 else None

    @override
    def _remedy(self, text: str) -> str:
        spelt = re.sub(r"\s", "", text)
        if found := re.fullmatch(rf"({_NUMBER})([KkMmGg])(?:b/s|bps|b)", spelt):
            unit = found[2].upper() if found[2] in "mMgG" else "k"
            return f'; did you mean "{found[1]}{unit}B/s" or "{found[1]}{unit}bit/s"?'
        return next(
            (
                f"; did you mean {as_toml(each)}?"
                for each in (f"{spelt}/s", spelt)
                if self._read(each) is not None
            ),
            "",
        )

    @override
    def show(self, value: Any) -> object:
        return f"{size_text(int(value))}/s" if value == int(value) else f"{value * 8:g}bit/s"


class Events(Quantity):
    """So many events in so many seconds: a pair."""

    readings = ("/s", "/min")
    pattern = rf"[0-9]{{1,9}}/({'|'.join(_EVENTS)})"
    words = 'events in a time, such as "20/s" or "120/min"'
    example = "120/min"

    @override
    def _read(self, text: str) -> tuple[int, float] | None:
        if not re.fullmatch(self.pattern, text):
            return None
        number, _, unit = text.partition("/")
        return (int(number), _EVENTS[unit]) if int(number) else None

    @override
    def _remedy(self, text: str) -> str:
        found = re.fullmatch(r"([0-9]+) */ *(sec|second|m|minute|hour)", text)
        unit = {"sec": "s", "second": "s", "hour": "h"}.get(found[2], "min") if found else ""
        return f'; did you mean "{found[1]}/{unit}"?' if found else ""

    @override
    def show(self, value: Any) -> object:
        return f"{value[0]}/{next(unit for unit, size in _EVENTS.items() if size == value[1])}"


class Quota(Quantity):
    """So many octets in a calendar day, week or month: a pair."""

    readings = ("GiB/day", "GiB/month")
    pattern = rf"{_SIZE.pattern}/({'|'.join(PERIODS)})"
    words = 'a size a day, week or month, such as "5GiB/day"'
    example = "5GiB/day"

    @override
    def _read(self, text: str) -> tuple[int, str] | None:
        size, _, period = text.partition("/")
        octets = _size(size)
        return (octets, period) if octets and period in PERIODS else None

    @override
    def _remedy(self, text: str) -> str:
        return f'; did you mean "{text}/day" or "{text}/month"?' if _size(text) else ""

    @override
    def show(self, value: Any) -> object:
        return f"{size_text(value[0])}/{value[1]}"
