"""Listeners under a listener policy, on real sockets of both paths and over TLS."""

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from socks5 import ListenerPolicy, Networks
from socks5.protocol.messages import Method
from tests.protocol.test_proxy_header import line
from tests.sockets.clients import Far, Proxy, UDPClient, packed
from tests.sockets.tls import TLS
from tests.support.certificates import Authority
from tests.support.providers import Allow, Logins
from tests.support.sessions import (
    ASSOCIATE,
    GREETING,
    NO_AUTHENTICATION,
    octets,
)

pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


# ---------------------------------------------------------------- behind a balancer

BALANCED = ListenerPolicy(proxies=Networks.parse("127.0.0.1"))
TO_SERVER = octets("05 01 00")


def header(client: str = "127.0.0.9", server: str = "127.0.0.1") -> bytes:
    return line(f"TCP4 {client} {server} 5000 1080")


def behind(proxy: Proxy, octets_of_client: bytes, head: bytes = b"") -> Far:
    """A balancer's connection."""
    connection = proxy.connect(proxy.address)
    connection.send((head or header()) + octets_of_client)
    return connection


@pytest_twisted.ensureDeferred
async def test_client_behind_a_balancer_is_served(serve: Any) -> None:
    proxy = await serve(policy=BALANCED, rules=Allow())
    target = proxy.listen()
    client = behind(proxy, GREETING + TO_SERVER + packed(*target.host) + b"up")
    far, source = await target.accept()
    assert await client.receive(2) == NO_AUTHENTICATION
    assert await client.reply() == (0, source)
    assert await far.receive(2) == b"up"
    client.end()
    assert await far.rest() == b""  # half-closed
    far.send(b"down")
    far.end()
    assert await client.rest() == b"down"
    client.close()
    await proxy.gone()
    assert [record.client for record in proxy.records] == ["127.0.0.9:5000"]


@pytest_twisted.ensureDeferred
async def test_datagrams_are_pinned_to_the_client_of_the_header(serve: Any) -> None:
    proxy = await serve(policy=BALANCED, rules=Allow())
    target = proxy.datagrams()
    control = behind(proxy, GREETING + ASSOCIATE, header(server="127.0.0.5"))
    assert await control.receive(2) == NO_AUTHENTICATION
    code, relay = await control.reply()
    assert (code, relay[0]) == (0, "127.0.0.5")
    stranger, client = (proxy.datagrams(host, UDPClient) for host in ("127.0.0.1", "127.0.0.9"))
    stranger.relay = client.relay = relay
    stranger.ask(target.host)
    client.ask(target.host, b"mine")
    data, source = await target.receive()
    assert data == b"mine"
    target.send(b"yours", source)
    assert (await client.answer())[0] == b"yours"
    control.close()
    await proxy.gone()
    assert [record.dropped for record in proxy.records] == [1]


@pytest_twisted.ensureDeferred
async def test_balancer_on_a_unix_socket_is_of_this_host(serve: Any, tmp_path: Path) -> None:
    proxy = await serve(
        endpoint=f"unix:{tmp_path}/socks", policy=BALANCED, rules=(rules := Allow())
    )
    target = proxy.listen()
    client = proxy.connect(str(tmp_path / "socks"))
    client.send(header() + GREETING + TO_SERVER + packed(*target.host))
    await target.accept()
    assert {access.client for access, _ in rules.asked} == {"127.0.0.9"}
    assert await client.receive(2) == NO_AUTHENTICATION


@pytest.mark.parametrize(
    ("others", "answer"), [((), octets("05 ff")), ((Method.NO_AUTHENTICATION,), NO_AUTHENTICATION)]
)
@pytest.mark.parametrize("is_glued", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_door_for_passwords_wants_one_beside_a_certificate(
    others: tuple[int, ...], answer: bytes, is_glued: bool, serve: Any, tmp_path: Path
) -> None:
    """TLS begins behind the header, with or without a pause."""
    authority = Authority(tmp_path)
    endpoint = f"tls:0:interface=127.0.0.1:cert={authority.server()}:clients={authority.path}"
    policy = ListenerPolicy(methods=(Method.USERNAME_PASSWORD, *others), proxies=BALANCED.proxies)
    proxy = await serve(endpoint=endpoint, policy=policy, authenticator=Logins(), rules=Allow())
    connection = proxy.connect(proxy.address) if is_glued else behind(proxy, b"")
    client = TLS(connection, authority.path, authority.client("anna"))
    if is_glued:
        client.start(before=header())
    await client.handshake()
    client.send(GREETING)
    assert await client.receive(2) == answer
    if not others:
        connection.close()
        return
    target = proxy.listen()
    client.send(TO_SERVER + packed(*target.host))
    await target.accept()
    connection.close()
    await proxy.gone()
    assert [(each.user, each.client) for each in proxy.records] == [("anna", "127.0.0.9:5000")]
