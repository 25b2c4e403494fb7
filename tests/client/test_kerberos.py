"""Contexts that we begin, by a library that is not there."""

import sys
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from socks5.client import kerberos
from socks5.client.kerberos import STEPS, Initiator
from socks5.protocol.errors import AuthenticationFailed, RemoteProtocolError
from socks5.protocol.gssapi import Protection
from tests.support.deferreds import outcome_of


class GSSError(Exception):
    """What the library raises."""

    min_code = 1

    def get_all_statuses(self, code: int, is_major: bool) -> list[str]:
        return ["No Kerberos credentials available"]


class Flag(IntEnum):
    """What can be asked of a context."""

    mutual_authentication = 1
    replay_detection = 2
    out_of_sequence_detection = 3
    integrity = 4
    confidentiality = 5


class Library:
    """The library, as far as it is used."""

    RequirementFlag = Flag
    MechType = SimpleNamespace(kerberos="kerberos")
    NameType = SimpleNamespace(hostbased_service="hostbased")
    exceptions = SimpleNamespace(GSSError=GSSError)

    def __init__(self) -> None:
        self.raw = self
        self.IOVBufferType = SimpleNamespace(stream="stream", data="data")
        self.complete = False
        self.answers: list[Any] = [b"ours", None]
        self.made: list[dict[str, Any]] = []

    def Name(self, text: str, kind: str) -> tuple[str, str]:  # noqa: N802
        return text, kind

    def SecurityContext(self, **options: Any) -> Any:  # noqa: N802
        self.made.append(options)
        return self

    def step(self, token: bytes | None) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.complete = token is not None
        return answer

    def get_wrap_size_limit(self, size: int, is_confidential: bool) -> int:
        return size - (60 if is_confidential else 28)

    def wrap(self, data: bytes, is_confidential: bool) -> Any:
        return SimpleNamespace(message=(b"e" if is_confidential else b"p") + data)

    def IOV(self, stream: Any, data: Any, std_layout: bool) -> list[Any]:  # noqa: N802
        return [stream[1], None]

    def unwrap_iov(self, context: Any, buffers: list[Any]) -> Any:
        assert context is self
        if buffers[0] == b"another":
            raise GSSError
        buffers[1] = SimpleNamespace(value=buffers[0][1:] or None)
        return SimpleNamespace(encrypted=buffers[0][:1] == b"e")


def at_once(reactor: object, call: Any, *arguments: Any) -> Deferred[Any]:
    try:
        return succeed(call(*arguments))
    except Exception as error:
        return fail(error)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    monkeypatch.setitem(sys.modules, "gssapi", library)
    monkeypatch.setattr(kerberos, "aside", at_once)
    return library


def test_a_context(library: Library) -> None:
    context = Initiator(object(), service="socks").initiate("proxy.example")
    assert not context.is_complete
    assert outcome_of(context.step(b"")) == b"ours"
    assert not context.is_complete
    assert outcome_of(context.step(b"theirs")) == b""
    assert context.is_complete
    [options] = library.made
    assert options["name"] == ("socks@proxy.example", "hostbased")
    assert options["usage"] == "initiate"
    assert set(options["flags"]) == set(Flag)
    assert context.size_limit(True) == 65535 - 60
    for data in (b"data", b""):
        for is_confidential in (True, False):
            wrapped = context.wrap(data, is_confidential)
            assert context.unwrap(wrapped) == (data, is_confidential)
    with pytest.raises(RemoteProtocolError):
        context.unwrap(b"another")


def test_messages_that_are_datagrams_may_come_in_any_order(library: Library) -> None:
    outcome_of(Initiator(None).initiate("proxy.example", for_datagrams=True).step(b""))
    [options] = library.made
    assert set(Flag) - set(options["flags"]) == {Flag.out_of_sequence_detection}


def test_steps_may_be_taken_in_turn(library: Library) -> None:
    taken: list[str] = []

    def run(client: str, call: Any, *arguments: Any) -> Deferred[Any]:
        taken.append(client)
        return at_once(None, call, *arguments)

    context = Initiator(None, run=run).initiate("proxy.example", "192.0.2.7")
    assert (outcome_of(context.step(b"")), taken) == (b"ours", ["192.0.2.7"])


def test_a_kdc_that_does_not_answer_does_not_take_all_threads(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does who has given up get one, or leave that of a step that is under way to the next."""
    threads: list[Deferred[Any]] = []

    def begin(*arguments: object) -> Deferred[Any]:
        threads.append(Deferred())
        return threads[-1]

    monkeypatch.setattr(kerberos, "aside", begin)
    initiator = Initiator(object())
    steps = [initiator.initiate("proxy.example").step(b"") for _ in range(STEPS + 3)]
    for given_up in (0, STEPS):
        steps[given_up].cancel()
        assert outcome_of(steps[given_up]).check(CancelledError)
    assert len(threads) == STEPS
    threads[0].callback(b"too late")
    threads[1].errback(AuthenticationFailed("no ticket"))
    assert outcome_of(steps[1]).check(AuthenticationFailed)
    assert len(threads) == STEPS + 2
    threads[-1].callback(b"ours")
    assert outcome_of(steps[-1]) == b"ours"


def test_no_ticket(library: Library) -> None:
    library.answers = [GSSError()]
    found = outcome_of(Initiator(object()).initiate("proxy.example").step(b""))
    assert found.check(AuthenticationFailed)
    assert "No Kerberos credentials" in str(found.value)


@pytest.mark.parametrize("level", ["none", "integrity", "confidentiality"])
def test_what_an_initiator_wants(library: Library, level: Any) -> None:
    initiator = Initiator(object(), protection=level, nec=True, host="a.example")
    assert initiator.level is Protection[level.upper()]
    assert (initiator.is_bare, initiator.host) == (True, "a.example")


def test_a_level_that_is_none(library: Library) -> None:
    level: Any = "secret"
    with pytest.raises(ValueError, match="confidentiality"):
        Initiator(object(), protection=level)


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(ValueError, match=r"pip install 'txsocks5\[gssapi\]'"):
        Initiator(object())
