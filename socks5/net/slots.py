"""The memory that batches of datagrams pass through, and the kernel's structures that describe it.

.. code-block:: text

    slot:  | 32 octets of room | up to 65536 octets received |
    up:    received at 32: [header][payload]  sent from behind the header: [payload]      to a target
    down:  received at 32: [payload]          sent from before 32: [header][payload]      to the client
    whole: received at 32: [header][payload]  sent as it is: [header][payload]            to an upstream, or from it

A header has 10 octets or 22, by the address family of the target (RFC 1928 section 7), whatever the client's. So there
is a :class:`Lane` for each family of targets, one more for each for what keeps its header, and an :class:`Incoming` for
each family of sockets that receive.

Every structure is written once; for each datagram only lengths, and names and headers that are not those of the
datagram before, are written anew (recvmmsg(2), sendmmsg(2), readv(2), cmsg(3)).
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any

SLOTS = 32
"""Datagrams moved by one system call."""

HEADER = 10
"""Octets of the header of a datagram with an IPv4 address."""

IPV6_HEADER = 22
"""With an IPv6 address."""

ROOM = 32
"""Octets before the place at which a datagram is received."""

STRIDE = ROOM + 65536
"""Octets from one slot to the next."""

NAME_LENGTH = 28
"""sizeof(struct sockaddr_in6). The kernel takes a longer address than it needs, so one of IPv4 is filled up to it."""

NAME = 32
"""Octets from one socket's address to the next."""

SENDER = 24
"""Octets of a sockaddr_in6 that tell senders apart: all but the zone, which is the same for all that a socket hears of
link-local addresses if it is bound to one, and is not looked at elsewhere either. The kernel fills in no flow."""

PIECE = 16
"""sizeof(struct iovec)."""

MAX_SEGMENTS = 64
"""Datagrams that the kernel cuts one message into, at the most (udp(7))."""

DESCRIBED = 1024
"""Descriptions of aggregates that are remembered."""

CONTROL = 32
"""Octets for what the kernel says beside a datagram; CMSG_SPACE(sizeof(int)) is 24."""

SOL_UDP = 17

_MESSAGE = 64  # sizeof(struct mmsghdr)
_UDP_SEGMENT = 103
_IPV4_NAME = 16  # sizeof(struct sockaddr_in)


class _Octets:
    """The first octets of each of many things, as keys."""

    def __init__(self, memory: memoryview, start: int, stride: int, size: int) -> None:
        starts = range(start, start + SLOTS * stride, stride)
        self._views = [memory[at : at + size] for at in starts]

    def __getitem__(self, i: int) -> bytes:
        return self._views[i].tobytes()


class Slots:
    """The process's slots, and what describes them."""

    def __init__(self) -> None:
        self._keep: list[Any] = []
        self.data, self.base = self.memory(SLOTS * STRIDE)
        self.headers = self.data.cast("Q")[ROOM // 8 :: STRIDE // 8]
        self.header_ports = self.data.cast("H")[(ROOM + 8) // 2 :: STRIDE // 2]
        self.ipv6_headers = _Octets(self.data, ROOM, STRIDE, IPV6_HEADER)
        self.down_headers: list[bytes] = [b""] * SLOTS
        """The header that stands before each slot's payload now."""
        self.client_name, self.client_at = self.memory(NAME)
        self._describe_one()
        self.incoming = Incoming(self, False), Incoming(self, True)
        """For sockets of IPv4, and of IPv6."""
        self.lanes = Lane(self, HEADER), Lane(self, IPV6_HEADER)
        """For targets of IPv4, and of IPv6."""
        self.whole_lanes = {size: Lane(self, size, cut=0) for size in (HEADER, IPV6_HEADER)}
        """For what keeps its header, by the octets of that."""

    def _describe_one(self) -> None:
        """The message that the kernel cuts."""
        self.one_name, one_name_at = self.memory(NAME)
        self.vector, vector_at = self.memory(2 * MAX_SEGMENTS * PIECE)
        self._one_control, one_control_at = self.memory(CONTROL)
        self.one, one_at = self.memory(_MESSAGE)
        self.one_at = ctypes.c_void_p(one_at)
        struct.pack_into(
            "QIIQQQQ", self.one, 0, one_name_at, NAME_LENGTH, 0, vector_at, 0, one_control_at, 24
        )
        struct.pack_into("QiiH", self._one_control, 0, 18, SOL_UDP, _UDP_SEGMENT, 0)

    def memory(self, size: int) -> tuple[memoryview, int]:
        """Zeroed memory that stays where it is, and where that is."""
        block = (ctypes.c_char * (size + 64))()
        self._keep.append(block)
        at = ctypes.addressof(block)
        skip = -at % 64
        return memoryview(block).cast("B")[skip : skip + size], at + skip

    def segmented(self, vectors: int, size: int) -> None:
        """Describe one message of that many pieces, to be cut every *size* octets."""
        struct.pack_into("Q", self.one, 24, vectors)
        struct.pack_into("H", self._one_control, 16, size)


def _message(
    messages: memoryview,
    i: int,
    name: tuple[int, int],
    vector: int,
    control: tuple[int, int] = (0, 0),
) -> None:
    """Write a struct mmsghdr with one piece.

    :param name: where it is, and its length; so *control*.
    """
    struct.pack_into("QIIQQQQ", messages, i * _MESSAGE, *name, 0, vector, 1, *control)


class Incoming:
    """What sockets of one address family receive: the kernel tells the length of a sender's address in the place where
    it was told how much room there is, so there is a place for each length.

    :ivar senders: what the sender of each slot's datagram is looked up with.
    """

    def __init__(self, slots: Slots, is_ipv6: bool) -> None:
        names, names_at = slots.memory(SLOTS * NAME)
        self._control, control_at = slots.memory(SLOTS * CONTROL)
        vector, vector_at = slots.memory(SLOTS * PIECE)
        messages, messages_at = slots.memory(SLOTS * _MESSAGE)
        self.at = ctypes.c_void_p(messages_at)
        length = NAME_LENGTH if is_ipv6 else _IPV4_NAME
        for i in range(SLOTS):
            struct.pack_into("QQ", vector, i * PIECE, slots.base + i * STRIDE + ROOM, 65536)
            name, control = (names_at + i * NAME, length), (control_at + i * CONTROL, CONTROL)
            _message(messages, i, name, vector_at + i * PIECE, control)
        self.data = slots.data
        self.headers, self.header_ports = slots.headers, slots.header_ports
        self.ipv6_headers = slots.ipv6_headers
        self.lengths = messages.cast("I")[14::16]
        self.control_lengths = messages.cast("Q")[5::8]
        full = memoryview(struct.pack("Q", CONTROL) * SLOTS).cast("Q")
        self._first = [
            (self.lengths[:count], self.control_lengths[:count], full[:count])
            for count in range(SLOTS + 1)
        ]
        self.segment_sizes = self._control.cast("I")[4 :: CONTROL // 4]
        self.names = names
        ipv4_senders = names.cast("Q")[:: NAME // 8]
        self.senders = _Octets(names, 0, NAME, SENDER) if is_ipv6 else ipv4_senders

    def take(self, count: int) -> tuple[list[int], list[int]]:
        """What the kernel has said of the first *count* messages, whose control buffers it gets again.

        :returns: the octets of each; and what is not 0 for those that it received as one.
        """
        lengths, control_lengths, full = self._first[count]
        sizes, aggregated = lengths.tolist(), control_lengths.tolist()
        control_lengths[:] = full
        return sizes, aggregated


class Lane:
    """What leaves between the client and targets of one address family.

    :param header: octets of a header with such an address.
    :param cut: how many of them do not leave on the way up; None: all.
    """

    def __init__(self, slots: Slots, header: int, cut: int | None = None) -> None:
        self.header = header
        self.cut = header if cut is None else cut
        self.slots = slots
        self.data, self.client_name = slots.data, slots.client_name
        self.down_headers = slots.down_headers
        self.up_names, names_at = slots.memory(SLOTS * NAME)
        up_vector, up_vector_at = slots.memory(SLOTS * PIECE)
        down_vector, down_vector_at = slots.memory(SLOTS * PIECE)
        up, up_at = slots.memory(SLOTS * _MESSAGE)
        down, down_at = slots.memory(SLOTS * _MESSAGE)
        for i in range(SLOTS):
            at = slots.base + i * STRIDE + ROOM
            struct.pack_into("QQ", up_vector, i * PIECE, at + self.cut, 0)
            struct.pack_into("QQ", down_vector, i * PIECE, at - header, 0)
            _message(up, i, (names_at + i * NAME, NAME_LENGTH), up_vector_at + i * PIECE)
            _message(down, i, (slots.client_at, NAME_LENGTH), down_vector_at + i * PIECE)
        self.up_at = [ctypes.c_void_p(up_at + i * _MESSAGE) for i in range(SLOTS)]
        self.down_at = [ctypes.c_void_p(down_at + i * _MESSAGE) for i in range(SLOTS)]
        self.up_lengths = up_vector.cast("Q")[1::2]
        self.down_lengths = down_vector.cast("Q")[1::2]
        self.up_routes: list[Any] = [None] * SLOTS
        """Whose name each slot's message has now."""
        self._described: dict[tuple[str | int, ...], bytes] = {}

    def pieces_up(self, at: int, size: int, segment: int) -> bytes:
        """Where what leaves of an aggregate is: each segment without what is cut."""
        cut, starts = self.cut, range(0, size, segment)
        return self._pieces(
            ("up", at, size, segment),
            lambda: [(at + start + cut, min(segment, size - start) - cut) for start in starts],
        )

    def pieces_down(self, at: int, first: int, octets: int, segment: int) -> bytes:
        """Where the datagrams of a part of an aggregate are: the header that stands before it, and a segment,
        by turns.

        :param first: where the part begins in the aggregate, which begins at *at*.
        """
        header, starts = self.header, range(first, first + octets, segment)
        return self._pieces(
            ("down", at, first, octets, segment),
            lambda: [
                piece
                for start in starts
                for piece in (
                    (at - header, header),
                    (at + start, min(segment, first + octets - start)),
                )
            ],
        )

    def _pieces(
        self, key: tuple[str | int, ...], describe: Callable[[], list[tuple[int, int]]]
    ) -> bytes:
        """The kernel's description of octets in the slots. A sender's aggregates are all alike, so it is
        remembered.
        """
        packed = self._described.get(key)
        if packed is None:
            if len(self._described) >= DESCRIBED:
                self._described.clear()
            base = self.slots.base
            pieces = [(base + at, length) for at, length in describe()]
            packed = self._described[key] = b"".join(struct.pack("QQ", *piece) for piece in pieces)
        return packed
