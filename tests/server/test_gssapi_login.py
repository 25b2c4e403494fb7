"""Logins by a security context, in memory: who comes in at which level, and what bad input does.

The mechanism is :mod:`tests.support.contexts`'; the real one is tried in tests/interop/. What passes once a level is
agreed is in ``test_control.py``.
"""

from itertools import repeat
from typing import Any

import pytest

from socks5 import ListenerPolicy, Settings
from socks5.auth import CheckFailed, LoginNotJudged, User
from socks5.logins import Step
from socks5.protocol.gssapi import ABORT, MAX_TOKENS, Protection
from socks5.protocol.messages import Method
from tests.support.contexts import SECRET, ContextClient, FakeAcceptor, FakeContext, FakeInitiator
from tests.support.failures import Failures
from tests.support.protection import (
    CHOSEN,
    GREETING,
    TICKET,
    TO_TARGET,
    Connected,
    agreed,
    connected,
    established,
    server_of,
    token,
)
from tests.support.providers import FakeBans, Logins
from tests.support.sessions import (
    CONNECT,
    CONNECTED,
    LOGIN,
    LOGIN_RIGHT,
    PASSWORD_CHOSEN,
    Door,
    Server,
    octets,
)

N, I, C = Protection.NONE, Protection.INTEGRITY, Protection.CONFIDENTIALITY  # noqa: E741
ALL = (N, I, C)


@pytest.fixture
def acceptor() -> FakeAcceptor:
    return FakeAcceptor(ALL)


@pytest.fixture
def server(acceptor: FakeAcceptor) -> Server:
    return server_of(acceptor)


# ---------------------------------------------------------------- who may come in


@pytest.mark.parametrize("legs", [2, 3, MAX_TOKENS])
def test_a_context_may_need_several_tokens(legs: int) -> None:
    acceptor = FakeAcceptor(legs=legs)
    client, _ = connected(server_of(acceptor))
    assert [len(each.tokens) for each in acceptor.accepted] == [legs]
    assert client.side.agreed is I


def test_the_last_token_may_be_empty(acceptor: FakeAcceptor, server: Server) -> None:
    """Then a message without one says that the context is complete (RFC 1961 section 3.6)."""
    acceptor.says_more = False
    client = server.client(GREETING, TICKET)
    assert client.received() == CHOSEN + octets("01 01 0000")


def test_the_factory_prefers_contexts_to_passwords(server: Server) -> None:
    assert list(server.factory.in_force.methods) == [Method.GSSAPI]
    assert server.client(octets("05 02 00 02")).received() == octets("05 ff")
    logins = Logins()
    server = server_of(authenticator=logins)
    assert list(server.factory.in_force.methods) == [Method.GSSAPI, Method.USERNAME_PASSWORD]
    assert server.client(octets("05 03 00 02 01")).received() == CHOSEN
    assert server.client(octets("05 01 00")).received() == octets("05 ff")
    client = server.client(octets("05 02 00 02"), LOGIN, CONNECT)
    logins.accept()
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT
    server.dialer.succeed()
    assert client.received() == CONNECTED


def test_a_door_may_want_a_context_or_not(server: Server) -> None:
    for method in (Method.GSSAPI, Method.NO_AUTHENTICATION):
        session: Any = server.factory.at(ListenerPolicy(methods=(method,))).buildProtocol(None)
        assert list(session.methods) == [method]
    with pytest.raises(ValueError, match="the authenticator has"):
        Server().factory.at(ListenerPolicy(methods=(Method.GSSAPI,)))


def test_beside_tickets_an_empty_password_is_no_login_where_none_is_required() -> None:
    server = server_of(authenticator=Logins())
    door = Door(server, ListenerPolicy(methods=(1, 2, 0)))
    client = door.client(octets("05 02 00 02 01 04 726f6f74 00"))
    assert client.received() == octets("05 02 01 00")


def test_a_context_that_is_not_accepted_is_a_failed_login(
    acceptor: FakeAcceptor, server: Server
) -> None:
    client = server.client()
    client.session.user = User("anna")  # whatever a certificate says
    client.send(GREETING, token(b"alice\0 wrong " + SECRET))
    assert client.received() == CHOSEN + ABORT
    assert client.sees == "end"
    counters = server.counters
    assert (counters.refused_logins, counters.unjudged_logins, counters.violations) == (1, 0, 0)
    [record] = server.records
    refused = "AuthenticationFailed: security context not accepted"
    assert (record.user, record.detail) == (None, refused)
    texts = repr(server.records) + repr(client.session) + repr(acceptor.accepted)
    assert SECRET.decode() not in texts


@pytest.mark.parametrize(("error", "is_bug"), [(LoginNotJudged(), 0), (RuntimeError("no key"), 1)])
def test_a_context_that_nobody_can_judge_is_none(
    error: Exception, is_bug: int, acceptor: FakeAcceptor, server: Server, failures: Failures
) -> None:
    acceptor.is_slow = True
    client = server.client(GREETING, TICKET)
    acceptor.waiting.errback(error)
    assert client.received() == CHOSEN + ABORT
    assert (server.counters.unjudged_logins, len(failures.take(CheckFailed))) == (
        1 - is_bug,
        is_bug,
    )


@pytest.mark.parametrize("user", [True, False, 1, "alice"])
def test_a_context_needs_a_user(
    user: Any, server: Server, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is complete for somebody without a name is complete for nobody."""
    monkeypatch.setattr(FakeContext, "judge", lambda self, token: Step(b"", user))
    client = server.client(GREETING, TICKET)
    assert client.received() == CHOSEN + ABORT
    assert len(failures.take(CheckFailed)) == 1


def test_an_acceptor_that_cannot_begin_ends_its_session_only(
    acceptor: FakeAcceptor, server: Server, failures: Failures
) -> None:
    acceptor.accept = lambda client: 1 / 0
    client = server.client(GREETING, TICKET)
    assert client.received() == CHOSEN
    assert client.sees == "end"
    assert failures.take(ZeroDivisionError) == ["division by zero"]


def test_contexts_count_as_passwords_do(acceptor: FakeAcceptor) -> None:
    """Wrong ones wait, and ban: what waits for its verdict then is cancelled, and refused."""
    server = server_of(acceptor, settings=Settings(ban_after=2))
    early = server.client(GREETING)
    acceptor.is_slow = True
    late = server.client(GREETING, TICKET)
    acceptor.is_slow = False
    first = server.client(GREETING, token(b"forged"))
    assert first.received() == CHOSEN
    server.reactor.advance(0.5)
    assert first.received() == ABORT
    server.client(GREETING, token(b"forged"))
    assert (server.counters.bans, len(acceptor.cancelled)) == (1, 1)
    assert late.received() == CHOSEN + ABORT
    assert server.counters.refused_logins == 3
    early.send(TICKET)
    assert (early.received(), early.is_connected) == (CHOSEN, False)
    assert server.counters.turned_away == {"banned": 1}
    told: list[str] = []
    server = server_of(settings=Settings(ban_after=3))
    server.factory.bans.succeeded = told.append
    Connected(server)
    assert told == ["198.51.100.7"]


# ---------------------------------------------------------------- levels that will not do


@pytest.mark.parametrize("is_bare", [False, True])
def test_a_level_that_is_not_permitted_ends_it(is_bare: bool) -> None:
    server = server_of(FakeAcceptor((I, C)), bans=(bans := FakeBans()))
    client = Connected(server, N, is_bare)
    assert client.side.agreed is None
    assert str(client.side.error) == "the server refuses the level of protection"
    assert client.wire.sees == "end"
    [record] = server.records
    assert record.detail == "NoAcceptableProtection: protection level 0 required, permitted [1, 2]"
    assert record.user == "alice"
    assert server.counters.violations == server.counters.refused_logins == 0
    assert bans.told == []


@pytest.mark.parametrize("is_wrapped", [False, True])
@pytest.mark.parametrize("level", [b"\4", b"\xff\xff", b"", b"\1\1"])
def test_what_is_no_level_ends_it(level: bytes, is_wrapped: bool, server: Server) -> None:
    client, initiator = established(server)
    client.send(token(initiator.wrap(level, False) if is_wrapped else level, 2))
    assert client.received() == ABORT
    assert client.sees == "end"
    assert server.counters.violations == 1


def test_a_context_without_encryption_offers_none(acceptor: FakeAcceptor, server: Server) -> None:
    acceptor.protections = (I,)
    assert Connected(server, Protection.SELECTIVE).side.agreed is I
    assert Connected(server, C).side.agreed is None


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("end", range(len(TICKET)))
def test_a_token_cut_at_every_place(end: int, server: Server) -> None:
    """A silent client ends with the handshake, one that closes at once."""
    silent = server.client(GREETING, TICKET[:end])
    gone = server.client(GREETING, TICKET[:end])
    gone.end()
    assert silent.received() == gone.received() == CHOSEN
    assert not gone.is_connected
    server.reactor.advance(10)
    assert silent.sees == "end"
    reasons = [record.reason for record in server.records]
    assert reasons == ["client closed", "handshake timed out"]
    assert server.counters.refused_logins == 0


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("is_late", [False, True], ids=["hears", "does not hear"])
def test_nobody_waits_for_a_verdict_without_end(
    leaves: bool, is_late: bool, acceptor: FakeAcceptor, server: Server
) -> None:
    """Nor is one taken any more from an acceptor that does not hear that it is cancelled."""
    acceptor.is_slow = True
    client = server.client(GREETING, TICKET)
    if is_late:
        acceptor.waiting._canceller = lambda waiting: waiting.callback(None)
    client.end() if leaves else server.reactor.advance(10)
    assert not client.is_connected
    assert client.received() == CHOSEN
    assert len(acceptor.cancelled) == (not is_late)
    [record] = server.records
    reason = "client closed" if leaves else "handshake timed out"
    assert (record.user, record.reason) == (None, reason)
    assert server.counters.refused_logins == 0


def test_a_client_that_leaves_between_two_tokens(acceptor: FakeAcceptor, server: Server) -> None:
    """It cannot send the other one any more; what waits is not that."""
    acceptor.is_slow = True
    acceptor.legs = 2
    client = server.client(GREETING, TICKET + b"\1")
    client.end()
    assert client.is_connected
    acceptor.waiting.callback(None)
    assert not client.is_connected


def test_long_tokens_are_read_whole(acceptor: FakeAcceptor) -> None:
    """Although they are longer than what may wait for a verdict."""
    acceptor.is_slow = True
    acceptor.legs = 2
    server = server_of(acceptor, settings=Settings(max_optimistic=1000, ban_after=0))
    second = token(bytes(65535))
    client = server.client(GREETING, TICKET, second[:10_000], second[10_000:])
    assert not client.transport.is_reading
    acceptor.waiting.callback(None)
    server.reactor.turn()
    assert [len(each) for each in acceptor.accepted[0].tokens] == [len(TICKET) - 4, 65535]
    assert client.session.pending_octets == 0


@pytest.mark.parametrize("close", [False, True], ids=["leaves", "is closed"])
def test_one_that_has_agreed_on_a_level_and_has_not_asked(close: bool, server: Server) -> None:
    client, _ = agreed(server)
    if close:
        client.transport.window = 0
        client.session.close(within=3)
        server.reactor.pump([3, 0])
    else:
        client.reset()
    assert (client.is_connected, [*server.factory.sessions]) == (False, [])
    reason = "ended by the operator" if close else "reset by client"
    assert [record.reason for record in server.records] == [reason]


@pytest.mark.parametrize("cut", [0, 1])
def test_an_end_that_overtakes_the_level_is_one_behind_the_tokens(
    cut: int, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is sent at once, while the context is being checked: a stream that was cut does not look whole then,
    either.
    """
    monkeypatch.setattr(
        "tests.support.contexts._keys", repeat(7)
    )  # what the client of a real context knows before
    side, example = ContextClient(TO_TARGET, FakeInitiator(), I), server.client()
    sent = b""
    while data := side.take_output():
        sent += data
        example.send(data)
        side.receive(example.received())
    server.dialer.succeed()
    side.receive(example.received())
    sent += side.seal(b"first") + side.seal(b"second")

    acceptor = FakeAcceptor(ALL, is_slow=True)
    server = server_of(acceptor)
    client = server.client(sent[: len(sent) - cut])
    client.end()
    acceptor.waiting.callback(None)
    if cut:
        assert [record.detail for record in server.records] == [
            "RemoteProtocolError: the end within a token"
        ]
        return
    target = server.dialer.succeed()
    server.reactor.advance(0.1)
    assert target.value() == b"firstsecond"
    assert target.far_sees == "end"
