"""``connectTCP`` through proxies: what a ClientFactory is told."""

from typing import Any
from unittest.mock import Mock

import pytest
from twisted.internet import error
from twisted.internet.address import HostnameAddress
from twisted.internet.defer import fail
from twisted.internet.interfaces import IConnector
from twisted.internet.protocol import ClientFactory, Protocol
from zope.interface.verify import verifyObject

from socks5.client import ConnectionRefused, Proxy, ProxyUnreachable
from socks5.client.connector import Connector
from socks5.protocol.address import Address
from tests.support.datagrams import Associated
from tests.support.reactor import FakeReactor
from tests.support.through import METHOD, OK
from tests.support.transports import FakeTransport


class Noting(ClientFactory):
    """Notes what happens to it."""

    noisy = False
    protocol = Protocol

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.again = 0

    def doStart(self) -> None:
        self.notes.append("start")

    def doStop(self) -> None:
        self.notes.append("stop")

    def startedConnecting(self, connector: IConnector) -> None:
        self.notes.append("connecting")

    def clientConnectionFailed(self, connector: IConnector, reason: Any) -> None:
        self._over(connector, reason)

    def clientConnectionLost(self, connector: IConnector, reason: Any) -> None:
        self._over(connector, reason)

    def _over(self, connector: IConnector, reason: Any) -> None:
        self.notes.append(reason.type)
        if self.again:
            self.again -= 1
            connector.connect()


class Connecting:
    """A connection through a proxy, that one makes who has UDP through it."""

    def __init__(self, **options: Any) -> None:
        self.program = Associated()
        self.reactor = self.program.reactor
        self.factory = Noting()
        self.connector: Any = self.program.udp.connectTCP(
            "www.example.org", 53, self.factory, **options
        )

    @property
    def notes(self) -> list[Any]:
        return self.factory.notes

    def accept(self, reply: bytes = OK) -> FakeTransport:
        transport = self.reactor.connectors[-1].succeed()
        for heard in (METHOD, reply):
            self.reactor.turn()
            transport.deliver(heard)
        self.reactor.turn()
        return transport


def test_a_connection_and_its_end() -> None:
    made = Connecting()
    assert verifyObject(IConnector, made.connector)
    assert made.connector.getDestination() == HostnameAddress(b"www.example.org", 53)
    assert made.notes == ["start", "connecting"]
    transport = made.accept()
    assert transport.value().endswith(b"\5\1\0\3\x0fwww.example.org\0\x35")
    assert made.connector.state == "connected"
    for wrong, kind in (
        (made.connector.stopConnecting, error.NotConnectingError),
        (made.connector.connect, RuntimeError),
    ):
        with pytest.raises(kind):
            wrong()
    made.connector.disconnect()
    made.reactor.turn()
    assert made.notes[2:] == [error.ConnectionDone, "stop"]
    made.connector.disconnect()
    assert made.program.leaves_nothing()


def test_one_that_fails_and_is_tried_again() -> None:
    made = Connecting()
    made.factory.again = 1
    made.accept(b"\5\5")
    assert made.notes == ["start", "connecting", ConnectionRefused, "connecting"]
    made.accept(b"\5\5")
    assert made.notes[4:] == [ConnectionRefused, "stop"]


@pytest.mark.parametrize("way", ["stopConnecting", "disconnect"])
def test_one_that_is_given_up(way: str) -> None:
    made = Connecting()
    getattr(made.connector, way)()
    assert made.notes == ["start", "connecting", error.UserError, "stop"]
    assert made.program.leaves_nothing()


@pytest.mark.parametrize("again", [0, 1])
def test_one_that_is_given_up_while_its_protocol_is_built(again: int) -> None:
    made = Connecting()
    made.factory.again = again

    def build(addr: Any) -> Protocol:
        made.connector.stopConnecting()
        return Protocol()

    made.factory.buildProtocol = build  # type: ignore[method-assign]
    transport = made.accept()
    assert made.notes[2] is error.UserError
    assert made.connector.state == ("connecting" if again else "disconnected")
    assert not transport.connected
    made.connector.disconnect()
    assert made.notes[-1] == "stop"


def test_a_factory_that_builds_none() -> None:
    made = Connecting()
    made.factory.buildProtocol = lambda addr: None  # type: ignore[method-assign,assignment]
    made.accept()
    assert made.notes[2:] == [error.NoProtocol, "stop"]
    assert made.connector.state == "disconnected"


@pytest.mark.parametrize("again", [0, 1])
def test_a_protocol_that_raises_when_it_is_connected_is_told_of_once(again: int) -> None:
    made = Connecting()
    made.factory.again = again

    class Raising(Protocol):
        def connectionMade(self) -> None:
            raise RuntimeError("a bug")

    made.factory.protocol = Raising
    made.accept()
    assert made.notes[2:] == [RuntimeError, "connecting" if again else "stop"]
    assert made.connector.state == ("connecting" if again else "disconnected")


def test_what_fails_at_once_has_been_begun() -> None:
    refusing: Any = Mock(connect=lambda factory: fail(error.ConnectionRefusedError()))
    factory = Noting()
    way = Proxy.over(FakeReactor(), refusing)
    Connector(way, Address(b"www.example.org", 53), factory).connect()
    assert factory.notes == ["start", "connecting", ProxyUnreachable, "stop"]


def test_its_time_and_its_address() -> None:
    made = Connecting(timeout=3, bindAddress=("192.0.2.77", 0))
    assert made.reactor.connectors[-1].bind_address == ("192.0.2.77", 0)
    made.reactor.advance(3)
    assert issubclass(made.notes[2], error.TimeoutError)


def test_no_such_target() -> None:
    with pytest.raises(ValueError, match="port 0"):
        Associated().udp.connectTCP("www.example.org", 0, Noting())
