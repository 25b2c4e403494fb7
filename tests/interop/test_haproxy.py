"""HAProxy in front, in TCP mode, with PROXY headers of both versions: curl and datagrams through it."""

import socket
from pathlib import Path

import pytest

from tests.interop.association import Association
from tests.interop.conftest import StartProxy
from tests.interop.processes import running, succeed
from tests.interop.programs import needs, require_program
from tests.interop.ruled import ANYWHERE
from tests.interop.servers import Echo, Web, text

CLIENT = "127.0.0.2"
VERSIONS = [
    "send-proxy",
    "send-proxy-v2 check inter 100ms check-send-proxy",
    "send-proxy-v2 proxy-v2-options unique-id,ssl",
]

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


@needs("haproxy")
@pytest.mark.parametrize("options", VERSIONS)
def test_clients_are_known_by_their_own_addresses(
    options: str, start_proxy: StartProxy, web: Web, echo: Echo, tmp_path: Path
) -> None:
    """curl from an address that is not the balancer's; and datagrams, which go past it."""
    proxy = start_proxy("--proxy-from", "127.0.0.1", "--open", command=ANYWHERE)
    path, log = tmp_path / "haproxy.cfg", tmp_path / "haproxy.log"
    command = (require_program("haproxy"), "-db", "-f", path)
    curl = (require_program("curl"), "-q", "-sS", "--max-time", "20", "--interface", CLIENT)
    with socket.create_server(("127.0.0.1", 0)) as front:
        balancer, fd = front.getsockname(), front.fileno()
        path.write_text(CONFIGURATION.format(front=fd, proxy=proxy.url, options=options))
        with running(*command, log=log, inherited=[fd]):
            page = succeed(*curl, "--socks5", text(balancer), f"http://{web.address}/")
            assert page == b"a page"
            session = proxy.session()
            assert session.client.startswith(f"{CLIENT}:")
            assert (session.target, session.reply) == (web.address, 0)
            with Association(balancer) as association:
                assert association.relay[0] == "127.0.0.1"
                association.send(*echo.server_address, b"hello")
                assert association.receive() == (echo.server_address, b"hello")
            assert proxy.sessions(2)[1].bytes_up == 5  # for health checks are no sessions
