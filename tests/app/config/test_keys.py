"""The table of keys: each setting has a key, each key a default that its kind takes, and a line of help."""

from collections.abc import Iterator
from dataclasses import Field, fields
from typing import Any

import pytest

from socks5.app.config.keys import Configuration
from socks5.app.config.tables import (
    Key,
    Named,
    Table,
    Tables,
    Typed,
    about,
    is_required,
)
from socks5.app.config.values import Kind
from socks5.auth.directory import Directory
from socks5.settings import Capacity, ListenerPolicy, Settings


def keys(kind: Kind, name: str = "") -> Iterator[tuple[str, Field[Any], Key]]:
    """Every key, with its name in full."""
    if isinstance(kind, Named | Tables):
        yield from keys(kind.kind, f"{name}.NAME")
    elif isinstance(kind, Typed):
        for word, table in kind.types.items():
            yield from keys(table, f"{name}({word})")
    elif isinstance(kind, Table):
        for field in kind.fields:
            below = f"{name}.{field.name}".lstrip(".")
            yield below, field, about(field)
            yield from keys(about(field).kind, below)


ALL = list(keys(Table(Configuration)))


def test_each_setting_has_a_key() -> None:
    wanted = [each.name for cls in (Settings, Capacity, ListenerPolicy) for each in fields(cls)]
    # A listener's name stands in the head of its table; that it may get another one follows from there being a file.
    assert sorted(key.sets for _, _, key in ALL if key.sets) == sorted(
        {*wanted} - {"name", "may_change"}
    )


def test_each_key_of_a_directory_is_one_of_ldap() -> None:
    names = [name.rpartition(".")[2] for name, _, _ in ALL if name.startswith("auth.NAME(ldap).")]
    assert names == [each.name for each in fields(Directory)]


@pytest.mark.parametrize(("name", "field", "key"), ALL, ids=[name for name, _, _ in ALL])
def test_each_key_has_help_and_a_default_that_can_be_written(
    name: str, field: Field[Any], key: Key
) -> None:
    assert key.help
    assert key.help.endswith(".")
    if is_required(field) or isinstance(key.kind, Table | Named | Tables):
        return
    if field.default in (None, (), ""):
        assert key.default, name
    else:
        assert key.kind.read(key.kind.show(field.default)) == field.default
        assert not key.default, name


@pytest.mark.parametrize(("name", "field", "key"), ALL, ids=[name for name, _, _ in ALL])
def test_each_kind_takes_its_own_example(name: str, field: Field[Any], key: Key) -> None:
    if name not in ("upstream", "listener", "limit"):
        key.kind.read(key.kind.example)
