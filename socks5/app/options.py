"""The command line of ``twistd socks5``, as settings.

Every option is checked here, and whatever is wrong is one sentence that names the option and what
was expected.
"""

from __future__ import annotations

import os
import sys
from ipaddress import ip_address
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

from socks5.app.gssapi_options import KerberosOptions
from socks5.app.inherit import Worker
from socks5.app.listen_options import ListenOptions, Place, networks
from socks5.app.reread import Source
from socks5.app.sources import SOURCES
from socks5.app.values import COMMANDS, choice, commands, number, ports, seconds, workers
from socks5.auth import PasswordAuthentication
from socks5.auth.users import WrongSource
from socks5.interfaces import IAuthenticator, IMethod
from socks5.net.own import is_own_address
from socks5.net.resolvconf import sources_beside_dns
from socks5.observe.accesslog import FORMATS, STANDARD_OUTPUT, AccessLog
from socks5.protocol.messages import Method
from socks5.protocol.networks import Networks
from socks5.server.chap_login import CHAP
from socks5.settings import (
    Capacity,
    NameSource,
    OutgoingFamily,
    PerFamily,
    Settings,
    UDPFiltering,
    UDPPin,
)

MAX_KEEPALIVE = 32_767
"""Seconds; Linux takes no more (tcp(7), TCP_KEEPIDLE)."""

_DEFAULTS, _CAPACITY = Settings(), Capacity()

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


class Options(ListenOptions, KerberosOptions, AuthOptionMixin):
    """The options of ``twistd socks5``."""

    longdesc = (
        "A SOCKS5 proxy (RFC 1928, 1929): CONNECT, BIND and UDP ASSOCIATE. Listens on this "
        "machine's loopback unless told otherwise; where others can reach it, it wants --auth, --gssapi, "
        "--clients or --open."
    )
    supportedInterfaces = (IUsernamePassword,)

    optFlags: ClassVar = [
        ["open", None, "Serve anyone who can reach the proxy, without a login."],
    ]

    optParameters: ClassVar = [
        ["port", "p", 1080, "TCP port to listen on.", number("port", 0, 65535)],
        [
            "commands",
            None,
            ",".join(COMMANDS),
            "Commands to serve; others get reply 7.",
            commands,
        ],
        [
            "outgoing-family",
            None,
            None,
            (
                "Reach targets over any family, one first (prefer-ipv4, prefer-ipv6) or one only (ipv4, ipv6). "
                "[default: any, or that of a single --outgoing]"
            ),
            choice("outgoing-family", [family.value for family in OutgoingFamily]),
        ],
        [
            "udp-ports",
            None,
            None,
            "UDP ports FIRST-LAST that clients send to, for a firewall. [default: any]",
            ports,
        ],
        [
            "udp-pin",
            None,
            _DEFAULTS.udp_pin.value,
            (
                "Which datagrams are a client's: those from its address (ip), from its first port there "
                "(ip+port), or from the address and port that it announced (announced)."
            ),
            choice("udp-pin", [pin.value for pin in UDPPin]),
        ],
        [
            "udp-filtering",
            None,
            _DEFAULTS.udp_filtering.value,
            (
                "Who may send datagrams to a client: anyone (endpoint-independent), hosts it has sent to "
                "(address-dependent), or exactly where it has sent to (address-and-port-dependent)."
            ),
            choice("udp-filtering", [filtering.value for filtering in UDPFiltering]),
        ],
        [
            "handshake-timeout",
            None,
            _DEFAULTS.handshake_timeout,
            "Seconds from a client's connection to the end of greeting and login.",
            seconds("handshake-timeout", 0.1),
        ],
        [
            "request-timeout",
            None,
            _DEFAULTS.request_timeout,
            "Seconds from then to a client's complete request.",
            seconds("request-timeout", 0.1),
        ],
        [
            "ban-after",
            None,
            _DEFAULTS.ban_after,
            "Failed logins until an address is banned; 0: never, and answers are not delayed.",
            number("ban-after", 0, 1_000_000),
        ],
        [
            "ban-time",
            None,
            _DEFAULTS.ban_time,
            "Seconds of a first ban, the next is twice as long; 0: no bans.",
            seconds("ban-time"),
        ],
        [
            "resolve-timeout",
            None,
            _DEFAULTS.resolve_timeout,
            "Seconds to resolve a name.",
            seconds("resolve-timeout", 0.1),
        ],
        [
            "resolver",
            None,
            _CAPACITY.resolver.value,
            (
                "Who turns names into addresses, after the hosts file: the name servers of resolv.conf (dns), or "
                "the system's resolver with all that nsswitch.conf names, in threads (system)."
            ),
            choice("resolver", [source.value for source in NameSource]),
        ],
        [
            "connect-timeout",
            None,
            _DEFAULTS.connect_timeout,
            "Seconds to reach a target.",
            seconds("connect-timeout", 0.1),
        ],
        [
            "idle-timeout",
            None,
            _DEFAULTS.idle_timeout,
            "Seconds of silence that end a TCP relay; 0: never.",
            seconds("idle-timeout"),
        ],
        [
            "keepalive",
            None,
            _DEFAULTS.keepalive,
            "Whole seconds of silence until a TCP peer is asked whether it is there; 0: never.",
            number("keepalive", 0, MAX_KEEPALIVE),
        ],
        [
            "linger-timeout",
            None,
            _DEFAULTS.linger_timeout,
            "Seconds of silence that end a half-closed TCP relay.",
            seconds("linger-timeout", 0.1),
        ],
        [
            "bind-timeout",
            None,
            _DEFAULTS.bind_timeout,
            "Seconds for the peer of a BIND to connect.",
            seconds("bind-timeout", 0.1),
        ],
        [
            "udp-targets",
            None,
            _DEFAULTS.udp_targets,
            "UDP targets remembered for a client address; a new one beyond is dropped until another is silent.",
            number("udp-targets", 1, 10_000_000),
        ],
        [
            "max-associations",
            None,
            _DEFAULTS.associations_per_client,
            "UDP associations of a client address at a time.",
            number("max-associations", 1, 1_000_000),
        ],
        [
            "udp-idle-timeout",
            None,
            _DEFAULTS.udp_idle_timeout,
            "Seconds of silence that end a UDP association.",
            seconds("udp-idle-timeout", 0.1),
        ],
        [
            "max-sessions",
            None,
            _CAPACITY.max_sessions,
            "Clients at a time, others wait; 0: what the limit of open files allows.",
            number("max-sessions", 0, 10_000_000),
        ],
        [
            "max-sessions-wait",
            None,
            _CAPACITY.max_sessions_wait,
            "Seconds that clients wait if there are that many; then they are closed.",
            seconds("max-sessions-wait", 0.1),
        ],
        [
            "handshakes-per-client",
            None,
            _CAPACITY.handshakes_per_client,
            "Connections of one client address that negotiate at a time; others of it wait for their turn.",
            number("handshakes-per-client", 1, 1_000_000),
        ],
        [
            "waiting-per-client",
            None,
            _CAPACITY.waiting_per_client,
            "Connections of one client address that wait for their turn; more are closed.",
            number("waiting-per-client", 0, 1_000_000),
        ],
        [
            "workers",
            None,
            1,
            "Processes on the same ports; auto: one for each processor.",
            workers,
        ],
        [
            "access-log",
            None,
            None,
            "File for a line per session, - for the output. [default: the output if it is a terminal, else none]",
        ],
        [
            "access-log-format",
            None,
            None,
            "json or text. [default: text on a terminal, else json]",
            choice("access-log-format", list(FORMATS)),
        ],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["memory"] = False
        self["ban-exempt"] = Networks()
        self["outgoing"] = PerFamily()
        self["advertise"] = PerFamily()
        self.arguments: list[str] = []
        """The command line, for the workers."""
        self.sources: list[Source] = []
        """What is read again for SIGHUP, beside the certificates of listeners."""

    @override
    def parseOptions(self, options: Any = None) -> None:
        self.arguments = list(sys.argv[1:] if options is None else options)
        super().parseOptions(self.arguments)  # type: ignore[no-untyped-call]

    @override
    def parseArgs(self, *words: str) -> None:
        """Words without an option: there are none."""
        if words:
            raise usage.UsageError(f"expected options, each with -- before it, got {words[0]!r}")

    def opt_interface(self, address: str) -> None:
        """IP address to listen on, :: for all; repeatable. [default: 127.0.0.1 and ::1]"""
        self._ip("interface", address)
        self.add_place(Place(address))

    opt_i = opt_interface

    def opt_ban_exempt(self, text: str) -> None:
        """Networks that are never banned; repeatable. [default: none but this machine]"""
        self["ban-exempt"] |= networks("ban-exempt", text)

    def opt_outgoing(self, address: str) -> None:
        """IP address to reach targets from; repeatable, one per family. [default: the system's choice]"""
        self["outgoing"] = self._per_family("outgoing", address)

    def opt_advertise(self, address: str) -> None:
        """IP address told to clients for BIND and UDP, if a NAT hides the real one; repeatable, one per family."""
        self["advertise"] = self._per_family("advertise", address)

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

    def _ip(self, option: str, text: str) -> int:
        """The IP version of an address option.

        :raises UsageError: it is none.
        """
        try:
            return ip_address(text).version
        except ValueError:
            raise usage.UsageError(f"--{option}: expected an IP address, got {text!r}") from None

    def _per_family(self, option: str, text: str) -> PerFamily:
        version, present = self._ip(option, text), self[option]
        if (present.ipv4 if version == 4 else present.ipv6) is not None:
            raise usage.UsageError(
                f"--{option}: expected one address per family, got also {text!r}"
            )
        parsed = ip_address(text)
        if parsed.is_unspecified or getattr(parsed, "ipv4_mapped", None) or "%" in text:
            raise usage.UsageError(f"--{option}: expected the address of a machine, got {text!r}")
        return PerFamily(text, present.ipv6) if version == 4 else PerFamily(present.ipv4, text)

    @override
    def postOptions(self) -> None:
        """Check what concerns several options."""
        if len({place.at is None for place in self.places}) > 1:
            raise usage.UsageError(
                "--interface does not go with --listen: expected it in the endpoint, tcp:PORT:interface=ADDRESS"
            )
        self._check_outgoing()
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

    def _check_outgoing(self) -> None:
        """Refuse a source address that would never be one."""
        for address in (self["outgoing"].ipv4, self["outgoing"].ipv6):
            if address is not None and self._family and not self._family.allows(address):
                raise usage.UsageError(
                    f"--outgoing {address}: expected an address of the one family that --outgoing-family "
                    f"{self._family} leaves, or another --outgoing-family"
                )

    @property
    def _family(self) -> OutgoingFamily | None:
        """Over which families targets are reached, where that was said."""
        text = self["outgoing-family"]
        return None if text is None else OutgoingFamily(text)

    def _check_access_log(self) -> None:
        if self["access-log"] == "":
            raise usage.UsageError("--access-log: expected a file or -, got ''")
        if self["access-log"] == STANDARD_OUTPUT and self._is_daemon:
            raise usage.UsageError("--access-log: expected a file, for a daemon has no output")

    @property
    def _is_daemon(self) -> bool:
        """Whether twistd is going to put the service in the background."""
        return self.parent is not None and not self.parent.get("nodaemon", True)

    @property
    def settings(self) -> Settings:
        """The options as :class:`~socks5.settings.Settings`."""
        return Settings(
            commands=frozenset(COMMANDS[name] for name in self["commands"].split(",")),
            outgoing=self["outgoing"],
            outgoing_family=self._family,
            advertise=self["advertise"],
            handshake_timeout=self["handshake-timeout"],
            request_timeout=self["request-timeout"],
            ban_after=self["ban-after"],
            ban_time=self["ban-time"],
            ban_exempt=self["ban-exempt"],
            resolve_timeout=self["resolve-timeout"],
            connect_timeout=self["connect-timeout"],
            idle_timeout=self["idle-timeout"],
            keepalive=self["keepalive"],
            linger_timeout=self["linger-timeout"],
            bind_timeout=self["bind-timeout"],
            udp_idle_timeout=self["udp-idle-timeout"],
            udp_pin=UDPPin(self["udp-pin"]),
            udp_filtering=UDPFiltering(self["udp-filtering"]),
            udp_ports=self["udp-ports"],
            udp_targets=self["udp-targets"],
            associations_per_client=self["max-associations"],
        )

    @property
    def capacity(self) -> Capacity:
        """The options as :class:`~socks5.settings.Capacity`."""
        return Capacity(
            max_sessions=self["max-sessions"],
            max_sessions_wait=self["max-sessions-wait"],
            handshakes_per_client=self["handshakes-per-client"],
            waiting_per_client=self["waiting-per-client"],
            resolver=NameSource(self["resolver"]),
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
        is_terminal = sys.stdout.isatty() if worker is None else os.isatty(worker.output)
        is_terminal = is_terminal and not self._is_daemon
        path = self["access-log"] or (STANDARD_OUTPUT if is_terminal else None)
        if path is None:
            return None
        default = "text" if path == STANDARD_OUTPUT and is_terminal else "json"
        form = FORMATS[self["access-log-format"] or default]
        return AccessLog(reactor, path, form, None if worker is None else worker.output)
