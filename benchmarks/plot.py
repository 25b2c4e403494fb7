"""The plot: an SVG written by hand, the costs of a row as multiples of its best peer's.

A group of bars for each row, a bar for each contender, on a logarithmic scale. Shorter is cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from benchmarks.report import Figure, number, ratio, reference
from benchmarks.rows import ROWS, Row

WIDTH, LEFT, RIGHT, TOP = 900, 150, 190, 100
BAR, GAP, GROUP_GAP = 15, 3, 18
LEGEND = 160  # a contender's name and its colour
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#8c8c8c", "#56b4e9")
"""Okabe and Ito's, which those can tell apart who do not see all colours."""

TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

_HALO = 'stroke="white" stroke-width="3" paint-order="stroke"'  # readable across lines

Figures = Mapping[str, Mapping[str, Figure]]


class Scale:
    """From multiples to pixels, between two ticks that enclose all of them."""

    def __init__(self, values: Sequence[float]) -> None:
        low, high = min([*values, 1.0]), max([*values, 1.0])
        below = [tick for tick in TICKS if tick < low] or [TICKS[0]]
        above = [tick for tick in TICKS if tick >= high] or [TICKS[-1]]
        self.first, self.last = below[-1], max(above[0], 2)

    def __call__(self, value: float) -> float:
        """Where a multiple stands, in pixels from the left."""
        inside = min(max(value, self.first), self.last)
        part = math.log(inside / self.first) / math.log(self.last / self.first)
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    @property
    def ticks(self) -> list[float]:
        """Those that belong on the axis."""
        return [tick for tick in TICKS if self.first <= tick <= self.last]


def text(x: float, y: float, words: str, anchor: str = "start", style: str = "") -> str:
    """Words at a place, in pixels."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {style}>{escape(words)}</text>'


def _bar(scale: Scale, y: float, name: str, colour: str, cost: float, times: float) -> list[str]:
    end = scale(times)
    place = f'x="{LEFT}" y="{y:.1f}" width="{end - LEFT:.1f}" height="{BAR}" fill="{colour}"'
    return [
        f"<rect {place}><title>{escape(name)}</title></rect>",
        text(end + 5, y + BAR - 4, f"{number(cost)}  ({number(times)}x)", style=_HALO),
    ]


def multiples(row: Row, all_figures: Figures) -> dict[str, float]:
    """The costs of a row by contender, as multiples of the best peer's; without any peer, of ours."""
    found = all_figures[row.name]
    _, to = reference(row, all_figures)
    to = to or min((each.cost for each in found.values()), default=0.0)
    return {
        name: times
        for name, each in found.items()
        if (times := ratio(each.cost, to)) is not None and times > 0
    }


def _legend(names: Sequence[str]) -> list[str]:
    parts = []
    for i, name in enumerate(names):
        x = 20 + i * LEGEND
        parts.append(f'<rect x="{x}" y="52" width="12" height="12" fill="{COLOURS[i]}"/>')
        parts.append(text(x + 17, 62, name))
    return parts


def _axis(scale: Scale, bottom: float) -> list[str]:
    parts = []
    for tick in scale.ticks:
        x, is_one = scale(tick), tick == 1
        look = 'stroke="#333" stroke-width="1.5"' if is_one else 'stroke="#ddd"'
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom:.1f}" {look}/>')
        parts.append(text(x, TOP - 13, f"{tick:g}x", "middle", 'fill="#555"'))
    return parts


def _groups(scale: Scale, all_figures: Figures, names: Sequence[str]) -> tuple[list[str], float]:
    parts, y = [], float(TOP + 4)
    for name, found in all_figures.items():
        row = ROWS[name]
        times = multiples(row, all_figures)
        if not times or any(other.beside == name for other in ROWS.values()):
            continue
        parts.append(text(LEFT - 10, y + 12, name, "end", 'font-weight="bold"'))
        beside = f"to {row.beside}" if row.beside else row.cost_unit
        parts.append(text(LEFT - 10, y + 27, beside, "end", 'fill="#555"'))
        for i, each in enumerate(names):
            if each in times:
                parts += _bar(scale, y, each, COLOURS[i], found[each].cost, times[each])
                y += BAR + GAP
        y += GROUP_GAP + max(0, 2 - len(times)) * (BAR + GAP)
    return parts, y


def svg(all_figures: Figures, names: Sequence[str], title: str) -> str:
    """The whole picture.

    :param names: the contenders, in the order of the bars.
    """
    values = [v for row in all_figures for v in multiples(ROWS[row], all_figures).values()]
    scale = Scale(values)
    groups, bottom = _groups(scale, all_figures, names)
    size = f'width="{WIDTH}" height="{bottom:.0f}" viewBox="0 0 {WIDTH} {bottom:.0f}"'
    what = "Cost for a unit of work, as a multiple of the best peer's (shorter is cheaper)"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        text(20, 24, what, style='font-size="16"'),
        text(20, 42, title, style='fill="#555"'),
    ]
    parts = [*head, *_legend(names), *_axis(scale, bottom - GROUP_GAP), *groups, "</svg>"]
    return "\n".join(parts) + "\n"
