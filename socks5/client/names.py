"""Targets as a program writes them, and as a proxy is asked for them.

Nothing is resolved here, and nothing of a name is changed but what has to be: one that SOCKS cannot carry is an error,
and never a reason to look it up.
"""

from __future__ import annotations

import re
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.error import DNSLookupError

from socks5.names import hostname
from socks5.protocol.address import Address, unmap
from socks5.protocol.errors import LocalProtocolError

_BRACKETED = re.compile(r"\[(.*:.*)\]")


def literal(host: str) -> str | None:
    """An IP literal in its canonical text, an IPv4-mapped one as the IPv4 one that it means; None for anything else.

    :param host: an IPv6 one may stand in brackets, and has no zone.
    """
    bracketed = _BRACKETED.fullmatch(host)
    if bracketed is not None:
        host = bracketed[1]
    family = AF_INET6 if ":" in host else AF_INET
    try:
        return unmap(inet_ntop(family, inet_pton(family, host)))
    except (OSError, ValueError):
        return None


def port_of(port: int) -> int:
    """:raises ValueError: it is none, or 0."""
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port!r}: expected a number from 1 to 65535")
    return port


def octets_of(text: str) -> bytes:
    """A login's text as it is sent: UTF-8; but what the system gave that is none, as it was (PEP 383).

    :raises ValueError: it is none. Neither text nor error has it.
    """
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise ValueError("a login is text, and this has half a character") from None


def target_of(host: str | bytes, port: int) -> Address:
    """What a proxy is asked to connect to; see :func:`address_of`.

    :param port: 1-65535.
    """
    return address_of(host, port_of(port))


def address_of(host: str | bytes, port: int = 0) -> Address:
    """What a proxy is asked for.

    :param host: an IP literal, or a name: text that is not ASCII goes in its IDNA form (UTS 46), all else as it is.
    :raises ValueError: no such thing can be asked for.
    """
    found = literal(host if isinstance(host, str) else host.decode("latin-1"))
    if found is not None:
        return Address(found, port)
    name = host if isinstance(host, bytes) else _name(host)
    address = Address(name, port)
    try:
        address.encode()
    except LocalProtocolError as error:
        raise ValueError(f"{address.text[:80]!r}: {error}") from None
    return address


def _name(host: str) -> bytes:
    """:raises ValueError: it is no name."""
    if ":" in host:
        what = "expected a name or an address alone, without scheme and port"
        if "%" in host:
            what = "an address with a zone means nothing to a proxy"
        raise ValueError(f"{host!r}: {what}")
    if host.isascii():
        return host.encode()
    try:
        return hostname(host.encode()).encode()
    except (DNSLookupError, UnicodeError):
        raise ValueError(f"{host!r} is not the name of a host") from None


TwistedAddress = IPv4Address | IPv6Address | HostnameAddress


@lru_cache(maxsize=256)
def twisted_address(target: Address) -> TwistedAddress:
    """The same for Twisted."""
    if isinstance(target.host, bytes):
        return HostnameAddress(target.host, target.port)
    return (IPv6Address if ":" in target.host else IPv4Address)("TCP", target.host, target.port)
