"""dante's socksify: programs that know no proxies, with their socket calls taken to ours.

It shows CONNECT, BIND and UDP ASSOCIATE as the C library's users mean them. The route is made to
take the loopback too, which dante would reach directly by itself.
"""

import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop import listener
from tests.interop.conftest import NameServer, StartProxy
from tests.interop.processes import poll, running, succeed
from tests.interop.programs import needs, require_program
from tests.interop.proxy import Proxy
from tests.interop.servers import FTP, SECONDS, Web, free_port, payload, receive_all, serving

pytestmark = needs("socksify")

SIZE = 5_000_000
FTP_HOST = "127.0.0.3"
STRANGER = "127.0.0.4"

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

    def __init__(self, proxy: Proxy, directory: Path, login: tuple[str, str] | None = None) -> None:
        self._program = require_program("socksify")
        file = directory / "socks.conf"
        method = "none" if login is None else "username"
        file.write_text(ROUTE.format(host=proxy.host, port=proxy.port, method=method))
        self.env = {"SOCKS_CONF": str(file), "SOCKS_AUTOADD_LANROUTES": "no"}
        if login is not None:
            self.env.update(zip(("SOCKS_USERNAME", "SOCKS_PASSWORD"), login, strict=True))

    def command(self, program: str, *arguments: str | Path) -> list[str | Path]:
        return [self._program, require_program(program), *arguments]


@pytest.fixture
def socksify(proxy: Proxy, tmp_path: Path) -> Socksify:
    """Takes programs to a proxy without authentication."""
    return Socksify(proxy, tmp_path)


@pytest.fixture
def ftp() -> Iterator[FTP]:
    """An FTP server on an address of its own, which BIND requests have to name."""
    with FTP(FTP_HOST) as server, serving(server):
        yield server


# CONNECT


def test_curl(socksify: Socksify, proxy: Proxy, web: Web) -> None:
    command = socksify.command("curl", "-q", "-sS", f"http://{web.address}/")
    assert succeed(*command, env=socksify.env) == b"a page"
    session = proxy.session()
    assert (session.command, session.target, session.reply) == ("connect", web.address, 0)
    assert {session.bound} == web.clients


def test_user_and_password(start_proxy: StartProxy, web: Web, tmp_path: Path) -> None:
    proxy = start_proxy("--auth", "memory:anna:secret")
    socksify = Socksify(proxy, tmp_path, login=("anna", "secret"))
    command = socksify.command("curl", "-q", "-sS", f"http://{web.address}/")
    assert succeed(*command, env=socksify.env) == b"a page"
    session = proxy.session()
    assert session.user == "anna"
    assert {session.bound} == web.clients


# BIND


def _transfers(proxy: Proxy, ftp: FTP) -> None:
    """What every transfer in active mode leaves behind in the access log."""
    sessions = {session.command: session for session in proxy.sessions(2)}
    assert sessions["connect"].target == ftp.address
    assert sessions["bind"].target == f"{FTP_HOST}:0"  # dante names whom it is connected to
    assert [sessions["bind"].bound] == ftp.data_addresses
    assert sessions["bind"].bytes_up + sessions["bind"].bytes_down == SIZE


@pytest.mark.parametrize(("option", "verb"), [("--eprt", "EPRT"), ("--disable-eprt", "PORT")])
def test_active_ftp_download(
    socksify: Socksify, proxy: Proxy, ftp: FTP, option: str, verb: str
) -> None:
    ftp.files["file"] = payload(SIZE)
    url = f"ftp://{ftp.address}/file"
    command = socksify.command("curl", "-q", "-sS", "--ftp-port", "-", option, url)
    assert succeed(*command, env=socksify.env) == payload(SIZE)
    assert verb in ftp.verbs
    _transfers(proxy, ftp)


def _said(log: Path, word: str) -> Callable[[], str | None]:
    """Looks for the address behind *word* in a program's output."""

    def look() -> str | None:
        found = re.search(rf"^{word} (\S+)$", log.read_text(), re.MULTILINE)
        return found and found[1]

    return look


def _visit(host: str, port: int, data: bytes) -> tuple[str, bytes]:
    """Connect to a listener, send *data*; one's own address, and the answer."""
    with socket.create_connection((host, port), SECONDS) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return "{}:{}".format(*connection.getsockname()), receive_all(connection)


def test_a_program_that_listens(socksify: Socksify, proxy: Proxy, tmp_path: Path) -> None:
    log = tmp_path / "listener.log"
    command = socksify.command(sys.executable, listener.__file__, "0")
    with running(*command, log=log, env=socksify.env):
        host, _, port = poll(_said(log, "listens"), "it listens").rpartition(":")
        assert host == proxy.host
        visitor, answer = _visit(host, int(port), payload(SIZE))
        assert answer == f"{SIZE} octets".encode()
        assert poll(_said(log, "accepted"), "it says who came") == visitor
        session = proxy.session()
    assert (session.command, session.target) == ("bind", "0.0.0.0:0")
    assert session.bound == visitor
    assert (session.bytes_up, session.bytes_down) == (len(answer), SIZE)


def test_a_program_that_listens_on_a_port_of_its_choice(
    socksify: Socksify, proxy: Proxy, tmp_path: Path
) -> None:
    log = tmp_path / "ncat.log"
    port = free_port()
    command = socksify.command("ncat", "-v", "-l", "127.0.0.1", str(port))
    with running(*command, log=log, env=socksify.env) as process:
        poll(lambda: "Listening on" in log.read_text() or process.poll(), "ncat listens")
        _visit("127.0.0.1", port, b"a visit")
        poll(lambda: "a visit" in log.read_text(), "ncat has a visitor")
        session = proxy.session()
    assert (session.command, session.target) == ("bind", f"0.0.0.0:{port}")
    assert session.bytes_down == len(b"a visit")


# UDP ASSOCIATE


def test_a_datagram_to_a_name_server(
    socksify: Socksify, proxy: Proxy, name_server: NameServer
) -> None:
    command = socksify.command("nc", "-u", "-w", "1", "127.0.0.1", str(name_server.port))
    answer = succeed(*command, stdin=name_server.query(), env=socksify.env)
    assert name_server.answer(answer) == [name_server.address]
    session = proxy.session()
    assert (session.command, session.reply) == ("udp", 0)
    assert session.bytes_up == len(name_server.query())
    assert session.bytes_down == len(answer)
    assert session.dropped == 0
