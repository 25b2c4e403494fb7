"""The messages of CHAP in SOCKS (draft-ietf-aft-socks-chap-01): sets of attributes and values, both ways alike.

.. code-block:: text

    +-----+-------+-----+-----+----------+
    | VER | NAVAS | ATT | LEN |   VAL    |
    +-----+-------+-----+-----+----------+
    |  1  |   1   |  1  |  1  | 0 to 255 |     VER 1; ATT, LEN and VAL as often as NAVAS says
    +-----+-------+-----+-----+----------+
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from socks5.protocol.errors import RemoteProtocolError

CHAP_VERSION = 1

MAX_MESSAGE = 2048
"""Octets of a message that are taken at the most: each attribute that there is, at its longest."""


class Attribute(IntEnum):
    """ATT octets. Others are ignored."""

    STATUS = 0x00
    """One octet, 0 for success."""
    TEXT_MESSAGE = 0x01
    USER_IDENTITY = 0x02
    CHALLENGE = 0x03
    RESPONSE = 0x04
    CHARSET = 0x05
    IDENTIFIER = 0x10
    ALGORITHMS = 0x11
    """One octet each."""


HMAC_MD5 = 0x85
"""The one algorithm that is spoken here. Plain MD5 (0x05) is not: it says more of the secret."""


def response_to(challenge: bytes, secret: bytes) -> bytes:
    """What proves by HMAC-MD5 (RFC 2104) that somebody knows a secret: 16 octets."""
    return hmac.digest(secret, challenge, "md5")


@dataclass(frozen=True, slots=True)
class AttributeValues:
    """One message; see the module. Without a set it says that its sender gives up. The values are in no ``repr``.

    :param values: by the ATT octet, known or not, up to 255 octets each. Of those that come twice, the last.
    """

    values: Mapping[int, bytes] = field(repr=False)

    def encode(self) -> bytes:
        """The octets."""
        sets = [bytes((att, len(value))) + value for att, value in self.values.items()]
        return bytes((CHAP_VERSION, len(sets))) + b"".join(sets)

    @classmethod
    def decode(cls, buffer: bytes) -> tuple[AttributeValues, int] | None:
        """:raises RemoteProtocolError: VER is not 1, or the message is longer than :data:`MAX_MESSAGE`."""
        if buffer and buffer[0] != CHAP_VERSION:
            raise RemoteProtocolError(f"not a CHAP message: first octet {buffer[0]}")
        size = size_of(buffer)
        if len(buffer) < size:
            return None
        values: dict[int, bytes] = {}
        at = 2
        while at < size:
            end = at + 2 + buffer[at + 1]
            values[buffer[at]] = buffer[at + 2 : end]
            at = end
        return cls(values), size


def size_of(buffer: bytes) -> int:
    """Octets of the message that something begins with, as far as can be told: the least that it can have.

    :raises RemoteProtocolError: more than :data:`MAX_MESSAGE`.
    """
    size = 2
    for _ in range(buffer[1] if len(buffer) >= size else 0):
        if len(buffer) < size + 2:
            return size + 2
        size += 2 + buffer[size + 1]
        if size > MAX_MESSAGE:
            raise RemoteProtocolError(f"a CHAP message of more than {MAX_MESSAGE} octets")
    return size


GIVEN_UP = AttributeValues({}).encode()
"""What ends an exchange before there is a verdict."""
