"""The client's side of what moves in batches: payloads leave without the headers that they came with."""

from __future__ import annotations

import struct
from functools import lru_cache

from typing_extensions import override

from socks5.net.batch import BatchPort
from socks5.net.batch_calls import libc
from socks5.net.batch_keys import Route
from socks5.net.slots import CONTROL, HEADER, MAX_SEGMENTS, NAME, Slots


@lru_cache(maxsize=256)
def _beginnings(segment: int) -> struct.Struct:
    """Takes the first octets of each segment of that size."""
    return struct.Struct(f"{HEADER}s{segment - HEADER}x")


class UpPort(BatchPort):
    """A client's socket; its routes are looked up by :func:`~socks5.net.batch_keys.header_key`."""

    __slots__ = ()

    @override
    def _pass_one(self, slots: Slots) -> bool:
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
        if libc.sendmmsg(route.port.fd, slots.up_at[0], 1, 0) == 1:
            self._owner.moved(True, 1, size - HEADER)
        else:
            self._send(route.port, slots.up_at, 0, 1, [size], -HEADER, True)
        return True

    @override
    def _pass(self, slots: Slots, sizes: list[int], aggregated: list[int]) -> None:
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

    @override
    def _pass_segments(self, slots: Slots, at: int, size: int, segment: int, route: Route) -> bool:
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
