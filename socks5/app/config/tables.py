"""Tables of keys: dataclasses whose fields say in their metadata what stands behind each key.

Every field is read by its kind: a library that structures dataclasses by their types would take 3 for a text and true
for a number, and be loaded for every command line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Any, cast

from typing_extensions import override

from socks5.app.config.places import Path
from socks5.app.config.values import Kind, Schema, Several, Wrong, as_key, as_toml, meant, read_each

NAME = re.compile("[a-z0-9][a-z0-9-]*")
"""What a section, a rule, a set or a limit may be called."""

_KEY = "socks5"


@dataclass(frozen=True)
class Key:
    """What is known of a key.

    :param kind: of its value.
    :param help: what it is about, a line for people.
    :param sets: the field of :class:`~socks5.settings.Settings`, :class:`~socks5.settings.Capacity` or
        :class:`~socks5.settings.ListenerPolicy` that it becomes; "" for none.
    :param default: in words, where the value does not say it.
    """

    kind: Kind
    help: str
    sets: str = ""
    default: str = ""


def optional(kind: Kind, help: str, value: Any = None, *, sets: str = "", default: str = "") -> Any:
    """A key that may be left out.

    :param value: what holds then, as the program has it.
    """
    about = {_KEY: Key(kind, help, sets, default)}
    if isinstance(value, Mapping) or is_dataclass(value):
        return field(default_factory=lambda: value, metadata=about)
    return field(default=value, metadata=about)


def required(kind: Kind, help: str) -> Any:
    """A key that must be there."""
    return field(metadata={_KEY: Key(kind, help)})


def about(each: Field[Any]) -> Key:
    """What is known of the key that a field is."""
    return cast(Key, each.metadata[_KEY])


def is_required(each: Field[Any]) -> bool:
    """Whether the key that a field is must be there."""
    return each.default is MISSING and each.default_factory is MISSING


class Table(Kind):
    """A table with known keys.

    :param cls: a dataclass of theirs.
    :param check: looks at a value as a whole; raises :class:`~socks5.app.config.values.Wrong`.
    """

    words = "a table"

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls
        assert is_dataclass(cls)
        self.fields = fields(cls)
        self._kinds = {each.name: about(each).kind for each in self.fields}
        self._check = getattr(cls, "check", None)
        self.is_secret = any(about(each).kind.is_secret for each in self.fields)
        self.example = self._required = {
            each.name: about(each).kind.example for each in self.fields if is_required(each)
        }

    @override
    def read(self, value: object) -> Any:
        if not isinstance(value, dict):
            raise self.wrong(value)
        found = self._structured(value)
        if self._check is not None:
            self._check(found)
        return found

    def _structured(self, value: Mapping[str, object]) -> Any:
        """:raises Several: with everything that is wrong with it."""
        found, errors = {}, list[tuple[Path, Exception]]()
        for name, each in value.items():
            kind = self._kinds.get(name)
            try:
                if kind is None:
                    raise Wrong(f"unknown key{meant(name, self._kinds)}", is_about_key=True)
                found[name] = kind.read(each)
            except (Wrong, Several) as error:
                errors.append(((name,), error))
        for name, example in self._required.items():
            if name not in value:
                errors.append(((name,), Wrong(f"missing; write {name} = {as_toml(example)}")))
        if errors:
            raise Several(errors)
        return self.cls(**found)

    @override
    def schema(self) -> Schema:
        properties = {
            each.name: {"description": about(each).help, **about(each).kind.schema()}
            for each in self.fields
        }
        needed = [each.name for each in self.fields if is_required(each)]
        return {
            "type": "object",
            "additionalProperties": False,
            "properties": properties,
            **({"required": needed} if needed else {}),
        }


class Switch(Table):
    """A table in which nothing has to stand, so that ``true`` will do for it; ``false`` stands for none."""

    words = "true, false or a table"

    @override
    def read(self, value: object) -> Any:
        if isinstance(value, bool):
            return self.cls() if value else None
        return super().read(value)

    @override
    def schema(self) -> Schema:
        return {"anyOf": [{"type": "boolean"}, super().schema()]}


class Typed(Kind):
    """A table, and nothing else, whose other keys depend on the one named ``type``.

    :param types: by what that says.
    """

    words = "a table"

    def __init__(self, types: Mapping[str, Table]) -> None:
        self.types = types
        self.is_secret = any(table.is_secret for table in types.values())
        word, table = next(iter(types.items()))
        self.example = {"type": word, **cast(dict[str, Any], table.example)}

    @override
    def read(self, value: object) -> Any:
        assert isinstance(value, dict)
        if "type" not in value:
            raise Wrong(f"missing; write type = {' or '.join(map(as_toml, self.types))}", ("type",))
        word = value["type"]
        if not isinstance(word, str) or word not in self.types:
            known = ", ".join(map(as_toml, self.types))
            is_shown = isinstance(word, str) and NAME.fullmatch(word)  # else it may be a secret
            got = f", got {as_toml(word)}{meant(word, self.types)}" if is_shown else ""
            raise Wrong(f"expected one of {known}{got}", ("type",))
        return self.types[word].read({key: each for key, each in value.items() if key != "type"})

    @override
    def schema(self) -> Schema:
        return {"oneOf": [self._schema(word, table) for word, table in self.types.items()]}

    def _schema(self, word: str, table: Table) -> Schema:
        schema = table.schema()
        return {
            **schema,
            "properties": {"type": {"enum": [word]}, **schema["properties"]},
            "required": ["type", *schema.get("required", ())],
        }


class Named(Kind):
    """Tables of a kind, each with a name.

    :param kind: theirs.
    :param section: the key of them all.
    :param is_name_free: whether the names are not ours to choose, as those of groups.
    """

    def __init__(self, kind: Kind, section: str, is_name_free: bool = False) -> None:
        self.kind = kind
        self._section = section
        self._is_name_free = is_name_free
        self.is_secret = kind.is_secret
        self.words = f"a table with a name: [{section}.NAME]"
        self.example = {"name": kind.example}

    @override
    def read(self, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(value)
        found, errors = {}, list[tuple[Path, Exception]]()
        for name, each in value.items():
            try:
                self._check_name(name)
                if not isinstance(each, dict):
                    raise self.wrong(each)
                found[name] = self.kind.read(each)
            except (Wrong, Several) as error:
                errors.append(((name,), error))
        if errors:
            raise Several(errors)
        return found

    def _check_name(self, name: str) -> None:
        if self._is_name_free:
            is_good, words = name != "" and name.isprintable(), "the name of a group"
        else:
            is_good = NAME.fullmatch(name) is not None
            words = "a name of a-z, 0-9 and -"
        if not is_good:
            near = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
            remedy = f"; did you mean [{self._section}.{near}]?" if near else ""
            raise Wrong(f"expected {words}, got {as_key(name)}{remedy}", is_about_key=True)

    @override
    def schema(self) -> Schema:
        if self._is_name_free:
            return {"type": "object", "additionalProperties": self.kind.schema()}
        return {
            "type": "object",
            "additionalProperties": False,
            "patternProperties": {f"^{NAME.pattern}$": self.kind.schema()},
        }


class Tables(Kind):
    """A list of tables, ``[[section]]``.

    :param kind: of each.
    :param section: their key.
    """

    def __init__(self, kind: Kind, section: str) -> None:
        self.kind = kind
        self.words = f"a list of tables: [[{section}]]"
        self.example = [kind.example]

    @override
    def read(self, value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Wrong(f"expected {self.words}, got one table or value")
        return read_each(self.kind, value)

    @override
    def schema(self) -> Schema:
        return {"type": "array", "items": self.kind.schema()}


def wrongs(error: Exception, path: Path = ()) -> Iterator[tuple[Path, Wrong]]:
    """Everything that is wrong, with the way to it.

    :param error: what reading has raised.
    """
    if isinstance(error, Several):
        for below, each in error.errors:
            yield from wrongs(each, (*path, *below))
    else:
        assert isinstance(error, Wrong)
        yield (*path, *error.path), error
