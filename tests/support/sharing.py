"""A parent and its workers that share limits, by one clock and without processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any

from twisted.internet.task import Clock

from socks5.app.counting import CountingParent, CountingWorker
from socks5.limits import ILease
from socks5.policy.counters import Quotas
from socks5.policy.limit import Limit
from socks5.policy.limits import Limits
from socks5.policy.shared_quotas import SharedQuotas
from tests.support.limited import asks


class Line:
    """One end of a channel: what is sent arrives at once, as JSON lets it.

    :ivar is_clear: whether nothing waits to be sent.
    :ivar sent: what was.
    """

    def __init__(self) -> None:
        self.other = self
        self.is_clear = True
        self.sent: list[Mapping[str, Any]] = []
        self.handlers: dict[str, Callable[..., object]] = {}

    def hear(self, kind: str, handler: Callable[..., object]) -> None:
        self.handlers[kind] = handler

    def send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)
        said = json.loads(json.dumps(message))
        self.other.handlers.get(said["is"], lambda *_: None)(said, ())


class Life:
    """A worker, and what its parent knows it by."""

    def __init__(self, clock: Clock) -> None:
        self.channel, self.line = Line(), Line()
        self.channel.other, self.line.other = self.line, self.channel
        self.counting = CountingWorker(clock, self.line)  # type: ignore[arg-type]
        self.limits: Limits | None = None
        self.reached: dict[str, int] = {}

    def become(self, limits: Limits) -> None:
        """These limits are in force here."""
        limits.begin(self.limits, self.reached)
        self.limits = limits
        self.counting.become(limits)

    def enter(self, *arguments: Any, **facts: Any) -> ILease | None:
        """One more session, if there may be one; see :func:`tests.support.limited.asks`."""
        assert self.limits is not None
        return self.limits.enter(asks(*arguments, **facts))


class Family:
    """See the module. Every session is under all limits.

    :param workers: how many.
    :param quotas: the parent's.
    :param wall: the time of day.
    """

    def __init__(
        self,
        *limits: Limit,
        workers: int = 4,
        clock: Clock | None = None,
        quotas: Quotas | None = None,
        wall: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.clock = Clock() if clock is None else clock
        self._count = workers
        self._quotas = quotas
        self._wall = wall
        self._limits = limits
        self.parent = CountingParent(self.clock)
        self.lives: list[Life] = []
        self.limits: Limits | None = None
        self._parent_begins()
        for _ in range(workers):
            self.start()

    def _made(self, workers: int, quotas: Any) -> Limits:
        return Limits(
            self._limits,
            server=[each.name for each in self._limits],
            clock=self.clock,
            quotas=quotas,
            workers=workers,
        )

    def _parent_begins(self) -> None:
        limits = self._made(1, self._quotas)
        limits.begin(self.limits, {})
        limits.open()
        self.limits = limits
        self.parent.become(limits)

    def _worker_begins(self, life: Life) -> None:
        has_quotas = self._quotas is not None
        quotas = SharedQuotas(self.clock, UTC, self._wall) if has_quotas else None
        life.become(self._made(self._count, quotas))

    def become(self, *limits: Limit, is_parent_first: bool = False) -> None:
        """Other limits are in force, in one process after the other."""
        self._limits = limits
        if is_parent_first:
            self._parent_begins()
        for life in self.lives:
            self.clock.pump([0.025, 0.0])
            self._worker_begins(life)
        if not is_parent_first:
            self.clock.pump([0.025, 0.0])
            self._parent_begins()

    def start(self) -> Life:
        """One more worker begins."""
        life = Life(self.clock)
        self.parent.begins(life)  # type: ignore[arg-type]
        self._worker_begins(life)
        self.lives.append(life)
        return life

    def kill(self, life: Life) -> None:
        """One is no more."""
        self.lives.remove(life)
        life.line.other = Line()
        self.parent.ends(life)  # type: ignore[arg-type]

    def exchange(self, seconds: float = 0.1) -> None:
        """Let everybody say and hear what there is."""
        self.clock.pump([0.0, seconds / 2, 0.0, seconds / 2, 0.0])

    @property
    def sent(self) -> int:
        """How many messages there were."""
        return sum(len(end.sent) for life in self.lives for end in (life.channel, life.line))
