"""Places and room to wait, shared out among clients."""

from collections.abc import Hashable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from socks5.net.shares import Shares


class World:
    """Shares, and what has begun."""

    def __init__(self, **bounds: int) -> None:
        sizes = {"places": 10, "share": 2, "room": 100, "room_share": 10, **bounds}
        self.shares: Shares[str] = Shares(begin=self._begin, **sizes)  # type: ignore[arg-type]
        self.begun: list[str] = []
        self.is_brief = False

    def _begin(self, item: str, client: Hashable) -> None:
        self.begun.append(item)
        if self.is_brief:
            self.shares.leave(client)

    def enter(self, *items: str) -> list[bool]:
        """Each item is of the client whose name is its first letter."""
        return [self.shares.enter(item, item[0]) for item in items]


def test_turns_are_by_client() -> None:
    world = World(places=3, share=3)
    world.enter("a1", "b1", "c1")
    world.enter("a2", "a3", "b2", "b3", "c2")
    for client in "abcab":
        world.shares.leave(client)
    assert world.begun[3:] == ["a2", "b2", "c2", "a3", "b3"]


def test_places_that_are_given_back_at_once_are_used_one_after_the_other() -> None:
    world = World(share=1, room_share=5000, room=5000)
    world.enter("a", *(f"a{number}" for number in range(3000)))
    world.is_brief = True
    world.shares.leave("a")
    assert len(world.begun) == 3001
    assert world.shares.taken == 0


@given(st.lists(st.tuples(st.sampled_from("elw"), st.sampled_from("abc"), st.integers(0, 5))))
def test_no_sequence_loses_a_place_or_forgets_who_waits(steps: list[Any]) -> None:
    world = World(places=3, share=2, room=6, room_share=4)
    running = world.begun
    waiting: set[str] = set()
    for step, client, number in steps:
        item = f"{client}{number}"
        if step == "e" and item not in running:
            if world.enter(item) == [True]:
                waiting.add(item)
        elif step == "w":
            world.shares.withdraw(item, client)
            waiting.discard(item)
        elif step == "l" and any(each.startswith(client) for each in running):
            running.remove(next(each for each in running if each.startswith(client)))
            world.shares.leave(client)
        waiting -= set(running)
        assert world.shares.taken == len(running)
        assert world.shares.waiting == len(waiting)
        for each in "abc":
            own = sum(item.startswith(each) for item in running)
            assert own <= 2
            if any(item.startswith(each) for item in waiting):
                assert own == 2 or (own == 1 and len(running) >= 3)
