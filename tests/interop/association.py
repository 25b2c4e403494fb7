"""A small SOCKS5 client for datagrams, written from the RFC alone: it shares no code with us."""

import socket
import struct
from contextlib import AbstractContextManager
from ipaddress import IPv4Address, IPv6Address, ip_address

from tests.interop.servers import SECONDS

Peer = tuple[str, int]


def address(host: str, port: int) -> bytes:
    """ATYP, address and port (RFC 1928 section 5)."""
    try:
        literal = ip_address(host)
    except ValueError:
        return struct.pack(">BB", 3, len(host)) + host.encode() + struct.pack(">H", port)
    return bytes([1 if literal.version == 4 else 4]) + literal.packed + struct.pack(">H", port)


def split(data: bytes) -> tuple[Peer, bytes]:
    """The address that *data* begins with, which must be a literal, and what follows."""
    kind, size = {1: (IPv4Address, 4), 4: (IPv6Address, 16)}[data[0]]
    (port,) = struct.unpack(">H", data[1 + size : 3 + size])
    return (str(kind(data[1 : 1 + size])), port), data[3 + size :]


class Association(AbstractContextManager["Association"]):
    """A UDP association.

    :ivar relay: where the proxy takes datagrams, by its own words.
    """

    def __init__(self, proxy: Peer) -> None:
        self._control = socket.create_connection(proxy, SECONDS)
        self._datagrams = socket.socket(self._control.family, socket.SOCK_DGRAM)
        self._datagrams.settimeout(SECONDS)
        self._control.sendall(b"\5\1\0")
        assert self._exactly(2) == b"\5\0"
        self._control.sendall(b"\5\3\0" + address("0.0.0.0", 0))
        head = self._exactly(4)
        assert head[:3] == b"\5\0\0", head
        self.relay, _ = split(head[3:] + self._exactly({1: 6, 4: 18}[head[3]]))

    def _exactly(self, size: int) -> bytes:
        return self._control.recv(size, socket.MSG_WAITALL)

    def send(self, host: str, port: int, data: bytes) -> None:
        self._datagrams.sendto(b"\0\0\0" + address(host, port) + data, self.relay)

    def receive(self) -> tuple[Peer, bytes]:
        """The next datagram's sender, by the proxy's words, and its octets."""
        datagram, source = self._datagrams.recvfrom(65535)
        assert source[:2] == self.relay
        assert datagram[:3] == b"\0\0\0"
        return split(datagram[3:])

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._datagrams.close()
