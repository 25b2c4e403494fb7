"""The fakes keep the contracts of what they stand for: what is played here runs on a fake and on its real
counterpart, Twisted's over the loopback or our own. Transports in memory run the contract of every stream,
``tests/sockets/test_stream_sockets.py``.
"""

import errno
import gc
import socket
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
import twisted.python.log
from twisted.internet.error import (
    CannotListenError,
    ConnectionRefusedError,
    InvalidAddressError,
    NotConnectingError,
    UserError,
)
from twisted.internet.interfaces import (
    IConnector,
    IHostnameResolver,
    IListeningPort,
    IReactorTCP,
    IReactorUDP,
)
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface.verify import verifyObject

from socks5.interfaces import IAccessLog, ICommand, IDialer, IResolver, IRules
from tests.sockets.wires import until
from tests.support.failures import Failures
from tests.support.providers import (
    Allow,
    FakeCommand,
    FakeDialer,
    FakeLookup,
    FakeResolver,
    Records,
)
from tests.support.reactor import FakeReactor


class World:
    """A reactor, and how to wait on it."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.is_fake = isinstance(reactor, FakeReactor)

    async def until(self, condition: Callable[[], object]) -> None:
        if not self.is_fake:
            await until(condition)
            return
        self.reactor.turn()
        assert condition()

    async def stopped(self, port: Any) -> None:
        stopping = port.stopListening()
        if self.is_fake:
            assert not stopping.called
            self.reactor.turn()
        await stopping


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest) -> World:
    from twisted.internet import reactor

    return World(FakeReactor() if request.param == "fake" else reactor)


# ---------------------------------------------------------------- TCP


class Noted(Protocol):
    """Notes its events."""

    def __init__(self) -> None:
        self.events: list[str] = []

    @override
    def connectionMade(self) -> None:
        self.events.append("made")

    @override
    def connectionLost(self, reason: Failure) -> None:
        self.events.append("lost")


class Outgoing(ClientFactory):
    """Notes how an attempt goes."""

    def __init__(self) -> None:
        self.made = Noted()
        self.events: list[str] = []
        self.reason: Failure | None = None

    @override
    def startedConnecting(self, connector: Any) -> None:
        self.events.append("started")

    @override
    def buildProtocol(self, addr: Any) -> Noted:
        self.events.append("connected")
        return self.made

    @override
    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.events.append("failed")
        self.reason = reason


@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1"])
@pytest_twisted.ensureDeferred
async def test_a_port_is_listened_on_connected_to_and_closed(world: World, loopback: str) -> None:
    """Its factory is started and stopped with it. An attempt to connect is given up at once and once, succeeds, or is
    refused.
    """
    reactor = world.reactor
    assert verifyObject(IReactorTCP, reactor)
    factory, events = Factory.forProtocol(Noted), []
    factory.startFactory = lambda: events.append("started")
    factory.stopFactory = lambda: events.append("stopped")
    port = reactor.listenTCP(0, factory, interface=loopback)
    assert verifyObject(IListeningPort, port)
    where = port.getHost()
    assert (where.type, where.host, where.port > 0) == ("TCP", loopback, True)

    given_up = Outgoing()
    connector = reactor.connectTCP(loopback, where.port, given_up)
    connector.stopConnecting()
    assert given_up.events == ["started", "failed"]
    assert given_up.reason is not None
    assert given_up.reason.check(UserError)
    with pytest.raises(NotConnectingError):
        connector.stopConnecting()

    one = Outgoing()
    connector = reactor.connectTCP(loopback, where.port, one, bindAddress=(loopback, 0))
    assert verifyObject(IConnector, connector)
    assert (one.events, connector.getDestination()) == (["started"], where)
    if world.is_fake:
        connector.succeed()
    await world.until(lambda: one.made.events == ["made"])
    assert (one.events, connector.state) == (["started", "connected"], "connected")
    transport: Any = one.made.transport
    assert (transport.getPeer(), transport.getHost().host) == (where, loopback)
    transport.loseConnection()
    await world.until(lambda: one.made.events == ["made", "lost"])
    await world.stopped(port)
    assert events == ["started", "stopped"]

    late = Outgoing()
    connector = reactor.connectTCP(loopback, where.port, late)
    if world.is_fake:
        connector.fail(ConnectionRefusedError())
    await world.until(lambda: late.events == ["started", "failed"])
    assert late.reason is not None
    assert late.reason.check(ConnectionRefusedError)
    assert connector.state == "disconnected"


@pytest.mark.parametrize("kind", ["TCP", "UDP"])
@pytest_twisted.ensureDeferred
async def test_a_taken_port_cannot_be_listened_on(world: World, kind: str) -> None:
    def listen(port: int) -> Any:
        listener = getattr(world.reactor, f"listen{kind}")
        return listener(port, Factory() if kind == "TCP" else Datagrams(), interface="127.0.0.1")

    first = listen(0)
    number = first.getHost().port
    if world.is_fake:
        world.reactor.taken_ports.add(number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Twisted forgets to close the socket
        with pytest.raises(CannotListenError) as caught:
            listen(number)
        assert (caught.value.port, caught.value.interface) == (number, "127.0.0.1")
        assert caught.value.socketError.errno == errno.EADDRINUSE
        del caught
        gc.collect()
    await world.stopped(first)


# ---------------------------------------------------------------- UDP


class Datagrams(DatagramProtocol):
    """Notes what it gets, and its events."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Any]] = []
        self.events: list[str] = []

    @override
    def startProtocol(self) -> None:
        self.events.append("started")

    @override
    def stopProtocol(self) -> None:
        self.events.append("stopped")

    @override
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append((datagram, addr))


@pytest.mark.parametrize(
    ("loopback", "wrong"), [("127.0.0.1", ["::1", "localhost"]), ("::1", ["127.0.0.1"])]
)
@pytest_twisted.ensureDeferred
async def test_datagrams_go_to_literals_of_the_port_s_family_as_long_as_it_is_open(
    world: World, loopback: str, wrong: list[str]
) -> None:
    """What is longer than the port reads is cut."""
    assert verifyObject(IReactorUDP, world.reactor)
    one, other = Datagrams(), Datagrams()
    ports = [
        world.reactor.listenUDP(0, each, interface=loopback, maxPacketSize=4)
        for each in (one, other)
    ]
    source, target = ((port.getHost().host, port.getHost().port) for port in ports)
    assert (ports[0].getHost().type, source[0]) == ("UDP", loopback)
    for host in wrong:
        with pytest.raises(InvalidAddressError):
            ports[0].write(b"datagram", (host, 9))

    def send() -> None:
        ports[0].write(b"datagram", target)
        if world.is_fake:
            assert ports[0].written[-1] == (b"datagram", target)
            ports[1].receive(b"datagram", source)

    send()
    await world.until(lambda: other.received == [(b"data", source)])
    stopping = ports[1].stopListening()
    send()
    if world.is_fake:
        world.reactor.turn()
    await stopping
    await world.stopped(ports[0])
    assert len(other.received) == 1
    assert one.events == other.events == ["started", "stopped"]


@pytest_twisted.ensureDeferred
async def test_a_socket_becomes_a_port_of_datagrams(world: World) -> None:
    protocol = Datagrams()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as bound:
        bound.bind(("::1", 0))
        port = world.reactor.adoptDatagramPort(bound.fileno(), bound.family, protocol, 4)
    assert (port.getHost().type, port.getHost().host) == ("UDP", "::1")
    await world.stopped(port)
    assert protocol.events == ["started", "stopped"]


# ---------------------------------------------------------------- the others


@pytest.mark.parametrize(
    ("contract", "fake"),
    [
        (IHostnameResolver, FakeLookup()),
        (IResolver, FakeResolver()),
        (IDialer, FakeDialer(FakeReactor())),
        (IRules, Allow()),
        (IAccessLog, Records()),
        (ICommand, FakeCommand(Any)),  # type: ignore[arg-type]
    ],
)
def test_a_fake_provides_what_it_stands_for(contract: Any, fake: object) -> None:
    """How that behaves, the tests of its users on sockets show."""
    assert verifyObject(contract, fake)


# ---------------------------------------------------------------- the guard over the log


def test_a_failure_is_noted_whichever_way_it_is_logged(failures: Failures) -> None:
    """Twisted's reactors log by the older way what a protocol raises."""
    for log in (Logger().failure, twisted.python.log.err):
        try:
            raise ZeroDivisionError(log.__name__)
        except ZeroDivisionError:
            log(None)  # type: ignore[operator]
    assert failures.take(ZeroDivisionError) == ["failure", "err"]
