"""Questions about one name, put to name servers until they are answered (RFC 1035 section 4.2).

All questions about a name go to one server from one UDP socket, whose port the system has chosen at random and
which takes datagrams of that server only. A server that is silent gets company: after a while the next one is
asked, and whoever answers first counts. One that refuses, or refers us to others, is passed over. What is too long
for a datagram is asked for over TCP.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.net.resolvconf import ResolvConf
from socks5.protocol.dns import Answer, Code, question, read_answer
from socks5.protocol.networks import socket_name

MOST_DATAGRAM = 4096
"""Octets of an answer by UDP: more than the 512 that a server may send who was not told of more."""

_random = random.SystemRandom()


class Told(Protocol):
    """Who asks."""

    def __call__(self, kind: int, answer: Answer | None) -> None:
        """What came of the question for *kind*; None: no server would answer it. Called once for each."""


class DatagramChannel:
    """A UDP socket for one server, whose port the system chooses at random (RFC 5452). A socket of Twisted's would
    cost five times as much, and two lines in the log.

    :param reactor: provides IReactorFDSet.
    :param server: an IP literal, which may have a zone.
    :param received: called with every datagram that comes from there.
    :param refused: called when ICMP says that nobody listens there.
    :raises OSError: there is no socket, or no route.
    """

    def __init__(
        self,
        reactor: Any,
        server: str,
        port: int,
        received: Callable[[bytes], None],
        refused: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._received = received
        self._refused = refused
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(socket_name(server, port))
        except OSError:
            self._socket.close()
            raise
        reactor.addReader(self)

    def send(self, datagram: bytes) -> None:
        """:raises OSError: the system does not take it."""
        self._socket.send(datagram)

    def close(self) -> None:
        """Harmless twice."""
        self._reactor.removeReader(self)
        self._socket.close()

    def fileno(self) -> int:
        """See :class:`twisted.internet.interfaces.IReadDescriptor`, as for what follows."""
        return self._socket.fileno()

    def doRead(self) -> None:
        """Take one datagram; the reactor comes again if there is another."""
        try:
            datagram = self._socket.recv(MOST_DATAGRAM)
        except BlockingIOError:
            return
        except OSError:
            self._refused()
        else:
            self._received(datagram)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has found an error on the socket (some report it so, others let us read it), or that we have
        closed it.
        """
        if self.fileno() >= 0:
            self._refused()

    def logPrefix(self) -> str:
        """Whom the reactor names in the log."""
        return "socks5-names"


class Inquiry:
    """The questions about one name.

    :param reactor: provides IReactorFDSet, IReactorTCP and the clock.
    :param conf: whom to ask, and how.
    :param name: see :func:`socks5.protocol.dns.wire_name`.
    :param kinds: TYPE of each question.
    :param told: see :class:`Told`. It may be called from within :meth:`start`; never after :meth:`stop`.
    :param first: which server is the first, counted from 0; beyond the last one it goes round.
    :param channel: makes what datagrams go through.
    """

    def __init__(
        self,
        reactor: Any,
        conf: ResolvConf,
        name: bytes,
        kinds: Iterable[int],
        told: Told,
        first: int = 0,
        channel: Any = DatagramChannel,
    ) -> None:
        self.reactor = reactor
        self._conf = conf
        self._channel = channel
        self.open = {kind: question(_random.getrandbits(16), name, kind) for kind in kinds}
        """The questions that are not answered yet."""
        self.port = conf.port
        self._told = told
        first %= len(conf.servers)
        self._servers = conf.servers[first:] + conf.servers[:first]
        self._tries = iter(self._servers * conf.attempts)
        self._latest = ""
        self._refused: dict[int, set[str]] = {kind: set() for kind in self.open}
        self._channels: dict[str, Any] = {}
        self._streams: dict[tuple[str, int], _Stream] = {}
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Ask the first server."""
        self._ask_next()

    def stop(self) -> None:
        """Ask and tell nothing more. Harmless twice."""
        self.open.clear()
        self._close()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.close()

    def _ask_next(self) -> None:
        """Ask the next server, and set the time for the one after it. When all have had their turns, only an
        answer or :meth:`stop` is awaited.
        """
        self._timer = None
        server = next(self._tries, None)
        if server is None:
            return
        self._latest = server
        self._timer = self.reactor.callLater(self._conf.timeout, self._ask_next)
        if self._conf.is_by_tcp:
            for kind in list(self.open):
                self.ask_by_stream(server, kind)
            return
        try:
            self._ask_by_datagrams(server)
        except OSError:
            self._refuse_all(server)

    def _ask_by_datagrams(self, server: str) -> None:
        channel = self._channels.get(server)
        if channel is None:
            received, refused = partial(self._received, server), partial(self._refuse_all, server)
            channel = self._channel(self.reactor, server, self.port, received, refused)
            self._channels[server] = channel
        for asked in self.open.values():
            channel.send(asked)

    def ask_by_stream(self, server: str, kind: int) -> None:
        """Put a question to a server over TCP, unless that is under way."""
        if (server, kind) not in self._streams:
            stream = self._streams[server, kind] = _Stream(self, server, kind)
            stream.open()

    def _refuse_all(self, server: str) -> None:
        """It cannot be reached over UDP."""
        channel = self._channels.pop(server, None)
        if channel is not None:
            channel.close()
        self.refused(server, list(self.open))

    def _received(self, server: str, message: bytes) -> None:
        """A message came from a server, by a datagram. What answers no open question is dropped."""
        for kind, asked in self.open.items():
            answer = read_answer(message, asked)
            if answer is not None:
                self.answered(server, kind, answer)
                return

    def answered(self, server: str, kind: int, answer: Answer) -> None:
        """A server answers a question that is open."""
        if answer.is_truncated:
            self.ask_by_stream(server, kind)
        elif answer.code in tuple(Code) and not answer.is_referral:
            self._tell(kind, answer)
        else:
            self.refused(server, [kind])

    def refused(self, server: str, kinds: Sequence[int]) -> None:
        """A server will not answer these questions, or cannot be reached. The next is asked at once, unless that
        has happened or there is still hope in this one.
        """
        for kind in kinds:
            if kind in self.open:
                self._refused[kind].add(server)
                if self._refused[kind].issuperset(self._servers):
                    self._tell(kind, None)
        is_over = all(server in self._refused[kind] for kind in self.open)
        if self.open and is_over and server == self._latest and self._timer is not None:
            self._timer.cancel()
            self._ask_next()

    def _tell(self, kind: int, answer: Answer | None) -> None:
        del self.open[kind]
        if not self.open:
            self._close()
        self._told(kind, answer)


class _Stream(StreamProtocol):
    """A TCP connection for one question (section 4.2.2)."""

    transport: Any

    def __init__(self, inquiry: Inquiry, server: str, kind: int) -> None:
        self._inquiry = inquiry
        self._server = server
        self._kind = kind
        self._asked = inquiry.open[kind]
        self._received = bytearray()
        self._connecting: Deferred[Any]

    def open(self) -> None:
        """Connect, and ask."""
        endpoint = TCP6ClientEndpoint if ":" in self._server else TCP4ClientEndpoint
        factory = Factory.forProtocol(lambda: self)
        factory.noisy = False
        self._connecting = endpoint(
            self._inquiry.reactor, self._server, self._inquiry.port
        ).connect(factory)
        self._connecting.addErrback(self._failed)

    @override
    def connectionMade(self) -> None:
        self.transport.write(len(self._asked).to_bytes(2, "big") + self._asked)

    @override
    def dataReceived(self, data: bytes) -> None:
        self._received += data
        length = int.from_bytes(self._received[:2], "big")
        if len(self._received) < 2 + length or len(self._received) < 2:
            return
        answer = read_answer(bytes(self._received[2 : 2 + length]), self._asked)
        self.transport.abortConnection()
        if self._kind not in self._inquiry.open:
            return
        if answer is None or answer.is_truncated:
            self._failed()
        else:
            self._inquiry.answered(self._server, self._kind, answer)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._failed()

    def _failed(self, _: object = None) -> None:
        self._inquiry.refused(self._server, [self._kind])

    def close(self) -> None:
        self._connecting.cancel()
        if self.transport is not None:
            self.transport.abortConnection()
