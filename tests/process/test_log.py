"""The access log of the running program: on a terminal, and on an output that nobody reads."""

import os
import re
import select
import signal
from pathlib import Path

from tests.process.program import MODULE, STOP_SECONDS, TWISTD, connected, echoes, poll, running

LISTEN = ["--listen", "tcp:0:interface=127.0.0.1"]


def test_a_terminal_shows_readable_lines(tmp_path: Path, echo: tuple[str, int]) -> None:
    master, slave = os.openpty()
    shown = ""

    def shows(pattern: str) -> re.Match[str] | None:
        nonlocal shown
        while select.select([master], (), (), 0)[0]:
            shown += os.read(master, 65536).decode()
        return re.search(pattern, shown)

    with running(tmp_path, [*MODULE, *LISTEN], stdout=slave, stderr=slave) as program:
        found = poll(lambda: shows(r"listens on 127\.0\.0\.1:(\d+)\s"), "it listens")
        with connected(("127.0.0.1", int(found[1])), echo) as client:
            assert echoes(client)
        line = rf"#1 127\.0\.0\.1:\d+ connect 127\.0\.0\.1:{echo[1]} succeeded up 5 down 5 \S+ s: \w+ closed"
        poll(lambda: shows(line), "the session's line")
        program.terminate()
    os.close(master)
    os.close(slave)


def test_an_output_that_nobody_reads_holds_nobody_up(tmp_path: Path, echo: tuple[str, int]) -> None:
    """Its own log goes elsewhere: that one is Twisted's, and waits."""
    command = [str(TWISTD), "-n", "--pidfile=", "--logfile=twistd.log", "socks5"]
    log = tmp_path / "twistd.log"
    reading, writing = os.pipe()
    with running(tmp_path, [*command, *LISTEN, "--access-log", "-"], stdout=writing) as program:
        os.close(writing)
        pattern = re.compile(r"listens on 127\.0\.0\.1:(\d+)\s")
        found = poll(lambda: log.exists() and pattern.search(log.read_text()), "it listens")
        address = ("127.0.0.1", int(found[1]))
        for _ in range(500):  # more than a pipe holds
            connected(address, echo).close()
        with connected(address, echo) as client:
            assert echoes(client)
        program.signal(signal.SIGTERM)
        assert program.wait(STOP_SECONDS) == 0
    os.close(reading)
