"""Sessions with a security context on real sockets: Twisted's transports and our own below the tokens."""

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted

from socks5.net.connection import Connection
from socks5.protocol.address import Address
from socks5.protocol.gssapi import Protection
from socks5.protocol.messages import Request
from socks5.relay.sockets import SocketSide
from socks5.server.ends import ClientEnd
from tests.sockets.clients import Far, Proxy
from tests.sockets.wires import turn, until
from tests.support.contexts import ContextClient, FakeAcceptor, FakeInitiator
from tests.support.providers import Allow

N, I, C = Protection.NONE, Protection.INTEGRITY, Protection.CONFIDENTIALITY  # noqa: E741
SIZE = 16_000_000
"""Octets that no system's buffers take, where the readers' are small."""

SMALL = 65536

every_level = pytest.mark.parametrize("level", [N, I, C])


class Backlog:
    """Octets that a far end sends as the system takes them."""

    def __init__(self, far: Far) -> None:
        self.far = far
        self.unsent = bytearray()

    def push(self) -> None:
        if self.unsent:
            del self.unsent[: self.far.push(self.unsent[:SMALL])]


class Client(Backlog):
    """A client of RFC 1961 on a socket. Nothing is read unless it is asked for."""

    def __init__(self, far: Far, request: Request, level: Protection) -> None:
        super().__init__(far)
        self.side = ContextClient(request, FakeInitiator(), level)

    def pump(self) -> bool:
        """Send and receive what can be now.

        :returns: whether all is sent.
        """
        self.unsent += self.side.take_output()
        self.push()
        self.far.look()
        self.side.receive(bytes(self.far.octets))
        self.far.octets.clear()
        return not self.unsent

    async def until(self, condition: Callable[[], object]) -> None:
        await until(lambda: self.pump() and condition())


@pytest.fixture(name="proxy")
def proxy_with_contexts(serve: Any) -> Callable[..., Any]:
    async def start(**parameters: Any) -> Proxy:
        proxy: Proxy = await serve(gssapi=FakeAcceptor((N, I, C)), rules=Allow(), **parameters)
        return proxy

    return start


async def connect(proxy: Proxy, level: Protection) -> tuple[Client, Far]:
    """A client with a target."""
    target = proxy.listen()
    target._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    request = Request(1, Address(*target.host))
    client = Client(proxy.connect(proxy.address, receive_buffer=SMALL), request, level)
    await client.until(lambda: client.side.replies)
    far, _ = await target.accept()
    return client, far


@every_level
@pytest_twisted.ensureDeferred
async def test_much_both_ways_with_slow_readers(level: Protection, proxy: Any) -> None:
    """Neither side reads at first, so that every buffer on the way fills; then all arrives."""
    proxy = await proxy()
    client, far = await connect(proxy, level)
    [session] = proxy.factory.sessions
    is_own = type(proxy.port).__module__ == "socks5.net.ports"
    assert isinstance(session.transport, ClientEnd | Connection | SocketSide) is is_own
    up, down = os.urandom(SIZE), os.urandom(SIZE)
    client.side.send(up)
    client.unsent += client.side.take_output()
    backlog = Backlog(far)
    backlog.unsent += down
    for _ in range(200):
        backlog.push()
        client.push()
        await turn()
    assert client.unsent
    assert backlog.unsent

    def is_through() -> bool:
        backlog.push()
        client.pump()
        return len(client.side.received) == SIZE and far.count == SIZE

    await until(is_through)
    assert client.side.received == down
    assert far.value() == up
    client.far.close()
    far.close()
    await proxy.gone()


@pytest.mark.parametrize("level", [I, C])
@pytest_twisted.ensureDeferred
async def test_a_reset_comes_behind_what_was_sent_before(level: Protection, proxy: Any) -> None:
    proxy = await proxy()
    client, far = await connect(proxy, level)
    far.send(b"last words")
    far.reset()
    await client.until(lambda: client.far.sees)
    assert client.side.received == b"last words"
    assert client.far.sees == "reset"
    client.far.close()
    await proxy.gone()
