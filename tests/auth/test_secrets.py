"""A file of secrets: whom it lets in by a password and by a response, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from zope.interface.verify import verifyObject

from socks5.auth import files
from socks5.auth.files import UserFile
from socks5.auth.hashes import make_hash
from socks5.auth.secrets import Secrets, parse_shared
from socks5.auth.users import WrongSource
from tests.auth.test_chap import SECRET, response
from tests.auth.test_files import Thread, Ticks
from tests.support.deferreds import told


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    path.write_text(f"# ours\nalice:{SECRET.decode()}\nbob:Grüße: und mehr\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def checker(path: Path, monkeypatch: pytest.MonkeyPatch) -> Secrets:
    Ticks(monkeypatch).now += files.SETTLED
    return Secrets(opened(path), Thread())  # type: ignore[arg-type]


def opened(path: Path) -> UserFile:
    return UserFile(str(path), parse_shared, is_private=True)


def judged(checker: Secrets, credentials: Any) -> list[Any]:
    """The name of whom the checker lets in, once it has judged; or the kind of its refusal."""
    checking = checker.requestAvatarId(credentials)
    return told(checking.addErrback(lambda failure: failure.type))


@pytest.mark.parametrize(
    ("name", "secret"), [(b"alice", SECRET), (b"bob", "Grüße: und mehr".encode())]
)
def test_one_secret_serves_for_both_kinds_of_login(
    checker: Secrets, name: bytes, secret: bytes
) -> None:
    assert verifyObject(ICredentialsChecker, checker)
    assert judged(checker, UsernamePassword(name, secret)) == [name]
    assert judged(checker, response(secret, name)) == [name]
    for user in (name, b"carol"):
        for wrong in (UsernamePassword(user, b"wrong"), response(b"wrong", user)):
            assert judged(checker, wrong) == [UnauthorizedLogin]


def test_a_name_that_nobody_has_costs_what_a_wrong_secret_costs(checker: Secrets) -> None:
    """Also for whoever knows another one's secret: it proves nothing."""

    class Counted:
        username, asked = b"carol", 0

        def checkPassword(self, password: bytes) -> bool:
            self.asked += 1
            return True

    credentials = Counted()
    assert judged(checker, credentials) == [UnauthorizedLogin]
    assert credentials.asked == 1


def test_a_changed_file_is_read_in_a_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks, thread = Ticks(monkeypatch), Thread()
    ticks.now += files.SETTLED
    checker = Secrets(opened(path), thread)  # type: ignore[arg-type]
    for text, expected in (("alice:another\n", b"alice"), ("# nobody yet\n", UnauthorizedLogin)):
        path.write_text(text)
        ticks.stamp = ticks.stamp._replace(inode=ticks.stamp.inode + 1)
        waiting = [judged(checker, response(b"another")), judged(checker, response())]
        assert waiting == [[], []]
        thread.work()
        assert waiting == [[expected], [UnauthorizedLogin]]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_have_access_to_is_refused(
    path: Path, mode: int, log: list[str]
) -> None:
    """At the start; later it is said, and lets nobody else in."""
    file, now = opened(path), f"{path} has mode {mode:04o}: "
    path.write_text("mallory:evil\n")
    path.chmod(mode)
    with pytest.raises(WrongSource) as raised:
        opened(path)
    what = "others could read or replace the secrets in it; chmod 600 "
    assert str(raised.value) == f"{now}{what}{path}"
    assert file.users().known_by(b"mallory", lambda _: True) is None
    assert file.users().known_by(b"alice", lambda _: True) == b"alice"
    [line] = log
    assert line.startswith(now)
    assert line.endswith(f"until that is mended, the users of before stay those of {path}")


def test_a_wrong_line_is_a_sentence_without_secrets(path: Path) -> None:
    hashed = make_hash(b"secret").encode()
    is_hash = "line 1: what follows the name is a hash; did you mean --auth htpasswd:FILE?"
    for secret, sentence in (
        (b"", "line 1: expected a password behind the name"),
        (b"\xff", "line 1: expected a secret in UTF-8"),
        (hashed, is_hash),
    ):
        path.write_bytes(b"alice:" + secret + b"\n")
        with pytest.raises(WrongSource) as raised:
            opened(path)
        assert str(raised.value) == f"{path} {sentence}"
