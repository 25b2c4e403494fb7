"""The system's own PAM, with a service that stands in /etc/pam.d for as long as the test."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import StartProxy, page
from tests.interop.processes import succeed
from tests.interop.programs import require_program
from tests.interop.servers import Web

REJECTED = 97
FOLDER = Path("/etc/pam.d")

Configure = Callable[[str], str]


def require_pam(module: str) -> None:
    """See :func:`~tests.interop.programs.require_program`."""
    missing = not list(Path("/usr/lib").glob(f"*/security/{module}"))
    if missing or not os.access(FOLDER, os.W_OK):
        pytest.skip(f"{module} is not installed, or {FOLDER} cannot be written")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Configure]:
    """Makes a service whose users are those of a file, with this account line."""
    require_pam("pam_pwdfile.so")
    made = succeed(require_program("openssl"), "passwd", "-6", "-stdin", stdin=b"secret\n")
    users = tmp_path / "pwdfile"
    users.write_bytes(b"anna:" + made + b"eve:\n")
    path = FOLDER / f"txsocks5-test-{os.getpid()}"

    def configure(account: str) -> str:
        path.write_text(
            f"auth required pam_pwdfile.so pwdfile={users} nodelay\naccount {account}\n"
        )
        return path.name

    try:
        yield configure
    finally:
        path.unlink(missing_ok=True)


def test_pam_says_who_comes_in(service: Configure, start_proxy: StartProxy, web: Web) -> None:
    proxy = start_proxy("--auth", f"pam:{service('required pam_permit.so')}")
    assert page(proxy, web, "anna:secret") == (0, b"a page")
    assert proxy.session().user == "anna"
    for login in ("anna:mistaken", "bob:secret", "b%C3%B6b:" + "x" * 255):
        assert page(proxy, web, login)[0] == REJECTED
    assert "mistaken" not in proxy.log + proxy.access_log


def test_an_account_without_a_password_or_locked_stays_out(
    service: Configure, start_proxy: StartProxy, web: Web
) -> None:
    """``nullok`` lets it in with any password; so does ``pam_unix.so``, for which Debian sets it."""
    proxy = start_proxy("--auth", f"pam:{service('required pam_deny.so')}")
    assert page(proxy, web, "anna:secret")[0] == REJECTED
    path = FOLDER / service("required pam_permit.so")
    path.write_text(path.read_text().replace("nodelay", "nodelay nullok"))
    assert page(proxy, web, "eve:anything")[0] == REJECTED
    assert page(proxy, web, "eve:")[0] == REJECTED
    assert page(proxy, web, "anna:secret") == (0, b"a page")
