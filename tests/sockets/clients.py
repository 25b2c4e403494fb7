"""A server on the loopback, SOCKS5 clients of it, and targets: plain sockets all around."""

import socket
from contextlib import ExitStack
from typing import Any

from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Protocol
from typing_extensions import override

from socks5.access import SessionInfo
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from socks5.server.factory import ServerFactory
from socks5.server.handshake import ServerProtocol
from tests.sockets.wires import FarEnd, until
from tests.support.sessions import GREETING, NO_AUTHENTICATION


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def packed(host: str | bytes, port: int) -> bytes:
    """ATYP, ADDR and PORT."""
    return Address(host, port).encode()


class Far(FarEnd):
    """A far end that reads a message at a time."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self._taken = 0

    async def receive(self, count: int) -> bytes:
        """The next *count* octets; fewer only if it ends before."""
        await until(lambda: self.count >= self._taken + count or self.sees)
        data = self.value()[self._taken : self._taken + count]
        self._taken += len(data)
        return data

    async def rest(self) -> bytes:
        """Everything until the end or the reset."""
        await until(self.sees_now)
        data = self.value()[self._taken :]
        self._taken += len(data)
        return data

    async def reply(self) -> tuple[int, tuple[str, int]]:
        """The next reply: REP, BND."""
        head = await self.receive(4)
        tail = await self.receive({1: 6, 4: 18}[head[3]])
        assert (head[0], head[2]) == (5, 0)
        address = Address.decode(head[3:] + tail)
        assert address is not None
        return head[1], (address[0].text, address[0].port)

    @property
    def host(self) -> tuple[str, int]:
        """Where this end is, for whoever it connected to."""
        name = self.socket.getsockname()
        return name[0], name[1]


class Told(Protocol):
    """A program's, through proxies: gathers what it gets."""

    received = b""
    is_lost = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.is_lost = True


class Datagrams:
    """A plain UDP socket."""

    def __init__(self, plain: socket.socket) -> None:
        plain.setblocking(False)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        self.socket = plain
        self.host: tuple[str, int] = plain.getsockname()[:2]

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        self.socket.sendto(data, to)

    async def receive(self) -> tuple[bytes, tuple[str, int]]:
        """The next datagram and its sender."""
        await until(self._take)
        data, sender = self._taken
        return data, sender[:2]

    def _take(self) -> bool:
        try:
            self._taken = self.socket.recvfrom(1 << 17)
        except BlockingIOError:
            return False
        return True


class UDPClient(Datagrams):
    """A client's UDP socket, with the association's address."""

    relay = ("", 0)

    def ask(self, target: tuple[str | bytes, int], payload: bytes = b"ping") -> None:
        self.send(Datagram(Address(*target), payload).encode(), self.relay)

    async def answer(self) -> tuple[bytes, tuple[str, int]]:
        """The next answer: payload, and the sender that its header names."""
        data, sender = await self.receive()
        assert sender == self.relay  # RFC 1928 section 6: BND is where answers come from
        datagram = Datagram.decode(data)
        return datagram.payload, (datagram.address.text, datagram.address.port)


class Network:
    """What a test opens, closed with it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def _socket(self, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        made = socket.socket(family, kind)
        self._stack.callback(made.close)
        return made

    def connect(
        self, address: Any, source: str | None = None, receive_buffer: int | None = None
    ) -> Far:
        """A connection; the system accepts it before anybody else does."""
        family = socket.AF_UNIX if isinstance(address, str) else family_of(address[0])
        made = self._socket(family, socket.SOCK_STREAM)
        if receive_buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source is not None:
            made.bind((source, 0))
        made.connect(address)
        return Far(made)

    def listen(self, host: str = "127.0.0.1") -> "Target":
        """A target that listens."""
        made = self._socket(family_of(host), socket.SOCK_STREAM)
        made.bind((host, 0))
        made.listen()
        return Target(made, self._stack)

    def unanswering(self) -> tuple[str, int]:
        """A TCP address that does not answer: its queue is full, until :meth:`answering`."""
        self._full = self._socket(socket.AF_INET, socket.SOCK_STREAM)
        self._full.bind(("127.0.0.1", 0))
        self._full.listen(0)
        name = self._full.getsockname()
        self.connect(name)
        return name[0], name[1]

    def answering(self) -> "Target":
        """What did not answer until now."""
        return Target(self._full, self._stack)

    def refusing(self, host: str = "127.0.0.1") -> tuple[str, int]:
        """A TCP address that is taken and refuses connections."""
        made = self._socket(family_of(host), socket.SOCK_STREAM)
        made.bind((host, 0))
        name = made.getsockname()
        return name[0], name[1]

    def datagrams(self, host: str = "127.0.0.1", kind: type[Datagrams] = Datagrams) -> Any:
        """A UDP socket."""
        made = self._socket(family_of(host), socket.SOCK_DGRAM)
        made.bind((host, 0))
        return kind(made)


class Target:
    """A listening TCP socket."""

    def __init__(self, listening: socket.socket, stack: ExitStack) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._stack = stack
        self._accepted: list[socket.socket] = []
        self.host: tuple[str, int] = listening.getsockname()[:2]

    async def accept(self) -> tuple[Far, tuple[str, int]]:
        """The next connection, and where it comes from."""
        await until(self._accept)
        made = self._accepted.pop()
        return Far(made), made.getpeername()[:2]

    def _accept(self) -> bool:
        try:
            made, _ = self._listening.accept()
        except BlockingIOError:
            return False
        self._stack.callback(made.close)
        self._accepted.append(made)
        return True


class Factory(ServerFactory):
    """Keeps count of sessions that are over."""

    ended = 0

    @override
    def gone(self, session: ServerProtocol) -> None:
        self.ended += session in set(self.sessions)
        super().gone(session)


class Proxy(Network):
    """A server that listens, and its clients."""

    def __init__(self, stack: ExitStack, factory: Factory, port: IListeningPort) -> None:
        super().__init__(stack)
        self.factory = factory
        self.counters = factory.counters
        self.port = port
        host: Any = port.getHost()
        self.address: Any = getattr(host, "name", None) or (host.host, host.port)

    @property
    def records(self) -> list[SessionInfo]:
        """The access log so far."""
        log: Any = self.factory.access_log
        written: list[SessionInfo] = log.written
        return written

    async def client(
        self, command: int, target: bytes, more: bytes = b"", address: Any = None
    ) -> Far:
        """A client that has sent its greeting and its request: each whole, or all with *more* glued to it."""
        client = self.connect(address or self.address)
        request = bytes((5, command, 0)) + target + more
        if more:
            client.send(GREETING + request)
            assert await client.receive(2) == NO_AUTHENTICATION
        else:
            client.send(GREETING)
            assert await client.receive(2) == NO_AUTHENTICATION
            client.send(request)
        return client

    async def associate(
        self, host: str = "127.0.0.1", address: Any = None
    ) -> tuple[Far, UDPClient]:
        """A control connection with an association, and a UDP socket that uses it."""
        control = await self.client(3, packed("0.0.0.0", 0), address=address)
        code, relay = await control.reply()
        assert code == 0
        client: UDPClient = self.datagrams(host, UDPClient)
        client.relay = relay
        return control, client

    async def gone(self, count: int = 1) -> None:
        """Wait until so many sessions are over, both sides closed."""
        await until(lambda: self.factory.ended >= count)
