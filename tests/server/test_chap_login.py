"""CHAP as a method of a server: a login in every respect, by a challenge that is used once."""

from typing import Any

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socks5.logins import IMethod
from socks5.protocol.chap import Attribute, AttributeValues, response_to
from socks5.server.chap_login import CHAP
from socks5.settings import ListenerPolicy, Settings
from tests.support.sessions import CONNECT, Client, Server, octets

SECRET, WRONG = b"correct horse", b"wrong"
GREETING, CHOSEN = octets("05 02 02 03"), octets("05 03")
YES, NO = octets("01 01 00 01 00"), octets("01 01 00 01 01")
OFFER = {Attribute.ALGORITHMS: b"\x05\x85", Attribute.USER_IDENTITY: b"alice"}


@implementer(ICredentialsChecker)
class Checker:
    """Knows alice's secret; judges when ``verdict`` fires."""

    credentialInterfaces: Any = (IUsernameHashedPassword,)

    def __init__(self) -> None:
        self.verdict: Deferred[Any] = succeed(None)
        self.cancelled = 0
        self.clients: list[str] = []

    def wait(self) -> None:
        """Judge later."""
        self.verdict = Deferred(self._cancel)

    def _cancel(self, verdict: Deferred[Any]) -> None:
        self.cancelled += 1

    def requestAvatarId(self, credentials: Any) -> Deferred[bytes]:
        self.clients.append(credentials.client)
        return self.verdict.addCallback(lambda _: self._judge(credentials))

    def _judge(self, credentials: Any) -> bytes:
        if credentials.username == b"alice" and credentials.checkPassword(SECRET):
            return b"alice"
        raise UnauthorizedLogin("wrong")


@pytest.fixture
def checker() -> Checker:
    return Checker()


@pytest.fixture
def server(checker: Checker) -> Server:
    return Server(methods=[CHAP.over(checker)])


def message(values: dict[Attribute, bytes]) -> bytes:
    return AttributeValues({int(key): value for key, value in values.items()}).encode()


def challenged(server: Server) -> tuple[Client, bytes]:
    """A client that has offered its algorithms, and the challenge that it got."""
    client = server.client(GREETING, message(OFFER))
    answer = client.received().removeprefix(CHOSEN)
    found = AttributeValues.decode(answer)
    assert found is not None
    assert (dict(found[0].values)[Attribute.ALGORITHMS], found[1]) == (b"\x85", len(answer))
    return client, dict(found[0].values)[Attribute.CHALLENGE]


def answered(server: Server, secret: bytes = SECRET, **more: bytes) -> Client:
    """A client that has answered its challenge by a secret."""
    client, challenge = challenged(server)
    values = {Attribute.RESPONSE: response_to(challenge, secret)}
    client.send(message({**values, **{Attribute[name]: value for name, value in more.items()}}))
    return client


def test_who_knows_the_secret_may_ask(server: Server, checker: Checker) -> None:
    client = answered(server)
    assert client.received() == YES
    client.send(CONNECT)
    [asker] = server.dialer.askers
    assert asker.user is not None
    assert (asker.user.name, checker.clients) == ("alice", [asker.client])


def test_who_asks_us_is_shown_that_we_know_it_too(server: Server) -> None:
    proof = response_to(b"and you?", SECRET)
    expected = message({Attribute.RESPONSE: proof, Attribute.STATUS: b"\0"})
    assert answered(server, CHALLENGE=b"and you?").received() == expected


@pytest.mark.parametrize(("secret", "user"), [(WRONG, b"alice"), (SECRET, b"bob"), (SECRET, b"")])
def test_others_are_turned_down_and_shown_nothing(
    secret: bytes, user: bytes, server: Server
) -> None:
    client = answered(server, secret, USER_IDENTITY=user, CHALLENGE=b"and you?")
    assert client.received() == NO
    assert client.sees == "end"
    client.end()
    [record] = server.records
    assert record.user is None
    assert record.detail == (
        f"AuthenticationFailed: user name or response not accepted; name sent: {user.decode()!r}"
    )
    assert server.counters.refused_logins == 1


def test_no_challenge_comes_twice_and_a_response_of_before_is_wrong(server: Server) -> None:
    (_, first), (client, second) = challenged(server), challenged(server)
    assert len(first) == len(second) == 32
    assert first != second
    client.send(message({Attribute.RESPONSE: response_to(first, SECRET)}))
    assert client.received() == NO


def test_wrong_responses_wait_and_ban_as_wrong_passwords_do(checker: Checker) -> None:
    """What waits for its verdict then is cancelled, and refused."""
    server = Server(Settings(ban_after=2), methods=[CHAP.over(checker)])
    early, challenge = challenged(server)
    checker.wait()
    late = answered(server)
    checker.verdict = succeed(None)
    first = answered(server, WRONG)
    assert first.received() == b""
    server.reactor.advance(0.5)
    assert first.received() == NO
    answered(server, WRONG)
    assert (server.counters.bans, checker.cancelled) == (1, 1)
    assert late.received() == NO
    early.send(message({Attribute.RESPONSE: response_to(challenge, SECRET)}))
    assert early.received() == b""
    assert server.counters.turned_away == {"banned": 1}


@pytest.mark.parametrize("leaves", [True, False])
def test_nobody_waits_for_a_verdict_without_end(
    leaves: bool, server: Server, checker: Checker
) -> None:
    checker.wait()
    client = answered(server)
    client.end() if leaves else server.reactor.advance(10)
    assert (checker.cancelled, client.received()) == (1, b"")
    [record] = server.records
    assert record.reason == ("client closed" if leaves else "handshake timed out")


def test_a_checker_that_breaks_lets_nobody_in(server: Server, checker: Checker) -> None:
    checker.wait()
    client = answered(server)
    checker.verdict.errback(RuntimeError("no secrets"))
    assert client.received() == NO
    client.end()
    [record] = server.records
    assert record.detail.startswith("AuthenticationFailed: nobody could judge the login; name")


def test_a_client_without_the_algorithm_is_told_so(server: Server) -> None:
    client = server.client(GREETING, octets("01 01 11 01 05"))
    assert client.received() == CHOSEN + octets("01 00")
    assert client.sees == "end"


def test_a_listener_may_want_it_or_not(server: Server) -> None:
    assert verifyObject(IMethod, CHAP.over(Checker()))
    assert server.client(octets("05 02 00 02")).received() == octets("05 ff")
    session = server.factory.at(ListenerPolicy(methods=(3, 0))).buildProtocol(None)
    assert session is not None
    assert list(session.methods) == [3, 0]


def test_a_portal_without_secrets_is_refused_at_the_start(checker: Checker) -> None:
    checker.credentialInterfaces = (IUsernamePassword,)
    with pytest.raises(ValueError, match="no checker of this portal takes IUsernameHashedPassword"):
        CHAP.over(checker)
