"""Dialling in memory: which addresses, in which order, when; and what is left of the attempts that lose.

What every dialer must do on real sockets is in ``tests/sockets/test_dial_sockets.py``.
"""

import errno
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    ConnectError,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
)
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from socks5.access import ALLOWED, DENIED, Verdict
from socks5.interfaces import IDialer
from socks5.outbound import race
from socks5.outbound.direct import DirectDialer
from socks5.outbound.failures import reply_for
from socks5.protocol.address import Address
from socks5.protocol.errors import NotAllowed, TTLExpired
from socks5.settings import OutgoingFamily, PerFamily, Settings
from socks5.streams import IStream
from tests.support.providers import ASKER, FakeResolver, begin_dial
from tests.support.reactor import FakeConnector, FakeReactor
from tests.support.transports import fake_stream

NAME = Address(b"example.org", 80)
IPV4 = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
IPV6 = ["2001:db8::1", "2001:db8::2", "2001:db8::3"]
REFUSED = ConnectionRefusedError()
NO_ROUTE = NoRouteError(errno.ENETUNREACH)
NO_HOST = ConnectError(errno.EHOSTUNREACH)
MANY = [f"192.0.2.{number}" for number in range(1, 21)]


class World:
    """A dialer, its reactor and its resolver."""

    def __init__(self, hosts: Sequence[str] | None = None, **settings: Any) -> None:
        self.reactor = FakeReactor()
        self.resolver = FakeResolver({} if hosts is None else {b"example.org": hosts})
        self.dialer = DirectDialer(self.reactor, self.resolver)
        self.settings = settings
        self.asked: list[str] = []
        self.given: list[Any] = []
        self.dialling: Deferred[IStream] = Deferred()

    def dial(self, target: Address = NAME, allowed: Callable[[str], Any] = lambda _: True) -> None:
        """:param allowed: says yes or no, or gives a Deferred that says a verdict."""

        def judge(host: str) -> Any:
            self.asked.append(host)
            answer = allowed(host)
            return Verdict(answer) if isinstance(answer, bool) else answer

        self.dialling = begin_dial(self.dialer, target, judge, **self.settings)
        self.dialling.addBoth(self.given.append)

    @property
    def dialled(self) -> list[str]:
        """Every address dialled so far, in order."""
        return [each.host for each in self.reactor.connectors]

    @property
    def running(self) -> list[str]:
        """The addresses whose attempts are under way."""
        return [each.host for each in self.reactor.connectors if each.state == "connecting"]

    def attempt(self, host: str) -> FakeConnector:
        return next(each for each in self.reactor.connectors if each.host == host)

    def assert_nothing_is_left(self) -> None:
        """No attempt, no deadline; what serves all deadlines of a dialer goes by itself."""
        self.reactor.turn()
        assert self.running == []
        assert len(self.dialer.deadlines) == 0
        assert len(self.reactor.getDelayedCalls()) <= 1
        self.reactor.advance(Settings(**self.settings).connect_timeout)
        assert self.reactor.getDelayedCalls() == []

    def refuse(self, *hosts: str) -> None:
        for host in hosts:
            self.attempt(host).fail(ConnectionRefusedError())


def outcome(world: World) -> Failure:
    [failure] = world.given
    assert isinstance(failure, Failure)
    return failure


# ---------------------------------------------------------------- what is dialled, and what is not


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_an_address_is_dialled_as_what_it_means(target: str, host: str) -> None:
    world = World(outgoing_family=ONLY6 if ":" in host else ONLY4)
    world.dial(Address(target, 8080))
    [attempt] = world.reactor.connectors
    assert (attempt.host, attempt.port) == (host, 8080)
    assert (world.asked, world.resolver.asked) == ([host], [])
    transport = attempt.succeed()
    assert world.given[0].transport is transport


@pytest.mark.parametrize("name", [b"example.org", b""])
def test_a_name_that_does_not_resolve_fails_as_that_and_an_empty_one_is_not_even_asked_for(
    name: bytes,
) -> None:
    world = World()
    world.dial(Address(name, 80))
    assert world.resolver.asked == [name] * bool(name)
    assert world.resolver.askers == [ASKER.client] * bool(name)
    world.resolver.answer(name)
    assert outcome(world).check(DNSLookupError)
    assert world.dialled == []
    world.assert_nothing_is_left()


def test_every_address_is_asked_for_before_it_is_dialled_and_the_others_never_are() -> None:
    world = World([*IPV6[:2], *IPV4[:2]])
    world.dial(allowed=lambda host: host in (IPV4[0], IPV6[1]))
    assert world.asked == [IPV6[0], IPV4[0], IPV6[1], IPV4[1]]
    world.refuse(IPV4[0])
    world.refuse(IPV6[1])
    assert world.dialled == [IPV4[0], IPV6[1]]
    assert outcome(world).check(ConnectionRefusedError)


@pytest.mark.parametrize("target", [NAME, Address("192.0.2.1", 80), Address("0.0.0.0", 80)])
def test_without_an_allowed_address_nothing_is_dialled(target: Address) -> None:
    world = World(IPV4)
    world.dial(target, allowed=lambda _: False)
    assert outcome(world).check(NotAllowed)
    assert reply_for(outcome(world)) == 2
    assert world.asked == (IPV4 if target is NAME else [target.text])
    assert world.dialled == []
    world.assert_nothing_is_left()


def test_a_question_that_raises_fails_the_dial() -> None:
    world = World(IPV4)
    world.dial(allowed=lambda _: 1 / 0 > 0)
    assert outcome(world).check(ZeroDivisionError)
    assert world.dialled == []


def test_addresses_are_judged_one_after_the_other_where_that_takes_a_while() -> None:
    world, verdicts = World(IPV4), {host: Deferred[Verdict]() for host in IPV4}
    world.dial(allowed=verdicts.__getitem__)
    for host, verdict in zip(IPV4, (DENIED, ALLOWED, ALLOWED), strict=True):
        assert (world.asked[-1], world.dialled) == (host, [])
        verdicts[host].callback(verdict)
    assert world.dialled == IPV4[1:2]


@pytest.mark.parametrize(
    ("how", "is_told"),
    [
        *(("refused", True), ("silent", True), ("forbidden", False), ("family", False)),
        *(("given up", False), ("unknown", False), ("connected", False)),
    ],
)
def test_a_resolver_is_told_of_a_name_none_of_whose_addresses_works(
    how: str, is_told: bool
) -> None:
    family = OutgoingFamily.IPV6 if how == "family" else OutgoingFamily.ANY
    world = World(IPV4[:2], outgoing_family=family, connect_timeout=20.0)
    if how == "unknown":
        world.resolver.answers[b"example.org"] = DNSLookupError()
    world.dial(allowed=lambda _: how != "forbidden")
    if how == "refused":
        world.refuse(IPV4[0])
        assert world.resolver.distrusted == []
        world.refuse(IPV4[1])
    elif how == "silent":
        world.reactor.pump([0.25] * 80)
    elif how == "given up":
        world.dialling.cancel()
    elif how == "connected":
        world.attempt(IPV4[0]).succeed()
    assert len(world.given) == 1
    assert world.resolver.distrusted == [b"example.org"] * is_told


# ---------------------------------------------------------------- when


def test_the_next_attempt_begins_after_the_delay_beside_the_others_or_when_one_fails() -> None:
    """RFC 8305 section 5: 250 ms."""
    assert Settings().attempt_delay == 0.25
    world = World(IPV4)
    world.dial()
    assert world.running == IPV4[:1]
    world.reactor.advance(0.249)
    assert world.running == IPV4[:1]
    world.reactor.advance(0.001)
    assert world.running == IPV4[:2]
    world.reactor.advance(0.1)
    world.refuse(IPV4[0])  # which is when the next begins at once
    assert world.running == IPV4[1:]


def test_only_so_many_attempts_are_under_way_at_a_time() -> None:
    """A name may have any number of addresses; each attempt holds a descriptor."""
    world = World(MANY[:9])
    world.dial()
    world.reactor.pump([0.25] * 5)
    assert world.running == MANY[:6]
    world.reactor.advance(0.125)
    world.refuse(MANY[1])
    assert world.running == [MANY[0], *MANY[2:7]]
    for host in MANY[2:9]:
        world.refuse(host)
    assert (world.running, world.given) == (MANY[:1], [])
    world.refuse(MANY[0])
    assert outcome(world).check(ConnectionRefusedError)
    assert world.dialled == MANY[:9]
    world.assert_nothing_is_left()


def test_an_attempt_has_its_time_before_it_makes_room() -> None:
    """An answer may need a second: a lost SYN is sent again after that long (RFC 6298)."""
    world = World(MANY)
    world.dial()
    world.reactor.pump([0.25] * 5)
    world.refuse(*MANY[:6])  # so six begin at once
    assert world.running == MANY[6:12]
    world.reactor.pump([0.25] * 5)
    assert world.running == MANY[6:12]
    world.reactor.advance(0.25)
    assert world.running == MANY[7:13]


@pytest.mark.parametrize(("verdict", "count"), [(DENIED, 64), (ALLOWED, 16)])
@pytest.mark.parametrize("is_late", [False, True])
def test_so_many_addresses_of_a_name_are_asked_for_and_no_more(
    verdict: Verdict, count: int, is_late: bool
) -> None:
    """Whatever the family of the others."""
    world = World([*(f"2001:db8::{number:x}" for number in range(1, 3000)), IPV4[0]])
    world.dial(allowed=lambda _: succeed(verdict) if is_late else verdict)
    assert len(world.asked) == count
    assert world.asked[:3] == ["2001:db8::1", IPV4[0], "2001:db8::2"]


def test_an_attempt_that_made_room_was_silent() -> None:
    world = World(MANY[:8])
    world.dial()
    world.reactor.pump([0.25] * 8)
    for host in MANY[2:8]:
        world.attempt(host).fail(NO_ROUTE)
    assert reply_for(outcome(world)) == 6
    assert "no answer within 1.5 s" in outcome(world).getErrorMessage()
    world.assert_nothing_is_left()


# ---------------------------------------------------------------- what is shared


def races(world: World, client: str, count: int) -> list[Deferred[IStream]]:
    """So many dials of a client's, all of which have had the time for their six attempts."""
    asker = ASKER._replace(client=client)
    dials = [begin_dial(world.dialer, NAME, asker=asker, **world.settings) for _ in range(count)]
    for each in dials:
        each.addErrback(lambda _: None)
    world.reactor.pump([0.25] * 5)
    return dials


@pytest.mark.parametrize(
    ("client", "other", "beside"),
    [
        ("198.51.100.1", "198.51.100.2", 6),
        ("2001:db8::1", "2001:db8::2", 1),  # has the same subscription
        ("", "", 1),
    ],
)
def test_attempts_beside_others_are_shared_out_by_client(
    client: str, other: str, beside: int
) -> None:
    """One that dials many addresses everywhere leaves the descriptors to others."""
    world = World(MANY[:6], connect_timeout=100)
    races(world, client, 50)
    assert len(world.running) == 50 + 64
    races(world, other, 1)
    assert len(world.running) == 50 + 64 + beside


def test_without_a_share_one_address_is_tried_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "BESIDE_OTHERS", 0)
    world = World(MANY[:6])
    world.dial()
    world.reactor.pump([0.25] * 5)
    assert world.running == MANY[:1]
    world.reactor.advance(0.25)
    assert world.running == MANY[1:2]
    world.attempt(MANY[1]).fail(NO_ROUTE)
    assert world.running == MANY[2:3]


@pytest.mark.parametrize("how", ["cancelled", "connected", "refused", "too late"])
def test_shares_are_given_back(how: str) -> None:
    world = World(MANY[:8])
    dials = races(world, "198.51.100.1", 30)
    world.reactor.pump([0.25] * 6)
    if how == "cancelled":
        for each in dials:
            each.cancel()
    while how in ("connected", "refused") and world.running:
        attempt = next(each for each in world.reactor.connectors if each.state == "connecting")
        attempt.succeed() if how == "connected" else attempt.fail(REFUSED)
    world.reactor.advance(20)
    assert world.running == []
    del world.reactor.connectors[:]
    races(world, "198.51.100.1", 10)
    assert len(world.running) == 60


def test_an_attempt_that_connects_at_once_is_the_last() -> None:
    world = World(IPV4)
    connect = world.reactor.connectTCP
    world.reactor.connectTCP = lambda *arguments, **named: connect(*arguments, **named).succeed()
    world.dial()
    assert world.given[0].transport.getPeer().host == IPV4[0]
    world.assert_nothing_is_left()
    assert world.dialled == IPV4[:1]


def test_attempts_that_fail_at_once_give_others_their_turn() -> None:
    """As many as a name has addresses: whoever owns the name chooses that number."""
    world = World([f"2001:db8::{number:x}" for number in range(1, 2001)])
    connect = world.reactor.connectTCP

    def no_route(*arguments: Any, **named: Any) -> Any:
        connector = connect(*arguments, **named)
        connector.fail(NoRouteError())
        return connector

    world.reactor.connectTCP = no_route
    world.dial()
    assert (len(world.dialled), world.given) == (6, [])
    world.reactor.turn()
    world.reactor.turn()
    assert outcome(world).check(NoRouteError)
    assert len(world.dialled) == 16
    world.assert_nothing_is_left()


# ---------------------------------------------------------------- who wins, who speaks for all, and how long it takes


def test_the_first_that_connects_wins_and_the_others_are_given_up() -> None:
    world = World(IPV4)
    assert verifyObject(IDialer, world.dialer)
    world.dial()
    world.reactor.advance(0.25)
    assert world.running == IPV4[:2]
    transport = world.attempt(IPV4[0]).succeed()
    assert world.attempt(IPV4[1]).state == "disconnected"  # though its socket may be ready too
    world.dialling.cancel()  # which is too late
    [stream] = world.given
    assert verifyObject(IStream, stream)
    assert (stream.transport, stream.receiver) == (transport, None)
    assert transport.connected
    assert transport.getPeer().host == IPV4[0]
    world.assert_nothing_is_left()
    assert world.dialled == IPV4[:2]


@pytest.mark.parametrize("telling", range(3))
def test_the_most_telling_failure_speaks_for_all(telling: int) -> None:
    errors: list[Exception] = [NO_ROUTE, NO_HOST]
    errors.insert(telling, REFUSED)
    world = World(IPV4)
    world.dial()
    for host, error in zip(IPV4, errors, strict=True):
        assert world.given == []
        world.attempt(host).fail(error)
    assert outcome(world).value is REFUSED
    world.assert_nothing_is_left()


@pytest.mark.parametrize("hosts", [IPV4[:1], IPV4])
def test_all_attempts_together_have_so_much_time(hosts: list[str]) -> None:
    """Names have a time of their own, the resolver's."""
    world = World(connect_timeout=20.0)
    world.dial()
    world.reactor.advance(30)
    world.resolver.answer(b"example.org", hosts)
    world.reactor.pump([0.25] * 79)
    assert (world.given, world.running) == ([], hosts)
    world.reactor.advance(0.25)
    assert outcome(world).check(TTLExpired)
    assert reply_for(outcome(world)) == 6
    world.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("error", "outcome_is"), [(NO_ROUTE, TTLExpired), (REFUSED, type(REFUSED))]
)
def test_the_time_is_not_given_anew_to_each_attempt(
    error: Exception, outcome_is: type[Exception]
) -> None:
    """At its end, what has failed by then may say more than the silence of the others."""
    world = World(IPV4, connect_timeout=1.0)
    world.dial()
    world.reactor.advance(0.1)
    world.attempt(IPV4[0]).fail(error)
    world.reactor.advance(0.8)
    assert world.given == []
    world.reactor.advance(0.1)
    assert outcome(world).check(outcome_is)
    world.assert_nothing_is_left()


# ---------------------------------------------------------------- over which family, and from where

MIXED = [IPV6[0], IPV4[0], IPV4[1], IPV6[1]]
ANY, FIRST4, FIRST6, ONLY4, ONLY6 = OutgoingFamily


@pytest.mark.parametrize(
    ("family", "addresses", "order"),
    [
        (None, [], []),
        (None, IPV4, IPV4),
        (None, [*IPV6, IPV4[0]], [IPV6[0], IPV4[0], IPV6[1], IPV6[2]]),
        (None, [IPV4[0], *IPV6], [IPV4[0], IPV6[0], IPV6[1], IPV6[2]]),
        (ANY, MIXED, [IPV6[0], IPV4[0], IPV6[1], IPV4[1]]),
        (FIRST4, MIXED, [IPV4[0], IPV6[0], IPV4[1], IPV6[1]]),
        (FIRST6, MIXED, [IPV6[0], IPV4[0], IPV6[1], IPV4[1]]),
        (ONLY4, MIXED, [IPV4[0], IPV4[1]]),
        (ONLY4, IPV6, []),
        (ONLY6, MIXED, [IPV6[0], IPV6[1]]),
    ],
)
def test_a_name_is_reached_over_the_families_of_the_settings(
    family: OutgoingFamily | None, addresses: list[str], order: list[str]
) -> None:
    """They alternate, and the first is first (RFC 8305 section 4)."""
    world = World(addresses, outgoing_family=family)
    world.dial()
    world.reactor.pump([0.25] * 4)
    assert world.dialled == world.asked == order
    assert order or reply_for(outcome(world)) == 4


@pytest.mark.parametrize(
    ("family", "host"),
    [(ONLY4, IPV6[0]), (ONLY6, IPV4[0]), (ONLY6, f"::ffff:{IPV4[0]}")],
)
def test_an_address_of_another_family_is_reply_8(family: OutgoingFamily, host: str) -> None:
    world = World(outgoing_family=family)
    world.dial(Address(host, 80))
    assert reply_for(outcome(world)) == 8
    assert (world.asked, world.dialled) == ([], [])


@pytest.mark.parametrize(
    ("outgoing", "family", "effective"),
    [
        (PerFamily(), None, ANY),
        (PerFamily("192.0.2.9", "2001:db8::9"), None, ANY),
        (PerFamily(ipv4="192.0.2.9"), None, ONLY4),
        (PerFamily(ipv6="2001:db8::9"), None, ONLY6),
        (PerFamily(ipv4="192.0.2.9"), ANY, ANY),
        (PerFamily(ipv4="192.0.2.9"), FIRST6, FIRST6),
    ],
)
def test_attempts_come_from_their_family_s_source_address(
    outgoing: PerFamily, family: OutgoingFamily | None, effective: OutgoingFamily
) -> None:
    """A single one is not got round by the other family, unless that is what somebody asked for."""
    assert Settings(outgoing=outgoing, outgoing_family=family).family is effective
    world = World(outgoing=outgoing, outgoing_family=family)
    for host in (IPV4[0], IPV6[0]):
        world.dial(Address(host, 80))
    sources = {IPV4[0]: outgoing.ipv4, IPV6[0]: outgoing.ipv6}
    assert {each.host: each.bind_address for each in world.reactor.connectors} == {
        host: source and (source, 0) for host, source in sources.items() if effective.allows(host)
    }


# ---------------------------------------------------------------- the stream


class Receiver:
    """Records the events it receives."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)

    def readConnectionLost(self) -> None:
        self.events.append("end")

    def connectionLost(self, reason: Failure) -> None:
        self.events.append(reason.type)


def test_a_stream_s_receiver_takes_its_events_until_there_is_another() -> None:
    stream, transport = fake_stream(FakeReactor())
    assert transport.nodelay
    assert verifyObject(IStream, stream)
    assert verifyObject(IHalfCloseableProtocol, stream)
    transport.deliver(b"for nobody")
    stream.receiver = first = Receiver()
    transport.deliver(b"octets")
    stream.receiver = second = Receiver()
    transport.deliver(b"more")
    transport.deliver_end()
    transport.deliver_reset()
    assert first.events == [b"octets"]
    assert second.events == [b"more", "end", ConnectionLost]
    assert stream.receiver is None


def test_a_stream_without_a_receiver_has_none_to_tell() -> None:
    reactor = FakeReactor()
    _, transport = fake_stream(reactor)
    transport.deliver_end()
    transport.loseWriteConnection()
    reactor.turn()
    transport.deliver_reset()
    assert not transport.connected
