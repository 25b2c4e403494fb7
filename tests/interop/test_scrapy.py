"""Scrapy: a crawl through two proxies at once, of servers that send it on and want to be asked again."""

import json
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.interop.processes import succeed
from tests.interop.proxy import SOURCES, running_proxy
from tests.interop.servers import SECONDS, serving, text
from tests.support.certificates import self_signed
from tests.support.skips import needs_scrapy


class Handler(BaseHTTPRequestHandler):
    """Each path is first answered by 503; ``/moved`` then leads to another server."""

    protocol_version = "HTTP/1.1"
    timeout = SECONDS
    server: "Site"

    def do_GET(self) -> None:
        site = self.server
        seen = self.path in site.paths
        site.paths.append(self.path)
        site.clients.add(text(self.client_address))
        site.headers += self.headers.keys()
        moves = seen and self.path.startswith("/moved")
        body = b"a page" if seen and not moves else b""
        self.send_response(302 if moves else 200 if seen else 503)
        if moves:
            self.send_header("Location", site.elsewhere + self.path.removeprefix("/moved"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Site(ThreadingHTTPServer):
    """A web server; what it is asked, and by whom.

    :param pem: of one over TLS.
    """

    daemon_threads = True

    def __init__(self, elsewhere: str = "", pem: Path | None = None) -> None:
        self.elsewhere = elsewhere
        self.paths: list[str] = []
        self.headers: list[str] = []
        self.clients: set[str] = set()
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http{'' if pem is None else 's'}://localhost:{self.server_address[1]}"
        if pem is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            self.socket = context.wrap_socket(self.socket, server_side=True)


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[tuple[Site, Site]]:
    """One that leads to the other, which is over TLS."""
    with (
        Site(pem=self_signed(tmp_path)) as secure,
        serving(secure),
        Site(secure.url) as plain,
        serving(plain),
    ):
        yield plain, secure


@needs_scrapy
def test_a_crawl(sites: tuple[Site, Site], tmp_path: Path) -> None:
    plain, secure = sites
    with ExitStack() as stack:
        options = {"one": ("--auth", "memory:alice:secret"), "other": ()}
        proxies = []
        for name, those in options.items():
            (tmp_path / name).mkdir()
            proxies.append(stack.enter_context(running_proxy(tmp_path / name, *those)))
        one, other = proxies
        asked = [
            (f"{plain.url}/moved/one", f"socks5://alice:secret@{one.url}"),
            (f"{plain.url}/moved/other", f"socks5://{other.url}"),
            (f"{plain.url}/wrong", f"socks5://alice:wrong@{one.url}"),
        ]
        output = succeed(
            sys.executable,
            *("-m", "tests.interop.scraping", json.dumps(asked)),
            env={"PYTHONPATH": str(SOURCES)},
        )
        found = sorted(json.loads(line) for line in output.splitlines())
    assert found == [
        [f"{plain.url}/wrong", f"socks5://{one.url}", "LoginRefused"],
        [f"{secure.url}/one", f"socks5://{one.url}", "a page"],
        [f"{secure.url}/other", f"socks5://{other.url}", "a page"],
    ]
    assert sorted(plain.paths) == ["/moved/one"] * 2 + ["/moved/other"] * 2
    assert sorted(secure.paths) == ["/one"] * 2 + ["/other"] * 2
    for site in sites:
        assert "proxy-authorization" not in map(str.lower, site.headers)
    refused = [each for each in one.records if each.user is None]
    assert len(refused) == 1
    through = [{each.bound for each in proxy.records if each.bound} for proxy in proxies]
    assert all(through)
    assert through[0] | through[1] == plain.clients | secure.clients
