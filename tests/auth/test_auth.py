"""Who somebody is: user names and passwords as octets, over any checker of twisted.cred."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.cred import error
from twisted.cred.checkers import (
    ANONYMOUS,
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword, UsernamePassword
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import (
    LogEvent,
    Logger,
    LogLevel,
    formatEvent,
    globalLogPublisher,
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
from tests.support.providers import Logins

CLIENT = "198.51.100.7"

LOGINS = [
    (b"alice", b"open sesame"),
    (b"bob", b" spaces and {braces} %s"),
    (b"\xff\xfe octets", b"\x80\xff no text at all"),
    ("jürgen".encode(), "größe".encode()),
]


def in_memory() -> ICredentialsChecker:
    checker = InMemoryUsernamePasswordDatabaseDontUse()
    for username, password in LOGINS:
        checker.addUser(username, password)
    return checker


@implementer(ICredentialsChecker)
class Checker:
    """Does as it is told, and remembers that it was asked."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self.asked: list[Any] = []
        self._answer = answer

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked.append(credentials)
        return self._answer(credentials)


def accept(credentials: Any) -> Any:
    return succeed(credentials.username)


def refuse(credentials: Any) -> Any:
    raise error.UnauthorizedLogin("wrong")


PASSWORD = b"correct horse battery staple"


def broken_by(error: type[BaseException]) -> Callable[[Any], Any]:
    def broken(credentials: Any) -> Any:
        raise error(f"cannot check {credentials} {credentials.password.decode()}")

    return broken


def outcome(deferred: Deferred[Any]) -> Any:
    """What a Deferred that has fired gave: a result, or a Failure."""
    given: list[Any] = []
    deferred.addBoth(given.append)
    [result] = given
    return result


def log_in(username: bytes, password: bytes, *checkers: ICredentialsChecker) -> Any:
    authenticator = PasswordAuthentication.over(*checkers)
    return outcome(authenticator.authenticate(Credentials(username, password), CLIENT))


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    """Every error that is logged."""
    found: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_level") is LogLevel.error:
            found.append(event)

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


# ---------------------------------------------------------------- the methods


def test_no_authentication_is_method_0_and_accepts_no_credentials() -> None:
    authenticator = NoAuthentication()
    assert verifyObject(IAuthenticator, authenticator)
    assert list(authenticator.methods) == [Method.NO_AUTHENTICATION]
    given = outcome(authenticator.authenticate(Credentials(b"alice", b""), CLIENT))
    assert given.check(error.LoginFailed)


Give = Callable[[bool], None]


def ours() -> tuple[IAuthenticator, Give]:
    wait: Deferred[bytes] = Deferred()

    def give(is_right: bool) -> None:
        wait.callback(b"alice") if is_right else wait.errback(error.UnauthorizedLogin())

    return PasswordAuthentication.over(Checker(lambda _: wait)), give


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
    given: list[Any] = []
    checking = authenticator.authenticate(Credentials(b"alice", b"secret"), CLIENT)
    checking.addBoth(given.append)
    assert given == []
    if verdict is None:
        checking.cancel()
        assert given[0].check(CancelledError)
    else:
        give(verdict)
        assert given == [User("alice")] if verdict else given[0].check(error.LoginFailed)


# ---------------------------------------------------------------- right and wrong


@pytest.mark.parametrize("login", LOGINS)
def test_a_right_login_gives_the_user(login: tuple[bytes, bytes]) -> None:
    user = log_in(*login, in_memory())
    assert verifyObject(IUser, user)
    assert user == User(login[0].decode("utf-8", "backslashreplace"))


@pytest.mark.parametrize(
    ("username", "password"),
    [
        (b"alice", b"wrong"),
        (b"alice", b"open sesame "),
        (b"alice", b"open sesam"),
        (b"Alice", b"open sesame"),
        (b"nobody", b"open sesame"),
        (b"alice", b" spaces and {braces} %s"),
        (b"jurgen", b"grosse"),
        (b"\xff\xfe octets", b"\\x80\\xff no text at all"),
        (b"alice", b""),
        (b"", b"open sesame"),
        (b"", b""),
    ],
)
def test_a_wrong_login_fails(username: bytes, password: bytes) -> None:
    assert log_in(username, password, in_memory()).check(error.LoginFailed)


@pytest.mark.parametrize(
    ("avatar_id", "name"),
    [
        (b"", ""),
        (b"alice", "alice"),
        ("jürgen".encode(), "jürgen"),
        (b"\xff\x00", "\\xff\x00"),
        ("alice@EXAMPLE.ORG", "alice@EXAMPLE.ORG"),
        (1000, "1000"),
    ],
)
def test_whatever_a_checker_calls_a_user_it_has_a_name(avatar_id: object, name: str) -> None:
    """Even for an empty password: RFC 1929 has no such thing, clients do, and it is the checker's to say."""
    assert log_in(b"", b"", Checker(lambda _: avatar_id)) == User(name)


def test_a_checker_may_know_groups_and_settings() -> None:
    known = Known(b"alice", frozenset({"staff"}), {"speed": "fast"})
    user = log_in(b"x", b"y", Checker(lambda _: known))
    assert user == User("alice", frozenset({"staff"}), {"speed": "fast"})
    assert verifyObject(IUser, user)
    assert known == b"alice"  # for a realm that only wants a name
    assert hash(user) == hash(User("alice", frozenset({"staff"})))
    assert User("alice").groups == frozenset()
    assert User("alice").settings == {}


# ---------------------------------------------------------------- several checkers


def test_checkers_are_asked_in_order_until_one_accepts() -> None:
    first, second, third = Checker(refuse), Checker(accept), Checker(accept)
    assert log_in(b"alice", b"secret", first, second, third) == User("alice")
    assert [len(each.asked) for each in (first, second, third)] == [1, 1, 0]
    [credentials] = first.asked
    assert (credentials.username, credentials.password) == (b"alice", b"secret")
    assert IUsernamePassword.providedBy(credentials)


@pytest.mark.parametrize("kind", [error.UnauthorizedLogin, error.LoginDenied, error.LoginFailed])
def test_each_way_to_refuse_leads_to_the_next(kind: type[Exception]) -> None:
    def fail(credentials: Any) -> Any:
        raise kind

    assert log_in(b"alice", b"secret", Checker(fail), Checker(accept)) == User("alice")


@pytest.mark.parametrize("checkers", [(), (Checker(refuse),), (Checker(refuse), Checker(refuse))])
def test_what_no_checker_accepts_is_refused(checkers: tuple[Checker, ...]) -> None:
    assert log_in(b"alice", b"secret", *checkers).check(error.UnauthorizedLogin)


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, BaseException])
def test_a_checker_that_breaks_lets_nobody_in_and_hides_no_other(
    error: type[BaseException], events: list[LogEvent]
) -> None:
    breaks = Checker(broken_by(error))
    assert log_in(b"alice", PASSWORD, breaks).check(LoginNotJudged)
    assert log_in(b"alice", PASSWORD, breaks, Checker(refuse)).check(LoginNotJudged)
    assert log_in(b"alice", PASSWORD, breaks, Checker(accept)) == User("alice")
    for event in events:
        text = formatEvent(event)
        assert text.startswith(f"Checker failed with {error.__name__}; its message is left out")
        assert "in broken" in text
        assert PASSWORD.decode() not in text
    assert len(events) == 3


def test_a_checker_that_breaks_at_each_login_does_not_fill_the_log(
    events: list[LogEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(Monotonic, "seconds", clock.seconds)
    any_of = AnyOf([Checker(broken_by(RuntimeError))])
    assert verifyObject(ICredentialsChecker, any_of)
    assert IUsernamePassword in any_of.credentialInterfaces
    credentials = UsernamePassword(b"alice", PASSWORD)
    for _ in range(100):
        assert outcome(any_of.requestAvatarId(credentials)).check(LoginNotJudged)
    assert len(events) == 10
    clock.advance(60)
    assert outcome(any_of.requestAvatarId(credentials)).check(LoginNotJudged)
    assert "hold a password; 90 more failed without a line\n" in formatEvent(events[10])


def test_the_end_of_the_program_is_no_break_of_a_checker() -> None:
    def interrupted(credentials: Any) -> Any:
        raise KeyboardInterrupt

    authenticator = PasswordAuthentication.over(Checker(interrupted))
    given = outcome(authenticator.authenticate(Credentials(b"alice", b"secret"), CLIENT))
    assert given.check(KeyboardInterrupt)


def test_a_checker_that_cannot_judge_is_not_a_refusal() -> None:
    def cannot(credentials: Any) -> Any:
        raise LoginNotJudged("too many wait")

    for checkers, was_refused in (
        ([Checker(cannot)], False),
        ([Checker(cannot), Checker(refuse)], True),
        ([Checker(refuse), Checker(cannot)], True),
    ):
        given = log_in(b"alice", b"secret", *checkers)
        assert given.check(LoginNotJudged)
        assert given.value.was_refused is was_refused
    assert log_in(b"alice", b"secret", Checker(cannot), Checker(accept)) == User("alice")


def test_a_checker_may_take_its_time() -> None:
    waits: list[Deferred[bytes]] = [Deferred(), Deferred()]
    slow = [Checker(lambda _, wait=wait: wait) for wait in waits]
    authenticator = PasswordAuthentication.over(*slow)
    given: list[Any] = []
    authenticator.authenticate(Credentials(b"alice", b"secret"), CLIENT).addBoth(given.append)
    assert [len(each.asked) for each in slow] == [1, 0]
    waits[0].errback(error.UnauthorizedLogin())
    assert [len(each.asked) for each in slow] == [1, 1]
    assert given == []
    waits[1].callback(b"alice")
    assert given == [User("alice")]


def test_whom_one_checker_remembers_waits_for_no_other() -> None:
    @implementer(IMemory)
    class Remembering(Checker):
        def recall(self, credentials: Any) -> bytes | None:
            return b"alice" if credentials.password == b"secret" else None

    slow, remembering = Checker(lambda _: Deferred()), Remembering(refuse)
    assert verifyObject(IMemory, remembering)
    assert log_in(b"alice", b"secret", slow, remembering) == User("alice")
    assert slow.asked == remembering.asked == []
    assert log_in(b"alice", b"other", Checker(refuse), remembering).check(error.UnauthorizedLogin)


def test_a_checker_is_told_where_the_credentials_come_from() -> None:
    checker = Checker(accept)
    log_in(b"alice", b"secret", checker)
    [credentials] = checker.asked
    assert verifyObject(IFromClient, credentials)
    assert credentials.client == client_of(credentials) == CLIENT
    assert client_of(UsernamePassword(b"alice", b"secret")) == ""


def test_cancelling_reaches_the_checker_and_asks_no_other() -> None:
    cancelled: list[Any] = []
    wait: Deferred[bytes] = Deferred(cancelled.append)
    behind = Checker(accept)
    authenticator = PasswordAuthentication.over(Checker(lambda _: wait), behind)
    checking = authenticator.authenticate(Credentials(b"alice", b"secret"), CLIENT)
    given: list[Any] = []
    checking.addBoth(given.append)
    checking.cancel()
    assert cancelled == [wait]
    assert given[0].check(CancelledError)
    assert behind.asked == []


@pytest.mark.parametrize("avatar_id", [None, ANONYMOUS])
def test_a_checker_that_names_nobody_lets_nobody_in(avatar_id: Any) -> None:
    given = log_in(b"alice", b"secret", Checker(lambda _: avatar_id))
    assert given.check(error.UnauthorizedLogin)


def test_any_of_takes_what_its_checkers_take_and_asks_those_only() -> None:
    """A portal asks it by that for all of them."""
    for_passwords, for_responses = Checker(accept), Checker(refuse)
    for_responses.credentialInterfaces = (IUsernameHashedPassword,)  # type: ignore[assignment]
    any_of = AnyOf([for_passwords, for_responses, for_passwords])
    assert verifyObject(ICredentialsChecker, any_of)
    assert any_of.credentialInterfaces == (IUsernamePassword, IUsernameHashedPassword)
    portal = Portal(Realm(), [any_of])
    assert outcome(portal.login(response(), None, IUser)).check(error.UnauthorizedLogin)
    assert (len(for_passwords.asked), len(for_responses.asked)) == (0, 1)
    assert (
        outcome(portal.login(UsernamePassword(b"alice", b"secret"), None, IUser))[1].name == "alice"
    )
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

    authenticator = PasswordAuthentication(Portal(Groups(), [Checker(accept)]))
    given = outcome(authenticator.authenticate(Credentials(b"alice", b"secret"), CLIENT))
    assert given == ("avatar of", b"alice")


# ---------------------------------------------------------------- no password gets out


@pytest.mark.parametrize("answer", [accept, refuse, broken_by(RuntimeError)])
def test_no_password_gets_out(answer: Callable[[Any], Any]) -> None:
    """Not in a repr, not in a failure's text, not in the log of one."""
    checker = Checker(answer)
    authenticator = PasswordAuthentication.over(checker)
    credentials = Credentials(b"alice", PASSWORD)
    given = outcome(authenticator.authenticate(credentials, CLIENT))
    [asked] = checker.asked
    texts = [repr(each) for each in (authenticator, credentials, asked, given)]
    texts += [str(each) for each in (authenticator, credentials, asked, given)]
    if isinstance(given, Failure):
        texts += [given.getErrorMessage(), given.getTraceback(), logged(given)]
    assert [text for text in texts if PASSWORD.decode() in text] == []


def logged(failure: Failure) -> str:
    """What the log says of a failure."""
    stream = io.StringIO()
    log = Logger(observer=textFileLogObserver(stream))
    log.failure("checking a login failed", failure=failure)
    assert "checking a login failed" in stream.getvalue()
    return stream.getvalue()
