"""Sessions that are looked at before they begin: a listener's :class:`~socks5.door.Door`.

A client that may not come in is closed before a greeting is answered, without a word in the log: it is
counted (:attr:`Counters.turned_away <socks5.counters.Counters.turned_away>`). Sessions of a factory
without a door know nothing of all this and pay nothing for it.

Floor 4: imports everything below, and :mod:`socks5.session`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.protocol import Factory
from typing_extensions import override

from socks5.door import Door
from socks5.negotiation import Stage
from socks5.session import Server, ServerProtocol
from socks5.transport import far_host

Build = Callable[[Any, int], ServerProtocol]
"""Makes a session of a server and its number."""


class GuardedSession(ServerProtocol):
    """A session that a door stands before.

    :param door: what to let in.
    """

    __slots__ = ("_door",)

    def __init__(self, factory: Server, number: int, door: Door) -> None:
        super().__init__(factory, number)
        self._door = door

    @override
    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(transport)
        if self._door.proxies is None:  # else the client's address is not known yet
            self._is_let_in()

    @override
    def _negotiate(self, data: bytes) -> None:
        if self._negotiation.stage is not Stage.GREETING or self._is_let_in():
            super()._negotiate(data)

    @override
    def _learn_addresses(self) -> None:
        super()._learn_addresses()
        if self._door.methods is not None:
            self._negotiation.methods = self._door.methods

    def _is_let_in(self) -> bool:
        """Close the connection of a client that may not come in."""
        reason = self._objection(far_host(self.transport))
        if reason:
            self.factory.counters.turned_away[reason] += 1
            self.end(reason)
        return not reason

    def _objection(self, client: str) -> str:
        """Why this client may not come in; "" if it may."""
        return "" if self._door.admits(client) else "network"


class Admitting(Protocol):
    """The part of a :class:`~socks5.server.ServerFactory` that an entrance needs."""

    def buildProtocol(self, addr: Any, build: Build | None = None) -> ServerProtocol | None:
        """A session of another kind, or None over the session limit."""


class Entrance(Factory):
    """The factory of one listener: another's sessions, behind a door.

    :param server: whose sessions.
    :param door: what to let in.
    """

    noisy = False
    takes_connections = True
    """See :attr:`socks5.server.ServerFactory.takes_connections`."""

    def __init__(self, server: Admitting, door: Door) -> None:
        self.door = door
        self._server = server

    @override
    def buildProtocol(self, addr: Any) -> ServerProtocol | None:  # type: ignore[override]
        """A session for a new client, or None over the session limit."""
        return self._server.buildProtocol(addr, self._build)

    def _build(self, server: Server, number: int) -> GuardedSession:
        return GuardedSession(server, number, self.door)
