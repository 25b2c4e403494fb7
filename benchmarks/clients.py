"""SOCKS clients of the neighbours' benchmark: on asyncio, each from an address of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

LOOPBACK = "127.0.0.1"
CONNECT, BIND, ASSOCIATE = 1, 2, 3
GREETING = b"\x05\x01\x00"
PATIENCE = 10.0
"""Seconds for a session, beyond which it has failed."""

BUFFER = 4 << 20
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
IP_BIND_ADDRESS_NO_PORT = 24
"""ip(7): the port is chosen with the destination, so ports do not run out."""


def address(host: str, port: int) -> bytes:
    """An IPv4 address and port as SOCKS messages have them."""
    return b"\x01" + socket.inet_aton(host) + port.to_bytes(2, "big")


def name(text: str, port: int) -> bytes:
    """A name and port as SOCKS messages have them."""
    return bytes((3, len(text))) + text.encode() + port.to_bytes(2, "big")


def request(command: int, where: bytes) -> bytes:
    """A request for an :func:`address` or a :func:`name`."""
    return bytes((5, command, 0)) + where


class Refused(EOFError):
    """The proxy has ended the connection, or refuses."""


async def exactly(sock: socket.socket, size: int) -> bytes:
    """So many octets.

    :raises Refused: there are not so many.
    """
    loop, octets = asyncio.get_running_loop(), b""
    while len(octets) < size:
        part = await loop.sock_recv(sock, size - len(octets))
        if not part:
            raise Refused("closed")
        octets += part
    return octets


async def send(sock: socket.socket, octets: bytes) -> None:
    """Send all of it."""
    await asyncio.get_running_loop().sock_sendall(sock, octets)


@dataclass(frozen=True, slots=True)
class Client:
    """Whoever connects from one address to the proxy.

    :param source: that address, an IPv4 literal.
    :param proxy: the proxy's port on loopback.
    """

    source: str
    proxy: int

    def _socket(self) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((self.source, 0))
        return sock

    def begin(self) -> socket.socket:
        """A connection to the proxy that is coming about, without waiting for it."""
        sock = self._socket()
        sock.connect_ex((LOOPBACK, self.proxy))
        return sock

    async def connect(self) -> socket.socket:
        """A connection to the proxy."""
        sock = self._socket()
        try:
            await asyncio.get_running_loop().sock_connect(sock, (LOOPBACK, self.proxy))
        except BaseException:
            sock.close()
            raise
        return sock

    async def ask(
        self, command: int, where: bytes, login: tuple[str, str] | None = None
    ) -> tuple[socket.socket, tuple[str, int]]:
        """A session: its socket, and the bound address of the first reply.

        :raises Refused: the proxy refuses, or answers with something else than an IPv4 address.
        """
        sock = await self.connect()
        try:
            await self._log_in(sock, login)
            await send(sock, request(command, where))
            reply = await exactly(sock, 10)
            if reply[:4] != b"\x05\x00\x00\x01":
                raise Refused(f"reply {reply[1]}")
        except BaseException:
            sock.close()
            raise
        return sock, (socket.inet_ntoa(reply[4:8]), int.from_bytes(reply[8:], "big"))

    @staticmethod
    async def _log_in(sock: socket.socket, login: tuple[str, str] | None) -> None:
        await send(sock, GREETING if login is None else b"\x05\x01\x02")
        if await exactly(sock, 2) != (b"\x05\x00" if login is None else b"\x05\x02"):
            raise Refused("no method")
        if login is not None:
            user, password = (text.encode() for text in login)
            await send(sock, bytes((1, len(user))) + user + bytes((len(password),)) + password)
            if await exactly(sock, 2) != b"\x01\x00":
                raise Refused("wrong password")

    async def associate(
        self, login: tuple[str, str] | None = None
    ) -> tuple[socket.socket, socket.socket]:
        """An association: its control connection, and a UDP socket that is connected to it."""
        control, (host, port) = await self.ask(ASSOCIATE, address("0.0.0.0", 0), login)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        sock.bind((self.source, 0))
        sock.setblocking(False)
        sock.connect((LOOPBACK if host == "0.0.0.0" else host, port))
        return control, sock


async def again_and_again(act: Callable[[], Awaitable[Any]], pause: float = 0.0) -> None:
    """Act without an end. What fails is tried again."""
    while True:
        with contextlib.suppress(OSError, EOFError):
            await act()
        await asyncio.sleep(pause)


async def many(count: int, act: Callable[[], Awaitable[Any]], pause: float = 0.0) -> None:
    """So many that act side by side, without an end."""
    await asyncio.gather(*(again_and_again(act, pause) for _ in range(count)))
