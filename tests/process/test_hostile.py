"""Octets that no client of good will sends, to the real program: bounded answers, a clean log, other sessions
untouched.
"""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.program import Program, client_of, connected, echoes, poll, proxy, until_end

octets = bytes.fromhex

GREETING = b"\x05\x01\x00"
CHOSEN = b"\x05\x00"
NOT_SUPPORTED = octets("05 07 00 01 00000000 0000")
BAD_ADDRESS_TYPE = octets("05 08 00 01 00000000 0000")
GENERAL = octets("05 01 00 01 00000000 0000")

HOSTILE = {
    "SOCKS4": (octets("04 01 0050 7f000001 00"), b""),
    "HTTP": (b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n", b"HTTP/1.1 400 "),
    "HTTP CONNECT": (b"CONNECT example.org:443 HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    "TLS": (octets("16 03 01 02 00 01 00 01 fc 03 03") + bytes(512), b""),
    "SSH": (b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 400 "),  # begins with a capital letter
    "zeros": (bytes(4096), b""),
    "noise": (octets("ff") * 4096, b""),
    "no methods": (octets("05 00"), b"\x05\xff"),
    "no method in common": (b"\x05\xff" + bytes(range(1, 256)), b"\x05\xff"),
    "a second greeting": (GREETING + GREETING, None),
    "another version": (GREETING + octets("04 01 00 01 7f000001 0050"), None),
    "an unknown command": (GREETING + octets("05 ff 00 01 7f000001 0050"), CHOSEN + NOT_SUPPORTED),
    "an unknown address type": (
        GREETING + octets("05 01 00 02 7f000001"),
        CHOSEN + BAD_ADDRESS_TYPE,
    ),
    "a name without octets": (GREETING + octets("05 01 00 03 00 0050"), None),
    "a name with a zero octet": (GREETING + octets("05 01 00 03 04 61006200 0050"), None),
    "a name that is none": (
        GREETING + octets("05 01 00 03 ff") + b"\xff" * 255 + octets("0050"),
        CHOSEN + octets("05 04 00 01 00000000 0000"),
    ),
    "port 0": (GREETING + octets("05 01 00 01 7f000001 0000"), None),
    "a multicast target": (GREETING + octets("05 01 00 01 e0000001 0050"), None),
    "a BIND for nowhere": (GREETING + octets("05 02 00 03 01 2e 0050"), None),
}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    short = [
        word for name in ("connect", "handshake", "request") for word in (f"--{name}-timeout", "1")
    ]
    with proxy(tmp_path, *short) as program:
        yield program


def answer_to(program: Program, data: bytes) -> bytes:
    """What comes back until the proxy ends it. Our own end is not sent."""
    with client_of(("127.0.0.1", program.port)) as client:
        try:
            client.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return b""
        return until_end(client)


def test_hostile_octets_end_themselves_alone(program: Program, echo: tuple[str, int]) -> None:
    with connected(("127.0.0.1", program.port), echo) as bystander:
        for name, (data, expected) in HOSTILE.items():
            answer = answer_to(program, data)
            if expected is not None:
                assert answer.startswith(expected), name
                assert expected or not answer, name
            assert len(answer) < 500, name
            assert echoes(bystander), name
        program.terminate()


def test_clients_that_leave_at_any_moment_leave_nothing_behind(
    program: Program, echo: tuple[str, int]
) -> None:
    """By an end and by a reset, behind every octet of a handshake and some more."""
    address = ("127.0.0.1", program.port)
    handshake = GREETING + octets("05 01 00 01") + socket.inet_aton(echo[0])
    handshake += echo[1].to_bytes(2, "big") + b"hello"
    with connected(address, echo):
        before = descriptors(program)
        for length in range(len(handshake) + 1):
            for linger in (b"\x00" * 8, b"\x01\x00\x00\x00\x00\x00\x00\x00"):
                with client_of(address) as client:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    client.sendall(handshake[:length])
        poll(lambda: descriptors(program) == before, "every descriptor is given back")
    program.terminate()


def descriptors(program: Program) -> int:
    return len(os.listdir(f"/proc/{program.process.pid}/fd"))
