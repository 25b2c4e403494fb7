"""The options of one listener in the real program, alone and with workers."""

import socket
import sys
import time
from pathlib import Path

import pytest

from tests.process.program import (
    CONNECT,
    MODULE,
    client_of,
    receive,
    reply,
    request,
    running,
)

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
def test_every_listener_has_its_own_policy(workers: str, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nobody_connects_to_the_proxy_through_itself(workers: str, tmp_path: Path) -> None:
    options = ["--workers", workers, "--port", "0", "-i", "127.0.0.1", "-i", "0.0.0.0", "--open"]
    with running(tmp_path, [*MODULE, *options]) as program:
        (_, one), (_, every) = program.wait_until_it_listens(2)
        for _ in range(4):
            for target in (("127.0.0.1", one), ("127.0.0.1", every), ("127.0.0.2", every)):
                with client_of(("127.0.0.1", one)) as client:
                    request(client, CONNECT, *target)
                    assert reply(client)[0] == 2
        program.terminate()


# What systemd does for a service with two sockets: sd_listen_fds(3).
ACTIVATED = """\
import os, socket, sys
tcp = socket.create_server(("127.0.0.1", 0))
unix = socket.socket(socket.AF_UNIX)
unix.bind("activated.sock")
unix.listen()
sockets = [os.dup(os.dup(os.dup(sock.fileno()))) for sock in (tcp, unix)]
for number, sock in enumerate(sockets, 3):
    os.dup2(sock, number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "tcp:unix"}
os.execv(sys.executable, [sys.executable, "-m", "socks5", *sys.argv[1:]])
"""


def test_workers_share_the_sockets_of_systemd(tmp_path: Path) -> None:
    options = ["--workers=2", "--listen=systemd:domain=INET:name=tcp"]
    options += ["--listen=systemd:domain=UNIX:index=1"]
    with running(tmp_path, [sys.executable, "-c", ACTIVATED, *options]) as program:
        (_, port), _ = program.wait_until_it_listens(2)
        for _ in range(6):
            assert answer(port, "127.0.0.1") == b"\5\0"
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(str(tmp_path / "activated.sock"))
                client.sendall(BOTH_GREETING)
                assert receive(client, 2) == b"\5\0"
        program.terminate()


HEADER = "PROXY TCP4 {} 192.0.2.1 5000 1080\r\n"


def login(port: int, client: str, password: bytes) -> bytes:
    """All that a client behind a balancer is answered."""
    with socket.create_connection(("127.0.0.1", port), 10) as balancer:
        octets = b"\5\1\2\1\1u" + bytes([len(password)]) + password
        try:
            balancer.sendall(HEADER.format(client).encode() + octets)
            return receive(balancer, 4)
        except ConnectionError:
            return b""


def test_who_guesses_is_slowed_down_and_banned_and_others_are_not(tmp_path: Path) -> None:
    options = ["--port", "0", "-i", "127.0.0.1", "--proxy-from", "127.0.0.1"]
    options += ["--auth", "memory:u:right", "--ban-after", "2"]
    with running(tmp_path, [*MODULE, *options]) as program:
        [(_, port)] = program.wait_until_it_listens()
        began = time.monotonic()
        assert login(port, "198.51.100.7", b"wrong") == b"\5\2\1\1"
        assert time.monotonic() - began >= 0.5
        assert login(port, "198.51.100.7", b"mistaken") == b"\5\2\1\1"
        assert login(port, "198.51.100.7", b"right") == b""
        assert login(port, "198.51.100.8", b"right") == b"\5\2\1\0"
        assert "failed logins: 198.51.100.7 is banned for 60 s" in program.output
        assert "mistaken" not in program.output
        program.terminate()


@pytest.mark.parametrize("where", ["tcp:0:interface=127.0.0.1", "unix:proxy.sock"])
def test_workers_hear_balancers_too(where: str, tmp_path: Path) -> None:
    options = ["--workers", "2", "--listen", where, "--proxy-from", "127.0.0.1"]
    options += ["--clients", "198.51.100.0/24"]
    with running(tmp_path, [*MODULE, *options]) as program:
        [(host, port)] = program.wait_until_it_listens()
        address = (host, port) if port else str(tmp_path / "proxy.sock")
        for _ in range(6):
            for client, expected in (("198.51.100.7", b"\5\0"), ("192.0.2.7", b"")):
                family = socket.AF_INET if port else socket.AF_UNIX
                with socket.socket(family) as balancer:
                    balancer.connect(address)
                    balancer.sendall(HEADER.format(client).encode() + BOTH_GREETING)
                    assert until_end(balancer, len(expected)) == expected
        program.terminate()


def until_end(client: socket.socket, count: int) -> bytes:
    """That many octets, or, for none, the end."""
    try:
        return receive(client, count or 1)
    except ConnectionError:
        return b""
