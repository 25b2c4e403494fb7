"""The acceptor: what is asked of the library, and what its answers mean. The real one, with a real KDC, is in
tests/interop/."""

import errno
import sys
from collections.abc import Callable, Collection, Iterator
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface.verify import verifyObject

from socks5.access import IUser
from socks5.auth import LoginNotJudged, User
from socks5.auth.kerberos import Acceptor, Context, local_name
from socks5.auth.users import WrongSource
from socks5.logins import IAcceptor, IContext, Step
from socks5.loglimit import Monotonic
from socks5.protocol.errors import RemoteProtocolError
from socks5.protocol.gssapi import Protection
from tests.support.contexts import FakeAcceptor, FakeInitiator

N, I, C = Protection.NONE, Protection.INTEGRITY, Protection.CONFIDENTIALITY  # noqa: E741

CLIENT = "198.51.100.7"
NO_KEY = 2529638957


class Flag(IntEnum):
    integrity = 1
    confidentiality = 2
    anonymity = 3


class GSSError(Exception):
    maj_code = 0x90000

    def __init__(self, minor: int = 100001, text: str = "wrong") -> None:
        super().__init__(text)
        self.min_code = minor
        self._text = text

    def get_all_statuses(self, code: int, is_major: bool) -> list[str]:
        if is_major:
            assert code == self.maj_code
            return ["Invalid token was supplied"]
        assert code == self.min_code
        return [self._text]


class Library:
    """Stands for the library; ``answers`` are what it makes of the next tokens, or raises."""

    MechType = SimpleNamespace(kerberos="kerberos")
    NameType = SimpleNamespace(hostbased_service="hostbased")
    RequirementFlag = Flag
    exceptions = SimpleNamespace(GSSError=GSSError)

    def __init__(self) -> None:
        self.raw = self
        self.IOVBufferType = SimpleNamespace(stream="stream", data="data")
        self.error: GSSError | None = None
        self.acquired: list[dict[str, Any]] = []
        self.accepted: list[tuple[Any, ...]] = []
        self.answers: list[Any] = []
        self.name = b"alice@EXAMPLE.ORG"

    def Name(self, text: str, kind: str) -> tuple[str, str]:  # noqa: N802
        return text, kind

    def Credentials(self, **options: Any) -> str:  # noqa: N802
        self.acquired.append(options)
        if self.error is not None:
            raise self.error
        return "credentials"

    def accept_sec_context(self, token: bytes, credentials: str, context: Any) -> Any:
        self.accepted.append((token, credentials, context))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answer(
        self,
        token: bytes | None = b"answer",
        flags: Collection[Flag] = (Flag.integrity, Flag.confidentiality),
        more: bool = False,
    ) -> None:
        outcome = SimpleNamespace(
            token=token,
            flags=flags,
            more_steps=more,
            context="context",
            initiator_name="initiator",
        )
        self.answers.append(outcome)

    def display_name(self, name: str, is_type_wanted: bool) -> Any:
        assert (name, is_type_wanted) == ("initiator", False)
        return SimpleNamespace(name=self.name)

    def wrap_size_limit(self, context: str, size: int, is_confidential: bool) -> int:
        assert context == "context"
        return size - (60 if is_confidential else 28)

    def wrap(self, context: str, data: bytes, is_confidential: bool) -> Any:
        assert context == "context"
        return SimpleNamespace(message=(b"e" if is_confidential else b"p") + data)

    def IOV(self, stream: Any, data: Any, std_layout: bool) -> list[Any]:  # noqa: N802
        assert (stream[0], data, std_layout) == ("stream", ("data", True, None), False)
        return [stream[1], None]

    def unwrap_iov(self, context: str, buffers: list[Any]) -> Any:
        assert context == "context"
        token = buffers[0]
        if token[:1] not in (b"e", b"p"):
            raise GSSError()
        buffers[1] = SimpleNamespace(value=token[1:] or None)
        return SimpleNamespace(encrypted=token[:1] == b"e")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    monkeypatch.setitem(sys.modules, "gssapi", library)
    return library


@pytest.fixture
def log() -> Iterator[list[tuple[LogLevel, str]]]:
    found: list[tuple[LogLevel, str]] = []

    def observe(event: LogEvent) -> None:
        found.append((event["log_level"], formatEvent(event)))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


class AtOnce:
    """Work without threads."""

    def run(self, client: str, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        assert client == CLIENT
        return maybeDeferred(function, *arguments)


def acceptor_of(library: Library, *arguments: Any, **options: Any) -> Acceptor:
    acceptor = Acceptor(None, *arguments, **options)
    acceptor.work = AtOnce()  # type: ignore[assignment]
    return acceptor


def outcome(step: Deferred[Step]) -> Any:
    given: list[Any] = []
    step.addBoth(given.append)
    [result] = given
    return result


def complete(library: Library, **options: Any) -> Context:
    """A context that is complete."""
    context = acceptor_of(library, **options).accept(CLIENT)
    assert isinstance(context, Context)
    library.answer()
    outcome(context.step(b"token"))
    return context


# ---------------------------------------------------------------- what every context does


class Provider(NamedTuple):
    """An acceptor; what a client's right or wrong token leads to; what a client sends afterwards."""

    acceptor: IAcceptor
    step: Callable[[IContext, bool], Any]
    wrap: Callable[[bytes, bool], bytes]


def kerberos(library: Library) -> Provider:
    def step(context: IContext, is_right: bool) -> Any:
        library.answer() if is_right else library.answers.append(GSSError())
        return outcome(context.step(b"token"))

    acceptor = acceptor_of(library)
    return Provider(acceptor, step, lambda data, c: library.wrap("context", data, c).message)


def the_fake(library: Library) -> Provider:
    initiator = FakeInitiator()

    def step(context: IContext, is_right: bool) -> Any:
        made = outcome(context.step(initiator.step(None) if is_right else b"alice\0wrong"))
        if is_right:
            initiator.step(made.token)
        return made

    return Provider(FakeAcceptor(), step, initiator.wrap)


@pytest.mark.parametrize("provider", [kerberos, the_fake])
def test_a_context_keeps_its_contract(
    provider: Callable[[Library], Provider], library: Library
) -> None:
    acceptor, step, wrap = provider(library)
    assert verifyObject(IAcceptor, acceptor)
    assert step(acceptor.accept(CLIENT), False).type is UnauthorizedLogin
    context = acceptor.accept(CLIENT)
    assert verifyObject(IContext, context)
    assert verifyObject(IUser, step(context, True).user)
    assert set(context.protections()) == {I, C}  # none is permitted only by choice
    for is_confidential in (True, False):
        for data in (b"hello", b""):
            assert context.unwrap(wrap(data, is_confidential)) == (data, is_confidential)
            assert len(data) < len(context.wrap(data, is_confidential)) < 65535
        assert 65000 < context.size_limit(is_confidential) < 65535
    with pytest.raises(RemoteProtocolError) as caught:
        context.unwrap(b"secret")
    assert "secret" not in str(caught.value)


# ---------------------------------------------------------------- the keys


@pytest.mark.parametrize("service", ["rcmd", "rcmd@proxy.example.org"])
def test_the_keys_of_a_service(service: str, library: Library, tmp_path: Path) -> None:
    keytab = tmp_path / "keytab"
    keytab.touch()
    acceptor_of(library, service, keytab=str(keytab))
    [asked] = library.acquired
    assert asked["name"] == (service, "hostbased")
    assert asked["store"] == {"keytab": f"FILE:{keytab}"}
    assert (asked["usage"], asked["mechs"]) == ("accept", ["kerberos"])


def test_any_key_of_the_default_keytab(library: Library) -> None:
    acceptor_of(library)
    assert (library.acquired[0]["name"], library.acquired[0]["store"]) == (None, None)


def test_a_missing_keytab_is_a_sentence(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "keytab"
    with pytest.raises(WrongSource, match=rf"^keytab {path}: No such file or directory$"):
        acceptor_of(library, keytab=str(path))


@pytest.mark.parametrize(("service", "named"), [("rcmd", "rcmd"), (None, "a service")])
def test_a_missing_key_is_a_sentence(service: str | None, named: str, library: Library) -> None:
    library.error = GSSError(text="No key table entry found\nmatching")
    with pytest.raises(WrongSource) as caught:
        acceptor_of(library, service)
    assert str(caught.value) == (
        "No key table entry found\\nmatching: expected a keytab with a key of "
        f"{named}; klist -k shows its keys"
    )
    assert caught.value.__suppress_context__


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(WrongSource, match=r"pip install 'txsocks5\[gssapi\]'"):
        Acceptor(None)


# ---------------------------------------------------------------- establishing


def test_a_context_of_one_token_of_one_client(library: Library) -> None:
    acceptor = acceptor_of(library)
    for _ in range(2):
        library.answer()
        step = outcome(acceptor.accept(CLIENT).step(b"token"))
        assert step == Step(b"answer", User("alice@EXAMPLE.ORG"))
    assert library.accepted == [(b"token", "credentials", None)] * 2


def test_a_context_of_several_tokens(library: Library) -> None:
    context = acceptor_of(library).accept(CLIENT)
    library.answer(more=True)
    library.answer(None)
    assert outcome(context.step(b"one")) == Step(b"answer", None)
    assert outcome(context.step(b"two")) == Step(b"", User("alice@EXAMPLE.ORG"))
    assert library.accepted[1] == (b"two", "credentials", "context")


def test_what_the_library_refuses_is_a_failed_login(
    library: Library, log: list[tuple[LogLevel, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(Monotonic, "seconds", clock.seconds)
    acceptor = acceptor_of(library)
    for _ in range(12):  # strangers do not fill the log with it
        library.answers.append(GSSError(text="Request is\na replay"))
        failure = outcome(acceptor.accept(CLIENT).step(b"secret"))
        assert failure.type is UnauthorizedLogin
    expected = "a security context was refused: Request is\\na replay"
    assert log == [(LogLevel.debug, expected)] * 10
    clock.advance(60)
    library.answers.append(GSSError())
    outcome(acceptor.accept(CLIENT).step(b"secret"))
    assert log[-1][1] == "a security context was refused: wrong; 2 more without a line"
    assert "secret" not in str(failure) + str(failure.value.__cause__)


def test_where_kerberos_has_no_words_the_log_has_those_of_gssapi(
    library: Library, log: list[tuple[LogLevel, str]]
) -> None:
    for error, words in (
        (GSSError(0, "Unknown error"), "Invalid token was supplied"),
        (GSSError(text="Success"), "not a token"),
    ):
        log.clear()
        library.answers.append(error)
        assert outcome(acceptor_of(library).accept(CLIENT).step(b"token")).type is UnauthorizedLogin
        assert [text for _, text in log] == [f"a security context was refused: {words}"]


@pytest.mark.parametrize("code", [2529638944, 2529638949, 2529638956])
def test_a_ticket_that_is_out_of_date_is_no_guess(code: int, library: Library) -> None:
    library.answers.append(GSSError(code, "ticket is likely out of date"))
    failure = outcome(acceptor_of(library).accept(CLIENT).step(b"token"))
    assert failure.type is LoginNotJudged
    assert failure.value.was_refused


@pytest.mark.parametrize(
    ("code", "words"),
    [(NO_KEY, "Key table file '/k' not found"), (errno.ENOSPC, "No space left on device")],
)
def test_without_keytab_or_replay_cache_nobody_is_judged_and_it_is_said_once(
    code: int, words: str, library: Library, log: list[tuple[LogLevel, str]]
) -> None:
    acceptor = acceptor_of(library)
    for _ in range(3):
        library.answers.append(GSSError(code, words))
        assert outcome(acceptor.accept(CLIENT).step(b"token")).type is LoginNotJudged
    [(level, text)] = log
    assert level is LogLevel.error
    assert text == (
        "cannot judge security contexts, for want of the keytab or the replay cache: "
        f"{words}; times: 1"
    )


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        (b"WELLKNOWN/ANONYMOUS@WELLKNOWN:ANONYMOUS", Flag.integrity),
        (b"WELLKNOWN/ANONYMOUS@EXAMPLE.ORG", Flag.integrity),
        (b"alice@EXAMPLE.ORG", Flag.anonymity),
    ],
)
def test_an_anonymous_client_has_not_logged_in(name: bytes, flag: Flag, library: Library) -> None:
    library.name = name
    library.answer(flags=(flag,))
    failure = outcome(acceptor_of(library).accept(CLIENT).step(b"token"))
    assert failure.type is UnauthorizedLogin


@pytest.mark.parametrize(("size", "kind"), [(255, Step), (256, None)])
def test_a_name_has_an_end(size: int, kind: type[Step] | None, library: Library) -> None:
    library.name = b"a" * (size - 2) + b"@R"
    library.answer()
    result = outcome(acceptor_of(library).accept(CLIENT).step(b"token"))
    assert isinstance(result, Step) if kind else result.type is UnauthorizedLogin


@pytest.mark.parametrize(
    ("principal", "user"), [(b"\xff@R", "\\xff@R"), (b"alice@EXAMPLE.ORG", "alice")]
)
def test_a_user_goes_by_what_can_be_shown_and_in_a_local_realm_without_it(
    principal: bytes, user: str, library: Library
) -> None:
    library.name = principal
    library.answer()
    context = acceptor_of(library, local_realms=["EXAMPLE.ORG"]).accept(CLIENT)
    assert outcome(context.step(b"token")).user == User(user)


@pytest.mark.parametrize(
    ("principal", "name"),
    [
        ("alice@EXAMPLE.ORG", "alice"),
        ("alice/admin@EXAMPLE.ORG", "alice/admin"),
        ("alice@OTHER.ORG", "alice@OTHER.ORG"),
        ("alice@example.org", "alice@example.org"),
        ("alice", "alice"),
        (r"alice\@OTHER.ORG@EXAMPLE.ORG", r"alice\@OTHER.ORG"),
        (r"alice@OTHER.ORG\@EXAMPLE.ORG", r"alice@OTHER.ORG\@EXAMPLE.ORG"),
    ],
)
def test_only_the_realm_itself_is_taken_off(principal: str, name: str) -> None:
    assert local_name(principal, {"EXAMPLE.ORG"}) == name


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("flags", "permitted", "possible"),
    [
        ((Flag.integrity, Flag.confidentiality), (N, I, C), {N, I, C}),
        ((Flag.integrity, Flag.confidentiality), (I, C), {I, C}),
        ((Flag.integrity,), (N, I, C), {N, I}),
        ((Flag.integrity,), (C,), set()),
        ((), (N, I, C), {N}),
    ],
)
def test_levels_are_what_the_context_can_and_the_proxy_permits(
    flags: Collection[Flag],
    permitted: Collection[Protection],
    possible: set[Protection],
    library: Library,
) -> None:
    context = acceptor_of(library, protections=permitted).accept(CLIENT)
    library.answer(flags=flags)
    outcome(context.step(b"token"))
    assert context.protections() == possible


def test_octets_go_through_the_library(library: Library) -> None:
    context = complete(library)
    assert (context.size_limit(True), context.size_limit(False)) == (65475, 65507)
    assert [context.wrap(b"hello", c) for c in (True, False)] == [b"ehello", b"phello"]
    with pytest.raises(RemoteProtocolError) as caught:
        context.unwrap(b"secret")
    assert caught.value.__suppress_context__
