"""What datagrams of an association wait for: the address of a name, a verdict, an upstream. Only so many wait, and so
many octets of one client's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from socks5.net.datagram_turns import Budget
from socks5.settings import Settings


class Waiting:
    """Of one association.

    :param budget: the client's, where octets that wait are counted.
    :param crashed: is told of a bug.
    """

    def __init__(
        self, budget: Budget, settings: Settings, crashed: Callable[[Failure], object]
    ) -> None:
        self._budget = budget
        self._most, self._most_octets = settings.udp_names_waiting, settings.udp_octets_waiting
        self._crashed = crashed
        self._names: set[Deferred[Any]] = set()
        self._verdicts: set[Deferred[Any]] = set()
        self._others = 0
        self._is_closed = False

    @property
    def room_for_names(self) -> int:
        """How many more names may be looked up, if nothing else waits."""
        return self._most - len(self._names)

    def has_room_for(self, octets: int) -> bool:
        """Whether one more datagram may wait."""
        count = len(self._names) + len(self._verdicts) + self._others
        return count < self._most and self._budget.octets_waiting + octets <= self._most_octets

    def took(self, count: int, octets: int) -> None:
        """So many datagrams wait elsewhere, or, negative, do so no more."""
        self._others += count
        self._budget.octets_waiting += octets

    def for_name(self, addresses: Deferred[Any], size: int, done: Callable[[Any], None]) -> None:
        """Tell *done* a name's addresses, or why there are none, unless the association is over by then.

        :param size: octets that wait meanwhile.
        """
        self._wait(addresses, size, self._names, done)

    def for_verdict(self, verdict: Deferred[Any], size: int, done: Callable[[Any], None]) -> bool:
        """Have a datagram wait for its verdict.

        :returns: whether there is room for that; if not, nobody waits for it.
        """
        if self.has_room_for(size):
            self._wait(verdict, size, self._verdicts, done)
            return True
        verdict.addErrback(lambda _: None)
        verdict.cancel()
        return False

    def _wait(
        self,
        wait: Deferred[Any],
        size: int,
        kind: set[Deferred[Any]],
        done: Callable[[Any], None],
    ) -> None:
        self._budget.octets_waiting += size
        kind.add(wait)

        def over(outcome: Any) -> None:
            self._budget.octets_waiting -= size
            kind.discard(wait)
            if not self._is_closed:
                done(outcome)

        wait.addBoth(over).addErrback(self._crashed)

    def give_up_verdicts(self) -> None:
        """They are out of date: what waits for one is not allowed."""
        for verdict in tuple(self._verdicts):
            verdict.cancel()

    def close(self) -> None:
        """Nobody is told anything any more."""
        self._is_closed = True
        for wait in (*self._names, *self._verdicts):
            wait.cancel()
