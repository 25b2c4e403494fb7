"""The client's side of an association: one UDP socket, who may use it, and what its datagrams look like (RFC 1928
section 7).

It is bound to the control connection's local address, because BND.ADDR must be the source of what the client receives.
Only the control connection's peer may use it (:class:`~socks5.settings.UDPPin`). Where the session has agreed on a
level of protection, datagrams travel in messages of RFC 1961 section 5, and others from the client are dropped.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.access import MOST_RULES, Verdict
from socks5.interfaces import IDatagramMeter, IDatagramReceiver, IDatagrams, ISession
from socks5.net.addresses import address_of
from socks5.net.batch_held import HoldBack
from socks5.net.datagram_sockets import UNSENDABLE, DatagramSockets
from socks5.net.datagram_turns import Share
from socks5.outbound.ourselves import Ourselves
from socks5.outbound.targets import Peer
from socks5.protocol.address import Address, unmap
from socks5.protocol.datagram import Datagram
from socks5.protocol.errors import RemoteProtocolError
from socks5.server.fragments import Fragments
from socks5.settings import UDPPin


@implementer(IDatagramReceiver)
class ClientDatagrams:
    """See the module. It counts, too, what passes either way.

    :param share: the client's, what the socket's work is counted against.
    :param hold_back: see :attr:`socks5.interfaces.IDatagramReceiver.hold_back`.
    :ivar signs: a number that changes with every sign of life.
    """

    def __init__(self, session: ISession, share: Share, hold_back: HoldBack | None = None) -> None:
        self._session = session
        self.hold_back = hold_back
        self._settings = session.settings
        self._counters = session.counters
        self._protection = session.protection
        self.bytes_up = 0
        self.bytes_down = 0
        self.dropped_in_all = 0
        self.drops: Counter[str] = Counter()
        self.denied: Counter[str] = Counter()
        self.signs = 0
        self._ourselves = Ourselves(session.reactor, session.settings, session.near)
        own = self._ourselves.ports
        self._sockets = DatagramSockets(
            session.reactor, own, True, self, share, session.settings.udp_buffer, hold_back
        )
        # Batches move octets that nobody looks at: not what has to be wrapped.
        self._sockets.is_batched = self._protection is None
        self._client: Peer | None = None
        self._fragments: Fragments | None = None
        self._is_closed = False
        self._port: Any = None
        self._targets: IDatagrams

    def open(self) -> Address:
        """Listen on the control connection's local address, on a port of the configured range.

        :returns: what the client is told.
        :raises twisted.internet.error.CannotListenError: every port of the range is taken.
        """
        self._port = self._listen()
        bound = address_of(self._port.getHost())
        return Address(self._settings.advertise.like(bound.text) or bound.host, bound.port)

    def _listen(self) -> Any:
        listen, near = self._sockets.open, self._session.near
        if self._settings.udp_ports is None:
            return listen(near, 0)
        first, last = self._settings.udp_ports
        count = last - first + 1
        start = random.randrange(count)
        for step in range(count - 1):
            with suppress(CannotListenError):
                return listen(near, first + (start + step) % count)
        return listen(near, first + (start - 1) % count)

    def join(self, targets: IDatagrams) -> None:
        """What the client sends goes there."""
        self._targets = targets
        if self._protection is None:
            targets.join(self._port)

    def close(self) -> None:
        """Close the socket; may be called twice."""
        self._is_closed = True
        self.count_lost()
        self._sockets.close()
        if self._fragments is not None:
            self._fragments.abandon()

    # From the client (socks5.net.datagram_ports.DatagramOwner)

    def missed(self, is_up: bool, data: bytes, sender: Peer) -> None:
        """A datagram that has no route. A bug ends the association: it would meet every datagram."""
        if self._is_closed:  # by a datagram before this one, in the same reading
            return
        try:
            self._take(data, (unmap(sender[0].partition("%")[0]), sender[1]))
        except Exception:
            self.crashed(Failure())

    def _take(self, data: bytes, sender: Peer) -> None:
        if not self._is_from_our_client(sender):
            self.dropped("stranger")
            return
        if self._ourselves.has(sender):
            self.dropped("ourselves")
            return
        if self._protection is not None:
            try:
                data = self._protection.unwrap(data)
            except RemoteProtocolError:
                self.dropped("unprotected")
                return
        try:
            datagram = Datagram.decode(data)
        except RemoteProtocolError:
            self.dropped("malformed")
            return
        self._client = sender
        self.signs += 1
        fragments = self._fragments
        if datagram.fragment or (fragments is not None and fragments.is_pending):
            self._take_fragment(datagram, sender)
        else:
            self._targets.send(datagram.address, datagram.payload, sender)

    def _is_from_our_client(self, sender: Peer) -> bool:
        if sender[0] != self._session.client_host:
            return False
        pin = self._settings.udp_pin
        if pin is UDPPin.IP or (self._client is None and pin is UDPPin.IP_PORT):
            return True
        if self._client is not None:
            return sender == self._client
        return self._announced_port in (0, sender[1])

    @property
    def _announced_port(self) -> int:
        """The port that the request named; 0 for unknown, as it is behind an address that is not
        the client's.
        """
        announced = self._session.access.target
        is_credible = announced.is_unspecified or unmap(announced.text) == self._session.client_host
        return announced.port if is_credible else 0

    def _take_fragment(self, datagram: Datagram, sender: Peer) -> None:
        if self._fragments is None:
            session = self._session
            self._fragments = Fragments(session.reactor, session.settings, self._lost_fragments)
        whole = self._fragments.receive(datagram, sender)
        if whole is not None:
            self._targets.send(whole.address, whole.payload, sender)

    def _lost_fragments(self, count: int) -> None:
        self.dropped("fragment", count)

    def moved(self, is_up: bool, count: int, octets: int) -> None:
        """See :meth:`socks5.interfaces.IDatagramReceiver.moved`."""
        self.signs += count
        if is_up:
            if self._fragments is not None:  # which datagrams that stand alone have come between
                self._fragments.abandon()
            self.bytes_up += octets
            self._counters.datagrams_up += count
        else:
            self.bytes_down += octets
            self._counters.datagrams_down += count

    def unsendable(self, is_up: bool, count: int) -> None:
        """That many were not taken by the kernel."""
        if self._fragments is not None:
            self._fragments.abandon()
        self.dropped("unsendable", count)

    def unreachable(self, target: Peer) -> None:
        """Never called: the errors of this socket are not heard."""

    # From the targets

    def meter_of(self, verdict: Verdict) -> IDatagramMeter | None:
        """See :meth:`socks5.interfaces.IDatagramReceiver.meter_of`."""
        return None

    def received(self, payload: bytes, sender: Address, client: Any) -> bool:
        """See :meth:`socks5.interfaces.IDatagramReceiver.received`."""
        if self._ourselves.has(client):
            self.dropped("ourselves")
            return False
        answer = Datagram(sender, payload).encode()
        try:
            if self._protection is not None:
                answer = self._protection.wrap(answer)
            self._port.write(answer, client)
        except UNSENDABLE:
            self.dropped("unsendable")
            return False
        self.signs += 1
        self.bytes_down += len(payload)
        self._counters.datagrams_down += 1
        return True

    # Counting

    def sent(self, octets: int) -> None:
        """See :meth:`socks5.interfaces.IDatagramReceiver.sent`."""
        self.bytes_up += octets
        self._counters.datagrams_up += 1

    def dropped(self, why: str, count: int = 1, rule: str = "") -> None:
        """See :meth:`socks5.interfaces.IDatagramReceiver.dropped`."""
        if rule and (rule in self.denied or len(self.denied) < MOST_RULES):
            self.denied[rule] += count
        if count:
            self.dropped_in_all += count
            self.drops[why] += count
            self._counters.dropped[why] += count

    def count_lost(self) -> None:
        """Count what the kernel has dropped since this was called last."""
        self.dropped("receive buffer", self._sockets.take_lost())

    def crashed(self, failure: Failure) -> None:
        """See :meth:`socks5.interfaces.IDatagramReceiver.crashed`."""
        self._session.crashed(failure)
