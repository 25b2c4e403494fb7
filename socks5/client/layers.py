"""How one reaches what is behind hops: a layer of them on one connection, which may lead through the layers below.

A layer begins with the first hop, and with each hop over TLS. All of them are client endpoints of Twisted's kind, one
in the other, made for one request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
)
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import ClientFactory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.client.errors import ClientError, ReplyError
from socks5.client.hops import Hop
from socks5.client.names import literal, twisted_address
from socks5.client.transport import Tunnel, TunnelTransport
from socks5.client.tunnel import Handshake, Standing, Step, exception_of, steps_to
from socks5.protocol.address import Address
from socks5.protocol.errors import SOCKSError
from socks5.protocol.messages import Command, Reply

Bind = str | tuple[str, int] | None
"""A local address, with a port or without."""


def tcp_endpoint(
    reactor: Any, host: str, port: int, timeout: float | None, bind: Bind
) -> IStreamClientEndpoint:
    """Leads to a host by TCP.

    :param host: a name, or an IP literal, which may have a zone.
    """
    address = (bind, 0) if isinstance(bind, str) else bind
    if literal(host.partition("%")[0]) is None:
        shown = host.replace("_", "x").replace("xn--", "xn-")
        if shown != host:
            reactor = _Naming(reactor, host)
        return HostnameEndpoint(reactor, shown, port, timeout, address)  # type: ignore[arg-type]
    kind: Any = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
    endpoint: IStreamClientEndpoint = kind(reactor, host, port, timeout, address)
    return endpoint


@implementer(IReactorPluggableNameResolver)
class _Naming:
    """A reactor that looks up one name, whatever it is asked for. Twisted's endpoint refuses names that there are:
    with an underscore, as containers have them, or with what its IDNA does not know.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._name = name

    @property
    def nameResolver(self) -> _Naming:
        """See :class:`twisted.internet.interfaces.IReactorPluggableNameResolver`."""
        return self

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, hostName: str, portNumber: int = 0
    ) -> IHostResolution:
        """See :meth:`twisted.internet.interfaces.IHostnameResolver.resolveHostName`."""
        found: IHostResolution = self._reactor.nameResolver.resolveHostName(
            resolutionReceiver, self._name, portNumber
        )
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


@dataclass(frozen=True, slots=True)
class TCP:
    """A connection to an IP address. Twisted's endpoint for that would put a protocol, a factory and a Deferred of its
    own around each.
    """

    reactor: Any
    host: str
    port: int
    bind: Bind

    def connect(self, factory: ClientFactory[Any]) -> IConnector:
        """Begin. The factory is told all."""
        bind = (self.bind, 0) if isinstance(self.bind, str) else self.bind
        connector: IConnector = self.reactor.connectTCP(
            self.host, self.port, factory, timeout=None, bindAddress=bind
        )
        return connector


def first_connection(reactor: Any, hop: Hop, bind: Bind) -> IStreamClientEndpoint | TCP:
    """Leads to the first hop, without its TLS. Who goes there has a deadline."""
    place = hop.place
    is_address = place is not None and literal(place.host.partition("%")[0]) is not None
    if place is not None and is_address and hop.tls is None:
        return TCP(reactor, place.host, place.port, bind)
    return _first_endpoint(reactor, hop, bind)


def _first_endpoint(reactor: Any, hop: Hop, bind: Bind) -> IStreamClientEndpoint:
    """The same as an endpoint of Twisted's."""
    if hop.place is None:
        assert hop.endpoint is not None
        endpoint: IStreamClientEndpoint = hop.endpoint.value
        return endpoint
    if hop.place.path:
        return UNIXClientEndpoint(reactor, hop.place.path, timeout=None)
    return tcp_endpoint(reactor, hop.place.host, hop.place.port, None, bind)


class TLSFactory(TLSMemoryBIOFactory):
    """TLS under the protocols of another factory, which may build none."""

    @override
    def buildProtocol(self, addr: Any) -> TLSMemoryBIOProtocol | None:  # type: ignore[override]
        """None if the other factory has none."""
        protocol: Any = self.wrappedFactory.buildProtocol(addr)
        return None if protocol is None else self.protocol(self, protocol)


@implementer(IStreamClientEndpoint)
class OverTLS:
    """TLS over another endpoint.

    :param options: IOpenSSLClientConnectionCreator.
    :param clock: IReactorTime.
    """

    def __init__(self, below: IStreamClientEndpoint, options: Any, clock: Any) -> None:
        self._below = below
        self._options = options
        self._clock = clock

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See :meth:`twisted.internet.interfaces.IStreamClientEndpoint.connect`."""
        factory = TLSFactory(self._options, True, protocolFactory, self._clock)
        connecting: Deferred[Any] = self._below.connect(factory)
        return connecting.addCallback(lambda tls: tls.wrappedProtocol)


class Opening(ClientFactory[TunnelTransport]):
    """One connection of a layer, from its beginning to the protocol's: see :class:`socks5.client.transport.Owner`.

    :param lost: is called when the connection is gone that a protocol had.
    """

    noisy = False

    def __init__(
        self, layer: Layer, factory: IProtocolFactory, lost: Callable[[Failure], object]
    ) -> None:
        self.clock = layer.clock
        self._lost = lost
        self.handshake = Handshake(
            layer.steps, layer.standing, self._done, self._failed, self._listens
        )
        self.outcome: Deferred[Any] = Deferred(self._cancelled)
        self._layer = layer
        self._factory = factory
        self._give_up_connecting: Callable[[], object]
        self._transport: Any = None

    def start(self, below: IStreamClientEndpoint | TCP) -> None:
        """Connect."""
        standing = self._layer.standing
        standing.hop, standing.stage = self._layer.steps[0].number, "connect"
        try:
            connecting = below.connect(self)
        except Exception:
            self._unreachable(Failure())
            return
        if isinstance(connecting, Deferred):
            connecting.addErrback(self._unreachable)
            self._give_up_connecting = connecting.cancel
        else:
            self._give_up_connecting = connecting.stopConnecting

    @override
    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._unreachable(reason)

    @override
    def buildProtocol(self, addr: Any) -> TunnelTransport | None:
        return None if self._layer.standing.is_over else TunnelTransport(self)

    def connected(self, transport: TunnelTransport, is_tls: bool) -> None:
        """See :meth:`socks5.client.transport.Owner.connected`."""
        self._transport = transport
        if is_tls:
            self._layer.standing.hop = self._layer.steps[0].number
            self._layer.standing.stage = "tls"
        else:
            self.handshake.begin(transport)

    def secured(self) -> None:
        """See :meth:`socks5.client.transport.Owner.secured`."""
        self.handshake.begin(self._transport)

    def lost(self, reason: Failure) -> None:
        """See :meth:`socks5.client.transport.Owner.lost`."""
        self._lost(reason)

    def _unreachable(self, failure: Failure) -> None:
        """There is no connection. What the layers below say of other hops than this one stays."""
        if not self.outcome.called:
            is_told = failure.check(SOCKSError) and not failure.check(ReplyError)
            first = self._layer.steps[0]
            self.outcome.errback(failure if is_told else first.unreachable(exception_of(failure)))

    def _failed(self, error: ClientError) -> None:
        self._give_up(Failure(error))

    def _give_up(self, failure: Failure) -> None:
        self._abort()
        if not self.outcome.called:
            self.outcome.errback(failure)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abortConnection()

    def _cancelled(self, outcome: object) -> None:
        if self._transport is None:
            self._give_up_connecting()
        self._abort()

    def _listens(self, reply: Reply) -> None:
        self._layer.standing.listens(reply, self._layer.steps[-1], self._transport)

    def _done(self, reply: Reply, trailing: bytes) -> None:
        layer, transport = self._layer, self._transport
        try:
            last = layer.steps[-1]
            ends = layer.standing.ends(reply, last) if last.command == Command.BIND else None
            target = layer.target if ends is None else ends[0]
            protocol = self._factory.buildProtocol(target)
            if protocol is None:
                raise NoProtocol
            if not layer.standing.is_over:
                tunnel = Tunnel(target, reply.address, layer.text)
                transport.hand_over(protocol, tunnel, trailing, ends)
                protocol.makeConnection(transport)
        except Exception:
            self._give_up(Failure())
            return
        if layer.standing.is_over:
            self._abort()
        else:
            self.outcome.callback(protocol)
            transport.deliver()


class Layer:
    """Hops on one connection, and what is behind them.

    :param below: leads to the first of these hops.
    :param target: as protocols are told.
    """

    def __init__(
        self,
        clock: Any,
        standing: Standing,
        below: IStreamClientEndpoint | TCP,
        steps: Sequence[Step],
        target: IAddress,
        text: str,
    ) -> None:
        self.clock = clock
        self.standing = standing
        self.below = below
        self.steps = steps
        self.target = target
        self.text = text

    def connect(
        self, protocolFactory: IProtocolFactory, lost: Callable[[Failure], object] = bool
    ) -> Deferred[Any]:
        """See :meth:`twisted.internet.interfaces.IStreamClientEndpoint.connect`; but ``doStart`` and ``doStop`` of the
        factory are its caller's.

        :param lost: is called when the connection is gone that the protocol had.
        """
        opening = Opening(self, protocolFactory, lost)
        opening.start(self.below)
        return opening.outcome


def layer_to(
    reactor: Any,
    hops: Sequence[Hop],
    first: IStreamClientEndpoint | TCP,
    standing: Standing,
    command: int,
    target: Address,
    shown: IAddress,
) -> Layer:
    """All layers of a way, for one request.

    :param first: see :func:`first_connection`.
    :param command: the CMD octet for the last hop.
    :param target: what it is asked for.
    :param shown: what protocols are told of that.
    """
    steps = steps_to(hops, target, command)
    text = ", ".join(map(str, hops))
    below: Any = first
    begun = 0
    for at, hop in enumerate(hops):
        if hop.tls is None:
            continue
        if at > begun:
            shown_hop = twisted_address(steps[at - 1].target)
            below = Layer(reactor, standing, below, steps[begun:at], shown_hop, text)
            begun = at
        below = OverTLS(below, hop.tls, reactor)
    return Layer(reactor, standing, below, steps[begun:], shown, text)
