"""Command lines: argparse without abbreviations, with errors of one sentence and a help that a person reads.

Options keep their order, for some belong to what stands before them.
"""

from __future__ import annotations

import argparse
import difflib
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted import copyright as twisted_copyright
from twisted.python.usage import UsageError
from typing_extensions import override

from socks5.app.rows import Group, OptionRow

COLUMN = 33
"""Where the words of an option's help begin."""

HELP = Group(
    "Help",
    (
        OptionRow("help", "", "show this", letter="h"),
        OptionRow("version", "", "show the version", letter="V"),
    ),
)
"""What every command has."""


class _Noted(argparse.Action):
    """Keeps which option was said, and with what."""

    row: OptionRow

    @override
    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        namespace.said.append((self.row, values if self.row.metavar else ""))


class _Shown(argparse.Action):
    """Shows something, and ends the process, whatever is wrong with other options."""

    text: Callable[[], str]

    @override
    def __call__(self, *arguments: Any) -> None:
        print(self.text())  # noqa: T201
        raise SystemExit(0)


def version_line() -> str:
    """The version of this package, and of what it runs on."""
    from importlib.metadata import PackageNotFoundError, version  # who serves needs no such thing

    try:
        own = version("txsocks5")
    except PackageNotFoundError:
        own = "that is not installed"
    return (
        f"txsocks5 {own}, Twisted {twisted_copyright.version}, Python {platform.python_version()}"
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """Advice for who has mistyped one of a few words; "" where nothing is like it."""
    names = list(known)
    near = [name for name in names if name.startswith(word)] if word.strip("-") else []
    near = near[:3] or difflib.get_close_matches(word, names, 1)
    return f"; did you mean {' or '.join(near)}?" if near else ""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command line says.

    :param options: each option with its text, in order.
    :param words: what is no option.
    """

    options: Sequence[tuple[OptionRow, str]]
    words: Sequence[str]


class Parser:
    """Parses the command line of one command.

    :param groups: its options, beside :data:`HELP`.
    :param usage: how it is called, a line each.
    :param about: what it does, in lines of the help.
    :param more: what the help has behind the options, in lines.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        usage: Sequence[str],
        about: Sequence[str],
        more: Sequence[str] = (),
    ) -> None:
        self._groups = (*groups, HELP)
        self._usage = usage
        self._about = about
        self._more = more
        self._rows = {row.name: row for group in self._groups for row in group.rows}
        self._parser = argparse.ArgumentParser(
            add_help=False, allow_abbrev=False, exit_on_error=False
        )
        shown = {"help": lambda: self.help, "version": version_line}
        for row in self._rows.values():
            names = [f"-{row.letter}", f"--{row.name}"] if row.letter else [f"--{row.name}"]
            kind = _Shown if row.name in shown else _Noted
            nargs = None if row.metavar else 0
            action: Any = self._parser.add_argument(*names, action=kind, nargs=nargs, dest="said")
            action.row, action.text = row, shown.get(row.name)

    def parse(self, arguments: Sequence[str]) -> Said:
        """What the command line says.

        :raises twisted.python.usage.UsageError: it has something that is no option, or one without its value.
        :raises SystemExit: it asks for help, which is shown.
        """
        end = [*arguments, "--"].index("--")
        options, rest = arguments[:end], arguments[end + 1 :]
        said = argparse.Namespace(said=[])
        try:
            _, others = self._parser.parse_known_args(list(options), said)
        except argparse.ArgumentError as error:
            raise UsageError(self._wrong_value(error)) from None
        for other in others:
            if other.startswith("-") and other != "-":
                raise UsageError(self._unknown(other.partition("=")[0]))
        return Said(said.said, [*others, *rest])

    def _wrong_value(self, error: argparse.ArgumentError) -> str:
        name = str(error.argument_name).rpartition("--")[2]
        metavar = self._rows[name].metavar
        return f"--{name}: expected {f'{metavar} behind it' if metavar else 'no value'}"

    def _unknown(self, option: str) -> str:
        advice = nearest(option, [f"--{name}" for name in self._rows])
        return f"{option}: there is no such option{advice or '; --help shows them all'}"

    @property
    def help(self) -> str:
        """What ``--help`` shows, in 80 columns."""
        lines = [
            f"{'       ' if number else 'Usage: '}{each}" for number, each in enumerate(self._usage)
        ]
        lines += ["", *self._about]
        for group in self._groups:
            lines += ["", f"{group.title}:", *map(_line, group.rows)]
            lines += [f"    {each}" for each in group.text]
        return "\n".join([*lines, *self._more])


def _line(row: OptionRow) -> str:
    """An option's line of the help."""
    letter = f"-{row.letter}, " if row.letter else ""
    value = f" {row.metavar}" if row.metavar else ""
    again = "..." if row.is_repeatable else ""
    default = row.unsaid if row.default is None else row.default
    return f"  {letter}--{row.name}{value}{again}".ljust(COLUMN - 1) + (
        f" {row.help} [{default}]" if default else f" {row.help}"
    )
