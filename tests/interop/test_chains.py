"""Proxies of several hands behind one another, and TLS with one of them: stunnel in front of microsocks, which asks for
a certificate.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_twisted
from twisted.internet import ssl
from twisted.internet.protocol import Factory
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.server import Site

from socks5.client import ConnectionRefused, Proxy, ProxyUnreachable, tunnel_of
from tests.interop import others as programs
from tests.interop.conftest import Front, Others
from tests.interop.others import Other
from tests.interop.processes import listening
from tests.interop.programs import needs, require_program
from tests.sockets.clients import Told, packed
from tests.sockets.wires import until
from tests.sockets.world import Page, World
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.skips import needs_treq

pytestmark = [needs("stunnel4", "stunnel"), needs("microsocks"), needs("danted", "sockd")]

STUNNEL = """\
foreground = yes
pid =
[socks]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{behind}
cert = {cert}
CAfile = {authority}
verifyChain = yes
"""


class TLS(NamedTuple):
    """A proxy over TLS.

    :ivar anna: key and certificate of a client that it lets in.
    """

    port: int
    authority: Path
    anna: Path


@pytest.fixture(scope="module")
def tls(others: Others, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TLS]:
    directory, port = tmp_path_factory.mktemp("stunnel"), free_port()
    authority, configuration = Authority(directory), directory / "stunnel.conf"
    keys = {"behind": others(programs.microsocks), "authority": authority.path}
    configuration.write_text(STUNNEL.format(port=port, cert=authority.server(), **keys))
    command = (require_program("stunnel4", "stunnel"), configuration)
    with listening(*command, port=port, log=directory / "log"):
        yield TLS(port, authority.path, authority.client("anna"))


@pytest_twisted.async_yield_fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.close()


LOGIN = f"{programs.USER}:{programs.PASSWORD}"


def over_tls(tls: TLS, name: str = "localhost", has_own: bool = True) -> Proxy:
    from twisted.internet import reactor

    roots = [ssl.Certificate.loadPEM(tls.authority.read_bytes())]
    own = ssl.PrivateCertificate.loadPEM(tls.anna.read_bytes()) if has_own else None
    options = ssl.optionsForClientTLS(name, ssl.trustRootFromCertificates(roots), own)
    return Proxy.from_url(reactor, f"socks5s://{LOGIN}@127.0.0.1:{tls.port}", tls=options)


def upstream_over_tls(tls: TLS, name: str = "localhost", has_own: bool = True) -> str:
    own = f'cert = "{tls.anna}", key = "{tls.anna}", ' if has_own else ""
    return f"""\
[upstream.tls]
url = "socks5s://127.0.0.1:{tls.port}"
user = "{programs.USER}"
password = "{programs.PASSWORD}"
tls = {{ ca = "{tls.authority}", {own}name = "{name}" }}
"""


CHAINS = pytest.mark.parametrize(
    "hops", [["tls"], ["tls", "dante"], ["dante", "tls"]], ids="-".join
)


def chain(hops: list[str], tls: TLS, others: Others) -> Proxy:
    from twisted.internet import reactor

    proxies = {"tls": over_tls(tls), "dante": Other(others(programs.dante)).proxy()}
    return Proxy.chain(reactor, [proxies[hop] for hop in hops], timeout=10)


@CHAINS
@pytest_twisted.ensureDeferred
async def test_our_client_goes_through_them(
    hops: list[str], tls: TLS, others: Others, world: World, closed_port: int
) -> None:
    proxy = chain(hops, tls, others)
    for is_tls in (False, True):
        port = world.target(is_tls=is_tls)
        endpoint = proxy.endpoint("localhost", port, world.verifying() if is_tls else False)
        near = await endpoint.connect(Factory.forProtocol(Told))
        transport: Any = near.transport
        transport.write(b"w" * 100_000)
        await until(lambda near=near: len(near.received) == len(b"hello ") + 100_000)
        assert tunnel_of(transport) is not None
        transport.loseConnection()
        await until(lambda near=near: near.is_lost)
    with pytest.raises(ConnectionRefused) as caught:
        await proxy.endpoint("127.0.0.1", closed_port).connect(Factory())
    assert caught.value.hop == len(hops)


@CHAINS
@pytest_twisted.ensureDeferred
async def test_our_server_goes_through_them(
    hops: list[str], tls: TLS, others: Others, front: Front, closed_port: int
) -> None:
    dante = Other(others(programs.dante)).upstream(name="dante")
    server = await front(f"{upstream_over_tls(tls)}{dante}[upstream.up]\nchain = {hops}\n")
    target = server.listen()
    client = await server.client(1, packed(b"localhost", target.host[1]))
    assert (await client.reply())[0] == 0
    client.send(b"a question")
    far, _ = await target.accept()
    assert await far.receive(10) == b"a question"
    far.send(b"an answer")
    far.end()
    assert await client.rest() == b"an answer"
    client.close()
    far.close()
    refused = await server.client(1, packed("127.0.0.1", closed_port))
    assert (await refused.reply())[0] == 5
    refused.close()
    await server.gone(2)
    assert {(each.upstream, each.reply) for each in server.records} == {("up", 0), ("up", 5)}


@pytest.mark.parametrize(
    ("name", "has_own", "stage", "words"),
    [
        ("other.example", True, "tls", "other.example"),
        ("localhost", False, "method", "certificate required"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_both_sides_want_the_right_certificate(
    name: str, has_own: bool, stage: str, words: str, tls: TLS, front: Front
) -> None:
    """Who has none is told so behind the handshake, by TLS 1.3; what was wrong is told in both cases."""
    with pytest.raises(ProxyUnreachable, match=words) as caught:
        await over_tls(tls, name, has_own).endpoint("192.0.2.1", 80).connect(Factory())
    assert caught.value.stage == stage
    hop = upstream_over_tls(tls, name, has_own)
    server = await front(f'{hop}[upstream.up]\nchain = ["tls"]\n')
    client = await server.client(1, packed("192.0.2.1", 80))
    assert (await client.reply())[0] == 1
    client.close()
    await server.gone()
    [record] = server.records
    assert f"hop 1, {stage}" in record.detail
    assert words in record.detail


@needs_treq
@pytest_twisted.ensureDeferred
async def test_treq_over_https(tls: TLS, others: Others, world: World) -> None:
    import treq

    policy = BrowserLikePolicyForHTTPS(world.roots)
    agent = chain(["tls", "dante"], tls, others).agent(policy=policy)
    port = world.serve(Site(Page()), is_tls=True)
    response = await treq.get(f"https://localhost:{port}/", agent=agent)
    assert (response.code, (await response.text()).isdigit()) == (200, True)
