"""UDP ASSOCIATE (RFC 1928 sections 4 and 7): datagrams between one client and any number of
targets.

.. code-block:: text

    client <-> Side <-> Associate <-> Side (one for each family) <-> targets

The client-facing socket is bound to the control connection's local address, because BND.ADDR must
be the source of what the client receives.

Only the control connection's peer may use an association (:class:`~socks5.settings.UDPPin`), and
only those answer whom it has asked (:class:`~socks5.settings.UDPFiltering`). Every target is one
outbound socket per family away, so all of them see the same source (RFC 4787: endpoint-independent
mapping). Where the session has agreed on a level of protection, the client's datagrams travel in messages of
RFC 1961 section 5, and others from it are dropped. Whatever cannot be understood, allowed or sent is dropped and
counted; nothing that a
datagram holds or causes ends the association. It ends with the control connection, or after a
silence.
"""

from __future__ import annotations

import errno
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionDone, MessageLengthError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.access import Reason, Verdict
from socks5.deadlines import IdleTimer
from socks5.interfaces import ICommand, ISession, IStreamReceiver
from socks5.net.addresses import address_of
from socks5.net.batch import BatchPort, Route, header_key, is_available, sender_key, sockaddr
from socks5.net.datagram_ports import MAX_DATAGRAM, DatagramPort, SinglePort
from socks5.net.names import without_false_name
from socks5.net.own import is_own_address, ports_of
from socks5.net.poller import poller_of
from socks5.net.quiet_ports import listen_udp_quietly
from socks5.net.turns import LOOKUP, turns_of
from socks5.protocol.address import Address, AddressType, unmap
from socks5.protocol.datagram import Datagram, Reassembler
from socks5.protocol.embedded import meanings
from socks5.protocol.errors import LocalProtocolError, NotAllowed, RemoteProtocolError
from socks5.protocol.messages import ReplyCode
from socks5.server.targets import Peer, Target, Targets
from socks5.settings import UDPFiltering, UDPPin

LOOK_INTERVAL = 60.0
"""Seconds between looks at who is still in use, at the most."""

LEAST_BUFFER = 65536
"""Octets of receive buffer that a socket asks for at the least."""

MOST_SENDERS = 1024
"""Routes of one association for what its targets send; beyond, all are made anew."""

UNSENDABLE = (OSError, MessageLengthError, CannotListenError, LocalProtocolError)
"""Too long, no route, port 0, a full buffer, no socket of that family: the datagram's bad luck."""

_NOT_THE_TARGETS = frozenset(
    {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EMSGSIZE, errno.EMFILE, errno.ENFILE}
)

MOST_TRIES = 8
"""Addresses of a name that one datagram is tried at."""


def _is_about_the_target(error: Exception) -> bool:
    """Whether what is :data:`UNSENDABLE` may be sent to another address: not if a buffer is full, it is too long, or
    there is no descriptor for a socket.
    """
    if isinstance(error, MessageLengthError):
        return False
    error = getattr(error, "socketError", error)  # as the system said it
    return getattr(error, "errno", None) not in _NOT_THE_TARGETS


class Side(DatagramProtocol):
    """One socket of an association that is the reactor's; hands on what it receives."""

    noisy = False

    def __init__(self, association: Associate, is_up: bool) -> None:
        self._association = association
        self._is_up = is_up

    @override
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._association.missed(self._is_up, datagram, addr[:2])


@implementer(IStreamReceiver)
class _Control:
    """The control connection while the association lasts: octets mean nothing, its end is the
    end.
    """

    def __init__(self, session: ISession) -> None:
        self._session = session

    def dataReceived(self, data: bytes) -> None:
        """RFC 1928 gives octets here no meaning: dropped."""

    def readConnectionLost(self) -> None:
        self._session.end(Reason.CLIENT_CLOSED)

    def connectionLost(self, reason: Failure) -> None:
        is_orderly = reason.check(ConnectionDone)
        self._session.end(Reason.CLIENT_CLOSED if is_orderly else Reason.CLIENT_RESET)


@implementer(ICommand)
class Associate:
    """One UDP association."""

    def __init__(self, session: ISession) -> None:
        self.session = session
        self._settings = session.settings
        self._family = session.settings.family
        self.bytes_up = 0
        self.bytes_down = 0
        self.dropped = 0
        self.drops: Counter[str] = Counter()
        self._is_counted = False
        self._client_side: Any = None
        self._target_sides: dict[bool, Any] = {}
        self._client: Peer | None = None
        self._names: set[Deferred[Any]] = set()
        self._has_choice = False
        self._fragments = Reassembler(session.settings.max_fragments)
        self._fragments_of: Peer = ("", 0)
        self._fragment_timer: IDelayedCall | None = None
        self._idle: IdleTimer | None = None
        self.is_stopped = False
        self._valid = 0
        self._protection = session.protection
        # Batches move octets that nobody looks at: not what has to be wrapped.
        self._is_batched = is_available() and self._protection is None
        self._poller = poller_of(session.reactor)
        self._share = turns_of(session.reactor).share_of(session.client_host)
        self._budget = self._share.budget
        seconds = session.settings.udp_idle_timeout
        self._looks = max(4, math.ceil(seconds / LOOK_INTERVAL))
        most = session.settings.udp_targets
        self._targets = Targets(self._budget, most, seconds / self._looks, self._looks)
        self._routes_up: dict[int, Route] = {}
        self._routes_down: dict[int, Route] = {}
        self._own_ports = ports_of(session.reactor)
        self._zone = "".join(session.near.partition("%")[1:])
        self._local_ports: set[int] = set()

    def start(self) -> None:
        """See :meth:`socks5.interfaces.ICommand.start`."""
        session = self.session
        if self._budget.associations >= self._settings.associations_per_client:
            session.fail(Failure(NotAllowed("too many associations of this client")))
            return
        try:
            self._client_side = self._bind_client_side()
        except CannotListenError:
            session.fail(Failure())
            return
        session.counters.open_associations[session.client_host] += 1
        self._budget.associations += 1
        self._is_counted = True
        self._idle = session.idle_timers.start(
            self._settings.udp_idle_timeout,
            self._look,
            lambda: session.end(Reason.IDLE),
            self._looks,
        )
        bound = address_of(self._client_side.getHost())
        host = self._settings.advertise.like(bound.text) or bound.host
        session.reply(ReplyCode.SUCCEEDED, Address(host, bound.port))
        session.take_optimistic()
        session.control.receiver = _Control(session)
        if session.has_client_ended:
            session.end(Reason.CLIENT_CLOSED)

    def _bind_client_side(self) -> Any:
        """Listen on the control connection's local address, on a port of the configured range.

        :raises CannotListenError: every port of the range is taken.
        """
        interface = self.session.near
        if self._settings.udp_ports is None:
            return self._listen(True, 0, interface)
        first, last = self._settings.udp_ports
        count = last - first + 1
        start = random.randrange(count)
        for step in range(count - 1):
            with suppress(CannotListenError):
                return self._listen(True, first + (start + step) % count, interface)
        return self._listen(True, first + (start - 1) % count, interface)

    def _listen(self, is_up: bool, port: int, interface: str) -> Any:
        """Open one socket, whose port is ours from then on.

        :param is_up: whether it faces the client.
        :raises CannotListenError: the port is taken, or this host has no such address.
        """
        side = self._open(is_up, port, interface)
        bound = side.getHost()
        self._own_ports.add(bound.host, bound.port)
        return side

    def _open(self, is_up: bool, port: int, interface: str) -> Any:
        """One of our own sockets where the reactor has a poller, which moves batches where that is possible; else
        the reactor's.
        """
        if self._poller is not None:
            at = (self._poller, interface, port, is_up, self, self._share, self._buffer)
            if ":" in interface or not self._is_batched:
                return SinglePort(*at)
            return BatchPort(*at, self._routes_up if is_up else self._routes_down)
        reactor: Any = self.session.reactor
        return listen_udp_quietly(reactor, port, Side(self, is_up), interface, MAX_DATAGRAM)

    @property
    def _buffer(self) -> int:
        """Octets of receive buffer for one socket: the kernel's memory for datagrams is everybody's."""
        return max(LEAST_BUFFER, self._settings.udp_buffer // (1 + self._budget.associations // 64))

    # From the client to a target

    def from_client(self, data: bytes, sender: Peer) -> None:
        """A datagram reached the client-facing socket."""
        if not self._is_from_our_client(sender):
            self._drop("stranger")
            return
        if self._is_ourselves(sender):
            self._drop("ourselves")
            return
        if self._protection is not None:
            try:
                data = self._protection.unwrap(data)
            except RemoteProtocolError:
                self._drop("unprotected")
                return
        try:
            datagram = Datagram.decode(data)
        except RemoteProtocolError:
            self._drop("malformed")
            return
        self._set_client(sender)
        self._valid += 1
        if datagram.fragment or self._fragment_timer is not None:
            self._from_client_in_fragments(datagram, sender)
        else:
            self._to_target(datagram.address, datagram.payload, sender)

    def _set_client(self, sender: Peer) -> None:
        """The latest port. If that is of consequence to strangers' answers, the others' datagrams come to be seen."""
        if self._client != sender:
            self._client = sender
            if self._lets_strangers_in:
                self._forget_routes()

    def _is_from_our_client(self, sender: Peer) -> bool:
        if sender[0] != self.session.client_host:
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
        announced = self.session.access.target
        is_credible = announced.is_unspecified or unmap(announced.text) == self.session.client_host
        return announced.port if is_credible else 0

    def _from_client_in_fragments(self, datagram: Datagram, client: Peer) -> None:
        if client != self._fragments_of and self._fragment_timer is not None:
            self._abandon_fragments(self._fragment_timer)
        self._fragments_of = client
        whole, dropped = self._fragments.receive(datagram)
        self._drop("fragment", dropped)
        is_pending = self._fragments.is_pending
        if self._fragment_timer is not None and (not is_pending or dropped):
            self._fragment_timer.cancel()
            self._fragment_timer = None
        if is_pending and self._fragment_timer is None:
            self._fragment_timer = self.session.reactor.callLater(
                self._settings.reassembly_timeout, self._forget_fragments
            )
        if whole is not None:
            self._to_target(whole.address, whole.payload, client)

    def _forget_fragments(self) -> None:
        self._fragment_timer = None
        self._drop("fragment", self._fragments.clear())

    def _to_target(self, target: Address, payload: bytes, client: Peer) -> None:
        target = without_false_name(target)
        known = self._targets.host_of(target)
        if known is not None:
            self._send_as_before(target, known, payload, client)
        elif target.is_name:
            self._resolve(target, payload, client)
        elif not self._family.allows(unmap(target.text)):
            self._drop("address family")
        else:
            self._send_to_first(target, (target.text,), payload, client)

    def _send_as_before(self, target: Address, host: str, payload: bytes, client: Peer) -> None:
        """Send where the last datagram for this target went. If that cannot be any more, a name has other addresses."""
        why = self._send(target, host, payload, client)
        if not why:
            return
        if target.is_name and self._targets.host_of(target) is None:
            self._resolve(target, payload, client)
        else:
            self._drop(why)

    def _resolve(self, target: Address, payload: bytes, client: Peer) -> None:
        """Send once the name is resolved; until then the datagram waits, and only so many may."""
        settings, size = self._settings, len(payload)
        if (
            len(self._names) >= settings.udp_names_waiting
            or self._budget.octets_waiting + size > settings.udp_octets_waiting
        ):
            self._drop("too many names")
            return
        self._budget.octets_waiting += size
        self._share.left -= LOOKUP

        def resolved(hosts: Sequence[str] | Failure) -> None:
            self._budget.octets_waiting -= size
            if self.is_stopped:
                return
            if isinstance(hosts, Failure):
                self._drop("unknown name")
            else:
                self._send_to_reachable(target, hosts, payload, client)

        self._look_up(target, resolved)

    def _look_up(self, name: Address, done: Callable[[Sequence[str] | Failure], None]) -> None:
        """Tell *done* a name's addresses, or why there are none: the association's end, for example."""

        def over(hosts: Sequence[str] | Failure) -> None:
            self._names.discard(wait)
            done(hosts)

        host = cast("bytes", name.host)
        wait = cast("Any", self.session).resolver.resolve(host, self.session.access.client)
        self._names.add(wait)
        wait.addBoth(over).addErrback(self.session.crashed)

    def _look_up_unheard(self) -> None:
        """Look up anew the names that datagrams go to while none comes back. Meanwhile they go where they went, and
        also from then on if that is still an address of the name's: not everybody answers.
        """
        for target in self._targets.unheard(self._settings.udp_names_waiting - len(self._names)):
            self._look_up(target.name, partial(self._looked_up, target))

    def _looked_up(self, target: Target, hosts: Sequence[str] | Failure) -> None:
        if not isinstance(hosts, Failure) and target.host not in map(unmap, hosts):
            self._forget(target.name)

    def _forget(self, target: Address) -> None:
        """Nobody may answer for that target any more."""
        if self._targets.forget(target):
            self._forget_routes()

    def _send_to_reachable(
        self, target: Address, hosts: Sequence[str], payload: bytes, client: Peer
    ) -> None:
        """Send to a name's first address that the rules allow, of the families that may be used; to those that were
        not reached only if there are no others.
        """
        reachable = self._family.in_order(self._own_family_first([unmap(host) for host in hosts]))
        if not reachable:
            self._drop("address family")
            return
        self._has_choice = self._has_choice or len(reachable) > 1
        ordered = self._targets.in_order(reachable, target.port)
        if self._targets.is_unreached((ordered[0], target.port)):  # so none of them was reached
            cast("Any", self.session).resolver.failed(cast("bytes", target.host))
        self._send_to_first(target, ordered, payload, client)

    def _own_family_first(self, hosts: Sequence[str]) -> Sequence[str]:
        """The control connection's family first, which has a route as a rule. Where it has none, the other follows."""
        is_ipv6 = ":" in self.session.client_host
        return sorted(hosts, key=lambda host: (":" in host) != is_ipv6)

    def _send_to_first(
        self, target: Address, hosts: Sequence[str], payload: bytes, client: Peer
    ) -> None:
        """Send to the first of *hosts* that the rules allow and the kernel takes it for."""
        why = "not allowed"
        for host in islice(self._allowed(target, hosts), MOST_TRIES):
            if not self._targets.has_room_for(target):
                why = "too many targets"
                break
            why = self._send(target, host, payload, client)
            if not why:
                return
        self._drop(why)

    def _allowed(self, target: Address, hosts: Sequence[str]) -> Iterator[str]:
        """Those of *hosts* that the rules allow for *target*; they are asked for one when it is wanted."""

        def is_allowed(host: str | None) -> bool:
            verdict = self.session.judge(host, target)
            return isinstance(verdict, Verdict) and verdict.is_allowed is True

        if is_allowed(None):
            yield from (host for host in map(unmap, hosts) if is_allowed(host))

    def _send(self, target: Address, host: str, payload: bytes, client: Peer) -> str:
        """Send to *host*, which has been judged, and remember it.

        :returns: why it was not sent; "" if it was.
        """
        peer = (host, target.port)
        if self._is_ourselves(peer):
            return "ourselves"
        try:
            side = self._target_side(":" in host)
            if self._has_choice and isinstance(side, DatagramPort):
                side.hear_errors()
            side.write(payload, peer)
        except UNSENDABLE as error:
            if _is_about_the_target(error):
                self.unreachable(peer)
                self._forget(target)
            return "unsendable"
        if self._targets.sent(target, host, client):
            self._forget_routes()  # some lead to the port that sent there before, or hide that it does again
        self._add_route_up(target, host, client)
        self.bytes_up += len(payload)
        self.session.counters.datagrams_up += 1
        return ""

    def _target_side(self, is_ipv6: bool) -> Any:
        """The outbound socket of a family, opened for its first datagram.

        :raises CannotListenError: this host has no such family, or no port left.
        """
        side = self._target_sides.get(is_ipv6)
        if side is None:
            outgoing = self._settings.outgoing
            source = (outgoing.ipv6 or "::") if is_ipv6 else (outgoing.ipv4 or "0.0.0.0")
            side = self._target_sides[is_ipv6] = self._listen(False, 0, source)
        return side

    # From a target to the client

    @property
    def _lets_strangers_in(self) -> bool:
        return self._settings.udp_filtering is UDPFiltering.ENDPOINT_INDEPENDENT

    def from_target(self, data: bytes, sender: Peer) -> None:
        """A datagram reached an outbound socket."""
        client = self._client_for(sender)
        if client is None:
            self._drop("unasked")
            return
        if self._is_ourselves(client) or self._is_ourselves(sender):
            self._drop("ourselves")
            return
        answer = Datagram(Address(*sender), data).encode()
        try:
            if self._protection is not None:
                answer = self._protection.wrap(answer)
            self._client_side.write(answer, client)
        except UNSENDABLE:
            self._drop("unsendable")
            return
        self._valid += 1
        self._add_route_down(sender, client)
        self.bytes_down += len(data)
        self.session.counters.datagrams_down += 1

    def _client_for(self, sender: Peer) -> Peer | None:
        """The client's port that an answer from *sender* goes to: the one that has last sent there; a stranger's goes
        to the latest. None if *sender* may not answer.
        """
        filtering = self._settings.udp_filtering
        asked = self._targets.asked(sender, filtering is not UDPFiltering.ADDRESS_DEPENDENT)
        return self._client if asked is None and self._lets_strangers_in else asked

    # Both ways

    def _look(self) -> int:
        """A part of the time is over after which silence ends the association. Routes end with it, so that what is in
        use is seen to be, and looked at anew, once in a while.

        :returns: what changes with every sign of life.
        """
        self._forget_routes()
        self._targets.next_period()
        self._look_up_unheard()
        self._count_lost()
        return self._valid

    def _count_lost(self) -> None:
        """What the kernel dropped is told by its sockets, now and then, for nobody sees it happen."""
        for side in (self._client_side, *self._target_sides.values()):
            if isinstance(side, DatagramPort):
                self._drop("receive buffer", side.take_lost())

    def _is_ourselves(self, peer: Peer) -> bool:
        """Whether a socket of the proxy's has that address, or the IPv4 address that it carries: what is sent there
        comes back to us.
        """
        host, port = peer
        return port in self._own_ports and any(self._hear(each, port) for each in meanings(host))

    def _hear(self, host: str, port: int) -> bool:
        """Whether what is sent to exactly that address comes to a socket of the proxy's."""
        return self._is_advertised(host) or (
            self._own_ports.hear(host, port) and self._is_local(host)
        )

    def _is_advertised(self, host: str) -> bool:
        """Whether it is a NAT's address that leads to this machine, to whatever address of it."""
        return host == self._settings.advertise.like(host)

    def _is_local(self, host: str) -> bool:
        """Whether what is sent to *host* comes to this machine, a NAT's address that leads to it included."""
        if host.startswith("fe80:") and "%" not in host:
            host += self._zone  # the client's, for no other is meant
        return self._is_advertised(host) or is_own_address(host, unknown=True)

    def ports_changed(self) -> None:
        """See :class:`socks5.net.datagram_ports.DatagramOwner`. If a port on this machine that we send to is a socket
        of the proxy's now, everything is looked at anew.
        """
        if any(port in self._own_ports for port in self._local_ports):
            self._forget_routes()

    def _forget_routes(self) -> None:
        self._routes_up.clear()
        self._routes_down.clear()
        self._local_ports.clear()

    def missed(self, is_up: bool, data: bytes, sender: Peer) -> None:
        """See :class:`socks5.net.datagram_ports.DatagramOwner`. A bug ends the association: it would meet every
        datagram.
        """
        if self.is_stopped:  # by a datagram before this one, in the same reading
            return
        sender = (unmap(sender[0].partition("%")[0]), sender[1])
        try:
            (self.from_client if is_up else self.from_target)(data, sender)
        except Exception:
            self.session.crashed(Failure())

    def moved(self, is_up: bool, count: int, octets: int) -> None:
        """See :class:`socks5.net.datagram_ports.DatagramOwner`."""
        self._valid += count
        if is_up:
            if self._fragment_timer is not None:
                self._abandon_fragments(self._fragment_timer)
            self.bytes_up += octets
            self.session.counters.datagrams_up += count
        else:
            self.bytes_down += octets
            self.session.counters.datagrams_down += count

    def unreachable(self, target: Peer) -> None:
        """See :class:`socks5.net.datagram_ports.DatagramOwner`."""
        if self._targets.unreached(target):
            self._forget_routes()

    def unsendable(self, is_up: bool, count: int) -> None:
        """See :class:`socks5.net.datagram_ports.DatagramOwner`."""
        if is_up and self._fragment_timer is not None:
            self._abandon_fragments(self._fragment_timer)
        self._drop("unsendable", count)

    def _abandon_fragments(self, timer: IDelayedCall) -> None:
        """Something else came: datagrams that stand alone, in a batch, or a fragment from another port of the
        client's.
        """
        timer.cancel()
        self._forget_fragments()

    def _add_route_up(self, target: Address, host: str, client: Peer) -> None:
        """Let the client's further datagrams for a target that was just approved go in batches."""
        near, far = self._client_side, self._target_sides.get(False)
        if not (isinstance(near, BatchPort) and isinstance(far, BatchPort)):
            return
        if target.type is AddressType.IPV4:
            key = header_key(Datagram(target, b"").encode())
            self._routes_up[key] = Route(far, sockaddr(host, target.port), sender_key(*client))
            self._watch(near, (host, target.port))

    def _add_route_down(self, sender: Peer, client: Peer) -> None:
        """Let further datagrams of a sender that was just let through go in batches."""
        near, far = self._client_side, self._target_sides.get(False)
        if isinstance(near, BatchPort) and isinstance(far, BatchPort) and ":" not in sender[0]:
            if len(self._routes_down) >= MOST_SENDERS:  # some filters let many in
                self._routes_down.clear()
            header = Datagram(Address(*sender), b"").encode()
            route = Route(near, sockaddr(*client), header=header)
            self._routes_down[sender_key(*sender)] = route
            self._watch(far, client)

    def _watch(self, side: BatchPort, peer: Peer) -> None:
        """Datagrams that reach *side* go to *peer* by a route: keep an eye on its port if it is on this machine."""
        if self._is_local(peer[0]):
            self._local_ports.add(peer[1])
            side.watch(self._own_ports.changes)
            if self._is_ourselves(peer):  # since it was approved, a moment ago
                self._forget_routes()

    def _drop(self, why: str, count: int = 1) -> None:
        if count:
            self.dropped += count
            self.drops[why] += count
            self.session.counters.dropped[why] += count

    def client_ended(self) -> bool:
        """See :meth:`socks5.interfaces.ICommand.client_ended`. An association ends with its control
        connection.
        """
        return False

    far = None
    """It is connected to nobody."""

    def rejudge(self) -> bool:
        """See :meth:`socks5.interfaces.ICommand.rejudge`."""
        self._targets.clear()
        self._forget_routes()
        return True

    def stop(self, reason: Reason, within: float) -> None:
        """See :meth:`socks5.interfaces.ICommand.stop`."""
        if not self.is_stopped:
            self.is_stopped = True
            self._give_back()
            self.session.end(reason)

    def _give_back(self) -> None:
        if self._is_counted:
            associations = self.session.counters.open_associations
            associations[self.session.client_host] -= 1
            if not associations[self.session.client_host]:
                del associations[self.session.client_host]
            self._budget.associations -= 1
        for wait in tuple(self._names):
            wait.cancel()
        self._targets.clear()
        self._count_lost()
        if self._idle is not None:
            self._idle.stop()
        if self._fragment_timer is not None:
            self._fragment_timer.cancel()
        for side in (self._client_side, *self._target_sides.values()):
            if side is not None:
                bound = side.getHost()
                self._own_ports.discard(bound.host, bound.port)
                side.stopListening()
