"""The server's face: the factory of sessions, with everything that they share.

:class:`ServerFactory` is all that an embedding program needs::

    from twisted.internet import reactor
    from socks5 import ServerFactory, listen

    listen(reactor, "tcp:1080:interface=127.0.0.1", ServerFactory(reactor))
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import Any
from weakref import WeakSet

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from typing_extensions import override

from socks5.access import Reason
from socks5.counters import Counters
from socks5.deadlines import Deadlines, IdleTimers, clock_of
from socks5.interfaces import (
    IAccessLog,
    ICommand,
    IDialer,
    IManagedSession,
    IResolver,
    IRules,
    ISession,
    Policy,
)
from socks5.limits import ILimits
from socks5.logins import IAcceptor, IAuthenticator, IBans, IMethod
from socks5.loglimit import Sparing
from socks5.net.addresses import address_of
from socks5.net.certificate_files import reason_of
from socks5.net.connection import far_end
from socks5.net.descriptors import SessionLimit
from socks5.net.own import OwnListeners, is_own_address
from socks5.net.resolver import Resolver
from socks5.outbound.direct import DirectDialer
from socks5.outbound.ways import Upstreams
from socks5.policy.bans import Asking, Bans
from socks5.protocol.address import UNSPECIFIED
from socks5.protocol.messages import Method
from socks5.server.admission import Admission, ByListener
from socks5.server.commands import COMMANDS
from socks5.server.draining import drained
from socks5.server.ends import ClientEnd
from socks5.server.handshake import ServerProtocol
from socks5.server.in_force import InForce
from socks5.server.listener_factory import ListenerFactory
from socks5.server.registry import Sessions
from socks5.server.rejudging import Edges, given, rejudge_all
from socks5.server.verdicts import StrictBans
from socks5.settings import Capacity, ListenerPolicy, Settings


def _with(policy: Policy | None, **parts: Any) -> Policy:
    """A policy, with the parts that are not None in the place of its own."""
    given = {name: part for name, part in parts.items() if part is not None}
    return replace(Policy() if policy is None else policy, **given)


class ServerFactory(Factory):
    """Builds a :class:`~socks5.server.handshake.ServerProtocol` for each client; what it depends on is a parameter.

    :param reactor: clock, TCP, UDP and names.
    :param policy: what holds for sessions, as a whole; default: one of the parts that are given by name, each of which
        goes before the policy's. See :class:`~socks5.interfaces.Policy` for what they are; ``rules`` and ``dialer``
        have defaults: :class:`socks5.policy.rules.Rules` and :class:`socks5.outbound.direct.DirectDialer`.
    :param settings: a part of the policy.
    :param rules: likewise.
    :param authenticator: likewise.
    :param gssapi: likewise.
    :param methods: likewise.
    :param dialer: likewise.
    :param limits: likewise.
    :param capacity: how much there may be of everything.
    :param resolver: names to addresses; default: :class:`socks5.net.resolver.Resolver`.
    :param access_log: takes a record of each session; default: none.
    :param commands: what serves each CMD octet; default: :data:`~socks5.server.commands.COMMANDS`.
    :param bans: remembers failed logins; default: :class:`socks5.policy.bans.Bans`, where there are logins and
        :attr:`Settings.ban_after <socks5.settings.Settings.ban_after>` is not 0.
    :param worker: this process's number for the access log, where there are several.
    :raises TypeError: the *rules* or the *bans* are none: see :mod:`socks5.server.verdicts`.
    """

    log = Logger()
    noisy = False
    connection_type = ClientEnd
    """What ports of ours make of a client's socket, for which others have a transport of Twisted's."""

    def __init__(
        self,
        reactor: Any,
        policy: Policy | None = None,
        *,
        settings: Settings | None = None,
        rules: IRules | None = None,
        authenticator: IAuthenticator | None = None,
        gssapi: IAcceptor | None = None,
        methods: Sequence[IMethod] | None = None,
        dialer: IDialer | None = None,
        limits: ILimits | None = None,
        capacity: Capacity | None = None,
        resolver: IResolver | None = None,
        access_log: IAccessLog | None = None,
        commands: Mapping[int, Callable[[ISession], ICommand]] = COMMANDS,
        bans: IBans | None = None,
        worker: int | None = None,
    ) -> None:
        self.reactor = reactor
        self.commands = commands
        self.worker = worker
        self.access_log = access_log
        self.keeps_records = access_log is not None
        """Whether somebody is told of sessions that are over."""
        self._share(Capacity() if capacity is None else capacity, resolver)
        self._admit(bans)
        self.policy = _with(
            policy,
            settings=settings,
            rules=rules,
            authenticator=authenticator,
            gssapi=gssapi,
            methods=methods,
            dialer=dialer,
            limits=limits,
        )
        """What holds for new sessions; see :meth:`replace`."""
        self.in_force = self._fill(self.policy)
        self._limit(self.in_force.limits, None)
        self._replaced: WeakSet[Upstreams] = WeakSet()  # whom sessions have that began with them
        self._dial_by(self.in_force.dialer, self._direct)
        self._judge = self.in_force.rules
        """By them the sessions that had begun were judged last."""
        self._edges = Edges(self.deadlines, self._rejudge_by_the_clock)
        self._edges.watch(self._judge)

    def _share(self, capacity: Capacity, resolver: IResolver | None) -> None:
        """Make what sessions share, whatever policy holds; see :class:`socks5.server.shared.Shared`."""
        reactor = self.reactor
        self.now = clock_of(reactor)
        """Seconds, for lengths of time."""
        self.counters = Counters()
        self.sessions = Sessions(self._watched)
        """The client connections of now; see :class:`~socks5.interfaces.ISessions`."""
        self.listeners = OwnListeners()
        """Where clients come in, as far as :meth:`listens_on` has been told."""
        self.deadlines = Deadlines(reactor)
        self.idle_timers = IdleTimers(reactor)
        self.tls_lines = Sparing(reactor)
        """Lets some of the lines about failed TLS into the log."""
        self.limit = SessionLimit(reactor, capacity, self._settings, self.counters)
        self.crowds = self.limit.crowds
        """Of the clients of one address: who negotiates, and who waits for that."""
        self.resolver: IResolver = (
            Resolver(reactor, self._settings, capacity) if resolver is None else resolver
        )
        self._direct = DirectDialer(reactor, self.resolver)

    def _admit(self, bans: IBans | None) -> None:
        """Make what says who may come in."""
        self.asking = Asking()
        self.is_ours = partial(is_own_address, unknown=False)
        self.bans: IBans = StrictBans(
            Bans(self.reactor, self._settings, self.is_ours) if bans is None else bans
        )
        self._has_own_bans = bans is not None
        self._connections = ByListener()
        self._admission = self.admission_of(ListenerPolicy())

    # Clients

    @override
    def buildProtocol(  # type: ignore[override]
        self, addr: Any, admission: Admission | None = None
    ) -> ServerProtocol | None:
        """A session for a new client, or None (Twisted then closes the connection) over the session
        limit.

        :param addr: who that is: an IP literal, an address of Twisted's, or None if it is not known yet.
        :param admission: a listener's; default: clients come from anywhere.
        """
        if not self.limit.enter():
            return None
        in_force = self.in_force
        if admission is None and in_force.bans is not None:
            admission = self._admission
        counters = self.counters
        number = counters.connections + 1
        try:
            session = ServerProtocol(self, number, in_force, admission)
        except BaseException:
            self.limit.leave()
            raise
        counters.connections = number
        counters.open_connections += 1
        self.sessions.add(session)
        if addr is not None:
            host = addr if isinstance(addr, str) else getattr(addr, "host", "")
            self.crowds.begin(host, session)
        return session

    def at(
        self, policy: ListenerPolicy, methods: Collection[int] | None = None
    ) -> ServerFactory | ListenerFactory:
        """A factory for a listener of its own: sessions of this factory, under *policy*.

        :param methods: those that there are; default: of the policy in force.
        :raises ValueError: the policy wants a method that there is not.
        """
        present = self.in_force.methods if methods is None else methods
        known = {*present, Method.NO_AUTHENTICATION}
        if not known >= set(policy.methods or ()):
            raise ValueError(f"methods {policy.methods}: the authenticator has {sorted(known)}")
        return self if policy == ListenerPolicy() else ListenerFactory(self, policy)

    def admission_of(self, policy: ListenerPolicy) -> Admission:
        """Who may come in on one address of a listener."""
        return Admission(policy, self.asking, self.is_ours, self._connections)

    def succeed(self, before: ServerFactory | ListenerFactory) -> None:
        """See :meth:`socks5.server.listener_factory.ListenerFactory.succeed`."""
        if isinstance(before, ListenerFactory):
            before.become(ListenerPolicy())

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

    # Policy

    @property
    def settings(self) -> Settings:
        """Those of new sessions."""
        return self.in_force.settings

    def _fill(self, policy: Policy) -> InForce:
        dialer: Any = policy.dialer
        if isinstance(dialer, Upstreams):
            dialer.over(self._direct)
        return InForce(policy, self._direct, self.bans, self.deadlines, self._has_own_bans)

    def _limit(self, limits: ILimits | None, before: ILimits | None) -> None:
        if limits is None and before is not None:
            before.end()
        elif limits is not None and limits is not before:
            limits.begin(before, self.counters.limited)

    def _dial_by(self, dialer: Any, before: Any) -> None:
        """Begin to dial by a policy's dialer, or another policy's than before."""
        self.counters.upstreams = {}
        if isinstance(dialer, Upstreams):
            self.counters.upstreams = dialer.begin(before, self.settings)
        if isinstance(before, Upstreams) and before is not dialer:
            before.end()
            self._replaced.add(before)

    def _settings(self) -> Settings:
        return self.in_force.settings

    def replace(self, policy: Policy, rejudge: bool = True) -> Deferred[int]:
        """Let another policy hold, from now on and as a whole: for new sessions, and for whatever outlives sessions, as
        what is remembered of names and bans. Sessions that have begun keep the settings, logins and dialer
        they began with.

        :param rejudge: whether they are judged by the new rules, a few at a time: those that are no longer allowed
            end, in order (:attr:`Reason.NOT_ALLOWED <socks5.access.Reason.NOT_ALLOWED>`); the others have the new
            rules, and the new upstreams that those name, from then on, also for what they have not asked yet. If not,
            they keep the old ones.
        :returns: fires with how many sessions ended, when all are judged, or the next policy's rules judge them.
        :raises TypeError: the rules are none, and everything stays as it was.
        :raises ValueError: so is a method.
        :raises OSError: what is used of quotas cannot be read, likewise.
        """
        in_force = self._fill(policy)
        self._limit(in_force.limits, self.in_force.limits)
        before, self.in_force = self.in_force.dialer, in_force
        self._dial_by(in_force.dialer, before)
        self.policy = policy
        self._edges.watch(self.in_force.rules)
        for port in tuple(self.limit.listeners):
            port.settings_changed()
        return self.rejudge() if rejudge else succeed(0)

    def rejudge(self) -> Deferred[int]:
        """Judge the sessions that have begun by the rules in force, as :meth:`replace` does, a few at a time.

        :returns: see :meth:`replace`.
        """
        self._judge = rules = self.in_force.rules
        for upstreams in self._replaced:
            upstreams.go_on_as(self.in_force.dialer)
        sessions = takewhile(lambda _: self._judge is rules, self.sessions)  # else newer ones
        return rejudge_all(self.reactor, sessions, rules, is_renewing=True)

    def _rejudge_by_the_clock(self) -> None:
        """The hours of the rules in force have begun, or ended."""
        rules = self.in_force.rules
        sessions: Iterator[Any] = iter(self.sessions)
        rejudge_all(self.reactor, (each for each in sessions if given(each.rules) is rules), rules)

    def record_in(self, access_log: IAccessLog | None) -> None:
        """Give records to another access log from now on; None: to none."""
        self.access_log = access_log
        self._watched()

    # What sessions tell

    def _watched(self) -> None:
        self.keeps_records = self.access_log is not None or self.sessions.is_watched

    def no_tls(self, transport: Any, error: Exception) -> None:
        """See :class:`socks5.server.shared.Shared`."""
        self.counters.turned_away["TLS"] += 1
        left_out = self.tls_lines.next()
        if left_out is not None:
            self.log.debug(
                "no TLS with {client}: {reason}{others}",
                client=far_end(transport),
                reason=reason_of(error),
                others=f"; {left_out} more had none without a line" if left_out else "",
            )

    def has_ended(self, session: IManagedSession) -> None:
        """See :class:`socks5.server.shared.Shared`."""
        if self.access_log is not None:
            try:
                self.access_log.write(session.info())
            except Exception:
                self.log.failure("session {session} has no record", session=session.number)
        if self.sessions.is_watched:
            self.sessions.closed(session)

    def gone(self, session: ServerProtocol) -> None:
        """See :class:`socks5.server.shared.Shared`."""
        self.sessions.remove(session)
        if session.admission is not None:
            session.admission.gone(session)
        self.deadlines.clear(session)
        self.counters.open_connections -= 1
        self.limit.leave()

    def drain(self, within: float) -> Deferred[int]:
        """Wait until the last client is gone: call it when nobody listens any more
        (:meth:`IOpenPort.finish <socks5.net.openers.IOpenPort.finish>`).

        :param within: seconds until the wait is over in any case.
        :returns: fires with how many are left. Cancelled, it fires at once.
        """
        return drained(self.reactor, lambda: self.limit.open, within)

    def close_sessions(self, reason: Reason, grace: float) -> Deferred[None]:
        """End every session: in order, and whatever is left after *grace* seconds with a reset.

        :returns: fires with None when all are gone.
        """
        return self.sessions.close(reason, grace)
