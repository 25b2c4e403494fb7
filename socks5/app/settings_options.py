"""The options that become :class:`~socks5.settings.Settings` and :class:`~socks5.settings.Capacity`."""

from __future__ import annotations

from ipaddress import ip_address
from typing import ClassVar

from twisted.python import usage

from socks5.app.listen_options import networks
from socks5.app.values import COMMANDS, choice, commands, number, ports, seconds
from socks5.protocol.networks import Networks
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


def ip_version(option: str, text: str) -> int:
    """The IP version of an address option.

    :raises twisted.python.usage.UsageError: it is none.
    """
    try:
        return ip_address(text).version
    except ValueError:
        raise usage.UsageError(f"--{option}: expected an IP address, got {text!r}") from None


class SettingsOptions(usage.Options):
    """Mixed into the options of the command line."""

    optParameters: ClassVar = [
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
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["ban-exempt"] = Networks()
        self["outgoing"] = PerFamily()
        self["advertise"] = PerFamily()

    def opt_ban_exempt(self, text: str) -> None:
        """Networks that are never banned; repeatable. [default: none but this machine]"""
        self["ban-exempt"] |= networks("ban-exempt", text)

    def opt_outgoing(self, address: str) -> None:
        """IP address to reach targets from; repeatable, one per family. [default: the system's choice]"""
        self["outgoing"] = self._per_family("outgoing", address)

    def opt_advertise(self, address: str) -> None:
        """IP address told to clients for BIND and UDP, if a NAT hides the real one; repeatable, one per family."""
        self["advertise"] = self._per_family("advertise", address)

    def _per_family(self, option: str, text: str) -> PerFamily:
        version, present = ip_version(option, text), self[option]
        if (present.ipv4 if version == 4 else present.ipv6) is not None:
            raise usage.UsageError(
                f"--{option}: expected one address per family, got also {text!r}"
            )
        parsed = ip_address(text)
        if parsed.is_unspecified or getattr(parsed, "ipv4_mapped", None) or "%" in text:
            raise usage.UsageError(f"--{option}: expected the address of a machine, got {text!r}")
        return PerFamily(text, present.ipv6) if version == 4 else PerFamily(present.ipv4, text)

    def check_outgoing(self) -> None:
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
