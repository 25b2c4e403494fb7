"""Who may do what to which address. Pure decisions: no I/O.

The rules that hold when nothing else is said: clients on this host may go anywhere; clients
elsewhere may go anywhere except to addresses that would turn the proxy into a door to this host or
its neighbourhood - loopback, link-local and cloud-metadata addresses, multicast, broadcast, the
unspecified address - in whatever form they are written. Decided on the address that is dialled, so
neither a name nor an IPv4-mapped, 6to4 or NAT64 form gets round it.

Floor 1½: imports floor 1 and :mod:`socks5.wire`.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from zope.interface import implementer

from socks5.interfaces import Access, IRules

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

_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))  # RFC 6052, RFC 8215
_IPV4_COMPATIBLE = ip_network("::/96")  # RFC 4291 section 2.5.5.1


def _meanings(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The address, and the IPv4 address that it carries in one of the forms that lead there."""
    meanings: list[IPv4Address | IPv6Address] = [address]
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded is None and any(address in network for network in (*_NAT64, _IPV4_COMPATIBLE)):
            embedded = IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            meanings.append(embedded)
    return meanings


@lru_cache(maxsize=4096)
def is_special(host: str) -> bool:
    """Whether an IP literal is, or leads to, one of :data:`SPECIAL_NETWORKS`.

    :raises ValueError: *host* is no IP literal.
    """
    return any(
        meaning in network
        for meaning in _meanings(ip_address(host))
        for network in SPECIAL_NETWORKS
        if meaning.version == network.version
    )


@implementer(IRules)
class Rules:
    """The rules that hold when nothing else is said; see the module. Subclass it to add to them."""

    def allows(self, access: Access, address: str | None) -> bool:
        """See :meth:`socks5.interfaces.IRules.allows`."""
        return address is None or access.is_local or not is_special(address)
