"""One connection of a layer, from its beginning to the protocol's: first hops are asked on it, then it is a tunnel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast
from typing import Protocol as TypingProtocol

from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import (
    IConnector,
    IHandshakeListener,
    INegotiated,
    IProtocolFactory,
)
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import alsoProvides

from socks5.client.errors import ClientError, ReplyError
from socks5.client.names import TwistedAddress
from socks5.client.transport import Tunnel, TunnelTransport
from socks5.client.tunnel import Handshake, Standing, Step, exception_of
from socks5.net.transport_stream import TransportStream
from socks5.protocol.errors import SOCKSError
from socks5.protocol.messages import Command, Reply


class Reached(TransportStream):
    """The connection to the first hop of a layer.

    :param opening: is told of it.
    """

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self.receiver = opening.handshake

    @override
    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(transport)  # type: ignore[no-untyped-call]
        # Twisted's endpoints pass on the ends of a reader or handshakes, whichever they look for last, and not both.
        above = getattr(transport, "wrappedProtocol", None)
        is_tls = above is self and INegotiated.providedBy(transport)
        if is_tls:
            alsoProvides(self, IHandshakeListener)
        self._opening.reached(self, is_tls)

    def handshakeCompleted(self) -> None:
        """See :meth:`twisted.internet.interfaces.IHandshakeListener.handshakeCompleted`. It comes as well where the
        certificate has another name.
        """
        transport: Any = self.transport
        if not transport.disconnecting:
            self._opening.secured()

    @override
    def writeConnectionLost(self) -> None:
        self._opening.write_ended()


class Asked(TypingProtocol):
    """Whom an opening is for: a :class:`~socks5.client.layers.Layer`."""

    clock: Any
    standing: Standing
    steps: Sequence[Step]
    target: TwistedAddress
    text: str


class Opening(ClientFactory[Reached]):
    """See the module. Its outcome is told once, unless it is cancelled before.

    :param done: is told the protocol.
    :param failed: is told what went wrong.
    :param lost: is called when the connection is gone that a protocol had.
    """

    noisy = False

    def __init__(
        self,
        layer: Asked,
        factory: IProtocolFactory,
        done: Callable[[Any], object],
        failed: Callable[[Failure], object],
        lost: Callable[[Failure], object],
    ) -> None:
        self._tell = done
        self._tell_failure = failed
        self._lost = lost
        self._is_told = False
        self.handshake = Handshake(layer.steps, layer.standing, self._done, self._failed)
        self._layer = layer
        self._factory = factory
        self._give_up_connecting: Callable[[], object]
        self._stream: Any = None
        self._tunnel: Any = None

    def start(self, below: Any) -> None:
        """Connect.

        :param below: IStreamClientEndpoint, or a :class:`~socks5.client.layers.TCP`.
        """
        standing = self._layer.standing
        standing.hop, standing.stage = self._layer.steps[0].number, "connect"
        try:
            connecting = below.connect(self)
        except Exception:
            self._unreachable(Failure())
            return
        if IConnector.providedBy(connecting):
            self._give_up_connecting = connecting.stopConnecting
        else:
            connecting.addErrback(self._unreachable)
            self._give_up_connecting = connecting.cancel

    @override
    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._unreachable(reason)

    @override
    def buildProtocol(self, addr: Any) -> Reached | None:
        return None if self._layer.standing.is_over else Reached(self)

    def reached(self, stream: Reached, is_tls: bool) -> None:
        """The connection is there; over TLS that tells of its handshake, :meth:`secured` follows."""
        self._stream = stream
        if is_tls:
            self._layer.standing.hop = self._layer.steps[0].number
            self._layer.standing.stage = "tls"
        else:
            self.handshake.begin(stream)

    def secured(self) -> None:
        """And so is its TLS."""
        self.handshake.begin(self._stream)

    def write_ended(self) -> None:
        """The protocol's end was sent."""
        self._tunnel.writeConnectionLost()

    def _unreachable(self, failure: Failure) -> None:
        """There is no connection. What the layers below say of other hops than this one stays."""
        if self._is_told:
            return
        if not failure.check(SOCKSError) or failure.check(ReplyError):
            failure = Failure(self._layer.steps[0].unreachable(exception_of(failure)))
        self._is_told = True
        self._tell_failure(failure)

    def _failed(self, error: ClientError) -> None:
        self._give_up(Failure(error))

    def _give_up(self, failure: Failure) -> None:
        self._abort()
        if not self._is_told:
            self._is_told = True
            self._tell_failure(failure)

    def _abort(self) -> None:
        if self._tunnel is not None:
            self._tunnel.abortConnection()
        elif self._stream is not None and self._stream.connected:
            self._stream.transport.abortConnection()

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._is_told = True
        if self._stream is None:
            self._give_up_connecting()
        self._abort()

    def _done(self, reply: Reply, trailing: bytes) -> None:
        layer = self._layer
        try:
            last = layer.steps[-1]
            ends = layer.standing.ends(reply, last) if last.command == Command.BIND else None
            target = layer.target if ends is None else ends[0]
            protocol = self._factory.buildProtocol(target)
            if protocol is None:
                raise NoProtocol
            if not layer.standing.is_over:
                tunnel = Tunnel(target, reply.address, layer.text)
                transport = self._tunnel = TunnelTransport(
                    *(self.handshake.stream, protocol, tunnel, layer.clock, self._lost),
                    held=trailing,
                    ends=ends,
                )
                transport.envelope = self.handshake.envelope
                protocol.makeConnection(cast(Any, transport))
        except Exception:
            self._give_up(Failure())
            return
        if layer.standing.is_over:
            self._abort()
        else:
            self._is_told = True
            self._tell(protocol)
            if trailing:
                transport.deliver()
