"""The floors of docs/architecture.rst: a module imports from lower floors only.

This list is the house. A new module gets its place here, and a sideways import is listed or not made.
"""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "socks5"

FLOORS = [
    (
        "0 pure",
        ["errors", "wire", "encapsulation", "negotiation", "networks", "proxyheader", "dns"],
    ),
    ("1 contracts", ["settings", "counters", "deadlines", "interfaces", "door"]),
    (
        "1½ policy",
        [
            "auth",
            "auth.hashes",
            "auth.users",
            "auth.files",
            "auth.turns",
            "auth.work",
            "auth.pam",
            "auth.directory",
            "auth.ldap",
            "gssapi",
            "disk",
            "certificates",
            "rules",
            "verdicts",
            "shortage",
            "crowds",
            "limits",
            "accesslog",
            "targets",
            "own",
            "bans",
            "names",
            "shares",
            "resolvconf",
        ],
    ),
    (
        "2 sockets",
        [
            "turns",
            "poll",
            "reactor",
            "replies",
            "preference",
            "nameservers",
            "lookups",
            "resolve",
            "transport",
            "slots",
            "datagrams",
            "tls",
            "protection",
        ],
    ),
    ("2½ motion", ["attempts", "dial", "relay", "splice", "accept", "balancer"]),
    ("3 commands", ["connect", "bind", "associate"]),
    ("4 faces", ["session", "entrance", "contexts", "server"]),
    (
        "5 doors",
        [
            "signals",
            "heartbeat",
            "reread",
            "service",
            "listeners",
            "workers",
            "supervisor",
            "checkers",
            "kerberos",
            "tap",
            "passwd",
            "__main__",
        ],
    ),
]

# Inside one floor, only these.
SIDEWAYS = {
    "wire": {"errors"},
    "encapsulation": {"errors"},
    "negotiation": {"wire", "encapsulation", "errors"},
    "proxyheader": {"wire", "errors"},
    "dns": {"wire"},
    "interfaces": {"settings", "counters", "deadlines"},
    "auth": {"limits"},
    "limits": {"crowds", "shortage"},
    "bans": {"limits", "own"},
    "own": {"rules"},
    "certificates": {"auth", "disk"},
    "auth.users": {"auth", "auth.hashes"},
    "auth.files": {"auth", "auth.users", "auth.work", "limits", "disk"},
    "auth.turns": {"auth", "limits"},
    "auth.work": {"auth", "auth.turns", "auth.users", "limits"},
    "auth.pam": {"auth", "auth.users", "disk", "limits"},
    "auth.directory": {"auth.users"},
    "auth.ldap": {"auth", "auth.directory", "auth.turns", "auth.users", "limits"},
    "gssapi": {"auth", "auth.users", "auth.work", "limits"},
    "resolvconf": {"disk", "names"},
    "reactor": {"poll"},
    "lookups": {"nameservers", "preference"},
    "resolve": {"lookups"},
    "transport": {"poll", "replies"},
    "turns": {"poll"},
    "datagrams": {"poll", "slots", "turns"},
    "dial": {"attempts"},
    "splice": {"relay"},
    "entrance": {"session"},
    "contexts": {"session", "entrance"},
    "server": {"session", "entrance", "contexts"},
    "service": {"signals"},
    "listeners": {"service"},
    "supervisor": {"workers", "heartbeat", "signals", "service"},
    "kerberos": {"checkers"},
    "tap": {
        "heartbeat",
        "reread",
        "service",
        "listeners",
        "workers",
        "supervisor",
        "checkers",
        "kerberos",
    },
    "__main__": {"tap", "service", "signals", "passwd", "workers"},
}

# The face offers what other floors define: it may import all but the doors, and no module imports it.
FACE = "__init__"

PLACE = {name: floor for floor, (_, names) in enumerate(FLOORS) for name in names}
PURE = FLOORS[0][1]
PURE_MAY_IMPORT = sys.stdlib_module_names | {"typing_extensions"}  # the latter for `override`
DOORS = FLOORS[-1][1]


def module_name(path: Path, package: Path) -> str:
    """``socks5/relay.py`` is "relay", ``socks5/motion/relay.py`` "motion.relay", the package "__init__"."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1]) if len(parts) > 1 and parts[-1] == FACE else ".".join(parts)


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
    """Return which module of the package an imported name lives in; the face if in none other."""
    parts = full_name.split(".")[1:]
    for length in range(len(parts), 0, -1):
        path = package.joinpath(*parts[:length])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            return ".".join(parts[:length])
    return FACE


def graph_of(package: Path) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Return, for each module, which own modules and which foreign top-level packages it imports."""
    own: dict[str, set[str]] = {}
    foreign: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        names = set(imports(path.read_text(), package, path.parent))
        ours = {name for name in names if name.split(".")[0] == package.name}
        module = module_name(path, package)
        own[module] = {own_module(name, package) for name in ours} - {module}
        foreign[module] = {name.split(".")[0] for name in names - ours}
    return own, foreign


def complaints(package: Path) -> list[str]:
    """Return one sentence for each thing in the package that the list above does not allow."""
    own, foreign = graph_of(package)
    return [
        sentence
        for module in own
        for sentence in [
            *place_complaints(module),
            *import_complaints(module, own[module]),
            *purity_complaints(module, foreign[module]),
        ]
    ] + circle_complaints(own)


def place_complaints(module: str) -> Iterator[str]:
    if module != FACE and module not in PLACE:
        yield f"{module} stands on no floor: give it a place in FLOORS, and in docs/architecture.rst"


def import_complaints(module: str, imported: set[str]) -> Iterator[str]:
    for other in sorted(imported):
        if other == FACE:
            yield f"{module} imports the package's face instead of the module that defines the name"
        elif module == FACE:
            if other in DOORS:
                yield f"the face imports the door {other}"
        elif module in PLACE and other in PLACE:
            yield from floor_complaints(module, other)


def floor_complaints(module: str, other: str) -> Iterator[str]:
    here, there = PLACE[module], PLACE[other]
    floors = f"(floor {FLOORS[here][0]}) imports {other} (floor {FLOORS[there][0]})"
    if there > here:
        yield f"{module} {floors}: upward"
    elif there == here and other not in SIDEWAYS.get(module, set()):
        yield f"{module} {floors}: sideways, and SIDEWAYS does not list it"


def purity_complaints(module: str, foreign: set[str]) -> Iterator[str]:
    if module in PURE:
        for package in sorted(foreign - PURE_MAY_IMPORT):
            yield f"{module} is on the pure floor and imports {package}"


def circle_complaints(own: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(own).prepare()
    except graphlib.CycleError as error:
        return ["a circle: " + " imports ".join(reversed(error.args[1]))]
    return []


def test_every_import_goes_down() -> None:
    assert complaints(PACKAGE) == []


def test_the_list_names_no_module_that_is_gone() -> None:
    modules = {module_name(path, PACKAGE) for path in PACKAGE.rglob("*.py")}
    assert set(PLACE) - modules == set()


@pytest.mark.parametrize(
    ("module", "source", "sentence"),
    [
        ("stray", "", "stray stands on no floor"),
        ("relay", "from socks5.connect import Connect", "relay (floor 2½ motion) imports connect"),
        ("relay", "def f():\n    from . import server", "relay (floor 2½ motion) imports server"),
        ("relay", "from .dial import Dialer", "imports dial (floor 2½ motion): sideways"),
        ("relay", "import socks5.tap", "relay (floor 2½ motion) imports tap"),
        ("relay", "from socks5 import ServerFactory", "relay imports the package's face"),
        ("wire", "from twisted.python import log", "wire is on the pure floor and imports twisted"),
        ("wire", "import zope.interface", "wire is on the pure floor and imports zope"),
        ("errors", "from .wire import Address", "a circle: "),
        ("__init__", "from socks5.tap import Options", "the face imports the door tap"),
    ],
)
def test_a_breach_is_named(tmp_path: Path, module: str, source: str, sentence: str) -> None:
    package = tmp_path / "socks5"
    package.mkdir()
    for name in [FACE, *PLACE]:
        place = package.joinpath(*name.split("."))
        place.parent.mkdir(exist_ok=True)
        place.with_suffix(".py").touch()
    (package / "wire.py").write_text("from .errors import SOCKSError\n")
    assert complaints(package) == []
    with (package / f"{module}.py").open("a") as file:
        file.write(source)
    assert any(sentence in each for each in complaints(package))
