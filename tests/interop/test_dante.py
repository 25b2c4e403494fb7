"""The client through Dante's server: UDP and BIND in chains with ours, twisted.names, FTP in active mode."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory

from socks5.client import Proxy, tunnel_of
from tests.interop.conftest import Front, NameServer, Others
from tests.interop.others import Other, dante
from tests.interop.programs import needs
from tests.interop.proxy import Proxy as OurProxy
from tests.interop.proxy import running_proxy
from tests.interop.servers import Echo, payload
from tests.sockets.clients import Told
from tests.sockets.recipes import fetch_by_ftp, look_up
from tests.sockets.wires import until
from tests.sockets.world import World
from tests.support.datagrams import Noting


@contextmanager
def another(directory: Path) -> Iterator[int]:
    """One more of ours."""
    with running_proxy(directory) as proxy:
        yield proxy.port


@pytest.fixture
def hops(request: pytest.FixtureRequest, others: Others, proxy: OurProxy) -> list[Other]:
    """The proxies that the test names, each a process of its own, for none sends datagrams to itself."""
    ports = {"dante": others(dante), "ours": proxy.port}
    return [Other(ports.pop(kind) if kind in ports else others(another)) for kind in request.param]


@pytest.fixture
def chain(hops: list[Other]) -> Proxy:
    return Proxy.chain(reactor, [hop.proxy() for hop in hops], timeout=10)


def through(*chains: str) -> Any:
    ways = [way.split() for way in chains]
    return pytest.mark.parametrize("hops", ways, indirect=True, ids=chains)


@needs("danted", "sockd")
@through("ours dante", "ours ours")
@pytest_twisted.ensureDeferred
async def test_datagrams_come_back(chain: Proxy, echo: Echo) -> None:
    to = echo.server_address
    async with chain.associate() as udp:
        protocol = Noting()
        port = udp.listenUDP(0, protocol, maxPacketSize=65535)
        for size in (1, 1472, 9000, 60000):
            port.write(payload(size), to)
            await until(lambda: len(protocol.notes) > 1)
            assert protocol.notes.pop() == (payload(size), to)


@needs("danted", "sockd")
@through("ours", "ours dante", "ours ours")
@pytest_twisted.ensureDeferred
async def test_datagrams_come_back_to_a_client_of_our_server(
    hops: list[Other], front: Front, echo: Echo
) -> None:
    tables = [hop.upstream(name=f"hop{number}") for number, hop in enumerate(hops)]
    names = [f"hop{number}" for number in range(len(hops))]
    server = await front("".join([*tables, f"[upstream.up]\nchain = {names}\n"]))
    _, client = await server.associate()
    for size in (1, 1472, 9000, 60000):
        for host in (b"localhost", "127.0.0.1"):
            client.ask((host, echo.server_address[1]), payload(size))
            assert await client.answer() == (payload(size), echo.server_address)


@needs("danted", "sockd")
@through("dante", "dante ours")
@pytest_twisted.ensureDeferred
async def test_a_peer_comes(chain: Proxy) -> None:
    port = await chain.bind(Factory.forProtocol(Told), peer="127.0.0.1")
    there: Any = port.getHost()
    peer: Any = await connectProtocol(TCP4ClientEndpoint(reactor, there.host, there.port), Told())
    accepted: Any = await port.when_accepted()
    assert accepted.transport.getPeer() == peer.transport.getHost()
    assert tunnel_of(accepted.transport) is not None
    peer.transport.write(b"ping")
    await until(lambda: accepted.received == b"ping")
    accepted.transport.write(b"pong")
    await until(lambda: peer.received == b"pong")
    accepted.transport.loseConnection()
    await until(lambda: peer.is_lost and accepted.is_lost)


# ---------------------------------------------------------------- the recipes of docs/client.rst


@pytest.fixture
def alone(others: Others) -> Proxy:
    return Other(others(dante)).proxy()


@needs("danted", "sockd")
@needs("dnsmasq")
@pytest_twisted.ensureDeferred
async def test_twisted_names_asks_through_it(alone: Proxy, name_server: NameServer) -> None:
    """Over TCP, if an answer was cut."""
    for name, hosts in (("a.test", {name_server.address}), ("many.test", {*name_server.many})):
        answers = await look_up(alone, name_server.port, name)
        assert {each.payload.dottedQuad() for each in answers} == hosts


@needs("danted", "sockd")
@pytest_twisted.ensureDeferred
async def test_ftp_in_active_mode(alone: Proxy, tmp_path: Path) -> None:
    world = World(tmp_path)
    await fetch_by_ftp(alone, world, tmp_path)
    await world.close()
