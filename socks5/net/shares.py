"""A bounded number of places, shared out among clients; who counts as one is the caller's business.

One who finds no place waits, and those who wait are served in turn by client, so that one client with a
thousand items waits for itself. A client has no more than its share of places and of room to wait, however
many are free; but its first item always finds both, whatever others do. So there can be more places than
were bargained for by one for each client at the most, and clients are bounded by their connections.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Item = TypeVar("_Item", bound=Hashable)


class _Client(Generic[_Item]):
    """What one has: places, and items that wait, oldest first."""

    __slots__ = ("places", "waiting")

    def __init__(self) -> None:
        self.places = 0
        self.waiting: dict[_Item, None] = {}


class Shares(Generic[_Item]):
    """See the module.

    :param places: in all.
    :param share: of one client, at least 1.
    :param room: items that wait, in all.
    :param room_share: of one client.
    :param begin: called with an item that has got a place, and with the client whose place it is. It may give
        the place back at once.
    """

    def __init__(
        self,
        places: int,
        share: int,
        room: int,
        room_share: int,
        begin: Callable[[_Item, Hashable], object],
    ) -> None:
        self._places, self._share = places, share
        self._room, self._room_share = room, room_share
        self._begin = begin
        self._clients: dict[Hashable, _Client[_Item]] = {}
        # Those of whom something waits, in turn: who may have another place, and who has none.
        self._ready: dict[Hashable, None] = {}
        self._idle: dict[Hashable, None] = {}
        self._is_serving = False
        self.taken = 0
        """Places taken now."""
        self.waiting = 0
        """Items that wait now."""

    def enter(self, item: _Item, client: Hashable) -> bool:
        """Get a place for *item*, now or later.

        :returns: False: there is no room, not even to wait.
        """
        mine = self._clients.get(client)
        if mine is not None and mine.waiting:
            is_full = self.waiting >= self._room or len(mine.waiting) >= self._room_share
            if is_full and item not in mine.waiting:
                return False
        mine = self._clients.setdefault(client, _Client())
        if item not in mine.waiting:
            mine.waiting[item] = None
            self.waiting += 1
        self._put(client, mine)
        self._serve()
        return True

    def withdraw(self, item: _Item, client: Hashable) -> None:
        """An item of a client's waits no longer; harmless if it does not wait."""
        mine = self._clients.get(client)
        if mine is not None and item in mine.waiting:
            del mine.waiting[item]
            self.waiting -= 1
            self._put(client, mine)

    def leave(self, client: Hashable) -> None:
        """A place of a client's is free again."""
        self._change(client, -1)
        self._serve()

    def hand_over(self, client: Hashable, other: Hashable) -> None:
        """A place of one client's is another's from now on, even beyond its share."""
        self._change(client, -1)
        self._change(other, +1)
        self._serve()

    def _change(self, client: Hashable, by: int) -> None:
        mine = self._clients.setdefault(client, _Client())
        mine.places += by
        self.taken += by
        self._put(client, mine)

    def _put(self, client: Hashable, mine: _Client[_Item]) -> None:
        """Put a client where it belongs; one that is in a line keeps its place there."""
        if mine.waiting and mine.places < self._share:
            self._ready.setdefault(client)
        else:
            self._ready.pop(client, None)
        if mine.waiting and not mine.places:
            self._idle.setdefault(client)
        else:
            self._idle.pop(client, None)
        if not mine.waiting and not mine.places:
            self._clients.pop(client, None)

    def _serve(self) -> None:
        """Begin what can be begun; what gives its place back at once leads back here, to no effect."""
        if self._is_serving:
            return
        self._is_serving = True
        try:
            while line := self._ready if self.taken < self._places else self._idle:
                self._begin_next(next(iter(line)))
        finally:
            self._is_serving = False

    def _begin_next(self, client: Hashable) -> None:
        """Begin a client's oldest item; then the others have their turn."""
        mine = self._clients[client]
        item = next(iter(mine.waiting))
        del mine.waiting[item]
        self.waiting -= 1
        mine.places += 1
        self.taken += 1
        self._ready.pop(client, None)
        self._put(client, mine)
        self._begin(item, client)
