"""Lookups in memory, for a resolver."""

from collections.abc import Callable
from typing import Any

from socks5.net.lookups import GIVEN_UP, Done, Outcome


class Stoppable:
    """A test answers them, and they can be given up. ``asked`` holds every name, ``under_way`` those of now."""

    def __init__(self, *_: Any) -> None:
        self.asked: list[str] = []
        self.under_way: dict[str, Done] = {}

    def begin(self, name: str, done: Done) -> Callable[[], None]:
        self.asked.append(name)
        self.under_way[name] = done
        return lambda: self.answer(name, GIVEN_UP) if name in self.under_way else None

    def answer(self, name: str, outcome: Outcome) -> None:
        self.under_way.pop(name)(outcome)
