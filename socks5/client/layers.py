"""How one reaches what is behind hops: a layer of them on one connection, which may lead through the layers below.

A layer begins with the first hop, and with each hop over TLS. All of them are client endpoints of Twisted's kind, one
in the other, made for one request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
)
from twisted.internet.interfaces import (
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
from typing_extensions import override
from zope.interface import implementer

from socks5.client.hops import Hop
from socks5.client.names import TwistedAddress, literal, twisted_address
from socks5.client.opening import Opening
from socks5.client.tunnel import Standing, Step, steps_to
from socks5.protocol.address import Address

Bind = str | tuple[str, int] | None
"""A local address, with a port or without."""


def check_bind(bind: str | tuple[str, int], proxy: str) -> None:
    """Look whether a connection can come from there.

    :param proxy: the host that it leads to, a name or an IP literal.
    :raises ValueError: its host is neither an IP address nor "", which is any; or of another family than the proxy's;
        or its port is none.
    """
    host, port = (bind, 0) if isinstance(bind, str) else bind
    if host and literal(host.partition("%")[0]) is None:
        raise ValueError(f"bind_address {host!r}: expected an IP address of this host")
    if host and literal(proxy.partition("%")[0]) is not None and (":" in host) != (":" in proxy):
        raise ValueError(f"bind_address {host!r}: expected one of the proxy's family, {proxy}")
    if not 0 <= port <= 65535:
        raise ValueError(f"bind_address: port {port!r}: expected a number from 0 to 65535")


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
        target: TwistedAddress,
        text: str,
    ) -> None:
        self.clock = clock
        self.standing = standing
        self.below = below
        self.steps = steps
        self.target = target
        self.text = text

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See :meth:`twisted.internet.interfaces.IStreamClientEndpoint.connect`; but ``doStart`` and ``doStop`` of the
        factory are its caller's.
        """
        outcome: Deferred[Any] = Deferred(lambda _: opening.cancel())
        opening = Opening(self, protocolFactory, outcome.callback, outcome.errback, bool)
        opening.start(self.below)
        return outcome


def layer_to(
    reactor: Any,
    hops: Sequence[Hop],
    first: IStreamClientEndpoint | TCP,
    standing: Standing,
    command: int,
    target: Address,
    shown: TwistedAddress,
) -> Layer:
    """All layers of a way, for one request.

    :param first: see :func:`first_connection`.
    :param command: the CMD octet for the last hop.
    :param target: what it is asked for.
    :param shown: what protocols are told of that.
    """
    steps = steps_to(hops, target, command)
    text = ", ".join([hop.text for hop in hops])
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
