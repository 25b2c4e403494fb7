"""The options of one listener in the real program, alone and with workers."""

import socket
from pathlib import Path

import pytest

from tests.process.program import MODULE, is_ended, poll, receive, running

BOTH_GREETING = b"\5\2\0\2"


def answer(port: int, source: str) -> bytes:
    """What a client from an address is answered; nothing if it is closed."""
    with socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as client:
        try:
            client.sendall(BOTH_GREETING)
            return receive(client, 2)
        except ConnectionError:
            return b""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_listener_has_its_own_door(workers: str, tmp_path: Path) -> None:
    options = ["--workers", workers, "--auth", "memory:alice:secret", "--port", "0"]
    options += ["-i", "127.0.0.1", "--methods", "none,password", "--clients", "127.0.0.2"]
    options += ["-i", "127.0.0.1", "--methods", "none"]
    options += ["-i", "127.0.0.1"]
    with running(tmp_path, [*MODULE, *options]) as program:
        guarded, free, usual = (port for _, port in program.wait_until_it_listens(3))
        for _ in range(4):
            assert answer(guarded, "127.0.0.1") == b""
            assert answer(guarded, "127.0.0.2") == b"\5\2"
            assert answer(free, "127.0.0.1") == b"\5\0"
            assert answer(usual, "127.0.0.1") == b"\5\2"
        program.terminate()


def test_a_stranger_is_closed_without_a_word(tmp_path: Path) -> None:
    options = ["--port", "0", "-i", "127.0.0.1", "--clients", "127.0.0.2"]
    with running(tmp_path, [*MODULE, *options]) as program:
        [(host, port)] = program.wait_until_it_listens()
        lines = program.output
        with socket.create_connection((host, port)) as client:
            poll(lambda: is_ended(client), "it is closed")
        assert program.output == lines
        program.terminate()
