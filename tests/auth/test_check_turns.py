"""Whose turn it is: a few at a time, fair by client, bounded, and whoever leaves is out."""

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from socks5.auth import LoginNotJudged
from socks5.auth.check_turns import Turn, Turns

BULLY = "198.51.100.7"
NEIGHBOUR = "198.51.100.8"
THIRD = "2001:db8::1"


class World:
    """Turns, and who has one: ``began`` are the clients in the order of their turns."""

    def __init__(self, at_once: int = 1, share: int | None = None, **options: Any) -> None:
        self.clock = Clock()
        self.turns = Turns(at_once, share, clock=self.clock, **options)
        self.began: list[str] = []
        self.under_way: list[tuple[str, Turn]] = []
        self.refused: list[tuple[str, Any]] = []

    def wait(self, *clients: str) -> Deferred[Any]:
        """Each of these wants a turn; the last one's wait."""
        for client in clients:
            waiting = self.turns.wait(client)
            waiting.addCallbacks(
                self._begin,
                lambda failure, client=client: self.refused.append((client, failure.value)),
                callbackArgs=(client,),
            )
        return waiting

    def _begin(self, turn: Turn, client: str) -> None:
        self.began.append(client)
        self.under_way.append((client, turn))

    def end(self, client: str = "") -> None:
        """The oldest turn is over, or the oldest of that client."""
        of_client = [each for each in self.under_way if client in ("", each[0])]
        self.under_way.remove(of_client[0])
        of_client[0][1].over()

    def end_all(self) -> list[str]:
        """Every turn that there is, and who began in which order."""
        while self.under_way:
            self.end()
        return self.began


def test_clients_have_their_turns_one_after_the_other() -> None:
    """IPv6 clients of one /64 are one; who leaves is out of the queue."""
    world = World()
    world.wait(*[BULLY] * 4, *[NEIGHBOUR] * 3)
    gone = world.wait(*(f"2001:db8::{number}" for number in range(2)), THIRD)
    gone.cancel()
    assert isinstance(world.refused[0][1], CancelledError)
    expected = [BULLY, NEIGHBOUR, "2001:db8::0", BULLY, NEIGHBOUR, "2001:db8::1"]
    assert world.end_all() == [*expected, BULLY, NEIGHBOUR, BULLY]


def test_whose_checks_take_long_does_not_keep_all_turns() -> None:
    """A turn goes to the client with the fewest, not just to the next one."""
    world = World(at_once=3)
    world.wait(NEIGHBOUR, *[BULLY] * 9, *[NEIGHBOUR] * 2)
    for _ in range(2):
        world.end(NEIGHBOUR)
    assert world.began == [NEIGHBOUR, BULLY, BULLY, NEIGHBOUR, NEIGHBOUR]


def test_a_client_has_no_more_than_its_share_at_a_time() -> None:
    world = World(at_once=4, share=3)
    world.wait(*[BULLY] * 9)
    assert len(world.under_way) == 3
    world.wait(NEIGHBOUR)
    assert world.began[-1] == NEIGHBOUR
    world.end(BULLY)
    assert world.began[-1] == BULLY


@pytest.mark.parametrize("clients", [[BULLY], [BULLY, NEIGHBOUR]])
def test_what_waits_is_bounded_and_that_is_told_once_in_a_while(
    clients: list[str], log: list[str]
) -> None:
    world = World(waiting=3)
    for client in clients:
        world.wait(*[client] * 7)
    refused = len(world.refused)
    assert len(clients) * 7 - refused == 1 + 3  # one has its turn
    assert all(isinstance(error, LoginNotJudged) for _, error in world.refused)
    world.clock.advance(59)
    world.wait(BULLY)
    assert log == ["too many logins at once: 1 refused unjudged, while 3 wait for their check"]
    world.clock.advance(1)
    world.wait(BULLY)
    assert log[1].startswith(f"too many logins at once: {refused + 1} refused unjudged")
    world.end_all()
    world.wait(BULLY)
    assert world.began[-1] == BULLY


def test_what_one_client_has_waiting_is_bounded() -> None:
    world = World(waiting=9, waiting_of_one=2)
    world.wait(*[BULLY] * 5)
    assert [client for client, _ in world.refused] == [BULLY] * 2
    world.wait(NEIGHBOUR, NEIGHBOUR)
    assert len(world.refused) == 2


def test_who_has_most_waiting_gives_way_and_not_the_newcomer() -> None:
    world = World(waiting=4)
    newest = world.wait(*[BULLY] * 5)
    world.wait(NEIGHBOUR)
    assert [client for client, _ in world.refused] == [BULLY]
    assert newest.called
    world.wait(THIRD)
    assert [client for client, _ in world.refused] == [BULLY] * 2
    assert world.end_all() == [BULLY, NEIGHBOUR, THIRD, BULLY, BULLY]


def test_where_all_have_as_much_waiting_the_newest_gives_way() -> None:
    world = World(waiting=2)
    world.wait(BULLY, BULLY, NEIGHBOUR)
    world.wait(THIRD)
    assert [client for client, _ in world.refused] == [THIRD]


def test_of_many_networks_of_one_customer_one_gives_way_and_not_the_newcomer() -> None:
    world = World(waiting=4)
    world.wait(THIRD, *(f"2001:db8:0:{number}::1" for number in range(4)))
    world.wait(NEIGHBOUR)
    [(refused, _)] = world.refused
    assert refused.startswith("2001:db8:")
    assert NEIGHBOUR in world.end_all()


def test_turns_that_are_over_at_once_do_not_pile_up() -> None:
    turns = Turns(1, waiting=1000, waiting_of_one=1000)
    held: list[Turn] = []
    turns.wait(BULLY).addCallback(held.append)
    outcomes = [turns.wait(BULLY).addCallback(Turn.over) for _ in range(1000)]
    held[0].over()
    assert all(each.called for each in outcomes)


def test_at_the_end_nobody_waits_any_longer() -> None:
    world = World()
    world.wait(BULLY)
    first = world.turns.wait(NEIGHBOUR)
    second = world.wait(THIRD)
    first.addErrback(lambda _: second.cancel())
    world.turns.close()
    world.turns.close()
    assert isinstance(world.refused[0][1], CancelledError)
    world.wait(NEIGHBOUR)
    assert str(world.refused[1][1]) == "the program ends"
    assert world.end_all() == [BULLY]
