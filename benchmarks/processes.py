"""What Linux says of processes: processor time and memory of a process and all below it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_BUSY = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal; guests are in user


def _table() -> Iterator[tuple[int, int, int, float, bool]]:
    """Each process there is: its id, its parent's, its session's, its seconds, and whether it lives.

    The seconds include those of children that have ended and were waited for.
    """
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile
            stat = Path(entry.path, "stat").read_text()
            fields = stat[stat.rindex(")") + 2 :].split()
            ticks = sum(int(field) for field in fields[11:15])
            parent, session, lives = int(fields[1]), int(fields[3]), fields[0] not in "ZX"
            yield int(entry.name), parent, session, ticks / _TICKS, lives


def family(root: int, with_dead: bool = True) -> dict[int, float]:
    """The seconds of a process and of all that descend from it or belong to its session, by id.

    :param with_dead: also those that have ended and that nobody has waited for yet.
    """
    table = list(_table())
    members = {pid for pid, _, session, *_ in table if root in (pid, session)}
    grown = True
    while grown:
        more = {pid for pid, parent, *_ in table if parent in members and pid not in members}
        members |= more
        grown = bool(more)
    return {
        pid: seconds
        for pid, _, _, seconds, lives in table
        if pid in members and (lives or with_dead)
    }


def cpu_seconds(root: int) -> float:
    """Processor time that a process and all below it have taken, user and system."""
    return sum(family(root).values())


def memory_kib(root: int) -> float:
    """Proportional share (PSS) of the memory of a process and all below it, without pages of files.

    Those are code, mostly, and the share of it changes with every Python that starts or ends elsewhere.

    :raises OSError: the system does not let us know.
    """
    total = 0
    for pid in family(root):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
            kib = {key: int(amount) for key, amount, _ in (line.split() for line in lines)}
            total += kib["Pss:"] - kib.get("Pss_File:", 0)
    return total


def free_kib() -> int:
    """Memory that there is for more, without swapping."""
    lines = (_PROC / "meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def machine_seconds() -> float:
    """Processor time that everything on this machine has taken, and what the host withheld."""
    fields = (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(fields[i]) for i in _BUSY) / _TICKS


def end(process: subprocess.Popen[bytes], patience: float = 3.0) -> None:
    """End a process and all below it: politely, and after *patience* seconds not so."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        members = family(process.pid)
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            process.poll()  # a child that nobody waits for would stay in the table
            if process.returncode is not None and not family(process.pid, with_dead=False):
                return
            time.sleep(0.02)


def allow_descriptors(count: int) -> None:
    """Let this process and those it starts open *count* files, or as many as they may."""
    limit = resource.RLIMIT_NOFILE
    soft, hard = resource.getrlimit(limit)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard == resource.RLIM_INFINITY or hard >= count:
        resource.setrlimit(limit, (count, hard))
        return
    try:
        resource.setrlimit(limit, (count, count))
    except (OSError, ValueError):  # only root may raise the hard limit
        resource.setrlimit(limit, (hard, hard))
