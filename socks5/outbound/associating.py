"""An association at proxies: a control connection to each, one by way of those before it, and where datagrams go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.error import DNSLookupError
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.client.hops import Hop
from socks5.client.nesting import Nesting
from socks5.client.whereabouts import beside, near_end, own_address, relay_at
from socks5.interfaces import IResolver
from socks5.net.transport_stream import close
from socks5.outbound.targets import Peer
from socks5.outbound.through import Through
from socks5.protocol.address import Address
from socks5.streams import IStreamReceiver


@implementer(IStreamReceiver)
class _Control:
    """The end of a control connection, whose octets mean nothing (RFC 1928 section 6)."""

    def __init__(self, ended: Callable[[], object]) -> None:
        self._ended = ended

    def dataReceived(self, data: bytes) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.dataReceived`."""

    def readConnectionLost(self) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.readConnectionLost`."""
        self._ended()

    def connectionLost(self, reason: Failure) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.connectionLost`."""
        self._ended()


class UpstreamAssociation:
    """See the module. It ends with any of its control connections.

    :param upstream: the name of the way.
    :param key: see :attr:`socks5.outbound.path.Path.key`.
    """

    relay: Peer
    """Where datagrams go, and come from."""

    nesting: Nesting
    """What they look like there."""

    def __init__(self, upstream: str, key: object) -> None:
        self.upstream = upstream
        self.key = key
        self.ended: Callable[[], object] = bool
        """Called if it ends by itself; set by whoever has it."""
        self._controls: list[Through] = []
        self._relays: list[Address] = []
        self._is_over = False
        self.ended_by = 0
        """Which hop has ended it, from 1; 0: none has."""

    def add(self, hops: Sequence[Hop], control: Through, address: str | None) -> None:
        """The last of these hops has opened its association.

        :param address: an IP literal, instead of the host that it says its relay has.
        """
        own = own_address(hops, control.transport)
        self._relays.append(relay_at(control.said, own, address))
        self._controls.append(control)
        receiver: Any = _Control(partial(self._lost, len(self._controls)))
        control.receiver = receiver

    async def find_relay(self, resolver: IResolver, client: str) -> None:
        """All hops have. The first one's relay has an address, whatever name it goes by.

        :param client: whose share of the look-ups it is.
        """
        first, own = self._relays[0], own_address([], self._controls[0].transport)
        if isinstance(first.host, bytes):
            try:
                found = await resolver.resolve(first.host, client)
            except DNSLookupError:
                found = (str(own),)
            alike = [each for each in found if (":" in each) == (":" in self.near)]
            first = relay_at(Address((alike or found)[0], first.port), own)
        self._relays[0] = first
        self.relay = beside(self.near, first.text), first.port
        self.nesting = Nesting(self._relays, [each.envelope for each in self._controls])

    @property
    def near(self) -> str:
        """Our end of the connection to the first hop, by which that knows us."""
        return near_end(self._controls[0].transport) or "0.0.0.0"

    def _lost(self, hop: int) -> None:
        if not self._is_over:
            self.ended_by = hop
            self.close()
            self.ended()

    def close(self) -> None:
        """End it; may be called twice."""
        self._is_over = True
        for control in self._controls:
            close(control.transport)
