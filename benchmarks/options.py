"""What the command lines of the benchmarks have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Sequence

from benchmarks.contenders import CONTENDERS, OURS, Contender

MOST_DESCRIPTORS = 24_000
"""Files that a proxy has open with 10,000 sessions, and some more."""

PEERS = [name for name in CONTENDERS if name != OURS]


def names(known: Collection[str]) -> Callable[[str], list[str]]:
    """A parser of lists of names, separated by commas."""

    def parse(text: str) -> list[str]:
        found = [name for name in text.split(",") if name]
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r}, expected some of {','.join(known)}")
        return found

    return parse


def positive(text: str) -> float:
    """A parser of seconds.

    :raises ArgumentTypeError: they are none, or more than an hour.
    """
    value = float(text)
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text}, expected more than 0, up to 3600")
    return value


def say(line: str) -> None:
    """Tell how it goes."""
    sys.stderr.write(f"{line}\n")


def chosen_contenders(peers: Sequence[str]) -> tuple[list[Contender], list[str]]:
    """Ours and the peers that are installed, and the names of those that are not."""
    wanted = [CONTENDERS[name] for name in (OURS, *peers)]
    found = [each for each in wanted if each.is_installed]
    return found, [each.name for each in wanted if not each.is_installed]
