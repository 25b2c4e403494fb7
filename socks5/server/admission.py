"""Sessions that are looked at before they begin: a listener's :class:`~socks5.settings.ListenerPolicy`, and bans.

A client that may not come in is closed before a greeting is answered, without a word in the log: it is
counted (:attr:`Counters.turned_away <socks5.counters.Counters.turned_away>`). Sessions of a factory
without a listener policy and without logins know nothing of all this and pay nothing for it.

A login that failed is told to :class:`~socks5.interfaces.IBans`, which says how long the negative answer waits. The
client is still read meanwhile, so its leaving ends the wait, and the handshake's deadline goes on. What an
address that was banned has sent already is not looked at any more, what is being checked for it is cancelled, and a
verdict that comes after the ban is negative, whatever it was: logins side by side guess no more than one after the
other, and leave nothing in a queue. A client that leaves before
the verdict has cost its check all the same, and is told of, too; but not one for whom the proxy was too slow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.access import Access, ClaimedAccess, IUser
from socks5.auth import LoginNotJudged
from socks5.net.connection import far_host
from socks5.protocol.messages import Method
from socks5.protocol.server_negotiation import CredentialsReceived
from socks5.protocol.stages import Stage
from socks5.server.session import Server, ServerProtocol
from socks5.settings import ListenerPolicy, Settings

Build = Callable[[Any, int], ServerProtocol]
"""Makes a session of a server and its number."""


class GuardedSession(ServerProtocol):
    """A session that a listener policy holds for, and whose failed logins count.

    :param policy: what to let in.
    """

    __slots__ = ("_access", "_asked_at", "_policy")

    def __init__(self, factory: Server, number: int, policy: ListenerPolicy) -> None:
        super().__init__(factory, number)
        self._policy = policy
        self._access: type[Access] = Access
        self._asked_at: float | None = None  # since when a verdict is awaited
        if policy.methods is not None:
            self._negotiation.methods = policy.methods

    @property
    @override
    def _takes_certificates(self) -> bool:  # type: ignore[override]
        """Not where somebody said which methods, and a login without one is not among them."""
        methods = self._policy.methods
        return methods is None or Method.NO_AUTHENTICATION in methods

    @override
    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(transport)
        if self._policy.proxies is None:  # else the client's address is not known yet
            self._is_let_in()

    @override
    def _negotiate(self, data: bytes) -> None:
        if self._negotiation.stage is not Stage.GREETING or self._is_let_in():
            super()._negotiate(data)

    @override
    def _learn_addresses(self) -> None:
        super()._learn_addresses()
        if self._transport_claims():
            self._access = ClaimedAccess

    def _transport_claims(self) -> bool | None:
        """Whether a balancer says who the client is; None if there was no header."""
        return getattr(self.transport, "is_claimed", None)

    def _is_let_in(self) -> bool:
        """Close the connection of a client that may not come in."""
        reason = self._objection(far_host(self.transport))
        if reason:
            self.factory.counters.turned_away[reason] += 1
            self.end(reason)
        return not reason

    def _objection(self, client: str) -> str:
        """Why this client may not come in; "" if it may."""
        if self._policy.proxies is not None and self._transport_claims() is None:
            return "no PROXY header"  # whoever listens here does not ask for them
        if not self._policy.admits(client):
            return "network"
        bans = self.factory.bans
        return "banned" if bans is not None and bans.is_banned(client) else ""

    # Logins

    @override
    def _check(self, event: CredentialsReceived) -> None:
        if self._is_let_in():
            self._ask()
            super()._check(event)

    def _ask(self) -> None:
        """From now on a verdict is awaited."""
        self._asked_at = self.factory.now()
        self.factory.asking.add(self._client, self._give_up)

    def _end_asking(self) -> bool:
        """No verdict is awaited any more.

        :returns: whether one was.
        """
        asked_at, self._asked_at = self._asked_at, None
        if asked_at is None:
            return False
        self.factory.asking.remove(self._client, self._give_up)
        return True

    def _give_up(self) -> None:
        """A client that counts as one with ours is banned. If ours is, too - it may be exempt -, what is checked for it
        need not be.
        """
        bans = self.factory.bans
        if self._checking is not None and bans is not None and bans.is_banned(self._client):
            self._checking.cancel()

    @override
    def crashed(self, failure: Failure) -> None:
        """See :meth:`socks5.interfaces.ISession.crashed`. A bug of ours says nothing about the client."""
        self._end_asking()
        super().crashed(failure)

    @override
    def _too_slow(self) -> None:
        if self._are_we_slow():
            self._end_asking()
        super()._too_slow()

    def _are_we_slow(self) -> bool:
        """Whether a login has waited for its verdict for at least half of the handshake's time. That says nothing about
        the client; one that sends its login at the last moment is not to have a check for nothing.
        """
        if self._checking is None or self._asked_at is None:
            return False
        return self.factory.now() - self._asked_at >= self.settings.handshake_timeout / 2

    @override
    def _over(self, reason: str, within: float = 0.0) -> None:
        if self._end_asking():  # there was no verdict yet
            self._count(is_judged=False)
        super()._over(reason, within)

    @override
    def _accepted(self, user: IUser) -> None:
        bans = self.factory.bans
        if bans is not None and not self._is_over:
            if bans.is_banned(self._client):
                self._refused(Failure(UnauthorizedLogin("banned while the login was checked")))
                return
            bans.succeeded(self._client)
        self._end_asking()
        super()._accepted(user)

    @override
    def _refused(self, failure: Failure) -> None:
        bans = self.factory.bans
        if failure.check(CancelledError) and bans is not None and bans.is_banned(self._client):
            failure = Failure(UnauthorizedLogin("banned before the login was checked"))
        super()._refused(failure)

    @override
    def _turn_down(self, failure: Failure) -> None:
        delay = self._count_failure(failure)
        if delay <= 0:
            super()._turn_down(failure)
            return
        failure.cleanFailure()  # its frames hold the password
        waiting: Deferred[Any] = deferLater(self.reactor, delay)
        self._checking = waiting
        turn_down = super()._turn_down
        waiting.addCallbacks(lambda _: turn_down(failure), lambda _: None)  # the client has left
        waiting.addErrback(self.crashed)

    def _count_failure(self, failure: Failure) -> float:
        """Seconds that the answer is to wait. A checker that broke says nothing about the client."""
        self._end_asking()
        if not failure.check(LoginFailed):
            return 0.0
        if isinstance(failure.value, LoginNotJudged):
            return self._count(is_judged=False) if failure.value.was_refused else 0.0
        return self._count()

    def _count(self, is_judged: bool = True) -> float:
        bans = self.factory.bans
        is_own = self._client == self.server_host  # this host's, whatever the kernel says of zones
        if bans is None or is_own or bans.is_banned(self._client):
            return 0.0
        delay = bans.failed(self._client, is_judged)
        if bans.is_banned(self._client):
            self.factory.counters.bans += 1
            self.factory.asking.cancel(self._client)
        return delay


class Admitting(Protocol):
    """The part of a :class:`~socks5.server.factory.ServerFactory` that a listener's factory needs."""

    settings: Settings

    def buildProtocol(self, addr: Any, build: Build | None = None) -> ServerProtocol | None:
        """A session of another kind, or None over the session limit."""


class ListenerFactory(Factory):
    """The factory of one listener: another's sessions, under a listener policy.

    :param server: whose sessions.
    :param policy: what to let in.
    :param kind: what sessions are built of.
    """

    noisy = False
    takes_connections = True
    """See :attr:`socks5.server.factory.ServerFactory.takes_connections`."""

    def __init__(
        self, server: Admitting, policy: ListenerPolicy, kind: type[GuardedSession] = GuardedSession
    ) -> None:
        self.policy = policy
        self.settings = server.settings
        self._server = server
        self._kind = kind

    @override
    def buildProtocol(self, addr: Any) -> ServerProtocol | None:  # type: ignore[override]
        """A session for a new client, or None over the session limit."""
        return self._server.buildProtocol(addr, self.build)

    def build(self, server: Server, number: int) -> GuardedSession:
        """A session under the policy, not yet counted."""
        return self._kind(server, number, self.policy)
