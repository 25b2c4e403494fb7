"""A client with an association, in memory, and what a test may ask of it."""

from typing import Any

from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from socks5.settings import Settings
from tests.support.reactor import FakeUDPPort
from tests.support.sessions import GREETING, NO_AUTHENTICATION, Server, octets
from tests.support.transports import CLIENT, SERVER, FakeTransport, address

HOST = CLIENT.host  # the control connection's peer
FROM = (HOST, 5000)
MOVED = (HOST, 5001)

TARGET = ("192.0.2.53", 53)
TARGET6 = ("2001:db8::53", 53)
OTHER = ("192.0.2.54", 53)
SAME_HOST = (TARGET[0], 5353)
NAME = (b"example.org", 53)

HERE = "127.0.0.1"

Peer = tuple[str, int]


def to(target: tuple[str | bytes, int], payload: bytes = b"ping", fragment: int = 0) -> bytes:
    """A client's datagram, as RFC 1928 section 7 has it."""
    return Datagram(Address(*target), payload, fragment).encode()


class Association:
    """A client with an association.

    :param parameters: as for :class:`~tests.support.sessions.Server`.
    :param announced: DST.ADDR and DST.PORT of the request.
    :param names: what the resolver knows.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        announced: Peer = ("0.0.0.0", 0),
        host: Any = SERVER,
        peer: Any = CLIENT,
        kind: type[FakeTransport] = FakeTransport,
        server: Server | None = None,
        names: dict[bytes, Any] | None = None,
        **parameters: Any,
    ) -> None:
        self.server = server or Server(settings, **parameters)
        self.resolver = self.server.resolver
        if names is not None:
            self.resolver.answers.update(names)
        self.reactor = self.server.reactor
        request = octets("05 03 00") + Address(*announced).encode()
        first = len(self.reactor.udp_ports)
        self.client = self.server.client(GREETING, request, host=host, peer=peer, kind=kind)
        self.reply = self.client.received().removeprefix(NO_AUTHENTICATION)
        self._ports = self.reactor.udp_ports[first:]

    @classmethod
    def local(cls, server: Server | None = None, **parameters: Any) -> "Association":
        """That of a client on this machine."""
        host, peer = address(HERE, 1080), address(HERE, 51234)
        return cls(host=host, peer=peer, server=server, **parameters)

    @property
    def near(self) -> FakeUDPPort:
        """The client-facing socket."""
        return self._ports[0]

    @property
    def far(self) -> list[FakeUDPPort]:
        """The outbound sockets, in the order in which they were opened."""
        return self.reactor.udp_ports[self.reactor.udp_ports.index(self.near) + 1 :]

    @property
    def sent(self) -> list[tuple[bytes, Peer]]:
        """Payloads and targets of what left, over all outbound sockets in their order."""
        return [each for port in self.far for each in port.written]

    @property
    def reached(self) -> list[Peer]:
        """The targets alone."""
        return [target for _, target in self.sent]

    @property
    def received(self) -> list[tuple[bytes, Peer, Peer]]:
        """What went to the client: payload, the sender in the header, and where it was sent."""
        decoded = [(Datagram.decode(data), where) for data, where in self.near.written]
        return [(each.payload, (each.address.text, each.address.port), to) for each, to in decoded]

    @property
    def dropped(self) -> dict[str, int]:
        return dict(self.server.counters.dropped)

    def ask(self, *targets: tuple[str | bytes, int], sender: Peer = FROM) -> None:
        """The client sends one datagram to each target."""
        for target in targets or (TARGET,):
            self.near.receive(to(target), sender)

    def answer(self, *senders: Peer) -> None:
        """Each of them sends a datagram to the outbound socket."""
        for sender in senders or (TARGET,):
            self.far[0].receive(b"pong", sender)

    @property
    def is_alive(self) -> bool:
        return self.near.is_listening and self.client.is_connected
