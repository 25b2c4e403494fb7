"""The table of docs/architecture.rst: a module imports from its own folder, and from the folders that the table names.

This table is the house. A new module belongs into one of its rooms.
"""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "socks5"

ROOT = "the root"

CONTRACTS = {"protocol", ROOT}

FOLDERS = {
    "protocol": set[str](),
    ROOT: {"protocol"},
    "net": CONTRACTS,
    "auth": CONTRACTS,
    "policy": CONTRACTS,
    "observe": CONTRACTS,
    "relay": CONTRACTS | {"net"},
    "outbound": CONTRACTS | {"net"},
    "server": CONTRACTS | {"net", "auth", "policy", "relay", "outbound"},
    "app": CONTRACTS | {"net", "auth", "policy", "relay", "outbound", "server", "observe"},
}
"""From which other folders the modules of each may import."""

DOORS = {"__init__", "__main__"}
"""They offer what the folders define; no module imports from them."""

PURE_MAY_IMPORT = sys.stdlib_module_names | {"typing_extensions"}  # the latter for `override`


def module_name(path: Path, package: Path) -> str:
    """``socks5/relay/pipes.py`` is "relay.pipes", ``socks5/auth/__init__.py`` "auth", the package "__init__"."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1]) if len(parts) > 1 and parts[-1] == "__init__" else ".".join(parts)


def folder_of(module: str) -> str:
    """Where a module stands: its folder, "the root", or "a door"."""
    if module in DOORS:
        return "a door"
    folder, dot, _ = module.partition(".")
    return folder if dot or (PACKAGE / folder).is_dir() else ROOT


def imports(source: str, package: Path, folder: Path) -> Iterator[str]:
    """Yield the full name of everything a module imports, inside functions and ``TYPE_CHECKING`` too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = [package.name, *folder.relative_to(package).parts]
            base = above[: len(above) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def own_module(full_name: str, package: Path) -> str:
    """Return which module of the package an imported name lives in; the package's door if in none other."""
    parts = full_name.split(".")[1:]
    for length in range(len(parts), 0, -1):
        path = package.joinpath(*parts[:length])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            return ".".join(parts[:length])
    return "__init__"


def graph_of(package: Path) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Return, for each module, which own modules and which foreign names it imports."""
    own: dict[str, set[str]] = {}
    foreign: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        names = set(imports(path.read_text(), package, path.parent))
        ours = {name for name in names if name.split(".")[0] == package.name}
        module = module_name(path, package)
        own[module] = {own_module(name, package) for name in ours} - {module}
        foreign[module] = names - ours
    return own, foreign


def complaints(package: Path) -> list[str]:
    """Return one sentence for each thing in the package that the table does not allow."""
    own, foreign = graph_of(package)
    return [
        sentence
        for module in own
        for sentence in [
            *place_complaints(module),
            *(each for other in sorted(own[module]) for each in import_complaints(module, other)),
            *foreign_complaints(module, foreign[module]),
        ]
    ] + circle_complaints(own)


def place_complaints(module: str) -> Iterator[str]:
    if module not in DOORS and folder_of(module) not in FOLDERS:
        yield f"{module} stands in a folder that is not in the table, nor in docs/architecture.rst"


def import_complaints(module: str, other: str) -> Iterator[str]:
    here, there = folder_of(module), folder_of(other)
    if other in DOORS:
        yield f"{module} imports from the door {other} instead of the module that defines the name"
    elif module == "__init__":
        if there == "app":
            yield f"the package's door imports {other}"
    elif here in FOLDERS and there != here and there not in FOLDERS[here]:
        yield f"{module} imports {other}: {here} may not import {there}"


def foreign_complaints(module: str, foreign: set[str]) -> Iterator[str]:
    folder = folder_of(module)
    if folder == "protocol":
        for package in sorted({name.split(".")[0] for name in foreign} - PURE_MAY_IMPORT):
            yield f"{module} is pure and imports {package}"
    if "twisted.internet.reactor" in foreign and folder != "app":
        yield f"{module} imports the reactor"


def circle_complaints(own: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(own).prepare()
    except graphlib.CycleError as error:
        return ["a circle: " + " imports ".join(reversed(error.args[1]))]
    return []


def test_every_import_is_one_that_the_table_allows() -> None:
    assert complaints(PACKAGE) == []


def test_the_table_has_every_folder() -> None:
    folders = {folder_of(module_name(path, PACKAGE)) for path in PACKAGE.rglob("*.py")}
    assert folders - {"a door"} == set(FOLDERS)


@pytest.mark.parametrize(
    ("module", "source", "sentence"),
    [
        ("cellar.wine", "", "cellar.wine stands in a folder that is not in the table"),
        ("relay.relay", "from socks5.server.session import X", "relay may not import server"),
        (
            "relay.relay",
            "def f():\n    from ..server import session",
            "relay may not import server",
        ),
        ("net.poller", "from socks5.policy import bans", "net may not import policy"),
        ("settings", "import socks5.net.poller", "the root may not import net"),
        ("relay.relay", "from socks5 import ServerFactory", "imports from the door __init__"),
        ("protocol.errors", "from twisted.python import log", "errors is pure and imports twisted"),
        ("net.poller", "from twisted.internet import reactor", "net.poller imports the reactor"),
        ("protocol.errors", "from .networks import packed", "a circle: "),
        ("__init__", "from socks5.app.options import Options", "the package's door imports app"),
    ],
)
def test_a_breach_is_named(tmp_path: Path, module: str, source: str, sentence: str) -> None:
    package = tmp_path / "socks5"
    files = [
        *("__init__", "settings", "protocol.errors", "protocol.networks", "net.poller"),
        *("policy.bans", "relay.relay", "server.session", "app.options", "cellar.wine"),
    ]
    for name in files:
        place = package.joinpath(*name.split("."))
        place.parent.mkdir(parents=True, exist_ok=True)
        if name != "cellar.wine" or module == name:
            place.with_suffix(".py").touch()
    (package / "protocol/networks.py").write_text("from .errors import SOCKSError\n")
    before = [] if module == "cellar.wine" else complaints(package)
    assert before == []
    with package.joinpath(*module.split(".")).with_suffix(".py").open("a") as file:
        file.write(source)
    assert any(sentence in each for each in complaints(package))
