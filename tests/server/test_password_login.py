"""Logins by user name and password where a listener has methods of its own, a certificate counts, or none is needed."""

from typing import Any

import pytest

from socks5 import ListenerPolicy, Settings
from socks5.protocol.messages import Method
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

BOTH_GREETING = octets("05 02 00 02")
NONE_ACCEPTABLE = octets("05 ff")
LOGIN_WRONG = octets("01 01")
PASSWORD, NONE = Method.USERNAME_PASSWORD, Method.NO_AUTHENTICATION

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
def test_the_server_prefers_in_its_own_order(
    methods: tuple[int, ...] | None, greeting: bytes, answer: bytes
) -> None:
    server = Server(authenticator=Logins())
    door = Door(server, ListenerPolicy(methods=methods))
    assert door.client(greeting).received() == answer
    assert server.client(BOTH_GREETING).received() == PASSWORD_CHOSEN  # other doors keep theirs


@pytest.mark.parametrize("is_right", [True, False])
def test_a_login_behind_a_door_is_a_login(is_right: bool) -> None:
    """Although none is required."""
    logins = Logins()
    server = Server(authenticator=logins)
    door = Door(server, ListenerPolicy(methods=(PASSWORD, NONE)))
    client = door.client(BOTH_GREETING, LOGIN, CONNECT)
    logins.accept("alice") if is_right else logins.refuse()
    assert client.received() == PASSWORD_CHOSEN + (LOGIN_RIGHT if is_right else LOGIN_WRONG)
    client.end()
    assert [record.user for record in server.records] == ["alice" if is_right else None]


@pytest.mark.parametrize("methods", [(PASSWORD,), (PASSWORD, NONE), (3,)])
def test_a_door_wants_no_method_that_nobody_judges(methods: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the authenticator has"):
        Server().factory.at(ListenerPolicy(methods=methods))


# ---------------------------------------------------------------- certificates


@pytest.fixture
def certified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every client has shown a certificate."""
    monkeypatch.setattr("socks5.server.handshake.name_of", lambda transport: "anna")


def certified_client(server: Server, methods: tuple[int, ...] | None, *sent: bytes) -> Client:
    client = Door(server, ListenerPolicy(methods=methods)).client()
    client.session.handshakeCompleted()
    client.send(*sent)
    return client


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
    client = certified_client(Server(authenticator=Logins()), methods, GREETING)
    assert client.received() == answer


@pytest.mark.usefixtures("certified")
@pytest.mark.parametrize("is_right", [True, False])
def test_a_login_counts_for_more_than_a_certificate(is_right: bool) -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = certified_client(server, (PASSWORD,), PASSWORD_GREETING, LOGIN, CONNECT)
    logins.accept("bert") if is_right else logins.refuse()
    client.end()
    assert [record.user for record in server.records] == ["bert" if is_right else None]


# ---------------------------------------------------------------- empty passwords

JAVA = octets("01 04 726f6f74 00")  # root, and no password
EMPTY = octets("01 00 00")


@pytest.mark.parametrize("sent", [JAVA, EMPTY])
def test_an_empty_password_is_no_login_where_none_is_required(sent: bytes) -> None:
    logins = Logins()
    server = Server(Settings(ban_after=1), authenticator=logins)
    door = Door(server, ListenerPolicy(methods=(PASSWORD, NONE)))
    for _ in range(2):
        client = door.client(BOTH_GREETING + sent + CONNECT)
        assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT
        assert client.session.access.command == 1
        client.end()
    assert logins.asked == []
    assert server.counters.refused_logins == server.counters.bans == 0
    assert [record.user for record in server.records] == [None, None]


@pytest.mark.parametrize("methods", [None, (PASSWORD,)])
@pytest.mark.parametrize("sent", [JAVA, EMPTY, octets("01 00 01 70")])
def test_an_empty_password_or_name_is_a_login_where_one_is_required(
    sent: bytes, methods: Any
) -> None:
    logins = Logins()
    door = Door(Server(authenticator=logins), ListenerPolicy(methods=methods))
    client = door.client(BOTH_GREETING, sent)
    [(credentials, _)] = logins.asked
    assert (credentials.username, credentials.password) in [(b"root", b""), (b"", b""), (b"", b"p")]
    logins.refuse()
    assert client.received() == PASSWORD_CHOSEN + LOGIN_WRONG


@pytest.mark.usefixtures("certified")
def test_an_empty_password_leaves_a_client_to_its_certificate() -> None:
    server = Server(authenticator=Logins())
    certified_client(server, None, PASSWORD_GREETING, JAVA, CONNECT).end()
    assert [record.user for record in server.records] == ["anna"]
