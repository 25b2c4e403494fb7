"""Guessed passwords: failed logins delay the answer, then ban the address they come from.

Each address has a score. A failed login adds one, one that nobody has quite judged :data:`LITTLE`, and one is
forgotten every :data:`FORGET` seconds. The negative answer waits, longer each time. The failure that reaches the
threshold bans the address; each further ban is twice as long as the one before, and one ban is forgotten a day.

A login that succeeds halves the score, once every :data:`PARDON_INTERVAL` seconds and no oftener: whoever has
an account and guesses the passwords of others gains only half a threshold of guesses an hour from logging in
between. It never shortens a ban, and bans to come are as long as they would have been.

IPv6 addresses count by their /64, which is what one subscriber has, link-local ones each by itself. Loopback, UNIX
sockets and the other addresses of this host are never banned: every user of the host shares them, and whoever may use
the proxy comes from them, by connecting to the proxy through itself. At most :data:`MOST_ADDRESSES` are remembered;
beyond, the least harmful are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from ipaddress import IPv6Network, ip_address
from math import inf
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from socks5.deadlines import clock_of
from socks5.logins import IBans
from socks5.loglimit import Sparing
from socks5.protocol.networks import subscriber
from socks5.settings import SettingsSource, current

FORGET = 600.0
"""Seconds in which one failed login is forgotten: a guess every ten minutes may go on for ever."""

FORGET_BAN = 86400.0
"""Seconds, from a ban's end, in which the lengthening of the next one is halved."""

LONGEST_BAN = 86400.0
"""Seconds, unless the first ban is longer already: an address gets another owner one day."""

LITTLE = 0.1
"""What a failed login adds to the score if its client left before the verdict, or a source of users could not judge."""

ALREADY_FORGOTTEN = 0.9
"""What may be forgotten of so many failures as ban an address, while the last one comes."""

PARDON_INTERVAL = 3600.0
"""Seconds between two successful logins that halve the score."""

FIRST_DELAY = 0.5
"""Seconds that the answer to a first failed login waits; twice that for the next, and so on."""

LONGEST_DELAY = 4.0
"""Seconds; well within the handshake's deadline, which holds all the same."""

MOST_ADDRESSES = 10_000
"""Addresses remembered, at about 300 octets each."""

_EVICTED = 8
"""A full table loses one of so many."""

_NETWORK = 8
"""Octets of a /64."""


class _Address:
    """What is known of one address.

    :ivar score: failed logins that are not forgotten yet.
    :ivar bans: bans that are not forgotten yet.
    :ivar since: when both were right; in the future during a ban, for nothing is forgotten in it.
    :ivar pardoned: when the score was last halved.
    """

    __slots__ = ("bans", "pardoned", "score", "since")

    def __init__(self, now: float) -> None:
        self.score = self.bans = 0.0
        self.since = now
        self.pardoned = -inf

    def age(self, now: float) -> None:
        """Forget what is to be forgotten by now."""
        elapsed = now - self.since
        if elapsed > 0:
            self.score = max(0.0, self.score - elapsed / FORGET)
            self.bans = max(0.0, self.bans - elapsed / FORGET_BAN)
            self.since = now


def _name(key: bytes) -> str:
    """An address, or the network that counts as one."""
    return str(IPv6Network((key + bytes(8), 64)) if len(key) == _NETWORK else ip_address(key))


class Asking:
    """What waits for the verdict on a login, by client. A ban is told to all that counts as one with the banned."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, dict[Callable[[], None], None]] = {}

    def add(self, client: str, cancel: Callable[[], None]) -> None:
        """One more waits.

        :param cancel: called if the client, or another of its network, is banned meanwhile.
        """
        self._waiting.setdefault(subscriber(client), {})[cancel] = None

    def remove(self, client: str, cancel: Callable[[], None]) -> None:
        """It waits no longer."""
        key = subscriber(client)
        del self._waiting[key][cancel]
        if not self._waiting[key]:
            del self._waiting[key]

    def cancel(self, client: str) -> None:
        """A client is banned."""
        for cancel in tuple(self._waiting.get(subscriber(client), ())):
            cancel()


@implementer(IBans)
class Bans:
    """Remembers failed logins.

    :param reactor: the clock.
    :param settings: :attr:`~socks5.settings.Settings.ban_after`, :attr:`~socks5.settings.Settings.ban_time`
        and :attr:`~socks5.settings.Settings.ban_exempt`.
    :param is_ours: whether an IP literal is an address of this machine, which is never banned.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, settings: SettingsSource, is_ours: Callable[[str], bool]
    ) -> None:
        self._is_ours = is_ours
        self._reactor = reactor
        self._now = clock_of(reactor)
        self._settings = current(settings)
        self._addresses: dict[bytes, _Address] = {}
        self._banned: dict[bytes, float] = {}
        self._ends: list[tuple[float, bytes]] = []
        self._timer: IDelayedCall | None = None
        self._lines = Sparing(reactor)

    @property
    def open_bans(self) -> int:
        """How many addresses are banned now."""
        return len(self._banned)

    def is_banned(self, client: str) -> bool:
        """See :meth:`socks5.logins.IBans.is_banned`."""
        if not (self._banned and self._settings().ban_after):
            return False
        key = subscriber(client)
        until = self._banned.get(key)
        if until is None or until <= self._now():
            return False
        # A /64 may hold what is exempt, and what is ours may not have been known when it was banned.
        return not self._is_exempt(client)

    def failed(self, client: str, is_judged: bool = True) -> float:
        """See :meth:`socks5.logins.IBans.failed`."""
        key = subscriber(client)
        settings = self._settings()
        if not (key and settings.ban_after) or key in self._banned or self._is_exempt(client):
            return 0.0
        now = self._now()
        address = self._addresses.get(key)
        if address is None:
            address = self._remember(key, now)
        address.age(now)
        address.score += 1 if is_judged else LITTLE
        if settings.ban_time and address.score > settings.ban_after - ALREADY_FORGOTTEN * is_judged:
            self._ban(key, address, now)
            return 0.0
        return float(min(FIRST_DELAY * 2 ** max(0.0, min(address.score - 1, 16)), LONGEST_DELAY))

    def succeeded(self, client: str) -> None:
        """See :meth:`socks5.logins.IBans.succeeded`."""
        if not self._addresses:
            return
        address = self._addresses.get(subscriber(client))
        now = self._now()
        if address is not None and now - address.pardoned >= PARDON_INTERVAL:
            address.age(now)
            address.score /= 2
            address.pardoned = now

    def _is_exempt(self, client: str) -> bool:
        return client in self._settings().ban_exempt or self._is_ours(client)

    def _remember(self, key: bytes, now: float) -> _Address:
        if len(self._addresses) >= MOST_ADDRESSES:
            self._make_room(now)
        address = self._addresses[key] = _Address(now)
        return address

    def _make_room(self, now: float) -> None:
        """Forget the least harmful: banned ones last, then by past bans, then by score."""

        def harm(key: bytes) -> tuple[float, float, float]:
            address = self._addresses[key]
            address.age(now)
            return self._banned.get(key, 0.0), address.bans, address.score

        for key in sorted(self._addresses, key=harm)[: max(1, MOST_ADDRESSES // _EVICTED)]:
            del self._addresses[key]
            self._banned.pop(key, None)

    def _ban(self, key: bytes, address: _Address, now: float) -> None:
        first = self._settings().ban_time
        longest = max(first, LONGEST_BAN)
        seconds = min(first * 2 ** min(address.bans, 32), longest)
        until = now + seconds
        address.score = 0.0
        address.bans += 1
        address.since = self._banned[key] = until
        if len(self._ends) >= 2 * MOST_ADDRESSES:  # most are of bans that the table had no room for
            self._ends = [(end, banned) for banned, end in self._banned.items() if banned != key]
            heapify(self._ends)
        heappush(self._ends, (until, key))
        self._say("{client} is banned for {seconds:.0f} s{others}", key, seconds=seconds)
        self._wait()

    def _say(self, what: str, key: bytes, **fields: Any) -> None:
        left_out = self._lines.next()
        if left_out is not None:
            others = f"; {left_out} bans began or ended without a line" if left_out else ""
            self.log.info(f"failed logins: {what}", client=_name(key), others=others, **fields)

    def _wait(self) -> None:
        """Come back when the next ban ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ends:
            delay = max(0.0, self._ends[0][0] - self._now())
            self._timer = self._reactor.callLater(delay, self._end)

    def _end(self) -> None:
        """Bans are over."""
        self._timer = None
        now = self._now()
        while self._ends and self._ends[0][0] <= now:
            until, key = heappop(self._ends)
            if self._banned.get(key) == until:  # else the table had no room for it
                del self._banned[key]
                self._say("{client} is no longer banned{others}", key)
        self._wait()
