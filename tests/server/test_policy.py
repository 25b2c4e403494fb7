"""A policy replaced as a whole: for new sessions, and for those that have begun, which are judged again."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from socks5 import ListenerPolicy, Policy, ServerFactory, Settings, Verdict
from socks5.access import ALLOWED, DENIED
from socks5.client.hops import Hop
from socks5.client.urls import read
from socks5.outbound.path import Path
from socks5.outbound.terms import Terms
from socks5.outbound.upstream import Upstream
from socks5.outbound.ways import Upstreams
from socks5.policy.ruleset import Ruleset
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from socks5.protocol.messages import Command, Method
from socks5.server.rejudging import A_TURN, BUSY
from tests.support.failures import Failures
from tests.support.providers import Allow, FakeDialer, Logins
from tests.support.reactor import FakeReactor
from tests.support.rules import allow
from tests.support.sessions import (
    ASSOCIATE,
    BIND,
    CONNECT,
    CONNECTED,
    GREETING,
    NO_AUTHENTICATION,
    PASSWORD_CHOSEN,
    PASSWORD_GREETING,
    TARGET,
    Server,
    refusal,
)

NOBODY = Allow(lambda *_: DENIED)


@pytest.fixture
def server() -> Server:
    return Server()


def replace(server: Server, rejudge: bool = True, **parts: Any) -> list[int]:
    """Replace the policy's parts. The list has an item when all are judged: how many ended."""
    ended: list[int] = []
    parts = {"dialer": server.dialer, **parts}
    server.factory.replace(Policy(**parts), rejudge).addCallback(ended.append)
    return ended


# ---------------------------------------------------------------- new sessions


def test_parts_by_name_go_before_those_of_a_policy() -> None:
    settings, rules = Settings(connect_timeout=1), Allow()
    policy = Policy(settings=settings, rules=NOBODY)
    factory = ServerFactory(FakeReactor(), policy, rules=rules)
    assert factory.policy == Policy(settings=settings, rules=rules)
    assert factory.settings is settings


def test_new_sessions_are_under_the_new_policy(server: Server) -> None:
    dialer = FakeDialer(server.reactor)
    replace(server, rules=Allow(), authenticator=Logins(), dialer=dialer)
    assert server.client(PASSWORD_GREETING).received() == PASSWORD_CHOSEN
    replace(server, dialer=dialer)
    client = server.client(GREETING, CONNECT)
    assert (len(dialer.targets), server.dialer.targets) == (1, [])
    dialer.succeed()
    assert client.received() == NO_AUTHENTICATION + CONNECTED


def test_a_listener_keeps_its_methods_as_far_as_there_are_any(server: Server) -> None:
    replace(server, authenticator=Logins())
    listener = server.factory.at(ListenerPolicy(methods=(Method.USERNAME_PASSWORD,)))
    replace(server)
    session = listener.buildProtocol(None)
    assert session is not None
    assert list(session.methods) == []


class Odd(Logins):
    methods = (Method.GSSAPI,)


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ({"rules": object()}, TypeError("judge")),
        ({"rules": Allow}, TypeError("judge")),
        ({"authenticator": Odd()}, ValueError("method 1: an authenticator judges passwords")),
    ],
)
def test_a_policy_that_cannot_hold_changes_nothing(
    server: Server, part: dict[str, Any], error: Exception
) -> None:
    before = server.factory.policy
    with pytest.raises(type(error), match=str(error)):
        server.factory.replace(Policy(**part))
    assert server.factory.policy is before
    client = server.client(GREETING, CONNECT)
    server.dialer.succeed()
    assert client.received() == NO_AUTHENTICATION + CONNECTED


# ---------------------------------------------------------------- sessions that have begun


def test_those_that_are_no_longer_allowed_end_in_order(server: Server) -> None:
    """A CONNECT is judged by the address that it has, too."""
    client, target = server.relaying()
    target.deliver(b"last words")
    rules = Allow(lambda _, address: address != "192.0.2.80")
    assert replace(server, rules=rules) == [1]
    assert [address for _, address in rules.asked] == [None, "192.0.2.80"]
    assert client.received() == b"last words"
    assert (client.sees, target.far_sees) == ("end", "end")
    assert [record.reason for record in server.records] == ["no longer allowed"]


def test_those_that_stay_have_the_new_rules_from_then_on(server: Server) -> None:
    early = server.client(GREETING)
    client, _ = server.relaying()
    first_only = Allow(lambda access, address: access.target.port == 80 and address is not None)
    assert replace(server, rules=Allow(lambda access, _: access.target.port == 80)) == [0]
    early.send(CONNECT[:-1] + b"\x51")
    assert early.received() == NO_AUTHENTICATION + refusal(2)
    assert client.is_connected
    assert replace(server, rules=first_only) == [1]


def test_upstreams_of_an_old_policy_are_looked_at_no_more(server: Server) -> None:
    terms = Terms(probe=Address(b"probe.example", 443), probe_every=30.0)
    legs = [Upstream("up", Hop(read("socks5://203.0.113.1")[0]), terms)]
    upstreams = Upstreams(server.reactor, {"up": Path("up", legs, server.reactor)})
    replace(server, rules=Ruleset([allow("far", via="up")]), dialer=upstreams)
    client = server.client(GREETING, CONNECT)
    dialled = len(server.reactor.connectors)
    assert [*server.factory.counters.upstreams] == ["up"]
    replace(server)
    assert server.factory.counters.upstreams == {}
    client.reset()
    server.reactor.advance(100)
    assert len(server.reactor.connectors) == dialled == 1


def test_without_judging_they_keep_the_old_rules(server: Server) -> None:
    early = server.client(GREETING)
    client, _ = server.relaying()
    assert replace(server, rejudge=False, rules=NOBODY) == [0]
    assert client.is_connected
    early.send(CONNECT)
    server.dialer.succeed()
    assert early.received() == NO_AUTHENTICATION + CONNECTED
    assert server.client(GREETING, CONNECT).received() == NO_AUTHENTICATION + refusal(2)


def test_they_keep_their_settings_and_their_dialer(server: Server) -> None:
    client = server.client(GREETING)
    replace(server, settings=Settings(commands=frozenset()), dialer=FakeDialer(server.reactor))
    client.send(CONNECT)
    assert server.dialer.targets == [Address("192.0.2.80", 80)]


def test_a_bind_that_waits_judges_its_peers_by_the_new_rules(server: Server) -> None:
    client = server.client(GREETING, BIND + TARGET)
    assert replace(server, rules=Allow(lambda _, address: address is None)) == [0]
    assert client.is_connected
    client.received()
    assert replace(server, rules=NOBODY) == [1]
    assert (client.received(), client.sees) == (refusal(2), "end")


def test_the_next_datagram_of_an_association_is_judged_by_the_new_rules(server: Server) -> None:
    client = server.client(GREETING, ASSOCIATE)
    near = server.reactor.udp_ports[0]
    query = Datagram(Address("192.0.2.53", 53), b"?").encode()
    for _ in range(2):
        near.receive(query, ("198.51.100.7", 5000))
    replace(server, rules=Allow(lambda access, _: access.target.port != 53))
    near.receive(query, ("198.51.100.7", 5000))
    assert client.is_connected
    assert server.counters.datagrams_up == 2
    assert server.counters.dropped == {"not allowed": 1}


def test_verdicts_that_take_their_time_are_awaited(server: Server) -> None:
    client, _ = server.relaying()
    verdicts: list[Deferred[Verdict]] = []

    def later(*_: object) -> Deferred[Verdict]:
        verdicts.append(Deferred())
        return verdicts[-1]

    ended = replace(server, rules=Allow(later))
    verdicts[0].callback(ALLOWED)
    assert (client.is_connected, ended) == (True, [])
    verdicts[1].callback(DENIED)
    assert (client.is_connected, ended) == (False, [1])


def test_a_session_that_cannot_be_judged_ends(server: Server, failures: Failures) -> None:
    client, _ = server.relaying()
    assert replace(server, rules=Allow(lambda *_: 1 / 0)) == [1]
    assert not client.is_connected
    assert failures.take(ZeroDivisionError) == ["division by zero"]
    assert [record.reason for record in server.records] == ["internal error"]


def test_many_are_judged_a_few_a_turn_and_fewer_if_that_takes_long(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(number * BUSY / 4 for number in range(1000))
    monkeypatch.setattr("socks5.server.rejudging.thread_time", lambda: 0.0)
    clients = [server.client(GREETING, CONNECT) for _ in range(A_TURN + 1)]
    all_stay = Allow()
    ended = replace(server, rules=all_stay)
    assert (len(all_stay.asked), ended) == (A_TURN, [])
    server.reactor.turn()
    assert (len(all_stay.asked), ended) == (len(clients), [0])
    monkeypatch.setattr("socks5.server.rejudging.thread_time", lambda: next(seconds))
    ended = replace(server, rules=NOBODY)
    assert (len(server.records), ended) == (4, [])
    server.reactor.turn()  # and those behind it
    assert ended == [len(clients)]
    assert next(seconds) > len(clients) * BUSY / 4


def test_a_request_whose_verdict_is_awaited_is_judged_by_the_new_rules() -> None:
    first: Deferred[Verdict] = Deferred()
    second: Deferred[Verdict] = Deferred()
    server = Server(rules=Allow(lambda *_: first))
    client = server.client(GREETING, CONNECT)
    replace(server, rules=Allow(lambda *_: second))
    first.callback(ALLOWED)
    replace(server, rules=NOBODY)
    assert client.received() == NO_AUTHENTICATION
    second.callback(ALLOWED)
    assert client.received() == refusal(2)
    assert server.counters.requests == {Command.CONNECT: 1}


@pytest.mark.parametrize("is_over", [False, True])
def test_a_verdict_that_comes_too_late_ends_nothing(server: Server, is_over: bool) -> None:
    """The rules were replaced again, or the session is over."""
    client, _ = server.relaying()
    waiting: Deferred[Verdict] = Deferred()
    ended = [replace(server, rules=Allow(lambda *_: waiting))]
    if is_over:
        client.session.close(within=0)
        server.reactor.turn()
    else:
        ended.append(replace(server))
    waiting.callback(DENIED)
    assert ended == [[0]] * (1 if is_over else 2)
    assert client.is_connected is not is_over
    reasons = ["ended by the operator"] if is_over else []
    assert [record.reason for record in server.records] == reasons


def test_newer_rules_overtake_older_ones(server: Server) -> None:
    """Which have still many to judge, and leave those to the newer ones."""
    others = [server.client(GREETING, CONNECT) for _ in range(A_TURN)]
    last = server.client(GREETING)
    replace(server)
    for client in others:
        client.transport.deliver_reset()
    replace(server, rules=NOBODY)
    server.reactor.turn()
    last.send(CONNECT)
    assert last.received() == NO_AUTHENTICATION + refusal(2)


def test_a_command_that_cannot_start_after_its_verdict_is_answered(failures: Failures) -> None:
    waiting: Deferred[Verdict] = Deferred()
    server = Server(rules=Allow(lambda *_: waiting), commands={Command.CONNECT: lambda _: 1 / 0})
    client = server.client(GREETING, CONNECT)
    waiting.callback(ALLOWED)
    assert client.received() == NO_AUTHENTICATION + refusal(1)
    assert len(failures.take(ZeroDivisionError)) == 1
