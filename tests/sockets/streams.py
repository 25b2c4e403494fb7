"""Connected streams of every kind: a receiver at the near end, and at the far end a program that reads only
when it is asked.
"""

import random
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator as ForClient
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator as ForServer
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.net.connection import Connection
from socks5.net.poller import poller_of
from socks5.net.tcp_options import prepare
from socks5.outbound.attempts import Stream
from tests.sockets import wires
from tests.sockets.wires import FarEnd
from tests.support.certificates import self_signed
from tests.support.reactor import FakeReactor
from tests.support.transports import FakeTLSTransport, FakeTransport, fake_stream, join

SMALL = 1 << 14
"""Octets asked for as a socket's buffer."""

MUCH = random.Random(1).randbytes(1 << 20)
"""More than small buffers hold, and without a period: an order that is wrong shows."""


class Receiver:
    """Records the events of a transport."""

    def __init__(self) -> None:
        self.octets = b""
        self.events: list[str] = []
        self.reason: Failure | None = None
        self.on_data: Callable[[bytes], object] = lambda data: None

    def dataReceived(self, data: bytes) -> None:
        assert self.reason is None
        self.octets += data
        self.on_data(data)

    def readConnectionLost(self) -> None:
        self.events.append("end")

    def connectionLost(self, reason: Failure) -> None:
        self.events.append("lost")
        self.reason = reason

    def was_lost(self, kind: type[Exception]) -> bool:
        return self.reason is not None and self.reason.check(kind) is kind


class Producer:
    """Records what it is told; Twisted repeats the word to pause."""

    def __init__(self, told: list[str] | None = None) -> None:
        self.told: list[str] = [] if told is None else told

    def pauseProducing(self) -> None:
        if self.told[-1:] != ["pause"]:
            self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class Wire:
    """A stream with its receiver, and its far end."""

    def __init__(self, stream: Any, receiver: Receiver, far: Any) -> None:
        self.stream = stream
        self.transport = stream.transport
        self.receiver = receiver
        self.far = far

    def shrink(self) -> None:
        """Make the system's buffers small."""
        for each in (self.transport.getHandle(), self.far.socket):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)

    async def until(self, condition: Callable[[], object]) -> None:
        await wires.until(condition)

    async def settled(self) -> None:
        """Everything that has happened has been noticed."""
        for _ in range(5):
            await wires.turn()

    async def lost(self) -> None:
        await self.until(lambda: self.receiver.reason)


# ---------------------------------------------------------------- on sockets


async def own(listener: socket.socket) -> Connection:
    """The next connection, on a socket of ours."""
    from twisted.internet import reactor

    poller = poller_of(reactor)
    assert poller is not None
    sock, name = listener.accept()
    sock.setblocking(False)
    prepare(sock)
    connection = Connection(poller, sock, None, name)
    poller.add(connection.fd, connection)
    return connection


async def accepted(listen: Callable[[Factory], Any]) -> Stream:
    """The next connection at a port of Twisted's."""
    made: list[Stream] = []

    class Streams(Factory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Stream:
            made.append(Stream())
            return made[0]

    port = listen(Streams())
    await wires.until(lambda: made and made[0].transport)
    await port.stopListening()
    return made[0]


async def twisted(listener: socket.socket) -> Stream:
    """The next connection, on a transport of Twisted's."""
    from twisted.internet import reactor

    listener.setblocking(False)
    return await accepted(
        lambda factory: reactor.adoptStreamPort(listener.fileno(), listener.family, factory)
    )


def on_sockets(accept: Callable[[socket.socket], Awaitable[Any]]) -> Callable[..., Awaitable[Wire]]:
    """Connects streams that are accepted so, from the loopback."""

    async def connect(stack: ExitStack, host: str = "127.0.0.1", to: str | None = None) -> Wire:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = stack.enter_context(
            socket.create_server((host, 0), family=family, dualstack_ipv6=to is not None)
        )
        port = listener.getsockname()[1]
        client = stack.enter_context(socket.create_connection((to or host, port)))
        stream, receiver = await accept(listener), Receiver()
        stream.receiver = receiver
        return Wire(stream, receiver, FarEnd(client))

    return connect


# ---------------------------------------------------------------- in memory


class FakeFar:
    """The far end of a fake transport, as :class:`FarEnd` is a real one's."""

    def __init__(self, transport: FakeTransport) -> None:
        self._transport = transport
        transport.window = 0
        self.end = transport.deliver_end
        self.reset = transport.deliver_reset

    def send(self, data: bytes) -> None:
        self._transport.deliver(data)

    def push(self, data: bytes) -> int:
        self.send(data)
        return len(data)

    def value(self) -> bytes:
        self._transport.accept()
        return self._transport.value()

    @property
    def count(self) -> int:
        return len(self.value())

    @property
    def sees(self) -> str:
        return self._transport.far_sees

    def sees_now(self) -> str:
        self.value()
        return self.sees


class Quick(Wire):
    """One in memory."""

    def __init__(self, reactor: FakeReactor, stream: Stream, far: Any) -> None:
        stream.receiver = receiver = Receiver()
        super().__init__(stream, receiver, far)
        self._reactor = reactor

    def shrink(self) -> None:
        """Nothing is held between the two ends."""

    async def until(self, condition: Callable[[], object]) -> None:
        for _ in range(5):
            self._reactor.turn()
        assert condition()

    async def settled(self) -> None:
        await self.until(lambda: True)


async def in_memory(stack: ExitStack) -> Wire:
    reactor = FakeReactor()
    stream, transport = fake_stream(reactor)
    return Quick(reactor, stream, FakeFar(transport))


async def fake_tls(stack: ExitStack) -> Wire:
    reactor, stream = FakeReactor(), Stream()
    return Quick(reactor, stream, FakeFar(FakeTLSTransport(reactor).connect(stream)))


@implementer(ForClient, ForServer)
class Connections:
    """Makes TLS connections for Twisted."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def clientConnectionForTLS(self, tls: Any) -> SSL.Connection:  # noqa: N802
        return SSL.Connection(self._context, None)

    serverConnectionForTLS = clientConnectionForTLS


class TLSFar(FakeFar):
    """The client of a TLS connection over fake transports."""

    def __init__(self, below: FakeTransport, client: Stream, turn: Callable[[], None]) -> None:
        super().__init__(below)
        below.window = None
        client.receiver = self._got = Receiver()
        self._client: Any = client.transport
        self.end = self._client.loseConnection
        self.reset = self._client.abortConnection
        self._turn = turn

    def send(self, data: bytes) -> None:
        self._client.write(data)
        self._turn()

    def value(self) -> bytes:
        super().value()
        self._turn()
        return self._got.octets

    @property
    def sees(self) -> str:
        reason = self._got.reason
        return "" if reason is None else "end" if reason.check(ConnectionDone) else "reset"


async def tls(stack: ExitStack) -> Wire:
    """The server's end of Twisted's TLS."""
    pem = self_signed(Path(stack.enter_context(TemporaryDirectory())))
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate_file(str(pem))
    context.use_privatekey_file(str(pem))
    reactor, near, far = FakeReactor(), Stream(), Stream()
    below = FakeTransport(reactor), FakeTransport(reactor)
    join(*below)
    contexts = context, SSL.Context(SSL.TLS_METHOD)
    for transport, stream, each in zip(below, (near, far), contexts, strict=True):
        factory = Factory.forProtocol(lambda stream=stream: stream)
        wrapper = TLSMemoryBIOFactory(Connections(each), stream is far, factory, clock=reactor)
        transport.connect(wrapper.buildProtocol(None))
    for _ in range(5):
        reactor.turn()
    return Quick(reactor, near, TLSFar(below[0], far, reactor.turn))
