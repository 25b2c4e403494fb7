"""Who somebody is: user names and passwords as octets, over any checker of twisted.cred."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from twisted.cred.checkers import (
    ANONYMOUS,
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginDenied, LoginFailed, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import (
    Logger,
    textFileLogObserver,
)
from twisted.python.failure import Failure
from zope.interface import Interface, implementer
from zope.interface.verify import verifyObject

from socks5.access import IUser
from socks5.auth import (
    AnyOf,
    Known,
    LoginNotJudged,
    NoAuthentication,
    PasswordAuthentication,
    Realm,
    User,
    client_of,
)
from socks5.logins import IAuthenticator, IFromClient, IMemory
from socks5.loglimit import Monotonic
from socks5.protocol.messages import Credentials, Method
from tests.auth.test_chap import response
from tests.support.deferreds import outcome_of, told
from tests.support.providers import Logins

CLIENT = "198.51.100.7"

LOGINS = [
    (b"alice", b"open sesame"),
    (b"bob", b" spaces and {braces} %s"),
    (b"\xff\xfe octets", b"\x80\xff no text at all"),
    ("jürgen".encode(), "größe".encode()),
]
PASSWORD = b"correct horse battery staple"


@implementer(ICredentialsChecker)
class Checker:
    """Gives or raises what it is told, and remembers that it was asked."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, answer: Any) -> None:
        self.asked: list[Any] = []
        self._answer = answer

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked.append(credentials)
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


def log_in(username: bytes, password: bytes, *checkers: ICredentialsChecker) -> Any:
    authenticator = PasswordAuthentication.over(*checkers)
    return outcome_of(authenticator.authenticate(Credentials(username, password), CLIENT))


# ---------------------------------------------------------------- the methods


def test_no_authentication_is_method_0_and_accepts_no_credentials() -> None:
    authenticator = NoAuthentication()
    assert verifyObject(IAuthenticator, authenticator)
    assert list(authenticator.methods) == [Method.NO_AUTHENTICATION]
    assert outcome_of(authenticator.authenticate(Credentials(b"alice", b""), CLIENT)).check(
        LoginFailed
    )


Give = Callable[[bool], None]


def ours() -> tuple[IAuthenticator, Give]:
    wait: Deferred[bytes] = Deferred()

    def give(is_right: bool) -> None:
        wait.callback(b"alice") if is_right else wait.errback(UnauthorizedLogin())

    return PasswordAuthentication.over(Checker(wait)), give


def the_fake() -> tuple[IAuthenticator, Give]:
    logins = Logins()
    return logins, lambda is_right: logins.accept("alice") if is_right else logins.refuse()


@pytest.mark.parametrize("make", [ours, the_fake])
@pytest.mark.parametrize("verdict", [True, False, None], ids=["right", "wrong", "cancelled"])
def test_a_password_is_method_2_and_its_verdict_may_take_its_time(
    make: Callable[[], tuple[IAuthenticator, Give]], verdict: bool | None
) -> None:
    authenticator, give = make()
    assert verifyObject(IAuthenticator, authenticator)
    assert list(authenticator.methods) == [Method.USERNAME_PASSWORD]
    checking = authenticator.authenticate(Credentials(b"alice", b"secret"), CLIENT)
    given = told(checking)
    assert given == []
    if verdict is None:
        checking.cancel()
        assert given[0].check(CancelledError)
    else:
        give(verdict)
        assert given == [User("alice")] if verdict else given[0].check(LoginFailed)


# ---------------------------------------------------------------- right and wrong


@pytest.mark.parametrize("login", LOGINS)
def test_octets_that_are_right_and_no_others_give_the_user(login: tuple[bytes, bytes]) -> None:
    name, password = login
    checker = InMemoryUsernamePasswordDatabaseDontUse()
    checker.addUser(name, password)
    user = log_in(name, password, checker)
    assert verifyObject(IUser, user)
    assert user == User(name.decode("utf-8", "backslashreplace"))
    for wrong in (password + b" ", password[:-1], b"", repr(password).encode()):
        assert log_in(name, wrong, checker).check(LoginFailed)
    for wrong in (name.upper(), b"nobody", b""):
        assert log_in(wrong, password, checker).check(LoginFailed)


@pytest.mark.parametrize(
    ("avatar_id", "name"),
    [
        (b"", ""),
        ("jürgen".encode(), "jürgen"),
        (b"\xff\x00", "\\xff\x00"),
        ("alice@EXAMPLE.ORG", "alice@EXAMPLE.ORG"),
        (1000, "1000"),
    ],
)
def test_whatever_a_checker_calls_a_user_it_has_a_name(avatar_id: object, name: str) -> None:
    """Even for an empty password: RFC 1929 has no such thing, clients do, and it is the checker's to say."""
    assert log_in(b"", b"", Checker(avatar_id)) == User(name)


@pytest.mark.parametrize("avatar_id", [None, ANONYMOUS])
def test_a_checker_that_names_nobody_lets_nobody_in(avatar_id: Any) -> None:
    assert log_in(b"alice", b"secret", Checker(avatar_id)).check(UnauthorizedLogin)


def test_a_checker_may_know_groups_and_settings() -> None:
    known = Known(b"alice", frozenset({"staff"}), {"speed": "fast"})
    user = log_in(b"x", b"y", Checker(known))
    assert user == User("alice", frozenset({"staff"}), {"speed": "fast"})
    assert verifyObject(IUser, user)
    assert known == b"alice"  # for a realm that only wants a name
    assert hash(user) == hash(User("alice", frozenset({"staff"})))
    assert (User("alice").groups, User("alice").settings) == (frozenset(), {})


# ---------------------------------------------------------------- several checkers


def test_checkers_are_asked_in_order_until_one_accepts() -> None:
    first, second, third = Checker(UnauthorizedLogin()), Checker(b"alice"), Checker(b"bob")
    assert log_in(b"alice", b"secret", first, second, third) == User("alice")
    assert [len(each.asked) for each in (first, second, third)] == [1, 1, 0]
    [credentials] = first.asked
    assert (credentials.username, credentials.password) == (b"alice", b"secret")
    assert IUsernamePassword.providedBy(credentials)
    assert verifyObject(IFromClient, credentials)
    assert credentials.client == client_of(credentials) == CLIENT
    assert client_of(UsernamePassword(b"alice", b"secret")) == ""


@pytest.mark.parametrize("kind", [UnauthorizedLogin, LoginDenied, LoginFailed])
def test_each_way_to_refuse_leads_to_the_next(kind: type[Exception]) -> None:
    assert log_in(b"alice", b"secret", Checker(kind()), Checker(b"alice")) == User("alice")
    for checkers in ([], [Checker(kind())], [Checker(kind()), Checker(kind())]):
        assert log_in(b"alice", b"secret", *checkers).check(UnauthorizedLogin)


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, BaseException])
def test_a_checker_that_breaks_lets_nobody_in_and_hides_no_other(
    error: type[BaseException], log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it fill the log, or show a password there."""
    clock = Clock()
    monkeypatch.setattr(Monotonic, "seconds", clock.seconds)
    breaks, refuse = Checker(error(f"cannot check {PASSWORD!r}")), Checker(UnauthorizedLogin())
    assert log_in(b"alice", PASSWORD, breaks, refuse).check(LoginNotJudged)
    assert log_in(b"alice", PASSWORD, breaks, Checker(b"alice")) == User("alice")
    assert len(log) == 2
    any_of = AnyOf([breaks])
    assert verifyObject(ICredentialsChecker, any_of)
    for _ in range(100):
        login = any_of.requestAvatarId(UsernamePassword(b"alice", PASSWORD))
        assert outcome_of(login).check(LoginNotJudged)
    assert len(log) == 12
    clock.advance(60)
    outcome_of(any_of.requestAvatarId(UsernamePassword(b"alice", PASSWORD)))
    assert "hold a password; 90 more failed without a line\n" in log[12]
    for text in log:
        assert text.startswith(f"Checker failed with {error.__name__}; its message is left out")
        assert "in requestAvatarId" in text
        assert PASSWORD.decode() not in text


def test_the_end_of_the_program_is_no_break_of_a_checker() -> None:
    given = log_in(b"alice", b"secret", Checker(KeyboardInterrupt()), Checker(b"alice"))
    assert given.check(KeyboardInterrupt)


def test_a_checker_that_cannot_judge_is_not_a_refusal() -> None:
    cannot, refuse = Checker(LoginNotJudged("too many wait")), Checker(UnauthorizedLogin())
    for checkers in ([cannot], [cannot, refuse], [refuse, cannot]):
        given = log_in(b"alice", b"secret", *checkers)
        assert given.check(LoginNotJudged)
        assert given.value.was_refused is (refuse in checkers)
    assert log_in(b"alice", b"secret", cannot, Checker(b"alice")) == User("alice")


def test_a_checker_may_take_its_time_and_its_cancellation_asks_no_other() -> None:
    cancelled: list[Any] = []
    waits: list[Deferred[bytes]] = [Deferred(), Deferred(cancelled.append)]
    slow, behind = [Checker(wait) for wait in waits], Checker(b"alice")
    authenticator = PasswordAuthentication.over(*slow, behind)
    checking = authenticator.authenticate(Credentials(b"alice", b"secret"), CLIENT)
    given = told(checking)
    assert [len(each.asked) for each in slow] == [1, 0]
    waits[0].errback(UnauthorizedLogin())
    assert [len(each.asked) for each in slow] == [1, 1]
    assert given == []
    checking.cancel()
    assert cancelled == [waits[1]]
    assert given[0].check(CancelledError)
    assert behind.asked == []


def test_whom_one_checker_remembers_waits_for_no_other() -> None:
    @implementer(IMemory)
    class Remembering(Checker):
        def recall(self, credentials: Any) -> bytes | None:
            return b"alice" if credentials.password == b"secret" else None

    slow, remembering = Checker(Deferred()), Remembering(UnauthorizedLogin())
    assert verifyObject(IMemory, remembering)
    assert log_in(b"alice", b"secret", slow, remembering) == User("alice")
    assert slow.asked == remembering.asked == []
    assert log_in(b"alice", b"other", remembering).check(UnauthorizedLogin)


def test_any_of_takes_what_its_checkers_take_and_asks_those_only() -> None:
    """A portal asks it by that for all of them."""
    for_passwords, for_responses = Checker(b"alice"), Checker(UnauthorizedLogin())
    for_responses.credentialInterfaces = (IUsernameHashedPassword,)  # type: ignore[assignment]
    any_of = AnyOf([for_passwords, for_responses, for_passwords])
    assert any_of.credentialInterfaces == (IUsernamePassword, IUsernameHashedPassword)
    portal = Portal(Realm(), [any_of])
    assert outcome_of(portal.login(response(), None, IUser)).check(UnauthorizedLogin)
    assert (len(for_passwords.asked), len(for_responses.asked)) == (0, 1)
    assert outcome_of(portal.login(UsernamePassword(b"a", b"b"), None, IUser))[1] == User("alice")
    assert (len(for_passwords.asked), len(for_responses.asked)) == (1, 1)


# ---------------------------------------------------------------- realms


def test_the_realm_has_users_only() -> None:
    class Other(Interface):
        pass

    realm = Realm()
    assert verifyObject(IRealm, realm)
    interface, avatar, logout = realm.requestAvatar(b"alice", None, Other, IUser)
    assert (interface, avatar, logout()) == (IUser, User("alice"), None)
    with pytest.raises(NotImplementedError):
        realm.requestAvatar(b"alice", None, Other)


def test_another_realm_may_make_the_avatars() -> None:
    @implementer(IRealm)
    class Groups:
        def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
            assert interfaces == (IUser,)
            return IUser, ("avatar of", avatarId), lambda: None

    authenticator = PasswordAuthentication(Portal(Groups(), [Checker(b"alice")]))
    given = outcome_of(authenticator.authenticate(Credentials(b"alice", b"secret"), CLIENT))
    assert given == ("avatar of", b"alice")


# ---------------------------------------------------------------- no password gets out


@pytest.mark.parametrize("answer", [b"alice", UnauthorizedLogin(), RuntimeError(PASSWORD)])
def test_no_password_gets_out(answer: Any) -> None:
    """Not in a repr, not in a failure's text, not in the log of one."""
    checker = Checker(answer)
    authenticator = PasswordAuthentication.over(checker)
    credentials = Credentials(b"alice", PASSWORD)
    given = outcome_of(authenticator.authenticate(credentials, CLIENT))
    [asked] = checker.asked
    texts = [f"{each!r} {each}" for each in (authenticator, credentials, asked, given)]
    if isinstance(given, Failure):
        stream = io.StringIO()
        Logger(observer=textFileLogObserver(stream)).failure("checking failed", failure=given)
        assert "checking failed" in stream.getvalue()
        texts += [given.getErrorMessage(), given.getTraceback(), stream.getvalue()]
    assert [text for text in texts if PASSWORD.decode() in text] == []
