"""The README keeps its word: it is short, its options exist, its Python runs."""

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from socks5.app import console
from socks5.app.option_table import ROWS
from tests.auth.test_hashes import KNOWN
from tests.support.certificates import Authority
from tests.support.kerberos import write_keytab
from tests.support.options import parse
from tests.support.readme import README, Block, blocks
from tests.support.skips import needs_gssapi

TEXT = README.read_text()
BLOCKS = blocks(TEXT)
FOREIGN_OPTIONS = {"--socks5", "--socks5-hostname"}  # curl's


def in_language(language: str, among: list[Block] = BLOCKS) -> list[Block]:
    return [block for block in among if block.language == language]


def commands(block: Block) -> Iterator[list[str]]:
    """Yield the words of each simple command of a shell script."""
    words = shlex.shlex(" ; ".join(block.commands), posix=True, punctuation_chars=True)
    words.whitespace_split = True
    for is_end, group in itertools.groupby(words, lambda word: set(word) <= set("();<>|&")):
        if not is_end:
            yield list(group)


def service_arguments(among: list[Block] = BLOCKS) -> list[list[str]]:
    """Return what follows ``socks5``, ``twistd -n socks5`` or ``python -m socks5`` on a page."""
    found = []
    for block in in_language("bash", among):
        for words in commands(block):
            is_module = words[1:3] == ["-m", "socks5"]
            is_program = words[0].rpartition("/")[2] in ("socks5", "twistd")
            if is_module or is_program:
                names = [word.rpartition("/")[2] for word in words]
                arguments = words[names.index("socks5") + 1 :]
                if arguments[:1] == ["print-config"]:
                    del arguments[0]
                if not arguments or arguments[0] not in console.COMMANDS:
                    found.append(arguments)
    return found


def test_it_is_short_and_its_commands_are_found() -> None:
    assert len(TEXT.splitlines()) <= 150
    assert [block.name for block in BLOCKS][:2] == ["run", "test"]
    assert ["--port", "1080"] in service_arguments()
    assert any("--proxy-from" in arguments for arguments in COMMANDS)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current directory has the files that the recipes make."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.txt").write_text(f"alice:{KNOWN['bcrypt']}\n")
    Authority(tmp_path, "ca").server("proxy.example.pem")
    (tmp_path / "proxy.example.key").symlink_to("proxy.example.pem")
    write_keytab(tmp_path / "socks5.keytab", "rcmd/proxy.example")


SERVER = README.parent / "docs/server.rst"
COMMANDS = [*service_arguments(), *service_arguments(blocks(SERVER.read_text()))]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(each, marks=needs_gssapi if "--gssapi" in each else (), id=" ".join(each))
        for each in COMMANDS
    ],
)
@pytest.mark.usefixtures("folder")
def test_the_service_understands_its_commands_and_those_of_its_page(arguments: list[str]) -> None:
    parse(*arguments)


def test_an_option_in_its_prose_exists() -> None:
    literals = re.findall(r"``([^`]+)``", TEXT)
    named = {option for literal in literals for option in re.findall(r"--[a-z0-9-]+", literal)}
    known = {f"--{name}" for name in (*ROWS, "help", "version")}
    assert named - FOREIGN_OPTIONS <= known


@pytest.mark.parametrize("block", in_language("python"), ids=str)
def test_its_python_runs(block: Block, memory: Any) -> None:
    exec(compile(block.text, f"{README}:{block.line}", "exec"), {"__name__": "readme"})
    assert memory.tcpServers
    assert memory.hasRun
