"""Every option of the proxy, a row for each, in groups by what they are about.

The parser, the help that a person reads, the documentation's test and what :mod:`socks5.app.options` makes of a command
line all come from this table.
"""

from __future__ import annotations

from operator import add, or_

from socks5.app import values
from socks5.app.rows import Group, Row
from socks5.app.values import Kind, choice, number, time, time_or_off, whole_seconds_or_off
from socks5.observe.accesslog import FORMATS
from socks5.protocol.networks import NO_NETWORKS
from socks5.settings import NameSource, OutgoingFamily, PerFamily, UDPFiltering, UDPPin

MAX_KEEPALIVE = 32_767
"""Seconds; Linux takes no more (tcp(7), TCP_KEEPIDLE)."""


_FILE = Group(
    "From a file",
    (
        Row(
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
        Row(
            "port",
            "PORT",
            "TCP port of every --interface",
            number(0, 65535),
            "listener.*.port",
            "1080",
            letter="p",
        ),
        Row(
            "interface",
            "ADDRESS",
            "address, :: for all",
            values.address,
            "listener.*.address",
            letter="i",
            unsaid="127.0.0.1 and ::1",
            is_one_of_many=True,
        ),
        Row(
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
        Row(
            "methods",
            "NAMES",
            "logins: some of gssapi,chap,password,none",
            values.methods,
            "listener.*.methods",
        ),
        Row(
            "clients",
            "NETWORKS",
            "where its clients come from",
            values.networks,
            "listener.*.clients",
            unsaid="anywhere",
            join=or_,
        ),
        Row(
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
        Row(
            "auth",
            "TYPE:ARGS",
            "users, such as htpasswd:FILE",
            str,
            "auth.*",
            unsaid="everybody",
            is_one_of_many=True,
        ),
        Row("help-auth", "", "show the types of --auth"),
        Row("help-auth-type", "TYPE", "explain one of them"),
        Row(
            "open",
            "",
            "serve everybody who can reach it",
            str,
            "listener.*.open",
            empty=False,
        ),
        Row(
            "commands",
            "NAMES",
            "what it serves",
            values.commands,
            "server.commands",
            ",".join(values.COMMANDS),
        ),
    ),
)

_KERBEROS = Group(
    "Kerberos",
    (
        Row(
            "gssapi",
            "SERVICE[@HOST]",
            "let in who has a ticket; any: any service",
            values.service,
            "gssapi.service",
        ),
        Row(
            "keytab",
            "FILE",
            "with the service's keys",
            str,
            "gssapi.keytab",
            unsaid="the system's",
        ),
        Row(
            "gssapi-protection",
            "LEVELS",
            "of none,integrity,confidentiality",
            values.protections,
            "gssapi.protection",
            unsaid="not none",
            empty=(),
        ),
        Row(
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
        Row(
            "ban-after",
            "NUMBER",
            "failed logins of an address; 0: never",
            number(0, 1_000_000),
            "bans.after",
            "10",
        ),
        Row("ban-time", "TIME", "for the first ban, then doubled", time_or_off, "bans.time", "1m"),
        Row(
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
        Row(
            "outgoing",
            "ADDRESS",
            "source address; one for each family",
            values.host,
            "server.outgoing",
            unsaid="any",
            empty=PerFamily(),
            join=values.both_families,
        ),
        Row(
            "outgoing-family",
            "FAMILY",
            "any, ipv4, ipv6, prefer-ipv4 or prefer-ipv6",
            choice([family.value for family in OutgoingFamily]),
            "server.outgoing_family",
        ),
        Row(
            "advertise",
            "ADDRESS",
            "told to clients for BIND and UDP (NAT)",
            values.host,
            "server.advertise",
            empty=PerFamily(),
            join=values.both_families,
        ),
        Row(
            "resolver",
            "SOURCE",
            "name servers (dns) or nsswitch (system)",
            choice([source.value for source in NameSource]),
            "resolver.source",
            NameSource.DNS.value,
        ),
    ),
)

_UDP = Group(
    "UDP",
    (
        Row(
            "udp-ports",
            "FIRST-LAST",
            "that clients send to, for firewalls",
            values.ports,
            "udp.ports",
            unsaid="any",
        ),
        Row(
            "udp-pin",
            "POLICY",
            "who the client is: ip, ip+port, announced",
            choice([pin.value for pin in UDPPin]),
            "udp.pin",
            UDPPin.IP.value,
        ),
        Row(
            "udp-filtering",
            "WHO",
            "may send to the client",
            choice([filtering.value for filtering in UDPFiltering]),
            "udp.filtering",
            UDPFiltering.ADDRESS_DEPENDENT.value,
        ),
        Row(
            "max-associations",
            "NUMBER",
            "UDP associations of one client",
            number(1, 1_000_000),
            "udp.associations_per_client",
            "1024",
        ),
        Row(
            "udp-targets",
            "NUMBER",
            "remembered for one client",
            number(1, 10_000_000),
            "udp.targets",
            "16384",
        ),
    ),
    (
        "WHO is endpoint-independent (anybody), address-dependent (hosts that it has",
        "sent to) or address-and-port-dependent (exactly where it has sent to).",
    ),
)


def _timeout(name: str, words: str, default: str, kind: Kind = time) -> Row:
    key = f"timeouts.{name.replace('-', '_')}"
    return Row(f"{name}-timeout", "TIME", words, kind, key, default)


_TIMES = Group(
    "Time limits",
    (
        _timeout("handshake", "for greeting and login", "10s"),
        _timeout("request", "from then to the request", "2m"),
        _timeout("resolve", "for a name", "10s"),
        _timeout("connect", "for reaching a target", "20s"),
        _timeout("bind", "for the peer of a BIND to connect", "1m"),
        _timeout("idle", "of silence in a TCP relay", "off", time_or_off),
        _timeout("linger", "of silence once one side has ended", "4m"),
        _timeout("udp-idle", "of silence in a UDP association", "5m"),
        Row(
            "keepalive",
            "TIME",
            "of silence until a TCP peer is probed",
            whole_seconds_or_off(MAX_KEEPALIVE),
            "timeouts.keepalive",
            "3m",
        ),
    ),
    ("TIME is a number with a unit (500ms, 30s, 5m, 2h, 1h30m, 1d), or of seconds.",),
)

_COUNTS = Group(
    "How many",
    (
        Row(
            "workers",
            "NUMBER",
            "processes; auto: one for each processor",
            values.workers,
            "server.workers",
            "1",
        ),
        Row(
            "max-sessions",
            "NUMBER",
            "clients; auto: what open files allow",
            number(0, 10_000_000, auto=0),
            "server.max_sessions",
            "auto",
        ),
        Row(
            "max-sessions-wait",
            "TIME",
            "until further ones are closed",
            time,
            "server.max_sessions_wait",
            "5s",
        ),
        Row(
            "handshakes-per-client",
            "NUMBER",
            "of one address at a time, others wait",
            number(1, 1_000_000),
            "server.handshakes_per_client",
            "64",
        ),
        Row(
            "waiting-per-client",
            "NUMBER",
            "of these, further ones are closed",
            number(0, 1_000_000),
            "server.waiting_per_client",
            "2048",
        ),
    ),
)

_LOG = Group(
    "What it writes down",
    (
        Row(
            "access-log",
            "FILE",
            "a line a session; -: the output",
            values.path_or_output,
            "log.access",
            unsaid="- if terminal",
        ),
        Row(
            "access-log-format",
            "FORMAT",
            "json or text",
            choice(list(FORMATS)),
            "log.format",
            unsaid="text on a terminal",
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

ROWS: dict[str, Row] = {row.name: row for group in GROUPS for row in group.rows}
"""All options, by name."""
