"""Sessions with a security context on real sockets: Twisted's transports and our own below the tokens."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from socks5.net.connection import Connection
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from socks5.protocol.gssapi import Protection
from socks5.protocol.messages import Request
from tests.sockets.clients import Datagrams, Far, Proxy
from tests.sockets.tls import TLS
from tests.sockets.wires import turn, until
from tests.support.certificates import Authority
from tests.support.contexts import ContextClient, FakeAcceptor, FakeInitiator
from tests.support.providers import Allow

N, I, C = Protection.NONE, Protection.INTEGRITY, Protection.CONFIDENTIALITY  # noqa: E741
SIZE = 16_000_000
"""Octets that no system's buffers take, where the readers' are small."""

SMALL = 65536

every_level = pytest.mark.parametrize("level", [N, I, C])


class Client:
    """A client of RFC 1961 on a socket. Nothing is read unless it is asked for."""

    def __init__(self, far: Far, request: Request, level: Protection) -> None:
        self.far = far
        self.side = ContextClient(request, FakeInitiator(), level)
        self.unsent = bytearray()

    def push(self) -> None:
        """Send what the system takes now."""
        if self.unsent:
            del self.unsent[: self.far.push(self.unsent[:SMALL])]

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

    async def established(self) -> Address:
        await self.until(lambda: self.side.replies)
        return self.side.bound


class Backlog:
    """Octets that a far end sends as the system takes them."""

    def __init__(self, far: Far, data: bytes) -> None:
        self._far = far
        self.unsent = bytearray(data)

    def push(self) -> None:
        if self.unsent:
            del self.unsent[: self._far.push(self.unsent[:SMALL])]


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
    await client.established()
    far, _ = await target.accept()
    return client, far


@every_level
@pytest_twisted.ensureDeferred
async def test_octets_both_ways_and_half_closes(level: Protection, proxy: Any) -> None:
    proxy = await proxy()
    client, far = await connect(proxy, level)
    client.side.send(b"question")
    await client.until(lambda: far.value() == b"question")
    client.far.end()
    await until(far.sees_now)
    assert far.sees == "end"
    far.send(b"answer")
    await client.until(lambda: client.side.received == b"answer")
    far.close()
    await until(client.far.sees_now)
    assert client.far.sees == "end"
    client.far.close()
    await proxy.gone()
    [record] = proxy.records
    assert (record.user, record.bytes_up, record.bytes_down) == ("alice", 8, 6)


@every_level
@pytest_twisted.ensureDeferred
async def test_much_both_ways_with_slow_readers(level: Protection, proxy: Any) -> None:
    """Neither side reads at first, so that every buffer on the way fills; then all arrives."""
    proxy = await proxy()
    client, far = await connect(proxy, level)
    up, down = os.urandom(SIZE), os.urandom(SIZE)
    client.side.send(up)
    client.unsent += client.side.take_output()
    backlog = Backlog(far, down)
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


@pytest_twisted.ensureDeferred
async def test_a_changed_token_resets_the_target(proxy: Any) -> None:
    proxy = await proxy()
    client, far = await connect(proxy, I)
    client.far.send(client.side.seal(b"hello"))
    await until(lambda: far.value() == b"hello")
    changed = client.side.seal(b"world")
    client.far.send(changed[:-1] + b"!")
    await until(far.sees_now)
    assert far.sees == "reset"
    await until(client.far.sees_now)
    assert client.far.octets == b"\1\xff"
    client.far.close()
    await proxy.gone()
    assert proxy.counters.violations == 1


@every_level
@pytest_twisted.ensureDeferred
async def test_datagrams_both_ways(level: Protection, proxy: Any) -> None:
    proxy = await proxy()
    control = Client(proxy.connect(proxy.address), Request(3, Address("0.0.0.0", 0)), level)
    bound = await control.established()
    relay = (bound.text, bound.port)
    side = control.side
    target: Datagrams = proxy.datagrams()
    client: Datagrams = proxy.datagrams()
    for payload in (b"", b"ping", bytes(9000)):
        datagram = Datagram(Address(*target.host), payload).encode()
        client.send(side.seal(datagram) if side.is_protected else datagram, relay)
        data, sender = await target.receive()
        assert data == payload
        target.send(payload, sender)
        data, sender = await client.receive()
        assert sender == relay
        answer = side.open_datagram(data) if side.is_protected else data
        assert Datagram.decode(answer) == Datagram(Address(*target.host), payload)
    assert not proxy.counters.dropped
    control.far.close()
    await proxy.gone()


@pytest_twisted.ensureDeferred
async def test_without_protection_our_own_transports_stay(proxy: Any) -> None:
    proxy = await proxy()
    client, far = await connect(proxy, N)
    [session] = proxy.factory.sessions
    is_own = type(proxy.port).__module__ == "socks5.net.ports"
    assert isinstance(session.transport, Connection) is is_own
    client.far.close()
    far.close()
    await proxy.gone()


@pytest_twisted.ensureDeferred
async def test_tokens_over_tls(proxy: Any, tmp_path: Path) -> None:
    """The end is TLS's there: what came before it arrives, and the target sees an end."""
    authority = Authority(tmp_path)
    endpoint = f"tls:0:interface=127.0.0.1:cert={authority.server()}"
    proxy = await proxy(endpoint=endpoint)
    target = proxy.listen()
    tls = TLS(proxy.connect(proxy.address), authority.path)
    await tls.handshake()
    side = ContextClient(Request(1, Address(*target.host)), FakeInitiator(), C)
    # The greeting's answer, the messages with the key and the level, and the reply: see FakeContext.
    for size in (2, 4 + 8, 4 + 27, 4 + 26 + 10):
        tls.send(side.take_output())
        side.receive(await tls.receive(size))
    assert side.bound
    far, _ = await target.accept()
    side.send(b"over both")
    tls.send(side.take_output())
    assert await far.receive(9) == b"over both"
    side.send(b"!")
    tls.send(side.take_output())
    tls.far.close()
    assert await far.rest() == b"!"
    await proxy.gone()
