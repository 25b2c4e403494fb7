"""The transport that a protocol has behind proxies: the connection to the first, without what is about that one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast
from typing import Protocol as TypingProtocol

from twisted.internet.error import ConnectionClosed
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
from zope.interface import alsoProvides, directlyProvides, implementer, providedBy

from socks5.net.protected import Envelope
from socks5.protocol.address import Address
from socks5.streams import IStreamReceiver

_OF_THE_PROXY = frozenset({"getPeerCertificate", "negotiatedProtocol", "getHandle"})
"""What a TLS to the proxy says of itself, and the target's protocol would take for the target's."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What a connection through proxies was asked for.

    :param target: as the program named it.
    :param bound: BND.ADDR and BND.PORT of the last reply, whatever they are worth; 0.0.0.0:0 of an HTTP proxy.
    :param proxy: the hops, without logins.
    """

    target: IAddress
    bound: Address
    proxy: str


def tunnel_of(transport: object) -> Tunnel | None:
    """What the connection of a transport was asked for, through TLS as well.

    :returns: None if it is not one through proxies.
    """
    found = getattr(transport, "socks5_tunnel", None)
    return found if isinstance(found, Tunnel) else None


class Owner(TypingProtocol):
    """Who opens a tunnel."""

    clock: Any
    handshake: Any

    def connected(self, transport: TunnelTransport, is_tls: bool) -> None:
        """The connection is there; over TLS that tells of its handshake, :meth:`secured` follows."""

    def secured(self) -> None:
        """And so is its TLS."""

    def lost(self, reason: Failure) -> None:
        """It is gone, once it had a protocol."""


@implementer(IHalfCloseableProtocol)
class TunnelTransport(ProtocolWrapper):
    """First the protocol of the handshake, then the transport of the program's.

    It provides the interfaces of the transport below. Over TLS not those of TLS, for they are about the proxy, until
    :meth:`startTLS`. Octets that came behind the reply wait while reading is paused.

    :param owner: opens it.
    """

    socks5_tunnel: Tunnel | None = None
    """See :func:`tunnel_of`."""

    envelope: Envelope | None = None
    """The innermost one: of the last hop that has protected what travels to it, if one has."""

    _is_hiding = False
    """Whether it is over a TLS of the proxy's."""
    _has_half_close = True
    _face: _Face | None = None
    """Takes what comes out of tokens, where what travels is protected."""
    _ends: tuple[IAddress, IAddress] | None = None

    transport: Any
    wrappedProtocol: Any

    def __init__(self, owner: Owner) -> None:
        super().__init__(cast(Any, owner), cast(Any, None))
        self._owner = owner
        self._handshake: IStreamReceiver = owner.handshake
        self._held = b""
        self._is_paused = False
        self._soon: IDelayedCall | None = None
        self._producer: tuple[Any, bool] | None = None

    # The connection, until there is a tunnel

    @override
    def makeConnection(self, transport: Any) -> None:
        self.connected = 1
        self.transport = self._below = transport
        # Twisted's endpoints pass on the ends of a reader or handshakes, whichever they look for last, and not both.
        above = getattr(transport, "wrappedProtocol", None)
        is_tls = above is self and INegotiated.providedBy(transport)
        if is_tls:
            alsoProvides(self, IHandshakeListener)
        self._owner.connected(self, is_tls)

    def handshakeCompleted(self) -> None:
        """See :meth:`twisted.internet.interfaces.IHandshakeListener.handshakeCompleted`. It comes as well where the
        certificate has another name.
        """
        if not self._below.disconnecting:
            self._owner.secured()

    def hand_over(
        self,
        protocol: IProtocol,
        tunnel: Tunnel,
        trailing: bytes,
        ends: tuple[IAddress, IAddress] | None = None,
    ) -> None:
        """There is a tunnel: everything is the protocol's now, which is still to be connected.

        :param trailing: what came behind the reply; waits for :meth:`deliver`.
        :param ends: peer and host; None: those of the connection to the first hop.
        """
        self._ends = ends
        self.wrappedProtocol = protocol
        self.socks5_tunnel = tunnel
        self._held = trailing
        below = self._below
        provided = providedBy(self.transport)
        if INegotiated.providedBy(below) or ISSLTransport.providedBy(below):
            self._is_hiding, self._has_half_close = True, False
            provided = [each for each in provided if not _is_about_tls(each)]
        directlyProvides(self, provided)

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

    def protect(self, envelope: Envelope) -> None:
        """What travels from now on is in tokens, both ways; within others, where a hop before has the like."""
        self.envelope = envelope
        face = _Face(self)
        protected = envelope.over(self.transport, face)
        if self._face is None:
            self.dataReceived = protected.dataReceived  # type: ignore[method-assign]
            self.readConnectionLost = protected.readConnectionLost  # type: ignore[method-assign]
            self.connectionLost = protected.connectionLost  # type: ignore[method-assign, assignment]
        else:
            self._face.receiver = protected
        self.transport, self._face = protected, face

    # Events of the transport

    @override
    def dataReceived(self, data: bytes) -> None:
        protocol = self.wrappedProtocol
        if protocol is None:
            self._handshake.dataReceived(data)
        elif self._held:
            self._held += data  # TLS does not stop at once
        else:
            protocol.dataReceived(data)

    def readConnectionLost(self) -> None:
        """See :meth:`twisted.internet.interfaces.IHalfCloseableProtocol.readConnectionLost`. A protocol that knows no
        half-close loses its connection, as it does without a proxy.
        """
        protocol = self.wrappedProtocol
        if protocol is None:
            self._handshake.readConnectionLost()
            return
        self._deliver_before_end()
        if _knows_half_close(protocol):
            protocol.readConnectionLost()
            return
        if self._producer is not None:
            self._producer[0].stopProducing()
            self.unregisterProducer()
        self._below.loseConnection()

    def writeConnectionLost(self) -> None:
        """See :meth:`twisted.internet.interfaces.IHalfCloseableProtocol.writeConnectionLost`."""
        if _knows_half_close(self.wrappedProtocol):
            self.wrappedProtocol.writeConnectionLost()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0
        protocol = self.wrappedProtocol
        if protocol is None:
            self._handshake.connectionLost(reason)
            return
        try:
            self._deliver_before_end()
            protocol.connectionLost(reason)
        finally:
            self.wrappedProtocol = None
            self._owner.lost(reason)

    def _deliver_before_end(self) -> None:
        """What has waited comes before an end, whoever reads."""
        if self._soon is not None:
            self._soon.cancel()
        self._is_paused = False
        self.deliver()

    def end_below(self, reason: Failure) -> None:
        """The connection is over for the protocol: for the reason that it has, or one that it does not know of."""
        if not isinstance(reason.value, ConnectionClosed):
            self._below.abortConnection()

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
            self._soon = self._owner.clock.callLater(0, self._deliver_late)

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

    @override
    def loseConnection(self) -> None:
        self._held = b""
        self.disconnecting = 1
        self.transport.loseConnection()

    def abortConnection(self) -> None:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.abortConnection`."""
        self._held = b""
        if self.connected:
            self.transport.abortConnection()

    def loseWriteConnection(self) -> None:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.loseWriteConnection`. Over TLS, which has no half-close,
        it closes.
        """
        if self._has_half_close:
            self.transport.loseWriteConnection()
        else:
            self.loseConnection()

    def startTLS(self, contextFactory: Any, normal: bool = True) -> None:
        """See :meth:`twisted.internet.interfaces.ITLSTransport.startTLS`. It is the target's, whatever there is to the
        proxy.
        """
        factory = TLSMemoryBIOFactory(
            contextFactory, normal, _Connected(self.wrappedProtocol), self._owner.clock
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


@implementer(IStreamReceiver)
class _Face:
    """Who takes what comes out of tokens: a tunnel, as if there were none, or the tokens above.

    :param tunnel: whose connection it is.
    """

    def __init__(self, tunnel: TunnelTransport) -> None:
        self._tunnel = tunnel
        self.receiver: IStreamReceiver | None = None

    def dataReceived(self, data: bytes) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.dataReceived`."""
        if self.receiver is None:
            TunnelTransport.dataReceived(self._tunnel, data)
        else:
            self.receiver.dataReceived(data)

    def readConnectionLost(self) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.readConnectionLost`."""
        if self.receiver is None:
            TunnelTransport.readConnectionLost(self._tunnel)
        else:
            self.receiver.readConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.connectionLost`. It comes as well for something that is no token,
        and then the connection is still there.
        """
        if self.receiver is not None:
            self.receiver.connectionLost(reason)
        elif self._tunnel.connected:
            TunnelTransport.connectionLost(self._tunnel, reason)
            self._tunnel.end_below(reason)


def _knows_half_close(protocol: Any) -> bool:
    """Whether it does, itself: one of Twisted's wrappers, such as TLS, provides whatever its transport does."""
    is_its_own = hasattr(type(protocol), "readConnectionLost")
    return is_its_own and bool(IHalfCloseableProtocol.providedBy(protocol))


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
