"""Users and passwords of the running program: where they work, and where they must not show."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.auth.test_hashes import KNOWN
from tests.process.program import (
    MODULE,
    Program,
    client_of,
    log_in,
    poll,
    proxy,
    running,
)

RIGHT, WRONG = b"open sesame", b"hunter2 is wrong"
LINE = f"alice:{KNOWN['bcrypt']}\n"


def status_of(program: Program, name: bytes, password: bytes) -> int:
    with client_of(("127.0.0.1", program.port)) as client:
        return log_in(client, name, password)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(LINE)
    return path


# ---------------------------------------------------------------- where passwords must not show


def everything_readable(program: Program) -> bytes:
    """What the program has written, and what other users of the machine see of it."""
    process = Path(f"/proc/{program.process.pid}")
    children = (process / "task" / process.name / "children").read_text().split()
    texts = [Path(f"/proc/{number}/cmdline").read_bytes() for number in (process.name, *children)]
    files = [program.directory / name for name in ("output", "access.log")]
    return b"\n".join(texts + [path.read_bytes() for path in files])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_password_shows_anywhere(workers: str, tmp_path: Path, users: Path) -> None:
    (tmp_path / "plain.txt").write_bytes(b"carol:the plain word\n")
    sources = ["--auth", "htpasswd:users", "--auth", "file:plain.txt", "--workers", workers]
    with proxy(tmp_path, *sources) as program:
        assert status_of(program, b"alice", RIGHT) == 0
        assert status_of(program, b"carol", b"the plain word") == 0
        assert status_of(program, b"alice", WRONG) == 1
        logins = 3
        poll(lambda: len(program.records) == logins, "the records")
        while len({record.get("worker") for record in program.records}) < int(workers):
            # One that has not started yet would not start with the files that come now.
            assert status_of(program, b"alice", RIGHT) == 0
            logins += 1
            poll(lambda logins=logins: len(program.records) == logins, "one more record")
        (tmp_path / "plain.txt").write_bytes(b"carol the plain word\n")
        users.write_text(LINE + "bob:the plain word\n")
        assert status_of(program, b"alice", WRONG) == 1
        poll(lambda: len(program.records) == logins + 1, "the records")
        poll(lambda: "users of before stay" in program.output, "the parent says it, too")
        readable = everything_readable(program)
    for word in (RIGHT, WRONG, b"the plain word"):
        assert word not in readable


# ---------------------------------------------------------------- passwd


PASSWD = [*MODULE, "passwd", "users"]


def test_passwd_on_a_terminal_shows_nothing_and_is_no_argument(tmp_path: Path) -> None:
    master, slave = os.openpty()
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    with running(tmp_path, [*PASSWD, "alice"], start_new_session=True, **streams) as program:
        os.close(slave)
        shown = b""
        for prompt in (b"Password: ", b"The same again: "):
            while not shown.endswith(prompt):
                shown += os.read(master, 4096)
            os.write(master, RIGHT + b"\n")
            assert RIGHT not in Path(f"/proc/{program.process.pid}/cmdline").read_bytes()
        assert program.wait() == 0
    os.close(master)
    assert RIGHT not in shown
    assert (tmp_path / "users").stat().st_mode & 0o777 == 0o600
    with proxy(tmp_path, "--auth", "htpasswd:users") as program:
        assert status_of(program, b"alice", RIGHT) == 0


def test_commands_that_run_together_lose_no_entry(tmp_path: Path) -> None:
    (tmp_path / "typed").write_bytes(RIGHT + b"\n")
    names = [f"user{number}" for number in range(3)]
    with ExitStack() as stack:
        programs = []
        for name in names:
            typed = stack.enter_context((tmp_path / "typed").open())
            programs.append(stack.enter_context(running(tmp_path, [*PASSWD, name], stdin=typed)))
        assert [program.wait() for program in programs] == [0, 0, 0]
    lines = (tmp_path / "users").read_text().splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == names
