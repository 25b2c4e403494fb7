"""What an option is: its name, its value, what it means, and which key of a file is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class OptionRow:
    """An option.

    :param name: without the dashes before it.
    :param metavar: what its value is called; "" for an option without a value.
    :param help: what it says or does, in a few words.
    :param kind: makes the value of a text, where there is a *key* as a file has it. It raises ValueError with a
        sentence, "expected …, got …".
    :param key: the key of a file that means the same; "" if there is none. ``*`` stands for a name.
    :param default: what it is where nobody says it, as one would say it.
    :param unsaid: the default in words, where there is no value for it.
    :param is_repeatable: whether it may be said several times, and each counts; else the last one does.
    :param letter: the letter of its short name.
    """

    name: str
    metavar: str
    help: str
    kind: Callable[[str], Any] = str
    key: str = ""
    default: str | None = None
    _: KW_ONLY
    unsaid: str = ""
    is_repeatable: bool = False
    letter: str = ""


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
