"""The string ``socks5:HOST:PORT`` for :func:`twisted.internet.endpoints.clientFromString`."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import clientFromString

from socks5.client.endpoint import TIMEOUT, Proxy, ProxyEndpoint
from socks5.client.hops import Hop
from socks5.client.names import octets_of, port_of
from socks5.client.urls import DEFAULT_PORT, Place, host_of
from socks5.files import read
from socks5.protocol.messages import Credentials

FORM = (
    "socks5:HOST:PORT[:proxy=HOST][:proxyPort=PORT][:endpoint=STRING][:user=NAME][:password=PASSWORD|passwordFile=FILE]"
    "[:tls=yes|no][:rdns=yes|no][:timeout=SECONDS]"
)
"""What is parsed here."""

_OPTIONS = frozenset(
    {"proxy", "proxyPort", "endpoint", "user", "password", "passwordFile", "tls", "rdns", "timeout"}
)


def parse(reactor: Any, words: tuple[str, ...], options: dict[str, str]) -> ProxyEndpoint:
    """What a string says.

    :param words: what stands in it without ``=``, behind ``socks5``.
    :raises ValueError: something is wrong with it, or with the file that it names. The text has no password.
    """
    if unknown := sorted(options.keys() - _OPTIONS):
        raise ValueError(f"{unknown[0]}=: expected {FORM}")
    if len(words) != 2:
        raise ValueError(f"expected one host and one port: {FORM}; in a value, : is \\:")
    timeout = _number("timeout", options.get("timeout", f"{TIMEOUT:g}"), float)
    proxy = _proxy(reactor, options, timeout, _is_yes("rdns", options, True))
    return proxy.endpoint(
        words[0], _number("the port", words[1], int), _is_yes("tls", options, False)
    )


def _proxy(reactor: Any, options: dict[str, str], timeout: float, rdns: bool) -> Proxy:
    login = _login(options)
    if "endpoint" not in options:
        host = _host(options.get("proxy", "127.0.0.1"))
        port = port_of(_number("proxyPort", options.get("proxyPort", str(DEFAULT_PORT)), int))
        return Proxy(reactor, (Hop(Place(False, False, host, port), login),), timeout, rdns)
    if options.keys() & {"proxy", "proxyPort"}:
        raise ValueError("endpoint= stands instead of proxy= and proxyPort=")
    way = clientFromString(reactor, options["endpoint"])
    name, password = (None, None) if login is None else (login.username, login.password)
    return Proxy.over(reactor, way, name, password, timeout=timeout, rdns=rdns)


def _host(text: str) -> str:
    try:
        return host_of(text)
    except ValueError as error:
        raise ValueError(f"proxy=: {error}") from None


def _login(options: dict[str, str]) -> Credentials | None:
    passwords = options.keys() & {"password", "passwordFile"}
    if "user" not in options and not passwords:
        return None
    if "user" not in options or len(passwords) != 1:
        raise ValueError("user= needs password= or passwordFile=, one of them, and they need user=")
    if "password" in options:
        return Credentials(octets_of(options["user"]), octets_of(options["password"]))
    path = options["passwordFile"]
    try:
        line = read(path).removesuffix(b"\n").removesuffix(b"\r")
    except OSError as error:
        raise ValueError(f"passwordFile={path}: {error.strerror}") from None
    if b"\n" in line:
        raise ValueError(f"passwordFile={path}: expected one line, the password")
    return Credentials(octets_of(options["user"]), line)


def _is_yes(name: str, options: dict[str, str], otherwise: bool) -> bool:
    said = options.get(name, "yes" if otherwise else "no")
    if said not in ("yes", "no"):
        raise ValueError(f"{name}={said}: expected yes or no")
    return said == "yes"


def _number(name: str, text: str, kind: Any) -> Any:
    try:
        return kind(text)
    except ValueError:  # it is not shown: whoever writes a URL here has a password in it
        raise ValueError(f"{name}: expected a number") from None
