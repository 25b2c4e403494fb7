"""Where in a TOML text a key and its value stand.

:mod:`tomllib` does not say. This looks only through text that it has accepted, so nothing here need be checked
again, and what is found are the paths of its tree.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Path = tuple[str | int, ...]
"""The way to a value: keys, and the numbers of items, from 0."""


class Spot(NamedTuple):
    """Where something stands, as offsets in characters.

    :param key: of the key; of an item of an array, the item itself.
    :param value: of the value; of a table, the bracket or the key that begins it.
    """

    key: int
    value: int


@dataclass(frozen=True, slots=True)
class Lines:
    """Turns offsets into lines and columns.

    :param text: what they are in.
    """

    text: str
    _starts: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts = [0, *(found.end() for found in re.finditer("\n", self.text))]
        object.__setattr__(self, "_starts", starts)

    def of(self, offset: int) -> tuple[int, int]:
        """The line and the column, in characters, of an offset; both from 1."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


_BETWEEN = r"[ \t\r\n]*(?:#[^\n]*[ \t\r\n]*)*"
_BETWEEN_LINES = re.compile(_BETWEEN)
_BLANKS = re.compile(r"[ \t]*")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'[^']*'""")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_SCALAR_TEXT = (
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'"
    r"|[^\s,\]}#\[{]+(?:[ ][0-9][^\s,\]}#]*)?"  # the blank is a date's, before its time
)
_SCALAR = re.compile(_SCALAR_TEXT, re.DOTALL)
_SIMPLE_TEXT = r""""[^"\\\n]*"|'[^'\n]*'|[A-Za-z0-9+._-]+"""
_SIMPLE = re.compile(_SIMPLE_TEXT)
_ORDINARY = re.compile(
    r"([A-Za-z0-9_-]+)[ \t]*=[ \t]*(?:"
    rf"(\[[ \t]*(?:{_SIMPLE_TEXT})(?:[ \t]*,[ \t]*(?:{_SIMPLE_TEXT}))*[ \t]*\])|({_SCALAR_TEXT})){_BETWEEN}",
    re.DOTALL,
)
"""What most lines are: a key, and an array on one line or a scalar. With what is behind it until the next one."""

_ARRAY = 2
"""The group of it that is an array."""


def places(text: str) -> Mapping[Path, Spot]:
    """Every path of the tree that :func:`tomllib.loads` makes of a text, tables that nobody wrote out included.

    :param text: accepted by tomllib.
    """
    return _Finder(text).find()


class _Finder:
    """One walk through a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found: dict[Path, Spot] = {(): Spot(0, 0)}
        self._counts: dict[Path, int] = {}
        """Of each array that ``[[...]]`` makes, how many tables it has."""

    def find(self) -> Mapping[Path, Spot]:
        text, found = self._text, self._found
        table: Path = ()
        self._skip(_BETWEEN_LINES)
        while self._at < len(text):
            ordinary = _ORDINARY.match(text, self._at)
            if ordinary is not None:
                self._at = ordinary.end()
                path, kind = (*table, ordinary[1]), ordinary.lastindex or 0
                start, end = ordinary.span(kind)
                found[path] = Spot(ordinary.start(), start)
                if kind == _ARRAY:
                    for number, item in enumerate(_SIMPLE.finditer(text, start, end)):
                        found[(*path, number)] = Spot(item.start(), item.start())
                continue
            if text[self._at] == "[":
                table = self._header()
            else:
                self._statement(table)
            self._skip(_BETWEEN_LINES)
        return found

    def _skip(self, pattern: re.Pattern[str]) -> str:
        """Go behind what matches here, and return it."""
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _key(self) -> list[tuple[str, int]]:
        """The parts of a dotted key, each with its offset."""
        parts = []
        while True:
            start = self._at
            part = self._skip(_BARE)
            if not part:
                quoted = self._skip(_QUOTED)
                is_plain = "\\" not in quoted or quoted[0] == "'"
                part = quoted[1:-1] if is_plain else tomllib.loads(f"key={quoted}")["key"]
            parts.append((part, start))
            if not self._skip(_DOT):
                return parts

    def _header(self) -> Path:
        """``[table]`` or ``[[table]]``; what its statements are in."""
        start = self._at
        is_item = self._text.startswith("[[", start)
        self._at += 1 + is_item
        self._skip(_BLANKS)
        parts = self._key()
        self._skip(_BLANKS)
        self._at += 1 + is_item
        path: Path = ()
        for part, offset in parts[:-1]:
            path = (*path, part)
            self._found.setdefault(path, Spot(offset, start))
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
        part, offset = parts[-1]
        path = (*path, part)
        if not is_item:
            self._found[path] = Spot(offset, start)
            return path
        self._found.setdefault(path, Spot(offset, start))
        number = self._counts.get(path, 0)
        self._counts[path] = number + 1
        path = (*path, number)
        self._found[path] = Spot(start, start)
        return path

    def _statement(self, table: Path) -> None:
        """``key = value``, of which the value may hold others."""
        open_: list[
            tuple[Path, int]
        ] = []  # arrays, with the number of the next item, and inline tables, with -1
        path = self._named(table)
        while True:
            offset = self._at
            self._found[path] = Spot(
                self._found[path].key if path in self._found else offset, offset
            )
            first = self._text[offset]
            if first in "[{":
                self._at += 1
                open_.append((path, 0 if first == "[" else -1))
            else:
                self._skip(_SCALAR)
            while open_:
                self._skip(_BETWEEN_LINES)
                if self._text[self._at] == ",":
                    self._at += 1
                    self._skip(_BETWEEN_LINES)
                if self._text[self._at] not in "]}":
                    break
                self._at += 1
                open_.pop()
            if not open_:
                return
            container, number = open_[-1]
            if number < 0:
                path = self._named(container)
            else:
                open_[-1] = container, number + 1
                path = (*container, number)

    def _named(self, table: Path) -> Path:
        """What a key in a table leads to; the position is behind its ``=`` then."""
        path = table
        for part, offset in self._key():
            path = (*path, part)
            self._found.setdefault(path, Spot(offset, offset))
        self._skip(_EQUALS)
        return path
