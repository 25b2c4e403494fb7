"""UDP sockets in a poller that move batches between each other, with ``recvmmsg`` and ``sendmmsg``.

All batch ports of a process share the same slots (:mod:`socks5.net.slots`): what is received in a slot leaves from
it, and no octet of a payload is ever touched by Python. For each datagram one dictionary is asked: the
client's header (up) or the sender's address (down) leads to a :class:`~socks5.net.batch_keys.Route` that the owner has
approved before. A datagram without a route goes to the owner as octets, the slow way, and the owner
may then make one. A batch that the kernel received as one (UDP_GRO) leaves as one (UDP_SEGMENT),
after every segment's header was compared.

Knows the length and place of the header of a datagram with an IPv4 or an IPv6 address (RFC 1928 section 7), not its
meaning. A client's socket of either family may have routes to targets of either.
Batches need Linux; :func:`~socks5.net.batch_calls.is_available` says whether the calls are there. What is not the same
either way stands in :mod:`socks5.net.batch_up` and :mod:`socks5.net.batch_down`.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import sys
from abc import abstractmethod
from collections.abc import Callable
from functools import cache

from typing_extensions import override

from socks5.net.batch_calls import recvmmsg, sendmmsg, sendmsg
from socks5.net.batch_keys import Key, Route
from socks5.net.datagram_ports import SINGLES, DatagramOwner, DatagramPort
from socks5.net.datagram_turns import SINGLE, Share
from socks5.net.poller import ARRIVALS, FAILED, Poller
from socks5.net.slots import (
    NAME,
    NAME_LENGTH,
    PIECE,
    ROOM,
    SENDER,
    SLOTS,
    SOL_UDP,
    STRIDE,
    Incoming,
    Slots,
)
from socks5.specialised import with_own_code

ROUNDS = 4
"""Batches of one socket before others get their turn."""

_UDP_GRO = 104

MAX_SIZE = 65507
"""Octets that one IPv4 datagram carries."""


@cache
def _the_slots() -> Slots:
    """The process's one set of slots."""
    return Slots()


class BatchPort(DatagramPort):
    """One UDP socket that moves batches; what both ways have in common. What has no route is the owner's.

    :param routes: the owner's, looked up for every datagram.
    :ivar lane: what passes between the client and this socket's address family.
    :ivar whole_lanes: what passes with its header, by the octets of that.
    """

    __slots__ = (
        "_at_once",
        "_changed",
        "_changes",
        "_incoming",
        "_is_segmenting",
        "_seen",
        "_singles",
        "lane",
        "routes",
        "whole_lanes",
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
        routes: dict[Key, Route],
    ) -> None:
        super().__init__(poller, interface, port, is_up, owner, share, buffer)
        self._is_segmenting = True
        try:
            self._socket.setsockopt(SOL_UDP, _UDP_GRO, 1)
        except OSError:
            self._is_segmenting = False
        self.routes = routes
        slots, is_ipv6 = _the_slots(), ":" in interface
        self._incoming = slots.incoming[is_ipv6]
        self.lane = slots.lanes[is_ipv6]
        self.whole_lanes = slots.whole_lanes
        self._at_once = 1
        self._singles = 0
        self._changes: memoryview | None = None
        self._changed: Callable[[], None]
        self._seen = 0

    @override
    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.ready = with_own_code(BatchPort.ready)  # type: ignore[method-assign]

    def watch(self, changes: memoryview, changed: Callable[[], None]) -> None:
        """Call *changed*, before anything leaves by a route, when the number in *changes* is another one."""
        self._changed = changed
        if self._changes is None:
            self._changes, self._seen = changes, changes[0]

    # What arrives

    @override
    def ready(self, events: int) -> None:
        incoming, share = self._incoming, self._share
        if events & FAILED:
            self._take_errors()
        changes = self._changes
        if changes is not None and changes[0] != self._seen:
            self._seen = changes[0]
            self._changed()
        for _ in range(ROUNDS):
            if share.left <= 0:
                share.wait(self)
                return
            at_once = self._at_once
            count = recvmmsg(self.fd, incoming.at, at_once, 0, None)
            if count <= 0:
                if ctypes.get_errno() == errno.EAGAIN:
                    return
                share.left -= 1
                continue  # as for single ones: an earlier datagram's error
            share.left -= count
            if count > 1 or not self._pass_one(incoming):
                self._pass(incoming, *incoming.take(count))
            if self._singles or at_once < SLOTS:
                self._set_pace(count)
            if count < at_once or self.fd < 0:
                return
        self._poller.again(self.fd, ARRIVALS)

    def _set_pace(self, count: int) -> None:
        """How many to receive at once: what is received has to be handled, in one go, and each may hold dozens.
        So we begin with one, and take no more than what makes about :data:`SINGLES` single datagrams.
        """
        singles, self._singles = self._singles, 0
        fitting = SINGLES * count // singles if singles else 2 * self._at_once
        self._at_once = max(1, min(SLOTS, fitting))

    @abstractmethod
    def _pass_one(self, incoming: Incoming) -> bool:
        """Send the one datagram that has come, as most do, by its route.

        :returns: whether it has one; if not, nothing has happened.
        """

    @abstractmethod
    def _pass(self, incoming: Incoming, sizes: list[int], aggregated: list[int]) -> None:
        """Send what has come, in its order, by routes; what has none is the owner's.

        :param sizes: octets of each.
        :param aggregated: not 0 for what the kernel received as one.
        """

    @abstractmethod
    def _pass_segments(self, at: int, size: int, segment: int, route: Route) -> bool:
        """Send an aggregate by a route.

        :returns: whether it is dealt with.
        """

    def _send(
        self,
        target: BatchPort | None,
        messages: list[ctypes.c_void_p],
        start: int,
        end: int,
        sizes: list[int],
        header: int,
    ) -> None:
        """Send the slots from *start* to *end*. What the kernel does not take is dropped.

        :param header: how many of the octets of each are no payload.
        """
        if target is None or start == end:
            return
        count = end - start
        sent = sendmmsg(target.fd, messages[start], count, 0)
        if sent == count:
            self._owner.moved(self._is_up, count, sum(sizes[start:end]) - count * header)
        else:
            self._send_rest(target, messages, start, end, sizes, header, sent)

    def _send_rest(
        self,
        target: BatchPort,
        messages: list[ctypes.c_void_p],
        start: int,
        end: int,
        sizes: list[int],
        header: int,
        sent: int,
    ) -> None:
        """The same, when the kernel has just taken *sent* of them, fewer than all."""
        done, tried = start, -1
        while target.fd >= 0:
            if sent > 0:
                octets = sum(sizes[done : done + sent]) - sent * header
                self._owner.moved(self._is_up, sent, octets)
                done += sent
            elif tried != done and target._was_about_an_earlier_one():
                tried = done
            else:
                is_full = ctypes.get_errno() in (errno.EAGAIN, errno.ENOBUFS)
                lost = end - done if is_full else 1
                self._owner.unsendable(self._is_up, lost)
                done += lost
            if done == end:
                return
            sent = sendmmsg(target.fd, messages[done], end - done, 0)

    # One by one: what has no route, and what the kernel received as one

    def _one_by_one(
        self, incoming: Incoming, i: int, size: int, is_aggregated: int, route: Route | None
    ) -> None:
        at = i * STRIDE + ROOM
        segment = incoming.segment_sizes[i] if is_aggregated else size
        if (
            is_aggregated
            and route is not None
            and self._is_segmenting
            and route.port._is_segmenting
            and self._pass_segments(at, size, segment, route)
        ):
            return
        sender = self._sender(incoming, i)
        chunk = bytes(incoming.data[at : at + size])
        starts = range(0, max(size, 1), max(segment, 1))
        self._singles += len(starts)
        self._share.left -= SINGLE * len(starts)
        for start in starts:
            self._owner.missed(self._is_up, chunk[start : start + segment], sender)

    @staticmethod
    def _sender(incoming: Incoming, i: int) -> tuple[str, int]:
        name = incoming.names[i * NAME : i * NAME + SENDER]
        if int.from_bytes(name[:2], sys.byteorder) == socket.AF_INET6:
            host = socket.inet_ntop(socket.AF_INET6, name[8:24])
        else:
            host = socket.inet_ntoa(name[4:8])
        return host, name[2] << 8 | name[3]

    def _send_segments(
        self, route: Route, pieces: bytes, segment: int, count: int, octets: int
    ) -> bool:
        """Send one message that the kernel cuts into datagrams of *segment* octets.

        :param pieces: where its octets are, as the kernel wants to know it.
        :returns: False if the kernel cannot cut it; the segments are then sent one by one.
        """
        slots = self.lane.slots
        slots.one_name[:NAME_LENGTH] = route.name
        slots.vector[: len(pieces)] = pieces
        slots.segmented(len(pieces) // PIECE, segment)
        if sendmsg(route.port.fd, slots.one_at, 0) >= 0:
            self._share.left -= count
            self._owner.moved(self._is_up, count, octets)
            return True
        if ctypes.get_errno() in (errno.EAGAIN, errno.ENOBUFS):
            self._owner.unsendable(self._is_up, count)
            return True
        return False
