"""Sessions whose counters other workers have, too: what they do there is told (:mod:`socks5.policy.shared`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from socks5.limits import ILease
from socks5.policy.counters import Counter
from socks5.policy.leases import MeteredLease
from socks5.policy.parties import MeteredParty, Party


class SharedParty(Party):
    """Those whose counters are shared."""

    __slots__ = ()

    counters: Sequence[Any]  # SharedCounter

    @override
    def is_counted(self, counter: Counter) -> bool:
        """See :meth:`socks5.policy.parties.Party.is_counted`."""
        return True

    @override
    def look_for_places(self) -> None:
        """See :class:`socks5.policy.counters.Sharer`. It keeps none, for other workers may need them."""

    @override
    def enter(self) -> ILease | None:
        """See :meth:`socks5.policy.parties.Party.enter`."""
        lease = super().enter()
        if lease is not None:
            for counter in self.counters:
                counter.begins()
        return lease

    @override
    def leave(self, up: int = 0, down: int = 0, has_begun: bool = True) -> None:
        """See :meth:`socks5.policy.parties.Party.leave`."""
        super().leave(up, down, has_begun)
        for counter in self.counters:
            counter.ends(has_begun)


class SharedLease(MeteredLease):
    """Of a session whose counters are shared."""

    __slots__ = ()

    _party: SharedMeteredParty

    @override
    def moved(self, up: int, down: int) -> float:
        """See :meth:`socks5.limits.ILease.moved`."""
        self._party.tell(up, down)
        return super().moved(up, down)


class SharedMeteredParty(SharedParty, MeteredParty):
    """Those whose counters are shared, and their octets counted."""

    __slots__ = ()

    lease_kind = SharedLease

    def tell(self, up: int, down: int) -> None:
        """So much has moved."""
        for counter in self.counters:
            counter.up += up
            counter.down += down
            counter.changes()

    @override
    def _settle(self) -> None:
        self.tell(self._owed_up, self._owed_down)
        super()._settle()
