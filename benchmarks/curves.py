"""The plot of growth: an SVG written by hand, a panel for each cost, a line for each contender.

The axis of sessions is logarithmic. That of costs begins at 0, unless they lie so far apart that the small ones could
not be told from nothing; then it is logarithmic, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from benchmarks.plot import COLOURS, text
from benchmarks.report import number

PANEL, HEIGHT, GAP = 236, 300, 76
"""The area that lines are drawn in, and what is between two of them: labels of the axis, and of the lines' ends."""

LEFT, TOP, BOTTOM = 52, 132, 46
LEGEND = 200
LABEL = 13
"""The least distance between two labels."""

Costs = Mapping[int, float]
"""Costs by number of sessions."""

Panels = Mapping[tuple[str, str], Mapping[str, Costs]]
"""By title and unit of a panel, and by contender."""

DASHES = ("", "7 3", "2 3", "8 3 2 3", "1 4", "12 4")
SHAPES = ("circle", "square", "diamond", "triangle", "circle", "square")


FAR_APART = 10.0
"""How many times the least cost the greatest is, where an axis is logarithmic."""


def ticks(high: float) -> list[float]:
    """Multiples of 1, 2 or 5 of a power of ten: from 0 to the first one that is *high*, seven at the most."""
    power = 10.0 ** math.floor(math.log10(high))
    step = next(digit * power / 10 for digit in (2, 5, 10, 20) if digit * power / 10 * 6 >= high)
    return [i * step for i in range(math.ceil(high / step) + 1)]


def powers(low: float, high: float) -> list[float]:
    """The powers of ten from the last one that is *low* to the first one that is *high*."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, last + 1)]


class Axes:
    """From sessions and costs to pixels, in one panel.

    :param left: where it begins.
    :param counts: the numbers of sessions.
    :param values: all costs in it, above 0.
    """

    def __init__(self, left: float, counts: Sequence[int], values: Sequence[float]) -> None:
        self.left = left
        self.counts = counts
        low, high = min(values), max(values)
        self._scale = math.log if high > FAR_APART * low else float
        self.ticks = powers(low, high) if high > FAR_APART * low else ticks(high)

    def x(self, count: float) -> float:
        """Where a number of sessions is."""
        span = math.log(max(self.counts) / min(self.counts)) or 1.0
        return self.left + PANEL * math.log(count / min(self.counts)) / span

    def y(self, cost: float) -> float:
        """Where a cost is."""
        first, last = self._scale(self.ticks[0]), self._scale(self.ticks[-1])
        return TOP + HEIGHT * (1 - (self._scale(cost) - first) / (last - first))

    def drawn(self, title: str, unit: str) -> list[str]:
        """The axes with their labels."""
        right, bottom = self.left + PANEL, TOP + HEIGHT
        parts = [
            text(self.left, TOP - 34, title, style='font-size="14" font-weight="bold"'),
            text(self.left, TOP - 17, unit, style='fill="#555"'),
            text(self.left + PANEL / 2, bottom + 36, "established sessions", "middle", _GREY),
        ]
        for tick in self.ticks:
            y = self.y(tick)
            parts.append(_line(self.left, y, right, y))
            parts.append(text(self.left - 6, y + 4, f"{tick:,g}", "end", _GREY))
        for count in self.counts:
            x = self.x(count)
            parts.append(_line(x, TOP, x, bottom))
            parts.append(text(x, bottom + 17, f"{count:,}", "middle", _GREY))
        return parts


_GREY = 'fill="#555"'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _mark(x: float, y: float, kind: int, title: str) -> str:
    shape, colour = SHAPES[kind], COLOURS[kind]
    inside = f"<title>{escape(title)}</title>"
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}">{inside}</circle>'
    corners = {
        "square": ((-3.5, -3.5), (3.5, -3.5), (3.5, 3.5), (-3.5, 3.5)),
        "diamond": ((0, -5), (5, 0), (0, 5), (-5, 0)),
        "triangle": ((0, -5), (5, 4), (-5, 4)),
    }[shape]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" fill="{colour}">{inside}</polygon>'


def _curve(axes: Axes, kind: int, name: str, costs: Costs) -> list[str]:
    places = [(axes.x(count), axes.y(cost)) for count, cost in costs.items()]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashes = f'stroke-dasharray="{DASHES[kind]}"' if DASHES[kind] else ""
    line = f'<polyline points="{points}" fill="none" stroke="{COLOURS[kind]}" {dashes} stroke-width="2"/>'
    marks = [
        _mark(x, y, kind, f"{name}, {count:,} sessions: {number(cost)}")
        for (x, y), (count, cost) in zip(places, costs.items(), strict=True)
    ]
    return [line, *marks]


def spread(wanted: Sequence[float]) -> list[float]:
    """Places for labels that want to be there, in order, so that none covers another."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    found = [0.0] * len(wanted)
    last = -math.inf
    for i in order:
        last = found[i] = max(wanted[i], last + LABEL)
    excess = last - (TOP + HEIGHT)
    for i in reversed(order) if excess > 0 else ():  # push them up again from the bottom
        found[i] = min(found[i], TOP + HEIGHT - LABEL * (len(order) - 1 - order.index(i)))
    return found


def _ends(axes: Axes, names: Sequence[str], by_name: Mapping[str, Costs]) -> list[str]:
    """The last cost of each line, behind its end."""
    last = {name: max(costs.items()) for name, costs in by_name.items() if costs}
    places = spread([axes.y(cost) for _, cost in last.values()])
    return [
        text(axes.x(count) + 9, y + 4, number(cost), style=f'fill="{COLOURS[names.index(name)]}"')
        for (name, (count, cost)), y in zip(last.items(), places, strict=True)
    ]


def _legend(names: Sequence[str]) -> list[str]:
    parts = []
    for kind, name in enumerate(names):
        x = 20 + kind * LEGEND
        dashes = f'stroke-dasharray="{DASHES[kind]}"' if DASHES[kind] else ""
        style = f'stroke="{COLOURS[kind]}" stroke-width="2" {dashes}'
        parts.append(f'<line x1="{x}" y1="66" x2="{x + 34}" y2="66" {style}/>')
        parts += [_mark(x + 17, 66, kind, name), text(x + 41, 70, name)]
    return parts


def svg(panels: Panels, names: Sequence[str], title: str) -> str:
    """The whole picture. A cost that is not above 0 has no place on it, and is left out.

    :param names: the contenders, in the order of the legend.
    """
    above = {
        head: {
            name: {count: cost for count, cost in costs.items() if cost > 0}
            for name, costs in by_name.items()
        }
        for head, by_name in panels.items()
    }
    counts = sorted({n for each in above.values() for costs in each.values() for n in costs})
    width, height = LEFT + len(panels) * (PANEL + GAP), TOP + HEIGHT + BOTTOM
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        text(20, 24, "Costs by number of sessions (lower is cheaper)", style='font-size="16"'),
        text(20, 42, title, style=_GREY),
        *_legend(names),
    ]
    for i, ((what, unit), by_name) in enumerate(above.items()):
        values = [cost for costs in by_name.values() for cost in costs.values()]
        if not values:
            continue
        axes = Axes(LEFT + i * (PANEL + GAP), counts, values)
        parts += axes.drawn(what, unit)
        for name, costs in by_name.items():
            parts += _curve(axes, names.index(name), name, costs)
        parts += _ends(axes, names, by_name)
    return "\n".join([*parts, "</svg>"]) + "\n"
