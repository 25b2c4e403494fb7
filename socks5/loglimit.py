"""Keeps strangers from filling a log."""

from __future__ import annotations

import math
import time
from typing import Any

from socks5.deadlines import clock_of


class Monotonic:
    """The clock of those who have no reactor yet, or are in another thread than it."""

    seconds = staticmethod(time.monotonic)
    """See :meth:`twisted.internet.interfaces.IReactorTime.seconds`."""


class Sparing:
    """Says when one more line may go into a log, where strangers cause them.

    :param clock: the reactor or another thing with its ``seconds()``.
    :param lines: how many may, in any period.
    :param seconds: the period's length.
    """

    def __init__(self, clock: Any = Monotonic, lines: int = 10, seconds: float = 60.0) -> None:
        self._now = clock_of(clock)
        self._lines = lines
        self._seconds = seconds
        self._end = -math.inf
        self._count = 0
        self._left_out = 0

    def next(self) -> int | None:
        """How many lines were left out since the last one; None: leave this one out, too."""
        now = self._now()
        if now >= self._end:
            self._end = now + self._seconds
            self._count = 0
        if self._count >= self._lines:
            self._left_out += 1
            return None
        self._count += 1
        left_out, self._left_out = self._left_out, 0
        return left_out
