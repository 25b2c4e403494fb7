"""One port of UDP through proxies: what a program's protocol has as its transport.

Datagrams wait in it, a few, while it has no association.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from typing import Protocol as TypingProtocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer

from socks5.client.association import Association
from socks5.client.attempt import Way
from socks5.client.names import literal, target_of
from socks5.protocol.address import unmap
from socks5.protocol.datagram import MAX_UDP_PAYLOAD, Datagram

MAX_WAITING = 64
"""Datagrams that a port keeps until it has an association,"""

MAX_WAITING_OCTETS = 65536
"""and how many octets of them."""

_Peer = tuple[str | bytes, int]


@lru_cache(maxsize=256)
def _header(host: str | bytes, port: int, has_names: bool) -> bytes:
    """The header for a target.

    :raises twisted.internet.error.InvalidAddressError: it is a name, which no proxy is to know.
    :raises ValueError: there is no such target.
    """
    target = target_of(host, port)
    if target.is_name and not has_names:
        raise InvalidAddressError(target.text, "not an IP address, which rdns=False needs here")
    return Datagram(target, b"").encode()


class Turns(TypingProtocol):
    """Who has associations for ports: :class:`~socks5.client.datagrams.UDP`."""

    dropped: Counter[str]

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> IDelayedCall:
        """See :meth:`twisted.internet.interfaces.IReactorTime.callLater`."""

    def await_turn(self, port: DatagramPort) -> None:
        """It needs one."""

    def give_up(self, port: DatagramPort) -> None:
        """It waits no more."""

    def give_back(self, port: DatagramPort, association: Association | None) -> None:
        """It is gone, and leaves the one that it has."""


@implementer(IListeningPort, IUDPTransport)
class DatagramPort:
    """One port, and the transport of its protocol.

    :param way: the :class:`~socks5.client.endpoint.Proxy`.
    """

    _log = Logger()

    def __init__(
        self, udp: Turns, way: Way, protocol: DatagramProtocol, max_packet_size: int
    ) -> None:
        self._udp = udp
        self._way = way
        self.protocol = protocol
        self.maxPacketSize = max_packet_size
        self._association: Association | None = None
        self._held: list[bytes] = []
        self._peer: tuple[str, int] | None = None
        self._stopped: Deferred[None] | None = None
        self._timer: Any = None
        self._await()

    def _await(self) -> None:
        """It waits for an association, as long as a connection may take."""
        self._is_waiting = True
        if self._way.timeout is not None:
            self._timer = self._udp.callLater(self._way.timeout, self._timed_out)

    def refuse_soon(self) -> None:
        """It waits in vain, which is told when whoever is at work now is done."""
        self._clear_timer()
        self._timer = self._udp.callLater(0, self._timed_out)

    def _clear_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _waits_no_more(self) -> list[bytes]:
        """:returns: what has waited."""
        self._is_waiting = False
        self._clear_timer()
        held, self._held = self._held, []
        return held

    def _timed_out(self) -> None:
        self._timer = None
        self._udp.give_up(self)
        self.refused()

    # Its association

    def served(self, association: Association) -> None:
        """It has one."""
        self._association = association
        association.receiver = self._received
        for datagram in self._waits_no_more():
            try:
                association.send(datagram)
            except MessageLengthError:
                self._udp.dropped["long"] += 1

    def refused(self) -> None:
        """There is none, or none any more; the next datagram asks for another."""
        self._association = None
        self._udp.dropped += Counter(waiting=len(self._waits_no_more()))
        self._tell(self.protocol.connectionRefused)

    def _tell(self, what: Callable[[], object]) -> None:
        """Call a method of the protocol's. What it raises keeps nobody else from what he waits for."""
        try:
            what()
        except Exception:
            self._log.failure("the protocol of a UDP port has failed")

    def _received(self, datagram: Datagram) -> None:
        addr = unmap(datagram.address.text), datagram.address.port
        if self._peer is not None and addr != self._peer:
            self._udp.dropped["stranger"] += 1
        elif len(datagram.payload) > self.maxPacketSize:
            self._udp.dropped["long"] += 1
        else:
            self.protocol.datagramReceived(datagram.payload, addr)

    # What the program may do

    def write(self, packet: bytes, addr: _Peer | None = None) -> None:
        """See :meth:`twisted.internet.interfaces.IUDPTransport.write`.

        :param addr: an IP literal, or a name, which goes to the proxy; and a port.
        :raises twisted.internet.error.MessageLengthError: with its header it is longer than a datagram can be.
        :raises twisted.internet.error.InvalidAddressError: a name, where ``rdns=False`` keeps names from the proxy.
        :raises ValueError: there is no such target.
        """
        to = addr or self._peer
        if to is None:
            raise ValueError("a datagram needs an address, where the port is not connected to one")
        whole = _header(*to, self._way.rdns) + packet
        if len(whole) > MAX_UDP_PAYLOAD:
            raise MessageLengthError(f"{len(whole)} octets with its header")
        if self._association is not None:
            self._association.send(whole)
        elif self._stopped is None:
            self._hold(whole)

    def _hold(self, datagram: bytes) -> None:
        octets = sum(map(len, self._held)) + len(datagram)
        if len(self._held) < MAX_WAITING and octets <= MAX_WAITING_OCTETS:
            self._held.append(datagram)
        else:
            self._udp.dropped["waiting"] += 1
        if not self._is_waiting:
            self._await()
            self._udp.await_turn(self)

    def connect(self, host: str, port: int) -> None:
        """See :meth:`twisted.internet.interfaces.IUDPTransport.connect`.

        :raises twisted.internet.error.InvalidAddressError: no IP literal.
        :raises RuntimeError: it is connected already.
        """
        if self._peer is not None:
            raise RuntimeError("it is connected already")
        _header(host, port, False)
        self._peer = literal(host) or host, port

    def getHost(self) -> IPv4Address | IPv6Address:
        """See :meth:`twisted.internet.interfaces.IUDPTransport.getHost`: our socket, zeros until there is one.
        Where the proxy sends from is not known.
        """
        if self._association is None:
            return IPv4Address("UDP", "0.0.0.0", 0)
        host: IPv4Address | IPv6Address = self._association.host
        return host

    def startListening(self) -> None:
        """See :meth:`twisted.internet.interfaces.IListeningPort.startListening`. It has been, and is not again.

        :raises twisted.internet.error.CannotListenError: always.
        """
        error = OSError(errno.EALREADY, os.strerror(errno.EALREADY))
        raise CannotListenError("", None, error)

    def stopListening(self) -> Deferred[None]:
        """See :meth:`twisted.internet.interfaces.IUDPTransport.stopListening`. The association goes to other ports."""
        if self._stopped is None:
            self._stopped = Deferred()
            self._udp.dropped += Counter(waiting=len(self._waits_no_more()))
            association, self._association = self._association, None
            self._udp.give_back(self, association)
            self._udp.callLater(0, self._stop)
        return self._stopped

    def _stop(self) -> None:
        self._tell(self.protocol.doStop)
        assert self._stopped is not None
        self._stopped.callback(None)

    def setBroadcastAllowed(self, enabled: bool) -> None:
        """See :meth:`twisted.internet.interfaces.IUDPTransport.setBroadcastAllowed`. Proxies know no broadcast.

        :raises OSError: *enabled*: EOPNOTSUPP.
        """
        if enabled:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    def getBroadcastAllowed(self) -> bool:
        """See :meth:`twisted.internet.interfaces.IUDPTransport.getBroadcastAllowed`."""
        return False
