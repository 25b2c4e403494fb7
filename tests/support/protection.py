"""Sessions of a server in memory that log in by a security context of :mod:`tests.support.contexts`."""

from typing import Any

from socks5.protocol.address import Address
from socks5.protocol.gssapi import Message, Protection
from socks5.protocol.messages import Request
from tests.support.contexts import SECRET, ContextClient, FakeAcceptor, FakeInitiator
from tests.support.sessions import Client, Server, octets

GREETING = octets("05 01 01")
CHOSEN = octets("05 01")
TO_TARGET = Request(1, Address("192.0.2.80", 80))


def token(data: bytes, kind: int = 1) -> bytes:
    return Message(kind, data).encode()


TICKET = token(b"alice\0" + SECRET)


def spoilt(message: bytes) -> bytes:
    return message[:-1] + bytes((message[-1] ^ 1,))


def server_of(acceptor: FakeAcceptor | None = None, **parameters: Any) -> Server:
    """A server whose clients need a context, at any level."""
    return Server(gssapi=acceptor or FakeAcceptor(tuple(Protection)[:3]), **parameters)


class Connected:
    """A client of RFC 1961 and its connection.

    :param size: how many octets the client sends at a time.
    """

    def __init__(
        self,
        server: Server,
        level: Protection = Protection.INTEGRITY,
        is_bare: bool = False,
        request: Request = TO_TARGET,
        size: int = 1 << 20,
        **options: Any,
    ) -> None:
        self._size = size
        self.side = ContextClient(request, FakeInitiator(), level, is_bare)
        self.wire: Client = server.client(**options)
        self.pump()

    def pump(self) -> None:
        """Send and receive until there is nothing more of both."""
        size = self._size
        is_quiet = False
        while not is_quiet:
            data = self.side.take_output()
            self.wire.send(*(data[at : at + size] for at in range(0, len(data), size)))
            received = self.wire.received()
            self.side.receive(received)
            is_quiet = not (data or received)

    def send(self, data: bytes) -> None:
        """Send octets to the target."""
        self.side.send(data)
        self.pump()

    @property
    def bound(self) -> Address | None:
        self.pump()
        return self.side.bound if self.side.replies else None


def connected(
    server: Server, level: Protection = Protection.INTEGRITY, **options: Any
) -> tuple[Connected, Any]:
    """A client with an established connection, and the target's transport."""
    client = Connected(server, level, **options)
    target = server.dialer.succeed()
    assert client.bound == Address("192.0.2.10", 40001)
    return client, target


def established(server: Server) -> tuple[Client, FakeInitiator]:
    """A client whose context is complete, and its side of that."""
    initiator = FakeInitiator()
    first = initiator.step(None)
    assert first is not None
    client = server.client(GREETING, token(first))
    initiator.step(client.received().removeprefix(CHOSEN)[4:])
    return client, initiator


def agreed(server: Server) -> tuple[Client, FakeInitiator]:
    """One that has agreed on a level, too."""
    client, initiator = established(server)
    client.send(token(initiator.wrap(b"\1", False), 2))
    client.received()
    return client, initiator
