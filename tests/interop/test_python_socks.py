"""python-socks: its blocking and its asyncio half, which share the protocol but not the I/O."""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from python_socks import ProxyError, ProxyType
from python_socks.async_.asyncio import Proxy as AsyncioClient
from python_socks.sync import Proxy as BlockingClient

from tests.interop.conftest import StartProxy
from tests.interop.proxy import Proxy
from tests.interop.ruled import LOOPBACK_ONLY
from tests.interop.servers import SECONDS, Web, fetch

Connect = Callable[..., socket.socket]


def _blocking(proxy: Proxy, host: str, port: int, **options: object) -> socket.socket:
    client = BlockingClient(ProxyType.SOCKS5, *proxy.address, **options)
    return client.connect(host, port, timeout=SECONDS)


def _asyncio(proxy: Proxy, host: str, port: int, **options: object) -> socket.socket:
    """Connect in an event loop of its own, in a thread: this one may have the reactor's."""

    async def connect() -> socket.socket:
        client = AsyncioClient(ProxyType.SOCKS5, *proxy.address, **options)
        return await client.connect(host, port, timeout=SECONDS)

    with ThreadPoolExecutor(1) as thread:
        connected = thread.submit(asyncio.run, connect()).result()
    connected.setblocking(True)
    return connected


both = pytest.mark.parametrize("connect", [_blocking, _asyncio], ids=["blocking", "asyncio"])


@both
def test_a_page_with_user_and_password(connect: Connect, start_proxy: StartProxy, web: Web) -> None:
    """By a name that is resolved where the client says; it takes IPv4 addresses first."""
    proxy = start_proxy("--auth", "memory:anna:secret")
    for rdns in (True, False):
        login = {"username": "anna", "password": "secret", "rdns": rdns}
        with connect(proxy, "localhost", web.port, **login) as connection:
            assert fetch(connection) == b"a page"
    sessions = proxy.sessions(2)
    hosts = ("localhost", "127.0.0.1")
    assert {each.target for each in sessions} == {f"{host}:{web.port}" for host in hosts}
    assert {each.bound for each in sessions} == web.clients
    assert {each.user for each in sessions} == {"anna"}


@both
def test_a_target_that_the_rules_forbid(connect: Connect, start_proxy: StartProxy) -> None:
    proxy = start_proxy(command=LOOPBACK_ONLY)
    for host in ("192.0.2.1", "host.test"):
        with pytest.raises(ProxyError, match="not allowed") as caught:
            connect(proxy, host, 80)
        assert caught.value.error_code == 2
    assert [each.reply for each in proxy.sessions(2)] == [2, 2]
