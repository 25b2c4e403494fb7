"""Listeners in the place of others: what stays, what is opened and closed, and that it is all or nothing."""

import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from socks5 import ListenerPolicy, Networks, ServerFactory
from socks5.app.exchange import Exchange, NotExchanged, overlap
from socks5.app.listeners import Listener
from socks5.net.listening import listen_from, listen_with
from socks5.net.openers import PortOpener, adopted_ports
from socks5.net.places import TCP, UNIX, Foreign, Listen
from socks5.net.tls import TLSFactory
from socks5.protocol.messages import Method
from tests.sockets.wires import turn
from tests.support.certificates import self_signed
from tests.support.ports import free_port
from tests.support.transports import address

OFFICE = ListenerPolicy(clients=Networks.parse("192.0.2.0/24"))
HOME = ListenerPolicy(clients=Networks.parse("198.51.100.0/24"))


def listener(where: Any, policy: ListenerPolicy = OFFICE, **others: Any) -> Listener:
    called = next(
        getattr(where, each) for each in ("port", "path", "description") if hasattr(where, each)
    )
    return Listener(f"listener {called}", Listen(where, policy=policy), **others)


class House:
    """A factory that listens, and the attempts to have it listen elsewhere."""

    def __init__(self) -> None:
        self.factory = ServerFactory(reactor)
        self.opener: Any = PortOpener(reactor, self.factory.limit)
        self.listening: dict[Any, Listener] = {}

    def begin(self, *wanted: Listener) -> list[Any]:
        """Listen there."""
        for each in wanted:
            listen_with(self.opener, each.at, self.factory, each.certificates).addCallback(
                self.listening.__setitem__, each
            )
        return list(self.listening)

    def attempt(self, *wanted: Listener, methods: Any = (Method.NO_AUTHENTICATION,)) -> Exchange:
        return Exchange(self.opener, self.factory, self.listening, wanted, methods)

    def exchange(self, *wanted: Listener, **others: Any) -> tuple[int, int]:
        """Listen there instead.

        :returns: how many are opened, and how many closed.
        """
        attempt = self.attempt(*wanted, **others)
        attempt.open()
        before, self.listening = self.listening, attempt.begin()
        for port in before:
            if port not in self.listening:
                port.stopListening()
        return attempt.opened, attempt.closed

    def refused(self, *wanted: Listener, **others: Any) -> list[str]:
        """What is in the way."""
        with pytest.raises(NotExchanged) as raised:
            self.attempt(*wanted, **others).open()
        assert str(raised.value) == "; ".join(raised.value.reasons)
        return [*raised.value.reasons]


@pytest_twisted.async_yield_fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    for port in house.listening:
        port.stopListening()
    for _ in range(2):
        await turn()


def test_one_that_listens_at_the_same_place_stays_open_and_gets_the_policy(house: House) -> None:
    number = free_port()
    [port] = house.begin(listener(TCP(number, "127.0.0.1")))
    new = listener(TCP(number, "::ffff:127.0.0.1"), HOME)
    assert house.exchange(new) == (0, 0)
    assert house.listening == {port: new}
    assert port.sessions.policy == HOME
    assert port.port.factory is port.sessions


def test_one_without_a_policy_has_the_factory_itself(house: House) -> None:
    number = free_port()
    [port] = house.begin(listener(TCP(number, "127.0.0.1")))
    before = port.sessions
    for _ in range(2):
        house.exchange(listener(TCP(number, "127.0.0.1"), ListenerPolicy()))
        assert port.sessions is port.port.factory is house.factory
        assert before.policy == ListenerPolicy()


def test_two_of_one_place_are_two(house: House) -> None:
    """As free ports are."""
    first, _second = house.begin(*(listener(TCP(0, "127.0.0.1")) for _ in range(2)))
    assert house.exchange(listener(TCP(0, "127.0.0.1"))) == (0, 1)
    assert list(house.listening) == [first]
    assert house.exchange(*(listener(TCP(0, "127.0.0.1")) for _ in range(3))) == (2, 0)


def test_a_certificate_comes_with_the_rest(house: House, tmp_path: Path) -> None:
    number = free_port()
    [port] = house.begin(listener(TCP(number, "127.0.0.1")))
    at = listen_from(f"tls:{number}:interface=127.0.0.1:cert={self_signed(tmp_path)}", OFFICE)
    house.exchange(Listener("over TLS", at))
    assert isinstance(port.port.factory, TLSFactory)
    house.exchange(listener(TCP(number, "127.0.0.1")))
    assert port.port.factory is port.sessions


def test_all_sockets_of_an_address_get_it(house: House) -> None:
    """Of which a process before has left several."""

    class Opener:
        reactor: Any = reactor

        def open(self, where: Any, factory: Any) -> Any:
            sockets = [socket.create_server((where.interface, where.port), reuse_port=True)]
            sockets.append(socket.create_server(sockets[0].getsockname(), reuse_port=True))
            return adopted_ports(sockets, factory, reactor, house.factory.limit)

    house.opener = Opener()
    [port] = house.begin(listener(TCP(0, "127.0.0.1")))
    house.exchange(listener(TCP(0, "127.0.0.1"), HOME))
    assert [each.factory for each in port.port] == [port.sessions] * 2
    assert port.sessions.policy == HOME


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted does
def test_an_endpoint_of_twisteds_is_asked_again_what_it_serves(
    house: House, tmp_path: Path
) -> None:
    description = f"ssl:0:privateKey={self_signed(tmp_path)}:interface=127.0.0.1"
    [port] = house.begin(listener(Foreign(description)))
    house.exchange(listener(Foreign(description), HOME))
    assert isinstance(port.port.factory, TLSMemoryBIOFactory)
    assert port.port.factory.wrappedFactory is port.sessions
    assert port.sessions.policy == HOME


def test_an_endpoint_that_nobody_can_ask_stays_as_it_is(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    [port] = house.begin(listener(TCP(0, "127.0.0.1")))
    house.listening = {port: listener(Foreign("theirs:"))}
    monkeypatch.setattr("socks5.net.listening.factory_at", lambda *_: None)
    sessions = port.sessions
    assert house.exchange(listener(Foreign("theirs:"))) == (0, 0)
    assert port.sessions is sessions
    assert house.refused(listener(Foreign("theirs:"), HOME)) == [
        "listener theirs:: this endpoint cannot change while it listens; that needs a restart"
    ]
    attempt = house.attempt()
    attempt.open()
    assert attempt.begin() == {}
    assert port.sessions is sessions


# ---------------------------------------------------------------- all or nothing


@pytest_twisted.ensureDeferred
async def test_if_one_cannot_be_opened_the_others_are_closed_again(
    house: House, tmp_path: Path
) -> None:
    path = tmp_path / "u"
    free = free_port()
    house.begin(listener(UNIX(str(path), 0o660)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        wanted = [TCP(free, "127.0.0.1"), TCP(number, "127.0.0.1"), UNIX(str(path), 0o600)]
        [reason] = house.refused(*map(listener, wanted))
    assert reason == (
        f"cannot listen on listener {number}: Address already in use (something listens there already, perhaps this "
        "proxy)"
    )
    assert ("127.0.0.1", free) not in house.factory.listeners
    await turn()
    with socket.create_server(("127.0.0.1", free)):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_place_that_this_machine_may_lack_is_left_out(house: House) -> None:
    optional = listener(TCP(0, "192.0.2.1"), is_optional=True)
    assert house.exchange(optional, listener(TCP(0, "127.0.0.1"))) == (1, 0)
    assert optional not in house.listening.values()


def test_a_method_that_there_will_not_be_is_in_the_way_and_one_to_come_is_not(house: House) -> None:
    number = free_port()
    house.begin(listener(TCP(number, "127.0.0.1")))
    asking = ListenerPolicy(methods=(Method.USERNAME_PASSWORD,))
    for where in TCP(number, "127.0.0.1"), TCP(0, "127.0.0.2"):
        [reason] = house.refused(listener(where, asking))
        assert reason.endswith("the authenticator has [<Method.NO_AUTHENTICATION: 0>]")
    coming = [Method.USERNAME_PASSWORD]
    wanted = [listener(TCP(number, "127.0.0.1"), asking), listener(TCP(0, "127.0.0.2"), asking)]
    assert house.exchange(*wanted, methods=coming) == (1, 0)


def test_the_mode_of_a_socket_changes_and_comes_back(house: House, tmp_path: Path) -> None:
    first, second = (str(tmp_path / name) for name in "ab")
    house.begin(*(listener(UNIX(path, 0o660)) for path in (first, second)))
    attempt = house.attempt(*(listener(UNIX(path, 0o600)) for path in (first, second)))
    attempt.open()
    assert {stat.S_IMODE(Path(path).stat().st_mode) for path in (first, second)} == {0o600}
    attempt.give_up()
    assert {stat.S_IMODE(Path(path).stat().st_mode) for path in (first, second)} == {0o660}
    os.rename(second, f"{second}.away")
    assert house.refused(*(listener(UNIX(path, 0o600)) for path in (first, second))) == [
        f"listener {second}: mode 600: No such file or directory"
    ]
    assert stat.S_IMODE(Path(first).stat().st_mode) == 0o660
    attempt = house.attempt(listener(UNIX(first, 0o600)), listener(UNIX(second, 0o660)))
    attempt.open()
    os.unlink(first)
    attempt.give_up()  # whose file is gone
    for path in first, second:  # Twisted's ports do not like that
        Path(path).touch()


@pytest.mark.parametrize("outcome", ["listens", "fails"])
def test_an_endpoint_that_takes_its_time_is_in_the_way_and_closed_later(
    outcome: str, house: House
) -> None:
    @implementer(IListeningPort)
    class Port:
        stopped = 0

        def getHost(self) -> Any:
            return address("127.0.0.1", 1080)

        def stopListening(self) -> Deferred[None]:
            self.stopped += 1
            return succeed(None)

    class Opener:
        reactor: Any = reactor
        listening: Deferred[Any] = Deferred()

        def open(self, where: Any, factory: Any) -> Deferred[Any]:
            return self.listening

    port, house.opener = Port(), Opener()
    assert house.refused(listener(TCP(1080, "127.0.0.1"))) == [
        "listener 1080: this endpoint takes its time; that needs a restart"
    ]
    if outcome == "listens":
        house.opener.listening.callback(port)
        assert port.stopped == 1
    else:
        house.opener.listening.errback(CannotListenError("", 1080, OSError()))


@pytest.mark.parametrize(
    ("one", "other", "do"),
    [
        ("0.0.0.0", "127.0.0.1", True),
        ("", "127.0.0.1", True),
        ("::", "127.0.0.1", True),
        ("::", "::1", True),
        ("::", "0.0.0.0", True),
        ("0.0.0.0", "::1", False),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "::ffff:127.0.0.1", False),  # the same
        ("localhost", "0.0.0.0", True),
    ],
)
def test_addresses_on_one_port_may_have_each_others_clients(one: str, other: str, do: bool) -> None:
    assert overlap(TCP(1080, one), TCP(1080, other)) is do
    assert overlap(TCP(1080, other), TCP(1080, one)) is do
    assert not overlap(TCP(0, one), TCP(0, other))
    assert not overlap(TCP(1080, one), TCP(1081, other))
    assert not overlap(TCP(1080, one), UNIX("/run/a"))


def test_an_overlap_with_what_listens_now_is_in_the_way(house: House) -> None:
    number = free_port()
    house.begin(listener(TCP(number, "127.0.0.1")))
    [reason] = house.refused(Listener("0.0.0.0", Listen(TCP(number, "0.0.0.0"))))
    assert reason == (
        f"0.0.0.0 overlaps listener {number}, where the proxy listens now: that needs a restart"
    )


# ---------------------------------------------------------------- those that close


@pytest.mark.parametrize(
    ("policy", "methods"),
    [
        (ListenerPolicy(), ()),
        (OFFICE, ()),
        (ListenerPolicy(methods=(Method.NO_AUTHENTICATION,)), (Method.NO_AUTHENTICATION,)),
    ],
)
def test_nobody_comes_in_at_the_last_moment_by_the_logins_of_others(
    policy: ListenerPolicy, methods: Any, house: House
) -> None:
    """Where nothing was said, it was the methods of then; of which those of now may be none."""
    [port] = house.begin(listener(TCP(0, "127.0.0.1"), policy))
    attempt = house.attempt(methods=[Method.USERNAME_PASSWORD])
    attempt.open()
    assert attempt.begin() == {}
    assert port.sessions.policy.methods == methods
    assert attempt.closed == 1
