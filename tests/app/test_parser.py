"""Command lines: what is an option, what is said about what is none, and the help."""

from collections.abc import Sequence
from importlib import metadata
from typing import Any

import pytest
from twisted.python.usage import UsageError

from socks5.app.parser import Parser
from socks5.app.rows import Group, OptionRow

GROUPS = (
    Group(
        "Places",
        (
            OptionRow("port", "PORT", "where", letter="p", default="1080"),
            OptionRow("listen", "PLACE", "where else", letter="l", is_repeatable=True),
            OptionRow("idle-timeout", "TIME", "of silence", unsaid="as long as it likes"),
        ),
        ("PLACE is a place.",),
    ),
    Group("Others", (OptionRow("open", "", "all doors"), OptionRow("open-late", "", "some doors"))),
)
PARSER = Parser(GROUPS, ["it [OPTIONS]", "it COMMAND"], ["Does it."], ["", "Examples:", "  it"])


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ([], [], []),
        (
            ["--open", "--port", "1", "-l", "a", "--listen=b", "-p2"],
            [("open", ""), ("port", "1"), ("listen", "a"), ("listen", "b"), ("port", "2")],
            [],
        ),
        (["a", "--port", "-1", "b"], [("port", "-1")], ["a", "b"]),
        (["--listen", "-", "-", "--listen="], [("listen", "-"), ("listen", "")], ["-"]),
        (["--open", "--", "--port", "--", "x"], [("open", "")], ["--port", "--", "x"]),
        (["--listen=--open"], [("listen", "--open")], []),
    ],
)
def test_options_keep_their_order(
    arguments: Sequence[str], options: Sequence[tuple[str, str]], words: Sequence[str]
) -> None:
    said = PARSER.parse(arguments)
    assert [(row.name, text) for row, text in said.options] == options
    assert said.words == words


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--prot", "1"], "--prot: there is no such option; did you mean --port?"),
        (["--idle", "1"], "--idle: there is no such option; did you mean --idle-timeout?"),
        (["--ope"], "--ope: there is no such option; did you mean --open or --open-late?"),
        (["--secret=hunter2"], "--secret: there is no such option; --help shows them all"),
        (["-x"], "-x: there is no such option; --help shows them all"),
        (["--port"], "--port: expected PORT behind it"),
        (["-l", "--open"], "--listen: expected PLACE behind it"),
        (["--open=yes"], "--open: expected no value"),
    ],
)
def test_what_is_no_option_is_one_sentence(arguments: Sequence[str], sentence: str) -> None:
    with pytest.raises(UsageError) as raised:
        PARSER.parse(arguments)
    assert str(raised.value) == sentence


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as raised:
        PARSER.parse(arguments)
    assert raised.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["-h"], ["--port", "x", "--help"], ["--prot", "-h"]])
def test_the_help_is_shown_whatever_else_is_wrong(
    arguments: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, *arguments).splitlines() == [
        "Usage: it [OPTIONS]",
        "       it COMMAND",
        "",
        "Does it.",
        "",
        "Places:",
        "  -p, --port PORT                where [1080]",
        "  -l, --listen PLACE...          where else",
        "  --idle-timeout TIME            of silence [as long as it likes]",
        "    PLACE is a place.",
        "",
        "Others:",
        "  --open                         all doors",
        "  --open-late                    some doors",
        "",
        "Help:",
        "  -h, --help                     show this",
        "  -V, --version                  show the version",
        "",
        "Examples:",
        "  it",
    ]


@pytest.mark.parametrize("is_installed", [True, False])
def test_the_version_says_what_it_runs_on(
    is_installed: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> Any:
        assert name == "txsocks5"
        if not is_installed:
            raise metadata.PackageNotFoundError
        return "1.2.3"

    monkeypatch.setattr(metadata, "version", version)
    line = shown(capsys, "-V")
    assert line.startswith("txsocks5 1.2.3, Twisted " if is_installed else "txsocks5 that is not")
    assert ", Python 3." in line
