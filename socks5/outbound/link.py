"""The datagrams of one client's association that go through one upstream, which has an association of its own for them.

It is opened by the first datagram, and anew when it was lost; until it is there they wait. It ends after a silence, or
with the client's. What goes to a name unresolved is the upstream's to filter, for nobody here knows who may answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from socks5.deadlines import clock_of
from socks5.interfaces import IDatagramReceiver
from socks5.names import without_false_name
from socks5.net.datagram_sockets import UNSENDABLE, DatagramSockets
from socks5.net.datagram_turns import Share
from socks5.outbound.associating import UpstreamAssociation
from socks5.outbound.batch_routes import Routes
from socks5.outbound.ourselves import Ourselves
from socks5.outbound.targets import DatagramTerms, Peer, Targets
from socks5.outbound.waiting import Waiting
from socks5.protocol.address import Address, unmap
from socks5.protocol.datagram import Datagram
from socks5.protocol.errors import SOCKSError
from socks5.settings import Settings, UDPFiltering

PAUSE = 1.0
"""Seconds from one opening of an association to the next, at the least, however many datagrams want one."""

NO_UPSTREAM = "upstream"
"""Why a datagram is dropped for which its upstream has no association, or not soon enough."""


class LinkWay(Protocol):
    """An upstream, as far as datagrams know it: a :class:`~socks5.outbound.path.Path`, or a
    :class:`~socks5.outbound.pool.Pool`.
    """

    commands: frozenset[int]
    resolves: bool

    @property
    def keys(self) -> frozenset[object]:
        """Of the paths that it may be; over a reload those of the same key are the same."""

    @property
    def has_hope(self) -> bool:
        """Whether it may be used, be it for a trial."""


@dataclass(frozen=True)
class Side:
    """What the ways of one client's association share.

    :param looks: so many looks without a sign of life make a silence.
    """

    reactor: Any
    settings: Settings
    receiver: IDatagramReceiver
    share: Share
    ourselves: Ourselves
    routes: Routes
    waiting: Waiting
    looks: int


class Departing(NamedTuple):
    """A datagram that waits."""

    target: Address
    payload: bytes
    client: Hashable
    terms: DatagramTerms


class Link:
    """See the module.

    :param way: the upstream.
    :param open_: has it open an association, for a target.
    """

    def __init__(
        self,
        side: Side,
        way: LinkWay,
        open_: Callable[[Any, Address], Deferred[UpstreamAssociation]],
    ) -> None:
        self._side = side
        self._way = way
        self._open = open_
        self._receiver = receiver = side.receiver
        self._drop = receiver.dropped
        settings, share = side.settings, side.share
        period = settings.udp_idle_timeout / side.looks
        self._targets = Targets(share.budget, settings.udp_targets, period, side.looks)
        self._filtering = settings.udp_filtering
        own = None  # nobody but the relay is heard there, whoever else sends
        self._sockets = DatagramSockets(
            *(side.reactor, own, False, self, share, settings.udp_buffer, receiver.hold_back),
            has_headers=True,
        )
        self._sockets.is_batched = side.routes.is_batched
        side.routes.also(self._sockets.routes)
        self._port: Any = None
        self._association: UpstreamAssociation | None = None
        self._opening: Deferred[Any] | None = None
        self._queue: deque[Departing] = deque()
        self._now = clock_of(side.reactor)
        self._due = self._now()  # when it may be opened again
        self._has_failed = False
        self._names_client: Any = None  # the client's port that has last sent to a name
        self._latest: Any = None
        self._signs = self._seen = self._silent = 0
        self.upstreams: set[str] = set()
        """The names of those ways that datagrams have gone, or that were tried for them in vain."""

    # To a target

    def knows(self, target: Address) -> bool:
        """Whether datagrams for *target* go here without being judged."""
        return self._targets.host_of(target) is not None

    def send_again(self, target: Address, payload: bytes, client: Hashable) -> str:
        """Send to a target that it knows; see :meth:`send`."""
        terms = self._targets.terms_of(target)
        assert terms is not None
        return self.send(target, payload, client, terms)

    def send(self, target: Address, payload: bytes, client: Hashable, terms: DatagramTerms) -> str:
        """Send a datagram whose target is allowed, now or when there is an association.

        :param terms: they say where it goes.
        :returns: why not, or "".
        """
        if not self._targets.has_room_for(target):
            return "too many targets"
        if self._association is None and self._opening is None:
            self._begin(target)
        if self._association is not None:
            return self._send(target, payload, client, terms)
        if self._opening is None or not self._side.waiting.has_room_for(len(payload)):
            return NO_UPSTREAM
        self._side.waiting.took(1, len(payload))
        self._queue.append(Departing(target, payload, client, terms))
        return ""

    def _send(self, target: Address, payload: bytes, client: Any, terms: DatagramTerms) -> str:
        far, meter, association = terms.far, terms.meter, self._association
        assert far is not None
        assert association is not None
        if meter is not None and meter.holds():
            return ""
        if self._side.ourselves.has(association.relay):  # it would come back, and go there again
            return "ourselves"
        try:
            whole = association.nesting.wrap(Datagram(far, payload).encode())
            self._port.write(whole, association.relay)
        except UNSENDABLE:
            return "unsendable"
        routes = self._side.routes
        if self._targets.sent(target, far.text, client, terms):
            routes.forget()
        self._latest = client
        if far.is_name:
            self._names_client = client
        self._signs += 1
        if meter is not None:
            meter.moved(len(payload), 0)
        elif far == target and association.nesting.is_plain:
            routes.add_whole_up(target, client, self._port, association.relay)
        self._receiver.sent(len(payload))
        return ""

    def _take_queue(self) -> list[Departing]:
        waiting = [*self._queue]
        self._queue.clear()
        self._side.waiting.took(-len(waiting), -sum(len(each.payload) for each in waiting))
        return waiting

    def rejudge(self, way: LinkWay | None) -> list[Departing]:
        """The rules are others now: whatever goes here is judged anew.

        :param way: the upstream of that name now, which may be another one; None: there is none.
        :returns: what has waited, which is to be judged anew, too: once all links know of the rules.
        """
        keys = frozenset[object]() if way is None else way.keys
        waiting = self._take_queue()
        self._targets.clear()
        self._names_client = None
        if self._association is not None and self._association.key not in keys:
            self._end()
            self._forget_the_last()
        if self._opening is not None and not keys >= self._way.keys:
            self._opening.cancel()
            self._forget_the_last()
        if way is not None:
            self._way = way
        return waiting

    # The association

    def _forget_the_last(self) -> None:
        """It is another upstream that is asked next, and at once."""
        self._has_failed, self._due = False, self._now()

    def _begin(self, target: Address) -> None:
        if self._now() < self._due or (self._has_failed and not self._way.has_hope):
            return
        self._due = self._now() + PAUSE
        self._opening = opening = self._open(self._way, target)
        opening.addCallbacks(self._opened, self._failed).addErrback(self._receiver.crashed)

    def _opened(self, association: UpstreamAssociation) -> None:
        self._opening = None
        self.upstreams.add(association.upstream)
        try:
            self._port = self._sockets.open(_interface(association), 0)
        except CannotListenError:
            association.close()
            self._give_up()
            return
        association.ended = self._lost
        self._association = association
        self._has_failed = False
        self._silent = 0
        for each in self._take_queue():
            why = self._send(*each)
            if why:
                self._drop(why)

    def _failed(self, failure: Failure) -> None:
        """There is none, which the upstream's health and counters tell."""
        self._opening = None
        failure.trap(SOCKSError, CancelledError)
        self.upstreams |= {getattr(failure.value, "upstream", "")} - {""}
        self._give_up()

    def _give_up(self) -> None:
        self._has_failed = True
        self._drop(NO_UPSTREAM, len(self._take_queue()))

    def _lost(self) -> None:
        """The upstream has ended it. The next datagram has another one opened."""
        self._has_failed = True
        self._end()

    def _end(self) -> None:
        """There is none any more, if there was one."""
        association, self._association = self._association, None
        if association is None:
            return
        association.close()
        self._side.routes.forget()
        self._count_lost()
        self._sockets.close()

    # From a target, and what else the socket says (socks5.net.datagram_ports.DatagramOwner)

    def missed(self, is_up: bool, data: bytes, sender: Peer) -> None:
        """A datagram that has no route. A bug ends the client's association: it would meet every datagram."""
        if self._association is None:  # by a datagram before this one, in the same reading
            return
        try:
            self._take(self._association, data, sender)
        except Exception:
            self._receiver.crashed(Failure())

    def _take(self, association: UpstreamAssociation, data: bytes, sender: Peer) -> None:
        if (unmap(sender[0].partition("%")[0]), sender[1]) != _without_zone(association.relay):
            self._drop("unasked")
            return
        datagram = association.nesting.unwrap(data)
        if isinstance(datagram, str):
            self._drop("unasked" if datagram == "stranger" else datagram)
            return
        said = without_false_name(datagram.address)
        if isinstance(said.host, bytes):
            said = Address(said.host.lower(), said.port)
        peer = (unmap(said.text), said.port)
        client, meter = self._client_of(said.is_name, peer)
        if client is None:
            self._drop("unasked")
        elif meter is not None and meter.holds():
            pass
        elif self._receiver.received(
            datagram.payload, Address(said.host if said.is_name else peer[0], peer[1]), client
        ):
            self._signs += 1
            if meter is not None:
                meter.moved(0, len(datagram.payload))
            elif datagram.address.host == peer[0] and association.nesting.is_plain:
                self._side.routes.add_whole_down(
                    self._sockets.routes, said, client, self._port, association.relay
                )

    def _client_of(self, is_name: bool, peer: Peer) -> tuple[Any, Any]:
        """Whom an answer is for, if anybody may have it, and its meter.

        :param peer: whose it is.
        """
        target = self._targets.asked(peer, self._filtering is not UDPFiltering.ADDRESS_DEPENDENT)
        if target is not None:
            return target.client, None if target.terms is None else target.terms.meter
        if is_name:
            return None, None
        if self._filtering is UDPFiltering.ENDPOINT_INDEPENDENT:
            return self._latest, None
        return self._names_client, None

    def moved(self, is_up: bool, count: int, octets: int) -> None:
        """See :class:`socks5.net.datagram_ports.DatagramOwner`."""
        self._signs += count
        self._receiver.moved(is_up, count, octets)

    def unsendable(self, is_up: bool, count: int) -> None:
        """See :class:`socks5.net.datagram_ports.DatagramOwner`."""
        self._drop("unsendable", count)

    def unreachable(self, target: Peer) -> None:
        """Never called: the errors of this socket are not heard."""

    # Time

    def look(self) -> None:
        """A while is over; routes have ended a moment ago, so what is in use shows."""
        self._targets.next_period()
        self._count_lost()
        self._silent = 0 if self._signs != self._seen else self._silent + 1
        self._seen = self._signs
        if self._silent >= self._side.looks:
            self._end()

    def _count_lost(self) -> None:
        self._drop("receive buffer", self._sockets.take_lost())

    def close(self) -> None:
        """The client's association is over."""
        self._drop(NO_UPSTREAM, len(self._take_queue()))
        self._targets.clear()
        if self._opening is not None:
            self._opening.cancel()
        self._end()


def _without_zone(peer: Peer) -> Peer:
    return peer[0].partition("%")[0], peer[1]


def _interface(association: UpstreamAssociation) -> str:
    """Where datagrams leave from: our end of the control connection, by which the upstream knows us."""
    is_ipv6 = ":" in association.relay[0]
    near = association.near
    if (":" in near) is is_ipv6:
        return near
    return "::" if is_ipv6 else "0.0.0.0"
