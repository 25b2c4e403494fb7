"""From runs to figures: medians, ratios, and the tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.contenders import OURS
from benchmarks.rows import ROWS, Row

CALM = 0.25
"""Cores that others may take before a run is set aside, where a calmer one exists."""

Results = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
"""Runs by row and contender."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What the runs of one contender in one row come to.

    :param cost: the median, in the row's unit.
    :param spread: half the distance between the extremes, as a part of the median; None: of one run.
    :param rate: the median rate.
    :param others: cores that something else took, the median of the runs that count.
    :param faults: what went wrong in all runs.
    """

    cost: float
    spread: float | None
    rate: float
    others: float
    faults: int


def figure(runs: Sequence[Mapping[str, Any]]) -> Figure | None:
    """The figure of some runs, or None if all have failed."""
    good = [run for run in runs if "failed" not in run]
    if not good:
        return None
    calm = [run for run in good if run["others"] <= CALM] or good
    costs = [run["cost"] for run in calm]
    cost = statistics.median(costs)
    return Figure(
        cost,
        (max(costs) - min(costs)) / 2 / cost if len(costs) > 1 and cost else None,
        statistics.median(run["rate"] for run in calm),
        statistics.median(run["others"] for run in calm),
        sum(run["faults"] for run in good),
    )


def figures(results: Results) -> dict[str, dict[str, Figure]]:
    """All figures by row and contender."""
    return {
        row: {name: found for name, runs in by_name.items() if (found := figure(runs))}
        for row, by_name in results.items()
    }


def reference(row: Row, all_figures: Mapping[str, Mapping[str, Figure]]) -> tuple[str, float]:
    """What our cost in a row is compared with: the best peer, or another row of ours.

    :returns: its name and its cost; an empty name if there is nothing to compare with.
    """
    if row.beside:
        found = all_figures.get(row.beside, {}).get(OURS)
        return (row.beside, found.cost) if found else ("", 0.0)
    peers = {name: each.cost for name, each in all_figures[row.name].items() if name != OURS}
    best = min(peers, key=lambda name: peers[name], default="")
    return best, peers.get(best, 0.0)


def ratio(cost: float, to: float) -> float | None:
    """One cost as a multiple of another, or None where that means nothing."""
    return cost / to if to > 0 else None


def number(value: float | None) -> str:
    """A number with about three digits."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A table: its first column to the left, the others to the right, a rule below its head."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([texts[0], rule, *texts[1:]])


def _cost(found: Figure | None) -> str:
    if found is None:
        return "-"
    spread = "" if found.spread is None else f" ±{found.spread:.0%}"
    return number(found.cost) + spread + ("*" if found.faults else "")


def cost_table(all_figures: Mapping[str, Mapping[str, Figure]], names: Sequence[str]) -> str:
    """What each contender costs, and our ratio to the best peer."""
    lines = [["cost", "unit", *names, "ratio", "to", "others"]]
    for name, found in all_figures.items():
        row = ROWS[name]
        to, its_cost = reference(row, all_figures)
        ours = found.get(OURS)
        times = ratio(ours.cost, its_cost) if ours else None
        others = max((each.others for each in found.values()), default=None)
        costs = [_cost(found.get(each)) for each in names]
        lines.append([name, row.cost_unit, *costs, number(times), to or "-", number(others)])
    return aligned(lines)


def rate_table(all_figures: Mapping[str, Mapping[str, Figure]], names: Sequence[str]) -> str:
    """What each contender did in a second."""
    lines = [["rate", "unit", *names]]
    for name, found in all_figures.items():
        rates = (found[each].rate if each in found else None for each in names)
        lines.append([name, ROWS[name].rate_unit, *map(number, rates)])
    return aligned(lines)


def list_table(lines: Sequence[Sequence[str]], *options: str) -> str:
    """A table for the documents, whose first line is its head. A dash for nothing would be a list there."""
    texts = [".. list-table::", "   :header-rows: 1", *(f"   {option}" for option in options), ""]
    for cells in lines:
        for i, cell in enumerate(cells):
            texts.append(f"   {'* -' if i == 0 else '  -'} {cell if cell != '-' else ''}".rstrip())
    return "\n".join(texts)
