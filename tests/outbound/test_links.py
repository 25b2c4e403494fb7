"""Datagrams through upstreams, in memory: which way they go, what waits, who may answer, what is left at the end."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, DNSLookupError

from socks5.access import ALLOWED, Verdict
from socks5.client import Proxy
from socks5.outbound import link
from socks5.outbound.path import Path
from socks5.outbound.pool import Pool, Way
from socks5.outbound.terms import Terms
from socks5.outbound.upstream import Upstream
from socks5.outbound.ways import Upstreams
from socks5.policy.limit import Limit
from socks5.policy.limits import Limits
from socks5.policy.ruleset import Ruleset
from socks5.protocol.address import Address, AddressType
from socks5.protocol.datagram import Datagram
from socks5.settings import PerFamily, Settings, UDPFiltering
from tests.support.associations import (
    FROM,
    MOVED,
    NAME,
    OTHER,
    TARGET,
    TARGET6,
    to,
)
from tests.support.failures import Failures
from tests.support.hostile import ASSOCIATING, Cell, Hostile, proxies_of
from tests.support.limited import FakeQuotas
from tests.support.linked import ASSOCIATE, ELSEWHERE, RELAY, Through
from tests.support.providers import ASKER, Allow, FakeDialer
from tests.support.reactor import FakeReactor
from tests.support.rules import allow
from tests.support.sessions import NO_AUTHENTICATION
from tests.support.upstreams import UP, VIA, chained, reply, upstream


def test_the_first_one_opens_an_association_there_and_waits_for_it() -> None:
    """As it is it goes on, and its answer comes back; others need nothing more."""
    world = Through()
    world.ask(TARGET, OTHER)
    assert world.connecting == [(UP, 1080)]
    world.open()
    world.ask(TARGET6)
    targets = [Address(*each) for each in (TARGET, OTHER, TARGET6)]
    assert world.sent_there == [(target, b"ping") for target in targets]
    assert world.link.written[0][0] == to(TARGET)
    assert world.answered() == [TARGET]
    assert world.answered(TARGET6) == [TARGET, TARGET6]
    assert len(world.reactor.connectors) == 1
    assert world.udp.dropped == {}
    assert world.counters["up"].open == 1
    world.is_left_alone()
    [record] = world.server.records
    assert (record.upstream, record.rule, record.bytes_up, record.bytes_down) == ("up", None, 12, 8)


def test_each_goes_the_way_that_its_verdict_says() -> None:
    """At once: directly, and through two upstreams."""

    def ways(reactor: Any) -> dict[str, Way]:
        return {
            name: Path(name, [upstream(name, f"socks5://{host}")], reactor)
            for name, host in (("up", UP), ("other", "203.0.113.2"))
        }

    rules = Ruleset(
        [allow("a", ports=[53], via="up"), allow("b", ports=[54], via="other"), allow("c")]
    )
    world = Through(rules, ways)
    targets = [(TARGET[0], port) for port in (53, 54, 55, 53, 54, 55)]
    world.ask(targets[0])
    world.open()
    by_up = world.link
    world.ask(targets[1])
    world.open()
    by_other = world.link
    world.ask(*targets[2:])
    assert [target for _, target in world.link.written] == [targets[2]] * 2
    assert [data for data, _ in by_up.written] == [to(targets[0])] * 2
    assert [data for data, _ in by_other.written] == [to(targets[1])] * 2
    assert world.counters["other"].open == 1
    world.udp.client.end()
    [record] = world.server.records
    assert (record.upstream, world.counters["other"].open) == ("other, up", 0)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (b"www.example.org", b"www.example.org"),
        (b"WWW.Example.ORG.", b"www.example.org"),
        ("bücher.example".encode(), b"xn--bcher-kva.example"),
        (TARGET[0].encode(), TARGET[0]),
        ("::ffff:" + TARGET[0], TARGET[0]),
    ],
)
def test_targets_go_there_as_the_rules_have_seen_them(asked: Any, sent: Any) -> None:
    world = Through()
    world.ask((asked, 53))
    world.open()
    world.ask((asked, 53))
    assert world.sent_there == [(Address(sent, 53), b"ping")] * 2
    assert world.resolver.asked == []


@pytest.mark.parametrize("by", ["names here", "networks"])
def test_a_name_may_be_resolved_here(by: str) -> None:
    """Then the address goes there that was judged, and may answer."""
    rules = Ruleset([allow("far", via="up", networks=["@public"])]) if by == "networks" else None
    terms = {"resolves": by == "networks"}
    world = Through(rules, names={NAME[0]: ["10.0.0.1", "1.1.1.1"]}, terms=terms)
    world.ask(NAME)
    world.open()
    world.ask(NAME)
    [(address, _), again] = world.sent_there
    assert again[0] == address
    assert address.host == ("1.1.1.1" if by == "networks" else "10.0.0.1")
    assert world.answered((address.host, 53)) == [(address.host, 53)]
    assert world.answered(ELSEWHERE) == [(address.host, 53)]
    assert world.udp.dropped == {"unasked": 1}
    assert world.server.counters.rules["far"] == 1


def test_the_address_of_a_literal_is_judged_whatever_rules_have_said_before() -> None:
    """And the rule is counted once for it, beside the request."""
    rules = Allow(lambda *_: VIA)
    world = Through(rules)
    world.ask(("::ffff:" + TARGET[0], 53))
    world.open()
    assert world.sent_there == [(Address(*TARGET), b"ping")]
    assert [address for _, address in rules.asked[1:]] == [None, TARGET[0]]
    assert world.server.counters.rules == {"far": 2}


@pytest.mark.parametrize(
    ("filtering", "passing"),
    [
        (UDPFiltering.ADDRESS_AND_PORT_DEPENDENT, [TARGET]),
        (UDPFiltering.ADDRESS_DEPENDENT, [TARGET, (TARGET[0], 99)]),
        (UDPFiltering.ENDPOINT_INDEPENDENT, [TARGET, (TARGET[0], 99), ELSEWHERE]),
    ],
)
def test_only_who_was_asked_answers(filtering: UDPFiltering, passing: list[Any]) -> None:
    world = Through(udp_filtering=filtering)
    world.ask(TARGET)
    world.open()
    for sender in (TARGET, (TARGET[0].encode(), 99), ELSEWHERE):  # a literal is no name
        world.answered(sender)
    assert world.answered((b"a.example", 53)) == passing  # a name only if it was sent to
    assert {data[3] for data, _ in world.udp.near.written} == {AddressType.IPV4}
    assert world.udp.dropped == {"unasked": 4 - len(passing)}


def test_nobody_here_knows_who_answers_for_a_name() -> None:
    """So the upstream filters, and a name is nobody's address but that of who sent to it."""
    world = Through()
    world.ask(TARGET)
    world.ask(NAME, sender=MOVED)
    world.open()
    world.answered(ELSEWHERE)
    world.answered((b"Example.org", 53))
    world.answered((b"other.example", 53))
    world.answered(("::ffff:192.0.2.7", 53))
    senders = [ELSEWHERE, ("example.org", 53), ("192.0.2.7", 53)]
    assert world.answered() == [*senders, TARGET]
    assert [where for _, _, where in world.udp.received] == [MOVED, MOVED, MOVED, FROM]
    assert world.udp.dropped == {"unasked": 1}


def test_nobody_but_the_relay_is_heard() -> None:
    world = Through()
    world.ask()
    world.open()
    world.answered(by=(RELAY[0], 1))
    world.answered(by=TARGET)
    world.answered(fragment=1)
    world.link.receive(b"\0\0\0\1short", RELAY)
    assert world.udp.received == []
    assert world.udp.dropped == {"unasked": 2, "fragment": 1, "malformed": 1}


def test_what_waits_is_bounded() -> None:
    world = Through(udp_names_waiting=3, udp_octets_waiting=10)
    world.ask(TARGET, TARGET, TARGET)  # 4 octets each
    assert world.udp.dropped == {"upstream": 1}
    world.open()
    assert len(world.sent_there) == 2
    world = Through(udp_names_waiting=3)
    world.ask(*[TARGET] * 4)
    assert world.udp.dropped == {"upstream": 1}
    world.is_left_alone()
    assert world.udp.dropped == {"upstream": 4}


def fails(world: Through) -> None:
    world.reactor.connectors[-1].fail(ConnectionRefusedError())


def test_who_is_not_reached_was_asked_for_an_association(log: list[str]) -> None:
    world = Through(terms={"fails": 1})
    world.ask(TARGET)
    fails(world)
    world.reactor.turn()
    [line] = log
    assert line.startswith("upstream up is out, ")
    assert "asked for an association for UDP: no connection to it: " in line


def is_refused(world: Through) -> None:
    world.open(7)


def is_silent(world: Through) -> None:
    world.greeted()
    world.reactor.advance(10)
    world.reactor.advance(10)


def closes_behind_the_reply(world: Through) -> None:
    control = world.greeted()
    control.deliver(reply(0, Address(b"relay.example", 9)))
    control.deliver_end()
    world.reactor.turn()
    world.resolver.answer(b"relay.example", RELAY[0])


def has_no_socket(world: Through) -> None:
    world.reactor.listen_error = OSError(24, "Too many open files")
    world.open()
    world.reactor.listen_error = None


WITHOUT = pytest.mark.parametrize(
    "how", [fails, is_refused, is_silent, closes_behind_the_reply, has_no_socket]
)


@WITHOUT
def test_the_record_has_the_upstream_that_was_tried(how: Callable[[Through], None]) -> None:
    world = Through()
    world.ask()
    how(world)
    world.udp.client.end()
    [record] = world.server.records
    assert (record.upstream, record.drops) == ("up", {"upstream": 1})


@WITHOUT
def test_without_an_association_there_everything_is_dropped(
    how: Callable[[Through], None],
) -> None:
    """Never does it go directly. A later one has another one opened, but not each."""
    world = Through()
    world.ask(TARGET, OTHER)
    how(world)
    assert (world.udp.sent, world.udp.dropped) == ([], {"upstream": 2})
    count = len(world.reactor.connectors)
    if how is not is_silent:
        world.ask()
        assert (len(world.reactor.connectors), world.udp.dropped) == (count, {"upstream": 3})
        world.reactor.advance(link.PAUSE)
    world.ask()
    assert len(world.reactor.connectors) == count + 1
    world.open()
    assert len(world.sent_there) == 1
    world.is_left_alone()


@pytest.mark.parametrize("cell", ASSOCIATING.values(), ids=ASSOCIATING)
def test_each_stage_can_be_the_last(cell: Cell) -> None:
    """What is sent meanwhile is dropped then; the client's association lives on."""

    def ways(reactor: Any) -> dict[str, Way]:
        [hop] = proxies_of(reactor, cell.over).hops
        return {"up": Path("up", [Upstream("up", hop, Terms(timeout=4))], reactor)}

    world, fate = Through(ways=ways), cell.fate
    world.ask()
    proxy = Hostile(cell, world.reactor, world.accept())
    proxy.do()
    if fate.kind == "silent":
        world.reactor.advance(20 if cell.has_asked else 4)
    if fate.kind == "through":
        assert len(world.link.written) == 1
    elif fate.kind != "given up":
        assert (world.udp.sent, world.udp.dropped) == ([], {"upstream": 1})
        assert world.counters["up"].failures == {fate.stage: 1}
        assert proxy.has_gone
    assert world.udp.is_alive
    world.is_left_alone()
    assert proxy.has_gone


def test_one_that_is_lost_is_opened_anew_as_health_allows() -> None:
    world = Through(terms={"fails": 1})
    world.ask()
    control = world.open()
    world.reactor.advance(link.PAUSE)
    first = world.link
    control.deliver_end()
    world.reactor.turn()
    assert not first.is_listening
    assert world.udp.is_alive
    world.ask()
    world.open()
    assert len(world.sent_there) == 1
    assert world.answered() == [TARGET]
    world.accepted[-1].deliver_reset()
    world.reactor.advance(link.PAUSE)
    world.ask()
    fails(world)  # it is out
    world.reactor.advance(link.PAUSE)
    count = len(world.reactor.connectors)
    world.ask()
    assert (len(world.reactor.connectors), world.udp.dropped) == (count, {"upstream": 2})
    world.reactor.advance(20)
    world.ask()
    world.open()
    world.is_left_alone()


@pytest.mark.parametrize("seconds", [180, 0])
def test_an_upstream_that_vanishes_is_noticed(seconds: int) -> None:
    """By the system, for a control connection is silent: what goes there is no sign of it."""
    world = Through(keepalive=seconds)
    world.ask()
    assert bool(world.open().keepalive) is (seconds > 0)


def test_it_ends_after_a_silence_of_its_own() -> None:
    """While others of the same client go directly."""
    rules = Ruleset([allow("far", ports=[53], via="up"), allow("near")])
    world = Through(rules, udp_idle_timeout=40)
    near = (TARGET[0], 54)
    world.ask()
    control = world.open()
    through = world.link
    for _ in range(4):
        world.reactor.advance(10)
        world.ask(TARGET, near)
    for _ in range(4):
        world.reactor.advance(10)
        world.ask(near)
    assert through.is_listening
    world.reactor.advance(10)
    assert not through.is_listening
    assert not control.connected
    assert world.udp.is_alive
    world.ask()
    world.open()
    world.is_left_alone()


def test_a_client_that_leaves_meanwhile_leaves_nothing() -> None:
    world = Through()
    world.ask()
    world.greeted()
    world.is_left_alone()


def test_each_hop_has_an_association_and_headers_are_nested() -> None:
    world = Through(ways=chained(f"socks5://{UP}", "socks5://second.example"))
    world.ask()
    world.open()
    second = world.greeted()
    assert b"second.example" in world.sent(second)
    world.answer(second, reply())
    world.answer(second, NO_AUTHENTICATION)
    assert world.sent(second).endswith(ASSOCIATE)
    beyond = ("203.0.113.9", 7777)
    world.answer(second, reply(0, Address(*beyond)))
    [(address, payload)] = world.sent_there
    assert (address, payload) == (Address(*beyond), to(TARGET))
    inner = Datagram(Address(*TARGET), b"pong").encode()
    assert world.answered(TARGET, inner) == []
    assert world.answered(beyond, inner) == [TARGET]
    assert world.udp.dropped == {"unasked": 1}
    second.deliver_end()  # the end of one is the end of all
    world.is_left_alone()


@pytest.mark.parametrize(("closes", "is_a_failure"), [(1, True), (2, False)])
def test_who_ends_an_association_as_soon_as_it_is_there_is_named(
    closes: int, is_a_failure: bool
) -> None:
    world = Through(ways=chained(f"socks5://{UP}", "socks5://203.0.113.2", fails=1))
    world.ask()
    first = world.open(at=(b"relay.example", 9))
    second = world.greeted()
    for answer in (reply(), NO_AUTHENTICATION, reply()):
        world.answer(second, answer)
    (first, second)[closes - 1].deliver_end()
    world.reactor.turn()
    world.resolver.answer(b"relay.example", RELAY[0])
    assert world.udp.dropped == {"upstream": 1}
    assert world.counters["up"].is_out is is_a_failure
    world.is_left_alone()


def test_a_hop_before_the_last_that_refuses_is_a_failure_of_the_chain() -> None:
    world = Through(ways=chained(f"socks5://{UP}", "socks5://second.example"))
    world.ask()
    world.open(7)
    assert len(world.reactor.connectors) == 1
    assert world.counters["up"].failures == {"reply": 1}
    assert world.udp.dropped == {"upstream": 1}
    world.is_left_alone()


def test_the_next_of_a_pool_is_asked() -> None:
    def ways(reactor: Any) -> dict[str, Way]:
        hosts = ("http://203.0.113.5:3128", f"socks5://{UP}", "socks5://203.0.113.6")
        return {
            "up": Pool(
                [
                    Path(f"n{number}", [upstream(url=url)], reactor)
                    for number, url in enumerate(hosts)
                ]
            )
        }

    world = Through(ways=ways)
    world.ask()
    assert world.connecting == [(UP, 1080)]  # the first knows no UDP
    fails(world)
    world.reactor.turn()
    assert world.connecting == [("203.0.113.6", 1080)]
    world.open()
    assert len(world.sent_there) == 1
    world.udp.client.end()
    assert world.server.records[0].upstream == "n2"


def test_all_of_a_pool_may_be_out() -> None:
    def ways(reactor: Any) -> dict[str, Way]:
        return {"up": Pool([Path("n", [upstream(fails=1)], reactor)])}

    world = Through(ways=ways)
    world.ask()
    fails(world)
    world.reactor.advance(link.PAUSE)
    world.ask()
    assert len(world.reactor.connectors) == 1
    assert world.udp.dropped == {"upstream": 2}


@pytest.mark.parametrize(
    "ways",
    [
        chained("http://203.0.113.5:3128"),
        chained("http://203.0.113.5:3128", f"socks5://{UP}"),
        lambda reactor: {"up": Proxy.from_url(reactor, "socks5s://proxy.example")},
    ],
)
def test_an_upstream_without_udp_is_not_asked_for_it(ways: Any) -> None:
    world = Through(ways=ways)
    world.ask(TARGET, NAME)
    assert world.connecting == []
    assert world.udp.dropped == {"upstream": 2}
    assert world.resolver.asked == []


def test_an_upstream_that_is_not_there_is_said(log: list[str]) -> None:
    world = Through(Ruleset([allow("far", via="none")]))
    world.ask()
    assert world.udp.dropped == {"upstream": 1}
    assert log == ["there is no upstream none, which a rule wants"]


@pytest.mark.parametrize(
    ("said", "address", "relay"),
    [
        (("0.0.0.0", 99), None, (UP, 99)),
        (("127.0.0.1", 99), None, (UP, 99)),
        (("10.0.0.1", 99), None, (UP, 99)),
        (("10.0.0.1", 99), "192.0.2.44", ("192.0.2.44", 99)),
        (("::ffff:192.0.2.1", 99), None, ("192.0.2.1", 99)),
        ((b"relay.example", 99), None, ("192.0.2.33", 99)),
        ((b"none.example", 99), None, (UP, 99)),
    ],
)
def test_where_the_relay_is(said: Any, address: str | None, relay: Any) -> None:
    names = {
        b"relay.example": ["2001:db8::3", "192.0.2.33"],
        b"none.example": DNSLookupError("none"),
    }
    world = Through(names=names, terms={"udp_address": address})
    world.ask()
    world.open(at=said)
    assert [where for _, where in world.link.written] == [relay]


def test_datagrams_leave_from_our_end_of_the_control_connection() -> None:
    """By which the upstream knows us; of another family from anywhere."""
    world = Through()
    world.ask()
    control = world.open()
    assert world.link.getHost().host == control.getHost().host
    world = Through()
    world.ask()
    world.open(at=("2001:db8::9", 99))
    assert world.link.getHost().host == "::"


def test_nothing_is_sent_to_a_relay_that_is_a_socket_of_ours() -> None:
    """A client of this machine would be taken for its sender, and the datagram go round for ever."""
    world = Through(advertise=PerFamily(ipv4=RELAY[0]))
    world.ask()
    world.open(at=(RELAY[0], world.udp.near.getHost().port))
    assert (world.link.written, world.udp.dropped) == ([], {"ourselves": 1})
    world.is_left_alone()


def test_what_cannot_be_sent_is_dropped() -> None:
    world = Through()
    world.ask()
    world.open()
    world.link.error = OSError(90, "Message too long")
    world.ask()
    assert world.udp.dropped == {"unsendable": 1}


def test_what_cannot_be_passed_on_is_dropped() -> None:
    """To the client, and, as its socket says, to it in a batch."""
    world = Through()
    world.ask()
    world.open()
    world.udp.near.error = OSError(90, "Message too long")
    world.answered()
    assert world.udp.dropped == {"unsendable": 1}
    world.link.protocol._owner.unsendable(False, 2)
    assert world.udp.dropped == {"unsendable": 3}


def test_what_is_no_name_of_a_host_goes_nowhere() -> None:
    world = Through(Allow(lambda access, host: Verdict(True, "far", via="up")))
    world.ask((b"no_such..name", 53))
    assert (world.connecting, world.udp.dropped) == ([], {"unknown name": 1})


def test_only_so_many_targets_have_room() -> None:
    world = Through(udp_targets=1)
    world.ask()
    world.open()
    world.ask(OTHER)
    assert world.udp.dropped == {"too many targets": 1}


def test_a_verdict_may_come_late() -> None:
    waiting: list[Deferred[Verdict]] = []

    def judge(access: Any, host: str | None) -> Any:
        if not access.is_datagram or host is None:
            return ALLOWED
        waiting.append(Deferred())
        return waiting[-1]

    world = Through(Allow(judge))
    world.ask()
    waiting[0].callback(Verdict(True, "far", via="up"))
    world.reactor.turn()
    world.open()
    assert len(world.sent_there) == 1


def test_limits_of_a_rule_hold_there_too() -> None:
    """Also for a name of which nobody here knows an address."""
    few = {"limits": [Limit("few", total=1000)], "rules": {"far": ["few"]}, "quotas": FakeQuotas()}
    world = Through(
        Ruleset([allow("far", via="up", limits=["few"])]),
        limits=lambda clock: Limits(clock=clock, **few),
    )
    big = b"x" * 30000
    world.ask(NAME)
    world.open()
    for _ in range(3):
        world.udp.near.receive(to(NAME, big), FROM)
        world.answered((NAME[0], 53), big)
    dropped = world.udp.dropped["limit"]
    assert dropped > 0
    assert len(world.sent_there) + len(world.udp.received) + dropped == 7
    world.reactor.advance(1000)
    world.ask(NAME)
    assert world.answered((NAME[0], 53))
    assert world.udp.dropped["limit"] == dropped


def test_a_bug_ends_the_clients_association(
    failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Through()
    world.ask()
    world.open()

    def raises(*arguments: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(link.Link, "_take", raises)
    world.answered()
    assert not world.udp.is_alive
    assert len(failures.take(ZeroDivisionError)) == 1
    world.link.protocol.datagramReceived(b"late", RELAY)  # of the same reading


def test_datagrams_of_somebody_elses_making_are_left_to_him() -> None:
    class Own(FakeDialer):
        def open_datagrams(self, *asked: Any, **circumstances: Any) -> Any:
            return self

    reactor = FakeReactor()
    own = Own(reactor)
    dialer = Upstreams(reactor, {}, own)
    asked: Any = (ASKER, None, None)
    assert dialer.open_datagrams(*asked, settings=Settings(), near="") is own
