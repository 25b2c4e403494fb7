"""The server's face: the factory of sessions, with everything that they share.

:class:`ServerFactory` is all that an embedding program needs::

    from twisted.internet import reactor
    from socks5 import ServerFactory, listen

    listen(reactor, "tcp:1080:interface=127.0.0.1", ServerFactory(reactor))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from typing_extensions import override

from socks5.auth import NoAuthentication
from socks5.counters import Counters
from socks5.deadlines import Deadlines, IdleTimers, clock_of
from socks5.interfaces import (
    IAcceptor,
    IAccessLog,
    IAuthenticator,
    IBans,
    ICommand,
    IDialer,
    IResolver,
    IRules,
    ISession,
)
from socks5.loglimit import Sparing
from socks5.net.addresses import address_of
from socks5.net.descriptors import SessionLimit
from socks5.net.own import OwnListeners, is_own_address
from socks5.net.resolver import Resolver
from socks5.outbound.direct import DirectDialer
from socks5.policy.bans import Asking, Bans
from socks5.policy.rules import Rules
from socks5.protocol.address import UNSPECIFIED
from socks5.protocol.messages import Command, Method
from socks5.server.admission import Build, GuardedSession, ListenerFactory
from socks5.server.associate import Associate
from socks5.server.bind import Bind
from socks5.server.connect import Connect
from socks5.server.gssapi_login import GSSAPISession
from socks5.server.session import ServerProtocol
from socks5.server.verdicts import StrictBans, strict_rules
from socks5.settings import ListenerPolicy, Settings

COMMANDS: Mapping[int, Callable[[ISession], ICommand]] = {
    Command.CONNECT: Connect,
    Command.BIND: Bind,
    Command.UDP_ASSOCIATE: Associate,
}
"""What serves each CMD octet, unless a factory is told otherwise."""


class ServerFactory(Factory):
    """Builds a :class:`~socks5.server.session.ServerProtocol` for each client. Everything it depends on is a parameter.

    :param reactor: clock, TCP, UDP and names.
    :param settings: values; see :class:`socks5.settings.Settings`.
    :param authenticator: which methods, and who is right; default: no authentication.
    :param gssapi: accepts security contexts (RFC 1961), such as :class:`socks5.auth.kerberos.Acceptor`; default: none.
        Clients should come with one, and must unless there is an *authenticator*.
    :param rules: who may do what; default: :class:`socks5.policy.rules.Rules`.
    :param resolver: names to addresses; default: :class:`socks5.net.resolver.Resolver`.
    :param dialer: how targets are reached; default: :class:`socks5.outbound.direct.DirectDialer`.
    :param access_log: takes a record for each session; default: none.
    :param commands: what serves each CMD octet; default: :data:`COMMANDS`.
    :param bans: remembers failed logins; default: :class:`socks5.policy.bans.Bans`, where there are logins and
        :attr:`Settings.ban_after <socks5.settings.Settings.ban_after>` is not 0.
    :param worker: this process's number for the access log, where there are several.
    :raises TypeError: the *rules* or the *bans* cannot answer at once: see :mod:`socks5.server.verdicts`.
    """

    log = Logger()
    noisy = False
    takes_connections = True
    """Ports of ours may give us their own :class:`~socks5.net.connection.Connection`."""

    def __init__(
        self,
        reactor: Any,
        *,
        settings: Settings | None = None,
        authenticator: IAuthenticator | None = None,
        gssapi: IAcceptor | None = None,
        rules: IRules | None = None,
        resolver: IResolver | None = None,
        dialer: IDialer | None = None,
        access_log: IAccessLog | None = None,
        commands: Mapping[int, Callable[[ISession], ICommand]] = COMMANDS,
        bans: IBans | None = None,
        worker: int | None = None,
    ) -> None:
        self.reactor = reactor
        self.now = clock_of(reactor)
        """Seconds, for lengths of time."""
        self.settings = Settings() if settings is None else settings
        # An object that is false is one all the same: an authenticator may be as long as its list of users.
        self.authenticator: IAuthenticator = (
            NoAuthentication() if authenticator is None else authenticator
        )
        self.gssapi = gssapi
        self.methods: Sequence[int] = self.authenticator.methods
        """The METHOD octets that are accepted, in order of preference."""
        if gssapi is not None:
            others = () if authenticator is None else authenticator.methods
            self.methods = (Method.GSSAPI, *others)
        self.rules: IRules = strict_rules(Rules() if rules is None else rules)
        self.resolver: IResolver = (
            Resolver(reactor, self.settings) if resolver is None else resolver
        )
        self.dialer: IDialer = DirectDialer(reactor, self.resolver) if dialer is None else dialer
        self.listeners = OwnListeners()
        """Where clients come in, as far as :meth:`listens_on` has been told."""
        self.access_log = access_log
        self.commands = commands
        self.worker = worker
        self.counters = Counters()
        self.handshakes = Deadlines(reactor, self.settings.handshake_timeout)
        self.stocked = Deadlines(reactor, self.settings.request_timeout)
        """Of clients that may ask, and do not yet."""
        self.closing = Deadlines(reactor, self.settings.close_timeout)
        self.idle_timers = IdleTimers(reactor)
        self.tls_lines = Sparing(reactor)
        """Lets some of the lines about failed TLS into the log."""
        self.limit = SessionLimit(reactor, self.settings, self.counters)
        self.crowds = self.limit.crowds
        """Of the clients of one address: who negotiates, and who waits for that."""
        self._sessions: dict[ServerProtocol, None] = {}
        self.bans = self._usual_bans() if bans is None else StrictBans(bans)
        self.asking = Asking()
        is_plain = self.bans is None and gssapi is None
        self._build: Build = ServerProtocol if is_plain else self.at(ListenerPolicy()).build
        self._all_gone: list[Deferred[None]] = []

    def _usual_bans(self) -> IBans | None:
        has_logins = set(self.methods) != {Method.NO_AUTHENTICATION}
        if not has_logins or not self.settings.ban_after:
            return None
        return Bans(self.reactor, self.settings, partial(is_own_address, unknown=False))

    @property
    def sessions(self) -> Iterator[ServerProtocol]:
        """The client connections of now; safe against changes while iterating."""
        return iter(tuple(self._sessions))

    @override
    def buildProtocol(self, addr: Any, build: Build | None = None) -> ServerProtocol | None:  # type: ignore[override]
        """A session for a new client, or None (Twisted then closes the connection) over the session
        limit.

        :param addr: who that is: an IP literal, an address of Twisted's, or None if it is not known yet.
        :param build: makes the session; default: one without a listener policy.
        """
        if not self.limit.enter():
            return None
        try:
            protocol = (build or self._build)(self, self.counters.connections + 1)
        except BaseException:
            self.limit.leave()
            raise
        self.counters.connections += 1
        self.counters.open_connections += 1
        self._sessions[protocol] = None
        if addr is not None:
            host = addr if isinstance(addr, str) else getattr(addr, "host", "")
            self.crowds.begin(host, protocol)
        return protocol

    def at(self, policy: ListenerPolicy) -> ListenerFactory:
        """A factory for a listener of its own: sessions of this factory, under *policy*.

        :raises ValueError: the policy wants a method that the authenticator does not have.
        """
        known = {*self.methods, Method.NO_AUTHENTICATION}
        if not known >= set(policy.methods or ()):
            raise ValueError(f"methods {policy.methods}: the authenticator has {sorted(known)}")
        return ListenerFactory(
            self, policy, GuardedSession if self.gssapi is None else GSSAPISession
        )

    def listens_on(self, port: IListeningPort) -> IListeningPort:
        """Take note of a port that has been opened for clients, so that none connects to the proxy through itself.

        :returns: the port: so this may be the callback of what an endpoint's ``listen`` gives.
        """
        where = address_of(port.getHost())
        if where is not UNSPECIFIED:  # as it is of a UNIX socket
            self.listeners.add(where)
        return port

    def listens_no_more_on(self, port: IListeningPort) -> IListeningPort:
        """Forget a port that :meth:`listens_on` was told of and that is about to be closed.

        :returns: the port.
        """
        where = address_of(port.getHost())
        if where is not UNSPECIFIED:
            self.listeners.discard(where)
        return port

    def gone(self, session: ServerProtocol) -> None:
        """A session is over and its connection closed; called by the session itself, harmless
        twice.
        """
        if session not in self._sessions:
            return
        del self._sessions[session]
        self.closing.clear(session)
        self.counters.open_connections -= 1
        self.limit.leave()
        self._tell_if_all_are_gone()

    def _tell_if_all_are_gone(self) -> None:
        if not self._sessions:
            waiting, self._all_gone = self._all_gone, []
            for all_gone in waiting:
                all_gone.callback(None)

    def close_sessions(self, reason: str, grace: float) -> Deferred[None]:
        """End every session: in order, and whatever is left after *grace* seconds with a reset.

        :returns: fires with None when all are gone.
        """
        self._for_each_session(lambda session: session.close(reason))
        all_gone: Deferred[None] = Deferred()
        timer = self.reactor.callLater(grace, self._abort_sessions)
        all_gone.addBoth(lambda _: timer.cancel() if timer.active() else None)
        self._all_gone.append(all_gone)
        self._tell_if_all_are_gone()
        return all_gone

    def _abort_sessions(self) -> None:
        self._for_each_session(ServerProtocol.abort)

    def _for_each_session(self, end: Callable[[ServerProtocol], None]) -> None:
        """End all sessions; one in which something fails keeps no other from its end."""
        for session in self.sessions:
            try:
                end(session)
            except Exception:
                self.log.failure("a session could not be closed")
