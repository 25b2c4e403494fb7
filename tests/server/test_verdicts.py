"""Answers of rules, bans and authenticators that somebody else has written: what is no answer lets nobody in."""

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface.verify import verifyObject

from socks5 import Access, Rules, ServerFactory
from socks5.auth import CheckFailed, User
from socks5.interfaces import IBans, IRules
from socks5.net.protected import Envelope
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from socks5.protocol.errors import RemoteProtocolError
from socks5.protocol.gssapi import Protection
from socks5.server.verdicts import StrictBans, StrictRules
from tests.support.failures import Failures
from tests.support.providers import Allow, Logins
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


NO_ANSWERS: list[Callable[[], Any]] = [
    later,
    lambda: succeed(True),
    Deferred,
    lambda: fail(RuntimeError("a rule that failed later")),
    generator,
    lambda: 1,
    lambda: "yes",
    lambda: [True],
    object,
    lambda: None,
]
IDS = [
    "coroutine",
    "success",
    "wait",
    "failure",
    "generator",
    "one",
    "text",
    "list",
    "object",
    "nothing",
]

each_answer = pytest.mark.parametrize("answer", NO_ANSWERS, ids=IDS)


@pytest.fixture(autouse=True)
def warned() -> Iterator[None]:
    """Nothing is left that Python or Twisted would complain of when it is collected."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    assert [str(each.message) for each in found if each.category is RuntimeWarning] == []


def only_for(address: str | None, answer: Callable[[], Any]) -> Allow:
    """Rules that have no answer for one address, and allow the rest."""
    return Allow(lambda _, asked: answer() if asked == address else True)


# ---------------------------------------------------------------- rules


@each_answer
@pytest.mark.parametrize("request_octets", [CONNECT, BIND + TARGET, ASSOCIATE])
def test_a_request_needs_the_answer_true(answer: Any, request_octets: bytes) -> None:
    server = Server(rules=only_for(None, answer))
    client = server.client(GREETING, request_octets)
    assert client.received() == NO_AUTHENTICATION + refusal(2)
    assert server.dialer.targets == []
    assert server.reactor.tcp_ports == server.reactor.udp_ports == []


@each_answer
def test_an_address_needs_the_answer_true_before_it_is_dialled(answer: Any) -> None:
    server = Server(rules=only_for("192.0.2.80", answer), dialer=None)
    client = server.client(GREETING, CONNECT)
    assert client.received() == NO_AUTHENTICATION + refusal(2)
    assert server.reactor.connectors == []


@each_answer
def test_the_question_that_a_dialer_gets_has_the_answers_true_and_false(answer: Any) -> None:
    server = Server(rules=only_for("192.0.2.80", answer))
    server.client(GREETING, CONNECT)
    assert server.dialer.is_allowed("192.0.2.80") is False
    assert server.dialer.is_allowed("192.0.2.81") is True


@each_answer
def test_the_peer_of_a_bind_needs_the_answer_true(answer: Any) -> None:
    server = Server(rules=only_for("192.0.2.80", answer))
    client = server.client(GREETING, BIND + TARGET)
    assert client.received() == NO_AUTHENTICATION + refusal(2)
    anyone = server.client(GREETING, BIND + octets("01 00000000 0000"))
    [port] = server.reactor.tcp_ports
    assert not port.connect(address("192.0.2.80", 20)).connected
    assert anyone.received()[:4] == NO_AUTHENTICATION + octets("05 00")


@each_answer
@pytest.mark.parametrize("asked", [None, "192.0.2.53"])
def test_the_target_of_a_datagram_needs_the_answer_true(answer: Any, asked: str | None) -> None:
    def decide(access: Access, address: str | None) -> Any:
        return answer() if access.target.port == 53 and address == asked else True

    server = Server(rules=Allow(decide))
    server.client(GREETING, ASSOCIATE)
    [near] = server.reactor.udp_ports
    for port in (53, 54):
        near.receive(Datagram(Address("192.0.2.53", port), b"?").encode(), CLIENT_UDP)
    [far] = server.reactor.udp_ports[1:]
    assert far.written == [(b"?", ("192.0.2.53", 54))]
    assert server.counters.dropped == {"not allowed": 1}


def test_no_answer_is_said_once_for_each_rules(log: list[str]) -> None:
    for _ in range(2):
        server = Server(rules=Allow(lambda *_: later()))
        for _ in range(3):
            server.client(GREETING, CONNECT)
    [line, other] = [line for line in log if "allows()" in line]
    assert line == other
    assert "Allow.allows() must answer True or False, at once" in line
    assert "type coroutine" in line


@pytest.mark.parametrize("answer", [True, False])
def test_a_plain_answer_is_taken_without_a_word(answer: bool, log: list[str]) -> None:
    server = Server(rules=Allow(lambda *_: answer))
    server.client(GREETING, CONNECT)
    assert (len(server.dialer.targets), log) == (answer, [])


class Waits(Rules):
    async def allows(self, access: Access, address: str | None) -> bool:  # type: ignore[override]
        return True


class Generates:
    def allows(self, access: Access, address: str | None) -> Iterator[bool]:
        yield True


class GeneratesLater:
    async def allows(self, access: Access, address: str | None) -> Any:
        yield True


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


@pytest.mark.parametrize("kind", [Waits, Generates, GeneratesLater, Calls, WaitsInPart])
def test_rules_that_can_be_seen_to_wait_are_refused_at_once(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"\.allows\(\) must answer at once: expected a plain"):
        ServerFactory(FakeReactor(), rules=kind())


@pytest.mark.parametrize("rules", [Rules, object(), lambda *_: True])
def test_what_are_no_rules_is_refused_at_once(rules: Any) -> None:
    with pytest.raises(TypeError, match=r"expected an object with a method allows\(\), got"):
        ServerFactory(FakeReactor(), rules=rules)


def test_what_judges_rules_is_rules() -> None:
    assert verifyObject(IRules, StrictRules(Rules()))


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


class Answers(Logins):
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
    server = Server(authenticator=Answers(answer), bans=bans)
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
    server = Server(authenticator=Answers(answer))
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
