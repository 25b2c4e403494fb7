"""The client's side of an association under limits: while something has to be paid for, datagrams are dropped both
ways, and counted as "limit". The time is looked at only then.

What holds for the association is paid for by all that it moves, what holds by a rule by what passes to and from the
targets of that rule.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from typing_extensions import override
from zope.interface import implementer

from socks5.access import Reason, Verdict
from socks5.deadlines import clock_of
from socks5.interfaces import IDatagramMeter, ISession
from socks5.limits import ILease
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

    __slots__ = ("_dropped", "_now", "_paid", "_routes", "is_held")

    def __init__(self, now: Callable[[], float], dropped: Callable[[int], None]) -> None:
        self._now = now
        self._dropped = dropped
        self._paid = 0.0
        self.is_held = False
        self._routes: list[dict[Any, Any]] = []

    def watch(self, routes: dict[Any, Any]) -> None:
        """See :meth:`socks5.net.batch_held.HoldBack.watch`."""
        self._routes.append(routes)

    def begin(self, seconds: float) -> None:
        """Something has to be paid for, for so long."""
        self.is_held = True
        self._paid = self._now() + seconds
        for routes in self._routes:
            routes.clear()

    def __call__(self, count: int) -> bool:
        """See :class:`socks5.net.batch_held.HoldBack`."""
        if not self.is_held:
            return False
        if self._now() >= self._paid:
            self.is_held = False
            return False
        self._dropped(count)
        return True


@implementer(IDatagramMeter)
class Account:
    """What is paid for one lease.

    :param session: ends when there may be no more.
    :param holding: begins when something has to be paid for.
    """

    def __init__(self, session: ISession, lease: ILease, holding: Holding) -> None:
        self._session = session
        self._lease = lease
        self._holding = holding
        self._owed_up = self._owed_down = 0

    def holds(self) -> bool:
        """See :meth:`socks5.interfaces.IDatagramMeter.holds`."""
        return self._holding(1)

    def moved(self, up: int, down: int) -> None:
        """See :meth:`socks5.interfaces.IDatagramMeter.moved`."""
        self._owed_up += up
        self._owed_down += down
        if self._owed_up >= SMALL or self._owed_down >= SMALL:
            self.settle()

    def settle(self) -> None:
        """Charge what is not charged yet."""
        up, self._owed_up = self._owed_up, 0
        down, self._owed_down = self._owed_down, 0
        self.charge(up, down)

    def charge(self, up: int, down: int) -> None:
        """So many octets have to be paid for."""
        lease, session = self._lease, self._session
        seconds = lease.moved(up, down)
        if seconds:
            self._holding.begin(seconds)
            for is_up in (True, False):
                lease.room(is_up)  # nobody waits here to take a turn
            if seconds == inf:
                session.reactor.callLater(0, session.end, Reason.LIMIT)


class MeteredDatagrams(ClientDatagrams):
    """See the module, and :class:`~socks5.server.client_datagrams.ClientDatagrams`.

    :param meter: the session's.
    """

    def __init__(self, session: ISession, share: Share, meter: ILease) -> None:
        self._now = clock_of(session.reactor)
        self._holding = self._hold()
        self._meter = meter
        self._own = Account(session, meter, self._holding)
        self._of_rules: dict[str, Account | None] = {}
        self._charged_up = self._charged_down = 0
        self._due_up = self._due_down = SMALL  # when so many octets have passed
        super().__init__(session, share, self._holding)

    def _hold(self) -> Holding:
        return Holding(self._now, self._held_back)

    def _held_back(self, count: int) -> None:
        """So many were dropped. To be held is not to be idle."""
        self.signs += count
        self.dropped("limit", count)

    def _charge_up(self) -> None:
        passed = self.bytes_up
        self._own.charge(passed - self._charged_up, 0)
        self._charged_up = passed
        self._due_up = passed + self._meter.grain(True)

    def _charge_down(self) -> None:
        passed = self.bytes_down
        self._own.charge(0, passed - self._charged_down)
        self._charged_down = passed
        self._due_down = passed + self._meter.grain(False)

    @override
    def meter_of(self, verdict: Verdict) -> IDatagramMeter | None:
        """See :meth:`socks5.interfaces.IDatagramReceiver.meter_of`."""
        rule = verdict.rule
        if rule not in self._of_rules:
            lease = self._session.meter_of_rule(rule)
            account = None if lease is None else Account(self._session, lease, self._hold())
            self._of_rules[rule] = account
        return self._of_rules[rule]

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
        for account in self._of_rules.values():
            if account is not None:
                account.settle()
        super().close()
