"""Whose turn it is: slow checks run a few at a time, and the others wait in queues that are fair by client.

Each client has a queue of its own: an IPv4 address, or a /64 of IPv6. A turn goes to the client with the fewest
checks under way; among equals, to the one that has not had any for the longest time. So somebody whose queue was
empty waits for what has begun already, and not for what others have queued. When too much waits, the newest check
of whoever has queued most gives way, and among equals one from the IPv6 /48 that has: it may be one client's.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from socks5.auth import LoginNotJudged
from socks5.loglimit import Monotonic, Sparing
from socks5.protocol.networks import subscriber

WAITING = 256
"""Checks that wait for their turn; about what the hashing threads get through in a handshake's time."""

WAITING_OF_ONE = 128
"""What of that may be one client's: many users may be behind one address, but it is not the only one."""

_NETWORK = 6
"""The octets of an IPv6 /48, the most that one customer has (RFC 6177); an IPv4 address is shorter, and its own."""


class Turn:
    """A check may run.

    :param turns: whose.
    :param key: whose turn it is.
    """

    __slots__ = ("_key", "_turns")

    def __init__(self, turns: Turns, key: bytes) -> None:
        self._turns = turns
        self._key = key

    def over(self) -> None:
        """The check has ended, and another one may run. To be called once."""
        self._turns._end(self._key)


class Turns:
    """Lets so many checks run at a time.

    :param at_once: how many.
    :param share: how many of those may be one client's, although nobody else waits; None: all of them.
    :param waiting: how many more may wait.
    :param waiting_of_one: how many of those may be one client's.
    :param clock: by which the log is told of a full queue once a minute.
    """

    log = Logger()

    def __init__(
        self,
        at_once: int,
        share: int | None = None,
        *,
        waiting: int = WAITING,
        waiting_of_one: int = WAITING_OF_ONE,
        clock: Any = Monotonic,
    ) -> None:
        self._free = at_once
        self._share = at_once if share is None else share
        self._most = waiting
        self._most_of_one = waiting_of_one
        self._lines = Sparing(clock, lines=1)
        self._queues: dict[bytes, dict[Deferred[Turn], None]] = {}  # in the order of their turns
        self._waiting = 0
        self._under_way: Counter[bytes] = Counter()
        self._is_giving = False
        self._is_closed = False

    def wait(self, client: str) -> Deferred[Turn]:
        """Wait for one's turn.

        :param client: an IP literal; "" on a UNIX socket.
        :returns: a turn, or a failure with :exc:`~socks5.auth.LoginNotJudged` if too many wait, or the end has
            come. Cancelling it leaves the queue.
        """
        if self._is_closed:
            return fail(_at_the_end())
        key = subscriber(client)
        waiter: Deferred[Turn] = Deferred(partial(self._leave, key))
        self._queues.setdefault(key, {})[waiter] = None
        self._waiting += 1
        self._give()
        if self._length(key) > self._most_of_one:
            self._refuse_newest(key)
        elif self._waiting > self._most:
            self._refuse_newest(self._who_gives_way(key))
        return waiter

    def _who_gives_way(self, newcomer: bytes) -> bytes:
        """The client with most waiting; among equals, one from the network with most waiting."""
        networks: Counter[bytes] = Counter()
        for key, queue in self._queues.items():
            networks[key[:_NETWORK]] += len(queue)

        def claims(key: bytes) -> tuple[int, int, bool]:
            return self._length(key), networks[key[:_NETWORK]], key == newcomer

        return max(self._queues, key=claims)

    def _length(self, key: bytes) -> int:
        return len(self._queues.get(key, ()))

    def _leave(self, key: bytes, gone: Deferred[Turn]) -> None:
        """One that waited was cancelled."""
        queue = self._queues.get(key, {})
        if gone in queue:
            del queue[gone]
            self._taken_from(key)

    def _taken_from(self, key: bytes) -> None:
        self._waiting -= 1
        if not self._queues[key]:
            del self._queues[key]

    def _give(self) -> None:
        """Give turns while there are any. Not within itself, for one may be over as soon as it has begun."""
        if self._is_giving:
            return
        self._is_giving = True
        while self._free and (key := self._next()) is not None:
            waiter = next(iter(self._queues[key]))
            del self._queues[key][waiter]
            self._free -= 1
            self._under_way[key] += 1
            self._move_back(key)
            self._taken_from(key)
            waiter.callback(Turn(self, key))
        self._is_giving = False

    def _next(self) -> bytes | None:
        """Whose turn it is, if it is anybody's."""
        under_way = self._under_way
        eligible = [key for key in self._queues if under_way[key] < self._share]
        return min(eligible, key=under_way.__getitem__, default=None)

    def _move_back(self, key: bytes) -> None:
        """A client had a turn, or has one: others are before it now."""
        if key in self._queues:
            self._queues[key] = self._queues.pop(key)

    def _end(self, key: bytes) -> None:
        self._free += 1
        self._under_way[key] -= 1
        if not self._under_way[key]:
            del self._under_way[key]
        self._move_back(key)
        self._give()

    def _refuse_newest(self, key: bytes) -> None:
        waiter, _ = self._queues[key].popitem()
        self._taken_from(key)
        if (left_out := self._lines.next()) is not None:
            self.log.warn(
                "too many logins at once: {count} refused unjudged, while {waiting} wait for their check",
                count=left_out + 1,
                waiting=self._waiting,
            )
        waiter.errback(LoginNotJudged("too many logins wait for their check"))

    def close(self) -> None:
        """Whoever waits waits no longer: it fails. Harmless twice."""
        self._is_closed = True
        queues, self._queues = self._queues, {}
        for waiter in [each for queue in queues.values() for each in queue]:
            if not waiter.called:  # one before it may have cancelled it
                waiter.errback(_at_the_end())


def _at_the_end() -> LoginNotJudged:
    return LoginNotJudged("the program ends")
