"""What moves in batches and comes with headers: that of a client, whose payloads leave without them, or whole to an
upstream, and that of an upstream.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from typing_extensions import override

from socks5.net.batch import BatchPort
from socks5.net.batch_calls import sendmmsg
from socks5.net.batch_keys import Route
from socks5.net.slots import (
    CONTROL,
    HEADER,
    IPV6_HEADER,
    MAX_SEGMENTS,
    NAME,
    NAME_LENGTH,
    Incoming,
    Lane,
)


@lru_cache(maxsize=256)
def _beginnings(segment: int, header: int) -> struct.Struct:
    """Takes the first octets of each segment of that size."""
    return struct.Struct(f"{header}s{segment - header}x")


class UpPort(BatchPort):
    """A socket for a client, or for an upstream; routes are looked up by :func:`~socks5.net.batch_keys.header_key`."""

    __slots__ = ()

    @override
    def _pass_one(self, incoming: Incoming) -> bool:
        """Send a datagram to where its header says."""
        size = incoming.lengths[0]
        if size < HEADER or incoming.control_lengths[0]:
            return False
        route = self.routes.get(incoming.headers[0] << 16 | incoming.header_ports[0])
        if route is None:
            route = self._ipv6_route(incoming, 0, size)
            if route is None:
                return False
        elif route.sender != incoming.senders[0]:
            return False
        incoming.control_lengths[0] = CONTROL
        lane = route.lane
        if lane.up_routes[0] is not route:
            lane.up_routes[0] = route
            lane.up_names[:NAME_LENGTH] = route.name
        lane.up_lengths[0] = size - lane.cut
        if sendmmsg(route.port.fd, lane.up_at[0], 1, 0) == 1:
            self._owner.moved(self._is_up, 1, size - lane.header)
        else:
            self._send_rest(route.port, lane.up_at, 0, 1, [size], lane.header, 0)
        return True

    def _ipv6_route(self, incoming: Incoming, i: int, size: int) -> Route | None:
        """The route of a datagram that has none by the first octets, which are all of an IPv4 header."""
        if size < IPV6_HEADER:
            return None
        route = self.routes.get(incoming.ipv6_headers[i])
        return route if route is not None and route.sender == incoming.senders[i] else None

    @override
    def _pass(self, incoming: Incoming, sizes: list[int], aggregated: list[int]) -> None:
        """Send datagrams to where their headers say."""
        routes, lane = self.routes, self.lane
        senders, headers, ports = incoming.senders, incoming.headers, incoming.header_ports
        known, lengths, header, cut = lane.up_routes, lane.up_lengths, lane.header, lane.cut
        target: BatchPort | None = None
        start = 0
        for i, size in enumerate(sizes):
            route = routes.get(headers[i] << 16 | ports[i]) if size >= HEADER else None
            if route is None:
                route = self._ipv6_route(incoming, i, size)
            elif route.sender != senders[i]:
                route = None
            if route is None or aggregated[i] or route.port is not target or route.lane is not lane:
                self._send(target, lane.up_at, start, i, sizes, header)
                start, target = i, None
                if route is None or aggregated[i]:
                    start = i + 1
                    self._one_by_one(incoming, i, size, aggregated[i], route)
                    continue
                target = route.port
                if route.lane is not lane:
                    lane = route.lane
                    known, lengths = lane.up_routes, lane.up_lengths
                    header, cut = lane.header, lane.cut
            if known[i] is not route:
                known[i] = route
                lane.up_names[i * NAME : i * NAME + NAME_LENGTH] = route.name
            lengths[i] = size - cut
        self._send(target, lane.up_at, start, len(sizes), sizes, header)

    @override
    def _pass_segments(self, at: int, size: int, segment: int, route: Route) -> bool:
        """Send an aggregate to one target, if all its segments are for that one."""
        lane: Lane = route.lane
        header, cut, data = lane.header, lane.cut, lane.data
        count = -(-size // segment)
        end = at + (count - 1) * segment  # where the last one begins, which may be shorter
        if segment <= header or count > MAX_SEGMENTS or at + size - end <= header:
            return False  # the kernel cuts no datagram without octets
        headers = {
            *_beginnings(segment, header).iter_unpack(data[at:end]),
            (bytes(data[end : end + header]),),
        }
        if len(headers) > 1:
            return False
        pieces, octets = lane.pieces_up(at, size, segment), size - count * header
        return self._send_segments(route, pieces, segment - cut, count, octets)
