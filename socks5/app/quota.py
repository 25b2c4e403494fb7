"""``socks5 quota FILE``: what is used of quotas in the periods of now, and back to 0 with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import date, datetime
from sqlite3 import Error
from typing import NoReturn
from zoneinfo import ZoneInfo

from twisted.python import usage

from socks5.app.config.document import Document, Refused, load
from socks5.app.config.keys import Configuration
from socks5.app.config.read import read
from socks5.app.configured import sentences
from socks5.app.parser import Parser
from socks5.app.rows import Group, OptionRow
from socks5.policy.ledger import Ledger
from socks5.policy.limit import Span
from socks5.policy.periods import period_of

_PARSER = Parser(
    [
        Group(
            "Options",
            (
                OptionRow("user", "NAME", "of this user alone", unsaid="of everybody"),
                OptionRow("reset", "", "set it back to 0"),
            ),
        )
    ],
    ["socks5 quota FILE [OPTIONS]"],
    [
        "Shows what is used of the quotas of a file, in the day, week and month of now.",
        "A proxy that runs adds what it has counted every 10 seconds, and sees a reset.",
    ],
)


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says.

    :raises twisted.python.usage.UsageError: the arguments are wrong.
    :raises SystemExit: something is wrong with the file, or with that of the quotas (status 1).
    """
    said = _PARSER.parse(arguments)
    if len(said.words) != 1:
        raise usage.UsageError(f"expected one FILE, got {len(said.words)} words")
    options = {row.name: text for row, text in said.options}
    who = f"user:{options['user']}" if "user" in options else None
    try:
        document = load(said.words[0])
        configuration = read(document)
    except Refused as error:
        sys.stderr.write(sentences(error.problems, ""))
        raise SystemExit(1) from None
    path = _path(document, configuration)
    today = datetime.now(ZoneInfo(configuration.server.zone or "UTC")).date()
    try:
        lines = (
            _reset(path, today, who)
            if "reset" in options
            else _shown(path, today, who, configuration)
        )
    except Error as error:
        _refuse(f"{path}: {error}")
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _refuse(sentence: str) -> NoReturn:
    sys.stderr.write(f"socks5: quota: {sentence}\n")
    raise SystemExit(1)


def _path(document: Document, configuration: Configuration) -> str:
    """Where it is kept what is used. The file is there: else it would become the caller's."""
    state = configuration.server.state
    if state is None:
        _refuse(f"{document.file}: expected state in [server], for quotas are kept there; got none")
    path = os.path.join(document.folder, state)
    if not os.path.exists(path):
        _refuse(f"{path}: no proxy has kept anything there yet")
    return path


def _reset(path: str, today: date, who: str | None) -> list[str]:
    count = Ledger(path).reset([period_of(span, today) for span in Span], who)
    return [f"{count} back to 0; a proxy that runs sees it within 10 seconds"]


def _shown(path: str, today: date, who: str | None, configuration: Configuration) -> list[str]:
    """A line for each row of a limit that the file has."""
    spans = {period_of(span, today): span for span in Span}
    cells = []
    for row, octets in sorted(Ledger(path).add([], spans).items()):
        limit = configuration.limit.get(row.limit)
        quota = None if limit is None else limit.quota
        is_meant = quota is not None and quota[1] == spans[row.period] and who in (None, row.who)
        if quota is not None and is_meant:
            name = row.who.replace(":", " ", 1) or "everybody"
            part = f"{100 * octets / quota[0]:.1f} %"
            cells.append((row.limit, name, row.period, size(octets), f"of {size(quota[0])}", part))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return lines or ["nothing is used"]


def size(octets: int) -> str:
    """Octets for people: the largest unit, and a digit behind the point."""
    for unit, each in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if octets >= each:
            return f"{octets / each:.1f}".removesuffix(".0") + unit
    return f"{octets}B"
