"""Options that are keys: a text of the command line as the value that a file has, and the key's default as a text.

Whether the value is any good is for the reader of the tree to say.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import MISSING, Field
from math import isfinite
from typing import Any

from socks5.app.config.conditions import FILE, Entry
from socks5.app.config.files import FilePath
from socks5.app.config.keys import Configuration
from socks5.app.config.quantities import Time
from socks5.app.config.tables import Named, Table, about
from socks5.app.config.values import Count, Kind, Listed, PortRange, quoted
from socks5.app.sources import CREDENTIAL
from socks5.policy.sets import BUILT_IN


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


def value_of(key: str) -> Callable[[str], Any]:
    """What makes of a text the value that the key has in a file.

    It raises ValueError with a sentence, "expected …, got …", for what a file alone can say.
    """
    kind = kind_of(key)
    return lambda text: _as_value(kind, text)


def default_of(key: str) -> str | None:
    """What holds without a key, as an option has it; None if it is no value."""
    field = _field(key)
    if field.default in (None, MISSING):
        return None
    shown = about(field).kind.show(field.default)
    return (",".join(shown) if isinstance(shown, list) else str(shown)) or None


def _as_value(kind: Kind, text: str) -> Any:
    """On the command line a number alone is seconds, and a list has commas."""
    match kind:
        case Listed():
            values = [_as_value(kind.kind, each) for each in text.split(",")]
            return values[0] if len(values) == 1 else values
        case Time():
            return _as_time(kind, text)
        case FilePath():
            return text if text in kind.others else absolute(text)
        case Entry():
            return _as_entry(text)
        case Count() | PortRange():
            is_number = text.isascii() and text.isdigit() and len(text) < 20
            return int(text) if is_number else text
        case _:
            return text


def _as_time(kind: Time, text: str) -> object:
    try:
        seconds = float(text)
    except ValueError:
        return text
    if not (isfinite(seconds) and seconds >= 0):
        return text
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s" if seconds else kind.show(0)


def _as_entry(text: str) -> str:
    """:raises ValueError: it names what only a file has."""
    is_set = text.startswith("@") and text[1:] not in BUILT_IN
    if is_set or text.startswith(FILE):
        raise ValueError(
            f"expected a network or a set that is built in, got {quoted(text)}; sets and lists of your own go with "
            "--config"
        )
    return text


def absolute(path: str) -> str:
    """A path that means the same wherever the process goes."""
    return os.path.abspath(os.path.expanduser(path)) if path else path


def located(text: str) -> object:
    """A path, or a credential of systemd's, as a file has it."""
    if text.startswith(CREDENTIAL):
        return {"credential": text.removeprefix(CREDENTIAL)}
    return absolute(text)
