"""The datagrams of UDP ASSOCIATE (RFC 1928 section 7): the header of each, and the fragments of one."""

from __future__ import annotations

from dataclasses import dataclass

from socks5.protocol.address import MAX_NAME, Address, octets
from socks5.protocol.errors import RemoteProtocolError

MAX_UDP_PAYLOAD = 65507
"""The most octets that one IPv4 datagram carries: 65535 - 20 (IP header) - 8 (UDP header)."""

MAX_UDP_HEADER = 4 + 1 + MAX_NAME + 2
"""The longest header of a UDP request, in octets (RFC 1928 section 7)."""


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
        return octets(0, 0, self.fragment) + self.address.encode() + self.payload

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
