"""The real program as a process, and clients and targets on plain sockets.

Nothing here sleeps for a time that was guessed: every wait is for something to become true, and bounded.
"""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import socks5

SOURCES = Path(socks5.__file__).resolve().parent.parent
TWISTD = Path(sys.executable).with_name("twistd")

MODULE = [sys.executable, "-m", "socks5"]
COMMANDS = {
    "python -m socks5": MODULE,
    "twistd": [str(TWISTD), "-n", "--pidfile=", "socks5"],
    "python -m twisted": [sys.executable, "-m", "twisted", "--log-format=text", "socks5"],
}

PATIENCE = 20.0
"""Seconds until a wait is given up; only ever used up by a failure."""

STOP_SECONDS = 5.0
"""What the proxy has to end in."""


def poll(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until *condition* is true, and return what it then is."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"it does not happen: {what}"
        time.sleep(0.01)
    return value


def whole_lines(file: Path) -> str:
    """What is in a file that is being written: a line that crosses a page shows by halves."""
    text = file.read_text()
    return text[: text.rfind("\n") + 1]


# ---------------------------------------------------------------- the program


class Program:
    """One run of the proxy. Its outputs go to one file; its working directory is the test's.

    :param command: the words of the command line.
    :param options: for :class:`subprocess.Popen`.
    """

    def __init__(self, directory: Path, command: Sequence[str], **options: Any) -> None:
        self.directory = directory
        self._output = directory / "output"
        environment = {**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONUNBUFFERED": "1"}
        environment |= options.pop("environment", {})
        with self._output.open("ab") as output:
            streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            self.process = subprocess.Popen(
                list(command), cwd=directory, env=environment, **{**streams, **options}
            )

    @property
    def output(self) -> str:
        """What it has said so far."""
        return whole_lines(self._output)

    @property
    def messages(self) -> list[str]:
        """What its log says, without times and names."""
        return [re.sub(r"^\S+ \[[^]]*\] ", "", line) for line in self.output.splitlines() if line]

    def wait_until_it_listens(self, places: int = 1) -> list[tuple[str, int]]:
        """Wait until it says so of that many places.

        :returns: hosts and ports; a UNIX socket is its path and 0.
        """

        def listening() -> list[tuple[str, int]] | None:
            assert self.process.poll() is None, f"it has ended: {self.output}"
            found = re.findall(
                r"listens on (?:\[?([^\s\]]+)\]?:(\d+)|unix:(\S+))$", self.output, re.M
            )
            where = [(host or path, int(port or 0)) for host, port, path in found]
            return where if len(where) >= places else None

        return poll(listening, "it listens")  # type: ignore[no-any-return]

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return next(p for host, p in self.wait_until_it_listens() if host == "127.0.0.1")

    @property
    def records(self) -> list[dict[str, Any]]:
        """The access log, ``access.log``."""
        return [
            json.loads(line) for line in whole_lines(self.directory / "access.log").splitlines()
        ]

    def signal(self, number: int) -> None:
        assert self.process.poll() is None, f"it has ended: {self.output}"
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for its end.

        :returns: the exit status.
        """
        return self.process.wait(seconds)

    def terminate(self) -> None:
        """End it as a service manager does. It must end in time, well, and without complaints."""
        self.signal(signal.SIGTERM)
        assert self.wait(STOP_SECONDS) == 0, self.output
        self.must_not_complain()

    def must_not_complain(self) -> None:
        assert "Traceback" not in self.output, self.output
        assert "Unhandled" not in self.output, self.output

    @property
    def cpu_seconds(self) -> float:
        """The time it has computed so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextmanager
def running(directory: Path, command: Sequence[str], **options: Any) -> Iterator[Program]:
    """A run that does not outlive the block."""
    program = Program(directory, command, **options)
    try:
        yield program
    finally:
        program.kill()


@contextmanager
def proxy(
    directory: Path, *options: str, command: Sequence[str] = MODULE, **others: Any
) -> Iterator[Program]:
    """A proxy that listens on a free port of 127.0.0.1 and writes ``access.log``; ended in order."""
    defaults = ["--listen", "tcp:0:interface=127.0.0.1", "--access-log", "access.log"]
    with running(directory, [*command, *defaults, *options], **others) as program:
        program.wait_until_it_listens()
        yield program
        if program.process.poll() is None:
            program.terminate()


# ---------------------------------------------------------------- clients

CONNECT, BIND, ASSOCIATE = 1, 2, 3


def client_of(address: Any, family: int = socket.AF_INET) -> socket.socket:
    """A plain client of the proxy."""
    client = socket.socket(family, socket.SOCK_STREAM)
    client.settimeout(PATIENCE)
    client.connect(address)
    return client


def receive(client: socket.socket, count: int) -> bytes:
    """Exactly so many octets, or all until the end."""
    octets = b""
    while len(octets) < count and (more := client.recv(count - len(octets))):
        octets += more
    return octets


def until_end(client: socket.socket) -> bytes:
    """All octets until the end; a reset counts as an end."""
    octets = b""
    try:
        while more := client.recv(65536):
            octets += more
    except ConnectionResetError:
        pass
    return octets


def is_ended(client: socket.socket) -> bool:
    """Whether the proxy has closed this connection already."""
    if not select.select([client], (), (), 0)[0]:
        return False
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except ConnectionResetError:
        return True


def target(host: str, port: int) -> bytes:
    """An address as requests carry it; what is no IPv4 literal is a name."""
    try:
        return b"\x01" + socket.inet_aton(host) + port.to_bytes(2, "big")
    except OSError:
        return b"\x03" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big")


def request(client: socket.socket, command: int, host: str = "0.0.0.0", port: int = 0) -> None:
    """Greet without authentication and ask for a command."""
    client.sendall(b"\x05\x01\x00")
    assert receive(client, 2) == b"\x05\x00"
    client.sendall(bytes((5, command, 0)) + target(host, port))


def log_in(client: socket.socket, name: bytes, password: bytes) -> int:
    """Greet with a name and a password.

    :returns: the status that this gets.
    """
    login = b"".join(bytes([len(word)]) + word for word in (name, password))
    client.sendall(b"\x05\x01\x02\x01" + login)
    answer = receive(client, 4)
    assert answer[:3] == b"\x05\x02\x01"
    return answer[3]


def reply(client: socket.socket) -> tuple[int, tuple[str, int]]:
    """REP, and BND as host and port (IPv4)."""
    octets = receive(client, 10)
    assert octets[3] == 1, octets
    return octets[1], (socket.inet_ntoa(octets[4:8]), int.from_bytes(octets[8:10], "big"))


def connected(address: Any, to: tuple[str, int], family: int = socket.AF_INET) -> socket.socket:
    """A client whose CONNECT to *to* has succeeded."""
    client = client_of(address, family)
    request(client, CONNECT, *to)
    code, _ = reply(client)
    assert code == 0
    return client


def echoes(client: socket.socket, octets: bytes = b"hello") -> bool:
    """Whether what is sent comes back."""
    client.sendall(octets)
    return receive(client, len(octets)) == octets
