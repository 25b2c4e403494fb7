"""Signs of life: how a worker tells its parent that it serves, and how the parent knows that one does not.

A worker says how many sessions it has: when it has begun, each second, and at its end. A parent that hears nothing for
:data:`SILENCE` takes the worker for stopped (SIGSTOP) or caught in a loop.

The parent counts its own rounds, not the time: while it was stopped itself, or the machine was suspended, it did not
listen, and what was said meanwhile it hears before its next round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from typing_extensions import override

from socks5.app.announcing import Announcer
from socks5.app.channel import Channel, Message

SIGN = "sign"
"""The kind of these messages."""

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
    :param channel: to the parent.
    :param count: gives the number of open sessions.
    """

    def __init__(self, reactor: Any, channel: Channel, count: Callable[[], int]) -> None:
        self._reactor = reactor
        self._channel = channel
        self._count = count
        self._next: IDelayedCall | None = None

    @override
    def begins(self, places: Sequence[str]) -> None:
        """The worker can serve; where, the parent says. May be told again."""
        if self._next is None:
            self._beat()

    @override
    def drains(self, seconds: float, sessions: int) -> None:
        """An extra sign, for the parent says how many sessions there are."""
        self._tell(sessions)

    def _beat(self) -> None:
        if self._channel.is_clear:  # else the parent has stopped
            self._tell(self._count())
        self._next = self._reactor.callLater(INTERVAL, self._beat)

    @override
    def ends(self, sessions: int) -> None:
        """The last sign."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._tell(sessions, is_last=True)

    def _tell(self, sessions: int, is_last: bool = False) -> None:
        self._channel.send({"is": SIGN, "sessions": sessions, "last": is_last})


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

    def heard(self, sign: Message) -> None:
        """There was a sign."""
        self._silent = 0
        self.is_felt = True
        self.is_last = sign["last"]
        self.sessions = sign["sessions"]

    def next_round(self) -> bool:
        """To be called each :data:`INTERVAL`.

        :returns: whether there has been no sign for too long.
        """
        self._silent += 1
        return self._silent > (SILENCE if self.is_felt else BEGINNING)
