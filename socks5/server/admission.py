"""Who may come in: a listener's :class:`~socks5.settings.ListenerPolicy`, and bans.

A client that may not come in is closed before a greeting is answered, without a word in the log: it is
counted (:attr:`Counters.turned_away <socks5.counters.Counters.turned_away>`). Sessions of a factory
without a listener policy and without logins know nothing of all this and pay nothing for it.

A login that failed is told to :class:`~socks5.logins.IBans`, whatever the method, which says how long the negative
answer waits. What an address that was banned has sent already is not looked at any more, what is being checked for it
is cancelled, and a verdict that comes after the ban is negative, whatever it was: logins side by side guess no more
than one after the other, and leave nothing in a queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakValueDictionary

from socks5.access import Reason
from socks5.counters import Counters
from socks5.net.connection import far_host
from socks5.policy.bans import Asking
from socks5.protocol.messages import Method
from socks5.protocol.networks import subscriber
from socks5.protocol.subnegotiation import Methods
from socks5.server.in_force import InForce
from socks5.settings import ListenerPolicy


class Client(Protocol):
    """A session, as far as it is looked at here."""

    transport: Any
    client: str
    server_host: str
    policy: InForce

    @property
    def counters(self) -> Counters:
        """See :class:`socks5.interfaces.ISession`."""

    def end(self, reason: Reason) -> None:
        """See :meth:`socks5.interfaces.ISession.end`."""


class Connections(Counter[bytes]):
    """How many connections each client has to one listener, on all its addresses together."""


class ByListener:
    """Those of each listener of a server, as long as it has some or listens."""

    def __init__(self) -> None:
        self._named: WeakValueDictionary[str, Connections] = WeakValueDictionary()

    def of(self, listener: str) -> Connections:
        """That of the listener of a name. One without a name has one address."""
        return self._named.setdefault(listener, Connections()) if listener else Connections()


class Admission:
    """The admission of a listener, on one of its addresses. It knows nothing of one session longer than a call lasts,
    but whose it is, where a client may have only so many.

    :param policy: what to let in.
    :param asking: what waits for a verdict.
    :param is_ours: whether an IP literal is this host's.
    :param by_listener: the connections that there are.
    """

    def __init__(
        self,
        policy: ListenerPolicy,
        asking: Asking,
        is_ours: Callable[[str], bool],
        by_listener: ByListener,
    ) -> None:
        self.policy = policy
        """Of now: others may follow it."""
        self._asking = asking
        self._is_ours = is_ours
        self._by_listener = by_listener
        self._counted: dict[Client, bytes] = {}
        self._connections = by_listener.of(policy.name)

    def become(self, policy: ListenerPolicy) -> None:
        """Let another policy hold, also for whoever has come. They are of the listener of its name now."""
        if policy.name != self.policy.name:
            moving = Counter(self._counted.values())
            self._connections -= moving
            self._connections = self._by_listener.of(policy.name)
            self._connections += moving
        self.policy = policy

    @property
    def listener(self) -> str:
        """How rules call it."""
        return self.policy.name

    def methods(self, policy: InForce) -> Methods:
        """Those of a policy that clients may use here."""
        return policy.only(self.policy.methods)

    @property
    def takes_certificates(self) -> bool:
        """Whether a certificate is a login. Not where somebody said which methods, and none without one is among
        them.
        """
        methods = self.policy.methods
        return methods is None or Method.NO_AUTHENTICATION in methods

    # Clients

    def meet(self, session: Client) -> None:
        """A client is there. Behind a balancer nobody knows yet who it is."""
        if self.policy.proxies is None:
            self.lets_in(session)

    def lets_in(self, session: Client) -> bool:
        """Close the connection of a client that may not come in.

        :returns: whether it may.
        """
        reason = self._objection(session)
        if reason is None and self.policy.connections_per_client and not self._counts(session):
            reason = Reason.CONNECTIONS
        if reason is not None:
            session.counters.turned_away[reason] += 1
            session.end(reason)
        return reason is None

    def _counts(self, session: Client) -> bool:
        """Whether there may be one more of the client's, which is counted from now on."""
        if session in self._counted:
            return True
        client = far_host(session.transport)
        key, most = subscriber(client), self.policy.connections_per_client
        is_exempt = not self.is_claimed(session) and (client == "" or self._is_ours(client))
        if is_exempt:
            return True
        if self._connections[key] >= most:
            return False
        self._counted[session] = key
        self._connections[key] += 1
        return True

    def gone(self, session: Client) -> None:
        """Its connection is closed."""
        key = self._counted.pop(session, None)
        if key is not None:
            self._connections[key] -= 1
            if not self._connections[key]:
                del self._connections[key]

    def _objection(self, session: Client) -> Reason | None:
        if self.policy.proxies is not None and self._claim(session) is None:
            return Reason.NO_HEADER  # whoever listens here does not ask for them
        client = far_host(session.transport)
        if not self.policy.admits(client):
            return Reason.NETWORK
        bans = session.policy.bans
        return Reason.BANNED if bans is not None and bans.is_banned(client) else None

    def is_claimed(self, session: Client) -> bool:
        """Whether a balancer says who the client is."""
        return bool(self._claim(session))

    def _claim(self, session: Client) -> bool | None:
        """The same; None if there was no header."""
        claim: bool | None = getattr(session.transport, "is_claimed", None)
        return claim

    # Logins

    def asks(self, session: Client, banned: Callable[[], None]) -> None:
        """A verdict on a login is awaited.

        :param banned: called if another one's failure bans the client, or what counts as one with it.
        """
        self._asking.add(session.client, banned)

    def has_asked(self, session: Client, banned: Callable[[], None]) -> None:
        """None is awaited any more."""
        self._asking.remove(session.client, banned)

    def is_banned(self, session: Client) -> bool:
        """Whether the client was banned meanwhile."""
        bans = session.policy.bans
        return bans is not None and bans.is_banned(session.client)

    def succeeded(self, session: Client) -> None:
        """A login was accepted."""
        if session.policy.bans is not None:
            session.policy.bans.succeeded(session.client)

    def failed(self, session: Client, is_judged: bool = True) -> float:
        """A login was refused.

        :param is_judged: see :meth:`socks5.logins.IBans.failed`.
        :returns: seconds that the answer is to wait.
        """
        bans, client = session.policy.bans, session.client
        is_own = client == session.server_host  # this host's, whatever the kernel says of zones
        if bans is None or is_own or bans.is_banned(client):
            return 0.0
        delay = bans.failed(client, is_judged)
        if bans.is_banned(client):
            session.counters.bans += 1
            self._asking.cancel(client)
        return delay
