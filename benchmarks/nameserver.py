"""A name server for the neighbours' benchmark: every name says itself how it is answered.

``python -m benchmarks.nameserver`` answers on 127.0.0.1, port 53, over UDP and TCP (RFC 1035), until its
standard input ends. A name is ``LABEL.KIND.test``; what a kind means stands in :class:`Kind`. It knows
addresses of IPv4 only: who asks for others is told that there are none.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
import sys
from contextlib import suppress
from enum import StrEnum

from typing_extensions import override

from benchmarks.clients import LOOPBACK

PORT = 53
MOST_OCTETS = 512
"""Of an answer over UDP; a longer one is cut, and the client asks again over TCP."""

ADDRESSES = 300
CHAIN = 16
SLOWNESS = 2.0
LIFETIME = 3600

_A, _CNAME, _TTL = 1, 5, 60
_ANSWER, _CUT, _NO_SUCH_NAME = 0x8180, 0x0200, 3
_HEADER = 12
_QUESTION = b"\xc0\x0c"  # a pointer to the name in the question


class Kind(StrEnum):
    """How a name is answered."""

    QUICK = "quick"
    """With the loopback's address, at once."""

    SLOW = "slow"
    """The same after :data:`SLOWNESS` seconds."""

    DEAD = "dead"
    """Never."""

    NONE = "none"
    """There is no such name."""

    MANY = "many"
    """With :data:`ADDRESSES` addresses at which nobody listens, too many for UDP."""

    CHAIN = "chain"
    """With :data:`CHAIN` aliases, one behind the other, and the loopback's address."""


def labels_of(query: bytes) -> tuple[list[bytes], int]:
    """The labels of the name that is asked for, and where the question ends.

    :raises IndexError: it ends too early.
    """
    labels, at = [], _HEADER
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size])
        at += 1 + size
    return labels, at + 5


def kind_of(query: bytes) -> Kind:
    """How this question is to be answered; what is none of our names does not exist."""
    try:
        return Kind(labels_of(query)[0][-2].decode())
    except (IndexError, ValueError):
        return Kind.NONE


def _record(owner: bytes, kind: int, data: bytes) -> bytes:
    return owner + struct.pack("!HHIH", kind, 1, _TTL, len(data)) + data


def _addresses(kind: Kind) -> list[bytes]:
    if kind is Kind.MANY:
        return [bytes((127, 1, 1 + i // 250, 1 + i % 250)) for i in range(ADDRESSES)]
    return [socket.inet_aton(LOOPBACK)]


def _records(kind: Kind) -> list[bytes]:
    records, owner = [], _QUESTION
    for i in range(CHAIN if kind is Kind.CHAIN else 0):
        alias = b"\x03c%02d\x05chain\x04test\x00" % i
        records.append(_record(owner, _CNAME, alias))
        owner = alias
    return records + [_record(owner, _A, address) for address in _addresses(kind)]


def answer(query: bytes, most_octets: int = MOST_OCTETS) -> bytes:
    """The answer to a question, cut to *most_octets*."""
    _labels, end = labels_of(query)
    kind, is_for_ipv4 = kind_of(query), query[end - 4 : end - 2] == b"\x00\x01"
    flags = _ANSWER | (_NO_SUCH_NAME if kind is Kind.NONE else 0)
    records = _records(kind) if is_for_ipv4 and kind is not Kind.NONE else []
    if end + sum(map(len, records)) > most_octets:
        flags, records = flags | _CUT, []
    counts = struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
    return query[:2] + counts + query[_HEADER:end] + b"".join(records)


class _Questions(asyncio.DatagramProtocol):
    """Takes questions over UDP."""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    @override
    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        kind = kind_of(data)
        if kind is not Kind.DEAD:
            delay = SLOWNESS if kind is Kind.SLOW else 0.0
            send = self._transport.sendto  # type: ignore[attr-defined]
            with suppress(IndexError):  # no question at all
                asyncio.get_running_loop().call_later(delay, send, answer(data), addr)


async def _questions_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer what one client asks over TCP, but for dead names."""
    try:
        while True:
            query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            if kind_of(query) is not Kind.DEAD:
                found = answer(query, 65535)
                writer.write(len(found).to_bytes(2, "big") + found)
    except (EOFError, OSError):
        writer.close()


async def serve() -> None:
    """Answer until the standard input ends."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(_Questions, (LOOPBACK, PORT))
    server = await asyncio.start_server(_questions_of, LOOPBACK, PORT)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    signal.alarm(LIFETIME)
    asyncio.run(serve())
