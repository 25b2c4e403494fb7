"""A TCP connection with nothing to spare: the transport of accepted clients and of dialled targets.

Provides :class:`~twisted.internet.interfaces.ITCPTransport`, half-close and back pressure as
Twisted's own does, for plain sockets in a :class:`~socks5.net.poller.Poller`. It differs where
connections are many and short: it writes at once and waits only for what the kernel does not take,
closes at once when nothing waits to be sent, and makes address objects only for who asks. Its
events go to a receiver (:class:`~socks5.streams.IStream`); a relay takes the socket
out of its hands (:meth:`Connection.release`).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ISystemHandle, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.net.addresses import address_of, text_of
from socks5.net.poller import EVERYTHING, FAILED, HUNG_UP, WRITABLE, Owner, Poller
from socks5.net.tcp_socket import TCPSocket, reset_on_close, unacknowledged
from socks5.protocol.address import UNSPECIFIED, Address
from socks5.streams import IStream

READ_SIZE = 65536
"""Octets taken from the kernel at a time."""

TURNS = range(16)
"""Full reads of one connection before others get their turn."""

FULL = 65536
"""Octets waiting to be sent beyond which a producer is paused."""

DONE, LOST, ABORTED = (
    Failure(kind()) for kind in (ConnectionDone, ConnectionLost, ConnectionAborted)
)
"""Why a connection is over, made once: it closed in order, it was reset or failed, we reset it."""

_log = Logger()


def near_end(transport: Any) -> Address:
    """A transport's near end as a wire address."""
    return transport.near if isinstance(transport, TCPSocket) else address_of(transport.getHost())


def far_host(transport: Any) -> str:
    """The IP literal of a transport's far end; "" if that has none (a UNIX socket)."""
    if isinstance(transport, TCPSocket):
        return transport.far_host
    far = address_of(transport.getPeer())
    return "" if far is UNSPECIFIED else far.text


def hosts(transport: Any) -> tuple[str, str]:
    """The IP literals of a transport's far end, see :func:`far_host`, and of its near one, unless that has none."""
    if isinstance(transport, TCPSocket):
        return transport.hosts()
    far = far_host(transport)
    return (far, near_end(transport).text) if far else ("", "")


def far_end(transport: Any) -> Address:
    """A transport's far end as a wire address."""
    return transport.far if isinstance(transport, TCPSocket) else address_of(transport.getPeer())


def far_text(transport: Any) -> str:
    """The same as text."""
    return (
        text_of(transport.far_name())
        if isinstance(transport, TCPSocket)
        else str(far_end(transport))
    )


@implementer(IStream, ITCPTransport, IConsumer, IPushProducer, ISystemHandle)
class Connection(TCPSocket):
    """One connected, non-blocking TCP socket.

    :param poller: tells us when it is ready.
    :param sock: the socket; ours from now on.
    :param near: the near end, or None to ask when needed.
    :param far: the far end, as the socket module has it.
    """

    __slots__ = (
        "_has_ended",
        "_is_broken",
        "_is_ending",
        "_is_full",
        "_is_paused",
        "_is_reading",
        "_producer",
        "_waiting",
        "connected",
        "disconnecting",
        "fd",
        "is_readable",
        "poller",
        "receiver",
    )

    events = EVERYTHING
    """What it registers for."""

    def __init__(
        self, poller: Poller, sock: socket.SocketType, near: Address | None, far: Any
    ) -> None:
        self.poller = poller
        self.socket = sock
        self.fd = sock.fileno()
        self.receiver: Any = None
        """Who takes the events; see :class:`socks5.streams.IStream`."""
        self._near = near
        self._far = far
        self._waiting: bytearray | None = None
        self._producer: Any = None
        self._is_full = False
        self._is_paused = False
        self._is_reading = False
        self.is_readable = False
        self._is_broken = False
        self._is_ending = False
        self._has_ended = False
        self.connected = True
        self.disconnecting = False

    @property
    def transport(self) -> Connection:
        """See :class:`socks5.streams.IStream`."""
        return self

    # What happens to the socket

    def ready(self, events: int) -> None:
        """See :class:`socks5.net.poller.Owner`."""
        if self._waiting is not None and events & WRITABLE:
            self._flush()
        if (events & FAILED or self._is_broken) and (self._is_paused or self._has_ended):
            self._close(LOST)
        elif events != WRITABLE or self._is_broken:
            self.is_readable = True
            self._read(self._is_broken or bool(events & HUNG_UP))

    def crashed(self, failure: Failure) -> None:
        """See :class:`socks5.net.poller.Owner`: this connection ends, and no other."""
        _log.failure("a connection failed", failure=failure)
        self._close(failure)

    def _read(self, is_hung_up: bool) -> None:
        """Read until there is nothing more, the receiver has had enough, something ends, or it is
        others' turn.

        :param is_hung_up: there may be an end behind the octets, so look for it.
        """
        self._is_reading = True
        for _ in TURNS:
            if self._is_paused or self._has_ended or not (self.is_readable and self.connected):
                break
            try:
                data = self.socket.recv(READ_SIZE)
            except BlockingIOError:
                self.is_readable = False
                self._close_if_broken()
            except OSError:
                self._close(LOST)
            else:
                if not data:
                    self._has_ended = True
                    self._close_if_broken()
                    if self.connected:
                        self.receiver.readConnectionLost()
                    break
                if len(data) < READ_SIZE and not is_hung_up:
                    self.is_readable = False
                    self.receiver.dataReceived(data)
                    break
                self.receiver.dataReceived(data)
        else:
            self.start()
        self._is_reading = False

    def _close_if_broken(self) -> None:
        """Nothing more will arrive. The reset that made a write fail is not shown to the reading:
        that sees an end.
        """
        if self._is_broken:
            self._close(LOST)

    def start(self) -> None:
        """Tell the receiver, in a later batch, what has arrived already, unless it is paused."""
        if self.is_readable and self.connected and not self._is_paused:
            self.poller.again(self.fd)

    def release(self, owner: Owner) -> bytes:
        """Hand the socket to *owner*, who is told of its events and closes it. This is no connection any more.

        :returns: what the kernel has not taken yet.
        """
        self.connected = False
        self.poller.hand_over(self.fd, owner)
        return bytes(self._waiting or b"")

    def _close(self, reason: Failure) -> None:
        """Close the socket and say why. Happens once."""
        if not self.connected:
            return
        self.connected = False
        self.poller.forget(self.fd)
        self.socket.close()
        self._waiting = None
        producer = self._producer
        if producer is not None:
            self._producer = None
            producer.stopProducing()
        receiver = self.receiver
        if receiver is not None:
            self.receiver = None
            receiver.connectionLost(reason)

    @property
    def unsent(self) -> int:
        """Octets written that the far end has not acknowledged yet."""
        waiting = 0 if self._waiting is None else len(self._waiting)
        return waiting + unacknowledged(self.socket)

    # Sending

    def write(self, data: bytes) -> None:
        """Send now what the kernel takes, the rest when it takes more. Ignored once closing."""
        if not self.connected or self.disconnecting or self._is_ending or self._is_broken:
            return
        if self._waiting is not None:
            self._waiting += data
        else:
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:  # ends the reading, too, behind what has arrived
                self._is_broken = True
                self.poller.again(self.fd)
                return
            if sent == len(data):
                return
            self._waiting = bytearray(memoryview(data)[sent:])
        if self._producer is not None and len(self._waiting) > FULL:
            self._is_full = True
            self._producer.pauseProducing()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """See :meth:`twisted.internet.interfaces.ITransport.writeSequence`."""
        self.write(b"".join(iovec))

    def _flush(self) -> None:
        """Send what waits; then do what waited for that."""
        waiting = self._waiting or bytearray()
        try:
            sent = self.socket.send(waiting)
        except BlockingIOError:
            return
        except OSError:
            self._close(LOST)
            return
        if sent < len(waiting):
            del waiting[:sent]
            return
        self._waiting = None
        if self.disconnecting:
            self._close(DONE)
        elif self._is_ending:
            self._shut_down()
        elif self._is_full:
            self._is_full = False
            self._producer.resumeProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See :meth:`twisted.internet.interfaces.IConsumer.registerProducer`; streaming producers
        only.

        :raises RuntimeError: there is one already.
        """
        if self._producer is not None:
            raise RuntimeError("another producer is registered")
        if self.connected:
            self._producer = producer
        else:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        """See :meth:`twisted.internet.interfaces.IConsumer.unregisterProducer`."""
        self._producer = None
        self._is_full = False

    # Reading

    def pauseProducing(self) -> None:
        """Leave octets in the kernel."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Read again, beginning now with what has arrived meanwhile. Nothing happens once
        closing.
        """
        if self.disconnecting or not self.connected:
            return
        self._is_paused = False
        if not self._is_reading:  # else whoever reads goes on
            try:
                self._read(True)
            except Exception:  # of the receiver: not the caller's concern
                self.crashed(Failure())

    def stopProducing(self) -> None:
        """See :meth:`twisted.internet.interfaces.IProducer.stopProducing`."""
        self.loseConnection()

    # Ending

    def loseConnection(self) -> None:
        """Close once everything written is sent: now, if nothing waits."""
        if self._waiting is None:
            self._close(DONE)
        self.disconnecting = self._is_paused = True

    def loseWriteConnection(self) -> None:
        """Send our end behind everything written; reading goes on."""
        self._is_ending = True
        if self._waiting is None:
            self._shut_down()

    def _shut_down(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(LOST)

    def fail(self) -> None:
        """Close a socket of which the system said that it has failed: there is nobody to tell."""
        self._close(LOST)

    def abortConnection(self) -> None:
        """Close now, with a reset."""
        if self.connected:
            reset_on_close(self.socket)
            self._close(ABORTED)
