"""UDP and BIND on real sockets, through our own proxies: twisted.names, FTP in active mode, and chains of them.

Recipes of docs/client.rst among them.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import error
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.names import client, dns

from socks5.client import Proxy, association
from tests.sockets.clients import Told
from tests.sockets.recipes import fetch_by_ftp, look_up
from tests.sockets.wires import until
from tests.sockets.world import World
from tests.support.contexts import FakeAcceptor, Initiating
from tests.support.datagrams import Noting


class NameServer:
    """Knows an address for every name; of one that begins with "long" it tells by TCP alone."""

    address = "192.0.2.1"

    def __init__(self, reactor: Any) -> None:
        self.clients: list[Any] = []
        self.together = 1  # so many questions are answered together
        self._held: list[Any] = []
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: dns.DNSProtocol(self)  # type: ignore[method-assign,assignment]
        self._tcp = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.port = self._tcp.getHost().port
        protocol = dns.DNSDatagramProtocol(self, reactor)
        protocol.noisy = False
        self._udp = reactor.listenUDP(self.port, protocol, "127.0.0.1")

    def connectionMade(self, protocol: Any) -> None:
        """A client came by TCP."""

    def connectionLost(self, protocol: Any) -> None:
        """And left."""

    def messageReceived(  # noqa: N802
        self, message: Any, protocol: Any, address: Any = None
    ) -> None:
        self._held.append((message, protocol, address))
        if len(self._held) == self.together:
            held, self._held = self._held, []
            for each in held:
                self._answer(*each)

    def _answer(self, message: Any, protocol: Any, address: Any) -> None:
        name = message.queries[0].name.name
        message.answer = 1
        if address is not None and name.startswith(b"long"):
            message.trunc = 1
        else:
            record = dns.Record_A(self.address)
            message.answers = [dns.RRHeader(name, dns.A, dns.IN, 60, record)]
        self.clients.append(address)
        protocol.writeMessage(message, *(() if address is None else (address,)))

    async def close(self) -> None:
        await self._tcp.stopListening()
        await self._udp.stopListening()


@pytest_twisted.async_yield_fixture
async def names(world: World) -> AsyncIterator[NameServer]:
    from twisted.internet import reactor

    server = NameServer(reactor)
    yield server
    await server.close()


def resolver_of(names: NameServer, udp: Any) -> Any:
    return client.Resolver(servers=[("127.0.0.1", names.port)], reactor=udp)


def address_in(found: Any) -> str:
    [answer] = found[0]
    return str(answer.payload.dottedQuad())


@pytest_twisted.ensureDeferred
async def test_the_recipe_for_names(world: World, names: NameServer) -> None:
    answers = await look_up(await world.proxy(), names.port)
    assert address_in([answers]) == names.address


@pytest_twisted.ensureDeferred
async def test_six_in_a_row_use_one_association_and_ten_at_once_use_ten(
    world: World, names: NameServer
) -> None:
    proxy = await world.proxy()
    async with proxy.associate() as udp:
        resolver = resolver_of(names, udp)
        for number in range(6):
            found = await resolver.lookupAddress(f"{number}.example.org")
            assert address_in(found) == names.address
        assert len(set(names.clients)) == 1
        names.clients.clear()
        names.together = 10
        asked = [resolver.lookupAddress(f"{number}.example.net") for number in range(10)]
        for found in await gatherResults(asked):
            assert address_in(found) == names.address
        assert len(set(names.clients)) == 10
        assert +udp.dropped == {}


@pytest_twisted.ensureDeferred
async def test_truncated_answers_come_over_tcp(world: World, names: NameServer) -> None:
    proxy = await world.proxy()
    async with proxy.associate() as udp:
        resolver = resolver_of(names, udp)
        assert address_in(await resolver.lookupAddress("long.example.org")) == names.address
        assert names.clients[1:] == [None]
        [connection] = resolver.connections
        connection.transport.loseConnection()
        await until(lambda: not resolver.connections)


class Echo(DatagramProtocol):
    """Sends back what comes."""

    noisy = False

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(datagram, addr)  # type: ignore[union-attr]


@pytest.mark.parametrize("announce", ["nothing", "port", "address"])
@pytest.mark.parametrize("is_tls", [False, True])
@pytest_twisted.ensureDeferred
async def test_datagrams_of_every_size(world: World, is_tls: bool, announce: Any) -> None:
    proxy = await world.proxy(is_tls)
    echo = world.reactor.listenUDP(0, Echo(), "127.0.0.1", 65535)
    to = "127.0.0.1", echo.getHost().port
    largest = 65507 - 10
    async with proxy.associate(announce=announce, plain_udp=True) as udp:
        protocol = Noting()
        port = udp.listenUDP(0, protocol, maxPacketSize=65535)
        for size in (0, 1, 8193, largest):
            port.write(bytes(size), to)
            await until(lambda size=size: protocol.notes[-1] == (bytes(size), to))  # type: ignore[misc]
        with pytest.raises(error.MessageLengthError):
            port.write(bytes(largest + 1), to)
    assert protocol.notes[-1] == "stopped"
    await echo.stopListening()


@pytest_twisted.ensureDeferred
async def test_datagrams_of_a_link(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback stands for one, whose zone the system does not mind."""
    monkeypatch.setattr(association, "near_end", lambda _: "::1%lo")
    _, number = await world.start(interface=r"\:\:1")
    proxy = Proxy.from_url(world.reactor, f"socks5://[::1]:{number}")
    echo = world.reactor.listenUDP(0, Echo(), "127.0.0.1")
    to = "127.0.0.1", echo.getHost().port
    async with proxy.associate(announce="address") as udp:
        protocol = Noting()
        port = udp.listenUDP(0, protocol)
        port.write(b"ping", to)
        await until(lambda: protocol.notes[-1] == (b"ping", to))
        assert port.getHost().host == "::1"
    await echo.stopListening()


@pytest_twisted.ensureDeferred
async def test_names_in_the_tokens_of_a_login(world: World, names: NameServer) -> None:
    proxy = await world.proxy(acceptor=FakeAcceptor(), gssapi=Initiating())
    async with proxy.associate() as udp:
        resolver = resolver_of(names, udp)
        for name in ("example.org", "example.net"):
            assert address_in(await resolver.lookupAddress(name)) == names.address
        assert +udp.dropped == {}


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_ends_an_association_is_noticed(world: World) -> None:
    factory, number = await world.start()
    proxy = Proxy.from_url(world.reactor, f"socks5://127.0.0.1:{number}")
    async with proxy.associate() as udp:
        protocol = Noting()
        udp.listenUDP(0, protocol)
        await factory.close_sessions("the operator", 0)
        await until(lambda: protocol.notes[-1] == "refused")


# ---------------------------------------------------------------- BIND


@pytest.mark.parametrize("hops", ["0", "1", "00", "01", "10", "010"])
@pytest_twisted.ensureDeferred
async def test_a_peer_comes_to_the_last_proxy(world: World, hops: str) -> None:
    proxy = Proxy.chain(world.reactor, [await world.proxy(digit == "1") for digit in hops])
    port = await proxy.bind(Factory.forProtocol(Told), peer="127.0.0.1")
    there: Any = port.getHost()
    peer: Any = await connectProtocol(
        TCP4ClientEndpoint(world.reactor, there.host, there.port), Told()
    )
    accepted: Any = await port.when_accepted()
    ours, theirs = accepted.transport, peer.transport
    assert ours.getPeer() == theirs.getHost()
    assert ours.getHost() == theirs.getPeer() == there
    theirs.write(b"ping")
    await until(lambda: accepted.received == b"ping")
    ours.write(b"pong")
    await until(lambda: peer.received == b"pong")
    ours.loseConnection()
    await until(lambda: peer.is_lost and accepted.is_lost)


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_stopped_is_closed_at_the_proxy(world: World) -> None:
    proxy = await world.proxy()
    port = await proxy.bind(Factory.forProtocol(Told))
    there: Any = port.getHost()
    await port.stopListening()
    endpoint = TCP4ClientEndpoint(world.reactor, there.host, there.port)
    is_refused = False
    while not is_refused:  # the proxy may not have noticed yet
        try:
            connected: Any = await connectProtocol(endpoint, Told())
        except error.ConnectError as found:
            is_refused = isinstance(found, error.ConnectionRefusedError)
        else:
            connected.transport.abortConnection()


@pytest_twisted.ensureDeferred
async def test_the_recipe_for_ftp(world: World, tmp_path: Path) -> None:
    await fetch_by_ftp(await world.proxy(), world, tmp_path)
