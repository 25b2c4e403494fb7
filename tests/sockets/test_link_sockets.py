"""Datagrams through upstreams on real sockets: in batches where the system has the calls for that, as they are."""

import socket
import struct
from typing import Any

import pytest
import pytest_twisted

from socks5.client.hops import Same
from socks5.outbound import associating, batch_routes
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from tests.sockets.batch.world import UDP_SEGMENT, segmenting
from tests.sockets.clients import Datagrams, Proxy, UDPClient
from tests.sockets.test_associate_sockets import ENDPOINTS, exchange, is_batched  # noqa: F401
from tests.sockets.test_upstreams_sockets import at, far_off, to
from tests.sockets.wires import until
from tests.support.contexts import FakeAcceptor, Initiating
from tests.support.providers import Allow, FakeResolver

HERE = "127.0.0.1"


async def through(
    serve: Any, count: int = 1, there: str = HERE, has_contexts: bool = False
) -> tuple[Proxy, list[Proxy]]:
    """A server whose datagrams go through others, which may be logged in to by security contexts."""
    options: Any = {"endpoint": ENDPOINTS[there], "rules": Allow(), "is_elsewhere": True}
    options["resolver"] = FakeResolver({b"localhost": [HERE]})
    if has_contexts:
        options["gssapi"] = FakeAcceptor()
    hops = [await serve(**options) for _ in range(count)]
    ways = [at(hop, gssapi=Same(Initiating()) if has_contexts else None) for hop in hops]
    return await serve(rules=far_off(), dialer=to(*ways)), hops


@pytest.mark.parametrize("there", [HERE, "::1"])
@pytest.mark.parametrize("count", [1, 2])
@pytest_twisted.ensureDeferred
async def test_datagrams_and_answers_of_both_families_pass(
    serve: Any, count: int, there: str
) -> None:
    front, hops = await through(serve, count, there)
    control, client = await front.associate()
    targets = [front.datagrams(host) for host in (HERE, "::1", "127.0.0.2")]
    for target in targets * 3:
        await exchange(client, target)
    named = (b"localhost", targets[0].host[1])
    client.ask(named)
    data, source = await targets[0].receive()
    targets[0].send(b"pong", source)
    assert data == b"ping"
    assert (await client.answer())[0] == b"pong"
    control.close()
    for each in (front, *hops):
        await each.gone()
    [record] = front.records
    assert (record.upstream, record.bytes_up, record.bytes_down) == ("up", 40, 40)
    assert record.dropped == 0
    [beyond] = hops[-1].records
    assert (beyond.bytes_up, beyond.bytes_down) == (40, 40)


@pytest.mark.parametrize("count", [1, 2])
@pytest_twisted.ensureDeferred
async def test_datagrams_travel_in_the_tokens_of_a_login(serve: Any, count: int) -> None:
    front, hops = await through(serve, count, has_contexts=True)
    control, client = await front.associate()
    targets = [front.datagrams(host) for host in (HERE, "::1")]
    for target in targets * 3:
        await exchange(client, target)
    client.ask((HERE, 9), bytes(65507 - 10))
    await until(lambda: front.counters.dropped == {"unsendable": 1})
    control.close()
    for each in (front, *hops):
        await each.gone()
    [beyond] = hops[-1].records
    assert (beyond.user, beyond.bytes_up, beyond.bytes_down) == ("alice", 24, 24)


@pytest_twisted.ensureDeferred
async def test_an_upstream_of_a_link_is_sent_datagrams_by_it(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loopback stands for one."""
    monkeypatch.setattr(associating, "near_end", lambda _: "::1%lo")
    front, _ = await through(serve, there="::1")
    _, client = await front.associate()
    target = front.datagrams()
    await exchange(client, target)
    await exchange(client, target)
    [session] = front.factory.sessions
    [link] = session.command._targets._links._links.values()  # type: ignore[union-attr]
    assert link._association.relay[0] == "::1%lo"


@pytest_twisted.ensureDeferred
async def test_many_at_once_keep_their_order_and_are_counted(
    serve: Any,
    monkeypatch: pytest.MonkeyPatch,
    is_batched: bool,  # noqa: F811
) -> None:
    """What was let through is not looked at again."""
    front, _ = await through(serve)
    _, client = await front.associate()
    targets: list[Datagrams] = [front.datagrams(host) for host in (HERE, "::1", "127.0.0.2")]
    sources = [await exchange(client, target) for target in targets]
    looked_at: list[Any] = []
    [session] = front.factory.sessions
    there: Any = session.command._targets  # type: ignore[union-attr]
    for one, name in ((there, "send"), (there._links._links["up"], "_take")):
        real = getattr(one, name)
        monkeypatch.setattr(one, name, lambda *of, real=real: (looked_at.append(of), real(*of)))
    payloads = [b"%d" % number * 100 for number in range(30)]
    for number, payload in enumerate(payloads):
        client.ask(targets[number % 3].host, payload)
    for number, payload in enumerate(payloads):
        assert (await targets[number % 3].receive())[0] == payload
        targets[number % 3].send(payload, sources[number % 3])
    answers = [await client.answer() for _ in payloads]
    for number, target in enumerate(targets):
        assert [data for data, sender in answers if sender == target.host] == payloads[number::3]
    octets = 3 * 4 + sum(map(len, payloads))
    counters = front.counters
    assert (counters.datagrams_up, counters.datagrams_down) == (33, 33)
    assert bool(looked_at) is not (is_batched and type(front.port).__name__ == "Port")
    assert (session.command.bytes_up, session.command.bytes_down) == (octets, octets)  # type: ignore[union-attr]


@segmenting
@pytest_twisted.ensureDeferred
async def test_segments_pass_as_they_came(serve: Any) -> None:
    front, _ = await through(serve)
    _, client = await front.associate()
    target = front.datagrams()
    source = await exchange(client, target)
    pieces = [b"%d" % number * 50 for number in range(8)]
    whole = [Datagram(Address(*target.host), piece).encode() for piece in pieces]
    size = [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("H", len(whole[0])))]
    client.socket.sendmsg([b"".join(whole)], size, 0, client.relay)
    assert [(await target.receive())[0] for _ in pieces] == pieces
    size = [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("H", len(pieces[0])))]
    target.socket.sendmsg([b"".join(pieces)], size, 0, source)
    assert [await client.answer() for _ in pieces] == [(piece, target.host) for piece in pieces]


@pytest_twisted.ensureDeferred
async def test_only_the_relay_is_heard_and_only_for_whom_was_asked(serve: Any) -> None:
    front, _ = await through(serve)
    _, client = await front.associate()
    target, other = front.datagrams(), front.datagrams("127.0.0.3")
    await exchange(client, target)
    await exchange(client, target)
    [session] = front.factory.sessions
    [link] = session.command._targets._links._links.values()  # type: ignore[union-attr]
    where = link._port.getHost()
    forged = Datagram(Address(*target.host), b"forged").encode()
    other.send(forged, (where.host, where.port))
    await until(lambda: front.counters.dropped == {"unasked": 1})
    relay = session.command._targets._links._links["up"]._association.relay  # type: ignore[union-attr]
    assert (where.host, relay[0]) == (HERE, HERE)
    await exchange(client, target)


@pytest_twisted.ensureDeferred
async def test_whoever_may_answer_answers_however_many_they_are(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_routes, "MOST_SENDERS", 2)
    front, _ = await through(serve)
    _, client = await front.associate()
    for target in [front.datagrams() for _ in range(4)] * 2:
        await exchange(client, target)


@pytest_twisted.ensureDeferred
async def test_a_client_that_moves_has_its_answers_there(serve: Any) -> None:
    front, _ = await through(serve)
    _, client = await front.associate()
    target = front.datagrams()
    await exchange(client, target)
    moved: UDPClient = front.datagrams(HERE, UDPClient)
    moved.relay = client.relay
    await exchange(moved, target)
    await exchange(client, target)


@pytest_twisted.ensureDeferred
async def test_what_headers_make_too_long_is_dropped(serve: Any) -> None:
    front, _ = await through(serve, 2)
    _, client = await front.associate()
    client.ask((HERE, 9), bytes(65507 - 10))
    await until(lambda: front.counters.dropped == {"unsendable": 1})
