"""The targets' side of what moves in batches: payloads leave with a header before them."""

from __future__ import annotations

from typing_extensions import override

from socks5.net.batch import MAX_SIZE, BatchPort
from socks5.net.batch_calls import sendmmsg
from socks5.net.batch_keys import Route
from socks5.net.slots import CONTROL, MAX_SEGMENTS, NAME_LENGTH, ROOM, STRIDE, Incoming


class DownPort(BatchPort):
    """A socket for targets; its routes are looked up by :func:`~socks5.net.batch_keys.sender_key`."""

    __slots__ = ()

    @override
    def _pass_one(self, incoming: Incoming) -> bool:
        """Put a header before a payload and send it to the client."""
        size, lane = incoming.lengths[0], self.lane
        octets = size + lane.header
        route = self.routes.get(incoming.senders[0])
        if route is None or incoming.control_lengths[0] or octets > MAX_SIZE:
            return False
        incoming.control_lengths[0] = CONTROL
        lane.client_name[:NAME_LENGTH] = route.name
        header = route.header
        if lane.down_headers[0] is not header:
            lane.down_headers[0] = header
            lane.data[ROOM - lane.header : ROOM] = header
        lane.down_lengths[0] = octets
        if sendmmsg(route.port.fd, lane.down_at[0], 1, 0) == 1:
            self._owner.moved(False, 1, size)
        else:
            self._send_rest(route.port, lane.down_at, 0, 1, [size], 0, 0)
        return True

    @override
    def _pass(self, incoming: Incoming, sizes: list[int], aggregated: list[int]) -> None:
        """Put headers before payloads and send them to the client."""
        routes, lane = self.routes, self.lane
        known, data, length = lane.down_headers, lane.data, lane.header
        senders, lengths, most = incoming.senders, lane.down_lengths, MAX_SIZE - length
        target: BatchPort | None = None
        name: bytes | None = None
        start = 0
        for i, size in enumerate(sizes):
            route = routes.get(senders[i])
            if route is None or aggregated[i] or size > most:
                self._send(target, lane.down_at, start, i, sizes, 0)
                start, target, name = i + 1, None, None
                self._one_by_one(incoming, i, size, aggregated[i], route)
                continue
            if route.name is not name:
                self._send(target, lane.down_at, start, i, sizes, 0)
                start, target, name = i, route.port, route.name
                lane.client_name[:NAME_LENGTH] = name
            header = route.header
            if known[i] is not header:
                known[i] = header
                at = i * STRIDE + ROOM
                data[at - length : at] = header
            lengths[i] = size + length
        self._send(target, lane.down_at, start, len(sizes), sizes, 0)

    @override
    def _pass_segments(self, at: int, size: int, segment: int, route: Route) -> bool:
        """Send an aggregate to the client, a header before each segment."""
        lane = self.lane
        lane.data[at - lane.header : at] = route.header
        lane.down_headers[(at - ROOM) // STRIDE] = route.header
        whole = segment + lane.header
        at_once = min(MAX_SEGMENTS, MAX_SIZE // whole)
        for first in range(0, size, at_once * segment):
            octets = min(size - first, at_once * segment)
            pieces = lane.pieces_down(at, first, octets, segment)
            count = -(-octets // segment)
            if not self._send_segments(route, pieces, whole, count, octets):
                if not first:
                    return False
                self._owner.unsendable(self._is_up, count)
        return True
