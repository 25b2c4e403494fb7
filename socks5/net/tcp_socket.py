"""A connected TCP socket apart from its octets: who is at its ends, how it is set, what is under way."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
import sys
import termios
from array import array
from socket import SocketType
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

from socks5.net.addresses import address_from, twisted_address
from socks5.net.batch_calls import setsockopt
from socks5.protocol.address import Address

_NUMBER = array("i", [0])
"""An int of the kernel's."""


def unacknowledged(sock: SocketType) -> int:
    """Octets in a socket's send queue (tcp(7), SIOCOUTQ); 0 where that cannot be asked."""
    try:
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, _NUMBER)
    except (OSError, ValueError):  # the latter of a closed socket
        return 0
    return _NUMBER[0]


_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_RESET = ctypes.create_string_buffer(_RESET_ON_CLOSE, 8)
_RESET_AT = ctypes.c_void_p(ctypes.addressof(_RESET))


def reset_on_close(sock: SocketType) -> None:
    """Have the close of a connection be a reset, now (socket(7), SO_LINGER). By way of the C library, where it is at
    hand: Python tries two other forms of arguments before it takes octets, which takes twice as long.
    """
    if setsockopt is None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    else:
        setsockopt(sock.fileno(), socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT, 8)


class TCPSocket:
    """What a transport says of its socket, which sets ``socket``, ``_near`` and ``_far``."""

    __slots__ = ("_far", "_near", "socket")

    socket: SocketType
    _near: Address | None
    """None: the socket is asked when somebody is."""
    _far: Any
    """As the socket module has it, with its zone; None: the socket is asked."""

    @property
    def near(self) -> Address:
        """The near end."""
        if self._near is None:
            self._near = address_from(self.socket.getsockname())
        return self._near

    bound = near
    """See :class:`socks5.streams.IStream`."""

    @property
    def far(self) -> Address:
        """The far end."""
        return address_from(self.far_name())

    def far_name(self) -> Any:
        """The far end as the socket module has it."""
        return self._far or self.socket.getpeername()

    @property
    def far_host(self) -> str:
        """The far end's IP literal, as in :attr:`far`."""
        host: str = self.far_name()[0]
        return self.far.text if ":" in host else sys.intern(host)

    def hosts(self) -> tuple[str, str]:
        """The far end's IP literal, as in :attr:`far`, and the near end's."""
        near: Any = (self._near or self.near).host
        host: str = (self._far or self.socket.getpeername())[0]
        return self.far.text if ":" in host else sys.intern(host), near

    def getHost(self) -> IPv4Address | IPv6Address:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.getHost`."""
        return twisted_address(self.socket.getsockname())

    def getPeer(self) -> IPv4Address | IPv6Address:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.getPeer`."""
        return twisted_address(self.far_name())

    def getHandle(self) -> SocketType:
        """The socket."""
        return self.socket

    def getTcpNoDelay(self) -> bool:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.getTcpNoDelay`."""
        return bool(self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.setTcpNoDelay`."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.getTcpKeepAlive`."""
        return bool(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.setTcpKeepAlive`."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)
