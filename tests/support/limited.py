"""Limits for tests: who asks, what is remembered of quotas, and sessions that move as much as they may."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from socks5.access import Access, IUser
from socks5.auth import User
from socks5.limits import ILease
from socks5.policy.buckets import LEAST_ROOM
from socks5.policy.limit import Limit
from socks5.policy.limits import Limits
from socks5.protocol.address import Address
from socks5.protocol.messages import Command


def person(name: str = "alice", *groups: str) -> IUser:
    """Somebody who is logged in."""
    return User(name, frozenset(groups))


def asks(client: str = "192.0.2.1", user: IUser | None = None, **facts: str) -> Access:
    """A client that asks for something."""
    target = Address("192.0.2.80", 80)
    return Access(client, "192.0.2.10", user, Command.CONNECT, target, **facts)  # type: ignore[arg-type]


@dataclass
class Used:
    """What is used of a quota."""

    octets: int = 0


@dataclass
class FakeQuotas:
    """What is remembered of quotas: nothing but the present period."""

    used: dict[tuple[str, str, str], Used] = field(default_factory=dict)
    look: Callable[[], None] | None = None
    zone: Any = None
    is_open: bool = False

    def open(self) -> None:
        self.is_open = True

    def close(self) -> Deferred[None]:
        self.is_open = False
        return succeed(None)

    def usage(self, limit: str, who: str, span: str) -> Used:
        return self.used.setdefault((limit, who, span), Used())

    def until(self, span: str) -> str:
        return f"the next {span}"

    def watch(self, check: Callable[[], None]) -> None:
        self.look = check


@implementer(ILease)
class Meter:
    """A lease that has little room, and has everything paid for.

    :param wait: seconds, for whatever moves.
    :param room: octets.
    """

    is_metered = True
    slowed = 0.0
    why = ""
    ended = None

    def __init__(self, wait: float = 0.0, room: int = 20_000) -> None:
        self.wait = wait
        self.least = room
        self.up = self.down = 0
        self.has_left = False

    def room(self, is_up: bool) -> int:
        return self.least

    def grain(self, is_up: bool) -> int:
        return LEAST_ROOM

    def moved(self, up: int, down: int) -> float:
        self.up += up
        self.down += down
        return self.wait

    def leave(self, up: int = 0, down: int = 0, has_begun: bool = True) -> None:
        self.has_left = True


class Limited:
    """Limits in force, by a clock; the parameters are :class:`~socks5.policy.limits.Limits`'s.

    :param limits: every session is under all of them, unless a parameter says who is.
    """

    def __init__(self, *limits: Limit, **parameters: Any) -> None:
        self.clock = Clock()
        self.quotas = FakeQuotas()
        self.reached: dict[str, int] = {}
        self.limits = self.made(*limits, **parameters)
        self.limits.begin(None, self.reached)

    def made(self, *limits: Limit, **parameters: Any) -> Limits:
        """Others, that are not in force."""
        if not parameters:
            parameters = {"server": [each.name for each in limits]}
        return Limits(limits, clock=self.clock, quotas=self.quotas, **parameters)

    def become(self, *limits: Limit, **parameters: Any) -> None:
        """Others are in force now."""
        before, self.limits = self.limits, self.made(*limits, **parameters)
        self.limits.begin(before, self.reached)

    def enter(self, *arguments: Any, **facts: Any) -> ILease:
        """One more session; see :func:`asks`."""
        lease = self.limits.enter(asks(*arguments, **facts))
        assert lease is not None
        return lease

    def refusal(self, *arguments: Any, **facts: Any) -> str:
        """Why there may be none."""
        access = asks(*arguments, **facts)
        assert self.limits.enter(access) is None
        return self.limits.why(access)


def greedy(
    clock: Clock, leases: Sequence[ILease], seconds: float, chunk: int = 1 << 20, speed: float = 1e9
) -> Mapping[ILease, int]:
    """What sessions receive that take all that they may.

    :param chunk: octets of one read at the most.
    :param speed: octets a second at which each of them could be read.
    """
    end = clock.seconds() + seconds
    order = count()
    moved = dict.fromkeys(leases, 0)
    turns = [(clock.seconds(), next(order), each) for each in leases]
    heapify(turns)
    while turns:
        when, _, lease = heappop(turns)
        if when >= end:
            break
        clock.rightNow = when
        octets = min(lease.room(False), chunk)
        moved[lease] += octets
        wait = lease.moved(0, octets)
        heappush(turns, (when + max(wait, octets / speed), next(order), lease))
    clock.rightNow = end
    return moved
