"""The loads: what the generator's clients do with a proxy."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from benchmarks.datagrams import bulk, exchange
from benchmarks.loop import (
    CONNECT,
    LOOPBACK,
    Loop,
    Task,
    address,
    connect,
    exactly,
    negotiate,
    shake_hands,
)
from benchmarks.rows import Row

OPENING = 30.0
"""Seconds for all sessions to be established."""

AT_ONCE = 64
"""Sessions that are being established at a time."""

_SINK = bytearray(1 << 20)


@cache
def _context() -> ssl.SSLContext:
    """What the clients of a TLS listener share: TLS 1.3, and they believe any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True, slots=True)
class Order:
    """What to do: a row's name, for how long, to which proxy, with which target.

    :param login: user and password with a colon between, or nothing.
    :param tls: whether the clients speak TLS.
    """

    row: str
    seconds: float
    proxy: int
    proxy_pid: int
    target: dict[str, int]
    target_pid: int
    login: str = ""
    tls: bool = False

    def where(self, port: str) -> bytes:
        """The address of a port of the target."""
        return address(LOOPBACK, self.target[port])

    def connect(self) -> socket.socket:
        """A connection to the proxy; with TLS it is one before the handshake."""
        sock = connect(self.proxy)
        return _context().wrap_socket(sock, do_handshake_on_connect=False) if self.tls else sock

    def enter(self, sock: socket.socket, port: str) -> Task:
        """Have the proxy connect to a port of the target.

        :raises EOFError: it refuses.
        """
        if isinstance(sock, ssl.SSLSocket):
            yield from shake_hands(sock)
        yield from negotiate(sock, CONNECT, self.where(port), self.login)


def open_sessions(loop: Loop, order: Order, row: Row, port: str) -> list[socket.socket]:
    """Establish the row's sessions, as many as there can be in time."""
    opened: list[socket.socket] = []
    waiting = iter(range(row.sessions))

    def opener() -> Task:
        for _ in waiting:
            sock = order.connect()
            try:
                yield from order.enter(sock, port)
                opened.append(sock)
            except (OSError, EOFError):
                loop.faults += 1
            finally:
                loop.forget(sock)

    for _ in range(min(AT_ONCE, row.sessions)):
        loop.spawn(opener())
    loop.run(OPENING, lambda: len(opened) + loop.faults >= row.sessions)
    return opened


def _say_the_end(sock: ssl.SSLSocket) -> None:
    """The end, as TLS wants it said."""
    with contextlib.suppress(ssl.SSLWantReadError):  # the answer is not waited for
        sock.unwrap()


def _visit(loop: Loop, order: Order) -> Task:
    """Connect, handshake, one octet each way, close."""
    with order.connect() as sock:
        try:
            yield from order.enter(sock, "echo")
            sock.send(b"x")
            yield from exactly(sock, 1)
            if isinstance(sock, ssl.SSLSocket):
                _say_the_end(sock)
            loop.done += 1
        except (OSError, EOFError):
            loop.faults += 1
        finally:
            loop.forget(sock)


def visit_once(loop: Loop, order: Order) -> None:
    """One visit, behind which the proxy has done what it does once."""
    before = loop.done + loop.faults
    loop.spawn(_visit(loop, order))
    loop.run(OPENING, lambda: loop.done + loop.faults > before)


def connections(loop: Loop, order: Order, row: Row) -> None:
    """One visit after another."""

    def client() -> Task:
        while True:
            yield from _visit(loop, order)

    for _ in range(row.sessions):
        loop.spawn(client())


def streams(loop: Loop, order: Order, row: Row) -> None:
    """Take what the target sends. The kernel drops it, as it would be a copy for nothing; but not with TLS."""
    flags = 0 if order.tls else socket.MSG_TRUNC

    def client(sock: socket.socket) -> Task:
        sock.send(b"x")
        while True:
            yield sock
            with contextlib.suppress(ssl.SSLWantReadError):
                loop.done += (size := sock.recv_into(_SINK, len(_SINK), flags))
                if not size:
                    raise EOFError

    for sock in open_sessions(loop, order, row, "stream"):
        loop.spawn(client(sock))


def ping(loop: Loop, sessions: Sequence[socket.socket], size: int) -> None:
    """A message there and back, and the next one, in sessions that are there."""
    message = bytes(size)

    def client(sock: socket.socket) -> Task:
        while True:
            sock.send(message)
            yield from exactly(sock, size)
            loop.done += 1

    for sock in sessions:
        loop.spawn(client(sock))


def pings(loop: Loop, order: Order, row: Row) -> None:
    """A message there and back, and the next one."""
    ping(loop, open_sessions(loop, order, row, "echo"), row.size)


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
