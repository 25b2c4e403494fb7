"""Kinds of values that options have: each makes the value of a text, or says what was expected.

What a sentence is about, the option, is put before it by who reads the option.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from socks5.app.config.keyed import reader
from socks5.app.config.keys import AUTO_WORKERS
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

_SERVICE = re.compile(r"[A-Za-z0-9_.-]+(@[A-Za-z0-9_.:-]+)?")


def workers(text: str) -> int:
    """A number of processes, or one for each processor."""
    count: int = reader("server.workers")(text)
    return worker_count("auto") if count == AUTO_WORKERS else count


def max_sessions(text: str) -> int:
    """How many at a time; 0, or ``auto``, is what the limit of open files allows."""
    count: int = reader("server.max_sessions")("auto" if text == "0" else text)
    return count


def some_of(values: Mapping[str, Any]) -> Kind:
    """Some of a few words, with commas between them; the value has what they stand for, in the order of *values*."""

    def read(text: str) -> tuple[Any, ...]:
        names = text.split(",")
        if not set(names) <= values.keys():
            raise ValueError(f"expected some of {','.join(values)}, got {text!r}")
        return tuple(value for name, value in values.items() if name in names)

    return read


methods = some_of(METHOD_NAMES)
protections = some_of(PROTECTION_NAMES)


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
