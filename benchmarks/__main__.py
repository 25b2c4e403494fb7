"""``python -m benchmarks``: measure our proxy beside the peers that are installed.

With a word behind it, it measures something else: ``growth``, what many sessions cost
(:mod:`benchmarks.growth`); ``extras``, what logs, logins, rules and TLS add (:mod:`benchmarks.extras`);
``neighbours``, what one client does to another (:mod:`benchmarks.neighbours`).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import extras, growth, machine, neighbours, plot, processes, report, runs
from benchmarks.contenders import CONTENDERS, OURS
from benchmarks.options import MOST_DESCRIPTORS, PEERS, chosen_contenders, names, positive, say
from benchmarks.rows import ROWS, Row

OTHERS = {"growth": growth.main, "extras": extras.main, "neighbours": neighbours.main}
"""What else can be measured, by the first word of the command line."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = options.add_argument
    add("--rounds", type=int, default=3, help="times that all take their turn (%(default)s)")
    add("--seconds", type=positive, default=2.0, help="seconds of load in a run (%(default)s)")
    add("--rows", type=names([*ROWS]), help=f"some of {','.join(ROWS)}")
    add("--peers", type=names(PEERS), default=PEERS, help=f"some of {','.join(PEERS)}, or ''")
    add("--big", action="store_true", help="idle with 10,000 sessions too")
    add("--json", type=Path, metavar="FILE", help="write every run there")
    add("--plot", type=Path, metavar="FILE.svg", help="draw the costs there")
    return options


def chosen_rows(row_names: Sequence[str] | None, is_big: bool) -> list[Row]:
    """The rows to measure, in the table's order, each with the one beside it."""
    wanted = set(row_names or (row.name for row in ROWS.values() if row.is_default))
    wanted |= {"idle10k"} if is_big else set()
    wanted |= {ROWS[name].beside for name in wanted}
    return [row for row in ROWS.values() if row.name in wanted]


def failures(results: report.Results) -> list[str]:
    """The runs that gave no figure, one line each."""
    return [
        f"{row}, {name}: {run['failed']}"
        for row, by_name in results.items()
        for name, each in by_name.items()
        for run in each
        if "failed" in run
    ]


def summary(results: report.Results, about: dict[str, str], missing: Sequence[str]) -> str:
    """What is printed at the end."""
    found = report.figures(results)
    measured = [name for name in CONTENDERS if any(name in each for each in results.values())]
    lines = [*(f"{key}: {value}" for key, value in about.items())]
    lines += [f"not installed: {name}" for name in missing]
    lines += ["", report.cost_table(found, measured), "", report.rate_table(found, measured), ""]
    lines += [
        "±: half the distance between the extremes; *: with faults; others: the cores that something else had",
        f"(runs with more than {report.CALM} of them are left out where calmer ones exist).",
    ]
    return "\n".join(lines + [f"failed: {line}" for line in failures(results)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write.

    :returns: 1 if a run of ours has failed, else 0.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in OTHERS:
        return OTHERS[arguments[0]](arguments[1:])
    options = parser().parse_args(arguments)
    rows = chosen_rows(options.rows, options.big)
    contenders, missing = chosen_contenders(options.peers)
    processes.allow_descriptors(MOST_DESCRIPTORS)
    about = machine.description(contenders)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        Path(folder).chmod(0o755)  # for proxies that give up their privileges
        results = runs.rounds(rows, contenders, options.rounds, options.seconds, Path(folder), say)
    sys.stdout.write(summary(results, about, missing) + "\n")
    settings = {"rounds": options.rounds, "seconds": options.seconds}
    if options.json:
        document = {"about": about, "missing": missing, **settings, "runs": results}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.plot:
        title = f"{about['machine']}, {about['kernel']}, commit {about['commit']}, {about['date']}"
        drawn = [each.name for each in contenders]
        options.plot.write_text(plot.svg(report.figures(results), drawn, title))
    return int(any(f", {OURS}: " in line for line in failures(results)))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and so end what was started
    sys.exit(main())
