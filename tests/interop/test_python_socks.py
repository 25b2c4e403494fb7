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

AUTH = ("--auth", "memory:anna:secret")

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


@pytest.fixture(params=[_blocking, _asyncio], ids=["blocking", "asyncio"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Connects to a host and a port through a proxy."""
    return request.param


@pytest.mark.parametrize(("rdns", "target"), [(True, "localhost"), (False, "127.0.0.1")])
def test_a_name_is_resolved_where_the_client_says(
    connect: Connect, rdns: bool, target: str, proxy: Proxy, web: Web
) -> None:
    # It takes IPv4 addresses first.
    with connect(proxy, "localhost", web.port, rdns=rdns) as connection:
        assert fetch(connection) == b"a page"
    session = proxy.session()
    assert session.target == f"{target}:{web.port}"
    assert {session.bound} == web.clients


def test_user_and_password(connect: Connect, start_proxy: StartProxy, web: Web) -> None:
    proxy = start_proxy(*AUTH)
    login = {"username": "anna", "password": "secret"}
    with connect(proxy, "127.0.0.1", web.port, **login) as connection:
        assert fetch(connection) == b"a page"
    session = proxy.session()
    assert session.user == "anna"
    assert {session.bound} == web.clients


@pytest.mark.parametrize("host", ["192.0.2.1", "host.test"])
def test_a_target_that_the_rules_forbid(
    connect: Connect, start_proxy: StartProxy, host: str
) -> None:
    proxy = start_proxy(command=LOOPBACK_ONLY)
    with pytest.raises(ProxyError, match="not allowed") as caught:
        connect(proxy, host, 80)
    assert caught.value.error_code == 2
    session = proxy.session()
    assert (session.target, session.reply) == (f"{host}:80", 2)


def test_a_command_that_is_not_served(connect: Connect, start_proxy: StartProxy, web: Web) -> None:
    proxy = start_proxy("--commands", "bind,udp")
    with pytest.raises(ProxyError, match="not supported") as caught:
        connect(proxy, "127.0.0.1", web.port)
    assert caught.value.error_code == 7
    assert proxy.session().reply == 7
