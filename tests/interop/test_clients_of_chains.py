"""Clients of other hands at our server, whose upstream is a chain of proxies of other hands."""

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
import socks
from python_socks import ProxyType
from python_socks.sync import Proxy
from twisted.internet.threads import deferToThread

from tests.interop import others as programs
from tests.interop.conftest import Front, Others
from tests.interop.others import Other
from tests.interop.programs import needs
from tests.interop.servers import SECONDS, Web, fetch
from tests.support.skips import needs_httpx

pytestmark = [needs("microsocks"), needs("danted", "sockd")]

Client = Callable[[tuple[str, int], str, int], bytes]
"""Fetches a page: from whom, by which proxy."""


def pysocks(proxy: tuple[str, int], host: str, port: int) -> bytes:
    with socks.socksocket() as connection:
        connection.settimeout(SECONDS)
        connection.set_proxy(socks.SOCKS5, *proxy)
        connection.connect((host, port))
        return fetch(connection)


def python_socks(proxy: tuple[str, int], host: str, port: int) -> bytes:
    client = Proxy(ProxyType.SOCKS5, *proxy, rdns=True)
    with client.connect(host, port, timeout=SECONDS) as connection:
        return fetch(connection)


def httpx(proxy: tuple[str, int], host: str, port: int) -> bytes:
    import httpx as library

    url = "socks5://{}:{}".format(*proxy)
    with library.Client(proxy=url, trust_env=False, timeout=SECONDS) as client:
        return client.get(f"http://{host}:{port}/").content


@pytest.fixture
def through(front: Front, others: Others) -> Any:
    """Starts our server with the chain."""
    hops = {"first": programs.microsocks, "second": programs.dante}
    tables = [
        Other(others(start), has_login=name == "first").upstream(name=name)
        for name, start in hops.items()
    ]
    return front("".join([*tables, '[upstream.up]\nchain = ["first", "second"]\n']))


@pytest.mark.parametrize("client", [pysocks, python_socks, pytest.param(httpx, marks=needs_httpx)])
@pytest_twisted.ensureDeferred
async def test_a_page_by_name(client: Client, through: Any, web: Web) -> None:
    server = await through
    assert await deferToThread(client, server.address, "localhost", web.port) == b"a page"
    await server.gone()
    [page] = server.records
    assert (page.target, page.reply, page.upstream) == (f"localhost:{web.port}", 0, "up")
    assert {page.bound} == web.clients


@pytest.mark.parametrize("client", [pysocks, python_socks])  # httpx leaves its socket open
@pytest_twisted.ensureDeferred
async def test_a_target_that_refuses(client: Client, through: Any, closed_port: int) -> None:
    server = await through
    with pytest.raises(Exception, match="Connection refused"):
        await deferToThread(client, server.address, "127.0.0.1", closed_port)
    await server.gone()
    assert [(each.reply, each.upstream) for each in server.records] == [(5, "up")]
