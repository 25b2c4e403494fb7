"""The loads: what the generator's clients do with a proxy."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.datagrams import bulk, exchange
from benchmarks.loop import CONNECT, LOOPBACK, Loop, Task, address, connect, exactly, negotiate
from benchmarks.rows import Row

OPENING = 30.0
"""Seconds for all sessions to be established."""

AT_ONCE = 64
"""Sessions that are being established at a time."""

_SINK = bytearray(1 << 20)


@dataclass(frozen=True, slots=True)
class Order:
    """What to do: a row's name, for how long, to which proxy, with which target."""

    row: str
    seconds: float
    proxy: int
    proxy_pid: int
    target: dict[str, int]
    target_pid: int

    def where(self, port: str) -> bytes:
        """The address of a port of the target."""
        return address(LOOPBACK, self.target[port])


def open_sessions(loop: Loop, order: Order, row: Row, port: str) -> list[socket.socket]:
    """Establish the row's sessions, as many as there can be in time."""
    opened: list[socket.socket] = []
    waiting = iter(range(row.sessions))

    def opener() -> Task:
        for _ in waiting:
            sock = connect(order.proxy)
            try:
                yield from negotiate(sock, CONNECT, order.where(port))
                opened.append(sock)
            except (OSError, EOFError):
                loop.faults += 1
            finally:
                loop.forget(sock)

    for _ in range(min(AT_ONCE, row.sessions)):
        loop.spawn(opener())
    loop.run(OPENING, lambda: len(opened) + loop.faults >= row.sessions)
    return opened


def connections(loop: Loop, order: Order, row: Row) -> None:
    """Connect, handshake, one octet each way, close; again and again."""

    def client() -> Task:
        while True:
            with connect(order.proxy) as sock:
                try:
                    yield from negotiate(sock, CONNECT, order.where("echo"))
                    sock.send(b"x")
                    yield from exactly(sock, 1)
                    loop.done += 1
                except (OSError, EOFError):
                    loop.faults += 1
                finally:
                    loop.forget(sock)

    for _ in range(row.sessions):
        loop.spawn(client())


def streams(loop: Loop, order: Order, row: Row) -> None:
    """Take what the target sends. The kernel drops it, as it would be a copy for nothing."""

    def client(sock: socket.socket) -> Task:
        sock.send(b"x")
        while True:
            yield sock
            loop.done += (size := sock.recv_into(_SINK, len(_SINK), socket.MSG_TRUNC))
            if not size:
                raise EOFError

    for sock in open_sessions(loop, order, row, "stream"):
        loop.spawn(client(sock))


def pings(loop: Loop, order: Order, row: Row) -> None:
    """A message there and back, and the next one."""
    message = bytes(row.size)

    def client(sock: socket.socket) -> Task:
        while True:
            sock.send(message)
            yield from exactly(sock, row.size)
            loop.done += 1

    for sock in open_sessions(loop, order, row, "echo"):
        loop.spawn(client(sock))


def datagrams(loop: Loop, order: Order, row: Row) -> None:
    """Datagrams there and back, a window of them on their way."""
    exchange(loop, order.proxy, order.where("udp"), row)


def bulks(loop: Loop, order: Order, row: Row) -> None:
    """Datagrams one way, handed over in bursts or one by one."""
    bulk(loop, order.proxy, row)


LOADS: dict[str, Callable[[Loop, Order, Row], Any]] = {
    "connect": connections,
    "stream": streams,
    "ping": pings,
    "datagrams": datagrams,
    "bulk": bulks,
}
