"""The life of one client connection, and its one end, whatever leads to it.

What a session's command may do to its client and may know of its server, and what may be asked and done from
outside. How it comes to its command is :mod:`socks5.server.handshake`'s. An exception in one session is logged,
answered with reply 1 and ends that session alone. What sessions share is :class:`~socks5.server.shared.Shared`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import BindError, ConnectError, ConnectionClosed, ConnectionDone
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.access import NOBODY, Access, IUser, Reason, SessionInfo, Verdict
from socks5.counters import Counters
from socks5.deadlines import IdleTimers
from socks5.interfaces import ICommand, IDialer, ILease, IManagedSession, IRules, ISession
from socks5.net.connection import far_end
from socks5.outbound.failures import reply_for
from socks5.protocol import ordinary
from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.errors import SOCKSError
from socks5.protocol.messages import Command, ReplyCode
from socks5.protocol.stages import Stage
from socks5.server.control import ControlConnection
from socks5.server.in_force import InForce
from socks5.server.limited import Entered
from socks5.server.shared import Shared
from socks5.settings import Settings

EXPECTED_FAILURES = (SOCKSError, ConnectError, ConnectionClosed, BindError, CancelledError, OSError)
"""What dialling, listening and resolving may fail with; DNSLookupError is an OSError."""


COMMAND_NAMES: Mapping[int, str] = {
    Command.CONNECT: "connect",
    Command.BIND: "bind",
    Command.UDP_ASSOCIATE: "udp",
}
"""How the access log and the ``--commands`` option call them."""

LAST_PATIENCE = 1.0
"""Seconds that a command has to be through when it was stopped by force, before its session ends without it."""


@implementer(ISession, IManagedSession)
class Session(ControlConnection):
    """The life of one client connection, and its one end.

    :param shared: what sessions share.
    :param number: ours in this process, from 1.
    :param policy: what holds for us; others may follow it for new sessions.
    """

    __slots__ = (
        "_began",
        "_bound",
        "_has_ended",
        "_is_closing",
        "_negotiation",
        "_peer",
        "_reason",
        "_reply",
        "_said",
        "access",
        "client",
        "client_host",
        "command",
        "entered",
        "near",
        "number",
        "policy",
        "rules",
        "server_host",
        "shared",
        "user",
    )

    def __init__(self, shared: Shared, number: int, policy: InForce) -> None:
        super().__init__(shared.deadlines)
        self.shared = shared
        self.number = number
        self.policy = policy
        self.rules: IRules = policy.rules
        self.access: Access = NOBODY
        """Who asks for what: nobody for nothing, before the request."""
        self.user: IUser | None = None
        self.client = ""
        """The client's IP literal; "" for a UNIX socket."""
        self.client_host = self.server_host = self.near = "127.0.0.1"
        self._negotiation = ordinary.begin(policy.subnegotiations)
        self.command: ICommand | None = None
        """What it does."""
        self._peer: Address | None = None  # if somebody is to be told, for the socket forgets it
        self._reply: int | None = None
        self._bound: Address | None = None
        self._said: dict[str | None, str] | None = None  # by what rule, of each address
        self._reason: str | None = None  # once it is over
        self._has_ended = False  # and everybody has been told
        self._is_closing = False  # in so many seconds
        self._began = shared.now()
        self.entered: Entered | None = None
        """What it has of limits; None: there are none, or it has not asked yet."""

    @abstractmethod
    def leave_handshake(self) -> None:
        """The session is over: whatever it was doing before its command, nobody waits for that."""

    @property
    @abstractmethod
    def is_stranger(self) -> bool:
        """Whether the client has not greeted, or speaks something else: that is no session to be told of."""

    @property
    @override
    def settings(self) -> Settings:
        """See :class:`socks5.interfaces.ISession`."""
        return self.policy.settings

    @property
    def dialer(self) -> IDialer:
        """See :class:`socks5.interfaces.ISession`."""
        return self.policy.dialer

    @property
    def meter(self) -> ILease | None:
        """See :class:`socks5.interfaces.ISession`."""
        return None if self.entered is None else self.entered.meter

    @property
    def reactor(self) -> Any:
        """See :class:`socks5.interfaces.ISession`."""
        return self.shared.reactor

    @property
    def idle_timers(self) -> IdleTimers:
        """See :class:`socks5.interfaces.ISession`."""
        return self.shared.idle_timers

    @property
    def counters(self) -> Counters:
        """See :class:`socks5.interfaces.ISession`."""
        return self.shared.counters

    @property
    def pending_octets(self) -> int:
        """See :class:`socks5.interfaces.ISession`."""
        return self._negotiation.pending

    @property
    def is_over(self) -> bool:
        """Whether the session has ended; its connection may still have to be closed."""
        return self._reason is not None

    # The control connection

    @override
    def lost(self, reason: Failure) -> None:
        is_orderly = isinstance(reason.value, ConnectionDone)
        if isinstance(reason.value, TLSError):
            self.shared.no_tls(self.transport, reason.value)
        self._over(Reason.CLIENT_CLOSED if is_orderly else Reason.CLIENT_RESET)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        has_ended = self._has_ended
        super().connectionLost(reason)
        if has_ended:
            self._gone()

    # What a command does to its client

    def judge(self, address: str | None, target: Address | None = None) -> Any:
        """See :meth:`socks5.interfaces.ISession.judge`."""
        if target is not None:
            return self.rules.judge(self.access._replace(target=target), address)
        verdict = self.rules.judge(self.access, address)
        if isinstance(verdict, Verdict):
            if verdict.rule or self._said is not None:
                self._note_rule(verdict, address)
            return verdict
        return cast("Deferred[Verdict]", verdict).addCallback(self._note_rule, address)

    def _note_rule(self, verdict: Verdict, address: str | None) -> Verdict:
        said = self._said = self._said or {}
        key = address if verdict.is_allowed else ""  # of refusals the last, however many peers come
        said.pop(key, None)
        said[key] = verdict.rule
        return verdict

    def reply(self, code: int, address: Address = UNSPECIFIED) -> None:
        """See :meth:`socks5.interfaces.ISession.reply`."""
        if self._negotiation is ordinary.ASKED and not code:
            output = ordinary.success(address)
            self._negotiation = ordinary.ESTABLISHED
        else:
            negotiation = self._negotiation = ordinary.own(self._negotiation)
            negotiation.reply(code, address)
            output = negotiation.take_output()
        self._note_reply(code, address)
        self.control.transport.write(output)

    def _note_reply(self, code: int, address: Address) -> None:
        self.shared.counters.replies[code] += 1
        self._reply = code
        if code == ReplyCode.SUCCEEDED:
            self._bound = address
            if self._said:  # while the socket still says whom it leads to
                self._said = {None: self._rule or ""}

    def take_optimistic(self) -> bytes:
        """See :meth:`socks5.interfaces.ISession.take_optimistic`."""
        if not self.is_reading:
            self.reactor.callLater(0, self.read_on)
        negotiation, self._negotiation = self._negotiation, ordinary.ESTABLISHED
        return negotiation.take_trailing()

    # Failures

    def fail(self, failure: Failure) -> None:
        """See :meth:`socks5.interfaces.ISession.fail`."""
        if not failure.check(*EXPECTED_FAILURES):
            self.crashed(failure)
            return
        reason = f"{type(failure.value).__name__}: {failure.getErrorMessage()}"
        try:
            self._refuse(reply_for(failure), reason)
        except Exception:  # here, for whoever calls is a timer or an errback
            self.crashed(Failure())

    def _refuse(self, code: int, reason: str) -> None:
        if not self.is_over:
            self.reply(code)
            self._linger(reason)

    def _linger(self, reason: str) -> None:
        """End after a failure: the client is to read what is written."""
        self._over(Reason.REFUSED, reason)
        self.linger()

    def crashed(self, failure: Failure) -> None:
        """See :meth:`socks5.interfaces.ISession.crashed`."""
        self._log(failure)
        try:
            self._end_crashed()
        except Exception:  # what failed may fail again: a context that no longer wraps replies
            self._over(Reason.CRASHED)
            self._give_up()

    def _log(self, failure: Failure) -> None:
        self.shared.log.failure("session {session} failed", failure=failure, session=self.number)

    def _end_crashed(self) -> None:
        """With a reply, if one is awaited."""
        if self._negotiation.stage in (Stage.COMMAND, Stage.SECOND_REPLY) and not self.is_over:
            self._refuse(ReplyCode.GENERAL_FAILURE, Reason.CRASHED)
        else:
            self._over(Reason.CRASHED)
            self.lose()

    # The end

    def end(self, reason: Reason, text: str = "") -> None:
        """See :meth:`socks5.interfaces.ISession.end`."""
        if self._reason is None:
            self._over(reason, text)
            if self.is_connected:
                self.lose()

    def close(self, reason: Reason = Reason.KICKED, within: float = 2.0) -> None:
        """See :meth:`socks5.interfaces.IManagedSession.close`."""
        if within <= 0:
            self._close_by_force(reason)
            return
        try:
            if self.is_over:
                self.lose()
            elif self.command is None:
                self.end(reason)
            else:
                self.command.stop(reason, within)
        finally:
            if self.is_connected or not self.is_over:
                self._is_closing = True
                force = self._close_by_force  # the key, too: no other time-out takes its place
                self._deadlines.set(force, within, partial(force, reason))

    def _close_by_force(self, reason: Reason) -> None:
        try:
            if self.command is None:
                self._over(reason)
            elif not self.is_over:
                self.command.stop(reason, 0)
        except Exception:
            self._log(Failure())
            self._over(Reason.CRASHED)
        if self.is_connected:
            self._give_up()
        if not self.is_over:
            self._deadlines.set(self, LAST_PATIENCE, partial(self.end, reason))

    def _give_up(self) -> None:
        try:
            self.abort()
        except Exception:
            self._log(Failure())

    def rejudge(self, rules: IRules) -> Deferred[bool]:
        """See :meth:`socks5.interfaces.IManagedSession.rejudge`."""
        self.rules = rules
        if self.is_over or self.command is None:
            return succeed(True)  # it is judged when it asks, or again when the verdict comes
        return Deferred.fromCoroutine(self._rejudge(rules))

    async def _rejudge(self, rules: IRules) -> bool:
        if await self._is_allowed() or self.is_over or self.rules is not rules:
            return True  # also if others judge it by now
        self.close(Reason.NOT_ALLOWED, self.settings.close_timeout or LAST_PATIENCE)
        return False

    async def _is_allowed(self) -> bool:
        verdict = self.judge(None)
        if not isinstance(verdict, Verdict):
            verdict = await verdict
        if not verdict.is_allowed:
            return False
        command = self.command  # the one of now
        stays = True if command is None else command.rejudge()
        return (stays if isinstance(stays, bool) else await stays) is True

    def _over(self, reason: Reason, text: str = "") -> None:
        """The session's business is done: stop everything, write the record. Happens once."""
        if self._reason is not None:
            return
        self._reason = text or reason
        try:
            if self.command is None:
                self.leave_handshake()
            else:
                self.command.stop(reason, 0)
        except Exception:  # it is over all the same
            self._log(Failure())
        if self.entered is not None:
            self._reason = self.entered.leave(self._reason)
        if self.shared.keeps_records and not self.is_stranger:
            self.shared.has_ended(self)
        self._has_ended = True  # the connection may have been lost meanwhile
        if not self.is_connected:
            self._gone()

    def _gone(self) -> None:
        """It is over, and its connection closed."""
        self.command = None
        if self._is_closing:
            self._deadlines.clear(self._close_by_force)
        self.shared.gone(self)

    def info(self) -> SessionInfo:
        """See :meth:`socks5.interfaces.IManagedSession.info`."""
        access, command = self.access, self.command
        has_asked = access is not NOBODY
        info = SessionInfo(
            self.number,
            str(self._far_end),
            user=None if self.user is None else self.user.name,
            command=COMMAND_NAMES.get(access.command, str(access.command)) if has_asked else None,
            target=str(access.target) if has_asked else None,
            bound=None if self._bound is None else str(self._bound),
            reply=self._reply,
            seconds=self.shared.now() - self._began,
            reason=self._reason or "",
            worker=self.shared.worker,
            rule=self._rule,
        )
        if command is not None:
            info.bytes_up, info.bytes_down = command.bytes_up, command.bytes_down
            info.dropped, info.drops = command.dropped, command.drops
        if self.entered is not None:
            info.slowed = self.entered.slowed
        return info

    @property
    def _far_end(self) -> Address | str:
        """The client's address and port, as far as they are known now."""
        if self._peer is not None:
            return self._peer
        if not self.is_connected or self.transport is None:
            return self.client
        try:
            return far_end(self.transport)
        except OSError:  # it was reset a moment ago
            return self.client

    @property
    def _rule(self) -> str | None:
        """What has decided: of the address that was reached, or else the last word."""
        said, command = self._said, self.command
        if not said:
            return None
        far = None if command is None else command.far
        if far is None:
            return list(said.values())[-1] or None
        return said.get(far.text) or said.get(None) or None
