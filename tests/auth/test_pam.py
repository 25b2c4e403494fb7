"""PAM: what is asked of it, and what its answers mean. The real one is in tests/interop/."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin

from socks5.app import sources
from socks5.auth import LoginNotJudged
from socks5.auth import pam as ours
from socks5.auth.pam import Service
from socks5.auth.users import WrongSource


class PAM:
    """Stands for python-pam; ``code`` is its answer."""

    def __init__(self) -> None:
        self.code = 0
        self.asked: list[tuple[Any, ...]] = []
        self.gives_code = False
        self.flags: list[int] = []
        self.pam_authenticate = self._authenticate
        self.PAM_DISALLOW_NULL_AUTHTOK = 1
        self.PamAuthenticator = lambda: self

    def _authenticate(self, handle: None, flags: int) -> int:
        self.flags.append(flags)
        return self.code

    def authenticate(
        self, name: bytes, password: bytes, *, service: str, resetcreds: bool
    ) -> bool | int:
        self.asked.append((name, password, service, resetcreds))
        code = self.pam_authenticate(None, 0)
        return code if self.gives_code else code == 0


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PAM:
    system = PAM()
    monkeypatch.setitem(sys.modules, "pam", system)
    monkeypatch.setattr(ours, "FOLDERS", (str(tmp_path / "none"), str(tmp_path)))
    (tmp_path / "proxy").touch()
    return system


def test_whom_it_accepts_comes_in(system: PAM) -> None:
    """Octets that are no UTF-8 are tried as Latin-1 too."""
    assert sources.pam("proxy")
    assert system.asked == []
    in_utf8 = "jürgen".encode(), "größe".encode()
    login = "jürgen".encode("latin-1"), "größe".encode("latin-1")
    assert Service("proxy").judge(*login) == in_utf8[0]
    assert system.asked == [(*in_utf8, "proxy", False)]
    assert system.flags == [system.PAM_DISALLOW_NULL_AUTHTOK]
    system.code = 7
    with pytest.raises(UnauthorizedLogin):
        Service("Proxy").judge(*login)  # PAM looks a name up in small letters
    assert system.asked[1:] == [(*each, "proxy", False) for each in (in_utf8, login)]


@pytest.mark.parametrize(
    ("text", "user", "is_taken"),
    [
        ("auth sufficient pam_rootok.so\nauth required pam_unix.so\n", 0, False),
        ("auth sufficient pam_rootok.so\n", 1000, True),
        ("# auth sufficient pam_rootok.so\nauth required pam_unix.so\n", 0, True),
        ("", 0, True),
        ("auth include also\n", 0, False),
        ("auth substack also\n", 0, False),
        ("-auth\tinclude\talso # as su does\n", 0, False),
        ("@include also\n", 0, False),
        ("@include round\nauth include none\nauth required pam_unix.so\n", 0, True),
        ("auth sufficient \\\n pam_rootok.so\n", 0, False),
        ("#@include also\nauth required pam_unix.so\n", 0, True),
    ],
)
def test_a_service_that_believes_root_is_none_for_a_proxy_that_is_root(
    text: str, user: int, is_taken: bool, system: PAM, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "proxy").write_text(text)
    (tmp_path / "also").write_text("auth [success=ok default=1] pam_rootok.so\n")
    (tmp_path / "round").write_text("@include proxy\n")
    monkeypatch.setattr("os.geteuid", lambda: user)
    if is_taken:
        Service("proxy")
    else:
        with pytest.raises(WrongSource, match="proxy has pam_rootok, with which PAM takes every"):
            Service("proxy")


def test_a_service_whose_file_cannot_be_read_is_not_trusted(
    system: PAM, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> bytes:
        raise OSError(5, "Input/output error", path)

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(ours, "read", fail)
    with pytest.raises(WrongSource, match="proxy: Input/output error"):
        Service("proxy")


@pytest.mark.parametrize("gives_code", [False, True])
@pytest.mark.parametrize("code", [0, 6, 7, 8, 10, 11, 12, 13])
def test_whom_it_refuses_does_not(system: PAM, code: int, gives_code: bool) -> None:
    """Nor whom it does not accept with True: python-pam 2.0.0 gives PAM's code, 0 for a right password."""
    system.gives_code, system.code = gives_code or not code, code
    with pytest.raises(UnauthorizedLogin):
        Service("proxy").judge(b"alice", b"secret")


def test_when_it_is_out_of_order_nobody_is_judged_and_it_is_said_once(
    system: PAM, log: list[str]
) -> None:
    service = Service("proxy")
    system.code = 9
    for _ in range(3):
        with pytest.raises(LoginNotJudged):
            service.judge(b"alice", b"secret")
    assert log == ["PAM cannot judge logins for the service proxy: error 9 (see pam(3)); times: 1"]


@pytest.mark.parametrize("login", [(b"a\0", b"secret"), (b"alice", b"\0"), (b"alice", b"")])
def test_a_nul_and_an_empty_password_are_refused_unasked(
    system: PAM, login: tuple[bytes, bytes]
) -> None:
    with pytest.raises(UnauthorizedLogin):
        Service("proxy").judge(*login)
    assert system.asked == []


@pytest.mark.parametrize("name", ["", ".", "..", "other/proxy", "missing", "Capital", "other"])
def test_a_service_without_a_file_is_a_sentence(system: PAM, tmp_path: Path, name: str) -> None:
    """``other`` is PAM's for all that have none."""
    for file in ("Capital", "other"):
        (tmp_path / file).touch()
    with pytest.raises(WrongSource, match=r"^expected a service that has a file in .*, got "):
        Service(name)


@pytest.mark.parametrize(
    ("module", "why"), [(None, ""), (SimpleNamespace(), r"\(AttributeError\): ")]
)
def test_without_python_pam_it_says_what_to_install(
    module: object, why: str, system: PAM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pam", module)
    with pytest.raises(WrongSource, match=why + r"pip install 'txsocks5\[pam\]'"):
        sources.pam("proxy")


@pytest.mark.parametrize("error", [OSError("no libpam"), AttributeError("pam_start")])
def test_a_pam_that_does_not_work_is_a_sentence_at_the_start(system: PAM, error: Exception) -> None:
    def broken() -> PAM:
        raise error

    system.PamAuthenticator = broken
    with pytest.raises(WrongSource, match=r"needs PAM and python-pam 2\.1 or later, got .*, and"):
        sources.pam("proxy")
