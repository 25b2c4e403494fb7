"""HAProxy in front, in TCP mode, with PROXY headers of both versions: curl and datagrams through it."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.association import Association
from tests.interop.conftest import StartProxy
from tests.interop.processes import running, succeed
from tests.interop.programs import require_program
from tests.interop.proxy import has_ipv6
from tests.interop.ruled import ANYWHERE
from tests.interop.servers import SECONDS, Echo, Web, fetch, text
from tests.support.certificates import self_signed, strict_client

CLIENT = "127.0.0.2"
VERSIONS = [
    "send-proxy",
    "send-proxy-v2 check inter 100ms check-send-proxy",
    "send-proxy-v2 proxy-v2-options unique-id,ssl",
]
FROM_BALANCER = ("--proxy-from", "127.0.0.1")

CONFIGURATION = """\
defaults
  mode tcp
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend socks
  bind fd@{front}
  unique-id-format %[uuid()]
  default_backend proxies
backend proxies
  server proxy {proxy} {options}
"""


StartBalancer = Callable[[str, str], tuple[str, int]]


@pytest.fixture
def start_balancer(tmp_path: Path) -> Iterator[StartBalancer]:
    """Starts an HAProxy before a proxy's address, with options of its ``server`` line; returns where it listens."""
    program = require_program("haproxy")
    with ExitStack() as stack:

        def start(proxy: str, options: str) -> tuple[str, int]:
            front = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            path, log = tmp_path / "haproxy.cfg", tmp_path / "haproxy.log"
            lines = CONFIGURATION.format(front=front.fileno(), proxy=proxy, options=options)
            path.write_text(lines)
            command = (program, "-db", "-f", path)
            stack.enter_context(running(*command, log=log, inherited=[front.fileno()]))
            return "127.0.0.1", front.getsockname()[1]

        yield start


@pytest.mark.parametrize("options", VERSIONS)
def test_clients_are_known_by_their_own_addresses(
    options: str, start_proxy: StartProxy, start_balancer: StartBalancer, web: Web, echo: Echo
) -> None:
    """curl from an address that is not the balancer's; and datagrams, which go past it."""
    proxy = start_proxy(*FROM_BALANCER, "--open", command=ANYWHERE)
    balancer = start_balancer(proxy.url, options)
    curl = (require_program("curl"), "-q", "-sS", "--max-time", "20", "--interface", CLIENT)
    assert succeed(*curl, "--socks5", text(balancer), f"http://{web.address}/") == b"a page"
    session = proxy.session()
    assert session.client.startswith(f"{CLIENT}:")
    assert (session.target, session.reply) == (web.address, 0)
    with Association(balancer) as association:
        assert association.relay[0] == "127.0.0.1"
        association.send(*echo.server_address, b"hello")
        assert association.receive() == (echo.server_address, b"hello")
    assert proxy.sessions(2)[1].bytes_up == 5  # for health checks are no sessions


def test_the_header_stands_before_tls(
    start_proxy: StartProxy, start_balancer: StartBalancer, web: Web, tmp_path: Path
) -> None:
    """HAProxy passes TLS on as it is; curl speaks no SOCKS over TLS, so the client is Python's."""
    pem = self_signed(tmp_path)
    options = ["--listen", f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}"]
    options += [*FROM_BALANCER, "--open"]
    options += ["--listen", "tcp6:0:interface=\\:\\:1"] if has_ipv6() else []
    proxy = start_proxy(*options, command=ANYWHERE)
    balancer = start_balancer(proxy.url, "send-proxy-v2")
    plain = socket.create_connection(balancer, SECONDS, (CLIENT, 0))
    with strict_client(pem).wrap_socket(plain, server_hostname="localhost") as client:
        host, port = web.server_address[:2]
        target = socket.inet_aton(str(host)) + port.to_bytes(2, "big")
        client.sendall(b"\5\1\0\5\1\0\1" + target)
        reply = b""
        while len(reply) < 12:
            reply += client.recv(12 - len(reply))
        assert reply[:4] == b"\5\0\5\0"
        assert fetch(client) == b"a page"
    assert proxy.session().client.startswith(f"{CLIENT}:")
