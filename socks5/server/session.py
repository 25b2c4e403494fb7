"""The life of one client connection, and its one end, whatever leads to it.

What a session's command may do to its client and may know of its server, and what may be asked and done from
outside. How it comes to its command is :mod:`socks5.server.handshake`'s. An exception in one session is logged,
answered with reply 1 and ends that session alone. What sessions share is :class:`~socks5.server.shared.Shared`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any

from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import CancelledError
from twisted.internet.error import BindError, ConnectError, ConnectionClosed, ConnectionDone
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.access import NOBODY, Reason, SessionInfo
from socks5.counters import Counters
from socks5.deadlines import IdleTimers
from socks5.interfaces import IManagedSession, IResolver, ISession
from socks5.limits import ILease
from socks5.net.addresses import text_of
from socks5.net.connection import far_text
from socks5.outbound.failures import reply_for
from socks5.protocol import ordinary
from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.errors import SOCKSError
from socks5.protocol.messages import ReplyCode
from socks5.protocol.server_negotiation import ServerNegotiation
from socks5.protocol.stages import Stage
from socks5.server.in_force import InForce
from socks5.server.judged import LAST_PATIENCE, JudgedConnection
from socks5.server.limited import meter_of, refused_by
from socks5.server.shared import Shared
from socks5.settings import COMMAND_NAMES

EXPECTED_FAILURES = (SOCKSError, ConnectError, ConnectionClosed, BindError, CancelledError, OSError)
"""What dialling, listening and resolving may fail with; DNSLookupError is an OSError."""


@implementer(ISession, IManagedSession)
class Session(JudgedConnection):
    """The life of one client connection, and its one end.

    :param shared: what sessions share.
    :param number: ours in this process, from 1.
    :param policy: what holds for us; others may follow it for new sessions.
    """

    __slots__ = (
        "_began",
        "_bound",
        "_closing",
        "_detail",
        "_has_ended",
        "_negotiation",
        "_peer",
        "_reason",
        "_reply",
        "client",
        "client_host",
        "method",
        "near",
        "number",
        "server_host",
    )

    def __init__(self, shared: Shared, number: int, policy: InForce) -> None:
        self.transport = self.receiver = self._inside = None
        self.has_client_ended = False
        self.is_connected = self._is_reading = True
        self._deadlines = shared.deadlines
        self.shared = shared
        self.policy = policy
        self.rules = policy.rules
        self.access = NOBODY
        self.command = self.user = self.entered = self._decisions = None
        self.number = number
        self.client = self._detail = ""
        self.client_host = self.server_host = self.near = "127.0.0.1"
        self._peer = self._reply = self._bound = self._reason = self._closing = None
        self._has_ended = False
        self._began = shared.now()
        self.method = "none"

    client: str
    """The client's IP literal; "" for a UNIX socket."""
    method: str
    """How the client has said who it is; see :class:`socks5.access.Access`."""
    _negotiation: ServerNegotiation
    _peer: str | None  # if somebody is to be told, for the socket forgets it
    _reply: int | None
    _bound: Address | tuple[Any, ...] | None  # of the latter kind as the socket module has it
    _reason: str | None  # once it is over
    _has_ended: bool  # and everybody has been told
    _closing: tuple[Reason, str] | None  # in so many seconds

    @abstractmethod
    def leave_handshake(self) -> None:
        """The session is over: whatever it was doing before its command, nobody waits for that."""

    @property
    @abstractmethod
    def is_stranger(self) -> bool:
        """Whether the client has not greeted, or speaks something else: that is no session to be told of."""

    @property
    def resolver(self) -> IResolver:
        """See :class:`socks5.interfaces.ISession`."""
        return self.shared.resolver

    @property
    def meter(self) -> ILease | None:
        """See :class:`socks5.interfaces.ISession`."""
        return meter_of(self.entered)

    @property
    def meter_of_datagrams(self) -> ILease | None:
        """See :class:`socks5.interfaces.ISession`."""
        return None if self.entered is None else self.under_rules().meter_of_datagrams

    def meter_of_rule(self, rule: str) -> ILease | None:
        """See :meth:`socks5.interfaces.ISession.meter_of_rule`."""
        return None if self.entered is None else self.under_rules().meter_of_rule(rule)

    @override
    def used_up(self) -> None:
        """See :attr:`socks5.limits.ILease.ended`."""
        self.close(Reason.LIMIT)

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
    @override
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

    def succeed(self, name: Any) -> None:
        """:meth:`reply` to an ordinary CONNECT, behind whose request there are no octets.

        :param name: what the target sees, as the socket module has it.
        """
        output = ordinary.success_from(name)
        self._negotiation = ordinary.ESTABLISHED
        self._note_reply(0, name)
        self.transport.write(output)

    def _note_reply(self, code: int, address: Any) -> None:
        self.shared.counters.answered[code] += 1
        self._reply = code
        if not code:
            self._bound = address
            if self._decisions is not None:  # while the socket still says whom it leads to
                decided = self._decisions.settle(self._far)
                if decided is not None:
                    self._is_allowed_by(decided)

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
        reason = refused_by(self.entered) or reason
        try:
            self._refuse(reply_for(failure), reason)
        except Exception:  # here, for whoever calls is a timer or an errback
            self.crashed(Failure())

    def _refuse(self, code: int, text: str, reason: Reason = Reason.REFUSED) -> None:
        if not self.is_over:
            self.reply(code)
            self._linger(text, reason)

    def _linger(self, text: str, reason: Reason = Reason.REFUSED) -> None:
        """End after a failure: the client is to read what is written."""
        self._over(reason, text)
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

    @property
    def _owes_reply(self) -> bool:
        return not self.is_over and self._negotiation.stage in (Stage.COMMAND, Stage.SECOND_REPLY)

    def _end_crashed(self) -> None:
        if self._owes_reply:
            self._refuse(ReplyCode.GENERAL_FAILURE, "", Reason.CRASHED)
        else:
            self._over(Reason.CRASHED)
            self.lose()

    @override
    def forbid(self, reason: Reason, within: float, text: str = "") -> None:
        if self._owes_reply:
            self._refuse(ReplyCode.NOT_ALLOWED, text, reason)
        else:
            self.close(reason, within, text)

    # The end

    def end(self, reason: Reason, text: str = "") -> None:
        """See :meth:`socks5.interfaces.ISession.end`."""
        if self._reason is None:
            self._over(reason, text)
            if self.is_connected:
                self.lose()

    @override
    def close(self, reason: Reason = Reason.KICKED, within: float = 2.0, text: str = "") -> None:
        """See :meth:`socks5.interfaces.IManagedSession.close`."""
        self._closing = (reason, text)
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

    def _over(self, reason: Reason, text: str = "") -> None:
        """The session's business is done: stop everything, write the record. Happens once."""
        if self._reason is not None:
            return
        self._reason = reason
        if not text and self._closing is not None and self._closing[0] is reason:
            text = self._closing[1]
        self._detail = text
        try:
            if self.command is None:
                self.leave_handshake()
            else:
                self.command.stop(reason, 0)
        except Exception:  # it is over all the same
            self._log(Failure())
        if self.entered is not None:
            self.entered.leave()
            if reason == Reason.LIMIT:
                self._detail = self.entered.why or text
        if self.shared.keeps_records and not self.is_stranger:
            self.shared.has_ended(self)
        self._has_ended = True  # the connection may have been lost meanwhile
        if not self.is_connected:
            self._gone()

    def _gone(self) -> None:
        """It is over, and its connection closed."""
        self.command = None
        if self._closing is not None:
            self._deadlines.clear(self._close_by_force)
        self.shared.gone(self)

    def info(self) -> SessionInfo:
        """See :meth:`socks5.interfaces.IManagedSession.info`."""
        access, command, end = self.access, self.command, self._bound
        bound = None if end is None else text_of(end) if type(end) is tuple else str(end)
        asked = target = None
        if access is not NOBODY:
            asked = COMMAND_NAMES.get(access.command) or str(access.command)
            target = str(access.target)
        up = down = dropped = 0
        drops: Mapping[str, int] = {}
        if command is not None:
            up, down = command.bytes_up, command.bytes_down
            dropped, drops = command.dropped, command.drops
        info = SessionInfo(  # by position: by name takes twice as long
            self.number,
            self._peer or self._far_text(),
            None if self.user is None else self.user.name,
            asked,
            target,
            bound,
            self._reply,
            up,
            down,
            self.shared.now() - self._began,
            self._reason or "",
            dropped,
            drops,
            self.shared.worker,
        )
        info.detail = self._detail
        if self._decisions is not None:
            self._decisions.tell(info, self._far)
            info.upstream = getattr(command, "upstream", "") or None
        if dropped:
            info.denied = getattr(command, "denied", info.denied)
        if self.entered is not None:
            info.slowed = self.entered.slowed
        return info

    def _far_text(self) -> str:
        """The client's address and port, as far as they are known now."""
        if not self.is_connected or self.transport is None:
            return self.client
        try:
            return far_text(self.transport)
        except OSError:  # it was reset a moment ago
            return self.client
