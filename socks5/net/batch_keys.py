"""What a datagram that moves in a batch is known by: octets of the kernel's and of SOCKS5's, as numbers."""

from __future__ import annotations

import socket
import struct
import sys
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1024)
def sockaddr(host: str, port: int) -> bytes:
    """An IPv4 address and port as the kernel has them: 16 octets; the same object each time, as a rule."""
    return (
        struct.pack("=H", socket.AF_INET)
        + struct.pack("!H", port)
        + socket.inet_aton(host)
        + bytes(8)
    )


def sender_key(host: str, port: int) -> int:
    """What a datagram from this IPv4 address and port is looked up with on the way down."""
    return int.from_bytes(sockaddr(host, port)[:8], sys.byteorder)


def header_key(header: bytes) -> int:
    """What a datagram with these first 10 octets is looked up with on the way up."""
    return int.from_bytes(header[:8], sys.byteorder) << 16 | int.from_bytes(
        header[8:10], sys.byteorder
    )


class Route:
    """Where the datagrams of one key go.

    :param port: the :class:`~socks5.net.batch.BatchPort` that sends them.
    :param name: the sockaddr they are sent to, 16 octets.
    :param sender: the :func:`sender_key` of the client's port that they come from (up).
    :param header: the 10 octets put before the payload (down).
    """

    __slots__ = ("header", "name", "port", "sender")

    def __init__(self, port: Any, name: bytes, sender: int = 0, header: bytes = b"") -> None:
        self.port = port
        self.name = name
        self.sender = sender
        self.header = header
