"""``socks5 passwd``: entries made, changed, checked and deleted, and what is refused."""

import getpass
import io
import os
import stat
import warnings
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from socks5.app import console as program
from socks5.app import passwd
from socks5.auth.users import parse_hash, parse_users
from tests.auth.test_hashes import little_memory

OTHERS = b"# staff\nbob:$apr1$8qdliusI$Kiug/IxT0hGX99nVquwKy0\n"


class Command:
    """The command, on a file ``path``; its standard input, and the terminal's answers."""

    def __init__(self, path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.buffer = io.BytesIO(b"secret\n")
        self.answers: list[str | BaseException] = []
        self.prompts: list[str] = []
        self._output = capfd

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

    def run(self, *arguments: object, status: int = 0) -> str:
        """Run it, which ends so.

        :returns: what it says about an error.
        """
        words = ["passwd", *map(str, arguments)]
        if status:
            with pytest.raises(SystemExit) as raised:
                program.main(words)
            assert raised.value.code == status
        else:
            program.main(words)
        output, errors = self._output.readouterr()
        assert output == ""
        return errors.removeprefix("socks5 passwd: ")

    def alice(self, *options: str, status: int = 0) -> str:
        """Run it for her."""
        return self.run(*options, self.path, "alice", status=status)

    def fits(self, password: bytes) -> bool:
        return parse_users(self.path.read_bytes(), parse_hash)[b"alice"].secret.fits(password)

    @property
    def mode(self) -> int:
        return stat.S_IMODE(self.path.stat().st_mode)

    def must_have_left(self, octets: bytes | None) -> None:
        """The file is as it was, and there is no other."""
        assert (self.path.read_bytes() if self.path.exists() else None) == octets
        assert [each for each in self.path.parent.iterdir() if each != self.path] == []


@pytest.fixture
def command(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    command = Command(tmp_path / "users", capfd)
    monkeypatch.setattr(passwd.sys, "stdin", command)
    monkeypatch.setattr(getpass, "getpass", command.ask)
    return command


# ---------------------------------------------------------------- entries


def test_a_file_is_made_for_its_owner_only(command: Command) -> None:
    command.buffer = io.BytesIO(b"\xff open:sesame \r\nmore\n")
    command.alice()
    assert command.fits(b"\xff open:sesame ")
    assert command.path.read_text().startswith("alice:$argon2id$")
    assert command.mode == 0o600
    command.must_have_left(command.path.read_bytes())


@pytest.mark.parametrize("has_input", [True, False])
def test_a_terminal_is_asked_twice(
    command: Command, has_input: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_input:
        monkeypatch.setattr(passwd, "sys", SimpleNamespace(stdin=None))
    command.answers = ["secret", "secret"]
    assert command.alice() == ""
    assert command.prompts == ["Password: ", "The same again: "]
    assert command.fits(b"secret")


def test_other_entries_comments_settings_and_the_mode_stay(command: Command) -> None:
    command.path.write_bytes(OTHERS + b"alice:old:speed=fast\n#end\nalice:twice\n")
    command.path.chmod(0o640)
    command.alice()
    lines = command.path.read_bytes().splitlines(keepends=True)
    assert b"".join(lines[:2]) == OTHERS
    assert lines[2].startswith(b"alice:$argon2id$")
    assert lines[2].endswith(b":speed=fast\n")
    assert lines[3:] == [b"#end\n"]
    assert command.mode == 0o640


def test_a_link_stays_a_link(command: Command) -> None:
    real = command.path.with_name("real")
    real.write_bytes(OTHERS)
    command.path.symlink_to("real")
    command.alice()
    assert command.path.is_symlink()
    assert real.read_bytes().startswith(OTHERS)
    assert command.fits(b"secret")


def test_an_entry_is_deleted(command: Command) -> None:
    """The last one leaves a file that is not half written."""
    command.path.write_bytes(OTHERS + b"alice:x\n")
    command.alice("--delete")
    assert command.path.read_bytes() == OTHERS
    command.path.write_bytes(b"alice:x\n")
    command.alice("--delete")
    assert parse_users(command.path.read_bytes(), parse_hash) == {}


def test_a_password_is_verified(command: Command) -> None:
    command.path.write_bytes(OTHERS)
    command.answers = ["open sesame"]
    command.run("--verify", command.path, "bob")
    assert command.prompts == ["Password: "]
    command.answers = ["hunter2"]
    error = command.run("--verify", command.path, "bob", status=1)
    assert error == "the password is wrong\n"
    command.must_have_left(OTHERS)


def test_the_file_and_then_its_folder_are_on_the_disk(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, bool]] = []
    sync = os.fsync

    def noting(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((is_folder, command.path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    command.alice()
    assert synced == [(False, False), (True, True)]


# ---------------------------------------------------------------- whose it is


@pytest.mark.parametrize("allowed", [{"owner", "group"}, {"group"}, set()])
def test_a_file_keeps_its_owner_and_its_group_as_far_as_one_may_give_it_away(
    command: Command, allowed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the group would be another, nothing is changed: with mode 640 that one could read it, and the old one not."""
    given: list[tuple[int, int]] = []

    def fchown(descriptor: int, owner: int, group: int) -> None:
        if (owner != -1 and "owner" not in allowed) or (group != -1 and "group" not in allowed):
            raise PermissionError
        given.append((owner, group))

    command.path.write_bytes(OTHERS)
    command.path.chmod(0o640)
    old = command.path.stat()
    monkeypatch.setattr(os, "fchown", fchown)
    if not allowed:
        assert "belongs to a group that you are not in" in command.alice(status=1)
        command.must_have_left(OTHERS)
        return
    command.alice()
    assert given == [(old.st_uid if "owner" in allowed else -1, old.st_gid)]
    assert command.fits(b"secret")
    assert command.mode == 0o640


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        (["hunter2", "hunter3"], "the two passwords differ"),
        ([EOFError()], "no password was given"),
        ([KeyboardInterrupt()], "no password was given"),
        ([getpass.GetPassWarning()], "this terminal would show the password"),
        (["", ""], "expected a password of 1 to 255 octets"),
        (["ä" * 128] * 2, "expected a password of 1 to 255 octets"),
    ],
)
def test_an_answer_that_is_none_changes_nothing(
    answers: list[str | BaseException], sentence: str, command: Command
) -> None:
    command.answers = answers
    assert command.alice(status=1) == f"{sentence}; nothing was changed\n"
    command.must_have_left(None)


NAME = "expected a NAME of 1 to 255 octets without colons and control characters"
BLANKS = "expected a NAME without # in front and without blanks around it"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "expected FILE and NAME, got 0 words"),
        (["users", "alice", "hunter2"], "expected FILE and NAME, got 3 words"),
        (["--del", "users", "alice"], "--del: there is no such option; did you mean --delete?"),
        (["--delete", "--verify", "users", "alice"], "--delete does not go with --verify"),
        *((["users", name], NAME) for name in ("a:b", "a\n", "", "ä" * 128)),
        *((["users", name], BLANKS) for name in ("#a", " a")),
        (
            ["htpasswd:users.txt", "alice"],
            "expected the path of a file, such as users.txt, got 'htpasswd:users.txt'",
        ),
    ],
)
def test_wrong_arguments_are_one_sentence_and_status_2(
    arguments: list[str], sentence: str, command: Command
) -> None:
    assert command.run(*arguments, status=2) == f"{sentence}\n"


def full_disk() -> Any:
    return patch.object(os, "fsync", side_effect=OSError(28, "No space left on device"))


@pytest.mark.parametrize(
    ("before", "options", "circumstance", "sentence"),
    [
        (None, ["--delete"], nullcontext, "{path} has no entry for alice"),
        (None, ["--verify"], nullcontext, "{path} has no entry for alice"),
        (b"bob:$apr1$8q", [], nullcontext, "{path}: the last line does not end; mend that first"),
        (OTHERS, [], full_disk, "{path}: No space left on device"),
        (OTHERS, [], little_memory, "Argon2: Memory allocation error"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_leaves_the_file_as_it_was(
    before: bytes | None, options: list[str], circumstance: Any, sentence: str, command: Command
) -> None:
    if before is not None:
        command.path.write_bytes(before)
    with circumstance():
        error = command.alice(*options, status=1)
    assert error == sentence.format(path=command.path) + "\n"
    command.must_have_left(before)


def test_an_entry_that_is_no_hash_cannot_be_verified_and_is_not_shown(command: Command) -> None:
    command.path.write_bytes(b"alice:hunter2\n")
    error = command.alice("--verify", status=1)
    assert "not a hash of argon2" in error
    assert "hunter2" not in error


def test_what_is_no_file_stays_what_it_is(command: Command) -> None:
    os.mkfifo(command.path)
    assert "users: Not a regular file" in command.alice(status=1)
    assert command.path.is_fifo()
    error = command.run(command.path.parent / "none" / "users", "alice", status=1)
    assert error.endswith(": No such file or directory\n")
