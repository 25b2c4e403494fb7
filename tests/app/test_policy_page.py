"""docs/policy.rst: its file is one, and ``explain`` says of it what the page shows."""

import shlex
from pathlib import Path

import pytest

from socks5.app.inspecting import explain
from tests.auth.test_hashes import KNOWN
from tests.support.readme import blocks

PAGE = Path(__file__).parents[2] / "docs/policy.rst"
BLOCKS = blocks(PAGE.read_text())


@pytest.mark.parametrize("number", range(2))
def test_what_the_page_shows_is_what_explain_says(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    [file] = (block.text for block in BLOCKS if block.language == "toml")
    (tmp_path / "socks5.toml").write_text(file)
    (tmp_path / "users").write_text(f"alice:{KNOWN['bcrypt']}\n")
    monkeypatch.chdir(tmp_path)
    question, shown = [block.text for block in BLOCKS if block.language == "text"][number].split(
        "\n", 1
    )
    status = 0
    try:
        explain(shlex.split(question)[3:])
    except SystemExit as end:
        status = end.code
    assert capsys.readouterr().out == shown
    assert status == (0 if "\nallowed by" in shown else 1)
