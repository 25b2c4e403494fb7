"""A server in memory and its clients, and what a test may ask of them."""

from typing import Any

from twisted.internet.task import Clock

from socks5.access import Reason, SessionInfo
from socks5.counters import Counters
from socks5.net.descriptors import SessionLimit
from socks5.protocol.messages import Command
from socks5.server.factory import ServerFactory
from socks5.settings import Capacity, ListenerPolicy, Settings
from tests.support.providers import Begun, FakeCommand, FakeDialer, FakeResolver, Records
from tests.support.reactor import FakeReactor
from tests.support.transports import CLIENT, SERVER, FakeTransport

octets = bytes.fromhex

GREETING = octets("05 01 00")
NO_AUTHENTICATION = octets("05 00")

PASSWORD_GREETING = octets("05 01 02")
PASSWORD_CHOSEN = octets("05 02")
LOGIN = octets("01 04 75736572 06 736563726574")  # user, secret
LOGIN_RIGHT = octets("01 00")

TARGET = octets("01 c0000250 0050")  # 192.0.2.80:80
CONNECT = octets("05 01 00") + TARGET
BIND = octets("05 02 00")
ASSOCIATE = octets("05 03 00 01 00000000 0000")

CONNECTED = octets("05 00 00 01 c000020a 9c41")  # from 192.0.2.10:40001, where FakeDialer's begin


def refusal(code: int) -> bytes:
    """A failure reply as RFC 1928 section 6 has it: full length, BND zeros."""
    return bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0))


class Ends(list[str]):
    """The owner of a relay: why it ended, which it is told once."""

    def end(self, reason: Reason) -> None:
        self.append(reason)


class Server:
    """A factory on fakes; the parameters are :class:`~socks5.server.factory.ServerFactory`'s."""

    def __init__(
        self,
        settings: Settings | None = None,
        reactor: FakeReactor | None = None,
        **parameters: Any,
    ) -> None:
        self.reactor = reactor or FakeReactor()
        self.resolver = parameters.setdefault("resolver", FakeResolver())
        self.dialer = parameters.setdefault("dialer", FakeDialer(self.reactor, self.resolver))
        self.log = parameters.setdefault("access_log", Records())
        settings = settings or Settings(ban_after=0)  # a refused login is told so at once
        self.factory = ServerFactory(self.reactor, settings=settings, **parameters)
        self.counters = self.factory.counters

    def client(self, *sent: bytes, **options: Any) -> "Client":
        """A new client, which sends that. *options* are for :class:`Client`."""
        client = Client(self, **options)
        client.send(*sent)
        return client

    def relaying(self) -> "tuple[Client, FakeTransport]":
        """A new client that has its reply to a CONNECT, and the transport towards its target."""
        client = self.client(GREETING, CONNECT)
        target = self.dialer.succeed()
        assert client.received() == NO_AUTHENTICATION + CONNECTED
        return client, target

    @property
    def records(self) -> list[SessionInfo]:
        """The access log so far."""
        return self.log.written


class Door:
    """A server's listener under a listener policy, to be used like a server."""

    def __init__(self, server: Server, policy: ListenerPolicy) -> None:
        self.reactor = server.reactor
        self.factory = server.factory.at(policy)

    def client(self, *sent: bytes, **options: Any) -> "Client":
        """See :meth:`Server.client`."""
        client = Client(self, **options)
        client.send(*sent)
        return client


class Client:
    """The far end of a control connection."""

    def __init__(
        self, server: Server | Door, kind: type[FakeTransport] = FakeTransport, **options: Any
    ) -> None:
        self._reactor = server.reactor
        self.session: Any = server.factory.buildProtocol(options.get("peer", CLIENT))
        self.transport = kind(server.reactor, **{"host": SERVER, "peer": CLIENT} | options)
        self.transport.connect(self.session)

    def send(self, *pieces: bytes) -> None:
        """Send each piece in a segment of its own."""
        for piece in pieces:
            self.transport.deliver(piece)
            self._reactor.turn()

    def end(self) -> None:
        """Send the end (FIN)."""
        self.transport.deliver_end()
        self._reactor.turn()

    def reset(self) -> None:
        """Send a reset (RST)."""
        self.transport.deliver_reset()
        self._reactor.turn()

    def received(self) -> bytes:
        """What came since the last time."""
        self._reactor.turn()
        value = self.transport.value()
        self.transport.clear()
        return value

    @property
    def sees(self) -> str:
        """What ended the connection for this client: "" for nothing yet, "end" or "reset"."""
        self._reactor.turn()
        return self.transport.far_sees

    @property
    def is_connected(self) -> bool:
        """Whether our end of the connection still exists."""
        self._reactor.turn()
        return self.transport.connected


def commanded(
    *behind: bytes, settings: Settings | None = None, **options: Any
) -> tuple[Server, Client, FakeCommand]:
    """A server, its client, and the CONNECT that has begun for it and does nothing by itself."""
    commands = Begun(Command.CONNECT, FakeCommand)
    server = Server(settings, commands=commands)
    client = server.client(GREETING, CONNECT, *behind, **options)
    return server, client, commands.begun[0]


def session_limit(
    maximum: int = 0, reactor: Any = None, counters: Counters | None = None, **parameters: Any
) -> SessionLimit:
    """A limit by itself: for so many sessions, on a clock that stands still unless there is another."""
    capacity = Capacity(max_sessions=maximum, **parameters)
    return SessionLimit(reactor or Clock(), capacity, Settings(), counters or Counters())
