"""``python -m benchmarks extras``: what logs, logins, rules, limits, TLS and an upstream add to the cost of our proxy.

Each extra is measured beside the proxy without it, in the same round and with a fresh process each, and the order
changes from round to round. What counts is the difference within a round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, prepared, runs
from benchmarks.contenders import CONTENDERS, OURS, Contender
from benchmarks.options import names, positive, say
from benchmarks.report import CALM, aligned, list_table, number
from benchmarks.rows import ROWS, Row

USER, PASSWORD = "somebody", "right"


@dataclass(frozen=True, slots=True)
class Extra:
    """A way to run our proxy.

    :param name: what it is called on the command line.
    :param what: what it is called in the table.
    :param contender: the proxy.
    :param beside: the name of what it is compared with, or nothing.
    :param login: the clients', see :class:`benchmarks.loads.Order`.
    :param tls: whether they speak TLS.
    :param rows: the names of the rows that it is measured in.
    """

    name: str
    what: str
    contender: Contender
    beside: str = ""
    login: str = ""
    tls: bool = False
    rows: tuple[str, ...] = ("connrate",)


def _ours(*words: str) -> Contender:
    place = CONTENDERS[OURS].words
    return Contender(OURS, words if "--listen" in words else (*place, *words), module="socks5")


def _program(*words: str) -> Contender:
    return Contender("embedded", ("{port}", *words), module="benchmarks.embedded")


_RULED = """\
[listener.here]
address = "127.0.0.1"
port = {port}
[[rule]]
name = "here"
action = "allow"
networks = "127.0.0.0/8"
unguarded = true
"""
_UPSTREAM = """\
via = "beyond"
[upstream.beyond]
url = "socks5://127.0.0.1:{beyond}"
"""


def _from_file(config: str) -> Contender:
    return Contender(OURS, ("--config", "{config}"), module="socks5", config=config)


_TLS = _ours("--listen", "tls:{port}:interface=127.0.0.1:cert={folder}/tls.pem")
_ALL = ("connrate", "ping1", "down1")
_METERED = ("connrate", "down1", "down8", "ping64", "udp50")
_THROUGH = ("connrate", "ping64", "down1", "down8", "udp1", "udp50")
_ROWS = tuple(dict.fromkeys((*_ALL, *_METERED, *_THROUGH)))

EXTRAS = {
    each.name: each
    for each in (
        Extra("plain", "nothing", _ours(), rows=_ALL),
        Extra("log", "access log", _ours("--access-log", "{folder}/access.log"), "plain"),
        Extra(
            "users",
            "users: a login by password",
            _ours("--auth", "htpasswd:{folder}/users"),
            "plain",
            login=f"{USER}:{PASSWORD}",
        ),
        Extra("program", "nothing, in a program of one's own", _program(), rows=_METERED),
        Extra("rule", "an own rule", _program("rule"), "program"),
        Extra("sessions", "limits of sessions, not reached", _program("sessions"), "program"),
        Extra("rates", "limits of rates, not reached", _program("rates"), "program", rows=_METERED),
        Extra("tls", "TLS 1.3", _TLS, "plain", tls=True, rows=_ALL),
        Extra("file", "nothing, by a file with a rule", _from_file(_RULED), rows=_THROUGH),
        Extra("upstream", "an upstream", _from_file(_RULED + _UPSTREAM), "file", rows=_THROUGH),
    )
}
"""Every one by its name, in the order of the table."""

Results = dict[str, dict[str, list[runs.Run]]]
"""The runs by row and extra; the first of each are those of the first round, and so on."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What an extra adds in a row.

    :param cost: with it, the median, in the row's unit.
    :param adds: the median of what it adds within a round.
    :param part: the median of that as a part of the cost without it.
    :param least: of what it adds, and
    :param most: these are the extremes.
    :param pairs: rounds that count.
    """

    cost: float
    adds: float
    part: float
    least: float
    most: float
    pairs: int


def chosen(wanted: Sequence[str]) -> list[Extra]:
    """Those of that name and what they are compared with, in the order of the table."""
    all_names = {*wanted, *(EXTRAS[name].beside for name in wanted)}
    return [each for each in EXTRAS.values() if each.name in all_names]


def tasks(rows: Sequence[Row], extras: Sequence[Extra], turn: int) -> Iterator[tuple[Row, Extra]]:
    """What is measured in a round: row by row, and every round begins with another extra."""
    begin = turn % len(extras)
    for row in rows:
        for extra in (*extras[begin:], *extras[:begin]):
            if row.name in extra.rows:
                yield row, extra


def measure(
    rows: Sequence[Row], extras: Sequence[Extra], rounds: int, seconds: float, folder: Path
) -> Results:
    """All runs, in turns."""
    results: Results = {}
    with runs.target() as aim, runs.proxy(_ours(), folder) as (beyond, _):
        for turn in range(rounds):
            for row, each in tasks(rows, extras, turn):
                more = {"login": each.login, "tls": each.tls}
                run = runs.one(row, each.contender, seconds, folder, aim, beyond, **more)
                if run.get("faults"):
                    run = {"failed": f"{run['faults']} faults, {run['done']} done"}
                results.setdefault(row.name, {}).setdefault(each.name, []).append(run)
                outcome = run.get("failed") or f"{number(run['cost'])} {row.cost_unit}"
                say(f"{turn + 1}/{rounds} {row.name}, {each.what}: {outcome}")
    return results


def difference(
    without: Sequence[Mapping[str, Any]], having: Sequence[Mapping[str, Any]]
) -> Difference | None:
    """What an extra adds, or None if no round has both runs. Rounds that were disturbed count where no others are."""
    pairs = [
        (a, b)
        for a, b in zip(without, having, strict=True)
        if "failed" not in a and "failed" not in b
    ]
    calm = [pair for pair in pairs if max(run["others"] for run in pair) <= CALM] or pairs
    if not calm:
        return None
    added = [b["cost"] - a["cost"] for a, b in calm]
    return Difference(
        statistics.median(b["cost"] for _, b in calm),
        statistics.median(added),
        statistics.median(b["cost"] / a["cost"] - 1 for a, b in calm),
        min(added),
        max(added),
        len(calm),
    )


HEAD = ["Load", "With", "Cost", "Adds", "from", "to", "Adds, %", "Rounds"]


def table(results: Results) -> list[list[str]]:
    """The cells of the table, the first line its head. The lines without an extra have their cost alone."""
    lines = [HEAD]
    for row_name, by_name in results.items():
        for name, measured in by_name.items():
            extra, unit = EXTRAS[name], ROWS[row_name].cost_unit
            found = difference(by_name.get(extra.beside, measured), measured)
            head = [f"{row_name}, {unit.split('/')[0]}", extra.what]
            if found is None:
                lines.append([*head, *["not measured"] * 5, "0"])
                continue
            adds = [number(each) for each in (found.adds, found.least, found.most)]
            cells = [*adds, f"{100 * found.part:.1f}"] if extra.beside else ["-"] * 4
            lines.append([*head, number(found.cost), *cells, str(found.pairs)])
    return lines


def failures(results: Results) -> list[str]:
    """The runs that count nowhere, a line each."""
    return [
        f"{row}, {EXTRAS[name].what}: {run['failed']}"
        for row, by_name in results.items()
        for name, measured in by_name.items()
        for run in measured
        if "failed" in run
    ]


def others(results: Results) -> float:
    """The cores that something else had, in the median of the runs."""
    every = [run for by_name in results.values() for each in by_name.values() for run in each]
    return float(statistics.median([r["others"] for r in every if "failed" not in r] or [0.0]))


def rst(results: Results, measured: str) -> str:
    """What docs/performance.rst includes: the table, and what must be known of it.

    :param measured: when, and on what.
    """
    lines = [f"- Cores that something else had meanwhile: {number(others(results))} in the median"]
    lines += [f"- Counts nowhere: {each}" for each in failures(results)]
    return "\n".join([measured, "", list_table(table(results)), "", *lines]) + "\n"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks extras", description=__doc__)
    add = options.add_argument
    add("--rounds", type=int, default=7, help="times that all take their turn (%(default)s)")
    add("--seconds", type=positive, default=1.0, help="seconds of load in a run (%(default)s)")
    add("--extras", type=names(EXTRAS), default=[*EXTRAS], help=f"some of {','.join(EXTRAS)}")
    add("--rows", type=names(_ROWS), default=_ROWS, help=f"some of {','.join(_ROWS)}")
    add("--json", type=Path, metavar="FILE", help="write every run there")
    add("--rst", type=Path, metavar="FILE", help="write the table for the documents there")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write.

    :returns: 1 if a run has failed, else 0.
    """
    options = parser().parse_args(arguments)
    extras, missing = chosen(options.extras), []
    rows = [ROWS[name] for name in ROWS if name in options.rows]
    about = machine.description([CONTENDERS[OURS]])
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        prepared.users(folder, USER, PASSWORD)
        if not prepared.certificate(folder):
            missing = [each.what for each in extras if each.tls]
            extras = [each for each in extras if each.what not in missing]
        results = measure(rows, extras, options.rounds, options.seconds, folder)
    lines = [f"{key}: {value}" for key, value in about.items()]
    lines += [f"left out, for there is no openssl: {what}" for what in missing]
    lines += [
        "",
        aligned(table(results)),
        *(f"counts nowhere: {each}" for each in failures(results)),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    if options.json:
        document = {"about": about, "seconds": options.seconds, "runs": results}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.rst:
        measured = machine.sentence(about, options.rounds, options.seconds)
        options.rst.write_text(rst(results, measured))
    return int(bool(failures(results)))
