"""What may stand behind a key: kinds of values, each with the sentence for what is none of it.

A kind reads a value of TOML's as the program has it, shows it as the file has it, and describes itself for the
schema. Nothing is guessed: a number is no text, and true is no number. Quantities are in
:mod:`socks5.app.config.quantities`, tables in :mod:`socks5.app.config.tables`.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any

from typing_extensions import override

from socks5.app.config.places import Path

_LOGIN = re.compile(r'(?<=")([A-Za-z0-9+.-]+://)?[^":]*:[^"]*@')
"""What stands before the host in a URL, where somebody has one that is not wanted there."""

SHOWN = 60
"""Characters of a value that a sentence quotes."""

Schema = Mapping[str, Any]
"""What JSON Schema, Draft 4, says of something."""


class Wrong(ValueError):
    """A value is none of its kind.

    :param sentence: "expected ..., got ...; remedy".
    :param path: where in the value.
    :param is_about_key: whether the key is wrong, not what stands behind it.
    """

    def __init__(self, sentence: str, path: Path = (), is_about_key: bool = False) -> None:
        super().__init__(sentence)
        self.path = path
        self.is_about_key = is_about_key


class Several(ValueError):
    """Several things are wrong with a value.

    :param errors: each of them, with its path.
    """

    def __init__(self, errors: Sequence[tuple[Path, Exception]]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = errors


def as_toml(value: object) -> str:
    """A value as TOML has it, on one line; what is not printable is escaped."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return "".join(each if each.isprintable() else _escape(each) for each in text)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{as_key(key)} = {as_toml(each)}" for key, each in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(as_toml, value))}]"
    return str(value)


def as_key(key: str) -> str:
    """A key as TOML has it."""
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else as_toml(key)


def _escape(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08x}"


def quoted(value: object) -> str:
    """A value for a sentence. What is in a table is not told, for it may be a secret, nor what may be a login."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        return "a list of tables"
    text = _LOGIN.sub(r"\1…@", as_toml(value))
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def either(words: Iterable[str]) -> str:
    """``"a", "b" or "c"``."""
    *first, last = (as_toml(word) for word in words)
    return f"{', '.join(first)} or {last}" if first else last


def meant(text: object, known: Iterable[str]) -> str:
    """``; did you mean "..."?``, if something known is like it."""
    near = get_close_matches(text, list(known), 1) if isinstance(text, str) else []
    return f"; did you mean {as_toml(near[0])}?" if near else ""


class Kind(ABC):
    """A kind of values."""

    words = ""
    """What is expected, after "expected"."""

    example: object = ""
    """A value, as the file has it."""

    is_secret = False
    """Whether nobody may see the value."""

    @abstractmethod
    def read(self, value: object) -> Any:
        """The value as the program has it.

        :param value: what tomllib has made of it.
        :raises Wrong: it is none.
        :raises Several: as many things are wrong with it.
        """

    def show(self, value: Any) -> object:
        """The opposite of reading: what the file would have for it."""
        return value

    @abstractmethod
    def schema(self) -> Schema:
        """What the file may have."""

    def wrong(self, value: object, remedy: str = "") -> Wrong:
        """What is to be raised for a value.

        :param remedy: behind it, with its semicolon.
        """
        got = "" if self.is_secret else f", got {quoted(value)}{remedy}"
        return Wrong(f"expected {self.words}{got}")


class Flag(Kind):
    """``true`` or ``false``."""

    words = "true or false"
    example = True

    @override
    def read(self, value: object) -> bool:
        if not isinstance(value, bool):
            meant = {"true": "; write true", "false": "; write false"}
            raise self.wrong(value, meant.get(str(value).lower(), ""))
        return value

    @override
    def schema(self) -> Schema:
        return {"type": "boolean"}


class Text(Kind):
    """A text.

    :param words: what is expected.
    :param pattern: all of it; None: anything but nothing.
    :param example: one.
    """

    def __init__(
        self, words: str = "a text", pattern: str | None = None, example: str = "..."
    ) -> None:
        self.words = words
        self.example = example
        self._text = pattern
        self._pattern = re.compile(r"(?s:.+)" if pattern is None else pattern)

    @override
    def read(self, value: object) -> str:
        if not isinstance(value, str):
            remedy = f"; write {as_toml(str(value))}" if type(value) in (int, float) else ""
            raise self.wrong(value, remedy)
        if not self._pattern.fullmatch(value) or "\0" in value:
            raise self.wrong(value)
        return value

    @override
    def schema(self) -> Schema:
        if self._text is None:
            return {"type": "string", "minLength": 1}
        return {"type": "string", "pattern": f"^({self._text})$"}


class Hidden(str):
    """A text that nobody may see."""

    __slots__ = ()

    @override
    def __repr__(self) -> str:
        return "(hidden)"


class Secret(Text):
    """A text that nobody may see."""

    is_secret = True

    @override
    def read(self, value: object) -> Hidden:
        return Hidden(super().read(value))


class Choice(Kind):
    """One of some words.

    :param choices: the words; a mapping: and what each stands for.
    """

    def __init__(self, choices: Iterable[str] | Mapping[str, Any]) -> None:
        self.choices = (
            choices if isinstance(choices, Mapping) else {choice: choice for choice in choices}
        )
        self.words = either(self.choices)
        self.example = next(iter(self.choices))

    @override
    def read(self, value: object) -> Any:
        if not isinstance(value, str) or value not in self.choices:
            raise self.wrong(value, meant(value, self.choices))
        return self.choices[value]

    @override
    def show(self, value: Any) -> object:
        return next(word for word, each in self.choices.items() if each == value)

    @override
    def schema(self) -> Schema:
        return {"enum": list(self.choices)}


class Count(Kind):
    """A whole number.

    :param first: the least.
    :param last: the most.
    :param word: what may stand instead.
    :param stands_for: what that means.
    """

    def __init__(self, first: int, last: int, word: str = "", stands_for: int = 0) -> None:
        self._first, self._last, self._word, self._stands_for = first, last, word, stands_for
        self.words = f"a whole number from {first} to {last}" + (f' or "{word}"' if word else "")
        self.example = max(1, first)

    @override
    def read(self, value: object) -> int:
        if self._word and value == self._word:
            return self._stands_for
        if type(value) is not int or not self._first <= value <= self._last:
            is_number = isinstance(value, str) and value.isascii() and value.isdigit()
            raise self.wrong(value, f"; write {value}, without quotes" if is_number else "")
        return value

    @override
    def show(self, value: Any) -> object:
        return self._word if self._word and value == self._stands_for else value

    @override
    def schema(self) -> Schema:
        number = {"type": "integer", "minimum": self._first, "maximum": self._last}
        return {"anyOf": [number, {"enum": [self._word]}]} if self._word else number


class PortRange(Kind):
    """Ports from the first to the last.

    :param is_list_item: whether it is as a rule has it, and stays as it was written; else two numbers.
    """

    words = 'a port from 1 to 65535 or a range, such as "8000-8999"'
    example = "8000-8999"

    def __init__(self, is_list_item: bool = False) -> None:
        self._is_list_item = is_list_item

    @override
    def read(self, value: object) -> Any:
        text = str(value) if type(value) is int else value
        found = (
            re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text) if isinstance(text, str) else None
        )
        if found is None:
            raise self.wrong(value)
        first, last = int(found[1]), int(found[2] or found[1])
        if not 1 <= first <= 65535 >= last >= 1:
            raise self.wrong(value)
        if first > last:
            raise self.wrong(value, f'; did you mean "{last}-{first}"?')
        if isinstance(value, str) and found[2] is None:
            raise self.wrong(value, f"; write {first}, without quotes")
        return value if self._is_list_item else (first, last)

    @override
    def show(self, value: Any) -> object:
        return value if self._is_list_item else f"{value[0]}-{value[1]}"

    @override
    def schema(self) -> Schema:
        number = {"type": "integer", "minimum": 1, "maximum": 65535}
        return {"anyOf": [number, {"type": "string", "pattern": "^[0-9]+-[0-9]+$"}]}


class IPAddress(Kind):
    """An IP address.

    :param words: what is expected.
    :param is_of_a_host: whether it is to be one host's, as an outgoing address is.
    """

    example = "192.0.2.1"

    def __init__(self, words: str = "an IP address", is_of_a_host: bool = False) -> None:
        self.words = words
        self._is_of_a_host = is_of_a_host

    @override
    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise self.wrong(value)
        try:
            parsed = ip_address(value)
        except ValueError:
            raise self.wrong(value, _without_brackets(value)) from None
        is_other = parsed.is_unspecified or getattr(parsed, "ipv4_mapped", None) or "%" in value
        if self._is_of_a_host and is_other:
            raise self.wrong(value)
        return value

    @override
    def schema(self) -> Schema:
        return {"type": "string"}


def read_each(kind: Kind, values: Sequence[object]) -> tuple[Any, ...]:
    """What a list holds, each of one kind.

    :raises Several: some are none; says which, and why.
    """
    found, errors = [], list[tuple[Path, Exception]]()
    for number, each in enumerate(values):
        try:
            found.append(kind.read(each))
        except (Wrong, Several) as error:
            errors.append(((number,), error))
    if errors:
        raise Several(errors)
    return tuple(found)


def _without_brackets(text: str) -> str:
    bare = text.strip("[]")
    try:
        ip_address(bare)
    except ValueError:
        return ""
    return f"; write {as_toml(bare)}"


class Listed(Kind):
    """One value of a kind, or a list of them, of which none is empty.

    :param kind: theirs.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.words = f"{kind.words}, or a list of such"
        self.example = kind.example
        self.is_secret = kind.is_secret

    @override
    def read(self, value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            return (self.kind.read(value),)
        if not value:
            raise Wrong("expected something in the list; leave the key out where nothing is meant")
        return read_each(self.kind, value)

    @override
    def show(self, value: Any) -> object:
        shown = [self.kind.show(each) for each in value]
        return shown[0] if len(shown) == 1 else shown

    @override
    def schema(self) -> Schema:
        item = self.kind.schema()
        return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}
