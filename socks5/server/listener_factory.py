"""The factory of one listener of a server's that has a policy of its own."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.protocol import Factory
from typing_extensions import override

from socks5.server.admission import Admission
from socks5.server.ends import ClientEnd
from socks5.server.handshake import ServerProtocol
from socks5.settings import ListenerPolicy, Settings


class Server(Protocol):
    """What a listener needs of :class:`~socks5.server.factory.ServerFactory`."""

    @property
    def settings(self) -> Settings:
        """Those of new sessions."""

    def admission_of(self, policy: ListenerPolicy) -> Admission:
        """Who may come in on one address of a listener."""

    def buildProtocol(self, addr: Any, admission: Admission | None = None) -> ServerProtocol | None:
        """A session for a new client, or None over the session limit."""


class ListenerFactory(Factory):
    """The factory of one listener: another's sessions, under a listener policy.

    :param server: whose sessions: a :class:`~socks5.server.factory.ServerFactory`.
    :param policy: what to let in.
    """

    noisy = False
    connection_type = ClientEnd
    """See :attr:`ServerFactory.connection_type <socks5.server.factory.ServerFactory.connection_type>`."""

    def __init__(self, server: Server, policy: ListenerPolicy) -> None:
        self.policy = policy
        self._server = server
        self._admission = server.admission_of(policy)

    @property
    def settings(self) -> Settings:
        """Those of new sessions."""
        return self._server.settings

    def succeed(self, before: Factory) -> None:
        """Serve in the place of another one: the connections of each client are counted on, and whoever negotiates
        there does so under our policy now.

        :param before: a listener's factory, or the server's own, which has no policy of a listener.
        """
        if isinstance(before, ListenerFactory):
            before.become(self.policy)
            self._admission = before._admission

    def become(self, policy: ListenerPolicy) -> None:
        """Let another policy hold, also for whoever negotiates."""
        self.policy = policy
        self._admission.become(policy)

    @override
    def buildProtocol(self, addr: Any) -> ServerProtocol | None:  # type: ignore[override]
        """A session for a new client, or None over the session limit."""
        return self._server.buildProtocol(addr, self._admission)
