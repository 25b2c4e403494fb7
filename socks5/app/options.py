"""The command line of ``twistd socks5``: what it says becomes the tree that a file has, and is judged as that is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.python import usage
from typing_extensions import override

from socks5.app.config.options import advice, document_of
from socks5.app.estate import Estate, Left
from socks5.app.inherit import Worker
from socks5.app.option_table import GROUPS, ROWS
from socks5.app.parser import Parser
from socks5.app.rows import OptionRow
from socks5.app.sources import types

ABOUT = (
    "A SOCKS5 proxy (RFC 1928, 1929): CONNECT, BIND and UDP ASSOCIATE. Without",
    "options it serves this machine alone, on port 1080. Where others can reach it,",
    "it wants --auth, --gssapi, --clients or --open.",
    "",
    "What is in [] holds without the option. One with ... may be given several times.",
    "NAMES, NETWORKS and LEVELS have commas between them.",
)

EXAMPLES = (
    "--listen 127.0.0.1:1080",
    "--listen 192.0.2.1:1080 --auth htpasswd:users.txt",
    "--interface :: --clients 192.0.2.0/24 --idle-timeout 2h",
)
"""For the help, each behind the program's name."""


def _as_parameters() -> list[list[Any]]:
    """The options as Twisted knows them, for the completion of a shell's command line."""
    return [[row.name, row.letter or None, None, row.help] for row in ROWS.values() if row.metavar]


class Options(usage.Options, AuthOptionMixin):
    """The options of ``twistd socks5`` and of the program ``socks5``.

    :param program: how the command line begins, in the examples of the help.
    :param forms: the forms that it has.
    :param more: what else the help says before the options, in lines.
    """

    supportedInterfaces = (IUsernamePassword,)
    optFlags: ClassVar = [["open", None, ROWS["open"].help]]
    optParameters: ClassVar = _as_parameters()

    def __init__(
        self,
        program: str = "twistd -n socks5",
        forms: Sequence[str] = ("twistd -n socks5 [OPTIONS]",),
        more: Sequence[str] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._parser = Parser(
            GROUPS,
            forms,
            [*ABOUT, *more],
            ["", "Examples:", *(f"  {program} {each}" for each in EXAMPLES)],
        )
        self.arguments: list[str] = []
        """The command line, for the workers."""
        self.document = document_of(())
        """What it says, where it names no file."""
        self.worker = Worker.from_environment()
        """This process as a worker, whose parent has opened the listeners."""
        self.left = Left.from_environment()
        self.estate = Estate(self.left)
        """What the process before this one has left to it."""

    @override
    def getUsage(self, width: int | None = None) -> str:
        """What ``--help`` shows."""
        return self._parser.help

    @override
    def parseOptions(self, options: Any = None) -> None:
        """Take a command line. What its options mean is looked at where something is made of them.

        :raises twisted.python.usage.UsageError: something is wrong with it; says what was expected.
        :raises SystemExit: likewise, under ``twistd``, which would show all its options before the sentence.
        """
        self.arguments = list(sys.argv[1:] if options is None else options)
        try:
            self._parse()
        except usage.UsageError as error:
            if self.parent is None:
                raise
            sys.stderr.write(f"socks5: {error}\n")
            raise SystemExit(2) from None

    def _parse(self) -> None:
        """:raises twisted.python.usage.UsageError: see :meth:`parseOptions`."""
        said = self._parser.parse(self.arguments)
        for word in said.words:
            raise usage.UsageError(f"expected options, each with -- before it, got {word!r}")
        self._check_config(said.options)
        texts = {row.name: text for row, text in said.options}
        if "help-auth" in texts:
            self.opt_help_auth()
        if "help-auth-type" in texts:
            self._explain(texts["help-auth-type"])
        if texts.get("config") == "":
            raise usage.UsageError("--config: expected a file, got ''")
        self["config"] = texts.get("config")
        self.document = document_of((row, text) for row, text in said.options if row.key)

    def _check_config(self, said: Sequence[tuple[OptionRow, str]]) -> None:
        """A file goes with no other option.

        :raises twisted.python.usage.UsageError: says where in the file that belongs.
        """
        others = [(row, text) for row, text in said if row.name != "config"]
        if len(others) == len(said) or not others:
            return
        row, text = others[0]
        try:
            instead = f"; {advice(row, text)}" if row.key else ""
        except (ValueError, usage.UsageError):  # nor is its value any good
            instead = ""
        raise usage.UsageError(f"--{row.name} does not go with --config{instead}")

    def _explain(self, kind: str) -> None:
        """Explain a type of ``--auth``, and end.

        :raises twisted.python.usage.UsageError: there is no such type.
        """
        if kind not in types():
            raise usage.UsageError(
                f"--help-auth-type: expected one of {', '.join(types())}, got {kind!r}"
            )
        self.opt_help_auth_type(kind)

    @property
    def is_daemon(self) -> bool:
        """Whether twistd is going to put the service in the background."""
        return self.parent is not None and not self.parent.get("nodaemon", True)
