"""UDP through proxies, with the face of IReactorUDP: what a program opens is a port, and each port that is in use has
an association of its own, for an answer does not say whose it is.

Associations are opened as ports need them, given back, and used again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self, get_args

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import (
    IConnector,
    IDelayedCall,
    IReactorTime,
    IReactorUDP,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.client.association import Announce, Association
from socks5.client.attempt import Way
from socks5.client.connector import Connector
from socks5.client.datagram_port import DatagramPort
from socks5.client.names import literal, target_of, twisted_address
from socks5.protocol.address import UNSPECIFIED
from socks5.protocol.messages import Command


@implementer(IReactorUDP, IReactorTime)
class UDP:
    """UDP through proxies. See :meth:`socks5.client.endpoint.Proxy.associate`.

    :param way: the :class:`~socks5.client.endpoint.Proxy`.
    :param ports: associations at most.
    :ivar dropped: how many datagrams got no further, by reason: ``waiting`` (nowhere to wait, or in vain),
        ``unsendable`` (the system took none), and of those that came ``stranger`` (not from a relay, or from another
        peer than the port is connected to), ``malformed`` (or not protected as agreed), ``fragment``, ``long`` (longer
        than ``maxPacketSize``, or on its way than UDP has it), ``late`` (the port is gone).
    """

    _log = Logger()

    def __init__(self, way: Any, ports: int, announce: Announce, udp_address: str | None) -> None:
        self.dropped: Counter[str] = Counter()
        self._way = way
        self._most = ports
        self._make: Callable[[], Association] = partial(
            Association, way, announce, udp_address, self._lost, self.dropped
        )
        self._opening: set[Association] = set()
        self._idle: list[Association] = []
        self._used: dict[Association, DatagramPort] = {}
        self._awaiting: list[Deferred[Self]] = []
        self._waiting: list[DatagramPort] = []
        self._ports: dict[DatagramPort, None] = {}
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def open(self) -> Deferred[Self]:
        """Open an association, if there is none.

        :returns: this. Fails, and is cancelled, as a connection is.
        """
        self._is_closed = False
        if self._idle or self._used:
            return succeed(self)
        opened: Deferred[Self] = Deferred(self._cancelled)
        self._awaiting.append(opened)
        if not self._opening:
            self._begin()
        return opened

    def _cancelled(self, opened: Deferred[Self]) -> None:
        """Nobody awaits that. What is being opened goes on if somebody else needs it."""
        self._awaiting.remove(opened)
        if not self._awaiting and len(self._opening) > len(self._waiting):
            self._opening.copy().pop().close()
        opened.errback(ConnectingCancelledError(twisted_address(UNSPECIFIED)))

    def close(self) -> Deferred[None]:
        """Stop all ports and end all associations, those that are being opened as well.

        :returns: fires once their sockets are closed.
        """
        self._is_closed = True
        stopping = [port.stopListening() for port in tuple(self._ports)]
        closing = [each.close() for each in (*self._idle, *self._opening)]
        self._idle.clear()
        return DeferredList([*stopping, *closing], consumeErrors=True).addCallback(lambda _: None)

    # What it is for

    def listenUDP(
        self,
        port: int,
        protocol: DatagramProtocol,
        interface: str = "",
        maxPacketSize: int = 8192,
    ) -> DatagramPort:
        """See :meth:`twisted.internet.interfaces.IReactorUDP.listenUDP`. It returns at once and never fails; if
        there is no association to be had, the protocol's ``connectionRefused()`` is called.

        :param port: is not looked at, as *interface* is not: what others see is a port of the proxy's.
        """
        made = DatagramPort(self, self._way, protocol, maxPacketSize)
        self._ports[made] = None
        self.await_turn(made)
        protocol.makeConnection(made)
        return made

    def connectTCP(
        self,
        host: str | bytes,
        port: int,
        factory: Any,
        timeout: float | None = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        """See :meth:`twisted.internet.interfaces.IReactorTCP.connectTCP`. It leads through the same proxies.

        :param bindAddress: where the connection to the first of them comes from.
        :raises ValueError: there is no such target.
        """
        bind = bindAddress or self._way.bind_address
        way = replace(self._way, timeout=timeout, bind_address=bind)
        connector = Connector(way, target_of(host, port), factory)
        connector.connect()
        return connector

    def seconds(self) -> float:
        """See :meth:`twisted.internet.interfaces.IReactorTime.seconds`."""
        found: float = self._way.reactor.seconds()
        return found

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> IDelayedCall:
        """See :meth:`twisted.internet.interfaces.IReactorTime.callLater`."""
        made: IDelayedCall = self._way.reactor.callLater(delay, callable, *args, **kwargs)
        return made

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """See :meth:`twisted.internet.interfaces.IReactorTime.getDelayedCalls`."""
        found: Sequence[IDelayedCall] = self._way.reactor.getDelayedCalls()
        return found

    # Who has which

    def await_turn(self, port: DatagramPort) -> None:
        """A port needs an association."""
        if self._is_closed:
            port.refuse_soon()
            return
        self._waiting.append(port)
        self._serve()

    def give_up(self, port: DatagramPort) -> None:
        """It waits no more."""
        if port in self._waiting:
            self._waiting.remove(port)

    def give_back(self, port: DatagramPort, association: Association | None) -> None:
        """It is gone, and leaves its association, if it has one."""
        self._ports.pop(port, None)
        self.give_up(port)
        if association is not None:
            del self._used[association]
            association.receiver = None
            self._idle.append(association)
            self._serve()

    def _serve(self) -> None:
        while self._waiting and self._idle and not self._is_closed:
            port, association = self._waiting.pop(0), self._idle.pop()
            self._used[association] = port
            port.served(association)
        while len(self._waiting) > len(self._opening) and self._has_room:
            self._begin()

    @property
    def _has_room(self) -> bool:
        there_are = len(self._opening) + len(self._idle) + len(self._used)
        return there_are < self._most and not self._is_closed

    def _begin(self) -> None:
        """Open an association."""
        association = self._make()
        self._opening.add(association)

        def ended(failure: Failure | None) -> None:
            self._opening.discard(association)
            if failure is None:
                self._idle.append(association)
                self._tell(lambda opened: opened.callback(self))
            else:
                self._failed(failure)
            self._serve()

        association.open().addBoth(ended)

    def _failed(self, failure: Failure) -> None:
        """There is no association: one port the fewer waits, if more do than others are being opened, and nobody awaits
        one any more if none is.
        """
        if len(self._waiting) > len(self._opening) and not self._is_closed:
            self._log.info("no UDP association: {error}", error=failure.value)
            self._waiting.pop(0).refuse_soon()
        if not self._opening:
            self._tell(lambda opened: opened.errback(failure))

    def _tell(self, how: Callable[[Deferred[Self]], object]) -> None:
        """Whoever awaits an association hears how it went."""
        for opened in tuple(self._awaiting):
            if opened in self._awaiting:  # not cancelled by one that has heard it
                self._awaiting.remove(opened)
                how(opened)

    def _lost(self, association: Association) -> None:
        port = self._used.pop(association, None)
        if port is None:
            self._idle.remove(association)
        else:
            port.refused()
        self._serve()


def udp_by(
    way: Way, ports: int, announce: Announce, udp_address: str | None, plain_udp: bool
) -> UDP:
    """See :meth:`socks5.client.endpoint.Proxy.associate`.

    :raises ValueError: a proxy has no UDP, or something does not go together.
    """
    for hop in way.hops:
        hop.check_command(Command.UDP_ASSOCIATE)
        if hop.tls is not None and not plain_udp:
            raise ValueError(f"{hop}: datagrams to it are not in its TLS: see plain_udp")
    if ports < 1:
        raise ValueError(f"ports {ports!r}: expected 1 at least")
    if announce not in get_args(Announce):
        raise ValueError(f"announce {announce!r}: expected one of {get_args(Announce)}")
    relay = udp_address and literal(udp_address)
    if udp_address is not None and not relay:
        raise ValueError(f"udp_address {udp_address!r}: expected an IP address")
    return UDP(way, ports, announce, relay)
