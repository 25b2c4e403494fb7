"""The messages of GSS-API in SOCKS (RFC 1961): their form, the levels of protection, and which one is agreed.

.. code-block:: text

    +-----+------+-------+------------+
    | VER | MTYP |  LEN  |   TOKEN    |
    +-----+------+-------+------------+
    |  1  |  1   |   2   | 0 to 65535 |     VER 1
    +-----+------+-------+------------+

MTYP 1 carries a token of the security context, 2 a level of protection, 3 octets that the context protects.
255 gives up, and nothing follows it. What is in a token is the GSS-API's business, and neither read nor made
here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from socks5.protocol.errors import LocalProtocolError, NoAcceptableProtection, RemoteProtocolError

GSSAPI_VERSION = 1
"""VER of every message of RFC 1961."""

MAX_TOKEN = 65535
"""The longest token, in octets: its length is two octets."""

HEADER = 4
"""Octets before the token."""

MAX_TOKENS = 16
"""Tokens of one side until the context must be complete. Kerberos needs one, a negotiation of mechanisms
three or four.
"""

ABORT = bytes((GSSAPI_VERSION, 0xFF))
"""What gives up (RFC 1961 section 3.8); the connection is closed behind it."""


class MessageType(IntEnum):
    """MTYP octets (RFC 1961 sections 3.4, 3.8, 4.3 and 5)."""

    CONTEXT = 0x01
    PROTECTION = 0x02
    ENCAPSULATED = 0x03
    ABORT = 0xFF


class Protection(IntEnum):
    """Levels of protection (RFC 1961 section 4.2). ``NONE`` is not in the RFC, but in its reference
    implementation, and in use.
    """

    NONE = 0
    INTEGRITY = 1
    CONFIDENTIALITY = 2
    """And integrity."""
    SELECTIVE = 3
    """Integrity or confidentiality, as either side likes."""


_CONTAINED: Mapping[int, Sequence[Protection]] = {
    Protection.NONE: (Protection.NONE,),
    Protection.INTEGRITY: (Protection.INTEGRITY, Protection.CONFIDENTIALITY),
    Protection.CONFIDENTIALITY: (Protection.CONFIDENTIALITY,),
    Protection.SELECTIVE: (Protection.CONFIDENTIALITY, Protection.INTEGRITY),
}
"""What may be agreed for each level that a client requires, in order of preference."""


def choose(required: bytes, permitted: Collection[Protection]) -> Protection:
    """The level to agree on, and to answer a client with (RFC 1961 section 4.2).

    It is never weaker than what the client requires, and never ``SELECTIVE``. It is stronger where the server
    does not permit less; that may be too much for the client, which then closes (section 4.4). A client that
    wants no protection cannot be given one: it would not know what to do with it.

    The exception is a server that permits ``NONE`` and nothing else. It says so to everybody, and whom that is too
    little for closes. So does curl get in: it requires what its context could do, and then can do nothing of it.

    :param required: the client's octet.
    :param permitted: what the server permits.
    :raises RemoteProtocolError: it is not one octet, or no level.
    :raises NoAcceptableProtection: none of them will do.
    """
    if len(required) != 1 or required[0] not in _CONTAINED:
        raise RemoteProtocolError("no level of protection where one is due")
    for level in _CONTAINED[required[0]]:
        if level in permitted:
            return level
    if set(permitted) == {Protection.NONE}:
        return Protection.NONE
    raise NoAcceptableProtection(required[0], permitted)


@dataclass(frozen=True, slots=True)
class Message:
    """One message; see the module. The token is in no ``repr``.

    :param kind: the MTYP octet.
    :param token: 0-65535 octets; none in an abort.
    """

    kind: int
    token: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """:raises LocalProtocolError: the token is over 65535 octets."""
        if self.kind == MessageType.ABORT:
            return ABORT
        size = len(self.token)
        if size > MAX_TOKEN:
            raise LocalProtocolError(f"a token of {size} octets; {MAX_TOKEN} is the most")
        return bytes((GSSAPI_VERSION, self.kind, size >> 8, size & 0xFF)) + self.token

    @classmethod
    def decode(
        cls, buffer: bytes | bytearray | memoryview, expected: MessageType
    ) -> tuple[Message, int] | None:
        """An abort may come in the place of any message.

        :param expected: the only other MTYP that may come now.
        :raises RemoteProtocolError: VER is not 1, or MTYP neither *expected* nor an abort.
        """
        if buffer and buffer[0] != GSSAPI_VERSION:
            raise RemoteProtocolError(f"not a GSSAPI message: first octet {buffer[0]}")
        if len(buffer) < 2:
            return None
        kind = buffer[1]
        if kind == MessageType.ABORT:
            return cls(MessageType.ABORT), 2
        if kind != expected:
            raise RemoteProtocolError(f"GSSAPI message {kind} where {expected.value} is due")
        if len(buffer) < HEADER:
            return None
        end = HEADER + (buffer[2] << 8 | buffer[3])
        return (cls(kind, bytes(buffer[HEADER:end])), end) if len(buffer) >= end else None


def size_of(buffer: bytes | bytearray) -> int:
    """Octets of the message that something begins with, as far as can be told: the least that it can have."""
    return HEADER + (buffer[2] << 8 | buffer[3]) if len(buffer) >= HEADER else len(buffer) + 1


class Tokens:
    """Takes protected tokens (MTYP 3) out of a stream, however that is cut. Keeps one message, and what came
    with its last octets.
    """

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __len__(self) -> int:
        """How many octets wait."""
        return len(self._buffer)

    def add(self, data: bytes) -> None:
        """Octets came."""
        self._buffer += data

    def next(self) -> bytes | None:
        """The next token, or None while octets of it are missing.

        :raises RemoteProtocolError: what waits is no such message, or an abort.
        """
        found = Message.decode(self._buffer, MessageType.ENCAPSULATED)
        if found is None:
            return None
        message, used = found
        if message.kind == MessageType.ABORT:
            raise RemoteProtocolError("the other side has given up")
        del self._buffer[:used]
        return message.token


def token_of(datagram: bytes) -> bytes:
    """The token of a datagram, which is one message (RFC 1961 section 5).

    :raises RemoteProtocolError: it is not one, whole, and nothing else.
    """
    found = Message.decode(datagram, MessageType.ENCAPSULATED)
    if found is None or found[1] != len(datagram) or found[0].kind == MessageType.ABORT:
        raise RemoteProtocolError("a datagram that is not one GSSAPI message")
    return found[0].token
