"""Transports in memory, which record what happens to them, and the addresses they have.

They behave as Twisted's own do, down to the order of events: ``test_fakes.py`` runs one contract on each
fake and on its real counterpart. What Twisted does "soon" (close, connect, abort) happens here at the next
turn of the reactor.

The side of the network, for tests to play, has names of its own (``deliver``, ``deliver_end``, ``accept`` ...),
which no transport has.
"""

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    INegotiated,
    IPushProducer,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.outbound.attempts import Stream

CLIENT = IPv4Address("TCP", "198.51.100.7", 51234)
"""Where a fake connection comes from, unless told otherwise."""

SERVER = IPv4Address("TCP", "203.0.113.1", 1080)
"""Where it comes to."""

BUFFER_SIZE = 65536
"""Octets in a send buffer, beyond which a producer is paused (``FileDescriptor.bufferSize``)."""


def address(host: str, port: int, kind: str = "TCP") -> IPv4Address | IPv6Address:
    """Twisted's address of an IP literal."""
    return (IPv6Address if ":" in host else IPv4Address)(kind, host, port)


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
        if self.producer is not None and len(self._unsent) > BUFFER_SIZE:
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
        assert streaming  # nobody here is a pull producer
        self.producer = producer

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
        if self.producer is not None and self._producer_paused:
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

    ``answers_close`` says whether the far end closes when we do, which is noticed by who reads. One that does not keeps
    the connection open until :meth:`deliver_end`, and what it sends meanwhile is received.
    """

    negotiatedProtocol = None  # noqa: N815
    answers_close = True
    _has_said_goodbye = False

    def loseConnection(self) -> None:
        was_reading = self.is_reading
        super().loseConnection()
        self.is_reading = was_reading

    def resumeProducing(self) -> None:
        self.calls.append("resumeProducing")
        if self.connected:
            self.is_reading = True
            self.reactor.callLater(0, self._read)

    def loseWriteConnection(self) -> None:
        raise AssertionError("TLS has no half-close")

    def abortConnection(self) -> None:
        if not self.connected:
            raise AttributeError("Twisted's has no TLS connection any more")
        super().abortConnection()

    def _end_of_reading(self) -> None:
        super()._lose(ConnectionDone())

    def _lose(self, reason: Exception) -> None:
        if not isinstance(reason, ConnectionDone):
            super()._lose(reason)
        elif not self._has_said_goodbye:
            self._has_said_goodbye = True
            self._tell_far("end")
            if self.answers_close:
                self.deliver_end()


def join(one: FakeTransport, other: FakeTransport) -> None:
    """Make two transports the two ends of one connection: what one sends the other receives, a turn
    later.
    """
    one.far, other.far = other, one


def fake_stream(reactor: Any, **options: Any) -> tuple[Stream, FakeTransport]:
    """A connected :class:`~socks5.outbound.direct.Stream` without a receiver, and its transport."""
    stream = Stream()
    return stream, FakeTransport(reactor, **options).connect(stream)
