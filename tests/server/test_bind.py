"""BIND in memory: the two replies, what a client that leaves or a bug ends, and what passes afterwards.

Where the port is, and who comes in, is in ``tests/outbound/test_peers.py``; what it has in common with CONNECT in
``test_stream_command.py``.
"""

from typing import Any

import pytest
from twisted.internet.error import DNSLookupError

from socks5 import Settings
from socks5.outbound import peers
from socks5.policy.ruleset import Ruleset
from socks5.relay.relay import RESET_DELAYS
from tests.support.failures import Failures
from tests.support.providers import Allow
from tests.support.reactor import FakeTCPPort
from tests.support.rules import allow
from tests.support.sessions import (
    BIND,
    GREETING,
    NO_AUTHENTICATION,
    TARGET,
    Client,
    Server,
    octets,
    refusal,
)
from tests.support.transports import address
from tests.support.upstreams import give_upstream

ANYONE = octets("01 00000000 0000")
NAME = octets("03 0b 6578616d706c652e6f7267 0050")  # example.org:80
IPV6 = octets("04 20010db8000000000000000000000050 0050")  # [2001:db8::50]:80
LOOPBACK = octets("01 7f000001 0050")

LISTENING = octets("05 00 00 01 cb007101 9c40")  # at 203.0.113.1:40000, the first free port
PEER = address("192.0.2.80", 20)  # who TARGET names
PEER_CAME = octets("05 00 00 01 c0000250 0014")


def listening(server: Server, target: bytes = TARGET) -> tuple[Client, FakeTCPPort]:
    """A client that has its first reply, and the port behind it."""
    client = server.client(GREETING, BIND + target)
    return client, server.reactor.tcp_ports[-1]


# ---------------------------------------------------------------- the replies


def test_first_reply_has_the_listening_address_and_the_second_the_peers() -> None:
    server = Server()
    client, port = listening(server)
    assert client.received() == NO_AUTHENTICATION + LISTENING
    peer = port.connect(PEER)
    assert client.received() == PEER_CAME
    assert server.counters.replies == {0: 2}
    client.send(b"up")
    peer.deliver(b"down")
    assert (peer.value(), client.received()) == (b"up", b"down")
    client.reset()
    server.reactor.advance(RESET_DELAYS[0])
    assert peer.far_sees == "reset"
    [record] = server.records
    assert (record.bound, record.bytes_up, record.bytes_down) == ("192.0.2.80:20", 2, 4)


def test_the_port_is_on_the_control_connections_address_in_its_zone() -> None:
    server, host = Server(), address("fe80::1%eth0", 1080)
    server.client(GREETING, BIND + ANYONE, host=host, peer=host)
    [port] = server.reactor.tcp_ports
    assert port.getHost() == address("fe80::1%eth0", 40000)


def no_route(host: str) -> str:
    raise OSError(101, "Network is unreachable")


@pytest.mark.parametrize(("target", "code"), [(IPV6, 3), (NAME, 4), (LOOPBACK, 2)])
def test_what_cannot_be_awaited_has_its_reply(
    target: bytes, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "local_address_towards", no_route)
    server = Server()
    server.resolver.answers[b"example.org"] = DNSLookupError()
    client = server.client(GREETING, BIND + target)
    assert client.received() == NO_AUTHENTICATION + refusal(code)
    assert client.sees == "end"
    assert server.reactor.tcp_ports == []


def test_wait_is_bounded() -> None:
    server = Server()
    client, port = listening(server)
    server.reactor.advance(60)
    assert not port.is_listening
    assert client.received() == NO_AUTHENTICATION + LISTENING + refusal(6)
    client.end()
    [record] = server.records
    assert (record.reply, record.detail) == (6, "TTLExpired: no peer connected in time")
    assert (record.bytes_up, record.bytes_down, record.dropped) == (0, 0, 0)


@pytest.mark.parametrize("code", [0, 5])
def test_the_record_has_the_upstream_that_listened(code: int) -> None:
    """Also if the client leaves before a peer comes."""
    server = Server(rules=Ruleset([allow("far", via="up")]))
    give_upstream(server)
    client = server.client(GREETING, BIND + TARGET)
    proxy = server.reactor.connectors[-1].succeed()
    for data in (NO_AUTHENTICATION, LISTENING):
        server.reactor.turn()
        proxy.deliver(data)
    assert client.received() == NO_AUTHENTICATION + LISTENING
    if code:
        proxy.deliver(refusal(code))
    else:
        client.reset()
    [record] = server.records
    assert (record.upstream, record.reply) == ("up", code)


# ---------------------------------------------------------------- bugs


def test_bug_in_the_resolver_is_logged_and_gets_reply_1(failures: Failures) -> None:
    server = Server()
    server.resolver.resolve = lambda *_: 1 / 0
    client = server.client(GREETING, BIND + NAME)
    assert len(failures.take(ZeroDivisionError)) == 1
    assert client.received() == NO_AUTHENTICATION + refusal(1)


def test_bug_in_the_rules_ends_the_wait(failures: Failures) -> None:
    server = Server(rules=Allow(lambda _, host: host is None or bool(1 / 0)))
    client, port = listening(server, ANYONE)
    port.connect(PEER)
    assert failures.take(ZeroDivisionError) == ["division by zero"]
    assert client.received() == NO_AUTHENTICATION + LISTENING + refusal(1)
    assert not port.is_listening


# ---------------------------------------------------------------- the end


@pytest.mark.parametrize("leave", [Client.end, Client.reset])
def test_client_that_leaves_cancels_the_lookup_or_closes_the_port(leave: Any) -> None:
    server = Server()
    asking = server.client(GREETING, BIND + NAME)
    leave(asking)
    assert server.resolver.cancelled == [b"example.org"]
    assert server.reactor.tcp_ports == []
    client, port = listening(server)
    leave(client)
    assert not port.is_listening
    assert not asking.is_connected
    assert not client.is_connected
    server.reactor.advance(60)
    assert [record.reply for record in server.records] == [None, 0]


def test_octets_and_an_end_before_the_peer_are_kept() -> None:
    server = Server(Settings(max_optimistic=8))
    client, port = listening(server)
    client.send(b"12345678")
    assert client.transport.is_reading
    client.send(b"9")
    assert not client.transport.is_reading
    client.end()
    assert port.is_listening
    peer = port.connect(PEER)
    server.reactor.turn()
    assert (peer.value(), peer.far_sees) == (b"123456789", "end")
    peer.deliver_end()
    assert not client.is_connected
