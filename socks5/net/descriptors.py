"""How many clients at a time, so that descriptors last for those who are in.

:class:`SessionLimit` counts client connections. At the limit it pauses the listeners that it knows,
and resumes them when there is room: further clients wait in the kernel's queue, for some seconds, instead of being
accepted and closed at once. Established sessions never notice.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from typing import Any

from twisted.logger import Logger

from socks5.counters import Counters
from socks5.loglimit import Sparing
from socks5.net.crowds import Crowds
from socks5.net.shortage import NO_ROOM, Pausable, Shortage
from socks5.settings import Capacity, SettingsSource

RESERVED_DESCRIPTORS = 32
"""Kept back for everything that is no session: the reactor, listeners, logs. Nothing is for lookups of names, whose
sockets take the places of the connections to targets that they are for; those that are for UDP, or ask a second name
server, may find none, and fail as if no name server answered.
"""

DESCRIPTORS_PER_SESSION = 2
"""A client's and its target's."""

MOST_DESCRIPTORS = 1_048_576
"""What "unlimited" is taken for: Linux' own most (fs.nr_open), as long as nobody changes it."""


def raise_descriptor_limit() -> None:
    """Raise this process's soft limit of open files to its hard limit, where the system lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # not everywhere may the soft limit be unlimited
        return


def sessions_within(descriptors: int) -> int:
    """How many sessions that many descriptors are enough for; at least one."""
    if descriptors == resource.RLIM_INFINITY:
        descriptors = MOST_DESCRIPTORS
    return max(1, (descriptors - RESERVED_DESCRIPTORS) // DESCRIPTORS_PER_SESSION)


class Spare:
    """A descriptor that is kept back for the time when there are no others."""

    __slots__ = ("_descriptor",)

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def give(self) -> bool:
        """Make room for another one.

        :returns: False if there was nothing to give.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is not None

    def take_back(self) -> None:
        """Keep one back again, if the system has one."""
        if self._descriptor is None:
            with suppress(OSError):
                self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


CROWDED = "crowded"
"""How clients are counted that are too many of one address."""


class SessionLimit:
    """Counts sessions and holds back new ones.

    :param reactor: the clock.
    :param capacity: :attr:`~socks5.settings.Capacity.max_sessions`; 0: what the process's present limit of descriptors
        allows. And :attr:`~socks5.settings.Capacity.max_sessions_wait`, and what
        :class:`~socks5.net.crowds.Crowds` need.
    :param settings: see there.
    :param counters: count who comes in, and who does not.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, capacity: Capacity, settings: SettingsSource, counters: Counters
    ) -> None:
        self.maximum = capacity.max_sessions or sessions_within(
            resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        )
        self.open = 0
        self.has_room = True
        """Whether one more session may begin."""
        self.listeners: set[Pausable] = set()
        """What is paused at the limit; a listener adds itself, and takes itself out at its end."""
        self.shortage = Shortage(
            reactor,
            capacity.max_sessions_wait,
            counters,
            self.listeners,
            lambda: not self.has_room,
        )
        """Of room for sessions, or of what the system gives to a listener."""
        self.crowds = Crowds(reactor, capacity, settings, self.maximum)
        """Of the clients of one address."""
        self._counters = counters
        self._lines = Sparing(reactor)
        self._advice = (
            "raise --max-sessions"
            if capacity.max_sessions
            else "raise the limit of open files (ulimit -n)"
        )

    def enter(self) -> bool:
        """A session wants to begin.

        :returns: whether it may. The last one that may pauses the listeners.
        """
        if not self.has_room:
            return False
        self.open += 1
        if self.open == self.maximum:
            self.has_room = False
            for listener in self.listeners:
                listener.pause()
            self.shortage.met(f"there are {self.maximum} sessions, as many as may be", self._advice)
        return True

    def leave(self) -> None:
        """A session that had entered is gone; if it was the one too many, the listeners resume."""
        self.open -= 1
        if self.open == self.maximum - 1:
            self.has_room = True
            for listener in self.listeners:
                listener.resume()

    def turn_away(self) -> None:
        """A client has waited for room for too long."""
        self._counters.turned_away[NO_ROOM] += 1

    def turn_away_from_crowd(self, host: str) -> None:
        """A client is one too many of those of its address that wait for their turn, or has waited for too long."""
        self._counters.turned_away[CROWDED] += 1
        left_out = self._lines.next()
        if left_out is not None:
            self._log.warn(
                "closed a connection from {host}: others of its address wait for their turn "
                "(--handshakes-per-client, --waiting-per-client){others}",
                host=host or "a UNIX socket",
                others=f"; {left_out} more were closed without a line" if left_out else "",
            )
