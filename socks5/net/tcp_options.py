"""What the system is told of a TCP socket of ours, and of a transport of any kind that is over one."""

from __future__ import annotations

import socket
from collections.abc import Callable
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
    """:func:`prepare` for a transport of any kind; one that is not over TCP is left as it is."""
    _tell(transport, prepare, lambda: transport.setTcpNoDelay(True))


def keep_transport_alive(transport: Any, keepalive: int) -> None:
    """:func:`keep_alive` for a transport of any kind; one that is not over TCP is left as it is."""

    def probe(sock: Any) -> None:
        keep_alive(sock, keepalive)

    _tell(transport, probe, lambda: transport.setTcpKeepAlive(keepalive > 0))


def _prepare_unix(sock: Any) -> None:
    """What :func:`prepare` says that concerns a UNIX socket, too; it does not inherit that."""
    with suppress(OSError):  # Linux before 5.15 has no urgent octets there
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def _tell(transport: Any, options: Callable[[Any], None], otherwise: Callable[[], None]) -> None:
    """Set options of a transport's socket, whatever lies between the two.

    :param otherwise: sets them for one that is over TCP, but shows no socket.
    """
    if ITCPTransport.providedBy(transport):
        sock = getattr(transport, "socket", None)  # over TLS: that of the transport below
        if sock is None:
            otherwise()
        elif sock.family != socket.AF_UNIX:  # whose transports say that they are for TCP, too
            options(sock)
        elif options is prepare:
            _prepare_unix(sock)
