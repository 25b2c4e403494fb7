"""The table of options: what a person reads of it, and what it has for programs."""

import re
from pathlib import Path

import pytest

from socks5.app.option_table import GROUPS, ROWS
from socks5.app.options import Options
from socks5.app.rows import OptionRow
from tests.auth.test_hashes import KNOWN
from tests.support.options import parse

HELP = Options().getUsage().splitlines()


def line_of(row: OptionRow) -> str:
    [line] = (line for line in HELP if re.match(rf" +(-., )?--{row.name}( |$)", line))
    return line


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_an_option_is_one_line_of_the_help_with_its_default(row: OptionRow) -> None:
    line = line_of(row)
    default = row.unsaid or row.default
    assert line.endswith(f" {row.help} [{default}]" if default else f" {row.help}")
    assert not re.fullmatch(r"[0-9.]+\.0", default or "")
    assert not (row.unsaid and row.default)
    assert row.help == row.help.strip()
    assert not row.help.endswith(".")


def test_it_is_read_on_a_terminal_of_80_columns() -> None:
    assert [line for line in HELP if len(line) > 80] == []
    titles = [f"{group.title}:" for group in GROUPS]
    assert [line for line in HELP if line in titles] == titles
    assert HELP[-4] == "Examples:"


def test_its_three_examples_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.txt").write_text(f"alice:{KNOWN['bcrypt']}\n")
    for line in HELP[-3:]:
        program, _, arguments = line.partition(" socks5 ")
        assert program == "  twistd -n"
        parse(*arguments.split())


def test_an_option_that_a_file_has_too_says_where() -> None:
    keys = [row.key for row in ROWS.values() if row.key]
    assert len(keys) == len({*keys})
    assert {name for name, row in ROWS.items() if not row.key} == {
        "config",
        "help-auth",
        "help-auth-type",
    }


def test_a_shells_completion_knows_them() -> None:
    options = Options()
    assert {*options.docs} >= {*ROWS}
    assert options.synonyms["p"] == "port"
