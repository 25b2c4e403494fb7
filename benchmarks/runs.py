"""One run: a fresh process of a proxy, a load, and what came of it. And many runs, in turns."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.contenders import Contender
from benchmarks.loads import OPENING
from benchmarks.loop import LOOPBACK
from benchmarks.rows import Row

ROOT = Path(__file__).resolve().parent.parent
PORTS = range(20_000, 32_000)
"""Below those that Linux hands out by itself, so that nothing takes one by chance."""

STARTING = 10.0
"""Seconds for a proxy to listen."""

Run = dict[str, Any]
"""What one run gave: ``cost``, ``rate``, ``others`` and more; or ``failed`` and why."""


class RunFailed(Exception):
    """A run that gives no figure, and why."""


def free_port() -> int:
    """A port that nobody uses now, neither for TCP nor for UDP."""
    for port in random.sample(PORTS, 200):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                stack.enter_context(socket.socket(socket.AF_INET, kind)).bind((LOOPBACK, port))
            return port
    raise RunFailed("no free port")


def environment() -> dict[str, str]:
    """What a process of ours needs to find the others' modules."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


@contextlib.contextmanager
def proxy(contender: Contender, folder: Path, beyond: int = 0) -> Iterator[tuple[int, int]]:
    """A proxy for the length of the block: its port and its process.

    :param beyond: the port of the proxy behind it, if it has one.
    :raises RunFailed: it does not listen.
    """
    port = free_port()
    with (folder / f"{contender.name}.log").open("wb") as log:
        process = subprocess.Popen(
            contender.command(port, folder, beyond),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(),
            start_new_session=True,  # so that all its processes can be told from others
        )
    try:
        _await_listening(process, port, Path(log.name))
        yield port, process.pid
    finally:
        processes.end(process)


def _await_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection((LOOPBACK, port), 1).close()
            return
        time.sleep(0.02)
    raise RunFailed(f"it does not listen: {log.read_text(errors='replace')[-300:].strip()}")


@contextlib.contextmanager
def target() -> Iterator[tuple[dict[str, int], int]]:
    """The target for the length of the block: its ports and its process."""
    command = [sys.executable, "-m", "benchmarks.target"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(), **pipes) as process:  # type: ignore[call-overload]
        try:
            yield json.loads(process.stdout.readline()), process.pid
        finally:
            process.stdin.close()


def generate(order: dict[str, Any], module: str = "benchmarks.generator") -> Run:
    """Let a load generator carry out an order.

    :raises RunFailed: it came to nothing.
    """
    command = [sys.executable, "-m", module, json.dumps(order)]
    try:
        done = subprocess.run(
            command,
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=order["seconds"] + OPENING + 60,
        )
        return dict(json.loads(done.stdout))
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:]
        raise RunFailed(f"the load ended with {error.returncode} {''.join(last)}") from None
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise RunFailed(f"the load came to nothing: {error}") from None


def priced(row: Row, counted: Run) -> Run:
    """Add the cost and the rate to what was counted.

    :raises RunFailed: nothing was done.
    """
    if not counted["done"]:
        raise RunFailed(f"nothing was done, {counted['faults']} faults")
    spent = counted["kib"] if row.is_memory else counted["cpu"]
    rate = counted["done"] * row.rate_per
    rate = rate if row.is_memory else rate / counted["seconds"]
    return counted | {"cost": spent * row.per / counted["done"], "rate": rate}


def one(
    row: Row,
    contender: Contender,
    seconds: float,
    folder: Path,
    aim: Any,
    beyond: int = 0,
    **more: Any,
) -> Run:
    """One run, on a fresh process of the proxy. A failure is a result too.

    :param beyond: the port of the proxy behind it, if it has one.
    :param more: what else an order says.
    """
    ports, target_pid = aim
    order = {"row": row.name, "seconds": seconds, "target": ports, "target_pid": target_pid} | more
    try:
        with proxy(contender, folder, beyond) as (port, pid):
            return priced(row, generate(order | {"proxy": port, "proxy_pid": pid}))
    except RunFailed as failure:
        return {"failed": str(failure)}


def rounds(
    rows: Sequence[Row],
    contenders: Sequence[Contender],
    count: int,
    seconds: float,
    folder: Path,
    say: Callable[[str], object],
) -> dict[str, dict[str, list[Run]]]:
    """All runs, in turns: each round measures every contender once in every row.

    :returns: the runs by row and contender.
    """
    results: dict[str, dict[str, list[Run]]] = {row.name: {} for row in rows}
    with target() as aim:
        for number in range(1, count + 1):
            for row in rows:
                for contender in (each for each in contenders if each.takes_part_in(row)):
                    run = one(row, contender, seconds, folder, aim)
                    results[row.name].setdefault(contender.name, []).append(run)
                    outcome = run.get("failed") or f"{run['cost']:.4g} {row.cost_unit}"
                    say(f"{number}/{count} {row.name} {contender.name}: {outcome}")
    return results
