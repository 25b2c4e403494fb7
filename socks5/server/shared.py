"""What the sessions of a factory share, and tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.logger import Logger

from socks5.counters import Counters
from socks5.deadlines import Deadlines, IdleTimers
from socks5.interfaces import ICommand, IManagedSession, IResolver, ISession
from socks5.net.crowds import Crowds
from socks5.net.own import OwnListeners
from socks5.policy.bans import Asking
from socks5.server.in_force import InForce
from socks5.server.registry import Sessions


class Shared(Protocol):
    """See :class:`socks5.server.factory.ServerFactory`, which is it."""

    log: Logger
    reactor: Any
    now: Callable[[], float]
    commands: Mapping[int, Callable[[ISession], ICommand]]
    counters: Counters
    sessions: Sessions
    listeners: OwnListeners
    deadlines: Deadlines
    idle_timers: IdleTimers
    crowds: Crowds
    resolver: IResolver
    asking: Asking
    worker: int | None
    keeps_records: bool
    in_force: InForce

    def no_tls(self, transport: Any, error: Exception) -> None:
        """TLS with a client has failed."""

    def has_ended(self, session: IManagedSession) -> None:
        """*session* is over: there is a record of it."""

    def gone(self, session: Any) -> None:
        """Its connection is closed, too. Said once."""
