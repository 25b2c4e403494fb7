"""What the URL of a proxy says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, unquote_to_bytes

from twisted.internet.error import DNSLookupError

from socks5.client.names import literal, octets_of, port_of
from socks5.names import hostname
from socks5.net.addresses import LONGEST_PATH, fits

DEFAULT_PORT = 1080

_SOCKS = frozenset({"socks", "socks5", "socks5h"})
_OVER_TLS = frozenset({"socks5s", "socks5+tls", "https"})
_HTTP = frozenset({"http", "https"})
SOCKS_SCHEMES = (_SOCKS | _OVER_TLS) - _HTTP

KINDS = "socks5://, socks5h://, socks://, socks5s://, socks5+tls://, http://, https://"
"""All that there are."""

_FORM = re.compile(
    r"(?P<userinfo>.*@)?(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]+))?", re.DOTALL
)
_SCHEME = re.compile("[a-z][a-z0-9+.-]*")
_ZONED = re.compile(r"(?P<address>fe[89ab][^%]*)%(?P<zone>[^%]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy is, and how it is spoken to.

    :param is_http: by CONNECT of HTTP, instead of SOCKS5.
    :param is_tls: over TLS.
    :param host: a name in ASCII, or an IP literal, IPv6 perhaps with a zone; "" for a UNIX socket.
    :param path: the UNIX socket's.
    """

    is_http: bool
    is_tls: bool
    host: str
    port: int
    path: str = ""


def read(url: str) -> tuple[Place, tuple[bytes, bytes] | None]:
    """A URL's meaning, and its login if it has one.

    :raises ValueError: it means nothing here. No text has any of its login.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or not _SCHEME.fullmatch(scheme):
        raise ValueError(f"the URL has no scheme: expected one of {KINDS}")
    if scheme not in _SOCKS | _OVER_TLS | _HTTP:
        raise ValueError(f"{scheme}:// is no proxy that can be used here: expected one of {KINDS}")
    if "?" in rest or "#" in rest:
        raise ValueError(
            f"{scheme}://: a proxy has no query and no fragment; in a login, ? is %3F and # is %23"
        )
    authority, _, path = rest.partition("/")
    found = _FORM.fullmatch(authority)
    if found is None:
        raise ValueError(
            f"{scheme}://: expected {scheme}://USER:PASSWORD@HOST:PORT; IPv6 stands in [], and in a login / is %2F"
        )
    login = None if found["userinfo"] is None else _login(scheme, found["userinfo"][:-1])
    if path:
        return _unix(scheme, found["host"], found["port"], unquote(f"/{path}")), login
    port = _port(scheme, found["port"])
    return Place(scheme in _HTTP, scheme in _OVER_TLS, _host(scheme, found["host"]), port), login


def _login(scheme: str, userinfo: str) -> tuple[bytes, bytes]:
    user, _, password = userinfo.partition(":")
    if not user:
        raise ValueError(f"{scheme}://: the user name is empty")
    return unquote_to_bytes(octets_of(user)), unquote_to_bytes(octets_of(password))


def _unix(scheme: str, host: str, port: str | None, path: str) -> Place:
    if host != "localhost" or port is not None or scheme not in _SOCKS:
        raise ValueError(
            f"{scheme}://: a path is for a UNIX socket, expected socks5://localhost/PATH; in a login, / is %2F"
        )
    if not fits(path):
        raise ValueError(
            f"{scheme}://: the path of a UNIX socket has at most {LONGEST_PATH} octets"
        )
    return Place(False, False, "", 0, path)


def _port(scheme: str, text: str | None) -> int:
    if text is None:
        if scheme in _HTTP:
            raise ValueError(
                f"{scheme}://: the port must be written, for programs guess differently"
            )
        return DEFAULT_PORT
    return port_of(int(text[:6]))


def _host(scheme: str, text: str) -> str:
    """:raises ValueError: it is none."""
    try:
        return host_of(text.replace("%25", "%", 1) if ":" in text else unquote(text))
    except ValueError as error:
        raise ValueError(f"{scheme}://: {error}") from None


def host_of(text: str) -> str:
    """The host of a proxy: a name in ASCII, or an IP literal in its canonical text.

    :param text: IPv6 may stand in brackets, and have a zone.
    :raises ValueError: it is neither; it is not shown, for it may be a login's.
    """
    zoned = _ZONED.fullmatch(text.removeprefix("[").removesuffix("]"))
    if zoned is not None and (found := literal(zoned["address"])) is not None:
        return f"{found}%{zoned['zone']}"
    found = literal(text)
    if found is not None:
        return found
    try:
        return hostname(text.encode())
    except (DNSLookupError, UnicodeError):
        raise ValueError("the host is neither a name nor an address") from None
