"""``python -m benchmarks.through``: what a connection through a proxy costs a Twisted program by our endpoint, beside
one whose protocol says and awaits the octets of the handshake itself, behind Twisted's endpoint.

The proxy is a process of its own that says what it must and connects to nobody. Processor time of this process alone.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import react
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.client import Proxy
from socks5.protocol.address import Address
from socks5.protocol.messages import Command, Reply, Request

TARGET = Address("192.0.2.1", 80)
GREETING, METHOD = b"\x05\x01\x00", b"\x05\x00"
REQUEST = Request(Command.CONNECT, TARGET).encode()
REPLY = Reply(0, Address("203.0.113.5", 8080)).encode()


def serve(listening: socket.socket) -> None:
    """Let everybody through, one by one."""
    while True:
        client, _ = listening.accept()
        with client:
            for due, answer in ((GREETING, METHOD), (REQUEST, REPLY)):
                client.recv(len(due), socket.MSG_WAITALL)
                client.sendall(answer)
            client.recv(1)


class Connected(Protocol):
    """Has what it wants, and closes."""

    def __init__(self, done: Deferred[None]) -> None:
        self.done = done

    @override
    def connectionMade(self) -> None:
        self.close()

    def close(self) -> None:
        """Close."""
        assert self.transport is not None
        self.transport.loseConnection()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.done.callback(None)


class ByHand(Connected):
    """Says the octets itself."""

    received = b""

    @override
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(GREETING)

    @override
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.received += data
        if self.received == METHOD:
            self.transport.write(REQUEST)
        elif len(self.received) == len(METHOD + REPLY):
            self.close()


class Once(Factory):
    """Builds one protocol."""

    noisy = False

    def __init__(self, kind: Callable[[Deferred[None]], Protocol]) -> None:
        self.done: Deferred[None] = Deferred()
        self._kind = kind

    @override
    def buildProtocol(self, addr: Any) -> Protocol:
        return self._kind(self.done)


async def microseconds(endpoint: IStreamClientEndpoint, kind: type[Connected], count: int) -> float:
    """What a connection costs."""
    begun = time.process_time()
    for _ in range(count):
        factory = Once(kind)
        await endpoint.connect(factory)
        await factory.done
    return (time.process_time() - begun) / count * 1e6


async def measure(reactor: Any, port: int, count: int, rounds: int) -> None:
    """Let both take turns, and print the least of each."""
    ways: list[tuple[IStreamClientEndpoint, type[Connected]]] = [
        (TCP4ClientEndpoint(reactor, "127.0.0.1", port), ByHand),
        (
            Proxy.from_url(reactor, f"socks5://127.0.0.1:{port}").endpoint("192.0.2.1", 80),
            Connected,
        ),
    ]
    found = [[await microseconds(*way, count) for way in ways] for _ in range(rounds)]
    by_hand, ours = (min(column) for column in zip(*found, strict=True))
    sys.stdout.write(f"by hand {by_hand:.0f} µs, ours {ours:.0f} µs, {ours / by_hand:.2f}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.through", description=__doc__)
    options.add_argument("--connections", type=int, default=1000, help="of a round (%(default)s)")
    options.add_argument("--rounds", type=int, default=5, help="the best one counts (%(default)s)")
    chosen = options.parse_args(arguments)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = get_context("fork").Process(target=serve, args=(listening,), daemon=True)
        proxy.start()
        port = listening.getsockname()[1]

        def run(reactor: Any) -> Deferred[None]:
            return Deferred.fromCoroutine(measure(reactor, port, chosen.connections, chosen.rounds))

        try:
            react(run)
        finally:
            proxy.terminate()
            proxy.join()


if __name__ == "__main__":
    main()
