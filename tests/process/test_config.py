"""The program with a file of settings: as a process of its own, and with workers."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.process.program import COMMANDS, MODULE, connected, echoes, poll, running
from tests.process.test_workers import at, children

FILE = """\
server.workers = 2
[listener.here]
address = "127.0.0.1"
port = 0
[names]
some = { entries = "file:names" }
[[rule]]
name = "names"
action = "deny"
names = "@some"
[[rule]]
name = "all"
action = "allow"
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_workers_and_their_successors_have_the_text_that_the_parent_has_read(
    command: str, tmp_path: Path, echo: tuple[str, int]
) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "s.toml").write_text(FILE)
    (folder / "names").write_text("x.example\n")
    with running(tmp_path, [*COMMANDS[command], "--config", "etc/s.toml"]) as program:
        program.wait_until_it_listens()
        (folder / "s.toml").write_text("it is being written")
        (folder / "names").unlink()
        first = children(program)
        for child in first:
            os.kill(child, signal.SIGKILL)
        poll(lambda: len({*children(program)} - {*first}) == 2, "both have successors")
        with connected(at(program), echo) as client:
            assert echoes(client)
        program.terminate()


def test_what_is_wrong_with_a_file_is_said_and_nothing_is_started(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("server.workers = 0\n")
    for command in (MODULE, COMMANDS["twistd"]):
        done = subprocess.run(
            [*command, "--config", "s.toml"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.splitlines()[-2:] == [
            's.toml:1:18: server.workers: expected a whole number from 1 to 1024 or "auto", got 0',
            "1 error; nothing was started",
        ]
