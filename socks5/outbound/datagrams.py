"""The targets' side of an association, by sockets of this host's: one for each address family, for all targets, so all
of them see the same source (RFC 4787: endpoint-independent mapping). What a verdict sends through an upstream is for
the links (:mod:`socks5.outbound.links`).

A name is resolved, and an address judged, before anything goes there; meanwhile a datagram waits without holding up
those behind it. Only those answer whom the client has asked (:class:`~socks5.settings.UDPFiltering`). What cannot be
resolved, allowed or sent is dropped, and the client's side is told so.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, cast

from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.access import NO_SOURCE, Access, Verdict
from socks5.interfaces import IDatagramReceiver, IDatagrams, IResolver, Judge
from socks5.names import without_false_name
from socks5.net.datagram_ports import DatagramPort
from socks5.net.datagram_sockets import UNSENDABLE, DatagramSockets, is_about_the_target
from socks5.net.datagram_turns import LOOKUP, turns_of
from socks5.outbound.batch_routes import Routes
from socks5.outbound.departure import Departure
from socks5.outbound.judging import source_of
from socks5.outbound.link import Side
from socks5.outbound.links import Lead, Links
from socks5.outbound.ourselves import Ourselves
from socks5.outbound.targets import DatagramTerms, Peer, Target, Targets, looks_in
from socks5.outbound.waiting import Waiting
from socks5.protocol.address import Address, unmap
from socks5.settings import Settings, UDPFiltering


@implementer(IDatagrams)
class DirectDatagrams:
    """See the module; the parameters are those of :meth:`socks5.interfaces.IDialer.open_datagrams`.

    :param deadlines: serve its looks.
    """

    def __init__(
        self,
        reactor: Any,
        resolver: IResolver,
        deadlines: Any,
        access: Access,
        judge: Judge,
        receiver: IDatagramReceiver,
        settings: Settings,
        near: str,
    ) -> None:
        self._resolver = resolver
        self._deadlines = deadlines
        self.access = access
        self.judge = judge
        self._receiver = receiver
        self.drop = receiver.dropped
        self.moved = receiver.moved  # as owner of the sockets: nothing is left to do here
        self.settings = settings
        self.near = near
        self._share = share = turns_of(reactor).share_of(access.client or "127.0.0.1")
        looks = looks_in(settings.udp_idle_timeout)
        self._look_interval = settings.udp_idle_timeout / looks
        self._targets = Targets(share.budget, settings.udp_targets, self._look_interval, looks)
        self._ourselves = Ourselves(reactor, settings, near)
        self._sockets = DatagramSockets(
            *(reactor, self._ourselves.ports, False, self, share),
            *(settings.udp_buffer, receiver.hold_back),
        )
        self._socket_for: dict[bool | str, Any] = {}  # by family, or by a rule's source
        self._has_terms = False
        self._times_rejudged = 0
        self._routes = Routes(self._sockets.routes, self._ourselves)
        self._latest: Any = None
        self._waiting = Waiting(share.budget, settings, receiver.crashed)
        self.await_verdict = self._waiting.for_verdict
        self._has_choice = False
        self._is_closed = False
        self._lets_strangers_in = settings.udp_filtering is UDPFiltering.ENDPOINT_INDEPENDENT
        self._is_exact = settings.udp_filtering is not UDPFiltering.ADDRESS_DEPENDENT
        shared = (share, self._ourselves, self._routes, self._waiting)
        self._links = Links(Side(reactor, settings, receiver, *shared, looks))
        self._set_look()

    def join(self, port: Any) -> None:
        """See :meth:`socks5.interfaces.IDatagrams.join`."""
        self._sockets.is_batched = True
        self._routes.join(port)

    def follow(self, lead: Lead) -> None:
        """Datagrams may go through upstreams, as *lead* has them do from now on."""
        self._links.lead = lead

    @property
    def upstream(self) -> str:
        """The names of the ways that datagrams have gone, or that were tried for them; "" if they went directly."""
        return ", ".join(sorted(self._links.upstreams))

    # To a target

    def send(self, target: Address, payload: bytes, client: Hashable) -> None:
        """See :meth:`socks5.interfaces.IDatagrams.send`."""
        if client != self._latest:
            self._latest = client
            if self._lets_strangers_in:  # whose answers go there from now on
                self._routes.forget()
        target = without_false_name(target)
        host = self._targets.host_of(target)
        if host is not None:
            terms = self._targets.terms_of(target) if self._has_terms else None
            why = self._send_to(target, host, payload, client, terms)
            if why:
                self._not_sent(target, payload, client, why)
        else:
            self._send_anew(target, payload, client)

    def _send_anew(self, target: Address, payload: bytes, client: Hashable) -> None:
        """Send to a target that has to be judged, but for those that links know."""
        why = self._links.send_again(target, payload, client)
        if why:
            self.drop(why)
        if why is not None:
            return
        if target.is_name:
            self._ask_by_name(target, payload, client)
        else:
            Departure(self, target, (None, unmap(target.text)), payload, client).go_on()

    def send_as(
        self,
        verdict: Verdict,
        target: Address,
        host: str | None,
        payload: bytes,
        client: Hashable,
    ) -> str | None:
        """Send a datagram as the verdict, which allows it, wants.

        :param host: the address that this is about; None: it is about the target alone.
        :returns: why not; "" if it was sent; None: an address is wanted first.
        """
        if verdict.via is not None:
            return self._links.send_as(verdict, target, host, payload, client)
        if host is None:
            return None
        terms = None
        if verdict.source is not NO_SOURCE or verdict.limits:
            terms = self._terms_for(verdict, host)
        if not self.settings.family.allows(host) or (terms is not None and terms.source == ""):
            return "address family"
        if not self._targets.has_room_for(target):
            return "too many targets"
        return self._send_to(target, host, payload, client, terms)

    def _not_sent(self, target: Address, payload: bytes, client: Hashable, why: str) -> None:
        """Where the last datagram for this target went, none can be sent any more. A name has other addresses."""
        if target.is_name and self._targets.host_of(target) is None:
            self._ask_by_name(target, payload, client)
        else:
            self.drop(why)

    def _send_to(
        self,
        target: Address,
        host: str,
        payload: bytes,
        client: Hashable,
        terms: DatagramTerms | None = None,
    ) -> str:
        """Send to *host*, which has been judged, and remember it.

        :param terms: what a rule wants besides.
        :returns: why it was not sent; "" if it was, or if limits have it dropped, which their meter has said.
        """
        meter = None if terms is None else terms.meter
        if meter is not None and meter.holds():
            return ""
        peer = (host, target.port)
        if self._ourselves.has(peer):
            return "ourselves"
        try:
            port = self._socket(":" in host, terms)
            if self._has_choice and isinstance(port, DatagramPort):
                port.hear_errors()
            port.write(payload, peer)
        except UNSENDABLE as error:
            if is_about_the_target(error):
                self.unreachable(peer)
                self._forget(target)
            return "unsendable"
        if self._targets.sent(target, host, client, terms):
            self._routes.forget()  # some lead to the port that sent there before, or hide that it does again
        if terms is not None:
            self._has_terms = True
        if meter is None:
            self._routes.add_up(target, host, client, port)
        else:
            meter.moved(len(payload), 0)
        self._receiver.sent(len(payload))
        return ""

    def _socket(self, is_ipv6: bool, terms: DatagramTerms | None) -> Any:
        """The socket of a family, or of a source that a rule wants, opened for its first datagram.

        :raises twisted.internet.error.CannotListenError: this host has no such family, or no port left.
        """
        source = None if terms is None else terms.source
        key = is_ipv6 if source is None else source
        port = self._socket_for.get(key)
        if port is None:
            if source is None:
                outgoing = self.settings.outgoing
                source = (outgoing.ipv6 or "::") if is_ipv6 else (outgoing.ipv4 or "0.0.0.0")
            port = self._socket_for[key] = self._sockets.open(source, 0)
        return port

    def _open_for(self, is_ipv6: bool) -> Any:
        """A socket of a family that is open, if there is one: all share what is known of senders."""
        port = self._socket_for.get(is_ipv6)
        if port is None and self._has_terms:
            sources = (key for key in self._socket_for if isinstance(key, str))
            found = next((key for key in sources if (":" in key) == is_ipv6), None)
            port = None if found is None else self._socket_for[found]
        return port

    def _terms_for(self, verdict: Verdict, host: str) -> DatagramTerms:
        """What a verdict wants of datagrams for *host* besides; a source of "": to leave over a family of which it has
        none.
        """
        sources = source_of(verdict, self.access)
        source = None if sources is None else sources.like(host) or ""
        return DatagramTerms(source, self._receiver.meter_of(verdict))

    def _forget(self, target: Address) -> None:
        """Nobody may answer for that target any more."""
        if self._targets.forget(target):
            self._routes.forget()

    def rejudge(self) -> None:
        """See :meth:`socks5.interfaces.IDatagrams.rejudge`. Nobody answers before he is sent to again."""
        self._times_rejudged += 1
        self._targets.clear()
        self._routes.forget()
        self._waiting.give_up_verdicts()
        for each in self._links.rejudge():
            self.send(each.target, each.payload, each.client)

    # Names

    def _ask_by_name(self, target: Address, payload: bytes, client: Hashable) -> None:
        """Ask the rules about the name, and then for its addresses: of one that is forbidden nobody hears."""
        resolve = partial(self._resolve, target, payload, client)
        Departure(self, target, (None,), payload, client).go_on(resolve)

    def _resolve(self, target: Address, payload: bytes, client: Hashable) -> None:
        """Send once the name is resolved; until then the datagram waits, and only so many may."""
        if not self._waiting.has_room_for(len(payload)):
            self.drop("too many names")
            return
        self._share.left -= LOOKUP
        resolved = partial(self._resolved, target, payload, client, self._times_rejudged)
        self._look_up(target, len(payload), resolved)

    def _look_up(self, name: Address, size: int, done: Callable[[Any], None]) -> None:
        """Tell *done* a name's addresses, or why there are none."""
        host = cast("bytes", name.host)
        self._waiting.for_name(self._resolver.resolve(host, self.access.client), size, done)

    def _resolved(
        self,
        target: Address,
        payload: bytes,
        client: Hashable,
        times_rejudged: int,
        hosts: Sequence[str] | Failure,
    ) -> None:
        if isinstance(hosts, Failure):
            self.drop("unknown name")
            return
        reachable = self._reachable(hosts)
        if not reachable:
            self.drop("address family")
            return
        self._has_choice = self._has_choice or len(reachable) > 1
        ordered = self._targets.in_order(reachable, target.port)
        if self._targets.is_unreached((ordered[0], target.port)):  # so none of them was reached
            self._resolver.failed(cast("bytes", target.host))
        is_new = times_rejudged != self._times_rejudged  # then the rules know nothing of the name
        to_ask = (None, *ordered) if is_new else ordered
        Departure(self, target, to_ask, payload, client).go_on()

    def _reachable(self, hosts: Sequence[str]) -> Sequence[str]:
        """The addresses that may be used: those of the control connection's family first, which has a route as a
        rule; where it has none, the other follows.
        """
        is_ipv6 = ":" in self.access.client
        own_first = sorted(map(unmap, hosts), key=lambda host: (":" in host) != is_ipv6)
        return self.settings.family.in_order(own_first)

    def _look_up_unheard(self) -> None:
        """Look up anew the names that datagrams go to while none comes back. Meanwhile they go where they went, and
        also from then on if that is still an address of the name's: not everybody answers.
        """
        for target in self._targets.unheard(self._waiting.room_for_names):
            self._look_up(target.name, 0, partial(self._looked_up, target))

    def _looked_up(self, target: Target, hosts: Sequence[str] | Failure) -> None:
        if not isinstance(hosts, Failure) and target.host not in map(unmap, hosts):
            self._forget(target.name)

    # From a target, and what else the sockets say (socks5.net.datagram_ports.DatagramOwner)

    def missed(self, is_up: bool, data: bytes, sender: Peer) -> None:
        """A datagram that has no route. A bug ends the association: it would meet every datagram."""
        if self._is_closed:  # by a datagram before this one, in the same reading
            return
        try:
            self._take(data, (unmap(sender[0].partition("%")[0]), sender[1]))
        except Exception:
            self._receiver.crashed(Failure())

    def _take(self, data: bytes, sender: Peer) -> None:
        target = self._targets.asked(sender, self._is_exact)
        client: Any = self._latest if self._lets_strangers_in else None
        meter = None
        if target is not None:
            client = target.client
            meter = None if target.terms is None else target.terms.meter
        if client is None:
            self.drop("unasked")
        elif self._ourselves.has(sender):
            self.drop("ourselves")
        elif meter is not None and meter.holds():
            pass
        elif self._receiver.received(data, Address(*sender), client):
            if meter is None:
                self._routes.add_down(sender, client, self._open_for(":" in sender[0]))
            else:
                meter.moved(0, len(data))

    def unreachable(self, target: Peer) -> None:
        """ICMP says that a datagram has not reached *target*."""
        if self._targets.unreached(target):
            self._routes.forget()

    def unsendable(self, is_up: bool, count: int) -> None:
        """That many were not taken by the kernel."""
        self.drop("unsendable", count)

    # Time

    def _set_look(self) -> None:
        self._deadlines.set(self, self._look_interval, self._look)

    def _look(self) -> None:
        """Routes end, so that what is in use is seen to be, and looked at anew, once in a while."""
        self._set_look()
        self._routes.forget()
        self._targets.next_period()
        self._look_up_unheard()
        self._count_lost()
        self._links.look()

    def _count_lost(self) -> None:
        self.drop("receive buffer", self._sockets.take_lost())

    def close(self) -> None:
        """See :meth:`socks5.interfaces.IDatagrams.close`; may be called twice."""
        self._is_closed = True
        self._deadlines.clear(self)
        self._waiting.close()
        self._targets.clear()
        self._count_lost()
        self._sockets.close()
        self._links.close()
