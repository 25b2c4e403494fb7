"""PuTTY's plink, which offers CHAP by itself and keeps its proxy in a saved session."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.conftest import StartProxy
from tests.interop.processes import run
from tests.interop.programs import needs, require_program
from tests.interop.proxy import Proxy
from tests.interop.servers import Web

Fetch = Callable[[Proxy, Web, str], bytes]

pytestmark = needs("plink")


@pytest.fixture
def secrets(tmp_path: Path) -> str:
    """The option for a file of secrets."""
    file = tmp_path / "secrets"
    file.touch(mode=0o600)
    file.write_text("anna:correct horse\n")
    return f"--auth=secrets:{file}"


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    """Asks a web server for a page, as user anna of the proxy."""
    sessions = tmp_path / ".putty" / "sessions"
    sessions.mkdir(parents=True)

    def fetching(proxy: Proxy, web: Web, secret: str) -> bytes:
        host, port = proxy.address
        saved = {
            "Protocol": "raw",
            "HostName": "127.0.0.1",
            "PortNumber": web.port,
            "ProxyMethod": 2,  # SOCKS5
            "ProxyHost": host,
            "ProxyPort": port,
            "ProxyUsername": "anna",
            "ProxyPassword": secret,
            "ProxyLocalhost": 1,
        }
        (sessions / "proxied").write_text("".join(f"{key}={saved[key]}\n" for key in saved))
        line = [require_program("plink"), "-batch", "-load", "proxied"]
        done = run(*line, stdin=b"GET / HTTP/1.0\r\n\r\n", env={"HOME": str(tmp_path)})
        return done.stdout + done.stderr

    return fetching


@pytest.mark.parametrize("methods", ["chap", "password", "password,chap"])
def test_the_right_secret(
    methods: str, secrets: str, fetch: Fetch, start_proxy: StartProxy, web: Web
) -> None:
    proxy = start_proxy(secrets, "--methods", methods)
    assert fetch(proxy, web, "correct horse").endswith(b"\r\n\r\na page")
    session = proxy.session()
    assert (session.user, session.reply) == ("anna", 0)


def test_a_wrong_secret(secrets: str, fetch: Fetch, start_proxy: StartProxy, web: Web) -> None:
    proxy = start_proxy(secrets)
    assert b"SOCKS 5 CHAP authentication failed" in fetch(proxy, web, "correct house")
    session = proxy.session()
    assert session.user is None
    assert session.reason == (
        "AuthenticationFailed: user name or response not accepted; name sent: 'anna'"
    )


def test_a_proxy_with_passwords_only_is_asked_for_that(
    fetch: Fetch, start_proxy: StartProxy, web: Web
) -> None:
    proxy = start_proxy("--auth", "memory:anna:correct horse")
    assert fetch(proxy, web, "correct horse").endswith(b"a page")
    assert proxy.session().user == "anna"
