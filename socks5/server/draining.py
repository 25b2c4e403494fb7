"""Waiting for the last session to go, but not for ever. Nobody listens any more, or none would be the last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from socks5.deadlines import clock_of

LOOK_INTERVAL = 0.05
"""Seconds between two looks: sessions that end tell nobody, so that their end costs nothing."""


def drained(reactor: Any, left: Callable[[], int], within: float) -> Deferred[int]:
    """Wait until nobody is left.

    :param left: how many are.
    :param within: seconds until the wait is over in any case.
    :returns: fires with how many are left. Cancelled, it fires at once.
    """
    now = clock_of(reactor)
    end = now() + within

    def look() -> None:
        if not left() or now() >= end:
            looking.stop()

    looking = LoopingCall(look)
    looking.clock = reactor
    waiting: Deferred[int] = Deferred(lambda _: looking.stop())
    looking.start(LOOK_INTERVAL).addCallback(lambda _: waiting.callback(left()))
    return waiting
