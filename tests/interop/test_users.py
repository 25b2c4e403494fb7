"""Files of users as the README, Apache's htpasswd and openssl make them, and curl as the client."""

import shlex
import sys
from pathlib import Path

import pytest

from tests.interop.conftest import StartProxy, page
from tests.interop.processes import succeed
from tests.interop.programs import require_program
from tests.interop.proxy import SOURCES
from tests.interop.servers import Web
from tests.support.readme import named

REJECTED = 97


def test_the_recipe_of_the_readme(start_proxy: StartProxy, web: Web, tmp_path: Path) -> None:
    make, serve, fetch = (shlex.split(line) for line in named("users").commands)
    users = tmp_path / "users.txt"
    user = fetch[fetch.index("--proxy-user") + 1]
    assert make[1:5] == ["-m", "socks5", "passwd", "users.txt"]
    words = [sys.executable, *make[1:4], users, *make[5:]]
    password = user.partition(":")[2].encode()
    succeed(*words, stdin=password + b"\n", env={"PYTHONPATH": str(SOURCES)})
    options = serve[serve.index("socks5") + 1 :]
    proxy = start_proxy(*(option.replace("users.txt", str(users)) for option in options))
    assert fetch[:3] == ["curl", "--socks5-hostname", "127.0.0.1:1080"]
    assert page(proxy, web, user) == (0, b"a page")
    assert proxy.session().user == "alice"
    assert page(proxy, web, user + "s")[0] == REJECTED


@pytest.mark.parametrize("option", ["-B", "-m"])
def test_apaches_htpasswd_makes_users(
    option: str, start_proxy: StartProxy, web: Web, tmp_path: Path
) -> None:
    htpasswd = require_program("htpasswd")
    users = tmp_path / "users"
    succeed(htpasswd, "-i", "-c", option, users, "anna", stdin=b"secret")
    proxy = start_proxy("--auth", f"htpasswd:{users}")
    assert page(proxy, web, "anna:secret") == (0, b"a page")
    assert page(proxy, web, "anna:Secret")[0] == REJECTED
    succeed(htpasswd, "-i", option, users, "bob", stdin=b"another")
    assert page(proxy, web, "bob:another") == (0, b"a page")


def test_apaches_htpasswd_understands_ours(tmp_path: Path) -> None:
    """It leaves our entries where they are, though it does not know Argon2."""
    users = tmp_path / "users"
    env = {"PYTHONPATH": str(SOURCES)}
    ours = (sys.executable, "-m", "socks5", "passwd")
    succeed(*ours, users, "anna", stdin=b"secret\n", env=env)
    succeed(require_program("htpasswd"), "-i", "-B", users, "bob", stdin=b"another")
    succeed(*ours, "--verify", users, "anna", stdin=b"secret\n", env=env)
    succeed(*ours, "--verify", users, "bob", stdin=b"another\n", env=env)


@pytest.mark.parametrize("method", ["-6", "-5", "-apr1"])
def test_openssl_makes_hashes(
    method: str, start_proxy: StartProxy, web: Web, tmp_path: Path
) -> None:
    made = succeed(require_program("openssl"), "passwd", method, "-stdin", stdin=b"secret\n")
    users = tmp_path / "users"
    users.write_bytes(b"anna:" + made)
    proxy = start_proxy("--auth", f"htpasswd:{users}")
    assert page(proxy, web, "anna:secret") == (0, b"a page")
    assert page(proxy, web, "anna:Secret")[0] == REJECTED
