"""Names to addresses, without blocking, with a bounded cache and a bounded queue.

Lookups go to an :class:`~twisted.internet.interfaces.IHostnameResolver`: the one installed in the
reactor, or, where that is the reactor's own ``getaddrinfo`` resolver, one like it with a thread
pool of its own, so that slow names never hold up the threads that others need. Equal names share
one lookup.

Floor 2: imports floors 0 and 1.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Thread
from typing import Any

# GAIResolver has no public name; a reactor's nameResolver is its only public face.
from twisted.internet._resolver import GAIResolver
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from socks5.deadlines import Deadlines, clock_of
from socks5.interfaces import IResolver
from socks5.names import hostname
from socks5.settings import Settings
from socks5.wire import unmap


@implementer(IResolutionReceiver)
class _Receiver:
    """Gathers the addresses of one lookup.

    :param done: called with them, in order and each once, when there are no more.
    """

    def __init__(self, done: Callable[[tuple[str, ...]], object]) -> None:
        self._done = done
        self._found: dict[str, None] = {}

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Nothing to keep: a lookup in a thread cannot be cancelled."""

    def addressResolved(self, address: IAddress) -> None:
        self._found[unmap(address.host)] = None  # type: ignore[attr-defined]

    def resolutionComplete(self) -> None:
        self._done(tuple(self._found))


@implementer(IResolver)
class Resolver:
    """The resolver of a server.

    :param reactor: where lookups run and time passes.
    :param settings: sizes, lifetimes and the time-out.
    :param lookup: whom to ask, instead of the choice described above.
    """

    def __init__(
        self, reactor: Any, settings: Settings, lookup: IHostnameResolver | None = None
    ) -> None:
        self._reactor = reactor
        self._now = clock_of(reactor)
        self._settings = settings
        self._lookup = lookup
        self._pool: ThreadPool | None = None
        self._cache: OrderedDict[str, tuple[float, tuple[str, ...]]] = OrderedDict()
        self._waiting: dict[str, list[Deferred[Sequence[str]]]] = {}
        self._queue: deque[str] = deque()
        self._running = 0
        self._is_beginning = False
        self._deadlines = Deadlines(reactor, settings.resolve_timeout)

    def resolve(self, name: bytes, client: str) -> Deferred[Sequence[str]]:
        """See :meth:`socks5.interfaces.IResolver.resolve`."""
        try:
            text = hostname(name)
        except DNSLookupError:
            return fail(Failure())
        remembered = self._cache.get(text)
        if remembered is not None and remembered[0] > self._now():
            self._cache.move_to_end(text)
            return (
                succeed(remembered[1])
                if remembered[1]
                else fail(DNSLookupError("no address found"))
            )
        return self._join(text)

    def _join(self, text: str) -> Deferred[Sequence[str]]:
        """Wait for the lookup of *text*, which is queued unless it runs or is queued already."""
        is_known = text in self._waiting
        if not is_known and len(self._waiting) >= self._settings.names_waiting:
            return fail(DNSLookupError("too many names are being resolved"))
        wait: Deferred[Sequence[str]] = Deferred(lambda gone: self._leave(text, gone))
        self._waiting.setdefault(text, []).append(wait)
        self._deadlines.set(wait, lambda: self._too_long(text, wait))
        if not is_known:
            self._queue.append(text)
            self._begin_next()
        return wait

    def _begin_next(self) -> None:
        """Begin lookups while there are threads for them; those that are over at once lead back
        here, to no effect.
        """
        if self._is_beginning:
            return
        self._is_beginning = True
        while self._queue and self._running < self._settings.resolver_threads:
            text = self._queue.popleft()
            self._running += 1
            self._begin(text)
        self._is_beginning = False

    def _begin(self, text: str) -> None:
        """Ask. The lookup counts until it is over, even if nobody waits for it any more: it holds a
        thread.
        """
        receiver = _Receiver(lambda found: self._finish(text, found))
        try:
            self._ask().resolveHostName(receiver, text)
        except Exception:
            self._over(text, Failure())

    def _leave(self, text: str, gone: Deferred[Sequence[str]]) -> None:
        """One that waited was cancelled; the lookup goes on, its answer will be remembered."""
        self._deadlines.clear(gone)
        if gone in self._waiting.get(text, ()):
            self._waiting[text].remove(gone)
            self._forget_if_queued(text)

    def _forget_if_queued(self, text: str) -> None:
        """A name that nobody waits for leaves the queue, so that clients who ask and leave hold
        nobody up.
        """
        if not self._waiting[text] and text in self._queue:
            self._queue.remove(text)
            del self._waiting[text]

    def _too_long(self, text: str, wait: Deferred[Sequence[str]]) -> None:
        self._waiting[text].remove(wait)
        self._forget_if_queued(text)
        wait.errback(DNSLookupError(f"no answer within {self._settings.resolve_timeout:g} s"))

    def _finish(self, text: str, found: tuple[str, ...]) -> None:
        """Remember the outcome of a lookup, and tell those who wait."""
        lifetime = self._settings.name_lifetime if found else self._settings.name_failure_lifetime
        self._cache[text] = (self._now() + lifetime, found)
        self._cache.move_to_end(text)
        while len(self._cache) > self._settings.names_cached:
            self._cache.popitem(last=False)
        self._over(text, found or Failure(DNSLookupError("no address found")))

    def _over(self, text: str, outcome: tuple[str, ...] | Failure) -> None:
        """Tell those who wait, and let the next name have the thread."""
        self._running -= 1
        for wait in self._waiting.pop(text):
            if not wait.called:  # one before it may have cancelled it
                self._deadlines.clear(wait)
                wait.callback(outcome)
        self._begin_next()

    def _ask(self) -> IHostnameResolver:
        """Whom to ask, settled at the first name."""
        if self._lookup is None:
            installed = self._reactor.nameResolver
            self._lookup = self._own() if isinstance(installed, GAIResolver) else installed
        return self._lookup

    def _own(self) -> IHostnameResolver:
        pool = self._pool = ThreadPool(0, self._settings.resolver_threads, "socks5-names")
        # Daemons, for a name server that hangs must not hold up the exit.
        pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
        pool.start()
        self._reactor.addSystemEventTrigger("during", "shutdown", self.close)
        return GAIResolver(self._reactor, lambda: pool)

    def close(self) -> None:
        """Let the threads go, without waiting for them. Called at the reactor's shutdown; harmless
        twice.
        """
        pool, self._pool = self._pool, None
        if pool is not None:
            Thread(target=pool.stop, daemon=True).start()
