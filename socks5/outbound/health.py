"""Whether what leads to targets is in order, as far as its use has shown.

So many failures in a row put it out, for a time that doubles with each trial that fails; then one connection tries it,
while others pass it by. What works once is in. A change is a line in the log, unless there are too many of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.logger import Logger

from socks5.counters import UpstreamCounters
from socks5.loglimit import Sparing

LONGEST = 300.0
"""Seconds that something is out at the most until it is tried."""

SPREAD = 0.2
"""By so much of its length a time is longer or shorter, so that not all who are out are tried at once."""

_log = Logger()


class Health:
    """Of one upstream.

    :param name: the upstream's, for the log.
    :param fails: failures in a row that put it out.
    :param retry_after: seconds until it is tried, at first.
    :param now: the clock.
    :param chance: gives numbers from 0 to 1.
    """

    def __init__(
        self,
        name: str,
        fails: int,
        retry_after: float,
        now: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._name = name
        self._most = fails
        self._retry_after = retry_after
        self._now = now
        self._chance = chance
        self._fails = 0
        self._wait = retry_after
        self._seen: float | None = None  # while it is out: until when that has been counted
        self._is_tried = False
        self._lines = Sparing()
        self._is_told = False
        self._is_final = False  # while it is out: whether that is no chance
        self.due = 0.0
        """From when on it may be tried, if it is out."""
        self.counters = UpstreamCounters()
        """What has become of its use."""

    @property
    def is_out(self) -> bool:
        """Whether it is out of order."""
        return self._seen is not None

    @property
    def is_usable(self) -> bool:
        """Whether it may be used, be it for a trial."""
        self._count()
        return self._seen is None or (not self._is_tried and self._now() >= self.due)

    def enter(self) -> bool:
        """It is about to be used.

        :returns: whether that is the trial; then one of the others is to be said, :meth:`left` at the least.
        """
        is_trial = self._seen is not None and self.is_usable
        if is_trial:
            self._is_tried = True
        return is_trial

    def left(self, is_trial: bool) -> None:
        """Whoever used it has left before anything was to be seen."""
        if is_trial:
            self._is_tried = False

    def succeeded(self, is_trial: bool = False) -> None:
        """It works."""
        self.left(is_trial)
        self._count()
        self._fails, self._wait = 0, self._retry_after
        if self._seen is not None:
            self._seen = None
            self.counters.is_out = False
            if self._is_told:
                _log.info("upstream {name} is in again", name=self._name)

    def failed(self, why: str, is_trial: bool = False, is_final: bool = False) -> None:
        """It does not.

        :param why: for the log.
        :param is_final: whether it is useless to go on as if that were chance.
        """
        self.left(is_trial)
        self._count()
        if self._seen is not None:
            if is_trial:
                self._put_out(min(self._wait * 2, LONGEST))
            if is_final and not self._is_final:
                self._say("still out", why, is_final)
            return
        self._fails += 1
        if self._fails < self._most and not is_final:
            return
        self._seen = self._now()
        self.counters.is_out = True
        self._put_out(self._retry_after)
        self._is_told = False
        self._say("out", why, is_final)

    def _say(self, what: str, why: str, is_final: bool) -> None:
        self._is_final = is_final
        left_out = self._lines.next()
        if left_out is not None:
            self._is_told = True
            say = _log.error if is_final else _log.warn
            say(
                "upstream {name} is {what}, and tried again in {seconds:.0f} s: {why}{more}",
                name=self._name,
                what=what,
                seconds=self.due - self._now(),
                why=why,
                more=f" ({left_out} such changes more had no line)" if left_out else "",
            )

    def _put_out(self, seconds: float) -> None:
        self._wait = seconds
        self.due = self._now() + seconds * (1 + SPREAD * (2 * self._chance() - 1))

    def _count(self) -> None:
        """Count the time that it is out."""
        if self._seen is not None:
            now = self._now()
            self.counters.seconds_out += now - self._seen
            self._seen = now

    def bear(self, fails: int, retry_after: float) -> None:
        """Other numbers hold from now on; see the class."""
        self._most, self._retry_after = fails, retry_after
