"""Attempts at the addresses of one target, with a staggered start (RFC 8305).

The next attempt begins when the one before failed or has not answered for
:attr:`~socks5.settings.Settings.attempt_delay`; the first that connects wins, the others are given up. A few
are under way at a time, and the oldest makes room for the next: addresses that never answer do not keep one
that works from being tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from socks5.outbound.attempts import Attempt, silence
from socks5.outbound.failures import most_telling
from socks5.protocol.errors import TTLExpired
from socks5.protocol.networks import subscriber
from socks5.settings import Settings
from socks5.streams import IStream

AT_ONCE = 6
"""Attempts of one target under way at a time: each holds a descriptor."""

BESIDE_OTHERS = 64
"""Attempts of one client, over all its targets, that are under way beside another one at the same target:
every session has one of its own, and these are for all.
"""

_A_MOMENT = 0.001
"""Seconds by which a clock's tick may come too early."""


class Way(Protocol):
    """What they need of :class:`~socks5.outbound.direct.DirectDialer`."""

    reactor: Any
    now: Callable[[], float]
    deadlines: Any
    shares: Shares

    def attempt(
        self, host: str, port: int, settings: Settings, done: Callable[[Attempt, Any], None]
    ) -> Attempt:
        """An attempt at one address, to be started."""


class Race:
    """Attempts at one target's addresses, staggered; see the module."""

    __slots__ = (
        "_dialer",
        "_failures",
        "_hosts",
        "_is_beginning",
        "_next",
        "_patience",
        "_port",
        "_running",
        "_settings",
        "_whose",
        "_winner",
    )

    def __init__(
        self,
        dialer: Way,
        settings: Settings,
        client: str,
        hosts: Sequence[str],
        port: int,
    ) -> None:
        self._dialer = dialer
        self._settings = settings
        self._patience = AT_ONCE * settings.attempt_delay
        """Seconds that an attempt has before it may be given up for another, while the time of all is not over."""
        self._whose = client
        self._hosts = list(hosts)
        self._hosts.reverse()
        self._port = port
        self._running: dict[Attempt, float] = {}
        """When each began, in that order."""
        self._failures: list[Failure] = []
        self._is_beginning = False
        self._next: IDelayedCall | None = None
        self._winner: Deferred[IStream] | None = Deferred(self._cancelled)

    def start(self) -> Deferred[IStream]:
        """Dial them.

        :returns: the first stream, or the most telling failure; cancelling gives all up.
        """
        winner = self._winner
        assert winner is not None
        self._dialer.deadlines.set(self, self._settings.connect_timeout, self._too_long)
        self._begin()
        return winner

    def _begin(self) -> None:
        """Begin the next attempt, and set the time for the one after it: now, if this one fails at once. A few such
        in a loop, then others have their turn.
        """
        if self._next is not None:
            self._clear_next()
        self._is_beginning = True
        has_failed = False
        for _ in range(AT_ONCE):
            has_room = bool(self._hosts) and (not self._running or self._makes_room())
            has_failed = has_room and self._fails_at_once()
            if not has_failed:
                break
        self._is_beginning = False
        if self._winner is None:
            return
        if self._hosts:
            self._begin_later(0.0 if has_failed else self._settings.attempt_delay)
        elif not self._running:
            self._end().errback(most_telling(self._failures))

    def _fails_at_once(self) -> bool:
        """Begin the next attempt.

        :returns: whether it has failed already.
        """
        failures = len(self._failures)
        attempt = self._dialer.attempt(self._hosts.pop(), self._port, self._settings, self._done)
        self._running[attempt] = self._dialer.now()
        attempt.start()
        return len(self._failures) > failures

    def _makes_room(self) -> bool:
        """Have room for one more attempt, if need be by giving up the oldest, once that has had its time.

        :returns: whether there is.
        """
        if len(self._running) < AT_ONCE and self._dialer.shares.take(self._whose):
            return True
        if self._oldest_has() > _A_MOMENT:
            return False
        oldest = next(iter(self._running))
        del self._running[oldest]  # whose share goes to the one that follows
        oldest.cancel()
        silent = f"no answer within {self._patience:g} s, and others were to be tried"
        self._failures.append(Failure(TTLExpired(silent)))
        return True

    def _oldest_has(self) -> float:
        """Seconds that the oldest attempt has left before it may have to make room."""
        began = next(iter(self._running.values()))
        return began + self._patience - self._dialer.now()

    def _begin_later(self, delay: float) -> None:
        """Set the time for the next attempt."""
        if len(self._running) == AT_ONCE:
            delay = max(delay, self._oldest_has())
        self._next = self._dialer.reactor.callLater(delay, self._begin)

    def _done(self, attempt: Attempt, outcome: IStream | Failure) -> None:
        self._forget(attempt)
        if not isinstance(outcome, Failure):
            self._end().callback(outcome)
            return
        self._failures.append(outcome)
        if not self._is_beginning:
            self._begin()

    def _forget(self, attempt: Attempt) -> None:
        del self._running[attempt]
        if self._running:
            self._dialer.shares.give_back(self._whose)

    def _cancelled(self, winner: Deferred[IStream]) -> None:
        self._end()

    def _too_long(self) -> None:
        self._end().errback(
            most_telling([*self._failures, silence(self._settings.connect_timeout)])
        )

    def _end(self) -> Deferred[IStream]:
        """Stop the clock and every attempt that still runs.

        :returns: the winner, to be told so; a reference back to us is not kept.
        """
        if self._next is not None:
            self._clear_next()
        self._dialer.deadlines.clear(self)
        for attempt in tuple(self._running):
            self._forget(attempt)
            attempt.cancel()
        winner, self._winner = self._winner, None
        assert winner is not None
        return winner

    def _clear_next(self) -> None:
        following, self._next = self._next, None
        if following is not None and following.active():
            following.cancel()


class Shares:
    """What clients share: so many attempts of each, beside another one at the same target."""

    def __init__(self) -> None:
        self._taken: Counter[bytes] = Counter()

    def take(self, client: str) -> bool:
        """
        :param client: its IP literal, or "".
        :returns: whether its share is large enough for one more.
        """
        whose = subscriber(client)
        if self._taken[whose] >= BESIDE_OTHERS:
            return False
        self._taken[whose] += 1
        return True

    def give_back(self, client: str) -> None:
        """One that was taken is over."""
        whose = subscriber(client)
        self._taken[whose] -= 1
        if not self._taken[whose]:
            del self._taken[whose]
