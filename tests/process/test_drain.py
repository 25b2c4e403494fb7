"""SIGTERM where there is time to drain: nobody is turned away who has come, and sessions end by themselves."""

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.process.program import (
    STOP_SECONDS,
    Program,
    client_of,
    connected,
    echoes,
    is_ended,
    poll,
    proxy,
    receive,
)
from tests.process.test_workers import children

PROCESSES = [1, 2]
"""Without workers, and with two."""


def command(seconds: float) -> list[str]:
    """The program with so many seconds to drain."""
    changed = f"from socks5.app.configured import Configured\nConfigured.drain = {seconds}\n"
    return [sys.executable, "-c", f"{changed}from socks5.app.console import main\nmain()"]


@pytest.fixture(params=PROCESSES)
def workers(request: pytest.FixtureRequest) -> str:
    return f"--workers={request.param}"


def at(program: Program) -> tuple[str, int]:
    return "127.0.0.1", program.port


def is_refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return True
    return False


def wait_until_it_drains(program: Program) -> None:
    address = at(program)
    poll(lambda: is_refused(address), "nobody listens any more")
    assert "SOCKS5 proxy drains" in program.output


def everybody(program: Program) -> list[int]:
    return [program.process.pid, *children(program)]


def must_have_ended(program: Program, *, left: int) -> None:
    assert program.wait(STOP_SECONDS) == 0, program.output
    program.must_not_complain()
    lines = program.messages
    # Of workers, it is what they said within the last second.
    assert re.search(r"has drained for \S+ s; sessions left: \d+$", program.output, re.M)
    assert f"SOCKS5 proxy stops; open sessions: {left}" in lines
    assert "died" not in program.output


@pytest.fixture
def sessions(echo: tuple[str, int]) -> Iterator["Sessions"]:
    with ExitStack() as stack:
        yield Sessions(echo, stack)


class Sessions:
    """Clients of a proxy."""

    def __init__(self, echo: tuple[str, int], stack: ExitStack) -> None:
        self._echo = echo
        self._stack = stack

    def relayed(self, program: Program, count: int) -> list[socket.socket]:
        return [self._stack.enter_context(connected(at(program), self._echo)) for _ in range(count)]

    def waiting(self, program: Program, count: int) -> list[socket.socket]:
        """They have connected, and sent their greeting."""
        clients = [self._stack.enter_context(client_of(at(program))) for _ in range(count)]
        for client in clients:
            client.sendall(b"\5\1\0")
        return clients


def close(clients: Sequence[socket.socket]) -> None:
    for client in clients:
        client.close()


def test_who_has_come_is_served_nobody_else_and_the_last_session_ends_the_proxy(
    workers: str, tmp_path: Path, sessions: Sessions
) -> None:
    """Also those that wait in the kernel's queue when the signal comes; it comes to every process, as from a service
    manager that tells all of a service.
    """
    with proxy(tmp_path, workers, command=command(60)) as program:
        relayed = sessions.relayed(program, 4)
        processes = everybody(program)
        for each in processes:
            os.kill(each, signal.SIGSTOP)
        waiting = sessions.waiting(program, 40)
        for each in processes:
            os.kill(each, signal.SIGTERM)
        for each in processes:
            os.kill(each, signal.SIGCONT)
        wait_until_it_drains(program)
        assert [receive(client, 2) for client in waiting] == [b"\5\0"] * 40
        assert all(map(echoes, relayed))
        line = f"SOCKS5 proxy listens no more on 127.0.0.1:{program.port}"
        poll(lambda: line in program.messages, "that is said behind it")
        close(waiting)
        close(relayed[1:])
        poll(lambda: len(program.records) >= 43, "their sessions are over")
        assert echoes(relayed[0])
        close(relayed[:1])
        must_have_ended(program, left=0)
        records = program.records
    assert len(records) == 44
    assert "shutdown" not in {record["reason"] for record in records}


def test_a_drain_has_an_end(workers: str, tmp_path: Path, sessions: Sessions) -> None:
    with proxy(tmp_path, workers, command=command(4)) as program:
        [client] = sessions.relayed(program, 1)
        program.signal(signal.SIGTERM)
        wait_until_it_drains(program)
        assert echoes(client)
        poll(lambda: is_ended(client), "the end")
        must_have_ended(program, left=1)
        [record] = program.records
    assert record["reason"] == "shutdown"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_sigterm_and_sigint_end_it_at_once(
    number: signal.Signals, workers: str, tmp_path: Path, sessions: Sessions
) -> None:
    with proxy(tmp_path, workers, command=command(600)) as program:
        sessions.relayed(program, 1)
        program.signal(signal.SIGTERM)
        wait_until_it_drains(program)
        program.signal(signal.SIGHUP)
        poll(lambda: "nothing is read again" in program.output, "the refusal")
        program.signal(number)
        must_have_ended(program, left=1)
        [record] = program.records
    assert record["reason"] == "shutdown"


def test_a_first_sigint_does_not_drain(workers: str, tmp_path: Path, sessions: Sessions) -> None:
    with proxy(tmp_path, workers, command=command(600)) as program:
        sessions.relayed(program, 1)
        program.signal(signal.SIGINT)
        assert program.wait(STOP_SECONDS) == 0
        assert "drains" not in program.output
        [record] = program.records
    assert record["reason"] == "shutdown"


def test_a_worker_that_dies_while_it_drains_has_no_successor(
    tmp_path: Path, sessions: Sessions
) -> None:
    with proxy(tmp_path, "--workers=2", command=command(600)) as program:
        sessions.relayed(program, 1)
        program.signal(signal.SIGTERM)
        [last] = poll(lambda: len(left := children(program)) == 1 and left, "one has nothing to do")
        os.kill(last, signal.SIGKILL)
        must_have_ended(program, left=0)
