"""IPv4 addresses within IPv6 ones: where an address may lead that a translator or a tunnel understands."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Network, ip_address

_Reading = Callable[[int], int]
"""Takes an IPv4 address out of an IPv6 one."""


def _at(shift: int) -> _Reading:
    """The 32 bits that so many others follow."""
    return lambda address: address >> shift & 0xFFFFFFFF


def _behind(length: int) -> _Reading:
    """The 32 bits behind a prefix of that length, with the octet "u" left out (RFC 6052 section 2.2)."""
    return lambda address: (
        (address >> 64 << 56 | address & (1 << 56) - 1) >> 88 - length & 0xFFFFFFFF
    )


_LAST = _at(0)

_CARRIERS: tuple[tuple[str, tuple[_Reading, ...]], ...] = (
    ("::/96", (_LAST,)),  # IPv4-compatible (RFC 4291 section 2.5.5.1)
    ("::ffff:0:0/96", (_LAST,)),  # IPv4-mapped (section 2.5.5.2)
    ("::ffff:0:0:0/96", (_LAST,)),  # IPv4-translated: SIIT (RFC 2765 section 2.1)
    ("64:ff9b::/96", (_LAST,)),  # NAT64, the well-known prefix (RFC 6052 section 2.1)
    ("2002::/16", (_at(80),)),  # 6to4 (RFC 3056 section 2)
    # Teredo (RFC 4380 section 4): its server, and the client, whose bits are inverted
    ("2001::/32", (_at(64), lambda address: ~address & 0xFFFFFFFF)),
)
"""Where an IPv6 address carries IPv4 ones."""

_LOCAL_NAT64 = "64:ff9b:1::/48"  # RFC 8215

_LOCAL_READINGS = (_behind(48), _behind(56), _behind(64), _LAST)
"""Which prefix of that network a NAT64 has, and so where the IPv4 address is, cannot be told (RFC 6052 section 2.2
has these within it).
"""

_ISATAP = 0x5EFE  # RFC 5214 section 6.1: under any prefix, with any value of the bits "u" and "g"


def _prefix(network: str) -> tuple[int, int]:
    """How far to shift an address, and what is left of one of this network."""
    parsed = IPv6Network(network)
    shift = 128 - parsed.prefixlen
    return shift, int(parsed.network_address) >> shift


_PREFIXES = tuple((*_prefix(network), readings) for network, readings in _CARRIERS)

_LOCAL_SHIFT, _LOCAL_PREFIX = _prefix(_LOCAL_NAT64)


def carried(address: int) -> list[int]:
    """The IPv4 addresses that an IPv6 address may lead to."""
    found = [
        read(address)
        for shift, prefix, readings in _PREFIXES
        if address >> shift == prefix
        for read in readings
    ]
    if address >> 32 & 0xFCFFFFFF == _ISATAP:
        found.append(_LAST(address))
    if address >> _LOCAL_SHIFT == _LOCAL_PREFIX:
        found += _by_local_nat64(address)
    return found


def _by_local_nat64(address: int) -> list[int]:
    """All that it may mean. What begins with 0 is the rest of another reading: no translator sends there."""
    readings = [read(address) for read in _LOCAL_READINGS]
    return [each for each in readings if each >> 24] or readings


def meanings(host: str) -> list[str]:
    """An IP literal, and the IPv4 addresses that it may lead to.

    :raises ValueError: *host* is no IP literal.
    """
    address = ip_address(host)
    others = [] if address.version == 4 else carried(int(address))
    return [host, *(str(IPv4Address(each)) for each in others)]
