"""Where an LDAP directory is and how users are found in it: a configuration file, TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.ssl import Certificate, trustRootFromCertificates

from socks5.auth.users import WrongSource
from socks5.flaws import together

PORTS = {"ldap": 389, "ldaps": 636}
"""The ports of each scheme."""


@dataclass(frozen=True, slots=True, repr=False)
class Directory:
    """Where the directory is, and how users are found in it: the keys of the configuration file.

    :param uri: ``ldaps://HOST[:PORT]``, or ``ldap://HOST[:PORT]``, which is StartTLS.
    :param user_dn: the DN of a user, with ``{name}`` where the name belongs; else a search finds it.
    :param search_base: the DN below which users are searched.
    :param search_attribute: which attribute is the name.
    :param search_filter: what else must hold of a user (RFC 4515).
    :param bind_dn: who searches; "" for anonymous.
    :param bind_password: likewise.
    :param group_base: the DN below which groups are searched; "" for no groups.
    :param group_attribute: which attribute names a group.
    :param group_member: which attribute holds the DNs of its members.
    :param ca_file: PEM file of the authorities that are trusted; "" for the system's.
    :param start_tls: False for clear text, which is for this machine only.
    :param timeout: seconds for a login.
    """

    uri: str = ""
    user_dn: str = ""
    search_base: str = ""
    search_attribute: str = "uid"
    search_filter: str = ""
    bind_dn: str = ""
    bind_password: str = ""
    group_base: str = ""
    group_attribute: str = "cn"
    group_member: str = "member"
    ca_file: str = ""
    start_tls: bool = True
    timeout: float = 5.0

    @classmethod
    def read(cls, path: str) -> Directory:
        """A configuration file, TOML.

        :raises WrongSource: says what is wrong with it; quotes no value.
        """
        try:
            values = tomllib.loads(Path(path).read_text())
        except OSError as error:
            reason = error.strerror
            raise WrongSource(
                f"expected a file that can be read, got {path!r} ({reason})"
            ) from None
        except ValueError:
            raise WrongSource(f"{path}: expected TOML") from None
        directory = cls(**_checked(path, values))
        try:
            directory.check()
        except WrongSource as error:
            raise together(
                [WrongSource(f"{path}: {each.sentence}") for each in error.all]
            ) from None
        return directory

    def check(self) -> None:
        """Look whether the keys go together.

        :raises WrongSource: they do not; says which.
        """
        if wrong := [*self._wrong()]:
            raise together(wrong)

    def _wrong(self) -> Iterator[WrongSource]:
        try:
            is_clear = not self.start_tls and urlsplit(self.uri).scheme == "ldap"
            scheme, host = urlsplit(self.uri).scheme, self.host
            is_good = scheme in PORTS and bool(host) and self.port > 0
        except ValueError:
            is_good = is_clear = False
        if not is_good:
            yield WrongSource("uri: expected ldaps://HOST:PORT or ldap://HOST:PORT", "uri")
        elif is_clear and not _is_loopback(self.host):
            yield WrongSource(
                "start_tls = false is for a server on this machine's loopback", "start_tls"
            )
        if ("{name}" in self.user_dn) == bool(self.search_base):
            yield WrongSource("expected either user_dn, with {name} in it, or search_base")
        if not 0 < self.timeout < inf:
            yield WrongSource("timeout: expected seconds, more than 0", "timeout")
        try:
            self.trust_root()
        except OSError as error:
            yield WrongSource(f"ca_file {self.ca_file}: {error.strerror}", "ca_file")
        except Exception:  # OpenSSL's, with a tuple for a text
            yield WrongSource(f"ca_file {self.ca_file}: expected certificates, PEM", "ca_file")

    @property
    def host(self) -> str:
        """The server's name or address."""
        return urlsplit(self.uri).hostname or ""

    @property
    def port(self) -> int:
        """The server's port."""
        parts = urlsplit(self.uri)
        return parts.port or PORTS[parts.scheme]

    @property
    def is_tls(self) -> bool:
        """Whether TLS begins with the connection."""
        return urlsplit(self.uri).scheme == "ldaps"

    def trust_root(self) -> Any:
        """Whose certificates are trusted, or None for the system's authorities."""
        if not self.ca_file:
            return None
        pem = Path(self.ca_file).read_bytes()
        found = re.findall(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pem, re.S)
        if not found:
            raise ValueError("no certificate")
        return trustRootFromCertificates([Certificate.loadPEM(each) for each in found])


def _checked(path: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """:raises WrongSource: a key that nobody knows, or a value of another type."""
    known = {field.name: type(field.default) for field in fields(Directory)}
    wrong = []
    for key, value in values.items():
        kind = known.get(key)
        if kind is None:
            wrong.append(f"unknown key {key!r}; expected some of {', '.join(known)}")
        elif type(value) is not kind and not (kind is float and type(value) is int):
            wrong.append(f"{key}: expected a {kind.__name__}")
    if wrong:
        raise together([WrongSource(f"{path}: {each}") for each in wrong])
    return dict(values)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
