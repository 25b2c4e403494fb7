"""SIGTERM: status 0, soon, whatever the sessions are doing, and nothing of the access log lost."""

import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
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
    receive,
    reply,
    request,
    running,
    until_end,
)
from tests.process.program import COMMANDS as EVERY
from tests.support.certificates import self_signed

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
def flood() -> Iterator[tuple[str, int]]:
    """A server that sends without end, and reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    while True:
                        connection.sendall(bytes(65536))
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def deaf() -> Iterator[tuple[str, int]]:
    """A server that accepts and reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


def fill(client: socket.socket) -> None:
    """Send until neither the proxy nor the kernel takes more for a while."""
    client.settimeout(0.3)
    try:
        while True:
            client.sendall(bytes(65536))
    except TimeoutError:
        return


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_it_stops_in_time_with_sessions_of_every_kind(
    command: Sequence[str],
    tmp_path: Path,
    echo: tuple[str, int],
    black_hole: tuple[str, int],
    flood: tuple[str, int],
    deaf: tuple[str, int],
) -> None:
    pem = self_signed(tmp_path)
    tls = ["--listen", f"ssl:0:privateKey={pem}:interface=127.0.0.1"]
    options = [*tls, "--resolver", "system"]  # which asks in a thread
    with ExitStack() as stack, proxy(tmp_path, *options, command=command) as program:
        (_, port), (_, tls_port) = program.wait_until_it_listens(2)
        clients = {
            kind: stack.enter_context(client_of(("127.0.0.1", port)))
            for kind in (
                "silent",
                "greeted",
                "stalled",
                "deaf",
                "bind",
                "udp",
                "dial",
                "name",
                "half",
            )
        }
        clients["TLS without a handshake"] = stack.enter_context(client_of(("127.0.0.1", tls_port)))
        clients["greeted"].sendall(b"\x05\x01\x00")
        assert receive(clients["greeted"], 2) == b"\x05\x00"
        for kind, target in [("stalled", flood), ("deaf", deaf), ("half", echo)]:
            request(clients[kind], CONNECT, *target)
            assert reply(clients[kind])[0] == 0
        for kind, number in [("bind", BIND), ("udp", ASSOCIATE)]:
            request(clients[kind], number)
            assert reply(clients[kind])[0] == 0
        fill(clients["deaf"])
        request(clients["dial"], CONNECT, *black_hole)
        request(clients["name"], CONNECT, HANGING_NAME, 80)
        with connected(("127.0.0.1", port), echo) as client:
            assert echoes(client)  # by now all of the above are what they are to be

        program.terminate()
        reasons = {record["target"]: record["reason"] for record in program.records}
        commands = sorted(str(record["command"]) for record in program.records)
        for kind, client in clients.items():
            assert poll(lambda client=client: is_over(client), f"the end of {kind}")  # type: ignore[misc]

    addressed = [f"{host}:{number}" for host, number in (black_hole, flood, deaf)]
    for target in [*addressed, f"{HANGING_NAME}:80", "0.0.0.0:0", None]:
        assert reasons[target] == "shutdown", target
    assert commands == ["None", "bind", *["connect"] * 6, "udp"]


def is_over(client: socket.socket) -> bool:
    """Read what came; whether that was all there will ever be."""
    client.settimeout(STOP_SECONDS)
    until_end(client)
    return True


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


def test_a_signal_before_its_first_line_ends_it(tmp_path: Path) -> None:
    """Here when it has listened, and the reactor does not run yet."""
    early = """\
import signal
from socks5.app.service import ProxyService
start = ProxyService.startService
def interrupted(service):
    signal.raise_signal({})
    start(service)
ProxyService.startService = interrupted
from socks5.__main__ import main
main()
"""
    for number in (signal.SIGTERM, signal.SIGINT):
        command = [sys.executable, "-c", early.format(int(number)), "--port", "0"]
        with running(tmp_path, command) as program:
            assert program.wait() == 0
            program.must_not_complain()
