"""PySocks: TCP and UDP, names resolved on either side, credentials, errors."""

import ftplib
import socket
from collections.abc import Callable, Iterator

import pytest
import socks

from tests.interop.conftest import StartProxy
from tests.interop.proxy import Proxy
from tests.interop.servers import FTP, SECONDS, Echo, Web, fetch, payload, serving, text

AUTH = ("--auth", "memory:anna:secret")
LARGEST = 65507 - 10  # what UDP over IPv4 can carry, and the header for an IPv4 target

Open = Callable[..., socks.socksocket]


@pytest.fixture
def pysocks() -> Iterator[Open]:
    """Makes sockets that go through a proxy."""
    opened: list[socks.socksocket] = []

    def make(
        proxy: Proxy,
        kind: int = socket.SOCK_STREAM,
        rdns: bool = True,
        user: str | None = None,
        password: str | None = None,
    ) -> socks.socksocket:
        made = socks.socksocket(socket.AF_INET, kind)
        opened.append(made)
        made.settimeout(SECONDS)
        made.set_proxy(socks.SOCKS5, *proxy.address, rdns, user, password)
        return made

    yield make
    for each in opened:
        each.close()


def test_a_name_that_the_proxy_resolves(pysocks: Open, proxy: Proxy, web: Web) -> None:
    connection = pysocks(proxy, rdns=True)
    connection.connect(("localhost", web.port))
    assert fetch(connection) == b"a page"
    connection.close()
    session = proxy.session()
    assert session.target == f"localhost:{web.port}"
    assert {session.bound} == {text(connection.get_proxy_sockname())} == web.clients


def test_an_ipv6_target(pysocks: Open, proxy: Proxy, web6: Web) -> None:
    connection = pysocks(proxy)
    connection.connect(("::1", web6.port))
    assert fetch(connection) == b"a page"
    connection.close()
    session = proxy.session()
    assert session.target == web6.address
    assert {session.bound} == {text(connection.get_proxy_sockname())} == web6.clients


def test_user_and_password(pysocks: Open, start_proxy: StartProxy, web: Web) -> None:
    proxy = start_proxy(*AUTH)
    connection = pysocks(proxy, user="anna", password="secret")
    connection.connect(("127.0.0.1", web.port))
    assert fetch(connection) == b"a page"
    connection.close()
    assert proxy.session().user == "anna"


@pytest.mark.parametrize(("user", "password"), [("anna", "mistaken"), ("nobody", "secret")])
def test_a_login_that_fails(
    pysocks: Open, start_proxy: StartProxy, web: Web, user: str, password: str
) -> None:
    connection = pysocks(start_proxy(*AUTH), user=user, password=password)
    with pytest.raises(socks.ProxyError, match="authentication failed"):
        connection.connect(("127.0.0.1", web.port))
    assert not web.requests


def test_a_refused_target(pysocks: Open, proxy: Proxy, closed_port: int) -> None:
    with pytest.raises(socks.ProxyError, match="0x05: Connection refused"):
        pysocks(proxy).connect(("127.0.0.1", closed_port))
    assert proxy.session().reply == 5


def test_an_ftp_transfer_is_aborted(pysocks: Open, proxy: Proxy) -> None:
    """Python's own client sends ABOR with an urgent octet, which ends the command's line."""
    client = ftplib.FTP()
    with FTP("127.0.0.1") as server, serving(server):
        client.sock = pysocks(proxy)
        client.sock.connect(server.server_address)
        client.file = client.sock.makefile("r", encoding=client.encoding)
        assert client.getresp() == "220 ready"
        assert client.abort() == "226 nothing was under way"
        client.close()
    assert server.verbs == ["ABOR"]


def test_datagrams_of_every_size_arrive_whole(pysocks: Open, proxy: Proxy, echo: Echo) -> None:
    datagrams = pysocks(proxy, socket.SOCK_DGRAM)
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
        ("ip", True, "localhost"),
        ("ip+port", True, "localhost"),
        ("announced", True, "localhost"),
        ("announced", False, "127.0.0.1"),
    ],
)
def test_many_datagrams(
    pysocks: Open, start_proxy: StartProxy, echo: Echo, pin: str, rdns: bool, host: str
) -> None:
    # It announces the port that it sends from, and as the address "0", a name, or 0.0.0.0.
    proxy = start_proxy("--udp-pin", pin)
    datagrams = pysocks(proxy, socket.SOCK_DGRAM, rdns=rdns)
    for number in range(100):
        datagrams.sendto(b"%d" % number, (host, echo.server_address[1]))
        assert datagrams.recvfrom(100) == (b"%d" % number, echo.server_address)
    assert len(echo.senders) == 1
    datagrams.close()
    session = proxy.session()
    assert session.bytes_up == session.bytes_down == 190
    assert session.dropped == 0
