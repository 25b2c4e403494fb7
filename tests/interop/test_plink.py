"""PuTTY's plink, which offers CHAP by itself and keeps its proxy in a saved session."""

from pathlib import Path

import pytest

from tests.interop.conftest import StartProxy
from tests.interop.processes import run
from tests.interop.programs import needs, require_program
from tests.interop.proxy import Proxy
from tests.interop.servers import Web

pytestmark = needs("plink")


@pytest.fixture
def secrets(tmp_path: Path) -> str:
    """The option for a file of secrets."""
    file = tmp_path / "secrets"
    file.touch(mode=0o600)
    file.write_text("anna:correct horse\n")
    return f"--auth=secrets:{file}"


def fetch(home: Path, proxy: Proxy, web: Web, secret: str) -> bytes:
    """Ask a web server for a page, as user anna of the proxy."""
    sessions = home / ".putty" / "sessions"
    sessions.mkdir(parents=True)
    saved = {
        "Protocol": "raw",
        "HostName": "127.0.0.1",
        "PortNumber": web.port,
        "ProxyMethod": 2,  # SOCKS5
        "ProxyHost": proxy.host,
        "ProxyPort": proxy.port,
        "ProxyUsername": "anna",
        "ProxyPassword": secret,
        "ProxyLocalhost": 1,
    }
    (sessions / "proxied").write_text("".join(f"{key}={saved[key]}\n" for key in saved))
    line = [require_program("plink"), "-batch", "-load", "proxied"]
    done = run(*line, stdin=b"GET / HTTP/1.0\r\n\r\n", env={"HOME": str(home)})
    return done.stdout + done.stderr


@pytest.mark.parametrize("methods", ["chap", "password", "password,chap"])
def test_the_right_secret(
    methods: str, secrets: str, start_proxy: StartProxy, web: Web, tmp_path: Path
) -> None:
    proxy = start_proxy(secrets, "--methods", methods)
    assert fetch(tmp_path, proxy, web, "correct horse").endswith(b"\r\n\r\na page")
    session = proxy.session()
    assert (session.user, session.reply) == ("anna", 0)


def test_a_wrong_secret(secrets: str, start_proxy: StartProxy, web: Web, tmp_path: Path) -> None:
    proxy = start_proxy(secrets)
    answer = fetch(tmp_path, proxy, web, "correct house")
    assert b"SOCKS 5 CHAP authentication failed" in answer
    session = proxy.session()
    assert session.user is None
    assert session.detail == (
        "AuthenticationFailed: user name or response not accepted; name sent: 'anna'"
    )
