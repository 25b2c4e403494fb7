"""The table of docs/architecture.rst: a module imports from its own folder, and from the folders that the table names.

This table is the house. A new module belongs into one of its rooms.
"""

import graphlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DRAWING = Path(__file__).resolve().parent.parent / "docs/_ext/rooms.py"
SPECIFICATION = importlib.util.spec_from_file_location("rooms", DRAWING)
assert SPECIFICATION is not None
assert SPECIFICATION.loader is not None
rooms = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(rooms)
folder_of, graph_of, module_name = rooms.folder_of, rooms.graph_of, rooms.module_name
PACKAGE: Path = rooms.PACKAGE
ROOT: str = rooms.ROOT
DOORS: set[str] = rooms.DOORS

CONTRACTS = {"protocol", ROOT}

FOLDERS = {
    "protocol": set[str](),
    ROOT: {"protocol"},
    "net": CONTRACTS,
    "auth": CONTRACTS,
    "policy": CONTRACTS,
    "observe": CONTRACTS,
    "relay": CONTRACTS | {"net"},
    "client": CONTRACTS | {"net"},
    "outbound": CONTRACTS | {"net", "client"},
    "server": CONTRACTS | {"net", "auth", "policy", "relay", "client", "outbound"},
    "app": CONTRACTS
    | {"net", "auth", "policy", "relay", "client", "outbound", "server", "observe"},
}
"""From which other folders the modules of each may import."""

GUEST = "client.scrapy"
"""Made by Scrapy, which has chosen the reactor, and gives it to nobody."""

PURE_MAY_IMPORT = sys.stdlib_module_names | {"typing_extensions"}  # the latter for `override`


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
    if "twisted.internet.reactor" in foreign and not (folder == "app" or module == GUEST):
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

    def write(name: str, text: str) -> None:
        place = package.joinpath(*name.split(".")).with_suffix(".py")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    for name in ("__init__", "settings", "protocol.errors", "net.poller", "policy.bans"):
        write(name, "")
    for name in ("relay.relay", "server.session", "app.options"):
        write(name, "")
    write("protocol.networks", "from .errors import SOCKSError")
    assert complaints(package) == []
    write(module, source)
    assert any(sentence in each for each in complaints(package))
