"""Which family's addresses to try first, where a name has both (RFC 6724).

Inside a family the order stays: name servers rotate it on purpose. Both families are tried anyway (RFC 8305), so
what is decided here is the one that begins.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

from socks5.protocol.networks import Networks

_LESS_THAN_IPV4 = Networks.parse("2002::/16,2001::/32,fc00::/7")
"""6to4, Teredo and local addresses: precedence below IPv4's (section 2.1)."""

_LINK_LOCAL = Networks.parse("fe80::/10")


def source_towards(host: str) -> str | None:
    """The IP literal that this host would send from to reach *host*; None: there is no route. Asks the routing
    table, sends nothing.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def preferred(
    hosts: Iterable[str], source: Callable[[str], str | None] = source_towards
) -> tuple[str, ...]:
    """IP literals, each once, with the better family first."""
    unique = dict.fromkeys(hosts)
    ipv4 = [host for host in unique if ":" not in host]
    ipv6 = [host for host in unique if ":" in host]
    if ipv4 and ipv6 and not _is_ipv6_better(ipv4[0], ipv6[0], source):
        return (*ipv4, *ipv6)
    return (*ipv6, *ipv4)


def _is_ipv6_better(ipv4: str, ipv6: str, source: Callable[[str], str | None]) -> bool:
    """Section 6, rules 1 (usable), 2 (scope), 5 (label) and 6 (precedence), for one address of each family."""
    near = source(ipv6)
    if near is None:
        return False
    if (near in _LINK_LOCAL) != (ipv6 in _LINK_LOCAL):
        return source(ipv4) is None
    return not (near in _LESS_THAN_IPV4 or ipv6 in _LESS_THAN_IPV4) or source(ipv4) is None
