"""UDP sockets that move batches between each other, with ``recvmmsg`` and ``sendmmsg``.

.. code-block:: text

    slot:  | 32 octets of room | up to 65536 octets received |
    up:    received at 32: [header 10][payload]  sent from 42: [payload]             to a target
    down:  received at 32: [payload]             sent from 22: [header 10][payload]  to the client

All sockets of a process share the same slots: what is received in a slot leaves from that slot, and
no octet of a payload is ever touched by Python. For each datagram one dictionary is asked: the
client's header (up) or the sender's address (down) leads to a :class:`Route` that the owner has
approved before. A datagram without a route goes to the owner as octets, the slow way, and the owner
may then make one. A batch that the kernel received as one (UDP_GRO) leaves as one (UDP_SEGMENT),
after every segment's header was compared.

Knows the length and place of the header of an IPv4 datagram (RFC 1928 section 7), not its meaning.
Needs Linux; :func:`is_available` says whether the calls are there.

Floor 2: imports :mod:`socks5.poll`.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys
from functools import cache
from typing import Any, Protocol

from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from socks5.poll import Poller

SLOTS = 32
"""Datagrams moved by one system call."""

ROUNDS = 4
"""Batches of one socket before others get their turn."""

HEADER = 10
"""Octets of the header of a datagram with an IPv4 address."""

_ROOM = 32
_STRIDE = _ROOM + 65536
_NAME = 32  # a sockaddr_in6 has 28 octets
_CONTROL = 32  # CMSG_SPACE(sizeof(int)) is 24
_MSG = 64  # sizeof(struct mmsghdr)
_SOL_UDP = 17
_UDP_SEGMENT = 103
_UDP_GRO = 104
_MAX_SEGMENTS = 64
_MAX_SIZE = 65507


class Route:
    """Where the datagrams of one key go.

    :param port: the socket that sends them.
    :param name: the sockaddr they are sent to, 16 octets (up).
    :param header: the 10 octets put before the payload (down).
    """

    __slots__ = ("header", "name", "port")

    def __init__(self, port: BatchPort, name: bytes = b"", header: bytes = b"") -> None:
        self.port = port
        self.name = name
        self.header = header


def sockaddr(host: str, port: int) -> bytes:
    """An IPv4 address and port as the kernel has them: 16 octets."""
    return (
        struct.pack("=H", socket.AF_INET)
        + struct.pack("!H", port)
        + socket.inet_aton(host)
        + bytes(8)
    )


def sender_key(host: str, port: int) -> int:
    """What a datagram from this IPv4 address and port is looked up with on the way down."""
    return int.from_bytes(sockaddr(host, port)[:8], sys.byteorder)


def header_key(header: bytes) -> int:
    """What a datagram with these first 10 octets is looked up with on the way up."""
    return int.from_bytes(header[:8], sys.byteorder) << 16 | int.from_bytes(
        header[8:10], sys.byteorder
    )


class _Slots:
    """The process's slots, and the kernel's structures that describe them, written once."""

    def __init__(self) -> None:
        self._keep: list[Any] = []
        self.data, self.base = self._memory(SLOTS * _STRIDE)
        names, names_at = self._memory(SLOTS * _NAME)
        out_names, out_names_at = self._memory(SLOTS * _NAME)
        self.client_name, client_at = self._memory(_NAME)
        self._control, control_at = self._memory(SLOTS * _CONTROL)
        in_vec, in_vec_at = self._memory(SLOTS * 16)
        up_vec, up_vec_at = self._memory(SLOTS * 16)
        down_vec, down_vec_at = self._memory(SLOTS * 16)
        incoming, incoming_at = self._memory(SLOTS * _MSG)
        up, up_at = self._memory(SLOTS * _MSG)
        down, down_at = self._memory(SLOTS * _MSG)
        self.incoming_at = ctypes.c_void_p(incoming_at)
        self.up_at = [ctypes.c_void_p(up_at + i * _MSG) for i in range(SLOTS)]
        self.down_at = [ctypes.c_void_p(down_at + i * _MSG) for i in range(SLOTS)]
        for i in range(SLOTS):
            at = self.base + i * _STRIDE + _ROOM
            struct.pack_into("QQ", in_vec, i * 16, at, 65536)
            struct.pack_into("QQ", up_vec, i * 16, at + HEADER, 0)
            struct.pack_into("QQ", down_vec, i * 16, at - HEADER, 0)
            self._message(
                incoming,
                i,
                names_at + i * _NAME,
                in_vec_at + i * 16,
                control_at + i * _CONTROL,
                _CONTROL,
            )
            self._message(up, i, out_names_at + i * _NAME, up_vec_at + i * 16)
            self._message(down, i, client_at, down_vec_at + i * 16)
        self.out_names = out_names
        self.lengths = incoming.cast("I")[14::16]
        self.control_lengths = incoming.cast("Q")[5::8]
        self._full = memoryview(struct.pack("Q", _CONTROL) * SLOTS).cast("Q")
        self.segment_sizes = self._control.cast("I")[4 :: _CONTROL // 4]
        self.senders = names.cast("Q")[:: _NAME // 8]
        self.names = names
        self.headers = self.data.cast("Q")[_ROOM // 8 :: _STRIDE // 8]
        self.header_ports = self.data.cast("H")[(_ROOM + 8) // 2 :: _STRIDE // 2]
        self.up_lengths = up_vec.cast("Q")[1::2]
        self.down_lengths = down_vec.cast("Q")[1::2]
        self.up_routes: list[Route | None] = [None] * SLOTS
        self.down_headers: list[bytes] = [b""] * SLOTS
        self._describe_one()

    def _describe_one(self) -> None:
        """The message that the kernel cuts."""
        self.one_name, one_name_at = self._memory(_NAME)
        self.vector, vector_at = self._memory(2 * _MAX_SEGMENTS * 16)
        self._one_control, one_control_at = self._memory(_CONTROL)
        self.one, one_at = self._memory(_MSG)
        self.one_at = ctypes.c_void_p(one_at)
        struct.pack_into(
            "QIIQQQQ", self.one, 0, one_name_at, 16, 0, vector_at, 0, one_control_at, 24
        )
        struct.pack_into("QiiH", self._one_control, 0, 18, _SOL_UDP, _UDP_SEGMENT, 0)

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
            i * _MSG,
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

    def segmented(self, vectors: int, size: int) -> None:
        """Describe one message of that many pieces, to be cut every *size* octets."""
        struct.pack_into("Q", self.one, 24, vectors)
        struct.pack_into("H", self._one_control, 16, size)


def _load() -> Any:
    """The C library, if it has the calls. Its functions have no ``argtypes``, for to convert every argument
    takes longer than the call: addresses are given as ``c_void_p``.
    """
    if not sys.platform.startswith("linux") or struct.calcsize("P") != 8:
        return None
    library = ctypes.PyDLL(None, use_errno=True)
    if not (hasattr(library, "recvmmsg") and hasattr(library, "sendmmsg")):
        return None
    library.sendmsg.restype = ctypes.c_ssize_t
    return library


_libc = _load()


@cache
def _the_slots() -> _Slots:
    """The process's one set of slots."""
    return _Slots()


def is_available() -> bool:
    """Whether this system has the calls."""
    return _libc is not None


class BatchOwner(Protocol):
    """Who decides about the datagrams of its sockets."""

    def missed(self, is_up: bool, data: bytes, sender: tuple[str, int]) -> None:
        """A datagram without a route arrived; making one sends the next ones of its kind in
        batches.
        """

    def moved(self, is_up: bool, count: int, octets: int) -> None:
        """That many datagrams, with that many octets of payload, have left by their routes."""

    def unsendable(self, count: int) -> None:
        """That many were not taken by the kernel."""


class BatchPort:
    """One IPv4 UDP socket that moves batches.

    :param poller: tells us when there are datagrams.
    :param interface: the IPv4 literal to bind.
    :param port: the port; 0: the system's choice.
    :param is_up: whether this is the client's side, whose datagrams have a header.
    :param routes: by :func:`header_key` (up) or :func:`sender_key` (down); the owner's, looked up
        for every datagram.
    :param owner: decides about the rest.
    :raises twisted.internet.error.CannotListenError: the port is taken, or the address not ours.
    """

    _log = Logger()

    __slots__ = (
        "_client_key",
        "_client_name",
        "_is_segmenting",
        "_is_up",
        "_owner",
        "_poller",
        "_routes",
        "_slots",
        "_socket",
        "fd",
    )

    def __init__(
        self,
        poller: Poller,
        interface: str,
        port: int,
        is_up: bool,
        routes: dict[int, Route],
        owner: BatchOwner,
    ) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.bind((interface, port))
        except OSError as error:
            self._socket.close()
            raise CannotListenError(interface, port, error) from None
        self._is_segmenting = True
        try:
            self._socket.setsockopt(_SOL_UDP, _UDP_GRO, 1)
        except OSError:
            self._is_segmenting = False
        self.fd = self._socket.fileno()
        self._poller = poller
        self._is_up = is_up
        self._routes = routes
        self._owner = owner
        self._slots = _the_slots()
        self._client_key = 0
        self._client_name = b""
        poller.add(self.fd, self)

    def set_client(self, host: str, port: int) -> None:
        """The client's side: whose datagrams are looked up, and where those with a header go."""
        self._client_name = sockaddr(host, port)
        self._client_key = sender_key(host, port)

    # What arrives

    def ready(self, events: int) -> None:
        """See :class:`socks5.poll.Owner`: move what has arrived, in batches."""
        slots = self._slots
        move = self._up if self._is_up else self._down
        for _ in range(ROUNDS):
            count = _libc.recvmmsg(self.fd, slots.incoming_at, SLOTS, 0, None)
            if count <= 0:
                return
            sizes = slots.lengths[:count].tolist()
            aggregated = slots.control_lengths[:count].tolist()
            slots.reset_control(count)
            move(slots, sizes, aggregated)
            if count < SLOTS or self.fd < 0:
                return
        self._poller.again(self.fd)

    def crashed(self, failure: Failure) -> None:
        """See :class:`socks5.poll.Owner`: a datagram that hits a bug is dropped; the socket
        lives.
        """
        self._log.failure("a datagram was dropped", failure=failure)
        self._owner.unsendable(1)
        if self.fd >= 0:
            self._poller.again(self.fd)

    def _up(self, slots: _Slots, sizes: list[int], aggregated: list[int]) -> None:
        """Send payloads to where their headers say."""
        routes, known = self._routes, slots.up_routes
        senders, headers, ports, lengths = (
            slots.senders,
            slots.headers,
            slots.header_ports,
            slots.up_lengths,
        )
        target: BatchPort | None = None
        start = 0
        for i, size in enumerate(sizes):
            route = None
            if senders[i] == self._client_key and size >= HEADER:
                route = routes.get(headers[i] << 16 | ports[i])
            if route is None or aggregated[i] or route.port is not target:
                self._send(target, slots.up_at, start, i, sizes, -HEADER)
                start, target = i, None
                if route is None or aggregated[i]:
                    start = i + 1
                    self._one_by_one(slots, i, size, aggregated[i], route)
                    continue
                target = route.port
            if known[i] is not route:
                known[i] = route
                slots.out_names[i * _NAME : i * _NAME + 16] = route.name
            lengths[i] = size - HEADER
        self._send(target, slots.up_at, start, len(sizes), sizes, -HEADER)

    def _down(self, slots: _Slots, sizes: list[int], aggregated: list[int]) -> None:
        """Put headers before payloads and send them to the client."""
        routes, known, data = self._routes, slots.down_headers, slots.data
        senders, lengths = slots.senders, slots.down_lengths
        target: BatchPort | None = None
        start = 0
        for i, size in enumerate(sizes):
            route = routes.get(senders[i])
            if route is None or aggregated[i] or size + HEADER > _MAX_SIZE:
                self._send(target, slots.down_at, start, i, sizes, HEADER)
                start, target = i + 1, None
                self._one_by_one(slots, i, size, aggregated[i], route)
                continue
            if target is None:
                target = route.port
                slots.client_name[:16] = target._client_name
            header = route.header
            if known[i] is not header:
                known[i] = header
                at = i * _STRIDE + _ROOM
                data[at - HEADER : at] = header
            lengths[i] = size + HEADER
        self._send(target, slots.down_at, start, len(sizes), sizes, HEADER)

    def _send(
        self,
        target: BatchPort | None,
        messages: list[ctypes.c_void_p],
        start: int,
        end: int,
        sizes: list[int],
        extra: int,
    ) -> None:
        """Send the slots from *start* to *end*. What the kernel does not take is dropped."""
        if target is None or start == end:
            return
        done = start
        while done < end and target.fd >= 0:
            sent = _libc.sendmmsg(target.fd, messages[done], end - done, 0)
            if sent <= 0:
                is_full = ctypes.get_errno() in (errno.EAGAIN, errno.ENOBUFS)
                lost = end - done if is_full else 1
                self._owner.unsendable(lost)
                done += lost
                continue
            octets = sum(sizes[done : done + sent]) + (sent * extra if extra < 0 else 0)
            self._owner.moved(self._is_up, sent, octets)
            done += sent

    # One by one: what has no route, and what the kernel received as one

    def _one_by_one(
        self, slots: _Slots, i: int, size: int, is_aggregated: int, route: Route | None
    ) -> None:
        at = i * _STRIDE + _ROOM
        segment = slots.segment_sizes[i] if is_aggregated else size
        if (
            is_aggregated
            and route is not None
            and self._is_segmenting
            and route.port._is_segmenting
        ):
            forward = self._segments_up if self._is_up else self._segments_down
            if forward(slots, at, size, segment, route):
                return
        sender = self._sender(slots, i)
        chunk = bytes(slots.data[at : at + size])
        for offset in range(0, max(size, 1), max(segment, 1)):
            self._owner.missed(self._is_up, chunk[offset : offset + segment], sender)

    @staticmethod
    def _sender(slots: _Slots, i: int) -> tuple[str, int]:
        name = slots.names[i * _NAME : i * _NAME + 8]
        return socket.inet_ntoa(name[4:8]), name[2] << 8 | name[3]

    def _segments_up(self, slots: _Slots, at: int, size: int, segment: int, route: Route) -> bool:
        """Send an aggregate to one target, if all its segments are for that one.

        :returns: whether it is dealt with.
        """
        data = slots.data
        count = -(-size // segment)
        last = size - (count - 1) * segment
        if segment <= HEADER or count > _MAX_SEGMENTS or last <= HEADER:
            return False  # the kernel cuts no datagram without octets
        for offset in range(HEADER):
            column = bytes(data[at + offset : at + size : segment])
            if column != column[:1] * count:
                return False
        where = slots.base + at
        pieces: list[int] = []
        for start in range(0, size, segment):
            pieces += (where + start + HEADER, min(segment, size - start) - HEADER)
        slots.one_name[:16] = route.name
        return self._send_segments(
            slots, route.port, pieces, count, segment - HEADER, size - count * HEADER
        )

    def _segments_down(self, slots: _Slots, at: int, size: int, segment: int, route: Route) -> bool:
        """Send an aggregate to the client, a header before each segment."""
        slots.one_name[:16] = route.port._client_name
        slots.data[at - HEADER : at] = route.header
        slots.down_headers[(at - _ROOM) // _STRIDE] = route.header
        where = slots.base + at
        whole = segment + HEADER
        at_once = min(_MAX_SEGMENTS, _MAX_SIZE // whole)
        for first in range(0, size, at_once * segment):
            last = min(size, first + at_once * segment)
            pieces: list[int] = []
            for start in range(first, last, segment):
                pieces += (
                    where - HEADER,
                    HEADER,
                    where + start,
                    min(segment, last - start),
                )
            count = len(pieces) // 4
            if not self._send_segments(slots, route.port, pieces, count, whole, last - first):
                if not first:
                    return False
                self._owner.unsendable(count)
        return True

    def _send_segments(
        self,
        slots: _Slots,
        target: BatchPort,
        pieces: list[int],
        count: int,
        segment: int,
        octets: int,
    ) -> bool:
        """Send one message that the kernel cuts into datagrams of *segment* octets.

        :returns: False if the kernel cannot cut it; the segments are then sent one by one.
        """
        struct.pack_into(f"{len(pieces)}Q", slots.vector, 0, *pieces)
        slots.segmented(len(pieces) // 2, segment)
        if _libc.sendmsg(target.fd, slots.one_at, 0) >= 0:
            self._owner.moved(self._is_up, count, octets)
            return True
        if ctypes.get_errno() in (errno.EAGAIN, errno.ENOBUFS):
            self._owner.unsendable(count)
            return True
        return False

    # A datagram port as Twisted's

    def write(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Send one datagram.

        :raises OSError: the kernel does not take it.
        """
        self._socket.sendto(datagram, addr)

    def getHost(self) -> IPv4Address:
        """The bound address."""
        return IPv4Address("UDP", *self._socket.getsockname())

    def stopListening(self) -> None:
        """Close the socket."""
        if self.fd >= 0:
            self._poller.forget(self.fd)
            self.fd = -1
            self._socket.close()
