"""Names to addresses, without blocking, with a bounded cache and bounded, fair shares of the lookups.

Literals never come here; names of the hosts file, and remembered ones, are answered at once. All else is
looked up: by asking the system's name servers (:class:`~socks5.net.lookups.NameServerLookups`), the
system's resolver in threads, if that is wanted, or the resolver that a program has installed in its
reactor. Equal names share one lookup. Each client has a share of the lookups, and those who wait have their
turns by client, so a client's dead names cost that client alone.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, NamedTuple

from twisted.internet._resolver import GAIResolver
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IHostnameResolver
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.deadlines import Deadlines, clock_of
from socks5.files import Kept
from socks5.interfaces import IResolver
from socks5.names import hostname
from socks5.net.lookups import (
    GIVEN_UP,
    HostnameLookups,
    Lookups,
    NameServerLookups,
    Outcome,
    SystemLookups,
)
from socks5.net.resolvconf import HOSTS, RESOLV_CONF, parse_hosts
from socks5.net.reverse import CLIENTS_OF_THREADS, ReverseLookups
from socks5.net.shares import Shares
from socks5.protocol.networks import subscriber
from socks5.settings import Capacity, NameSource, OutgoingFamily, Settings, SettingsSource, current

LOCALHOST = ("127.0.0.1", "::1")
"""What ``localhost``, and every name under it, means where the hosts file does not say (RFC 6761 section 6.3)."""

STALE_WAIT = 1.0
"""Seconds that a lookup has before an answer whose time is over serves in its stead (RFC 8767 section 5)."""


class _Known(NamedTuple):
    """Addresses that are remembered."""

    hosts: tuple[str, ...]
    since: float
    fresh_until: float
    stale_until: float


class _Asked:
    """A name that is looked up, or waits for that.

    ``waits`` has the client of each who waits, ``clients`` how many those of each client are; ``holder`` is the
    client whose share the lookup is of, None before it has begun. ``is_refresh``: it goes on even if nobody waits.
    """

    __slots__ = ("clients", "give_up", "holder", "is_refresh", "text", "waits")

    def __init__(self, text: str) -> None:
        self.text = text
        self.waits: dict[Deferred[Sequence[str]], Hashable] = {}
        self.clients: Counter[Hashable] = Counter()
        self.holder: Hashable | None = None
        self.give_up: Callable[[], None]
        self.is_refresh = False


class Cache:
    """What is known of names: addresses, and apart from them denials, so that made-up names push nothing out.

    :param now: gives the time.
    :param settings: gives sizes and lifetimes.
    """

    def __init__(self, now: Callable[[], float], settings: Callable[[], Settings]) -> None:
        self._now = now
        self._settings = settings
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()

    def find(self, name: str) -> tuple[str, ...] | None:
        """Its addresses; none for one that has none; None: that is not known."""
        known = self._known.get(name)
        if known is not None and known.fresh_until > self._now():
            self._known.move_to_end(name)
            return known.hosts
        until = self._unknown.get(name)
        if until is None or until <= self._now():
            return None
        stale = self.stale(name)
        return () if stale is None else stale

    def stale(self, name: str) -> tuple[str, ...] | None:
        """Its addresses even if their time is over, but not long."""
        known = self._known.get(name)
        return None if known is None or known.stale_until <= self._now() else known.hosts

    def add(self, name: str, outcome: Outcome) -> None:
        """Remember what a lookup has found out."""
        if outcome.hosts:
            self._unknown.pop(name, None)
            self._add_known(name, outcome)
            return
        if outcome.is_certain:
            self._known.pop(name, None)
        longest = self._settings().name_failure_lifetime
        lifetime = longest if outcome.lifetime is None else min(outcome.lifetime, longest)
        self.avoid(name, lifetime)

    def avoid(self, name: str, seconds: float) -> None:
        """Do not look it up for a while: what is known of it must do, be it that nobody could say."""
        self._unknown[name] = self._now() + seconds
        self._trim(self._unknown, name)

    def _add_known(self, name: str, outcome: Outcome) -> None:
        settings, now = self._settings(), self._now()
        lifetime = settings.name_lifetime
        if outcome.lifetime is not None:
            said = max(outcome.lifetime, settings.name_lifetime_least)
            most = settings.name_lifetime_most if outcome.is_certain else lifetime
            lifetime = min(said, most)
        fresh_until = now + lifetime
        self._known[name] = _Known(
            outcome.hosts, now, fresh_until, fresh_until + settings.name_stale_lifetime
        )
        self._trim(self._known, name)

    def _trim(self, table: OrderedDict[str, Any], name: str) -> None:
        table.move_to_end(name)
        most = self._settings().names_cached
        while len(table) > most:  # by many, if there may be fewer than before
            table.popitem(last=False)

    def distrust(self, name: str) -> None:
        """Its addresses did not work for somebody: ask anew, unless they were asked for just now. Until there is an
        answer they are as good as any whose time is over, for others may reach them, at other ports.
        """
        known = self._known.get(name)
        if (
            known is not None
            and self._now() - known.since >= self._settings().name_failure_lifetime
        ):
            self._known[name] = known._replace(fresh_until=-math.inf)


@implementer(IResolver)
class Resolver:
    """The resolver of a server.

    :param reactor: where lookups run and time passes.
    :param settings: lifetimes, the time-out, and the families that are of use.
    :param capacity: how many at a time, and whom to ask.
    :param lookup: whom to ask, instead of the choice described above.
    """

    def __init__(
        self,
        reactor: Any,
        settings: SettingsSource | None = None,
        capacity: Capacity | None = None,
        lookup: IHostnameResolver | None = None,
    ) -> None:
        self._reactor = reactor
        self._settings = current(Settings() if settings is None else settings)
        self._capacity = Capacity() if capacity is None else capacity
        self._installed = lookup
        self._lookups: Lookups | None = None
        self._reverse: ReverseLookups | None = None
        self._shares: Shares[_Asked]
        self._hosts: Kept[dict[str, tuple[str, ...]]] | None = None
        self._cache = Cache(clock_of(reactor), self._settings)
        self._asked: dict[str, _Asked] = {}
        self._deadlines = Deadlines(reactor)
        self._stale_waits = Deadlines(reactor)

    def resolve(self, name: bytes, client: str) -> Deferred[Sequence[str]]:
        """See :meth:`socks5.interfaces.IResolver.resolve`."""
        try:
            text = hostname(name)
        except DNSLookupError:
            return fail(Failure())
        if self._lookups is None:
            self._lookups = self._choose()
        known = self._at_hand(text) or self._cache.find(text)
        if known is None:
            return self._join(text, subscriber(client))
        return succeed(known) if known else fail(DNSLookupError("no address found"))

    def failed(self, name: bytes) -> None:
        """See :meth:`socks5.interfaces.IResolver.failed`."""
        try:
            self._cache.distrust(hostname(name))
        except DNSLookupError:
            return

    def name_of(self, address: str, client: str) -> Deferred[bytes]:
        """See :meth:`socks5.interfaces.IResolver.name_of`. The system's resolver is asked, whoever is for names."""
        if self._reverse is None:
            self._reverse = ReverseLookups(self._reactor, self._settings, self._capacity)
            self._reactor.addSystemEventTrigger("during", "shutdown", self._reverse.close)
        return self._reverse.name_of(address, subscriber(client))

    # Whom to ask

    def _choose(self) -> Lookups:
        """Settled at the first name, for until then a program may install a resolver."""
        capacity = self._capacity
        installed = self._installed
        if installed is None:
            installed = self._reactor.nameResolver
        if isinstance(installed, GAIResolver):
            self._hosts = Kept(clock_of(self._reactor), HOSTS, parse_hosts)
            if capacity.resolver is NameSource.DNS:
                self._share_out(capacity.names_at_once, capacity.names_per_client)
                return NameServerLookups(self._reactor, RESOLV_CONF, self._family)
        threads = capacity.resolver_threads
        self._share_out(threads, max(1, threads // CLIENTS_OF_THREADS))
        if not isinstance(installed, GAIResolver):
            return HostnameLookups(installed)
        system = SystemLookups(self._reactor, threads)
        self._reactor.addSystemEventTrigger("during", "shutdown", system.close)
        return system

    def _family(self) -> OutgoingFamily:
        return self._settings().family

    def _share_out(self, places: int, share: int) -> None:
        room, room_share = self._capacity.names_waiting, self._capacity.names_waiting_per_client
        self._shares = Shares(places, share, room, room_share, self._begin)

    def _at_hand(self, text: str) -> tuple[str, ...] | None:
        """The addresses of a name that nobody need be asked for."""
        if self._hosts is None:
            return None
        name = text.removesuffix(".")
        hosts = self._hosts.get().get(name)
        if hosts is None and (name == "localhost" or name.endswith(".localhost")):
            return LOCALHOST
        return hosts

    # Who waits

    def _join(self, text: str, client: Hashable) -> Deferred[Sequence[str]]:
        """Wait for the lookup of *text*, which gets in line for *client*, too, unless it runs already."""
        asked = self._asked.get(text)
        if asked is None:
            asked = self._asked[text] = _Asked(text)
        wait: Deferred[Sequence[str]] = Deferred(lambda gone: self._leave(asked, gone))
        asked.waits[wait] = client
        asked.clients[client] += 1
        seconds = self._settings().resolve_timeout
        self._deadlines.set(wait, seconds, lambda: self._too_long(asked, wait))
        if self._cache.stale(text) is not None:
            self._stale_waits.set(wait, STALE_WAIT, lambda: self._serve_stale(asked, wait))
        if asked.holder is None and not self._shares.enter(asked, client):
            self._leave(asked, wait)
            return fail(DNSLookupError("too many names are being resolved"))
        return wait

    def _leave(self, asked: _Asked, wait: Deferred[Sequence[str]]) -> None:
        """One waits no more; harmless twice. What that client alone has waited for is not waited for any more."""
        self._deadlines.clear(wait)
        self._stale_waits.clear(wait)
        client = asked.waits.pop(wait, None)
        if client is None:
            return
        asked.clients[client] -= 1
        if asked.clients[client]:
            return
        del asked.clients[client]
        if asked.holder is None:
            self._shares.withdraw(asked, client)
            if not asked.waits:
                del self._asked[asked.text]
        else:
            self._let_go(asked, client)

    def _let_go(self, asked: _Asked, client: Hashable) -> None:
        """A client has no part in a lookup that runs any more. If it is the one whose share that is, the share is
        another's from now on; if there is no other, the lookup is given up.
        """
        if not asked.waits:
            if not asked.is_refresh:
                asked.give_up()
        elif asked.holder == client:
            asked.holder = next(iter(asked.clients))
            self._shares.hand_over(client, asked.holder)

    def _too_long(self, asked: _Asked, wait: Deferred[Sequence[str]]) -> None:
        self._leave(asked, wait)
        wait.errback(DNSLookupError(f"no answer within {self._settings().resolve_timeout:g} s"))

    def _serve_stale(self, asked: _Asked, wait: Deferred[Sequence[str]]) -> None:
        """The lookup takes long: what was known before must do. A lookup that runs goes on, to be remembered."""
        hosts = self._cache.stale(asked.text)
        if hosts is None:
            return
        self._cache.avoid(asked.text, self._settings().name_failure_lifetime)
        asked.is_refresh = asked.holder is not None
        self._leave(asked, wait)
        wait.callback(hosts)

    # Lookups

    def _begin(self, asked: _Asked, client: Hashable) -> None:
        """It is the turn of *client*, and with it of all who wait for the same name."""
        asked.holder = client
        for other in asked.clients:
            self._shares.withdraw(asked, other)
        self._ask(asked)

    def _ask(self, asked: _Asked) -> None:
        """Ask for the name; and anew, should the time for that be over while somebody waits who came later, for a
        lookup does not go on asking for ever.
        """
        assert self._lookups is not None
        asked.is_refresh = False
        self._deadlines.set(asked, self._settings().resolve_timeout, partial(self._overdue, asked))
        try:
            asked.give_up = self._lookups.begin(asked.text, partial(self._over, asked))
        except Exception:  # a bug, which must not cost the place
            self._over(asked, Failure())

    def _overdue(self, asked: _Asked) -> None:
        asked.give_up()

    def _over(self, asked: _Asked, outcome: Outcome | Failure) -> None:
        """Remember the outcome, tell those who wait, and let another have the place."""
        self._deadlines.clear(asked)
        if outcome is GIVEN_UP and asked.waits:
            self._ask(asked)
            return
        del self._asked[asked.text]
        result = outcome if isinstance(outcome, Failure) else self._result(asked.text, outcome)
        waits, asked.waits = asked.waits, {}
        for wait in waits:
            if not wait.called:  # one before it may have cancelled it
                self._deadlines.clear(wait)
                self._stale_waits.clear(wait)
                wait.callback(result)
        assert asked.holder is not None
        self._shares.leave(asked.holder)

    def _result(self, text: str, outcome: Outcome) -> tuple[str, ...] | Failure:
        if outcome is not GIVEN_UP:
            self._cache.add(text, outcome)
        if outcome.hosts:
            return outcome.hosts
        stale = self._cache.stale(text)
        if stale is not None:
            return stale
        why = (
            "no address found"
            if outcome.is_certain
            else "no address found, or no name server answers"
        )
        return Failure(DNSLookupError(why))

    def close(self) -> None:
        """Let threads go, if there are any. Harmless twice."""
        for each in (self._lookups, self._reverse):
            if isinstance(each, SystemLookups | ReverseLookups):
                each.close()
