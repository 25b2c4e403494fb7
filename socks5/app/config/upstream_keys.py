"""The keys of ``[upstream.NAME]``: proxies that targets are reached through. See :mod:`socks5.app.config.keys`."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from socks5.app.config.files import FilePath, From, SecretFrom
from socks5.app.config.policy_keys import name_of, refuse
from socks5.app.config.quantities import Time
from socks5.app.config.tables import Switch, Table, optional
from socks5.app.config.values import (
    Choice,
    Count,
    Flag,
    IPAddress,
    Kind,
    Listed,
    Schema,
    Text,
    Wrong,
)
from socks5.client.names import target_of
from socks5.client.urls import Place, read
from socks5.outbound.terms import Terms
from socks5.protocol.address import Address

_DEFAULTS = Terms()

SERVED = ("connect", "bind", "udp")
"""What is asked of a proxy of SOCKS5, if nothing else is said; one of HTTP knows the first alone. Over TLS the last has
to be said, for datagrams are not in it.
"""

KINDS = ("url", "chain", "pool")
"""Keys of which there is one."""

OF_POOLS = ("choose", "hash_by")
"""Keys beside ``pool``; all others stand beside ``url``."""


class ProxyURL(Kind):
    """Where a proxy is, and how it is spoken to. A login has keys of its own, and is not shown."""

    words = "the URL of a proxy, such as socks5://proxy.example:1080"
    example = "socks5://proxy.example"

    @override
    def read(self, value: object) -> Place:
        if not isinstance(value, str):
            raise Wrong(f"expected {self.words}")
        try:
            place, login = read(value)
        except ValueError as error:
            raise Wrong(f"expected the URL of a proxy; {error}") from None
        if login is not None:
            raise Wrong("expected no login in it; write user = and password = as keys of their own")
        return place

    @override
    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1}


class Target(Kind):
    """A host and a port."""

    words = "HOST:PORT"
    example = "www.example.org:443"

    @override
    def read(self, value: object) -> Address:
        text = value if isinstance(value, str) else ""
        host, _, port = text.rpartition(":")
        try:
            return target_of(host, int(port) if port.isascii() and port.isdigit() else 0)
        except ValueError:
            raise self.wrong(value) from None

    @override
    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True, kw_only=True)
class UpstreamTLS:
    """``tls`` of an upstream."""

    ca: str | None = optional(
        FilePath(),
        "PEM file with the authorities that the proxy's certificate may be from.",
        default="those that the system trusts",
    )
    cert: str | None = optional(
        FilePath(),
        "PEM file with a certificate that is shown to the proxy, and behind it its issuers'.",
        default="none is shown",
    )
    key: str | None = optional(
        FilePath(), "PEM file with its key.", default="in the file of the certificate"
    )
    name: str | None = optional(
        Text("the name of a host, or an IP address", r"[A-Za-z0-9_.:-]+", "proxy.example"),
        "What the proxy's certificate must name.",
        default="the host of the URL",
    )

    def check(self) -> None:
        """Refuse what says nothing."""
        if self.key is not None and self.cert is None:
            raise Wrong("expected cert as well, which the key is of", ("key",))


@dataclass(frozen=True, kw_only=True)
class UpstreamGSSAPI:
    """``gssapi`` of an upstream."""

    service: str = optional(
        Text("the name of a service", r"[A-Za-z0-9_.-]+", "rcmd"),
        "The service that the ticket is for.",
        "rcmd",
    )
    host: str | None = optional(
        Text("the name of a host", r"[A-Za-z0-9_.:-]+", "proxy.example"),
        "The host that the ticket is for.",
        default="the host of the URL",
    )
    protection: str = optional(
        Choice(("confidentiality", "integrity", "none")),
        "Of all that travels there; with less it is refused.",
        "confidentiality",
    )
    nec: bool = optional(Flag(), "Tell the level as NEC's implementation does.", False)


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """``[upstream.NAME]``: a proxy, several behind one another, or several to choose from."""

    url: Place | None = optional(ProxyURL(), "Where a proxy is.", default="none")
    user: str | None = optional(
        Text("1 to 255 octets", r"(?s:.){1,255}", "name"), "Who logs in there.", default="nobody"
    )
    password: From | None = optional(SecretFrom(), "The password there.", default="none")
    require_login: bool = optional(
        Flag(), "A proxy that asks nobody for a login will not do.", False
    )
    gssapi: UpstreamGSSAPI | None = optional(
        Switch(UpstreamGSSAPI),
        "Log in there by a Kerberos ticket, and by nothing else.",
        default="false",
    )
    tls: UpstreamTLS | None = optional(
        Table(UpstreamTLS), "Certificates, for a proxy over TLS.", default="the usual ones"
    )
    pipelined: bool = optional(
        Flag(),
        "Login and request are sent without waiting for answers, which some proxies do not take.",
        False,
    )
    commands: tuple[str, ...] = optional(
        Listed(Choice((*SERVED, "resolve"))),
        "What it is asked for.",
        (),
        default="connect, of SOCKS5 bind and udp; over TLS udp has to be said, for datagrams travel outside of it",
    )
    names: str = optional(
        Choice(("there", "here")), "Where names of targets are resolved.", "there"
    )
    timeout: float | None = optional(
        Time(0.1),
        "From the connection to the end of the login.",
        default="10s; half of timeouts.connect where that is 10s or less",
    )
    udp_address: str | None = optional(
        IPAddress("an IP address", is_of_a_host=True),
        "Where it takes datagrams and awaits peers.",
        default="where it says, or where it is if that cannot be right",
    )
    source: tuple[str, ...] = optional(
        Listed(IPAddress("an IP address of this host", is_of_a_host=True)),
        "Addresses that it is reached from, one a family.",
        (),
        default="server.outgoing",
    )
    max_connections: int = optional(
        Count(1, 10_000_000),
        "Connections to it at a time, a quarter of them for one client address.",
        _DEFAULTS.max_connections,
    )
    fails: int = optional(
        Count(1, 1_000_000), "Failures in a row that put it out.", _DEFAULTS.fails
    )
    retry_after: float = optional(
        Time(0.1),
        "Until one connection tries it again; twice as long each time, up to 5 minutes.",
        _DEFAULTS.retry_after,
    )
    probe: Address | None = optional(
        Target(), "A target that is asked for when nobody else asks.", default="none"
    )
    probe_every: float = optional(Time(1.0), "How often that is.", _DEFAULTS.probe_every)
    chain: tuple[str, ...] = optional(
        Listed(name_of("an upstream")),
        "Proxies behind one another, the nearest first.",
        (),
        default="none",
    )
    pool: tuple[str, ...] = optional(
        Listed(name_of("an upstream")), "Proxies and chains to choose from.", (), default="none"
    )
    choose: str = optional(
        Choice(("first", "round-robin", "random", "hash")),
        "Which of a pool is tried first; the others follow.",
        "first",
    )
    hash_by: str | None = optional(
        Choice(("user", "client", "target")),
        "Of whom or what the hash is, so that the same goes the same way; of a target, whatever its port.",
        default="none",
    )

    def check(self) -> None:
        """Refuse what does not go together."""
        refuse([*self._of_url(), *self._of_login(), *self._of_gssapi(), *self._of_pool()])

    def _of_url(self) -> list[Wrong]:
        place = self.url
        if place is None:
            return []
        problems: list[Wrong] = []
        if self.tls is not None and not place.is_tls:
            problems.append(
                Wrong("is for a proxy over TLS, such as socks5s://", ("tls",), is_about_key=True)
            )
        if place.is_http:
            beyond = [each for each in self.commands if each != "connect"]
            problems += [
                Wrong(f"expected connect alone, for HTTP has no {each}", ("commands",))
                for each in beyond[:1]
            ]
            if self.udp_address is not None:
                problems.append(
                    Wrong("is for a proxy of SOCKS5, not of HTTP", ("udp_address",), True)
                )
            if self.pipelined:
                problems.append(
                    Wrong("an HTTP proxy is told everything at once anyway", ("pipelined",))
                )
            if self.user is not None and ":" in self.user:
                problems.append(Wrong("expected a name without a colon, for HTTP", ("user",)))
        elif self.pipelined and self.user is not None and not self.require_login:
            problems.append(
                Wrong("expected require_login = true as well, beside a login", ("pipelined",))
            )
        return problems

    def _of_login(self) -> list[Wrong]:
        problems: list[Wrong] = []
        if self.user is not None and len(self.user.encode()) > 255:
            problems.append(Wrong("expected 255 octets at the most", ("user",)))
        if (self.user is None) is not (self.password is None):
            said, other = ("password", "user") if self.user is None else ("user", "password")
            problems.append(Wrong(f"expected {other} as well", (said,)))
        if self.require_login and self.user is None:
            problems.append(Wrong("expected user and password as well", ("require_login",)))
        return problems

    def _of_gssapi(self) -> list[Wrong]:
        said, place = self.gssapi, self.url
        if said is None:
            return []
        problems: list[Wrong] = []
        if self.user is not None:
            problems.append(
                Wrong("does not go with gssapi, beside which nothing is offered", ("user",), True)
            )
        if place is not None and place.is_http:
            problems.append(Wrong("is for a proxy of SOCKS5, not of HTTP", ("gssapi",), True))
        if place is not None and place.path and said.host is None:
            problems.append(
                Wrong(
                    'expected the host of its key, which a UNIX socket has not: gssapi = { host = "proxy.example" }',
                    ("gssapi",),
                )
            )
        if self.pipelined:
            problems.append(Wrong("expected false, for gssapi awaits answers", ("pipelined",)))
        return problems

    def _of_pool(self) -> list[Wrong]:
        if (self.choose == "hash") is (self.hash_by is not None):
            return []
        if self.hash_by is None:
            return [Wrong('expected hash_by as well, such as hash_by = "user"', ("choose",))]
        return [Wrong('expected choose = "hash" as well', ("hash_by",))]


def commands_of(section: Upstream) -> tuple[str, ...]:
    """What a proxy with a URL is asked for."""
    assert section.url is not None
    url = section.url
    return section.commands or SERVED[: 1 if url.is_http else 2 if url.is_tls else 3]
