"""``python -m benchmarks.failing``: whether anything is left of thousands of connections through a proxy that fails at
every stage, by garbage, refusals, ends and resets: for a client, and for our server with that proxy as its upstream.

All are in this process, whose open files are counted, and the blocks of memory that Python's objects have.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater, react
from twisted.logger import globalLogBeginner
from typing_extensions import override

from socks5 import Rules, ServerFactory, Verdict
from socks5.client import Proxy
from socks5.client.errors import ClientError
from socks5.outbound.ways import Upstreams
from socks5.protocol.address import Address
from socks5.protocol.messages import Reply

METHOD, LOGIN, REPLY = b"\x05\x00", b"\x05\x02", Reply(0, Address("203.0.113.5", 8080)).encode()

SCRIPTS = (
    *([], [b"\xff" * 9000], [LOGIN], [LOGIN, b"\x01\x01"]),
    *([METHOD], [METHOD, b"\x05\x05"], [METHOD, REPLY[:-1]], [METHOD + REPLY]),
)
"""What the proxy says, each piece when it was asked for, before it ends the connection."""

WARM = 200
"""Rounds before anything is counted."""


class Failing(Protocol):
    """The proxy's end of a connection."""

    def __init__(self, script: list[bytes], end: str) -> None:
        self._left = [*script]
        self._end = end

    @override
    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        if self._left:
            transport.write(self._left.pop(0))
        if not self._left:
            getattr(transport, self._end)()


class Proxies(Factory):
    """All scripts in turns, with both ends."""

    noisy = False

    def __init__(self) -> None:
        ends = ("loseConnection", "abortConnection")
        self._scripts = cycle([(script, end) for script in SCRIPTS for end in ends])

    @override
    def buildProtocol(self, addr: Any) -> Protocol:
        return Failing(*next(self._scripts))


class Everywhere(Rules):
    """Sends everybody through the upstream."""

    @override
    def judge(self, access: Any, address: str | None) -> Verdict:
        return Verdict(True, "all", via="up")


def counted() -> tuple[int, int]:
    """Open files, and blocks of memory of what is used."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), sys.getallocatedblocks()


async def growth(reactor: Any, proxy: Proxy, rounds: int, sessions: Any = ()) -> tuple[int, int]:
    """What so many failures leave behind.

    :param sessions: those of the server in between, if there is one.
    """
    endpoint, factory = proxy.endpoint("192.0.2.80", 80), Factory.forProtocol(Protocol)
    before = 0, 0
    for number in range(WARM + rounds):
        if number == WARM:
            before = await _at_rest(reactor, sessions)
        try:
            await endpoint.connect(factory)
        except ClientError:
            continue
        raise RuntimeError("a connection did not fail")
    files, blocks = await _at_rest(reactor, sessions)
    return files - before[0], blocks - before[1]


async def _at_rest(reactor: Any, sessions: Any) -> tuple[int, int]:
    """Counted, once all connections are over."""
    while list(sessions):
        await deferLater(reactor, 0)
    for _ in range(20):  # who was refused closes, and then the other side
        await deferLater(reactor, 0)
    return counted()


async def measure(reactor: Any, rounds: int) -> None:
    """Do it, and print what has grown.

    :raises SystemExit: something has.
    """

    def listen(factory: Factory[Any]) -> str:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        return f"127.0.0.1:{port.getHost().port}"

    proxy = Proxy.from_url(reactor, f"socks5://alice:secret@{listen(Proxies())}")
    dialer = Upstreams(reactor, {"up": proxy})
    server = ServerFactory(reactor, rules=Everywhere(), dialer=dialer)
    front = Proxy.from_url(reactor, f"socks5://{listen(server)}")
    has_grown = False
    for name, way, sessions in (("client", proxy, ()), ("upstream", front, server.sessions)):
        begun = time.monotonic()
        files, blocks = await growth(reactor, way, rounds, sessions)
        has_grown |= files > 0 or blocks > max(rounds // 4, 100)
        seconds = time.monotonic() - begun
        sys.stdout.write(
            f"{name}: {rounds:,} failures in {seconds:.1f} s, {files:+} files, {blocks:+,} blocks of memory\n"
        )
    if has_grown:
        raise SystemExit("this grows with each failure")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.failing", description=__doc__)
    options.add_argument("--rounds", type=int, default=10_000, help="of each (%(default)s)")
    chosen = options.parse_args(arguments)

    def run(reactor: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(measure(reactor, chosen.rounds))

    # What is logged would be kept until somebody takes it.
    globalLogBeginner.beginLoggingTo([lambda event: None], redirectStandardIO=False)
    react(run)


if __name__ == "__main__":
    main()
