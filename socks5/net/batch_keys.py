"""What a datagram that moves in a batch is known by: octets of the kernel's and of SOCKS5's.

Those of IPv4 are numbers, which can be had without copying; those of IPv6 are octets. So none of the one family is one
of the other.
"""

from __future__ import annotations

import socket
import struct
import sys
from functools import lru_cache
from typing import Any

from socks5.net.slots import HEADER, IPV6_HEADER, NAME_LENGTH, SENDER

Key = int | bytes
"""What a route is looked up with."""

_FAMILY, _PORT = struct.Struct("=H"), struct.Struct("!H")
_IPV6 = 4  # ATYP (RFC 1928 section 5), the header's fourth octet


@lru_cache(maxsize=1024)
def sockaddr(host: str, port: int) -> bytes:
    """An address and port as the kernel has them, filled up to 28 octets; the same object each time, as a rule.

    :param host: an IP literal, without a zone.
    """
    if ":" in host:
        family, address = socket.AF_INET6, bytes(4) + socket.inet_pton(socket.AF_INET6, host)
    else:
        family, address = socket.AF_INET, socket.inet_aton(host)
    return (_FAMILY.pack(family) + _PORT.pack(port) + address).ljust(NAME_LENGTH, b"\0")


def sender_key(host: str, port: int) -> Key:
    """What a datagram from this address and port is looked up with on the way down."""
    name = sockaddr(host, port)
    return name[:SENDER] if ":" in host else int.from_bytes(name[:8], sys.byteorder)


def header_key(header: bytes) -> Key:
    """What a datagram with such a header, of 10 or 22 octets, is looked up with on the way up."""
    if header[3] == _IPV6:
        return header[:IPV6_HEADER]
    address, port = header[:8], header[8:HEADER]
    return int.from_bytes(address, sys.byteorder) << 16 | int.from_bytes(port, sys.byteorder)


class Route:
    """Where the datagrams of one key go.

    :param port: the :class:`~socks5.net.batch.BatchPort` that sends them.
    :param name: the :func:`sockaddr` they are sent to.
    :param sender: the :func:`sender_key` of the port that they come from, where it is not the key.
    :param header: what is put before the payload (down).
    :param lane: what leaves by it, where it comes with a header; None: the port's.
    """

    __slots__ = ("header", "lane", "name", "port", "sender")

    def __init__(
        self, port: Any, name: bytes, sender: Key = 0, header: bytes = b"", lane: Any = None
    ) -> None:
        self.port = port
        self.lane = lane or port.lane
        self.name = name
        self.sender = sender
        self.header = header
