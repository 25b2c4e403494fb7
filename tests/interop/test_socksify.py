"""dante's socksify: programs that know no proxies, with their socket calls taken to ours.

It shows CONNECT, BIND and UDP ASSOCIATE as the C library's users mean them. The route is made to
take the loopback too, which dante would reach directly by itself.
"""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.conftest import NameServer, StartProxy
from tests.interop.processes import poll, running, succeed
from tests.interop.programs import needs, require_program
from tests.interop.proxy import Proxy
from tests.interop.servers import FTP, SECONDS, Web, payload, serving
from tests.support.ports import free_port

pytestmark = needs("socksify")

SIZE = 5_000_000
FTP_HOST = "127.0.0.3"

ROUTE = """
route {{
    from: 0.0.0.0/0 to: 0.0.0.0/0 via: {host} port = {port}
    proxyprotocol: socks_v5
    protocol: tcp udp
    command: bind connect udpassociate
    method: {method}
}}
"""


class Socksify:
    """A dante configuration for one proxy, and what goes with it."""

    def __init__(self, proxy: Proxy, directory: Path, **login: str) -> None:
        self._program = require_program("socksify")
        file = directory / "socks.conf"
        method = "username" if login else "none"
        file.write_text(ROUTE.format(host=proxy.host, port=proxy.port, method=method))
        self.env = {"SOCKS_CONF": str(file), "SOCKS_AUTOADD_LANROUTES": "no", **login}

    def command(self, program: str, *arguments: str | Path) -> list[str | Path]:
        return [self._program, require_program(program), *arguments]


@pytest.fixture
def socksify(proxy: Proxy, tmp_path: Path) -> Socksify:
    """Takes programs to a proxy without authentication."""
    return Socksify(proxy, tmp_path)


def test_connect_with_user_and_password(start_proxy: StartProxy, web: Web, tmp_path: Path) -> None:
    proxy = start_proxy("--auth", "memory:anna:secret")
    socksify = Socksify(proxy, tmp_path, SOCKS_USERNAME="anna", SOCKS_PASSWORD="secret")
    command = socksify.command("curl", "-q", "-sS", f"http://{web.address}/")
    assert succeed(*command, env=socksify.env) == b"a page"
    session = proxy.session()
    assert (session.command, session.target, session.reply) == ("connect", web.address, 0)
    assert session.user == "anna"
    assert {session.bound} == web.clients


def test_active_ftp_download(socksify: Socksify, proxy: Proxy) -> None:
    """From a server on an address of its own, which the BIND request has to name."""
    with FTP(FTP_HOST, payload(SIZE)) as ftp, serving(ftp):
        url = f"ftp://{ftp.address}/file"
        command = socksify.command("curl", "-q", "-sS", "--ftp-port", "-", "--eprt", url)
        assert succeed(*command, env=socksify.env) == payload(SIZE)
    sessions = {session.command: session for session in proxy.sessions(2)}
    assert sessions["connect"].target == ftp.address
    assert sessions["bind"].target == f"{FTP_HOST}:0"  # dante names whom it is connected to
    assert [sessions["bind"].bound] == ftp.data_addresses
    assert sessions["bind"].bytes_up + sessions["bind"].bytes_down == SIZE


def test_a_program_that_listens_on_a_port_of_its_choice(
    socksify: Socksify, proxy: Proxy, tmp_path: Path
) -> None:
    log, port = tmp_path / "ncat.log", free_port()
    command = socksify.command("ncat", "-v", "-l", "127.0.0.1", str(port))

    def said(words: str) -> Callable[[], bool]:
        return lambda: words in log.read_text()

    with running(*command, log=log, env=socksify.env):
        poll(said("Listening on"), "ncat listens")
        with socket.create_connection(("127.0.0.1", port), SECONDS) as visitor:
            bound = "{}:{}".format(*visitor.getsockname())
            visitor.sendall(b"a visit")
        poll(said("a visit"), "ncat has a visitor")
        session = proxy.session()
    assert (session.command, session.target) == ("bind", f"0.0.0.0:{port}")
    assert (session.bound, session.bytes_down) == (bound, len(b"a visit"))


def test_a_datagram_to_a_name_server(
    socksify: Socksify, proxy: Proxy, name_server: NameServer
) -> None:
    command = socksify.command("nc", "-u", "-w", "1", "127.0.0.1", str(name_server.port))
    answer = succeed(*command, stdin=name_server.query(), env=socksify.env)
    assert name_server.answer(answer) == [name_server.address]
    session = proxy.session()
    assert (session.command, session.reply, session.dropped) == ("udp", 0, 0)
    assert (session.bytes_up, session.bytes_down) == (len(name_server.query()), len(answer))
