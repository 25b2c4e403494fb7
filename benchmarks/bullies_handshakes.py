"""The bullies of the neighbours' benchmark that connect, greet and ask, and leave it at that."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

from benchmarks.bullying import BULLIES, REFUSING_PORT, Aim, bully, for_ever, numbers
from benchmarks.clients import (
    CONNECT,
    GREETING,
    LOOPBACK,
    RESET_ON_CLOSE,
    address,
    exactly,
    many,
    request,
    send,
)


@bully("alone", is_idle=True)
async def alone(aim: Aim) -> None:
    """Nobody."""
    await for_ever()


WITH_LOGINS = (
    "--interface", "127.0.0.1", "--port", "{port}", "--auth", "htpasswd:{folder}/users",
)  # fmt: skip
"""Our proxy's command line where clients must log in."""


@bully("alone-logins", is_idle=True, has_logins=True, words=WITH_LOGINS)
async def alone_with_logins(aim: Aim) -> None:
    """Nobody, with logins."""
    await for_ever()


@bully("busy")
async def busy(aim: Aim) -> None:
    """A process that does nothing but keep the other core busy."""
    while True:
        sum(range(1000))


async def _held(aim: Aim, first: bytes, count: int = 500, size: int = 1) -> None:
    async def hold() -> None:
        with await aim.client.connect() as sock:
            await send(sock, first)
            while await asyncio.get_running_loop().sock_recv(sock, 65536):
                pass

    await many(count, hold, pause=0.1)


@bully("silent", is_idle=True)
async def silent(aim: Aim) -> None:
    """500 connections that say nothing."""
    await _held(aim, b"")


@bully("greeted", is_idle=True)
async def greeted(aim: Aim) -> None:
    """500 connections that have greeted and ask for nothing."""
    await _held(aim, GREETING)


@bully("drip")
async def drip(aim: Aim) -> None:
    """200 greetings of 255 methods, an octet each 50 ms."""

    async def greet() -> None:
        with await aim.client.connect() as sock:
            for octet in b"\x05\xff" + bytes(range(255)):
                await send(sock, bytes((octet,)))
                await asyncio.sleep(0.05)

    await many(200, greet)


async def _storm(aim: Aim, octets: bytes, patience: float, is_reset: bool = False) -> None:
    """2000 connections at once, which say something, and go; and again."""
    while True:
        socks = [aim.client.begin() for _ in range(2000)]
        for sock in socks:
            try:
                if octets:
                    sock.send(octets)
                if is_reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            except OSError:
                continue
        await asyncio.sleep(patience)
        for sock in socks:
            sock.close()


@bully("storm")
async def storm(aim: Aim) -> None:
    """2000 connections at once that say nothing, again and again."""
    await _storm(aim, b"", 0.05)


@bully("requests")
async def requests(aim: Aim) -> None:
    """2000 requests at once, given up after 0.2 s, again and again."""
    await _storm(aim, GREETING + request(CONNECT, aim.where("echo")), 0.2)


@bully("requests-logged", words=(
    "--interface", "127.0.0.1", "--port", "{port}", "--access-log", "{folder}/access.log",
))  # fmt: skip
async def requests_logged(aim: Aim) -> None:
    """The same, with an access log."""
    await requests(aim)


@bully("refused")
async def refused(aim: Aim) -> None:
    """2000 refused requests at once, again and again."""
    await _storm(aim, GREETING + request(CONNECT, address(LOOPBACK, REFUSING_PORT)), 0.2)


@bully("unserved")
async def unserved(aim: Aim) -> None:
    """2000 requests with an unknown command at once, again and again."""
    await _storm(aim, GREETING + request(9, aim.where("echo")), 0.2)


@bully("rubbish")
async def rubbish(aim: Aim) -> None:
    """2000 requests of HTTP at once, again and again."""
    await _storm(aim, b"GET http://example.org/ HTTP/1.1\r\n\r\n", 0.1)


@bully("resets")
async def resets(aim: Aim) -> None:
    """2000 requests at once, reset after 50 ms, again and again."""
    await _storm(aim, GREETING + request(CONNECT, aim.where("echo")), 0.05, is_reset=True)


@bully("sessions")
async def sessions(aim: Aim) -> None:
    """256 whole sessions side by side, again and again."""

    async def session() -> None:
        sock, _ = await aim.client.ask(CONNECT, aim.where("echo"))
        with sock:
            await send(sock, b"x")
            await exactly(sock, 1)

    await many(256, session)


@bully("tls-begun", is_idle=True, words=(
    "--listen", "tcp:{port}:interface=127.0.0.1",
    "--listen", "tls:{other}:interface=127.0.0.1:cert={folder}/tls.pem",
))  # fmt: skip
async def tls_begun(aim: Aim) -> None:
    """500 connections that begin TLS and stop."""
    hello = _client_hello()

    async def begin() -> None:
        with await aim.other_client.connect() as sock:
            await send(sock, hello)
            while await asyncio.get_running_loop().sock_recv(sock, 65536):
                pass

    await many(500, begin, pause=0.1)


def _client_hello() -> bytes:
    context = ssl.create_default_context()
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="proxy.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@bully(
    "tls-storm",
    words=BULLIES["tls-begun"].words,
)
async def tls_storm(aim: Aim) -> None:
    """64 handshakes of TLS side by side, again and again."""
    hello = _client_hello()

    async def begin() -> None:
        with await aim.other_client.connect() as sock:
            await send(sock, hello)
            await exactly(sock, 100)

    await many(64, begin)


@bully("headers", words=(
    "--listen", "tcp:{port}:interface=127.0.0.1",
    "--listen", "tcp:{other}:interface=127.0.0.1", "--proxy-from", "127.0.0.3", "--open",
))  # fmt: skip
async def headers(aim: Aim) -> None:
    """200 PROXY headers of 4 KiB, an octet at a time."""
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + (4080).to_bytes(2, "big")
    header += socket.inet_aton("192.0.2.1") * 2 + bytes(4) + b"\x04" + (4065).to_bytes(2, "big")

    async def tell() -> None:
        with await aim.other_client.connect() as sock:
            for octet in header.ljust(4096, b"\0"):
                await send(sock, bytes((octet,)))
                await asyncio.sleep(0.002)

    await many(200, tell)


@bully(
    "passwords",
    has_logins=True,
    words=WITH_LOGINS,
)
async def passwords(aim: Aim) -> None:
    """20 wrong passwords side by side, again and again."""

    async def guess() -> None:
        sock, _ = await aim.client.ask(
            CONNECT, aim.where("echo"), ("neighbour", f"{next(numbers)}")
        )
        sock.close()

    await many(20, guess)
