"""The ``stages`` directive: a table of transitions of ``socks5/protocol/stages.py``, drawn and written out.

``.. stages:: SERVER_NEXT`` reads the table when the documentation is built, so the picture cannot lag
behind the code. The picture goes into the HTML; the written table below it serves every other output,
and every reader who sees no pictures.
"""

from __future__ import annotations

from typing import Any

import drawing
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from socks5.protocol import stages
from socks5.protocol.stages import Stage, Table


def _row(cells: list[list[nodes.Node]]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))


def _listed(stages: list[Stage]) -> list[nodes.Node]:
    found: list[nodes.Node] = []
    for stage in stages:
        found += [nodes.Text(", ")] if found else []
        found.append(nodes.literal("", stage.name))
    return found or [nodes.Text("nothing: this is an end")]


def written(table: Table) -> nodes.table:
    """The same as words: a stage, what it awaits, what may follow."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in (20, 40, 40)), cols=3)
    head = _row([[nodes.Text(text)] for text in ("Stage", "Awaited", "May be followed by")])
    body = nodes.tbody()
    for stage in table:
        after = [there for here, there in drawing.edges(table) if here is stage]
        body += _row([[nodes.literal("", stage.name)], [nodes.Text(stage.value)], _listed(after)])
    group += [nodes.thead("", head), body]
    return nodes.table("", group)


class Stages(SphinxDirective):
    """``.. stages:: NAME``: the table of that name in :mod:`socks5.protocol.stages`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The picture for HTML, and the written table for everyone."""
        for module in (stages, drawing):
            self.env.note_dependency(module.__file__)
        name = self.arguments[0]
        table: Table = getattr(stages, name)
        picture = nodes.raw("", drawing.drawn(table, name), format="html")
        return [picture, written(table)]


def setup(app: Any) -> dict[str, bool]:
    """Offer the directive to Sphinx."""
    app.add_directive("stages", Stages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
