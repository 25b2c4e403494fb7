"""Every option of the proxy, a row for each, in groups by what they are about.

The parser, the help that a person reads, the documentation's test and what :mod:`socks5.app.options` makes of a command
line all come from this table.
"""

from __future__ import annotations

from operator import add, or_

from socks5.app import values
from socks5.app.config.keyed import default_of, reader
from socks5.app.rows import Group, OptionRow
from socks5.protocol.networks import NO_NETWORKS
from socks5.settings import PerFamily


def _key(name: str, metavar: str, words: str, key: str, unsaid: str = "") -> OptionRow:
    """An option whose values and default are those of a key.

    :param unsaid: the default, where the key has it in words.
    """
    default = None if unsaid else default_of(key)
    return OptionRow(name, metavar, words, reader(key), key, default, unsaid=unsaid)


_FILE = Group(
    "From a file",
    (
        OptionRow(
            "config",
            "FILE",
            "settings, rules and limits, TOML",
            values.path,
            unsaid="none",
        ),
    ),
    ("It goes with no other option.",),
)

_PLACES = Group(
    "Where it listens",
    (
        OptionRow(
            "port",
            "PORT",
            "TCP port of every --interface",
            reader("listener.*.port"),
            "listener.*.port",
            "1080",
            letter="p",
        ),
        OptionRow(
            "interface",
            "ADDRESS",
            "address, :: for all",
            values.address,
            "listener.*.address",
            letter="i",
            unsaid="127.0.0.1 and ::1",
            is_one_of_many=True,
        ),
        OptionRow(
            "listen",
            "PLACE",
            "ADDRESS:PORT, unix:PATH, tls:PORT:cert=FILE",
            str,
            "listener.*",
            letter="l",
            is_one_of_many=True,
        ),
    ),
    ("PLACE may also be an endpoint of Twisted's. It stands for the other two.",),
)

_LISTENERS = Group(
    "Of the listener before it; before the first one, of every listener",
    (
        OptionRow(
            "methods",
            "NAMES",
            "logins: some of gssapi,chap,password,none",
            values.methods,
            "listener.*.methods",
        ),
        OptionRow(
            "clients",
            "NETWORKS",
            "where its clients come from",
            values.networks,
            "listener.*.clients",
            unsaid="anywhere",
            join=or_,
        ),
        OptionRow(
            "proxy-from",
            "NETWORKS",
            "balancers with PROXY headers",
            values.networks,
            "listener.*.proxy_from",
            unsaid="none",
            join=or_,
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
            str,
            "auth.*",
            unsaid="everybody",
            is_one_of_many=True,
        ),
        OptionRow("help-auth", "", "show the types of --auth"),
        OptionRow("help-auth-type", "TYPE", "explain one of them"),
        OptionRow(
            "open",
            "",
            "serve everybody who can reach it",
            str,
            "listener.*.open",
            empty=False,
        ),
        _key("commands", "NAMES", "what it serves", "server.commands"),
    ),
)

_KERBEROS = Group(
    "Kerberos",
    (
        OptionRow(
            "gssapi",
            "SERVICE[@HOST]",
            "let in who has a ticket; any: any service",
            values.service,
            "gssapi.service",
        ),
        OptionRow(
            "keytab",
            "FILE",
            "with the service's keys",
            str,
            "gssapi.keytab",
            unsaid="the system's",
        ),
        OptionRow(
            "gssapi-protection",
            "LEVELS",
            "of none,integrity,confidentiality",
            values.protections,
            "gssapi.protection",
            unsaid="not none",
            empty=(),
        ),
        OptionRow(
            "gssapi-local-realm",
            "REALM",
            "its users are known without @REALM",
            values.realm,
            "gssapi.local_realms",
            unsaid="none",
            empty=(),
            join=add,
        ),
    ),
)

_BANS = Group(
    "Guessed passwords",
    (
        _key("ban-after", "NUMBER", "failed logins of an address; 0: never", "bans.after"),
        _key("ban-time", "TIME", "for the first ban, then doubled", "bans.time"),
        OptionRow(
            "ban-exempt",
            "NETWORKS",
            "never banned",
            values.networks,
            "bans.exempt",
            unsaid="this machine alone",
            empty=NO_NETWORKS,
            join=or_,
        ),
    ),
)

_TARGETS = Group(
    "How it reaches targets",
    (
        OptionRow(
            "outgoing",
            "ADDRESS",
            "source address; one for each family",
            values.host,
            "server.outgoing",
            unsaid="any",
            empty=PerFamily(),
            join=values.both_families,
        ),
        _key(
            "outgoing-family",
            "FAMILY",
            "any, ipv4, ipv6, prefer-ipv4 or prefer-ipv6",
            "server.outgoing_family",
        ),
        OptionRow(
            "advertise",
            "ADDRESS",
            "told to clients for BIND and UDP (NAT)",
            values.host,
            "server.advertise",
            empty=PerFamily(),
            join=values.both_families,
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
        OptionRow(
            "workers",
            "NUMBER",
            "processes; auto: one for each processor",
            values.workers,
            "server.workers",
            "1",
        ),
        OptionRow(
            "max-sessions",
            "NUMBER",
            "clients; auto: what open files allow",
            values.max_sessions,
            "server.max_sessions",
            "auto",
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
        OptionRow(
            "access-log",
            "FILE",
            "a line a session; -: the output",
            values.path_or_output,
            "log.access",
            unsaid="- if terminal",
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
