"""A reactor, transports, ports, a resolver and a dialer in memory, which record what happens to them.

They behave as Twisted's own do, down to the order of events: ``test_fakes.py`` runs one contract on each
fake and on its real counterpart. What Twisted does "soon" (close, connect, abort, stop listening) happens
here at the next :meth:`FakeReactor.turn`. Time passes by :meth:`FakeReactor.advance` only.

The side of the network, for tests to play, has names of its own (``deliver``, ``deliver_end``, ``accept``,
``succeed`` ...), which no transport has.
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any
from unittest.mock import patch

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
    InvalidAddressError,
    NotConnectingError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IConsumer,
    IDelayedCall,
    IHalfCloseableProtocol,
    IHostnameResolver,
    IHostResolution,
    IListeningPort,
    INegotiated,
    IPushProducer,
    IReactorUDP,
    IResolutionReceiver,
    ITCPTransport,
    IUDPTransport,
)
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python import runtime
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.interfaces import Access, IDialer, IResolver, IStream
from socks5.outbound.attempts import Stream
from socks5.protocol.address import Address
from socks5.protocol.messages import Command

CLIENT = IPv4Address("TCP", "198.51.100.7", 51234)
"""Where a fake connection comes from, unless told otherwise."""

SERVER = IPv4Address("TCP", "203.0.113.1", 1080)
"""Where it comes to."""

ASKER = Access(CLIENT.host, SERVER.host, None, Command.CONNECT, Address(b"example.org", 80))
"""Somebody who asks for a target, as a dialer is told."""

OUTGOING = {False: "192.0.2.10", True: "2001:db8::10"}
"""Source address of fake outgoing connections, for IPv4 and (True) IPv6."""

BUFFER_SIZE = 65536
"""Octets in a send buffer, beyond which a producer is paused (``FileDescriptor.bufferSize``)."""


def address(host: str, port: int, kind: str = "TCP") -> IPv4Address | IPv6Address:
    """Twisted's address of an IP literal."""
    return (IPv6Address if ":" in host else IPv4Address)(kind, host, port)


# ---------------------------------------------------------------- time


@contextmanager
def unreadable(number: int) -> Iterator[None]:
    """Files that an operator keeps cannot be opened, for that reason."""

    def refuse(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number), path)

    with patch.object(os, "open", refuse):
        yield


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


# ---------------------------------------------------------------- streams


@implementer(ITCPTransport, IConsumer, IPushProducer)
class FakeTransport:
    """A TCP connection's near end.

    To be read by tests: ``calls`` (the names of the methods that were called, in order), :meth:`value`
    (octets that reached the far end), ``far_sees`` (what ended them: "" for nothing yet, "end" or "reset"),
    ``is_reading``, ``producer``, ``connected``, ``disconnecting``, ``nodelay``, ``keepalive``.

    :param reactor: the reactor, or any :class:`~twisted.internet.task.Clock`.
    :param window: octets that the far end takes until :meth:`accept` says more; None: all.
    """

    def __init__(
        self,
        reactor: Any,
        host: IAddress = SERVER,
        peer: IAddress = CLIENT,
        window: int | None = None,
    ) -> None:
        self.reactor = reactor
        self.protocol: Any = None
        self.calls: list[str] = []
        self.far_sees = ""
        self.far: FakeTransport | None = None
        self.window = window
        self.connected = True
        self.disconnecting = False
        self.is_reading = True
        self.nodelay = self.keepalive = False
        self.producer: Any = None
        self.streaming = False
        self._host, self._peer = host, peer
        self._producer_paused = False
        self._is_ending_write = self._has_ended_write = False
        self._is_aborting = False
        self._unsent = bytearray()
        self._sent = bytearray()
        self._arrived: list[bytes | None] = []

    def connect(self, protocol: Any) -> "FakeTransport":
        """Give *protocol* this transport."""
        self.protocol = protocol
        protocol.makeConnection(self)
        return self

    # What a protocol may do

    def write(self, data: bytes) -> None:
        self.calls.append("write")
        if not isinstance(data, bytes):
            raise TypeError("Data must be bytes")
        if not self.connected or self._has_ended_write or not data:
            return
        self._unsent += data
        if self.producer is not None and self.streaming and len(self._unsent) > BUFFER_SIZE:
            self._producer_paused = True
            self.producer.pauseProducing()
        self._flush_soon()

    def writeSequence(self, data: Sequence[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.calls.append("loseConnection")
        if not self.connected or self.disconnecting:
            return
        self.is_reading = False
        if self._has_ended_write:
            self._lose(ConnectionDone())
            return
        self.disconnecting = True
        self._flush_soon()

    def loseWriteConnection(self) -> None:
        self.calls.append("loseWriteConnection")
        self._is_ending_write = True
        self._flush_soon()

    def abortConnection(self) -> None:
        self.calls.append("abortConnection")
        if not self.connected or self._is_aborting:
            return
        self._is_aborting = True
        self.is_reading = False
        self.reactor.callLater(0, self._lose, ConnectionAborted())

    def getHost(self) -> IAddress:
        return self._host

    def getPeer(self) -> IAddress:
        return self._peer

    def getTcpNoDelay(self) -> bool:
        return self.nodelay

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.nodelay = enabled

    def getTcpKeepAlive(self) -> bool:
        return self.keepalive

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.keepalive = enabled

    # As a consumer and as a producer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.calls.append("registerProducer")
        if self.producer is not None:
            raise RuntimeError("a producer is registered already")
        if not self.connected:
            producer.stopProducing()
            return
        self.producer, self.streaming = producer, streaming
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.calls.append("unregisterProducer")
        self.producer = None
        if self.connected and self.disconnecting:
            self._flush_soon()

    def pauseProducing(self) -> None:
        self.calls.append("pauseProducing")
        self.is_reading = False

    def resumeProducing(self) -> None:
        self.calls.append("resumeProducing")
        if self.connected and not self.disconnecting:
            self.is_reading = True
            self.reactor.callLater(0, self._read)

    def stopProducing(self) -> None:
        self.calls.append("stopProducing")
        self.loseConnection()

    # What the network may do

    def value(self) -> bytes:
        """The octets that reached the far end, since :meth:`clear`."""
        return bytes(self._sent)

    def clear(self) -> None:
        """Forget them."""
        self._sent.clear()

    @property
    def unsent(self) -> int:
        """How many octets wait in the send buffer."""
        return len(self._unsent)

    def deliver(self, data: bytes) -> None:
        """Octets arrive; they wait while reading is paused."""
        self._arrived.append(data)
        self._read()

    def deliver_end(self) -> None:
        """The far end sends its end, behind the octets that wait."""
        self._arrived.append(None)
        self._read()

    def deliver_reset(self) -> None:
        """The far end resets the connection; octets that wait are lost."""
        if self.connected and not self._is_aborting:
            self._lose(ConnectionLost())

    def accept(self, octets: int | None = None) -> None:
        """The far end takes that many octets more; None: all from now on."""
        self.window = None if octets is None or self.window is None else self.window + octets
        self._flush()

    def _read(self) -> None:
        while self.connected and self.is_reading and self._arrived:
            data = self._arrived.pop(0)
            if data:
                self.protocol.dataReceived(data)
            elif data is None:
                self._arrived.append(None)  # a socket at its end is readable for ever
                self.is_reading = False
                self._end_of_reading()

    def _end_of_reading(self) -> None:
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self._lose(ConnectionDone())

    def _flush_soon(self) -> None:
        self.reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        """What Twisted's ``FileDescriptor.doWrite`` does, in the same order."""
        if not self.connected or self._is_aborting:
            return
        room = len(self._unsent) if self.window is None else min(self.window, len(self._unsent))
        self._send(bytes(self._unsent[:room]))
        if self._unsent:
            return
        if self.producer is not None and (not self.streaming or self._producer_paused):
            self._producer_paused = False
            self.producer.resumeProducing()
        elif self.disconnecting:
            self._lose(ConnectionDone())
        elif self._is_ending_write and not self._has_ended_write:
            self._has_ended_write = True
            self._tell_far("end")
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self.protocol.writeConnectionLost()

    def _send(self, data: bytes) -> None:
        if not data:
            return
        del self._unsent[: len(data)]
        self._sent += data
        if self.window is not None:
            self.window -= len(data)
        if self.far is not None:
            self.reactor.callLater(0, self.far.deliver, data)

    def _lose(self, reason: Exception) -> None:
        if not self.connected:
            return
        self.connected = False
        self._unsent.clear()
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        if isinstance(reason, ConnectionDone):
            self._tell_far("end")
        elif isinstance(reason, ConnectionAborted):
            self._tell_far("reset")
        self.protocol.connectionLost(Failure(reason))

    def _tell_far(self, what: str) -> None:
        if self.far is not None and self.far_sees != what:
            tell = self.far.deliver_end if what == "end" else self.far.deliver_reset
            self.reactor.callLater(0, tell)
        self.far_sees = what


@implementer(INegotiated)
class FakeTLSTransport(FakeTransport):
    """A TLS connection's near end: no half-close, either way.

    ``answers_close`` says whether the far end closes when we do. One that does not keeps the connection
    open until :meth:`deliver_end`, and what it sends meanwhile is received.
    """

    negotiatedProtocol = None  # noqa: N815
    answers_close = True

    def loseConnection(self) -> None:
        was_reading = self.is_reading
        super().loseConnection()
        self.is_reading = was_reading and not self.answers_close

    def loseWriteConnection(self) -> None:
        raise AssertionError("TLS has no half-close")

    def abortConnection(self) -> None:
        if not self.connected:
            raise AttributeError("Twisted's has no TLS connection any more")
        super().abortConnection()

    def _end_of_reading(self) -> None:
        super()._lose(ConnectionDone())

    def _lose(self, reason: Exception) -> None:
        if isinstance(reason, ConnectionDone) and not self.answers_close:
            self._tell_far("end")
        else:
            super()._lose(reason)


def join(one: FakeTransport, other: FakeTransport) -> None:
    """Make two transports the two ends of one connection: what one sends the other receives, a turn
    later.
    """
    one.far, other.far = other, one


def fake_stream(reactor: Any, **options: Any) -> tuple[Stream, FakeTransport]:
    """A connected :class:`~socks5.outbound.direct.Stream` without a receiver, and its transport."""
    stream = Stream()
    return stream, FakeTransport(reactor, **options).connect(stream)


# ---------------------------------------------------------------- the reactor


class SteppedClock(Clock):
    """A clock that calls as a reactor does: what a call asks for comes in a later turn, even if it is due."""

    def turn(self) -> None:
        """Call what is due now."""
        due = [call for call in self.calls if call.getTime() <= self.seconds()]
        for call in due:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


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

    def stopConnecting(self) -> None:  # noqa: N802
        if self.state != "connecting":
            raise NotConnectingError("we're not trying to connect")
        self.fail(UserError())

    def disconnect(self) -> None:
        raise NotImplementedError("endpoints do not use it")

    def getDestination(self) -> IAddress:  # noqa: N802
        return self._destination

    def _leave(self, state: str) -> None:
        assert self.state == "connecting", f"it is {self.state}"
        self.state = state
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


# ---------------------------------------------------------------- our own contracts


@implementer(IResolver)
class FakeResolver:
    """Answers from ``answers`` at once; other names wait for :meth:`answer`.

    ``asked`` holds every name asked for, ``askers`` the client of each, ``cancelled`` those whose asker left,
    ``distrusted`` those whose addresses were said not to work.

    :param answers: IP literals, or an exception, for each name.
    """

    def __init__(self, answers: dict[bytes, Sequence[str] | Exception] | None = None) -> None:
        self.answers = dict(answers or {})
        self.asked: list[bytes] = []
        self.askers: list[str] = []
        self.cancelled: list[bytes] = []
        self.distrusted: list[bytes] = []
        self._waiting: list[tuple[bytes, Deferred[Sequence[str]]]] = []

    def resolve(self, name: bytes, client: str) -> Deferred[Sequence[str]]:
        self.asked.append(name)
        self.askers.append(client)
        known = self.answers.get(name)
        if isinstance(known, Exception):
            return fail(known)
        if known is not None:
            return succeed(tuple(known))
        wait: Deferred[Sequence[str]] = Deferred(lambda _: self.cancelled.append(name))
        self._waiting.append((name, wait))
        return wait

    def failed(self, name: bytes) -> None:
        self.distrusted.append(name)

    def answer(self, name: bytes, hosts: Sequence[str] | Exception = ()) -> None:
        """Tell everybody who waits for *name*; without hosts it is unknown."""
        waiting, self._waiting = self._waiting, []
        for each, wait in waiting:
            if each != name:
                self._waiting.append((each, wait))
            elif not wait.called:
                self._tell(wait, hosts)

    @staticmethod
    def _tell(wait: Deferred[Sequence[str]], hosts: Sequence[str] | Exception) -> None:
        if isinstance(hosts, Exception):
            wait.errback(hosts)
        elif hosts:
            wait.callback(tuple(hosts))
        else:
            wait.errback(DNSLookupError("no address found"))


@implementer(IDialer)
class FakeDialer:
    """Every dial waits for :meth:`succeed` or :meth:`fail`.

    ``targets`` holds what was dialled, ``askers`` who asked for each, ``cancelled`` what was given up,
    ``is_allowed`` the question that the last dial brought.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: list[Deferred[IStream]] = []
        self.targets: list[Address] = []
        self.askers: list[Access] = []
        self.cancelled: list[Address] = []
        self.is_allowed: Callable[[str], bool] = lambda host: True

    def dial(
        self, access: Access, target: Address, is_allowed: Callable[[str], bool]
    ) -> Deferred[IStream]:
        self.askers.append(access)
        self.targets.append(target)
        self.is_allowed = is_allowed
        dialling: Deferred[IStream] = Deferred(lambda _: self.cancelled.append(target))
        self._waiting.append(dialling)
        return dialling

    def succeed(self, **options: Any) -> FakeTransport:
        """The latest dial connects.

        :param options: for :class:`FakeTransport`.
        :returns: the transport towards the target.
        """
        options.setdefault("host", address(OUTGOING[False], 40001))
        options.setdefault("peer", address("192.0.2.80", 80))
        stream, transport = fake_stream(self._reactor, **options)
        self._waiting.pop().callback(stream)
        return transport

    def fail(self, error: Exception) -> None:
        """The latest dial fails."""
        self._waiting.pop().errback(error)


@implementer(IHostnameResolver)
class FakeLookup:
    """A system's resolver in memory; what ``answers`` does not know waits for :meth:`answer`.

    ``asked`` holds every lookup begun, in order.
    """

    def __init__(self, answers: dict[str, Sequence[str]] | None = None) -> None:
        self.answers = dict(answers or {})
        self.asked: list[str] = []
        self._waiting: list[tuple[str, IResolutionReceiver]] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        self.asked.append(hostName)
        resolution = _FakeResolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        if hostName in self.answers:
            self._tell(resolutionReceiver, self.answers[hostName])
        else:
            self._waiting.append((hostName, resolutionReceiver))
        return resolution

    def answer(self, name: str, hosts: Sequence[str] = ()) -> None:
        """Tell the receivers of *name*; without hosts it is unknown."""
        due = [receiver for each, receiver in self._waiting if each == name]
        self._waiting = [each for each in self._waiting if each[0] != name]
        for receiver in due:
            self._tell(receiver, hosts)

    @staticmethod
    def _tell(receiver: IResolutionReceiver, hosts: Sequence[str]) -> None:
        for host in hosts:
            receiver.addressResolved(address(host, 0))
        receiver.resolutionComplete()


@implementer(IHostResolution)
class _FakeResolution:
    """One lookup, which cannot be cancelled: the system's cannot either."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        raise NotImplementedError
