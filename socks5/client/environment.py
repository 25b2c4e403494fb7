"""What the environment says of proxies: ``all_proxy`` and ``no_proxy``. Names are compared, never resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network

from socks5.client.names import target_of
from socks5.client.urls import read
from socks5.protocol.address import Address
from socks5.protocol.networks import Networks

_ENTRY = re.compile(
    r"""
    (?P<any>\*)
    | \[ (?P<bracketed>[0-9a-fA-F:.]+) \]
    | (?P<network> [0-9]+(?:\.[0-9]+){3}(?:/[0-9]+)? | [0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(?:/[0-9]+)? )
    | (?:\*?\.)? (?P<name>[^\s:/\[\]*]+)
    """,
    re.VERBOSE,
)
_PORT = re.compile(r"(?P<what>.+):(?P<port>[0-9]{1,5})")


def _variable(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """The one of a name that holds: that in small letters, unless it is empty. What it is, and what it says."""
    text = environ.get(name)
    return (name, text) if text else (name.upper(), environ.get(name.upper(), ""))


def proxy_url(environ: Mapping[str, str]) -> str | None:
    """The proxy for everything, if there is one.

    :raises ValueError: there is something else.
    """
    name, url = _variable(environ, "all_proxy")
    try:
        if url:
            read(url)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return url or None


@dataclass(frozen=True, slots=True)
class _Exception:
    """What is reached directly: a network, a name with all below it, or everything; on all ports, if none is said."""

    networks: Networks | None = None
    name: bytes | None = None
    port: int | None = None

    def holds(self, target: Address) -> bool:
        if self.port not in (None, target.port):
            return False
        if self.networks is not None:
            return isinstance(target.host, str) and target.host in self.networks
        if self.name is None:
            return True
        if not isinstance(target.host, bytes):
            return False
        return f".{_folded(target.host)}".endswith(f".{_folded(self.name)}")


def _folded(name: bytes) -> str:
    """As names are compared."""
    return name.decode("latin-1").lower().removesuffix(".")


@dataclass(frozen=True, slots=True)
class NoProxy:
    """The value of ``no_proxy``."""

    exceptions: tuple[_Exception, ...] = ()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> NoProxy:
        """:raises ValueError: an entry cannot be read."""
        name, text = _variable(environ, "no_proxy")
        return cls(tuple(_read(name, entry) for entry in re.split(r"[,\s]+", text) if entry))

    def holds(self, target: Address) -> bool:
        """Whether it is reached directly."""
        return any(each.holds(target) for each in self.exceptions)


def _read(variable: str, entry: str) -> _Exception:
    found = _PORT.fullmatch(entry)
    ported = [(found["what"], int(found["port"]))] if found else []
    for text, port in ((entry, None), *ported):
        with suppress(ValueError):
            return _meaning(text, port)
    shown = "an entry with an @" if "@" in entry else repr(entry)  # before it may be a login
    raise ValueError(f"{variable}: {shown} is neither a name nor a network")


def _meaning(text: str, port: int | None) -> _Exception:
    found = _ENTRY.fullmatch(text)
    if found is None:
        raise ValueError(text)
    if found["any"]:
        return _Exception(port=port)
    network = found["bracketed"] or found["network"]
    if network:
        return _Exception(Networks.parse(str(ip_network(network, strict=False))), port=port)
    name = target_of(found["name"], 1).host
    assert isinstance(name, bytes)
    return _Exception(name=name, port=port)
