"""Kinds of values that rules, sets and listeners are made of: networks, names, users, methods, hours.

What they mean is :mod:`socks5.policy`'s; here they are only looked at, and stay as the file has them. ``@NAME`` is a
set, and ``file:PATH`` a list of such in a file of its own.
"""

from __future__ import annotations

import re
from abc import abstractmethod

from typing_extensions import override

from socks5.app.config.files import check_path
from socks5.app.config.tables import NAME
from socks5.app.config.values import (
    Address,
    Kind,
    Schema,
    Wrong,
    as_toml,
    check_network,
    either,
    meant,
)
from socks5.settings import METHOD_NAMES

FILE = "file:"
"""Before the path of a list."""

METHODS = (*METHOD_NAMES, "certificate")
"""How a client may have said who it is, for rules."""


class Entry(Kind):
    """An entry of a list: something of a sort, a ``@set`` of such, or ``file:PATH``.

    :param words: what is expected.
    :param example: one.
    :param takes_sets: whether a set may stand here.
    """

    def __init__(self, words: str, example: str, takes_sets: bool = True) -> None:
        self.words = words + (" or @set" if takes_sets else "")
        self.example = example
        self._takes_sets = takes_sets

    @override
    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise self.wrong(value)
        try:
            self._check(value)
        except ValueError as error:
            raise Wrong(str(error)) from None
        return value

    def _check(self, text: str) -> None:
        if text.startswith(FILE):
            check_path(text.removeprefix(FILE))
        elif text.startswith("@") and self._takes_sets:
            name = text[1:]
            if not NAME.fullmatch(name):
                raise ValueError(f"expected the name of a set behind @, got {as_toml(text)}")
        elif text.startswith("@") and not self._takes_sets:
            raise ValueError(f"expected {self.words}, got {as_toml(text)}; sets do not nest")
        else:
            self.check(text)

    @abstractmethod
    def check(self, text: str) -> None:
        """Look whether a text is an entry; those of lists in files are looked at by this, too.

        :raises ValueError: says what was expected.
        """

    @override
    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1}


class NetworkEntry(Entry):
    """A network or an address."""

    def __init__(self, takes_sets: bool = True) -> None:
        super().__init__("a network", "192.0.2.0/24", takes_sets)

    @override
    def check(self, text: str) -> None:
        check_network(text, self.words)


class NameEntry(Entry):
    """A name, or a pattern of names."""

    def __init__(self, takes_sets: bool = True) -> None:
        super().__init__("a name or .suffix", ".example.com", takes_sets)

    @override
    def check(self, text: str) -> None:
        if not text or re.search(r"[\s/:@]", text):
            raise ValueError(f"expected {self.words}, got {as_toml(text)}{_host_in(text)}")


def _host_in(text: str) -> str:
    found = re.match(r"[a-z]+://([^/:@\s]+)", text)
    return f"; write {as_toml(found[1])}" if found else ""


class UserEntry(Entry):
    """A user's name."""

    def __init__(self) -> None:
        super().__init__("the name of a user", "alice", takes_sets=False)

    @override
    def _check(self, text: str) -> None:
        if text.startswith(FILE):
            check_path(text.removeprefix(FILE))
        else:
            self.check(text)

    @override
    def check(self, text: str) -> None:
        if not text or len(text.encode()) > 255 or not text.isprintable():
            raise ValueError(f"expected {self.words}, got {as_toml(text)}")


class RuleMethod(Kind):
    """How a client has said who it is: a word, or the number of a program's own method."""

    words = f"{either(METHODS)}, or the number of another method"
    example = "password"

    @override
    def read(self, value: object) -> str | int:
        is_number = type(value) is int and 3 <= value <= 254
        if not (is_number or (isinstance(value, str) and value in METHODS)):
            raise self.wrong(value, meant(value, METHODS))
        assert isinstance(value, str | int)
        return value

    @override
    def schema(self) -> Schema:
        number = {"type": "integer", "minimum": 3, "maximum": 254}
        return {"anyOf": [{"enum": list(METHODS)}, number]}


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = "|".join(_DAYS)
_DAY_LIST = rf"(?:{_DAY})(?:-(?:{_DAY}))?(?:,(?:{_DAY})(?:-(?:{_DAY}))?)*"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS = rf"({_CLOCK})-({_CLOCK}|24:00)"
_SPAN = re.compile(rf"(?:{_DAY_LIST})(?: {_HOURS})?|{_HOURS}")


class Hours(Kind):
    """Days, hours, or hours of days."""

    words = 'days and hours, such as "mon-fri 08:00-18:00", "22:00-06:00" or "sat,sun"'
    example = "mon-fri 08:00-18:00"

    @override
    def read(self, value: object) -> str:
        found = _SPAN.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise self.wrong(value)
        ends = [each for each in found.groups() if each]
        if ends and ends[0] == ends[1]:
            raise self.wrong(value, "; for the whole day leave the hours out")
        return found[0]

    @override
    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^({_SPAN.pattern})$"}


class Source(Kind):
    """Where an allowed target is reached from."""

    words = 'an IP address of this host, or "accepted"'
    example = "203.0.113.7"

    @override
    def read(self, value: object) -> str:
        return (
            "accepted"
            if value == "accepted"
            else Address(self.words, is_of_a_host=True).read(value)
        )

    @override
    def schema(self) -> Schema:
        return {"type": "string"}
