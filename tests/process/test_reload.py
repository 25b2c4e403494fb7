"""SIGHUP with a file of settings: the program as processes, and clients that they serve meanwhile."""

import os
import re
import resource
import select
import signal
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

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
    receive,
    running,
)
from tests.process.test_workers import children

FILE = """\
log.access = "access.log"
server.default = "allow"
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


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("command", ["python -m socks5", "twistd"])
def test_sessions_live_on_unless_the_rules_forbid_them(
    command: str, workers: int, tmp_path: Path, echo: tuple[str, int]
) -> None:
    """In every worker."""
    file = f"server.workers = {workers}\n{FILE}"
    (tmp_path / "s.toml").write_text(file)
    with (
        running(tmp_path, [*COMMANDS[command], "--config", "s.toml"]) as program,
        ExitStack() as stack,
    ):
        where = ("127.0.0.1", program.port)
        clients = [stack.enter_context(connected(where, echo)) for _ in range(16)]
        said = reload(program, file + f'[listener.more]\nunix = "{tmp_path}/u"\n')
        assert said == "s.toml is reloaded: 0 rules, listeners +1 -0, 0 sessions ended"
        for client in clients:
            assert echoes(client)
        with client_of(str(tmp_path / "u"), socket.AF_UNIX) as client:
            client.sendall(b"\5\1\0")
            assert receive(client, 2) == b"\5\0"
        assert reload(program, "what?").startswith("s.toml is not reloaded; that of ")
        said = reload(program, file + CLOSED)
        assert said == "s.toml is reloaded: 2 rules, listeners +0 -1, 16 sessions ended"
        for client in clients:
            poll(lambda client=client: is_ended(client), "the session ends")  # type: ignore[misc]

        def ended() -> list[Any]:
            return [each for each in program.records if each["command"] == "connect"]

        records = poll(lambda: len(ended()) == 16 and ended(), "they have their records")
        assert {each["detail"] for each in records} == {"reload: rule nothing"}
        assert len({each.get("worker") for each in records}) == workers
        poll(lambda: not (tmp_path / "u").exists(), "the socket is closed")
        reload(program, file)
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


def held(processes: Iterable[int]) -> tuple[int, int]:
    """Descriptors, and KiB of memory, of all of them."""
    descriptors = memory = 0
    for each in processes:
        status = Path(f"/proc/{each}/status").read_text()
        memory += sum(map(int, re.findall(r"VmRSS:\s+(\d+)", status)))
        descriptors += len(os.listdir(f"/proc/{each}/fd"))
    return descriptors, memory


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hundred_in_a_row_under_load_refuse_nobody_and_leave_nothing_behind(
    workers: int, tmp_path: Path, echo: tuple[str, int]
) -> None:
    (tmp_path / "users").write_text("alice:secret\n")
    (tmp_path / "names").write_text("".join(f"n{number}.example\n" for number in range(100)))
    first = f"server.workers = {workers}\n"
    (tmp_path / "s.toml").write_text(first + FILE)
    with running(tmp_path, [*MODULE, "--config", "s.toml"]) as program:
        where = ("127.0.0.1", program.port)
        processes = [program.process.pid, *children(program)]
        with connected(where, echo) as lasting:
            for number in range(TIMES):
                if number == 20:
                    before = held(processes)
                (tmp_path / "s.toml").write_text(first + (FILE if number % 2 else MORE))
                program.signal(signal.SIGHUP)

                def is_served(number: int = number) -> bool:
                    with connected(where, echo) as client:
                        assert echoes(client)
                    return echoes(lasting) and program.output.count("is reloaded: ") > number

                poll(is_served, "it is reloaded")
        poll(lambda: held(processes)[0] <= before[0], "no descriptor is left")
        assert held(processes)[1] < before[1] + 16 * 1024 * len(processes)
        assert program.output.count("is not reloaded") == 0
        program.terminate()


RELAYS = 1000

NUMBERED = b"".join(number.to_bytes(3) for number in range(1 << 16)) * 2
"""What each end of each relay sends, over and over: no two places of it are alike."""

PERIOD = len(NUMBERED) // 2

CHUNK = 1500
"""Octets that an end sends at a time."""

LIMITED = f"""\
server.limits = "all"
limit.all = {{ total = "NUMBER0MB/s" }}
{FILE}
"""


class End:
    """One end of a relay, which sends numbered octets and looks for those of the other end."""

    def __init__(self, plain: socket.socket) -> None:
        plain.setblocking(False)
        self.socket = plain
        self.sent = self.received = 0
        self.has_ended = False

    def send(self) -> None:
        """As much as the system takes of the next octets."""
        at = self.sent % PERIOD
        with suppress(BlockingIOError):
            self.sent += self.socket.send(NUMBERED[at : at + CHUNK])

    def receive(self) -> None:
        """All that has come."""
        at = self.received % PERIOD
        octets = self.socket.recv(PERIOD)
        assert octets == NUMBERED[at : at + len(octets)]
        self.received += len(octets)
        self.has_ended = not octets


class Streams:
    """Relays whose ends all send at a time."""

    def __init__(self, pairs: Sequence[tuple[End, End]]) -> None:
        self._pairs = pairs
        self._ends = {end.socket.fileno(): end for pair in pairs for end in pair}
        self._poll = select.epoll()
        for number in self._ends:
            self._poll.register(number, select.EPOLLIN)

    def flow(self) -> None:
        """Everybody sends once; what has come by now is looked at."""
        for end in self._ends.values():
            end.send()
        self._receive(0)

    def _receive(self, seconds: float) -> None:
        for number, _ in self._poll.poll(seconds):
            end = self._ends[number]
            end.receive()
            if end.has_ended:
                self._poll.unregister(number)

    def finish(self) -> None:
        """Nobody sends any more. All that was sent has to come."""
        for end in self._ends.values():
            end.socket.shutdown(socket.SHUT_WR)

        def is_over() -> bool:
            self._receive(0.1)
            return all(end.has_ended for end in self._ends.values())

        poll(is_over, "they end")
        self._poll.close()
        for one, other in self._pairs:
            assert (one.received, other.received) == (other.sent, one.sent)


@pytest.fixture
def descriptors() -> Iterator[None]:
    """As many as there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("descriptors")
@pytest.mark.parametrize(
    "files",
    [
        pytest.param([MORE, FILE, MORE, "what?", FILE], id="rules and listeners"),
        pytest.param([LIMITED.replace("NUMBER", each) for each in "634"] + [FILE], id="limits"),
    ],
)
def test_under_a_thousand_relays_no_octet_is_lost(files: Sequence[str], tmp_path: Path) -> None:
    (tmp_path / "users").write_text("alice:secret\n")
    (tmp_path / "names").write_text("n.example\n")
    (tmp_path / "s.toml").write_text(files[0])
    with ExitStack() as stack:
        program = stack.enter_context(running(tmp_path, [*MODULE, "--config", "s.toml"]))
        target = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        where = ("127.0.0.1", program.port)
        pairs = []
        for _ in range(RELAYS):
            client = stack.enter_context(connected(where, target.getsockname()))
            pairs.append((End(client), End(stack.enter_context(target.accept()[0]))))
        streams = Streams(pairs)
        for number, text in enumerate(files[1:], 1):
            (tmp_path / "s.toml").write_text(text)
            program.signal(signal.SIGHUP)

            def is_said(number: int = number) -> bool:
                streams.flow()
                return len(re.findall("is (?:not )?reloaded[:;]", program.output)) == number

            poll(is_said, "it is reloaded")
        streams.finish()
        assert program.output.count(", 0 sessions ended") == len(files[1:]) - ("what?" in files)
        program.terminate()
