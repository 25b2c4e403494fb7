"""One end of a relay that has a plain socket of its own."""

from __future__ import annotations

from abc import abstractmethod
from socket import SocketType
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.net.addresses import address_from, twisted_address
from socks5.net.connection import ABORTED, Connection
from socks5.net.poller import Poller
from socks5.net.tcp_options import keep_alive
from socks5.net.tcp_socket import reset_on_close
from socks5.protocol.address import Address
from socks5.relay.relay import Relay, Side
from socks5.streams import IStream, IStreamReceiver

_log = Logger()


@implementer(IStreamReceiver)
class OwnedSide(Side):
    """One end that takes the socket out of its connection's hands, and is the transport of its stream from then on.
    A subclass moves the octets.
    """

    __slots__ = ("_poller", "fd", "socket")

    def __init__(self, relay: Relay, stream: IStream) -> None:
        super().__init__(relay, stream)
        connection: Any = stream.transport
        self._poller: Poller = connection.poller
        self.socket: SocketType = connection.socket
        self.fd: int = connection.fd

    def take_over(self, connection: Connection) -> bytes:
        """The socket is ours from now on.

        :returns: what its kernel has not taken yet.
        """
        stream = self.stream
        stream.receiver = self
        unsent = connection.release(self)
        if stream is connection:
            self.stream = self
        else:
            stream.transport = self
        return unsent

    @abstractmethod
    def ready(self, events: int) -> None:
        """See :class:`socks5.net.poller.Owner`."""

    def crashed(self, failure: Failure) -> None:
        """See :class:`socks5.net.poller.Owner`."""
        _log.failure("a relay failed", failure=failure)
        self.close_socket(failure)

    def close_socket(self, reason: Failure) -> None:
        """Close the socket and say why. Happens once."""
        if not self.is_lost:
            self._poller.forget(self.fd)
            self.socket.close()
            self.stream.connectionLost(reason)

    @override
    def abort(self) -> None:
        """See :meth:`socks5.relay.relay.Side.abort`."""
        if not self.is_lost:
            reset_on_close(self.socket)
            self.close_socket(ABORTED)

    # The transport of the stream, as far as it still needs one

    @property
    def transport(self) -> OwnedSide:
        """See :class:`socks5.streams.IStream`."""
        return self

    def loseConnection(self) -> None:
        """See :meth:`twisted.internet.interfaces.ITransport.loseConnection`."""
        if not self.is_lost:
            self.close()

    def abortConnection(self) -> None:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.abortConnection`."""
        self.abort()

    def getHost(self) -> IPv4Address | IPv6Address:
        """See :meth:`twisted.internet.interfaces.ITransport.getHost`."""
        return twisted_address(self.socket.getsockname())

    def getPeer(self) -> IPv4Address | IPv6Address:
        """See :meth:`twisted.internet.interfaces.ITransport.getPeer`."""
        return twisted_address(self.socket.getpeername())

    # What the stream of a socket is told no more

    def dataReceived(self, data: bytes) -> None:
        """Never called: the socket is ours."""

    def readConnectionLost(self) -> None:
        """Never called either."""

    @property
    @override
    def far(self) -> Address | None:
        """See :attr:`socks5.relay.relay.Side.far`. One that was reset is nobody already."""
        stream = self.stream
        if stream is not None and stream is not self:  # it may lead on from where the socket does
            found: Address | None = stream.far
            return found
        try:
            return address_from(self.socket.getpeername())
        except OSError:
            return None

    @override
    def keep_alive(self, seconds: int) -> None:
        """See :meth:`socks5.relay.relay.Side.keep_alive`."""
        keep_alive(self.socket, seconds)
