"""From a target to a connected stream: resolve, ask for each address, connect with a staggered
start (RFC 8305).

The families' addresses are interleaved, in the resolver's order or with the family first that the settings
prefer. Only addresses that the rules allow are dialled, so a name cannot lead past them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import DNSLookupError
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.access import ALLOWED, Access, Verdict
from socks5.deadlines import Deadlines, Line, clock_of
from socks5.interfaces import IDatagramReceiver, IDatagrams, IDialer, IPeerPort, IResolver, Judge
from socks5.net.poller import poller_of
from socks5.outbound.attempts import (
    TOO_LONG,
    Attempt,
    Cancellable,
    EndpointAttempt,
    Single,
    SocketAttempt,
    Waiter,
)
from socks5.outbound.datagrams import DirectDatagrams
from socks5.outbound.judging import Allowed, allowed, is_plain
from socks5.outbound.peers import allowed_peers, listen_for
from socks5.outbound.race import Race, Shares
from socks5.protocol.address import Address, unmap
from socks5.protocol.errors import AddressTypeNotSupported, HostUnreachable, NotAllowed
from socks5.settings import ANY_FAMILY, OutgoingFamily, Settings
from socks5.streams import IStream


def interleaved(addresses: Sequence[str]) -> list[str]:
    """IP literals with the families alternating, the first one's family first (RFC 8305 section
    4).
    """
    first = [host for host in addresses if (":" in host) == (":" in addresses[0])]
    second = [host for host in addresses if (":" in host) != (":" in addresses[0])]
    pairs = chain.from_iterable(zip_longest(first, second))
    return [host for host in pairs if host is not None]


MOST_ATTEMPTS = 16
"""Attempts at one target in all. Whoever owns a name chooses how many addresses it has."""

MOST_ADDRESSES = 64
"""Addresses of one name that anybody is asked about, in the order in which they would be tried."""


class _Promised(Deferred[IStream]):
    """The stream of one attempt."""

    came = Deferred.callback
    failed = Deferred.errback


def waited_for(dialling: Single | Deferred[IStream], waiter: Waiter) -> Cancellable:
    """Have *waiter* told of what is being dialled, or is to be."""
    if isinstance(dialling, Single):
        dialling.begin(waiter)
    else:
        dialling.addCallbacks(waiter.came, waiter.failed)
    return dialling


def _promised(attempt: Single) -> Deferred[IStream]:
    """Begin an attempt; cancelling gives it up."""
    promised = _Promised(lambda _: attempt.cancel())
    attempt.begin(promised)
    return promised


def literal_of(target: Address, family: OutgoingFamily) -> str | None:
    """The address of a target that is no name, if its family may be used."""
    host = target.host
    if isinstance(host, bytes):
        return None
    if ":" in host:
        host = unmap(host)
    return host if family is ANY_FAMILY or family.allows(host) else None


class _ByTwisted:
    """Attempts on Twisted's transports, as :class:`~socks5.outbound.race.Race` makes them."""

    def __init__(self, dialer: DirectDialer) -> None:
        self.reactor, self.now = dialer.reactor, dialer.now
        self.deadlines, self.shares = dialer.deadlines, dialer.shares

    def attempt(
        self, host: str, port: int, settings: Settings, done: Callable[[Attempt, Any], None]
    ) -> Attempt:
        """See :class:`socks5.outbound.race.Way`."""
        source = settings.outgoing.like(host)
        return EndpointAttempt(self.reactor, host, port, source, settings.connect_timeout, done)


@implementer(IDialer)
class DirectDialer:
    """Reaches targets directly.

    :param reactor: provides IReactorTCP and the clock; with a poller, sockets are our own.
    :param resolver: asked for targets that are names.
    """

    def __init__(self, reactor: Any, resolver: IResolver) -> None:
        self.reactor = reactor
        self.now = clock_of(reactor)
        self.shares = Shares()
        self.deadlines = Deadlines(reactor)
        self.resolver = resolver
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
        dialling = self._dial(access, target, judge, settings)
        return _promised(dialling) if isinstance(dialling, Single) else dialling

    def dial_for(
        self, waiter: Waiter, access: Access, target: Address, judge: Judge, settings: Settings
    ) -> Cancellable:
        """:meth:`dial`, for somebody who needs no Deferred: most targets are an address that is allowed at once.

        :returns: what is cancelled if *waiter* does not want to be told any more.
        """
        return waited_for(self._dial(access, target, judge, settings), waiter)

    def _dial(
        self, access: Access, target: Address, judge: Judge, settings: Settings
    ) -> Single | Deferred[IStream]:
        """
        :returns: an attempt that is to begin, if that is all there is to it.
        """
        host = target.host
        if isinstance(host, bytes):
            return self._dial_name(access, host, target.port, judge, settings)
        literal = literal_of(target, settings.family)
        if literal is None:
            return fail(AddressTypeNotSupported("targets of this family are not reached"))
        return self.dial_judged(access, judge(literal), literal, target.port, settings)

    def dial_judged(
        self,
        access: Access,
        verdict: Verdict | Deferred[Verdict],
        host: str,
        port: int,
        settings: Settings,
    ) -> Single | Deferred[IStream]:
        """Dial an address if it is allowed.

        :returns: an attempt that is to begin, if that is all there is to it.
        """
        if verdict is ALLOWED or is_plain(verdict):
            return self._dial_one(host, port, settings)
        if isinstance(verdict, Deferred):
            return verdict.addCallback(self._dial_later, access, host, port, settings)
        found = Allowed(access)
        found.add(host, verdict)
        if not found.hosts:
            return fail(found.refusal("the target is not allowed"))
        return self._dial_one(host, port, found.under(settings))

    def _dial_one(self, host: str, port: int, settings: Settings) -> Single | Deferred[IStream]:
        """The same, of a target that has one address."""
        if self._poller is None:
            return Race(self, settings, "", (host,), port).start()
        source = settings.outgoing.like(host)
        return Single(self._poller, host, port, source, self.line(settings))

    def line(self, settings: Settings) -> Line:
        """What serves the time-outs of attempts at targets that have one address."""
        return self.deadlines.line(settings.connect_timeout, TOO_LONG)

    def _dial_later(
        self, verdict: Verdict, access: Access, host: str, port: int, settings: Settings
    ) -> Deferred[IStream]:
        found = Allowed(access)
        found.add(host, verdict)
        return self.dial_found("", found, port, settings)

    def _dial_name(
        self, access: Access, name: bytes, port: int, judge: Judge, settings: Settings
    ) -> Deferred[IStream]:
        if not name:
            return fail(DNSLookupError("an empty name"))
        lookup = self.resolver.resolve(name, access.client)
        dialled: Deferred[IStream] = lookup.addCallback(
            lambda hosts: self._race(access, hosts, port, judge, settings).addErrback(
                self.has_failed, name
            )
        )
        return dialled

    def _race(
        self, access: Access, hosts: Sequence[str], port: int, judge: Judge, settings: Settings
    ) -> Deferred[IStream]:
        reachable = settings.family.in_order(hosts)
        if not reachable:
            return fail(HostUnreachable("the name has no address of a family that is reached"))
        asked = interleaved(reachable)[:MOST_ADDRESSES]
        client = access.client
        found = allowed(asked, judge, MOST_ATTEMPTS, Allowed(access))
        if isinstance(found, Deferred):
            return found.addCallback(lambda later: self.dial_found(client, later, port, settings))
        return self.dial_found(client, found, port, settings)

    def dial_found(
        self, client: str, found: Allowed, port: int, settings: Settings
    ) -> Deferred[IStream]:
        """Dial those of a target's addresses that are allowed."""
        hosts = found.hosts
        if not hosts:
            return fail(found.refusal("no address of the target is allowed"))
        return self._connect(client, hosts, port, found.under(settings))

    def _connect(
        self, client: str, hosts: Sequence[str], port: int, settings: Settings
    ) -> Deferred[IStream]:
        """Connect to the first of them that answers."""
        if len(hosts) == 1:
            dialling = self._dial_one(hosts[0], port, settings)
            return _promised(dialling) if isinstance(dialling, Single) else dialling
        return Race(self, settings, client, hosts, port).start()

    def reach(
        self,
        client: str,
        hosts: Sequence[str],
        port: int,
        settings: Settings,
        has_tls: bool = False,
    ) -> Deferred[IStream]:
        """Connect to somebody whom no rule is about: a proxy that is on the way to a target.

        :param client: on whose behalf.
        :param hosts: his IP literals.
        :param has_tls: whether the stream is to be TLS's, which can only be over a transport of Twisted's.
        """
        reachable = settings.family.in_order(hosts)
        if not reachable:
            return fail(HostUnreachable("it has no address of a family that is reached"))
        asked = interleaved(reachable)[:MOST_ATTEMPTS]
        if has_tls:
            return Race(_ByTwisted(self), settings, client, asked, port).start()
        return self._connect(client, asked, port, settings)

    def has_failed(self, failure: Failure, name: bytes) -> Failure:
        """Not one address of a name could be reached, unless none was to be tried."""
        if (
            failure.check(CancelledError, NotAllowed, HostUnreachable, AddressTypeNotSupported)
            is None
        ):
            self.resolver.failed(name)
        return failure

    def attempt(
        self, host: str, port: int, settings: Settings, done: Callable[[Attempt, Any], None]
    ) -> Attempt:
        """An attempt at one address, to be started."""
        if self._poller is None:
            return _ByTwisted(self).attempt(host, port, settings, done)
        return SocketAttempt(self._poller, host, port, settings.outgoing.like(host), done)

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
        shared = (self.reactor, self.resolver, self.deadlines)
        return DirectDatagrams(*shared, access, judge, receiver, settings, near)

    def await_peer(
        self, access: Access, expected: Address, judge: Judge, *, settings: Settings, near: str
    ) -> Deferred[IPeerPort]:
        """See :meth:`socks5.interfaces.IDialer.await_peer`."""
        return Deferred.fromCoroutine(self._await_peer(access, expected, judge, settings, near))

    async def _await_peer(
        self, access: Access, expected: Address, judge: Judge, settings: Settings, near: str
    ) -> IPeerPort:
        found = await allowed_peers(self.resolver, access, expected, judge, settings)
        return listen_for(self.reactor, found, expected.port, judge, settings, near)
