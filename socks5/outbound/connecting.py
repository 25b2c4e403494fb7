"""A connection to the first proxy of a way, whose address is its operator's: nobody is asked about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.endpoints import UNIXClientEndpoint

from socks5.access import Access
from socks5.client.names import literal
from socks5.outbound.attempts import Streams
from socks5.outbound.direct import DirectDialer
from socks5.outbound.upstream import Upstream
from socks5.settings import Settings
from socks5.streams import IStream


class LeadsToUs(Exception):
    """An upstream is this proxy itself."""


async def connected(
    leg: Upstream,
    access: Access,
    settings: Settings,
    direct: DirectDialer,
    reactor: Any,
    has_tls: bool,
) -> IStream:
    """Connect to a proxy.

    :param access: who asks for what.
    :param has_tls: whether there is going to be TLS on the way.
    :raises Exception: there is no connection.
    """
    hop, seconds = leg.hop, leg.terms.timeout
    if hop.endpoint is not None:
        given: IStream = await hop.endpoint.value.connect(Streams())
        return given
    place = hop.place
    assert place is not None
    if place.path:
        local: Any = await UNIXClientEndpoint(reactor, place.path, seconds).connect(Streams())
        return cast("IStream", local)
    hosts: Sequence[str] = (place.host,)
    if literal(place.host.partition("%")[0]) is None:
        hosts = await direct.resolver.resolve(place.host.encode(), access.client)
    others = [host for host in hosts if (host, place.port) not in access.listeners]
    if not others:
        raise LeadsToUs("it leads to this proxy itself")
    under = leg.under(settings)
    return await direct.reach(access.client, others, place.port, under, has_tls)
