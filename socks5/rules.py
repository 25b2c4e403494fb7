"""Who may do what to which address. Pure decisions: no I/O.

The rules that hold when nothing else is said: clients on this host may go anywhere; clients
elsewhere may go anywhere except to addresses that would turn the proxy into a door to this host or
its neighbourhood - loopback, link-local and cloud-metadata addresses, multicast, broadcast, the
unspecified address - in whatever form they are written. Decided on the address that is dialled, so
neither a name nor an IPv6 address that carries an IPv4 one gets round it. And nobody connects to the proxy
through itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Network, ip_address, ip_network
from typing import ClassVar

from zope.interface import implementer

from socks5.interfaces import Access, IRules
from socks5.protocol.networks import Networks

SPECIAL_NETWORKS = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # "this network" (RFC 6890); Linux connects 0.0.0.0 to itself
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, and most clouds' metadata service
        "224.0.0.0/4",  # multicast
        "255.255.255.255/32",  # limited broadcast
        "100.100.100.200/32",  # Alibaba Cloud's metadata service
        "168.63.129.16/32",  # Azure's host agent
        "192.0.0.192/32",  # Oracle Cloud's metadata service (Classic)
        "::/128",  # unspecified
        "::1/128",  # loopback
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local, deprecated: what still takes them takes them for its own (RFC 3879)
        "ff00::/8",  # multicast
        "fd00:ec2::/32",  # AWS's metadata service and others like it
        "fd00:100::100:200/128",  # Alibaba Cloud's
        "fd00:42::42/128",  # Scaleway's
        "fd00:a9fe:a9fe::1/128",  # Linode's
        "fd00:c1::a9fe:a9fe/128",  # Oracle Cloud's
        "fd20:ce::254/128",  # Google Cloud's
    )
)
"""Destinations for clients on this host only."""

_SPECIAL = Networks(SPECIAL_NETWORKS)

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


def _carried(address: int) -> list[int]:
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


@lru_cache(maxsize=4096)
def is_special(host: str) -> bool:
    """Whether an IP literal is, or leads to, one of :data:`SPECIAL_NETWORKS`.

    :raises ValueError: *host* is no IP literal.
    """
    address = ip_address(host)
    number = int(address)
    if address.version == 4:
        return _SPECIAL.holds(number, 4)
    return _SPECIAL.holds(number, 16) or any(_SPECIAL.holds(each, 4) for each in _carried(number))


def meanings(host: str) -> list[str]:
    """An IP literal, and the IPv4 addresses that it may lead to.

    :raises ValueError: *host* is no IP literal.
    """
    address = ip_address(host)
    carried = [] if address.version == 4 else _carried(int(address))
    return [host, *(str(IPv4Address(each)) for each in carried)]


@implementer(IRules)
class Rules:
    """The rules that hold when nothing else is said; see the module. Subclass it to add to them."""

    reaches_itself: ClassVar[bool] = False
    """Whether clients may connect to the proxy's own listeners through it."""

    def allows(self, access: Access, address: str | None) -> bool:
        """See :meth:`socks5.interfaces.IRules.allows`."""
        if address is None:
            return True
        if is_special(address) and not access.is_local:
            return False
        return self.reaches_itself or not access.leads_to_us(address)
