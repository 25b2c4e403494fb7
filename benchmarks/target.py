"""The target: a process that echoes, streams, and echoes datagrams, until its standard input ends.

``python -m benchmarks.target`` prints its ports as JSON: ``{"echo": …, "stream": …, "udp": …}``.

At the end of a connection it resets it. A proxy would otherwise gather connections in TIME_WAIT, run
after run, and one that binds its outgoing sockets would run out of ports.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable

LOOPBACK = "127.0.0.1"
BACKLOG = 4096
BUFFER = 4 << 20
LIFETIME = 3600
"""Seconds after which it ends in any case."""

_RESET = struct.pack("ii", 1, 0)
_CHUNK = memoryview(bytes(256 << 10))
_TURN = 64  # connections or datagrams before others get their turn

Handler = Callable[[int], None]


class Target:
    """Sockets and who is called when epoll reports them."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._open: dict[int, socket.socket] = {}
        self._datagram = bytearray(65536)
        self.ports = {
            "echo": self._listen(self._echo),
            "stream": self._listen(self._await_start),
            "udp": self._bind_udp(),
        }

    def _add(self, sock: socket.socket, events: int, handler: Handler) -> int:
        sock.setblocking(False)
        self._open[sock.fileno()] = sock
        self._handlers[sock.fileno()] = handler
        self._epoll.register(sock, events)
        return int(sock.getsockname()[1])

    def _listen(self, handler: Handler) -> int:
        listener = socket.create_server((LOOPBACK, 0), backlog=BACKLOG)

        def accept(_: int) -> None:
            for _turn in range(_TURN):
                try:
                    client, _address = listener.accept()
                except OSError:  # none is waiting, or it is gone already
                    return
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self._add(client, select.EPOLLIN, handler)

        return self._add(listener, select.EPOLLIN, accept)

    def _bind_udp(self) -> int:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.bind((LOOPBACK, 0))
        return self._add(sock, select.EPOLLIN, self._echo_datagrams)

    def _echo(self, fd: int) -> None:
        octets = self._open[fd].recv(65536)
        if not octets:
            raise EOFError
        self._open[fd].send(octets)

    def _await_start(self, fd: int) -> None:
        """Stream from the client's first octet on: a proxy may mix up its reply and earlier octets."""
        if not self._open[fd].recv(1):
            raise EOFError
        self._handlers[fd] = self._stream
        self._epoll.modify(fd, select.EPOLLOUT)

    def _stream(self, fd: int) -> None:
        self._open[fd].send(_CHUNK)

    def _echo_datagrams(self, fd: int) -> None:
        sock, buffer = self._open[fd], self._datagram
        view = memoryview(buffer)
        for _turn in range(_TURN):
            size, sender = sock.recvfrom_into(buffer)
            sock.sendto(view[:size], sender)

    def _drop(self, fd: int) -> None:
        del self._handlers[fd]
        self._open.pop(fd).close()

    def run(self) -> None:
        """Serve until the standard input ends."""
        self._epoll.register(sys.stdin, select.EPOLLIN)
        while True:
            for fd, _events in self._epoll.poll():
                if fd == sys.stdin.fileno():
                    return
                try:
                    with contextlib.suppress(BlockingIOError):
                        self._handlers[fd](fd)
                except (OSError, EOFError):
                    self._drop(fd)


def main() -> None:
    """Say the ports and serve."""
    signal.alarm(LIFETIME)
    target = Target()
    sys.stdout.write(json.dumps(target.ports) + "\n")
    sys.stdout.flush()
    target.run()


if __name__ == "__main__":
    main()
