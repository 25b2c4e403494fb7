"""Whose turn it is to negotiate, among the clients of one address.

A new connection costs the process more than any other event. So of one address only some negotiate at a time. Who
comes beyond them is accepted, for the kernel's queue is everybody's, but left unread, which costs nothing; one
begins whenever another one is through. Who comes beyond so many that wait is closed.

Waiting for a client takes nothing: a connection that has had :data:`HOLD` seconds and is not through, for
it is silent or slow, no longer keeps others from their turn.

So one address can save up connections that have greeted, and let all send their requests at once. A request costs
even more. So of one address only some are served in a round; further ones wait, and addresses take turns.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from itertools import takewhile
from math import inf
from socket import inet_ntoa
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall

from socks5.deadlines import clock_of
from socks5.protocol.networks import subscriber
from socks5.settings import Capacity, SettingsSource, current

HOLD = 0.1
"""Seconds that a connection counts among those that negotiate. Whoever comes has something to say already, as a rule;
what takes longer - a distant client, a password that is being checked - costs little meanwhile. And as many silent
connections as may wait keep others of their address for some seconds only."""

LOOK = 0.05
"""Seconds between two looks at who has had his time, while somebody waits."""

TURN = 4
"""Clients that begin, and requests that have waited, at a time, before the established ones get their turn."""

REQUESTS = 16
"""Requests of one address that are served at once in a round, about two milliseconds of work, after as many of all
addresses together, which nobody counts. A round that ends by the clock may follow another one, so one address may have
three times as many at one instant."""

ROUND = 0.005
"""Seconds that a round lasts, unless a turn of those that wait ends it: so up to 3200 requests in a second wait for
nothing."""

_IPV4_OCTETS = 4

ADDRESSES = 4096
"""Whose requests are counted in a round; one more, and all counts begin anew."""


class Asker(Protocol):
    """A session that has a request."""

    def begin_command(self) -> None:
        """It is this session's turn: serve its request. Raises nothing."""


class Holder(Protocol):
    """A listener, of which clients wait."""

    def take(self, client: Any) -> None:
        """It is this client's turn."""

    def drop(self, client: Any) -> None:
        """Close this client's connection."""


def _key(host: str) -> object:
    """Whom a host stands for; see :func:`socks5.protocol.networks.subscriber`. An IPv4 address stands for
    itself, as text; so does an IPv4-mapped one, which is what a listener for both families calls it.
    """
    if ":" not in host:
        return host
    octets = subscriber(host)
    return inet_ntoa(octets) if len(octets) == _IPV4_OCTETS else octets


class Crowds:
    """Who negotiates, and who waits for that.

    :param reactor: the clock.
    :param capacity: :attr:`~socks5.settings.Capacity.handshakes_per_client` and
        :attr:`~socks5.settings.Capacity.waiting_per_client`.
    :param settings: how long a client may take in all, :attr:`~socks5.settings.Settings.handshake_timeout`.
    :param room: sessions that there can be at all: one address may not fill more than a quarter of it by waiting.
    """

    def __init__(
        self, reactor: Any, capacity: Capacity, settings: SettingsSource, room: int
    ) -> None:
        self._reactor = reactor
        self._now = clock_of(reactor)
        self._share = capacity.handshakes_per_client
        self._most = min(capacity.waiting_per_client, room // 4)
        self._settings = current(settings)
        # By address, of those that negotiate; None while all together are fewer than one address's may be.
        self._count: Counter[object] | None = None
        # Since when, and the address; in their order.
        self._negotiating: dict[object, tuple[float, object]] = {}
        # Who waits, by address: since when, with whom, and the client; in their order.
        self._crowds: dict[object, deque[tuple[float, Holder, Any]]] = {}
        self._ready: dict[object, None] = {}
        self._uncounted = 0  # requests of this round that need no count, for all together are few
        # Others that are served at once in this round, by address.
        self._asked: Counter[object] = Counter()
        self._round_ends = 0.0
        self._asking: dict[object, OrderedDict[Asker, None]] = {}  # in the order of their turns
        self._address_of: dict[object, object] = {}  # of each session in there
        self._look: IDelayedCall | None = None
        self._next: IDelayedCall | None = None

    @property
    def waiting(self) -> int:
        """How many clients wait."""
        return sum(map(len, self._crowds.values()))

    def is_free(self, host: str) -> bool:
        """Whether a client may begin at once.

        :param host: its IP literal; "" of a UNIX socket, whose clients count as one.
        """
        if self._count is None and len(self._negotiating) < self._share:
            return True
        key = _key(host)
        return key not in self._crowds and self._has_room(key)

    def _has_room(self, key: object) -> bool:
        if self._count is None:
            self._count = Counter(key for _since, key in self._negotiating.values())
        return self._count[key] < self._share

    def begin(self, host: str, session: object) -> None:
        """A session negotiates, until :meth:`end`."""
        key, now = _key(host) if ":" in host else host, self._now
        self._negotiating[session] = now(), key
        if self._count is not None:
            self._count[key] += 1

    def end(self, session: object) -> None:
        """A session is through, or gone; nothing happens to one that is not known, or no longer."""
        if self._asking:
            self._ask_no_more(session)
        found = self._negotiating.pop(session, None)
        if found is not None and self._count is not None:
            self._uncount(self._count, found[1])

    def _uncount(self, count: Counter[object], key: object) -> None:
        count[key] -= 1
        if not count[key]:
            del count[key]
        if key in self._crowds:
            self._make_ready(key)
        elif not self._crowds and len(self._negotiating) < self._share // 2:
            self._count = None

    # Requests

    def may_ask(self, host: str, session: Asker) -> bool:
        """Whether a session's request is to be served at once. If not, the session is told when, unless :meth:`end`
        is said of it before.
        """
        if self._uncounted and not self._asking:
            self._uncounted -= 1
            return True
        if not self._asking and self._begins_round():
            return True
        key = _key(host)
        if self._asked[key] >= REQUESTS or key in self._asking:
            self._let_wait(key, session)
            return False
        if len(self._asked) >= ADDRESSES:
            self._asked.clear()
        self._asked[key] += 1
        return True

    def _begins_round(self) -> bool:
        """Whether the time of the last round is over; then all counts begin anew."""
        now = self._now()
        if now < self._round_ends:
            return False
        self._round_ends = now + ROUND
        self._uncounted = REQUESTS - 1
        self._asked.clear()
        return True

    def _let_wait(self, key: object, session: Asker) -> None:
        self._asking.setdefault(key, OrderedDict())[session] = None
        self._address_of[session] = key
        self._take_a_turn()

    def _ask_no_more(self, session: object) -> None:
        key = self._address_of.pop(session, None)
        if key is not None:
            del self._asking[key][session]  # type: ignore[arg-type]
            if not self._asking[key]:
                del self._asking[key]

    def _let_ask(self) -> None:
        """Serve some requests that wait, one of each address in turn."""
        self._asked.clear()
        for _ in range(TURN):
            if not self._asking:
                return
            key, sessions = next(iter(self._asking.items()))
            session, _ = sessions.popitem(last=False)
            del self._address_of[session], self._asking[key]
            if sessions:
                self._asking[key] = sessions  # behind the others
            session.begin_command()

    # Those who wait

    def wait(self, host: str, holder: Holder, client: Any) -> bool:
        """Let a client wait that may not begin at once.

        :returns: False if so many of its address wait already that the holder has to drop it.
        """
        key = _key(host)
        if len(self._crowds.get(key, ())) >= self._most:
            return False
        self._crowds.setdefault(key, deque()).append((self._now(), holder, client))
        if self._look is None:
            self._look = self._reactor.callLater(LOOK, self._look_around)
        return True

    def forget(self, holder: Holder) -> None:
        """Drop the clients of a holder: it listens no longer."""
        for key, waiting in tuple(self._crowds.items()):
            dropped = [each[2] for each in waiting if each[1] is holder]
            self._crowds[key] = deque(each for each in waiting if each[1] is not holder)
            self._settle(key)
            for client in dropped:
                holder.drop(client)

    def _settle(self, key: object) -> None:
        """Somebody waits no longer."""
        if not self._crowds[key]:
            del self._crowds[key]
            self._ready.pop(key, None)

    def _make_ready(self, key: object) -> None:
        self._ready[key] = None
        self._take_a_turn()

    def _take_a_turn(self) -> None:
        if self._next is None:
            self._next = self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        """Requests that wait, and clients that may begin: some, before the established ones get their turn."""
        self._next = None
        try:
            self._let_ask()
            self._let_begin()
        finally:
            if self._ready or self._asking:
                self._take_a_turn()

    def _let_begin(self) -> None:
        """Let some begin, one of each address that has room in turn."""
        for _ in range(TURN):
            if not self._ready:
                return
            key = next(iter(self._ready))
            del self._ready[key]
            if self._has_room(key):  # somebody else's port may have let another one begin
                self._let_one_begin(key)

    def _let_one_begin(self, key: object) -> None:
        _since, holder, client = self._crowds[key].popleft()
        self._settle(key)
        try:
            holder.take(client)
        finally:
            if key in self._crowds and self._has_room(key):
                self._ready[key] = None

    def _look_around(self) -> None:
        """Those that have held their turn for long, and those that have waited for long."""
        self._look = None
        try:
            self._let_go(self._now())
        finally:
            if self._crowds:
                self._look = self._reactor.callLater(LOOK, self._look_around)

    def _let_go(self, now: float) -> None:
        had_time = takewhile(lambda item: item[1][0] <= now - HOLD, self._negotiating.items())
        for session, (_, address) in tuple(had_time):  # but its request may wait for its turn
            del self._negotiating[session]
            if self._count is not None:
                self._uncount(self._count, address)
        for key in tuple(self._crowds):
            self._drop_late(key, now - (self._settings().handshake_timeout or inf))

    def _drop_late(self, key: object, latest: float) -> None:
        while key in self._crowds and self._crowds[key][0][0] <= latest:
            _since, holder, client = self._crowds[key].popleft()
            self._settle(key)
            holder.drop(client)
