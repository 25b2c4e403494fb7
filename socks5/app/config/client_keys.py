"""The keys of who comes in, and who somebody is: listeners, and sources of users. See :mod:`socks5.app.config.keys`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from socks5.app.config.conditions import NetworkEntry
from socks5.app.config.files import FileFrom, FilePath, From, SecretFrom
from socks5.app.config.policy_keys import limits, refuse
from socks5.app.config.quantities import Time
from socks5.app.config.tables import Table, optional, required
from socks5.app.config.values import (
    Choice,
    Count,
    Flag,
    IPAddress,
    Listed,
    Secret,
    Text,
    Wrong,
)
from socks5.auth.directory import Directory
from socks5.net.certificate_names import NAMES
from socks5.settings import METHOD_NAMES

DEFAULT_PORT = 1080
"""The conventional one (RFC 1928 section 3)."""

_LDAP = Directory()


@dataclass(frozen=True, kw_only=True)
class TLS:
    """``tls`` of a listener."""

    cert: str = required(FilePath(), "PEM file with the certificate, and behind it its issuers'.")
    key: str | None = optional(FilePath(), "PEM file with the key.", default="in the same file")
    client_ca: str | None = optional(
        FilePath(),
        "PEM file with the authorities of clients' certificates.",
        default="none is asked for",
    )
    client_certificates: str = optional(
        Choice(("required", "optional")), "Whether a client must show one.", "required"
    )
    client_name: str | None = optional(
        Choice(tuple(NAMES)),
        "What of a client's certificate is the user's name.",
        default="the first that it has",
    )

    def check(self) -> None:
        """Refuse what says nothing."""
        said = [
            name
            for name, is_said in (
                ("client_certificates", self.client_certificates != "required"),
                ("client_name", self.client_name is not None),
            )
            if is_said
        ]
        if self.client_ca is None and said:
            raise Wrong(
                "expected client_ca as well, without which no client is asked for a certificate",
                (said[0],),
            )


@dataclass(frozen=True, kw_only=True)
class Listener:
    """``[listener.NAME]``: where clients come in, and which."""

    address: tuple[str, ...] = optional(
        Listed(IPAddress("an IP address")),
        "Addresses to listen on; :: is IPv4, too.",
        (),
        default="none",
    )
    port: int | None = optional(Count(0, 65535), "TCP port of address.", default="1080")
    unix: str | None = optional(FilePath(), "Path of a UNIX socket to listen on.", default="none")
    mode: str | None = optional(
        Text('a mode in octal, such as "660"', "0?[0-7]{3}", "660"),
        "Who may connect to unix.",
        default="666",
    )
    systemd: str | None = optional(
        Text("the name of a socket of systemd's", r"[^:/\s]+", "socks5.socket"),
        "Sockets that systemd hands to the service, all of this name.",
        default="none",
    )
    endpoint: str | None = optional(
        Text("a Twisted server endpoint", None, "tcp:1080:interface=127.0.0.1"),
        "What else Twisted can listen on.",
        default="none",
    )
    tls: TLS | None = optional(
        Table(TLS), "Clients speak TLS, with these certificates.", default="none"
    )
    methods: tuple[str, ...] = optional(
        Listed(Choice(tuple(METHOD_NAMES))),
        "Logins that are accepted.",
        (),
        sets="methods",
        default="those that there is something for, else none",
    )
    clients: tuple[str, ...] = optional(
        Listed(NetworkEntry()),
        "Networks that clients come from.",
        (),
        sets="clients",
        default="any",
    )
    proxy_from: tuple[str, ...] = optional(
        Listed(NetworkEntry()),
        "Balancers, who send a PROXY header.",
        (),
        sets="proxies",
        default="there is no header",
    )
    open: bool = optional(Flag(), "Serve anyone who can reach it.", False)
    connections_per_client: int | None = optional(
        Count(1, 10_000_000),
        "Connections of one client address at a time, from the accepted one on, in each worker; more are closed.",
        sets="connections_per_client",
        default="any",
    )
    limits: tuple[str, ...] = limits("whoever comes in here")

    def check(self) -> None:
        """Refuse what does not go together."""
        ways = {
            "address": bool(self.address),
            "unix": self.unix is not None,
            "systemd": self.systemd is not None,
            "endpoint": self.endpoint is not None,
        }
        chosen = [way for way, is_chosen in ways.items() if is_chosen]
        if not chosen:
            raise Wrong("expected one of address, unix, systemd and endpoint; got none of them")
        if len(chosen) > 1:
            raise Wrong(
                f"expected one of address, unix, systemd and endpoint; got {' and '.join(chosen)}",
                (chosen[1],),
            )
        [way] = chosen
        goes_with = {
            "port": (self.port is not None, ("address",)),
            "mode": (self.mode is not None, ("unix",)),
            "tls": (self.tls is not None, ("address", "systemd")),
        }
        refuse(
            [
                Wrong(
                    f"does not go with {way}; expected it beside {' or '.join(ways)}",
                    (name,),
                    is_about_key=True,
                )
                for name, (is_said, ways) in goes_with.items()
                if is_said and way not in ways
            ]
        )


@dataclass(frozen=True, kw_only=True)
class HtpasswdSource:
    """``type = "htpasswd"``: names and hashes."""

    file: From = required(FileFrom(), "File with a line NAME:HASH for each user.")
    groups: From | None = optional(FileFrom(), "File with lines GROUP: NAME NAME.", default="none")


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """``type = "file"``: names and passwords, in plain text."""

    file: From = required(FileFrom(), "File with a line NAME:PASSWORD for each user.")


@dataclass(frozen=True, kw_only=True)
class SecretsSource:
    """``type = "secrets"``: names and secrets, in plain text, for CHAP too."""

    file: From = required(FileFrom(), "File with a line NAME:SECRET for each user.")


@dataclass(frozen=True, kw_only=True)
class LDAPSource:
    """``type = "ldap"``: whoever can bind to a directory."""

    uri: str = required(
        Text("ldaps://HOST:PORT or ldap://HOST:PORT", "ldaps?://.+", "ldaps://ldap.example.org"),
        "Where the directory is.",
    )
    user_dn: str = optional(
        Text(), "DN of a user, with {name} in it.", "", default="a search finds it"
    )
    search_base: str = optional(Text(), "DN below which users are searched.", "", default="none")
    search_attribute: str = optional(Text(), "Which attribute is the name.", _LDAP.search_attribute)
    search_filter: str = optional(
        Text(), "What else must hold of a user (RFC 4515).", "", default="nothing"
    )
    bind_dn: str = optional(Text(), "Who searches.", "", default="anybody")
    bind_password: From | None = optional(
        SecretFrom(), "The password of who searches.", default="none"
    )
    group_base: str = optional(
        Text(), "DN below which groups are searched.", "", default="no groups"
    )
    group_attribute: str = optional(Text(), "Which attribute names a group.", _LDAP.group_attribute)
    group_member: str = optional(
        Text(), "Which attribute holds the DNs of its members.", _LDAP.group_member
    )
    ca_file: str | None = optional(
        FilePath(), "PEM file of the authorities that are trusted.", default="the system's"
    )
    start_tls: bool = optional(Flag(), "False: clear text, for this host only.", _LDAP.start_tls)
    timeout: float = optional(Time(0.1), "For a login.", _LDAP.timeout)


@dataclass(frozen=True, kw_only=True)
class PAMSource:
    """``type = "pam"``: what this host's PAM says."""

    service: str = required(
        Text("the name of a service that has a file in /etc/pam.d", r"[^/\s]+", "socks5"),
        "Whose file in /etc/pam.d is asked.",
    )


@dataclass(frozen=True, kw_only=True)
class PluginSource:
    """``type = "plugin"``: whatever else is installed."""

    use: str = required(
        Secret("TYPE:ARGUMENTS, as --auth takes them"), "What --auth takes, TYPE:ARGUMENTS."
    )


SOURCES: Mapping[str, Table] = {
    "htpasswd": Table(HtpasswdSource),
    "file": Table(FileSource),
    "secrets": Table(SecretsSource),
    "ldap": Table(LDAPSource),
    "pam": Table(PAMSource),
    "plugin": Table(PluginSource),
}
"""What stands in ``auth.NAME`` beside ``type``, by that."""
