"""Proxies of other hands, through which our client goes, and our server by ``via``: what each says to what it can do,
and to what it cannot.
"""

from collections.abc import Awaitable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory

from socks5.client import (
    ProxyClosed,
    ProxyTimeout,
    tunnel_of,
)
from tests.interop import others as programs
from tests.interop.conftest import Front, Others
from tests.interop.kinds import CONNECTED, ERRORS, KINDS, NO_LOGIN, Kind, is_socks, of_those
from tests.interop.others import NOWHERE, Other
from tests.interop.programs import needs
from tests.interop.servers import Echo, payload
from tests.sockets.clients import Network, Told, packed
from tests.sockets.wires import until
from tests.support.datagrams import Noting


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def other(kind: Kind, others: Others) -> Other:
    return Other(others(kind.start), kind.scheme, kind.has_login)


@pytest.fixture
def network() -> Iterator[Network]:
    with ExitStack() as stack:
        yield Network(stack)


# ---------------------------------------------------------------- CONNECT


@of_those(bool)
@pytest_twisted.ensureDeferred
async def test_an_endpoint_leads_to_a_target(kind: Kind, other: Other, network: Network) -> None:
    """By address and by name."""
    target = network.listen()
    port = target.host[1]
    for host in ("127.0.0.1", "localhost"):
        endpoint = other.proxy().endpoint(host, port)
        near = await endpoint.connect(Factory.forProtocol(Told))
        assert near.transport is not None
        near.transport.write(b"a question")
        far, source = await target.accept()
        bounds = {"nothing": ("0.0.0.0", 0), "source": source, "proxy": ("127.0.0.1", other.port)}
        tunnel = tunnel_of(near.transport)
        assert tunnel is not None
        assert (tunnel.bound.text, tunnel.bound.port) == bounds.get(kind.bound, (host, port))
        assert await far.receive(10) == b"a question"
        far.send(b"an answer")
        await until(lambda near=near: near.received == b"an answer")
        near.transport.loseConnection()
        await until(lambda near=near: near.is_lost)


@of_those(bool)
@pytest_twisted.ensureDeferred
async def test_an_upstream_leads_to_a_target(other: Other, front: Front) -> None:
    server = await front(other.upstream())
    target = server.listen()
    client = await server.client(1, packed(b"localhost", target.host[1]))
    code, bound = await client.reply()
    assert code == 0
    client.send(b"a question")
    far, _ = await target.accept()
    assert await far.receive(10) == b"a question"
    far.send(b"an answer")
    assert await client.receive(9) == b"an answer"
    for end in (client, far):
        end.close()
    await server.gone()
    [record] = server.records
    assert (record.upstream, record.reply, record.bytes_up, record.bytes_down) == ("up", 0, 10, 9)
    assert record.bound == f"{bound[0]}:{bound[1]}"
    assert bound[1] != 0


def unreachable(kind: Kind, closed_port: int) -> list[tuple[str, int, int]]:
    """Targets that are none, and what is said of them."""
    found = [("127.0.0.1", closed_port, kind.refused)]
    return found if kind.unknown is None else [*found, (NOWHERE, 80, kind.unknown)]


async def ended(doing: Awaitable[Any], code: int, *stages: str) -> Any:
    """Whatever comes of it, for it must end so."""
    if code == CONNECTED:
        return await doing
    with pytest.raises(ERRORS[code]) as caught:
        await doing
    assert caught.value.stage in (stages or ("reply",))
    return None


@of_those(bool)
@pytest_twisted.ensureDeferred
async def test_an_endpoint_tells_why_there_is_no_connection(
    kind: Kind, other: Other, closed_port: int
) -> None:
    for host, port, code in unreachable(kind, closed_port):
        connecting = other.proxy().endpoint(host, port).connect(Factory.forProtocol(Told))
        near = await ended(connecting, code)
        if near is not None:
            near.transport.abortConnection()
            await until(lambda near=near: near.is_lost)


def said(code: int) -> int:
    """What our server says to it."""
    return 1 if code < 0 else code


@of_those(bool)
@pytest_twisted.ensureDeferred
async def test_an_upstream_tells_why_there_is_no_connection(
    kind: Kind, other: Other, front: Front, closed_port: int
) -> None:
    """By the same octet."""
    server = await front(other.upstream())
    for number, (host, port, code) in enumerate(unreachable(kind, closed_port)):
        client = await server.client(1, packed(host.encode() if host == NOWHERE else host, port))
        assert (await client.reply())[0] == said(code)
        client.reset()
        await server.gone(number + 1)
        record = server.records[-1]
        assert (record.upstream, record.reply) == ("up", said(code))


@of_those(lambda kind: kind.has_login)
@pytest_twisted.ensureDeferred
async def test_a_wrong_password(kind: Kind, other: Other, front: Front) -> None:
    endpoint = other.proxy("wrong").endpoint("127.0.0.1", 9)
    await ended(endpoint.connect(Factory()), kind.wrong, "login" if is_socks(kind) else "reply")
    server = await front(other.upstream("wrong"))
    client = await server.client(1, packed("127.0.0.1", 9))
    assert (await client.reply())[0] == said(kind.wrong)
    client.close()
    await server.gone()
    assert server.counters.upstreams["up"].is_out == (kind.wrong == NO_LOGIN)


# ---------------------------------------------------------------- other commands


@of_those(is_socks)
@pytest_twisted.ensureDeferred
async def test_our_client_asks_for_more_than_a_connection(kind: Kind, other: Other) -> None:
    proxy = other.proxy()
    port = await ended(proxy.bind(Factory.forProtocol(Told), peer="127.0.0.1"), kind.bind)
    if port is not None:
        assert port.getHost().host == "127.0.0.1"
        await port.stopListening()
    await ended(proxy.resolve("localhost"), kind.resolve)
    await ended(proxy.resolve_ptr("127.0.0.1"), kind.resolve)
    if not kind.datagrams:
        await ended(proxy.associate().open(), kind.udp)


@of_those(bool)
@pytest_twisted.ensureDeferred
async def test_our_server_asks_for_more_than_a_connection(
    kind: Kind, other: Other, front: Front
) -> None:
    keys = {}
    asked: list[Any] = [(2, "127.0.0.1", kind.bind)]
    if is_socks(kind):
        keys["commands"] = ["connect", "bind", "resolve"]
        asked += [(0xF0, b"localhost", kind.resolve), (0xF1, "127.0.0.1", kind.resolve)]
    server = await front(other.upstream(**keys))
    for number, (command, host, code) in enumerate(asked):
        client = await server.client(command, packed(host, 0))
        assert (await client.reply())[0] == said(code)
        client.close()
        await server.gone(number + 1)
        assert server.records[-1].upstream == ("up" if is_socks(kind) else None)


@of_those(lambda kind: kind.datagrams)
@pytest_twisted.ensureDeferred
async def test_datagrams_come_back(kind: Kind, other: Other, echo: Echo) -> None:
    to = echo.server_address
    async with other.proxy().associate() as udp:
        protocol = Noting()
        port = udp.listenUDP(0, protocol, maxPacketSize=65535)
        for size in (1, 100, kind.datagrams):
            port.write(payload(size), to)
            await until(lambda: len(protocol.notes) > 1)
            assert protocol.notes.pop() == (payload(size), to)


@of_those(lambda kind: kind.datagrams)
@pytest_twisted.ensureDeferred
async def test_datagrams_come_back_to_a_client_of_our_server(
    kind: Kind, other: Other, front: Front, echo: Echo
) -> None:
    server = await front(other.upstream())
    control, client = await server.associate()
    sizes = (1, 100, kind.datagrams)
    for size in sizes:
        client.ask(echo.server_address, payload(size))
        assert await client.answer() == (payload(size), echo.server_address)
    control.close()
    await server.gone()
    [record] = server.records
    assert (record.upstream, record.bytes_up, record.bytes_down) == ("up", sum(sizes), sum(sizes))
    assert record.dropped == 0


@of_those(lambda kind: is_socks(kind) and not kind.datagrams)
@pytest_twisted.ensureDeferred
async def test_datagrams_are_dropped_where_our_server_cannot_send_them(
    other: Other, front: Front
) -> None:
    server = await front(other.upstream())
    control, client = await server.associate()
    client.ask(("192.0.2.1", 53))
    await until(lambda: server.counters.dropped == {"upstream": 1})
    control.close()
    await server.gone()
    [record] = server.records
    assert (record.upstream, record.drops) == ("up", {"upstream": 1})


# ---------------------------------------------------------------- what only one does


@needs("sshd")
@pytest_twisted.ensureDeferred
async def test_ssh_takes_no_login(others: Others, network: Network) -> None:
    """So one is offered beside none; where it has to be taken, it closes."""
    port, target = others(programs.ssh), network.listen()
    ssh = Other(port, has_login=True)
    near = await ssh.proxy().endpoint(*target.host).connect(Factory.forProtocol(Told))
    assert near.transport is not None
    near.transport.abortConnection()
    await until(lambda: near.is_lost)
    with pytest.raises(ProxyClosed) as caught:
        await ssh.proxy(require_login=True).endpoint(*target.host).connect(Factory())
    assert caught.value.stage == "method"


@needs("v2ray")
@pytest_twisted.ensureDeferred
async def test_v2ray_answers_by_names_and_cuts(others: Others, front: Front, echo: Echo) -> None:
    """At 2048 octets with its header, whose names it does not resolve; so our server's client hears of them, too."""
    to = ("localhost", echo.server_address[1])
    async with Other(others(programs.v2ray)).proxy().associate() as udp:
        protocol = Noting()
        port = udp.listenUDP(0, protocol, maxPacketSize=65535)
        port.write(payload(9000), to)
        await until(lambda: len(protocol.notes) > 1)
        assert protocol.notes.pop() == (payload(9000)[: 2048 - 16], to)
    server = await front(Other(others(programs.v2ray)).upstream())
    _, client = await server.associate()
    client.ask((b"localhost", to[1]), payload(9000))
    assert await client.answer() == (payload(9000)[: 2048 - 16], to)


@needs("ss-server")
@pytest_twisted.ensureDeferred
async def test_shadowsocks_has_no_large_datagrams(others: Others, echo: Echo) -> None:
    async with Other(others(programs.shadowsocks)).proxy().associate() as udp:
        protocol = Noting()
        port = udp.listenUDP(0, protocol, maxPacketSize=65535)
        port.write(payload(9000), echo.server_address)
        port.write(payload(100), ("localhost", echo.server_address[1]))
        await until(lambda: len(protocol.notes) > 1)
        assert protocol.notes == ["started", (payload(100), echo.server_address)]


@needs("tinyproxy")
@needs("squid")
@pytest_twisted.ensureDeferred
async def test_http_proxies_are_silent_to_a_greeting_of_socks(others: Others, front: Front) -> None:
    """Who asks is not told by them that this is the wrong scheme."""
    both = [Other(others(start)) for start in (programs.tinyproxy, programs.squid)]
    asking = [each.proxy(timeout=0.2).endpoint("192.0.2.1", 80).connect(Factory()) for each in both]
    server = await front(both[0].upstream(timeout="200ms"))
    client = await server.client(1, packed("192.0.2.1", 80))
    for failing in asking:
        with pytest.raises(ProxyTimeout) as caught:
            await failing
        assert caught.value.stage == "method"
    assert (await client.reply())[0] == 1
    client.close()
    await server.gone()
    assert server.counters.upstreams["up"].failures == {"method": 1}
