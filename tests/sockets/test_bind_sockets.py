"""BIND on real sockets: the peer's connection, and the port that nobody is left behind."""

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from socks5.server import bind
from tests.sockets.clients import Far, Proxy, family_of, packed
from tests.sockets.wires import turn, until
from tests.support import sessions
from tests.support.failures import Failures

BOTH_FAMILIES = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


async def listening(
    proxy: Proxy, host: str | bytes = "127.0.0.1", more: bytes = b""
) -> tuple[Far, tuple[str, int]]:
    """A client that has its first reply, and the address in it."""
    client = await proxy.client(2, packed(host, 0), more)
    code, bound = await client.reply()
    assert code == 0
    return client, bound


async def joined(proxy: Proxy, host: str = "127.0.0.1") -> tuple[Far, Far]:
    """A client that has both replies, and its peer."""
    client, bound = await listening(proxy, host)
    peer = proxy.connect(bound)
    assert await client.reply() == (0, peer.host)
    return client, peer


ELSEWHERE = "127.0.0.9"
"""A named peer that does not come: who looks whether the port is closed is a stranger."""


def is_closed(address: tuple[str, int]) -> bool:
    """Whether nobody listens there."""
    with socket.socket(family_of(address[0])) as probe:
        return probe.connect_ex(address) != 0


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_named_peer_is_joined(serve: Any, host: str) -> None:
    """Over IPv6 too, where the control connection is IPv4."""
    client, peer = await joined(await serve(), host)
    peer.send(b"down")
    client.send(b"up")
    assert await client.receive(4) == b"down"
    assert await peer.receive(2) == b"up"


@pytest_twisted.ensureDeferred
async def test_urgent_octets_of_a_peer_stay_in_their_place(serve: Any) -> None:
    client, peer = await joined(await serve())
    peer.urge(b"up to here!")
    peer.send(b" and on")
    assert await client.receive(18) == b"up to here! and on"


@pytest_twisted.ensureDeferred
async def test_peer_may_be_named_by_a_name(serve: Any) -> None:
    proxy = await serve()
    client, bound = await listening(proxy, b"localhost")
    peer = proxy.connect(bound)
    assert await client.reply() == (0, peer.host)


@pytest_twisted.ensureDeferred
async def test_zeros_let_anyone_come(serve: Any) -> None:
    proxy = await serve()
    client, bound = await listening(proxy, "0.0.0.0")
    peer = proxy.connect(bound, source="127.0.0.9")
    assert await client.reply() == (0, peer.host)


@pytest_twisted.ensureDeferred
async def test_stranger_is_closed_and_the_wait_goes_on(serve: Any) -> None:
    proxy = await serve()
    client, bound = await listening(proxy)
    stranger = proxy.connect(bound, source="127.0.0.9")
    await until(stranger.sees_now)
    peer = proxy.connect(bound)
    assert await client.reply() == (0, peer.host)


@pytest_twisted.ensureDeferred
async def test_bug_once_the_peer_is_there_leaves_nothing_open(
    serve: Any, monkeypatch: pytest.MonkeyPatch, failures: Failures
) -> None:
    monkeypatch.setattr(bind, "far_end", lambda _: 1 / 0)
    proxy = await serve()
    client, bound = await listening(proxy)
    peer = proxy.connect(bound)
    assert (await client.reply())[0] == 1
    await until(peer.sees_now)
    client.close()
    await until(lambda: not list(proxy.factory.sessions))
    assert failures.take(ZeroDivisionError) == ["division by zero"]


@pytest_twisted.ensureDeferred
async def test_port_closes_behind_the_peer(serve: Any) -> None:
    proxy = await serve()
    _, bound = await listening(proxy)
    peer = proxy.connect(bound)
    await until(lambda: is_closed(bound))
    assert peer.sees_now() == ""


@pytest.mark.parametrize("leave", [Far.close, Far.reset])
@pytest_twisted.ensureDeferred
async def test_port_closes_when_the_client_leaves(serve: Any, leave: Any) -> None:
    client, bound = await listening(await serve(), ELSEWHERE)
    assert not is_closed(bound)
    leave(client)
    await until(lambda: is_closed(bound))


@pytest_twisted.ensureDeferred
async def test_wait_is_bounded(serve: Any) -> None:
    clock = Clock()
    client, bound = await listening(await serve(clock=clock), ELSEWHERE)
    clock.advance(59.99)
    await turn()
    assert not is_closed(bound)
    clock.advance(0.01)
    assert await client.rest() == sessions.refusal(6)
    await until(lambda: is_closed(bound))


@pytest_twisted.ensureDeferred
async def test_octets_and_an_end_before_the_peer_are_kept(serve: Any) -> None:
    proxy = await serve()
    client, bound = await listening(proxy, more=b"a file")
    client.end()
    peer = proxy.connect(bound)
    assert await client.reply() == (0, peer.host)
    assert await peer.rest() == b"a file"
    peer.send(b"thanks")
    peer.close()
    assert await client.rest() == b"thanks"


@pytest.mark.parametrize("is_client_first", [False, True])
@pytest_twisted.ensureDeferred
async def test_an_end_passes_and_the_other_direction_goes_on(
    serve: Any, is_client_first: bool
) -> None:
    proxy = await serve()
    client, peer = await joined(proxy)
    first, other = (client, peer) if is_client_first else (peer, client)
    first.end()
    assert await other.rest() == b""
    other.send(b"still here")
    other.close()
    assert await first.rest() == b"still here"
    assert (first.sees, other.sees) == ("end", "end")
    await proxy.gone()
