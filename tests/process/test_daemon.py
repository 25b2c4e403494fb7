"""In the background: ``twistd`` without ``-n``, in a directory and with a pid file of its own."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.process.program import STOP_SECONDS, TWISTD, connected, echoes, poll, running


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A working directory; the daemon that its pid file names does not outlive the test."""
    yield tmp_path
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((tmp_path / "proxy.pid").read_text()), signal.SIGKILL)


def command(directory: Path) -> list[str]:
    files = [f"--{name}file={directory / 'proxy'}.{name}" for name in ("pid", "log")]
    return [str(TWISTD), *files, "--rundir=elsewhere", "socks5"]


def test_a_daemon_serves_elsewhere_goes_on_in_a_new_log_and_ends_well(
    directory: Path, echo: tuple[str, int]
) -> None:
    """It finds its files where it was started."""
    (directory / "elsewhere").mkdir()
    (directory / "users").write_text("alice:secret\n")
    options = ["--listen=tcp:0:interface=127.0.0.1", "--access-log=access.log"]
    options += ["--auth=file:users", "--methods=none"]
    with running(directory, [*command(directory), *options]) as program:
        assert program.wait() == 0  # it is in the background now
        assert program.output == ""
    pid, log = int((directory / "proxy.pid").read_text()), directory / "proxy.log"
    listens = re.compile(r"listens on 127\.0\.0\.1:(\d+)\n")
    found = poll(lambda: listens.search(log.read_text()), "its reactor runs")
    assert os.readlink(f"/proc/{pid}/cwd") == str(directory / "elsewhere")
    with connected(("127.0.0.1", int(found[1])), echo) as client:
        assert echoes(client)
        old = log.rename(directory / "proxy.log.old")
        os.kill(pid, signal.SIGHUP)
        users = directory / "users"
        line = f"SIGHUP: read again: {log}, {directory}/access.log, {users} (users: 1)"
        poll(lambda: log.exists() and line in log.read_text(), "it is said in the new one")
        os.kill(pid, signal.SIGTERM)
        poll(lambda: not (directory / "proxy.pid").exists(), "its end", STOP_SECONDS)
    assert '"bytes_up": 5' in (directory / "access.log").read_text()
    assert "Traceback" not in log.read_text() + old.read_text()


def test_a_daemon_that_cannot_start_says_so_and_leaves_nothing(directory: Path) -> None:
    (directory / "elsewhere").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with running(directory, [*command(directory), "--port", port]) as program:
            assert program.wait() == 1
            assert "socks5 does not start: cannot listen on 127.0.0.1 port" in program.output
            assert "Traceback" not in program.output
    assert not (directory / "proxy.pid").exists()
    assert "Address already in use" in (directory / "proxy.log").read_text()
