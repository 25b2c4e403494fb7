"""Numbers on a line, in ranges: addresses of both families, and ports.

An address has every meaning that a translator or a tunnel may find in it (:mod:`socks5.protocol.embedded`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address

from socks5.policy.special import Network
from socks5.protocol.embedded import carried
from socks5.protocol.networks import packed

IPV6 = 1 << 32
"""What is added to an IPv6 address's number, for both families are on one line."""

_LONGEST = 60  # characters of a value that an error shows


def quoted(text: object) -> str:
    """A value as an error shows it: on one line, and not too long."""
    shown = str(text)
    shown = shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"
    escaped = shown.replace("\\", "\\\\").replace('"', '\\"')
    line = "".join(c if c.isprintable() else rf"\x{ord(c):02x}" for c in escaped)
    return f'"{line}"'


class Ranges:
    """Numbers, as ranges from a first to a last one.

    :param pairs: first and last number of each, in any order.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, pairs: Iterable[tuple[int, int]]) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(pairs):
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(last, self._lasts[-1])
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number)
        return at > 0 and number <= self._lasts[at - 1]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._firsts, self._lasts, strict=True))

    def without(self, others: Ranges) -> Ranges:
        """Those of its numbers that *others* has not."""
        left: list[tuple[int, int]] = []
        for each in self:
            first, last = each
            for start, end in others:
                if start <= last and end >= first:
                    left.append((first, start - 1))
                    first = end + 1
            left.append((first, last))
        return Ranges(each for each in left if each[0] <= each[1])


def range_of(network: Network) -> tuple[int, int]:
    """The numbers of a network's addresses.

    :param network: see :func:`~socks5.protocol.networks.network_of`.
    """
    first, last = int(network.network_address), int(network.broadcast_address)
    return (first, last) if network.version == 4 else (first + IPV6, last + IPV6)


@lru_cache(maxsize=4096)
def number_of(host: str) -> int:
    """An address on the line; an IPv4-mapped one is IPv4.

    :param host: an IP literal; a zone is left out.
    :raises ValueError: it is none.
    """
    octets = packed(host)
    number = int.from_bytes(octets, "big")
    return number if len(octets) == 4 else number + IPV6


@lru_cache(maxsize=4096)
def meanings_of(host: str) -> tuple[int, ...]:
    """The same, and behind it the IPv4 addresses that it may lead to.

    :raises ValueError: it is no IP literal.
    """
    number = number_of(host)
    # Loopback and "unspecified" have the form of an IPv4-compatible address, and are none.
    return (number,) if number <= IPV6 + 1 else (number, *carried(number - IPV6))


def shown(host: str) -> str:
    """An address for a reader, with its other meanings."""
    others = ", ".join(str(IPv4Address(each)) for each in meanings_of(host)[1:])
    return f"{host} (also {others})" if others else host


def check_port(value: int | str) -> tuple[int, int]:
    """What stands among ``ports``: ``443``, ``"8000-8999"``.

    :returns: the first port and the last.
    :raises ValueError: it is neither.
    """
    first, dash, last = str(value).partition("-")
    if first.isascii() and first.isdecimal() and len(first) <= 5:
        last = last if dash else first
        if last.isascii() and last.isdecimal() and len(last) <= 5:
            pair = int(first), int(last)
            if 0 <= pair[0] <= pair[1] <= 65535:
                return pair
    raise ValueError(
        f'expected a port or a range, got {quoted(value)}; write 443 or "8000-8999", within 0 to 65535'
    )
