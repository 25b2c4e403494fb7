"""CONNECT in memory: what is dialled, what the reply says, and what passes afterwards."""

from typing import Any

import pytest
from twisted.internet.defer import fail
from twisted.internet.error import (
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
)

from socks5.protocol.address import Address
from socks5.protocol.errors import LocalProtocolError, ReplyError
from tests.support.failures import Failures
from tests.support.providers import Allow
from tests.support.reactor import FakeConnector
from tests.support.sessions import (
    CONNECT,
    GREETING,
    NO_AUTHENTICATION,
    Client,
    Server,
    octets,
    refusal,
)
from tests.support.transports import address

NAME = octets("05 01 00 03 0b 6578616d706c652e6f7267 0050")  # example.org:80


def dialling(server: Server, request: bytes) -> tuple[Client, list[FakeConnector]]:
    """A client of a server that dials by itself, and its attempts to connect."""
    client = server.client(GREETING, request)
    return client, server.reactor.connectors


def own_dialer(**parameters: Any) -> Server:
    return Server(dialer=None, **parameters)


# ---------------------------------------------------------------- the reply


@pytest.mark.parametrize(
    ("host", "bound"),
    [
        (address("192.0.2.10", 258), "01 c000020a 0102"),
        (address("fe80::10%eth0", 258), "04 fe800000000000000000000000000010 0102"),
    ],
)
def test_reply_has_our_address_towards_the_target(host: Any, bound: str) -> None:
    server = Server()
    client = server.client(GREETING, CONNECT)
    server.dialer.succeed(host=host)
    assert client.received() == NO_AUTHENTICATION + octets("05 00 00" + bound)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectionRefusedError(), 5),
        (DNSLookupError(), 4),
        (ConnectionLost(), 1),
        (OSError(), 1),
        (ReplyError.for_code(0x91, "said another proxy"), 0x91),
    ],
)
def test_a_failure_has_its_reply(error: Exception, code: int) -> None:
    server = Server()
    client = server.client(GREETING, CONNECT)
    server.dialer.fail(error)
    assert client.received() == NO_AUTHENTICATION + refusal(code)
    assert client.sees == "end"


def test_stream_without_a_usable_address_is_a_bug(failures: Failures) -> None:
    server = Server()
    client = server.client(GREETING, CONNECT)
    target = server.dialer.succeed(host=address("no address", 80))
    assert len(failures.take(LocalProtocolError)) == 1
    assert client.received() == NO_AUTHENTICATION + refusal(1)
    assert not target.connected


# ---------------------------------------------------------------- the rules


def test_rules_see_the_name_and_every_address_and_only_those_that_they_allow_are_dialled() -> None:
    rules = Allow(lambda _, address: address != "192.0.2.1")
    server = own_dialer(rules=rules)
    client, attempts = dialling(server, NAME)
    server.resolver.answer(b"example.org", ["192.0.2.1", "192.0.2.2"])
    assert [address for _, address in rules.asked] == [None, "192.0.2.1", "192.0.2.2"]
    assert {access.target for access, _ in rules.asked} == {Address(b"example.org", 80)}
    assert [attempt.host for attempt in attempts] == ["192.0.2.2"]
    attempts[0].succeed()
    assert client.received()[:4] == NO_AUTHENTICATION + octets("05 00")


@pytest.mark.parametrize(
    "target",
    [
        "01 7f000001 0050",
        "01 00000000 0050",
        "01 a9fea9fe 0050",  # a cloud's metadata
        "04 00000000000000000000000000000001 0050",
        "04 00000000000000000000ffff7f000001 0050",  # ::ffff:127.0.0.1
        # as names, in whatever form
        *("127.0.0.1", "[::1]", "fe80::1%lo", "[fe80::1%lo]", "127.1"),
    ],
)
def test_client_elsewhere_cannot_reach_this_host(target: str) -> None:
    server = own_dialer()
    name = bytes([3, len(target)]) + target.encode() + octets("0050")
    sent = octets(target) if " " in target else name
    client, attempts = dialling(server, octets("05 01 00") + sent)
    assert client.received() == NO_AUTHENTICATION + refusal(2)
    assert (server.resolver.asked, attempts) == ([], [])


def test_name_cannot_lead_past_the_rules() -> None:
    server = own_dialer()
    client, attempts = dialling(server, NAME)
    server.resolver.answer(b"example.org", ["127.0.0.1", "::1"])
    assert client.received() == NO_AUTHENTICATION + refusal(2)
    assert attempts == []


def test_bug_in_the_rules_is_logged_and_gets_reply_1(failures: Failures) -> None:
    for request in (CONNECT, NAME):
        server = own_dialer(rules=Allow(lambda _, address: address is None or bool(1 / 0)))
        client, attempts = dialling(server, request)
        server.resolver.answer(b"example.org", ["192.0.2.1"])
        assert failures.take(ZeroDivisionError) == ["division by zero"]
        assert client.received() == NO_AUTHENTICATION + refusal(1)
        assert attempts == []


@pytest.mark.parametrize("is_late", [False, True])
def test_bug_in_the_resolver_is_logged_and_gets_reply_1(is_late: bool, failures: Failures) -> None:
    server = own_dialer()
    server.resolver.resolve = lambda *_: fail(ZeroDivisionError("a bug")) if is_late else 1 / 0
    client, _ = dialling(server, NAME)
    assert len(failures.take(ZeroDivisionError)) == 1
    assert client.received() == NO_AUTHENTICATION + refusal(1)
    assert client.sees == "end"


# ---------------------------------------------------------------- a client that leaves


@pytest.mark.parametrize("leave", [Client.end, Client.reset])
@pytest.mark.parametrize("request_octets", [CONNECT, NAME])
def test_client_that_leaves_cancels_the_dial_or_the_lookup(
    leave: Any, request_octets: bytes
) -> None:
    server = own_dialer()
    client, attempts = dialling(server, request_octets)
    leave(client)
    assert not client.is_connected
    assert server.resolver.cancelled == server.resolver.asked
    server.resolver.answer(b"example.org", ["192.0.2.1"])
    assert [attempt.state for attempt in attempts] == ["disconnected"] * (request_octets is CONNECT)
    server.reactor.advance(60)
    (record,) = server.records
    assert (record.reply, record.bytes_up, record.bytes_down, record.dropped) == (None, 0, 0, 0)


# ---------------------------------------------------------------- the relay


def test_session_lasts_until_both_sides_are_gone() -> None:
    server = Server()
    client = server.client(GREETING, CONNECT)
    target = server.dialer.succeed(window=0)
    client.send(b"a slow target takes this later")
    target.deliver_end()
    client.end()
    assert not client.is_connected
    assert len(list(server.factory.sessions)) == 1
    target.accept()
    server.reactor.turn()
    assert target.value() == b"a slow target takes this later"
    assert list(server.factory.sessions) == []
