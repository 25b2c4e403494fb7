"""Runs of the benchmarks: made up, and real ones that are short."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmarks need Linux")


def run(cost: float, others: float = 0.0, faults: int = 0) -> dict[str, Any]:
    """A run that gave a figure."""
    return {"cost": cost, "rate": 1e6 / cost, "others": others, "faults": faults}


def measured(directory: Path, *words: str) -> tuple[Any, str]:
    """The runs that a command writes, and its output."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words, "--seconds", "0.2", "--json", "runs.json"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    return json.loads((directory / "runs.json").read_text())["runs"], done.stdout
