"""Every key of the file, in one table: what may stand behind it, what holds without it, and what it is about.

The reader, the schema, the options of the command line, what ``print-config`` writes and the page of the
documentation are made of this. The classes are the sections, their fields the keys; keys that are about who comes in
and what is allowed are in :mod:`socks5.app.config.policy_keys`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from socks5.app.config.client_keys import SOURCES, Listener
from socks5.app.config.conditions import NetworkEntry
from socks5.app.config.files import FileFrom, FilePath, From
from socks5.app.config.policy_keys import Group, Limit, NameSet, NetworkSet, Rule, limits
from socks5.app.config.quantities import Size, Time
from socks5.app.config.tables import Named, Table, Tables, Typed, optional, required
from socks5.app.config.upstream_keys import Upstream
from socks5.app.config.values import Choice, Count, IPAddress, Listed, PortRange, Text
from socks5.protocol.gssapi import Protection
from socks5.settings import (
    COMMANDS,
    Capacity,
    NameSource,
    OutgoingFamily,
    Settings,
    UDPFiltering,
    UDPPin,
)

_DEFAULTS, _CAPACITY = Settings(), Capacity()

MAX_KEEPALIVE = 32_767
"""Seconds; Linux takes no more (tcp(7), TCP_KEEPIDLE)."""

MAX_WORKERS = 1024

AUTO_WORKERS = 0
"""One for each processor."""

_PROTECTIONS = {
    "none": Protection.NONE,
    "integrity": Protection.INTEGRITY,
    "confidentiality": Protection.CONFIDENTIALITY,
}


def _setting(name: str, kind: Any, help: str, default: str = "") -> Any:
    """A key that is a field of Settings."""
    return optional(kind, help, getattr(_DEFAULTS, name), sets=name, default=default)


def _capacity(name: str, kind: Any, help: str, default: str = "") -> Any:
    """A key that is a field of Capacity."""
    return optional(kind, help, getattr(_CAPACITY, name), sets=name, default=default)


def _words_of(choices: Any) -> Choice:
    """The members of an enumeration of words."""
    return Choice({each.value: each for each in choices})


@dataclass(frozen=True, kw_only=True)
class Server:
    """``[server]``: the proxy as a whole."""

    commands: tuple[frozenset[int], ...] = optional(
        Listed(Choice(COMMANDS)),
        "Commands that are served; others get reply 7.",
        tuple(octets for octets in COMMANDS.values() if octets <= _DEFAULTS.commands),
        sets="commands",
    )
    workers: int = optional(
        Count(1, MAX_WORKERS, "auto", AUTO_WORKERS),
        "Processes on the same ports; auto: one for each processor.",
        1,
    )
    max_sessions: int = _capacity(
        "max_sessions",
        Count(1, 10_000_000, "auto"),
        "Clients at a time, others wait; auto: what the limit of open files allows.",
    )
    max_sessions_wait: float = _capacity(
        "max_sessions_wait",
        Time(0.1),
        "How long clients wait if there are that many; then they are closed.",
    )
    handshakes_per_client: int = _capacity(
        "handshakes_per_client",
        Count(1, 1_000_000),
        "Connections of one client address that negotiate at a time; others of it wait for their turn.",
    )
    waiting_per_client: int = _capacity(
        "waiting_per_client",
        Count(0, 1_000_000),
        "Connections of one client address that wait for their turn; more are closed.",
    )
    outgoing: tuple[str, ...] = optional(
        Listed(IPAddress("an IP address of this host", is_of_a_host=True)),
        "Addresses that targets are reached from, one a family.",
        (),
        sets="outgoing",
        default="the system's choice",
    )
    outgoing_family: OutgoingFamily | None = _setting(
        "outgoing_family",
        _words_of(OutgoingFamily),
        "Families that targets are reached over: any, one first, or one only.",
        "any, or that of a single address in outgoing",
    )
    advertise: tuple[str, ...] = optional(
        Listed(IPAddress("an IP address of a host", is_of_a_host=True)),
        "Addresses that clients are told for BIND and UDP, if a NAT hides the real ones, one a family.",
        (),
        sets="advertise",
        default="the real address",
    )
    max_optimistic: int = _setting(
        "max_optimistic",
        Size(0, 1 << 30),
        "Octets behind the request that are kept until the target answers.",
    )
    default: str | None = optional(
        Choice(("deny", "allow", "report")),
        "What no rule decides; report: allowed, and noted.",
        default="deny where there are rules, else allow",
    )
    zone: str | None = optional(
        Text("the name of a time zone", None, "Europe/Berlin"),
        "Time zone of during and of quotas.",
        default="none",
    )
    state: str | None = optional(
        FilePath(),
        "File that keeps what is used of quotas.",
        default="none",
    )
    limits: tuple[str, ...] = limits("the whole proxy")
    drain: float = optional(
        Time(), "How long sessions may go on when the proxy is asked to stop.", 0.0
    )
    hand_over: float = optional(
        Time(), "How long sessions may go on behind a hand-over to a new process.", 3600.0
    )


@dataclass(frozen=True, kw_only=True)
class GSSAPI:
    """``[gssapi]``: logins by Kerberos ticket."""

    service: str = required(
        Text("SERVICE, SERVICE@HOST or any", r"[A-Za-z0-9_.-]+(@[A-Za-z0-9_.:-]+)?", "rcmd"),
        "The service that tickets are for, SERVICE or SERVICE@HOST; any: every one in the keytab.",
    )
    keytab: From | None = optional(
        FileFrom(), "File with the service's keys.", default="the system's"
    )
    protection: tuple[Protection, ...] = optional(
        Listed(Choice(_PROTECTIONS)),
        "What clients may get.",
        (Protection.INTEGRITY, Protection.CONFIDENTIALITY),
    )
    local_realms: tuple[str, ...] = optional(
        Listed(Text("a Kerberos realm", r"[^@\s]+", "EXAMPLE.ORG")),
        "Realms whose users are known without @REALM.",
        (),
        default="none",
    )


@dataclass(frozen=True, kw_only=True)
class Bans:
    """``[bans]``: against guessed passwords."""

    after: int = _setting(
        "ban_after",
        Count(0, 1_000_000),
        "Failed logins until an address is banned; 0: never, and answers are not delayed.",
    )
    time: float = _setting(
        "ban_time",
        Time(is_off_allowed=True),
        "Of a first ban, the next is twice as long; off: answers are delayed, and nobody is banned.",
    )
    exempt: tuple[str, ...] = optional(
        Listed(NetworkEntry()),
        "Networks that are never banned.",
        (),
        sets="ban_exempt",
        default="none but this host",
    )


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """``[timeouts]``: how long what may take."""

    handshake: float = _setting(
        "handshake_timeout", Time(0.1), "From a client's connection to the end of its login."
    )
    request: float = _setting(
        "request_timeout", Time(0.1), "From then to a client's complete request."
    )
    resolve: float = _setting("resolve_timeout", Time(0.1), "To resolve a name.")
    connect: float = _setting("connect_timeout", Time(0.1), "To reach a target.")
    attempt_delay: float = _setting(
        "attempt_delay",
        Time(0.01),
        "Until a target's next address is tried beside one that is silent.",
    )
    idle: float = _setting(
        "idle_timeout", Time(is_off_allowed=True), "Of silence that ends a TCP relay."
    )
    keepalive: int = _setting(
        "keepalive",
        Time(1, is_off_allowed=True, is_whole=True, most=MAX_KEEPALIVE),
        "Of silence until a TCP peer is asked whether it is there.",
    )
    linger: float = _setting(
        "linger_timeout", Time(0.1), "Of silence that ends a half-closed TCP relay."
    )
    bind: float = _setting("bind_timeout", Time(0.1), "For the peer of a BIND to connect.")
    udp_idle: float = _setting(
        "udp_idle_timeout", Time(0.1), "Of silence that ends a UDP association."
    )
    reassembly: float = _setting(
        "reassembly_timeout", Time(0.1), "For the fragments of a UDP datagram."
    )
    close: float = _setting(
        "close_timeout", Time(0.1), "That a client has to close behind a failure reply."
    )


@dataclass(frozen=True, kw_only=True)
class UDP:
    """``[udp]``: associations."""

    ports: tuple[int, int] | None = _setting(
        "udp_ports", PortRange(), "Ports that clients send to, for a firewall.", "any"
    )
    pin: UDPPin = _setting(
        "udp_pin",
        _words_of(UDPPin),
        "Which datagrams are a client's: those from its address, from its first port there, or from the address and "
        "port that it announced.",
    )
    filtering: UDPFiltering = _setting(
        "udp_filtering",
        _words_of(UDPFiltering),
        "Who may send to a client: anyone, hosts it has sent to, or exactly where it has sent to.",
    )
    buffer: int = _setting(
        "udp_buffer", Size(4096, 1 << 30), "Receive buffer that each socket asks the kernel for."
    )
    names_waiting: int = _setting(
        "udp_names_waiting",
        Count(0, 1_000_000),
        "Datagrams of an association that wait for a name to be resolved; more are dropped.",
    )
    octets_waiting: int = _setting(
        "udp_octets_waiting",
        Size(0, 1 << 30),
        "Octets of those datagrams, of all associations of a client address.",
    )
    targets: int = _setting(
        "udp_targets",
        Count(1, 10_000_000),
        "Targets remembered for a client address; a new one beyond is dropped until another is silent.",
    )
    associations_per_client: int = _setting(
        "associations_per_client",
        Count(1, 1_000_000),
        "Associations of a client address at a time.",
    )
    max_fragments: int = _setting(
        "max_fragments", Size(1, _DEFAULTS.max_fragments), "Octets of one reassembled datagram."
    )


@dataclass(frozen=True, kw_only=True)
class Resolver:
    """``[resolver]``: names of targets."""

    source: NameSource = _capacity(
        "resolver",
        _words_of(NameSource),
        "Who is asked behind the hosts file: the name servers of resolv.conf, or the system's resolver with all that "
        "nsswitch.conf names, in threads.",
    )
    cached: int = _setting("names_cached", Count(0, 10_000_000), "Names that are remembered.")
    lifetime: float = _setting(
        "name_lifetime", Time(0), "Of a remembered name whose own lifetime nobody tells."
    )
    lifetime_least: float = _setting(
        "name_lifetime_least", Time(0), "Of a remembered name at the least."
    )
    lifetime_most: float = _setting(
        "name_lifetime_most", Time(0), "Of a remembered name at the most."
    )
    stale_lifetime: float = _setting(
        "name_stale_lifetime",
        Time(is_off_allowed=True),
        "How much longer a remembered name may serve while no name server answers.",
    )
    failure_lifetime: float = _setting(
        "name_failure_lifetime", Time(0), "Of a remembered failure at the most."
    )
    at_once: int = _capacity(
        "names_at_once", Count(1, 1_000_000), "Names that are looked up at a time."
    )
    per_client: int = _capacity("names_per_client", Count(1, 1_000_000), "Those of one client.")
    waiting: int = _capacity(
        "names_waiting", Count(0, 10_000_000), "Names that wait for that; more fail at once."
    )
    waiting_per_client: int = _capacity(
        "names_waiting_per_client", Count(0, 10_000_000), "Those of one client."
    )
    threads: int = _capacity(
        "resolver_threads", Count(1, 1024), "Lookups at a time by the system's resolver."
    )


@dataclass(frozen=True, kw_only=True)
class Log:
    """``[log]``: the access log."""

    access: str | None = optional(
        FilePath("-", "off"),
        "File for a line a session; - is the output, off is none.",
        default="the output if it is a terminal, else off",
    )
    format: str | None = optional(
        Choice(("json", "text")),
        "How a line is written.",
        default="text on a terminal, else json",
    )


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The whole file."""

    server: Server = optional(Table(Server), "The proxy as a whole.", Server())
    listener: Mapping[str, Listener] = optional(
        Named(Table(Listener), "listener"),
        "Where clients come in.",
        {},
        default="port 1080 of this host's loopback",
    )
    auth: Mapping[str, Any] = optional(
        Named(Typed(SOURCES), "auth"), "Who knows the users.", {}, default="nobody"
    )
    gssapi: GSSAPI | None = optional(Table(GSSAPI), "Logins by Kerberos ticket.", default="none")
    bans: Bans = optional(Table(Bans), "Against guessed passwords.", Bans())
    timeouts: Timeouts = optional(Table(Timeouts), "How long what may take.", Timeouts())
    udp: UDP = optional(Table(UDP), "UDP associations.", UDP())
    resolver: Resolver = optional(Table(Resolver), "Names of targets.", Resolver())
    log: Log = optional(Table(Log), "The access log.", Log())
    networks: Mapping[str, NetworkSet] = optional(
        Named(Table(NetworkSet), "networks"), "Sets of networks.", {}, default="none"
    )
    names: Mapping[str, NameSet] = optional(
        Named(Table(NameSet), "names"), "Sets of names.", {}, default="none"
    )
    group: Mapping[str, Group] = optional(
        Named(Table(Group), "group", is_name_free=True),
        "Groups of users, added to what their sources say.",
        {},
        default="none",
    )
    limit: Mapping[str, Limit] = optional(
        Named(Table(Limit), "limit"), "How much.", {}, default="none"
    )
    upstream: Mapping[str, Upstream] = optional(
        Named(Table(Upstream), "upstream"),
        "Proxies that targets are reached through.",
        {},
        default="none",
    )
    rule: Sequence[Rule] = optional(
        Tables(Table(Rule), "rule"), "Who may do what, in this order.", (), default="none"
    )
