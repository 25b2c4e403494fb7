"""What the process tells of its own life: that it serves, reads files again, drains and stops. Who is told makes
of it a line of the log, a message to systemd, or a sign of life.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger
from typing_extensions import override


class Announcer:
    """Is told; this one keeps it to itself."""

    def refuses(self, sentence: str) -> None:
        """It does not start; says why."""

    def begins(self, places: Sequence[str]) -> None:
        """Clients are served at these places, too, and signals are taken."""

    def closes(self, place: str) -> None:
        """Nobody is served there any more."""

    def rereads(self) -> None:
        """Files are read again."""

    def has_reread(self, outcome: str) -> None:
        """That is over; what came of it."""

    def hands_over(self, process: int) -> None:
        """Another process serves in the place of this one, which is to drain."""

    def drains(self, seconds: float, sessions: int) -> None:
        """It listens no more, and so many sessions have so many seconds to end."""

    def has_drained(self, seconds: float, sessions: int) -> None:
        """That has taken so many seconds, and so many sessions are left."""

    def ends(self, sessions: int) -> None:
        """It stops, with so many sessions open."""


class LogAnnouncer(Announcer):
    """Writes lines into the program's log. What is read again, says itself who reads it."""

    log = Logger()

    @override
    def begins(self, places: Sequence[str]) -> None:
        for place in places:
            self.log.info("SOCKS5 proxy listens on {where}", where=place)

    @override
    def closes(self, place: str) -> None:
        self.log.info("SOCKS5 proxy listens no more on {where}", where=place)

    @override
    def hands_over(self, process: int) -> None:
        self.log.info("SIGUSR2: process {process} has taken over", process=process)

    @override
    def drains(self, seconds: float, sessions: int) -> None:
        self.log.info(
            "SOCKS5 proxy drains, for {seconds:g} s at the most; open sessions: {count}",
            seconds=seconds,
            count=sessions,
        )

    @override
    def has_drained(self, seconds: float, sessions: int) -> None:
        self.log.info(
            "SOCKS5 proxy has drained for {seconds:.1f} s; sessions left: {count}",
            seconds=seconds,
            count=sessions,
        )

    @override
    def ends(self, sessions: int) -> None:
        self.log.info("SOCKS5 proxy stops; open sessions: {count}", count=sessions)


class Together(Announcer):
    """Tells several, in this order."""

    def __init__(self, *announcers: Announcer) -> None:
        self._all = announcers

    @override
    def refuses(self, sentence: str) -> None:
        for each in self._all:
            each.refuses(sentence)

    @override
    def begins(self, places: Sequence[str]) -> None:
        for each in self._all:
            each.begins(places)

    @override
    def closes(self, place: str) -> None:
        for each in self._all:
            each.closes(place)

    @override
    def rereads(self) -> None:
        for each in self._all:
            each.rereads()

    @override
    def has_reread(self, outcome: str) -> None:
        for each in self._all:
            each.has_reread(outcome)

    @override
    def hands_over(self, process: int) -> None:
        for each in self._all:
            each.hands_over(process)

    @override
    def drains(self, seconds: float, sessions: int) -> None:
        for each in self._all:
            each.drains(seconds, sessions)

    @override
    def has_drained(self, seconds: float, sessions: int) -> None:
        for each in self._all:
            each.has_drained(seconds, sessions)

    @override
    def ends(self, sessions: int) -> None:
        for each in self._all:
            each.ends(sessions)
