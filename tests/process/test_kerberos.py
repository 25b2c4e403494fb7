"""A keytab of the running program: where it is found, and what is said of one that is wrong.

What tickets do is in tests/interop/test_kerberos.py.
"""

import os
import re
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.process.program import (
    MODULE,
    TWISTD,
    client_of,
    poll,
    receive,
    running,
)
from tests.support.kerberos import write_keytab
from tests.support.skips import needs_gssapi

OPTIONS = ["--gssapi", "rcmd", "--keytab", "keytab"]
LISTEN = ["--listen", "tcp:0:interface=127.0.0.1"]


def chosen(port: int, *methods: int) -> bytes:
    """What the proxy answers to a greeting."""
    with client_of(("127.0.0.1", port)) as client:
        client.sendall(bytes([5, len(methods), *methods]))
        return receive(client, 2)


@needs_gssapi
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_ticket_is_asked_for(workers: str, tmp_path: Path) -> None:
    write_keytab(tmp_path / "keytab", "rcmd/localhost")
    command = [*MODULE, *OPTIONS, *LISTEN, "--workers", workers]
    with running(tmp_path, command) as program:
        for _ in range(4):
            assert chosen(program.port, 0, 1, 2) == b"\5\1"
            assert chosen(program.port, 0) == b"\5\xff"
        program.terminate()


@needs_gssapi
def test_a_daemon_in_another_directory_has_its_keytab(tmp_path: Path) -> None:
    write_keytab(tmp_path / "keytab", "rcmd/localhost")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    log, pid_file = tmp_path / "proxy.log", tmp_path / "proxy.pid"
    twistd = [str(TWISTD), f"--rundir={elsewhere}", f"--pidfile={pid_file}", f"--logfile={log}"]
    try:
        with running(tmp_path, [*twistd, "socks5", *OPTIONS, *LISTEN]) as program:
            assert program.wait() == 0, program.output
        found = re.search(r"listens on 127\.0\.0\.1:(\d+)", log.read_text())
        assert found is not None, log.read_text()
        directory = os.readlink(f"/proc/{pid_file.read_text()}/cwd")
        assert directory == str(elsewhere)
        assert chosen(int(found[1]), 0, 1) == b"\5\1"
    finally:
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(pid_file.read_text()), signal.SIGTERM)
            poll(lambda: not pid_file.exists(), "its end")
