"""Looks into a tree as tomllib has made it, whatever is wrong with its values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from socks5.app.config.places import Path
from socks5.app.config.values import as_key, meant

Tree = Mapping[str, Any]


class Finding(NamedTuple):
    """Something that is wrong.

    :param path: where; may be of a key that is not there.
    :param sentence: what.
    :param is_about_key: whether the key is wrong, not its value.
    """

    path: Path
    sentence: str
    is_about_key: bool = False


def table(tree: Any, *path: str | int) -> Mapping[str, Any]:
    """The table at a path, or an empty one."""
    for step in path:
        try:
            tree = tree[step]
        except (LookupError, TypeError):
            return {}
    return tree if isinstance(tree, dict) else {}


def rules(tree: Tree) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The rules, each with its path."""
    found = tree.get("rule")
    for number, rule in enumerate(found if isinstance(found, list) else ()):
        yield ("rule", number), rule if isinstance(rule, dict) else {}


def named(tree: Tree, section: str) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The tables of a section of such, each with its path."""
    for name, each in table(tree, section).items():
        yield (section, name), each if isinstance(each, dict) else {}


def texts(holder: Mapping[str, Any], path: Path, name: str) -> Sequence[tuple[Path, str]]:
    """The texts behind a key, which may be one or a list, each with its path."""
    value = holder.get(name)
    if isinstance(value, str):
        return [((*path, name), value)]
    if not isinstance(value, list):
        return ()
    return [((*path, name, at), each) for at, each in enumerate(value) if isinstance(each, str)]


def absent(path: Path, section: str, name: str, known: Iterable[str], sign: str = "") -> Finding:
    """What to say of a name that nothing has."""
    near = meant(f"{sign}{name}", [f"{sign}{each}" for each in known])
    return Finding(path, f"there is no [{section}.{as_key(name)}]{near}")
