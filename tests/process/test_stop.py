"""SIGTERM: status 0, soon, whatever the sessions are doing, and nothing of the access log lost."""

import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.process.program import (
    ASSOCIATE,
    BIND,
    CONNECT,
    MODULE,
    STOP_SECONDS,
    client_of,
    connected,
    echoes,
    poll,
    proxy,
    reply,
    request,
    running,
    until_end,
)
from tests.process.program import COMMANDS as EVERY

# The program itself, where one name's lookup hangs. Changed before Twisted takes the function.
HANGING_NAME = "hangs.example"
HANGING = f"""\
import socket, sys, time
ask = socket.getaddrinfo
def getaddrinfo(host, *arguments, **options):
    if host == {HANGING_NAME!r}:
        time.sleep(600)
    return ask(host, *arguments, **options)
socket.getaddrinfo = getaddrinfo
"""

COMMANDS = {
    "python -m socks5": [
        sys.executable,
        "-c",
        f"{HANGING}from socks5.__main__ import main\nmain()",
    ],
    "twistd, asyncio": [
        sys.executable,
        "-c",
        f"{HANGING}from twisted.scripts.twistd import run\nrun()",
        *["-n", "--pidfile=", "--reactor=asyncio", "socks5"],
    ],
}


@pytest.fixture
def black_hole() -> Iterator[tuple[str, int]]:
    """An address that answers no attempt to connect: a listener's queue that is full (Linux)."""
    with socket.socket() as listener, ExitStack() as clients:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()


@pytest.fixture
def deaf() -> Iterator[tuple[str, int]]:
    """A server that accepts and reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


def fill(client: socket.socket) -> None:
    """Send until neither the proxy nor the kernel takes more for a while."""
    client.settimeout(0.3)
    with suppress(TimeoutError):
        while True:
            client.sendall(bytes(65536))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_it_stops_in_time_with_sessions_of_every_kind(
    command: Sequence[str],
    tmp_path: Path,
    echo: tuple[str, int],
    black_hole: tuple[str, int],
    deaf: tuple[str, int],
) -> None:
    asked = {
        "dial": (CONNECT, *black_hole),
        "name": (CONNECT, HANGING_NAME, 80),
        "deaf": (CONNECT, *deaf),
        "bind": (BIND,),
        "udp": (ASSOCIATE,),
    }
    options = ["--resolver", "system"]  # which asks in a thread
    with ExitStack() as stack, proxy(tmp_path, *options, command=command) as program:
        address = ("127.0.0.1", program.port)
        clients = {kind: stack.enter_context(client_of(address)) for kind in ("greeted", *asked)}
        clients["greeted"].sendall(b"\5\1\0")
        for kind, words in asked.items():
            request(clients[kind], *words)
        for kind in ("deaf", "bind", "udp"):
            assert reply(clients[kind])[0] == 0
        fill(clients["deaf"])
        with connected(address, echo) as client:
            assert echoes(client)  # by now all of the above are what they are to be
        program.terminate()
        reasons = {record["target"]: record["reason"] for record in program.records}
        for client in clients.values():
            client.settimeout(STOP_SECONDS)
            until_end(client)
    addressed = [f"{host}:{number}" for host, number in (black_hole, deaf)]
    for target in [*addressed, f"{HANGING_NAME}:80", "0.0.0.0:0", None]:
        assert reasons[target] == "shutdown", target


FIRST = {
    "SIGTERM": (MODULE, signal.SIGTERM),
    "SIGINT": (MODULE, signal.SIGINT),
    "twistd": (EVERY["twistd"], signal.SIGTERM),
    "workers": ([*MODULE, "--workers=2"], signal.SIGTERM),
}


@pytest.mark.parametrize("is_repeated", [False, True])
@pytest.mark.parametrize(("command", "number"), FIRST.values(), ids=FIRST)
def test_a_signal_at_its_first_line_is_not_lost_and_others_until_it_is_gone_change_nothing(
    command: Sequence[str], number: signal.Signals, is_repeated: bool, tmp_path: Path
) -> None:
    """It says where it listens once it takes signals. Not even while Python takes itself apart do they matter."""
    others = {number, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1}
    with running(tmp_path, [*command, "--port", "0"]) as program:
        poll(lambda: "listens on" in program.output, "it listens")
        program.signal(number)
        deadline = time.monotonic() + STOP_SECONDS
        while is_repeated and program.process.poll() is None and time.monotonic() < deadline:
            for each in others:
                program.process.send_signal(each)
            time.sleep(0.0005)
        assert program.wait(STOP_SECONDS) == 0
        if not is_repeated:
            program.must_not_complain()
