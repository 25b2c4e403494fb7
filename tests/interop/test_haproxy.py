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
from tests.interop.proxy import Proxy, has_ipv6
from tests.interop.ruled import ANYWHERE
from tests.interop.servers import SECONDS, Echo, Web, fetch
from tests.support.certificates import self_signed, strict_client

PROXY_ERROR = 97
CLIENT = "127.0.0.2"
VERSIONS = ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,ssl"]
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


class Balancer:
    """A running HAProxy.

    :ivar port: where it listens on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"127.0.0.1:{port}"


StartBalancer = Callable[[str, str], Balancer]


@pytest.fixture
def start_balancer(tmp_path: Path) -> Iterator[StartBalancer]:
    """Starts an HAProxy before a proxy's address, with options of its ``server`` line."""
    program = require_program("haproxy")
    with ExitStack() as stack:

        def start(proxy: str, options: str) -> Balancer:
            front = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            path, log = tmp_path / "haproxy.cfg", tmp_path / "haproxy.log"
            lines = CONFIGURATION.format(front=front.fileno(), proxy=proxy, options=options)
            path.write_text(lines)
            command = (program, "-db", "-f", path)
            stack.enter_context(running(*command, log=log, inherited=[front.fileno()]))
            return Balancer(front.getsockname()[1])

        yield start


@pytest.fixture
def curl() -> tuple[str, ...]:
    """curl from an address that is not the balancer's."""
    return (require_program("curl"), "-q", "-sS", "--max-time", "20", "--interface", CLIENT)


@pytest.fixture
def proxy(start_proxy: StartProxy) -> Proxy:
    """A proxy for balancers, whose clients may go anywhere."""
    return start_proxy(*FROM_BALANCER, "--open", command=ANYWHERE)


@pytest.mark.parametrize("options", VERSIONS)
def test_curl_is_served_and_known_by_its_own_address(
    options: str, curl: tuple[str, ...], proxy: Proxy, start_balancer: StartBalancer, web: Web
) -> None:
    balancer = start_balancer(proxy.url, options)
    url = f"http://{web.address}/"
    assert succeed(*curl, "--socks5", balancer.url, url) == b"a page"
    session = proxy.session()
    assert session.client.startswith(f"{CLIENT}:")
    assert (session.target, session.reply) == (web.address, 0)


@pytest.mark.parametrize("options", VERSIONS)
def test_datagrams_go_past_the_balancer(
    options: str, proxy: Proxy, start_balancer: StartBalancer, echo: Echo
) -> None:
    balancer = start_balancer(proxy.url, options)
    host, port = echo.server_address[:2]
    with Association(("127.0.0.1", balancer.port)) as association:
        assert association.relay[0] == "127.0.0.1"
        for number in range(3):
            association.send(host, port, b"%d" % number)
            assert association.receive() == ((host, port), b"%d" % number)
    assert proxy.session().bytes_up == 3


def test_the_balancers_health_checks_are_no_sessions(
    curl: tuple[str, ...], proxy: Proxy, start_balancer: StartBalancer, web: Web
) -> None:
    options = "send-proxy-v2 check inter 100ms check-send-proxy"
    balancer = start_balancer(proxy.url, options)
    url = f"http://{web.address}/"
    assert succeed(*curl, "--socks5", balancer.url, url) == b"a page"
    assert proxy.session().client.startswith(f"{CLIENT}:")


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
    plain = socket.create_connection(("127.0.0.1", balancer.port), SECONDS, (CLIENT, 0))
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
