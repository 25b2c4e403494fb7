"""The proxy as a process of its own, and what its logs say."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from tests.interop.processes import poll, running
from tests.interop.servers import receive_all
from tests.process.program import whole_lines

SOURCES = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "socks5")
STOP_SECONDS = 5.0


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


class Proxy:
    """A running proxy.

    :ivar port: where it listens on 127.0.0.1.
    :ivar port6: where it listens on ::1, or 0.
    """

    host = "127.0.0.1"

    def __init__(self, process: "subprocess.Popen[bytes]", directory: Path) -> None:
        self._process = process
        self._log = directory / "proxy.log"
        self._access_log = directory / "access.log"
        ports = poll(self._ports, "the proxy listens")
        self.port, self.port6 = ports["127.0.0.1"], ports.get("[::1]", 0)

    def _ports(self) -> dict[str, int] | None:
        """Where it listens, as soon as it says so for every address that it is going to serve."""
        assert self._process.poll() is None, f"the proxy does not start: {self.log}"
        found = re.findall(r"listens on (127\.0\.0\.1|\[::1\]):(\d+)\n", self.log)
        return {host: int(port) for host, port in found} if len(found) == 1 + has_ipv6() else None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, as the socket module takes it."""
        return self.host, self.port

    @property
    def url(self) -> str:
        """Where it listens, as programs take it: HOST:PORT."""
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> str:
        """What it has said on its outputs."""
        return whole_lines(self._log)

    @property
    def access_log(self) -> str:
        """The access log so far."""
        return whole_lines(self._access_log)

    @property
    def records(self) -> list[SimpleNamespace]:
        """The access log's records so far: of the sessions that have ended, in that order."""
        return [SimpleNamespace(**json.loads(line)) for line in self.access_log.splitlines()]

    def sessions(self, count: int) -> list[SimpleNamespace]:
        """The records of all sessions, as soon as *count* have ended; there must not be more."""
        poll(lambda: len(self.records) >= count, f"{count} sessions in the access log")
        assert len(self.records) == count, self.records
        return self.records

    def session(self) -> SimpleNamespace:
        """The record of the only session, as soon as it has ended."""
        return self.sessions(1)[0]

    def stop(self) -> None:
        """Ask it to end, as a service manager does; nothing may have gone wrong in it."""
        assert self._process.poll() is None, f"the proxy died: {self.log}"
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(STOP_SECONDS) == 0, self.log
        assert "Traceback" not in self.log, self.log
        assert "Unhandled" not in self.log, self.log


class Since(Proxy):
    """A running proxy that tests share, with the records of sessions from now on."""

    def __init__(self, proxy: Proxy) -> None:
        self.__dict__.update(proxy.__dict__)
        before = len(proxy.records)
        with socket.create_connection(self.address, 10) as mark:
            mark.sendall(b"\5\1\xfe")
            assert receive_all(mark) == b"\5\xff"
            name = "{}:{}".format(*mark.getsockname())
        found = poll(lambda: [r for r in proxy.records[before:] if r.client == name], "a record")
        self._before = found[0].session

    @property
    def records(self) -> list[SimpleNamespace]:
        return [record for record in super().records if record.session > self._before]


@contextmanager
def running_proxy(
    directory: Path, *options: str, command: Sequence[str | Path] = COMMAND
) -> Iterator[Proxy]:
    """A proxy on free ports of the loopback, with its logs in *directory*; ended with the block."""
    arguments = ["--port", "0", "--access-log", directory / "access.log"]
    arguments += ["--access-log-format", "json", *options]
    env = {"PYTHONPATH": str(SOURCES)}
    with running(*command, *arguments, log=directory / "proxy.log", env=env) as process:
        proxy = Proxy(process, directory)
        yield proxy
        proxy.stop()
