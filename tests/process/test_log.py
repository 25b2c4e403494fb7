"""The access log of the running program: terminals, rotation, full disks, outputs that nobody reads."""

import os
import re
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.program import (
    MODULE,
    STOP_SECONDS,
    TWISTD,
    Program,
    connected,
    echoes,
    poll,
    proxy,
    running,
)

LISTEN = ["--listen", "tcp:0:interface=127.0.0.1"]


def one_session(program: Program, echo: tuple[str, int]) -> None:
    with connected(("127.0.0.1", program.port), echo) as client:
        assert echoes(client)


def lines_of(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


# ---------------------------------------------------------------- where it goes by default


class Terminal:
    """A terminal that the program writes to."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        self.text = ""

    def has(self, pattern: str) -> re.Match[str] | None:
        """Whether it shows that by now."""
        while select.select([self.master], (), (), 0)[0]:
            self.text += os.read(self.master, 65536).decode()
        return re.search(pattern, self.text)

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_a_terminal_shows_readable_lines(
    tmp_path: Path, terminal: Terminal, echo: tuple[str, int]
) -> None:
    with running(
        tmp_path, [*MODULE, *LISTEN], stdout=terminal.slave, stderr=terminal.slave
    ) as program:
        found = poll(lambda: terminal.has(r"listens on 127\.0\.0\.1:(\d+)"), "it listens")
        with connected(("127.0.0.1", int(found[1])), echo) as client:
            assert echoes(client)
        line = rf"#1 127\.0\.0\.1:\d+ connect 127\.0\.0\.1:{echo[1]} reply 0 up 5 down 5 \S+ s: \w+ closed"
        poll(lambda: terminal.has(line), "the session's line")
        program.terminate()


# ---------------------------------------------------------------- rotation


def test_sigusr1_reopens_it(tmp_path: Path, echo: tuple[str, int]) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    with proxy(tmp_path) as program:
        one_session(program, echo)
        poll(lambda: lines_of(path) == 1, "the first record")
        path.rename(old)
        program.signal(signal.SIGUSR1)
        one_session(program, echo)
        poll(lambda: lines_of(path) == 1, "the second record, in the new file")
        program.terminate()
    assert lines_of(old) == 1


@pytest.mark.parametrize("rotate", [Path.unlink, lambda path: path.rename(f"{path}.1")])
def test_a_file_that_is_gone_is_made_again_unasked(
    rotate: object, tmp_path: Path, echo: tuple[str, int]
) -> None:
    path = tmp_path / "access.log"
    with proxy(tmp_path) as program:
        one_session(program, echo)
        poll(lambda: lines_of(path) == 1, "the first record")
        rotate(path)  # type: ignore[operator]

        def is_made_again() -> bool:
            one_session(program, echo)  # the first one may be too soon to be noticed
            return path.exists()

        poll(is_made_again, "the new file")
        poll(lambda: lines_of(path) >= 1, "its first record")
        program.terminate()


def test_sigusr1_rotates_the_log_of_twistd_as_well(tmp_path: Path, echo: tuple[str, int]) -> None:
    command = [str(TWISTD), "-n", "--pidfile=", "--logfile=twistd.log", "socks5"]
    with running(tmp_path, [*command, "--access-log", "access.log", "--port", "0"]) as program:
        log = tmp_path / "twistd.log"
        poll(lambda: log.exists() and "listens on" in log.read_text(), "it listens")
        program.signal(signal.SIGUSR1)
        poll((tmp_path / "twistd.log.1").exists, "the rotated log")
        program.signal(signal.SIGTERM)
        assert program.wait(STOP_SECONDS) == 0


# ---------------------------------------------------------------- disks and pipes that fail


def test_a_full_disk_costs_records_and_no_session(tmp_path: Path, echo: tuple[str, int]) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    with running(tmp_path, [*MODULE, *LISTEN, "--access-log", "full"]) as program:
        with connected(("127.0.0.1", program.port), echo) as client:
            one_session(program, echo)
            poll(lambda: "loses records" in program.output, "it is said")
            one_session(program, echo)
            assert echoes(client)
        program.terminate()
        complaints = [line for line in program.messages if "loses" in line]
    assert complaints == ["access log full loses records: No space left on device"]


@pytest.mark.parametrize("is_gone", [False, True])
def test_an_output_that_nobody_reads_holds_nobody_up(
    is_gone: bool, tmp_path: Path, echo: tuple[str, int]
) -> None:
    """Its own log goes elsewhere: that one is Twisted's, and waits."""
    command = [str(TWISTD), "-n", "--pidfile=", "--logfile=twistd.log", "socks5"]
    log = tmp_path / "twistd.log"
    reading, writing = os.pipe()
    if is_gone:
        os.close(reading)
    with running(tmp_path, [*command, *LISTEN, "--access-log", "-"], stdout=writing) as program:
        os.close(writing)
        pattern = re.compile(r"listens on 127\.0\.0\.1:(\d+)")
        found = poll(lambda: log.exists() and pattern.search(log.read_text()), "it listens")
        address = ("127.0.0.1", int(found[1]))
        for _ in range(1 if is_gone else 500):  # more than a pipe holds
            connected(address, echo).close()
        if is_gone:
            poll(lambda: "access log - loses records: Broken pipe" in log.read_text(), "it is said")
        with connected(address, echo) as client:
            assert echoes(client)
        program.signal(signal.SIGTERM)
        assert program.wait(STOP_SECONDS) == 0
    if is_gone:
        assert log.read_text().count("loses records") == 1
    else:
        os.close(reading)
