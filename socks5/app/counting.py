"""What is counted under limits goes from workers to their parent, and from there to the others: every :data:`INTERVAL`
at the most, only what has changed, and nothing while nothing changes. What one end does not take adds up at the other.

The parent keeps what is used of quotas, and saves it once its workers have said their last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from socks5.app.channel import Channel, Message
from socks5.app.lives import Life
from socks5.deadlines import clock_of
from socks5.limits import ILimits
from socks5.policy.limits import Limits
from socks5.policy.shared import Entry, SharedTable
from socks5.policy.summed import Sum
from socks5.policy.table import Table
from socks5.server.draining import drained

INTERVAL = 0.05
"""Seconds between two messages, at the least."""

COUNTED = "counted"
"""The kind of these messages."""

LAST_TIME = 1.0
"""Seconds that a worker's last message may take."""

GOING_TIME = 10.0
"""Seconds until nobody waits any more for workers' last messages; they are killed before."""


class Sharing(Protocol):
    """Has a part in limits that several processes share."""

    def become(self, limits: ILimits | None) -> None:
        """These are in force from now on."""

    def last(self) -> Deferred[Any]:
        """This process serves nobody any more.

        :returns: fires when the last has been said, or heard.
        """


class Teller:
    """Tells another process what there is to tell.

    :param reactor: calls back.
    :param channel: to it.
    :param news: gives what there is; nothing where there is nothing.
    """

    def __init__(
        self, reactor: Any, channel: Channel, news: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._reactor = reactor
        self._now = clock_of(reactor)
        self._channel = channel
        self._news = news
        self._call: IDelayedCall | None = None
        self._next = self._now()

    def wake(self) -> None:
        """There is something."""
        if self._call is None:
            wait = max(0.0, self._next - self._now())
            self._call = self._reactor.callLater(wait, self._tell)

    def _tell(self) -> None:
        self._call = None
        if self._channel.is_clear:
            self.tell()
        else:
            self._next = self._now() + INTERVAL
            self.wake()

    def tell(self) -> None:
        """Tell it now."""
        self._next = self._now() + INTERVAL
        said = self._news()
        if said:
            self._channel.send({"is": COUNTED, **said})

    def stop(self) -> None:
        """Tell nothing any more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None


def _again(channel: Channel, said: Sequence[Entry] = ()) -> None:
    """Have the other end say everything anew, for what is limited may be something else.

    :param said: all that there is to say here.
    """
    channel.send({"is": COUNTED, "again": True, "counters": said})


def _table_of(limits: Any) -> Table | None:
    return limits.table if isinstance(limits, Limits) else None


class CountingWorker:
    """A worker's part: see :class:`Sharing`.

    :param reactor: calls back.
    :param channel: to the parent.
    """

    def __init__(self, reactor: Any, channel: Channel) -> None:
        self._reactor = reactor
        self._channel = channel
        self._teller = Teller(reactor, channel, self._news)
        self._table: SharedTable | None = None
        channel.hear(COUNTED, self._hear)

    def become(self, limits: ILimits | None) -> None:
        """See :meth:`Sharing.become`."""
        table = _table_of(limits)
        self._table = table if isinstance(table, SharedTable) else None
        if self._table is not None:
            self._table.wake = self._teller.wake
            _again(self._channel, self._table.news())

    def _news(self) -> Mapping[str, Any]:
        counters = None if self._table is None else self._table.news()
        return {"counters": counters} if counters else {}

    def _hear(self, message: Message, descriptors: Collection[int]) -> None:
        table = self._table
        if table is not None:
            if message.get("again"):
                table.tell_all()
            table.take(message.get("counters", ()))
            if table.quotas is not None:
                table.quotas.take(message.get("used_up", ()))

    def last(self) -> Deferred[Any]:
        """See :meth:`Sharing.last`."""
        self._teller.stop()
        self._teller.tell()
        return drained(self._reactor, lambda: not self._channel.is_clear, LAST_TIME)


class CountingParent:
    """A parent's part: see :class:`Sharing`, and :class:`socks5.app.workers.Companion`.

    :param reactor: calls back.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._tellers: dict[Life, Teller] = {}
        self._table: Table | None = None
        self._sum: Sum | None = None

    def become(self, limits: ILimits | None) -> None:
        """See :meth:`Sharing.become`."""
        before, self._table = self._table, _table_of(limits)
        if self._table is None:
            self._sum = None
            return
        if self._sum is None or self._table is not before:
            self._sum = Sum(self._table)
            for life in self._tellers:
                self._sum.joins(life)
        else:
            self._sum.become()
        if self._table.quotas is not None:
            self._table.quotas.watch(self._look)
        for life in self._tellers:
            _again(life.channel)
        self._wake()

    def begins(self, life: Life) -> None:
        """See :meth:`socks5.app.workers.Companion.begins`."""
        self._tellers[life] = Teller(self._reactor, life.channel, partial(self._news, life))
        life.channel.hear(COUNTED, partial(self._hear, life))
        if self._sum is not None:
            self._sum.joins(life)
            self._wake()

    def ends(self, life: Life) -> None:
        """See :meth:`socks5.app.workers.Companion.ends`."""
        self._tellers.pop(life).stop()
        if self._sum is not None:
            self._sum.goes(life)
            self._wake()

    def _look(self) -> None:
        """What is used of quotas may have been read."""
        if self._sum is not None:
            self._sum.look()
            self._wake()

    def _wake(self) -> None:
        for life in () if self._sum is None else self._sum.waiting():
            self._tellers[life].wake()

    def _news(self, life: Life) -> Mapping[str, Any]:
        return {} if self._sum is None else self._sum.news(life)

    def _hear(self, life: Life, message: Message, descriptors: Collection[int]) -> None:
        if self._sum is not None:
            said = message.get("counters", ())
            if message.get("again"):
                self._sum.again(life, said)
            self._sum.take(life, said)
            self._wake()

    def last(self) -> Deferred[Any]:
        """See :meth:`Sharing.last`."""
        return drained(self._reactor, lambda: len(self._tellers), GOING_TIME)
