"""Scrapy's handler on real sockets: which proxy a request goes through and as whom, what the server is told, and what
is left on the request. That Scrapy's own handler, lowest and latest, still has what ours needs, is tried by all of it.
"""

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet import _idna, _resolver, _sslverify, endpoints
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Protocol
from twisted.web.client import BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.server import Site

from socks5 import PasswordAuthentication
from socks5.client.errors import ProxyAuthError
from socks5.client.scrapy import DownloadHandler, LoginRefused, PassagePool
from tests.sockets.wires import until
from tests.sockets.world import Page, World
from tests.support.deferreds import told
from tests.support.ports import free_port
from tests.support.skips import needs_scrapy

pytestmark = needs_scrapy


@pytest.fixture(autouse=True)
def twisted_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapy's handlers put functions of their own into Twisted's modules, for the whole process."""
    for module in (_idna, _resolver, _sslverify, endpoints):
        for name in {"_idnaBytes", "_idnaText"} & vars(module).keys():
            monkeypatch.setattr(module, name, getattr(module, name))


class Checker(InMemoryUsernamePasswordDatabaseDontUse):
    """Counts logins."""

    asked = 0

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked += 1
        return super().requestAvatarId(credentials)


class Crawl:
    """A handler of a crawler's, as Scrapy makes it, a proxy with two users, and a page."""

    def __init__(self, world: World, **settings: Any) -> None:
        from scrapy import Spider, signals
        from scrapy.crawler import Crawler
        from scrapy.downloadermiddlewares.httpproxy import HttpProxyMiddleware

        self.world = world
        self.checker = Checker(alice=b"secret", bob=b"secret")
        self.page = Page()
        self.crawler = Crawler(Spider, settings)
        self.handler = DownloadHandler.from_crawler(self.crawler)
        self._middleware = HttpProxyMiddleware.from_crawler(self.crawler)
        self.seen: list[str] = []
        """The proxies of requests, as they are when the header of a response has come."""
        self.crawler.signals.connect(self._note, signals.headers_received)

    def _note(self, request: Any) -> None:
        self.seen.append(request.meta.get("proxy"))

    async def start(self) -> None:
        passwords = PasswordAuthentication.over(self.checker)
        self.server, self.port = await self.world.start(authenticator=passwords)

    def url(self, scheme: str) -> str:
        port = self.world.serve(Site(self.page), is_tls=scheme == "https")
        return f"{scheme}://localhost:{port}/"

    def request(self, url: str, login: str = "", **meta: Any) -> Any:
        """A request as our handler gets it. *login*: ``USER:PASSWORD@``."""
        from scrapy import Request

        meta.setdefault("proxy", f"socks5://{login}127.0.0.1:{self.port}")
        request = Request(url, meta=meta)
        assert self._middleware.process_request(request) is None
        return request

    def fetch(self, request: Any) -> Deferred[Any]:
        from scrapy.utils.defer import deferred_from_coro

        fetching: Deferred[Any] = deferred_from_coro(self.handler.download_request(request))
        return fetching

    async def get(self, *arguments: Any, **meta: Any) -> bytes:
        response = await self.fetch(self.request(*arguments, **meta))
        assert response.status == 200
        body: bytes = response.body
        return body

    async def close(self) -> None:
        from scrapy.utils.defer import deferred_from_coro

        await deferred_from_coro(self.handler.close())


@pytest_twisted.async_yield_fixture
async def crawl(world: World) -> AsyncIterator[Crawl]:
    made = Crawl(world)
    await made.start()
    yield made
    await made.close()


ALICE, BOB = "alice:secret@", "bob:secret@"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest_twisted.ensureDeferred
async def test_two_users_of_a_proxy_at_once(crawl: Crawl, scheme: str) -> None:
    url = crawl.url(scheme)
    requests = [crawl.request(url, login) for login in (ALICE, BOB)]
    first = [response.body for response in await gatherResults(map(crawl.fetch, requests))]
    again = [await crawl.get(url, login) for login in (ALICE, BOB, ALICE)]
    assert first[0] != first[1]
    assert again == [*first, first[0]]
    users = [session.info().user for session in crawl.server.sessions]
    assert sorted(map(str, users)) == ["alice", "bob"]
    assert len(crawl.page.requests) == 5
    assert not any(each.getHeader("proxy-authorization") for each in crawl.page.requests)


@pytest_twisted.ensureDeferred
async def test_a_request_is_left_as_it_was(crawl: Crawl) -> None:
    """It is shown to others, and may be tried again."""
    request = crawl.request(crawl.url("http"), ALICE)
    meta, headers = dict(request.meta), request.headers.to_string()
    assert b"Proxy-Authorization: Basic " in headers
    response = await crawl.fetch(request)
    assert crawl.seen == [meta["proxy"]] == [f"socks5://127.0.0.1:{crawl.port}"]
    assert {name: request.meta[name] for name in meta} == meta
    assert request.headers.to_string() == headers
    assert str(response.ip_address) == "127.0.0.1"


@pytest_twisted.ensureDeferred
async def test_a_wrong_password_is_asked_about_once(crawl: Crawl) -> None:
    from scrapy.settings.default_settings import RETRY_EXCEPTIONS
    from scrapy.utils.misc import load_object

    request = crawl.request(crawl.url("http"), "alice:wrong@")
    headers = request.headers.to_string()
    with pytest.raises(LoginRefused) as caught:
        await crawl.fetch(request)
    assert not isinstance(caught.value, tuple(map(load_object, RETRY_EXCEPTIONS)))
    assert isinstance(caught.value.__cause__, ProxyAuthError)
    assert "wrong" not in f"{caught.value!r} {caught.value}"
    assert crawl.checker.asked == 1
    assert request.headers.to_string() == headers
    assert request.meta["proxy"] == f"socks5://127.0.0.1:{crawl.port}"
    assert crawl.page.requests == []


@pytest_twisted.ensureDeferred
async def test_what_scrapy_raises_it_raises(crawl: Crawl) -> None:
    from scrapy.exceptions import DownloadConnectionRefusedError

    request = crawl.request(f"http://127.0.0.1:{free_port()}/", ALICE)
    with pytest.raises(DownloadConnectionRefusedError):
        await crawl.fetch(request)
    assert b"Proxy-Authorization" in request.headers


@pytest_twisted.ensureDeferred
async def test_a_time_out_is_scrapys(crawl: Crawl) -> None:
    from scrapy.exceptions import DownloadTimeoutError

    silent = crawl.world.target(Protocol)
    request = crawl.request(
        "http://192.0.2.1/", proxy=f"socks5://127.0.0.1:{silent}", download_timeout=0.2
    )
    with pytest.raises(DownloadTimeoutError, match=r"at stage method"):
        await crawl.fetch(request)


@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:1", "127.0.0.1:1"])
@pytest_twisted.ensureDeferred
async def test_others_are_left_to_scrapys_own(crawl: Crawl, proxy: str | None) -> None:
    from scrapy.exceptions import DownloadConnectionRefusedError

    url = crawl.url("http")
    if proxy is None:
        await crawl.get(url, proxy=None)
    else:
        port = free_port()
        with pytest.raises(DownloadConnectionRefusedError):
            await crawl.get(url, proxy=proxy.replace(":1", f":{port}"))
    assert list(crawl.server.sessions) == []


@pytest_twisted.ensureDeferred
async def test_where_connections_come_from(crawl: Crawl) -> None:
    url = crawl.url("http")
    await crawl.get(url, ALICE, bindaddress="127.0.0.9")
    await crawl.get(url, ALICE)
    clients = sorted(session.access.client for session in crawl.server.sessions)
    assert clients == ["127.0.0.1", "127.0.0.9"]


@pytest_twisted.ensureDeferred
async def test_where_all_connections_come_from(world: World) -> None:
    crawl = Crawl(world, DOWNLOAD_BIND_ADDRESS="127.0.0.8")
    await crawl.start()
    await crawl.get(crawl.url("http"), ALICE)
    [session] = crawl.server.sessions
    assert session.access.client == "127.0.0.8"
    await crawl.close()


@pytest_twisted.ensureDeferred
async def test_a_proxy_over_tls_is_verified(crawl: Crawl) -> None:
    """Though Scrapy verifies no server, unless it is told to."""
    from socks5.client import ProxyUnreachable

    _, port = await crawl.world.start(f"tls:0:cert={crawl.world.pem}")
    with pytest.raises(ProxyUnreachable, match="certificate verify failed"):
        await crawl.get(crawl.url("https"), proxy=f"socks5s://localhost:{port}")


def basic(login: bytes, scheme: bytes = b"Basic") -> bytes:
    return scheme + b" " + b64encode(login)


@pytest.mark.parametrize(
    ("proxy", "header", "words"),
    [
        ("socks5://localhost/run/tor/socks", None, "a UNIX socket has no IP address"),
        ("socks5://127.0.0.1:0", None, "port 0"),
        ("socks5://127.0.0.1", basic(b"alice:secret", b"Digest"), "expected Basic"),
        ("socks5://127.0.0.1", basic(b"alice"), "expected Basic"),
        ("socks5://127.0.0.1", b"Basic secret!", "expected Basic"),
        ("socks5://127.0.0.1", basic(b":secret"), "a user name has 1-255 octets"),
        ("socks5://127.0.0.1", basic(b"alice:" + b"x" * 256), "a password at most 255"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_proxy_that_means_nothing(
    crawl: Crawl, proxy: str, header: bytes | None, words: str
) -> None:
    """As where Scrapy's middleware is switched off, which drops what is behind the port."""
    from scrapy import Request

    headers = {} if header is None else {"Proxy-Authorization": header}
    request = Request("http://www.example.org/", meta={"proxy": proxy}, headers=headers)
    with pytest.raises(ValueError, match=words) as caught:
        await crawl.fetch(request)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("login", ["", ALICE])
@pytest_twisted.ensureDeferred
async def test_a_unix_socket_does_not_become_another_proxy(crawl: Crawl, login: str) -> None:
    """Scrapy's middleware drops its path: what is left would be whatever listens on the default port."""
    request = crawl.request("http://www.example.org/", proxy=f"socks5://{login}localhost/run/socks")
    with pytest.raises(ValueError, match="if this was a UNIX socket, Scrapy has dropped its path"):
        await crawl.fetch(request)


@pytest_twisted.ensureDeferred
async def test_a_login_in_the_url_where_nobody_has_moved_it(crawl: Crawl) -> None:
    from scrapy import Request

    proxy = f"SOCKS5://{BOB}127.0.0.1:{crawl.port}"
    response = await crawl.fetch(Request(crawl.url("http"), meta={"proxy": proxy}))
    [session] = crawl.server.sessions
    assert (response.status, session.info().user) == (200, "bob")


def ask_without_a_request(world: World) -> None:
    pool = PassagePool(HTTPConnectionPool(world.reactor), BrowserLikePolicyForHTTPS())
    with pytest.raises(RuntimeError, match="no request that has a proxy"):
        pool.getConnection((b"http", b"localhost", 80, None), world)  # type: ignore[arg-type]


def test_a_pool_without_a_request_does_not_go_directly(world: World) -> None:
    ask_without_a_request(world)


@pytest_twisted.ensureDeferred
async def test_a_scrapy_that_asks_no_pool_is_found_out(
    crawl: Crawl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leaves nothing behind: the request is as it was, and what comes later in its context is not taken for it."""
    from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler

    async def answer(handler: Any, request: Any) -> str:
        assert "proxy" not in request.meta
        return "from elsewhere"

    monkeypatch.setattr(HTTP11DownloadHandler, "download_request", answer)
    request = crawl.request("http://www.example.org/", ALICE)
    with pytest.raises(RuntimeError, match="has not asked"):
        await crawl.handler.download_request(request)
    assert request.meta["proxy"] == f"socks5://127.0.0.1:{crawl.port}"
    assert b"Proxy-Authorization" in request.headers
    ask_without_a_request(crawl.world)


@pytest_twisted.ensureDeferred
async def test_it_closes_what_is_kept(crawl: Crawl) -> None:
    url = crawl.url("http")
    await crawl.get(url, ALICE)
    await crawl.get(url, proxy=None)
    assert not DownloadHandler.lazy
    closing = told(Deferred.fromCoroutine(crawl.close()))
    await until(lambda: closing)
    assert closing == [None]
    await until(lambda: not list(crawl.server.sessions))
