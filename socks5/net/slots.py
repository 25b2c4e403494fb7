"""The memory that batches of datagrams pass through, and the kernel's structures that describe it.

.. code-block:: text

    slot:  | 32 octets of room | up to 65536 octets received |
    up:    received at 32: [header 10][payload]  sent from 42: [payload]             to a target
    down:  received at 32: [payload]             sent from 22: [header 10][payload]  to the client

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

ROOM = 32
"""Octets before the place at which a datagram is received."""

STRIDE = ROOM + 65536
"""Octets from one slot to the next."""

NAME = 32
"""Octets for a socket's address; a sockaddr_in6 has 28."""

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


class Slots:
    """The process's slots, and the kernel's structures that describe them, written once."""

    def __init__(self) -> None:
        self._keep: list[Any] = []
        self.data, self.base = self._memory(SLOTS * STRIDE)
        names, names_at = self._memory(SLOTS * NAME)
        out_names, out_names_at = self._memory(SLOTS * NAME)
        self.client_name, client_at = self._memory(NAME)
        self._control, control_at = self._memory(SLOTS * CONTROL)
        in_vec, in_vec_at = self._memory(SLOTS * 16)
        up_vec, up_vec_at = self._memory(SLOTS * 16)
        down_vec, down_vec_at = self._memory(SLOTS * 16)
        incoming, incoming_at = self._memory(SLOTS * _MESSAGE)
        up, up_at = self._memory(SLOTS * _MESSAGE)
        down, down_at = self._memory(SLOTS * _MESSAGE)
        self.incoming_at = ctypes.c_void_p(incoming_at)
        self.up_at = [ctypes.c_void_p(up_at + i * _MESSAGE) for i in range(SLOTS)]
        self.down_at = [ctypes.c_void_p(down_at + i * _MESSAGE) for i in range(SLOTS)]
        for i in range(SLOTS):
            at = self.base + i * STRIDE + ROOM
            struct.pack_into("QQ", in_vec, i * 16, at, 65536)
            struct.pack_into("QQ", up_vec, i * 16, at + HEADER, 0)
            struct.pack_into("QQ", down_vec, i * 16, at - HEADER, 0)
            self._message(
                incoming,
                i,
                names_at + i * NAME,
                in_vec_at + i * 16,
                control_at + i * CONTROL,
                CONTROL,
            )
            self._message(up, i, out_names_at + i * NAME, up_vec_at + i * 16)
            self._message(down, i, client_at, down_vec_at + i * 16)
        self.out_names = out_names
        self.lengths = incoming.cast("I")[14::16]
        self.control_lengths = incoming.cast("Q")[5::8]
        self._full = memoryview(struct.pack("Q", CONTROL) * SLOTS).cast("Q")
        self.segment_sizes = self._control.cast("I")[4 :: CONTROL // 4]
        self.senders = names.cast("Q")[:: NAME // 8]
        self.names = names
        self.headers = self.data.cast("Q")[ROOM // 8 :: STRIDE // 8]
        self.header_ports = self.data.cast("H")[(ROOM + 8) // 2 :: STRIDE // 2]
        self.up_lengths = up_vec.cast("Q")[1::2]
        self.down_lengths = down_vec.cast("Q")[1::2]
        self.up_routes: list[Any] = [None] * SLOTS
        self.down_headers: list[bytes] = [b""] * SLOTS
        self._describe_one()
        self._described: dict[tuple[str | int, ...], bytes] = {}

    def _describe_one(self) -> None:
        """The message that the kernel cuts."""
        self.one_name, one_name_at = self._memory(NAME)
        self.vector, vector_at = self._memory(2 * MAX_SEGMENTS * 16)
        self._one_control, one_control_at = self._memory(CONTROL)
        self.one, one_at = self._memory(_MESSAGE)
        self.one_at = ctypes.c_void_p(one_at)
        struct.pack_into(
            "QIIQQQQ", self.one, 0, one_name_at, 16, 0, vector_at, 0, one_control_at, 24
        )
        struct.pack_into("QiiH", self._one_control, 0, 18, SOL_UDP, _UDP_SEGMENT, 0)

    def _memory(self, size: int) -> tuple[memoryview, int]:
        """Zeroed memory that stays where it is, and where that is."""
        block = (ctypes.c_char * (size + 64))()
        self._keep.append(block)
        at = ctypes.addressof(block)
        skip = -at % 64
        return memoryview(block).cast("B")[skip : skip + size], at + skip

    @staticmethod
    def _message(
        messages: memoryview,
        i: int,
        name: int,
        vector: int,
        control: int = 0,
        control_length: int = 0,
    ) -> None:
        struct.pack_into(
            "QIIQQQQ",
            messages,
            i * _MESSAGE,
            name,
            16,
            0,
            vector,
            1,
            control,
            control_length,
        )

    def reset_control(self, count: int) -> None:
        """Give the kernel the control buffers of *count* messages again."""
        self.control_lengths[:count] = self._full[:count]

    def pieces_up(self, at: int, size: int, segment: int) -> bytes:
        """Where the payloads of an aggregate are: each segment without its header."""
        starts = range(0, size, segment)
        return self._pieces(
            ("up", at, size, segment),
            lambda: [
                (at + start + HEADER, min(segment, size - start) - HEADER) for start in starts
            ],
        )

    def pieces_down(self, at: int, first: int, octets: int, segment: int) -> bytes:
        """Where the datagrams of a part of an aggregate are: the header that stands before it, and a segment,
        by turns.

        :param first: where the part begins in the aggregate, which begins at *at*.
        """
        starts = range(first, first + octets, segment)
        return self._pieces(
            ("down", at, first, octets, segment),
            lambda: [
                piece
                for start in starts
                for piece in (
                    (at - HEADER, HEADER),
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
            pieces = [(self.base + at, length) for at, length in describe()]
            packed = self._described[key] = b"".join(struct.pack("QQ", *piece) for piece in pieces)
        return packed

    def segmented(self, vectors: int, size: int) -> None:
        """Describe one message of that many pieces, to be cut every *size* octets."""
        struct.pack_into("Q", self.one, 24, vectors)
        struct.pack_into("H", self._one_control, 16, size)
