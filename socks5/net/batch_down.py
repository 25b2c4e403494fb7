"""The targets' side of what moves in batches: payloads leave with a header before them."""

from __future__ import annotations

from typing_extensions import override

from socks5.net.batch import MAX_SIZE, BatchPort
from socks5.net.batch_calls import libc
from socks5.net.batch_keys import Route
from socks5.net.slots import CONTROL, HEADER, MAX_SEGMENTS, ROOM, STRIDE, Slots


class DownPort(BatchPort):
    """A socket for targets; its routes are looked up by :func:`~socks5.net.batch_keys.sender_key`."""

    __slots__ = ()

    @override
    def _pass_one(self, slots: Slots) -> bool:
        """Put a header before a payload and send it to the client; see :class:`BatchPort`."""
        size = slots.lengths[0]
        route = self.routes.get(slots.senders[0])
        if route is None or slots.control_lengths[0] or size + HEADER > MAX_SIZE:
            return False
        slots.control_lengths[0] = CONTROL
        slots.client_name[:16] = route.name
        header = route.header
        if slots.down_headers[0] is not header:
            slots.down_headers[0] = header
            slots.data[ROOM - HEADER : ROOM] = header
        slots.down_lengths[0] = size + HEADER
        if libc.sendmmsg(route.port.fd, slots.down_at[0], 1, 0) == 1:
            self._owner.moved(False, 1, size)
        else:
            self._send(route.port, slots.down_at, 0, 1, [size], HEADER, True)
        return True

    @override
    def _pass(self, slots: Slots, sizes: list[int], aggregated: list[int]) -> None:
        """Put headers before payloads and send them to the client."""
        routes, known, data = self.routes, slots.down_headers, slots.data
        senders, lengths = slots.senders, slots.down_lengths
        target: BatchPort | None = None
        name: bytes | None = None
        start = 0
        for i, size in enumerate(sizes):
            route = routes.get(senders[i])
            if route is None or aggregated[i] or size + HEADER > MAX_SIZE:
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

    @override
    def _pass_segments(self, slots: Slots, at: int, size: int, segment: int, route: Route) -> bool:
        """Send an aggregate to the client, a header before each segment."""
        slots.one_name[:16] = route.name
        slots.data[at - HEADER : at] = route.header
        slots.down_headers[(at - ROOM) // STRIDE] = route.header
        whole = segment + HEADER
        at_once = min(MAX_SEGMENTS, MAX_SIZE // whole)
        for first in range(0, size, at_once * segment):
            octets = min(size - first, at_once * segment)
            pieces = slots.pieces_down(at, first, octets, segment)
            count = -(-octets // segment)
            if not self._send_segments(slots, route.port, pieces, whole, count, octets):
                if not first:
                    return False
                self._owner.unsendable(self._is_up, count)
        return True
