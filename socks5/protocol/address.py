"""Addresses as SOCKS5 carries them (RFC 1928 section 5): an IPv4 or IPv6 literal, or a name, and a port.

Names are raw octets, 1-255 of them, in no particular encoding; ports are 0-65535 in host order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from typing_extensions import override

from socks5.protocol.errors import (
    AddressTypeNotSupported,
    HostUnreachable,
    LocalProtocolError,
    RemoteProtocolError,
)

MAX_NAME = 255
"""The longest name, user name or password, in octets: its length is one octet."""

_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2


class AddressType(IntEnum):
    """ATYP octets (RFC 1928 section 5)."""

    IPV4 = 0x01
    NAME = 0x03
    IPV6 = 0x04


_IPV4, _NAME, _IPV6 = (kind.value for kind in AddressType)  # plain numbers, for the reading


def unmap(host: str) -> str:
    """An IPv4-mapped IPv6 literal (``::ffff:192.0.2.1``) as the IPv4 literal that it means.

    :returns: everything else unchanged, also what is no IP literal.
    """
    if ":" not in host:
        return host
    try:
        packed = inet_pton(AF_INET6, host)
    except OSError:
        return host
    return inet_ntop(AF_INET, packed[12:]) if packed.startswith(_MAPPED) else host


def octets(*values: int) -> bytes:
    """The octets of a message's fixed part.

    :raises LocalProtocolError: one is outside 0-255.
    """
    try:
        return bytes(values)
    except ValueError:
        raise LocalProtocolError(f"not octets: {values}") from None


@dataclass(frozen=True, slots=True)
class Address:
    """An address and a port, as requests, replies and datagrams carry them (RFC 1928 sections 4-7).

    .. code-block:: text

        +------+----------+------+
        | ATYP |   ADDR   | PORT |
        +------+----------+------+
        |  1   | variable |  2   |     ATYP 1: 4 octets, 3: length octet + name, 4: 16 octets
        +------+----------+------+

    :param host: an IPv4 or IPv6 literal as text, or a name as raw octets: the type tells them
        apart.
    :param port: 0-65535.
    """

    host: str | bytes
    port: int

    @property
    def type(self) -> AddressType:
        """ATYP, as :meth:`encode` writes it."""
        if isinstance(self.host, bytes):
            return AddressType.NAME
        return AddressType.IPV6 if ":" in self.host else AddressType.IPV4

    @property
    def is_name(self) -> bool:
        """Whether the host is a name, to be resolved by whoever receives it."""
        return isinstance(self.host, bytes)

    @property
    def is_unspecified(self) -> bool:
        """Whether the host is 0.0.0.0, ``::`` or an empty name: "unknown" in a request."""
        return self.host in ("0.0.0.0", "::", b"")

    @property
    def text(self) -> str:
        """The host for a reader: printable ASCII, other octets of a name as ``\\xNN``."""
        if isinstance(self.host, str):
            return self.host
        return "".join(chr(o) if 0x20 <= o < 0x7F else f"\\x{o:02x}" for o in self.host)

    @override
    def __str__(self) -> str:
        host = self.host
        text = host if isinstance(host, str) else self.text
        return f"[{text}]:{self.port}" if ":" in text else f"{text}:{self.port}"

    def encode(self) -> bytes:
        """ATYP, ADDR and PORT: 7, 19 or 5-259 octets.

        :raises LocalProtocolError: the host is no IP literal, the name is empty or over 255 octets,
            or the port is outside 0-65535.
        """
        port = self.port
        if not 0 <= port <= 0xFFFF:
            raise LocalProtocolError(f"not a port: {port!r}")
        return _encoded(self.host) + port.to_bytes(2, "big")

    @classmethod
    def decode(
        cls, buffer: bytes | bytearray | memoryview, offset: int = 0
    ) -> tuple[Address, int] | None:
        """Read an address at *offset*.

        :returns: the address and the offset behind it, or None while octets are missing.
        :raises RemoteProtocolError: ATYP is unknown (reply 8), or a name has a zero octet (reply
            4).
        """
        available = len(buffer) - offset
        if available < 1:
            return None
        kind = buffer[offset]
        start = offset + 1
        if kind == _IPV4:
            end = start + 4
        elif kind == _IPV6:
            end = start + 16
        elif kind == _NAME:
            if available < 2:
                return None
            start += 1
            end = start + buffer[offset + 1]
        else:
            raise RemoteProtocolError(
                f"unknown address type {kind}", AddressTypeNotSupported().code
            )
        if len(buffer) < end + 2:
            return None
        packed = bytes(buffer[start:end])
        host: str | bytes = packed
        if kind == _IPV4:
            host = inet_ntop(AF_INET, packed)
        elif kind == _IPV6:
            host = inet_ntop(AF_INET6, packed)
        elif 0 in packed:
            raise RemoteProtocolError("a zero octet in a name", HostUnreachable().code)
        return cls(host, buffer[end] << 8 | buffer[end + 1]), end + 2


@lru_cache(maxsize=1024)
def _encoded(host: str | bytes) -> bytes:
    """ATYP and ADDR; see :meth:`Address.encode`."""
    if isinstance(host, bytes):
        if not 1 <= len(host) <= MAX_NAME or 0 in host:
            raise LocalProtocolError("a name has 1-255 octets, none of them zero")
        return bytes((AddressType.NAME, len(host))) + host
    try:
        if ":" in host:
            return b"\x04" + inet_pton(AF_INET6, host)
        return b"\x01" + inet_pton(AF_INET, host)
    except (OSError, ValueError):
        raise LocalProtocolError(f"not an IP address: {host!r}") from None


UNSPECIFIED = Address("0.0.0.0", 0)
"""What a failure reply carries, and "unknown" in a request."""
