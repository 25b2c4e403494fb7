"""The listeners of the real program with workers: each has its own options."""

import socket
import sys
from pathlib import Path

from tests.process.program import (
    CONNECT,
    MODULE,
    PATIENCE,
    client_of,
    receive,
    reply,
    request,
    running,
)

BOTH_GREETING = b"\5\2\0\2"
LOOPBACK = "tcp:0:interface=127.0.0.1"


def answer(port: int, source: str, header: bytes = b"") -> bytes:
    """What a client from an address is answered; nothing if it is closed."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0)) as client:
        try:
            client.sendall(header + BOTH_GREETING)
            return receive(client, 2)
        except ConnectionError:
            return b""


def answer_at(path: Path, header: bytes = b"") -> bytes:
    """What a client of a UNIX socket is answered."""
    with client_of(str(path), socket.AF_UNIX) as client:
        client.sendall(header + BOTH_GREETING)
        return receive(client, 2)


HEADER = b"PROXY TCP4 198.51.100.7 192.0.2.1 5000 1080\r\n"


def test_every_listener_of_workers_has_its_own_policy(tmp_path: Path) -> None:
    """Behind a balancer, too. And whichever worker serves whom, nobody connects to the proxy through itself."""
    balanced = ["--proxy-from", "127.0.0.1", "--methods", "none", "--clients"]
    options = [
        *("--workers", "2", "--auth", "memory:alice:secret", "--port", "0"),
        *("--listen", LOOPBACK, "--methods", "none,password", "--clients", "127.0.0.2"),
        *("--listen", LOOPBACK, "--methods", "none"),
        *("--listen", LOOPBACK),
        *("--listen", LOOPBACK, *balanced, "198.51.100.0/24"),
        *("--listen", LOOPBACK, *balanced, "192.0.2.0/24"),
        *("--listen", "tcp:0", "--clients", "127.0.0.0/8"),
        *("--listen", "unix:proxy.sock", *balanced, "198.51.100.0/24"),
    ]
    with running(tmp_path, [*MODULE, *options]) as program:
        places = program.wait_until_it_listens(7)
        guarded, free, usual, known, unknown, every = (port for _, port in places[:6])
        for _ in range(6):
            assert answer(guarded, "127.0.0.1") == b""
            assert answer(guarded, "127.0.0.2") == b"\5\2"
            assert answer(free, "127.0.0.1") == b"\5\0"
            assert answer(usual, "127.0.0.1") == b"\5\2"
            assert answer(known, "127.0.0.1", HEADER) == b"\5\0"
            assert answer(unknown, "127.0.0.1", HEADER) == b""
            assert answer_at(tmp_path / "proxy.sock", HEADER) == b"\5\0"
            for own in (("127.0.0.1", free), ("127.0.0.1", every), ("127.0.0.2", every)):
                with client_of(("127.0.0.1", free)) as client:
                    request(client, CONNECT, *own)
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
            assert answer_at(tmp_path / "activated.sock") == b"\5\0"
        program.terminate()
