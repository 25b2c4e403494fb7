"""Answers of rules, bans and authenticators that somebody else has written: what is no answer lets nobody in."""

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface.verify import verifyObject

from socks5 import Access, Rules, ServerFactory
from socks5.access import ALLOWED, DENIED, Verdict
from socks5.auth import CheckFailed, User
from socks5.interfaces import IRules
from socks5.logins import IBans
from socks5.net.protected import Envelope
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from socks5.protocol.errors import RemoteProtocolError
from socks5.protocol.gssapi import Protection
from socks5.server.verdicts import StrictBans, strict_rules
from tests.support.failures import Failures
from tests.support.providers import ASKER, Logins
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


async def later() -> bool:
    return True


def generator() -> Iterator[bool]:
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
    "one as a verdict": lambda: Verdict(1),  # type: ignore[arg-type]
    "text as a verdict later": lambda: succeed(AllowedEnough("yes")),  # type: ignore[arg-type]
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


class Answers:
    """Rules that have a certain answer for one address, and allow the rest."""

    def __init__(self, address: str | None, answer: Callable[[], Any]) -> None:
        self._address = address
        self._answer = answer

    def judge(self, access: Access, address: str | None) -> Any:
        return self._answer() if address == self._address else ALLOWED


# ---------------------------------------------------------------- rules


@each_no_verdict
@pytest.mark.parametrize("request_octets", [CONNECT, BIND + TARGET, ASSOCIATE])
def test_a_request_needs_a_verdict_that_allows(answer: Any, request_octets: bytes) -> None:
    server = Server(rules=Answers(None, answer))
    client = server.client(GREETING, request_octets)
    assert client.received() == NO_AUTHENTICATION + refusal(2)
    assert server.dialer.targets == []
    assert server.reactor.tcp_ports == server.reactor.udp_ports == []


@each_no_verdict
def test_so_does_an_address_before_it_is_dialled(answer: Any) -> None:
    server = Server(rules=Answers("192.0.2.80", answer), dialer=None)
    client = server.client(GREETING, CONNECT)
    assert client.received() == NO_AUTHENTICATION + refusal(2)
    assert server.reactor.connectors == []


@each_no_verdict
def test_so_does_the_peer_of_a_bind(answer: Any) -> None:
    server = Server(rules=Answers("192.0.2.80", answer))
    client = server.client(GREETING, BIND + TARGET)
    assert client.received() == NO_AUTHENTICATION + refusal(2)
    anyone = server.client(GREETING, BIND + octets("01 00000000 0000"))
    [port] = server.reactor.tcp_ports
    peer = port.connect(address("192.0.2.80", 20))
    server.reactor.turn()
    assert not peer.connected
    assert anyone.received()[:4] == NO_AUTHENTICATION + octets("05 00")


@each_no_verdict
@pytest.mark.parametrize("asked", [None, "192.0.2.53"])
def test_so_does_the_target_of_a_datagram(answer: Any, asked: str | None) -> None:
    def decide(access: Access, address: str | None) -> Any:
        return answer() if access.target.port == 53 and address == asked else ALLOWED

    server = Server(rules=(rules := Answers(None, answer)))
    rules.judge = decide  # type: ignore[method-assign]
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
        server = Server(rules=Answers(asked, answer), dialer=None)
        server.client(GREETING, CONNECT)
        assert [each.host for each in server.reactor.connectors] == ["192.0.2.80"]
    assert log == []


def test_what_is_no_verdict_is_said_once_for_each_rules(log: list[str]) -> None:
    for _ in range(2):
        server = Server(rules=Answers(None, lambda: 1))
        for _ in range(3):
            server.client(GREETING, CONNECT)
    [line, other] = [line for line in log if "judge()" in line]
    assert line == other
    assert "Answers.judge() must answer with a Verdict" in line
    assert "type int" in line


def test_rules_that_fail_later_are_said_so_sparingly(failures: Failures) -> None:
    server = Server(rules=Answers(None, lambda: fail(RuntimeError("no database"))))
    for _ in range(50):
        server.client(GREETING, CONNECT)
    assert failures.take(RuntimeError) == ["no database"] * 10


def test_rules_that_are_asked_no_more_are_told_so(log: list[str]) -> None:
    waiting: list[Deferred[Verdict]] = []

    def wait() -> Deferred[Verdict]:
        waiting.append(Deferred(lambda _: log.append("cancelled")))
        return waiting[-1]

    server = Server(rules=Answers(None, wait))
    client = server.client(GREETING, CONNECT)
    assert client.received() == NO_AUTHENTICATION
    client.end()
    assert (client.is_connected, log) == (False, ["cancelled"])
    assert [record.reason for record in server.records] == ["client closed"]


def test_a_request_waits_for_its_verdict_with_what_came_behind_it() -> None:
    waiting: Deferred[Verdict] = Deferred()
    server = Server(rules=Answers(None, lambda: waiting))
    client = server.client(GREETING, CONNECT, b"a question")
    client.end()
    waiting.callback(ALLOWED)
    target = server.dialer.succeed()
    assert client.received()[:4] == NO_AUTHENTICATION + octets("05 00")
    assert target.value() == b"a question"


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

    server = Server(rules=(rules := Answers(None, lambda: None)), dialer=None)
    rules.judge = judge  # type: ignore[method-assign]
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


class Yesterdays:
    """As rules were before there were verdicts."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self._answer = answer

    def allows(self, access: Access, address: str | None) -> Any:
        return self._answer()


def ask(rules: Any) -> Any:
    return strict_rules(rules).judge(ASKER, "192.0.2.80")


@each_answer
def test_of_yesterdays_rules_only_true_allows(answer: Any, log: list[str]) -> None:
    assert ask(Yesterdays(answer)) is DENIED
    [line] = log
    assert "Yesterdays.allows() must answer True or False, at once" in line


def test_they_are_taken_at_their_word(log: list[str]) -> None:
    assert ask(Yesterdays(lambda: True)) is ALLOWED
    assert ask(Yesterdays(lambda: False)) is DENIED
    assert log == []


class Stricter(Rules):
    """Yesterday's way to add to the built-in rules."""

    def allows(self, access: Access, address: str | None) -> bool:
        return super().allows(access, address) and address != "192.0.2.80"


class StricterNow(Rules):
    def judge(self, access: Access, address: str | None) -> Verdict:
        return DENIED if address == "192.0.2.80" else super().judge(access, address)


class Inherits(Stricter):
    """Something else than its rule."""


class AddsToNew(StricterNow):
    def allows(self, access: Access, address: str | None) -> bool:
        return super().allows(access, address)


class OfBoth(StricterNow):
    def judge(self, access: Access, address: str | None) -> Verdict:
        return Verdict(self.allows(access, address))

    def allows(self, access: Access, address: str | None) -> bool:
        return address == "192.0.2.81"


class OnTheObject(Rules):
    def __init__(self) -> None:
        self.allows = lambda *_: False  # type: ignore[method-assign]


@pytest.mark.parametrize("kind", [Stricter, StricterNow, Inherits, AddsToNew, OfBoth, OnTheObject])
def test_a_rule_holds_in_whichever_shape_it_is_added(kind: Any) -> None:
    rules = strict_rules(kind())
    assert not rules.judge(ASKER, "192.0.2.80").is_allowed
    assert not rules.judge(ASKER, "127.0.0.1").is_allowed
    assert rules.judge(ASKER, "192.0.2.81").is_allowed is (kind is not OnTheObject)


class LeavesOut(Stricter):
    def judge(self, access: Access, address: str | None) -> Verdict:
        return super().judge(access, address)


def test_rules_that_would_leave_one_out_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"LeavesOut.judge\(\) leaves out an allows\(\)"):
        ServerFactory(FakeReactor(), rules=LeavesOut())


def test_the_built_in_rules_are_asked_themselves() -> None:
    assert strict_rules(rules := Rules()) is rules


class Waits(Rules):
    async def allows(self, access: Access, address: str | None) -> bool:  # type: ignore[override]
        return True


class Generates:
    def allows(self, access: Access, address: str | None) -> Iterator[bool]:
        yield True


class GeneratesVerdicts:
    def judge(self, access: Access, address: str | None) -> Iterator[Verdict]:
        yield ALLOWED


class GeneratesLater:
    async def judge(self, access: Access, address: str | None) -> Any:
        yield ALLOWED


class Calls:
    """Its method is an object, and what that is called with is an ``async def``."""

    def __init__(self) -> None:
        self.allows = self

    async def __call__(self, access: Access, address: str | None) -> bool:
        return True


class WaitsInPart:
    def __init__(self) -> None:
        self.allows = functools.partial(self._allows, True)

    async def _allows(self, answer: bool, access: Access, address: str | None) -> bool:
        return answer


@pytest.mark.parametrize(
    "kind", [Waits, Generates, GeneratesVerdicts, GeneratesLater, Calls, WaitsInPart]
)
def test_rules_that_can_be_seen_to_give_no_verdict_are_refused_at_once(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"\(\) must answer( at once)?: expected a plain"):
        ServerFactory(FakeReactor(), rules=kind())


@pytest.mark.parametrize("rules", [Rules, object(), lambda *_: True])
def test_what_are_no_rules_is_refused_at_once(rules: Any) -> None:
    with pytest.raises(TypeError, match=r"expected an object with a method judge\(\), got"):
        ServerFactory(FakeReactor(), rules=rules)


@pytest.mark.parametrize("rules", [StricterNow(), Stricter()])
def test_what_judges_rules_is_rules(rules: Any) -> None:
    assert verifyObject(IRules, strict_rules(rules))


# ---------------------------------------------------------------- bans


class OwnBans:
    """Bans made of one function."""

    def __init__(self, decide: Callable[[str], Any]) -> None:
        self.is_banned = decide
        self.told: list[str] = []

    def failed(self, client: str, is_judged: bool = True) -> float:
        self.told.append("failed")
        return 0.0

    def succeeded(self, client: str) -> None:
        self.told.append("succeeded")


@each_answer
def test_bans_need_the_answer_false(answer: Any, log: list[str]) -> None:
    server = Server(authenticator=Logins(), bans=OwnBans(lambda _: answer()))
    for _ in range(2):
        client = server.client(PASSWORD_GREETING)
        assert (client.received(), client.is_connected) == (b"", False)
    assert len([line for line in log if "OwnBans.is_banned() must answer" in line]) == 1


def test_bans_that_answer_are_asked_and_told(log: list[str]) -> None:
    logins, bans = Logins(), OwnBans(lambda client: client == "198.51.100.8")
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
    async def is_banned(client: str) -> bool:
        return False

    with pytest.raises(TypeError, match=r"OwnBans\.is_banned\(\) must answer at once"):
        ServerFactory(FakeReactor(), bans=OwnBans(is_banned))


def test_what_judges_bans_is_bans() -> None:
    assert verifyObject(IBans, StrictBans(OwnBans(lambda _: False)))


# ---------------------------------------------------------------- logins and tokens


class LoginAnswers(Logins):
    """An authenticator that answers with anything."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        super().__init__()
        self.authenticate = lambda *_: answer()  # type: ignore[method-assign]


NOBODY: list[Any] = [
    lambda: None,
    lambda: True,
    lambda: False,
    lambda: 1,
    lambda: "alice",
    generator,
]


@pytest.mark.parametrize("answer", [*NOBODY, later, lambda: succeed(None), lambda: succeed(True)])
def test_a_login_needs_a_user(answer: Any, failures: Failures) -> None:
    bans = OwnBans(lambda _: False)
    server = Server(authenticator=LoginAnswers(answer), bans=bans)
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert failures.take(CheckFailed) == [
        "NotAUser; its message is left out, for it may hold a password"
    ]
    assert (server.dialer.targets, bans.told) == ([], [])


async def alice() -> User:
    return User("alice")


@pytest.mark.parametrize("answer", [alice, lambda: User("alice"), lambda: succeed(User("alice"))])
def test_a_login_may_be_judged_in_every_way_of_twisteds(answer: Any) -> None:
    server = Server(authenticator=LoginAnswers(answer))
    client = server.client(PASSWORD_GREETING, LOGIN)
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT


@pytest.mark.parametrize("is_encrypted", [1, "yes", None, 0, False])
def test_a_token_needs_the_answer_true_to_count_as_encrypted(is_encrypted: Any) -> None:
    class Context:
        def size_limit(self, is_confidential: bool) -> int:
            return 1000

        def unwrap(self, token: bytes) -> tuple[bytes, Any]:
            return token, is_encrypted

    envelope = Envelope(Context(), Protection.CONFIDENTIALITY)  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError):
        envelope.open(b"token")
