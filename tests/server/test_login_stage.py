"""A login in memory, whatever judges it: what a client is told, what is recorded, and what nobody is shown."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5 import PasswordAuthentication
from socks5.auth import CheckFailed, Known, LoginNotJudged, User
from socks5.protocol.password_negotiation import PasswordSubnegotiation
from tests.support.failures import Failures
from tests.support.providers import Allow, FakeBans, Logins
from tests.support.sessions import (
    CONNECT,
    LOGIN,
    LOGIN_RIGHT,
    PASSWORD_CHOSEN,
    PASSWORD_GREETING,
    Server,
    octets,
)

LOGIN_WRONG = octets("01 01")


def raise_bug(*_: object) -> Any:
    raise RuntimeError("a bug")


def test_rules_see_the_name_the_groups_and_the_settings_of_the_user() -> None:
    @implementer(ICredentialsChecker)
    class Checker:
        credentialInterfaces = (IUsernamePassword,)

        def requestAvatarId(self, credentials: Any) -> Known:
            return Known(credentials.username, frozenset({"staff"}), {"speed": "fast"})

    rules = Allow()
    server = Server(authenticator=PasswordAuthentication.over(Checker()), rules=rules)
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    [(access, _)] = rules.asked
    assert access.user == User("user", frozenset({"staff"}), {"speed": "fast"})
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT


NOT_JUDGED = "nobody could judge the login"


@pytest.mark.parametrize(
    ("error", "words", "unjudged", "logged"),
    [
        (UnauthorizedLogin(), "user name or password not accepted", 0, None),
        (LoginNotJudged("too many wait"), NOT_JUDGED, 1, None),
        (RuntimeError("user's password is 'secret'"), NOT_JUDGED, 0, "RuntimeError"),
        (CancelledError(), NOT_JUDGED, 0, "CancelledError"),
    ],
)
def test_a_login_that_is_not_accepted_is_refused_recorded_and_counted(
    error: Exception, words: str, unjudged: int, logged: str | None, failures: Failures
) -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    logins.refuse(error)
    assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert (client.sees, server.dialer.targets) == ("end", [])
    counters = server.counters
    assert (counters.refused_logins, counters.unjudged_logins) == (1, unjudged)
    assert counters.violations == 0
    client.end()
    [record] = server.records
    assert (record.user, record.command, record.reply) == (None, None, None)
    assert record.detail == f"AuthenticationFailed: {words}; name sent: 'user'"
    left_out = f"{logged}; its message is left out, for it may hold a password"
    assert failures.take(CheckFailed) == ([left_out] if logged else [])


def test_no_verdict_is_taken_after_the_end() -> None:
    class Late(Logins):
        def _cancel(self, verdict: Deferred[Any]) -> None:
            verdict.callback(User("user"))

    server = Server(authenticator=Late())
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    server.reactor.advance(10)
    assert client.received() == PASSWORD_CHOSEN
    assert server.dialer.targets == []


def judged_by(answer: Callable[[], Any]) -> Logins:
    """An authenticator that answers with anything."""
    logins = Logins()
    logins.authenticate = lambda *_: answer()
    return logins


async def later(answer: Any = True) -> Any:
    return answer


def generator() -> Iterator[User]:
    yield User("alice")


@pytest.mark.parametrize(
    "answer",
    [later, generator, lambda: succeed(None), lambda: succeed(True)]
    + [lambda each=each: each for each in (None, True, False, 1, "alice")],
)
def test_a_login_needs_a_user(answer: Any, failures: Failures) -> None:
    bans = FakeBans()
    server = Server(authenticator=judged_by(answer), bans=bans)
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert failures.take(CheckFailed) == [
        "NotAUser; its message is left out, for it may hold a password"
    ]
    assert (server.dialer.targets, bans.told) == ([], [])


@pytest.mark.parametrize(
    "answer",
    [
        lambda: User("alice"),
        lambda: succeed(User("alice")),
        lambda: later(User("alice")),
    ],
)
def test_a_login_may_be_judged_in_every_way_of_twisteds(answer: Any) -> None:
    client = Server(authenticator=judged_by(answer)).client(PASSWORD_GREETING, LOGIN)
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT


def test_bug_in_an_authenticator_is_logged_and_refuses(failures: Failures) -> None:
    server = Server(authenticator=judged_by(raise_bug))
    client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
    assert "raise_bug" in failures.logged[0].getTraceback()
    assert len(failures.take(CheckFailed)) == 1
    assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG


def test_password_is_in_no_record_and_no_log(failures: Failures) -> None:
    logins = Logins()
    server = Server(authenticator=logins, rules=Allow(raise_bug))
    broken = RuntimeError("there is no user with the password 'secret'")
    for verdict in (logins.refuse, lambda: logins.refuse(broken), logins.accept):
        client = server.client(PASSWORD_GREETING, LOGIN, CONNECT)
        verdict()
        client.end()
    logged = [failure.getTraceback(detail="verbose") for failure in failures.logged]
    assert len(failures.take(RuntimeError)) == len(failures.take(CheckFailed)) == 1
    assert len(server.records) == 3
    assert not any("secret" in text for text in [*logged, *map(repr, server.records)])


class OwnMethod:
    """A login method of somebody's: *take* is what a login does with what the client sends."""

    number = 0x80
    refusal = "no"

    def __init__(self, take: Any) -> None:
        self._take = take

    def negotiate(self) -> PasswordSubnegotiation:
        return PasswordSubnegotiation()

    def login(self, session: Any) -> "OwnMethod":
        self._session = session
        return self

    def take(self, event: object) -> None:
        self._take(self._session)

    def cancel(self) -> None:
        """Nothing waits."""


@pytest.mark.parametrize(
    "take",
    [
        raise_bug,
        lambda session: session.crashed(Failure(RuntimeError("a bug"))),
        lambda session: session.needs_no_login(),
    ],
    ids=["raises", "says so", "lets everybody in"],
)
def test_bug_in_a_login_ends_it_and_is_not_the_client_s(take: Any, failures: Failures) -> None:
    bans = FakeBans()
    server = Server(bans=bans, methods=[OwnMethod(take)])
    client = server.client(octets("05 01 80"), LOGIN, CONNECT)
    assert len(failures.take(RuntimeError) + failures.take(LookupError)) == 1
    assert client.received() == octets("05 80")
    assert [record.reason for record in server.records] == ["internal error"]
    assert not client.is_connected
    assert bans.told == []
