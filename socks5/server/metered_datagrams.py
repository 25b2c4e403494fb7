"""The client's side of an association under limits: while it has to pay for what it moved, datagrams are dropped both
ways, and counted as "limit". The time is looked at only then.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from typing_extensions import override

from socks5.access import Reason
from socks5.deadlines import clock_of
from socks5.interfaces import ILease, ISession
from socks5.net.datagram_turns import Share
from socks5.outbound.targets import Peer
from socks5.protocol.address import Address
from socks5.relay.meter import SMALL
from socks5.server.client_datagrams import ClientDatagrams


class Holding:
    """See :class:`socks5.net.batch_held.HoldBack`.

    :param now: gives the time, in seconds.
    :param dropped: counts datagrams that are dropped.
    """

    __slots__ = ("_dropped", "_is_held", "_now", "_paid", "_routes")

    def __init__(self, now: Callable[[], float], dropped: Callable[[int], None]) -> None:
        self._now = now
        self._dropped = dropped
        self._paid = 0.0
        self._is_held = False
        self._routes: list[dict[Any, Any]] = []

    def watch(self, routes: dict[Any, Any]) -> None:
        """See :meth:`socks5.net.batch_held.HoldBack.watch`."""
        self._routes.append(routes)

    def begin(self, seconds: float) -> None:
        """Something has to be paid for, for so long."""
        self._is_held = True
        self._paid = self._now() + seconds
        for routes in self._routes:
            routes.clear()

    def __call__(self, count: int) -> bool:
        """See :class:`socks5.net.batch_held.HoldBack`."""
        if not self._is_held:
            return False
        if self._now() >= self._paid:
            self._is_held = False
            return False
        self._dropped(count)
        return True


class MeteredDatagrams(ClientDatagrams):
    """See the module, and :class:`~socks5.server.client_datagrams.ClientDatagrams`.

    :param meter: the session's.
    """

    def __init__(self, session: ISession, share: Share, meter: ILease) -> None:
        self._meter = meter
        self._holding = Holding(clock_of(session.reactor), self._held_back)
        self._due_up = self._due_down = SMALL  # when so many octets have passed
        super().__init__(session, share, self._holding)

    def _held_back(self, count: int) -> None:
        """So many were dropped. To be held is not to be idle."""
        self.signs += count
        self.dropped("limit", count)

    def _charge_up(self) -> None:
        owed = self.bytes_up - self._due_up + SMALL
        self._due_up += owed
        self._pay(self._meter.moved(owed, 0))

    def _charge_down(self) -> None:
        owed = self.bytes_down - self._due_down + SMALL
        self._due_down += owed
        self._pay(self._meter.moved(0, owed))

    def _pay(self, seconds: float) -> None:
        """So long, for what has moved."""
        if seconds:
            self._holding.begin(seconds)
            for is_up in (True, False):
                self._meter.room(is_up)  # nobody waits here to take a turn
            if seconds == inf:
                self._session.reactor.callLater(0, self._session.end, Reason.LIMIT)

    @override
    def missed(self, is_up: bool, data: bytes, sender: Peer) -> None:
        """See :meth:`socks5.net.datagram_ports.DatagramOwner.missed`."""
        if not self._holding(1):
            super().missed(is_up, data, sender)

    @override
    def received(self, payload: bytes, sender: Address, client: Any) -> bool:
        """See :meth:`socks5.interfaces.IDatagramReceiver.received`."""
        if self._holding(1) or not super().received(payload, sender, client):
            return False
        if self.bytes_down >= self._due_down:
            self._charge_down()
        return True

    @override
    def sent(self, octets: int) -> None:
        """See :meth:`socks5.interfaces.IDatagramReceiver.sent`."""
        super().sent(octets)
        if self.bytes_up >= self._due_up:
            self._charge_up()

    @override
    def moved(self, is_up: bool, count: int, octets: int) -> None:
        """See :meth:`socks5.interfaces.IDatagramReceiver.moved`."""
        self.signs += count  # all as there, without a call, for this is done for every batch
        if is_up:
            if self._fragments is not None:
                self._fragments.abandon()
            self.bytes_up += octets
            self._counters.datagrams_up += count
            if self.bytes_up >= self._due_up:
                self._charge_up()
        else:
            self.bytes_down += octets
            self._counters.datagrams_down += count
            if self.bytes_down >= self._due_down:
                self._charge_down()

    @override
    def close(self) -> None:
        """Close the socket; may be called twice."""
        self._charge_up()
        self._charge_down()
        super().close()
