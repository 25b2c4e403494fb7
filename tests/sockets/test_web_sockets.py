"""Agents on real sockets: servers of twisted.web, with TLS and without, through our own proxy and two of its users."""

from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.defer import Deferred, gatherResults
from twisted.web.client import BrowserLikePolicyForHTTPS, HTTPConnectionPool, readBody
from twisted.web.iweb import IAgent
from twisted.web.server import Site

from socks5 import PasswordAuthentication, ServerFactory
from socks5.client import Proxy, ProxyAuthError
from tests.sockets.world import Page, World
from tests.support.skips import needs_treq

pytestmark = pytest.mark.filterwarnings(
    "ignore:Using readBody:DeprecationWarning"
)  # Twisted's own agents do


class Web:
    """Two users of a proxy, and a server."""

    def __init__(self, world: World, server: ServerFactory, port: int) -> None:
        self.world = world
        self.server = server
        self.pool = HTTPConnectionPool(world.reactor)
        self._port = port
        self.policy = BrowserLikePolicyForHTTPS(world.roots)

    def url(self, scheme: str) -> bytes:
        """A page of a new server's."""
        port = self.world.serve(Site(Page()), is_tls=scheme == "https")
        return f"{scheme}://localhost:{port}/".encode()

    def agent(self, user: str, password: str = "secret") -> IAgent:
        url = f"socks5://{user}:{password}@127.0.0.1:{self._port}"
        return Proxy.from_url(self.world.reactor, url).agent(self.pool, self.policy)


def get(agent: IAgent, url: bytes) -> Deferred[bytes]:
    """The connection that was used."""
    return agent.request(b"GET", url).addCallback(readBody)


@pytest_twisted.async_yield_fixture
async def web(world: World) -> AsyncIterator[Web]:
    checker = InMemoryUsernamePasswordDatabaseDontUse(alice=b"secret", bob=b"secret")
    server, port = await world.start(authenticator=PasswordAuthentication.over(checker))
    made = Web(world, server, port)
    yield made
    await made.pool.closeCachedConnections()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest_twisted.ensureDeferred
async def test_two_users_of_a_proxy_never_share_a_connection(web: Web, scheme: str) -> None:
    url = web.url(scheme)
    alice, bob = web.agent("alice"), web.agent("bob")
    first = [await get(agent, url) for agent in (alice, bob)]
    again = [await get(agent, url) for agent in (alice, bob, web.agent("alice"))]
    assert first[0] != first[1]
    assert again == [*first, first[0]]
    users = [session.info().user for session in web.server.sessions]
    assert sorted(map(str, users)) == ["alice", "bob"]
    at_once = await gatherResults([get(agent, url) for agent in (alice, alice, bob, bob)])
    assert len(set(at_once)) == 4


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest_twisted.ensureDeferred
async def test_a_wrong_password_gets_no_connection_of_anybodys(web: Web, scheme: str) -> None:
    url = web.url(scheme)
    await get(web.agent("alice"), url)
    with pytest.raises(ProxyAuthError):
        await get(web.agent("alice", "wrong"), url)


@pytest_twisted.ensureDeferred
async def test_a_policy_decides_whom_a_server_may_be(web: Web) -> None:
    url = web.url("https")
    web.policy = BrowserLikePolicyForHTTPS()
    with pytest.raises(Exception, match="certificate verify failed"):
        await get(web.agent("alice"), url)


@needs_treq
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest_twisted.ensureDeferred
async def test_treq(web: Web, scheme: str) -> None:
    import treq
    from treq.client import HTTPClient

    url = web.url(scheme).decode()
    agent = web.agent("alice")
    bodies = [
        await (await treq.get(url, agent=agent)).content(),
        await (await HTTPClient(agent).get(url)).content(),
    ]
    assert bodies[0] == bodies[1] != b""
