"""SIGHUP with a file of settings: the program as a process, and clients that it serves meanwhile."""

import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.process.program import (
    COMMANDS,
    MODULE,
    Program,
    client_of,
    connected,
    echoes,
    is_ended,
    poll,
    running,
)

FILE = """\
log.access = "access.log"
[listener.here]
address = "127.0.0.1"
port = 0
"""

CLOSED = """\
[[rule]]
name = "nothing"
action = "deny"
networks = "@loopback"
[[rule]]
name = "all"
action = "allow"
"""


def reload(program: Program, text: str) -> str:
    """What is said of it."""
    (program.directory / "s.toml").write_text(text)
    before = len(program.messages)
    program.signal(signal.SIGHUP)

    def said() -> str | None:
        return next((line for line in program.messages[before:] if "reloaded" in line), None)

    return str(poll(said, "it is said"))


@pytest.mark.parametrize("command", ["python -m socks5", "twistd"])
def test_sessions_live_on_unless_the_rules_forbid_them(
    command: str, tmp_path: Path, echo: tuple[str, int]
) -> None:
    (tmp_path / "s.toml").write_text(FILE)
    with running(tmp_path, [*COMMANDS[command], "--config", "s.toml"]) as program:
        where = ("127.0.0.1", program.port)
        with connected(where, echo) as client:
            said = reload(program, FILE + f'[listener.more]\nunix = "{tmp_path}/u"\n')
            assert said == "s.toml is reloaded: 0 rules, listeners +1 -0, 0 sessions ended"
            assert echoes(client)
            with client_of(str(tmp_path / "u"), socket.AF_UNIX):
                pass
            assert reload(program, "what?").startswith("s.toml is not reloaded; that of ")
            said = reload(program, FILE + CLOSED)
            assert said == "s.toml is reloaded: 2 rules, listeners +0 -1, 1 session ended"
            poll(lambda: is_ended(client), "the session ends")
        [record] = [each for each in program.records if each["command"] == "connect"]
        assert record["detail"] == "reload: rule nothing"
        poll(lambda: not (tmp_path / "u").exists(), "the socket is closed")
        reload(program, FILE)
        with connected(where, echo) as client:
            assert echoes(client)
        program.terminate()


MORE = f"""\
auth.a = {{ type = "file", file = "users" }}
names.s = {{ entries = "file:names" }}
limit.l = {{ per = "client", sessions = 1000 }}
{FILE}
[listener.more]
unix = "u"
methods = "none"
[[rule]]
name = "no"
action = "deny"
names = "@s"
[[rule]]
name = "all"
action = "allow"
networks = "127.0.0.1"
unguarded = true
""".replace("port = 0", 'port = 0\nmethods = "none"')

TIMES = 100


def held(program: Program) -> tuple[int, int]:
    """Descriptors, and KiB of memory."""
    process = Path(f"/proc/{program.process.pid}")
    [memory] = re.findall(r"VmRSS:\s+(\d+)", (process / "status").read_text())
    return len(os.listdir(process / "fd")), int(memory)


def test_a_hundred_in_a_row_under_load_refuse_nobody_and_leave_nothing_behind(
    tmp_path: Path, echo: tuple[str, int]
) -> None:
    (tmp_path / "users").write_text("alice:secret\n")
    (tmp_path / "names").write_text("".join(f"n{number}.example\n" for number in range(100)))
    (tmp_path / "s.toml").write_text(FILE)
    with running(tmp_path, [*MODULE, "--config", "s.toml"]) as program:
        where = ("127.0.0.1", program.port)
        with connected(where, echo) as lasting:
            for number in range(TIMES):
                if number == 20:
                    before = held(program)
                (tmp_path / "s.toml").write_text(FILE if number % 2 else MORE)
                program.signal(signal.SIGHUP)

                def is_served(number: int = number) -> bool:
                    with connected(where, echo) as client:
                        assert echoes(client)
                    return echoes(lasting) and program.output.count("is reloaded: ") > number

                poll(is_served, "it is reloaded")
        poll(lambda: held(program)[0] <= before[0], "no descriptor is left")
        assert held(program)[1] < before[1] + 16 * 1024
        assert program.output.count("is not reloaded") == 0
        program.terminate()
