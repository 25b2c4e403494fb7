"""Every option of the proxy, a row for each, in groups by what they are about.

The parser, the help that a person reads, the documentation's test and what :mod:`socks5.app.options` makes of a command
line all come from this table.
"""

from __future__ import annotations

from typing import Any

from socks5.app.config.client_keys import DEFAULT_PORT
from socks5.app.config.keyed import default_of, located, value_of
from socks5.app.rows import Group, OptionRow


def _key(name: str, metavar: str, words: str, key: str, unsaid: str = "", **more: Any) -> OptionRow:
    """An option whose values and default are those of a key.

    :param unsaid: the default, where the key has it in words.
    :param more: what else is to be said of it.
    """
    row = {"kind": value_of(key), "default": None if unsaid else default_of(key), **more}
    return OptionRow(name, metavar, words, key=key, unsaid=unsaid, **row)


_FILE = Group(
    "From a file",
    (OptionRow("config", "FILE", "settings, rules, limits, proxies; TOML", unsaid="none"),),
    ("It goes with no other option.",),
)

_PLACES = Group(
    "Where it listens",
    (
        _key(
            "port",
            "PORT",
            "TCP port of every --interface",
            "listener.*.port",
            default=str(DEFAULT_PORT),
            letter="p",
        ),
        _key(
            "interface",
            "ADDRESS",
            "address, :: for all",
            "listener.*.address",
            "127.0.0.1 and ::1",
            letter="i",
            is_repeatable=True,
        ),
        OptionRow(
            "listen",
            "PLACE",
            "ADDRESS:PORT, unix:PATH, tls:PORT:cert=FILE",
            key="listener.*",
            letter="l",
            is_repeatable=True,
        ),
    ),
    ("PLACE may also be an endpoint of Twisted's. It stands for the other two.",),
)

_LISTENERS = Group(
    "Of the listener before it; before the first one, of every listener",
    (
        _key(
            "methods",
            "NAMES",
            "logins: some of gssapi,chap,password,none",
            "listener.*.methods",
        ),
        _key(
            "clients",
            "NETWORKS",
            "where its clients come from",
            "listener.*.clients",
            "anywhere",
            is_repeatable=True,
        ),
        _key(
            "proxy-from",
            "NETWORKS",
            "balancers with PROXY headers",
            "listener.*.proxy_from",
            "none",
            is_repeatable=True,
        ),
    ),
)

_USERS = Group(
    "Who may use it, and for what",
    (
        OptionRow(
            "auth",
            "TYPE:ARGS",
            "users, such as htpasswd:FILE",
            key="auth.*",
            unsaid="everybody",
            is_repeatable=True,
        ),
        OptionRow("help-auth", "", "show the types of --auth"),
        OptionRow("help-auth-type", "TYPE", "explain one of them"),
        OptionRow("open", "", "serve everybody who can reach it", key="listener.*.open"),
        _key("commands", "NAMES", "what it serves", "server.commands"),
    ),
)

_KERBEROS = Group(
    "Kerberos",
    (
        _key(
            "gssapi",
            "SERVICE[@HOST]",
            "let in who has a ticket; any: any service",
            "gssapi.service",
        ),
        _key(
            "keytab",
            "FILE",
            "with the service's keys",
            "gssapi.keytab",
            "the system's",
            kind=lambda text: located(text.removeprefix("FILE:")),
        ),
        _key(
            "gssapi-protection",
            "LEVELS",
            "of none,integrity,confidentiality",
            "gssapi.protection",
            "not none",
        ),
        _key(
            "gssapi-local-realm",
            "REALM",
            "its users are known without @REALM",
            "gssapi.local_realms",
            "none",
            is_repeatable=True,
        ),
    ),
)

_BANS = Group(
    "Guessed passwords",
    (
        _key("ban-after", "NUMBER", "failed logins of an address; 0: never", "bans.after"),
        _key("ban-time", "TIME", "for the first ban, then doubled", "bans.time"),
        _key(
            "ban-exempt",
            "NETWORKS",
            "never banned",
            "bans.exempt",
            "this machine alone",
            is_repeatable=True,
        ),
    ),
)

_TARGETS = Group(
    "How it reaches targets",
    (
        _key(
            "outgoing",
            "ADDRESS",
            "source address; one for each family",
            "server.outgoing",
            "any",
            is_repeatable=True,
        ),
        _key(
            "outgoing-family",
            "FAMILY",
            "any, ipv4, ipv6, prefer-ipv4 or prefer-ipv6",
            "server.outgoing_family",
        ),
        _key(
            "advertise",
            "ADDRESS",
            "told to clients for BIND and UDP (NAT)",
            "server.advertise",
            is_repeatable=True,
        ),
        _key("resolver", "SOURCE", "name servers (dns) or nsswitch (system)", "resolver.source"),
    ),
)

_UDP = Group(
    "UDP",
    (
        _key(
            "udp-ports",
            "FIRST-LAST",
            "that clients send to, for firewalls",
            "udp.ports",
            unsaid="any",
        ),
        _key("udp-pin", "POLICY", "who the client is: ip, ip+port, announced", "udp.pin"),
        _key("udp-filtering", "WHO", "may send to the client", "udp.filtering"),
        _key(
            "max-associations",
            "NUMBER",
            "UDP associations of one client",
            "udp.associations_per_client",
        ),
        _key("udp-targets", "NUMBER", "remembered for one client", "udp.targets"),
    ),
    (
        "WHO is endpoint-independent (anybody), address-dependent (hosts that it has",
        "sent to) or address-and-port-dependent (exactly where it has sent to).",
    ),
)


def _timeout(name: str, words: str) -> OptionRow:
    return _key(f"{name}-timeout", "TIME", words, f"timeouts.{name.replace('-', '_')}")


_TIMES = Group(
    "Time limits",
    (
        _timeout("handshake", "for greeting and login"),
        _timeout("request", "from then to the request"),
        _timeout("resolve", "for a name"),
        _timeout("connect", "for reaching a target"),
        _timeout("bind", "for the peer of a BIND to connect"),
        _timeout("idle", "of silence in a TCP relay"),
        _timeout("linger", "of silence once one side has ended"),
        _timeout("udp-idle", "of silence in a UDP association"),
        _key("keepalive", "TIME", "of silence until a TCP peer is probed", "timeouts.keepalive"),
    ),
    ("TIME is a number with a unit (500ms, 30s, 5m, 2h, 1h30m, 1d), or of seconds.",),
)

_COUNTS = Group(
    "How many",
    (
        _key(
            "workers",
            "NUMBER",
            "processes; auto: one for each processor",
            "server.workers",
        ),
        _key(
            "max-sessions",
            "NUMBER",
            "clients; auto: what open files allow",
            "server.max_sessions",
            kind=lambda text: "auto" if text == "0" else value_of("server.max_sessions")(text),
        ),
        _key(
            "max-sessions-wait", "TIME", "until further ones are closed", "server.max_sessions_wait"
        ),
        _key(
            "handshakes-per-client",
            "NUMBER",
            "of one address at a time, others wait",
            "server.handshakes_per_client",
        ),
        _key(
            "waiting-per-client",
            "NUMBER",
            "of these, further ones are closed",
            "server.waiting_per_client",
        ),
    ),
)

_LOG = Group(
    "What it writes down",
    (
        _key(
            "access-log",
            "FILE",
            "a line a session; -: the output",
            "log.access",
            "- if terminal",
        ),
        _key(
            "access-log-format", "FORMAT", "json or text", "log.format", unsaid="text on a terminal"
        ),
    ),
)

GROUPS = (
    _FILE,
    _PLACES,
    _LISTENERS,
    _USERS,
    _KERBEROS,
    _BANS,
    _TARGETS,
    _UDP,
    _TIMES,
    _COUNTS,
    _LOG,
)
"""In the order in which they are shown."""

ROWS: dict[str, OptionRow] = {row.name: row for group in GROUPS for row in group.rows}
"""All options, by name."""
