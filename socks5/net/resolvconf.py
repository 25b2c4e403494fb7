"""The system's two files about names: the hosts file, and the one that says which name servers to ask and how."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from twisted.internet.error import DNSLookupError

from socks5.files import read
from socks5.names import hostname, literal

HOSTS = "/etc/hosts"
RESOLV_CONF = "/etc/resolv.conf"
NSSWITCH_CONF = "/etc/nsswitch.conf"

MOST_SERVERS = 3
"""Name servers that are asked, as the C library does; more would not have their turn before the time is up."""

NO_SERVERS = ("127.0.0.1",)
"""Who is asked where the file names none."""

MOST_SEARCHED = 8
"""Domains of the search list that are used: each costs a name that does not exist two more questions."""


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """What a resolv.conf says; see resolv.conf(5). Options that say nothing to us are passed over.

    :param servers: IP literals, which may have a zone.
    :param search: domains, without a dot at their end.
    :param ndots: a name with as many dots is asked for as it is first.
    :param timeout: seconds until the next server is asked beside one that has not answered. Less than the C
        library's 5, for here the first one's answer counts even then.
    :param attempts: how often each server is asked.
    :param rotates: whether each name begins with another server.
    :param is_by_tcp: whether to ask over TCP only.
    :param has_ipv6: whether to ask for IPv6 addresses.
    :param port: of all servers; no file says another.
    """

    servers: tuple[str, ...] = NO_SERVERS
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout: float = 2.0
    attempts: int = 2
    rotates: bool = False
    is_by_tcp: bool = False
    has_ipv6: bool = True
    port: int = 53

    @classmethod
    def parse(cls, text: str, domain: str = "") -> ResolvConf:
        """Read the file's text; what cannot be understood is passed over.

        :param domain: of this host, which is searched if the file names none.
        """
        servers: list[str] = []
        search = [domain]
        options: dict[str, int] = {}
        for keyword, *values in _lines(text, ";"):
            if keyword == "nameserver":
                servers += (
                    [host for host in [literal(values[0].encode())] if host] if values else []
                )
            elif keyword in ("search", "domain"):
                search = values
            elif keyword == "options":
                options.update(map(_option, values))
        domains = map(_domain, search)
        return cls(
            servers=tuple(dict.fromkeys(servers[:MOST_SERVERS])) or NO_SERVERS,
            search=tuple(filter(None, domains))[:MOST_SEARCHED],
            ndots=min(options.get("ndots", 1), 15),
            timeout=max(1, min(options.get("timeout", 2), 30)),
            attempts=max(1, min(options.get("attempts", 2), 5)),
            rotates="rotate" in options,
            is_by_tcp="use-vc" in options,
            has_ipv6="no-aaaa" not in options,
        )

    def candidates(self, name: str) -> list[str]:
        """The names to ask for, one after the other, until one has addresses.

        :param name: with a dot at its end it is whole, and the only one.
        """
        if name.endswith("."):
            return [name]
        longer = [f"{name}.{domain}" for domain in self.search]
        longer = [each for each in longer if len(each) <= 253]
        return [name, *longer] if name.count(".") >= self.ndots else [*longer, name]


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """The IP literals of each name in a hosts file, in its order; see hosts(5)."""
    found: dict[str, list[str]] = {}
    for host, *names in _lines(text, "#"):
        address = literal(host.encode())
        for name in names if address else ():
            hosts = found.setdefault(name.lower().removesuffix("."), [])
            if address not in hosts:
                hosts.append(str(address))
    return {name: tuple(hosts) for name, hosts in found.items()}


def sources_beside_dns(path: str = NSSWITCH_CONF) -> list[str]:
    """What nsswitch.conf(5) names for hosts besides the hosts file and DNS, which a resolver that knows only these
    does not ask. ``resolve`` is DNS: systemd-resolved puts itself into resolv.conf.
    """
    try:
        text = read(path).decode("utf-8", "replace")
    except OSError:
        return []
    for database, *sources in _lines(text, "#"):
        if database == "hosts:":
            names = re.sub(r"\[[^]]*]", " ", " ".join(sources)).split()
            return [name for name in names if name not in ("files", "dns", "resolve")]
    return []


def _domain(text: str) -> str:
    """A domain in the form that is asked for; "" for what cannot be the end of a name."""
    try:
        return hostname(text.strip(".").encode()).removesuffix(".")
    except DNSLookupError:
        return ""


def _option(text: str) -> tuple[str, int]:
    name, _, value = text.partition(":")
    # Of very many digits int() makes nothing (its limit is 4300), and nobody means anything.
    return (name, int(value)) if value.isdecimal() and len(value) < 10 else (name, 1)


def _lines(text: str, comment: str) -> Iterator[list[str]]:
    """The words of each line that has any; what follows a comment's sign is none."""
    for line in text.splitlines():
        words = line.partition("#")[0].partition(comment)[0].split()
        if words:
            yield words
