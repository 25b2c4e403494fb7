"""Who goes directly and who through which upstream, in memory: what is sent there, and what each outcome leads to."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionRefusedError
from zope.interface.verify import verifyObject

from socks5.access import ALLOWED, DENIED, Verdict
from socks5.client import Proxy
from socks5.client.hops import Hop, Same
from socks5.interfaces import IDialer
from socks5.outbound.direct import DirectDialer
from socks5.outbound.path import Path
from socks5.outbound.pool import Way
from socks5.outbound.terms import Terms
from socks5.outbound.upstream import Upstream
from socks5.outbound.ways import Upstreams
from socks5.protocol.address import Address
from socks5.settings import OutgoingFamily, PerFamily, Settings
from tests.support.providers import ASKER, FakeResolver, begin_dial
from tests.support.reactor import FakeReactor
from tests.support.sessions import GREETING, NO_AUTHENTICATION, octets
from tests.support.transports import FakeTransport
from tests.support.upstreams import (
    BOUND,
    HOST,
    LOGIN,
    NAME,
    TARGET,
    UP,
    VIA,
    Dialling,
    World,
    chained,
    reply,
    request,
    two,
    upstream,
)


def test_it_is_a_way_of_its_own() -> None:
    assert verifyObject(IDialer, World().dialer)


# ---------------------------------------------------------------- the walk


def test_an_address_goes_where_its_verdict_says() -> None:
    world = World()
    dialling = world.dial()
    assert (world.asked, world.connecting) == ([HOST], [(UP, 1080)])
    transport = world.accept()
    assert world.sent(transport) == GREETING
    world.answer(transport, NO_AUTHENTICATION)
    assert world.sent(transport) == request()
    world.answer(transport, reply() + b"early")
    stream = dialling.stream
    assert (stream.transport, stream.waiting, stream.upstream) == (transport, b"early", "up")
    assert (stream.bound, stream.far) == (BOUND, TARGET)
    assert world.counters["up"].open == 1
    transport.deliver_reset()
    assert world.counters["up"].open == 0
    world.assert_nothing_is_left()


def test_options_that_make_no_tls_are_told_as_no_tls() -> None:
    world = World(url=f"socks5s://{UP}", options=Same(SimpleNamespace(getContext=object)))
    dialling = world.dial()
    transport = world.accept()
    assert (dialling.code, world.counters["up"].failures) == (1, {"tls": 1})
    assert "no TLS with it: namespace(getContext=" in dialling.failure.getErrorMessage()
    world.reactor.turn()
    assert not transport.connected
    world.assert_nothing_is_left()


def test_a_name_goes_there_as_the_rules_have_seen_it() -> None:
    world = World()
    dialling = world.dial(Address(b"WWW.Example.ORG.", 80))
    assert (world.asked, world.resolver.asked) == ([None], [])
    transport = world.greeted()
    assert world.sent(transport)[3:] == request(NAME)
    world.answer(transport, reply())
    assert dialling.stream.far is None


@pytest.mark.parametrize("name", [b"", b"a b.example", b"a" * 255])
def test_what_is_no_name_is_sent_nowhere(name: bytes) -> None:
    world = World()
    dialling = world.dial(Address(name, 80))
    assert (dialling.code, world.asked, world.connecting) == (4, [], [])


def test_where_a_rule_has_to_see_addresses_the_upstream_gets_the_one_that_was_judged() -> None:
    """The first that is allowed decides which way; others follow it if they have the same."""
    hosts = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]
    verdicts = {
        None: ALLOWED,
        hosts[0]: DENIED,
        hosts[1]: VIA,
        hosts[2]: Verdict(True, "d"),
        hosts[3]: VIA,
    }
    world = World(verdicts=verdicts.get, hosts={NAME: hosts})
    dialling = world.dial(Address(NAME, 80))
    assert (world.asked, world.resolver.askers) == ([None, *hosts], [ASKER.client])
    transport = world.greeted()
    assert world.sent(transport)[3:] == request(hosts[1])
    world.answer(transport, reply(5))
    transport = world.greeted()
    assert world.sent(transport)[3:] == request(hosts[3])
    world.answer(transport, reply())
    assert dialling.stream.far == Address(hosts[3], 80)


@pytest.mark.parametrize("is_late", [False, True])
def test_where_the_first_address_goes_directly_the_others_of_its_kind_are_raced(
    is_late: bool,
) -> None:
    hosts = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    verdicts = {
        None: ALLOWED,
        hosts[0]: Verdict(True, "d"),
        hosts[1]: VIA,
        hosts[2]: Verdict(True, "d"),
    }

    def judge(host: str | None) -> Any:
        return succeed(verdicts[host]) if is_late else verdicts[host]

    world = World(verdicts=judge, hosts={NAME: hosts})
    dialling = world.dial(Address(NAME, 80))
    assert world.connecting == [(hosts[0], 80)]
    world.reactor.connectors[0].fail(ConnectionRefusedError())
    world.reactor.turn()
    assert world.connecting == [(hosts[2], 80)]
    transport = world.accept()
    assert dialling.stream.transport is transport


def test_a_name_of_which_no_address_works_is_distrusted() -> None:
    world = World(verdicts=lambda _: ALLOWED, hosts={NAME: [HOST]})
    dialling = world.dial(Address(NAME, 80))
    world.reactor.connectors[0].fail(ConnectionRefusedError())
    assert (dialling.code, world.resolver.distrusted) == (5, [NAME])


def test_no_address_of_a_family_that_is_reached() -> None:
    world = World(verdicts=lambda _: ALLOWED, hosts={NAME: [HOST]})
    assert world.dial(Address(NAME, 80), outgoing_family=OutgoingFamily.IPV6).code == 4


@pytest.mark.parametrize("target", [TARGET, Address(NAME, 80)])
@pytest.mark.parametrize("is_late", [False, True])
def test_whom_the_rules_refuse_goes_nowhere(target: Address, is_late: bool) -> None:
    refusal = Verdict(False, "no", reply=4)
    world = World(verdicts=lambda _: succeed(refusal) if is_late else refusal)
    dialling = world.dial(target)
    assert (dialling.code, world.connecting) == (4, [])


@pytest.mark.parametrize("verdict", [ALLOWED, Verdict(True, "d", source=PerFamily("192.0.2.9"))])
def test_whom_they_send_nowhere_goes_directly(verdict: Verdict) -> None:
    world = World(verdicts=lambda _: verdict)
    dialling = world.dial()
    [attempt] = world.reactor.connectors
    source: Any = verdict.source
    bound = source.ipv4 and (source.ipv4, 0)
    assert (attempt.host, attempt.bind_address) == (HOST, bound)
    transport = attempt.succeed()
    assert dialling.stream.transport is transport


def test_names_that_are_to_be_resolved_here_are() -> None:
    whole = NAME + b"."  # whose dot means something to resolvers
    world = World(hosts={whole: [HOST]}, resolves=False)
    world.dial(Address(whole, 80))
    assert world.asked == [None, HOST]
    transport = world.greeted()
    assert world.sent(transport)[3:] == request()


def test_an_upstream_that_is_not_there_never_means_directly(log: list[str]) -> None:
    world = World(verdicts=lambda _: Verdict(True, "far", via="other"))
    codes = {world.dial(target).code for target in (TARGET, Address(NAME, 80)) for _ in range(8)}
    assert (codes, world.connecting) == ({1}, [])
    assert len(log) == 10
    line = "there is no upstream other, which a rule wants"
    assert {*log} == {line}
    log.clear()
    world.reactor.advance(60)
    world.dial(TARGET)
    assert log == [f"{line} (6 more times had no line)"]


def test_a_command_that_it_does_not_serve_is_not_asked() -> None:
    world = World(url=f"http://{UP}:3128")
    assert world.bind().code == 7
    assert world.connecting == []


# ---------------------------------------------------------------- how it is asked


def test_a_login_is_said() -> None:
    world = World(login=LOGIN)
    dialling = world.dial()
    transport = world.accept()
    assert world.sent(transport) == octets("05 02 00 02")
    world.answer(transport, octets("05 02"))
    assert world.sent(transport) == LOGIN.encode()
    world.answer(transport, octets("01 00"))
    world.answer(transport, reply())
    assert dialling.stream.upstream == "up"


def test_http_is_asked_by_connect_and_what_is_told_is_our_end() -> None:
    world = World(url=f"http://{UP}:3128")
    dialling = world.dial()
    transport = world.accept()
    assert world.sent(transport).startswith(b"CONNECT 192.0.2.80:80 HTTP/1.1\r\n")
    world.answer(transport, b"HTTP/1.1 200 OK\r\n\r\nfirst")
    host: Any = transport.getHost()
    assert (dialling.stream.bound, dialling.stream.waiting) == (
        Address(host.host, host.port),
        b"first",
    )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("::ffff:198.51.100.9", "198.51.100.9"),
        ("2001:db8::9", "2001:db8::9"),
        ("0.0.0.0", None),
        ("::", None),
        (b"proxy.example", None),
    ],
)
def test_what_is_told_is_an_address_and_never_zeros(said: Any, told: str | None) -> None:
    world = World()
    dialling = world.dial()
    transport = world.greeted()
    world.answer(transport, reply(0, Address(said, 7)))
    host: Any = transport.getHost()
    assert dialling.stream.bound == (
        Address(host.host, host.port) if told is None else Address(told, 7)
    )


class Endpoint:
    """Leads to a proxy of which nobody knows an address."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

    def connect(self, factory: Any) -> Deferred[Any]:
        transport = FakeTransport(self.reactor, host=None, peer=None)  # type: ignore[arg-type]
        self.transport = transport
        protocol = factory.buildProtocol(None)
        transport.connect(protocol)
        return succeed(protocol)


def test_where_nobody_has_an_address_the_client_is_told_the_one_that_it_has_reached() -> None:
    made: list[Endpoint] = []

    def ways(reactor: Any) -> dict[str, Way]:
        made.append(Endpoint(reactor))
        hop = Hop(None, endpoint=Same(made[0]))
        return {"up": Path("up", [Upstream("up", hop, Terms())], reactor)}

    world = World(ways)
    dialling = world.dial()
    world.answer(made[0].transport, NO_AUTHENTICATION)
    world.answer(made[0].transport, reply(0, Address("0.0.0.0", 0)))
    assert dialling.stream.bound == Address("::1", 0)


def test_a_name_that_http_cannot_be_asked_for_is_sent_nowhere() -> None:
    world = World(url=f"http://{UP}:3128")
    dialling = world.dial(Address("\u00fc!.example".encode(), 80))
    assert (dialling.code, world.connecting) == (4, [])


def test_it_is_reached_from_its_own_source_and_its_name_is_nobody_s_target() -> None:
    world = World(
        url="socks5://proxy.example",
        source=PerFamily("192.0.2.9"),
        hosts={b"proxy.example": ["2001:db8::1", UP]},
    )
    world.dial()
    assert (world.asked, world.connecting) == ([HOST], [(UP, 1080)])
    assert world.reactor.connectors[0].bind_address == ("192.0.2.9", 0)


def test_it_is_reached_over_the_families_that_targets_are() -> None:
    world = World()
    dialling = world.dial(outgoing_family=OutgoingFamily.IPV6)
    assert (dialling.code, world.connecting) == (1, [])


def test_who_leads_to_this_proxy_itself_is_not_asked() -> None:
    world = World()
    dialling = world.dial(asker=ASKER._replace(listeners={(UP, 1080)}))
    assert (dialling.code, world.connecting) == (1, [])
    assert "it leads to this proxy itself" in dialling.failure.getErrorMessage()


# ---------------------------------------------------------------- what happens: health, the next, the reply


def refuse(world: World) -> None:
    world.reactor.connectors[0].fail(ConnectionRefusedError())


def say(*answers: bytes) -> Callable[[World], None]:
    def play(world: World) -> None:
        transport = world.accept()
        for answer in answers:
            world.answer(transport, answer)

    return play


def close_behind(*answers: bytes) -> Callable[[World], None]:
    def play(world: World) -> None:
        transport = world.accept()
        for answer in answers:
            world.answer(transport, answer)
        transport.deliver_end()
        world.reactor.turn()

    return play


def wait(world: World) -> None:
    world.reactor.advance(10)


HTTP = {"url": f"http://{UP}:3128"}
PIPELINED = {"is_pipelined": True}


@pytest.mark.parametrize(
    ("options", "play", "stage", "is_out", "goes_on", "code"),
    [
        ({}, refuse, "connect", True, True, 1),
        ({}, wait, "connect", True, True, 1),
        ({}, say(octets("05 ff")), "method", True, True, 1),
        ({}, say(octets("05 01")), "method", True, True, 1),
        *(
            ({"login": LOGIN}, say(octets("05 02"), octets(status)), "login", True, True, 1)
            for status in ("01 01", "01 ff", "05 02", "00 00", "02 00")
        ),
        *(
            (
                {},
                say(NO_AUTHENTICATION, octets(f"05 00 00 {kind}") + bytes(9)),
                "reply",
                False,
                False,
                1,
            )
            for kind in ("00", "09")
        ),
        *(
            (
                {},
                play(NO_AUTHENTICATION, octets("05 05 00 09 00000000 0000")[:length]),
                *("reply", False, False, 5),
            )
            for length in (2, 3, 4, 10)
            for play in (say, close_behind)
        ),
        (HTTP, say(b"HTTP/1.1 407 No\r\n\r\n"), "reply", True, True, 1),
        (PIPELINED, refuse, "connect", True, True, 1),
        (PIPELINED, close_behind(), "method", True, False, 1),
        (PIPELINED, say(octets("05 ff")), "method", True, False, 1),
        (PIPELINED, say(NO_AUTHENTICATION + reply(4)), "reply", False, False, 4),
    ],
)
def test_what_happens_says_whether_it_is_in_order_and_whether_the_next_is_asked(
    options: Any, play: Any, stage: str, is_out: bool, goes_on: bool, code: int
) -> None:
    world = World(lambda reactor: two(reactor, **options))
    dialling = world.dial()
    play(world)
    if goes_on:
        assert world.connecting == [("203.0.113.2", 1080)]
        world.reactor.connectors[-1].fail(ConnectionRefusedError())
        assert dialling.failure.value.upstream == "two"  # type: ignore[attr-defined]
    else:
        assert dialling.failure.value.upstream == "one"  # type: ignore[attr-defined]
        assert f"upstream one, hop 1, {stage}: " in dialling.failure.getErrorMessage()
    assert dialling.code == code
    one, other = world.counters["one"], world.counters["two"]
    assert (dict(one.failures), one.is_out, one.open) == ({stage: 1}, is_out, 0)
    assert dict(other.failures) == ({"connect": 1} if goes_on else {})
    world.assert_nothing_is_left()


@pytest.mark.parametrize("answers", [(), (NO_AUTHENTICATION,)])
def test_all_together_have_the_time_of_a_dial(answers: Sequence[bytes]) -> None:
    """Before the last has been asked nobody can say that the target is silent."""
    world = World(lambda reactor: two(reactor, timeout=15.0))
    dialling = world.dial()
    world.reactor.advance(15)
    say(*answers)(world)
    world.reactor.advance(5)
    assert dialling.code == (6 if answers else 1)
    world.assert_nothing_is_left()


def test_the_time_may_be_over_before_anybody_was_asked() -> None:
    world = World(url="socks5://proxy.example")
    dialling = world.dial(connect_timeout=5.0)
    world.reactor.advance(5)
    assert (dialling.code, world.resolver.cancelled) == (1, [b"proxy.example"])


def test_who_has_no_place_is_passed_by() -> None:
    world = World(lambda reactor: two(reactor, max_connections=1))
    first = world.dial()
    second = world.dial()
    assert world.connecting == [(UP, 1080), ("203.0.113.2", 1080)]
    assert not world.counters["one"].is_out
    refuse(world)
    assert world.connecting == [("203.0.113.2", 1080)] * 2
    assert first.given == second.given == []


def test_who_has_no_place_is_refused_if_there_is_no_other() -> None:
    world = World(max_connections=1)
    world.dial()
    dialling = world.dial()
    assert (dialling.code, len(world.connecting)) == (1, 1)
    assert "too many connections to it" in dialling.failure.getErrorMessage()
    refuse(world)
    world.dial()
    assert len(world.connecting) == 1


def test_one_is_asked_although_it_is_out_if_there_is_no_other() -> None:
    world = World(fails=1)
    world.dial()
    refuse(world)
    dialling = world.dial()
    transport = world.greeted()
    world.answer(transport, reply())
    assert dialling.stream.upstream == "up"
    assert not world.counters["up"].is_out


def test_a_client_that_leaves_says_nothing_of_an_upstream() -> None:
    world = World(two)
    for begin in (lambda: None, world.greeted):
        dialling = world.dial()
        begin()
        dialling.deferred.cancel()
        assert dialling.failure.check(CancelledError)
    assert (world.counters["one"].is_out, dict(world.counters["one"].failures)) == (False, {})
    world.assert_nothing_is_left()


def test_a_bug_is_no_failure_of_an_upstream() -> None:
    def judge(host: str | None) -> Any:
        raise RuntimeError("a bug")

    dialling = World(verdicts=judge).dial()
    assert dialling.failure.check(RuntimeError)


# ---------------------------------------------------------------- chains


def test_hops_are_asked_one_behind_the_other() -> None:
    world = World(chained(f"socks5://{UP}", "socks5://second.example:99"))
    dialling = world.dial()
    transport = world.greeted()
    assert world.sent(transport)[3:] == request(b"second.example", 99)
    world.answer(transport, reply())
    assert world.sent(transport) == GREETING
    world.answer(transport, NO_AUTHENTICATION)
    assert world.sent(transport) == request()
    world.answer(transport, reply(0, Address("198.51.100.77", 7)))
    assert dialling.stream.bound == Address("198.51.100.77", 7)
    assert list(world.counters) == ["up"]


# ---------------------------------------------------------------- a client's proxies


@pytest.mark.parametrize("bind", [None, "192.0.2.9", ("192.0.2.9", 7), "2001:db8::9"])
def test_a_client_s_proxy_is_an_upstream(bind: Any) -> None:
    reactor, urls = FakeReactor(), ["socks5://first.example", "socks5://second.example:99"]
    proxy = Proxy.chain(reactor, urls, bind_address=bind, rdns=False)
    resolver = FakeResolver({NAME: [HOST], b"first.example": [UP]})
    direct = DirectDialer(reactor, resolver)
    dialer = Upstreams(reactor, {"up": proxy}, direct)
    assert list(dialer.begin(direct, Settings())) == ["up"]
    dialling = Dialling(begin_dial(dialer, Address(NAME, 80), lambda _: VIA))
    if bind is not None and ":" in bind:
        assert dialling.code == 1
        return
    [attempt] = reactor.connectors
    assert attempt.bind_address == (None if bind is None else ("192.0.2.9", 0))
    transport = attempt.succeed()
    for answer in (NO_AUTHENTICATION, reply(), NO_AUTHENTICATION, reply()):
        reactor.turn()
        transport.deliver(answer)
    assert dialling.stream.far == TARGET


# ---------------------------------------------------------------- over a reload


def test_upstreams_that_stay_keep_their_health_and_their_connections() -> None:
    world = World(fails=1, max_connections=1)
    dialling = world.dial()
    transport = world.greeted()
    world.answer(transport, reply())
    assert dialling.stream
    world.ways["up"].health.failed("x", is_final=True)
    after = Upstreams(
        world.reactor, {"up": Path("up", [upstream(max_connections=1)], world.reactor)}
    )
    after.over(world.direct)
    counters = after.begin(world.dialer, Settings())
    assert (counters["up"].is_out, counters["up"].open) == (True, 1)
    assert Dialling(begin_dial(after, TARGET, world.judge)).code == 1  # there is no place
    transport.deliver_reset()
    assert counters["up"].open == 0
    assert after.begin(after, Settings()) == counters


def test_what_becomes_of_a_dial_that_is_under_way_holds_for_both() -> None:
    world = World(fails=1)
    first, second = world.dial(), world.dial()
    after = Upstreams(world.reactor, {"up": Path("up", [upstream(fails=2)], world.reactor)})
    after.over(world.direct)
    counters = after.begin(world.dialer, Settings())["up"]
    world.dialer.end()
    refuse(world)
    assert (first.code, counters.is_out) == (1, False)  # by the terms that hold now
    transport = world.greeted()
    world.answer(transport, reply())
    assert (second.stream.upstream, counters.open) == ("up", 1)
    transport.deliver_reset()
    for is_out in (False, True):
        failing = Dialling(begin_dial(after, TARGET, world.judge))
        world.reactor.connectors[-1].fail(ConnectionRefusedError())
        assert (failing.code, counters.is_out) == (1, is_out)
    world.reactor.advance(30)
    trying = Dialling(begin_dial(after, TARGET, world.judge))
    again = Upstreams(world.reactor, {"up": Path("up", [upstream()], world.reactor)}, world.direct)
    again.begin(after, Settings())
    world.answer(world.greeted(), reply())
    assert (trying.stream.upstream, counters.is_out, counters.seconds_out) == ("up", False, 30)


def test_one_at_another_place_begins_anew() -> None:
    world = World(fails=1)
    world.ways["up"].health.failed("x", is_final=True)
    other = Upstreams(
        world.reactor, {"up": Path("up", [upstream(url="socks5://x")], world.reactor)}, world.direct
    )
    assert not other.begin(world.dialer, Settings())["up"].is_out
