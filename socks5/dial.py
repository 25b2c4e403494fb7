"""From a target to a connected stream: resolve, ask for each address, connect with a staggered
start (RFC 8305).

The families' addresses are interleaved, in the resolver's order; the next attempt begins when the
one before failed or has not answered for :attr:`~socks5.settings.Settings.attempt_delay`; the first
that connects wins, the others are given up. Only addresses that were asked for are dialled, so a
name cannot lead past the rules.

Floor 2½: imports floors 0 to 1½, :mod:`socks5.attempts`, :mod:`socks5.poll` and :mod:`socks5.replies`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.attempts import Attempt, EndpointAttempt, SocketAttempt
from socks5.deadlines import Deadlines
from socks5.errors import NotAllowed, TTLExpired
from socks5.interfaces import Access, IDialer, IResolver, IStream
from socks5.names import without_false_name
from socks5.poll import poller_of
from socks5.replies import most_telling
from socks5.settings import Settings
from socks5.wire import Address, unmap


def interleaved(addresses: Sequence[str]) -> list[str]:
    """IP literals with the families alternating, the first one's family first (RFC 8305 section
    4).
    """
    first = [host for host in addresses if (":" in host) == (":" in addresses[0])]
    second = [host for host in addresses if (":" in host) != (":" in addresses[0])]
    pairs = chain.from_iterable(zip_longest(first, second))
    return [host for host in pairs if host is not None]


AT_ONCE = 4
"""Attempts under way at a time: each holds a descriptor, and a name may have any number of
addresses.
"""


class _Race:
    """Attempts at one target's addresses, staggered; see the module."""

    __slots__ = (
        "_dialer",
        "_failures",
        "_hosts",
        "_is_beginning",
        "_next",
        "_port",
        "_running",
        "_winner",
    )

    def __init__(self, dialer: Dialer, hosts: Sequence[str], port: int) -> None:
        self._dialer = dialer
        self._hosts = list(hosts)
        self._hosts.reverse()
        self._port = port
        self._running: list[Attempt] = []
        self._failures: list[Failure] = []
        self._is_beginning = False
        self._next: IDelayedCall | None = None
        self._winner: Deferred[IStream] | None = Deferred(self._cancelled)

    def start(self) -> Deferred[IStream]:
        winner = self._winner
        assert winner is not None
        self._dialer.deadlines.set(self, self._too_long)
        self._begin()
        return winner

    def _begin(self) -> None:
        """Begin the next attempt, and set the time for the one after it, which is now if this one
        fails at once: in a loop, for a name may have any number of addresses.
        """
        if self._next is not None:
            self._clear_next()
        self._is_beginning = True
        has_failed = True
        while has_failed and self._hosts:
            attempt = self._dialer.attempt(self._hosts.pop(), self._port, self._done)
            failures = len(self._failures)
            self._running.append(attempt)
            attempt.start()
            has_failed = len(self._failures) > failures
        self._is_beginning = False
        if self._hosts and self._winner is not None and len(self._running) < AT_ONCE:
            self._next = self._dialer.reactor.callLater(
                self._dialer.settings.attempt_delay, self._begin
            )

    def _done(self, attempt: Attempt, outcome: IStream | Failure) -> None:
        self._running.remove(attempt)
        if not isinstance(outcome, Failure):
            self._end().callback(outcome)
            return
        self._failures.append(outcome)
        if self._hosts:
            if not self._is_beginning:
                self._begin()
        elif not self._running:
            self._end().errback(most_telling(self._failures))

    def _cancelled(self, winner: Deferred[IStream]) -> None:
        self._end()

    def _too_long(self) -> None:
        limit = self._dialer.settings.connect_timeout
        silence = Failure(TTLExpired(f"no answer within {limit:g} s"))
        self._end().errback(most_telling([*self._failures, silence]))

    def _end(self) -> Deferred[IStream]:
        """Stop the clock and every attempt that still runs.

        :returns: the winner, to be told so; a reference back to us is not kept.
        """
        if self._next is not None:
            self._clear_next()
        self._dialer.deadlines.clear(self)
        for attempt in self._running:
            attempt.cancel()
        self._running.clear()
        winner, self._winner = self._winner, None
        assert winner is not None
        return winner

    def _clear_next(self) -> None:
        following, self._next = self._next, None
        if following is not None and following.active():
            following.cancel()


@implementer(IDialer)
class Dialer:
    """Connects to targets directly.

    :param reactor: provides IReactorTCP and the clock; with a poller, sockets are our own.
    :param settings: time-outs and source addresses.
    :param resolver: asked for targets that are names.
    """

    def __init__(self, reactor: Any, settings: Settings, resolver: IResolver) -> None:
        self.reactor = reactor
        self.settings = settings
        self.deadlines = Deadlines(reactor, settings.connect_timeout)
        self._resolver = resolver
        self._poller = poller_of(reactor)

    def dial(
        self, access: Access, target: Address, is_allowed: Callable[[str], bool]
    ) -> Deferred[IStream]:
        """See :meth:`socks5.interfaces.IDialer.dial`.

        Fails with :exc:`~socks5.errors.NotAllowed` if no address is allowed, else with what the
        most telling attempt failed with: when all have failed, or after ``connect_timeout``, where
        silence counts as :exc:`~socks5.errors.TTLExpired`.
        """
        host = target.host
        if isinstance(host, bytes):
            target = without_false_name(target)
            host = target.host
        if isinstance(host, str):
            host = unmap(host)
            if is_allowed(host) is not True:
                return fail(NotAllowed("the target is not allowed"))
            return _Race(self, [host], target.port).start()
        if target.is_unspecified:
            return fail(DNSLookupError("an empty name"))
        lookup = self._resolver.resolve(host, access.client)
        dialled: Deferred[IStream] = lookup.addCallback(
            lambda hosts: self._race(interleaved(hosts), target.port, is_allowed)
        )
        return dialled

    def _race(
        self, hosts: Sequence[str], port: int, is_allowed: Callable[[str], bool]
    ) -> Deferred[IStream]:
        allowed = [host for host in hosts if is_allowed(host) is True]
        if not allowed:
            return fail(NotAllowed("no address of the target is allowed"))
        return _Race(self, allowed, port).start()

    def attempt(self, host: str, port: int, done: Callable[[Attempt, Any], None]) -> Attempt:
        """An attempt at one address, to be started."""
        source = self.settings.outgoing.like(host)
        if self._poller is not None:
            return SocketAttempt(self._poller, host, port, source, done)
        return EndpointAttempt(
            self.reactor, host, port, source, self.settings.connect_timeout, done
        )
