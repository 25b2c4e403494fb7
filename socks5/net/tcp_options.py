"""What the system is told of a TCP socket of ours, and of a transport of any kind that is over one."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import ITCPTransport

_FIRST_PROBE = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))

_NEXT_PROBE = getattr(socket, "TCP_KEEPINTVL", None)
"""How these options of tcp(7) are called here; None where there is no such thing."""


def prepare(sock: Any) -> None:
    """Set the options of a TCP socket that is about to listen or to connect; accepted sockets inherit them. Octets
    are passed on as they come, and urgent ones stay in their place among the others.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def keep_alive(sock: Any, keepalive: int) -> None:
    """Let the system find out when a TCP socket's peer is gone, or not; accepted sockets inherit that as well.

    :param keepalive: see :attr:`socks5.settings.Settings.keepalive`.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(keepalive > 0))
    if keepalive:
        if _FIRST_PROBE is not None:
            sock.setsockopt(socket.IPPROTO_TCP, _FIRST_PROBE, keepalive)
        if _NEXT_PROBE is not None:
            sock.setsockopt(socket.IPPROTO_TCP, _NEXT_PROBE, max(1, keepalive // 10))


def prepare_transport(transport: Any) -> None:
    """:func:`prepare` for a transport of any kind; one on a UNIX socket has urgent octets, too."""
    if not ITCPTransport.providedBy(transport):
        return
    sock = _socket_of(transport)
    if sock is None:
        transport.setTcpNoDelay(True)
    elif sock.family != socket.AF_UNIX:
        prepare(sock)
    else:
        with suppress(OSError):  # Linux before 5.15 has none there
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def keep_transport_alive(transport: Any, keepalive: int) -> None:
    """:func:`keep_alive` for a transport of any kind; one that is not over TCP is left as it is."""
    if not ITCPTransport.providedBy(transport):
        return
    sock = _socket_of(transport)
    if sock is None:
        transport.setTcpKeepAlive(keepalive > 0)
    elif sock.family != socket.AF_UNIX:  # whose transports say that they are for TCP, too
        keep_alive(sock, keepalive)


def _socket_of(transport: Any) -> Any:
    """The socket below a transport, over TLS that of the transport below; None if it shows none."""
    return getattr(transport, "socket", None)
