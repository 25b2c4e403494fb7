"""The documentation keeps its word: options, settings, fields, files and stages are those of the code."""

import dataclasses
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from socks5.access import Reason, SessionInfo
from socks5.app.option_table import ROWS
from socks5.auth.directory import Directory
from socks5.observe.accesslog import as_json
from socks5.protocol import stages
from socks5.settings import Capacity, Settings
from tests.support.kerberos import write_keytab
from tests.support.readme import Block, blocks
from tests.support.skips import needs_gssapi

ROOT = Path(__file__).resolve().parent.parent
SERVER = (ROOT / "docs/server.rst").read_text()
UNIT = (ROOT / "packaging/systemd/socks5.service").read_text()
ARCHITECTURE = (ROOT / "docs/architecture.rst").read_text()
EMBEDDING = (ROOT / "docs/embedding.rst").read_text()
PYTHON = [block for block in blocks(EMBEDDING) if block.language == "python"]

# Defaults that are no plain value, in the words of the table of settings.
IN_WORDS = {
    "commands": "all three",
    "outgoing": "system's choice",
    "outgoing_family": "any, or that of ``outgoing``",
    "advertise": "real address",
    "udp_ports": "any",
    "ban_exempt": "none",
}


def option_entries() -> dict[str, str]:
    """Return the text of each ``.. option::`` of the page, by the long name."""
    found = {}
    for part in SERVER.split("\n.. option:: ")[1:]:
        line, text = part.split("\n", 1)
        body = re.match(r"(?:\n|   .*\n)*", text)
        assert body is not None
        [name] = re.findall(r"--([a-z-]+)", line)
        found[name] = " ".join(body.group().split())
    return found


def rows(title: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the ``list-table`` whose header begins with this cell."""
    table = re.search(rf"^( *)\* - {title}\n(\1.*\n|\n)*", SERVER, re.MULTILINE)
    assert table is not None
    for row in f"\n{table[0]}".split(f"\n{table[1]}* - ")[1:]:
        yield [" ".join(cell.split()) for cell in re.split(rf"\n{table[1]}  -(?: |(?=\n))", row)]


def plain(value: object) -> str:
    """A value as the page writes it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_documented(name: str, value: object) -> str:
    return IN_WORDS.get(name) or plain(value.value if isinstance(value, Enum) else value)


def test_every_option_has_an_entry_with_its_default_and_no_other() -> None:
    entries = option_entries()
    assert set(entries) == {*ROWS, "help", "version"}
    for name, row in ROWS.items():
        if row.default is not None:
            assert f"Default: ``{row.default}``" in entries[name], name
    for name in {*entries} - {"help", "version"}:
        assert "Default: " in entries[name] or entries[name].endswith("and ends."), name


@pytest.mark.parametrize(("head", "values"), [("Setting", Settings()), ("Capacity", Capacity())])
def test_the_tables_of_settings_are_those_of_the_code(head: str, values: Any) -> None:
    documented = {cells[0].strip("`"): cells[1] for cells in list(rows(head))[1:]}
    assert documented == {
        field.name: as_documented(field.name, getattr(values, field.name))
        for field in dataclasses.fields(values)
    }


def test_every_reason_stands_in_the_docs() -> None:
    shown = {text for cells in rows("The log shows") for text in re.findall("``(.*)``", cells[0])}
    assert shown == {*Reason}


def test_the_keys_of_a_directory_are_those_of_the_code() -> None:
    documented = {
        name: cells[1] for cells in rows("Key") for name in re.findall(r"``(\w+)``", cells[0])
    }
    defaults = {"True": "true", "5.0": "5"}
    assert documented == {
        field.name: defaults.get(str(field.default), field.default)
        for field in dataclasses.fields(Directory)
    }


def test_an_image_gets_what_its_build_copies_and_nothing_else() -> None:
    [recipe] = (block.text for block in blocks(SERVER) if block.language == "docker")
    copied = {
        word for line in re.findall("^COPY (.*) ", recipe, re.MULTILINE) for word in line.split()
    }
    first, *lines = (ROOT / ".dockerignore").read_text().splitlines()[1:]
    assert first == "*"
    assert {line[1:] for line in lines if line[0] == "!"} == copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_fields_of_the_access_log_are_those_of_the_code() -> None:
    """In the table and in the example."""
    documented = [name for cells in rows("Field") for name in re.findall(r"``(\w+)``", cells[0])]
    noted = {"detail": "x", "would": ("video",), "denied": {"mail": 1}}
    info = SessionInfo(
        session=1,
        client="192.0.2.1:50000",
        worker=1,
        rule="office",
        slowed=1.0,
        upstream="tor",
        **noted,
    )
    assert documented == list(json.loads(as_json(info)))
    [example] = (json.loads(block.text) for block in blocks(SERVER) if block.language == "json")
    assert list(example) == list(json.loads(as_json(SessionInfo(session=1, client=""))))


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(each, marks=needs_gssapi if "gssapi" in each.text else (), id=str(each))
        for each in PYTHON
    ],
)
def test_its_python_runs(
    block: Block, tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_keytab(tmp_path / "socks5.keytab", "rcmd/proxy.example")
    names: dict[str, object] = {"__name__": "docs"}
    exec(compile(block.text, f"embedding.rst:{block.line}", "exec"), names)
    assert "factory" in names
    memory.triggers.get("after", {}).get("shutdown", [(lambda: None, (), {})])[0][0]()


PACKAGE = ROOT / "socks5"
FILES = [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))]


def test_every_file_has_its_paragraph_and_every_folder_its_line() -> None:
    text = (ROOT / "docs/files.rst").read_text()
    for name in FILES:
        paragraph = re.search(rf"^``{re.escape(name)}``\n   \S", text, re.MULTILINE)
        assert paragraph or name.endswith("__init__.py"), name
    for folder in {name.rpartition("/")[0] for name in FILES} - {""}:
        assert f"   * - ``{folder}/``\n" in ARCHITECTURE, folder


@pytest.fixture(name="drawing")
def load_drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drawing", ROOT / "docs/_ext/drawing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["SERVER_NEXT", "CLIENT_NEXT", "PASSWORD_NEXT", "CHAP_NEXT", "GSSAPI_NEXT"]
)
def test_the_picture_has_every_stage_and_every_step(drawing: ModuleType, name: str) -> None:
    table: Mapping[stages.Stage, frozenset[stages.Stage]] = getattr(stages, name)
    svg = ElementTree.fromstring(drawing.drawn(table, name))
    space = {"svg": "http://www.w3.org/2000/svg"}
    names = [text.text for text in svg.findall(".//svg:text[@class='name']", space)]
    steps = [title.text for title in svg.findall("./svg:path/svg:title", space)]
    assert sorted(map(str, names)) == sorted(stage.name for stage in table)
    assert sorted(map(str, steps)) == sorted(
        f"{here.name} to {there.name}" for here in table for there in table[here]
    )
    assert f".. stages:: {name}" in ARCHITECTURE


# ---------------------------------------------------------------- containers and units


def test_what_a_container_or_a_unit_runs_leaves_no_process_file() -> None:
    """``twistd.pid`` would stop the next start."""
    chapter = SERVER.partition("\nIn a container\n")[2]
    texts = [UNIT, *(block.text for block in blocks(chapter))]
    lines = [line for text in texts for line in text.splitlines()]
    ran = [line for line in lines if re.match(r"ENTRYPOINT|CMD|ExecStart=", line)]
    assert len(ran) == 2
    assert all(re.search(r'(\["|/bin/)socks5\b', line) for line in ran)


def test_the_unit_is_started_again_after_a_while_but_not_for_ever() -> None:
    assert ".. literalinclude:: ../packaging/systemd/socks5.service" in SERVER
    settings = dict(re.findall(r"^(\w+)=(.*)$", UNIT, re.MULTILINE))
    assert settings["Restart"] == "on-failure"
    starts = int(settings["StartLimitBurst"])
    assert settings["StartLimitIntervalSec"] == "10min"
    assert starts * int(settings["RestartSec"]) < 600, "or the limit would never be reached"
