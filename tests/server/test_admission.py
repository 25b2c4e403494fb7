"""Who may come in, in memory: a listener's networks, and bans, which failed logins lead to."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from socks5 import ListenerPolicy, Networks, Settings
from socks5.auth import CheckFailed, LoginNotJudged, User
from socks5.protocol.messages import Method
from socks5.server import factory
from socks5.server.login_stage import LoginStage
from socks5.settings import Capacity
from tests.support.failures import Failures
from tests.support.memory import held_by
from tests.support.providers import Logins
from tests.support.sessions import (
    CONNECT,
    GREETING,
    LOGIN,
    LOGIN_RIGHT,
    NO_AUTHENTICATION,
    PASSWORD_CHOSEN,
    PASSWORD_GREETING,
    Client,
    Door,
    Server,
    octets,
)
from tests.support.transports import SERVER, FakeTLSTransport, FakeTransport, address

ROOT = Path(__file__).parents[2]
LOGIN_WRONG = octets("01 01")
NONE = Method.NO_AUTHENTICATION

# ---------------------------------------------------------------- networks

INSIDE = ListenerPolicy(clients=Networks.parse("198.51.100.0/24,2001:db8::/32"))
STRANGER = address("192.0.2.66", 5000)


@pytest.mark.parametrize(
    ("policy", "peer"),
    [
        (INSIDE, address("198.51.100.7", 5000)),
        (INSIDE, address("::ffff:198.51.100.7", 5000)),
        (INSIDE, address("2001:db8::7", 5000)),
        (INSIDE, UNIXAddress(None)),
        (ListenerPolicy(), STRANGER),
    ],
)
def test_clients_of_the_networks_are_served(policy: ListenerPolicy, peer: Any) -> None:
    server = Server()
    client = Door(server, policy).client(GREETING, peer=peer)
    assert client.received() == NO_AUTHENTICATION
    assert not server.counters.turned_away


@pytest.mark.parametrize("kind", [FakeTransport, FakeTLSTransport])
@pytest.mark.parametrize("peer", [STRANGER, address("2001:db9::7", 5000)])
@pytest.mark.parametrize("sent", [(), (GREETING,), (b"\5", b"\1\0")])
def test_others_are_closed_at_once(peer: Any, sent: Sequence[bytes], kind: Any) -> None:
    server = Server()
    client = Door(server, INSIDE).client(*sent, peer=peer, kind=kind)
    assert client.received() == b""
    assert client.sees == "end"
    assert not client.is_connected
    assert server.counters.turned_away == {"network": 1}
    assert server.counters.open_connections == 0
    assert server.records == []
    assert len(server.factory.deadlines) == 0


def test_octets_that_come_before_the_close_are_not_answered() -> None:
    server = Server()
    client = Door(server, INSIDE).client(peer=STRANGER, kind=FakeTLSTransport, window=0)
    for _ in range(2):
        client.session.dataReceived(GREETING)
    assert client.transport.unsent == 0
    assert server.counters.turned_away == {"network": 1}


def test_a_door_keeps_the_session_limit() -> None:
    door = Door(Server(capacity=Capacity(max_sessions=1)), INSIDE)
    door.client()
    assert door.factory.buildProtocol(None) is None


# ---------------------------------------------------------------- so many of one client


FEW = ListenerPolicy(connections_per_client=2)


def test_a_client_has_only_so_many_connections_from_the_first_moment_on() -> None:
    server = Server()
    door = Door(server, FEW)
    first, second = door.client(GREETING), door.client()
    third = door.client()
    assert third.sees == "end"
    assert third.received() == b""
    assert server.counters.turned_away == {"too many connections": 1}
    door.client(GREETING, peer=STRANGER)
    second.send(GREETING)
    assert second.received() == NO_AUTHENTICATION
    first.end()
    assert door.client(GREETING).received() == NO_AUTHENTICATION
    assert door.client().sees == "end"
    other = Door(server, FEW)
    assert other.client(GREETING).received() == NO_AUTHENTICATION


def test_a_client_that_has_left_is_forgotten() -> None:
    door = Door(Server(), ListenerPolicy(connections_per_client=1))
    for _ in range(2):
        client = door.client(GREETING)
        assert client.received() == NO_AUTHENTICATION
        client.end()


def test_whoever_takes_the_place_of_a_listener_counts_on() -> None:
    server = Server()
    door = Door(server, FEW)
    first, _second = door.client(GREETING), door.client(GREETING)
    before, door = door, Door(server, FEW)
    door.factory.succeed(before.factory)
    assert door.client(GREETING).sees == "end"
    first.end()
    assert door.client(GREETING).received() == NO_AUTHENTICATION


def test_the_addresses_of_one_listener_count_together() -> None:
    server = Server()
    named = replace(FEW, name="office")
    one, other = Door(server, named), Door(server, named)
    first = one.client(GREETING)
    other.client(GREETING)
    assert [door.client(GREETING).sees for door in (one, other)] == ["end", "end"]
    first.end()
    assert other.client(GREETING).received() == NO_AUTHENTICATION
    assert one.client(GREETING).sees == "end"
    elsewhere = Door(server, replace(FEW, name="road"))
    assert elsewhere.client(GREETING).received() == NO_AUTHENTICATION


def test_connections_of_an_address_that_is_another_listener_s_now_count_there() -> None:
    server = Server()
    office, road = (Door(server, replace(FEW, name=name)) for name in ("office", "road"))
    first, _second = office.client(GREETING), office.client(GREETING)
    office.factory.become(replace(FEW, name="road"))
    assert road.client(GREETING).sees == "end"
    assert Door(server, replace(FEW, name="office")).client(GREETING).is_connected
    first.end()
    assert road.client(GREETING).is_connected
    assert office.client(GREETING).sees == "end"


def test_a_listener_that_is_gone_counts_as_long_as_it_has_connections() -> None:
    server = Server()
    before = Door(server, replace(FEW, name="office"))
    first, _second = before.client(GREETING), before.client(GREETING)
    del before
    after = Door(server, replace(FEW, name="office"))
    assert after.client(GREETING).sees == "end"
    first.end()
    assert after.client(GREETING).is_connected


def test_an_ipv6_network_of_one_subscriber_is_one_client() -> None:
    door = Door(Server(), ListenerPolicy(connections_per_client=1))
    door.client(peer=address("2001:db8::7", 5000))
    assert door.client(peer=address("2001:db8::8", 5000)).sees == "end"
    assert door.client(peer=address("2001:db8:0:1::8", 5000)).is_connected


@pytest.mark.parametrize(
    "peer", [address("127.0.0.1", 5000), address("203.0.113.1", 5000), UNIXAddress(None)]
)
def test_those_of_this_host_are_not_counted(own_addresses: set[str], peer: Any) -> None:
    own_addresses.add("203.0.113.1")
    door = Door(Server(), ListenerPolicy(connections_per_client=1))
    assert all(door.client(peer=peer).is_connected for _ in range(3))


def test_behind_a_balancer_it_is_the_client_of_the_header_wherever_that_is() -> None:
    policy = ListenerPolicy(connections_per_client=1, proxies=Networks.parse("203.0.113.0/24"))
    door = Door(Server(), policy)
    clients = [door.client(peer=address("127.0.0.1", 5000)) for _ in range(2)]
    for client in clients:
        client.transport.is_claimed = True
        client.send(GREETING)
    assert [client.received() for client in clients] == [NO_AUTHENTICATION, b""]


@pytest.mark.parametrize(("has_header", "reason"), [(True, "network"), (False, "no PROXY header")])
def test_behind_a_balancer_the_client_is_known_with_the_first_octets(
    has_header: bool, reason: str
) -> None:
    """And where nobody reads headers, the door does not open."""
    server = Server()
    policy = ListenerPolicy(clients=INSIDE.clients, proxies=Networks.parse("203.0.113.0/24"))
    client = Door(server, policy).client(peer=STRANGER)
    if has_header:
        client.transport.is_claimed = True
    assert client.is_connected
    client.send(GREETING)
    assert client.received() == b""
    assert client.sees == "end"
    assert server.counters.turned_away == {reason: 1}


# ---------------------------------------------------------------- failed logins

BANNING = Settings(ban_after=3, ban_time=60.0)


class Guesses:
    """A server with logins, and clients that log in wrongly."""

    def __init__(self, settings: Settings = BANNING) -> None:
        self.logins = Logins()
        self.server = Server(settings, authenticator=self.logins)
        self.counters = self.server.counters

    def guess(self, error: Exception | None = None, **options: Any) -> Client:
        client = self.server.client(PASSWORD_GREETING, LOGIN, **options)
        self.logins.refuse(error)
        return client

    def ban(self, **options: Any) -> None:
        for _ in range(3):
            self.guess(**options)
        self.server.reactor.advance(4)


@pytest.fixture
def guesses() -> Guesses:
    return Guesses()


def test_failures_wait_and_the_one_that_bans_is_answered_at_once(guesses: Guesses) -> None:
    server, counters = guesses.server, guesses.counters
    for delay in (0.5, 1.0):
        client = guesses.guess()
        server.reactor.advance(delay - 0.01)
        assert (client.received(), client.sees) == (PASSWORD_CHOSEN, "")
        server.reactor.advance(0.01)
        assert (client.received(), client.sees) == (LOGIN_WRONG, "end")
    assert guesses.guess().received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert (counters.bans, counters.refused_logins) == (1, 3)
    # Banned, at every door; others are served.
    before = len(server.records)
    for door in (server, Door(server, ListenerPolicy(methods=(NONE,)))):
        client = door.client(PASSWORD_GREETING)
        assert (client.received(), client.is_connected) == (b"", False)
    assert counters.turned_away == {"banned": 2}
    assert len(server.records) == before
    client = server.client(PASSWORD_GREETING, LOGIN, peer=STRANGER)
    guesses.logins.accept()
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT
    server.reactor.advance(60)
    assert server.client(PASSWORD_GREETING).received() == PASSWORD_CHOSEN


@pytest.mark.parametrize(
    "peer", [UNIXAddress(None), address("127.0.0.1", 5000), address(SERVER.host, 5000)]
)
def test_this_host_is_told_at_once_and_never_banned(peer: Any, guesses: Guesses) -> None:
    """It is who comes from the address that he has reached: through the proxy, perhaps."""
    for _ in range(10):
        assert guesses.guess(peer=peer).received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert guesses.counters.bans == 0


def test_whose_address_it_is_cannot_be_told_and_guesses_count_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Out of descriptors."""
    monkeypatch.setattr(factory, "is_own_address", lambda host, unknown: unknown)
    bans = Server(Settings(), authenticator=Logins()).factory.bans
    assert bans is not None
    assert bans.failed("198.51.100.7") == 0.5


@pytest.mark.parametrize("last_word", [None, User("user"), Failure(UnauthorizedLogin())])
def test_what_waits_for_a_verdict_at_the_ban_is_cancelled_and_refused(
    last_word: Any, guesses: Guesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    if last_word is not None:
        monkeypatch.setattr(guesses.logins, "_cancel", lambda wait: wait.callback(last_word))
    late = guesses.server.client(PASSWORD_GREETING, LOGIN)
    other = guesses.server.client(PASSWORD_GREETING, LOGIN, peer=STRANGER)
    guesses.ban()
    assert guesses.logins.cancelled == (last_word is None)
    assert other.sees == ""
    assert late.received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert late.sees == "end"
    assert guesses.counters.bans == 1
    assert guesses.counters.refused_logins == 4
    late.end()
    assert [record.user for record in guesses.server.records if record.user] == []


@pytest.mark.parametrize("is_right", [True, False])
def test_a_verdict_that_comes_after_the_ban_is_negative(is_right: bool, guesses: Guesses) -> None:
    """The ban comes while the check is being begun, so there is nothing to cancel yet."""
    logins = guesses.logins
    begin = logins.authenticate

    def banning(*login: Any) -> Any:
        logins.authenticate = begin
        guesses.ban()
        return begin(*login)

    logins.authenticate = banning
    late = guesses.server.client(PASSWORD_GREETING, LOGIN)
    logins.accept() if is_right else logins.refuse()
    assert late.received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert guesses.counters.bans == 1


def test_a_ban_of_its_network_leaves_the_login_of_an_exempt_client_alone() -> None:
    guesses = Guesses(Settings(ban_after=3, ban_exempt=Networks.parse("2001:db8::1")))
    exempt = guesses.server.client(PASSWORD_GREETING, LOGIN, peer=address("2001:db8::1", 4000))
    verdict = guesses.logins._verdict
    guesses.ban(peer=address("2001:db8::2", 4000))
    assert guesses.counters.bans == 1
    assert guesses.logins.cancelled == 0
    verdict.callback(User("user"))
    assert exempt.received() == PASSWORD_CHOSEN + LOGIN_RIGHT


def test_whoever_has_a_verdict_leaves_nothing_behind(guesses: Guesses) -> None:
    guesses.guess()
    guesses.server.client(PASSWORD_GREETING, LOGIN).reset()
    guesses.server.client(PASSWORD_GREETING, LOGIN)
    guesses.logins.accept()
    assert not any(isinstance(each, LoginStage) for each in held_by(guesses.server.factory.asking))


@pytest.mark.parametrize("how", [Client.end, Client.reset])
def test_a_client_that_leaves_ends_the_wait_and_is_counted_once(how: Any, guesses: Guesses) -> None:
    for _ in range(2):
        client = guesses.guess()
        how(client)
        assert not client.is_connected
    assert list(guesses.server.factory.sessions) == []
    waits = [call.getTime() for call in guesses.server.reactor.getDelayedCalls()]
    assert [when for when in waits if when <= 0.5] == []
    assert (len(guesses.server.records), guesses.counters.bans) == (2, 0)
    assert guesses.guess().received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert guesses.counters.bans == 1


def test_a_half_closed_client_with_octets_waiting_gets_its_answer(guesses: Guesses) -> None:
    client = guesses.guess()
    client.send(CONNECT)
    client.end()
    guesses.server.reactor.advance(0.5)
    assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert not client.is_connected


def test_the_wait_is_within_the_handshake() -> None:
    guesses = Guesses(Settings(ban_after=3, handshake_timeout=0.3))
    client = guesses.guess()
    guesses.server.reactor.advance(0.3)
    assert client.received() == PASSWORD_CHOSEN
    assert client.sees == "end"
    guesses.server.reactor.advance(1)
    assert [record.reason for record in guesses.server.records] == ["handshake timed out"]


def test_few_sessions_of_an_address_wait_and_what_a_banned_one_has_sent_is_not_looked_at() -> None:
    guesses = Guesses(Settings(ban_after=3))
    early = guesses.server.client()
    clients = [guesses.server.client(PASSWORD_GREETING) for _ in range(50)]
    for client in clients:
        client.send(LOGIN)
        if client.is_connected and not client.sees:
            guesses.logins.refuse()
    early.send(PASSWORD_GREETING)
    assert (early.received(), early.sees) == (b"", "end")
    assert sum(client.sees == "" for client in clients) == 2
    assert len(guesses.logins.asked) == 3
    assert {client.received() for client in clients[3:]} == {PASSWORD_CHOSEN}
    assert guesses.counters.turned_away == {"banned": 48}


@pytest.mark.parametrize(
    ("settings", "authenticator"), [(Settings(), None), (Settings(ban_after=0), Logins())]
)
def test_without_logins_or_by_choice_there_are_no_bans(
    settings: Settings, authenticator: Any
) -> None:
    factory = Server(settings, authenticator=authenticator).factory
    session: Any = factory.buildProtocol(None)
    assert factory.in_force.bans is session.admission is None


# ---------------------------------------------------------------- failures that nobody quite judged


@pytest.mark.parametrize(
    ("error", "is_bug"),
    [
        (LoginNotJudged("the directory is out of order"), False),
        (RuntimeError("no file"), True),
        (CancelledError(), True),  # though nobody is banned
    ],
)
def test_a_source_that_is_out_of_order_bans_nobody(
    error: Exception, is_bug: bool, guesses: Guesses, failures: Failures
) -> None:
    for _ in range(50):
        assert guesses.guess(error).received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert (guesses.counters.bans, guesses.counters.refused_logins) == (0, 50)
    assert len(failures.take(CheckFailed)) == 50 * is_bug


def test_but_no_guesses_are_free_where_another_source_could_judge(guesses: Guesses) -> None:
    asked, answers = 0, []
    while guesses.counters.bans == 0:
        client = guesses.guess(LoginNotJudged("one of two", was_refused=True))
        answers.append(client.received())
        asked += 1
    assert set(answers[:-1]) == {PASSWORD_CHOSEN}  # and the rest of the answer waits
    assert 20 < asked < 40


@pytest.mark.parametrize("how", [Client.end, Client.reset])
def test_who_leaves_before_the_verdict_has_cost_a_check(how: Any, guesses: Guesses) -> None:
    asked = 0
    while guesses.counters.bans == 0:
        how(guesses.server.client(PASSWORD_GREETING, LOGIN))
        asked += 1
    assert 20 < asked < 40
    assert guesses.logins.cancelled == asked


@pytest.mark.parametrize(("silence", "is_banned"), [(0.0, False), (4.9, False), (5.1, True)])
def test_only_who_let_us_wait_is_counted_when_the_time_is_over(
    silence: float, is_banned: bool
) -> None:
    guesses = Guesses(Settings(ban_after=3, handshake_timeout=10))
    for _ in range(40):
        client = guesses.server.client(PASSWORD_GREETING)
        guesses.server.reactor.advance(silence)
        client.send(LOGIN)
        guesses.server.reactor.advance(10 - silence)
    assert (guesses.counters.bans > 0) is is_banned


KEEPS_NOTHING = """
import gc
from types import FrameType
from twisted.cred.credentials import UsernamePassword
from socks5 import Settings
from socks5.auth import PasswordAuthentication
from socks5.app.sources import passwords_on_command_line
from socks5.protocol.password_negotiation import CredentialsReceived
from socks5.protocol.messages import Credentials
from tests.support.sessions import PASSWORD_CHOSEN, PASSWORD_GREETING, Server

authenticator = PasswordAuthentication.over(passwords_on_command_line("user:secret"))
server = Server(Settings(ban_after=3), authenticator=authenticator)
client = server.client(PASSWORD_GREETING, bytes.fromhex("0104757365720577726f6e67"))  # user, wrong
assert client.received() == PASSWORD_CHOSEN  # and the answer waits
gc.collect()
for each in gc.get_objects():
    assert not isinstance(each, (Credentials, CredentialsReceived, UsernamePassword)), each
    if isinstance(each, FrameType) and each.f_code.co_name != "<module>":
        for value in each.f_locals.values():
            assert not (isinstance(value, bytes) and b"wrong" in value), each
"""


def test_nothing_keeps_the_password_while_the_answer_waits() -> None:
    """In a process of its own, for pytest-twisted has failures keep their frames."""
    subprocess.run([sys.executable, "-c", KEEPS_NOTHING], cwd=ROOT, check=True)
