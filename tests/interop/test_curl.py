"""curl: every way to name the proxy and the target, credentials, and errors."""

import pytest

from tests.interop.conftest import StartProxy
from tests.interop.processes import run, succeed
from tests.interop.proxy import Proxy
from tests.interop.servers import Web

PROXY_ERROR = 97
Curl = tuple[str, ...]


@pytest.mark.parametrize(
    ("how", "host", "target"),
    [
        ("--socks5 {url}", "127.0.0.1", "127.0.0.1"),
        ("--ipv4 --socks5 {url}", "localhost", "127.0.0.1"),
        ("--socks5-hostname {url}", "localhost", "localhost"),
        ("", "127.0.0.1", "127.0.0.1"),
        ("-x socks5h://{url}", "[::1]", "[::1]"),
        ("-x socks5://[::1]:{port6}", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_page(
    curl: Curl, how: str, host: str, target: str, proxy: Proxy, request: pytest.FixtureRequest
) -> None:
    web: Web = request.getfixturevalue("web6" if host == "[::1]" else "web")
    if "port6" in how:
        request.getfixturevalue("ipv6")
    words = how.format(url=proxy.url, port6=proxy.port6).split()
    env = {} if how else {"ALL_PROXY": f"socks5h://{proxy.url}"}
    assert succeed(*curl, *words, f"http://{host}:{web.port}/", env=env) == b"a page"
    session = proxy.session()
    assert (session.command, session.reply) == ("connect", 0)
    assert session.target == f"{target}:{web.port}"
    assert session.client.startswith("[::1]:" if "port6" in how else "127.0.0.1:")
    assert {session.bound} == web.clients
    assert session.bytes_up > 0
    assert session.bytes_down > len(b"a page")


def test_user_and_password(curl: Curl, start_proxy: StartProxy, web: Web) -> None:
    proxy, url = start_proxy("--auth", "memory:anna:secret"), f"http://{web.address}/"
    done = run(*curl, "-x", f"socks5h://anna:mistaken@{proxy.url}", url)
    assert done.returncode == PROXY_ERROR
    assert b"User was rejected by the SOCKS5 server" in done.stderr
    assert not web.requests
    assert succeed(*curl, "-x", f"socks5h://anna:secret@{proxy.url}", url) == b"a page"
    assert {each.user for each in proxy.sessions(2)} == {None, "anna"}
    assert "mistaken" not in proxy.access_log + proxy.log


TOO_LONG = "a" * 64 + ".test"  # one octet more than a label may have: nobody needs to be asked


@pytest.mark.parametrize(("host", "reply"), [("127.0.0.1", 5), (TOO_LONG, 4)])
def test_a_target_that_cannot_be_reached(
    curl: Curl, host: str, reply: int, proxy: Proxy, closed_port: int
) -> None:
    done = run(*curl, "--socks5-hostname", proxy.url, f"http://{host}:{closed_port}/")
    assert done.returncode == PROXY_ERROR
    assert f"Can't complete SOCKS5 connection to {host}. ({reply})".encode() in done.stderr
    session = proxy.session()
    assert (session.target, session.reply) == (f"{host}:{closed_port}", reply)


def test_many_connections_at_once(curl: Curl, proxy: Proxy, web: Web) -> None:
    urls = [f"http://{web.address}/"] * 40
    how = ("-Z", "--parallel-immediate", "--parallel-max", "40", "-H", "Connection: close")
    assert succeed(*curl, *how, "--socks5", proxy.url, *urls) == b"a page" * 40
    assert {session.bound for session in proxy.sessions(40)} == web.clients


def test_http_is_told_what_this_is(curl: Curl, proxy: Proxy, web: Web) -> None:
    """As a web server, and as an HTTP proxy."""
    url = f"http://{proxy.url}/"
    for arguments in ([url], ["-x", url, f"http://{web.address}/"]):
        answer = succeed(*curl, "-w", "%{http_code}", *arguments)
        assert answer.startswith(b"this is a SOCKS5 proxy")
        assert answer.endswith(b"400")
    assert not web.requests
