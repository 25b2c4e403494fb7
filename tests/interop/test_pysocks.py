"""PySocks: TCP and UDP, names resolved on either side, credentials, errors."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import socks

from tests.interop.conftest import StartProxy
from tests.interop.proxy import Proxy
from tests.interop.servers import SECONDS, Echo, Web, fetch, payload, text

LARGEST = 65507 - 10  # what UDP over IPv4 can carry, and the header for an IPv4 target

Open = Callable[..., socks.socksocket]


@pytest.fixture
def pysocks() -> Iterator[Open]:
    """Makes sockets that go through a proxy."""
    with ExitStack() as opened:

        def make(
            proxy: Proxy, *login: str, kind: int = socket.SOCK_STREAM, rdns: bool = True
        ) -> socks.socksocket:
            made = opened.enter_context(socks.socksocket(socket.AF_INET, kind))
            made.settimeout(SECONDS)
            made.set_proxy(socks.SOCKS5, *proxy.address, rdns, *login)
            return made

        yield make


@pytest.mark.parametrize(("host", "name"), [("localhost", "web"), ("::1", "web6")])
def test_a_page(
    pysocks: Open, proxy: Proxy, host: str, name: str, request: pytest.FixtureRequest
) -> None:
    web: Web = request.getfixturevalue(name)
    connection = pysocks(proxy)
    connection.connect((host, web.port))
    assert fetch(connection) == b"a page"
    connection.close()
    session = proxy.session()
    assert session.target == text((host, web.port))
    assert {session.bound} == {text(connection.get_proxy_sockname())} == web.clients


def test_user_and_password(pysocks: Open, start_proxy: StartProxy, web: Web) -> None:
    proxy = start_proxy("--auth", "memory:anna:secret")
    for login in (("anna", "mistaken"), ("nobody", "secret")):
        with pytest.raises(socks.ProxyError, match="authentication failed"):
            pysocks(proxy, *login).connect(("127.0.0.1", web.port))
    assert not web.requests
    connection = pysocks(proxy, "anna", "secret")
    connection.connect(("127.0.0.1", web.port))
    assert fetch(connection) == b"a page"
    connection.close()
    assert {each.user for each in proxy.sessions(3)} == {None, "anna"}


def test_datagrams_of_every_size_arrive_whole(pysocks: Open, proxy: Proxy, echo: Echo) -> None:
    datagrams = pysocks(proxy, kind=socket.SOCK_DGRAM)
    sizes = (0, 1, 1472, 8192, 8193, 40000, LARGEST)
    for size in sizes:
        datagrams.sendto(payload(size), echo.server_address)
        assert datagrams.recvfrom(65535) == (payload(size), echo.server_address)
    assert len(echo.senders) == 1
    assert datagrams.getsockname() not in echo.senders
    bound = text(socket.socket.getpeername(datagrams))  # PySocks has another meaning for it
    datagrams.close()
    session = proxy.session()
    assert (session.command, session.bound) == ("udp", bound)
    assert session.bytes_up == session.bytes_down == sum(sizes)
    assert session.dropped == 0


@pytest.mark.parametrize(
    ("pin", "rdns", "host"),
    [
        ("ip+port", True, "localhost"),
        ("announced", True, "localhost"),
        ("announced", False, "127.0.0.1"),
    ],
)
def test_many_datagrams(
    pysocks: Open, start_proxy: StartProxy, echo: Echo, pin: str, rdns: bool, host: str
) -> None:
    # It announces the port that it sends from, and as the address "0", a name, or 0.0.0.0.
    datagrams = pysocks(start_proxy("--udp-pin", pin), kind=socket.SOCK_DGRAM, rdns=rdns)
    for number in range(100):
        datagrams.sendto(b"%d" % number, (host, echo.server_address[1]))
        assert datagrams.recvfrom(100) == (b"%d" % number, echo.server_address)
    assert len(echo.senders) == 1
