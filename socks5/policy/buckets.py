"""Rates by debt: a bucket's level falls with time and rises by what has moved.

Whoever moves octets is told afterwards how long to wait until its bucket is down to its burst again. So nothing is too
large to pass, waits follow the order of charging, and those who share a bucket take turns: each pays for all that was
charged before it.
"""

from __future__ import annotations

from collections.abc import Iterable

BURST_TIME = 0.1
"""Seconds of the rate that may move without a wait."""

LEAST_BURST = 65536
"""Octets that may at the least."""

SLICE = 0.05
"""Seconds of the rate that those who wait may move at a time, all together."""

LEAST_ROOM = 4096
"""Octets that one of them may at the least."""

MOST_ROOM = 1 << 20
"""Octets that anybody may move at a time."""


MOST_GRAIN = 65536
"""Octets that come one after another and are charged together, at the most."""


class Bucket:
    """What has moved and is not forgotten yet.

    :param rate: how much is forgotten in a second.
    :param burst: how much may be there without a wait.
    :param now: the time, in seconds.
    :param share: so many processes fill it together, each of which lets pass its part of a slice at a time.
    :ivar content: what was there last, and
    :ivar since: when that was.
    :ivar flows: how many fill it.
    :ivar waiting: how many of them wait because of it.
    """

    __slots__ = ("_share", "_slice", "burst", "content", "flows", "rate", "since", "waiting")

    def __init__(self, rate: float, burst: float, now: float, share: int = 1) -> None:
        self._share = share
        self._slice = SLICE * rate / share
        self.rate = rate
        self.burst = burst
        self.content = 0.0
        self.since = now
        self.flows = self.waiting = 0

    def level(self, now: float) -> float:
        """What is there now."""
        return max(0.0, self.content - (now - self.since) * self.rate)

    def charge(self, count: float, now: float) -> float:
        """So much has moved.

        :returns: seconds to wait; 0 within the burst.
        """
        level = self.content - (now - self.since) * self.rate
        self.since = now
        self.content = level = level + count if level > 0 else count
        return (level - self.burst) / self.rate if level > self.burst else 0.0

    def take_back(self, count: float, now: float) -> None:
        """So much has not moved after all."""
        self.content = max(0.0, self.level(now) - count)
        self.since = now

    def room(self, now: float) -> float:
        """How much may move next: what is left of the burst, or a slice for each of those who wait."""
        left = self.burst - self.level(now)
        return max(left, self._slice / (self.waiting + 1), LEAST_ROOM)

    def change(self, rate: float, burst: float, now: float) -> None:
        """Another rate, from now on: what has moved is not forgotten by that."""
        self.content = self.level(now)
        self.since = now
        self._slice = SLICE * rate / self._share
        self.rate = rate
        self.burst = burst


def burst_of(rate: float) -> float:
    """What may move without a wait at such a rate."""
    return max(rate * BURST_TIME, LEAST_BURST)


class Flow:
    """One direction of a session, and the buckets that it fills.

    :param buckets: those.
    """

    __slots__ = ("_buckets", "_holding")

    def __init__(self, buckets: Iterable[Bucket] = ()) -> None:
        self._buckets = tuple(buckets)
        self._holding: tuple[Bucket, ...] = ()
        for bucket in self._buckets:
            bucket.flows += 1

    def moved(self, octets: int, now: float) -> float:
        """So many have moved.

        :returns: seconds to wait.
        """
        longest = 0.0
        for bucket in self._buckets:
            # As Bucket.charge does, without a call: this is done for all that moves.
            level = bucket.content - (now - bucket.since) * bucket.rate
            bucket.since = now
            bucket.content = level = level + octets if level > 0 else octets
            if level > bucket.burst:
                longest = max(longest, (level - bucket.burst) / bucket.rate)
        if longest and not self._holding:
            self._holding = tuple(each for each in self._buckets if each.level(now) > each.burst)
            for bucket in self._holding:
                bucket.waiting += 1
        return longest

    def room(self, now: float) -> int:
        """How many may move next. Whoever asks does not wait any more."""
        if self._holding:
            self.release()
        room: float = MOST_ROOM
        for bucket in self._buckets:
            if bucket.burst - bucket.content < MOST_ROOM:  # else even less is there by now
                room = min(room, bucket.room(now))
        return int(room)

    def grain(self, now: float) -> int:
        """How many may move bit by bit and be charged together: of what is left of a burst, its part of a quarter. It
        is less than nothing in debt.
        """
        grain: float = MOST_GRAIN
        for bucket in self._buckets:
            grain = min(grain, (bucket.burst - bucket.level(now)) / (4 * bucket.flows))
        return int(grain)

    def release(self) -> None:
        """It does not wait any more."""
        for bucket in self._holding:
            bucket.waiting -= 1
        self._holding = ()

    def end(self) -> None:
        """Nothing more will move."""
        self.release()
        for bucket in self._buckets:
            bucket.flows -= 1
