"""The signals of the process: SIGTERM and SIGINT end it, SIGHUP and SIGUSR1 never do, SIGUSR2 hands over.

They are taken as soon as the service begins, so that none that comes before the reactor runs ends the process
half started or is lost: what it asks for is done once the reactor runs. They are kept until the process is gone:
another one on the way to the end changes nothing, exit status included.
"""

from __future__ import annotations

import atexit
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

HELD = frozenset({signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})
"""What a terminal or an operator sends to workers as well, who may not have taken it yet."""


def hold() -> None:
    """Hold back, until they are taken, what would end a program that has just begun but is not meant to."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD - {signal.SIGINT})


@contextmanager
def held() -> Iterator[None]:
    """Hold :data:`HELD` back; a process that begins meanwhile gets them when it takes its signals."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Signals:
    """What this process does with its signals.

    :param reactor: does it; its own ``sigInt`` makes the exit status.
    :param stop: ends the service.
    :param others: what to do for further signals, beside what somebody else does for them.
    """

    def __init__(
        self,
        reactor: Any,
        stop: Callable[[], object],
        others: Mapping[signal.Signals, Callable[[], object]],
    ) -> None:
        self._reactor = reactor
        self._stop = stop
        self._others = others
        self._taken: dict[signal.Signals, Any] = {}
        self._is_interrupted = False

    def take(self) -> None:
        """Take them, before the reactor runs. SIGTERM and SIGINT are left to somebody else who has taken them."""
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            self._take(signal.SIGTERM, self._terminated)
        if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
            self._take(signal.SIGINT, self._interrupted)
        others, self._others = self._others, {}
        for number, action in others.items():
            self._join(number, action)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)

    def take_from_reactor(self) -> None:
        """Take SIGTERM once more, for a reactor takes it when it begins to run, and would exit with another status."""
        if signal.getsignal(signal.SIGTERM) == getattr(self._reactor, "sigTerm", None):
            self._take(signal.SIGTERM, self._terminated)

    def _take(self, number: signal.Signals, handler: Any) -> None:
        if not self._taken:
            atexit.register(self._leave)
        self._taken[number] = handler
        signal.signal(number, handler)

    def _leave(self) -> None:
        """Python, which ends, would give them their usual meaning back, and the process another exit status."""
        for number, handler in self._taken.items():
            if signal.getsignal(number) == handler:
                signal.signal(number, signal.SIG_IGN)

    def _join(self, number: signal.Signals, action: Callable[[], object]) -> None:
        before = signal.getsignal(number)

        def both(number: int, frame: Any) -> None:
            self._reactor.callFromThread(action)
            if callable(before):
                before(number, frame)

        self._take(number, both)

    def _terminated(self, number: int, frame: Any) -> None:
        self._reactor.callFromThread(self._stop)

    def _interrupted(self, number: int, frame: Any) -> None:
        """As the reactor has it, whose exit status then tells of it; once, for Ctrl-C is pressed again."""
        if not self._is_interrupted:
            self._is_interrupted = True
            self._reactor.sigInt(number, frame)
