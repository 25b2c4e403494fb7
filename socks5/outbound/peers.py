"""Where the peer of a BIND is awaited: a port of this host's, for one peer.

It is on the source address for targets if one is set, else on our end of the control connection; a named peer that
cannot reach that (it is of the other family, or this host's loopback and the peer elsewhere) is awaited on the address
that we would send from to reach it. Only a peer with an address that was named comes in (any, if none was), and only
if the rules allow that address; others are closed and the wait goes on. On every way out the port is closed.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.access import Access, Verdict
from socks5.interfaces import IPeerPort, IResolver, Judge
from socks5.net.addresses import address_of
from socks5.net.connection import far_end
from socks5.net.peer_port import PeerPort
from socks5.net.poller import poller_of
from socks5.net.quiet_ports import listen_tcp_quietly
from socks5.outbound.attempts import Stream
from socks5.outbound.judging import Allowed, allowed, judged, known, only_via
from socks5.protocol.address import Address, unmap
from socks5.protocol.errors import AddressTypeNotSupported, TTLExpired
from socks5.protocol.networks import socket_name
from socks5.settings import Settings
from socks5.streams import IStream

FIRST_FREE_PORT = 1024
"""Ports below are the system's own (RFC 6335 section 6)."""

MOST_WAITING = 8
"""Peers of one port that wait for their verdicts; more are turned away."""


def local_address_towards(host: str) -> str:
    """The IP literal that this host would send from to reach *host*, with its zone if it is link-local; asks the
    routing table, sends nothing.

    :raises OSError: there is no route.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(socket_name(host, 9))
        near = str(probe.getsockname()[0])
    zone = host.partition("%")[2]
    return f"{near}%{zone}" if zone and near.startswith("fe80:") else near


def is_alike(host: str, other: str) -> bool:
    """Whether two IP literals are of one family."""
    return (":" in host) == (":" in other)


def can_reach(host: str, near: str) -> bool:
    """Whether *host* can connect to our address *near*: both are IP literals of one family, and a
    loopback is reached from a loopback only.
    """
    return is_alike(host, near) and (
        ip_address(host).is_loopback or not ip_address(near).is_loopback
    )


def interface_for(expected: Sequence[str], settings: Settings, near: str) -> str:
    """Where to listen for a peer with one of these addresses, or with any; see the module.

    :raises OSError: there is no route to the peer.
    :raises socks5.protocol.errors.AddressTypeNotSupported: any peer may come, but not over the control connection's
        family.
    """
    outgoing = settings.outgoing
    if expected and not any(can_reach(host, near) for host in expected):
        towards = next((host for host in expected if is_alike(host, near)), expected[0])
        return outgoing.like(towards) or local_address_towards(towards)
    if settings.family.allows(near):
        return outgoing.like(near) or near
    other = outgoing.ipv4 if ":" in near else outgoing.ipv6
    if other is None:
        raise AddressTypeNotSupported("nobody is awaited over this family")
    return other


async def allowed_peers(
    resolver: IResolver,
    access: Access,
    expected: Address,
    judge: Judge,
    settings: Settings,
    takes_via: bool = False,
) -> Allowed:
    """Who may come: those addresses of an expected peer; none of them: whoever comes is judged then.

    :param takes_via: see :class:`~socks5.outbound.judging.Allowed`.
    :raises socks5.protocol.errors.ReplyError: a peer is expected that may not come.
    """
    found = Allowed(access, takes_via)
    if expected.is_unspecified:
        if access.rule or takes_via:  # a rule allows whoever comes, and may say where he is awaited
            found.add("", await known(judge(None)))
            found.hosts = ()
        return found
    hosts: Sequence[str] = (unmap(expected.text),)
    if isinstance(expected.host, bytes):
        hosts = settings.family.in_order(await resolver.resolve(expected.host, access.client))
        if not hosts:
            raise _not_awaited()
    asking = allowed(hosts, judge, len(hosts), found)
    found = await asking if isinstance(asking, Deferred) else asking
    if not found.hosts:
        raise found.refusal("the rules forbid the expected peer")
    return found


def _not_awaited() -> AddressTypeNotSupported:
    return AddressTypeNotSupported("peers of this family are not awaited")


def listen_for(
    reactor: Any, found: Allowed, port: int, judge: Judge, settings: Settings, near: str
) -> IPeerPort:
    """Await whom :func:`allowed_peers` has found.

    :param port: the one that the client would like, if anybody may come.
    """
    hosts = found.hosts
    if hosts and not settings.family.in_order(hosts):
        raise _not_awaited()
    settings = found.under(settings)
    interface = interface_for(hosts, settings, near)
    return DirectPeerPort(reactor, judge, settings, hosts, interface, 0 if hosts else port)


@implementer(IPeerPort)
class DirectPeerPort:
    """A port that is open until a peer has come in.

    :param hosts: the IP literals that may come; none: any.
    :param interface: the IP literal to listen on.
    :param port: the one that the client would like. It gets another where that cannot be had, or belongs to the
        system.
    :raises twisted.internet.error.CannotListenError: the system does not let us.
    """

    def __init__(
        self,
        reactor: Any,
        judge: Judge,
        settings: Settings,
        hosts: Sequence[str],
        interface: str,
        port: int,
    ) -> None:
        self._reactor = reactor
        self._judge = judge
        self._hosts = frozenset(host.partition("%")[0] for host in hosts)
        self._waiting: set[Deferred[Verdict]] = set()
        self._port: Any = self._open(interface, port)
        self._timer = reactor.callLater(settings.bind_timeout, self._too_long)
        at = address_of(self._port.getHost())
        self.bound = Address(settings.advertise.like(at.text) or at.host, at.port)
        self.peer: Deferred[IStream] = Deferred(lambda _: self.close())

    def _open(self, interface: str, port: int) -> Any:
        if port >= FIRST_FREE_PORT:
            with suppress(CannotListenError):
                return self._open_at(interface, port)
        return self._open_at(interface, 0)

    def _open_at(self, interface: str, port: int) -> Any:
        poller = poller_of(self._reactor)
        if poller is not None:
            return PeerPort(poller, interface, port, self.awaits, self.connected)
        return listen_tcp_quietly(self._reactor, port, _Peers(self), interface)

    def awaits(self, host: str) -> bool:
        """Whether a peer with this IP literal may come in, as far as that says."""
        is_open = self._port is not None and len(self._waiting) < MOST_WAITING
        return is_open and (not self._hosts or host in self._hosts)

    def connected(self, stream: IStream) -> None:
        """A peer is there, who may be the one."""
        try:
            verdict = only_via(self._judge(far_end(stream.transport).text))
        except Exception:  # here, for whoever calls knows nothing of rules
            self._give_up(Failure())
            transport: Any = stream.transport
            transport.abortConnection()
            return
        if isinstance(verdict, Deferred):
            self._waiting.add(verdict)
            verdict.addBoth(self._there_is, verdict)
        judged(stream, verdict, self._take, lambda _: None)

    def _there_is(self, answer: Any, verdict: Deferred[Verdict]) -> Any:
        self._waiting.discard(verdict)
        return answer

    def _take(self, stream: IStream) -> None:
        self.close()
        self.peer.callback(stream)

    def _too_long(self) -> None:
        self._give_up(Failure(TTLExpired("no peer connected in time")))

    def _give_up(self, failure: Failure) -> None:
        self.close()
        self.peer.errback(failure)

    def close(self) -> None:
        """See :meth:`socks5.interfaces.IPeerPort.close`."""
        port, self._port = self._port, None
        if port is None:
            return
        port.stopListening()
        if self._timer.active():
            self._timer.cancel()
        for verdict in tuple(self._waiting):
            verdict.cancel()


class _Peers(Factory):
    """Lets peers in that may be the awaited one, and nobody else."""

    noisy = False

    def __init__(self, port: DirectPeerPort) -> None:
        self._port = port

    @override
    def buildProtocol(self, addr: Any) -> Stream | None:
        return _Peer(self._port) if self._port.awaits(address_of(addr).text) else None


class _Peer(Stream):
    """A peer's stream; tells the port as soon as it is there."""

    def __init__(self, port: DirectPeerPort) -> None:
        self._port = port

    @property
    @override
    def bound(self) -> Address:
        """See :class:`socks5.streams.IStream`."""
        return far_end(self.transport)

    @override
    def connectionMade(self) -> None:
        self._port.connected(self)
