"""The PROXY protocol's header, versions 1 and 2: what a balancer says of the client before its octets.

Source: "The PROXY protocol", versions 1 & 2, by HAProxy's authors. Only for TCP: a header about datagrams is
an error. Strict: what the text of the protocol does not describe is an error, as soon as the octet is there
that shows it.

.. code-block:: text

    version 1, one line of 107 octets at the most:
    PROXY TCP4|TCP6 source destination source-port destination-port CR LF
    PROXY UNKNOWN anything CR LF

    version 2:
    +-----------+---------+--------+--------+-----------+------+
    | SIGNATURE | VER CMD | FAM PR | LENGTH | ADDRESSES | TLVS |
    +-----------+---------+--------+--------+-----------+------+
    |    12     |  4b 4b  | 4b  4b |   2    | 0/12/36/  |      |   LENGTH: of addresses and TLVs
    |           |         |        |        |    216    |      |
    +-----------+---------+--------+--------+-----------+------+
"""

from __future__ import annotations

from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from socks5.protocol.address import Address, unmap
from socks5.protocol.errors import RemoteProtocolError

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""What version 2 begins with."""

_LINE = b"PROXY "

MAX_LINE = 107
"""Octets of a header of version 1, its end included."""

MAX_LENGTH = 4096
"""Octets of addresses and TLVs that are taken in version 2; balancers send a few hundred."""

_FIXED = 16
_LOCAL, _PROXY = 0, 1
_STREAM = 1
_ADDRESSES = {1: 12, 2: 36, 3: 216}
"""Octets of addresses, by family: IPv4, IPv6, UNIX."""

_KINDS = {"TCP4": AF_INET, "TCP6": AF_INET6}


@dataclass(frozen=True, slots=True)
class Header:
    """What a balancer says of a connection.

    :param is_local: it is the balancer's own, such as a health check, and no client's.
    :param source: where the client comes from; None if it is not known, or comes over a UNIX socket.
    :param destination: what the client connected to; likewise.
    """

    is_local: bool = False
    source: Address | None = None
    destination: Address | None = None


def decode(buffer: bytes | bytearray) -> tuple[Header, int] | None:
    """Read a header.

    :param buffer: what has come so far.
    :returns: the header and how many octets it used; None while octets are missing.
    :raises RemoteProtocolError: this cannot become a header any more.
    """
    if SIGNATURE.startswith(bytes(buffer[:12])):
        return _decode_2(buffer)
    if _LINE.startswith(bytes(buffer[:6])):
        return _decode_1(buffer)
    raise RemoteProtocolError("no PROXY header")


def _decode_1(buffer: bytes | bytearray) -> tuple[Header, int] | None:
    end = buffer.find(b"\r\n", 0, MAX_LINE)
    if end < 0:
        if len(buffer) >= MAX_LINE:
            raise RemoteProtocolError(f"PROXY header: no end of line within {MAX_LINE} octets")
        return None
    words = buffer[len(_LINE) : end].decode("latin-1").split(" ")
    if words[0] == "UNKNOWN":
        return Header(), end + 2
    family = _KINDS.get(words[0])
    if family is None or len(words) != 5:
        raise RemoteProtocolError("PROXY header: not TCP4 or TCP6 with four words behind it")
    source, destination = (
        Address(_host(family, host), _port(port))
        for host, port in zip(words[1:3], words[3:5], strict=True)
    )
    return Header(False, source, destination), end + 2


def _host(family: int, text: str) -> str:
    try:
        return unmap(inet_ntop(family, inet_pton(family, text)))
    except (OSError, ValueError):  # the latter for a zero octet
        raise RemoteProtocolError("PROXY header: an address is none of its family") from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 0xFFFF):
        raise RemoteProtocolError("PROXY header: a port is not 0 to 65535")
    return int(text)


def _decode_2(buffer: bytes | bytearray) -> tuple[Header, int] | None:
    if len(buffer) < _FIXED:
        if len(buffer) > 12:
            _command(buffer[12])
        return None
    command = _command(buffer[12])
    family, protocol = divmod(buffer[13], 16)
    length = int.from_bytes(buffer[14:16], "big")
    if length > MAX_LENGTH:
        raise RemoteProtocolError(f"PROXY header: longer than {MAX_LENGTH} octets")
    is_known = command == _PROXY and family != 0
    if is_known and (protocol != _STREAM or length < _ADDRESSES.get(family, MAX_LENGTH + 1)):
        raise RemoteProtocolError("PROXY header: no known kind of TCP connection, or cut short")
    end = _FIXED + length
    if len(buffer) < end:
        return None
    size = {1: 4, 2: 16}.get(family)
    if not is_known or size is None:
        return Header(command == _LOCAL), end
    source, destination = _addresses(buffer[_FIXED:end], size)
    return Header(False, source, destination), end


def _command(octet: int) -> int:
    version, command = divmod(octet, 16)
    if version != 2 or command not in (_LOCAL, _PROXY):
        raise RemoteProtocolError("PROXY header: no known version or command")
    return command


def _addresses(block: bytes | bytearray, size: int) -> tuple[Address, Address]:
    family = AF_INET if size == 4 else AF_INET6

    def address(number: int) -> Address:
        host = inet_ntop(family, block[size * number : size * (number + 1)])
        at = size * 2 + 2 * number
        return Address(unmap(host), int.from_bytes(block[at : at + 2], "big"))

    return address(0), address(1)
