"""UDP ASSOCIATE in memory: how many there may be, and when one ends."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from socks5 import Settings
from socks5.access import ALLOWED, Reason, Verdict
from socks5.interfaces import ICommand
from socks5.protocol.messages import Command
from socks5.server.associate import Associate
from tests.support import sessions
from tests.support.associations import FROM, HOST, OTHER, TARGET, TARGET6, Association, to
from tests.support.providers import Allow, Begun, Logins
from tests.support.sessions import (
    ASSOCIATE,
    GREETING,
    NO_AUTHENTICATION,
    Client,
    Server,
    octets,
    refusal,
)
from tests.support.transports import FakeTLSTransport, FakeTransport, address

ASSOCIATED = octets("05 00 00 01 cb007101 9c40")  # at 203.0.113.1:40000, the first free port


@pytest.mark.parametrize("kind", [FakeTransport, FakeTLSTransport])
@pytest.mark.parametrize(
    ("leave", "reason"), [(Client.end, "client closed"), (Client.reset, "reset by client")]
)
def test_association_ends_with_its_control_connection(leave: Any, reason: str, kind: Any) -> None:
    association = Association(
        Settings(handshake_timeout=0, request_timeout=0, close_timeout=0), kind=kind
    )
    association.ask(TARGET, TARGET6)
    association.near.receive(to(TARGET, b"1", 1), FROM)
    leave(association.client)
    assert not any(port.is_listening for port in (association.near, *association.far))
    assert not association.client.is_connected
    assert association.server.counters.open_associations == {}
    association.reactor.advance(60)  # what many share runs out once more
    assert association.reactor.getDelayedCalls() == []
    assert [record.reason for record in association.server.records] == [reason]


def test_octets_on_the_control_connection_mean_nothing() -> None:
    server = Server(Settings(max_optimistic=8))
    client = server.client(GREETING + ASSOCIATE + b"0123456789")
    client.send(b"0123456789")
    assert client.transport.is_reading
    assert client.received() == NO_AUTHENTICATION + ASSOCIATED
    assert server.reactor.udp_ports[0].is_listening


@pytest.mark.parametrize("has_login", [False, True])
def test_end_behind_the_request_ends_the_association(has_login: bool) -> None:
    """Also one that comes before the verdict."""
    logins = Logins()
    server = Server(authenticator=logins if has_login else None)
    hello = sessions.PASSWORD_GREETING + sessions.LOGIN if has_login else GREETING
    client = server.client(hello + ASSOCIATE)
    client.end()
    if has_login:
        logins.accept()
    assert not client.is_connected
    assert not server.reactor.udp_ports[0].is_listening
    assert server.counters.open_associations == {}
    assert [record.reason for record in server.records] == ["client closed"]


def test_so_does_one_before_the_rules_verdict() -> None:
    waiting: Deferred[Verdict] = Deferred()
    server = Server(rules=Allow(lambda *_: waiting))
    client = server.client(GREETING, ASSOCIATE + b"behind")
    client.end()
    waiting.callback(ALLOWED)
    assert not client.is_connected
    assert not server.reactor.udp_ports[0].is_listening
    assert [record.reason for record in server.records] == ["client closed"]


@pytest.mark.parametrize(
    ("keep_alive", "lives"),
    [
        (lambda it: it.ask(), True),
        (lambda it: it.answer(), True),
        (lambda it: it.ask(sender=("198.51.100.8", 5000)), False),
        (lambda it: it.near.receive(b"garbage", FROM), False),
        (lambda it: it.answer(OTHER), False),
    ],
    ids=["the client", "the target", "a stranger", "garbage", "another target"],
)
def test_what_passes_keeps_it_alive_and_what_is_dropped_does_not(
    keep_alive: Any, lives: bool
) -> None:
    association = Association()
    association.ask()
    for _ in range(10):
        association.reactor.pump([74] * 3)
        keep_alive(association)
    assert association.is_alive is lives


def test_silence_ends_the_association() -> None:
    association = Association()
    association.reactor.pump([75] * 3 + [74.9])
    assert association.is_alive
    association.reactor.pump([75, 75])
    assert not association.is_alive
    assert association.client.sees == "end"
    assert [record.reason for record in association.server.records] == ["idle"]


def test_associations_of_a_client_are_limited() -> None:
    server = Server(Settings(associations_per_client=2))
    first, second = Association(server=server), Association(server=server)
    third = server.client(GREETING, ASSOCIATE)
    assert third.received() == NO_AUTHENTICATION + refusal(2)
    assert third.sees == "end"
    third.end()
    other = Association(server=server, peer=address("198.51.100.8", 51234))
    assert all(each.is_alive for each in (first, second, other))
    assert server.counters.open_associations == {HOST: 2, "198.51.100.8": 1}
    first.client.end()
    assert Association(server=server).is_alive


def test_an_ipv6_network_is_one_client_to_the_limit() -> None:
    server = Server(Settings(associations_per_client=1))
    host = address("2001:db8::1", 1080)
    assert Association(server=server, host=host, peer=address("2001:db8:0:1::7", 51234)).is_alive
    assert Association(server=server, host=host, peer=address("2001:db8:0:2::7", 51234)).is_alive
    second = server.client(GREETING, ASSOCIATE, host=host, peer=address("2001:db8:0:1::8", 51234))
    assert second.received() == NO_AUTHENTICATION + refusal(2)


@pytest.mark.parametrize("within", [0.0, 10.0])
def test_an_end_from_outside_comes_at_once(within: float) -> None:
    commands = Begun(Command.UDP_ASSOCIATE, Associate)
    association = Association(commands=commands)
    association.ask()
    assert verifyObject(ICommand, commands.begun[0])
    assert (commands.begun[0].far, commands.begun[0].client_ended()) == (None, False)
    assert commands.begun[0].rejudge() is True
    for _ in range(2):
        commands.begun[0].stop(Reason.KICKED, within)
    assert commands.begun[0].rejudge() is True
    assert not any(port.is_listening for port in (association.near, *association.far))
    assert [record.reason for record in association.server.records] == [Reason.KICKED]
    assert not association.client.is_connected
