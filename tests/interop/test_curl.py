"""curl: every way to name the proxy and the target, credentials, errors, and volume."""

from pathlib import Path

import pytest

from tests.interop.conftest import StartProxy
from tests.interop.processes import run, succeed
from tests.interop.proxy import Proxy
from tests.interop.servers import Web, payload, sha256

PROXY_ERROR = 97
SIZE = 20_000_000
AUTH = ("--auth", "memory:anna:secret")
READABLE = b"this is a SOCKS5 proxy"


def test_a_page(curl: tuple[str, ...], proxy: Proxy, web: Web) -> None:
    assert succeed(*curl, "--socks5", proxy.url, f"http://{web.address}/") == b"a page"
    session = proxy.session()
    assert (session.command, session.target, session.reply) == ("connect", web.address, 0)
    assert {session.bound} == web.clients
    assert session.bytes_up > 0
    assert session.bytes_down > len(b"a page")


@pytest.mark.parametrize(
    ("option", "target"), [("--socks5", "127.0.0.1"), ("--socks5-hostname", "localhost")]
)
def test_a_name_is_resolved_where_curl_says(
    curl: tuple[str, ...], option: str, target: str, proxy: Proxy, web: Web
) -> None:
    url = f"http://localhost:{web.port}/"
    assert succeed(*curl, "--ipv4", option, proxy.url, url) == b"a page"
    session = proxy.session()
    assert session.target == f"{target}:{web.port}"
    assert {session.bound} == web.clients


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_an_ipv6_target(curl: tuple[str, ...], scheme: str, proxy: Proxy, web6: Web) -> None:
    url = f"http://{web6.address}/"
    assert succeed(*curl, "-x", f"{scheme}://{proxy.url}", url) == b"a page"
    session = proxy.session()
    assert session.target == web6.address
    assert {session.bound} == web6.clients


@pytest.mark.usefixtures("ipv6")
def test_a_proxy_on_ipv6(curl: tuple[str, ...], proxy: Proxy, web: Web) -> None:
    url = f"http://{web.address}/"
    assert succeed(*curl, "-x", f"socks5://[::1]:{proxy.port6}", url) == b"a page"
    session = proxy.session()
    assert session.client.startswith("[::1]:")
    assert {session.bound} == web.clients


def test_the_environment_names_the_proxy(curl: tuple[str, ...], proxy: Proxy, web: Web) -> None:
    env = {"ALL_PROXY": f"socks5h://{proxy.url}"}
    assert succeed(*curl, f"http://{web.address}/", env=env) == b"a page"
    assert {proxy.session().bound} == web.clients


def test_user_and_password(curl: tuple[str, ...], start_proxy: StartProxy, web: Web) -> None:
    proxy = start_proxy(*AUTH)
    url = f"http://{web.address}/"
    assert succeed(*curl, "-x", f"socks5h://anna:secret@{proxy.url}", url) == b"a page"
    session = proxy.session()
    assert session.user == "anna"
    assert {session.bound} == web.clients


def test_a_wrong_password(curl: tuple[str, ...], start_proxy: StartProxy, web: Web) -> None:
    proxy = start_proxy(*AUTH)
    url = f"http://{web.address}/"
    done = run(*curl, "-x", f"socks5h://anna:mistaken@{proxy.url}", url)
    assert done.returncode == PROXY_ERROR
    assert b"User was rejected by the SOCKS5 server" in done.stderr
    assert not web.requests
    assert "mistaken" not in proxy.access_log + proxy.log


def test_a_refused_target(curl: tuple[str, ...], proxy: Proxy, closed_port: int) -> None:
    target = f"127.0.0.1:{closed_port}"
    done = run(*curl, "--socks5", proxy.url, f"http://{target}/")
    assert done.returncode == PROXY_ERROR
    assert b"Can't complete SOCKS5 connection to 127.0.0.1. (5)" in done.stderr
    session = proxy.session()
    assert (session.target, session.reply, session.bound) == (target, 5, None)


def test_a_name_that_cannot_be(curl: tuple[str, ...], proxy: Proxy) -> None:
    name = "a" * 64 + ".test"  # one octet more than a label may have: nobody needs to be asked
    done = run(*curl, "--socks5-hostname", proxy.url, f"http://{name}/")
    assert done.returncode == PROXY_ERROR
    assert f"Can't complete SOCKS5 connection to {name}. (4)".encode() in done.stderr
    session = proxy.session()
    assert (session.target, session.reply) == (f"{name}:80", 4)


def test_volume_both_ways(curl: tuple[str, ...], proxy: Proxy, web: Web, tmp_path: Path) -> None:
    web.pages["/large"] = ("application/octet-stream", payload(SIZE))
    file, url = tmp_path / "large", f"http://{web.address}/large"
    succeed(*curl, "-o", file, "--socks5", proxy.url, url)
    assert sha256(file.read_bytes()) == sha256(payload(SIZE))
    checksum = succeed(*curl, "-T", file, "--socks5", proxy.url, url)
    assert checksum.decode() == sha256(payload(SIZE))
    down, up = proxy.sessions(2)
    assert down.bytes_down > SIZE
    assert up.bytes_up > SIZE


def test_many_connections_at_once(curl: tuple[str, ...], proxy: Proxy, web: Web) -> None:
    urls = [f"http://{web.address}/"] * 40
    how = ("-Z", "--parallel-immediate", "--parallel-max", "40", "-H", "Connection: close")
    assert succeed(*curl, *how, "--socks5", proxy.url, *urls) == b"a page" * 40
    assert {session.bound for session in proxy.sessions(40)} == web.clients


@pytest.mark.parametrize("how", ["as a web server", "as an HTTP proxy"])
def test_http_is_told_what_this_is(curl: tuple[str, ...], how: str, proxy: Proxy, web: Web) -> None:
    arguments = {
        "as a web server": [f"http://{proxy.url}/"],
        "as an HTTP proxy": ["-x", f"http://{proxy.url}", f"http://{web.address}/"],
    }[how]
    answer = succeed(*curl, "-w", "%{http_code}", *arguments)
    assert answer.startswith(READABLE)
    assert answer.endswith(b"400")
    assert not web.requests
