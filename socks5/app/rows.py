"""What an option is: its name, its value, what it means, and which key of a file is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from socks5.app.values import Kind


@dataclass(frozen=True, slots=True)
class OptionRow:
    """An option.

    :param name: without the dashes before it.
    :param metavar: what its value is called; "" for an option without a value.
    :param help: what it says or does, in a few words.
    :param kind: makes the value.
    :param key: the key of a file that means the same; "" if there is none. ``*`` stands for a name.
    :param default: what it is where nobody says it, as one would say it; None: what *empty* is.
    :param empty: the value of that.
    :param unsaid: the default in words, where there is no value for it.
    :param is_one_of_many: whether it may be said several times, and each is looked at by itself.
    :param join: makes one value of those that were said; None: the last one counts.
    :param letter: the letter of its short name.
    """

    name: str
    metavar: str
    help: str
    kind: Kind = str
    key: str = ""
    default: str | None = None
    _: KW_ONLY
    empty: Any = None
    unsaid: str = ""
    is_one_of_many: bool = False
    join: Callable[[Any, Any], Any] | None = None
    letter: str = ""

    @property
    def initial(self) -> Any:
        """The value where nobody says it."""
        return self.empty if self.default is None else self.kind(self.default)

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be said several times, and each counts."""
        return self.is_one_of_many or self.join is not None


@dataclass(frozen=True, slots=True)
class Group:
    """Options that are about the same.

    :param title: what that is.
    :param rows: in the order in which they are shown.
    :param text: what must be known to understand them, a line of help each.
    """

    title: str
    rows: tuple[OptionRow, ...]
    text: tuple[str, ...] = ()
