"""Files of users as the README, Apache's htpasswd and openssl make them, and curl as the client."""

import shlex
import sys
from pathlib import Path

from tests.interop.conftest import StartProxy, page
from tests.interop.processes import succeed
from tests.interop.programs import require_program
from tests.interop.proxy import SOURCES
from tests.interop.servers import Web
from tests.support.readme import named

REJECTED = 97
ENV = {"PYTHONPATH": str(SOURCES)}
OURS = (sys.executable, "-m", "socks5", "passwd")


def test_the_recipe_of_the_readme(start_proxy: StartProxy, web: Web, tmp_path: Path) -> None:
    make, serve, fetch = (shlex.split(line) for line in named("users").commands)
    users = tmp_path / "users.txt"
    user = fetch[fetch.index("--proxy-user") + 1]
    assert [Path(make[0]).name, *make[1:3]] == ["socks5", "passwd", "users.txt"]
    succeed(*OURS, users, *make[3:], stdin=user.partition(":")[2].encode() + b"\n", env=ENV)
    assert Path(serve[0]).name == "socks5"
    proxy = start_proxy(*(option.replace("users.txt", str(users)) for option in serve[1:]))
    assert fetch[:3] == ["curl", "--socks5-hostname", "127.0.0.1:1080"]
    assert page(proxy, web, user) == (0, b"a page")
    assert proxy.session().user == "alice"
    assert page(proxy, web, user + "s")[0] == REJECTED


def test_apaches_htpasswd_and_ours_make_one_file(
    start_proxy: StartProxy, web: Web, tmp_path: Path
) -> None:
    """It leaves our entries where they are, though it does not know Argon2."""
    htpasswd, users = require_program("htpasswd"), tmp_path / "users"
    succeed(*OURS, users, "anna", stdin=b"secret\n", env=ENV)
    proxy = start_proxy("--auth", f"htpasswd:{users}")
    for option, name in (("-B", "bob"), ("-m", "carl")):
        succeed(htpasswd, "-i", option, users, name, stdin=b"another")
        assert page(proxy, web, f"{name}:another") == (0, b"a page")
        assert page(proxy, web, f"{name}:Another")[0] == REJECTED
        succeed(*OURS, "--verify", users, name, stdin=b"another\n", env=ENV)
    assert page(proxy, web, "anna:secret") == (0, b"a page")


def test_openssl_makes_hashes(start_proxy: StartProxy, web: Web, tmp_path: Path) -> None:
    users, openssl = tmp_path / "users", require_program("openssl")
    for method in ("-6", "-5", "-apr1"):
        made = succeed(openssl, "passwd", method, "-stdin", stdin=b"secret\n")
        with users.open("ab") as file:
            file.write(b"anna%s:%s" % (method.encode(), made))
    proxy = start_proxy("--auth", f"htpasswd:{users}")
    for method in ("-6", "-5", "-apr1"):
        assert page(proxy, web, f"anna{method}:secret") == (0, b"a page")
        assert page(proxy, web, f"anna{method}:Secret")[0] == REJECTED
