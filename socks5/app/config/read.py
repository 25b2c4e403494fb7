"""A document becomes a :class:`~socks5.app.config.keys.Configuration`, or all that is wrong with it is said at once.

Opens nothing: what the paths in it lead to is :mod:`socks5.app.config.build`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from socks5.app.config.document import Document, Problem, Refused, load, parse
from socks5.app.config.keys import Configuration
from socks5.app.config.places import Path
from socks5.app.config.references import findings
from socks5.app.config.tables import Table, wrongs
from socks5.app.config.tree import Finding
from socks5.app.config.values import Several, Wrong

_WHOLE = Table(Configuration)


_WHOLES = ("rule", "gssapi")
"""Sections of which there is all or nothing."""


def read(document: Document) -> Configuration:
    """What a document says.

    :raises socks5.app.config.document.Refused: says everything that is wrong with it.
    """
    configuration, problems = read_on(document)
    if problems:
        raise Refused(in_order(problems))
    return configuration


def read_on(document: Document) -> tuple[Configuration, Sequence[Problem]]:
    """What a document says, and all that is wrong with it. Of that nothing is in what it says: neither the key, nor the
    listener, the source or whatever else has a name, nor one of the rules.
    """
    tree = document.tree
    found = [*findings(tree, document.wording, document.folder)]
    try:
        configuration: Configuration = _WHOLE.read(tree)
    except (Several, Wrong) as error:
        found += [Finding(path, str(each), each.is_about_key) for path, each in wrongs(error)]
    if found:
        configuration = _rest(tree, {_unit(each.path) for each in found})
    return configuration, [document.problem(*each) for each in found]


def _unit(path: Path) -> Path:
    """What is left out for what is wrong at a path."""
    return path[:1] if path[0] in _WHOLES else path[:2]


def _rest(tree: Mapping[str, Any], units: Collection[Path]) -> Configuration:
    """What a tree says without some parts."""
    sections = {unit[0] for unit in units if len(unit) == 1}
    rest = {
        name: {key: each for key, each in section.items() if (name, key) not in units}
        if isinstance(section, Mapping)
        else section
        for name, section in tree.items()
        if name not in sections
    }
    configuration: Configuration = _WHOLE.read(rest)
    return configuration


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems as the file has them."""
    return sorted(problems, key=lambda each: (each.place.source, each.place))


def read_text(text: str, file: str) -> tuple[Document, Configuration]:
    """What a text says.

    :param file: how it is called.
    :raises socks5.app.config.document.Refused: says everything that is wrong with it.
    """
    document = parse(text, file)
    return document, read(document)


def read_file(file: str) -> tuple[Document, Configuration]:
    """What a file says.

    :param file: as it was named.
    :raises socks5.app.config.document.Refused: says everything that is wrong with it.
    """
    document = load(file)
    return document, read(document)


__all__ = ["in_order", "read", "read_file", "read_on", "read_text"]
