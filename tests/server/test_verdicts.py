"""Answers of rules and bans that somebody else has written: what is no answer lets nobody in."""

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface.verify import verifyObject

from socks5 import Access, Rules, ServerFactory
from socks5.access import ALLOWED, DENIED, Verdict
from socks5.interfaces import IRules
from socks5.logins import IBans
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from socks5.server.verdicts import StrictBans, strict_rules
from tests.support.failures import Failures
from tests.support.providers import ASKER, FakeBans, Logins
from tests.support.reactor import FakeReactor
from tests.support.sessions import (
    ASSOCIATE,
    BIND,
    CONNECT,
    GREETING,
    LOGIN,
    LOGIN_RIGHT,
    NO_AUTHENTICATION,
    PASSWORD_CHOSEN,
    PASSWORD_GREETING,
    TARGET,
    Server,
    octets,
    refusal,
)
from tests.support.transports import address

LOGIN_WRONG = octets("01 01")
CLIENT_UDP = ("198.51.100.7", 5000)


async def later(*_: Any) -> bool:
    return True


def generator(*_: Any) -> Iterator[bool]:
    yield True


NO_ANSWERS: dict[str, Callable[[], Any]] = {
    "coroutine": later,
    "success": lambda: succeed(True),
    "failure": lambda: fail(RuntimeError("a rule that failed later")),
    "generator": generator,
    "one": lambda: 1,
    "text": lambda: "yes",
    "list": lambda: [True],
    "object": object,
    "nothing": lambda: None,
}

each_answer = pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)


class AllowedEnough(Verdict):
    """A verdict of somebody else's."""


NO_VERDICTS: dict[str, Callable[[], Any]] = NO_ANSWERS | {
    "true": lambda: True,
    "refused": lambda: DENIED,
    "refused later": lambda: succeed(DENIED),
    "one as a verdict": lambda: Verdict(1),
    "text as a verdict later": lambda: succeed(AllowedEnough("yes")),
}

each_no_verdict = pytest.mark.parametrize("answer", NO_VERDICTS.values(), ids=NO_VERDICTS)


@pytest.fixture(autouse=True)
def warned() -> Iterator[None]:
    """Nothing is left that Python or Twisted would complain of when it is collected."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    assert [str(each.message) for each in found if each.category is RuntimeWarning] == []


@pytest.fixture(autouse=True)
def failed_rules(failures: Failures) -> Iterator[None]:
    """A rule that fails later is logged."""
    yield
    failures.take(RuntimeError)


def given(*bases: type, **methods: Any) -> Any:
    """Somebody's rules, which have these methods."""
    return type("Given", bases, methods)()


def deciding(decide: Callable[[Access, str | None], Any]) -> Any:
    """Rules made of one function, which may answer with anything."""
    return given(judge=lambda _, *asked: decide(*asked))


def about(address: str | None, answer: Callable[[], Any]) -> Any:
    """Rules that have a certain answer for one address, and allow the rest."""
    return deciding(lambda _, asked: answer() if asked == address else ALLOWED)


# ---------------------------------------------------------------- rules


@each_no_verdict
@pytest.mark.parametrize(
    ("request_octets", "asked"),
    [(each, host) for each in (CONNECT, BIND + TARGET) for host in (None, "192.0.2.80")]
    + [(ASSOCIATE, None)],
)
def test_a_request_and_its_address_need_a_verdict_that_allows(
    answer: Any, request_octets: bytes, asked: str | None
) -> None:
    server = Server(rules=about(asked, answer), dialer=None)
    client = server.client(GREETING, request_octets)
    assert client.received() == NO_AUTHENTICATION + refusal(2)
    reactor = server.reactor
    assert reactor.connectors == reactor.tcp_ports == reactor.udp_ports == []


@each_no_verdict
def test_so_does_the_peer_of_a_bind(answer: Any) -> None:
    server = Server(rules=about("192.0.2.80", answer))
    client = server.client(GREETING, BIND + octets("01 00000000 0000"))
    [port] = server.reactor.tcp_ports
    peer = port.connect(address("192.0.2.80", 20))
    server.reactor.turn()
    assert not peer.connected
    assert client.received()[:4] == NO_AUTHENTICATION + octets("05 00")


@each_no_verdict
@pytest.mark.parametrize("asked", [None, "192.0.2.53"])
def test_so_does_the_target_of_a_datagram(answer: Any, asked: str | None) -> None:
    def decide(access: Access, address: str | None) -> Any:
        return answer() if access.target.port == 53 and address == asked else ALLOWED

    server = Server(rules=deciding(decide))
    server.client(GREETING, ASSOCIATE)
    [near] = server.reactor.udp_ports
    for port in (53, 54):
        near.receive(Datagram(Address("192.0.2.53", port), b"?").encode(), CLIENT_UDP)
    [far] = server.reactor.udp_ports[1:]
    assert far.written == [(b"?", ("192.0.2.53", 54))]
    assert server.counters.dropped == {"not allowed": 1}


async def verdict(answer: Verdict) -> Verdict:
    return answer


class Ready:
    """Something to await that is neither a coroutine nor a Deferred."""

    def __await__(self) -> Iterator[Any]:
        return (yield succeed(ALLOWED))


ALLOWING: list[Callable[[], Any]] = [
    lambda: ALLOWED,
    lambda: AllowedEnough(True, "mine"),
    lambda: succeed(ALLOWED),
    lambda: verdict(ALLOWED),
    Ready,
]


@pytest.mark.parametrize("answer", ALLOWING)
def test_a_verdict_may_come_in_every_way_of_twisteds(answer: Any, log: list[str]) -> None:
    for asked in (None, "192.0.2.80"):
        server = Server(rules=about(asked, answer), dialer=None)
        server.client(GREETING, CONNECT)
        assert [each.host for each in server.reactor.connectors] == ["192.0.2.80"]
    assert log == []


def test_what_is_no_verdict_is_said_once_and_what_fails_sparingly(
    log: list[str], failures: Failures
) -> None:
    for _ in range(2):
        server = Server(rules=about(None, lambda: 1))
        for _ in range(3):
            server.client(GREETING, CONNECT)
    [line, other] = [line for line in log if "judge()" in line]
    assert line == other
    assert "Given.judge() must answer with a Verdict" in line
    assert "type int" in line
    server = Server(rules=about(None, lambda: fail(RuntimeError("no database"))))
    for _ in range(50):
        server.client(GREETING, CONNECT)
    assert failures.take(RuntimeError) == ["no database"] * 10


def test_rules_that_are_asked_no_more_are_told_so(log: list[str]) -> None:
    waiting: list[Deferred[Verdict]] = []

    def wait() -> Deferred[Verdict]:
        waiting.append(Deferred(lambda _: log.append("cancelled")))
        return waiting[-1]

    server = Server(rules=about(None, wait))
    client = server.client(GREETING, CONNECT)
    assert client.received() == NO_AUTHENTICATION
    client.end()
    assert (client.is_connected, log) == (False, ["cancelled"])
    assert [record.reason for record in server.records] == ["client closed"]


REQUEST, FAR = Verdict(True, "clients"), Verdict(True, "targets")


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize(
    ("request_octets", "said", "rule"),
    [
        (CONNECT, {None: REQUEST, "192.0.2.80": FAR}, "targets"),
        (CONNECT, {None: REQUEST, "192.0.2.80": ALLOWED}, "clients"),
        (CONNECT, {None: REQUEST, "192.0.2.80": Verdict(False, "nobody")}, "nobody"),
        (CONNECT, {None: Verdict(False, "nobody")}, "nobody"),
        (CONNECT, {None: ALLOWED, "192.0.2.80": ALLOWED}, None),
        (BIND + octets("01 00000000 0000"), {None: REQUEST, "192.0.2.80": FAR}, "targets"),
        (ASSOCIATE, {None: REQUEST}, "clients"),
    ],
)
def test_the_record_names_the_rule_that_decided(
    request_octets: bytes, said: dict[str | None, Verdict], rule: str | None, is_late: bool
) -> None:
    def judge(access: Access, address: str | None) -> Any:
        verdict = said.get(address, Verdict(False, "strangers"))
        return succeed(verdict) if is_late else verdict

    server = Server(rules=deciding(judge), dialer=None)
    client = server.client(GREETING, request_octets)
    for connector in server.reactor.connectors:
        connector.succeed()
    for port in server.reactor.tcp_ports:
        port.connect(address("192.0.2.81", 20))
        port.connect(address("192.0.2.80", 20))
    server.reactor.turn()
    client.end()
    server.factory.close_sessions("shutdown", 1)
    server.reactor.advance(5)
    assert [record.rule for record in server.records] == [rule]


# ---------------------------------------------------------------- rules that say True or False


def ask(rules: Any, address: str = "192.0.2.80") -> Any:
    return strict_rules(rules).judge(ASKER, address)


@each_answer
def test_of_yesterdays_rules_only_true_allows(answer: Any, log: list[str]) -> None:
    assert ask(given(allows=lambda *_: answer())) is DENIED
    [line] = log
    assert "Given.allows() must answer True or False, at once" in line
    assert ask(given(allows=lambda *_: True)) is ALLOWED
    assert ask(given(allows=lambda *_: False)) is DENIED
    assert log == [line]


class Stricter(Rules):
    """Yesterday's way to add to the built-in rules."""

    def allows(self, access: Access, address: str | None) -> bool:
        return super().allows(access, address) and address != "192.0.2.80"


class StricterNow(Rules):
    def judge(self, access: Access, address: str | None) -> Verdict:
        return DENIED if address == "192.0.2.80" else super().judge(access, address)


class AddsToNew(StricterNow):
    def allows(self, access: Access, address: str | None) -> bool:
        return super().allows(access, address)


class OfBoth(StricterNow):
    def judge(self, access: Access, address: str | None) -> Verdict:
        return Verdict(self.allows(access, address))

    def allows(self, access: Access, address: str | None) -> bool:
        return address == "192.0.2.81"


ON_THE_OBJECT = given(Rules)
ON_THE_OBJECT.allows = lambda *_: False


@pytest.mark.parametrize(
    "rules",
    [Stricter(), StricterNow(), given(Stricter), AddsToNew(), OfBoth(), ON_THE_OBJECT],
    ids=["allows", "judge", "inherited", "adds to new", "of both", "on the object"],
)
def test_a_rule_holds_in_whichever_shape_it_is_added(rules: Any) -> None:
    assert not ask(rules).is_allowed
    assert not ask(rules, "127.0.0.1").is_allowed
    assert ask(rules, "192.0.2.81").is_allowed is (rules is not ON_THE_OBJECT)


def test_rules_that_would_leave_one_out_are_refused_at_once() -> None:
    leaves_out = given(Stricter, judge=lambda self, *asked: super(Stricter, self).judge(*asked))
    with pytest.raises(TypeError, match=r"Given.judge\(\) leaves out an allows\(\)"):
        ServerFactory(FakeReactor(), rules=leaves_out)


async def generator_later(*_: Any) -> Any:
    yield ALLOWED


@pytest.mark.parametrize(
    "rules",
    [
        given(Rules, allows=later),
        given(allows=generator),
        given(judge=generator),
        given(judge=generator_later),
        given(allows=given(__call__=later)),  # an object that is called
        given(allows=functools.partial(later, True)),
    ],
)
def test_rules_that_can_be_seen_to_give_no_verdict_are_refused_at_once(rules: Any) -> None:
    with pytest.raises(TypeError, match=r"\(\) must answer( at once)?: expected a plain"):
        ServerFactory(FakeReactor(), rules=rules)


@pytest.mark.parametrize("rules", [Rules, object(), lambda *_: True])
def test_what_are_no_rules_is_refused_at_once(rules: Any) -> None:
    with pytest.raises(TypeError, match=r"expected an object with a method judge\(\), got"):
        ServerFactory(FakeReactor(), rules=rules)


def test_what_judges_is_asked_as_the_built_in_ones_are() -> None:
    for rules in (StricterNow(), Stricter()):
        assert verifyObject(IRules, strict_rules(rules))
    assert strict_rules(rules := Rules()) is rules
    assert verifyObject(IBans, StrictBans(FakeBans()))


# ---------------------------------------------------------------- bans


@each_answer
def test_bans_need_the_answer_false(answer: Any, log: list[str]) -> None:
    server = Server(authenticator=Logins(), bans=FakeBans(lambda _: answer()))
    for _ in range(2):
        client = server.client(PASSWORD_GREETING)
        assert (client.received(), client.is_connected) == (b"", False)
    assert len([line for line in log if "FakeBans.is_banned() must answer" in line]) == 1


def test_bans_that_answer_are_asked_and_told(log: list[str]) -> None:
    logins, bans = Logins(), FakeBans(lambda client: client == "198.51.100.8")
    server = Server(authenticator=logins, bans=bans)
    right = server.client(PASSWORD_GREETING, LOGIN)
    logins.accept()
    wrong = server.client(PASSWORD_GREETING, LOGIN)
    logins.refuse()
    assert right.received() == PASSWORD_CHOSEN + LOGIN_RIGHT
    assert wrong.received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert not server.client(peer=address("198.51.100.8", 1)).is_connected
    assert (bans.told, log) == (["succeeded", "failed"], [])


def test_bans_that_can_be_seen_to_wait_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"FakeBans\.is_banned\(\) must answer at once"):
        ServerFactory(FakeReactor(), bans=FakeBans(later))
