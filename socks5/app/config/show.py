"""A configuration as a file that means the same: what was said as keys, what holds besides as comments.

Secrets are not shown; where they come from is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from socks5.app.config.keys import Configuration
from socks5.app.config.places import Path
from socks5.app.config.tables import Named, Table, Tables, Typed, about
from socks5.app.config.upstream_keys import KINDS, OF_POOLS
from socks5.app.config.values import Kind, as_key, as_toml
from socks5.policy.ruleset import DEFAULT, GUARD

WIDTH = 100
"""Columns beyond which a list has a line for each of its entries."""

_TERSE = {"rule", "networks", "names", "group", "limit"}
"""Sections of which what holds besides is not shown: a key that is left out asks for nothing there."""

_BESIDE: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("address", "unix", "systemd", "endpoint"), ()),
    "port": ("address",),
    "mode": ("unix",),
    "tls": ("address", "systemd"),
}
"""Keys of a listener, and beside which of the others they may stand."""

_BUILT_IN = f"""
# And behind all rules, always:
#
# [[rule]]
# name = "{GUARD}"
# action = "deny"
# networks = "@special"  # not for clients that are @local
#
# [[rule]]
# name = "{DEFAULT}"
# action = """


Where = Callable[[Path], object] | None


def show(tree: Mapping[str, Any], place: Where) -> str:
    """The file.

    :param tree: what was said, and can be read.
    :param place: where the value at a path was said, for one that is hidden; None: there is nothing to hide.
    """
    blocks = [
        "\n".join(lines)
        for each in fields(Configuration)
        for lines in _section(each.name, about(each).kind, tree.get(each.name), place)
    ]
    if "listener" not in tree:
        default = about(Configuration.__dataclass_fields__["listener"]).default
        blocks.insert(1, f"# [listener.NAME]: {default}")
    return "\n\n".join(blocks) + "\n" + _BUILT_IN + _default(tree) + "\n"


def _default(tree: Mapping[str, Any]) -> str:
    default = tree.get("server", {}).get("default", "deny" if tree.get("rule") else "allow")
    return '"allow"  # and note it' if default == "report" else as_toml(default)


def _section(name: str, kind: Kind, said: Any, place: Where) -> Iterator[list[str]]:
    """The lines of each table of a section."""
    if isinstance(kind, Table) and (said is not None or not kind.example):
        yield [f"[{name}]", *_keys((name,), kind, said or {}, place)]
    elif isinstance(kind, Named):
        for key, each in (said or {}).items():
            yield [f"[{name}.{as_key(key)}]", *_keys((name, key), kind.kind, each, place)]
    elif isinstance(kind, Tables):
        for number, each in enumerate(said or ()):
            yield [f"[[{name}]]", *_keys((name, number), kind.kind, each, place)]


def _keys(path: Path, kind: Kind, said: Mapping[str, Any], place: Where) -> Iterator[str]:
    """The lines of a table."""
    if isinstance(kind, Typed):
        yield f"type = {as_toml(said['type'])}"
        kind = kind.types[said["type"]]
    assert isinstance(kind, Table)
    for each in kind.fields:
        key = about(each)
        if each.name not in said:
            if path[0] not in _TERSE and _may_stand(path, each.name, said):
                yield from _unsaid(each.name, key.kind, each.default, key.default)
        elif place is not None and key.kind.is_secret and isinstance(said[each.name], str):
            yield f"# {each.name}: (hidden), see {place((*path, each.name))}"
        else:
            yield _line(each.name, said[each.name])


def _may_stand(path: Path, name: str, said: Mapping[str, Any]) -> bool:
    """Whether a key may stand beside those that were said: a listener has one place to listen on, an upstream is one
    proxy, or a chain or pool.
    """
    if path[0] == "upstream" and len(path) == 2:
        wanted = "pool" if name in OF_POOLS else "url"
        return name not in KINDS and wanted in said
    return path[0] != "listener" or any(way in said for way in _BESIDE.get(name, (*said,)))


def _line(name: str, value: Any) -> str:
    line = f"{name} = {as_toml(value)}"
    if len(line) <= WIDTH or not isinstance(value, list):
        return line
    return "\n".join([f"{name} = [", *(f"    {as_toml(each)}," for each in value), "]"])


def _unsaid(name: str, kind: Kind, value: Any, words: str) -> Iterator[str]:
    """What holds without a key."""
    if words:
        yield f"# {name}: {words}"
    else:
        yield f"# {name} = {as_toml(kind.show(value))}"
