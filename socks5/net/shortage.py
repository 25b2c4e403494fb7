"""A time without room for another client: the log says so, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from socks5.counters import Counters
from socks5.deadlines import clock_of

NO_ROOM = "no room"
"""How clients are counted that have waited for too long."""


class Pausable(Protocol):
    """A listener that can stop accepting for a while."""

    def pause(self) -> None:
        """Accept nobody; clients wait in the kernel's queue."""

    def resume(self) -> None:
        """Accept again."""

    def settings_changed(self) -> None:
        """Clients from now on have other settings, and a socket hands some of them down."""

    def turn_away(self) -> None:
        """Accept and close whoever waited at the last call, and still does."""


class Shortage:
    """Times in which clients wait, one after the other. One that ends for a moment only goes on.

    :param reactor: the clock.
    :param wait: seconds that a client may wait in the kernel's queue.
    :param counters: count who comes in, and who does not.
    :param listeners: are told to turn clients away.
    :param is_full: whether there is no room now.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        wait: float,
        counters: Counters,
        listeners: Collection[Pausable],
        is_full: Callable[[], bool],
    ) -> None:
        self._reactor = reactor
        self._now = clock_of(reactor)
        self._wait = wait
        self._counters = counters
        self._listeners = listeners
        self._is_full = is_full
        self._is_renewed = False
        self._call: IDelayedCall | None = None
        self._began = 0.0
        self._let_in = self._closed = 0

    def met(self, reason: str, advice: str = "") -> None:
        """There is no room for another client, or none once more.

        :param reason: why.
        :param advice: what an operator can do.
        """
        self._is_renewed = self._call is not None
        if self._is_renewed:
            return
        self._began = self._now()
        self._let_in, self._closed = self._numbers()
        self._log.warn(
            "{reason}: clients wait, and are closed after {wait:g} s{advice}",
            reason=reason,
            wait=self._wait,
            advice=advice and f"; {advice}",
        )
        self._look_again()

    def _numbers(self) -> tuple[int, int]:
        return self._counters.connections, self._counters.turned_away[NO_ROOM]

    def _look_again(self) -> None:
        # Whoever waited at one look and still does at the next has waited for half of it, and for no more than all.
        self._call = self._reactor.callLater(self._wait / 2, self._look)

    def _look(self) -> None:
        self._call = None
        if not (self._is_renewed or self._is_full()):
            self._say_that_it_is_over()
            return
        self._is_renewed = False
        self._look_again()
        for listener in tuple(self._listeners):
            listener.turn_away()

    def _say_that_it_is_over(self) -> None:
        let_in, closed = self._numbers()
        self._log.warn(
            "there is room for clients again, after {seconds:.0f} s; {let_in} came in meanwhile, {closed} were closed",
            seconds=self._now() - self._began,
            let_in=let_in - self._let_in,
            closed=closed - self._closed,
        )
