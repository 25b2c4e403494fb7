"""Sessions behind a door, in memory: who is let in, and by which method."""

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.address import UNIXAddress

from socks5 import Door, Networks, Settings
from socks5.errors import LocalProtocolError
from socks5.wire import Method
from tests import sessions
from tests.fakes import FakeTLSTransport, address
from tests.sessions import (
    CONNECT,
    GREETING,
    LOGIN,
    LOGIN_RIGHT,
    NO_AUTHENTICATION,
    PASSWORD_CHOSEN,
    Client,
    Logins,
    Server,
    octets,
)

failures = sessions.failures

BOTH_GREETING = octets("05 02 00 02")
NONE_ACCEPTABLE = octets("05 ff")
PASSWORD, NONE = Method.USERNAME_PASSWORD, Method.NO_AUTHENTICATION


class Entrance:
    """A server's listener behind a door, to be used like a :class:`~tests.sessions.Server`."""

    def __init__(self, server: Server, door: Door) -> None:
        self.reactor = server.reactor
        self.factory = server.factory.at(door)

    def client(self, *sent: bytes, **options: Any) -> Client:
        client = Client(self, **options)  # type: ignore[arg-type]
        client.send(*sent)
        return client


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
    door = Door(methods=None if methods is None else tuple(methods))
    pieces = [greeting[at : at + 1] for at in range(len(greeting))] if in_pieces else [greeting]
    client = Entrance(Server(authenticator=Logins()), door).client(*pieces)
    assert client.received() == answer


def test_a_login_behind_a_door_is_a_login() -> None:
    logins = Logins()
    server = Server(authenticator=logins)
    client = Entrance(server, Door(methods=(PASSWORD, NONE))).client(BOTH_GREETING, LOGIN, CONNECT)
    logins.accept("alice")
    assert client.received() == PASSWORD_CHOSEN + LOGIN_RIGHT
    client.end()
    assert [record.user for record in server.records] == ["alice"]


def test_other_listeners_keep_their_methods() -> None:
    server = Server(authenticator=Logins())
    server.factory.at(Door(methods=(NONE,)))
    assert server.client(BOTH_GREETING).received() == PASSWORD_CHOSEN


@pytest.mark.parametrize("methods", [(PASSWORD,), (PASSWORD, NONE), (3,)])
def test_a_door_wants_no_method_that_nobody_judges(methods: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the authenticator has"):
        Server().factory.at(Door(methods=methods))


def test_methods_are_chosen_once() -> None:
    client = Server().client(GREETING)
    with pytest.raises(LocalProtocolError, match="the method is chosen already at REQUEST"):
        client.session._negotiation.methods = (PASSWORD,)


def test_methods_must_be_known() -> None:
    negotiation = Server().client().session._negotiation
    with pytest.raises(LocalProtocolError, match="cannot carry out"):
        negotiation.methods = (NONE, 0x80)
    assert negotiation.methods == (NONE,)


# ---------------------------------------------------------------- clients

INSIDE = Door(clients=Networks.parse("198.51.100.0/24,2001:db8::/32"))
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
    client = Entrance(server, INSIDE).client(GREETING, peer=peer)
    assert client.received() == NO_AUTHENTICATION
    assert not server.counters.turned_away


@pytest.mark.parametrize("peer", [STRANGER, address("2001:db9::7", 5000)])
@pytest.mark.parametrize("sent", [(), (GREETING,), (b"\5", b"\1\0")])
def test_others_are_closed_at_once(peer: Any, sent: Sequence[bytes]) -> None:
    server = Server()
    client = Entrance(server, INSIDE).client(*sent, peer=peer)
    assert client.received() == b""
    assert client.sees == "end"
    assert not client.is_connected
    assert server.counters.turned_away == {"network": 1}
    assert server.counters.open_connections == 0
    assert server.records == []
    assert len(server.factory.handshakes) == len(server.factory.closing) == 0


def test_others_are_closed_over_tls() -> None:
    server = Server()
    client = Entrance(server, INSIDE).client(peer=STRANGER, kind=FakeTLSTransport)
    assert not client.is_connected
    assert server.counters.turned_away == {"network": 1}


def test_octets_that_come_before_the_close_are_not_answered() -> None:
    server = Server()
    client = Entrance(server, INSIDE).client(peer=STRANGER, kind=FakeTLSTransport, window=0)
    client.session.dataReceived(GREETING)
    client.session.dataReceived(GREETING)
    assert client.transport.unsent == 0
    assert server.counters.turned_away == {"network": 1}


def test_a_door_keeps_the_session_limit() -> None:
    server = Server(Settings(max_sessions=1))
    entrance = Entrance(server, INSIDE)
    entrance.client()
    assert entrance.factory.buildProtocol(None) is None


def test_a_door_without_anything_lets_everybody_in() -> None:
    client = Entrance(Server(), Door()).client(GREETING, peer=STRANGER)
    assert client.received() == NO_AUTHENTICATION


BEHIND = Door(clients=INSIDE.clients, proxies=Networks.parse("203.0.113.0/24"))


def test_behind_a_balancer_the_client_is_known_with_the_first_octets() -> None:
    server = Server()
    client = Entrance(server, BEHIND).client(peer=STRANGER)
    assert client.is_connected
    client.send(GREETING)
    assert client.received() == b""
    assert client.sees == "end"
    assert server.counters.turned_away == {"network": 1}
