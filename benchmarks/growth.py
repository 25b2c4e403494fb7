"""``python -m benchmarks growth``: what a session, a message and a connection cost when there are many sessions.

For 10, 100, 1,000 and 10,000 established sessions, of ours with one worker and with two and of the peers: the memory of
a session; the processor time of a message, while 64 of them exchange messages and the others are silent; and that of a
new connection beside them. Each contender has a fresh process for each number of sessions, in turns.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import curves, machine, processes, runs
from benchmarks.contenders import CONTENDERS, OURS, Contender
from benchmarks.growing import PARTS
from benchmarks.options import (
    MOST_DESCRIPTORS,
    PEERS,
    chosen_contenders,
    names,
    positive,
    say,
)
from benchmarks.report import Figure, aligned, figure, list_table, number

COUNTS = (10, 100, 1_000, 10_000)
"""Sessions."""

IN_RESERVE = 200
"""Files that a proxy has open besides those of its established sessions, at the most."""

MOST_KIB = 400
"""Memory of a session where it is most: those of a proxy which is known for it may have half of what is free."""

WITH_WORKERS = f"{OURS}, 2 workers"

TITLES = {
    "memory": "Memory of a session",
    "message": "A message there and back",
    "connection": "A new connection",
}

Results = dict[str, dict[int, list[runs.Run]]]
"""The runs by contender and number of sessions. A run has a part for each of
:data:`~benchmarks.growing.PARTS`, as :func:`benchmarks.runs.priced` gives it; or ``failed``, as a part may."""


def with_workers(ours: Contender) -> Contender:
    """Our proxy with two workers."""
    return replace(ours, name=WITH_WORKERS, words=(*ours.words, "--workers", "2"))


def fitting(count: int, limit: int) -> int:
    """So many sessions, or as many as a proxy can have that may open *limit* files."""
    return min(count, (limit - IN_RESERVE) // 2)


def takes_part(contender: Contender, count: int, free: float) -> bool:
    """Whether a proxy can have so many sessions where so many KiB of memory are free."""
    return "idle10k" not in contender.cannot or count * MOST_KIB < free / 2


def part(name: str, counted: runs.Run) -> runs.Run:
    """What was counted for one part, with its price. One with faults is a failure."""
    if counted["faults"]:
        return {"failed": f"{counted['faults']} faults, {counted['done']} done"}
    try:
        return runs.priced(PARTS[name], counted)
    except runs.RunFailed as failure:
        return {"failed": str(failure)}


def one(contender: Contender, count: int, seconds: float, folder: Path, aims: Any) -> runs.Run:
    """One run, on a fresh process of the proxy. A failure is a result too.

    :param aims: two targets: that of the sessions which are silent is another one, so that the kernel need not look
        for a local port among theirs.
    """
    (target, pid), (others, _) = aims
    order = {"seconds": seconds, "target": target, "target_pid": pid, "sessions": count}
    try:
        with runs.proxy(contender, folder) as (port, proxy_pid):
            order |= {"proxy": port, "proxy_pid": proxy_pid, "others_target": others}
            counted = runs.generate(order, "benchmarks.growing")
    except runs.RunFailed as failure:
        return {"failed": str(failure)}
    return {name: part(name, counted[name]) for name in PARTS}


def measure(
    contenders: Sequence[Contender],
    counts: Sequence[int],
    rounds: int,
    seconds: float,
    folder: Path,
) -> Results:
    """All runs, in turns."""
    results: Results = {each.name: {count: [] for count in counts} for each in contenders}
    free = processes.free_kib()
    with runs.target() as first, runs.target() as second:
        for turn in range(rounds):
            for count in counts:
                for contender in (each for each in contenders if takes_part(each, count, free)):
                    run = one(contender, count, seconds, folder, (first, second))
                    results[contender.name][count].append(run)
                    say(f"{turn + 1}/{rounds} {count} sessions, {contender.name}: {line(run)}")
    return results


def line(run: runs.Run) -> str:
    """One run on a line."""
    if "failed" in run:
        return str(run["failed"])
    return ", ".join(
        run[name].get("failed") or f"{number(run[name]['cost'])} {row.cost_unit}"
        for name, row in PARTS.items()
    )


def figure_of(name: str, measured: Sequence[runs.Run]) -> Figure | None:
    """The figure of one part, or None if no run has any."""
    return figure([run if "failed" in run else run[name] for run in measured])


def figures(results: Results) -> dict[str, dict[str, dict[int, Figure]]]:
    """All figures: by part, contender and number of sessions."""
    return {
        name: {
            contender: {
                count: found
                for count, measured in by_count.items()
                if (found := figure_of(name, measured))
            }
            for contender, by_count in results.items()
        }
        for name in PARTS
    }


def failures(results: Results) -> list[str]:
    """What gave no figure, a line each."""
    return [
        f"{contender}, {count:,} sessions, {where}: {why}"
        for contender, by_count in results.items()
        for count, measured in by_count.items()
        for run in measured
        for where, each in [("all", run), *((name, run.get(name, {})) for name in PARTS)]
        if (why := each.get("failed"))
    ]


def table(results: Results) -> list[list[str]]:
    """The cells of the table, the first line its head."""
    found = figures(results)
    counts = next(iter(results.values()), {})
    lines = [["Cost", "Sessions", *results]]
    for name, row in PARTS.items():
        for count in counts:
            cells = []
            for contender in results:
                each = found[name][contender].get(count)
                spread = "" if each is None or each.spread is None else f" ±{each.spread:.0%}"
                cells.append("not measured" if each is None else number(each.cost) + spread)
            lines.append([f"{TITLES[name]}, {row.cost_unit.split('/')[0]}", f"{count:,}", *cells])
    return lines


def bases(results: Results) -> str:
    """What the contenders take before their first session."""
    texts = []
    for contender, by_count in results.items():
        parts = [run.get("memory", {}) for measured in by_count.values() for run in measured]
        taken = sorted(each["base"] for each in parts if "base" in each)
        if taken:
            texts.append(f"{contender} {number(taken[len(taken) // 2] / 1024)} MiB")
    return "; ".join(texts)


def _others(results: Results) -> float:
    return max(
        (
            each.others
            for by_name in figures(results).values()
            for by_count in by_name.values()
            for each in by_count.values()
        ),
        default=0.0,
    )


def notes(results: Results, absent: Sequence[str]) -> list[str]:
    """What must be known of the figures, a line each."""
    return [
        f"Memory before the first session: {bases(results)}",
        f"Cores that something else had meanwhile: up to {number(_others(results))}",
        *(f"Not measured: {each}" for each in absent),
        *(f"Counts nowhere: {each}" for each in failures(results)),
    ]


def rst(results: Results, absent: Sequence[str], measured: str) -> str:
    """What docs/performance.rst includes: the table, and what must be known of it.

    :param measured: when, and on what.
    """
    lines = [f"- {each}" for each in notes(results, absent)]
    return "\n".join([measured, "", list_table(table(results)), "", *lines]) + "\n"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks growth", description=__doc__)
    add = options.add_argument
    add("--rounds", type=int, default=3, help="times that all take their turn (%(default)s)")
    add("--seconds", type=positive, default=0.5, help="seconds of each load (%(default)s)")
    add(
        "--sessions",
        type=lambda text: [int(each) for each in text.split(",")],
        default=COUNTS,
        help=f"how many, {','.join(map(str, COUNTS))} by default",
    )
    peers = ["microsocks", "dante"]
    add("--peers", type=names(PEERS), default=peers, help=f"some of {','.join(PEERS)}, or ''")
    add("--json", type=Path, metavar="FILE", help="write every run there")
    add("--plot", type=Path, metavar="FILE.svg", help="draw the costs there")
    add("--rst", type=Path, metavar="FILE", help="write the table for the documents there")
    return options


def _absent(
    contenders: Sequence[Contender], missing: Sequence[str], wanted: Sequence[int], limit: int
) -> list[str]:
    """What is not measured, and why."""
    counts = [fitting(count, limit) for count in wanted]
    return [
        *(f"{name}, which is not installed" for name in missing),
        *(
            f"{each.name} with {count:,} sessions: there is not twice the memory for them"
            for each in contenders
            for count in counts
            if not takes_part(each, count, processes.free_kib())
        ),
        *(
            f"{count:,} sessions; {fits:,} are what a limit of {limit:,} open files allows"
            for count, fits in zip(wanted, counts, strict=True)
            if fits < count
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write.

    :returns: 1 if a run of ours has failed, else 0.
    """
    options = parser().parse_args(arguments)
    installed, missing = chosen_contenders(options.peers)
    contenders = [CONTENDERS[OURS], with_workers(CONTENDERS[OURS]), *installed[1:]]
    processes.allow_descriptors(MOST_DESCRIPTORS)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    counts = [fitting(count, limit) for count in options.sessions]
    absent = _absent(contenders, missing, options.sessions, limit)
    about = machine.description(installed)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # for proxies that give up their privileges
        results = measure(contenders, counts, options.rounds, options.seconds, folder)
    sys.stdout.write(summary(results, about, absent) + "\n")
    if options.json:
        document = {"about": about, "seconds": options.seconds, "absent": absent, "runs": results}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.plot:
        title = f"{about['machine']}, {about['kernel']}, commit {about['commit']}, {about['date']}"
        panels = {
            (TITLES[name], PARTS[name].cost_unit): {
                contender: {count: each.cost for count, each in by_count.items()}
                for contender, by_count in by_name.items()
            }
            for name, by_name in figures(results).items()
        }
        options.plot.write_text(curves.svg(panels, list(results), title))
    if options.rst:
        measured = machine.sentence(about, options.rounds, options.seconds)
        options.rst.write_text(rst(results, absent, measured))
    return int(any(line.startswith(OURS) for line in failures(results)))


def summary(results: Results, about: Mapping[str, str], absent: Sequence[str]) -> str:
    """What is printed at the end."""
    lines = [f"{key}: {value}" for key, value in about.items()]
    return "\n".join([*lines, "", aligned(table(results)), "", *notes(results, absent)])
