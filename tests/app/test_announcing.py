"""What is told of the process's life, and who hears it."""

from collections.abc import Callable

import pytest

from socks5.app.announcing import Announcer, LogAnnouncer, Together

EVENTS: dict[str, Callable[[Announcer], None]] = {
    "SOCKS5 proxy listens on 192.0.2.1:1080": lambda told: told.begins(["192.0.2.1:1080"]),
    "SOCKS5 proxy listens no more on 192.0.2.1:1080": lambda told: told.closes("192.0.2.1:1080"),
    "SIGUSR2: process 4321 has taken over": lambda told: told.hands_over(4321),
    "SOCKS5 proxy drains, for 1.5 s at the most; open sessions: 3": lambda told: told.drains(
        1.5, 3
    ),
    "SOCKS5 proxy has drained for 1.2 s; sessions left: 2": lambda told: told.has_drained(1.23, 2),
    "SOCKS5 proxy stops; open sessions: 2": lambda told: told.ends(2),
}


@pytest.mark.parametrize("line", EVENTS)
def test_each_event_is_a_line_of_the_log(line: str, log: list[str]) -> None:
    """Told to several, each hears it."""
    EVENTS[line](Together(Announcer(), LogAnnouncer()))
    assert log == [line]
    EVENTS[line](Together(LogAnnouncer(), LogAnnouncer()))
    assert log == [line] * 3


def test_of_files_and_refusals_the_log_hears_from_others(log: list[str]) -> None:
    told = Together(Announcer(), LogAnnouncer())
    told.rereads()
    told.has_reread("read again: nothing")
    told.refuses("socks5 does not start: that")
    assert log == []
