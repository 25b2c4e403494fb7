"""Several things that are wrong, said at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self, TypeVar

from typing_extensions import override

_T = TypeVar("_T")


class Flaw(ValueError):
    """One thing that is wrong, and what is wrong besides.

    :param sentence: about this one.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.others: Sequence[Self] = ()
        """What else was found; they have no others themselves."""

    @property
    def all(self) -> Sequence[Self]:
        """This one and the others."""
        return self, *self.others

    @override
    def __str__(self) -> str:
        return "; ".join(each.sentence for each in self.all)


_F = TypeVar("_F", bound=Flaw)


def together(flaws: Sequence[_F]) -> _F:
    """The first of some flaws, which has the others."""
    first, *first.others = flaws
    return first


class Flaws:
    """Has each of some calls made, whatever is wrong in the others."""

    def __init__(self) -> None:
        self._found: list[Flaw] = []

    def add(self, flaw: Flaw) -> None:
        """Something is wrong."""
        self._found += flaw.all

    def of(self, call: Callable[[], _T]) -> _T | None:
        """What a call returns; None: something is wrong."""
        try:
            return call()
        except Flaw as flaw:
            self.add(flaw)
            return None

    def end(self) -> None:
        """:raises Flaw: the first that was found; it has the others."""
        if self._found:
            raise together(self._found)
