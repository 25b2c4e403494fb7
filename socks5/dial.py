"""From a target to a connected stream: resolve, ask for each address, connect with a staggered
start (RFC 8305).

The families' addresses are interleaved, in the resolver's order; the next attempt begins when the
one before failed or has not answered for :attr:`~socks5.settings.Settings.attempt_delay`; the first
that connects wins, the others are given up. Only addresses that were asked for are dialled, so a
name cannot lead past the rules.

Floor 2: imports floors 0 and 1, :mod:`socks5.replies` and :mod:`socks5.resolve`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.errors import NotAllowed, TTLExpired
from socks5.interfaces import IDialer, IResolver, IStream, IStreamReceiver
from socks5.replies import most_telling
from socks5.resolve import literal
from socks5.settings import Settings
from socks5.wire import Address, unmap


@implementer(IStream, IHalfCloseableProtocol)
class Stream(Protocol):
    """A connected transport whose events go to a receiver that can be changed; without one it has
    none to lose.
    """

    receiver: IStreamReceiver | None = None

    @override
    def makeConnection(self, transport: Any) -> None:
        """Octets are passed on as they come, and a peer that is dead is found out."""
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        super().makeConnection(transport)  # type: ignore[no-untyped-call]

    @override
    def dataReceived(self, data: bytes) -> None:
        """See :meth:`socks5.interfaces.IStreamReceiver.dataReceived`."""
        if self.receiver is not None:
            self.receiver.dataReceived(data)

    def readConnectionLost(self) -> None:
        """See :meth:`socks5.interfaces.IStreamReceiver.readConnectionLost`."""
        if self.receiver is not None:
            self.receiver.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Our own end was sent; nothing depends on it."""

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.connectionLost(reason)


class _Streams(Factory):
    """Makes a stream for every connection."""

    noisy = False
    protocol = Stream


_STREAMS = _Streams()


def interleaved(addresses: Sequence[str]) -> list[str]:
    """IP literals with the families alternating, the first one's family first (RFC 8305 section
    4).
    """
    first = [host for host in addresses if (":" in host) == (":" in addresses[0])]
    second = [host for host in addresses if (":" in host) != (":" in addresses[0])]
    pairs = chain.from_iterable(zip_longest(first, second))
    return [host for host in pairs if host is not None]


class _Race:
    """Attempts at one target's addresses, staggered; see the module.

    :param connect: begins one attempt.
    :param hosts: IP literals, at least one, in order.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        hosts: Sequence[str],
        connect: Callable[[str], Deferred[Stream]],
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._hosts: Iterator[str] = iter(hosts)
        self._connect = connect
        self._running: set[Deferred[Stream]] = set()
        self._failures: list[Failure] = []
        self._next: IDelayedCall | None = None
        self._limit: IDelayedCall | None = None
        self.winner: Deferred[IStream] = Deferred(lambda _: self._give_up())

    def start(self) -> Deferred[IStream]:
        self._limit = self._reactor.callLater(self._settings.connect_timeout, self._too_long)
        self._attempt()
        return self.winner

    def _attempt(self) -> None:
        """Begin the next attempt, if there is one, and set the time for the one after it."""
        self._clear_next()
        host = next(self._hosts, None)
        if host is None:
            self._conclude()
            return
        attempt = self._connect(host)
        self._running.add(attempt)
        attempt.addCallbacks(
            self._won, self._failed, callbackArgs=(attempt,), errbackArgs=(attempt,)
        )
        if self._limit is not None and self._next is None:
            self._next = self._reactor.callLater(self._settings.attempt_delay, self._attempt)

    def _won(self, stream: Stream, attempt: Deferred[Stream]) -> None:
        self._running.discard(attempt)
        self._give_up()
        self.winner.callback(stream)

    def _failed(self, failure: Failure, attempt: Deferred[Stream]) -> None:
        self._running.discard(attempt)
        if self._limit is not None:  # else it was given up
            self._failures.append(failure)
            self._attempt()

    def _too_long(self) -> None:
        self._limit = None
        self._give_up()
        self.winner.errback(TTLExpired(f"no answer within {self._settings.connect_timeout:g} s"))

    def _conclude(self) -> None:
        """There is no further attempt to begin: all have failed, unless some still run."""
        if not self._running:
            self._give_up()
            self.winner.errback(most_telling(self._failures))

    def _give_up(self) -> None:
        """Stop the clock and every attempt that still runs."""
        self._clear_next()
        limit, self._limit = self._limit, None
        if limit is not None:
            limit.cancel()
        for attempt in list(self._running):
            attempt.cancel()

    def _clear_next(self) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None


@implementer(IDialer)
class Dialer:
    """Connects to targets directly.

    :param reactor: provides IReactorTCP and the clock.
    :param settings: time-outs and source addresses.
    :param resolver: asked for targets that are names.
    """

    def __init__(self, reactor: Any, settings: Settings, resolver: IResolver) -> None:
        self._reactor = reactor
        self._settings = settings
        self._resolver = resolver

    def dial(self, target: Address, is_allowed: Callable[[str], bool]) -> Deferred[IStream]:
        """See :meth:`socks5.interfaces.IDialer.dial`.

        Fails with :exc:`~socks5.errors.NotAllowed` if no address is allowed,
        :exc:`~socks5.errors.TTLExpired` after ``connect_timeout``, else with what the most telling
        attempt failed with.
        """
        host = literal(target.host) if isinstance(target.host, bytes) else unmap(target.host)
        if host is not None:
            return self._race([host], target.port, is_allowed)
        if target.is_unspecified:
            return fail(DNSLookupError("an empty name"))
        lookup = self._resolver.resolve(target.host)  # type: ignore[arg-type]
        dialled: Deferred[IStream] = lookup.addCallback(
            lambda hosts: self._race(interleaved(hosts), target.port, is_allowed)
        )
        return dialled

    def _race(
        self, hosts: Sequence[str], port: int, is_allowed: Callable[[str], bool]
    ) -> Deferred[IStream]:
        allowed = [host for host in hosts if is_allowed(host)]
        if not allowed:
            return fail(NotAllowed("no address of the target is allowed"))
        race = _Race(self._reactor, self._settings, allowed, lambda host: self._connect(host, port))
        return race.start()

    def _connect(self, host: str, port: int) -> Deferred[Stream]:
        kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        source = self._settings.outgoing.like(host)
        endpoint = kind(
            self._reactor,
            host,
            port,
            timeout=self._settings.connect_timeout,
            bindAddress=None if source is None else (source, 0),
        )
        connected: Deferred[Any] = endpoint.connect(_STREAMS)
        return connected
