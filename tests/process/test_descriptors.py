"""Too many clients: who is in is served on, who is not waits and is served later, and nobody spins."""

import select
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.process.program import (
    MODULE,
    TWISTD,
    Program,
    client_of,
    connected,
    echoes,
    is_ended,
    poll,
    proxy,
    receive,
    reply,
    target,
)

QUIET_SECONDS = 1.0
BUSY = 0.3
"""Seconds of computing in that time which a loop would far exceed."""


def limited(descriptors: int, command: Sequence[str] = MODULE) -> list[str]:
    """The command with that many descriptors, and no way to have more."""
    return ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def asking(address: tuple[str, int], to: tuple[str, int], stack: ExitStack) -> socket.socket:
    """A client that has said all it has to say for a CONNECT."""
    client = stack.enter_context(client_of(address))
    client.sendall(b"\x05\x01\x00\x05\x01\x00" + target(*to))
    return client


def answered(clients: Sequence[socket.socket]) -> list[socket.socket]:
    return select.select(clients, (), (), 0)[0]


def poll_answered(clients: Sequence[socket.socket], count: int) -> list[socket.socket]:
    """Those who have an answer, once there are so many."""
    poll(lambda: len(answered(clients)) >= count, f"{count} clients are served")
    return answered(clients)


def settled(clients: Sequence[socket.socket]) -> list[socket.socket]:
    """Those who have an answer, once nobody else gets one for a while."""
    waiting = list(clients)
    while served := select.select(waiting, (), (), QUIET_SECONDS)[0]:
        waiting = [client for client in waiting if client not in served]
    return [client for client in clients if client not in waiting]


def must_rest(program: Program, waiting: Sequence[socket.socket]) -> None:
    """Nothing happens to those who wait, and the program does not compute meanwhile."""
    before = program.cpu_seconds
    assert select.select(waiting, (), (), QUIET_SECONDS)[0] == []
    assert program.cpu_seconds - before < BUSY


@pytest.mark.parametrize(
    "command",
    [MODULE, [str(TWISTD), "-n", "--pidfile=", "--reactor=asyncio", "socks5"]],
    ids=["python -m socks5", "twistd, asyncio"],
)
def test_sessions_are_as_many_as_descriptors_last_for(
    command: Sequence[str], tmp_path: Path, echo: tuple[str, int], stack: ExitStack
) -> None:
    fitting = 16  # 64 descriptors, 32 kept back, two for each session
    with proxy(tmp_path, command=limited(64, command)) as program:
        address = ("127.0.0.1", program.port)
        waiting = [asking(address, echo, stack) for _ in range(2 * fitting + 5)]
        while waiting:
            expected = min(fitting, len(waiting))
            inside = poll_answered(waiting, expected)
            assert len(inside) == expected
            waiting = [client for client in waiting if client not in inside]
            if waiting:
                must_rest(program, waiting)
            for client in inside:
                assert receive(client, 2) == b"\x05\x00"
                assert reply(client)[0] == 0
                assert echoes(client)
                client.close()
        program.terminate()
        assert len(program.records) == 2 * fitting + 5
        assert "Too many open files" not in program.output


def test_without_descriptors_clients_wait(
    tmp_path: Path, echo: tuple[str, int], stack: ExitStack
) -> None:
    """Where the limit of sessions is set higher than the descriptors last for."""
    with proxy(
        tmp_path, "--max-sessions=1000", "--max-sessions-wait=60", command=limited(64)
    ) as program:
        address = ("127.0.0.1", program.port)
        established = [stack.enter_context(connected(address, echo)) for _ in range(3)]
        idle = [stack.enter_context(client_of(address)) for _ in range(80)]
        for client in idle:
            client.sendall(b"\x05\x01\x00")
        poll(lambda: "Too many open files: clients wait" in program.output, "it is said")
        inside = settled(idle)
        waiting = [client for client in idle if client not in inside]
        assert len(waiting) > 10
        must_rest(program, waiting)
        for client in established:
            assert echoes(client)
            assert not is_ended(client)

        for client in inside:
            client.close()
        poll_answered(waiting, len(waiting))
        assert {receive(client, 2) for client in waiting} == {b"\x05\x00"}
        for client in established:
            assert echoes(client)
        program.terminate()
        assert program.output.count("Too many open files") == 1
