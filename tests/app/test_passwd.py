"""``python -m socks5 passwd``: entries made, changed, checked and deleted, and what is refused."""

import getpass
import io
import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from socks5 import __main__ as program
from socks5.app import passwd
from socks5.auth.users import parse_hash, parse_users
from tests.auth.test_hashes import little_memory

OTHERS = b"# staff\nbob:$apr1$8qdliusI$Kiug/IxT0hGX99nVquwKy0\n"


class Input:
    """The standard input, and the terminal's answers."""

    def __init__(self) -> None:
        self.buffer = io.BytesIO()
        self.answers: list[str | BaseException] = []
        self.prompts: list[str] = []

    def isatty(self) -> bool:
        return bool(self.answers)

    def ask(self, prompt: str) -> str:
        self.prompts.append(prompt)
        answer = self.answers.pop(0)
        self.answers.append("no more")
        if isinstance(answer, Warning):
            warnings.warn(answer, stacklevel=1)
        elif isinstance(answer, BaseException):
            raise answer
        return str(answer)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[Input]:
    given = Input()
    monkeypatch.setattr(passwd.sys, "stdin", given)
    monkeypatch.setattr(getpass, "getpass", given.ask)
    return given


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


def run(*arguments: object, status: int = 0) -> None:
    command = ["passwd", *map(str, arguments)]
    if not status:
        program.main(command)
        return
    with pytest.raises(SystemExit) as raised:
        program.main(command)
    assert raised.value.code == status


@pytest.mark.parametrize("kind", ["htpasswd", "file"])
def test_a_source_is_no_path(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(f"{kind}:users.txt", "alice", status=2)
    expected = f"expected the path of a file, such as users.txt, got '{kind}:users.txt'"
    assert expected in capsys.readouterr().err


def test_what_is_no_file_stays_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    run(pipe, "alice", status=1)
    assert pipe.is_fifo()
    assert "pipe: Not a regular file" in capsys.readouterr().err


def fits(path: Path, name: bytes, password: bytes) -> bool:
    return parse_users(path.read_bytes(), parse_hash)[name].secret.fits(password)


def left_over(path: Path) -> list[str]:
    return [each.name for each in path.parent.iterdir() if each != path]


# ---------------------------------------------------------------- entries


def test_a_file_is_made_for_its_owner_only(given: Input, path: Path) -> None:
    given.buffer = io.BytesIO(b"\xff open:sesame \r\nmore\n")
    run(path, "alice")
    assert fits(path, b"alice", b"\xff open:sesame ")
    assert path.read_text().startswith("alice:$argon2id$")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert left_over(path) == []


def test_a_terminal_is_asked_twice(
    given: Input, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given.answers = ["secret", "secret"]
    run(path, "alice")
    assert given.prompts == ["Password: ", "The same again: "]
    assert fits(path, b"alice", b"secret")
    assert capfd.readouterr() == ("", "")


def test_other_entries_comments_settings_and_the_mode_stay(given: Input, path: Path) -> None:
    path.write_bytes(OTHERS + b"alice:old:speed=fast\n#end\nalice:twice\n")
    path.chmod(0o640)
    given.buffer = io.BytesIO(b"secret\n")
    run(path, "alice")
    lines = path.read_bytes().splitlines(keepends=True)
    assert b"".join(lines[:2]) == OTHERS
    assert lines[2].startswith(b"alice:$argon2id$")
    assert lines[2].endswith(b":speed=fast\n")
    assert lines[3:] == [b"#end\n"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_a_link(given: Input, path: Path) -> None:
    real = path.with_name("real")
    real.write_bytes(OTHERS)
    path.symlink_to("real")
    given.buffer = io.BytesIO(b"secret\n")
    run(path, "alice")
    assert path.is_symlink()
    assert fits(real, b"alice", b"secret")


def test_an_entry_is_deleted(given: Input, path: Path) -> None:
    path.write_bytes(OTHERS + b"alice:x\n")
    run("--delete", path, "alice")
    assert path.read_bytes() == OTHERS


def test_the_last_entry_leaves_a_file_that_is_not_half_written(given: Input, path: Path) -> None:
    path.write_bytes(b"alice:x\n")
    run("--delete", path, "alice")
    assert parse_users(path.read_bytes(), parse_hash) == {}


def test_a_password_is_verified(
    given: Input, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(OTHERS)
    given.answers = ["open sesame"]
    run("--verify", path, "bob")
    assert given.prompts == ["Password: "]
    given.answers = ["hunter2"]
    run("--verify", path, "bob", status=1)
    assert capfd.readouterr().err == "socks5 passwd: the password is wrong\n"
    assert path.read_bytes() == OTHERS


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        (["hunter2", "hunter3"], "the two passwords differ; nothing was changed"),
        ([EOFError()], "no password was given; nothing was changed"),
        ([KeyboardInterrupt()], "no password was given; nothing was changed"),
        ([getpass.GetPassWarning()], "this terminal would show the password; nothing was changed"),
        (["", ""], "expected a password of 1 to 255 octets; nothing was changed"),
        (["ä" * 128] * 2, "expected a password of 1 to 255 octets; nothing was changed"),
    ],
)
def test_an_answer_that_is_none_changes_nothing(
    answers: list[str | BaseException],
    sentence: str,
    given: Input,
    path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    given.answers = answers
    run(path, "alice", status=1)
    assert capfd.readouterr().err == f"socks5 passwd: {sentence}\n"
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Wrong number of arguments."),
        (["users"], "Wrong number of arguments."),
        (["users", "alice", "hunter2"], "Wrong number of arguments."),
        (["--delete", "--verify", "users", "alice"], "--delete does not go with --verify"),
        (
            ["users", "a:b"],
            "expected a NAME of 1 to 255 octets without colons and control characters",
        ),
        (
            ["users", "a\n"],
            "expected a NAME of 1 to 255 octets without colons and control characters",
        ),
        (["users", ""], "expected a NAME of 1 to 255 octets without colons and control characters"),
        (
            ["users", "ä" * 128],
            "expected a NAME of 1 to 255 octets without colons and control characters",
        ),
        (["users", "#a"], "expected a NAME without # in front and without blanks around it"),
        (["users", " a"], "expected a NAME without # in front and without blanks around it"),
    ],
)
def test_wrong_arguments_are_one_sentence_and_status_2(
    arguments: list[str], sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    run(*arguments, status=2)
    assert capfd.readouterr().err == f"socks5 passwd: {sentence}\nTry --help.\n"


@pytest.mark.parametrize("option", ["--delete", "--verify"])
def test_an_entry_that_is_not_there_is_a_sentence(
    option: str, given: Input, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(option, path, "alice", status=1)
    assert capfd.readouterr().err == f"socks5 passwd: {path} has no entry for alice\n"


def test_an_entry_that_is_no_hash_cannot_be_verified(
    given: Input, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(b"alice:hunter2\n")
    run("--verify", path, "alice", status=1)
    error = capfd.readouterr().err
    assert "not a hash of argon2" in error
    assert "hunter2" not in error


def test_a_half_written_file_is_left_alone(
    given: Input, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(b"bob:$apr1$8qd")
    run(path, "alice", status=1)
    expected = f"socks5 passwd: {path}: the last line does not end; mend that first\n"
    assert capfd.readouterr().err == expected
    assert path.read_bytes() == b"bob:$apr1$8qd"


def test_a_folder_that_is_not_there_is_a_sentence(
    given: Input, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given.buffer = io.BytesIO(b"secret\n")
    run(path / "users", "alice", status=1)
    assert capfd.readouterr().err.endswith(": No such file or directory\n")


def test_a_full_disk_leaves_the_old_file(
    given: Input, path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path.write_bytes(OTHERS)
    given.buffer = io.BytesIO(b"secret\n")
    monkeypatch.setattr(os, "fsync", full)
    run(path, "alice", status=1)
    assert capfd.readouterr().err == f"socks5 passwd: {path}: No space left on device\n"
    assert path.read_bytes() == OTHERS
    assert left_over(path) == []


def test_too_little_memory_for_a_hash_is_a_sentence(
    given: Input, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given.buffer = io.BytesIO(b"secret\n")
    with little_memory():
        run(path, "alice", status=1)
    expected = "socks5 passwd: Argon2: Memory allocation error\n"
    assert capfd.readouterr().err == expected
    assert not path.exists()


class Ownership:
    """What may be given away, and what was."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = allowed
        self.given: list[tuple[int, int]] = []

    def fchown(self, descriptor: int, owner: int, group: int) -> None:
        if owner != -1 and "owner" not in self.allowed:
            raise PermissionError
        if group != -1 and "group" not in self.allowed:
            raise PermissionError
        self.given.append((owner, group))


def test_who_may_give_the_file_away_does(
    given: Input, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(OTHERS)
    old = path.stat()
    given.buffer = io.BytesIO(b"secret\n")
    ownership = Ownership("owner", "group")
    monkeypatch.setattr(os, "fchown", ownership.fchown)
    run(path, "alice")
    assert ownership.given == [(old.st_uid, old.st_gid)]


def test_who_may_not_give_the_file_away_keeps_it_and_gives_it_its_group(
    given: Input, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(OTHERS)
    path.chmod(0o640)
    group = path.stat().st_gid
    given.buffer = io.BytesIO(b"secret\n")
    ownership = Ownership("group")
    monkeypatch.setattr(os, "fchown", ownership.fchown)
    run(path, "alice")
    assert ownership.given == [(-1, group)]
    assert fits(path, b"alice", b"secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_whose_group_would_be_another_stays(
    given: Input, path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With mode 640 the new group could read it, and the old one not."""
    path.write_bytes(OTHERS)
    given.buffer = io.BytesIO(b"secret\n")
    monkeypatch.setattr(os, "fchown", Ownership().fchown)
    run(path, "alice", status=1)
    assert "belongs to a group that you are not in" in capfd.readouterr().err
    assert path.read_bytes() == OTHERS
    assert left_over(path) == []


def test_the_file_and_then_its_folder_are_on_the_disk(
    given: Input, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, bool]] = []
    sync = os.fsync

    def noting(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((is_folder, path.exists()))
        sync(descriptor)

    given.buffer = io.BytesIO(b"secret\n")
    monkeypatch.setattr(os, "fsync", noting)
    run(path, "alice")
    assert synced == [(False, False), (True, True)]


def test_without_a_standard_input_the_terminal_is_asked(
    given: Input, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwd, "sys", SimpleNamespace(stdin=None))
    given.answers = ["secret", "secret"]
    run(path, "alice")
    assert fits(path, b"alice", b"secret")
