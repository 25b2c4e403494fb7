"""What CONNECT and BIND have in common: rules that are replaced meanwhile, and an end from outside."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from socks5.access import ALLOWED, DENIED, Reason, Verdict
from socks5.interfaces import ICommand
from socks5.outbound.attempts import Stream
from socks5.server.bind import Bind
from socks5.server.connect import Connect
from tests.support.failures import Failures
from tests.support.providers import Allow, Begun
from tests.support.sessions import BIND, CONNECT, GREETING, TARGET, Server
from tests.support.transports import FakeTransport, address

FAR = address("192.0.2.80", 80)


class Dialled:
    """A CONNECT whose target is dialled."""

    request, kind = CONNECT, Connect

    def __init__(self, **parameters: Any) -> None:
        commands = Begun(self.request[1], self.kind)
        self.verdict: Any = ALLOWED
        self.server = Server(
            rules=Allow(lambda _, host: self.verdict if host else ALLOWED),
            commands=commands,
            **parameters,
        )
        self.client = self.server.client(GREETING, self.request)
        self.command = commands.begun[0]
        self.replies = len(self.client.received())

    def come(self) -> FakeTransport:
        """The other side is there."""
        return self.server.dialer.succeed()

    def answered(self) -> int | None:
        """The REP octet of the reply that has come since."""
        self.server.reactor.turn()
        received = self.client.received()
        return received[1] if received else None


class Awaited(Dialled):
    """A BIND whose peer is awaited."""

    request, kind = BIND + TARGET, Bind

    def come(self) -> FakeTransport:
        return self.server.reactor.tcp_ports[0].connect(FAR)


@pytest.fixture(params=[Dialled, Awaited])
def begin(request: pytest.FixtureRequest) -> Callable[..., Dialled]:
    return request.param


def test_both_are_commands(begin: Any) -> None:
    begun = begin()
    assert verifyObject(ICommand, begun.command)
    assert begun.command.far is None
    begun.come()
    assert begun.command.far.text == "192.0.2.80"


# ---------------------------------------------------------------- rules that are replaced


def later(answer: Any) -> Any:
    """An answer that is there already, for who waits for it."""
    given: list[Any] = []
    answer.addBoth(given.append)
    return given[0]


@pytest.mark.parametrize("verdict", [ALLOWED, DENIED])
def test_what_is_joined_is_judged_at_once(begin: Any, verdict: Verdict) -> None:
    begun = begin()
    begun.come()
    begun.verdict = verdict
    assert begun.command.rejudge() is verdict.is_allowed
    begun.verdict = waiting = Deferred()
    answer = begun.command.rejudge()
    waiting.callback(verdict)
    assert later(answer) is verdict.is_allowed


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize(("verdict", "code"), [(ALLOWED, 0), (DENIED, 2)])
def test_whoever_is_waited_for_is_judged_anew_when_he_comes(
    is_late: bool, verdict: Verdict, code: int
) -> None:
    begun = Dialled()
    assert begun.command.rejudge() is True
    begun.verdict = waiting = Deferred() if is_late else verdict
    far = begun.come()
    if isinstance(waiting, Deferred):
        far.deliver(b"early")
        assert (begun.answered(), far.is_reading) == (None, False)
        waiting.callback(verdict)
    assert begun.answered() == code
    assert far.connected is verdict.is_allowed


def test_a_stream_that_is_false_is_judged_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stream, "__bool__", lambda _: False, raising=False)
    begun = Dialled()
    assert begun.command.rejudge() is True
    begun.verdict = DENIED
    begun.come()
    assert begun.answered() == 2


def test_the_record_of_what_is_refused_then_has_the_upstream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Stream, "upstream", "up", raising=False)
    begun = Dialled()
    begun.command.rejudge()
    begun.verdict = DENIED
    begun.come()
    assert [(each.reply, each.upstream) for each in begun.server.records] == [(2, "up")]


def test_a_peer_that_was_let_in_before_is_judged_anew_too() -> None:
    begun = Awaited()
    begun.verdict = first = Deferred()
    begun.come()
    assert begun.command.rejudge() is True
    begun.verdict = DENIED
    first.callback(ALLOWED)
    assert begun.answered() == 2


def test_what_has_no_address_needs_no_verdict(begin: Any, monkeypatch: Any) -> None:
    begun = begin()
    begun.come()
    monkeypatch.setattr(type(begun.command), "far", None)
    begun.verdict = DENIED
    assert begun.command.rejudge() is True


@pytest.mark.parametrize("is_of_rules", [True, False])
def test_a_bug_in_the_new_rules_or_in_joining_is_this_session_s(
    is_of_rules: bool, monkeypatch: pytest.MonkeyPatch, failures: Failures
) -> None:
    begun = Dialled()
    begun.command.rejudge()
    begun.verdict = waiting = Deferred()
    if is_of_rules:
        begun.server.factory.in_force.rules.given.judge = lambda *_: 1 / 0
    else:
        monkeypatch.setattr("socks5.server.stream_command.join", lambda *_: 1 / 0)
    far = begun.come()
    waiting.callback(ALLOWED)
    assert begun.answered() == 1
    assert not far.connected
    assert failures.take(ZeroDivisionError) == ["division by zero"]


@pytest.mark.parametrize(
    ("is_client", "code", "reason"),
    [
        (True, None, "reset by client"),
        (False, 2, "NotAllowed: the rules were replaced, and forbid it"),
    ],
)
def test_a_client_that_leaves_or_a_stream_that_is_lost_waits_for_no_verdict(
    is_client: bool, code: int | None, reason: str
) -> None:
    begun = Dialled()
    begun.command.rejudge()
    begun.verdict = waiting = Deferred()
    far = begun.come()
    begun.client.reset() if is_client else far.deliver_reset()
    begun.server.reactor.turn()
    assert waiting.called
    assert not far.connected
    assert begun.answered() == code
    assert [record.detail or record.reason for record in begun.server.records] == [reason]


# ---------------------------------------------------------------- an end from outside


@pytest.mark.parametrize("within", [0.0, 10.0])
def test_without_a_stream_the_end_comes_at_once(begin: Any, within: float) -> None:
    begun = begin()
    begun.command.stop(Reason.KICKED, within)
    assert begun.answered() is None
    assert not begun.client.is_connected
    assert all(not port.is_listening for port in begun.server.reactor.tcp_ports)
    assert [record.reason for record in begun.server.records] == [Reason.KICKED]


def test_streams_end_in_order_and_what_is_written_arrives(begin: Any) -> None:
    begun = begin()
    far = begun.come()
    begun.answered()
    far.deliver(b"the last octets")
    begun.command.stop(Reason.KICKED, 10)
    assert begun.server.records == []
    assert begun.client.received() == b"the last octets"
    assert (begun.client.sees, far.far_sees) == ("end", "end")
    assert [record.reason for record in begun.server.records] == [Reason.KICKED]


def test_or_by_force(begin: Any) -> None:
    begun = begin()
    begun.client.transport.window = 0
    far = begun.come()
    begun.command.stop(Reason.KICKED, 10)
    begun.command.stop(Reason.KICKED, 0)
    assert (begun.client.sees, far.far_sees) == ("reset", "reset")
    [record] = begun.server.records
    assert (record.reason, begun.client.is_connected) == (Reason.KICKED, False)
