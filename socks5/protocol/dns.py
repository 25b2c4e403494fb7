"""A question for addresses, and what a name server answers (RFC 1035), octet by octet.

Only what a lookup of addresses needs: A, AAAA and CNAME records, and the SOA record of a denial. Whatever the
octets, reading them gives an answer or None, in a bounded number of steps.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

from socks5.protocol.address import unmap

MOST_RECORDS = 256
"""Records of an answer that are looked at."""

MOST_ADDRESSES = 64
"""Addresses of an answer that are taken: nobody tries more."""

MOST_ALIASES = 16
"""Links of a chain of CNAME records that are followed."""

MOST_POINTERS = 64
"""Jumps in one compressed name (section 4.1.4)."""

_MOST_OCTETS = 255  # of a name, section 2.3.4
_INTERNET = 1
_CNAME, _SOA = 5, 6
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_IS_ANSWER, _OPCODE, _IS_TRUNCATED, _IS_RECURSION_DESIRED = 0x8000, 0x7800, 0x0200, 0x0100
_IS_AUTHORITATIVE, _IS_RECURSION_AVAILABLE = 0x0400, 0x0080
_TTL_SIGN = 0x80000000


class Kind(IntEnum):
    """TYPE values that are asked for."""

    A = 1
    AAAA = 28


class Code(IntEnum):
    """RCODE values that decide something; every other one says that this server cannot answer."""

    NO_ERROR = 0
    NO_SUCH_NAME = 3


class Answer(NamedTuple):
    """What a name server says.

    :param code: RCODE.
    :param is_truncated: the rest has to be asked for over TCP; nothing else has been read then.
    :param hosts: IP literals, in the server's order.
    :param lifetime: in seconds, of the addresses with the aliases that lead to them, or of the denial; None: the
        server does not say.
    :param alias: the name at the end of a chain of aliases that the server has not followed any further; None:
        there is none, or it has.
    :param is_referral: the server only knows whom else to ask, and does not do so for us.
    """

    code: int
    is_truncated: bool = False
    hosts: tuple[str, ...] = ()
    lifetime: float | None = None
    alias: bytes | None = None
    is_referral: bool = False


class _Record(NamedTuple):
    owner: bytes
    kind: int
    lifetime: int
    start: int
    end: int


def wire_name(text: str) -> bytes:
    """A name as it stands in a message, in lower case.

    :param text: as :func:`socks5.names.hostname` gives it, with or without a dot at its end.
    """
    labels = text.lower().removesuffix(".").split(".")
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in labels) + b"\0"


def question(number: int, name: bytes, kind: int) -> bytes:
    """A recursive question.

    :param number: the ID, 0-65535, which nobody must be able to guess.
    :param name: see :func:`wire_name`.
    """
    header = _HEADER.pack(number, _IS_RECURSION_DESIRED, 1, 0, 0, 0)
    return header + name + struct.pack("!HH", kind, _INTERNET)


def read_answer(message: bytes, asked: bytes) -> Answer | None:
    """What a message says to a question; None if it is no answer to it, or cannot be understood.

    :param asked: the question, as :func:`question` gave it.
    """
    try:
        _number, flags, questions, answers, authorities, _ = _HEADER.unpack_from(message)
    except struct.error:
        return None
    if message[:2] != asked[:2] or flags & (_IS_ANSWER | _OPCODE) != _IS_ANSWER:
        return None
    code = flags & 0x000F
    if questions == 0 and code not in tuple(Code):  # some leave out what they could not read
        return Answer(code)
    if questions != 1 or message[12 : len(asked)].lower() != asked[12:]:
        return None
    if flags & _IS_TRUNCATED:
        return Answer(code, is_truncated=True)
    try:
        answer = _read(message, asked, code, answers, authorities)
    except (IndexError, ValueError, struct.error):
        return None
    # RFC 2308 section 2.2: it names servers, and has no SOA record.
    is_its_task = flags & (_IS_AUTHORITATIVE | _IS_RECURSION_AVAILABLE)
    is_empty = not answers and answer == Answer(Code.NO_ERROR)
    return answer._replace(is_referral=bool(is_empty and authorities and not is_its_task))


def _read(message: bytes, asked: bytes, code: int, answers: int, authorities: int) -> Answer:
    name, kind = asked[12:-4], asked[-3]
    aliases: dict[bytes, tuple[bytes, int]] = {}
    addresses: dict[bytes, list[tuple[str, int]]] = {}
    denial = None
    for position, record in enumerate(_records(message, len(asked), answers + authorities)):
        if position < answers:
            if record.kind == _CNAME:
                aliases[record.owner] = _name(message, record.start)[0], record.lifetime
            elif record.kind == kind:
                host = _address(message[record.start : record.end])
                addresses.setdefault(record.owner, []).append((host, record.lifetime))
        elif record.kind == _SOA:  # RFC 2308 section 5
            denial = min(record.lifetime, struct.unpack_from("!I", message, record.end - 4)[0])
    lifetimes = []
    for _ in range(MOST_ALIASES):
        if name in addresses or name not in aliases:
            break
        name, lifetime = aliases[name]
        lifetimes.append(lifetime)
    found = addresses.get(name, [])[:MOST_ADDRESSES]
    if found:
        lifetimes += [lifetime for _, lifetime in found]
        return Answer(code, hosts=tuple(host for host, _ in found), lifetime=min(lifetimes))
    is_left_open = bool(aliases) and denial is None and code == Code.NO_ERROR
    return Answer(code, lifetime=denial, alias=name if is_left_open else None)


def _records(message: bytes, position: int, count: int) -> Iterator[_Record]:
    """The resource records from *position* on.

    :raises IndexError, ValueError, struct.error: they are not what the format says.
    """
    for _ in range(min(count, MOST_RECORDS)):
        owner, position = _name(message, position)
        kind, network, lifetime, length = _RECORD.unpack_from(message, position)
        start = position + _RECORD.size
        position = start + length
        if position > len(message):
            raise ValueError("a record is cut")
        known = kind if network == _INTERNET else 0
        # RFC 2181 section 8: the sign bit means zero.
        yield _Record(owner, known, 0 if lifetime & _TTL_SIGN else lifetime, start, position)


def _address(octets: bytes) -> str:
    """:raises ValueError: it is none."""
    return unmap(inet_ntop(AF_INET if len(octets) == 4 else AF_INET6, octets))


def _name(message: bytes, position: int) -> tuple[bytes, int]:
    """The name at *position*, without compression and in lower case, and the position behind it.

    :raises IndexError, ValueError: it is none.
    """
    labels: list[bytes] = []
    size, pointers, end = 0, 0, 0
    while True:
        length = message[position]
        if length >= 0xC0:
            pointers += 1
            end = end or position + 2
            position = (length & 0x3F) << 8 | message[position + 1]
        elif length > 63:
            raise ValueError("a label of an unknown kind")
        else:
            size += 1 + length
            labels.append(message[position : position + 1 + length])
            position += 1 + length
            if not length:
                return b"".join(labels).lower(), end or position
        if pointers > MOST_POINTERS or size > _MOST_OCTETS:
            raise ValueError("a name without end")
