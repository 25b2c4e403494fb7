"""The folders of ``socks5/`` and what they import from each other, drawn from the imports: no Graphviz, no network.

Only the arrows that say something are drawn: what a folder reaches by way of another one it may import itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from textwrap import wrap

PACKAGE = Path(__file__).resolve().parents[2] / "socks5"

ROOT = "the root"

DOORS = {"__init__", "__main__"}
"""They offer what the folders define; no module imports from them."""

WIDTH, HEIGHT, ACROSS, DOWN = 176, 92, 24, 44
STYLE = """
.house text { font: 11px sans-serif; fill: #222 } .house .name { font: bold 13px monospace }
.house rect { fill: #f6f4ee; stroke: #555 } .house path { fill: none; stroke: #555; stroke-width: 1.4 }
"""

Graph = dict[str, set[str]]


def module_name(path: Path, package: Path = PACKAGE) -> str:
    """``socks5/relay/pipes.py`` is "relay.pipes", ``socks5/auth/__init__.py`` "auth", the package "__init__"."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1]) if len(parts) > 1 and parts[-1] == "__init__" else ".".join(parts)


def folder_of(module: str, package: Path = PACKAGE) -> str:
    """Where a module stands: its folder, "the root", or "a door"."""
    if module in DOORS:
        return "a door"
    folder, dot, _ = module.partition(".")
    return folder if dot or (package / folder).is_dir() else ROOT


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
    """Which module of the package an imported name lives in; the package's door if in none other."""
    parts = full_name.split(".")[1:]
    for length in range(len(parts), 0, -1):
        path = package.joinpath(*parts[:length])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            return ".".join(parts[:length])
    return "__init__"


def graph_of(package: Path = PACKAGE) -> tuple[Graph, Graph]:
    """For each module, which own modules and which foreign names it imports."""
    own: Graph = {}
    foreign: Graph = {}
    for path in sorted(package.rglob("*.py")):
        names = set(imports(path.read_text(), package, path.parent))
        ours = {name for name in names if name.split(".")[0] == package.name}
        module = module_name(path, package)
        own[module] = {own_module(name, package) for name in ours} - {module}
        foreign[module] = names - ours
    return own, foreign


def folders() -> Graph:
    """From which other folders each one imports."""
    found: Graph = {}
    for module, others in graph_of()[0].items():
        if (folder := folder_of(module)) != "a door":
            found.setdefault(folder, set()).update(folder_of(other) for other in others)
    return {folder: others - {folder} for folder, others in found.items()}


def reduced(graph: Mapping[str, set[str]]) -> Graph:
    """Without what is reached by way of another one as well; there are no circles."""

    def below(folder: str) -> set[str]:
        return graph[folder].union(*(below(other) for other in graph[folder]))

    return {
        folder: others - set().union(*(below(other) for other in others))
        for folder, others in graph.items()
    }


def rows_of(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The folders from top to bottom, each as high as it can be below all that import from it."""

    def level(folder: str) -> int:
        return 1 + max((level(other) for other in graph if folder in graph[other]), default=-1)

    rows: list[list[str]] = [[] for _ in range(1 + max(map(level, graph)))]
    for folder in sorted(graph):
        rows[level(folder)].append(folder)
    return rows


def sentence_of(folder: str) -> str:
    """What a folder says of itself first."""
    if folder == ROOT:
        return "Contracts, plain values and small tools that every room uses."
    text = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text())) or ""
    sentence = " ".join(text.split()).partition(". ")[0].rstrip(".") + "."
    return re.sub(r":\w+:`~?([^`]*)`", r"\1", sentence)


def _box(x: float, y: int, folder: str) -> str:
    middle = x + WIDTH / 2
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text class="name" x="{middle}" y="{y + 18}" text-anchor="middle">{escape(folder)}</text>'
    ) + "".join(
        f'<text x="{middle}" y="{y + 36 + 15 * number}" text-anchor="middle">{escape(line)}</text>'
        for number, line in enumerate(wrap(sentence_of(folder), 29)[:4])
    )


def drawn() -> str:
    """The house as an SVG: who stands higher imports from who stands lower."""
    graph = folders()
    rows, arrows = rows_of(graph), reduced(graph)
    whole = max(map(len, rows)) * (WIDTH + ACROSS)
    place = {
        folder: (16 + whole / len(row) * (number + 0.5) - WIDTH / 2, 8 + level * (HEIGHT + DOWN))
        for level, row in enumerate(rows)
        for number, folder in enumerate(row)
    }
    parts = []
    for here, others in arrows.items():
        for there in sorted(others):
            (x1, y1), (x2, y2) = place[here], place[there]
            line = f"M{x1 + WIDTH / 2} {y1 + HEIGHT} L{x2 + WIDTH / 2} {y2 - 2}"
            rows_apart = (y2 - y1) // (HEIGHT + DOWN)
            if rows_apart == 2:  # past what stands between
                end = x2 - 2 if x1 < x2 else x2 + WIDTH + 2
                line = f"M{x1 + WIDTH / 2} {y1 + HEIGHT} V{y2 + HEIGHT / 2} H{end}"
            elif rows_apart > 2:
                line = f"M{x1} {y1 + HEIGHT / 2} H6 V{y2 + HEIGHT * 3 / 4} H{x2 - 2}"
            parts.append(
                f'<path d="{line}" marker-end="url(#beam)"><title>{here} imports {there}</title></path>'
            )
    parts += [_box(x, y, folder) for folder, (x, y) in place.items()]
    height = 16 + len(rows) * (HEIGHT + DOWN) - DOWN
    return (
        f'<svg class="house" xmlns="http://www.w3.org/2000/svg" role="img" width="100%" '
        f'style="max-width: 860px; margin-bottom: 1em" viewBox="0 0 {whole + 16} {height}">'
        f"<title>The folders of socks5</title><style>{STYLE}</style><defs>"
        '<marker id="beam" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" style="fill: #555"/></marker>'
        f"</defs>{''.join(parts)}</svg>"
    )
