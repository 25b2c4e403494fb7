"""Where a proxy is, and where its relay is, by what it says itself and by what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from socks5.client.hops import Hop
from socks5.client.names import literal
from socks5.protocol.address import Address, unmap
from socks5.protocol.networks import Networks

LOOPBACK = "127.0.0.1"

_LOOPBACK = Networks.parse("127.0.0.0/8,::1")
_INNER = Networks.parse(
    "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,169.254.0.0/16,fc00::/7,fe80::/10"
)
"""Networks that are not reached from elsewhere (RFC 1918, 6598, 3927, 4193, 4291)."""

_OF_A_LINK = Networks.parse("fe80::/10")


def _parts(end: Any) -> tuple[str | None, str]:
    """The IP literal of one of a connection's ends, None of one that has none; and its zone, with its %."""
    host, *zone = (getattr(end, "host", None) or "").partition("%")
    return literal(host), "".join(zone)


def near_end(transport: Any) -> str:
    """The IP literal of our end of a connection, with its zone if it has one; "" of one that has none."""
    found, zone = _parts(transport.getHost())
    return "" if found is None else found + zone


def beside(near: str, host: str) -> str:
    """An IP literal for a socket that is bound to *near*: with the zone of that, if it has one."""
    zone = near.partition("%")[2]
    return f"{host}%{zone}" if zone and ":" in host else host


def own_address(hops: Sequence[Hop], transport: Any) -> str | bytes:
    """Where the last of these hops is, as far as we know: for one that says that it does not know itself.

    :param transport: to the first.
    :returns: an IP literal, or the name by which the hop before it reaches it. One on a UNIX socket is on this host.
    """
    if len(hops) > 1:
        return hops[-1].address.host
    return _parts(transport.getPeer())[0] or LOOPBACK


def spelt(address: Address) -> Address:
    """An IPv4-mapped one as the IPv4 one that it means."""
    host = address.host
    return Address(unmap(host) if isinstance(host, str) else host, address.port)


def _is_loopback(host: str | bytes) -> bool:
    return host in _LOOPBACK if isinstance(host, str) else host.lower() == b"localhost"


def _is_elsewhere(host: str | bytes, own: str | bytes) -> bool:
    """Whether nobody who reaches *own* from outside can reach *host*."""
    if _is_loopback(own):
        return False
    if _is_loopback(host):
        return True
    if isinstance(host, bytes) or isinstance(own, bytes):
        return False
    return (host in _INNER and own not in _INNER) or (host in _OF_A_LINK and own not in _OF_A_LINK)


def relay_at(said: Address, own: str | bytes, known: str | None = None) -> Address:
    """Where a proxy takes the datagrams of an association.

    :param said: BND.ADDR and BND.PORT of its reply.
    :param own: its own address, which it is if that cannot be right: it is unspecified, a loopback that the proxy is
        not reached by, an inner address while the proxy has a public one, or one of a link by which it is not reached.
    :param known: an IP literal, of who knows better than it.
    """
    if known is not None:
        return Address(known, said.port)
    said = spelt(said)
    if said.is_unspecified or _is_elsewhere(said.host, own):
        return Address(own, said.port)
    return said
