"""One end of a relay on a Twisted transport of any kind."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import INegotiated, IPushProducer
from typing_extensions import override
from zope.interface import implementer

from socks5.net.connection import Connection
from socks5.net.tcp_options import keep_transport_alive
from socks5.net.transport_stream import unsent
from socks5.protocol.address import Address
from socks5.relay.relay import Relay, Side
from socks5.streams import IStream, IStreamReceiver


def can_half_close(transport: Any) -> bool:
    """Whether one direction of *transport* can end while the other goes on: not so with TLS."""
    return (
        hasattr(transport, "loseWriteConnection")
        and not INegotiated.providedBy(transport)
        and not getattr(transport, "TLS", False)
    )


@implementer(IStreamReceiver, IPushProducer)
class TransportSide(Side):
    """One end on a Twisted transport of any kind; its peer's send buffer pauses and resumes it."""

    __slots__ = ("can_half_close", "is_paused", "transport")

    sends_later = True

    def __init__(self, relay: Relay, stream: IStream) -> None:
        super().__init__(relay, stream)
        self.transport: Any = stream.transport
        self.can_half_close = can_half_close(self.transport)
        self.is_paused = False

    @override
    def attach(self) -> None:
        self.transport.registerProducer(self.peer, True)
        self.stream.receiver = self

    @override
    def start(self) -> None:
        """See :meth:`~socks5.relay.relay.Side.start`. A reactor says again what has arrived, a poller does not."""
        if isinstance(self.transport, Connection) and not self.is_paused:
            self.transport.resumeProducing()

    @override
    def send(self, data: bytes) -> None:
        self.transport.write(data)

    @override
    def end(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()

    @override
    def close(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        if self.is_paused and not self.is_lost:  # over TLS the other end has a part in it
            self.is_paused = False
            self.transport.resumeProducing()

    @override
    def abort(self) -> None:
        self.transport.abortConnection()

    @property
    @override
    def far(self) -> Address | None:
        far: Address | None = None if self.is_lost else self.stream.far
        return far

    @override
    def keep_alive(self, seconds: int) -> None:
        keep_transport_alive(self.transport, seconds)

    @override
    def unsent(self) -> int:
        """See :meth:`~socks5.relay.relay.Side.unsent`."""
        return unsent(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.dataReceived`.

        Once the relay is closing nothing goes on: with TLS octets arrive still, and without back
        pressure they would fill the memory.
        """
        if not self.relay.is_closing:
            self.octets += len(data)
            self.peer.transport.write(data)

    def readConnectionLost(self) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.readConnectionLost`."""
        self.receive_end()

    def pauseProducing(self) -> None:
        """The peer's send buffer is full."""
        self.is_paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """It is empty again."""
        self.is_paused = False
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The peer's transport is gone, which its ``connectionLost`` is about to say with the
        reason; closing here already would turn a reset into an end.
        """
