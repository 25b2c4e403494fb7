"""Kinds of values that rules, sets and listeners are made of: networks, names, users, methods, hours.

What they mean is :mod:`socks5.policy`'s; here they are only looked at, and stay as the file has them. ``@NAME`` is a
set, and ``file:PATH`` a list of such in a file of its own.
"""

from __future__ import annotations

import re
from abc import abstractmethod

from typing_extensions import override

from socks5.app.config.files import check_path
from socks5.app.config.values import IPAddress, Kind, Schema, Wrong, either, meant, quoted
from socks5.policy import hours
from socks5.policy.sets import check_client, check_name, check_network
from socks5.protocol.address import MAX_NAME
from socks5.settings import METHOD_NAMES

_OCTET = "25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]"
_IPV4 = re.compile(rf"({_OCTET})\.({_OCTET})\.({_OCTET})\.({_OCTET})(?:/([1-2]?[0-9]|3[0-2]))?")
"""Most networks, which are looked at in a sixth of the time."""

FILE = "file:"
"""Before the path of a list."""

METHODS = (*METHOD_NAMES, "certificate")
"""How a client may have said who it is, for rules."""


def is_file(text: str) -> bool:
    """Whether an entry is a list in a file, by a path that can be one."""
    if not text.startswith(FILE):
        return False
    try:
        check_path(text.removeprefix(FILE))
    except ValueError:
        return False
    return True


class Entry(Kind):
    """An entry of a list: something of a sort, perhaps a ``@set`` of such, or ``file:PATH``."""

    @override
    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise self.wrong(value)
        try:
            if value.startswith(FILE):
                check_path(value.removeprefix(FILE))
            else:
                self.check(value)
        except ValueError as error:
            raise Wrong(str(error)) from None
        return value

    @abstractmethod
    def check(self, text: str) -> None:
        """Look whether a text is an entry.

        :raises ValueError: says what was expected.
        """

    @override
    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1}


class NetworkEntry(Entry):
    """A network, or an address.

    :param takes_sets: whether ``@set`` is one.
    """

    example = "192.0.2.0/24"

    def __init__(self, takes_sets: bool = True) -> None:
        self.words = "a network or @set" if takes_sets else "a network"
        self._takes_sets = takes_sets

    @override
    def check(self, text: str) -> None:
        ipv4 = _IPV4.fullmatch(text)
        if ipv4 is None or not _is_network(*map(int, ipv4.groups("32"))):
            check_network(text, self._takes_sets)


def _is_network(first: int, second: int, third: int, fourth: int, prefix: int) -> bool:
    """Whether no bit of an address is behind the prefix."""
    return not (first << 24 | second << 16 | third << 8 | fourth) & ((1 << 32 - prefix) - 1)


class ClientEntry(Entry):
    """A network or an address, ``@local`` or ``@unix``."""

    words = "a network or @set"
    example = "@local"

    @override
    def check(self, text: str) -> None:
        check_client(text)


class NameEntry(Entry):
    """A name, or a pattern of names.

    :param takes_sets: whether ``@set`` is one.
    """

    example = ".example.com"

    def __init__(self, takes_sets: bool = True) -> None:
        self.words = "a name, .suffix or @set" if takes_sets else "a name or .suffix"
        self._takes_sets = takes_sets

    @override
    def check(self, text: str) -> None:
        check_name(text, self._takes_sets)


class UserEntry(Entry):
    """A user's name."""

    words = "the name of a user"
    example = "alice"

    @override
    def check(self, text: str) -> None:
        if not text or len(text.encode()) > MAX_NAME or not text.isprintable():
            raise ValueError(f"expected {self.words}, got {quoted(text)}")


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


class Hours(Entry):
    """Days, hours, or hours of days."""

    words = 'days and a time of day, such as "mon-fri 08:00-18:00"'
    example = "mon-fri 08:00-18:00"

    @override
    def check(self, text: str) -> None:
        hours.check(text)


class RuleSource(Kind):
    """Where an allowed target is reached from."""

    words = 'an IP address of this host, or "accepted"'
    example = "203.0.113.7"

    @override
    def read(self, value: object) -> str:
        return (
            "accepted"
            if value == "accepted"
            else IPAddress(self.words, is_of_a_host=True).read(value)
        )

    @override
    def schema(self) -> Schema:
        return {"type": "string"}
