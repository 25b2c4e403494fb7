"""The bullies of the neighbours' benchmark that send datagrams."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import Callable

from benchmarks.bullying import Aim, bully, fresh
from benchmarks.clients import ASSOCIATE, LOOPBACK, Client, address, many
from benchmarks.nameserver import Kind

SOL_UDP, UDP_SEGMENT = 17, 103
SEGMENTS = 32
_BURST = 16
"""Datagrams of one association before the next one's turn."""


async def _associations(aim: Aim, count: int) -> list[tuple[socket.socket, socket.socket]]:
    return [await aim.client.associate() for _ in range(count)]


async def _flood(
    aim: Aim, count: int, packet: Callable[[], bytes], pause: float = 0.0, segment: int = 0
) -> None:
    """From each association datagram after datagram; what comes back is left to the kernel.

    :param pause: seconds after each burst.
    :param segment: cut them into datagrams of so many octets.
    """
    pairs = await _associations(aim, count)
    for _control, sock in pairs:
        if segment:
            sock.setsockopt(SOL_UDP, UDP_SEGMENT, struct.pack("i", segment))
    while True:
        for _control, sock in pairs:
            for _ in range(_BURST):
                try:
                    sock.send(packet())
                except OSError:
                    break
        await asyncio.sleep(pause)


@bully("datagrams", has_datagrams=True)
async def datagrams(aim: Aim) -> None:
    """20 associations that send valid datagrams without a pause."""
    packet = bytes(3) + aim.where("udp") + bytes(200)
    await _flood(aim, 20, lambda: packet)


@bully("dead-names-udp", is_idle=True, has_datagrams=True)
async def dead_names_udp(aim: Aim) -> None:
    """20 associations that send to dead names."""
    await _flood(aim, 20, lambda: bytes(3) + fresh(Kind.DEAD) + b"x", pause=0.5)


@bully("names-udp", has_datagrams=True)
async def names_udp(aim: Aim) -> None:
    """20 associations that send each datagram to another name."""
    port = aim.target["udp"]
    await _flood(aim, 20, lambda: bytes(3) + fresh(Kind.QUICK, port) + b"x", pause=0.1)


@bully("malformed", has_datagrams=True)
async def malformed(aim: Aim) -> None:
    """64 associations that send malformed datagrams."""
    await _flood(aim, 64, lambda: b"\x00\x00\x00\x09rubbish")


@bully("fragments", has_datagrams=True)
async def fragments(aim: Aim) -> None:
    """8 associations that send fragments."""
    packet = b"\x00\x00\x01" + aim.where("udp") + bytes(200)
    await _flood(aim, 8, lambda: packet)


@bully("aggregates", has_datagrams=True)
async def aggregates(aim: Aim) -> None:
    """8 associations that send aggregates (UDP_SEGMENT)."""
    packet = bytes(3) + aim.where("udp") + bytes(1200)
    await _flood(aim, 8, lambda: packet * SEGMENTS, segment=len(packet))


@bully("aggregates-split", has_datagrams=True)
async def aggregates_split(aim: Aim) -> None:
    """The same, each to be split."""
    here = bytes(3) + aim.where("udp") + bytes(1200)
    there = bytes(3) + address(LOOPBACK, aim.target["udp"] + 1) + bytes(1200)
    packet = (here + there) * (SEGMENTS // 2)
    await _flood(aim, 8, lambda: packet, segment=len(here))


@bully("targets-udp", has_datagrams=True)
async def targets_udp(aim: Aim) -> None:
    """8 associations that send each datagram to another port."""
    ports = itertools.cycle(range(1, 65536))
    await _flood(aim, 8, lambda: bytes(3) + address(LOOPBACK, next(ports)) + b"x")


@bully("loop", has_datagrams=True)
async def loop(aim: Aim) -> None:
    """8 associations whose own datagrams come back to them."""
    client = Client(LOOPBACK, aim.proxy)  # the address that the proxy sends from
    pairs = [await client.associate() for _ in range(8)]
    while True:
        for _control, sock in pairs:
            itself = bytes(3) + address(*sock.getpeername())
            sock.send(itself * 1000 + b"x")
        await asyncio.sleep(0.05)


@bully("associations", has_datagrams=True)
async def associations(aim: Aim) -> None:
    """64 associations side by side, opened again and again."""

    async def ask() -> None:
        control, _ = await aim.client.ask(ASSOCIATE, address("0.0.0.0", 0))
        control.close()

    await many(64, ask)
