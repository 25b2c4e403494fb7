"""A private place for the neighbours' benchmark: a loopback, a hosts file and a name server of its own.

The program starts itself anew in namespaces of its own (unshare(1)), so that a name server can listen on
port 53, every proxy is made to ask it, and nothing outside notices. Who is not root becomes root of a
namespace of users, where the system allows that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.clients import LOOPBACK
from benchmarks.neighbour import KNOWN_NAME

INSIDE = "--inside"
_SIOCSIFFLAGS, _UP = 0x8914, 1

_CORES = sorted(os.sched_getaffinity(0))
"""What the program was started on. Inside :func:`on` the system names those of that block only."""

FILES = {
    "/etc/hosts": f"{LOOPBACK} localhost {KNOWN_NAME}\n",
    "/etc/resolv.conf": f"nameserver {LOOPBACK}\n",
    "/etc/nsswitch.conf": "hosts: files dns\npasswd: files\ngroup: files\n",
}
"""What stands in these files there."""


def _prefix() -> list[str]:
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return [shutil.which("unshare") or "", "--mount", "--net", *as_root]


def objection() -> str:
    """Why there can be no such place; "" if there can."""
    missing = [each for each in ("unshare", "mount") if not shutil.which(each)]
    missing += [each for each in FILES if not Path(each).is_file()]
    if missing:
        return f"it needs {' and '.join(missing)}"
    command = [*_prefix(), "mount", "--bind", "/etc/hosts", "/etc/hosts"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip()


def start_inside(arguments: Sequence[str]) -> None:
    """Become the program that :func:`objection` has nothing against, inside."""
    words = [sys.executable, "-m", "benchmarks", "neighbours", INSIDE, *arguments]
    os.execv(_prefix()[0], [*_prefix(), *words])


def furnish(folder: Path) -> None:
    """Bring the loopback up, and put the files into their places.

    :raises OSError: the system does not let us.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _UP))
    for path, text in FILES.items():
        (ours := folder / Path(path).name).write_text(text)
        subprocess.run(["mount", "--bind", str(ours), path], check=True)


def cores() -> tuple[set[int], set[int]]:
    """A core for the proxy, and those for everything else; the same one if there is no other."""
    return {_CORES[-1]}, set(_CORES[:-1] or _CORES)


@contextlib.contextmanager
def on(some: set[int]) -> Iterator[None]:
    """Start what is started in this block on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, some)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
