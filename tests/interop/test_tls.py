"""SOCKS over TLS: stunnel and socat in front of curl, openssl by hand, and the README's recipe."""

import re
import shlex
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography import x509

from tests.interop.association import Association
from tests.interop.conftest import StartProxy
from tests.interop.processes import listening, poll, run, running, succeed
from tests.interop.programs import needs, require_program
from tests.interop.proxy import SOURCES, Proxy, has_ipv6
from tests.interop.servers import Echo, Web, payload, sha256, text
from tests.support.certificates import Authority, shake_hands
from tests.support.ports import free_port
from tests.support.readme import named

SIZE = 5_000_000
USER = "anna@example.org"


Command = Callable[[int, Proxy, Authority, Path], list[str | Path]]


def _stunnel(port: int, proxy: Proxy, authority: Authority, own: Path) -> list[str | Path]:
    lines = [
        "foreground = yes",
        "pid =",
        "[socks]",
        "client = yes",
        f"accept = 127.0.0.1:{port}",
        f"connect = {proxy.url}",
        f"CAfile = {authority.path}",
        "verifyChain = yes",
        "checkHost = localhost",
        f"cert = {own}",
    ]
    configuration = authority.directory / "stunnel.conf"
    configuration.write_text("".join(f"{line}\n" for line in lines))
    return [require_program("stunnel4", "stunnel"), configuration]


def _socat(port: int, proxy: Proxy, authority: Authority, own: Path) -> list[str | Path]:
    listens = f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr"
    tls = f"OPENSSL:{proxy.url},commonname=localhost,cafile={authority.path},cert={own}"
    return [require_program("socat"), listens, tls]


class TLS:
    """An authority and proxies of it; *tunnels* of one kind to them."""

    def __init__(
        self, directory: Path, start_proxy: StartProxy, tunnels: ExitStack, command: Command
    ) -> None:
        self._directory = directory
        self._start = start_proxy
        self._tunnels = tunnels
        self._command = command
        self.authority = Authority(directory)
        self.server = self.authority.server()
        self.anna = self.authority.client("anna", alternatives=[x509.RFC822Name(USER)])

    def proxy(self, *options: str) -> Proxy:
        asks = f":clients={self.authority.path}:client-certificates=required"
        hosts = ["127.0.0.1", r"\:\:1"] if has_ipv6() else ["127.0.0.1"]
        places = [f"tls:0:interface={host}:cert={self.server}{asks}" for host in hosts]
        return self._start(*[word for place in places for word in ("--listen", place)], *options)

    def tunnel(self, proxy: Proxy) -> tuple[str, int]:
        """Start a program that speaks TLS for a client, with anna's certificate; returns where it listens."""
        port, log = free_port(), self._directory / "tunnel.log"
        command = self._command(port, proxy, self.authority, self.anna)
        self._tunnels.enter_context(listening(*command, port=port, log=log))
        return "127.0.0.1", port


@pytest.fixture(
    params=[
        pytest.param(_stunnel, id="stunnel", marks=needs("stunnel4", "stunnel")),
        pytest.param(_socat, id="socat", marks=needs("socat")),
    ]
)
def tls(request: pytest.FixtureRequest, tmp_path: Path, start_proxy: StartProxy) -> Iterator[TLS]:
    with ExitStack() as tunnels:
        yield TLS(tmp_path, start_proxy, tunnels, request.param)


# ---------------------------------------------------------------- curl through a tunnel


def test_curl_both_ways_and_datagrams(
    curl: tuple[str, ...], tls: TLS, web: Web, echo: Echo, tmp_path: Path
) -> None:
    """A certificate names the user; datagrams have an association that is controlled over TLS."""
    proxy = tls.proxy("--auth", "memory:bert:secret")
    tunnel, url = tls.tunnel(proxy), f"http://{web.address}/large"
    file, data, through = tmp_path / "large", payload(SIZE), ("--socks5", text(tunnel))
    web.pages["/large"] = ("application/octet-stream", data)
    succeed(*curl, "-o", file, *through, url)
    assert file.read_bytes() == data
    assert succeed(*curl, "-T", file, *through, url).decode() == sha256(data)
    with Association(tunnel) as association:
        association.send(*echo.server_address, b"hello")
        assert association.receive() == (echo.server_address, b"hello")
    down, up, udp = proxy.sessions(3)
    assert {each.user for each in (down, up, udp)} == {USER}
    assert down.target == up.target == web.address
    assert {down.bound, up.bound} == web.clients
    assert down.bytes_down > SIZE
    assert up.bytes_up > SIZE
    assert (udp.command, udp.dropped, udp.bytes_up, udp.bytes_down) == ("udp", 0, 5, 5)


# ---------------------------------------------------------------- openssl by hand


@needs("openssl")
@pytest.mark.parametrize(
    ("version", "words"),
    [("-tls1_2", b"handshake failure"), ("-tls1_3", b"certificate required")],
)
def test_openssl_fetches_a_page_with_a_certificate(
    start_proxy: StartProxy, tmp_path: Path, web: Web, version: str, words: bytes
) -> None:
    """``openssl s_client`` sends its input, and ends when the proxy does."""
    tls = TLS(tmp_path, start_proxy, ExitStack(), _socat)  # which needs no tunnel
    proxy = tls.proxy()
    line = [require_program("openssl"), "s_client", "-quiet", "-connect", proxy.url, version]
    line += ["-CAfile", str(tls.authority.path), "-verify_return_error"]
    line += ["-verify_hostname", "localhost"]
    done = run(*line, stdin=b"\5\1\0")
    assert (done.returncode, done.stdout) == (1, b"")
    assert words in done.stderr
    target = b"\1" + socket.inet_aton("127.0.0.1") + web.port.to_bytes(2, "big")
    asks = b"\5\1\0" + b"\5\1\0" + target + b"GET / HTTP/1.0\r\n\r\n"
    answer = succeed(*line, "-cert", tls.anna, "-key", tls.anna, stdin=asks)
    assert answer[:4] == b"\5\0\5\0"
    assert answer.endswith(b"\r\n\r\na page")
    assert proxy.session().user == USER


# ---------------------------------------------------------------- the README


def joined(directory: Path, name: str) -> Path:
    """A key and its certificate in one file."""
    path = directory / f"{name} both.pem"
    path.write_text("".join((directory / f"{name}.{part}").read_text() for part in ("key", "pem")))
    return path


@needs("openssl")
@needs("socat")
def test_the_recipe_of_the_readme(
    curl: tuple[str, ...], tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every line of it, with other ports, and with this machine for the proxy's and for the target."""
    monkeypatch.chdir(tmp_path)
    tunnel, recipe = free_port(), "\n".join(named("certificates").commands)
    changes = {
        "1443": str(free_port()),
        "1080": str(tunnel),
        "clients=ca.pem": r"clients=ca.pem:interface=127.0.0.1",
        "OPENSSL:proxy.example:": "OPENSSL:127.0.0.1:",
        "cafile=ca.pem": "cafile=ca.pem,commonname=proxy.example",
        "https://example.com/": f"http://{web.address}/",
    }
    for old, new in changes.items():
        assert old in recipe
        recipe = recipe.replace(old, new)
    lines = re.fullmatch(r"(.*)\n\S*/socks5 (.*)\n(socat .*)\ncurl (.*)", recipe, re.DOTALL)
    assert lines is not None
    making, serving, tunnelling, asking = lines.groups()
    succeed("bash", "-euo", "pipefail", "-c", making)
    server, alice = (joined(tmp_path, name) for name in ("proxy.example", "alice"))
    shake_hands(tmp_path / "ca.pem", server, alice, name="proxy.example")
    serve = [sys.executable, "-m", "socks5", *shlex.split(serving), "--access-log", "access.log"]
    log, env = tmp_path / "proxy.log", {"PYTHONPATH": str(SOURCES)}
    with (
        running(*serve, log=log, env=env),
        listening(*shlex.split(tunnelling), port=tunnel, log=tmp_path / "socat.log"),
    ):
        poll(lambda: "listens on" in log.read_text(), "the proxy listens")
        assert succeed(*curl, *shlex.split(asking)) == b"a page"
        records = tmp_path / "access.log"
        poll(lambda: '"user": "alice"' in records.read_text(), "the user is in the access log")
