"""The access log of the running program: on a terminal, and on an output that nobody reads."""

import os
import re
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.program import MODULE, STOP_SECONDS, TWISTD, connected, echoes, poll, running

LISTEN = ["--listen", "tcp:0:interface=127.0.0.1"]


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


def test_an_output_that_nobody_reads_holds_nobody_up(tmp_path: Path, echo: tuple[str, int]) -> None:
    """Its own log goes elsewhere: that one is Twisted's, and waits."""
    command = [str(TWISTD), "-n", "--pidfile=", "--logfile=twistd.log", "socks5"]
    log = tmp_path / "twistd.log"
    reading, writing = os.pipe()
    with running(tmp_path, [*command, *LISTEN, "--access-log", "-"], stdout=writing) as program:
        os.close(writing)
        pattern = re.compile(r"listens on 127\.0\.0\.1:(\d+)")
        found = poll(lambda: log.exists() and pattern.search(log.read_text()), "it listens")
        address = ("127.0.0.1", int(found[1]))
        for _ in range(500):  # more than a pipe holds
            connected(address, echo).close()
        with connected(address, echo) as client:
            assert echoes(client)
        program.signal(signal.SIGTERM)
        assert program.wait(STOP_SECONDS) == 0
    os.close(reading)
