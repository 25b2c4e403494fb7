"""Options that are keys: their kinds and defaults are those of the table of keys.

A text of the command line takes the place of a value of the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field
from typing import Any

from socks5.app.config.keys import Configuration
from socks5.app.config.quantities import MOST_SECONDS, Time
from socks5.app.config.tables import Named, Table, about
from socks5.app.config.values import Count, Kind, Listed, PortRange, Several, Wrong, quoted


def _field(key: str) -> Field[Any]:
    """The field that a key is, such as ``timeouts.idle`` or ``listener.*.port``."""
    table: Kind = Table(Configuration)
    for step in key.split("."):
        if isinstance(table, Named):
            table = table.kind
        else:
            assert isinstance(table, Table)
            [found] = [each for each in table.fields if each.name == step]
            table = about(found).kind
    return found


def kind_of(key: str) -> Kind:
    """What may stand behind a key."""
    return about(_field(key)).kind


def reader(key: str) -> Callable[[str], Any]:
    """What makes the key's value of a text.

    It raises ValueError with a sentence, "expected …, got …".
    """
    kind = kind_of(key)

    def read(text: str) -> Any:
        value = _as_value(kind, text)
        try:
            return kind.read(value)
        except Wrong as error:
            is_as_written = isinstance(value, list) or str(value) == text
            raise ValueError(
                str(error) if is_as_written else f"expected {kind.words}, got {quoted(text)}"
            ) from None
        except Several as several:
            raise ValueError(str(several.errors[0][1])) from None

    return read


def default_of(key: str) -> str | None:
    """What holds without a key, as an option has it; None if it is no value."""
    field = _field(key)
    if field.default is None:
        return None
    shown = about(field).kind.show(field.default)
    return ",".join(shown) if isinstance(shown, list) else str(shown)


def _as_value(kind: Kind, text: str) -> Any:
    """What a file has for a text of the command line, where a number alone is seconds, and a list has commas."""
    if isinstance(kind, Listed):
        return [_as_value(kind.kind, each) for each in text.split(",")]
    if isinstance(kind, Time):
        return _as_time(kind, text)
    is_number = isinstance(kind, Count | PortRange) and text.isascii() and text.isdigit()
    return int(text) if is_number and len(text) < 20 else text


def _as_time(kind: Time, text: str) -> object:
    try:
        seconds = float(text)
    except ValueError:
        return text
    return kind.show(seconds) if 0 <= seconds <= MOST_SECONDS else text
