"""From a target to a connected stream: resolve, ask for each address, connect with a staggered
start (RFC 8305).

The families' addresses are interleaved, in the resolver's order or with the family first that the settings
prefer. The next attempt begins when the one before failed or has not answered for
:attr:`~socks5.settings.Settings.attempt_delay`; the first that connects wins, the others are given up. A few
are under way at a time, and the oldest makes room for the next: addresses that never answer do not keep one
that works from being tried. Only addresses that the rules allow are dialled, so a name cannot lead past them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.access import Access, Verdict
from socks5.deadlines import Deadlines, clock_of
from socks5.interfaces import (
    IDatagramReceiver,
    IDatagrams,
    IDialer,
    IPeerPort,
    IResolver,
    IStream,
    Judge,
)
from socks5.net.poller import poller_of
from socks5.outbound.attempts import Attempt, EndpointAttempt, SocketAttempt
from socks5.outbound.datagrams import DirectDatagrams
from socks5.outbound.failures import most_telling
from socks5.outbound.judging import allowed
from socks5.outbound.peers import await_peer
from socks5.protocol.address import Address, unmap
from socks5.protocol.errors import AddressTypeNotSupported, HostUnreachable, NotAllowed, TTLExpired
from socks5.protocol.networks import subscriber
from socks5.settings import Settings


def interleaved(addresses: Sequence[str]) -> list[str]:
    """IP literals with the families alternating, the first one's family first (RFC 8305 section
    4).
    """
    first = [host for host in addresses if (":" in host) == (":" in addresses[0])]
    second = [host for host in addresses if (":" in host) != (":" in addresses[0])]
    pairs = chain.from_iterable(zip_longest(first, second))
    return [host for host in pairs if host is not None]


AT_ONCE = 6
"""Attempts of one target under way at a time: each holds a descriptor."""

MOST_ATTEMPTS = 16
"""Attempts at one target in all. Whoever owns a name chooses how many addresses it has."""

MOST_ADDRESSES = 64
"""Addresses of one name that anybody is asked about, in the order in which they would be tried."""

BESIDE_OTHERS = 64
"""Attempts of one client, over all its targets, that are under way beside another one at the same target:
every session has one of its own, and these are for all.
"""

_A_MOMENT = 0.001
"""Seconds by which a clock's tick may come too early."""


class _Single:
    """The attempt at a target that has one address."""

    __slots__ = ("_attempt", "_dialer", "_settings", "_winner")

    def __init__(self, dialer: DirectDialer, settings: Settings) -> None:
        self._dialer = dialer
        self._settings = settings
        self._attempt: Attempt | None = None
        self._winner: Deferred[IStream] | None = Deferred(self._cancelled)

    def start(self, host: str, port: int) -> Deferred[IStream]:
        winner, dialer, settings = self._winner, self._dialer, self._settings
        assert winner is not None
        dialer.deadlines.set(self, settings.connect_timeout, self._too_long)
        self._attempt = attempt = dialer.attempt(host, port, settings, self._done)
        attempt.start()
        return winner

    def _done(self, attempt: Attempt, outcome: IStream | Failure) -> None:
        winner = self._end()
        if isinstance(outcome, Failure):
            winner.errback(outcome)
        else:
            winner.callback(outcome)

    def _cancelled(self, winner: Deferred[IStream]) -> None:
        self._give_up()

    def _too_long(self) -> None:
        self._give_up().errback(silence(self._settings))

    def _give_up(self) -> Deferred[IStream]:
        attempt = self._attempt
        assert attempt is not None
        attempt.cancel()
        return self._end()

    def _end(self) -> Deferred[IStream]:
        """Stop the clock.

        :returns: the winner, to be told so; no references in a circle are kept.
        """
        self._dialer.deadlines.clear(self)
        winner, self._winner = self._winner, None
        self._attempt = None
        assert winner is not None
        return winner


class _Race:
    """Attempts at one target's addresses, staggered; see the module."""

    __slots__ = (
        "_dialer",
        "_failures",
        "_hosts",
        "_is_beginning",
        "_next",
        "_patience",
        "_port",
        "_running",
        "_settings",
        "_whose",
        "_winner",
    )

    def __init__(
        self,
        dialer: DirectDialer,
        settings: Settings,
        client: str,
        hosts: Sequence[str],
        port: int,
    ) -> None:
        self._dialer = dialer
        self._settings = settings
        self._patience = AT_ONCE * settings.attempt_delay
        """Seconds that an attempt has before it may be given up for another, while the time of all is not over."""
        self._whose = client
        self._hosts = list(hosts)
        self._hosts.reverse()
        self._port = port
        self._running: dict[Attempt, float] = {}
        """When each began, in that order."""
        self._failures: list[Failure] = []
        self._is_beginning = False
        self._next: IDelayedCall | None = None
        self._winner: Deferred[IStream] | None = Deferred(self._cancelled)

    def start(self) -> Deferred[IStream]:
        winner = self._winner
        assert winner is not None
        self._dialer.deadlines.set(self, self._settings.connect_timeout, self._too_long)
        self._begin()
        return winner

    def _begin(self) -> None:
        """Begin the next attempt, and set the time for the one after it: now, if this one fails at once. A few such
        in a loop, then others have their turn.
        """
        if self._next is not None:
            self._clear_next()
        self._is_beginning = True
        has_failed = False
        for _ in range(AT_ONCE):
            has_room = bool(self._hosts) and (not self._running or self._makes_room())
            has_failed = has_room and self._fails_at_once()
            if not has_failed:
                break
        self._is_beginning = False
        if self._winner is None:
            return
        if self._hosts:
            self._begin_later(0.0 if has_failed else self._settings.attempt_delay)
        elif not self._running:
            self._end().errback(most_telling(self._failures))

    def _fails_at_once(self) -> bool:
        """Begin the next attempt.

        :returns: whether it has failed already.
        """
        failures = len(self._failures)
        attempt = self._dialer.attempt(self._hosts.pop(), self._port, self._settings, self._done)
        self._running[attempt] = self._dialer.now()
        attempt.start()
        return len(self._failures) > failures

    def _makes_room(self) -> bool:
        """Have room for one more attempt, if need be by giving up the oldest, once that has had its time.

        :returns: whether there is.
        """
        if len(self._running) < AT_ONCE and self._dialer.shares.take(self._whose):
            return True
        if self._oldest_has() > _A_MOMENT:
            return False
        oldest = next(iter(self._running))
        del self._running[oldest]  # whose share goes to the one that follows
        oldest.cancel()
        silence = f"no answer within {self._patience:g} s, and others were to be tried"
        self._failures.append(Failure(TTLExpired(silence)))
        return True

    def _oldest_has(self) -> float:
        """Seconds that the oldest attempt has left before it may have to make room."""
        began = next(iter(self._running.values()))
        return began + self._patience - self._dialer.now()

    def _begin_later(self, delay: float) -> None:
        """Set the time for the next attempt."""
        if len(self._running) == AT_ONCE:
            delay = max(delay, self._oldest_has())
        self._next = self._dialer.reactor.callLater(delay, self._begin)

    def _done(self, attempt: Attempt, outcome: IStream | Failure) -> None:
        self._forget(attempt)
        if not isinstance(outcome, Failure):
            self._end().callback(outcome)
            return
        self._failures.append(outcome)
        if not self._is_beginning:
            self._begin()

    def _forget(self, attempt: Attempt) -> None:
        del self._running[attempt]
        if self._running:
            self._dialer.shares.give_back(self._whose)

    def _cancelled(self, winner: Deferred[IStream]) -> None:
        self._end()

    def _too_long(self) -> None:
        self._end().errback(most_telling([*self._failures, silence(self._settings)]))

    def _end(self) -> Deferred[IStream]:
        """Stop the clock and every attempt that still runs.

        :returns: the winner, to be told so; a reference back to us is not kept.
        """
        if self._next is not None:
            self._clear_next()
        self._dialer.deadlines.clear(self)
        for attempt in tuple(self._running):
            self._forget(attempt)
            attempt.cancel()
        winner, self._winner = self._winner, None
        assert winner is not None
        return winner

    def _clear_next(self) -> None:
        following, self._next = self._next, None
        if following is not None and following.active():
            following.cancel()


class _Shares:
    """What clients share: so many attempts of each, beside another one at the same target."""

    def __init__(self) -> None:
        self._taken: Counter[bytes] = Counter()

    def take(self, client: str) -> bool:
        """
        :param client: its IP literal, or "".
        :returns: whether its share is large enough for one more.
        """
        whose = subscriber(client)
        if self._taken[whose] >= BESIDE_OTHERS:
            return False
        self._taken[whose] += 1
        return True

    def give_back(self, client: str) -> None:
        """One that was taken is over."""
        whose = subscriber(client)
        self._taken[whose] -= 1
        if not self._taken[whose]:
            del self._taken[whose]


def silence(settings: Settings) -> Failure:
    """What it is when no address has answered in time."""
    return Failure(TTLExpired(f"no answer within {settings.connect_timeout:g} s"))


class _Deadlines:
    """To be replaced by Deadlines, once they are of any length."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._queues: dict[float, Deadlines] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def set(self, key: object, seconds: float, callback: Callable[[], object]) -> None:
        """Call *callback* in so many seconds."""
        if seconds not in self._queues:
            self._queues[seconds] = Deadlines(self._reactor, seconds)
        self._queues[seconds].set(key, callback)

    def clear(self, key: object) -> None:
        """Do not."""
        for queue in self._queues.values():
            queue.clear(key)


@implementer(IDialer)
class DirectDialer:
    """Reaches targets directly.

    :param reactor: provides IReactorTCP and the clock; with a poller, sockets are our own.
    :param resolver: asked for targets that are names.
    """

    def __init__(self, reactor: Any, resolver: IResolver) -> None:
        self.reactor = reactor
        self.now = clock_of(reactor)
        self.shares = _Shares()
        self.deadlines = _Deadlines(reactor)
        self._resolver = resolver
        self._poller = poller_of(reactor)

    def dial(
        self, access: Access, target: Address, judge: Judge, *, settings: Settings, near: str
    ) -> Deferred[IStream]:
        """See :meth:`socks5.interfaces.IDialer.dial`.

        Fails with :exc:`~socks5.protocol.errors.AddressTypeNotSupported` for an address of a family that may not be
        used, with :exc:`~socks5.protocol.errors.HostUnreachable` for a name that has no other, with
        :exc:`~socks5.protocol.errors.NotAllowed` if no address is allowed, else with what the
        most telling attempt failed with: when all have failed, or after ``connect_timeout``, where
        silence counts as :exc:`~socks5.protocol.errors.TTLExpired`.
        """
        host = target.host
        if isinstance(host, bytes):
            return self._dial_name(access, host, target.port, judge, settings)
        host = unmap(host)
        if not settings.family.allows(host):
            return fail(AddressTypeNotSupported("targets of this family are not reached"))
        verdict = judge(host)
        if isinstance(verdict, Deferred):
            return verdict.addCallback(self._dial_judged, host, target.port, settings)
        if verdict.is_allowed is not True:
            return fail(NotAllowed("the target is not allowed"))
        return _Single(self, settings).start(host, target.port)

    def _dial_judged(
        self, verdict: Verdict, host: str, port: int, settings: Settings
    ) -> Deferred[IStream]:
        return self._dial_all("", (host,) if verdict.is_allowed is True else (), port, settings)

    def _dial_name(
        self, access: Access, name: bytes, port: int, judge: Judge, settings: Settings
    ) -> Deferred[IStream]:
        if not name:
            return fail(DNSLookupError("an empty name"))
        client = access.client
        lookup = self._resolver.resolve(name, client)
        dialled: Deferred[IStream] = lookup.addCallback(
            lambda hosts: self._race(client, hosts, port, judge, settings).addErrback(
                self._failed, name
            )
        )
        return dialled

    def _race(
        self, client: str, hosts: Sequence[str], port: int, judge: Judge, settings: Settings
    ) -> Deferred[IStream]:
        reachable = settings.family.in_order(hosts)
        if not reachable:
            return fail(HostUnreachable("the name has no address of a family that is reached"))
        asked = interleaved(reachable)[:MOST_ADDRESSES]
        found = allowed(asked, judge, MOST_ATTEMPTS)
        if isinstance(found, Deferred):
            return found.addCallback(lambda later: self._dial_all(client, later, port, settings))
        return self._dial_all(client, found, port, settings)

    def _dial_all(
        self, client: str, hosts: Sequence[str], port: int, settings: Settings
    ) -> Deferred[IStream]:
        if not hosts:
            return fail(NotAllowed("no address of the target is allowed"))
        if len(hosts) == 1:
            return _Single(self, settings).start(hosts[0], port)
        return _Race(self, settings, client, hosts, port).start()

    def _failed(self, failure: Failure, name: bytes) -> Failure:
        """Not one address of a name could be reached, unless none was to be tried."""
        if failure.check(CancelledError, NotAllowed, HostUnreachable) is None:
            self._resolver.failed(name)
        return failure

    def attempt(
        self, host: str, port: int, settings: Settings, done: Callable[[Attempt, Any], None]
    ) -> Attempt:
        """An attempt at one address, to be started."""
        source = settings.outgoing.like(host)
        if self._poller is not None:
            return SocketAttempt(self._poller, host, port, source, done)
        return EndpointAttempt(self.reactor, host, port, source, settings.connect_timeout, done)

    def open_datagrams(
        self,
        access: Access,
        judge: Judge,
        receiver: IDatagramReceiver,
        *,
        settings: Settings,
        near: str,
    ) -> IDatagrams:
        """See :meth:`socks5.interfaces.IDialer.open_datagrams`."""
        shared = (self.reactor, self._resolver, self.deadlines)
        return DirectDatagrams(*shared, access, judge, receiver, settings, near)

    def await_peer(
        self, access: Access, expected: Address, judge: Judge, *, settings: Settings, near: str
    ) -> Deferred[IPeerPort]:
        """See :meth:`socks5.interfaces.IDialer.await_peer`."""
        asking = (access, expected, judge, settings, near)
        return Deferred.fromCoroutine(await_peer(self.reactor, self._resolver, *asking))
