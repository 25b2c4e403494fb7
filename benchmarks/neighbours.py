"""``python -m benchmarks neighbours``: how long a well-behaved client waits beside one that is not.

The proxy has a core of its own. A neighbour (:mod:`benchmarks.neighbour`) does the same all the time, beside
one bully after the other, each from another address and with a fresh process of the proxy. What it waits for,
and what it waits for in vain, is what the proxy lets one client do to another.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import machine, prepared, private, processes, runs, waits
from benchmarks.bully import POLITENESS
from benchmarks.bullying import BULLIES, Aim, Bully
from benchmarks.contenders import CONTENDERS, OURS, Contender
from benchmarks.neighbour import PASSWORD, USER, USERS, Task
from benchmarks.options import MOST_DESCRIPTORS, PEERS, names, say

NEIGHBOUR, BULLY = "127.0.0.2", "127.0.0.3"
"""Where they come from; the proxy and the target are on 127.0.0.1."""

WARMING = 1.5
"""Seconds that a bully has for opening what it holds."""

Say = Callable[[str], object]


def _as_needed(contender: Contender, each: Bully, other: int) -> Contender:
    """The contender, to be started as the bully needs it."""
    if not each.words:
        return contender
    words = [word.replace("{other}", str(other)) for word in each.words]
    return replace(contender, words=tuple(words))


def takes_part_in(contender: Contender, each: Bully) -> bool:
    """Whether a proxy can be measured beside this bully."""
    serves_datagrams = "datagrams" not in contender.cannot
    is_ours = contender.name == OURS
    return (is_ours or not each.words) and (serves_datagrams or not each.has_datagrams)


@contextlib.contextmanager
def _process(words: Sequence[str], **streams: Any) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", *words]
    process = subprocess.Popen(command, env=runs.environment(), text=True, **streams)
    try:
        yield process
    finally:
        processes.end(process)


_PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


@contextlib.contextmanager
def name_server() -> Iterator[None]:
    """The name server for the length of the block.

    :raises RunFailed: it does not start.
    """
    with _process(["benchmarks.nameserver"], **_PIPES) as process:
        if process.stdout is None or not process.stdout.readline():
            raise runs.RunFailed("no name server")
        yield


def _waits(task: Task, each: Bully, aim: Aim, pid: int) -> dict[str, Any]:
    """What the neighbour of one bully waits for.

    :raises RunFailed: the proxy does not even serve it alone, or it came to nothing.
    """
    with _process(["benchmarks.neighbour", json.dumps(asdict(task))], **_PIPES) as neighbour:
        assert neighbour.stdin is not None
        assert neighbour.stdout is not None
        if not neighbour.stdout.readline():
            raise runs.RunFailed("the proxy does not serve the neighbour")
        with _process(["benchmarks.bully", each.name, json.dumps(asdict(aim))]) as bully:
            time.sleep(min(WARMING, task.seconds))
            first = _spent(pid)
            neighbour.stdin.write("go\n")
            neighbour.stdin.flush()
            line = neighbour.stdout.readline()
            seconds, cpu, others = (b - a for a, b in zip(first, _spent(pid), strict=True))
            if not line or bully.poll() is not None:
                raise runs.RunFailed("the neighbour failed" if not line else "the bully ended")
    return {"waits": json.loads(line), "cpu": cpu / seconds, "others": max(0.0, others) / seconds}


def _spent(pid: int) -> tuple[float, float, float]:
    """Seconds: of the clock, of the proxy's processor time, and of what is none of us."""
    others = processes.machine_seconds() - processes.cpu_seconds(os.getpid())
    return time.monotonic(), processes.cpu_seconds(pid), others


Target = dict[str, int]
"""A target's ports."""


def one(
    contender: Contender, each: Bully, seconds: float, folder: Path, targets: tuple[Target, Target]
) -> runs.Run:
    """One run, on a fresh process of the proxy. A failure is a result too.

    :param targets: the neighbour's and the bully's, so that no queue of a target is shared.
    """
    proxy_core, _others = private.cores()
    other = runs.free_port()
    started_so = _as_needed(contender, each, other)
    has_datagrams = "datagrams" not in contender.cannot
    try:
        with contextlib.ExitStack() as stack:
            with private.on(proxy_core):
                port, pid = stack.enter_context(runs.proxy(started_so, folder))
            target, bullys = targets
            task = Task(NEIGHBOUR, port, target, seconds, has_datagrams, each.has_logins)
            return _waits(task, each, Aim(BULLY, port, other, bullys), pid)
    except runs.RunFailed as failure:
        return {"failed": str(failure)}


def measure(
    contenders: Sequence[Contender],
    bullies: Sequence[Bully],
    seconds: float,
    folder: Path,
    say: Say,
) -> dict[str, dict[str, runs.Run]]:
    """All runs.

    :returns: the runs by contender and bully.
    """
    results: dict[str, dict[str, runs.Run]] = {each.name: {} for each in contenders}
    with runs.target() as (target, _), runs.target() as (bullys, pid), name_server():
        os.setpriority(os.PRIO_PROCESS, pid, POLITENESS)
        for bully in bullies:
            for contender in (each for each in contenders if takes_part_in(each, bully)):
                run = one(contender, bully, seconds, folder, (target, bullys))
                results[contender.name][bully.name] = run
                say(f"{bully.name}, {contender.name}: {waits.line(run)}")
    return results


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks neighbours", description=__doc__)
    add = options.add_argument
    add("--seconds", type=float, default=3.0, help="seconds beside each bully (%(default)s)")
    add("--bullies", type=names(BULLIES), default=[*BULLIES], help=f"some of {','.join(BULLIES)}")
    add("--peers", default="", help=f"some of {','.join(PEERS)}; none unless asked for")
    add("--json", type=Path, metavar="FILE", help="write every wait there")
    add("--rst", type=Path, metavar="FILE", help="write the table for docs/security.rst there")
    add(private.INSIDE, action="store_true", help=argparse.SUPPRESS)
    return options


def chosen(wanted_names: Sequence[str]) -> list[Bully]:
    """The bullies of that name, and the quiet runs that they are compared with."""
    wanted = [each for each in BULLIES.values() if each.name in wanted_names]
    quiet = {waits.QUIET_WITH_LOGINS if each.has_logins else waits.QUIET for each in wanted}
    return [each for each in BULLIES.values() if each in wanted or each.name in quiet]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write.

    :returns: 1 if a run of ours has failed, else 0; 0 where nothing can be measured, which is said.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    if not options.inside:
        if objection := private.objection():
            sys.stderr.write(f"neighbours: left out, no private namespaces here: {objection}\n")
            return 0
        private.start_inside(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and so end what was started
    contenders = [CONTENDERS[name] for name in (OURS, *options.peers.split(",")) if name]
    processes.allow_descriptors(MOST_DESCRIPTORS)
    about = machine.description(contenders)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # for proxies that give up their privileges
        private.furnish(folder)
        prepared.users(folder, USER, PASSWORD, USERS)
        prepared.certificate(folder)  # where there is none, TLS fails: see :func:`chosen`
        with private.on(private.cores()[1]):
            results = measure(contenders, chosen(options.bullies), options.seconds, folder, say)
    sys.stdout.write(waits.summary(results, about) + "\n")
    if options.json:
        document = {"about": about, "seconds": options.seconds, "runs": results}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.rst:
        options.rst.write_text(waits.rst(results[OURS]))
    return int(any("failed" in run for run in results[OURS].values()))
