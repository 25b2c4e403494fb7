"""Kinds of values that options have: each makes the value of a text, or says what was expected.

What a sentence is about, the option, is put before it by who reads the option.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from socks5.app.inherit import worker_count
from socks5.protocol.gssapi import Protection
from socks5.protocol.networks import Networks
from socks5.server.session import COMMAND_NAMES
from socks5.settings import METHOD_NAMES, PerFamily

Kind = Callable[[str], Any]
"""Makes the value of a text. It raises ValueError with a sentence, "expected …, got …"."""

COMMANDS = {name: command for command, name in COMMAND_NAMES.items()}

PROTECTION_NAMES = {
    "none": Protection.NONE,
    "integrity": Protection.INTEGRITY,
    "confidentiality": Protection.CONFIDENTIALITY,
}
"""How the command line calls the levels of RFC 1961 section 4.2."""

ANY_SERVICE = "any"
"""The SERVICE that stands for every key of a keytab."""

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_TIME = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|[smhd]))+", re.ASCII)
_YEAR = 31_536_000

_SERVICE = re.compile(r"[A-Za-z0-9_.-]+(@[A-Za-z0-9_.:-]+)?")


def _seconds_of(text: str) -> float:
    """:raises ValueError: neither a number nor one with its unit."""
    if not _TIME.fullmatch(text):
        return float(text)
    parts = re.findall(r"([0-9.]+)([a-z]+)", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def time(text: str) -> float:
    """A time of 0.1 s or more, in seconds: ``30s``, ``5m``, ``1h30m``; without a unit it is seconds."""
    try:
        value = _seconds_of(text)
    except ValueError:
        value = -1.0
    if not 0.1 <= value <= _YEAR:
        raise ValueError(f"expected a time from 0.1s to 365d, such as 30s or 5m, got {text!r}")
    return value


def time_or_off(text: str) -> float:
    """The same, or ``off``, which is 0."""
    try:
        value = 0.0 if text == "off" else _seconds_of(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _YEAR:
        raise ValueError(f"expected a time up to 365d, such as 30s or 5m, or off, got {text!r}")
    return value


def whole_seconds_or_off(last: int) -> Kind:
    """A time in whole seconds, or ``off``, which is 0."""

    def read(text: str) -> int:
        try:
            value = 0.0 if text == "off" else _seconds_of(text)
        except ValueError:
            value = -1.0
        if not (0 <= value <= last and value == int(value)):
            raise ValueError(
                f"expected whole seconds up to {last}, such as 180 or 3m, or off, got {text!r}"
            )
        return int(value)

    return read


def number(first: int, last: int, **words: int) -> Kind:
    """A whole number.

    :param words: what stands for one.
    """
    also = "".join(f" or {word}" for word in words)

    def read(text: str) -> int:
        if text in words:
            return words[text]
        if not (text.isascii() and text.isdigit() and first <= int(text) <= last):
            raise ValueError(f"expected a whole number from {first} to {last}{also}, got {text!r}")
        return int(text)

    return read


def workers(text: str) -> int:
    """A number of processes, or one for each processor."""
    try:
        return worker_count(text)
    except ValueError:
        raise ValueError(f"expected a whole number from 1 to 1024 or auto, got {text!r}") from None


def choice(names: Sequence[str]) -> Kind:
    """One of a few words."""

    def read(text: str) -> str:
        if text not in names:
            raise ValueError(f"expected {' or '.join(names)}, got {text!r}")
        return text

    return read


def some_of(values: Mapping[str, Any]) -> Kind:
    """Some of a few words, with commas between them; the value has what they stand for, in the order of *values*."""

    def read(text: str) -> tuple[Any, ...]:
        names = text.split(",")
        if not set(names) <= values.keys():
            raise ValueError(f"expected some of {','.join(values)}, got {text!r}")
        return tuple(value for name, value in values.items() if name in names)

    return read


commands = some_of(COMMANDS)
methods = some_of(METHOD_NAMES)
protections = some_of(PROTECTION_NAMES)


def ports(text: str) -> tuple[int, int]:
    """A range of ports."""
    first, dash, last = text.partition("-")
    numbers = [int(n) for n in (first, last if dash else first) if n.isascii() and n.isdigit()]
    if not (len(numbers) == 2 and 1 <= numbers[0] <= numbers[1] <= 65535):
        raise ValueError(f"expected FIRST-LAST, from 1 to 65535, the lower one first, got {text!r}")
    return numbers[0], numbers[1]


def networks(text: str) -> Networks:
    """Networks and addresses, with commas between them."""
    try:
        return Networks.parse(text)
    except ValueError as error:
        wrong = str(error)
    try:
        meant = f"; did you mean {ip_network(wrong, strict=False)}, or {wrong.partition('/')[0]}?"
    except ValueError:
        meant = ""
    raise ValueError(
        f"expected networks, such as 192.0.2.0/24 or 2001:db8::/32, got {wrong!r}{meant}"
    )


def address(text: str) -> str:
    """An IP address."""
    try:
        ip_address(text)
    except ValueError:
        raise ValueError(f"expected an IP address, got {text!r}") from None
    return text


def host(text: str) -> PerFamily:
    """The IP address of a machine, as the one of its family."""
    parsed = ip_address(address(text))
    if parsed.is_unspecified or getattr(parsed, "ipv4_mapped", None) or "%" in text:
        raise ValueError(f"expected the address of a machine, got {text!r}")
    return PerFamily(ipv4=text) if parsed.version == 4 else PerFamily(ipv6=text)


def both_families(before: PerFamily, more: PerFamily) -> PerFamily:
    """What two options that name a :func:`host` say together."""
    if (before.ipv4 and more.ipv4) or (before.ipv6 and more.ipv6):
        raise ValueError(f"expected one address per family, got also {more.ipv4 or more.ipv6!r}")
    return PerFamily(before.ipv4 or more.ipv4, before.ipv6 or more.ipv6)


def service(text: str) -> str:
    """What tickets are for."""
    if not _SERVICE.fullmatch(text):
        raise ValueError(
            f"expected SERVICE, SERVICE@HOST or {ANY_SERVICE}, such as rcmd or rcmd@proxy.example, "
            f"got {text!r}"
        )
    return text


def realm(text: str) -> tuple[str]:
    """A Kerberos realm."""
    if not text or "@" in text:
        raise ValueError(f"expected a realm, such as EXAMPLE.ORG, got {text!r}")
    return (text,)


def path(text: str) -> str:
    """A path."""
    if not text:
        raise ValueError("expected a file, got ''")
    return text


def path_or_output(text: str) -> str:
    """A path, or ``-``."""
    if not text:
        raise ValueError("expected a file or -, got ''")
    return text
