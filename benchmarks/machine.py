"""On what the figures were measured: machine, kernel, versions, and the project's commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.contenders import Contender, output_of

ROOT = Path(__file__).resolve().parent.parent


def processor() -> str:
    """The processor's name, as far as Linux knows."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def commit() -> str:
    """The project's git commit, marked if the work tree differs from it."""
    git = ["git", "-C", str(ROOT)]
    found = output_of([*git, "rev-parse", "--short=10", "HEAD"])
    if not found:
        return "unknown"
    return f"{found}, changed" if output_of([*git, "status", "--porcelain"]) else found


def description(contenders: Sequence[Contender]) -> dict[str, str]:
    """All of it, by name. No path and no name of the machine."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": f"{os.cpu_count()} x {processor()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "twisted": importlib.metadata.version("twisted"),
        "commit": commit(),
        **{each.name: each.version for each in contenders},
    }


def sentence(about: Mapping[str, str], rounds: int, seconds: float) -> str:
    """The description for the documents: when, with what code, on what, and how often."""
    known = {"date", "machine", "kernel", "python", "twisted", "commit"}
    versions = "".join(f", {name} {each}" for name, each in about.items() if name not in known)
    return (
        f"Measured on {about['date']} with the code of commit {about['commit']}: {about['machine']},"
        f" {about['kernel']}, {about['python']}, Twisted {about['twisted']}{versions};"
        f" {rounds} interleaved rounds, {seconds:g} s of each load, medians."
    )
