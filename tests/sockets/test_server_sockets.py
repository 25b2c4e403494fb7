"""The server's face on real sockets: transports of every kind, listeners under a policy, and how the system sees a
session end.
"""

import socket
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from socks5 import ListenerPolicy, Networks, Settings
from socks5.access import ALLOWED, Verdict
from socks5.outbound.direct import DirectDialer
from socks5.protocol.messages import Method
from tests.protocol.test_proxy_header import line
from tests.sockets.clients import Far, Proxy, UDPClient, packed
from tests.sockets.tls import TLS
from tests.sockets.wires import PATIENCE, WithoutPoller, turn, until
from tests.support.certificates import Authority, self_signed
from tests.support.providers import Allow, FakeResolver, Logins
from tests.support.sessions import (
    ASSOCIATE,
    GREETING,
    LOGIN,
    NO_AUTHENTICATION,
    PASSWORD_GREETING,
    octets,
    refusal,
)

MUCH = bytes(1 << 26)
"""More than all buffers on a way hold."""


async def echoed(proxy: Proxy, client: Far) -> tuple[Far, Far]:
    """The client has sent its greeting; let it CONNECT, and let octets pass both ways."""
    target = proxy.listen()
    client.send(octets("05 01 00") + packed(*target.host))
    far, source = await target.accept()
    assert await client.receive(2) == NO_AUTHENTICATION
    assert await client.reply() == (0, source)
    client.send(b"up")
    far.send(b"down")
    assert await far.receive(2) == b"up"
    assert await client.receive(4) == b"down"
    return client, far


# ---------------------------------------------------------------- kinds of transport


@pytest_twisted.ensureDeferred
async def test_unix_client_is_served(serve: Any, tmp_path: Path) -> None:
    """Whatever networks may come, for it is of none; and urgent octets stay in their place."""
    path = str(tmp_path / "socks")
    others = ListenerPolicy(clients=Networks.parse("127.0.0.2"))
    proxy = await serve(endpoint=f"unix:{path}", policy=others, rules=(rules := Allow()))
    client = proxy.connect(path)
    client.send(GREETING)
    _, far = await echoed(proxy, client)
    client.urge(b"ABOR\r\n")
    client.send(b"QUIT\r\n")
    assert await far.receive(12) == b"ABOR\r\nQUIT\r\n"
    assert {access.client for access, _ in rules.asked} == {""}
    client.end()
    control = await proxy.client(3, packed("0.0.0.0", 0), address=path)
    code, bound = await control.reply()
    assert (code, bound[0]) == (0, "127.0.0.1")


@pytest.mark.parametrize(("is_refused", "seconds"), [(False, 12), (True, 2)])
@pytest_twisted.ensureDeferred
async def test_tls_client_that_does_not_answer_the_close_is_gone_in_time(
    serve: Any, tmp_path: Path, is_refused: bool, seconds: float
) -> None:
    """Whether it was silent from the start, or has got its failure. Over TLS of Twisted's, urgent octets stay in
    their place too.
    """
    clock = Clock()
    pem = self_signed(tmp_path)
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}"
    proxy = await serve(endpoint=endpoint, clock=clock)
    client = TLS(proxy.connect(proxy.address), pem)
    await client.handshake()
    (session,) = proxy.factory.sessions
    assert session.transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)
    if is_refused:
        client.send(GREETING + octets("05 01 00") + packed(*proxy.refusing()))
        assert await client.receive(12) == NO_AUTHENTICATION + refusal(5)
    clock.advance(seconds - 2)
    await turn()
    clock.advance(2)
    await proxy.gone()


@pytest_twisted.ensureDeferred
async def test_who_takes_too_many_steps_of_tlss_own_is_cut_off_over_tls_of_twisteds_too(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = self_signed(tmp_path)
    proxy = await serve(endpoint=f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}")
    client = TLS(proxy.connect(proxy.address), pem)
    await client.handshake()
    monkeypatch.setattr("socks5.net.tls.MAX_STEPS", 10)
    client.send(GREETING)
    await until(client.far.sees_now)
    assert client.far.sees == "reset"
    await proxy.gone()


# ---------------------------------------------------------------- all sessions


async def stalled(proxy: Proxy) -> Far:
    """A client that takes nothing more while its target sends until every buffer on the way is full."""
    small = 4096  # and fixed: left alone, the system would let buffers grow
    proxy.port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, small)
    client = proxy.connect(proxy.address, receive_buffer=small)
    client.send(GREETING)
    _, far = await echoed(proxy, client)
    await far.stuff(MUCH, 100)
    return client


@pytest_twisted.ensureDeferred
async def test_shutdown_resets_a_client_that_takes_nothing(serve: Any) -> None:
    proxy = await serve()
    client = await stalled(proxy)
    await proxy.factory.close_sessions("shutdown", 0.01)
    await until(client.sees_now)
    assert client.sees == "reset"


@pytest_twisted.ensureDeferred
async def test_shutdown_sends_a_slow_client_what_came_for_it(serve: Any) -> None:
    proxy = await serve()
    client = await stalled(proxy)
    closed = proxy.factory.close_sessions("shutdown", PATIENCE)
    rest = await client.rest()
    assert client.sees == "end"
    await closed
    (record,) = proxy.records
    assert len(b"down") + len(rest) == record.bytes_down


# ---------------------------------------------------------------- many early octets


@pytest.mark.parametrize("has_poller", [True, False])
@pytest_twisted.ensureDeferred
async def test_many_early_octets_pass_whole(serve: Any, has_poller: bool) -> None:
    from twisted.internet import reactor

    dialer = DirectDialer(reactor if has_poller else WithoutPoller(reactor), FakeResolver())
    verdict: Deferred[Verdict] = Deferred()
    rules = Allow(lambda _, address: ALLOWED if address is None else verdict)
    proxy = await serve(Settings(max_optimistic=10_000), dialer=dialer, rules=rules)
    target = proxy.listen()
    client = await proxy.client(1, packed(*target.host))
    sent = await client.stuff(MUCH, 10)
    client.end()
    verdict.callback(ALLOWED)
    far, _ = await target.accept()
    assert len(await far.rest()) == sent
    assert sent > 10_000


@pytest_twisted.ensureDeferred
async def test_many_early_octets_do_not_hide_the_end_of_an_association(serve: Any) -> None:
    logins = Logins()
    proxy = await serve(Settings(max_optimistic=10_000), authenticator=logins)
    client = proxy.connect(proxy.address)
    request = octets("05 03 00") + packed("0.0.0.0", 0)
    client.send(PASSWORD_GREETING + LOGIN + request)
    await client.stuff(MUCH, 10)
    logins.accept()
    client.end()
    await proxy.gone()


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
    assert [(each.client, each.dropped) for each in proxy.records] == [("127.0.0.9:5000", 1)]


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
