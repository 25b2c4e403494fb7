"""A program with UDP through proxies, in memory, and what the proxies say."""

from typing import Any

from twisted.internet.protocol import DatagramProtocol

from socks5.client import UDP, Proxy
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from tests.support.deferreds import told
from tests.support.reactor import FakeReactor, FakeUDPPort
from tests.support.through import METHOD, OK, PROXY
from tests.support.transports import FakeTransport

RELAY = ("203.0.113.5", 8080)
"""Where OK says that it is."""

TARGET = ("198.51.100.53", 53)


def reply(host: str | bytes, port: int = 8080) -> bytes:
    """A reply of success."""
    return b"\5\0\0" + Address(host, port).encode()


def datagram(
    payload: bytes = b"pong", sender: tuple[str | bytes, int] = TARGET, fragment: int = 0
) -> bytes:
    """As a relay sends it."""
    return Datagram(Address(*sender), payload, fragment).encode()


class Noting(DatagramProtocol):
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def startProtocol(self) -> None:
        self.notes.append("started")

    def stopProtocol(self) -> None:
        self.notes.append("stopped")

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.notes.append((datagram, addr))

    def connectionRefused(self) -> None:
        self.notes.append("refused")


class Associated:
    """A program that goes through a proxy, or through several.

    :param options: for ``associate``.
    """

    def __init__(
        self,
        proxy: str | Proxy = PROXY,
        reactor: FakeReactor | None = None,
        timeout: float | None = 30,
        rdns: bool = True,
        **options: Any,
    ) -> None:
        self.reactor = reactor or FakeReactor()
        if isinstance(proxy, str):
            proxy = Proxy.from_url(self.reactor, proxy, timeout=timeout, rdns=rdns)
        self.proxy = proxy
        self.udp: UDP = proxy.associate(**options)
        self.controls: list[FakeTransport] = []

    def accept(self, reply: bytes = OK, chained: tuple[bytes, ...] = ()) -> FakeTransport:
        """The first of the connections that are attempted gets its association.

        :param chained: what comes before the last reply.
        """
        connector = next(each for each in self.reactor.connectors if each.state == "connecting")
        transport = connector.succeed()
        self.reactor.turn()
        for heard in (*chained, METHOD, reply):
            transport.deliver(heard)
            self.reactor.turn()
        self.controls.append(transport)
        return transport

    def opened(self, reply: bytes = OK) -> FakeUDPPort:
        """There is an association, and its socket."""
        outcome = told(self.udp.open())
        self.accept(reply)
        assert outcome == [self.udp]
        return self.socket

    @property
    def attempts(self) -> int:
        """How many connections are being made."""
        return sum(each.state == "connecting" for each in self.reactor.connectors)

    @property
    def socket(self) -> FakeUDPPort:
        """The last one."""
        return self.reactor.udp_ports[-1]

    def listen(self, **options: Any) -> tuple[Any, Noting]:
        """The program opens a port."""
        protocol = Noting()
        return self.udp.listenUDP(0, protocol, **options), protocol

    def leaves_nothing(self) -> bool:
        """Once it is closed."""
        closed = told(self.udp.close())
        self.reactor.turn()
        self.reactor.turn()
        assert closed == [None]
        assert self.attempts == 0
        assert self.reactor.getDelayedCalls() == []
        assert not any(each.is_listening for each in self.reactor.udp_ports)
        assert not any(each.connected for each in self.controls)
        return True
