"""Whom an association has sent to: the address that a target was judged to have, the port of the client's that
sent there, and so who may answer, and whereto.

What is remembered is bounded for each client address, over all its associations. It goes by age, not by number:
whoever was heard of within :data:`KEPT` seconds stays (RFC 4787 REQ-5), and where there is no room left a new target
gets none. Time passes in periods, which the owner counts, so no datagram asks for the time.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from socks5.interfaces import IDatagramMeter
from socks5.net.datagram_turns import Budget
from socks5.protocol.address import Address

KEPT = 120.0
"""Seconds that a target is remembered at the least, since a datagram went there or came from there."""

MOST_UNREACHED = 64
"""Addresses of one association that are remembered for not having been reached."""

LOOK_INTERVAL = 60.0
"""Seconds between looks at who is still in use, at the most."""

Peer = tuple[str, int]
"""An IP literal and a port."""


def looks_in(seconds: float) -> int:
    """Into how many parts the silence that ends an association is divided, at the end of which it is looked at."""
    return max(4, math.ceil(seconds / LOOK_INTERVAL))


class DatagramTerms(NamedTuple):
    """What a rule wants of the datagrams of a target besides."""

    source: str | None = None
    """The address of ours that they leave from; None: as the settings say."""

    meter: IDatagramMeter | None = None
    """Is asked whether they may pass, and told that they have: they take no route."""

    far: Address | None = None
    """What an upstream is to send them to; None: they go directly."""


class Target:
    """One target.

    :param host: the IP literal that datagrams for it go to.
    """

    __slots__ = ("client", "far", "heard", "host", "name", "period", "terms")

    def __init__(self, name: Address, host: str) -> None:
        self.name = name
        self.host = host
        self.far = host.partition("%")[0]
        """What its answers come from: the same without a zone, which senders are known without."""
        self.terms: DatagramTerms | None = None
        """What the rule that allows it wants besides."""
        self.client: Hashable = None
        """The client's port that has last sent there."""
        self.period = 0
        """Of its last use."""
        self.heard = 0
        """The period in which it was last heard of, or *host* was found to be its address."""


class _Places:
    """Targets by where they are. Two may be at one place: a name and its address, for example."""

    def __init__(self) -> None:
        self.latest: dict[Any, Target] = {}
        """Of those at each place the one that was put there last."""
        self._all: dict[
            Any, dict[Address, Target]
        ] = {}  # where there are several, the latest at the end

    def put(self, place: Any, target: Target) -> None:
        """*target* is the latest there."""
        before = self.latest.get(place)
        if before is target:
            return
        self.latest[place] = target
        if before is not None:
            several = self._all.setdefault(place, {before.name: before})
            several.pop(target.name, None)
            several[target.name] = target

    def remove(self, place: Any, target: Target) -> None:
        """*target* is there no more; another may be the latest then."""
        several = self._all.get(place)
        if several is None:
            del self.latest[place]
            return
        del several[target.name]
        self.latest[place] = next(reversed(several.values()))
        if len(several) == 1:
            del self._all[place]

    def clear(self) -> None:
        """Nothing is anywhere."""
        self.latest.clear()
        self._all.clear()


class Targets:
    """The memory of one association.

    :param budget: what the targets count against.
    :param most: how many may count there.
    :param period: seconds between two calls of :meth:`next_period`.
    :param periods: how many of them a silent target is remembered for where there is room.
    """

    def __init__(self, budget: Budget, most: int, period: float, periods: int) -> None:
        self._budget = budget
        self._most = most
        self._kept = math.ceil(KEPT / period) + 1  # for a period may have been almost over
        self._periods = max(periods + 1, self._kept)
        self._now = 0
        self._targets: OrderedDict[Address, Target] = OrderedDict()  # the least recently used first
        self._by_peer, self._by_host = _Places(), _Places()
        self._unreached: OrderedDict[Peer, None] = OrderedDict()  # the one longest ago first

    def __len__(self) -> int:
        return len(self._targets)

    # Time

    def next_period(self) -> None:
        """Time passes. What has been silent for too long is forgotten, which is sooner where the budget is used up:
        another association may need it.
        """
        self._now += 1
        periods = self._periods if self._budget.targets < self._most else self._kept
        while self._targets and self._is_silent_for(periods):
            self._drop_oldest()

    def _is_silent_for(self, periods: int) -> bool:
        """Whether the least recently used target has been silent for so many periods."""
        return next(iter(self._targets.values())).period <= self._now - periods

    def _drop_oldest(self) -> None:
        self.forget(next(iter(self._targets)))

    def forget(self, name: Address) -> bool:
        """*name* is no target any more.

        :returns: whether it was one.
        """
        target = self._targets.pop(name, None)
        if target is None:
            return False
        self._budget.targets -= 1
        self._by_peer.remove((target.far, name.port), target)
        self._by_host.remove(target.far, target)
        return True

    def clear(self) -> None:
        """The association is over."""
        self._budget.targets -= len(self._targets)
        self._targets.clear()
        self._by_peer.clear()
        self._by_host.clear()

    # On the way up

    def host_of(self, name: Address) -> str | None:
        """The address that *name* leads to and may be sent to; None if that is to be found out, as it is for the name
        of a host that nothing was heard of for a while.
        """
        target = self._targets.get(name)
        if target is None or (name.is_name and target.period <= self._now - self._kept):
            return None
        return target.host

    def terms_of(self, name: Address) -> DatagramTerms | None:
        """What was said of a target when it was sent to."""
        return self._targets[name].terms

    def has_room_for(self, name: Address) -> bool:
        """Whether *name* is a target, or may become one: in the place of a silent one, if need be."""
        if name in self._targets or self._budget.targets < self._most:
            return True
        if not self._targets or not self._is_silent_for(self._kept):
            return False
        self._drop_oldest()
        return True

    def sent(
        self, name: Address, host: str, client: Hashable, terms: DatagramTerms | None = None
    ) -> bool:
        """A datagram for *name* went to *host*, and came from the client's port *client*.

        :returns: whether who may answer, whereto, or on what terms is no longer what it was.
        """
        target = self._targets.get(name)
        has_moved = target is not None and target.host != host
        if target is None or has_moved:
            self.forget(name)
            target = self._targets[name] = Target(name, host)
            target.heard = self._now
            self._budget.targets += 1
        peer = (target.far, name.port)
        there, on_host = self._by_peer.latest.get(peer), self._by_host.latest.get(target.far)
        is_new = (there is not None and (there.client != client or there.terms != terms)) or (
            on_host is not None and on_host.client != client
        )
        target.client = client
        target.terms = terms
        self._by_peer.put(peer, target)
        if self._unreached:
            self._unreached.pop(peer, None)  # let it be tried
        self._use(target)
        return has_moved or is_new

    def _use(self, target: Target) -> None:
        target.period = self._now
        self._targets.move_to_end(target.name)
        self._by_host.put(target.far, target)

    # What is not reached

    def unheard(self, most: int) -> list[Target]:
        """Up to *most* names in use of which nothing was heard for a while, as of an address that is theirs no more;
        each once in a while, for who looks it up anew.
        """
        since = self._now - self._kept
        doubtful = (
            target
            for target in self._targets.values()
            if target.heard <= since < target.period and target.name.is_name
        )
        found = list(islice(doubtful, most))
        for target in found:
            target.heard = self._now
        return found

    def unreached(self, peer: Peer) -> bool:
        """A datagram has not got to *peer*. A name that has led there leads to its next address from now on.

        :returns: whether there is such a name.
        """
        self._unreached[peer] = None
        self._unreached.move_to_end(peer)
        if len(self._unreached) > MOST_UNREACHED:
            self._unreached.popitem(last=False)
        target = self._by_peer.latest.get(peer)
        return target is not None and target.name.is_name and self.forget(target.name)

    def is_unreached(self, peer: Peer) -> bool:
        """Whether the last datagram for *peer* has not got there, as far as is known."""
        return peer in self._unreached

    def in_order(self, hosts: Sequence[str], port: int) -> Sequence[str]:
        """A name's addresses, with those behind the others that were not reached, the latest at the end."""
        if not self._unreached:
            return hosts
        ranks = {peer: rank for rank, peer in enumerate(self._unreached, 1)}
        return sorted(hosts, key=lambda host: ranks.get((host, port), 0))

    # On the way down

    def asked(self, sender: Peer, is_exact: bool) -> Target | None:
        """Whose answer it is that comes from *sender*: of the target there that was sent to last, or, unless
        *is_exact*, of that on its host. None if there is none. It counts as used.
        """
        target = self._by_peer.latest.get(sender)
        if target is None and not is_exact:
            target = self._by_host.latest.get(sender[0])
        if target is None:
            return None
        self._use(target)
        target.heard = self._now
        return target
