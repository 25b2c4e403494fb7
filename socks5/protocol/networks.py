"""Sets of IP networks, to be asked about addresses.

Networks are numbers in a set for each length of prefix, so a question costs a look-up for each length that
occurs, however many networks there are.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from socket import AF_INET, AF_INET6, if_nametoindex, inet_pton
from typing import Any

_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2
_MAPPED_BITS = 96
_LINK_LOCAL = b"\xfe\x80" + bytes(6)  # section 2.5.6

_Table = tuple[tuple[int, frozenset[int]], ...]
"""For each length: how far to shift an address, and the prefixes that there are."""


def packed(host: str) -> bytes:
    """An IP literal's 4 or 16 octets; those of the IPv4 address for one that is IPv4-mapped.

    :param host: may have an IPv6 zone, which is left out.
    :raises ValueError: it is no IP literal.
    """
    try:
        if ":" not in host:
            return inet_pton(AF_INET, host)
        octets = inet_pton(AF_INET6, host.partition("%")[0])
    except OSError:
        raise ValueError(f"no IP address: {host!r}") from None
    return octets[12:] if octets.startswith(_MAPPED) else octets


def socket_name(host: str, port: int) -> tuple[Any, ...]:
    """An IP literal and a port as a socket takes them. The socket module loses an IPv6 zone that stands in the
    literal.

    :param host: may have an IPv6 zone.
    :raises OSError: this machine has no interface of that name, ENODEV.
    """
    if "%" not in host:
        return host, port
    literal, _, zone = host.partition("%")
    try:
        return literal, port, 0, if_nametoindex(zone)
    except OSError:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from None


def subscriber(host: str) -> bytes:
    """Whom a client's address stands for, where clients share something: an IPv4 address, or the /64 that one
    subscriber has of IPv6 (RFC 6177). All link-local addresses are in one /64, so each of them stands for itself.

    :param host: an IP literal, or "".
    :returns: 4 or 8 octets, 16 of a link-local address; none for what is no IP literal: all clients of UNIX sockets
        count as one.
    """
    try:
        if ":" not in host:
            return inet_pton(AF_INET, host)
        octets = packed(host)
    except (OSError, ValueError):
        return b""
    return octets if octets.startswith(_LINK_LOCAL) else octets[:8]


def network_of(text: str) -> IPv4Network | IPv6Network:
    """A network, or a single address; an IPv4-mapped one is the IPv4 one that it means.

    :raises ValueError: it is none, or has bits behind its prefix.
    """
    network = ip_network(text)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def _table(networks: Iterable[IPv4Network | IPv6Network]) -> _Table:
    prefixes: dict[int, set[int]] = {}
    for network in networks:
        shift = network.max_prefixlen - network.prefixlen
        prefixes.setdefault(shift, set()).add(int(network.network_address) >> shift)
    return tuple((shift, frozenset(found)) for shift, found in prefixes.items())


@dataclass(frozen=True)
class Networks:
    """Some networks. ``host in networks`` says whether one of them holds an IP literal.

    IPv4-mapped IPv6 addresses and networks count as the IPv4 ones that they mean. What is no IP literal is
    in no network.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    _tables: dict[int, _Table] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ipv4 = [network for network in self.networks if network.version == 4]
        ipv6 = [network for network in self.networks if network.version == 6]
        object.__setattr__(self, "_tables", {4: _table(ipv4), 16: _table(ipv6)})

    @classmethod
    def parse(cls, text: str) -> Networks:
        """Networks, or single addresses, separated by commas.

        :raises ValueError: one is neither; its text is the one.
        """
        found = []
        for part in text.split(","):
            try:
                found.append(network_of(part.strip()))
            except ValueError:
                raise ValueError(part.strip()) from None
        return cls(tuple(found))

    @property
    def is_everything(self) -> bool:
        """Whether all addresses of a family are in it, however many networks they are cut into."""
        ipv4 = [each for each in self.networks if isinstance(each, IPv4Network)]
        ipv6 = [each for each in self.networks if isinstance(each, IPv6Network)]
        return any(each.prefixlen == 0 for each in collapse_addresses(ipv4)) or any(
            each.prefixlen == 0 for each in collapse_addresses(ipv6)
        )

    def __or__(self, other: Networks) -> Networks:
        return Networks(self.networks + other.networks)

    def __contains__(self, host: str) -> bool:
        try:
            octets = packed(host)
        except ValueError:
            return False
        return self.holds(int.from_bytes(octets, "big"), len(octets))

    def holds(self, number: int, size: int) -> bool:
        """Whether one of them holds an address, as it is.

        :param number: the address.
        :param size: its length in octets, 4 or 16.
        """
        return any(number >> shift in found for shift, found in self._tables[size])


NO_NETWORKS = Networks()
