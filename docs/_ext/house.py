"""The ``house`` directive: the picture of the folders, drawn from their imports when the documentation is built."""

from __future__ import annotations

from typing import Any

import rooms
from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class House(SphinxDirective):
    """``.. house::``: the picture, for HTML; the table beside it serves everybody else."""

    def run(self) -> list[nodes.Node]:
        """The picture."""
        self.env.note_reread()  # any module may change it
        return [nodes.raw("", rooms.drawn(), format="html")]


def setup(app: Any) -> dict[str, bool]:
    """Offer the directive to Sphinx."""
    app.add_directive("house", House)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
