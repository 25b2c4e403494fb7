"""CONNECT and BIND on real sockets: what the system makes of replies, ends and resets, and the port that nobody is
left behind. What holds on every way to a target is in ``test_ways_sockets.py``.
"""

import socket
from typing import Any

import pytest
import pytest_twisted

from tests.sockets.clients import Far, Proxy, family_of, packed
from tests.sockets.wires import until
from tests.support import sessions

BOTH_FAMILIES = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


async def urgent_octets_pass(sender: Far, receiver: Far) -> None:
    """As FTP's ABOR, whose last octet is one."""
    sender.send(b"RETR file\r\n")
    sender.urge(b"ABOR\r\n")
    sender.send(b"QUIT\r\n")
    assert await receiver.receive(23) == b"RETR file\r\nABOR\r\nQUIT\r\n"


# ---------------------------------------------------------------- CONNECT


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_the_reply_has_what_the_target_sees_and_urgent_octets_stay_in_their_place(
    serve: Any, host: str
) -> None:
    proxy: Proxy = await serve()
    target = proxy.listen(host)
    client = await proxy.client(1, packed(*target.host))
    far, source = await target.accept()
    assert await client.reply() == (0, source)
    await urgent_octets_pass(client, far)
    await urgent_octets_pass(far, client)


@pytest_twisted.ensureDeferred
async def test_an_urgent_octet_of_a_message_is_one_of_the_message(serve: Any) -> None:
    proxy = await serve()
    client = proxy.connect(proxy.address)
    client.urge(sessions.GREETING)
    assert await client.receive(2) == sessions.NO_AUTHENTICATION
    client.urge(b"\x05\x01\x00" + packed(*proxy.refusing()))
    assert await client.rest() == sessions.refusal(5)


@pytest_twisted.ensureDeferred
async def test_octets_behind_a_failed_request_do_not_destroy_the_reply(serve: Any) -> None:
    """Unread octets would turn our close into a reset, which can overtake the reply."""
    proxy = await serve()
    client = await proxy.client(1, packed(*proxy.refusing()), b"x" * 10_000)
    await until(lambda: proxy.counters.replies[5])
    client.send(b"x" * 100_000)
    assert await client.rest() == sessions.refusal(5)
    client.send(b"x" * 100_000)
    client.close()
    await proxy.gone()
    assert client.sees == "end"


# ---------------------------------------------------------------- BIND


async def listening(proxy: Proxy, host: str) -> tuple[Far, tuple[str, int]]:
    """A client that has its first reply, and the address in it."""
    client = await proxy.client(2, packed(host, 0))
    code, bound = await client.reply()
    assert code == 0
    return client, bound


def is_closed(address: tuple[str, int]) -> bool:
    """Whether nobody listens there."""
    with socket.socket(family_of(address[0])) as probe:
        return probe.connect_ex(address) != 0


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_a_named_peer_is_joined_and_its_urgent_octets_stay_in_their_place(
    serve: Any, host: str
) -> None:
    """Over IPv6 too, where the control connection is IPv4. The port closes behind the peer."""
    proxy = await serve()
    client, bound = await listening(proxy, host)
    peer = proxy.connect(bound)
    assert await client.reply() == (0, peer.host)
    await until(lambda: is_closed(bound))
    await urgent_octets_pass(client, peer)
    await urgent_octets_pass(peer, client)


@pytest.mark.parametrize("leave", [Far.close, Far.reset])
@pytest_twisted.ensureDeferred
async def test_port_closes_when_the_client_leaves(serve: Any, leave: Any) -> None:
    # The peer does not come: who looks whether the port is closed is a stranger.
    client, bound = await listening(await serve(), "127.0.0.9")
    assert not is_closed(bound)
    leave(client)
    await until(lambda: is_closed(bound))
