"""As a service of systemd: what it is told by the running program, and that the units are right."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.programs import require_program
from tests.process.manager import Manager
from tests.process.program import (
    COMMANDS,
    SOURCES,
    STOP_SECONDS,
    connected,
    poll,
    proxy,
)
from tests.process.test_drain import command

UNITS = SOURCES / "packaging/systemd"


@pytest.mark.parametrize(
    "words",
    [command(60), [*command(60), "--workers=2"], COMMANDS["twistd"]],
    ids=["alone", "workers", "twistd"],
)
def test_systemd_hears_from_the_main_process_alone_what_it_does(
    words: list[str], manager: Manager, tmp_path: Path, echo: tuple[str, int]
) -> None:
    """That it is ready, not before all serve; that it lives; a reload, a drain, the end."""
    with proxy(tmp_path, command=words, environment=manager.environment) as program:
        at = f"listens on 127.0.0.1:{program.port}"
        poll(lambda: manager.has_heard(f"READY=1\nSTATUS={at}"), "it is ready")
        poll(lambda: manager.has_heard("WATCHDOG=1"), "it lives")
        program.signal(signal.SIGHUP)
        poll(lambda: manager.has_heard("RELOADING=1\nMONOTONIC_USEC="), "the reload begins")
        poll(lambda: manager.has_heard("READY=1\nSTATUS=read again: "), "it ends")
        with connected(("127.0.0.1", program.port), echo):
            program.signal(signal.SIGTERM)
            poll(lambda: manager.has_heard("STOPPING=1\nSTATUS="), "it stops")
            if "twistd" not in words[0]:
                poll(lambda: manager.has_heard("EXTEND_TIMEOUT_USEC="), "it wants time")
                poll(lambda: manager.has_heard("WATCHDOG=1"), "it lives")
        assert program.wait(STOP_SECONDS) == 0
        manager.hear_out()
        assert not manager.has_heard("READY")
    assert set(manager.senders) == {program.process.pid}


def test_the_units_are_right(tmp_path: Path) -> None:
    """For the systemd of this machine."""
    program = require_program("systemd-analyze")
    for unit in UNITS.iterdir():
        if unit.suffix == ".toml":
            continue
        text = unit.read_text().replace("/opt/socks5/bin/socks5", sys.executable)
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        [program, "verify", "--man=no", *tmp_path.iterdir()],
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "info"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stdout.splitlines() if str(tmp_path) in line]
    assert (done.returncode, complaints) == (0, []), done.stdout


def test_the_unit_and_its_file_start_a_proxy(tmp_path: Path) -> None:
    """Up to the address, which only the machine that it is for has. A reload looks at the file first."""
    unit = (UNITS / "socks5.service").read_text()
    settings = (UNITS / "socks5.toml").read_text().replace("/var/log/socks5", str(tmp_path))
    (tmp_path / "socks5.toml").write_text(settings)
    (tmp_path / "users").write_text("alice:$2b$12$" + "a" * 53 + "\n")
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    outcomes = []
    for key in "ExecStart", "ExecReload":
        found = re.search(rf"^{key}=/opt/socks5/bin/socks5 (.*)$", unit, re.M)
        assert found is not None
        words = found[1].replace("/etc/socks5", str(tmp_path)).split()
        done = subprocess.run(
            [*COMMANDS["python -m socks5"], *words],
            env={**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        outcomes.append((done.returncode, done.stdout))
    [(status, said), check] = outcomes
    assert (status, "cannot listen on 192.0.2.1 port 1080" in said) == (1, True), said
    assert check == (0, "nothing is wrong\n")
