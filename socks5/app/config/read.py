"""A document becomes a :class:`~socks5.app.config.keys.Configuration`, or all that is wrong with it is said at once.

Opens nothing: what the paths in it lead to is :mod:`socks5.app.config.build`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

from socks5.app.config.document import Document, Problem, Refused, load, parse
from socks5.app.config.keys import Configuration
from socks5.app.config.references import findings
from socks5.app.config.tables import Table, wrongs
from socks5.app.config.values import Several, Wrong

_WHOLE = Table(Configuration)


def read(document: Document) -> Configuration:
    """What a document says.

    :raises socks5.app.config.document.Refused: says everything that is wrong with it.
    """
    problems = [
        document.problem(each.path, each.sentence, each.is_about_key)
        for each in findings(document.tree, document.wording)
    ]
    try:
        configuration: Configuration = _WHOLE.read(document.tree)
    except (Several, Wrong) as error:
        problems += [
            document.problem(path, str(wrong), wrong.is_about_key) for path, wrong in wrongs(error)
        ]
        raise Refused(in_order(problems)) from None
    if problems:
        raise Refused(in_order(problems))
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


__all__ = ["in_order", "read", "read_file", "read_text"]
