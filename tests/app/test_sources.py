"""The sources of ``--auth``, as the command line and as Twisted's plugins know them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.strcred import ICheckerFactory, findCheckerFactory
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface.verify import verifyObject

from socks5.app import sources
from socks5.app.sources import located, passwords_on_command_line, secrets
from socks5.auth import LoginNotJudged, PasswordAuthentication, User, files
from socks5.auth.hashes import Hash
from socks5.auth.users import WrongSource
from socks5.auth.work import Work
from socks5.protocol.messages import Credentials
from tests.auth.test_hashes import KNOWN, SECRET

LINE = f"alice:{KNOWN['bcrypt']}\n"


def log_in(checker: Any, name: bytes, password: bytes) -> Deferred[Any]:
    authenticator = PasswordAuthentication.over(checker)
    return authenticator.authenticate(Credentials(name, password), "192.0.2.7")


# ---------------------------------------------------------------- secrets


def test_only_systemd_may_let_others_see_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "users").write_text("alice:secret\n")
    (tmp_path / "users").chmod(0o440)
    assert secrets("credential=users").credentialInterfaces == (
        IUsernamePassword,
        IUsernameHashedPassword,
    )
    with pytest.raises(WrongSource, match="has mode 0440: others could read"):
        secrets(f"{tmp_path}/users")


# ---------------------------------------------------------------- htpasswd


@pytest_twisted.ensureDeferred
async def test_htpasswd_knows_users_groups_and_settings_and_remembers_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[bytes] = []
    fits = Hash.fits

    def counting(known: Hash, password: bytes) -> bool:
        hashed.append(password)
        return fits(known, password)

    monkeypatch.setattr(Hash, "fits", counting)
    monkeypatch.setattr(files, "SETTLED", 0)
    path = tmp_path / "users"
    path.write_text(LINE.strip() + ":speed=fast\n")
    (tmp_path / "groups").write_text("staff: alice\n")
    checker = findCheckerFactory("htpasswd").generateChecker(f"{path}:groups={tmp_path}/groups")
    for login in [log_in(checker, b"alice", SECRET) for _ in range(200)]:
        assert await login == User("alice", frozenset({"staff"}), {"speed": "fast"})
    assert hashed == [SECRET]
    for name, password in [(b"alice", b"wrong"), (b"bob", SECRET), (b"", b"")]:
        with pytest.raises(UnauthorizedLogin):
            await log_in(checker, name, password)
    path.write_text(LINE.replace("alice", "bob"))
    with pytest.raises(UnauthorizedLogin):
        await log_in(checker, b"alice", SECRET)
    assert await log_in(checker, b"bob", SECRET) == User("bob")


@pytest_twisted.ensureDeferred
async def test_a_full_queue_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Work(lambda: reactor, threads=0, waiting=0)
    monkeypatch.setattr(sources, "shared_work", lambda: full)
    (tmp_path / "users").write_text(LINE)
    with pytest.raises(LoginNotJudged):
        await log_in(sources.htpasswd(str(tmp_path / "users")), b"alice", SECRET)


# ---------------------------------------------------------------- paths


def test_a_path_is_a_path_or_that_of_a_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    for path, expected in (
        ("users", "users"),
        ("./credential=users", "./credential=users"),
        ("~/users", "/home/anna/users"),
        ("credential=users", "/run/credentials/users"),
    ):
        assert located(path) == expected


@pytest.mark.parametrize(
    ("path", "directory"),
    [("credential=users", ""), ("credential=", "/run"), ("credential=../users", "/run")],
)
def test_a_credential_that_cannot_be_is_a_sentence(
    path: str, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", directory)
    with pytest.raises(WrongSource, match=r"LoadCredential=NAME:FILE, which sets \$CREDENTIALS"):
        located(path)


def test_a_path_has_something_in_it() -> None:
    with pytest.raises(WrongSource, match="expected the path of a file"):
        located("")


# ---------------------------------------------------------------- the command line and the plugins


@pytest.mark.parametrize("name", sorted(sources.SOURCES))
def test_every_source_is_a_plugin_and_explained(name: str) -> None:
    factory = findCheckerFactory(name)
    assert verifyObject(IPlugin, factory)
    assert verifyObject(ICheckerFactory, factory)
    assert IUsernamePassword in factory.credentialInterfaces
    assert factory.authHelp.strip()
    assert factory.argStringFormat


def test_the_plugin_itself_imports_nothing_of_the_package() -> None:
    script = (
        "import sys; from twisted.plugins import socks5_plugin;"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in"
        " ('socks5', 'passlib', 'argon2', 'bcrypt', 'ldaptor', 'pam')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_another_programs_realm_gets_a_plain_name(tmp_path: Path) -> None:
    given: list[Any] = []
    checker = passwords_on_command_line("alice:secret")
    checker.requestAvatarId(UsernamePassword(b"alice", b"secret")).addBoth(given.append)
    assert given == [b"alice"]
