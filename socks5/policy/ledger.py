"""What is used of quotas, in a file (SQLite). A period is a row, so nothing is ever set back; what is added are
differences, so that several processes may.

Each call opens the file anew: it may be another one by now. Calls may come from any thread, one at a time.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from socks5.policy.limit import Span
from socks5.policy.periods import period_of

KEPT = 400
"""Days after whose end a period is forgotten."""

BUSY = 5.0
"""Seconds that another process may write meanwhile."""

_TABLE = """
create table if not exists used (
    limit_name text not null, who text not null, period text not null, octets integer not null,
    primary key (limit_name, who, period)
) without rowid
"""

_ADD = """
insert into used values (?, ?, ?, ?)
on conflict do update set octets = octets + ?
"""

_LENGTHS = {Span.DAY: 10, Span.WEEK: 8, Span.MONTH: 7}
"""By which the names of periods are told apart."""


def why_not_used(path: str) -> str:
    """Why what is used of quotas cannot be read from a file, in SQLite's words; "" if it can, or if there is none yet.
    Makes nothing, and mends only what a process has left half done.
    """
    if not os.path.isfile(path):
        return ""
    try:
        address = f"{Path(path).absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, timeout=BUSY, uri=True)) as connection:
            [(number,)] = connection.execute(
                "select count(*) from sqlite_schema where name = 'used'"
            )
            if number:
                connection.execute("select limit_name, who, period, octets from used limit 0")
    except sqlite3.Error as error:
        return str(error)
    return ""


class Spent(NamedTuple):
    """What somebody has used of a limit's quota in a period."""

    limit: str
    who: str
    period: str


class Ledger:
    """The file.

    :param path: where it is; made where there is none.
    :param connect: opens it.
    """

    def __init__(
        self,
        path: str,
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect,
    ) -> None:
        self.path = path
        self._connect = connect

    def _open(self) -> sqlite3.Connection:
        connection = self._connect(self.path, timeout=BUSY)
        try:
            connection.execute(_TABLE)
        except BaseException:
            connection.close()
            raise
        return connection

    def add(
        self, added: Iterable[tuple[Spent, int, int]], periods: Iterable[str]
    ) -> Mapping[Spent, int]:
        """Add to rows, all or none, and read.

        :param added: the rows, how much is new, and how much it is in all: which a file that has lost the row gets.
        :param periods: those of now.
        :returns: what all rows of these periods say.
        :raises sqlite3.Error: it cannot be done.
        """
        with closing(self._open()) as connection:
            with connection:
                connection.executemany(
                    _ADD, [(*row, whole, difference) for row, difference, whole in added]
                )
            return self._read(connection, periods)

    @staticmethod
    def _read(connection: sqlite3.Connection, periods: Iterable[str]) -> dict[Spent, int]:
        found: dict[Spent, int] = {}
        for period in periods:
            for row in connection.execute("select * from used where period = ?", (period,)):
                found[Spent(*row[:3])] = row[3]
        return found

    def forget_old(self, today: date) -> None:
        """Forget periods that are long over.

        :raises sqlite3.Error: it cannot be done.
        """
        day = today - timedelta(KEPT)
        with closing(self._open()) as connection, connection:
            for span, length in _LENGTHS.items():
                connection.execute(
                    "delete from used where length(period) = ? and period < ?",
                    (length, period_of(span, day)),
                )

    def reset(self, periods: Iterable[str], who: str | None = None) -> int:
        """Set back to 0 what is used in these periods. A process that is running sees it when it adds next.

        :param who: of whom; None: of everybody.
        :returns: how many rows that was.
        :raises sqlite3.Error: it cannot be done.
        """
        count = 0
        with closing(self._open()) as connection, connection:
            for period in periods:
                count += connection.execute(
                    "update used set octets = 0 where period = ? and (? is null or who = ?)",
                    (period, who, who),
                ).rowcount
        return count
