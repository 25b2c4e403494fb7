"""docs/moving.rst: each file does what the one that it stands for did."""

import shlex
from pathlib import Path

import pytest

from socks5.app.inspecting import explain
from tests.auth.test_hashes import KNOWN
from tests.support.readme import blocks

PAGE = Path(__file__).parents[2] / "docs/moving.rst"
DANTE, THREEPROXY, SSH = (
    block.text for block in blocks(PAGE.read_text()) if block.language == "toml"
)


@pytest.mark.parametrize(
    ("text", "asked", "rule"),
    [
        (DANTE, "--client 192.0.2.9 --user alice --to www.example.com:443", "allowed by staff"),
        (DANTE, "--client 192.0.2.9 --user alice --to www.example.com:25", "denied by no-mail"),
        (DANTE, "--client 192.0.2.9 --user bob --to www.example.com:443", "denied by builtin:"),
        (DANTE, "--client 192.0.2.9 --user alice --to www.example.net:443", "denied by builtin:"),
        (THREEPROXY, "--client 192.0.2.9 --user bob --to 198.51.100.7:443", "allowed by web"),
        (THREEPROXY, "--client 192.0.2.9 --user bob --to 198.51.100.7:22", "denied by builtin:"),
        (THREEPROXY, "--client 192.0.2.9 --user bob --to 10.1.2.3:443", "denied by inside"),
        (THREEPROXY, "--client 192.0.2.9 --user bob --to 127.0.0.1:80", "denied by builtin:guard"),
        (SSH, "--client 127.0.0.1 --to db.example.org:5432", "allowed by permit-open"),
        (SSH, "--client 127.0.0.1 --to db.example.org:5433", "denied by builtin:default"),
        (SSH, "--client 127.0.0.1 --to 127.0.0.1:5432", "denied by not-this-host"),
    ],
)
def test_what_was_allowed_is_and_nothing_else(
    text: str,
    asked: str,
    rule: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "socks5.toml").write_text(text)
    (tmp_path / "users").write_text("".join(f"{n}:{KNOWN['bcrypt']}\n" for n in ("alice", "bob")))
    monkeypatch.chdir(tmp_path)
    address = [] if asked[asked.rindex(" ") + 1].isdigit() else ["--address", "198.51.100.1"]
    status = 0
    try:
        explain(["socks5.toml", *shlex.split(asked), *address])
    except SystemExit as end:
        status = end.code
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(rule)
    assert status == (0 if rule.startswith("allowed") else 1)
