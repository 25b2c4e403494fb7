"""What a server has done so far, as plain numbers: one object for each process, to be read at any
time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class UpstreamCounters:
    """The same of one proxy, or several behind one another, that targets are reached through."""

    open: int = 0
    """Connections through it now."""

    failures: Counter[str] = field(default_factory=Counter)
    """How often it did not get so far, by stage: "connect", "tls", "method", "login", "reply"."""

    is_out: bool = False
    """Whether it is out of order now."""

    seconds_out: float = 0.0
    """How long it was, as far as it has been looked at."""


@dataclass(slots=True)
class Counters:
    """Totals since the start, except where a name says ``open``."""

    connections: int = 0
    """Client connections accepted."""

    open_connections: int = 0
    """Client connections now."""

    asked: list[int] = field(default_factory=lambda: [0] * 256)
    """Requests: of each CMD octet so many. A :class:`~collections.Counter` takes ten times as long to count."""

    answered: list[int] = field(default_factory=lambda: [0] * 256)
    """Replies: of each REP octet so many."""

    rules: Counter[str] = field(default_factory=Counter)
    """Requests, and targets of datagrams, that a rule has decided on, or would have if it did not only report, by the
    rule's name. A session that is judged again counts only if it ends.
    """

    turned_away: Counter[str] = field(default_factory=Counter)
    """Clients that were closed before their greeting was answered, or their login looked at, by reason; those
    whose TLS failed are "TLS", and those whose first octet was none of SOCKS5 are "no SOCKS5: HTTP", ": SOCKS4",
    ": TLS", ": PROXY header" or ": unknown".
    """

    refused_logins: int = 0
    """Credentials that were not accepted."""

    unjudged_logins: int = 0
    """Those of them that nobody could judge: too many waited, or a source of users was out of order."""

    bans: int = 0
    """Bans for failed logins that began."""

    violations: int = 0
    """Clients that broke the protocol."""

    open_associations: Counter[str] = field(default_factory=Counter)
    """UDP associations now, by client address."""

    datagrams_up: int = 0
    """Datagrams sent to targets."""

    datagrams_down: int = 0
    """Datagrams sent to clients."""

    dropped: Counter[str] = field(default_factory=Counter)
    """Datagrams dropped, by reason."""

    limited: Counter[str] = field(default_factory=Counter)
    """How often a limit has refused a session, or had it wait, by the limit's name."""

    upstreams: MutableMapping[str, UpstreamCounters] = field(default_factory=dict)
    """Of each upstream that leads somewhere, by its name."""

    @property
    def requests(self) -> Counter[int]:
        """Requests by CMD octet, so far."""
        return Counter({command: count for command, count in enumerate(self.asked) if count})

    @property
    def replies(self) -> Counter[int]:
        """Replies by REP octet, so far."""
        return Counter({code: count for code, count in enumerate(self.answered) if count})
