"""What a limit is, and how it is said in words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Network, ip_address

_NETWORK = 8
"""Octets of a /64."""

_UNITS = (
    ("GiB", 1 << 30),
    ("GB", 10**9),
    ("MiB", 1 << 20),
    ("MB", 10**6),
    ("KiB", 1 << 10),
    ("KB", 10**3),
)

_TIMES = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "day"}


class Per(StrEnum):
    """Who shares a limit's counter."""

    ALL = "all"
    """Everybody who is under it."""

    USER = "user"
    """All sessions of one user; of a client, where nobody is logged in."""

    CLIENT = "client"
    """All sessions of an IPv4 address, of an IPv6 /64, or of UNIX sockets."""

    SESSION = "session"
    """Nobody."""


class Span(StrEnum):
    """What a quota is for: a day, a week or a month of the calendar."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Limit:
    """How much there may be. What is None is not limited.

    :param name: as it is called in texts.
    :param per: who shares a counter: a :class:`Per`, or its value.
    :param sessions: at a time.
    :param client_addresses: different ones at a time; an IPv6 /64 is one.
    :param new_sessions: so many in so many seconds; all of them may come at once.
    :param up: octets a second towards targets.
    :param down: towards clients.
    :param total: both together.
    :param quota: octets both ways in a :class:`Span`, or its value.
    :raises ValueError: a number is not above 0; or a quota is to be for each session.
    """

    name: str
    per: str = Per.ALL
    sessions: int | None = None
    client_addresses: int | None = None
    new_sessions: tuple[int, float] | None = None
    up: float | None = None
    down: float | None = None
    total: float | None = None
    quota: tuple[int, str] | None = None

    def __post_init__(self) -> None:
        Per(self.per)
        numbers = [self.sessions, self.client_addresses, self.up, self.down, self.total]
        numbers += self.new_sessions or ()
        if self.quota is not None:
            numbers.append(self.quota[0])
            Span(self.quota[1])
            if self.per == Per.SESSION:
                raise ValueError(f"limit {self.name}: a quota cannot be for each session")
        if any(number is not None and not number > 0 for number in numbers):
            raise ValueError(f"limit {self.name}: every number has to be above 0")

    @property
    def is_metered(self) -> bool:
        """Whether it is about what moves."""
        return any((self.up, self.down, self.total, self.quota))


def who_text(who: str | bytes) -> str:
    """Whose counter it is, in words: "" for everybody's."""
    if isinstance(who, str):
        return f"user {who}" if who else ""
    return f"client {client_text(who)}"


def who_key(who: str | bytes) -> str:
    """The same as it is kept in files: user names cannot be taken for clients."""
    if isinstance(who, str):
        return f"user:{who}" if who else ""
    return f"client:{client_text(who)}"


def client_text(client: bytes) -> str:
    """An address, or the network that counts as one (:func:`socks5.protocol.networks.subscriber`)."""
    if not client:
        return "unix"
    if len(client) == _NETWORK:
        return str(IPv6Network((client + bytes(8), 64)))
    return str(ip_address(client))


def size_text(octets: float) -> str:
    """Octets in the largest unit that fits: "2MiB"."""
    whole = round(octets)
    for unit, size in _UNITS:
        if whole >= size and not whole % size:
            return f"{whole // size}{unit}"
    return f"{whole}B"


def events_text(count: int, seconds: float) -> str:
    """So many in so long: "120/min"."""
    return f"{count}/{_TIMES.get(seconds, f'{seconds:g}s')}"
