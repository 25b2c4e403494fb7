"""Files of users: read again when they change, and the last good state when they are broken."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface.verify import verifyObject

from socks5.auth import LoginNotJudged, files
from socks5.auth.files import Plainly, UserFile
from socks5.auth.hashes import make_hash
from socks5.auth.users import WrongSource, parse_hash, parse_plain
from socks5.files import Stamp
from tests.auth.test_hashes import little_memory
from tests.support.deferreds import told
from tests.support.files import unreadable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text("alice:secret\n")
    return path


def is_let_in(file: UserFile, name: bytes, password: bytes) -> bool:
    try:
        file.users().judge(name, password)
    except UnauthorizedLogin:
        return False
    return True


def test_a_change_counts_at_once_from_anywhere(
    path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    file = UserFile(path.name, parse_plain)
    monkeypatch.chdir("/")
    before = file.stamp()
    assert is_let_in(file, b"alice", b"secret")
    path.write_text("alice:other word\nbob:word\n")
    assert file.stamp() != before
    assert not is_let_in(file, b"alice", b"secret")
    assert is_let_in(file, b"bob", b"word")
    assert log == [f"{path} was read again; users: 2"]


BROKEN = {
    "gone": (Path.unlink, "No such file or directory"),
    "empty": (lambda path: path.write_text(""), "is empty: it is half-written"),
    "half-written": (lambda path: path.write_text("alice:other\nbo"), "line 2 does not end"),
    "wrong": (lambda path: path.write_text("alice\n"), "line 1: expected NAME:SECRET"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "Not a regular file"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_the_last_good_state_stays_and_it_is_said_once(
    how: str, path: Path, log: list[str]
) -> None:
    file = UserFile(str(path), parse_plain)
    spoil, reason = BROKEN[how]
    spoil(path)
    for _ in range(3):
        assert is_let_in(file, b"alice", b"secret")
        assert not is_let_in(file, b"alice", b"other")
    [sentence] = log
    assert str(path) in sentence
    assert reason in sentence
    assert sentence.endswith(f"the users of before stay those of {path}")


class Ticks:
    """A kernel whose clock, by which it stamps files, stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.stamp = Stamp(1, 2, 3, 4, int(self.now * 1e9))
        monkeypatch.setattr(files, "Stamp", self)
        monkeypatch.setattr(files, "time", self)

    def of(self, path: str) -> Stamp:
        return self.stamp

    def time(self) -> float:
        return self.now


def test_a_change_that_gives_a_file_no_other_stamp_is_noticed(
    path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two in one tick of the kernel's clock (before Linux 6.13)."""
    ticks = Ticks(monkeypatch)
    file = UserFile(str(path), parse_plain)
    young = file.stamp()
    path.write_text("alice:SECRET\n")
    assert is_let_in(file, b"alice", b"secret")
    for text in ("alice:SECRET\n", "alice\n", "alice:SECRET\n"):
        path.write_text(text)
        for _ in range(5):
            ticks.now += 1.5 * files.TICK
            assert is_let_in(file, b"alice", b"SECRET")
    again = f"{path} was read again; users: 1"
    assert [log[0], log[2]] == [again] * 2
    assert [line for line in log if "line 1: expected NAME" in line] == log[1:2]
    assert len(log) == 3
    ticks.now = 1000 + files.SETTLED
    old = file.stamp()
    assert old != young
    ticks.now += files.SETTLED
    assert file.stamp() == old  # which is old enough


def test_a_file_that_cannot_be_read_now_is_read_as_soon_as_it_can(
    path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    """Out of descriptors, say, when a user is removed."""
    kernel = Ticks(monkeypatch)
    kernel.now += 3600
    file = UserFile(str(path), parse_plain)
    path.write_text("bob:word\n")
    kernel.stamp = Stamp(1, 2, 3, 5, kernel.stamp.changed)
    changed = file.stamp()
    with unreadable(errno.EMFILE):
        for _ in range(3):
            assert is_let_in(file, b"alice", b"secret")
            assert file.current() is None
    assert file.stamp() != changed  # so who was let in meanwhile is not remembered
    assert not is_let_in(file, b"alice", b"secret")
    assert is_let_in(file, b"bob", b"word")
    assert file.current() is not None
    [error, mended] = log
    assert "(Too many open files)" in error
    assert mended == f"{path} was read again; users: 1"


class Thread:
    """Work that is done when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Any, tuple[bytes, ...]]] = []

    def run(self, client: str, function: Any, *arguments: bytes) -> Deferred[Any]:
        wait: Deferred[Any] = Deferred()
        self.waiting.append((wait, function, arguments))
        return wait

    def work(self) -> None:
        while self.waiting:
            wait, function, arguments = self.waiting.pop(0)
            maybeDeferred(function, *arguments).chainDeferred(wait)


def test_only_a_changed_file_takes_a_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks(monkeypatch)
    ticks.now += files.SETTLED
    file, thread = UserFile(str(path), parse_plain), Thread()
    checker = Plainly(file, thread)  # type: ignore[arg-type]
    assert verifyObject(ICredentialsChecker, checker)

    def log_in(password: bytes) -> list[Any]:
        return told(checker.requestAvatarId(UsernamePassword(b"alice", password)))

    assert log_in(b"secret") == [b"alice"]
    assert log_in(b"SECRET")[0].check(UnauthorizedLogin)
    path.write_text("alice:SECRET\n")
    ticks.stamp = ticks.stamp._replace(inode=7)
    right, wrong = log_in(b"SECRET"), log_in(b"secret")
    assert right == wrong == []
    thread.work()
    assert right == log_in(b"SECRET") == [b"alice"]
    assert wrong[0].check(UnauthorizedLogin)


def test_the_users_of_before_are_not_those_of_now_while_a_file_is_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, meanwhile = Ticks(monkeypatch), []
    kernel.now += 3600

    def parse(line: bytes) -> Any:
        if kernel.stamp.inode == 7:
            meanwhile.append(file.current())
        return parse_plain(line)

    file = UserFile(str(path), parse)
    path.write_text("bob:word\n")
    with unreadable(errno.EIO), pytest.raises(WrongSource, match="Input/output error"):
        file.reread()
    kernel.stamp = kernel.stamp._replace(inode=7)
    file.reread()
    assert meanwhile == [None]
    assert file.current() is not None


def test_at_the_start_a_broken_file_is_a_sentence(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WrongSource) as raised:
        UserFile(str(path.with_name("missing")), parse_plain)
    assert str(raised.value) == (
        f"expected a file that can be read, got '{path.with_name('missing')}' "
        "(No such file or directory); check its name and mode"
    )
    path.write_text("alice:secret\nbob")
    with pytest.raises(WrongSource, match=f"^{path} line 2 does not end"):
        UserFile(str(path), parse_plain)
    monkeypatch.setattr(files, "MAX_FILE", 12)
    with pytest.raises(WrongSource, match="has more than 12 octets: expected a file of users"):
        UserFile(str(path), parse_plain)


def test_whoever_looks_reads_the_file_for_all(path: Path, log: list[str]) -> None:
    file = UserFile(str(path), parse_plain)
    path.write_text("bob:word\n")
    assert file.current() is None
    file.look()
    assert log == [f"{path} was read again; users: 1"]
    assert file.known("bob") is not None
    assert file.known("alice") is None


def test_groups_are_read_with_the_users(path: Path, log: list[str]) -> None:
    groups = path.with_name("groups")
    groups.write_text("staff: alice\n")
    file = UserFile(str(path), parse_plain, str(groups))
    assert file.users().judge(b"alice", b"secret").groups == {"staff"}
    groups.write_text("others: alice\n")
    assert file.users().judge(b"alice", b"secret").groups == {"others"}
    groups.write_text("what\n")
    assert file.users().judge(b"alice", b"secret").groups == {"others"}
    assert [line for line in log if f"{groups} line 1: expected GROUP" in line] == log[1:]


def test_what_cannot_be_computed_is_no_verdict_and_is_said_once(path: Path, log: list[str]) -> None:
    path.write_text(f"alice:{make_hash(b'secret')}\n")
    file = UserFile(str(path), parse_hash)
    with little_memory():
        for name in (b"alice", b"alice", b"nobody"):
            with pytest.raises(LoginNotJudged):
                file.judge(name, b"secret")
    assert file.judge(b"alice", b"secret") == b"alice"
    reason = "Argon2: Memory allocation error"
    assert log == [f"{path} cannot judge logins: {reason}; times: 1"]
