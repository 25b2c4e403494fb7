"""The transport that a protocol has behind proxies: the connection to the first, without what is about that one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    ILoggingContext,
    INegotiated,
    IProtocol,
    ISSLTransport,
    ISystemHandle,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import directlyProvides, implementer, providedBy
from zope.interface.declarations import Provides

from socks5.client.names import TwistedAddress
from socks5.net.protected import Envelope
from socks5.net.transport_stream import close, unsent
from socks5.protocol.address import Address
from socks5.streams import IStream, IStreamReceiver

_OF_THE_PROXY = frozenset({"getPeerCertificate", "negotiatedProtocol", "getHandle"})
"""What a TLS to the proxy says of itself, and the target's protocol would take for the target's."""

FAREWELL = 10
"""Seconds that a proxy has for its goodbye over TLS, once it has acknowledged ours, or since it last has acknowledged
anything. Until then it is read, for unread octets would turn the close into a reset, which can overtake what was
written.
"""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What a connection through proxies was asked for.

    :param target: as the program named it.
    :param bound: BND.ADDR and BND.PORT of the last reply, whatever they are worth; 0.0.0.0:0 of an HTTP proxy.
    :param proxy: the hops, without logins.
    """

    target: TwistedAddress
    bound: Address
    proxy: str


def tunnel_of(transport: object) -> Tunnel | None:
    """What the connection of a transport was asked for, through TLS as well.

    :returns: None if it is not one through proxies.
    """
    found = getattr(transport, "socks5_tunnel", None)
    return found if isinstance(found, Tunnel) else None


@implementer(IStreamReceiver)
class TunnelTransport(ProtocolWrapper):
    """The transport of a program's protocol, over a stream, whose events it takes.

    It provides the interfaces of the transport below. Over TLS not those of TLS, for they are about the proxy, until
    :meth:`startTLS`. Octets that came behind the reply wait for :meth:`deliver`, and while reading is paused.

    :param stream: leads to the target.
    :param lost: is called when it is gone.
    :param held: what came behind the reply.
    :param ends: peer and host; None: those of the connection to the first hop.
    """

    socks5_tunnel: Tunnel
    """See :func:`tunnel_of`."""

    envelope: Envelope | None = None
    """What the last hop's datagrams travel in, if it is logged in to so."""

    transport: Any
    wrappedProtocol: Any

    def __init__(
        self,
        stream: IStream,
        protocol: IProtocol,
        tunnel: Tunnel,
        clock: Any,
        lost: Callable[[Failure], object],
        held: bytes = b"",
        ends: tuple[TwistedAddress, TwistedAddress] | None = None,
    ) -> None:
        super().__init__(cast(Any, None), cast(Any, protocol))
        self.socks5_tunnel = tunnel
        self.connected = 1
        self.transport = self._below = below = stream.transport
        stream.receiver = cast(IStreamReceiver, self)
        self._clock = clock
        self._lost = lost
        self._held = held
        self._ends = ends
        self._is_paused = False
        self._soon: IDelayedCall | None = None
        self._farewell: IDelayedCall | None = None
        self._producer: tuple[Any, bool] | None = None
        provided = providedBy(below)
        self._is_hiding = _are_of_tls(provided) or bool(getattr(below, "TLS", False))
        """Whether what is below tells of a TLS of the proxy's."""
        self._is_over_tls = self._is_hiding
        self._has_half_close = not self._is_hiding
        self.__provides__ = _provided(provided, self._is_hiding)

    def deliver(self) -> None:
        """Give the protocol what has waited, unless it does not read."""
        self._soon = None
        if not self._held or self._is_paused:
            return
        data, self._held = self._held, b""
        self.wrappedProtocol.dataReceived(data)

    def _deliver_late(self) -> None:
        """Reading is resumed: first what has waited, then what the transport has."""
        self._is_paused = False
        self.deliver()
        if not self._is_paused and self.connected:
            self.transport.resumeProducing()

    # Events of the transport

    @override
    def dataReceived(self, data: bytes) -> None:
        if self._held:
            self._held += data  # TLS does not stop at once
        else:
            self.wrappedProtocol.dataReceived(data)

    def readConnectionLost(self) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.readConnectionLost`. A protocol that knows no half-close loses its
        connection, as it does without a proxy.
        """
        protocol = self.wrappedProtocol
        self._deliver_before_end()
        if IHalfCloseableProtocol.providedBy(protocol):
            protocol.readConnectionLost()
            return
        if self._producer is not None:
            self._producer[0].stopProducing()
            self.unregisterProducer()
        self._below.loseConnection()

    def writeConnectionLost(self) -> None:
        """See :meth:`twisted.internet.interfaces.IHalfCloseableProtocol.writeConnectionLost`."""
        if IHalfCloseableProtocol.providedBy(self.wrappedProtocol):
            self.wrappedProtocol.writeConnectionLost()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0
        farewell, self._farewell = self._farewell, None
        if farewell is not None:
            if farewell.active():
                farewell.cancel()
            elif reason.type is ConnectionLost:
                reason = connectionDone  # the goodbye that was not waited for
        try:
            self._deliver_before_end()
            self.wrappedProtocol.connectionLost(reason)
        finally:
            self.wrappedProtocol = None
            self._lost(reason)

    def _deliver_before_end(self) -> None:
        """What has waited comes before an end, whoever reads."""
        if self._soon is not None:
            self._soon.cancel()
        self._is_paused = False
        self.deliver()

    # What the protocol may do

    def pauseProducing(self) -> None:
        """See :meth:`twisted.internet.interfaces.IPushProducer.pauseProducing`."""
        self._is_paused = True
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """See :meth:`twisted.internet.interfaces.IPushProducer.resumeProducing`."""
        if not self._held:
            self._is_paused = False
            self.transport.resumeProducing()
        elif self._soon is None:
            self._soon = self._clock.callLater(0, self._deliver_late)

    def stopProducing(self) -> None:
        """See :meth:`twisted.internet.interfaces.IProducer.stopProducing`."""
        self.loseConnection()

    @override
    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.transport.registerProducer(producer, streaming)
        self._producer = producer, streaming

    @override
    def unregisterProducer(self) -> None:
        self._producer = None
        self.transport.unregisterProducer()
        if self.disconnecting:
            self._close()

    @override
    def loseConnection(self) -> None:
        self._held = b""
        self.disconnecting = 1
        self._close()

    def _close(self) -> None:
        """A producer is waited for, but not for ever a proxy's goodbye, which it may owe, nor with it a target's."""
        self.transport.loseConnection()
        is_over = self._producer is None and self.connected
        if self._is_over_tls and is_over and self._farewell is None:
            self._await_goodbye(FAREWELL, unsent(self.transport))

    def _await_goodbye(self, rest: int, left: int) -> None:
        """:param rest: seconds.
        :param left: octets that have not been acknowledged.
        """
        self._farewell = self._clock.callLater(1, self._look, rest - 1, left)

    def _look(self, rest: int, before: int) -> None:
        left = unsent(self.transport)
        if left < before:
            rest = FAREWELL
        if rest:
            self._await_goodbye(rest, left)
        else:
            close(self.transport)

    def abortConnection(self) -> None:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.abortConnection`."""
        self._held = b""
        if self.connected:
            self.transport.abortConnection()

    def loseWriteConnection(self) -> None:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.loseWriteConnection`. Over TLS, which has no half-close,
        the goodbye is said, and the far end's waited for.
        """
        if self._has_half_close:
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def startTLS(self, contextFactory: Any, normal: bool = True) -> None:
        """See :meth:`twisted.internet.interfaces.ITLSTransport.startTLS`. It is the target's, whatever there is to the
        proxy.
        """
        factory = TLSMemoryBIOFactory(
            contextFactory, normal, _Connected(self.wrappedProtocol), self._clock
        )
        tls: Any = factory.buildProtocol(None)
        producer = self._producer
        if producer is not None:
            self.unregisterProducer()
        self.wrappedProtocol = tls
        tls.makeConnection(self.transport)
        self.transport = tls
        self._is_hiding = self._has_half_close = False
        directlyProvides(self, providedBy(tls))
        if producer is not None:
            self.registerProducer(*producer)

    # What it is

    @override
    def getPeer(self) -> IAddress:
        """See :meth:`twisted.internet.interfaces.ITransport.getPeer`. That of the connection to the first hop, for the
        target of a name has no address; a peer that was awaited has one.
        """
        found: IAddress = self.transport.getPeer() if self._ends is None else self._ends[0]
        return found

    @override
    def getHost(self) -> IAddress:
        """See :meth:`twisted.internet.interfaces.ITransport.getHost`. See :meth:`getPeer`."""
        found: IAddress = self.transport.getHost() if self._ends is None else self._ends[1]
        return found

    @override
    def logPrefix(self) -> str:
        return f"{_prefix_of(self.wrappedProtocol)} (SOCKS5)"

    @override
    def __getattr__(self, name: str) -> Any:
        if self._is_hiding and name in _OF_THE_PROXY:
            raise AttributeError(name)
        return getattr(self.transport, name)


@lru_cache(maxsize=64)
def _provided(below: Any, is_hiding: bool) -> Any:
    """What a tunnel's transport provides of what the one below does: the same over all of a kind.

    :param is_hiding: whether not what is about TLS.
    """
    return Provides(
        TunnelTransport, *(each for each in below if not (is_hiding and _is_about_tls(each)))
    )


@lru_cache(maxsize=64)
def _are_of_tls(provided: Any) -> bool:
    """Whether a transport that provides that is one of TLS."""
    return any(each.isOrExtends(kind) for each in provided for kind in (INegotiated, ISSLTransport))


def _is_about_tls(interface: Any) -> bool:
    return any(interface.isOrExtends(each) for each in (ISSLTransport, ISystemHandle))


def _prefix_of(protocol: Any) -> str:
    if ILoggingContext.providedBy(protocol):
        return str(protocol.logPrefix())
    return type(protocol).__name__


@implementer(IHandshakeListener)
class _WithinTLS(Protocol):
    """Between TLS and a protocol that is connected already, and keeps its transport."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    @override
    def dataReceived(self, data: bytes) -> None:
        self._protocol.dataReceived(data)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._protocol.connectionLost(reason)

    def handshakeCompleted(self) -> None:
        """See :meth:`twisted.internet.interfaces.IHandshakeListener.handshakeCompleted`."""
        if IHandshakeListener.providedBy(self._protocol):
            self._protocol.handshakeCompleted()

    @override
    def logPrefix(self) -> str:
        return _prefix_of(self._protocol)


class _Connected(Factory):
    """Builds that."""

    noisy = False

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    @override
    def buildProtocol(self, addr: Any) -> _WithinTLS:
        return _WithinTLS(self._protocol)
