"""Networks that stand for something by themselves: tables, and what they are called in rules.

Special addresses would turn the proxy into a door to its host or its neighbourhood. Which networks are reserved is said
here (RFC 6890 and what has followed it), for ``ipaddress.is_global`` differs between releases of Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, texts))


LOOPBACK = _networks(
    "0.0.0.0/8",  # "this network" (RFC 6890); Linux connects 0.0.0.0 to itself
    "127.0.0.0/8",
    "::/128",  # unspecified
    "::1/128",
)
"""Loopback, and what is taken for it."""

LINK_LOCAL = _networks(
    "169.254.0.0/16",  # and most clouds' metadata service
    "fe80::/10",
    "fec0::/10",  # site-local, deprecated: what still takes them takes them for its own (RFC 3879)
)
"""Of one link."""

METADATA = _networks(
    "169.254.169.254/32",  # most clouds'
    "169.254.170.2/32",  # those of AWS's containers
    "100.100.100.200/32",  # Alibaba Cloud's
    "168.63.129.16/32",  # Azure's host agent
    "192.0.0.192/32",  # Oracle Cloud's (Classic)
    "fd00:ec2::/32",  # AWS's, and others like it
    "fd00:100::100:200/128",  # Alibaba Cloud's
    "fd00:42::42/128",  # Scaleway's
    "fd00:a9fe:a9fe::1/128",  # Linode's
    "fd00:c1::a9fe:a9fe/128",  # Oracle Cloud's
    "fd20:ce::254/128",  # Google Cloud's
)
"""Where clouds keep their machines' credentials."""

MULTICAST = _networks(
    "224.0.0.0/4",
    "255.255.255.255/32",  # limited broadcast
    "ff00::/8",
)
"""Multicast, and broadcast."""

SPECIAL_NETWORKS = LOOPBACK + LINK_LOCAL + METADATA + MULTICAST
"""Destinations for clients on this host only."""

PRIVATE = _networks(
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",  # a provider's own (RFC 6598)
    "fc00::/7",
)
"""Networks that many have (RFC 1918, RFC 4193)."""

UNICAST = _networks(
    "0.0.0.0/0",
    "2000::/3",  # what IANA gives away
    "64:ff9b::/96",  # NAT64, the well-known prefix (RFC 6052): it leads where the IPv4 address does
)
"""Of which addresses are public, unless they are special, private or reserved."""

RESERVED = _networks(
    "192.0.0.0/24",  # protocol assignments
    "192.0.2.0/24",  # documentation, like the next two
    "198.51.100.0/24",
    "203.0.113.0/24",
    "192.88.99.0/24",  # relays of 6to4, deprecated (RFC 7526)
    "198.18.0.0/15",  # benchmarks
    "240.0.0.0/4",
    "2001::/23",  # protocol assignments, Teredo among them
    "2001:db8::/32",  # documentation
    "3fff::/20",  # documentation (RFC 9637)
    "2002::/16",  # 6to4
)
"""What nobody is given (RFC 6890, and IANA's registries since)."""

NETWORKS: Mapping[str, tuple[Network, ...]] = {
    "loopback": LOOPBACK,
    "link-local": LINK_LOCAL,
    "metadata": METADATA,
    "multicast": MULTICAST,
    "special": SPECIAL_NETWORKS,
    "private": PRIVATE,
}
"""By the names that they have in rules. ``public`` is what is left of :data:`UNICAST`."""
