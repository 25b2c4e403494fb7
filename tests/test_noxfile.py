"""What runs on another reactor, too."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROCESSES = ("tests/interop/", "tests/process/")
"""What is tested there has a reactor of its own."""


def test_what_meets_a_reactor_meets_the_other_one() -> None:
    module = ast.parse((ROOT / "noxfile.py").read_text())
    places = [
        ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MEETS_A_REACTOR"
    ]
    for path in (ROOT / "tests").rglob("test_*.py"):
        meets = {"import pytest_twisted", "from twisted.internet import reactor"} & {
            line.strip() for line in path.read_text().splitlines()
        }
        where = path.relative_to(ROOT).as_posix()
        assert not meets or where.startswith((*places[0], *PROCESSES)), where
    assert all((ROOT / place).exists() for place in places[0])
