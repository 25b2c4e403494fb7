"""BIND on real sockets: the peer's connection, and the port that nobody is left behind."""

import socket
from typing import Any

import pytest
import pytest_twisted

from tests.sockets.clients import Far, Proxy, family_of, packed
from tests.sockets.wires import until

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
async def test_stranger_is_closed_and_the_wait_goes_on(serve: Any) -> None:
    proxy = await serve()
    client, bound = await listening(proxy)
    stranger = proxy.connect(bound, source="127.0.0.9")
    await until(stranger.sees_now)
    peer = proxy.connect(bound)
    assert await client.reply() == (0, peer.host)


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
