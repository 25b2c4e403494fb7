"""A table of transitions of ``socks5/protocol/stages.py`` as an SVG, drawn by hand: no Graphviz, no network."""

from __future__ import annotations

from html import escape
from itertools import pairwise

from socks5.protocol.stages import Stage, Table

WIDTH, HEIGHT, GAP = 330, 46, 30  # of a stage's box, and between two
LEFT, TOP = 110, 8  # room for the arcs of steps that leave stages out
END_X, END_WIDTH = LEFT + WIDTH + 90, 150  # the box of CLOSED, beside all others
STYLE = """
.stages text { font: 13px sans-serif; fill: #222 } .stages .name { font: bold 13px monospace }
.stages rect { fill: #f6f4ee; stroke: #555 } .stages .last { fill: #e4efe4 }
.stages .closed { fill: #f3e3e1 } .stages path { fill: none; stroke: #555; stroke-width: 1.4 }
"""


def edges(table: Table) -> list[tuple[Stage, Stage]]:
    """Every transition, in the order of the stages."""
    order = list(table)
    return [(here, there) for here in order for there in sorted(table[here], key=order.index)]


def _box(x: int, y: int, width: int, height: int, stage: Stage, kind: str) -> str:
    lines = stage.value.split(": ") if kind == "closed" else [stage.value]
    middle = x + width / 2
    top = y + height / 2 - 4 - 8 * (len(lines) - 1)
    return (
        f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
        f'<text class="name" x="{middle}" y="{top}" text-anchor="middle">{stage.name}</text>'
    ) + "".join(
        f'<text x="{middle}" y="{top + 17 * number}" text-anchor="middle">{escape(line)}</text>'
        for number, line in enumerate(lines, 1)
    )


def _arrow(path: str, here: Stage, there: Stage, head: str) -> str:
    return (
        f'<path d="{path}" marker-end="url(#{head})">'
        f"<title>{here.name} to {there.name}</title></path>"
    )


def drawn(table: Table, name: str) -> str:
    """The table as an SVG: the stages from top to bottom, CLOSED beside them, an arrow a step."""
    head = f"head-of-{name}"  # an id, unique on its page
    column = [stage for stage in table if stage is not Stage.CLOSED]
    y = {stage: TOP + row * (HEIGHT + GAP) for row, stage in enumerate(column)}
    bottom = TOP + len(column) * (HEIGHT + GAP) - GAP
    parts = [
        _box(LEFT, y[stage], WIDTH, HEIGHT, stage, "" if table[stage] else "last")
        for stage in column
    ]
    parts.append(_box(END_X, TOP, END_WIDTH, bottom - TOP, Stage.CLOSED, "closed"))
    neighbours, arcs = set(pairwise(column)), 0
    for here, there in edges(table):
        middle = y[here] + HEIGHT // 2
        if there is Stage.CLOSED:
            path = f"M{LEFT + WIDTH} {middle} H{END_X - 2}"
        elif (here, there) in neighbours:
            path = f"M{LEFT + WIDTH // 2} {y[here] + HEIGHT} V{y[there] - 2}"
        else:
            arcs += 1
            x, end = LEFT - 25 - 22 * (arcs % 4), y[there] + HEIGHT // 2 - 10
            path = f"M{LEFT} {middle + 10} C{x} {middle + 10} {x} {end} {LEFT - 2} {end}"
        parts.append(_arrow(path, here, there, head))
    return (
        f'<svg class="stages" xmlns="http://www.w3.org/2000/svg" role="img" width="100%" '
        f'style="max-width: 720px; margin-bottom: 1em" viewBox="0 0 {END_X + END_WIDTH + 8} {bottom + 8}">'
        f"<title>The stages of {escape(name)}</title><style>{STYLE}</style><defs>"
        f'<marker id="{head}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" style="fill: #555"/></marker>'
        f"</defs>{''.join(parts)}</svg>"
    )
