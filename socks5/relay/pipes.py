"""Pipes for the directions that move bulk (splice(2))."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import Any, Protocol

PIPE_SIZE = 1 << 20
"""Octets that a pipe is asked to hold; the kernel may grant less."""

PIPES = 64
"""Pipes at the most: 64 MiB of kernel memory."""

BULK = 1 << 20
"""Octets in full reads after which a direction is spliced."""

SWEEP_INTERVAL = 5.0
"""Seconds without an octet after which a direction gives its pipe back; or, where pipes are short, with less than
:data:`BULK`."""


class Pipe:
    """A kernel pipe: two descriptors and how many octets are in it."""

    __slots__ = ("octets", "reading", "writing")

    def __init__(self) -> None:
        """:raises OSError: no descriptors left."""
        self.reading, self.writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.octets = 0
        with suppress(OSError):  # over the user's pipe budget: the default size serves too
            fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, PIPE_SIZE)

    def close(self) -> None:
        """Give the descriptors back to the system, and what is in the pipe."""
        os.close(self.reading)
        os.close(self.writing)


class Borrower(Protocol):
    """A direction that moves bulk."""

    octets: int
    """How many it has moved so far."""

    @property
    def is_blocked(self) -> bool:
        """Whether octets wait for the receiver's kernel."""

    def empty_pipe(self) -> None:
        """Copy from now on, what is in the pipe to begin with; the pipe is wanted back."""


class PipePool:
    """Pipes for the directions that move bulk.

    :param reactor: the clock of the sweeps.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._free: list[Pipe] = []
        self._lent: dict[Borrower, int] = {}
        self._is_sweeping = False
        self._is_short = False
        self.is_unavailable = not hasattr(os, "splice")
        """Whether octets are always copied; to be set where the system will not splice."""

    def lend(self, side: Borrower) -> Pipe | None:
        """A pipe for *side*, or None if there is none to be had."""
        if self.is_unavailable:
            return None
        if len(self._lent) >= PIPES:
            self._is_short = True
            return None
        try:
            pipe = self._free.pop() if self._free else Pipe()
        except OSError:
            return None
        self._lent[side] = side.octets - BULK  # which it has moved to get here
        if not self._is_sweeping:
            self._is_sweeping = True
            self._reactor.callLater(SWEEP_INTERVAL, self._sweep)
        return pipe

    def give_back(self, side: Borrower, pipe: Pipe) -> None:
        """*side* needs its pipe no more; one that still holds octets is closed."""
        self._lent.pop(side, None)
        if pipe.octets:
            pipe.close()
        else:
            self._free.append(pipe)

    def _sweep(self) -> None:
        """Take back the pipes of silent directions, except for octets that wait in them, and if somebody was left
        without one, of all that do not move bulk; close all pipes once no direction has one.
        """
        is_short, self._is_short = self._is_short, False
        for side, octets in list(self._lent.items()):
            self._lent[side] = side.octets
            moved = side.octets - octets
            if (moved < BULK) if is_short else not (moved or side.is_blocked):
                side.empty_pipe()
        self._is_sweeping = bool(self._lent)
        if self._is_sweeping:
            self._reactor.callLater(SWEEP_INTERVAL, self._sweep)
        else:
            while self._free:
                self._free.pop().close()
