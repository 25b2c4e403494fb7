"""How much there may be of what is allowed: sessions, addresses that they come from, octets.

Limits are exact in one process: they decide at once, by what is counted (:mod:`socks5.policy.counters`). Workers share
what they count (:mod:`socks5.policy.shared`). A rate lets octets pass, and then has their session wait
(:mod:`socks5.policy.buckets`): what waits, and how, is the business of whoever moves them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import chain
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from socks5.access import Access, IUser
from socks5.limits import ILease, ILimits
from socks5.loglimit import Monotonic
from socks5.policy.counters import Quotas
from socks5.policy.leases import Unlimited
from socks5.policy.limit import Limit
from socks5.policy.shared import SharedTable
from socks5.policy.table import Table

_UNLIMITED = Unlimited()


@implementer(ILimits)
class Limits:
    """Limits, and who is under which: by its name each is named. A limit that is named more than once counts once.

    :param limits: those that there are.
    :param server: the names of those that every session is under.
    :param listeners: for a listener's name, of those that its sessions are under.
    :param groups: for a group's name, of those that the sessions of its members are under.
    :param members: for a group's name, users who are in it whatever their source says.
    :param rules: for a rule's name, of those that what it allows is under.
    :param clock: the reactor, or another thing with its ``seconds()``.
    :param quotas: remember what is used; there have to be some for a limit with a quota.
    :param workers: so many processes have these limits together, of which this is one: :mod:`socks5.policy.shared`.
    :raises ValueError: two limits have one name; a name is nobody's; a quota is remembered by nobody.
    """

    def __init__(
        self,
        limits: Iterable[Limit],
        *,
        server: Sequence[str] = (),
        listeners: Mapping[str, Sequence[str]] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        members: Mapping[str, Collection[str]] | None = None,
        rules: Mapping[str, Sequence[str]] | None = None,
        clock: Any = Monotonic,
        quotas: Quotas | None = None,
        workers: int = 1,
    ) -> None:
        self._server = _once(server)
        self._listeners = {name: _once(server, each) for name, each in (listeners or {}).items()}
        self._groups = dict(groups or {})
        self._members = {name: frozenset(users) for name, users in (members or {}).items()}
        self._rules = {name: _once(each) for name, each in (rules or {}).items()}
        self._limits = self._by_name(limits)
        for limit in self._limits.values():
            if limit.quota is not None and quotas is None:
                raise ValueError(f"limit {limit.name}: nobody remembers its quota")
        is_one = workers == 1
        self._table = Table(clock, quotas) if is_one else SharedTable(clock, workers, quotas)
        self._table.become(self._limits)
        self._is_open = False

    def _by_name(self, limits: Iterable[Limit]) -> dict[str, Limit]:
        found: dict[str, Limit] = {}
        for limit in limits:
            if limit.name in found:
                raise ValueError(f"limit {limit.name}: there are two of that name")
            found[limit.name] = limit
        lists = (self._listeners, self._groups, self._rules)
        for names in (self._server, *(names for each in lists for names in each.values())):
            for name in names:
                if name not in found:
                    raise ValueError(f"there is no limit {name}")
        return found

    @property
    def table(self) -> Table:
        """What is counted."""
        return self._table

    def __len__(self) -> int:
        """How many counters there are now."""
        return len(self._table)

    def open(self) -> None:
        """See :meth:`socks5.limits.ILimits.open`."""
        if self._table.quotas is not None:
            self._table.quotas.open()
        self._is_open = True

    def close(self) -> Deferred[None]:
        """See :meth:`socks5.limits.ILimits.close`."""
        return succeed(None) if self._table.quotas is None else self._table.quotas.close()

    def begin(self, before: ILimits | None, reached: MutableMapping[str, int]) -> None:
        """See :meth:`socks5.limits.ILimits.begin`."""
        others: Any = before
        if isinstance(others, Limits):
            new, kept = self._table.quotas, others._table.quotas
            if kept is None and new is not None and others._is_open:
                new.open()
            self._is_open = others._is_open
            self._table = others._table
            if kept is None:
                self._table.quotas = new
            elif new is not None:
                kept.zone = new.zone
            self._table.become(self._limits)
        self._table.reached = reached
        if self._table.quotas is not None:
            self._table.quotas.watch(self._table.check)

    def end(self) -> None:
        """See :meth:`socks5.limits.ILimits.end`."""
        self._table.become({})

    def enter(self, access: Access) -> ILease | None:
        """See :meth:`socks5.limits.ILimits.enter`."""
        if access.user is None and not access.rule:  # as names() does, without a call
            names = self._listeners.get(access.listener, self._server)
            try:
                party = self._table.parties[names, access.client, None]
            except KeyError:
                pass
            else:
                return party.enter()
        else:
            names = self.names(access)
        return self._table.party(names, access).enter() if names else _UNLIMITED

    def why(self, access: Access) -> str:
        """See :meth:`socks5.limits.ILimits.why`."""
        return self._table.why

    def names(self, access: Access) -> tuple[str, ...]:
        """The limits that a session is under; see :meth:`socks5.limits.ILimits.enter`."""
        base = self._listeners.get(access.listener, self._server)
        if self._groups and access.user is not None:
            base = _once(base, *self._of_groups(access.user))
        if not access.rule:
            return base
        return tuple(name for name in self._rules.get(access.rule, ()) if name not in base)

    def _of_groups(self, user: IUser) -> Iterator[Sequence[str]]:
        for group, names in self._groups.items():
            if group in user.groups or user.name in self._members.get(group, ()):
                yield names


def _once(*lists: Sequence[str]) -> tuple[str, ...]:
    """All names of several lists, each of them once."""
    return tuple(dict.fromkeys(chain(*lists)))
