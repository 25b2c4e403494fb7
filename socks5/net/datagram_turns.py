"""Whose turn it is: the work that clients' datagrams make, shared fairly between client addresses.

A datagram that is looked at singly - malformed, a fragment, for a new target, from a stranger - costs dozens of
times what one in a batch does, and a socket may hold a great many. So every client has a :class:`Share`, for all
its associations and both directions, which its work is counted against. A socket whose client has used up its
share waits here, and is no longer read. Once everybody else has been served, the reactor's timers too, those who
wait are served in turn: each client with a new share, its sockets in the order in which they came to wait. Who
has taken too much begins with a debt (deficit round robin).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from twisted.logger import Logger
from twisted.python.failure import Failure

from socks5.net.poller import READABLE
from socks5.protocol.networks import subscriber

SINGLE = 32
"""What a datagram that is handled singly counts; one in a batch counts 1, and takes about a microsecond."""

LOOKUP = 8 * SINGLE
"""What one counts besides that goes to a name of which the association has no address: what a lookup costs, with its
answers, though a remembered one costs less."""

SHARE = 512
"""What a client has until the others are served: 16 single datagrams, or as many in batches as take half a
millisecond."""

ROUND = 4 * SHARE
"""What those who wait may use together until the others are served."""

_log = Logger()


class Waiting(Protocol):
    """A socket that waits; see :class:`socks5.net.poller.Owner`."""

    def ready(self, events: int) -> None:
        """Go on, as long as there is something of the share left."""

    def crashed(self, failure: Failure) -> None:
        """``ready`` raised: a bug."""


class Budget:
    """What one client address has, in all its associations."""

    __slots__ = ("associations", "octets_waiting", "targets")

    def __init__(self) -> None:
        self.associations = 0
        self.targets = 0
        self.octets_waiting = 0
        """Of datagrams that wait for a name."""


class Share:
    """What one client may do before others have their turn."""

    __slots__ = ("__weakref__", "_turns", "budget", "left", "waiting")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.budget = Budget()
        """What else the client has of everybody's."""
        self.left = SHARE
        """Below 1 it is used up."""
        self.waiting: dict[Waiting, None] = {}

    def wait(self, waiting: Waiting) -> None:
        """Let *waiting* go on when others have had their turn. If it waits already, it keeps its place."""
        self.waiting[waiting] = None
        self._turns.queue(self)

    def forget(self, waiting: Waiting) -> None:
        """*waiting* is gone."""
        self.waiting.pop(waiting, None)

    def serve(self) -> int:
        """Let those who wait go on, with a new share.

        :returns: how much of it they have used.
        """
        before = self.left = min(SHARE, self.left + SHARE)
        while self.waiting and self.left > 0:
            waiting = next(iter(self.waiting))
            del self.waiting[waiting]
            try:
                waiting.ready(READABLE)
            except Exception:
                _crash(waiting)
        return before - self.left


def _crash(waiting: Waiting) -> None:
    """Tell *waiting* of the exception under way. What that raises in its turn is no other's concern."""
    try:
        waiting.crashed(Failure())
    except Exception:
        _log.failure("a failed socket could not be given up")


class Turns:
    """Shares, and the queue of those that are used up.

    :param reactor: gives everybody else their turn, between two rounds.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor: Callable[[], Any] = ref(reactor)  # which we do not keep alive
        self._shares: WeakValueDictionary[bytes, Share] = WeakValueDictionary()
        self._queue: dict[Share, None] = {}
        self._is_coming = False

    def share_of(self, client: str) -> Share:
        """A client's share, which lasts as long as somebody holds it.

        :param client: its IP literal; those of one IPv6 /64 are one client.
        """
        key = subscriber(client)
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = Share(self)
        return share

    def queue(self, share: Share) -> None:
        """Somebody waits for a new *share*."""
        self._queue[share] = None
        self._come_back()

    def _come_back(self) -> None:
        if not self._is_coming:
            self._is_coming = True
            self._reactor().callLater(0, self._serve)

    def _serve(self) -> None:
        """One round. Who is not reached stays in front."""
        self._is_coming = False
        left = ROUND
        for share in tuple(self._queue):
            if left <= 0:
                break
            del self._queue[share]
            left -= share.serve()
            if share.waiting:
                self._queue[share] = None
        if self._queue:
            self._come_back()


_turns: WeakKeyDictionary[Any, Turns] = WeakKeyDictionary()


def turns_of(reactor: Any) -> Turns:
    """The reactor's turns, made at the first call.

    :param reactor: one that wraps another names it as its ``wrapped``.
    """
    reactor = getattr(reactor, "wrapped", reactor)
    turns = _turns.get(reactor)
    if turns is None:
        turns = _turns[reactor] = Turns(reactor)
    return turns
