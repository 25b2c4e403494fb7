"""The load generator: a process that loads a proxy and reads from ``/proc`` what that costs it.

``python -m benchmarks.generator JSON`` opens the sessions, loads the proxy for a moment to warm it up,
and then measures between two instants while the load goes on, so that what is under way at the first is
made good by what is under way at the second. It prints one line of JSON. All sessions end with it.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass

from benchmarks.loads import LOADS, OPENING, Order, open_sessions, visit_once
from benchmarks.loop import Loop
from benchmarks.processes import cpu_seconds, machine_seconds, memory_kib
from benchmarks.rows import ROWS, Row

WARMING = 0.2
"""Seconds of load before the first look."""

SETTLING = 0.3
"""Seconds between the last session and a look at the memory."""


@dataclass(frozen=True, slots=True)
class Instant:
    """Counters at one instant, in seconds but for what was done."""

    done: int
    seconds: float
    cpu: float
    load: float
    machine: float

    @classmethod
    def now(cls, loop: Loop, order: Order) -> Instant:
        """Read them all."""
        load = time.process_time() + cpu_seconds(order.target_pid)
        machine = machine_seconds()
        return cls(loop.done, time.monotonic(), cpu_seconds(order.proxy_pid), load, machine)

    def until(self, later: Instant) -> dict[str, float]:
        """The differences, and as ``others`` the cores that neither proxy nor load had."""
        names = asdict(self)
        gone = {name: getattr(later, name) - getattr(self, name) for name in names}
        others = gone.pop("machine") - gone.pop("load") - gone["cpu"]
        return gone | {"others": max(0.0, others) / gone["seconds"]}


def measure_load(loop: Loop, order: Order, row: Row) -> dict[str, float]:
    """Load the proxy, and what it did and took meanwhile."""
    LOADS[row.load](loop, order, row)
    loop.run(min(WARMING, order.seconds))
    first = Instant.now(loop, order)
    loop.run(order.seconds)
    return first.until(Instant.now(loop, order))


def measure_memory(loop: Loop, order: Order, row: Row) -> dict[str, float]:
    """Establish sessions that then do nothing, and how much memory the proxy has grown by."""
    first, before = Instant.now(loop, order), memory_kib(order.proxy_pid)
    opened = open_sessions(loop, order, row, "echo")
    time.sleep(SETTLING)
    grown = memory_kib(order.proxy_pid) - before
    loop.faults = row.sessions - len(opened)
    return first.until(Instant.now(loop, order)) | {"done": len(opened), "kib": grown}


def main() -> None:
    """Carry out the order of the command line."""
    order = Order(**json.loads(sys.argv[1]))
    row, loop = ROWS[order.row], Loop()
    signal.alarm(int(OPENING + order.seconds) + 30)
    gc.disable()
    if order.login or order.tls:  # so that the proxy remembers the password
        visit_once(loop, order)
    result = (measure_memory if row.is_memory else measure_load)(loop, order, row)
    sys.stdout.write(json.dumps(result | {"faults": loop.faults}) + "\n")


if __name__ == "__main__":
    main()
