"""The load generator of :mod:`benchmarks.growth`: what a proxy takes while it has many sessions.

``python -m benchmarks.growing JSON`` has the proxy establish them, looks at its memory, has a fixed number of
them exchange messages while the others are silent, and then has clients connect beside them. It prints one line
of JSON with what was counted for each :data:`PARTS`. All sessions end with it.
"""

from __future__ import annotations

import gc
import json
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.generator import WARMING, Instant
from benchmarks.loads import OPENING, Order, connections, open_sessions, ping, visit_once
from benchmarks.loop import Loop
from benchmarks.processes import cpu_seconds, memory_kib
from benchmarks.rows import ROWS, Row

ACTIVE = 64
"""Sessions that exchange messages, if there are so many."""

PARTS = {
    "memory": ROWS["idle"],
    "message": ROWS[f"ping{ACTIVE}"],
    "connection": ROWS["connrate"],
}
"""What is measured, and the rows of the large table whose units it has."""

QUIET = 0.3
"""Seconds without a tick of processor time, after which the proxy has done what it does by itself."""

PATIENCE = 10.0


def settle(pid: int) -> None:
    """Wait until a proxy is quiet: its workers have started, what ended is gone."""
    before, since = cpu_seconds(pid), time.monotonic()
    end = since + PATIENCE
    while since + QUIET > (now := time.monotonic()) and now < end:
        time.sleep(QUIET / 6)
        if (spent := cpu_seconds(pid)) != before:
            before, since = spent, time.monotonic()


def _between(first: Instant, loop: Loop, order: Order, **more: Any) -> dict[str, Any]:
    faults, loop.faults = loop.faults, 0
    return first.until(Instant.now(loop, order)) | {"faults": faults} | more


def _memory(
    loop: Loop, order: Order, silent: Order, count: int
) -> tuple[dict[str, Any], list[socket.socket], list[socket.socket]]:
    """Have sessions established: how much the memory has grown, the active ones, and the silent ones."""
    visit_once(loop, order)
    settle(order.proxy_pid)
    first, before = Instant.now(loop, order), memory_kib(order.proxy_pid)
    active = min(ACTIVE, count)
    others = open_sessions(loop, silent, _so_many(count - active), "echo")
    talking = open_sessions(loop, order, _so_many(active), "echo")
    settle(order.proxy_pid)
    grown = memory_kib(order.proxy_pid) - before
    done = len(talking) + len(others)
    loop.faults += count - done - loop.faults  # those that have not come about in time, too
    return _between(first, loop, order, done=done, kib=grown, base=before), talking, others


def _so_many(sessions: int) -> Row:
    return replace(PARTS["memory"], sessions=sessions)


def _measured(loop: Loop, order: Order) -> dict[str, Any]:
    loop.run(min(WARMING, order.seconds))
    first = Instant.now(loop, order)
    loop.run(order.seconds)
    return _between(first, loop, order)


def _messages(loop: Loop, order: Order, talking: Sequence[socket.socket]) -> dict[str, Any]:
    ping(loop, talking, PARTS["message"].size)
    counted = _measured(loop, order)
    for sock in talking:
        loop.forget(sock)
    return counted


def main() -> None:
    """Carry out the order of the command line."""
    words = json.loads(sys.argv[1])
    count, others = words.pop("sessions"), words.pop("others_target")
    order, loop = Order(row="", **words), Loop()
    signal.alarm(int(2 * OPENING + 2 * PATIENCE + 2 * order.seconds) + 30)
    gc.disable()
    memory, talking, silent = _memory(loop, order, replace(order, target=others), count)
    result = {"memory": memory, "message": _messages(loop, order, talking)}
    connections(loop, order, PARTS["connection"])
    result["connection"] = _measured(loop, order)
    sys.stdout.write(json.dumps(result | {"silent": len(silent)}) + "\n")


if __name__ == "__main__":
    main()
