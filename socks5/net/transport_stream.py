"""A transport of Twisted's as a stream: a protocol that has no opinion of what comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.net.connection import Connection, far_end, near_end
from socks5.net.tcp_socket import unacknowledged
from socks5.protocol.address import UNSPECIFIED, Address
from socks5.streams import IStream, IStreamReceiver


@implementer(IStream, IHalfCloseableProtocol)
class TransportStream(Protocol):
    """A connected transport whose events go to a receiver that can be changed; without one it has
    none to lose.
    """

    receiver: IStreamReceiver | None = None

    @property
    def bound(self) -> Address:
        """See :class:`socks5.streams.IStream`."""
        return near_end(self.transport)

    @property
    def far(self) -> Address | None:
        """See :class:`socks5.streams.IStream`. A UNIX socket, for example, has no address."""
        far = far_end(self.transport)
        return None if far is UNSPECIFIED else far

    @override
    def dataReceived(self, data: bytes) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.dataReceived`."""
        if self.receiver is not None:
            self.receiver.dataReceived(data)

    def readConnectionLost(self) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.readConnectionLost`."""
        if self.receiver is not None:
            self.receiver.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Our own end was sent; nothing depends on it."""

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.connectionLost(reason)


def layers(transport: Any) -> Iterator[Any]:
    """A transport, and those below it, downwards."""
    while transport is not None:
        below = getattr(transport, "below", None) or getattr(transport, "transport", None)
        yield transport
        transport = None if below is transport else below  # a connection of ours is its own


def close(transport: Any) -> None:
    """Close a connection of which nobody awaits anything: in order, but over TLS the far end's goodbye, which it may
    owe for ever, is not waited for (RFC 8446 section 6.1).
    """
    for each in layers(transport):
        each.loseConnection()


def unsent(transport: Any) -> int:
    """Octets written that the far end has not acknowledged yet. Of a transport that is not on a socket it cannot be
    known, nor what TLS has not encrypted yet.
    """
    *_, lowest = layers(transport)
    if isinstance(lowest, Connection):
        return lowest.unsent
    sock = getattr(lowest, "socket", None)
    if sock is None or not isinstance(lowest, FileDescriptor):
        return 0
    return len(lowest.dataBuffer) - int(lowest.offset) + unacknowledged(sock)
