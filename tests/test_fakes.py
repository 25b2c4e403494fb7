"""The fakes keep the contracts of what they stand for: every test here runs on a fake and on its real
counterpart, Twisted's over the loopback or our own.
"""

import builtins
import errno
import gc
import socket
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    CannotListenError,
    ConnectionRefusedError,
    DNSLookupError,
    InvalidAddressError,
    NotConnectingError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import (
    IConnector,
    IHalfCloseableProtocol,
    IHostnameResolver,
    IListeningPort,
    IReactorTCP,
    IReactorUDP,
)
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socks5.interfaces import IAccessLog, ICommand, IDialer, IResolver, IRules
from socks5.net.resolver import Resolver
from socks5.outbound.direct import DirectDialer
from socks5.protocol.address import Address
from socks5.streams import IStream
from tests.sockets.streams import FakeFar
from tests.sockets.wires import FarEnd, free_port, until
from tests.support.providers import (
    Allow,
    FakeCommand,
    FakeDialer,
    FakeLookup,
    FakeResolver,
    Records,
    begin_dial,
)
from tests.support.reactor import FakeReactor
from tests.support.transports import (
    CLIENT,
    FakeTransport,
    fake_stream,
    join,
)

MUCH = bytes(8 << 20)
"""More than every buffer between two sockets holds."""


class Plain(Protocol):
    """Records its events."""

    def __init__(self) -> None:
        self.octets = b""
        self.events: list[str] = []
        self.reason: Failure | None = None

    @override
    def connectionMade(self) -> None:
        self.events.append("made")

    @override
    def dataReceived(self, data: bytes) -> None:
        self.octets += data

    @override
    def connectionLost(self, reason: Failure) -> None:
        self.events.append("lost")
        self.reason = reason


@implementer(IHalfCloseableProtocol)
class Halves(Plain):
    """The same, told of each direction."""

    def readConnectionLost(self) -> None:
        self.events.append("read ended")

    def writeConnectionLost(self) -> None:
        self.events.append("write ended")


# ---------------------------------------------------------------- streams


def test_the_far_end_s_end_is_all_for_a_protocol_without_halves() -> None:
    reactor, protocol = FakeReactor(), Plain()
    transport = FakeTransport(reactor).connect(protocol)
    transport.loseWriteConnection()
    reactor.turn()
    assert (transport.far_sees, protocol.events) == ("end", ["made"])
    transport.deliver_end()
    assert protocol.events == ["made", "lost"]


def test_a_fake_transport_remembers_what_was_asked_of_it() -> None:
    reactor = FakeReactor()
    stream, transport = fake_stream(reactor, window=3)
    assert verifyObject(IStream, stream)
    transport.write(b"octets")
    reactor.turn()
    assert (transport.value(), transport.unsent, transport.window) == (b"oct", 3, 0)
    transport.clear()
    transport.accept(2)
    assert (transport.value(), transport.unsent, transport.window) == (b"et", 1, 0)
    transport.accept()
    assert (transport.value(), transport.unsent, transport.window) == (b"ets", 0, None)
    transport.accept(5)
    assert transport.window is None
    transport.pauseProducing()
    assert transport.calls == ["write", "pauseProducing"]
    assert not transport.is_reading


@pytest.mark.parametrize("how", ["end", "close", "abort"])
def test_joined_transports_are_one_connection(how: str) -> None:
    reactor = FakeReactor()
    one, other = Halves(), Halves()
    join(FakeTransport(reactor).connect(one), FakeTransport(reactor).connect(other))
    one.transport.write(b"there")
    other.transport.write(b"back")
    reactor.turn()
    assert (one.octets, other.octets) == (b"back", b"there")
    {
        "end": one.transport.loseWriteConnection,
        "close": one.transport.loseConnection,
        "abort": one.transport.abortConnection,
    }[how]()
    reactor.turn()
    assert other.events == ["made", "lost" if how == "abort" else "read ended"]
    assert one.events == ["made", "write ended" if how == "end" else "lost"]


# ---------------------------------------------------------------- ports


class Datagrams(DatagramProtocol):
    """Records its events."""

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


@pytest.mark.parametrize(
    ("interface", "host", "kind"),
    [
        ("127.0.0.1", "127.0.0.1", IPv4Address),
        ("::1", "::1", IPv6Address),
        ("", "0.0.0.0", IPv4Address),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_tcp_port_is_where_it_was_asked_for(
    world: World, interface: str, host: str, kind: Any
) -> None:
    """Its factory is started and stopped with it."""
    assert verifyObject(IReactorTCP, world.reactor)
    factory, events = Factory(), []
    factory.startFactory = lambda: events.append("started")
    factory.stopFactory = lambda: events.append("stopped")
    port = world.reactor.listenTCP(0, factory, interface=interface)
    assert verifyObject(IListeningPort, port)
    where = port.getHost()
    assert (type(where), where.type, where.host, where.port > 0) == (kind, "TCP", host, True)
    assert events == ["started"]
    await world.stopped(port)
    assert events == ["started", "stopped"]


@pytest.mark.parametrize("is_refused", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_client_that_connects_gets_a_protocol_or_is_closed(
    world: World, is_refused: bool
) -> None:
    protocol, factory = Halves(), Factory()
    factory.buildProtocol = lambda addr: None if is_refused else protocol
    port = world.reactor.listenTCP(0, factory, interface="127.0.0.1")
    where = port.getHost()
    far = dial(world, port)
    if is_refused:
        await world.until(lambda: far.sees_now() == "end")
    else:
        await world.until(lambda: protocol.transport)
        assert protocol.transport.getHost() == where
    await world.stopped(port)
    with pytest.raises(builtins.ConnectionRefusedError):
        dial(world, port, where)
    if not is_refused:
        assert protocol.events == ["made"]
        protocol.transport.loseConnection()
        await world.until(lambda: protocol.events == ["made", "lost"])
    far.close()


def dial(world: World, port: Any, where: Any = None) -> Any:
    """A client of *port*: its far end."""
    if world.is_fake:
        far = FakeFar(port.connect())
        far.close = lambda: None
        return far
    where = where or port.getHost()
    return FarEnd(socket.create_connection((where.host, where.port)))


@pytest.mark.parametrize("kind", ["TCP", "UDP"])
@pytest_twisted.ensureDeferred
async def test_a_taken_port_cannot_be_listened_on(world: World, kind: str) -> None:
    def listen(port: int) -> Any:
        if kind == "TCP":
            return world.reactor.listenTCP(port, Factory(), interface="127.0.0.1")
        return world.reactor.listenUDP(port, Datagrams(), interface="127.0.0.1")

    first = listen(0)
    number = first.getHost().port
    if world.is_fake:
        world.reactor.taken_ports.add(number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Twisted forgets to close the socket
        with pytest.raises(CannotListenError) as caught:
            listen(number)
        assert caught.value.port == number
        assert caught.value.interface == "127.0.0.1"
        assert caught.value.socketError.errno == errno.EADDRINUSE
        del caught
        gc.collect()
    await world.stopped(first)


@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1"])
@pytest_twisted.ensureDeferred
async def test_datagrams_go_both_ways(world: World, loopback: str) -> None:
    assert verifyObject(IReactorUDP, world.reactor)
    one, other = Datagrams(), Datagrams()
    ports = [world.reactor.listenUDP(0, each, interface=loopback) for each in (one, other)]
    assert (ports[0].getHost().type, ports[0].getHost().host) == ("UDP", loopback)
    one.transport.write(b"datagram", (loopback, ports[1].getHost().port))
    if world.is_fake:
        [(datagram, addr)] = ports[0].written
        assert addr == (loopback, ports[1].getHost().port)
        ports[1].receive(datagram, (loopback, ports[0].getHost().port))
    await world.until(
        lambda: other.received == [(b"datagram", (loopback, ports[0].getHost().port))]
    )
    for port in ports:
        await world.stopped(port)
    assert one.events == other.events == ["started", "stopped"]


@pytest_twisted.ensureDeferred
async def test_a_datagram_longer_than_the_port_reads_is_cut(world: World) -> None:
    protocol = Datagrams()
    port = world.reactor.listenUDP(0, protocol, interface="127.0.0.1", maxPacketSize=4)
    assert port.maxPacketSize == 4
    if world.is_fake:
        port.receive(b"datagram", ("127.0.0.1", 9))
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"datagram", ("127.0.0.1", port.getHost().port))
            await until(lambda: protocol.received)
    assert protocol.received[0][0] == b"data"
    await world.stopped(port)


@pytest.mark.parametrize(
    ("interface", "wrong"),
    [("127.0.0.1", "::1"), ("::1", "127.0.0.1"), ("127.0.0.1", "localhost")],
)
@pytest_twisted.ensureDeferred
async def test_datagrams_go_to_literals_of_the_port_s_family_only(
    world: World, interface: str, wrong: str
) -> None:
    port = world.reactor.listenUDP(0, Datagrams(), interface=interface)
    with pytest.raises(InvalidAddressError):
        port.write(b"datagram", (wrong, 9))
    await world.stopped(port)


@pytest_twisted.ensureDeferred
async def test_a_port_that_stops_receives_nothing(world: World) -> None:
    protocol = Datagrams()
    port = world.reactor.listenUDP(0, protocol, interface="127.0.0.1")
    number = port.getHost().port
    stopping = port.stopListening()
    if world.is_fake:
        port.receive(b"datagram", ("127.0.0.1", 9))
        world.reactor.turn()
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"datagram", ("127.0.0.1", number))
    await stopping
    assert protocol.received == []


# ---------------------------------------------------------------- connectors


class Outgoing(ClientFactory):
    """Records how an attempt goes."""

    def __init__(self) -> None:
        self.made = Halves()
        self.events: list[str] = []
        self.reason: Failure | None = None

    @override
    def startedConnecting(self, connector: Any) -> None:
        self.events.append("started")

    @override
    def buildProtocol(self, addr: Any) -> Halves:
        self.events.append("connected")
        return self.made

    @override
    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.events.append("failed")
        self.reason = reason


@pytest_twisted.ensureDeferred
async def test_an_attempt_that_succeeds(world: World) -> None:
    far = Halves()
    port = world.reactor.listenTCP(0, Factory.forProtocol(lambda: far), interface="127.0.0.1")
    factory = Outgoing()
    connector = world.reactor.connectTCP(
        "127.0.0.1", port.getHost().port, factory, bindAddress=("127.0.0.1", 0)
    )
    assert verifyObject(IConnector, connector)
    assert factory.events == ["started"]
    assert connector.getDestination() == port.getHost()
    if world.is_fake:
        connector.succeed()
    await world.until(lambda: factory.events == ["started", "connected"])
    await world.until(lambda: factory.made.events == ["made"])
    assert connector.state == "connected"
    assert factory.made.transport.getPeer() == port.getHost()
    assert factory.made.transport.getHost().host == "127.0.0.1"
    factory.made.transport.loseConnection()
    await world.until(lambda: factory.made.events == ["made", "lost"])
    await world.stopped(port)


@pytest.mark.parametrize("error", [ConnectionRefusedError, TimeoutError, UserError])
@pytest_twisted.ensureDeferred
async def test_an_attempt_that_fails(world: World, error: type[Exception]) -> None:
    """It is refused, or takes too long at a listener whose queue is full, or is given up: then at once, and once."""
    factory = Outgoing()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        with socket.create_connection(silent.getsockname()):
            where = (
                ("127.0.0.1", free_port()) if error is not TimeoutError else silent.getsockname()
            )
            seconds = 0.01 if error is TimeoutError else 30
            connector = world.reactor.connectTCP(*where, factory, timeout=seconds)
            if error is UserError:
                connector.stopConnecting()
                assert factory.events == ["started", "failed"]
                with pytest.raises(NotConnectingError):
                    connector.stopConnecting()
            elif error is ConnectionRefusedError and world.is_fake:
                connector.fail(ConnectionRefusedError())
            elif world.is_fake:
                world.reactor.advance(0.01)
            await world.until(lambda: factory.events == ["started", "failed"])
    assert factory.reason.check(error)
    assert connector.state == "disconnected"


# ---------------------------------------------------------------- names


class Found:
    """An IResolutionReceiver that records its events."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        self.events.append("began")

    def addressResolved(self, address: Any) -> None:
        self.events.append(address.host)

    def resolutionComplete(self) -> None:
        self.events.append("complete")


def test_a_lookup_tells_its_addresses_in_order() -> None:
    lookup = FakeLookup({"known.example": ["192.0.2.1", "2001:db8::1"], "unknown.example": []})
    assert verifyObject(IHostnameResolver, lookup)
    for name, told in (("known", ["192.0.2.1", "2001:db8::1"]), ("unknown", [])):
        found = Found()
        lookup.resolveHostName(found, f"{name}.example")
        assert found.events == ["began", *told, "complete"]


def fake_resolver() -> tuple[IResolver, Callable[..., None]]:
    resolver = FakeResolver()
    return resolver, resolver.answer


def real_resolver() -> tuple[IResolver, Callable[..., None]]:
    lookup = FakeLookup()
    resolver = Resolver(FakeReactor(), lookup=lookup)
    return resolver, lambda name, hosts=(): lookup.answer(name.decode(), hosts)


def outcome(deferred: Deferred[Any]) -> list[Any]:
    """What a Deferred gives: filled when it does."""
    given: list[Any] = []
    deferred.addBoth(given.append)
    return given


@pytest.fixture(params=[fake_resolver, real_resolver])
def resolver(request: pytest.FixtureRequest) -> tuple[Any, Callable[..., None]]:
    return request.param()


def test_a_name_has_addresses(resolver: Any) -> None:
    resolver, answer = resolver
    assert verifyObject(IResolver, resolver)
    one, other = (
        outcome(resolver.resolve(b"one.example", CLIENT.host)),
        outcome(resolver.resolve(b"other", CLIENT.host)),
    )
    answer(b"one.example", ["2001:db8::1", "192.0.2.1"])
    assert (one, other) == ([("2001:db8::1", "192.0.2.1")], [])


def test_an_unknown_name_fails(resolver: Any) -> None:
    resolver, answer = resolver
    unknown = outcome(resolver.resolve(b"unknown.example", CLIENT.host))
    answer(b"unknown.example")
    assert unknown[0].check(DNSLookupError)


def test_a_cancelled_name_is_forgotten(resolver: Any) -> None:
    resolver, answer = resolver
    wait = resolver.resolve(b"one.example", CLIENT.host)
    given = outcome(wait)
    wait.cancel()
    assert given[0].check(CancelledError)
    answer(b"one.example", ["192.0.2.1"])
    assert len(given) == 1


# ---------------------------------------------------------------- dialling


class Dialling:
    """A dialer, and how its latest attempt goes on."""

    def __init__(self, dialer: Any, succeed: Any, fail: Any) -> None:
        self.dialer, self.succeed, self.fail = dialer, succeed, fail


def fake_dialer() -> Dialling:
    dialer = FakeDialer(FakeReactor())
    return Dialling(dialer, dialer.succeed, dialer.fail)


def real_dialer() -> Dialling:
    reactor = FakeReactor()
    dialer = DirectDialer(reactor, FakeResolver())
    return Dialling(
        dialer,
        lambda: reactor.connectors[-1].succeed(),  # noqa: PLW0108 - it is not there yet
        lambda error: reactor.connectors[-1].fail(error),  # noqa: PLW0108
    )


@pytest.fixture(params=[fake_dialer, real_dialer])
def dialling(request: pytest.FixtureRequest) -> Dialling:
    return request.param()


TARGET = Address("192.0.2.80", 80)


def test_a_dial_that_succeeds_gives_a_stream_without_receiver(dialling: Dialling) -> None:
    assert verifyObject(IDialer, dialling.dialer)
    given = outcome(begin_dial(dialling.dialer, TARGET))
    assert given == []
    transport = dialling.succeed()
    [stream] = given
    assert verifyObject(IStream, stream)
    assert (stream.transport, stream.receiver) == (transport, None)
    assert transport.connected


def test_a_dial_that_fails(dialling: Dialling) -> None:
    given = outcome(begin_dial(dialling.dialer, TARGET))
    dialling.fail(ConnectionRefusedError())
    assert given[0].check(ConnectionRefusedError)


def test_a_dial_that_is_cancelled(dialling: Dialling) -> None:
    began = begin_dial(dialling.dialer, TARGET)
    given = outcome(began)
    began.cancel()
    assert given[0].check(CancelledError)


@pytest.mark.parametrize(
    ("contract", "fake"),
    [(IRules, Allow()), (IAccessLog, Records()), (ICommand, FakeCommand(Any))],  # type: ignore[arg-type]
)
def test_a_fake_provides_what_it_stands_for(contract: Any, fake: object) -> None:
    assert verifyObject(contract, fake)
