"""A reactor in memory, its ports and its connectors, and clocks; they record what happens to them.

``test_fakes.py`` runs one contract on each fake and on its real counterpart. What Twisted does "soon" (connect,
stop listening) happens here at the next :meth:`FakeReactor.turn`. Time passes by :meth:`FakeReactor.advance` only.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    CannotListenError,
    InvalidAddressError,
    NotConnectingError,
    ReactorNotRunning,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IDelayedCall,
    IListeningPort,
    IReactorUDP,
    IUDPTransport,
)
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python import runtime
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from tests.support.transports import CLIENT, FakeTransport, address

OUTGOING = {False: "192.0.2.10", True: "2001:db8::10"}
"""Source address of fake outgoing connections, for IPv4 and (True) IPv6."""


class TimeOfDay:
    """A reactor that gives the time of day, as most of Twisted's do. Its delayed calls come when a test says so,
    too early or too late: somebody sets that clock.
    """

    seconds = staticmethod(runtime.seconds)

    def __init__(self) -> None:
        self._calls: list[DelayedCall] = []

    def callLater(self, delay: float, call: Callable[..., Any], *arguments: Any) -> DelayedCall:
        made = DelayedCall(delay, call, arguments, {}, self._calls.remove, lambda _: None)
        self._calls.append(made)
        return made

    def run(self) -> None:
        """Make the delayed calls of now."""
        due, self._calls = self._calls, []
        for call in due:
            call.func(*call.args)


class SteppedClock(Clock):
    """A clock that calls as a reactor does: what a call asks for comes in a later turn, even if it is due."""

    def turn(self) -> None:
        """Call what is due now."""
        due = [call for call in self.calls if call.getTime() <= self.seconds()]
        for call in due:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class BeginningReactor(Clock):
    """Does what it is given once it runs; counts how often it was stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.stops = 0
        self.is_running = True
        self._waiting: list[Callable[[], object]] = []

    def run(self) -> None:
        self.is_running = True
        for function in self._waiting:
            function()

    def callWhenRunning(self, function: Callable[[], object]) -> None:
        if self.is_running:
            function()
        else:
            self._waiting.append(function)

    callFromThread = callWhenRunning

    def stop(self) -> None:
        if self.stops:
            raise ReactorNotRunning
        self.stops += 1


@implementer(IReactorUDP)
class FakeReactor(MemoryReactorClock):
    """Twisted's :class:`~twisted.internet.testing.MemoryReactorClock` with UDP, and with ports and
    connectors that do something.

    ``tcp_ports``, ``udp_ports`` and ``connectors`` hold everything ever listened on or dialled, in order;
    Twisted's ``tcpServers`` and ``tcpClients`` are kept too. ``taken_ports`` cannot be listened on, and
    nothing can while ``listen_error`` is set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tcp_ports: list[FakeTCPPort] = []
        self.udp_ports: list[FakeUDPPort] = []
        self.connectors: list[FakeConnector] = []
        self.taken_ports: set[int] = set()
        self.listen_error: OSError | None = None
        self._free_ports: Iterator[int] = count(40000)

    def turn(self) -> None:
        """Run what is due now."""
        self.advance(0)

    def callFromThread(self, call: Callable[..., object], *arguments: Any, **named: Any) -> None:
        self.callLater(0, call, *arguments, **named)

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> "FakeTCPPort":
        number = self._bind(port, interface)
        self.tcpServers.append((port, factory, backlog, interface))
        self.tcp_ports.append(
            FakeTCPPort(self, factory, address(interface or "0.0.0.0", number), backlog)
        )
        factory.doStart()
        return self.tcp_ports[-1]

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> "FakeUDPPort":
        number = self._bind(port, interface)
        host = address(interface or "0.0.0.0", number, "UDP")
        self.udp_ports.append(FakeUDPPort(self, protocol, host, maxPacketSize))
        protocol.makeConnection(self.udp_ports[-1])
        return self.udp_ports[-1]

    @override
    def adoptDatagramPort(
        self, fileno: int, addressFamily: int, protocol: Any, maxPacketSize: int = 8192
    ) -> "FakeUDPPort":
        with socket.socket(fileno=os.dup(fileno)) as given:
            interface = given.getsockname()[0]
        return self.listenUDP(0, protocol, interface, maxPacketSize)

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> "FakeConnector":
        self.tcpClients.append((host, port, factory, timeout, bindAddress))
        connector = FakeConnector(self, address(host, port), factory, timeout, bindAddress)
        self.connectors.append(connector)
        connector.connect()
        return connector

    def _bind(self, port: int, interface: str) -> int:
        error = self.listen_error
        if port in self.taken_ports:
            error = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        if error is not None:
            raise CannotListenError(interface, port, error)
        return port or next(self._free_ports)


class _FakePort:
    """What TCP and UDP ports have in common."""

    def __init__(self, reactor: FakeReactor, host: IPv4Address | IPv6Address) -> None:
        self._reactor = reactor
        self._host = host
        self._stopped: Deferred[None] | None = None
        self.is_listening = True
        """False from :meth:`stopListening` on."""

    def startListening(self) -> None:
        raise AssertionError("it listens already")

    def stopListening(self) -> Deferred[None] | None:
        if not self.is_listening:
            return self._stopped
        self.is_listening = False
        self._stopped = Deferred()
        self._reactor.callLater(0, self._close)
        return self._stopped

    def getHost(self) -> IPv4Address | IPv6Address:
        return self._host

    def _close(self) -> None:
        raise NotImplementedError


@implementer(IListeningPort)
class FakeTCPPort(_FakePort):
    """A listening TCP port; :meth:`connect` plays a client."""

    def __init__(
        self, reactor: FakeReactor, factory: Any, host: IPv4Address | IPv6Address, backlog: int
    ) -> None:
        super().__init__(reactor, host)
        self.factory = factory
        self.backlog = backlog

    def connect(self, peer: IAddress = CLIENT, host: IAddress | None = None) -> FakeTransport:
        """A client connects.

        :param host: where it connected to, if the port listens on every interface.
        :returns: our end of the connection, closed at once if the factory would not have it.
        :raises ConnectionRefusedError: nobody listens any more.
        """
        if not self.is_listening:
            raise ConnectionRefusedError
        transport = FakeTransport(self._reactor, host or self._host, peer)
        protocol = self.factory.buildProtocol(peer)
        if protocol is None:
            transport.connected, transport.far_sees = False, "end"
            return transport
        return transport.connect(protocol)

    def _close(self) -> None:
        self.factory.doStop()
        assert self._stopped is not None
        self._stopped.callback(None)


@implementer(IListeningPort, IUDPTransport)
class FakeUDPPort(_FakePort):
    """A UDP port.

    ``written`` holds (datagram, address) of everything sent. ``error`` is raised by every write while it is
    set, as the system's errors are.
    """

    def __init__(
        self,
        reactor: FakeReactor,
        protocol: Any,
        host: IPv4Address | IPv6Address,
        max_packet_size: int,
    ) -> None:
        super().__init__(reactor, host)
        self.protocol = protocol
        self.maxPacketSize = max_packet_size
        self.written: list[tuple[bytes, tuple[str, int]]] = []
        self.error: Exception | None = None
        self._is_closed = False

    def write(self, datagram: bytes, addr: tuple[str, int] | None = None) -> None:
        assert not self._is_closed, "a closed port has no socket"
        assert addr is not None
        is_ipv6 = isIPv6Address(addr[0])
        if not (is_ipv6 or isIPAddress(addr[0])):
            raise InvalidAddressError(addr[0], "not an IP address")
        if is_ipv6 != isinstance(self._host, IPv6Address):
            raise InvalidAddressError(addr[0], "an address of the other family")
        if self.error is not None:
            raise self.error
        self.written.append((datagram, addr))

    def receive(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """A datagram arrives; what is longer than ``maxPacketSize`` is cut, as the system does."""
        if self.is_listening:
            self.protocol.datagramReceived(datagram[: self.maxPacketSize], addr)

    def _close(self) -> None:
        self._is_closed = True
        self.protocol.doStop()
        assert self._stopped is not None
        self._stopped.callback(None)


@implementer(IConnector)
class FakeConnector:
    """One attempt to connect; :meth:`succeed` and :meth:`fail` play the network.

    ``state`` is "connecting", "connected" or "disconnected".
    """

    def __init__(
        self,
        reactor: FakeReactor,
        destination: IPv4Address | IPv6Address,
        factory: Any,
        timeout: float | None,
        bind_address: Any,
    ) -> None:
        self._reactor = reactor
        self._destination = destination
        self._factory = factory
        self._timeout = timeout
        self._timer: IDelayedCall | None = None
        self.host = destination.host
        self.port = destination.port
        self.bind_address = bind_address
        self.state = "disconnected"

    def connect(self) -> None:
        assert self.state == "disconnected"
        self.state = "connecting"
        self._factory.doStart()
        if self._timeout is not None:
            self._timer = self._reactor.callLater(self._timeout, self.fail, TimeoutError())
        self._factory.startedConnecting(self)

    def succeed(self, window: int | None = None) -> FakeTransport:
        """The target accepts: the protocol gets its transport."""
        self._leave("connected")
        ours = self.bind_address or (OUTGOING[isinstance(self._destination, IPv6Address)], 0)
        host = address(ours[0], ours[1] or next(self._reactor._free_ports))
        transport = FakeTransport(self._reactor, host, self._destination, window)
        return transport.connect(self._factory.buildProtocol(self._destination))

    def fail(self, error: Exception) -> None:
        """The attempt fails."""
        self._leave("disconnected")
        self._factory.clientConnectionFailed(self, Failure(error))
        self._factory.doStop()

    def stopConnecting(self) -> None:
        if self.state != "connecting":
            raise NotConnectingError("we're not trying to connect")
        self.fail(UserError())

    def disconnect(self) -> None:
        raise NotImplementedError("endpoints do not use it")

    def getDestination(self) -> IAddress:
        return self._destination

    def _leave(self, state: str) -> None:
        assert self.state == "connecting", f"it is {self.state}"
        self.state = state
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
