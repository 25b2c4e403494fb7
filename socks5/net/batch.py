"""UDP sockets in a poller that move batches between each other, with ``recvmmsg`` and ``sendmmsg``.

All batch ports of a process share the same slots (:mod:`socks5.net.slots`): what is received in a slot leaves from
it, and no octet of a payload is ever touched by Python. For each datagram one dictionary is asked: the
client's header (up) or the sender's address (down) leads to a :class:`~socks5.net.batch_keys.Route` that the owner has
approved before. A datagram without a route goes to the owner as octets, the slow way, and the owner
may then make one. A batch that the kernel received as one (UDP_GRO) leaves as one (UDP_SEGMENT),
after every segment's header was compared.

Knows the length and place of the header of an IPv4 datagram (RFC 1928 section 7), not its meaning.
Batches need Linux; :func:`is_available` says whether the calls are there.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from typing_extensions import override

from socks5.net.batch_keys import Route
from socks5.net.datagram_ports import SINGLES, DatagramOwner, DatagramPort
from socks5.net.datagram_turns import SINGLE, Share
from socks5.net.poller import FAILED, Poller
from socks5.net.slots import (
    CONTROL,
    HEADER,
    MAX_SEGMENTS,
    NAME,
    PIECE,
    ROOM,
    SLOTS,
    SOL_UDP,
    STRIDE,
    Slots,
)

ROUNDS = 4
"""Batches of one socket before others get their turn."""

_UDP_GRO = 104

_MAX_SIZE = 65507


@lru_cache(maxsize=256)
def _beginnings(segment: int) -> struct.Struct:
    """Takes the first octets of each segment of that size."""
    return struct.Struct(f"{HEADER}s{segment - HEADER}x")


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
def _the_slots() -> Slots:
    """The process's one set of slots."""
    return Slots()


def is_available() -> bool:
    """Whether this system has the calls."""
    return _libc is not None


class BatchPort(DatagramPort):
    """One IPv4 UDP socket that moves batches. What has no route is the owner's.

    :param routes: by :func:`~socks5.net.batch_keys.header_key` (up) or :func:`~socks5.net.batch_keys.sender_key`
        (down); the owner's, looked up for every datagram.
    """

    __slots__ = (
        "_at_once",
        "_changed",
        "_changes",
        "_is_segmenting",
        "_seen",
        "_singles",
        "_slots",
        "routes",
    )

    def __init__(
        self,
        poller: Poller,
        interface: str,
        port: int,
        is_up: bool,
        owner: DatagramOwner,
        share: Share,
        buffer: int,
        routes: dict[int, Route],
    ) -> None:
        super().__init__(poller, interface, port, is_up, owner, share, buffer)
        self._is_segmenting = True
        try:
            self._socket.setsockopt(SOL_UDP, _UDP_GRO, 1)
        except OSError:
            self._is_segmenting = False
        self.routes = routes
        self._slots = _the_slots()
        self._at_once = 1
        self._singles = 0
        self._changes: memoryview | None = None
        self._changed: Callable[[], None]
        self._seen = 0

    def watch(self, changes: memoryview, changed: Callable[[], None]) -> None:
        """Call *changed*, before anything leaves by a route, when the number in *changes* is another one."""
        self._changed = changed
        if self._changes is None:
            self._changes, self._seen = changes, changes[0]

    # What arrives

    @override
    def ready(self, events: int) -> None:
        slots, share = self._slots, self._share
        if events & FAILED:
            self._take_errors()
        if self._changes is not None and self._changes[0] != self._seen:
            self._seen = self._changes[0]
            self._changed()
        move, move_one = (self._up, self._up_one) if self._is_up else (self._down, self._down_one)
        for _ in range(ROUNDS):
            if share.left <= 0:
                share.wait(self)
                return
            at_once = self._at_once
            count = _libc.recvmmsg(self.fd, slots.incoming_at, at_once, 0, None)
            if count <= 0:
                if ctypes.get_errno() == errno.EAGAIN:
                    return
                share.left -= 1
                continue  # as for single ones: an earlier datagram's error
            share.left -= count
            if count > 1 or not move_one(slots):
                sizes = slots.lengths[:count].tolist()
                aggregated = slots.control_lengths[:count].tolist()
                slots.reset_control(count)
                move(slots, sizes, aggregated)
            if self._singles or at_once < SLOTS:
                self._set_pace(count)
            if count < at_once or self.fd < 0:
                return
        self._poller.again(self.fd)

    def _set_pace(self, count: int) -> None:
        """How many to receive at once: what is received has to be handled, in one go, and each may hold dozens.
        So we begin with one, and take no more than what makes about :data:`SINGLES` single datagrams.
        """
        singles, self._singles = self._singles, 0
        fitting = SINGLES * count // singles if singles else 2 * self._at_once
        self._at_once = max(1, min(SLOTS, fitting))

    def _up_one(self, slots: Slots) -> bool:
        """Send a payload to where its header says. Most batches are of one datagram.

        :returns: whether it has a route; if not, nothing has happened.
        """
        size = slots.lengths[0]
        if size < HEADER or slots.control_lengths[0]:
            return False
        route = self.routes.get(slots.headers[0] << 16 | slots.header_ports[0])
        if route is None or route.sender != slots.senders[0]:
            return False
        slots.control_lengths[0] = CONTROL
        if slots.up_routes[0] is not route:
            slots.up_routes[0] = route
            slots.out_names[:16] = route.name
        slots.up_lengths[0] = size - HEADER
        if _libc.sendmmsg(route.port.fd, slots.up_at[0], 1, 0) == 1:
            self._owner.moved(True, 1, size - HEADER)
        else:
            self._send(route.port, slots.up_at, 0, 1, [size], -HEADER, True)
        return True

    def _down_one(self, slots: Slots) -> bool:
        """Put a header before a payload and send it to the client; see :meth:`_up_one`."""
        size = slots.lengths[0]
        route = self.routes.get(slots.senders[0])
        if route is None or slots.control_lengths[0] or size + HEADER > _MAX_SIZE:
            return False
        slots.control_lengths[0] = CONTROL
        slots.client_name[:16] = route.name
        header = route.header
        if slots.down_headers[0] is not header:
            slots.down_headers[0] = header
            slots.data[ROOM - HEADER : ROOM] = header
        slots.down_lengths[0] = size + HEADER
        if _libc.sendmmsg(route.port.fd, slots.down_at[0], 1, 0) == 1:
            self._owner.moved(False, 1, size)
        else:
            self._send(route.port, slots.down_at, 0, 1, [size], HEADER, True)
        return True

    def _up(self, slots: Slots, sizes: list[int], aggregated: list[int]) -> None:
        """Send payloads to where their headers say."""
        routes, known = self.routes, slots.up_routes
        senders, headers, ports, lengths = (
            slots.senders,
            slots.headers,
            slots.header_ports,
            slots.up_lengths,
        )
        target: BatchPort | None = None
        start = 0
        for i, size in enumerate(sizes):
            route = routes.get(headers[i] << 16 | ports[i]) if size >= HEADER else None
            if route is not None and route.sender != senders[i]:
                route = None
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
                slots.out_names[i * NAME : i * NAME + 16] = route.name
            lengths[i] = size - HEADER
        self._send(target, slots.up_at, start, len(sizes), sizes, -HEADER)

    def _down(self, slots: Slots, sizes: list[int], aggregated: list[int]) -> None:
        """Put headers before payloads and send them to the client."""
        routes, known, data = self.routes, slots.down_headers, slots.data
        senders, lengths = slots.senders, slots.down_lengths
        target: BatchPort | None = None
        name: bytes | None = None
        start = 0
        for i, size in enumerate(sizes):
            route = routes.get(senders[i])
            if route is None or aggregated[i] or size + HEADER > _MAX_SIZE:
                self._send(target, slots.down_at, start, i, sizes, HEADER)
                start, target, name = i + 1, None, None
                self._one_by_one(slots, i, size, aggregated[i], route)
                continue
            if route.name is not name:
                self._send(target, slots.down_at, start, i, sizes, HEADER)
                start, target, name = i, route.port, route.name
                slots.client_name[:16] = name
            header = route.header
            if known[i] is not header:
                known[i] = header
                at = i * STRIDE + ROOM
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
        has_failed: bool = False,
    ) -> None:
        """Send the slots from *start* to *end*. What the kernel does not take is dropped.

        :param has_failed: that has been tried once, a moment ago.
        """
        if target is None or start == end:
            return
        done, tried = start, -1
        while done < end and target.fd >= 0:
            sent = 0 if has_failed else _libc.sendmmsg(target.fd, messages[done], end - done, 0)
            has_failed = False
            if sent <= 0:
                if tried != done and target._was_about_an_earlier_one():
                    tried = done
                    continue
                is_full = ctypes.get_errno() in (errno.EAGAIN, errno.ENOBUFS)
                lost = end - done if is_full else 1
                self._owner.unsendable(self._is_up, lost)
                done += lost
                continue
            octets = sum(sizes[done : done + sent]) + (sent * extra if extra < 0 else 0)
            self._owner.moved(self._is_up, sent, octets)
            done += sent

    # One by one: what has no route, and what the kernel received as one

    def _one_by_one(
        self, slots: Slots, i: int, size: int, is_aggregated: int, route: Route | None
    ) -> None:
        at = i * STRIDE + ROOM
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
        starts = range(0, max(size, 1), max(segment, 1))
        self._singles += len(starts)
        self._share.left -= SINGLE * len(starts)
        for start in starts:
            self._owner.missed(self._is_up, chunk[start : start + segment], sender)

    @staticmethod
    def _sender(slots: Slots, i: int) -> tuple[str, int]:
        name = slots.names[i * NAME : i * NAME + 8]
        return socket.inet_ntoa(name[4:8]), name[2] << 8 | name[3]

    def _segments_up(self, slots: Slots, at: int, size: int, segment: int, route: Route) -> bool:
        """Send an aggregate to one target, if all its segments are for that one.

        :returns: whether it is dealt with.
        """
        count = -(-size // segment)
        end = at + (count - 1) * segment  # where the last one begins, which may be shorter
        if segment <= HEADER or count > MAX_SEGMENTS or at + size - end <= HEADER:
            return False  # the kernel cuts no datagram without octets
        data = slots.data
        headers = {
            *_beginnings(segment).iter_unpack(data[at:end]),
            (bytes(data[end : end + HEADER]),),
        }
        if len(headers) > 1:
            return False
        slots.one_name[:16] = route.name
        octets = size - count * HEADER
        return self._send_segments(
            slots, route.port, slots.pieces_up(at, size, segment), segment - HEADER, count, octets
        )

    def _segments_down(self, slots: Slots, at: int, size: int, segment: int, route: Route) -> bool:
        """Send an aggregate to the client, a header before each segment."""
        slots.one_name[:16] = route.name
        slots.data[at - HEADER : at] = route.header
        slots.down_headers[(at - ROOM) // STRIDE] = route.header
        whole = segment + HEADER
        at_once = min(MAX_SEGMENTS, _MAX_SIZE // whole)
        for first in range(0, size, at_once * segment):
            octets = min(size - first, at_once * segment)
            pieces = slots.pieces_down(at, first, octets, segment)
            count = -(-octets // segment)
            if not self._send_segments(slots, route.port, pieces, whole, count, octets):
                if not first:
                    return False
                self._owner.unsendable(self._is_up, count)
        return True

    def _send_segments(
        self,
        slots: Slots,
        target: BatchPort,
        pieces: bytes,
        segment: int,
        count: int,
        octets: int,
    ) -> bool:
        """Send one message that the kernel cuts into datagrams of *segment* octets.

        :param pieces: where its octets are, as the kernel wants to know it.
        :returns: False if the kernel cannot cut it; the segments are then sent one by one.
        """
        slots.vector[: len(pieces)] = pieces
        slots.segmented(len(pieces) // PIECE, segment)
        if _libc.sendmsg(target.fd, slots.one_at, 0) >= 0:
            self._share.left -= count
            self._owner.moved(self._is_up, count, octets)
            return True
        if ctypes.get_errno() in (errno.EAGAIN, errno.ENOBUFS):
            self._owner.unsendable(self._is_up, count)
            return True
        return False
