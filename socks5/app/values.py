"""Checkers for the values of options: each gives the value, or a sentence that says what was expected."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.python import usage

from socks5.app.inherit import worker_count
from socks5.server.session import COMMAND_NAMES

COMMANDS = {name: command for command, name in COMMAND_NAMES.items()}


def seconds(name: str, minimum: float = 0.0) -> Callable[[str], float]:
    """A checker for options that are times."""

    def check(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not minimum <= value <= 31_536_000:
            raise usage.UsageError(f"--{name}: expected seconds, {minimum:g} or more, got {text!r}")
        return value

    return check


def number(name: str, first: int, last: int) -> Callable[[str], int]:
    """A checker for options that are whole numbers."""

    def check(text: str) -> int:
        if not (text.isascii() and text.isdigit() and first <= int(text) <= last):
            raise usage.UsageError(
                f"--{name}: expected a whole number from {first} to {last}, got {text!r}"
            )
        return int(text)

    return check


def choice(name: str, choices: Sequence[str]) -> Callable[[str], str]:
    """A checker for options with a few values."""

    def check(text: str) -> str:
        if text not in choices:
            raise usage.UsageError(f"--{name}: expected {' or '.join(choices)}, got {text!r}")
        return text

    return check


def ports(text: str) -> tuple[int, int]:
    """A range of UDP ports."""
    first, dash, last = text.partition("-")
    numbers = [int(n) for n in (first, last if dash else first) if n.isascii() and n.isdigit()]
    if not (len(numbers) == 2 and 1 <= numbers[0] <= numbers[1] <= 65535):
        raise usage.UsageError(
            f"--udp-ports: expected FIRST-LAST, from 1 to 65535, the lower one first, got {text!r}"
        )
    return numbers[0], numbers[1]


def commands(text: str) -> str:
    """Names of commands, with commas between them."""
    if not set(text.split(",")) <= set(COMMANDS):
        raise usage.UsageError(f"--commands: expected some of {','.join(COMMANDS)}, got {text!r}")
    return text


def workers(text: str) -> int:
    """A number of processes, or one for each processor."""
    try:
        return worker_count(text)
    except ValueError:
        raise usage.UsageError(
            f"--workers: expected a whole number from 1 to 1024 or auto, got {text!r}"
        ) from None
