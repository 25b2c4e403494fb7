"""SIGHUP: ends nothing, whenever it comes; users, certificates and logs are read, or opened, again."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.process.program import (
    COMMANDS,
    MODULE,
    Program,
    client_of,
    log_in,
    poll,
    proxy,
    receive,
)

WAYS = {"alone": (MODULE, 1), "twistd": (COMMANDS["twistd"], 1), "workers": (MODULE, 2)}


def may_come_in(program: Program) -> bool:
    with client_of(("127.0.0.1", program.port)) as client:
        return log_in(client, b"carol", b"secret") == 0


@pytest.mark.parametrize(("command", "processes"), WAYS.values(), ids=WAYS)
def test_it_reads_again_what_it_can_and_serves_on(
    command: Sequence[str], processes: int, tmp_path: Path
) -> None:
    users, log = tmp_path / "users", tmp_path / "access.log"
    users.write_text("alice:secret\n")
    options = [f"--workers={processes}", "--auth=file:users"]
    with (
        proxy(tmp_path, *options, command=command) as program,
        client_of(("127.0.0.1", program.port)) as client,
    ):
        client.sendall(b"\5\1\2")
        assert receive(client, 2) == b"\5\2"
        users.write_text("alice:secret\ncarol:secret\n")
        log.rename(tmp_path / "access.log.1")
        program.signal(signal.SIGHUP)
        line = f"SIGHUP: read again: {log}, {users} (users: 2)"
        poll(lambda: program.output.count(line) == processes, "it is said")
        assert log.exists()
        assert may_come_in(program)
        client.sendall(b"\1\5alice\6secret")
        assert receive(client, 2) == b"\1\0"
        users.write_text("alice\n")
        program.signal(signal.SIGHUP)
        poll(lambda: program.output.count("stays as it was") == processes, "it is said")
        assert may_come_in(program)


def test_it_does_not_end_a_program_that_has_hardly_begun(tmp_path: Path) -> None:
    """``python -m socks5`` holds it back from its first line on, and so does a parent for its workers."""
    early = """\
import signal
from socks5.app import workers as supervisor
from socks5.app import console as program
parse = program.Options.parseOptions
def interrupted(*arguments):
    signal.raise_signal(signal.SIGHUP)
    parse(*arguments)
program.Options.parseOptions = interrupted
begins = supervisor.Life.connectionMade
def interrupted_too(life):
    begins(life)
    life.signal(signal.SIGHUP)
supervisor.Life.connectionMade = interrupted_too
program.main()
"""
    command = [sys.executable, "-c", early, "--workers=2"]
    with proxy(tmp_path, command=command) as program:
        poll(lambda: program.output.count("SIGHUP: read again") >= 3, "all three say so")
        assert "started again" not in program.output
