"""What the process does with its signals, from the service's first step to Python's end."""

import atexit
import signal
from collections.abc import Callable
from typing import Any

import pytest

from socks5.app.signals import Signals, held, hold
from tests.support.reactor import BeginningReactor

pytestmark = pytest.mark.usefixtures("handlers")


class Process(BeginningReactor):
    """Takes its signals, and notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    def take(self) -> Signals:
        signals = Signals(
            self, lambda: self.told.append("stop"), {signal.SIGHUP: lambda: self.told.append("hup")}
        )
        signals.take()
        return signals

    def sigInt(self, number: int, frame: object) -> None:  # noqa: N802
        self.told.append("interrupt")

    def sigTerm(self, number: int, frame: object) -> None:  # noqa: N802
        self.told.append("the reactor's own end")


MEANINGS = [(signal.SIGTERM, "stop"), (signal.SIGINT, "interrupt"), (signal.SIGHUP, "hup")]


def test_a_signal_that_comes_before_the_reactor_runs_is_not_lost() -> None:
    for number, meaning in MEANINGS:
        process = Process()
        process.is_running = False
        process.take()
        signal.raise_signal(number)
        process.run()
        assert process.told == [meaning]


def test_sigint_comes_once_for_ctrl_c_is_pressed_again() -> None:
    process = Process()
    process.take()
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    assert process.told == ["interrupt"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGTERM, ["theirs"]), (signal.SIGINT, ["theirs"]), (signal.SIGHUP, ["hup", "theirs"])],
)
def test_who_else_takes_one_keeps_it(number: signal.Signals, expected: list[str]) -> None:
    """twistd rotates its own log file by one."""
    process = Process()
    signal.signal(number, lambda *_: process.told.append("theirs"))
    process.take().take_from_reactor()
    signal.raise_signal(number)
    assert process.told == expected


def test_a_reactor_takes_sigterm_when_it_runs_and_gives_it_back() -> None:
    process = Process()
    signals = process.take()
    signal.signal(signal.SIGTERM, process.sigTerm)
    signals.take_from_reactor()
    signal.raise_signal(signal.SIGTERM)
    assert process.told == ["stop"]


def test_signals_while_python_ends_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Except those that somebody else has taken since."""
    process = Process()
    at_exit: list[Callable[[], Any]] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    process.take()
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    for each in at_exit:
        each()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    found = [signal.getsignal(number) for number in numbers]
    assert found == [signal.SIG_IGN, signal.SIG_IGN, signal.default_int_handler]


def test_signals_that_were_held_back_come_once_they_are_taken() -> None:
    process = Process()
    hold()
    signal.raise_signal(signal.SIGHUP)
    process.take()
    assert process.told == ["hup"]
    with held():
        signal.raise_signal(signal.SIGHUP)
        assert process.told == ["hup"]
    assert process.told == ["hup", "hup"]
