"""Signs of life: how a worker tells its parent that it serves, and how the parent knows that one does not.

A worker writes into a pipe how many sessions it has: when it has begun, each second, and at its end. A parent that
hears nothing for :data:`SILENCE` takes the worker for stopped (SIGSTOP) or caught in a loop.

The parent counts its own rounds, not the time: while it was stopped itself, or the machine was suspended, it did not
listen, and what was written meanwhile it hears before its next round.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from typing_extensions import override

from socks5.app.announcing import Announcer

INTERVAL = 1.0
"""Seconds between two signs, and between the parent's rounds."""

SILENCE = 15
"""Rounds without a sign after which a worker is ended: a busy machine does not hold one up for so long, and
clients that wait for its successor have not given up, as they do after 30 s or more."""

BEGINNING = 60
"""Rounds that a worker may take until its first sign: many begin at once on a busy machine."""


class Heart(Announcer):
    """A worker's part: its announcer, see :class:`socks5.app.announcing.Announcer`.

    :param reactor: turns as long as the worker serves.
    :param descriptor: the pipe to the parent.
    :param count: gives the number of open sessions.
    """

    def __init__(self, reactor: Any, descriptor: int, count: Callable[[], int]) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._count = count
        self._next: IDelayedCall | None = None

    @override
    def begins(self, places: Sequence[str]) -> None:
        """The worker can serve; where, the parent says. May be told again."""
        if self._next is None:
            os.set_blocking(self._descriptor, False)
            self._beat()

    @override
    def drains(self, seconds: float, sessions: int) -> None:
        """An extra sign, for the parent says how many sessions there are."""
        self._tell(b"%d\n" % sessions)

    def _beat(self) -> None:
        self._tell(b"%d\n" % self._count())
        self._next = self._reactor.callLater(INTERVAL, self._beat)

    @override
    def ends(self, sessions: int) -> None:
        """The last sign."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._tell(b"%d!\n" % sessions)

    def _tell(self, sign: bytes) -> None:
        # A parent that is stopped has a full pipe some day; one that is gone ends us otherwise.
        with suppress(OSError):
            os.write(self._descriptor, sign)


class Pulse:
    """The parent's part, of one life of one worker."""

    def __init__(self) -> None:
        self.is_felt = False
        """Whether there was a sign."""
        self.is_last = False
        """Whether that was the last one, for the worker ends."""
        self.sessions = 0
        """As of the latest sign."""
        self._silent = 0
        self._rest = b""

    def heard(self, octets: bytes) -> None:
        """Something came out of the pipe."""
        *signs, self._rest = (self._rest + octets).split(b"\n")
        self._silent = 0
        if signs:
            self.is_felt = True
            self.is_last = signs[-1].endswith(b"!")
            self.sessions = int(signs[-1].rstrip(b"!"))

    def next_round(self) -> bool:
        """To be called each :data:`INTERVAL`.

        :returns: whether there has been no sign for too long.
        """
        self._silent += 1
        return self._silent > (SILENCE if self.is_felt else BEGINNING)
