"""A proxy, in memory, that does at a stage what it should not; and what is to come of it for whoever goes through it.

It is alone or one of two, over TCP or TLS. The tests of clients and those of upstreams play the same :data:`CELLS`.
"""

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet import ssl as client_ssl

from socks5.client import Proxy
from tests.support.certificates import Authority
from tests.support.memory import octets_held_by
from tests.support.reactor import FakeReactor
from tests.support.through import LOGIN, METHOD, OK
from tests.support.transports import FakeTransport

CAME = bytes.fromhex("05 00 00 01 c0000250 0014")
"""The second reply to a BIND: 192.0.2.80, from port 20."""

ACCEPTED = b"\1\0"
HTTP_OK = b"HTTP/1.1 200 OK\r\n\r\n"
BEHIND = b"hi"
"""What the target, or the peer, says first."""

FLOOD = [b"\xff" * 4096] * 64

HOSTS = ("192.0.2.1:1080", "192.0.2.2:1080")


@dataclass(frozen=True)
class Over:
    """Hops, and which of them is hostile."""

    schemes: tuple[str, ...]
    at: int = 0

    @property
    def scheme(self) -> str:
        return self.schemes[self.at]

    @property
    def hop(self) -> int:
        return self.at + 1

    @property
    def is_last(self) -> bool:
        return self.hop == len(self.schemes)

    @property
    def stages(self) -> Sequence[str]:
        if self.scheme == "http":
            return ("reply",)
        stages = ["method", "login", "reply"]
        return ["tls"] * (self.scheme == "socks5s") + stages + ["peer"] * self.is_last

    def urls(self, *where: str) -> list[str]:
        """Of the hops, the hostile one with a login. *where* they are: host and port."""
        return [
            f"{scheme}://{'alice:secret@' if at == self.at else ''}{host}"
            for at, (scheme, host) in enumerate(zip(self.schemes, where or HOSTS, strict=False))
        ]

    def due(self, stage: str, is_bind: bool) -> list[bytes]:
        """What a proxy that keeps to the RFC says from a stage on, each at its time."""
        if self.scheme == "http":
            return [HTTP_OK]
        beyond = [METHOD, OK] * (len(self.schemes) - self.hop)
        answers = [LOGIN, ACCEPTED, OK, *beyond, *([CAME] if is_bind else [])]
        return answers[{"tls": 0, "method": 0, "login": 1, "reply": 2, "peer": 3}[stage] :]

    @property
    def refusal(self) -> bytes:
        """REP 2, or what comes to that."""
        return b"HTTP/1.1 403 No\r\n\r\n" if self.scheme == "http" else b"\5\2" + OK[2:]


OVERS = {
    "TCP": Over(("socks5",)),
    "TLS": Over(("socks5s",)),
    "the first of two": Over(("socks5", "socks5")),
    "the second of two": Over(("socks5", "socks5"), 1),
    "TLS, the second of two": Over(("socks5", "socks5s"), 1),
    "HTTP": Over(("http",)),
}

DOES = (
    *("silence", "end", "reset", "octet by octet", "all glued", "garbage", "twice what is due"),
    *("twice a refusal", "a goodbye", "given up"),
)
ONLY_AT = {"twice a refusal": ("reply", "peer"), "a goodbye": ("method", "login", "reply", "peer")}


@dataclass(frozen=True)
class Fate:
    """What comes of it.

    :param kind: ``through``, ``given up``, ``refused``; ``silent``, ``closed``, ``unreachable`` and ``wrong`` are the
        client's errors.
    """

    kind: str
    stage: str = ""
    hop: int = 1


@dataclass(frozen=True)
class Cell:
    """A proxy that does so at that stage."""

    over: Over
    stage: str
    does: str

    @property
    def fate(self) -> Fate:
        over, stage, does, hop = self.over, self.stage, self.does, self.over.hop
        if does == "given up":
            return Fate("given up")
        if does == "silence":
            return Fate("silent", stage, hop)
        if does in ("end", "reset", "a goodbye"):
            return Fate("unreachable" if stage == "tls" else "closed", stage, hop)
        if does == "garbage":
            return Fate("unreachable" if stage == "tls" else "wrong", stage, hop)
        if does == "twice a refusal":
            return (
                Fate("refused", stage, hop) if over.is_last else Fate("unreachable", "connect", 2)
            )
        if does == "octet by octet":
            return Fate("through")
        if stage == "tls":  # which is complete with the first flight
            kind = "wrong" if does == "all glued" else "unreachable"
            return Fate(kind, "method", hop)
        if stage in ("method", "login"):
            return Fate("wrong", stage, hop)
        return Fate("through") if over.is_last else Fate("wrong", "method", 2)

    @property
    def has_asked(self) -> bool:
        """Whether its end came when the last proxy had been asked for the target."""
        return self.over.is_last and self.fate.stage in ("reply", "peer")

    @property
    def code(self) -> int:
        """The REP octet for the client of a server that has no other upstream."""
        kind = self.fate.kind
        return 2 if kind == "refused" else 6 if kind == "silent" and self.has_asked else 1


def _cells() -> Iterator[tuple[str, Cell]]:
    for name, over in OVERS.items():
        for stage in over.stages:
            for does in DOES:
                is_tls = over.scheme == "socks5s"
                if stage in ONLY_AT.get(does, stage) and (is_tls or does != "a goodbye"):
                    yield f"{name}, {stage}, {does}", Cell(over, stage, does)


CELLS = dict(_cells())


ASSOCIATING = {
    name: cell for name, cell in CELLS.items() if cell.over == OVERS["TCP"] and cell.stage != "peer"
}
"""What may become of UDP ASSOCIATE."""

ROUNDS = [
    cell
    for cell in CELLS.values()
    if cell.fate.kind != "through" and "socks5s" not in cell.over.schemes
]
"""What fails, but for TLS, which takes its time."""


@cache
def certified() -> tuple[ssl.SSLContext, Any]:
    """A server's context for TLS, and the options of a client that trusts it alone."""
    with TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.server())
        root = client_ssl.Certificate.loadPEM(authority.path.read_bytes())
        roots = client_ssl.trustRootFromCertificates([root])
        return context, client_ssl.optionsForClientTLS("localhost", roots)


def proxies_of(reactor: Any, over: Over, *where: str) -> Proxy:
    """A client's way through such hops."""
    trusting = {True: certified()[1], False: None}
    ways = [
        Proxy.from_url(reactor, url, tls=trusting[url.startswith("socks5s:")])
        for url in over.urls(*where)
    ]
    return Proxy.chain(reactor, ways)


class Hostile:
    """The proxy: it has kept to the RFC until the stage, at which it stands.

    :param reactor: of whoever goes through it.
    :param transport: his.
    """

    def __init__(self, cell: Cell, reactor: FakeReactor, transport: FakeTransport) -> None:
        self.cell = cell
        self.reactor = reactor
        self.transport = transport
        self._tls: Any = None
        over, stage = cell.over, cell.stage
        for _ in range(over.at):
            self.say(METHOD)
            self._heard()
            self.say(OK)
        if over.scheme == "socks5s":
            self._begin_tls()
            if stage != "tls":
                self._shake_hands(_whole)
        is_bind = stage == "peer"
        first = over.due("method", is_bind)
        self.due = over.due(stage, is_bind)
        self.say(*first[: len(first) - len(self.due)])

    def say(self, *pieces: bytes) -> None:
        """Each in a segment of its own, once the one before was answered."""
        for piece in pieces:
            self._send(piece if self._tls is None else self._wrapped(piece))

    def _send(self, data: bytes) -> None:
        self.reactor.turn()
        self.transport.deliver(data)
        self.reactor.turn()

    def _heard(self) -> bytes:
        self.reactor.turn()
        heard = self.transport.value()
        self.transport.clear()
        return heard

    def _begin_tls(self) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = certified()[0].wrap_bio(self._in, self._out, server_side=True)

    def _flight(self) -> bytes:
        """What TLS says next."""
        self._in.write(self._heard())
        with suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._out.read()

    def _shake_hands(self, cut: Callable[[bytes], Sequence[bytes]]) -> None:
        for _ in range(2):
            for piece in cut(self._flight()):
                self._send(piece)

    def _wrapped(self, data: bytes) -> bytes:
        self._tls.write(data)
        wrapped: bytes = self._out.read()
        return wrapped

    def do(self) -> None:
        """What it does."""
        _DOES[self.cell.does](self)

    def _end(self) -> None:
        self.transport.deliver_end()
        self.reactor.turn()

    def _reset(self) -> None:
        self.transport.deliver_reset()

    def _say_goodbye(self) -> None:
        with suppress(ssl.SSLError):  # it has not read all that was said to it
            self._tls.unwrap()
        self._send(self._out.read())

    def _say_octet_by_octet(self) -> None:
        if self.cell.stage == "tls":
            self._shake_hands(_octets)
        self.say(*_octets(b"".join(self.due) + BEHIND))

    def _say_all_at_once(self) -> None:
        if self.cell.stage == "tls":
            self._shake_hands(_whole)
        self.say(b"".join(self.due) + BEHIND)

    def _say_garbage(self) -> None:
        say = self._send if self.cell.stage == "tls" else self.say
        for piece in FLOOD:
            if self.transport.connected:
                say(piece)

    def _say_it_twice(self) -> None:
        if self.cell.stage == "tls":
            self._send(self._flight() * 2)
        else:
            self.say(self.due[0] * 2)

    def _refuse_twice(self) -> None:
        self.say(self.cell.over.refusal * 2)

    @property
    def has_gone(self) -> bool:
        """Whether the connection is closed."""
        self.reactor.turn()
        return not self.transport.connected

    def keeps_little(self, outcome: Any) -> bool:
        """Whether of all that it has said hardly anything is kept: by the connection not even what has come together,
        unless that was within TLS, and in the traceback of an outcome little more than that.
        """
        connection, piece = self.transport.protocol, len(FLOOD[0])
        at_once = self._tls is not None or octets_held_by(connection) < piece
        return at_once and octets_held_by([connection, outcome]) < 4 * piece


def _whole(data: bytes) -> Sequence[bytes]:
    return [data]


def _octets(data: bytes) -> Sequence[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


_DOES: dict[str, Callable[[Hostile], object]] = {
    "silence": bool,
    "given up": bool,
    "end": Hostile._end,
    "reset": Hostile._reset,
    "a goodbye": Hostile._say_goodbye,
    "octet by octet": Hostile._say_octet_by_octet,
    "all glued": Hostile._say_all_at_once,
    "garbage": Hostile._say_garbage,
    "twice what is due": Hostile._say_it_twice,
    "twice a refusal": Hostile._refuse_twice,
}
