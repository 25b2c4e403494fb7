"""From a neighbour's waits to figures: percentiles, goals, and the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.bullying import BULLIES, Bully
from benchmarks.report import aligned, list_table, number

QUIET, QUIET_WITH_LOGINS = "alone", "alone-logins"
"""The runs beside nobody."""

MOST = 0.1
"""Seconds that a bully may make a neighbour wait, at the 99th percentile."""

MOST_BESIDE_IDLE, TIMES_BESIDE_IDLE = 0.02, 3
"""The same of one that needs no processor time: so many seconds, or so many times what it is alone."""

KINDS = {"session": "", "datagram": "", "login": ", a password not remembered"}
"""What a neighbour does, and how a bully's line says so."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What one kind of thing took.

    :param count: how many there were.
    :param failures: how many of them came to nothing.
    :param p50: the median, in seconds.
    :param p99: what 99 of 100 did not exceed.
    """

    count: int
    failures: int
    p50: float
    p99: float


def percentile(ordered: Sequence[float], part: float) -> float:
    """The value that this part of them does not exceed; infinite without any."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("inf")


def wait_of(run: Mapping[str, Any], kind: str) -> Wait | None:
    """What one kind of thing took in a run; None if it was not done."""
    found = run.get("waits", {}).get(kind)
    if found is None:
        return None
    seconds, failures = found["seconds"], sum(found["failures"].values())
    return Wait(
        len(seconds) + failures, failures, percentile(seconds, 0.5), percentile(seconds, 0.99)
    )


def goal(bully: Bully, kind: str, runs: Mapping[str, Mapping[str, Any]]) -> float:
    """Seconds that the 99th percentile may be beside this bully."""
    quiet = wait_of(runs.get(QUIET_WITH_LOGINS if bully.has_logins else QUIET, {}), kind)
    if bully.is_idle:
        return max(MOST_BESIDE_IDLE, TIMES_BESIDE_IDLE * quiet.p99 if quiet else 0.0)
    # A password that is not remembered waits for the hash under way and for its own.
    return MOST + (2 * quiet.p50 if quiet and kind == "login" else 0.0)


def _milliseconds(seconds: float) -> str:
    return "-" if seconds == float("inf") else number(seconds * 1000)


def _cells(wait: Wait | None) -> list[str]:
    return ["-", "-"] if wait is None else [_milliseconds(wait.p50), _milliseconds(wait.p99)]


def missed(bully: Bully, runs: Mapping[str, Mapping[str, Any]], kinds: Sequence[str]) -> list[str]:
    """What of these kinds does not hold beside a bully: failures, or waits that are too long."""
    found = {kind: wait_of(runs[bully.name], kind) for kind in kinds}
    wrong = ["failures"] if any(wait and wait.failures for wait in found.values()) else []
    for kind, wait in found.items():
        if wait and wait.p99 > goal(bully, kind, runs):
            wrong.append(f"{kind}s over {_milliseconds(goal(bully, kind, runs))}")
    return wrong


def rows(runs: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """The table's lines: bully, failures, waits, cores of the proxy and of others, what was missed."""
    lines = []
    for name, run in runs.items():
        bully = BULLIES[name]
        if "failed" in run:
            lines.append([bully.what, *"-------", str(run["failed"])[:40]])
            continue
        cores = [f"{run['cpu']:.2f}", f"{run['others']:.2f}"]
        session, datagram, login = (wait_of(run, kind) for kind in KINDS)
        failures = sum(each.failures for each in (session, datagram) if each)
        waits = [*_cells(session), *_cells(datagram)]
        wrong = ", ".join(missed(bully, runs, ("session", "datagram"))) or "yes"
        lines.append([bully.what, str(failures), *waits, *cores, wrong])
        if login:
            wrong = ", ".join(missed(bully, runs, ("login",))) or "yes"
            what = bully.what + KINDS["login"]
            lines.append([what, str(login.failures), *_cells(login), "-", "-", *cores, wrong])
    return lines


HEAD = [
    "Beside",
    "failed",
    "session p50",
    "p99",
    "datagram p50",
    "p99",
    "cores",
    "others",
    "goal met",
]


def line(run: Mapping[str, Any]) -> str:
    """One run on a line."""
    if "failed" in run:
        return str(run["failed"])
    parts = []
    for kind in KINDS:
        if wait := wait_of(run, kind):
            reasons = run["waits"][kind]["failures"] or ""
            waited = "/".join(_cells(wait))
            parts.append(f"{kind} {waited} ms, {wait.failures} of {wait.count} failed {reasons}")
    return "; ".join(part.strip() for part in parts) + f"; {run['cpu']:.2f} cores"


def summary(
    results: Mapping[str, Mapping[str, Mapping[str, Any]]], about: Mapping[str, str]
) -> str:
    """What is printed at the end: waits in milliseconds."""
    lines = [f"{key}: {value}" for key, value in about.items()]
    for name, found in results.items():
        lines += ["", f"{name} (ms)", aligned([HEAD, *rows(found)])]
    return "\n".join(lines)


def rst(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """The table as docs/security.rst has it."""
    return list_table([HEAD, *rows(runs)], ":widths: 36 8 9 8 9 8 6 6 10") + "\n"
