"""The load generator's datagrams, through UDP associations."""

from __future__ import annotations

import socket
import struct
import time

from benchmarks.loop import ASSOCIATE, LOOPBACK, Loop, Task, address, connect, negotiate
from benchmarks.rows import BURST, Row

HEADER = 10
BUFFER = 4 << 20
SILENCE = 0.2
"""Seconds without an answer after which the datagrams on their way count as lost."""

OPENING = 10.0
SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104

_scratch = bytearray(65536)


def udp_socket(port: int = 0) -> socket.socket:
    """A UDP socket on loopback with room for bursts."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    sock.bind((LOOPBACK, port))
    sock.setblocking(False)
    return sock


def receive_all(sock: socket.socket, most: int) -> tuple[int, int]:
    """Take what has arrived, *most* messages at most.

    :returns: how many, and their octets.
    """
    count = octets = 0
    try:
        while count < most:
            octets += sock.recv_into(_scratch)
            count += 1
    except BlockingIOError:
        pass
    return count, octets


def associate(loop: Loop, proxy: int, count: int) -> list[socket.socket]:
    """So many associations, each as a UDP socket that is connected to its relay."""
    ready: list[socket.socket] = []

    def opener() -> Task:
        control = connect(proxy)
        host, port = yield from negotiate(control, ASSOCIATE, address("0.0.0.0", 0))
        loop.forget(control)
        sock = udp_socket()
        sock.connect((LOOPBACK if host == "0.0.0.0" else host, port))
        _controls.append(control)
        ready.append(sock)

    for _ in range(count):
        loop.spawn(opener())
    loop.run(OPENING, lambda: len(ready) + loop.faults >= count)
    return ready


_controls: list[socket.socket] = []  # an association lasts as long as its control connection


class Exchange:
    """One association's datagrams there and back.

    :param packet: each of them, with its header.
    """

    def __init__(self, loop: Loop, sock: socket.socket, packet: bytes, window: int) -> None:
        self._loop, self._sock, self._packet, self._window = loop, sock, packet, window
        self._heard = time.monotonic()

    def run(self) -> Task:
        """Send a window, and for each answer another one."""
        send, packet, sock = self._sock.send, self._packet, self._sock
        for _ in range(self._window):
            send(packet)
        while True:
            yield sock
            count, octets = receive_all(sock, self._window)
            if octets != count * len(packet):
                raise EOFError("an answer of another size")
            self._loop.done += count
            self._heard = time.monotonic()
            for _ in range(count):
                send(packet)

    def send_again(self) -> None:
        """If nothing comes any more, send a window anew."""
        if time.monotonic() - self._heard > SILENCE:
            self._loop.faults += self._window
            self._heard = time.monotonic()
            for _ in range(self._window):
                self._sock.send(self._packet)


def exchange(loop: Loop, proxy: int, target: bytes, row: Row) -> None:
    """Load a proxy with datagrams that are echoed."""
    packet = bytes(3) + target + bytes(row.size)
    for sock in associate(loop, proxy, row.sessions):
        each = Exchange(loop, sock, packet, row.window)
        loop.watch(each.send_again)
        loop.spawn(each.run())


def bulk(loop: Loop, proxy: int, row: Row) -> None:
    """Load a proxy with datagrams for a socket of this process, *window* of them on their way.

    The row with a row beside it sends bursts with UDP_SEGMENT and takes them with UDP_GRO, as programs
    for QUIC do; the other one sends and takes datagrams one by one.
    """
    [sender] = associate(loop, proxy, 1)
    sink = udp_socket()
    packet = bytes(3) + address(*sink.getsockname()) + bytes(row.size)
    if row.beside:
        sink.setsockopt(SOL_UDP, UDP_GRO, 1)
        sender.setsockopt(SOL_UDP, UDP_SEGMENT, struct.pack("i", len(packet)))
    burst, count = (packet * BURST, BURST) if row.beside else (packet, 1)
    arrived = time.monotonic()

    def send(datagrams: int) -> None:
        for _ in range(datagrams // count):
            sender.send(burst)

    def run() -> Task:
        nonlocal arrived
        send(row.window)
        credit = 0
        while True:
            yield sink
            _, octets = receive_all(sink, row.window)
            loop.done += octets // row.size
            credit += octets // row.size
            arrived = time.monotonic()
            send(credit)
            credit %= count

    def send_again() -> None:
        nonlocal arrived
        if time.monotonic() - arrived > SILENCE:
            loop.faults += row.window
            arrived = time.monotonic()
            send(row.window)

    loop.watch(send_again)
    loop.spawn(run())
