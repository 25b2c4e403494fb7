"""Clients that come through a balancer: PROXY headers, and who may send them.

A header is required before the client's octets, and only listed peers are heard; all others are closed.
:class:`HeaderFactory` stands directly above a TCP port, below any TLS. The protocol that it wraps has its
transport from the beginning, so the handshake's deadline covers the header; from the header on ``getPeer()``
and ``getHost()`` of that transport answer the true addresses.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from typing_extensions import override
from zope.interface import alsoProvides

from socks5.counters import Counters
from socks5.loglimit import Sparing
from socks5.net.addresses import address_of
from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.errors import RemoteProtocolError
from socks5.protocol.networks import Networks
from socks5.protocol.proxy_header import Header, decode

UNIX_HOST = "127.0.0.1"
"""What a UNIX socket counts as, for it has no address: a peer on this host."""

_UNIX = IPv4Address("TCP", UNIX_HOST, 0)


def _twisted_address(address: Address) -> IPv4Address | IPv6Address:
    kind = IPv6Address if ":" in address.text else IPv4Address
    return kind("TCP", address.text, address.port)


def is_own(host: str, near: str) -> bool:
    """Whether an address that a balancer names is one of this host.

    :param host: the IP literal.
    :param near: the near end of the balancer's connection, an IP literal: if that is not loopback, another
        host's loopback is meant.
    """
    address = ip_address(host)
    if address.is_unspecified or address.is_multicast:
        return False
    if address.is_loopback and not ip_address(near).is_loopback:
        return False
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


class HeaderProtocol(ProtocolWrapper):
    """Takes the header off, and is the transport of the protocol behind it."""

    factory: HeaderFactory
    transport: Any
    wrappedProtocol: Any

    def __init__(self, factory: HeaderFactory, wrapped: Any) -> None:
        super().__init__(factory, wrapped)
        self._waiting: bytearray | None = bytearray()
        self._peer: IAddress | None = None
        self._host: IAddress | None = None
        self.is_claimed = True
        """Whether this is a client of which only the balancer knows; not so for the balancer's own connections."""

    @override
    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(transport)  # type: ignore[no-untyped-call]
        if IHalfCloseableProtocol.providedBy(self.wrappedProtocol):
            alsoProvides(self, IHalfCloseableProtocol)

    @override
    def getPeer(self) -> Any:
        return self._peer or self.transport.getPeer()

    @override
    def getHost(self) -> Any:
        return self._host or self.transport.getHost()

    @override
    def dataReceived(self, data: bytes) -> None:
        if self._waiting is None:
            self.wrappedProtocol.dataReceived(data)
            return
        self._waiting.extend(data)
        try:
            found = decode(self._waiting)
        except RemoteProtocolError as error:
            self.factory.refuse("PROXY header", self.transport.getPeer(), str(error))
            self.loseConnection()
            return
        if found is not None:
            header, used = found
            rest, self._waiting = bytes(self._waiting[used:]), None
            self._learn(header)
            if rest:
                self.wrappedProtocol.dataReceived(rest)

    def _learn(self, header: Header) -> None:
        """Take the addresses of the header. What it does not say is the balancer's connection's; the near end
        is always an address of this host, for datagrams and peers are awaited on it.
        """
        self.is_claimed = not header.is_local
        if header.is_local:
            return
        if header.source is not None:
            self._peer = _twisted_address(header.source)
        elif address_of(self.transport.getPeer()) is UNSPECIFIED:
            self._peer = _UNIX
        near = address_of(self.transport.getHost())
        if near is UNSPECIFIED:
            self._host = _UNIX
            near = address_of(_UNIX)
        if header.destination is not None and is_own(header.destination.text, near.text):
            self._host = _twisted_address(header.destination)

    def readConnectionLost(self) -> None:
        """See :meth:`twisted.internet.interfaces.IHalfCloseableProtocol.readConnectionLost`."""
        self.wrappedProtocol.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """See :meth:`twisted.internet.interfaces.IHalfCloseableProtocol.writeConnectionLost`."""
        self.wrappedProtocol.writeConnectionLost()


class HeaderFactory(WrappingFactory[HeaderProtocol]):
    """A factory for a listener of balancers.

    :param factory: whose protocols stand behind the header: a listener's factory
        (:meth:`ServerFactory.at <socks5.server.factory.ServerFactory.at>`), or TLS around one. Its policy must have the
        same *proxies*, so that it waits with its judgement for the header.
    :param proxies: who is heard.
    :param reactor: the clock.
    :param counters: count who is turned away.
    """

    log = Logger()
    noisy = False
    protocol = HeaderProtocol
    is_behind_balancer = True
    """The addresses that a port sees are the balancers', of which each brings many clients."""

    def __init__(self, factory: Any, proxies: Networks, reactor: Any, counters: Counters) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]
        self._proxies = proxies
        self._counters = counters
        self._lines = Sparing(reactor)

    @override
    def buildProtocol(self, addr: Any) -> HeaderProtocol | None:  # type: ignore[override]
        """A protocol for a listed peer; None for any other, and over the session limit."""
        peer = address_of(addr)
        host = UNIX_HOST if peer is UNSPECIFIED else peer.text
        if host not in self._proxies:
            self.refuse("stranger", addr, "--proxy-from does not list it")
            return None
        wrapped = self.wrappedFactory.buildProtocol(None)  # who comes is not known yet
        return None if wrapped is None else HeaderProtocol(self, wrapped)

    def refuse(self, kind: str, peer: Any, reason: str) -> None:
        """Count a connection that is closed, and say so in the log if there is room for a line."""
        self._counters.turned_away[kind] += 1
        left_out = self._lines.next()
        if left_out is not None:
            self.log.warn(
                "closed a connection from {peer}: {reason}{others}",
                peer=address_of(peer),
                reason=reason,
                others=f"; {left_out} more were closed without a line" if left_out else "",
            )
