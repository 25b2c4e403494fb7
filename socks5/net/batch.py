"""UDP sockets in a poller: those that move batches between each other, with ``recvmmsg`` and ``sendmmsg``
(:class:`BatchPort`), and those that read one datagram after the other (:class:`SinglePort`).

All batch ports of a process share the same slots (:mod:`socks5.net.slots`): what is received in a slot leaves from
it, and no octet of a payload is ever touched by Python. For each datagram one dictionary is asked: the
client's header (up) or the sender's address (down) leads to a :class:`Route` that the owner has
approved before. A datagram without a route goes to the owner as octets, the slow way, and the owner
may then make one. A batch that the kernel received as one (UDP_GRO) leaves as one (UDP_SEGMENT),
after every segment's header was compared.

What each costs is counted against its client's share (:mod:`socks5.net.turns`).

Knows the length and place of the header of an IPv4 datagram (RFC 1928 section 7), not its meaning.
Batches need Linux; :func:`is_available` says whether the calls are there.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys
from functools import cache, lru_cache
from typing import Any, Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.net.poller import FAILED, Poller
from socks5.net.slots import (
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
from socks5.net.turns import SINGLE, Share
from socks5.protocol.networks import socket_name

ROUNDS = 4
"""Batches of one socket before others get their turn."""

SINGLES = 32
"""Datagrams of one socket that are read one by one before others get theirs; also about how many a batch may hold
that have to be handled so.
"""

MAX_DATAGRAM = 65536
"""What a socket is read with: nothing that UDP can carry is cut."""

MOST_ERRORS = 512
"""Errors of one socket that are read at a time: more than its queue has room for by default."""

_RECVERR = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
"""IP_RECVERR (ip(7)) and IPV6_RECVERR."""

_ERROR_SIZE = 512
"""Octets for what the kernel says of an error, beside the datagram's own."""

_UDP_GRO = 104
_SO_MEMINFO = 55
_DROPS = struct.Struct("32xI")  # SK_MEMINFO_DROPS is the last of nine numbers
_MOST_DROPS = 0xFFFFFFFF  # it begins anew behind that
_MAX_SIZE = 65507


class Route:
    """Where the datagrams of one key go.

    :param port: the socket that sends them.
    :param name: the sockaddr they are sent to, 16 octets.
    :param sender: the :func:`sender_key` of the client's port that they come from (up).
    :param header: the 10 octets put before the payload (down).
    """

    __slots__ = ("header", "name", "port", "sender")

    def __init__(self, port: BatchPort, name: bytes, sender: int = 0, header: bytes = b"") -> None:
        self.port = port
        self.name = name
        self.sender = sender
        self.header = header


@lru_cache(maxsize=1024)
def sockaddr(host: str, port: int) -> bytes:
    """An IPv4 address and port as the kernel has them: 16 octets; the same object each time, as a rule."""
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


def kernel_drops(sock: socket.socket) -> int:
    """How many datagrams the kernel has dropped that were for a socket (SO_MEMINFO); 0 where it does not say."""
    try:
        told = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _DROPS.size)
    except OSError:  # before Linux 4.12
        return 0
    drops: int = _DROPS.unpack(told)[0]
    return drops


def _bound(interface: str, port: int) -> socket.socket:
    """:raises twisted.internet.error.CannotListenError: see :class:`Port`."""
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise CannotListenError(interface, port, error) from None
    try:
        sock.bind(socket_name(interface, port))
    except OSError as error:
        sock.close()
        raise CannotListenError(interface, port, error) from None
    return sock


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


class Owner(Protocol):
    """Who decides about the datagrams of its sockets."""

    def missed(self, is_up: bool, data: bytes, sender: tuple[str, int]) -> None:
        """A datagram without a route arrived; making one sends the next ones of its kind in
        batches.
        """

    def moved(self, is_up: bool, count: int, octets: int) -> None:
        """That many datagrams, with that many octets of payload, have left by their routes."""

    def unsendable(self, is_up: bool, count: int) -> None:
        """That many were not taken by the kernel."""

    def unreachable(self, target: tuple[str, int]) -> None:
        """ICMP says that a datagram has not reached *target*; only after :meth:`Port.hear_errors`."""

    def ports_changed(self) -> None:
        """What was asked to be watched has changed: see :meth:`BatchPort.watch`. Routes may have to go."""


class Port:
    """A UDP socket in a poller; what the ports here have in common.

    :param poller: tells us when there are datagrams.
    :param interface: the IP literal to bind, with a zone where it needs one.
    :param port: the port; 0: the system's choice.
    :param is_up: whether this is the client's side, whose datagrams have a header.
    :param owner: decides about the datagrams.
    :param share: what our work is counted against; used up, the socket waits.
    :param buffer: octets of receive buffer to ask for.
    :raises twisted.internet.error.CannotListenError: the port is taken, or the address not ours, or there is no
        descriptor left.
    """

    _log = Logger()

    __slots__ = ("_hears_errors", "_is_up", "_lost", "_owner", "_poller", "_share", "_socket", "fd")

    def __init__(
        self,
        poller: Poller,
        interface: str,
        port: int,
        is_up: bool,
        owner: Owner,
        share: Share,
        buffer: int,
    ) -> None:
        self._socket = _bound(interface, port)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._lost = 0
        self.fd = self._socket.fileno()
        self._poller = poller
        self._is_up = is_up
        self._owner = owner
        self._share = share
        self._hears_errors = False
        poller.add(self.fd, self)

    def ready(self, events: int) -> None:
        """See :class:`socks5.net.poller.Owner`: take what has arrived. Each kind has its own way."""

    def crashed(self, failure: Failure) -> None:
        """See :class:`socks5.net.poller.Owner`: a datagram that hits a bug is dropped; the socket
        lives.
        """
        self._log.failure("a datagram was dropped", failure=failure)
        self._owner.unsendable(self._is_up, 1)
        if self.fd >= 0:
            self._poller.again(self.fd)

    # What ICMP says

    def hear_errors(self) -> None:
        """Have the owner told of targets that are not reached. Costs a reading for each ICMP message.

        From now on whatever is done to the socket may fail for an earlier datagram's sake, and does so once. The
        kernel also tells what has no room in the queue of errors, which is the receive buffer's.
        """
        if not self._hears_errors:
            self._hears_errors = True
            self._socket.setsockopt(*_RECVERR[self._socket.family], 1)

    def _take_errors(self) -> int:
        """Tell the owner what has been heard.

        :returns: how much that was. The kernel's next word is about a datagram of its own, then.
        """
        count = 0
        while self._hears_errors and count < MOST_ERRORS:
            try:
                _, said, _, name = self._socket.recvmsg(0, _ERROR_SIZE, socket.MSG_ERRQUEUE)
            except OSError:
                break
            count += 1
            self._share.left -= SINGLE
            number = int.from_bytes(said[0][2][:4], sys.byteorder)  # ee_errno comes first
            if number != errno.EMSGSIZE:
                self._owner.unreachable(name[:2])
        return count

    def _was_about_an_earlier_one(self) -> bool:
        """Whether an error may be no word about what was tried, which is to be tried once more then."""
        self._take_errors()
        return self._hears_errors

    def take_lost(self) -> int:
        """How many datagrams the kernel has dropped, most of them for want of room in the receive buffer, since this
        was asked last; at the least, for an aggregate counts as one.
        """
        lost = kernel_drops(self._socket)
        self._lost, lost = lost, (lost - self._lost) & _MOST_DROPS
        return lost

    # A datagram port as Twisted's

    def write(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Send one datagram.

        :raises OSError: the kernel does not take it.
        """
        name = socket_name(*addr)
        try:
            self._socket.sendto(datagram, name)
        except OSError:
            if not self._was_about_an_earlier_one():
                raise
            self._socket.sendto(datagram, name)

    def getHost(self) -> IPv4Address | IPv6Address:
        """The bound address."""
        name = self._socket.getsockname()
        return IPv4Address("UDP", *name) if len(name) == 2 else IPv6Address("UDP", *name)

    def stopListening(self) -> None:
        """Close the socket."""
        if self.fd >= 0:
            self._share.forget(self)
            self._poller.forget(self.fd)
            self.fd = -1
            self._socket.close()


class SinglePort(Port):
    """One UDP socket whose datagrams are all handled singly, by the owner."""

    __slots__ = ()

    @override
    def ready(self, events: int) -> None:
        share, receive = self._share, self._socket.recvfrom
        if events & FAILED:
            self._take_errors()
        for _ in range(SINGLES):
            if share.left <= 0:
                share.wait(self)
                return
            try:
                data, name = receive(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:  # of a datagram that was sent; the kernel says it once, behind which there may be more
                share.left -= 1
                continue
            share.left -= SINGLE
            self._owner.missed(self._is_up, data, name[:2])
            if self.fd < 0:
                return
        self._poller.again(self.fd)


class BatchPort(Port):
    """One IPv4 UDP socket that moves batches. What has no route is the owner's.

    :param routes: by :func:`header_key` (up) or :func:`sender_key` (down); the owner's, looked up
        for every datagram.
    """

    __slots__ = (
        "_at_once",
        "_changes",
        "_is_segmenting",
        "_routes",
        "_seen",
        "_singles",
        "_slots",
    )

    def __init__(
        self,
        poller: Poller,
        interface: str,
        port: int,
        is_up: bool,
        owner: Owner,
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
        self._routes = routes
        self._slots = _the_slots()
        self._at_once = 1
        self._singles = 0
        self._changes: memoryview | None = None
        self._seen = 0

    def watch(self, changes: memoryview) -> None:
        """Tell the owner, before anything leaves by a route, when the number in *changes* is another one."""
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
            self._owner.ports_changed()
        move = self._up if self._is_up else self._down
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

    def _up(self, slots: Slots, sizes: list[int], aggregated: list[int]) -> None:
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
        routes, known, data = self._routes, slots.down_headers, slots.data
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
    ) -> None:
        """Send the slots from *start* to *end*. What the kernel does not take is dropped."""
        if target is None or start == end:
            return
        done, tried = start, -1
        while done < end and target.fd >= 0:
            sent = _libc.sendmmsg(target.fd, messages[done], end - done, 0)
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
