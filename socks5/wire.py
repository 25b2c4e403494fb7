"""The octets of SOCKS5: numbers, addresses, messages, datagrams and fragments.

Every message is a frozen value with ``encode()`` and ``decode(buffer)``. ``decode`` looks at the
start of *buffer* and returns ``(message, used)``, or None while octets are missing; it never waits,
never guesses and never consumes. What cannot become a message raises
:exc:`~socks5.errors.RemoteProtocolError`; what we must not send raises
:exc:`~socks5.errors.LocalProtocolError`. All numbers are big-endian; ports are 0-65535 in host
order; names are raw octets, 1-255 of them, in no particular encoding.

What it does not do: order (that is :mod:`socks5.negotiation`), time, sockets.

Floor 0: imports nothing of Twisted; of the package only :mod:`socks5.errors`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from typing_extensions import override

from socks5.errors import LocalProtocolError, NotSOCKS5, RemoteProtocolError

VERSION = 5
"""VER of every message of RFC 1928."""

AUTH_VERSION = 1
"""VER of the user name/password sub-negotiation (RFC 1929)."""

MAX_NAME = 255
"""The longest name, user name or password, in octets: its length is one octet."""


MAX_UDP_PAYLOAD = 65507
"""The most octets that one IPv4 datagram carries: 65535 - 20 (IP header) - 8 (UDP header)."""

MAX_UDP_HEADER = 4 + 1 + MAX_NAME + 2
"""The longest header of a UDP request, in octets (RFC 1928 section 7)."""

_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2


class Method(IntEnum):
    """METHOD octets (RFC 1928 section 3). 3-127 are IANA's, 128-254 private; an unlisted one stays
    an int.
    """

    NO_AUTHENTICATION = 0x00
    GSSAPI = 0x01
    USERNAME_PASSWORD = 0x02
    NO_ACCEPTABLE = 0xFF


class Command(IntEnum):
    """CMD octets (RFC 1928 section 4)."""

    CONNECT = 0x01
    BIND = 0x02
    UDP_ASSOCIATE = 0x03


_COMMANDS: dict[int, Command] = {command.value: command for command in Command}


class AddressType(IntEnum):
    """ATYP octets (RFC 1928 section 5)."""

    IPV4 = 0x01
    NAME = 0x03
    IPV6 = 0x04


_IPV4, _NAME, _IPV6 = (kind.value for kind in AddressType)  # plain numbers, for the reading


class ReplyCode(IntEnum):
    """REP octets (RFC 1928 section 6). 9-255 are unassigned and stay an int."""

    SUCCEEDED = 0x00
    GENERAL_FAILURE = 0x01
    NOT_ALLOWED = 0x02
    NETWORK_UNREACHABLE = 0x03
    HOST_UNREACHABLE = 0x04
    CONNECTION_REFUSED = 0x05
    TTL_EXPIRED = 0x06
    COMMAND_NOT_SUPPORTED = 0x07
    ADDRESS_TYPE_NOT_SUPPORTED = 0x08


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


def _octets(*values: int) -> bytes:
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
        return f"[{self.text}]:{self.port}" if ":" in self.text else f"{self.text}:{self.port}"

    def encode(self) -> bytes:
        """ATYP, ADDR and PORT: 7, 19 or 5-259 octets.

        :raises LocalProtocolError: the host is no IP literal, the name is empty or over 255 octets,
            or the port is outside 0-65535.
        """
        host = self.host
        if not 0 <= self.port <= 0xFFFF:
            raise LocalProtocolError(f"not a port: {self.port!r}")
        port = self.port.to_bytes(2, "big")
        if isinstance(host, bytes):
            if not 1 <= len(host) <= MAX_NAME or 0 in host:
                raise LocalProtocolError("a name has 1-255 octets, none of them zero")
            return bytes((AddressType.NAME, len(host))) + host + port
        try:
            if ":" in host:
                return b"\x04" + inet_pton(AF_INET6, host) + port
            return b"\x01" + inet_pton(AF_INET, host) + port
        except (OSError, ValueError):
            raise LocalProtocolError(f"not an IP address: {host!r}") from None

    @classmethod
    def decode(
        cls, buffer: bytes | bytearray | memoryview, offset: int = 0
    ) -> tuple[Address, int] | None:
        """Read an address at *offset*.

        :returns: the address and the offset behind it, or None while octets are missing.
        :raises RemoteProtocolError: ATYP is unknown (reply 8), or a name has a zero octet (reply
            1).
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
                f"unknown address type {kind}", ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED
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
            raise RemoteProtocolError("a zero octet in a name", ReplyCode.GENERAL_FAILURE)
        return cls(host, buffer[end] << 8 | buffer[end + 1]), end + 2


UNSPECIFIED = Address("0.0.0.0", 0)
"""What a failure reply carries, and "unknown" in a request."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The client's first message (RFC 1928 section 3).

    .. code-block:: text

        +-----+----------+----------+
        | VER | NMETHODS | METHODS  |
        +-----+----------+----------+
        |  1  |    1     | 1 to 255 |     VER 5
        +-----+----------+----------+

    :param methods: METHOD octets 0-254, in the client's order. None at all parses: nothing in it is
        acceptable.
    """

    methods: tuple[int, ...]

    def encode(self) -> bytes:
        """:raises LocalProtocolError: no method, more than 255, or one outside 0-254."""
        if not 1 <= len(self.methods) <= 255 or not all(0 <= m < 0xFF for m in self.methods):
            raise LocalProtocolError("a greeting offers 1-255 methods, each 0-254")
        return bytes((VERSION, len(self.methods), *self.methods))

    @classmethod
    def decode(cls, buffer: bytes | bytearray) -> tuple[Greeting, int] | None:
        """:raises NotSOCKS5: the first octet is not 5."""
        if buffer and buffer[0] != VERSION:
            raise NotSOCKS5(buffer[0])
        if len(buffer) < 2 or len(buffer) < 2 + buffer[1]:
            return None
        used = 2 + buffer[1]
        return cls(tuple(buffer[2:used])), used


@dataclass(frozen=True, slots=True)
class MethodSelection:
    """The server's answer to the greeting (RFC 1928 section 3).

    .. code-block:: text

        +-----+--------+
        | VER | METHOD |     VER 5; METHOD 255: none of them
        +-----+--------+

    :param method: a METHOD octet, 0-255.
    """

    method: int

    def encode(self) -> bytes:
        """Two octets."""
        return _octets(VERSION, self.method)

    @classmethod
    def decode(cls, buffer: bytes | bytearray) -> tuple[MethodSelection, int] | None:
        """:raises RemoteProtocolError: the first octet is not 5."""
        if buffer and buffer[0] != VERSION:
            raise RemoteProtocolError(f"not a SOCKS5 server: first octet {buffer[0]}")
        return (cls(buffer[1]), 2) if len(buffer) >= 2 else None


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password (RFC 1929 section 2). The password is in no ``repr``.

    .. code-block:: text

        +-----+------+----------+------+----------+
        | VER | ULEN |  UNAME   | PLEN |  PASSWD  |
        +-----+------+----------+------+----------+
        |  1  |  1   | 1 to 255 |  1   | 1 to 255 |     VER 1
        +-----+------+----------+------+----------+

    :param username: 0-255 raw octets (0 is outside the RFC; some clients send it).
    :param password: 0-255 raw octets, likewise.
    """

    username: bytes
    password: bytes = field(repr=False)

    def encode(self) -> bytes:
        """:raises LocalProtocolError: either is empty or over 255 octets."""
        if not 1 <= len(self.username) <= MAX_NAME or not 1 <= len(self.password) <= MAX_NAME:
            raise LocalProtocolError("user name and password have 1-255 octets each")
        return b"".join(
            (
                bytes((AUTH_VERSION, len(self.username))),
                self.username,
                bytes((len(self.password),)),
                self.password,
            )
        )

    @classmethod
    def decode(cls, buffer: bytes | bytearray) -> tuple[Credentials, int] | None:
        """:raises RemoteProtocolError: the first octet is not 1."""
        if buffer and buffer[0] != AUTH_VERSION:
            raise RemoteProtocolError(f"not a user name/password message: first octet {buffer[0]}")
        if len(buffer) < 2:
            return None
        name_end = 2 + buffer[1]
        if len(buffer) < name_end + 1:
            return None
        end = name_end + 1 + buffer[name_end]
        if len(buffer) < end:
            return None
        return cls(bytes(buffer[2:name_end]), bytes(buffer[name_end + 1 : end])), end


@dataclass(frozen=True, slots=True)
class CredentialsStatus:
    """The server's answer to credentials (RFC 1929 section 2).

    .. code-block:: text

        +-----+--------+
        | VER | STATUS |     VER 1; STATUS 0: success, else failure and close
        +-----+--------+

    :param status: 0-255.
    """

    status: int

    def encode(self) -> bytes:
        """Two octets."""
        return _octets(AUTH_VERSION, self.status)

    @classmethod
    def decode(cls, buffer: bytes | bytearray) -> tuple[CredentialsStatus, int] | None:
        """VER 5 is taken too: servers in the wild send it.

        :raises RemoteProtocolError: the first octet is neither 1 nor 5.
        """
        if buffer and buffer[0] not in (AUTH_VERSION, VERSION):
            raise RemoteProtocolError(f"not a user name/password status: first octet {buffer[0]}")
        return (cls(buffer[1]), 2) if len(buffer) >= 2 else None


@dataclass(frozen=True, slots=True)
class Request:
    """What the client wants (RFC 1928 section 4).

    .. code-block:: text

        +-----+-----+-----+------+----------+----------+
        | VER | CMD | RSV | ATYP | DST.ADDR | DST.PORT |
        +-----+-----+-----+------+----------+----------+
        |  1  |  1  |  0  |  1   | variable |    2     |     VER 5; RSV is written 0 and not read
        +-----+-----+-----+------+----------+----------+

    :param command: a CMD octet; a :class:`Command` where it is one.
    :param address: DST.ADDR and DST.PORT.
    """

    command: int
    address: Address

    def encode(self) -> bytes:
        """:raises LocalProtocolError: the address cannot be encoded."""
        return _octets(VERSION, self.command, 0) + self.address.encode()

    @classmethod
    def decode(cls, buffer: bytes | bytearray) -> tuple[Request, int] | None:
        """:raises RemoteProtocolError: VER is not 5 (reply 1), or the address is none (8 or 1)."""
        if buffer and buffer[0] != VERSION:
            raise RemoteProtocolError(f"request version {buffer[0]}", ReplyCode.GENERAL_FAILURE)
        found = Address.decode(buffer, 3)
        if found is None:
            return None
        command = buffer[1]
        return cls(_COMMANDS.get(command, command), found[0]), found[1]


REPLY_SUCCEEDED = bytes((VERSION, ReplyCode.SUCCEEDED, 0))
"""What comes before BND.ADDR in the reply of a success."""


@dataclass(frozen=True, slots=True)
class Reply:
    """How a command went (RFC 1928 section 6).

    .. code-block:: text

        +-----+-----+-----+------+----------+----------+
        | VER | REP | RSV | ATYP | BND.ADDR | BND.PORT |
        +-----+-----+-----+------+----------+----------+
        |  1  |  1  |  0  |  1   | variable |    2     |     VER 5
        +-----+-----+-----+------+----------+----------+

    :param code: a REP octet, 0-255.
    :param address: BND.ADDR and BND.PORT; 0.0.0.0:0 in a failure.
    """

    code: int
    address: Address = UNSPECIFIED

    def encode(self) -> bytes:
        """:raises LocalProtocolError: the address cannot be encoded."""
        head = REPLY_SUCCEEDED if self.code == 0 else _octets(VERSION, self.code, 0)
        return head + self.address.encode()

    @classmethod
    def decode(cls, buffer: bytes | bytearray) -> tuple[Reply, int] | None:
        """A failure cut short behind REP is not complete here; the client's machine knows what to
        do with it.

        :raises RemoteProtocolError: VER is not 5, or the address is none.
        """
        if buffer and buffer[0] != VERSION:
            raise RemoteProtocolError(f"reply version {buffer[0]}")
        found = Address.decode(buffer, 3)
        return None if found is None else (cls(buffer[1], found[0]), found[1])


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP request or answer between client and server (RFC 1928 section 7).

    .. code-block:: text

        +-----+------+------+----------+----------+----------+
        | RSV | FRAG | ATYP | DST.ADDR | DST.PORT |   DATA   |
        +-----+------+------+----------+----------+----------+
        |  2  |  1   |  1   | variable |    2     | variable |     RSV 0
        +-----+------+------+----------+----------+----------+

    :param address: the target on the way out, the sender on the way back.
    :param payload: DATA, 0 octets or more.
    :param fragment: FRAG: 0 stands alone, 1-127 a position in a sequence, the high bit marks the
        last one.
    """

    address: Address
    payload: bytes
    fragment: int = 0

    def encode(self) -> bytes:
        """:raises LocalProtocolError: the address cannot be encoded."""
        return _octets(0, 0, self.fragment) + self.address.encode() + self.payload

    @classmethod
    def decode(cls, data: bytes) -> Datagram:
        """Read a whole datagram.

        :raises RemoteProtocolError: shorter than its header, RSV not 0, or an unknown address type.
        """
        if any(data[:2]):
            raise RemoteProtocolError("RSV of a datagram is not zero")
        found = Address.decode(data, 3)
        if found is None:
            raise RemoteProtocolError("a datagram shorter than its header")
        address, start = found
        return cls(address, bytes(data[start:]), data[2])


class Reassembler:
    """Puts the fragments of one association together, in order, one sequence at a time (RFC 1928
    section 7).

    A fragment whose position is not the next one abandons the sequence; position 1 starts a new
    one. A repeated position is dropped. A stand-alone datagram abandons the sequence: its position, 0, is lower
    than every other. The caller owns the reassembly timer and calls :meth:`clear` when it runs out.

    :param limit: the most octets that a sequence may gather.
    """

    __slots__ = ("_address", "_highest", "_limit", "_parts", "_size")

    def __init__(self, limit: int = MAX_UDP_PAYLOAD) -> None:
        self._limit = limit
        self.clear()

    @property
    def is_pending(self) -> bool:
        """Whether a sequence has begun and is not complete: the time in which the reassembly timer
        runs.
        """
        return bool(self._parts)

    def clear(self) -> int:
        """Abandon the sequence.

        :returns: how many fragments were dropped with it.
        """
        dropped = len(getattr(self, "_parts", ()))
        self._parts: list[bytes] = []
        self._highest = self._size = 0
        self._address: Address | None = None
        return dropped

    def receive(self, fragment: Datagram) -> tuple[Datagram | None, int]:
        """Take a datagram.

        :returns: the whole datagram, if this was its last missing part or stands alone, and how
            many fragments were dropped.
        """
        position, is_last = fragment.fragment & 0x7F, fragment.fragment >= 0x80
        if not fragment.fragment:
            return fragment, self.clear()
        if 1 < position == self._highest and fragment.address == self._address:
            return None, 1
        dropped = self.clear() if position <= self._highest else 0
        fits = self._size + len(fragment.payload) <= self._limit
        follows = position == self._highest + 1
        if not (follows and fits and self._address in (None, fragment.address)):
            return None, dropped + self.clear() + 1
        self._parts.append(fragment.payload)
        self._highest, self._address = position, fragment.address
        self._size += len(fragment.payload)
        if not is_last:
            return None, dropped
        whole = Datagram(fragment.address, b"".join(self._parts))
        self.clear()
        return whole, dropped
