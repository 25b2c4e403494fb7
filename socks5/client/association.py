"""One UDP association: a control connection to each hop, one by way of the other, and one socket, from which datagrams
go to the first hop's relay, with a header for each hop, and in tokens for one that is logged in to so.

It has one receiver at a time. Its end is the end of any of its control connections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from socket import AF_INET6, SOCK_DGRAM, socket
from typing import Any, Literal

from twisted.internet.defer import (
    Deferred,
    FirstError,
    TimeoutError,
    gatherResults,
    maybeDeferred,
    succeed,
)
from twisted.internet.error import CannotListenError, DNSLookupError, MessageLengthError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.client.attempt import Attempt, Way
from socks5.client.errors import ProxyClosed
from socks5.client.lookup import Lookup
from socks5.client.nesting import Nesting
from socks5.client.transport import tunnel_of
from socks5.client.tunnel import Step, exception_of
from socks5.client.whereabouts import beside, near_end, own_address, relay_at
from socks5.net.protected import Envelope
from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.datagram import MAX_UDP_PAYLOAD, Datagram
from socks5.protocol.messages import Command
from socks5.protocol.networks import socket_name

Announce = Literal["nothing", "port", "address"]
"""What a proxy is told of where datagrams will come from."""

_MAX_READ = 65535


class Associating(Attempt):
    """A request for an association.

    :param announce: makes DST of the request from the connection to the proxy.
    """

    def __init__(self, way: Way, factory: Factory, announce: Callable[[Any], Address]) -> None:
        super().__init__(way, UNSPECIFIED, factory, Command.UDP_ASSOCIATE)
        self._announce = announce

    @override
    def announced(self, step: Step, transport: Any) -> Address:
        if step.command == Command.UDP_ASSOCIATE:
            return self._announce(transport)
        return super().announced(step, transport)


class _Control(Protocol):
    """A control connection: what counts of it is its beginning and its end."""

    def __init__(self, association: Association, at: int) -> None:
        self._association = association
        self._at = at

    @override
    def connectionMade(self) -> None:
        self._association.replied(self._at, self.transport)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._association.control_lost(self._at)


class _Controls(Factory):
    """Builds that."""

    noisy = False

    def __init__(self, association: Association, at: int) -> None:
        self._association = association
        self._at = at

    @override
    def buildProtocol(self, addr: IAddress | None) -> _Control:
        return _Control(self._association, self._at)


class _Answers(DatagramProtocol):
    """What comes to a socket."""

    noisy = False

    def __init__(self, received: Callable[[bytes, Any], object]) -> None:
        self._received = received

    @override
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._received(datagram, addr)


class Association:
    """See the module.

    :param way: a :class:`~socks5.client.endpoint.Proxy`; all hops of it SOCKS5.
    :param announce: of where datagrams will come from, what the first hop is told; the others are told nothing, for
        they get datagrams from the one before.
    :param udp_address: an IP literal, instead of the host that the first hop says its relay has.
    :param lost: is called when it is over that was open.
    :param dropped: counts datagrams that get no further, by reason.
    """

    receiver: Callable[[Datagram], None] | None = None
    """Takes what comes."""

    def __init__(
        self,
        way: Any,
        announce: Announce,
        udp_address: str | None,
        lost: Callable[[Association], None],
        dropped: Counter[str],
    ) -> None:
        self._way = way
        self._announce = announce
        self._udp_address = udp_address
        self._lost = lost
        self._dropped = dropped
        self._socket: Any = None
        self._near = ""  # our end of the connection to the first hop
        self._where: Any = None  # the first relay, as sockets take it
        self._own: str | bytes = ""  # where that is
        self._controls: list[Any] = []
        self._relays: list[Address] = [UNSPECIFIED] * len(way.hops)
        self._envelopes: list[Envelope | None] = [None] * len(way.hops)
        self._nesting: Nesting
        self._opening: Deferred[Any] = succeed(None)
        self._is_open = False
        self._is_over = False
        self._ended_by = 0  # a hop, from 1

    # Its beginning

    def open(self) -> Deferred[None]:
        """Begin.

        :returns: fires once datagrams can go. Fails as a connection does, or
            with :exc:`twisted.internet.error.CannotListenError`; then nothing is left.
        """
        self._opening = Deferred.fromCoroutine(self._open())
        return self._opening

    async def _open(self) -> None:
        hops, announces = self._way.hops, [self._announced, *(_nothing for _ in self._way.hops[1:])]
        asked = [
            Associating(replace(self._way, hops=hops[:count]), _Controls(self, count), announce)
            for count, announce in enumerate(announces, 1)
        ]
        replies = [each.start() for each in asked]
        try:
            await gatherResults(replies, consumeErrors=True)
            await self._find_relay()
            self._nesting = Nesting(self._relays, self._envelopes)
            if self._ended_by:
                text = f"{hops[self._ended_by - 1]}: it closed the connection of an association"
                raise ProxyClosed(text, stage="reply", hop=self._ended_by)
            self._listen()
        except BaseException as error:
            for reply in replies:
                reply.cancel()
            self._release()
            if not isinstance(error, FirstError):
                raise
            first = exception_of(error.subFailure)
            raise first from first.__cause__
        self._is_open = True

    def _announced(self, transport: Any) -> Address:
        """DST for the first hop. A port that cannot be had is not announced, and tried again behind the reply."""
        if self._announce == "nothing":
            return UNSPECIFIED
        try:
            self._open_socket(near_end(transport))
        except CannotListenError:
            return UNSPECIFIED
        at = self.host
        return Address(at.host if self._announce == "address" else UNSPECIFIED.host, at.port)

    def replied(self, count: int, transport: Any) -> None:
        """The last of so many hops has opened its association."""
        self._controls.append(transport)
        tunnel = tunnel_of(transport)
        assert tunnel is not None
        own = own_address(self._way.hops[:count], transport)
        if count == 1:
            self._near, self._own = near_end(transport), own
        known = self._udp_address if count == 1 else None
        self._relays[count - 1] = relay_at(tunnel.bound, own, known)
        self._envelopes[count - 1] = transport.envelope

    async def _find_relay(self) -> None:
        """The first hop's relay has an address, whatever name it goes by."""
        relay = self._relays[0]
        if not relay.is_name:
            return
        looking = Lookup(self._way.reactor, relay).start()
        if self._way.timeout is not None:
            looking.addTimeout(self._way.timeout, self._way.reactor)
        try:
            found = await looking
        except (DNSLookupError, TimeoutError):
            found = [Address(self._own, relay.port)]
        alike = [each for each in found if (":" in each.text) == (":" in self._near)]
        self._relays[0] = relay_at((alike or found)[0], self._own)

    def _listen(self) -> None:
        """Have a socket that can reach the relay: at the control connection's address, by which proxies know us."""
        relay = self._relays[0]
        is_ipv6 = ":" in relay.text
        if self._socket is not None and (":" in self.host.host) is not is_ipv6:
            self._socket.stopListening()
            self._socket = None
        if self._socket is None:
            is_alike = (":" in self._near) is is_ipv6
            self._open_socket(self._near if is_alike else "::" if is_ipv6 else "")
        self._where = socket_name(beside(self._near, relay.text), relay.port)

    def _open_socket(self, interface: str) -> None:
        reactor, answers = self._way.reactor, _Answers(self._received)
        if "%" not in interface:
            self._socket = reactor.listenUDP(0, answers, interface, _MAX_READ)
            return
        try:  # a port of Twisted's own would lose the zone
            with socket(AF_INET6, SOCK_DGRAM) as made:
                made.setblocking(False)
                made.bind(socket_name(interface, 0))
                self._socket = reactor.adoptDatagramPort(
                    made.fileno(), AF_INET6, answers, _MAX_READ
                )
        except OSError as error:
            raise CannotListenError(interface, 0, error) from None

    @property
    def host(self) -> Any:
        """Where our socket is."""
        return self._socket.getHost()

    # Datagrams

    def send(self, datagram: bytes) -> None:
        """Send a datagram, which has its header.

        :raises twisted.internet.error.MessageLengthError: with the headers for other hops, and in what their logins
            have agreed on, it is too long.
        """
        whole = self._nesting.wrap(datagram)
        if len(whole) > MAX_UDP_PAYLOAD:
            raise MessageLengthError(f"{len(whole)} octets with all headers")
        try:
            self._socket.write(whole, self._where)
        except OSError:  # the system's buffer is full, or there is no route: lost, as datagrams are
            self._dropped["unsendable"] += 1

    def _received(self, data: bytes, addr: Any) -> None:
        relay = self._relays[0]
        if not self._is_open or addr[:2] != (relay.host, relay.port):
            self._dropped["stranger"] += 1
            return
        datagram = self._nesting.unwrap(data)
        if isinstance(datagram, str):
            self._dropped[datagram] += 1
            return
        if self.receiver is None:
            self._dropped["late"] += 1
        else:
            self.receiver(datagram)

    # Its end

    def control_lost(self, hop: int) -> None:
        """Its control connection to a hop is gone, and with it this."""
        if self._is_over:
            return
        self._is_over, self._ended_by = True, hop  # an opening one is, too, which finds it out
        if self._is_open:
            self._release()
            self._lost(self)

    def close(self) -> Deferred[Any]:
        """End it, or what has begun of it.

        :returns: fires once its socket is closed.
        """
        self._is_over = True
        self._opening.cancel()
        return self._release()

    def _release(self) -> Deferred[Any]:
        for transport in self._controls:
            transport.abortConnection()
        port, self._socket = self._socket, None
        return succeed(None) if port is None else maybeDeferred(port.stopListening)


def _nothing(transport: Any) -> Address:
    return UNSPECIFIED
