"""The load generator's event loop and its SOCKS clients.

A task is a generator that yields the socket it wants to read from and is continued when there is
something to read.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Generator
from typing import Any

LOOPBACK = "127.0.0.1"
CONNECT, ASSOCIATE = 1, 3
PATIENCE = 5.0
"""Seconds for a connection to the proxy."""

Task = Generator[socket.socket, None, Any]


class Loop:
    """Tasks, and what they have done and failed at."""

    def __init__(self) -> None:
        self.done = 0
        self.faults = 0
        self._epoll = select.epoll()
        self._tasks: dict[int, Task] = {}
        self._watchers: list[Callable[[], None]] = []

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call this every now and then, at least every 0.1 s."""
        self._watchers.append(watcher)

    def spawn(self, task: Task) -> None:
        """Start a task."""
        try:
            self._wait(task, next(task))
        except StopIteration:
            return
        except (OSError, EOFError):
            self.faults += 1

    def _wait(self, task: Task, sock: socket.socket) -> None:
        fd = sock.fileno()
        if fd not in self._tasks:
            self._epoll.register(fd, select.EPOLLIN)
        self._tasks[fd] = task

    def _continue(self, fd: int) -> None:
        task = self._tasks[fd]
        try:
            sock = next(task)
            if self._tasks.get(fd) is not task or sock.fileno() != fd:
                self._wait(task, sock)
        except (StopIteration, OSError, EOFError) as end:
            self.faults += not isinstance(end, StopIteration)
            if self._tasks.pop(fd, None) is not None:
                self._epoll.unregister(fd)

    def forget(self, sock: socket.socket) -> None:
        """Nobody waits for this socket any more; it is about to be closed or put aside."""
        if self._tasks.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let the tasks work for some time, or until something is so."""
        look = time.monotonic()
        end = look + seconds
        tasks = self._tasks
        while (left := end - time.monotonic()) > 0 and not until():
            for fd, _events in self._epoll.poll(min(left, 0.1)):
                if fd in tasks:
                    self._continue(fd)
            if time.monotonic() > look:
                look = time.monotonic() + 0.1
                for watcher in self._watchers:
                    watcher()


def address(host: str, port: int) -> bytes:
    """An IPv4 address and port as SOCKS messages have them."""
    return b"\x01" + socket.inet_aton(host) + struct.pack("!H", port)


def connect(port: int) -> socket.socket:
    """A connection to the proxy."""
    sock = socket.create_connection((LOOPBACK, port), PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    return sock


def exactly(sock: socket.socket, size: int) -> Generator[socket.socket, None, bytes]:
    """So many octets.

    :raises EOFError: there are not so many.
    """
    octets = b""
    while len(octets) < size:
        if not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
            yield sock
        try:
            part = sock.recv(size - len(octets))
        except ssl.SSLWantReadError:  # that was one of TLS's own messages
            continue
        if not part:
            raise EOFError
        octets += part
    return octets


def shake_hands(sock: ssl.SSLSocket) -> Task:
    """Begin TLS."""
    while True:
        try:
            return sock.do_handshake()
        except ssl.SSLWantReadError:
            yield sock


def log_in(sock: socket.socket, login: str) -> Task:
    """Greet with the one method that *login* needs, and log in.

    :param login: user and password with a colon between, or nothing.
    :raises EOFError: the proxy does not want it so.
    """
    wanted = b"\x05\x02" if login else b"\x05\x00"
    sock.send(b"\x05\x01" + wanted[1:])
    method = yield from exactly(sock, 2)
    if method != wanted:
        raise EOFError(f"the proxy answers {method!r}")
    if login:
        parts = [part.encode() for part in login.split(":")]
        sock.send(b"\x01" + b"".join(bytes((len(part),)) + part for part in parts))
        if (status := (yield from exactly(sock, 2))) != b"\x01\x00":
            raise EOFError(f"the proxy answers {status!r}")


def negotiate(
    sock: socket.socket, command: int, where: bytes, login: str = ""
) -> Generator[socket.socket, None, tuple[str, int]]:
    """Greet, log in and ask.

    :returns: the bound address of the reply.
    :raises EOFError: the proxy refuses, or answers with something else than an IPv4 address.
    """
    yield from log_in(sock, login)
    sock.send(bytes((5, command, 0)) + where)
    reply = yield from exactly(sock, 10)
    if reply[:4] != b"\x05\x00\x00\x01":
        raise EOFError(f"the proxy answers {reply!r}")
    return socket.inet_ntoa(reply[4:8]), int.from_bytes(reply[8:], "big")
