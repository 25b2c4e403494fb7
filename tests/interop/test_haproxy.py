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
from tests.interop.ruled import ANYWHERE
from tests.interop.servers import Echo, Web, text

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
