"""In the background: ``twistd`` without ``-n``, in a directory and with a pid file of its own."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.process.program import TWISTD, TWISTD_TELLS, connected, echoes, poll, running

COMMAND = [str(TWISTD), "--pidfile=proxy.pid", "--logfile=proxy.log", "socks5"]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A working directory; the daemon that its pid file names does not outlive the test."""
    yield tmp_path
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((tmp_path / "proxy.pid").read_text()), signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_daemon_serves_and_ends_well(directory: Path, echo: tuple[str, int]) -> None:
    options = ["--listen", "tcp:0:interface=127.0.0.1", "--access-log", "access.log"]
    with running(directory, [*COMMAND, *options]) as program:
        assert program.wait() == 0  # it is in the background now
        assert program.output == ""
    pid = int((directory / "proxy.pid").read_text())
    log = directory / "proxy.log"
    found = re.search(r"listens on 127\.0\.0\.1:(\d+)", log.read_text())
    assert found is not None
    address = ("127.0.0.1", int(found[1]))
    with connected(address, echo) as client:
        assert echoes(client)
        os.kill(pid, signal.SIGTERM)
        poll(lambda: not is_alive(pid), "its end", 5)
    assert not (directory / "proxy.pid").exists()
    assert '"bytes_up": 5' in (directory / "access.log").read_text()
    assert "Traceback" not in log.read_text()


def test_a_daemon_that_cannot_start_says_so_and_leaves_nothing(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with running(directory, [*COMMAND, "--port", port]) as program:
            assert program.wait() == 1
            assert "socks5 does not start: cannot listen on 127.0.0.1 port" in program.output
            assert "Traceback" not in program.output
    assert not (directory / "proxy.pid").exists()
    assert "Address already in use" in (directory / "proxy.log").read_text()


def test_a_daemon_without_an_output_wants_a_file(directory: Path) -> None:
    with running(directory, [*COMMAND, "--access-log", "-"]) as program:
        assert program.wait() != 0 or not TWISTD_TELLS
        assert "--access-log: expected a file, for a daemon has no output" in program.output
