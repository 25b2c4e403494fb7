"""What a server makes of the verdicts of rules of one's own: replies, sources, records, and sessions judged again."""

from typing import Any

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from socks5 import ListenerPolicy, PasswordAuthentication, Policy, Verdict
from socks5.access import ACCEPTED, ALLOWED, MOST_RULES, Access, Reason
from socks5.policy.ruleset import Ruleset
from socks5.protocol.address import Address
from socks5.protocol.messages import Command
from socks5.server.rejudging import A_LOOK
from socks5.settings import PerFamily
from tests.support.associations import NAME, OTHER, TARGET6, Association
from tests.support.associations import TARGET as TO
from tests.support.providers import Allow, Begun, FakeCommand, FakeDialer, FakeResolver
from tests.support.rules import allow, deny
from tests.support.sessions import (
    ASSOCIATE,
    BIND,
    CONNECT,
    GREETING,
    LOGIN,
    NO_AUTHENTICATION,
    PASSWORD_GREETING,
    TARGET,
    Door,
    Server,
    octets,
    refusal,
)
from tests.support.transports import address

HOST = "192.0.2.80"
ANYONE = octets("01 00000000 0000")
SOURCE = "203.0.113.7"


def to_name(name: bytes = b"www.example.org", command: int = 1) -> bytes:
    return bytes((5, command, 0)) + Address(name, 80).encode()


def direct(*rules: Any, names: dict[bytes, Any] | None = None, **parts: Any) -> Server:
    """A server with those rules, which dials itself."""
    resolver = FakeResolver(names or {b"www.example.org": [HOST, "2001:db8::80"]})
    return Server(rules=Ruleset(rules, **parts), dialer=None, resolver=resolver)


def records(server: Server) -> Any:
    """Those of all sessions, which end now."""
    server.factory.close_sessions("shutdown", 0)
    server.reactor.advance(5)
    return server.records


def dialled(server: Server) -> list[str]:
    return [each.host for each in server.reactor.connectors]


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("reply", "code"), [("not-allowed", 2), ("unreachable", 4), ("refused", 5)]
)
@pytest.mark.parametrize("command", [Command.CONNECT, Command.BIND])
@pytest.mark.parametrize(
    "keys", [{"names": [".example.org"]}, {"networks": ["192.0.2.0/24", "::/0"]}]
)
def test_a_refusal_is_replied_as_the_rule_says(
    reply: str, code: int, command: int, keys: dict[str, Any]
) -> None:
    server = direct(deny("them", reply=reply, **keys), allow("rest"))
    client = server.client(GREETING, to_name(command=command))
    assert client.received() == NO_AUTHENTICATION + refusal(code)
    [record] = server.records
    assert (record.reply, record.rule, record.reason) == (code, "them", "refused")
    assert record.detail.startswith("NotAllowed: ")
    assert server.resolver.distrusted == []
    assert server.counters.rules["them"] == (1 if "names" in keys else 2)


def test_a_name_that_is_denied_is_not_looked_up() -> None:
    server = direct(deny("ads", names=[".ads.example"]), allow("rest"))
    for name in (b"x.ads.example", b"X.ADS.example."):
        assert server.client(GREETING, to_name(name)).received()[2:] == refusal(2)
    assert server.resolver.asked == []
    assert server.client(GREETING, to_name(b"exa mple")).received()[2:] == refusal(4)
    assert server.resolver.asked == []
    assert [record.rule for record in server.records] == ["ads", "ads", None]
    assert server.records[-1].detail == "HostUnreachable: not a host name"


def test_a_name_is_looked_up_and_then_its_addresses_are_judged() -> None:
    names = {b"www.example.org": ["10.0.0.1", HOST, "127.0.0.1"]}
    server = direct(
        deny("inside", networks=["@private"]), allow("them", names=[".example.org"]), names=names
    )
    server.client(GREETING, to_name())
    assert dialled(server) == [HOST]
    server.reactor.connectors[0].succeed()
    assert [record.rule for record in records(server)] == ["them"]
    assert server.counters.rules == {"inside": 1, "them": 1, "builtin:guard": 1}


def test_a_refusal_of_somebody_s_rules_is_never_a_success() -> None:
    server = Server(rules=Allow(lambda *_: Verdict(False, reply=0)))
    assert server.client(GREETING, CONNECT).received() == NO_AUTHENTICATION + refusal(2)


# ---------------------------------------------------------------- from where


@pytest.mark.parametrize("asked", [CONNECT, to_name()])
def test_a_target_is_reached_from_the_source_of_its_rule(asked: bytes) -> None:
    """And over that family alone."""
    server = direct(allow("them", source=[SOURCE]))
    server.client(GREETING, asked)
    [connector] = server.reactor.connectors
    assert (connector.host, connector.bind_address) == (HOST, (SOURCE, 0))


IPV6_TARGET = octets("05 01 00 04 20010db8000000000000000000000080 0050")


@pytest.mark.parametrize(
    ("asked", "names"), [(IPV6_TARGET, None), (to_name(), {b"www.example.org": ["2001:db8::80"]})]
)
def test_a_family_without_a_source_is_not_dialled(asked: bytes, names: Any) -> None:
    server = direct(allow("them", source=[SOURCE]), names=names)
    client = server.client(GREETING, asked)
    assert client.received() == NO_AUTHENTICATION + refusal(8)
    assert dialled(server) == []
    assert [record.detail for record in server.records] == [
        "AddressTypeNotSupported: the rule has no source of that family"
    ]
    assert server.resolver.distrusted == []


@pytest.mark.parametrize(
    ("near", "peer", "source"),
    [
        (address("203.0.113.9", 1080), address("198.51.100.7", 5000), "203.0.113.9"),
        (address("2001:db8::9", 1080), address("2001:db8::7", 5000), "2001:db8::9"),
    ],
)
def test_accepted_is_the_address_on_which_the_client_reached_us(
    near: Any, peer: Any, source: str
) -> None:
    server = direct(allow("them", source=["accepted"]))
    server.client(GREETING, to_name(), host=near, peer=peer)
    [connector] = server.reactor.connectors
    assert connector.bind_address == (source, 0)
    assert (":" in connector.host) == (":" in source)


def test_a_client_on_a_unix_socket_has_reached_no_address() -> None:
    rules = Allow(lambda *_: Verdict(True, source=ACCEPTED))
    server = Server(rules=rules, dialer=None)
    client = server.client(GREETING, CONNECT, host=None, peer=None)
    assert client.received() == NO_AUTHENTICATION + refusal(8)


@pytest.mark.parametrize("is_late", [False, True])
def test_of_several_addresses_those_are_dialled_that_agree_with_the_first(is_late: bool) -> None:
    hosts = [f"192.0.2.{number}" for number in range(1, 6)]
    verdicts = {
        None: ALLOWED,
        hosts[0]: Verdict(True, "first", source=PerFamily(SOURCE), limits=("some",)),
        hosts[1]: Verdict(True, "source", source=PerFamily("203.0.113.8"), limits=("some",)),
        hosts[2]: Verdict(True, "limits", source=PerFamily(SOURCE)),
        hosts[3]: Verdict(True, "alike", source=PerFamily(SOURCE), limits=("some",)),
        hosts[4]: Verdict(True, "via", source=PerFamily(SOURCE), limits=("some",), via="far"),
    }

    def judge(_: Access, host: str | None) -> Any:
        return succeed(verdicts[host]) if is_late else verdicts[host]

    server = Server(
        rules=Allow(judge), dialer=None, resolver=FakeResolver({b"www.example.org": hosts})
    )
    client = server.client(GREETING, to_name())
    session = client.session
    assert session.access.rule == "first"
    server.reactor.connectors[0].fail(ConnectionRefusedError())
    assert [(each.host, each.bind_address) for each in server.reactor.connectors] == [
        (hosts[0], (SOURCE, 0)),
        (hosts[3], (SOURCE, 0)),
    ]
    server.reactor.connectors[1].succeed()
    assert session.access.rule == "alike"
    assert [record.rule for record in records(server)] == ["alike"]


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("asked", [CONNECT, BIND + TARGET, BIND + ANYONE])
def test_who_has_to_go_by_an_upstream_does_not_go_without(asked: bytes, is_late: bool) -> None:
    verdict = Verdict(True, "far", "upstream")
    server = Server(rules=Allow(lambda *_: succeed(verdict) if is_late else verdict), dialer=None)
    client = server.client(GREETING, asked)
    ports = server.reactor.tcp_ports
    assert dialled(server) == []
    if asked == BIND + ANYONE:
        assert len(client.received()) == len(NO_AUTHENTICATION) + 10
        peer = ports[0].connect(address(HOST, 20))
        server.reactor.turn()
        assert (peer.connected, client.received()) == (False, b"")
    else:
        assert client.received() == NO_AUTHENTICATION + refusal(2)
        assert ports == []


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("peer", [TARGET, ANYONE])
def test_a_peer_is_awaited_on_the_source_of_the_rule(peer: bytes, is_late: bool) -> None:
    verdict = Verdict(True, "peers", source=PerFamily(SOURCE))
    server = Server(rules=Allow(lambda *_: succeed(verdict) if is_late else verdict), dialer=None)
    client = server.client(GREETING, BIND + peer)
    assert client.received()[:4] == NO_AUTHENTICATION + octets("05 00")
    [port] = server.reactor.tcp_ports
    assert port.getHost().host == SOURCE


# ---------------------------------------------------------------- bind


def test_a_denied_peer_is_closed_without_a_word_and_the_wait_goes_on() -> None:
    server = direct(deny("them", networks=["192.0.2.81"]), allow("peers", commands=["bind"]))
    client = server.client(GREETING, BIND + ANYONE)
    assert len(client.received()) == 12
    [port] = server.reactor.tcp_ports
    denied = port.connect(address("192.0.2.81", 20))
    server.reactor.turn()
    assert (denied.connected, denied.value(), client.received()) == (False, b"", b"")
    port.connect(address(HOST, 20))
    assert client.received()[:2] == octets("05 00")
    [record] = records(server)
    assert record.rule == "peers"
    assert server.counters.rules == {"them": 1, "peers": 1}


def test_the_expected_peer_is_judged_at_the_request() -> None:
    server = direct(deny("them", networks=[HOST]), allow("peers", commands=["bind"]))
    client = server.client(GREETING, BIND + TARGET)
    assert client.received() == NO_AUTHENTICATION + refusal(2)
    assert server.reactor.tcp_ports == []


# ---------------------------------------------------------------- datagrams


def association(*rules: Any, **parts: Any) -> Association:
    return Association(rules=Ruleset(rules, **parts))


def ended(some: Association) -> Any:
    some.client.end()
    [record] = some.server.records
    return record


def test_each_target_is_judged_and_what_is_denied_is_dropped_and_told_by_rule() -> None:
    udp = association(
        deny("ads", names=["example.org"]),
        deny("other", networks=[OTHER[0]]),
        allow("dns", ports=[53]),
    )
    udp.ask(TO, TO, OTHER, NAME, NAME, (TO[0], 54))
    assert udp.reached == [TO, TO]
    assert udp.resolver.asked == []
    assert udp.dropped == {"not allowed": 4}
    assert udp.is_alive
    record = ended(udp)
    assert record.denied == {"other": 1, "ads": 2, "builtin:default": 1}
    assert record.rule is None
    rules = udp.server.counters.rules
    assert rules == {"dns": 1, "other": 1, "ads": 2, "builtin:default": 1}


def test_a_record_names_so_many_rules() -> None:
    names = {f"h{number}.example".encode(): ["192.0.2.9"] for number in range(20)}
    udp = association(
        *(deny(f"r{number}", names=[f"h{number}.example"]) for number in range(10)),
        *(
            deny(f"would{number}", names=[f"h{number}.example"], report_only=True)
            for number in range(10, 20)
        ),
        allow("rest"),
    )
    udp.resolver.answers.update(names)
    udp.ask(*((name, 53) for name in names), (b"h0.example", 53), (b"h9.example", 53))
    record = ended(udp)
    assert record.denied == {"r0": 2, **{f"r{number}": 1 for number in range(1, MOST_RULES)}}
    assert record.would == tuple(f"would{number}" for number in range(10, 10 + MOST_RULES))


def test_datagrams_leave_from_the_source_of_their_rule() -> None:
    """From another socket, over that family alone."""
    udp = association(allow("dns", ports=[53], source=[SOURCE]), allow("rest"))
    udp.ask(TO, (TO[0], 54), TO, TARGET6)
    by_source = {port.getHost().host: port.written for port in udp.far}
    assert by_source == {
        SOURCE: [(b"ping", TO)] * 2,
        "0.0.0.0": [(b"ping", (TO[0], 54))],
    }
    assert udp.dropped == {"address family": 1}
    udp.far[0].receive(b"pong", TO)
    assert [payload for payload, *_ in udp.received] == [b"pong"]


def test_a_name_that_leads_to_a_family_without_a_source_leads_to_the_other() -> None:
    udp = association(allow("them", source=[SOURCE]))
    udp.resolver.answers[NAME[0]] = [TARGET6[0], TO[0]]
    udp.ask(NAME)
    assert udp.reached == [TO]
    udp.far[0].receive(b"pong", TO)
    udp.far[0].receive(b"pong", TARGET6)  # from nobody who was asked
    assert [payload for payload, *_ in udp.received] == [b"pong"]


def test_datagrams_of_an_upstream_are_dropped() -> None:
    udp = association(allow("udp", commands=["udp"], via="far"))
    udp.ask(TO)
    assert (udp.sent, udp.dropped) == ([], {"not allowed": 1})


def test_a_verdict_on_a_name_may_be_late() -> None:
    waiting: list[Deferred[Verdict]] = []

    def judge(access: Access, host: str | None) -> Any:
        if access.target.host != NAME[0] or host is not None:
            return ALLOWED
        waiting.append(Deferred())
        return waiting[-1]

    udp = Association(rules=Allow(judge), names={NAME[0]: [TO[0]]})
    udp.ask(NAME, NAME)
    assert (udp.resolver.asked, udp.sent) == ([], [])
    waiting[0].callback(ALLOWED)
    waiting[1].callback(Verdict(False, "them"))
    assert (udp.resolver.asked, udp.reached) == ([NAME[0]], [TO])
    assert ended(udp).denied == {"them": 1}


def test_a_name_that_is_looked_up_while_rules_are_replaced_is_asked_about_again() -> None:
    udp = Association()
    udp.ask(NAME)
    no_names = Allow(lambda access, host: Verdict(host is not None or not access.is_datagram))
    udp.server.factory.replace(Policy(rules=no_names, dialer=udp.server.dialer))
    udp.resolver.answer(NAME[0], [TO[0]])
    assert (udp.sent, udp.dropped) == ([], {"not allowed": 1})
    assert udp.is_alive


# ---------------------------------------------------------------- who it is


def facts(server: Any, *sent: bytes) -> tuple[str, str]:
    client = server.client(*sent)
    access: Access = client.session.access
    assert access.command == Command.CONNECT
    return access.listener, access.method


def test_rules_know_the_listener_and_the_method() -> None:
    passwords = PasswordAuthentication.over(InMemoryUsernamePasswordDatabaseDontUse(user=b"secret"))
    server = Server(authenticator=passwords)
    login = (PASSWORD_GREETING, LOGIN, CONNECT)
    assert facts(server, *login) == ("", "password")
    assert facts(Door(server, ListenerPolicy(name="office")), *login) == ("office", "password")
    open_server = Server()
    assert facts(open_server, GREETING, CONNECT) == ("", "none")
    road = Door(open_server, ListenerPolicy(name="road"))
    assert facts(road, GREETING, CONNECT) == ("road", "none")


def test_whoever_leaves_its_name_to_a_certificate_has_not_said_it_by_a_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socks5.server.handshake.name_of", lambda transport: "anna")
    login = octets("01 04 616e6e61 00")  # anna, and no password
    passwords = PasswordAuthentication.over(InMemoryUsernamePasswordDatabaseDontUse(user=b"secret"))
    for sent, method in [
        ((GREETING,), "certificate"),
        ((PASSWORD_GREETING, login), "certificate"),
        ((PASSWORD_GREETING, LOGIN), "password"),
    ]:
        client = Server(authenticator=passwords).client()
        client.session.handshakeCompleted()
        client.send(*sent, CONNECT)
        assert client.session.access.method == method


# ---------------------------------------------------------------- the record


def test_the_record_says_what_a_rule_that_only_reports_would_have_done() -> None:
    server = direct(
        deny("video", names=[".example.org"], report_only=True),
        deny("web", networks=[HOST], report_only=True),
        allow("mail", ports=[80], report_only=True),
        allow("other", networks=["10.0.0.0/8"], report_only=True),
        allow("rest"),
    )
    server.client(GREETING, to_name())
    server.reactor.connectors[0].succeed()
    [record] = records(server)
    assert (record.rule, record.would) == ("rest", ("video", "web"))
    assert server.counters.rules == {"rest": 1, "video": 1, "web": 1, "mail": 1}


def test_a_default_that_only_reports_names_itself() -> None:
    server = direct(default="report")
    server.client(GREETING, CONNECT)
    server.reactor.connectors[0].succeed()
    [record] = records(server)
    assert (record.rule, record.would) == ("builtin:default", ("builtin:default",))
    assert server.counters.rules == {"builtin:default": 1}


def test_a_session_that_ended_before_a_rule_had_decided_names_none() -> None:
    server = direct(allow("them", names=[".example.org"]), names={b"x": []})
    client = server.client(GREETING, to_name())
    assert client.session.access.rule == ""
    client.end()
    [record] = server.records
    assert (record.rule, record.would, record.denied) == (None, (), {})


# ---------------------------------------------------------------- judged again


def reload(server: Server, *rules: Any) -> list[int]:
    ended: list[int] = []
    policy = Policy(rules=Ruleset(rules), dialer=server.dialer)
    server.factory.replace(policy).addCallback(ended.append)
    return ended


def test_sessions_are_judged_by_the_rules_of_now() -> None:
    server = Server(rules=Ruleset([allow("rest")]))
    client, _ = server.relaying()
    assert reload(server, deny("other", networks=["192.0.2.81"]), allow("all")) == [0]
    assert client.is_connected
    assert reload(server, deny("blocked", networks=[HOST]), allow("all")) == [1]
    server.reactor.advance(5)
    [record] = server.records
    assert (record.reason, record.detail, record.rule) == (
        "reload",
        "reload: rule blocked",
        "all",  # by which it was there until now
    )
    assert server.counters.rules == {"rest": 1, "blocked": 1}


def test_an_association_ends_only_if_its_request_is_no_longer_allowed() -> None:
    server = Server(rules=Ruleset([allow("rest")]))
    client = server.client(GREETING, ASSOCIATE)
    assert reload(server, deny("dns", ports=[53]), allow("all")) == [0]
    assert client.is_connected
    assert reload(server, deny("no-udp", commands=["udp"]), allow("all")) == [1]
    assert [record.detail for record in server.records] == ["reload: rule no-udp"]


class Slow(FakeCommand):
    """Does not hear that it is stopped."""

    def stop(self, reason: Reason, within: float) -> None:
        pass


def test_a_session_is_closed_with_words_of_its_own() -> None:
    server = Server()
    server.client(GREETING).session.close(text="tired of it")
    slow = Server(commands=Begun(Command.CONNECT, Slow))
    client = slow.client(GREETING, CONNECT)
    client.session.close(text="of that, too")
    client.reset()
    assert [(each.reason, each.detail) for each in (*server.records, *slow.records)] == [
        ("ended by the operator", "tired of it"),
        ("reset by client", ""),
    ]


def test_a_window_that_ends_ends_its_sessions_within_two_seconds() -> None:
    """They outlived it (asuswrt-merlin#1036)."""
    clock = Clock()
    clock.advance(1764489600)  # Sunday 2025-11-30 08:00 UTC
    day = Ruleset(
        [allow("morning", during=["08:00-12:00"]), allow("mail", ports=[25])],
        zone="UTC",
        now=clock.seconds,
    )
    server = Server(rules=day)
    client, _ = server.relaying()
    clock.advance(4 * 3600 - 1)
    server.reactor.advance(A_LOOK)
    assert client.is_connected
    clock.advance(1)
    server.reactor.advance(A_LOOK)
    assert not client.is_connected
    assert server.client(GREETING, CONNECT).received() == NO_AUTHENTICATION + refusal(2)
    assert [record.detail for record in server.records][:1] == ["reload: rule builtin:default"]
    clock.advance(20 * 3600)
    server.reactor.advance(A_LOOK)
    client, _ = server.relaying()
    assert reload(server, allow("all")) == [0]
    clock.advance(4 * 3600)
    server.reactor.advance(3 * A_LOOK)
    assert client.is_connected, "nobody looks at the clock of rules that are gone"


def test_whoever_does_not_read_is_gone_in_time_too() -> None:
    clock = Clock()
    night = Ruleset([allow("night", during=["00:00-06:00"])], zone="UTC", now=clock.seconds)
    server = Server(rules=night)
    client, target = server.relaying()
    client.transport.window = 0
    target.deliver(b"x" * 1000)
    clock.advance(6 * 3600)
    server.reactor.pump([0.25] * 8)
    assert not client.is_connected
    assert [record.reason for record in server.records] == ["reload"]


def test_sessions_that_keep_older_rules_are_not_judged_by_the_clock_of_newer_ones() -> None:
    clock = Clock()
    server = Server()
    client, _ = server.relaying()
    night = Ruleset([deny("night", during=["00:00-06:00"])], zone="UTC", now=clock.seconds)
    clock.advance(7 * 3600)
    server.factory.replace(Policy(rules=night, dialer=server.dialer), rejudge=False)
    clock.advance(20 * 3600)
    server.reactor.advance(A_LOOK)
    assert client.is_connected


class Refused(FakeDialer):
    """Asks, and goes all the same."""

    def dial(self, access: Access, target: Any, judge: Any, **circumstances: Any) -> Any:
        judge(HOST)
        return super().dial(access, target, judge, **circumstances)


def test_a_dialer_that_does_not_obey_names_no_rule() -> None:
    rules = Allow(
        lambda _, host: Verdict(host is None or host != HOST, "" if host is None else "them")
    )
    server = Server(rules=rules)
    server.factory.replace(Policy(rules=rules, dialer=(dialer := Refused(server.reactor))))
    client = server.client(GREETING, CONNECT)
    dialer.succeed()
    assert client.session.access.rule == ""
    assert [record.rule for record in records(server)] == [None]
