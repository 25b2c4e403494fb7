"""The client's side of an association under limits: while it has to pay for what it moved, datagrams are dropped both
ways, and counted as "limit". The time is looked at only then.
"""

from __future__ import annotations

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


class MeteredDatagrams(ClientDatagrams):
    """See the module, and :class:`~socks5.server.client_datagrams.ClientDatagrams`.

    :param meter: the session's.
    """

    def __init__(self, session: ISession, share: Share, meter: ILease) -> None:
        self._meter = meter
        self._now = clock_of(session.reactor)
        self._paid = 0.0  # when all is; 0: it is
        self._owed_up = self._owed_down = 0
        super().__init__(session, share, self._hold_back)

    def _hold_back(self, count: int) -> bool:
        """See :attr:`socks5.interfaces.IDatagramReceiver.hold_back`."""
        if not self._paid:
            return False
        if self._now() >= self._paid:
            self._paid = 0.0
            return False
        self.dropped("limit", count)
        return True

    def _charge(self, up: int, down: int) -> None:
        self._owed_up += up
        self._owed_down += down
        if self._owed_up + self._owed_down >= SMALL:
            wait = self._settle()
            if wait:
                self._paid = self._now() + wait
                for is_up in (True, False):
                    self._meter.room(is_up)  # nobody waits here to take a turn
                if wait == inf:
                    self._session.reactor.callLater(0, self._session.end, Reason.LIMIT)

    def _settle(self) -> float:
        up, self._owed_up = self._owed_up, 0
        down, self._owed_down = self._owed_down, 0
        return self._meter.moved(up, down)

    @override
    def missed(self, is_up: bool, data: bytes, sender: Peer) -> None:
        """See :meth:`socks5.net.datagram_ports.DatagramOwner.missed`."""
        if not self._hold_back(1):
            super().missed(is_up, data, sender)

    @override
    def received(self, payload: bytes, sender: Address, client: Any) -> bool:
        """See :meth:`socks5.interfaces.IDatagramReceiver.received`."""
        if self._hold_back(1):
            return False
        is_sent = super().received(payload, sender, client)
        if is_sent:
            self._charge(0, len(payload))
        return is_sent

    @override
    def sent(self, octets: int) -> None:
        """See :meth:`socks5.interfaces.IDatagramReceiver.sent`."""
        super().sent(octets)
        self._charge(octets, 0)

    @override
    def moved(self, is_up: bool, count: int, octets: int) -> None:
        """See :meth:`socks5.interfaces.IDatagramReceiver.moved`."""
        super().moved(is_up, count, octets)
        if is_up:
            self._charge(octets, 0)
        else:
            self._charge(0, octets)

    @override
    def close(self) -> None:
        """Close the socket; may be called twice."""
        self._settle()
        super().close()
