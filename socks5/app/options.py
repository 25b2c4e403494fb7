"""The command line of ``twistd socks5``, as settings.

Every option is checked here, and whatever is wrong is one sentence that names the option and what
was expected.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.strcred import (
    AuthOptionMixin,
    InvalidAuthArgumentString,
    InvalidAuthType,
    UnsupportedInterfaces,
    findCheckerFactories,
    findCheckerFactory,
)
from twisted.logger import Logger
from twisted.python import usage
from typing_extensions import override

from socks5.app.access_log import access_log_for
from socks5.app.config.options import advice
from socks5.app.gssapi_options import KerberosOptions
from socks5.app.inherit import Worker
from socks5.app.listen_options import ListenOptions
from socks5.app.option_table import GROUPS, ROWS
from socks5.app.parser import Parser
from socks5.app.reread import Source
from socks5.app.rows import OptionRow
from socks5.app.settings_options import SettingsOptions
from socks5.app.sources import SOURCES
from socks5.auth import PasswordAuthentication
from socks5.auth.users import WrongSource
from socks5.interfaces import Policy
from socks5.logins import IAuthenticator, IMethod
from socks5.net.own import is_own_address
from socks5.net.resolvconf import sources_beside_dns
from socks5.observe.accesslog import STANDARD_OUTPUT, AccessLog
from socks5.protocol.messages import Method
from socks5.server.chap_login import CHAP
from socks5.settings import NameSource

_log = Logger()

_ASKED_BY = {
    "--gssapi": {Method.GSSAPI},
    "--auth": {Method.CHAP, Method.USERNAME_PASSWORD},
}
"""What asks for which logins."""

_MEMORY_WARNING = (
    "--auth memory: every user of this machine can read these passwords in the list of processes; "
    "better: --auth htpasswd:FILE, or htpasswd:credential=NAME in a systemd service"
)


def _types() -> list[str]:
    """What may stand before the colon of ``--auth``."""
    factories = [
        each.authType
        for each in findCheckerFactories()
        if IUsernamePassword in each.credentialInterfaces
    ]
    return sorted({*SOURCES, *factories})


def _checker(kind: str, arguments: str) -> Any:
    """What ``--auth KIND:ARGUMENTS`` asks for: ours, or a plugin's."""
    generate = SOURCES.get(kind) or findCheckerFactory(kind).generateChecker
    return generate(arguments)


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


class Options(SettingsOptions, ListenOptions, KerberosOptions, AuthOptionMixin):
    """The options of ``twistd socks5`` and of the program ``socks5``.

    :param program: how the command line begins, in the examples of the help.
    :param forms: the forms that it has.
    :param more: what else the help says before the options, in lines.
    """

    supportedInterfaces = (IUsernamePassword,)
    optFlags: ClassVar = [["open", None, ROWS["open"].help]]
    optParameters: ClassVar = _as_parameters()

    drain = 0.0
    """Seconds that SIGTERM leaves to sessions. There is no option for it."""

    hand_over = 3600.0
    """Seconds that a hand-over leaves to sessions. There is no option for it."""

    def __init__(
        self,
        program: str = "twistd -n socks5",
        forms: Sequence[str] = ("twistd -n socks5 [OPTIONS]",),
        more: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.update({row.name: row.initial for row in ROWS.values()})
        self["memory"] = False
        self._parser = Parser(
            GROUPS,
            forms,
            [*ABOUT, *more],
            ["", "Examples:", *(f"  {program} {each}" for each in EXAMPLES)],
        )
        self.arguments: list[str] = []
        """The command line, for the workers."""
        self.said: Sequence[tuple[OptionRow, str]] = ()
        """The options of the command line, in order."""
        self.sources: list[Source] = []
        """What is read again for SIGHUP, beside the certificates of listeners."""

    @override
    def getUsage(self, width: int | None = None) -> str:
        """What ``--help`` shows."""
        return self._parser.help

    @override
    def parseOptions(self, options: Any = None) -> None:
        """Take a command line.

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
        self.said = said.options
        for word in said.words:
            raise usage.UsageError(f"expected options, each with -- before it, got {word!r}")
        self._check_config(said.options)
        for row, text in said.options:
            try:
                self._take(row, text)
            except ValueError as error:
                raise usage.UsageError(f"--{row.name}: {error}") from None
        self.postOptions()

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
        except ValueError:  # nor is its value any good
            instead = ""
        raise usage.UsageError(f"--{row.name} does not go with --config{instead}")

    def _take(self, row: OptionRow, text: str) -> None:
        """Do what an option says.

        :raises ValueError: its value cannot be used.
        :raises twisted.python.usage.UsageError: the same, in a sentence of its own.
        """
        own = getattr(self, f"take_{row.name.replace('-', '_')}", None)
        if own is not None:
            own(text)
        elif row.join is not None:
            self[row.name] = row.join(self[row.name], row.kind(text))
        else:
            self[row.name] = row.kind(text)

    def take_open(self, _: str) -> None:
        """Serve everybody."""
        self["open"] = True

    def take_help_auth(self, _: str) -> None:
        """Show the types of ``--auth``, and end."""
        self.opt_help_auth()

    def take_help_auth_type(self, kind: str) -> None:
        """Explain a type of ``--auth``, and end.

        :raises ValueError: there is no such type.
        """
        if kind not in {each.authType for each in findCheckerFactories()}:
            raise ValueError(f"expected one of {', '.join(_types())}, got {kind!r}")
        self.opt_help_auth_type(kind)

    def take_auth(self, description: str) -> None:
        """Let in whom this source knows; see :meth:`opt_auth`."""
        self.opt_auth(description)

    @override
    def opt_auth(self, description: str) -> None:
        """Let in those whom TYPE:ARGS knows, such as htpasswd:users.txt, and nobody else; repeatable."""
        kind, _, arguments = description.partition(":")
        if kind == "memory":
            self["memory"] = True
        try:
            checker = _checker(kind, arguments)
            self.addChecker(checker)
        except InvalidAuthType:
            known = ", ".join(_types())
            meant = f"; did you mean htpasswd:{kind}?" if os.path.exists(kind) else ""
            raise usage.UsageError(
                f"--auth: expected a type of {known} (see --help-auth), got {kind!r}{meant}"
            ) from None
        except UnsupportedInterfaces:
            raise usage.UsageError(
                f"--auth {kind}: expected a type for user names and passwords"
            ) from None
        except WrongSource as error:
            raise usage.UsageError(f"--auth {kind}: {error}") from None
        except (ValueError, OSError, InvalidAuthArgumentString):  # which may quote a password
            expected = findCheckerFactory(kind).argStringFormat
            raise usage.UsageError(f"--auth {kind}:ARGS: expected for ARGS: {expected}") from None
        file = getattr(checker, "file", None)
        if file is not None:
            self.sources.append(file)

    @override
    def postOptions(self) -> None:
        """Check what concerns several options."""
        if len({place.at is None for place in self.places}) > 1:
            raise usage.UsageError(
                "--interface does not go with --listen: expected it in the endpoint, tcp:PORT:interface=ADDRESS"
            )
        self.check_outgoing()
        self._check_access_log()
        self.check_gssapi()
        if self.worker is None:  # else the parent has, and a worker has no other sockets than those
            self.check_listeners(self._methods)

    @property
    def _methods(self) -> list[Method]:
        """What the proxy accepts where no ``--methods`` says otherwise."""
        has_logins = {
            Method.GSSAPI: self["gssapi"] is not None,
            Method.CHAP: bool(self._with_secrets),
            Method.USERNAME_PASSWORD: bool(self.get("credCheckers")),
        }
        return [method for method, has in has_logins.items() if has] or [Method.NO_AUTHENTICATION]

    def warn(self) -> None:
        """Say in the log what is legal but hardly meant."""
        if self["memory"]:
            _log.warn(_MEMORY_WARNING)
        used = {*self._methods} - {*self.unused(self._methods)}
        for option, methods in _ASKED_BY.items():
            if not used & methods and methods & {*self._methods}:
                _log.warn(
                    "{option} is given, but no listener asks for it: see --methods", option=option
                )
        for address in (self["outgoing"].ipv4, self["outgoing"].ipv6):
            if address is not None and not is_own_address(address, unknown=True):
                _log.warn(
                    "--outgoing {address}: no address of this machine now; until it is one, targets get reply 3",
                    address=address,
                )
        unasked = sources_beside_dns() if self["resolver"] == NameSource.DNS else []
        if unasked:
            _log.info(
                "nsswitch.conf names {sources} for hosts, which are not asked: --resolver system asks them",
                sources=", ".join(unasked),
            )

    def _check_access_log(self) -> None:
        if self["access-log"] == STANDARD_OUTPUT and self.is_daemon:
            raise usage.UsageError("--access-log: expected a file, for a daemon has no output")

    @property
    def is_daemon(self) -> bool:
        """Whether twistd is going to put the service in the background."""
        return self.parent is not None and not self.parent.get("nodaemon", True)

    @property
    def workers(self) -> int:
        """Processes on the same ports."""
        count: int = self["workers"]
        return count

    @property
    def told(self) -> bytes:
        """What workers are told besides their command line."""
        return b""

    def policy_of_sessions(self, reactor: Any) -> Policy:
        """What holds for sessions: who may do what, and how much, is nowhere said."""
        return Policy(
            settings=self.settings,
            authenticator=self.authenticator,
            gssapi=self.contexts(reactor),
            methods=self.methods,
        )

    @property
    def authenticator(self) -> IAuthenticator | None:
        """Password authentication if ``--auth`` was given. None without: then everybody may come in, or,
        with ``--gssapi``, whoever has a ticket.
        """
        checkers = self.get("credCheckers")
        return PasswordAuthentication.over(*checkers) if checkers else None

    @property
    def methods(self) -> list[IMethod]:
        """CHAP if some source of ``--auth`` has the secrets themselves."""
        return [CHAP.over(*self._with_secrets)] if self._with_secrets else []

    @property
    def _with_secrets(self) -> list[ICredentialsChecker]:
        return [
            each
            for each in self.get("credCheckers") or ()
            if IUsernameHashedPassword in each.credentialInterfaces
        ]

    def access_log(self, reactor: Any, worker: Worker | None = None) -> AccessLog | None:
        """The access log that the options ask for, not yet opened."""
        return access_log_for(
            reactor, self["access-log"], self["access-log-format"], worker, self.is_daemon
        )
