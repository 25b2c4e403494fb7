"""The acceptor: what is asked of the library, and what its answers mean. The real one, with a real KDC, is in
tests/interop/."""

import errno
import sys
from collections.abc import Callable, Collection
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from zope.interface.verify import verifyObject

from socks5.access import IUser
from socks5.auth import LoginNotJudged, User
from socks5.auth.kerberos import Acceptor
from socks5.auth.users import WrongSource
from socks5.logins import IAcceptor, IContext, Step
from socks5.loglimit import Monotonic
from socks5.protocol.errors import RemoteProtocolError
from socks5.protocol.gssapi import Protection
from tests.support.contexts import FakeAcceptor, FakeInitiator
from tests.support.deferreds import outcome_of

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


class AtOnce:
    """Work without threads."""

    def run(self, client: str, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        assert client == CLIENT
        return maybeDeferred(function, *arguments)


def acceptor_of(library: Library, *arguments: Any, **options: Any) -> Acceptor:
    acceptor = Acceptor(None, *arguments, **options)
    acceptor.work = AtOnce()  # type: ignore[assignment]
    return acceptor


def step(library: Library, answer: Exception | None = None, **options: Any) -> Any:
    """What a client's only token leads to."""
    if answer is None:
        library.answer()
    else:
        library.answers.append(answer)
    return outcome_of(acceptor_of(library, **options).accept(CLIENT).step(b"secret"))


# ---------------------------------------------------------------- what every context does


class Provider(NamedTuple):
    """An acceptor; what a client's right or wrong token leads to; what a client sends afterwards."""

    acceptor: IAcceptor
    step: Callable[[IContext, bool], Any]
    wrap: Callable[[bytes, bool], bytes]


def kerberos(library: Library) -> Provider:
    def step(context: IContext, is_right: bool) -> Any:
        library.answer() if is_right else library.answers.append(GSSError())
        return outcome_of(context.step(b"token"))

    acceptor = acceptor_of(library)
    return Provider(acceptor, step, lambda data, c: library.wrap("context", data, c).message)


def the_fake(library: Library) -> Provider:
    initiator = FakeInitiator()

    def step(context: IContext, is_right: bool) -> Any:
        made = outcome_of(context.step(initiator.step(None) if is_right else b"alice\0wrong"))
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
    assert caught.value.__suppress_context__ or provider is the_fake


# ---------------------------------------------------------------- the keys


def test_the_keys_of_a_service(library: Library, tmp_path: Path) -> None:
    keytab = tmp_path / "keytab"
    with pytest.raises(WrongSource, match=rf"^keytab {keytab}: No such file or directory$"):
        acceptor_of(library, keytab=str(keytab))
    keytab.touch()
    for service in ("rcmd", "rcmd@proxy.example.org"):
        acceptor_of(library, service, keytab=str(keytab))
        asked = library.acquired.pop()
        assert asked["name"] == (service, "hostbased")
        assert asked["store"] == {"keytab": f"FILE:{keytab}"}
        assert (asked["usage"], asked["mechs"]) == ("accept", ["kerberos"])
    acceptor_of(library)  # any key of the default keytab
    assert (library.acquired[0]["name"], library.acquired[0]["store"]) == (None, None)


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


def test_a_context_of_one_token_and_of_several(library: Library) -> None:
    assert step(library) == Step(b"answer", User("alice@EXAMPLE.ORG"))
    assert library.accepted.pop() == (b"secret", "credentials", None)
    context = acceptor_of(library).accept(CLIENT)
    library.answer(more=True)
    library.answer(None)
    assert outcome_of(context.step(b"one")) == Step(b"answer", None)
    assert outcome_of(context.step(b"two")) == Step(b"", User("alice@EXAMPLE.ORG"))
    assert library.accepted[1] == (b"two", "credentials", "context")


def test_what_the_library_refuses_is_a_failed_login(
    library: Library, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(Monotonic, "seconds", clock.seconds)
    acceptor = acceptor_of(library)
    with capturedLogs() as events:
        for _ in range(12):  # strangers do not fill the log with it
            library.answers.append(GSSError(text="Request is\na replay"))
            failure = outcome_of(acceptor.accept(CLIENT).step(b"secret"))
            assert failure.type is UnauthorizedLogin
    assert log == ["a security context was refused: Request is\\na replay"] * 10
    assert {event["log_level"] for event in events} == {LogLevel.debug}
    clock.advance(60)
    library.answers.append(GSSError())
    outcome_of(acceptor.accept(CLIENT).step(b"secret"))
    assert log[-1] == "a security context was refused: wrong; 2 more without a line"
    assert "secret" not in str(failure) + str(failure.value.__cause__)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (GSSError(0, "Unknown error"), "Invalid token was supplied"),
        (GSSError(text="Success"), "not a token"),
    ],
)
def test_where_kerberos_has_no_words_the_log_has_those_of_gssapi(
    error: GSSError, words: str, library: Library, log: list[str]
) -> None:
    assert step(library, error).type is UnauthorizedLogin
    assert log == [f"a security context was refused: {words}"]


@pytest.mark.parametrize("code", [2529638944, 2529638949, 2529638956])
def test_a_ticket_that_is_out_of_date_is_no_guess(code: int, library: Library) -> None:
    failure = step(library, GSSError(code, "ticket is likely out of date"))
    assert failure.type is LoginNotJudged
    assert failure.value.was_refused


@pytest.mark.parametrize(
    ("code", "words"),
    [(NO_KEY, "Key table file '/k' not found"), (errno.ENOSPC, "No space left on device")],
)
def test_without_keytab_or_replay_cache_nobody_is_judged_and_it_is_said_once(
    code: int, words: str, library: Library, log: list[str]
) -> None:
    acceptor = acceptor_of(library)
    for _ in range(3):
        library.answers.append(GSSError(code, words))
        assert outcome_of(acceptor.accept(CLIENT).step(b"token")).type is LoginNotJudged
    said = "cannot judge security contexts, for want of the keytab or the replay cache"
    assert log == [f"{said}: {words}; times: 1"]


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        (b"WELLKNOWN/ANONYMOUS@WELLKNOWN:ANONYMOUS", Flag.integrity),
        (b"WELLKNOWN/ANONYMOUS@EXAMPLE.ORG", Flag.integrity),
        (b"alice@EXAMPLE.ORG", Flag.anonymity),
        (b"a" * 254 + b"@R", Flag.integrity),  # too long for a log
    ],
)
def test_an_anonymous_client_has_not_logged_in(name: bytes, flag: Flag, library: Library) -> None:
    library.name = name
    library.answer(flags=(flag,))
    failure = outcome_of(acceptor_of(library).accept(CLIENT).step(b"token"))
    assert failure.type is UnauthorizedLogin


@pytest.mark.parametrize(
    ("principal", "name"),
    [
        (b"\xff@R", r"\xff@R"),
        (b"a" * 253 + b"@R", "a" * 253 + "@R"),
        (b"alice@EXAMPLE.ORG", "alice"),
        (b"alice/admin@EXAMPLE.ORG", "alice/admin"),
        (b"alice@OTHER.ORG", "alice@OTHER.ORG"),
        (b"alice@example.org", "alice@example.org"),
        (b"alice", "alice"),
        (rb"alice\@OTHER.ORG@EXAMPLE.ORG", r"alice\@OTHER.ORG"),
        (rb"alice@OTHER.ORG\@EXAMPLE.ORG", r"alice@OTHER.ORG\@EXAMPLE.ORG"),
    ],
)
def test_a_user_goes_by_what_can_be_shown_and_in_a_local_realm_without_it(
    principal: bytes, name: str, library: Library
) -> None:
    library.name = principal
    assert step(library, local_realms=["EXAMPLE.ORG"]).user == User(name)


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
    outcome_of(context.step(b"token"))
    assert context.protections() == possible
    assert [context.size_limit(c) for c in (True, False)] == [65475, 65507]
    assert [context.wrap(b"hello", c) for c in (True, False)] == [b"ehello", b"phello"]
