"""The sessions of now: to be counted, found, watched and ended from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from socks5.access import Reason
from socks5.interfaces import IManagedSession, ISessions

Watcher = Callable[[IManagedSession], object]
"""Is told of a session. What it raises is logged, and harms nobody."""


@implementer(ISessions)
class Sessions:
    """See :class:`~socks5.interfaces.ISessions`.

    :param watched: told when whoever watches has begun or ceased to.
    """

    log = Logger()

    def __init__(self, watched: Callable[[], None] = lambda: None) -> None:
        self._watched = watched
        self._sessions: dict[IManagedSession, None] = {}
        self._watchers: list[tuple[Watcher | None, Watcher | None]] = []
        self._all_gone: list[Deferred[None]] = []
        self.is_watched = False
        """Whether anybody wants to be told."""

    def __iter__(self) -> Iterator[IManagedSession]:
        return iter(tuple(self._sessions))

    def __len__(self) -> int:
        return len(self._sessions)

    def find(
        self, *, user: str | None = None, client: str | None = None, number: int | None = None
    ) -> list[IManagedSession]:
        """See :meth:`socks5.interfaces.ISessions.find`."""
        return [
            session
            for session in self._sessions
            if (number is None or session.number == number)
            and (client is None or session.client == client)
            and (user is None or (session.user is not None and session.user.name == user))
        ]

    def watch(
        self, opened: Watcher | None = None, closed: Watcher | None = None
    ) -> Callable[[], None]:
        """See :meth:`socks5.interfaces.ISessions.watch`."""
        watcher = (opened, closed)
        self._watchers.append(watcher)
        self.is_watched = True
        self._watched()

        def stop() -> None:
            self._watchers = [each for each in self._watchers if each is not watcher]
            self.is_watched = bool(self._watchers)
            self._watched()

        return stop

    # What the factory and its sessions tell

    def add(self, session: IManagedSession) -> None:
        """A client is there."""
        self._sessions[session] = None

    def opened(self, session: IManagedSession) -> None:
        """It has greeted."""
        for opened, _ in self._watchers:
            self._tell(opened, session)

    def closed(self, session: IManagedSession) -> None:
        """It is over."""
        for _, closed in self._watchers:
            self._tell(closed, session)

    def _tell(self, watcher: Watcher | None, session: IManagedSession) -> None:
        if watcher is not None:
            try:
                watcher(session)
            except Exception:
                self.log.failure("a watcher of sessions failed")

    def remove(self, session: IManagedSession) -> None:
        """Its connection is closed."""
        del self._sessions[session]
        if self._all_gone:
            self._tell_if_all_are_gone()

    # The end of all

    def close(self, reason: Reason, within: float) -> Deferred[None]:
        """End every session; see :meth:`socks5.interfaces.IManagedSession.close`. One in which something fails keeps no
        other from its end.

        :returns: fires with None when all are gone.
        """
        for session in self:
            try:
                session.close(reason, within)
            except Exception:
                self.log.failure("a session could not be closed")
        all_gone: Deferred[None] = Deferred()
        self._all_gone.append(all_gone)
        self._tell_if_all_are_gone()
        return all_gone

    def _tell_if_all_are_gone(self) -> None:
        if not self._sessions:
            waiting, self._all_gone = self._all_gone, []
            for all_gone in waiting:
                all_gone.callback(None)
