"""The bullies of the neighbours' benchmark that name targets, and what they do with a session."""

from __future__ import annotations

import asyncio
import socket

from benchmarks.bullying import CHUNK, REFUSING_PORT, Aim, bully, for_ever, fresh
from benchmarks.clients import (
    BIND,
    CONNECT,
    GREETING,
    LOOPBACK,
    Refused,
    address,
    exactly,
    many,
    request,
    send,
)
from benchmarks.nameserver import Kind


async def _asking(aim: Aim, count: int, kind: Kind, port: int = REFUSING_PORT) -> None:
    async def ask() -> None:
        sock, _ = await aim.client.ask(CONNECT, fresh(kind, port))
        sock.close()

    await many(count, ask)


@bully("dead-names", is_idle=True)
async def dead_names(aim: Aim) -> None:
    """30 dead names side by side, again and again."""
    await _asking(aim, 30, Kind.DEAD)


@bully("dead-names-2000")
async def dead_names_2000(aim: Aim) -> None:
    """2000 dead names side by side, again and again."""
    await _asking(aim, 2000, Kind.DEAD)


@bully("slow-names", is_idle=True)
async def slow_names(aim: Aim) -> None:
    """200 names that a name server answers after 2 s."""
    await _asking(aim, 200, Kind.SLOW)


@bully("no-names")
async def no_names(aim: Aim) -> None:
    """64 names that do not exist side by side, again and again."""
    await _asking(aim, 64, Kind.NONE)


@bully("many-addresses")
async def many_addresses(aim: Aim) -> None:
    """30 names with 300 addresses side by side, again and again."""
    await _asking(aim, 30, Kind.MANY)


@bully("chains")
async def chains(aim: Aim) -> None:
    """30 names with 16 aliases side by side, again and again."""
    await _asking(aim, 30, Kind.CHAIN)


@bully("dead-targets", is_idle=True)
async def dead_targets(aim: Aim) -> None:
    """500 requests for an address that never answers."""
    full = socket.create_server((LOOPBACK, 0), backlog=0)  # the kernel drops what finds it full
    fillers = [socket.socket() for _ in range(4)]
    for sock in fillers:
        sock.setblocking(False)
        sock.connect_ex(full.getsockname())

    async def ask() -> None:
        sock, _ = await aim.client.ask(CONNECT, address(*full.getsockname()))
        sock.close()

    await many(500, ask)


@bully("optimistic", is_idle=True)
async def optimistic(aim: Aim) -> None:
    """200 requests for a dead name with 64 KiB behind each."""

    async def ask() -> None:
        with await aim.client.connect() as sock:
            await send(sock, GREETING + request(CONNECT, fresh(Kind.DEAD)))
            await send(sock, CHUNK)
            await exactly(sock, 12)

    await many(200, ask, pause=0.1)


# ---------------------------------------------------------------- sessions that are under way


@bully("binds", is_idle=True)
async def binds(aim: Aim) -> None:
    """500 BINDs that wait for their peer."""

    async def ask() -> None:
        sock, _ = await aim.client.ask(BIND, address("0.0.0.0", 0))
        with sock:
            await exactly(sock, 10)

    await many(500, ask, pause=0.1)


@bully("half-closed", is_idle=True)
async def half_closed(aim: Aim) -> None:
    """500 sessions that the client has half-closed."""
    sink = socket.create_server((LOOPBACK, 0), backlog=1024)  # takes connections, and no octets

    async def ask() -> None:
        sock, _ = await aim.client.ask(CONNECT, address(*sink.getsockname()))
        with sock:
            sock.shutdown(socket.SHUT_WR)
            await exactly(sock, 1)

    await many(500, ask, pause=0.1)


async def _small_stream(aim: Aim) -> socket.socket:
    """A session with a target that sends, and a client whose kernel takes little of it."""
    sock, _ = await aim.client.ask(CONNECT, aim.where("stream"))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await send(sock, b"x")
    return sock


@bully("stalled", is_idle=True)
async def stalled(aim: Aim) -> None:
    """64 streams that the client does not read."""
    streams = [await _small_stream(aim) for _ in range(64)]
    await for_ever()
    del streams


@bully("slow-reader")
async def slow_reader(aim: Aim) -> None:
    """64 streams read at 64 KiB a second."""

    async def read() -> None:
        with await _small_stream(aim) as sock:
            while await asyncio.get_running_loop().sock_recv(sock, 3200):
                await asyncio.sleep(0.05)

    await many(64, read)


@bully("download")
async def download(aim: Aim) -> None:
    """16 streams from the target, as fast as they go."""

    async def ask() -> None:
        sock, _ = await aim.client.ask(CONNECT, aim.where("stream"))
        with sock:
            await send(sock, b"x")
            while await asyncio.get_running_loop().sock_recv(sock, 1 << 18):
                pass

    await many(16, ask)


async def _echoing(aim: Aim, count: int, octets: bytes, flags: int = 0) -> None:
    """Send octets as fast as they are taken, and read what comes back."""

    async def ask() -> None:
        sock, _ = await aim.client.ask(CONNECT, aim.where("echo"))
        with sock:
            while True:
                try:
                    sock.send(octets, flags)
                except BlockingIOError:
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0)
                try:
                    while sock.recv(1 << 18):
                        pass
                    raise Refused("closed")
                except BlockingIOError:
                    continue

    await many(count, ask)


@bully("upload")
async def upload(aim: Aim) -> None:
    """16 streams to the target and back."""
    await _echoing(aim, 16, CHUNK)


@bully("octets")
async def octets(aim: Aim) -> None:
    """64 sessions that send single octets without a pause."""
    await _echoing(aim, 64, b"x")


@bully("urgent")
async def urgent(aim: Aim) -> None:
    """16 sessions that send urgent octets without a pause."""
    await _echoing(aim, 16, b"x", socket.MSG_OOB)
