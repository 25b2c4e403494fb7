"""The control connection: its events, to whoever has taken it over or else to the session; and its end.

One object is a session and its control connection at once, for they live exactly as long. So this is the lower half
of :class:`~socks5.server.session.Session`: it knows octets, ends and deadlines, and nothing of what they mean.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.deadlines import Deadlines
from socks5.logins import IProtection
from socks5.net.connection import far_end, near_end
from socks5.net.protected import ProtectedStream
from socks5.net.tcp_options import keep_transport_alive, prepare_transport
from socks5.net.tcp_socket import TCPSocket
from socks5.protocol.address import Address
from socks5.relay.sockets import SocketSide
from socks5.relay.transports import TransportSide, can_half_close
from socks5.settings import Settings
from socks5.streams import IStream, IStreamReceiver


@implementer(IProtocol, IStream, IHalfCloseableProtocol)
class ControlConnection:
    """A client's connection."""

    __slots__ = (
        "_deadlines",
        "_inside",
        "_is_reading",
        "has_client_ended",
        "is_connected",
        "receiver",
        "transport",
    )

    # Set by the session, for a layer that has something to do at its beginning costs every connection.
    transport: Any
    receiver: IStreamReceiver | None
    has_client_ended: bool
    is_connected: bool
    _deadlines: Deadlines  # serve its time-outs; whoever sets one has this object as the key
    _is_reading: bool
    _inside: ProtectedControl | None

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """Those that the session began with."""

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Octets came that nobody else takes."""

    @abstractmethod
    def ended(self) -> None:
        """The client's end came, and nobody else takes it."""

    @abstractmethod
    def lost(self, reason: Failure) -> None:
        """The connection is gone, and nobody else is told."""

    @abstractmethod
    def violated(self, reason: Failure) -> None:
        """What came is not in the protection that was agreed. Whoever had taken the connection over has lost it."""

    @property
    def bound(self) -> Address:
        """See :class:`socks5.streams.IStream`."""
        return near_end(self.transport)

    @property
    def far(self) -> Address:
        """See :class:`socks5.streams.IStream`."""
        return far_end(self.transport)

    @property
    def protection(self) -> IProtection | None:
        """See :class:`socks5.interfaces.ISession`."""
        return None if self._inside is None else self._inside.protection

    @property
    def control(self) -> Any:
        """See :class:`socks5.interfaces.ISession`: the stream of what is inside the protection, if there is one."""
        return self if self._inside is None else self._inside

    # Events of the transport

    def makeConnection(self, transport: Any) -> None:
        """The client is there."""
        self.transport = transport
        if not isinstance(transport, TCPSocket):
            prepare_transport(transport)
            keep_transport_alive(transport, self.settings.keepalive)

    def connectionMade(self) -> None:
        """See :meth:`makeConnection`."""

    def dataReceived(self, data: bytes) -> None:
        """The client sent octets."""
        if self.receiver is None:
            self.received(data)
        else:
            self.receiver.dataReceived(data)

    def readConnectionLost(self) -> None:
        """The client sent its end."""
        if self.receiver is None:
            self.ended()
        else:
            self.receiver.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Our own end was sent; nothing depends on it."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone."""
        self.is_connected = False
        receiver, self.receiver = self.receiver, None
        if receiver is None:
            self.lost(reason)
        else:
            # Leads to the session's end, now or when the other side is gone.
            receiver.connectionLost(reason)
        self._inside = None

    # Protection

    def protect(self, protection: IProtection) -> None:
        """From now on octets, both ways, are inside *protection*."""
        self._inside = ProtectedControl(self, protection)

    def unprotect(self) -> None:
        """Nothing that comes is understood any more, and what is sent goes out plain."""
        self._inside = self.receiver = None

    # Reading

    def stop_reading(self) -> None:
        """Enough waits."""
        self._is_reading = False
        self.control.transport.pauseProducing()

    def resume(self) -> None:
        """Read on, where that had been stopped."""
        if not self._is_reading:
            self._is_reading = True
            self.control.transport.resumeProducing()

    @property
    def is_reading(self) -> bool:
        """Whether the client is read."""
        return self._is_reading

    def read_on(self) -> None:
        """Octets may come again: they have a receiver now. A relay of sockets reads by itself."""
        receiver = self.control.receiver
        if not self.is_connected:
            return
        if isinstance(receiver, TransportSide) and receiver.is_paused:
            self._is_reading = True  # the relay resumes it, once its far side has sent enough
        elif not isinstance(receiver, SocketSide):
            self.resume()

    # The end

    def lose(self) -> None:
        """Close in order; by force if that takes too long, for TLS waits for the client's part in it."""
        if self.is_connected:
            control = self.control
            control.receiver = control.receiver or _Ignore(self)
            control.transport.loseConnection()
        if self.is_connected:
            self._deadlines.set(self, self.settings.close_timeout, self.abort)

    def linger(self) -> None:
        """Send what is written and our end, then read and drop until the client closes."""
        control = self.control
        control.receiver = _Ignore(self)
        if self.has_client_ended or not can_half_close(control.transport):
            self.lose()
            return
        self.resume()
        control.transport.loseWriteConnection()
        self._deadlines.set(self, self.settings.close_timeout, self.lose)

    def abort(self) -> None:
        """Give up the connection without waiting for anything to be sent."""
        self.transport.abortConnection()


@implementer(IStreamReceiver)
class _Ignore:
    """Takes what a client still sends when its session is over."""

    def __init__(self, control: ControlConnection) -> None:
        self._control = control

    def dataReceived(self, data: bytes) -> None:
        """Dropped."""

    def readConnectionLost(self) -> None:
        self._control.lose()

    def connectionLost(self, reason: Failure) -> None:
        """The close that was waited for."""


class ProtectedControl(ProtectedStream):
    """The control connection as it is inside a protection; events that nobody takes are the session's."""

    __slots__ = ("_control", "protection")

    def __init__(self, control: ControlConnection, protection: IProtection) -> None:
        self._control = control
        self.protection = protection
        super().__init__(control, protection)

    @override
    def dataReceived(self, data: bytes) -> None:
        if self.receiver is None:
            self._control.received(data)
        else:
            self.receiver.dataReceived(data)

    @override
    def readConnectionLost(self) -> None:
        if self.receiver is None:
            self._control.ended()
        else:
            self.receiver.readConnectionLost()

    @override
    def connectionLost(self, reason: Failure) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.connectionLost`; or what came was not understood."""
        control, receiver = self._control, self.receiver
        self.receiver = None
        if receiver is not None:
            receiver.connectionLost(reason)
        elif not control.is_connected:
            control.lost(reason)
        if control.is_connected:
            control.unprotect()
            control.violated(reason)
