"""Sessions under a listener policy, in memory: who is let in, and by which method."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socks5 import ListenerPolicy, Networks, Settings
from socks5.auth import CheckFailed, LoginNotJudged, User
from socks5.logins import IBans
from socks5.protocol.messages import Method
from socks5.server import factory
from socks5.settings import Capacity
from tests.support.failures import Failures
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
    Server,
    octets,
)
from tests.support.transports import SERVER, FakeTLSTransport, address

ROOT = Path(__file__).parents[2]
BOTH_GREETING = octets("05 02 00 02")
NONE_ACCEPTABLE = octets("05 ff")
LOGIN_WRONG = octets("01 01")
PASSWORD, NONE = Method.USERNAME_PASSWORD, Method.NO_AUTHENTICATION


class ListenerFactory:
    """A server's listener under a listener policy, to be used like a :class:`~tests.support.sessions.Server`."""

    def __init__(self, server: Server, policy: ListenerPolicy) -> None:
        self.reactor = server.reactor
        self.factory = server.factory.at(policy)

    def client(self, *sent: bytes, **options: Any) -> Client:
        client = Client(self, **options)  # type: ignore[arg-type]
        client.send(*sent)
        return client


def test_whose_address_it_is_cannot_be_told_and_guesses_count_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Out of descriptors."""
    monkeypatch.setattr(factory, "is_own_address", lambda host, unknown: unknown)
    bans = Server(Settings(), authenticator=Logins()).factory.bans
    assert bans is not None
    assert bans.failed("198.51.100.7") == 0.5


# ---------------------------------------------------------------- methods


@pytest.mark.parametrize(
    ("methods", "greeting", "answer"),
    [
        ((NONE,), BOTH_GREETING, NO_AUTHENTICATION),
        ((PASSWORD, NONE), BOTH_GREETING, PASSWORD_CHOSEN),
        ((PASSWORD, NONE), GREETING, NO_AUTHENTICATION),
        ((PASSWORD,), GREETING, NONE_ACCEPTABLE),
        (None, GREETING, NONE_ACCEPTABLE),
        (None, BOTH_GREETING, PASSWORD_CHOSEN),
    ],
)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_the_server_prefers_in_its_own_order(
    methods: Sequence[int] | None, greeting: bytes, answer: bytes, in_pieces: bool
) -> None:
    policy = ListenerPolicy(methods=None if methods is None else tuple(methods))
    pieces = [greeting[at : at + 1] for at in range(len(greeting))] if in_pieces else [greeting]
    client = ListenerFactory(Server(authenticator=Logins()), policy).client(*pieces)
    assert client.received() == answer


def test_a_login_behind_a_door_is_a_login() -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = ListenerFactory(server, ListenerPolicy(methods=(PASSWORD, NONE))).client(
        BOTH_GREETING, LOGIN, CONNECT
    )
    logins.accept("alice")
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT
    client.end()
    assert [record.user for record in server.records] == ["alice"]


def test_other_listeners_keep_their_methods() -> None:
    server = Server(authenticator=Logins())
    server.factory.at(ListenerPolicy(methods=(NONE,)))
    assert server.client(BOTH_GREETING).received() == PASSWORD_CHOSEN


@pytest.mark.parametrize("methods", [(PASSWORD,), (PASSWORD, NONE), (3,)])
def test_a_door_wants_no_method_that_nobody_judges(methods: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the authenticator has"):
        Server().factory.at(ListenerPolicy(methods=methods))


# ---------------------------------------------------------------- certificates


@pytest.fixture
def certified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every client has shown a certificate."""
    monkeypatch.setattr("socks5.server.handshake.name_of", lambda transport: "anna")


@pytest.mark.usefixtures("certified")
@pytest.mark.parametrize(
    ("methods", "answer"),
    [
        (None, NO_AUTHENTICATION),
        ((PASSWORD, NONE), NO_AUTHENTICATION),
        ((PASSWORD,), NONE_ACCEPTABLE),
    ],
)
def test_a_certificate_is_a_login_unless_others_are_asked_for(
    methods: tuple[int, ...] | None, answer: bytes
) -> None:
    client = ListenerFactory(
        Server(authenticator=Logins()), ListenerPolicy(methods=methods)
    ).client()
    client.session.handshakeCompleted()
    client.send(GREETING)
    assert client.received() == answer


@pytest.mark.usefixtures("certified")
@pytest.mark.parametrize("is_right", [True, False])
def test_a_login_counts_for_more_than_a_certificate(is_right: bool) -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = ListenerFactory(server, ListenerPolicy(methods=(PASSWORD,))).client()
    client.session.handshakeCompleted()
    client.send(PASSWORD_GREETING, LOGIN, CONNECT)
    if is_right:
        logins.accept("bert")
    else:
        logins.refuse()
    client.end()
    assert [record.user for record in server.records] == ["bert" if is_right else None]


# ---------------------------------------------------------------- empty passwords

JAVA = octets("01 04 726f6f74 00")  # root, and no password
EMPTY = octets("01 00 00")


@pytest.mark.parametrize("sent", [JAVA, EMPTY])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_an_empty_password_is_no_login_where_none_is_required(sent: bytes, in_pieces: bool) -> None:
    logins = Logins()
    server = Server(Settings(ban_after=1), authenticator=logins)
    listener = ListenerFactory(server, ListenerPolicy(methods=(PASSWORD, NONE)))
    data = BOTH_GREETING + sent + CONNECT
    pieces = [data[at : at + 1] for at in range(len(data))] if in_pieces else [data]
    for _ in range(2):
        client = listener.client(*pieces)
        assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT
        assert client.session.access.command == 1
        client.end()
    assert logins.asked == []
    assert server.counters.refused_logins == server.counters.bans == 0
    assert [record.user for record in server.records] == [None, None]


@pytest.mark.parametrize("methods", [None, (PASSWORD,)])
def test_an_empty_password_is_a_login_where_one_is_required(
    methods: tuple[int, ...] | None,
) -> None:
    logins = Logins()
    client = ListenerFactory(Server(authenticator=logins), ListenerPolicy(methods=methods)).client(
        BOTH_GREETING, JAVA
    )
    [(credentials, _)] = logins.asked
    assert (credentials.username, credentials.password) == (b"root", b"")
    logins.refuse()
    assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG


@pytest.mark.usefixtures("certified")
def test_an_empty_password_leaves_a_client_to_its_certificate() -> None:
    server = Server(authenticator=Logins())
    client = ListenerFactory(server, ListenerPolicy()).client()
    client.session.handshakeCompleted()
    client.send(PASSWORD_GREETING, JAVA, CONNECT)
    client.end()
    assert [record.user for record in server.records] == ["anna"]


def test_a_password_is_judged_although_none_is_required() -> None:
    logins = Logins()
    client = ListenerFactory(
        Server(authenticator=logins), ListenerPolicy(methods=(PASSWORD, NONE))
    ).client(BOTH_GREETING, LOGIN)
    logins.refuse()
    assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG


# ---------------------------------------------------------------- clients

INSIDE = ListenerPolicy(clients=Networks.parse("198.51.100.0/24,2001:db8::/32"))
STRANGER = address("192.0.2.66", 5000)


@pytest.mark.parametrize(
    "peer",
    [
        address("198.51.100.7", 5000),
        address("::ffff:198.51.100.7", 5000),
        address("2001:db8::7", 5000),
        UNIXAddress(None),
    ],
)
def test_clients_of_the_networks_are_served(peer: Any) -> None:
    server = Server()
    client = ListenerFactory(server, INSIDE).client(GREETING, peer=peer)
    assert client.received() == NO_AUTHENTICATION
    assert not server.counters.turned_away


@pytest.mark.parametrize("peer", [STRANGER, address("2001:db9::7", 5000)])
@pytest.mark.parametrize("sent", [(), (GREETING,), (b"\5", b"\1\0")])
def test_others_are_closed_at_once(peer: Any, sent: Sequence[bytes]) -> None:
    server = Server()
    client = ListenerFactory(server, INSIDE).client(*sent, peer=peer)
    assert client.received() == b""
    assert client.sees == "end"
    assert not client.is_connected
    assert server.counters.turned_away == {"network": 1}
    assert server.counters.open_connections == 0
    assert server.records == []
    assert len(server.factory.deadlines) == 0


def test_others_are_closed_over_tls() -> None:
    server = Server()
    client = ListenerFactory(server, INSIDE).client(peer=STRANGER, kind=FakeTLSTransport)
    assert not client.is_connected
    assert server.counters.turned_away == {"network": 1}


def test_octets_that_come_before_the_close_are_not_answered() -> None:
    server = Server()
    client = ListenerFactory(server, INSIDE).client(peer=STRANGER, kind=FakeTLSTransport, window=0)
    client.session.dataReceived(GREETING)
    client.session.dataReceived(GREETING)
    assert client.transport.unsent == 0
    assert server.counters.turned_away == {"network": 1}


def test_a_door_keeps_the_session_limit() -> None:
    server = Server(capacity=Capacity(max_sessions=1))
    listener = ListenerFactory(server, INSIDE)
    listener.client()
    assert listener.factory.buildProtocol(None) is None


def test_a_door_without_anything_lets_everybody_in() -> None:
    client = ListenerFactory(Server(), ListenerPolicy()).client(GREETING, peer=STRANGER)
    assert client.received() == NO_AUTHENTICATION


BEHIND = ListenerPolicy(clients=INSIDE.clients, proxies=Networks.parse("203.0.113.0/24"))


def test_behind_a_balancer_the_client_is_known_with_the_first_octets() -> None:
    server = Server()
    client = ListenerFactory(server, BEHIND).client(peer=STRANGER)
    client.transport.is_claimed = True
    assert client.is_connected
    client.send(GREETING)
    assert client.received() == b""
    assert client.sees == "end"
    assert server.counters.turned_away == {"network": 1}


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


def test_the_negative_answer_waits(guesses: Guesses) -> None:
    for delay in (0.5, 1.0):
        client = guesses.guess()
        guesses.server.reactor.advance(delay - 0.01)
        assert client.received() == PASSWORD_CHOSEN
        assert client.sees == ""
        guesses.server.reactor.advance(0.01)
        assert client.received() == LOGIN_WRONG
        assert client.sees == "end"
    assert guesses.counters.refused_logins == 2


def test_the_failure_that_bans_is_answered_at_once(guesses: Guesses) -> None:
    guesses.ban()
    assert guesses.counters.bans == 1
    assert guesses.counters.refused_logins == 3


def test_a_banned_client_is_closed_at_once(guesses: Guesses) -> None:
    guesses.ban()
    before = len(guesses.server.records)
    client = guesses.server.client(PASSWORD_GREETING)
    assert client.received() == b""
    assert not client.is_connected
    assert guesses.counters.turned_away == {"banned": 1}
    assert len(guesses.server.records) == before
    guesses.server.reactor.advance(60)
    assert guesses.server.client(PASSWORD_GREETING).received() == PASSWORD_CHOSEN


def test_others_are_served_meanwhile(guesses: Guesses) -> None:
    guesses.ban()
    client = guesses.server.client(PASSWORD_GREETING, LOGIN, peer=STRANGER)
    guesses.logins.accept()
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT


@pytest.mark.parametrize("peer", [UNIXAddress(None), address("127.0.0.1", 5000)])
def test_this_host_is_told_at_once_and_never_banned(peer: Any, guesses: Guesses) -> None:
    for _ in range(10):
        assert guesses.guess(peer=peer).received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert guesses.counters.bans == 0


def test_a_client_from_the_address_that_it_has_reached_is_this_host_itself(
    guesses: Guesses,
) -> None:
    """It comes through the proxy, perhaps."""
    for _ in range(10):
        client = guesses.guess(peer=address(SERVER.host, 5000))
        assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert guesses.counters.bans == 0


def test_what_a_banned_client_has_sent_is_not_looked_at(guesses: Guesses) -> None:
    early = guesses.server.client()
    greeted = guesses.server.client(PASSWORD_GREETING)
    assert greeted.received() == PASSWORD_CHOSEN
    guesses.ban()
    asked = len(guesses.logins.asked)
    early.send(PASSWORD_GREETING)
    greeted.send(LOGIN)
    assert early.received() == greeted.received() == b""
    assert early.sees == greeted.sees == "end"
    assert len(guesses.logins.asked) == asked
    assert guesses.counters.turned_away == {"banned": 2}


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
        logins.authenticate = begin  # type: ignore[method-assign]
        guesses.ban()
        return begin(*login)

    logins.authenticate = banning  # type: ignore[method-assign]
    late = guesses.server.client(PASSWORD_GREETING, LOGIN)
    if is_right:
        logins.accept()
    else:
        logins.refuse()
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


def test_a_check_that_is_cancelled_without_a_ban_is_a_fault_of_the_checker(
    guesses: Guesses, failures: Failures
) -> None:
    client = guesses.guess(CancelledError())
    assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert len(failures.take(CheckFailed)) == 1


def test_whoever_has_a_verdict_leaves_nothing_behind(guesses: Guesses) -> None:
    guesses.guess()
    guesses.server.client(PASSWORD_GREETING, LOGIN).reset()
    guesses.server.client(PASSWORD_GREETING, LOGIN)
    guesses.logins.accept()
    assert guesses.server.factory.asking._waiting == {}


def test_a_login_that_succeeds_counts(guesses: Guesses) -> None:
    guesses.guess()
    guesses.guess()
    guesses.server.client(PASSWORD_GREETING, LOGIN)
    guesses.logins.accept()
    guesses.guess()
    assert guesses.counters.bans == 0
    guesses.guess()
    assert guesses.counters.bans == 1


def test_a_broken_checker_bans_nobody(guesses: Guesses, failures: Failures) -> None:
    for _ in range(5):
        client = guesses.guess(RuntimeError("no file"))
        assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert guesses.counters.bans == 0
    assert len(failures.take(CheckFailed)) == 5


@pytest.mark.parametrize("how", [Client.end, Client.reset])
def test_a_client_that_leaves_ends_the_wait(how: Any, guesses: Guesses) -> None:
    client = guesses.guess()
    how(client)
    assert not client.is_connected
    assert list(guesses.server.factory.sessions) == []
    waits = [call.getTime() for call in guesses.server.reactor.getDelayedCalls()]
    assert [when for when in waits if when <= 0.5] == []
    assert len(guesses.server.records) == 1


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


def test_few_sessions_of_an_address_wait_at_a_time() -> None:
    guesses = Guesses(Settings(ban_after=3))
    clients = [guesses.server.client(PASSWORD_GREETING) for _ in range(50)]
    for client in clients:
        client.send(LOGIN)
        if client.is_connected and not client.sees:
            guesses.logins.refuse()
    assert sum(client.sees == "" for client in clients) == 2
    assert guesses.counters.turned_away == {"banned": 47}


def test_bans_hold_at_every_door_of_a_factory(guesses: Guesses) -> None:
    guesses.ban()
    listener = ListenerFactory(guesses.server, ListenerPolicy(methods=(NONE,)))
    assert not listener.client(GREETING).is_connected


@pytest.mark.parametrize(
    ("settings", "authenticator"), [(Settings(), None), (Settings(ban_after=0), Logins())]
)
def test_without_logins_or_by_choice_there_are_no_bans(
    settings: Settings, authenticator: Any
) -> None:
    factory = Server(settings, authenticator=authenticator).factory
    assert factory.in_force.bans is None
    session = factory.buildProtocol(None)
    assert session is not None
    assert session.admission is None


def test_bans_of_ones_own(guesses: Guesses) -> None:
    @implementer(IBans)
    class Never:
        def is_banned(self, client: str) -> bool:
            return False

        def failed(self, client: str, is_judged: bool = True) -> float:
            return 0.0

        def succeeded(self, client: str) -> None:
            """Nothing."""

    assert verifyObject(IBans, Never())
    logins = Logins()
    server = Server(BANNING, bans=Never(), authenticator=logins)
    for _ in range(20):
        client = server.client(PASSWORD_GREETING, LOGIN)
        logins.refuse()
        assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG


# ---------------------------------------------------------------- failures that nobody quite judged


def test_a_source_that_is_out_of_order_bans_nobody(guesses: Guesses) -> None:
    for _ in range(50):
        client = guesses.guess(LoginNotJudged("the directory is out of order"))
        assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert guesses.counters.bans == 0
    assert guesses.counters.unjudged_logins == 50


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


def test_who_leaves_after_the_verdict_is_counted_once(guesses: Guesses) -> None:
    for _ in range(2):
        guesses.guess().end()
    assert guesses.counters.bans == 0
    assert guesses.guess().received() == PASSWORD_CHOSEN + LOGIN_WRONG
    assert guesses.counters.bans == 1


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


# ---------------------------------------------------------------- policies for balancers


def test_a_door_for_balancers_does_not_open_where_nobody_reads_headers() -> None:
    server = Server()
    client = ListenerFactory(server, ListenerPolicy(proxies=Networks.parse("192.0.2.66"))).client(
        GREETING, peer=STRANGER
    )
    assert client.received() == b""
    assert client.sees == "end"
    assert server.counters.turned_away == {"no PROXY header": 1}
