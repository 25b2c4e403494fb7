"""A file of settings as it was read: a tree, and where everything in it stands; and what is wrong with it, in
sentences that begin with that place.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from typing_extensions import override

from socks5.app.config.places import Lines, Path, Spot, places
from socks5.app.config.uncollected import uncollected
from socks5.app.config.values import SHOWN, as_key, as_toml
from socks5.app.config.wording import IN_A_FILE, Wording
from socks5.files import NOT_REGULAR, read

_STREAMS = ("/dev", "/dev/fd", "/proc/self/fd")

MAX_FILE = 16 * 1024 * 1024
"""Octets of a file."""

LISTED = "rule"
"""The section that is a list: what is in it is called by its name."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something was said.

    :param source: the file, as it was named; or the option.
    :param line: from 1; 0 for an option.
    :param column: in characters, from 1; 0 for an option, and for a whole line.
    """

    source: str
    line: int = 0
    column: int = 0

    @override
    def __str__(self) -> str:
        numbers = (number for number in (self.line, self.column) if number)
        return ":".join([self.source, *map(str, numbers)])


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or hardly meant.

    :param place: where it was said.
    :param what: the key, as people call it; "" where the place says it.
    :param sentence: "expected ..., got ...; remedy".
    """

    place: Place
    what: str
    sentence: str

    @override
    def __str__(self) -> str:
        return ": ".join(filter(None, [str(self.place), self.what, self.sentence]))


class Refused(ValueError):
    """Something is wrong, and nothing is made of it.

    :param problems: all of it, in the order of the file.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Places(Protocol):
    """Tells where the parts of a tree were said."""

    def of(self, path: Path, is_key: bool) -> Place:
        """Where the value of a path was said, or its key.

        :param path: may be of something that is not there: then where it is missing.
        """


@dataclass(frozen=True)
class TextPlaces:
    """Places in a text that tomllib has accepted; not looked for before somebody asks.

    :param text: the text.
    :param file: how it is called.
    """

    text: str
    file: str

    @cached_property
    def _spots(self) -> Mapping[Path, Spot]:
        return places(self.text)

    @cached_property
    def _lines(self) -> Lines:
        return Lines(self.text)

    def of(self, path: Path, is_key: bool) -> Place:
        """See :meth:`Places.of`."""
        is_there = path in self._spots
        while path not in self._spots:
            path = path[:-1]
        spot = self._spots[path]
        return Place(self.file, *self._lines.of(spot.key if is_key and is_there else spot.value))


@dataclass(frozen=True)
class Document:
    """What was said.

    :param tree: as tomllib makes it.
    :param places: where.
    :param folder: what paths in it are relative to.
    :param text: all of it; "" if it was no file.
    :param file: how it is called; "" if it was none.
    :param wording: how sentences call what can be said.
    """

    tree: Mapping[str, Any] = field(repr=False)
    places: Places = field(repr=False)
    folder: str
    text: str = field(default="", repr=False)
    file: str = ""
    wording: Wording = field(default=IN_A_FILE, repr=False)
    lists: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the files of lists hold, by their paths as they were written; filled where they are not to be read again."""

    def problem(self, path: Path, sentence: str, is_about_key: bool = False) -> Problem:
        """What is wrong with the part at a path."""
        place = self.places.of(path, is_about_key)
        return Problem(place, self.name_of(path) if place.line else "", sentence)

    def name_of(self, path: Path) -> str:
        """How people call the part at a path."""
        head, rest = "", path
        if path[:1] == (LISTED,) and len(path) > 1:
            head, rest = self._called(path[1]), path[2:]
        text = ""
        for step in rest:
            text += f"[{step}]" if isinstance(step, int) else f"{'.' if text else ''}{as_key(step)}"
        return ": ".join(filter(None, [head, text]))

    def _called(self, number: Any) -> str:
        try:
            name = self.tree[LISTED][number]["name"]
        except (LookupError, TypeError):
            name = None
        return f"{LISTED} {as_toml(name)}" if isinstance(name, str) else f"{LISTED} {number + 1}"


@uncollected()
def parse(text: str, file: str, folder: str | None = None) -> Document:
    """A text as a document.

    :param file: how it is called.
    :param folder: what paths in it are relative to; default: the folder of *file*.
    :raises socks5.app.config.document.Refused: it is no TOML; says where.
    """
    if folder is None:
        folder = os.path.dirname(os.path.abspath(file))
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refused([_syntax(text, file, str(error))]) from None
    except RecursionError:
        sentence = "expected fewer brackets within brackets"
        raise Refused([Problem(Place(file, 1, 1), "", sentence)]) from None
    except ValueError:  # an integer with more digits than Python reads
        sentence = f"expected a number of {sys.get_int_max_str_digits()} digits at the most"
        raise Refused([Problem(_longest_number(text, file), "", sentence)]) from None
    return Document(tree, TextPlaces(text, file), folder, text, file)


def _syntax(text: str, file: str, message: str) -> Problem:
    found = re.fullmatch(
        r"(?s)(.*) \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)", message
    )
    if found is None or found[2] is None:
        place = Place(file, *Lines(text).of(len(text)))
    else:
        place = Place(file, int(found[2]), int(found[3]))
    words = message if found is None else found[1]
    if words in _WANTED:
        what, remedy = _WANTED[words]
        words = f"expected {what}, got {_at(text, place)}; {remedy}"
    return Problem(place, "", f"this is no TOML: {_printable(words)}")


_WANTED = {
    "Invalid value": ("a value", "a text stands in quotes"),
    "Invalid statement": ("a key", "one of more than a-z, A-Z, 0-9, _ and - stands in quotes"),
    "Expected newline or end of document after a statement": (
        "the end of the line",
        "a text stands in quotes, several values in brackets",
    ),
}
"""What tomllib misses, by its words, and what to do."""

_SECRETS = re.compile(r"pass|secret|\buse\b|auth|upstream")
"""What is in a line that may hold a secret, or in the head of its section."""


def _at(text: str, place: Place) -> str:
    """What stands at a place, to the end of its line."""
    *before, line = text.split("\n")[: place.line]
    head = next((each for each in reversed(before) if each.lstrip().startswith("[")), "")
    rest = line[place.column - 1 :].strip()
    if rest and _SECRETS.search(head + line):
        return "something else"
    return (rest if len(rest) <= SHOWN else f"{rest[: SHOWN - 1]}…") or "nothing"


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _longest_number(text: str, file: str) -> Place:
    longest = max(re.finditer(r"[0-9_]+", text), key=lambda found: len(found[0]))
    return Place(file, *Lines(text).of(longest.start()))


def load(path: str, file: str = "", is_once: bool = False) -> Document:
    """A file as a document.

    :param path: of the file.
    :param file: how it is called; default: as the *path* has it.
    :param is_once: whether it is read no more, so that a pipe will do.
    :raises socks5.app.config.document.Refused: it cannot be read, or is no TOML; says where.
    """
    file = file or path
    try:
        octets = read(path, MAX_FILE + 1, is_once)
    except OSError as error:
        remedy = ""
        if error.strerror == NOT_REGULAR:
            remedy = ", and again for a reload; check, explain and print-config take a pipe"
        sentence = f"expected a file that can be read ({error.strerror}){remedy}"
        raise Refused([Problem(Place(file), "", sentence)]) from None
    if len(octets) > MAX_FILE:
        raise Refused([Problem(Place(file), "", f"expected {MAX_FILE} octets at the most")])
    folder = "" if is_stream(path) else os.path.dirname(path)
    return parse(decoded(octets, file), file, os.path.abspath(folder))


def is_stream(path: str) -> bool:
    """Whether a file is the standard input, or what a shell puts in the place of a command, and has no folder."""
    return os.path.dirname(path) in _STREAMS


def decoded(octets: bytes, file: str) -> str:
    """What a file holds, as text.

    :raises socks5.app.config.document.Refused: it is no UTF-8; says where.
    """
    try:
        text = octets.decode()
    except UnicodeDecodeError as error:
        before = octets[: error.start].decode()
        place = Place(file, *Lines(before).of(len(before)))
        sentence = f"expected UTF-8, got the octet 0x{octets[error.start]:02x}"
        raise Refused([Problem(place, "", sentence)]) from None
    if text.startswith("\ufeff"):
        sentence = "expected UTF-8 without a byte order mark"
        raise Refused([Problem(Place(file, 1, 1), "", sentence)])
    return text
