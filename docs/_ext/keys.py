"""The ``keys`` directive: the keys of a section of the file, from the table in ``socks5/app/config/keys.py``.

``.. keys:: timeouts`` reads the table when the documentation is built, so the page cannot lag behind the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from socks5.app.config import keys
from socks5.app.config.keys import Configuration
from socks5.app.config.tables import Named, Table, Tables, Typed, about, is_required
from socks5.app.config.values import Kind, as_toml


def kind_at(path: str) -> Kind:
    """The kind of a section, ``listener.tls``, or of a source of users, ``auth.ldap``."""
    kind: Kind = Table(Configuration)
    for step in path.split("."):
        while isinstance(kind, Named | Tables):
            kind = kind.kind
        if isinstance(kind, Typed):
            kind = kind.types[step]
        else:
            assert isinstance(kind, Table)
            [kind] = [about(each).kind for each in kind.fields if each.name == step]
    while isinstance(kind, Named | Tables):
        kind = kind.kind
    return kind


def rows(path: str) -> Iterator[tuple[str, str, str, str]]:
    """Of each key: its name, what it is about, what may stand there, and what holds without it."""
    kind = kind_at(path)
    assert isinstance(kind, Table)
    for each in kind.fields:
        key = about(each)
        if is_required(each):
            default = "it must be there"
        elif key.default or each.default is None:
            default = key.default
        else:
            default = as_toml(key.kind.show(each.default))
        yield each.name, key.help, key.kind.words, default


class Keys(SphinxDirective):
    """``.. keys:: SECTION``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A table of them."""
        self.env.note_dependency(keys.__file__)
        group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in (18, 52, 30)), cols=3)
        head = _row([nodes.Text("Key")], [nodes.Text("What it is about")], [nodes.Text("Default")])
        body = nodes.tbody()
        for name, text, words, default in rows(self.arguments[0]):
            body += _row(
                [nodes.literal("", name)],
                [nodes.Text(f"{text} "), *_spoken(f"{_begun(words)}.")],
                list(_spoken(default)),
            )
        group += [nodes.thead("", head), body]
        return [nodes.table("", group)]


def _begun(words: str) -> str:
    """As a sentence begins, but for a URL."""
    return words if "://" in words.partition(" ")[0] else words[:1].upper() + words[1:]


def _spoken(text: str) -> Iterator[nodes.Node]:
    """A text whose quoted parts are as the file has them."""
    for part in re.split('("[^"]*")', text):
        yield nodes.literal("", part) if part.startswith('"') else nodes.Text(part)


def _row(*cells: list[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))


def setup(app: Any) -> dict[str, bool]:
    """Offer the directive to Sphinx."""
    app.add_directive("keys", Keys)
    return {"parallel_read_safe": True}
