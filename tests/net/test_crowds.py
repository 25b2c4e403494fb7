"""Whose turn it is among the clients of one address, by a clock."""

from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import pytest

from socks5.net import crowds
from socks5.net.crowds import HOLD, LOOK, REQUESTS, ROUND, TURN, Crowds
from tests.support.reactor import SteppedClock
from tests.support.values import settings_and_capacity

HOST, OTHER = "192.0.2.1", "192.0.2.2"
SHARE, MOST, PATIENCE = 2, 3, 5.0


class Listener:
    """Lets clients begin, whose sessions are they themselves."""

    def __init__(self, crowds: Crowds) -> None:
        self._crowds = crowds
        self.taken: list[Any] = []
        self.dropped: list[Any] = []
        self.serve: Callable[[str, Any], None] = crowds.begin

    def take(self, client: Any) -> None:
        self.taken.append(client)
        self.serve(client.partition(" ")[0], client)

    def drop(self, client: Any) -> None:
        self.dropped.append(client)


class World:
    def __init__(self, room: int = 1000, **settings: Any) -> None:
        chosen = {"handshakes_per_client": SHARE, "waiting_per_client": MOST}
        chosen |= {"handshake_timeout": PATIENCE, **settings}
        values, capacity = settings_and_capacity(**chosen)
        self.clock = SteppedClock()
        self.crowds = Crowds(self.clock, capacity, values, room)
        self.listener = Listener(self.crowds)
        self._number = 0

    def arrives(self, host: str = HOST) -> str:
        """A client: "begins", "waits" or "closed"."""
        self._number += 1
        client = f"{host} {self._number}"
        if self.crowds.is_free(host):
            self.crowds.begin(host, client)
            return "begins"
        return "waits" if self.crowds.wait(host, self.listener, client) else "closed"

    def fill(self, count: int) -> list[str]:
        """So many clients arrive."""
        return [self.arrives() for _ in range(count)]

    def ends(self, *numbers: int, host: str = HOST) -> None:
        for number in numbers:
            self.crowds.end(f"{host} {number}")

    @property
    def taken(self) -> list[int]:
        """Who began after a wait, by number."""
        self.clock.advance(0)
        return [int(client.partition(" ")[2]) for client in self.listener.taken]

    @property
    def dropped(self) -> list[int]:
        return [int(client.partition(" ")[2]) for client in self.listener.dropped]


@pytest.fixture
def world() -> World:
    return World()


def test_of_one_address_some_begin_some_wait_and_more_are_closed(world: World) -> None:
    came = world.fill(6)
    assert came == ["begins", "begins", "waits", "waits", "waits", "closed"]
    assert world.crowds.waiting == 3
    assert world.arrives(OTHER) == "begins"


def test_a_late_comer_does_not_overtake_those_that_wait(world: World) -> None:
    world.fill(3)
    world.ends(1, 1)  # which makes room once
    assert world.arrives() == "waits"
    assert world.taken == [3]


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", False),
        ("", "", True),
    ],
)
def test_an_ipv6_network_is_one_client(first: str, second: str, is_one: bool) -> None:
    world = World(handshakes_per_client=1)
    assert world.arrives(first) == "begins"
    assert world.arrives(second) == ("waits" if is_one else "begins")


def test_who_is_silent_keeps_others_for_a_moment_only(world: World) -> None:
    world.fill(4)
    world.clock.pump([LOOK] * round(HOLD / LOOK))
    assert world.taken == [3, 4]
    world.ends(1, 2)  # through after all
    assert world.arrives() == "waits"


def test_who_is_silent_keeps_nobody_though_nobody_waits_any_more() -> None:
    world = World(handshakes_per_client=8)
    world.fill(8)
    world.clock.advance(HOLD)
    assert world.arrives() == "waits"
    world.ends(1)
    assert world.taken == [9]
    world.ends(2, 3, 4, 5, 6)
    world.clock.advance(LOOK)  # 7 and 8 have had their time
    assert world.fill(8) == ["begins"] * 7 + ["waits"]


def test_hundreds_of_silent_ones_keep_others_of_their_address_for_a_moment() -> None:
    world = World(handshakes_per_client=64, waiting_per_client=2048, room=10_000)
    world.fill(400)
    world.clock.pump([LOOK / 5] * round(5 / LOOK))
    assert world.taken[-1:] == [400]


@pytest.mark.parametrize(("patience", "dropped"), [(LOOK / 2, [3]), (0, [])])
def test_who_has_waited_for_too_long_is_dropped(patience: float, dropped: list[int]) -> None:
    world = World(handshake_timeout=patience)
    world.fill(3)
    world.clock.advance(LOOK * 0.7)
    world.arrives()
    assert world.dropped == []
    world.clock.advance(LOOK * 0.4)
    assert world.dropped == dropped
    assert world.crowds.waiting == 2 - len(dropped)


def test_the_clients_of_a_closed_listener_are_dropped(world: World) -> None:
    mine, others = world.listener, Listener(world.crowds)
    world.fill(3)
    world.listener = others
    world.arrives()
    world.crowds.forget(mine)
    assert [mine.dropped, others.dropped] == [[f"{HOST} 3"], []]
    world.ends(1, 2)
    assert world.taken == [4]


def test_those_that_wait_take_a_quarter_of_all_sessions_at_the_most() -> None:
    world = World(room=8)
    came = world.fill(5)
    assert came == ["begins", "begins", "waits", "waits", "closed"]


def broken(client: Any) -> None:
    raise OSError("no memory")


def test_a_listener_that_breaks_at_one_client_does_not_stop_the_others(world: World) -> None:
    world.fill(5)
    take, world.listener.take = world.listener.take, broken  # type: ignore[method-assign]
    world.ends(1, 2)
    with pytest.raises(OSError, match="no memory"):
        world.clock.turn()
    world.listener.take = take  # type: ignore[method-assign]
    assert world.taken == [4, 5]


def test_a_listener_that_breaks_at_one_that_is_late_does_not_keep_the_others() -> None:
    world = World(handshake_timeout=LOOK / 2)
    world.fill(5)
    drop, world.listener.drop = world.listener.drop, broken  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no memory"):
        world.clock.advance(LOOK)
    world.listener.drop = drop  # type: ignore[method-assign]
    world.clock.advance(LOOK)
    assert world.dropped == [4, 5]


def test_many_addresses_begin_in_turn_some_at_a_time() -> None:
    world = World(handshakes_per_client=1)
    hosts = [f"192.0.2.{i}" for i in range(TURN)]
    for host in hosts * 2 + hosts[:1]:
        world.arrives(host)
    for i, host in enumerate(hosts):
        world.ends(i + 1, host=host)
    world.listener.serve = lambda host, client: None
    [due] = [call for call in world.clock.getDelayedCalls() if call.getTime() == 0]
    due.func()
    assert len(world.listener.taken) == TURN
    assert world.taken == [*range(TURN + 1, 2 * TURN + 2)]


def test_whoever_began_elsewhere_counts(world: World) -> None:
    world.fill(3)
    world.ends(1)
    world.crowds.begin(HOST, "at a port that lets everybody begin")
    assert world.taken == []
    world.ends(2)
    assert world.taken == [3]


# ---------------------------------------------------------------- requests


class Asking:
    """Sessions that ask, whose names are noted when it is their turn after a wait."""

    def __init__(self) -> None:
        self.world = World()
        self.crowds = self.world.crowds
        self.served: list[str] = []
        self.sessions: dict[str, Any] = {}

    def ask(self, name: str, host: str = HOST) -> bool:
        session = self.sessions[name] = MagicMock()
        session.begin_command = lambda: self.served.append(name)
        return self.crowds.may_ask(host, session)

    def fill(self, host: str = HOST) -> int:
        """Ask until a request has to wait.

        :returns: how many did not have to.
        """
        count = 0
        while self.ask("first", host):
            count += 1
        return count

    def turn(self) -> list[str]:
        """Who is served in the reactor's next turn."""
        self.served.clear()
        self.world.clock.turn()
        return list(self.served)


def test_some_requests_of_an_address_are_served_at_once_and_others_in_turn() -> None:
    asking = Asking()
    assert REQUESTS <= asking.fill() <= 2 * REQUESTS
    for number in range(TURN):
        assert not asking.ask(str(number))
    assert asking.ask("neighbour", OTHER)
    assert asking.turn() == ["first", *map(str, range(TURN - 1))]
    assert not asking.ask("behind it")
    assert asking.turn() == [str(TURN - 1), "behind it"]
    assert asking.ask("later")
    assert asking.world.clock.getDelayedCalls() == []


def test_addresses_whose_requests_wait_take_turns() -> None:
    asking = Asking()
    asking.fill()
    asking.ask("second")
    asking.fill(OTHER)
    assert asking.turn() == ["first", "first", "second"]


def test_a_session_that_is_gone_asks_no_more() -> None:
    asking = Asking()
    asking.fill()
    for name in "ab":
        asking.ask(name)
    for name in ("first", "a", "a"):
        asking.crowds.end(asking.sessions[name])
    assert asking.turn() == ["b"]
    asking.fill()
    asking.crowds.end(asking.sessions["first"])
    assert asking.turn() == []


def test_a_request_keeps_its_turn_when_its_session_has_held_its_own_for_long() -> None:
    asking = Asking()
    while asking.world.arrives() == "begins":
        pass  # until somebody waits: then it is looked who has had his time
    asking.fill()
    for number in range(TURN):
        asking.ask(str(number))
    last = str(TURN - 1)
    asking.crowds.begin(OTHER, asking.sessions[last])
    asking.world.clock.advance(HOLD)
    assert asking.served[-1] == last


def test_requests_that_come_one_after_the_other_do_not_wait() -> None:
    asking = Asking()
    for number in range(10 * REQUESTS):
        assert asking.ask(str(number))
        asking.world.clock.advance(ROUND / REQUESTS)


def test_not_many_addresses_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowds, "ADDRESSES", 3)
    asking = Asking()
    for _ in range(REQUESTS):
        assert asking.ask("x")
    for number in range(3):
        asking.ask("x", f"198.51.100.{number}")
    assert asking.ask("x")  # one more would have had to wait, were its address still known
