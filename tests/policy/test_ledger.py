"""What is used of quotas, in a file."""

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from socks5.policy.ledger import Ledger, Spent, why_not_used

ALICE = Spent("person", "user:alice", "2026-11")
BOB = Spent("person", "user:bob", "2026-11")
TODAY = Spent("guests", "", "2026-11-27")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite3"


def test_differences_add_up_whoever_adds_them(path: Path) -> None:
    first, second = Ledger(str(path)), Ledger(str(path))
    assert first.add([(ALICE, 10, 10), (TODAY, 1, 1)], ["2026-11"]) == {ALICE: 10}
    assert second.add([(ALICE, 5, 5), (BOB, 7, 7)], ["2026-11", "2026-11-27"]) == {
        ALICE: 15,
        BOB: 7,
        TODAY: 1,
    }
    assert first.add([], []) == {}


def test_a_file_that_has_lost_a_row_gets_the_whole(path: Path) -> None:
    ledger = Ledger(str(path))
    ledger.add([(ALICE, 10, 10)], [])
    path.unlink()
    assert ledger.add([(ALICE, 5, 15)], ["2026-11"]) == {ALICE: 15}


def test_all_or_none(path: Path) -> None:
    ledger = Ledger(str(path))
    broken = Spent("person", None, "2026-11")  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        ledger.add([(ALICE, 10, 10), (broken, 1, 1)], [])
    assert ledger.add([], ["2026-11"]) == {}


def test_what_is_long_over_is_forgotten(path: Path) -> None:
    ledger = Ledger(str(path))
    periods = ["2025-10-22", "2025-10-23", "2025-W42", "2025-W43", "2025-09", "2025-10"]
    ledger.add([(Spent("a", "", period), 1, 1) for period in periods], [])
    ledger.forget_old(date(2026, 11, 27))
    left = [row.period for row in ledger.add([], periods)]
    assert left == ["2025-10-23", "2025-W43", "2025-10"]


@pytest.mark.parametrize(("who", "left"), [(None, [0, 0, 1]), ("user:alice", [0, 7, 1])])
def test_what_is_used_may_be_set_back(path: Path, who: str | None, left: list[int]) -> None:
    ledger = Ledger(str(path))
    ledger.add([(ALICE, 10, 10), (BOB, 7, 7), (TODAY, 1, 1)], [])
    assert ledger.reset(["2026-11"], who) == 2 - bool(who)
    found = ledger.add([], ["2026-11", "2026-11-27"])
    assert [found[row] for row in (ALICE, BOB, TODAY)] == left


@pytest.mark.parametrize("content", [b"no database at all, but something else" * 100, None])
def test_what_is_no_database_is_an_error(path: Path, content: bytes | None) -> None:
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(sqlite3.Error):
        Ledger(str(path)).add([], [])


def test_whether_it_can_be_used_is_seen_without_using_it(path: Path) -> None:
    assert why_not_used(str(path)) == ""
    assert not path.exists()
    path.touch()
    assert why_not_used(str(path)) == ""
    Ledger(str(path)).add([(ALICE, 10, 10)], [])
    assert why_not_used(str(path)) == ""
    path.write_bytes(b"no database at all, but something else" * 100)
    assert why_not_used(str(path)) == "file is not a database"
    path.unlink()
    with closing(sqlite3.connect(path)) as somebody_elses:
        somebody_elses.execute("create table used (car text)")
    assert why_not_used(str(path)) == "no such column: limit_name"
    with pytest.raises(sqlite3.Error):
        Ledger(str(path)).forget_old(date(2026, 11, 27))
