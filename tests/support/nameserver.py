"""What a name server sends, octet by octet, and one in memory."""

import socket
import struct
from collections.abc import Callable
from typing import Any

NO_SUCH_NAME, SERVER_FAILURE, REFUSED = 3, 2, 5


def record(owner: bytes, kind: int, data: bytes, lifetime: int = 300, network: int = 1) -> bytes:
    """A resource record."""
    return owner + struct.pack("!HHIH", kind, network, lifetime, len(data)) + data


def A(owner: bytes, host: str, lifetime: int = 300) -> bytes:  # noqa: N802
    return record(owner, 1, socket.inet_pton(socket.AF_INET, host), lifetime)


def AAAA(owner: bytes, host: str, lifetime: int = 300) -> bytes:  # noqa: N802
    return record(owner, 28, socket.inet_pton(socket.AF_INET6, host), lifetime)


def CNAME(owner: bytes, alias: bytes, lifetime: int = 300) -> bytes:  # noqa: N802
    return record(owner, 5, alias, lifetime)


def SOA(owner: bytes, lifetime: int, minimum: int) -> bytes:  # noqa: N802
    return record(owner, 6, b"\0\0" + bytes(16) + struct.pack("!I", minimum), lifetime)


def message(
    asked: bytes,
    answers: list[bytes],
    authorities: list[bytes] | None = None,
    code: int = 0,
    flags: int = 0x8180,
) -> bytes:
    """An answer to a question."""
    denials = authorities or []
    counts = struct.pack("!5H", flags | code, 1, len(answers), len(denials), 0)
    return asked[:2] + counts + asked[12:] + b"".join(answers) + b"".join(denials)


def name_of(asked: bytes) -> str:
    """The name in a question."""
    octets, labels = asked[12:-4], []
    while octets[0]:
        labels.append(octets[1 : 1 + octets[0]].decode())
        octets = octets[1 + octets[0] :]
    return ".".join(labels)


def kind_of(asked: bytes) -> str:
    """The type in a question."""
    return {1: "A", 28: "AAAA"}[asked[-3]]


class NameServers:
    """Name servers in memory, as what opens channels to them.

    ``asked`` holds (server, name, type) of each question; ``open`` the channels that are open. A question waits
    for :meth:`answer` or :meth:`refuse`.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.channels: list[FakeChannel] = []
        self.unreachable: set[str] = set()

    def __call__(
        self,
        reactor: Any,
        server: str,
        port: int,
        received: Callable[[bytes], None],
        refused: Callable[[], None],
    ) -> "FakeChannel":
        if server in self.unreachable:
            raise OSError("no route")
        self.channels.append(FakeChannel(self, server, received, refused))
        return self.channels[-1]

    @property
    def open(self) -> list[str]:
        """The servers to which channels are open."""
        return [each.server for each in self.channels if each.is_open]

    def question(self, name: str, kind: str, server: str | None = None) -> "tuple[Any, bytes]":
        """The channel of the latest such question, and its octets."""
        return next(
            (channel, asked)
            for channel in reversed(self.channels)
            for asked in channel.sent
            if (name_of(asked), kind_of(asked)) == (name, kind) and server in (None, channel.server)
        )

    def answer(
        self, name: str, kind: str, *hosts: str, server: str | None = None, **options: Any
    ) -> None:
        """Answer a question with addresses; without any, and with no code, deny that there are some."""
        channel, asked = self.question(name, kind, server)
        make = A if kind == "A" else AAAA
        lifetime = options.pop("lifetime", 300)
        records = [make(b"\xc0\x0c", host, lifetime) for host in hosts]
        channel.received(message(asked, records, **options))


class FakeChannel:
    """One channel."""

    def __init__(
        self,
        servers: NameServers,
        server: str,
        received: Callable[[bytes], None],
        refused: Callable[[], None],
    ) -> None:
        self.server = server
        self.received, self.refused = received, refused
        self.sent: list[bytes] = []
        self.is_open = True
        self._servers = servers

    def send(self, datagram: bytes) -> None:
        self.sent.append(datagram)
        self._servers.asked.append((self.server, name_of(datagram), kind_of(datagram)))

    def close(self) -> None:
        self.is_open = False
