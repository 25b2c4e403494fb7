"""RESOLVE and RESOLVE_PTR in memory: what is told, to whom, and what becomes of the connection."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError

from socks5 import Policy
from socks5.access import ALLOWED, DENIED, Reason
from socks5.policy.ruleset import Ruleset
from socks5.protocol.address import Address
from socks5.protocol.messages import Command, Reply, Request
from socks5.settings import COMMANDS, OutgoingFamily, Settings
from tests.support.failures import Failures
from tests.support.providers import Allow
from tests.support.rules import allow, deny
from tests.support.sessions import GREETING, NO_AUTHENTICATION, Client, Server
from tests.support.transports import CLIENT
from tests.support.upstreams import give_upstream

NAME, HOST = b"www.example.org", "192.0.2.80"
PTR = Command.RESOLVE_PTR


def serving(rules: Any = None, **settings: Any) -> Server:
    served = Settings(commands=COMMANDS["resolve"], ban_after=0, **settings)
    return Server(served, rules=Allow() if rules is None else rules)


def asking(server: Server, host: str | bytes, command: int = Command.RESOLVE) -> Client:
    return server.client(GREETING, Request(command, Address(host, 80)).encode())


def told(client: Client) -> str | bytes | int:
    """The answer, or the code of the refusal; the connection has ended behind it."""
    received = client.received()
    assert received.startswith(NO_AUTHENTICATION)
    received = received[len(NO_AUTHENTICATION) :]
    found = Reply.decode(received)
    assert found is not None
    reply, used = found
    assert (received[used:], client.sees, reply.address.port) == (b"", "end", 0)
    return reply.code or reply.address.host


@pytest.mark.parametrize("command", [Command.RESOLVE, PTR])
def test_they_are_off_unless_wanted(command: int) -> None:
    server = Server()
    assert told(asking(server, HOST, command)) == 7
    assert server.resolver.asked == []


@pytest.mark.parametrize(
    ("host", "hosts", "answer"),
    [
        (NAME, [HOST, "2001:db8::80"], HOST),
        (NAME, ["fe80::1%lo"], "fe80::1"),
        (HOST, None, HOST),
        ("::ffff:192.0.2.80", None, HOST),
        (b"192.0.2.80", None, HOST),
        (NAME, [], 4),
    ],
)
def test_an_address_of_a_name_is_told(host: Any, hosts: Any, answer: Any) -> None:
    server = serving()
    client = asking(server, host)
    if hosts is not None:
        assert client.is_connected
        server.resolver.answer(NAME, hosts)
    assert told(client) == answer
    assert server.resolver.askers == [CLIENT.host] * (hosts is not None)
    [record] = server.records
    says = (0, f"{Address(answer, 0)}", "answered") if answer != 4 else (4, None, "refused")
    assert (record.reply, record.bound, record.reason) == says
    assert (record.command, record.bytes_up, record.bytes_down, record.dropped) == (
        "resolve",
        0,
        0,
        0,
    )
    assert (server.counters.requests, server.dialer.targets) == ({Command.RESOLVE: 1}, [])


def test_only_addresses_that_the_rules_allow_are_told() -> None:
    rules = Ruleset([deny("inside", networks=["10.0.0.0/8"]), allow("web", commands=["resolve"])])
    server = serving(rules)
    server.resolver.answers = {NAME: ["10.0.0.1", HOST], b"in.example": ["10.0.0.1", "127.0.0.1"]}
    answers = [told(asking(server, name)) for name in (NAME, b"in.example", b"10.0.0.1")]
    assert answers == [HOST, 2, 2]
    assert [record.rule for record in server.records] == ["web", "builtin:guard", "inside"]
    assert server.resolver.asked == [NAME, b"in.example"]
    assert told(asking(serving(Ruleset([deny("x"), allow("y")])), NAME)) == 2


def test_only_addresses_of_families_that_are_reached_are_told() -> None:
    server = serving(outgoing_family=OutgoingFamily.IPV6)
    server.resolver.answers = {NAME: [HOST, "2001:db8::80"], b"old.example": [HOST]}
    assert [told(asking(server, each)) for each in (NAME, b"old.example", HOST)] == [
        "2001:db8::80",
        4,
        8,
    ]


# ---------------------------------------------------------------- through upstreams


def sending(rules: Any = None, **terms: Any) -> Server:
    """A server that has an upstream, and rules that send there whatever they allow."""
    server = serving(Ruleset([allow("far", via="up")]) if rules is None else rules)
    give_upstream(server, **{"commands": COMMANDS["resolve"], **terms})
    return server


def answered(server: Server, answer: Reply) -> bytes:
    """The upstream's request; it answers."""
    transport = server.reactor.connectors[-1].succeed()
    for data in (NO_AUTHENTICATION, answer.encode()):
        server.reactor.turn()
        asked = transport.value()
        transport.deliver(data)
    server.reactor.turn()
    assert not transport.connected
    return asked[len(GREETING) :]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (Address("192.0.2.80", 0), HOST),
        (Address("::ffff:192.0.2.80", 0), HOST),
        (Address("192.0.2.80", 7), 1),  # it does not know the command
        (Address(NAME, 0), 1),
        (Address("0.0.0.0", 0), 1),
    ],
)
def test_an_upstream_says_an_address_and_nobody_here_is_asked(said: Address, answer: Any) -> None:
    server = sending()
    client = asking(server, b"WWW.example.org.")
    asked = answered(server, Reply(0, said))
    assert asked == Request(Command.RESOLVE, Address(NAME, 80)).encode()
    assert (told(client), server.resolver.asked) == (answer, [])
    assert [record.upstream for record in server.records] == ["up"]


def test_what_it_says_is_judged() -> None:
    rules = Ruleset([allow("names", names=["*"], via="up"), allow("public", networks=["@public"])])
    server = sending(rules)
    client = asking(server, NAME)
    answered(server, Reply(0, Address("127.0.0.1", 0)))
    assert told(client) == 2
    assert [record.upstream for record in server.records] == ["up"]


def test_an_upstream_says_a_name() -> None:
    server = sending()
    client = asking(server, HOST, PTR)
    asked = answered(server, Reply(0, Address(NAME, 0)))
    assert asked == Request(Command.RESOLVE_PTR, Address(HOST, 0)).encode()
    assert (told(client), server.resolver.asked) == (NAME, [])
    assert [record.upstream for record in server.records] == ["up"]


@pytest.mark.parametrize("said", [Address(HOST, 0), Address("0.0.0.0", 0)])
def test_an_address_is_no_name(said: Address) -> None:
    server = sending()
    client = asking(server, HOST, PTR)
    answered(server, Reply(0, said))
    assert told(client) == 1


def test_its_refusal_is_the_client_s() -> None:
    server = sending()
    client = asking(server, NAME)
    answered(server, Reply(4))
    assert told(client) == 4
    assert [record.upstream for record in server.records] == ["up"]


@pytest.mark.parametrize("host", [NAME, HOST])
def test_one_that_does_not_serve_it_is_not_asked_and_nobody_else_is(host: Any) -> None:
    server = sending(commands=COMMANDS["connect"])
    command = PTR if host is HOST else Command.RESOLVE
    assert told(asking(server, host, command)) == 7
    assert (server.resolver.asked, server.reactor.connectors) == ([], [])


def test_without_upstreams_nobody_is_asked() -> None:
    server = serving(Ruleset([allow("far", via="office")]))
    assert told(asking(server, NAME)) == 7
    assert server.resolver.asked == []


# ---------------------------------------------------------------- names of addresses


@pytest.mark.parametrize("host", [HOST, "2001:db8::80"])
def test_the_name_of_an_address_is_told(host: str) -> None:
    rules = Allow()
    server = serving(rules)
    client = asking(server, host, PTR)
    server.resolver.answer(host.encode(), [NAME])  # type: ignore[list-item]
    assert told(client) == NAME
    assert [address for _, address in rules.asked] == [None, host]
    [record] = server.records
    assert (record.command, record.bound) == ("resolve-ptr", f"{NAME.decode()}:0")


@pytest.mark.parametrize(("host", "code"), [(NAME, 8), (HOST, 4), ("127.0.0.1", 2)])
def test_no_name_is_a_refusal(host: Any, code: int) -> None:
    server = serving(Ruleset([allow("all")]))
    server.resolver.answers = {HOST.encode(): DNSLookupError("no name found")}
    assert told(asking(server, host, PTR)) == code


# ---------------------------------------------------------------- other rules meanwhile


class Later(Allow):
    """Rules that take their time about addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.verdicts: list[Deferred[Any]] = []

    def judge(self, access: Any, address: str | None) -> Any:
        verdict = super().judge(access, address)
        if address is None:
            return verdict
        self.verdicts.append(Deferred())
        return self.verdicts[-1]


@pytest.mark.parametrize("is_allowed", [True, False])
def test_what_is_found_is_judged_by_the_rules_of_then(is_allowed: bool) -> None:
    server = serving(rules := Later())
    client = asking(server, NAME)
    server.resolver.answer(NAME, [HOST])
    settings = server.factory.settings
    new = Ruleset([allow("a")] if is_allowed else [deny("d", networks=[HOST]), allow("a")])
    server.factory.replace(Policy(settings, new))
    rules.verdicts[0].callback(ALLOWED)
    assert told(client) == (HOST if is_allowed else 2)


@pytest.mark.parametrize("is_allowed", [True, False])
def test_a_name_is_told_if_the_rules_of_then_allow_its_address(is_allowed: bool) -> None:
    server = serving(rules := Later())
    client = asking(server, HOST, PTR)
    rules.verdicts[0].callback(ALLOWED)
    server.factory.replace(Policy(server.factory.settings, newer := Later()))
    server.resolver.answer(HOST.encode(), [NAME])  # type: ignore[list-item]
    newer.verdicts[0].callback(ALLOWED if is_allowed else DENIED)
    assert told(client) == (NAME if is_allowed else 2)


# ---------------------------------------------------------------- the end


@pytest.mark.parametrize("leaves", [Client.end, Client.reset])
def test_a_client_that_leaves_is_not_looked_up_for(leaves: Any) -> None:
    server = serving()
    leaves(asking(server, NAME))
    assert server.resolver.cancelled == [NAME]
    assert len(server.records) == 1


def test_a_session_can_be_ended_meanwhile() -> None:
    server = serving()
    client = asking(server, NAME)
    server.factory.close_sessions(Reason.SHUTDOWN, 2)
    assert (client.sees, server.resolver.cancelled) == ("end", [NAME])
    assert [record.reason for record in server.records] == ["shutdown"]


def test_a_bug_ends_one_session(failures: Failures) -> None:
    server = serving()
    server.resolver.answers = {NAME: RuntimeError("a bug"), b"one.example": [HOST]}
    assert told(asking(server, NAME)) == 1
    assert len(failures.take(RuntimeError)) == 1
    assert told(asking(server, b"one.example")) == HOST
