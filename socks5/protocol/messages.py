"""The messages of SOCKS5 (RFC 1928, RFC 1929), one frozen value each.

``decode`` looks at the start of a buffer and returns ``(message, used)``, or None while octets are
missing; it never waits, never guesses and never consumes. What cannot become a message raises
:exc:`~socks5.protocol.errors.RemoteProtocolError`; what we must not send raises
:exc:`~socks5.protocol.errors.LocalProtocolError`. All numbers are big-endian.

What it does not do: order (that is :mod:`socks5.protocol.stages`), time, sockets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from socks5.protocol.address import MAX_NAME, UNSPECIFIED, Address, octets
from socks5.protocol.errors import LocalProtocolError, NotSOCKS5, RemoteProtocolError

VERSION = 5
"""VER of every message of RFC 1928."""

AUTH_VERSION = 1
"""VER of the user name/password sub-negotiation (RFC 1929)."""

HTTP_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"this is a SOCKS5 proxy: configure it as socks5://, not as an HTTP proxy\n"
)
"""Sent to a client whose first octet is the capital letter of an HTTP method."""


_OTHER_SERVERS = {
    0: ", as of SOCKS4",
    4: ", as of SOCKS4",
    21: ", as of TLS: use socks5s://",
    22: ", as of TLS: use socks5s://",
    ord("H"): ", as of HTTP: use http://, if it is a proxy",
    ord("S"): ", as of SSH",
}
"""What the first octet of a server may be of instead, and a hint."""


class Method(IntEnum):
    """METHOD octets (RFC 1928 section 3). 3-127 are IANA's, 128-254 private; an unlisted one stays
    an int.
    """

    NO_AUTHENTICATION = 0x00
    GSSAPI = 0x01
    USERNAME_PASSWORD = 0x02
    CHAP = 0x03
    """draft-ietf-aft-socks-chap-01."""
    NO_ACCEPTABLE = 0xFF


class Command(IntEnum):
    """CMD octets: those of RFC 1928 section 4, and two of Tor's (its socks-extensions.txt, section 2)."""

    CONNECT = 0x01
    BIND = 0x02
    UDP_ASSOCIATE = 0x03
    RESOLVE = 0xF0
    """Tor's: BND.ADDR of the reply is an address of DST.ADDR, a name. Nothing is connected."""
    RESOLVE_PTR = 0xF1
    """Tor's: BND.ADDR is the name of DST.ADDR, an address."""


_COMMANDS: dict[int, Command] = {command.value: command for command in Command}


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


OF_ONE_ADDRESS = frozenset(
    {
        ReplyCode.NETWORK_UNREACHABLE,
        ReplyCode.HOST_UNREACHABLE,
        ReplyCode.CONNECTION_REFUSED,
        ReplyCode.TTL_EXPIRED,
    }
)
"""Those that say something of one address of a name, and nothing of the next."""


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
        return octets(VERSION, self.method)

    @classmethod
    def decode(cls, buffer: bytes | bytearray) -> tuple[MethodSelection, int] | None:
        """:raises RemoteProtocolError: the first octet is not 5."""
        if buffer and buffer[0] != VERSION:
            hint = _OTHER_SERVERS.get(buffer[0], "")
            raise RemoteProtocolError(f"not a SOCKS5 server: first octet {buffer[0]}{hint}")
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

    :param username: 0-255 raw octets (0 is outside the RFC; some clients send it, and none of ours).
    :param password: 0-255 raw octets (0 is outside the RFC; clients send it where a login has no password).
    """

    username: bytes
    password: bytes = field(repr=False)

    def encode(self) -> bytes:
        """:raises LocalProtocolError: either is over 255 octets, or there is no user name."""
        if not 1 <= len(self.username) <= MAX_NAME or len(self.password) > MAX_NAME:
            raise LocalProtocolError("a user name has 1-255 octets, a password at most 255")
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
        return octets(AUTH_VERSION, self.status)

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
        return octets(VERSION, self.command, 0) + self.address.encode()

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
        head = REPLY_SUCCEEDED if self.code == 0 else octets(VERSION, self.code, 0)
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
