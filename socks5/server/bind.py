"""BIND (RFC 1928 section 4): listen for one peer, reply twice, hand both streams to a relay.

Listens on the source address for targets if one is set, else on the control connection's local
address; a named peer that cannot reach that one (it is of the other family, or this host's loopback
and the peer elsewhere) is awaited on the address that we would send from to reach it. Only a peer
with the address that the request named comes in (any peer, if it named none), and only if the rules
allow that address; others are closed and the wait goes on. On every way out the port is closed.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.interfaces import ICommand, ISession, IStream
from socks5.net.addresses import address_of
from socks5.net.connection import far_end
from socks5.net.names import without_false_name
from socks5.net.peer_port import PeerPort
from socks5.net.poller import poller_of
from socks5.outbound.attempts import Stream
from socks5.protocol.address import Address, unmap
from socks5.protocol.errors import AddressTypeNotSupported, NotAllowed, TTLExpired
from socks5.protocol.messages import ReplyCode
from socks5.protocol.networks import socket_name
from socks5.relay.relay import Relay
from socks5.relay.sockets import join

FIRST_FREE_PORT = 1024
"""Ports below are the system's own (RFC 6335 section 6)."""


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


class _Peers(Factory):
    """Lets the awaited peer in and nobody else."""

    noisy = False

    def __init__(self, bind: Bind) -> None:
        self._bind = bind

    @override
    def buildProtocol(self, addr: Any) -> Stream | None:
        is_awaited = self._bind.awaits(address_of(addr).text)
        return _Peer(self._bind) if is_awaited else None


class _Peer(Stream):
    """The peer's stream; tells the command as soon as it is there."""

    def __init__(self, bind: Bind) -> None:
        self._bind = bind

    @override
    def connectionMade(self) -> None:
        self._bind.peer_connected(self)


@implementer(ICommand)
class Bind:
    """One BIND."""

    dropped = 0
    drops: Mapping[str, int] = {}

    def __init__(self, session: ISession) -> None:
        self._session = session
        self._resolving: Deferred[Sequence[str]] | None = None
        self._port: Any = None
        self._timer: IDelayedCall | None = None
        self._expected: frozenset[str] = frozenset()
        self._relay: Relay | None = None

    @property
    def bytes_up(self) -> int:
        """See :class:`socks5.interfaces.ICommand`."""
        return 0 if self._relay is None else self._relay.bytes_up

    @property
    def bytes_down(self) -> int:
        """See :class:`socks5.interfaces.ICommand`."""
        return 0 if self._relay is None else self._relay.bytes_down

    def start(self) -> None:
        """See :meth:`socks5.interfaces.ICommand.start`."""
        self._resolving = resolving = self._expected_hosts()
        resolving.addCallback(self._listen).addErrback(self._session.fail)

    def _expected_hosts(self) -> Deferred[Sequence[str]]:
        """The IP literals that the request's address stands for; none for an address of zeros."""
        target = without_false_name(self._session.request.address)
        if target.is_unspecified:
            return succeed(())
        if target.is_name:
            session = self._session
            return session.resolver.resolve(cast("bytes", target.host), session.access.client)
        return succeed((unmap(target.text),))

    def _listen(self, expected: Sequence[str]) -> None:
        session = self._session
        reachable = session.settings.family.in_order(expected)
        if expected and not reachable:
            raise AddressTypeNotSupported("peers of this family are not awaited")
        allowed = [host for host in reachable if session.rules.allows(session.access, host)]
        if expected and not allowed:
            raise NotAllowed("the rules forbid the expected peer")
        self._expected = frozenset(host.partition("%")[0] for host in allowed)
        interface = self._interface(allowed)
        self._port = self._open(interface, 0 if expected else session.request.address.port)
        self._timer = session.reactor.callLater(session.settings.bind_timeout, self._too_long)
        bound = address_of(self._port.getHost())
        session.reply(
            ReplyCode.SUCCEEDED,
            Address(session.settings.advertise.like(bound.text) or bound.host, bound.port),
        )

    def _open(self, interface: str, port: int) -> Any:
        """Listen for the awaited peer. A client that names no peer may name the port that it would
        like; it gets another one where that cannot be had, or belongs to the system.
        """
        if port >= FIRST_FREE_PORT:
            with suppress(CannotListenError):
                return self._open_at(interface, port)
        return self._open_at(interface, 0)

    def _open_at(self, interface: str, port: int) -> Any:
        reactor: Any = self._session.reactor
        poller = poller_of(reactor)
        if poller is not None:
            return PeerPort(poller, interface, port, self.awaits, self.peer_connected)
        return reactor.listenTCP(port, _Peers(self), interface=interface)

    def _interface(self, expected: Sequence[str]) -> str:
        """Where to listen; see the module.

        :raises OSError: there is no route to the peer.
        :raises AddressTypeNotSupported: any peer may come, but not over the control connection's family.
        """
        session = self._session
        near = session.server_host
        if expected and not any(can_reach(host, near) for host in expected):
            near = next((host for host in expected if is_alike(host, near)), expected[0])
            return session.settings.outgoing.like(near) or local_address_towards(near)
        if not session.settings.family.allows(near):
            outgoing = session.settings.outgoing
            other = outgoing.ipv4 if ":" in near else outgoing.ipv6
            if other is None:
                raise AddressTypeNotSupported("nobody is awaited over this family")
            return other
        return session.settings.outgoing.like(near) or session.server_interface

    def awaits(self, host: str) -> bool:
        """Whether a peer with this IP literal may come in now."""
        if self._port is None or (self._expected and host not in self._expected):
            return False
        session = self._session
        try:
            return session.rules.allows(session.access, host)
        except Exception:
            session.crashed(Failure())
            return False

    def peer_connected(self, peer: IStream) -> None:
        """The awaited peer is there."""
        self._close_port()
        try:
            self._join(peer)
        except Exception:  # here, for whoever calls knows nothing of the session
            self._session.crashed(Failure())
            transport: Any = peer.transport
            transport.abortConnection()

    def _join(self, peer: IStream) -> None:
        session = self._session
        self._relay = join(session.idle_timers, session.settings, session.stream, peer, session)
        session.reply(ReplyCode.SUCCEEDED, far_end(peer.transport))
        self._relay.start(session.take_optimistic(), session.has_client_ended)

    def _too_long(self) -> None:
        self._session.fail(Failure(TTLExpired("no peer connected in time")))

    def client_ended(self) -> bool:
        """See :meth:`socks5.interfaces.ICommand.client_ended`."""
        return self._session.pending_octets > 0

    def stop(self, reason: str) -> None:
        """See :meth:`socks5.interfaces.ICommand.stop`."""
        if self._resolving is not None:
            self._resolving.cancel()
        self._close_port()
        if self._relay is not None:
            self._relay.stop(reason)

    def _close_port(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
