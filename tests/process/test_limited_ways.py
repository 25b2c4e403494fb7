"""Limits on the ways that octets take: over IPv6, TLS and UNIX sockets, in workers; streams and datagrams."""

import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.servers import serving
from tests.process.conftest import Echo, Echoing
from tests.process.program import (
    ASSOCIATE,
    BIND,
    CONNECT,
    MODULE,
    PATIENCE,
    Program,
    client_of,
    poll,
    receive,
    running,
)
from tests.support.certificates import Authority, strict_client

FILE = """\
server = { WORKERS, limits = "all", zone = "UTC", state = "state.sqlite3" }
log.access = "access.log"
listener.here = { LISTENER }
limit.all = { sessions = 1, quota = "250KB/month", total = "200KB/s" }
"""

LISTENERS = {
    "ipv6": 'address = "::1", port = 0',
    "tls": 'address = "127.0.0.1", port = 0, tls = { cert = "server.pem" }',
    "tls over ipv6": 'address = "::1", port = 0, tls = { cert = "server.pem" }',
    "unix": 'unix = "proxy.sock"',
}
WAYS = [("ipv6", 1), ("tls over ipv6", 1), ("unix", 1), ("tls", 2)]

MOVED = 80_000
"""Octets each way, of which 64 KiB together may come at once."""

LEAST = 0.3
"""Seconds that the others take at the least: the last chunk need not be paid for when it comes."""

ROOM = 1 << 20
"""Octets by which a session may overrun its quota."""


class Way:
    """A proxy behind one listener, how its clients come, and a target of the same family."""

    def __init__(self, program: Program, listener: str, folder: Path) -> None:
        self.program = program
        self._folder = folder
        self._is_unix = listener == "unix"
        self.family = socket.AF_INET6 if "ipv6" in listener else socket.AF_INET
        self.host = "::1" if "ipv6" in listener else "127.0.0.1"
        [(_, self._port)] = program.wait_until_it_listens()
        self._tls: ssl.SSLContext | None = None
        if "tls" in listener:
            self._tls = strict_client(folder / "an authority.pem")

    def dial(self) -> Any:
        if self._is_unix:
            return client_of(str(self._folder / "proxy.sock"), socket.AF_UNIX)
        client = socket.create_connection((self.host, self._port), PATIENCE)
        return self._tls.wrap_socket(client, server_hostname="localhost") if self._tls else client

    def ask(self, client: Any, command: int, port: int) -> tuple[int, int]:
        """
        :returns: the reply, and the port that it names.
        """
        client.sendall(b"\5\1\0")
        assert receive(client, 2) == b"\5\0"
        client.sendall(bytes((5, command, 0)) + self.address(port))
        return self.reply(client)

    def address(self, port: int) -> bytes:
        kind = b"\4" if self.family == socket.AF_INET6 else b"\1"
        return kind + socket.inet_pton(self.family, self.host) + port.to_bytes(2)

    @staticmethod
    def reply(client: Any) -> tuple[int, int]:
        head = receive(client, 4)
        rest = receive(client, {1: 6, 4: 18}[head[3]])
        return head[1], int.from_bytes(rest[-2:])


@contextmanager
def way_of(listener: str, workers: int, folder: Path) -> Iterator[Way]:
    Authority(folder).server()
    text = FILE.replace("WORKERS", f"workers = {workers}").replace("LISTENER", LISTENERS[listener])
    (folder / "s.toml").write_text(text)
    with running(folder, [*MODULE, "--config", "s.toml"]) as program:
        yield Way(program, listener, folder)
        if program.process.poll() is None:
            program.terminate()


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0]}, workers {way[1]}")
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    with way_of(*request.param, tmp_path) as made:
        yield made


CHUNK = 10_000


def moves(client: Any, count: int, through: Any) -> int:
    """Have octets sent by the client arrive, and as many come back.

    :param through: the other end, where there is nobody who echoes.
    :returns: how many came back; fewer if the proxy has ended it.
    """
    came = 0
    try:
        while came < count:
            client.sendall(bytes(CHUNK))
            if through is not None:
                through.sendall(receive(through, CHUNK))
            octets = receive(client, CHUNK)
            came += len(octets)
            if len(octets) < CHUNK:
                break
    except OSError:
        pass
    return came


def record_of(way: Way, command: str, reply: int) -> dict[str, Any]:
    """The first one of a session with that reply, as soon as it is there."""

    def found() -> dict[str, Any] | None:
        records = way.program.records
        return next((e for e in records if (e["command"], e["reply"]) == (command, reply)), None)

    return poll(found, f"a record of a {command} with reply {reply}")  # type: ignore[no-any-return]


def wait_until_nobody_else_gets_in(way: Way) -> None:
    """Wait until a session is refused: another worker may not have heard yet of the one that there is."""

    def refuses() -> bool:
        with way.dial() as other:
            return way.ask(other, CONNECT, 9)[0] == 2

    poll(refuses, "a session that is refused")


def stays_within(way: Way, command: str, client: Any, through: Any = None) -> None:
    """A session that has begun alone is held by the rate, and ended by the quota; meanwhile and then nobody else gets
    in.
    """
    wait_until_nobody_else_gets_in(way)
    assert record_of(way, "connect", 2)["detail"] == "limit all: 1 sessions"
    began = time.monotonic()
    assert moves(client, MOVED, through) == MOVED
    assert time.monotonic() - began > LEAST
    moves(client, 5_000_000, through)
    client.close()
    record = record_of(way, command, 0)
    assert record["detail"].startswith("limit all: quota is used up until ")
    assert 250_000 <= record["bytes_up"] + record["bytes_down"] <= 250_000 + ROOM
    assert record["slowed"] > LEAST
    wait_until_nobody_else_gets_in(way)


@pytest.fixture
def echo(way: Way) -> Iterator[int]:
    """The port of a server that echoes."""

    class Server(Echo):
        address_family = way.family

    with Server((way.host, 0), Echoing) as server, serving(server):
        yield server.server_address[1]


def test_a_stream(way: Way, echo: int) -> None:
    with way.dial() as client:
        assert way.ask(client, CONNECT, echo)[0] == 0
        stays_within(way, "connect", client)


def test_a_peer_that_has_connected(way: Way) -> None:
    with way.dial() as client:
        code, port = way.ask(client, BIND, 0)
        assert code == 0
        with socket.create_connection((way.host, port), PATIENCE) as peer:
            assert way.reply(client)[0] == 0
            stays_within(way, "bind", client, peer)


def test_datagrams(way: Way) -> None:
    with (
        socket.socket(way.family, socket.SOCK_DGRAM) as target,
        socket.socket(way.family, socket.SOCK_DGRAM) as own,
        way.dial() as client,
    ):
        target.bind((way.host, 0))
        code, port = way.ask(client, ASSOCIATE, 0)
        assert code == 0
        datagram = b"\0\0\0" + way.address(target.getsockname()[1]) + bytes(1000)

        def has_ended() -> bool:
            for _ in range(20):
                own.sendto(datagram, (way.host, port))
            return bool(select.select([client], (), (), 0)[0])

        poll(has_ended, "the quota is used up")
    record = record_of(way, "udp", 0)
    assert record["detail"].startswith("limit all: quota is used up until ")
    assert 250_000 <= record["bytes_up"] <= 250_000 + ROOM
    assert record["dropped"] > 0
