"""``socks5 quota``: what is used of quotas, shown and set back."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from socks5.app import console
from socks5.app.quota import size
from socks5.policy.ledger import Ledger, Spent
from socks5.policy.limit import Span
from socks5.policy.periods import period_of

FILE = """\
server = { zone = "Europe/Berlin", state = "state.sqlite3" }
[limit]
person = { per = "user", quota = "200GiB/month" }
all = { quota = "1TiB/day" }
other = { sessions = 3 }
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "socks5.toml").write_text(FILE)
    return tmp_path


@pytest.fixture
def periods(folder: Path) -> dict[Span, str]:
    """Those of now, in which something is used."""
    today = datetime.now(ZoneInfo("Europe/Berlin")).date()
    found = {span: period_of(span, today) for span in Span}
    used = {
        Spent("person", "user:alice", found[Span.MONTH]): 50 << 30,
        Spent("person", "client:192.0.2.9", found[Span.MONTH]): 1 << 30,
        Spent("person", "user:alice", found[Span.DAY]): 7,
        Spent("all", "", found[Span.DAY]): 1000,
        Spent("gone", "user:alice", found[Span.MONTH]): 7,
        Spent("other", "user:alice", found[Span.MONTH]): 7,
        Spent("person", "user:alice", "2001-01"): 7,
    }
    Ledger("state.sqlite3").add([(row, octets, octets) for row, octets in used.items()], [])
    return found


def run(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    console.main(["quota", *words])
    output, errors = capsys.readouterr()
    assert errors == ""
    return output.splitlines()


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as raised:
        console.main(["quota", *words])
    output, errors = capsys.readouterr()
    assert output == ""
    return raised.value.code, errors


def test_what_is_used_is_shown_with_what_may_be(
    periods: dict[Span, str], capsys: pytest.CaptureFixture[str]
) -> None:
    day, month = periods[Span.DAY], periods[Span.MONTH]
    alice = f"user alice        {month}     50GiB  of 200GiB  25.0 %"
    assert run(capsys, "socks5.toml") == [
        f"all     everybody         {day}  1000B  of 1TiB    0.0 %",
        f"person  client 192.0.2.9  {month}     1GiB   of 200GiB  0.5 %",
        f"person  {alice}",
    ]
    [line] = run(capsys, "socks5.toml", "--user", "alice")
    assert line.split() == f"person {alice}".split()
    assert run(capsys, "socks5.toml", "--user", "bob") == ["nothing is used"]


def test_it_is_set_back_to_0(periods: dict[Span, str], capsys: pytest.CaptureFixture[str]) -> None:
    [line] = run(capsys, "socks5.toml", "--user", "alice", "--reset")
    assert line == "4 back to 0; a proxy that runs sees it within 10 seconds"
    used = Ledger("state.sqlite3").add([], [*periods.values(), "2001-01"])
    assert used[Spent("person", "user:alice", periods[Span.MONTH])] == 0
    assert used[Spent("person", "user:alice", "2001-01")] == 7
    assert used[Spent("all", "", periods[Span.DAY])] == 1000
    run(capsys, "--reset", "socks5.toml")
    assert sum(Ledger("state.sqlite3").add([], periods.values()).values()) == 0


@pytest.mark.parametrize(
    ("text", "words", "status", "sentence"),
    [
        (FILE, [], 2, "socks5: quota: expected one FILE, got 0 words\n"),
        ("server.workers = 0\n", ["socks5.toml"], 1, "socks5.toml:1:18: server.workers: expected "),
        ("", ["socks5.toml"], 1, "socks5: quota: socks5.toml: expected state in [server], "),
        (FILE, ["socks5.toml"], 1, "socks5: quota: {}/state.sqlite3: no proxy has kept anything "),
    ],
)
def test_what_cannot_be_done_is_said(
    text: str,
    words: Sequence[str],
    status: int,
    sentence: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "socks5.toml").write_text(text)
    code, errors = refused(capsys, *words)
    assert code == status
    assert errors.startswith(sentence.format(folder))
    assert not (folder / "state.sqlite3").exists()


def test_a_file_that_is_none_of_ours_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "state.sqlite3").write_text("something else" * 100)
    for words in (["socks5.toml"], ["socks5.toml", "--reset"]):
        code, errors = refused(capsys, *words)
        assert code == 1
        assert errors == f"socks5: quota: {folder}/state.sqlite3: file is not a database\n"


@pytest.mark.parametrize(
    ("octets", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1KiB"), (1 << 30, "1GiB"), (3 << 39, "1.5TiB")],
)
def test_octets_are_for_people(octets: int, text: str) -> None:
    assert size(octets) == text
