"""One client connection: a protocol that drives the negotiation, owns the session and starts its
command.

An exception in one session is logged, answered with reply 1 and ends that session alone. What
sessions share is a :class:`Server`, which they know by that contract only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from OpenSSL.SSL import Error as TLSError
from twisted.cred.error import LoginFailed
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import BindError, ConnectError, ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.access import Access, IUser, SessionInfo, Verdict
from socks5.auth import LoginNotJudged, User, without_words
from socks5.auth.users import shown
from socks5.counters import Counters
from socks5.deadlines import Deadlines, IdleTimers
from socks5.interfaces import (
    IAcceptor,
    IAccessLog,
    IAuthenticator,
    IBans,
    ICommand,
    IDialer,
    IProtection,
    IResolver,
    IRules,
    ISession,
    IStream,
    IStreamReceiver,
)
from socks5.loglimit import Sparing
from socks5.net.certificate_files import reason_of
from socks5.net.connection import Connection, far_end, far_host, near_end
from socks5.net.crowds import Crowds
from socks5.net.names import without_false_name
from socks5.net.own import OwnListeners
from socks5.net.tcp_options import keep_transport_alive, prepare_transport
from socks5.net.tls import name_of
from socks5.outbound.failures import reply_for
from socks5.policy.bans import Asking
from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.errors import (
    AuthenticationFailed,
    CommandNotSupported,
    NotAllowed,
    NotSOCKS5,
    ProtocolError,
    SOCKSError,
)
from socks5.protocol.messages import Command, Credentials, Greeting, Method, ReplyCode, Request
from socks5.protocol.server_negotiation import (
    CommandRequested,
    CredentialsReceived,
    ServerEvent,
    ServerNegotiation,
)
from socks5.protocol.stages import Rejected, Stage
from socks5.relay.relay import Side
from socks5.relay.sockets import SocketSide
from socks5.relay.transports import TransportSide, can_half_close
from socks5.server.verdicts import as_user
from socks5.settings import Settings

EXPECTED_FAILURES = (
    SOCKSError,
    ConnectError,
    ConnectionClosed,
    BindError,
    CancelledError,
    OSError,
)
"""What dialling, listening and resolving may fail with; DNSLookupError is an OSError."""

COMMAND_NAMES = {
    Command.CONNECT: "connect",
    Command.BIND: "bind",
    Command.UDP_ASSOCIATE: "udp",
}
"""How the access log and the ``--commands`` option call them."""


class Server(Protocol):
    """What sessions share: see :class:`socks5.server.factory.ServerFactory`, which is it."""

    log: Logger
    reactor: Any
    settings: Settings
    authenticator: IAuthenticator
    gssapi: IAcceptor | None
    methods: Sequence[int]
    bans: IBans | None
    asking: Asking
    rules: IRules
    listeners: OwnListeners
    resolver: IResolver
    dialer: IDialer
    access_log: IAccessLog | None
    commands: Mapping[int, Callable[[ISession], ICommand]]
    worker: int | None
    counters: Counters
    tls_lines: Sparing
    crowds: Crowds
    handshakes: Deadlines
    stocked: Deadlines
    closing: Deadlines
    idle_timers: IdleTimers
    now: Callable[[], float]

    def gone(self, session: ServerProtocol) -> None:
        """*session* is over and its connection closed."""


def _established() -> ServerNegotiation:
    """A machine that has nothing more to do: one for all sessions that have come so far."""
    negotiation = ServerNegotiation()
    request = Request(Command.CONNECT, UNSPECIFIED)
    negotiation.receive(Greeting((Method.NO_AUTHENTICATION,)).encode() + request.encode())
    negotiation.reply(ReplyCode.SUCCEEDED)
    return negotiation


_ESTABLISHED = _established()


@implementer(IStreamReceiver)
class _Ignore:
    """Takes what a client still sends when its session is over."""

    def __init__(self, protocol: ServerProtocol) -> None:
        self._protocol = protocol

    def dataReceived(self, data: bytes) -> None:
        """Dropped."""

    def readConnectionLost(self) -> None:
        self._protocol.drop()

    def connectionLost(self, reason: Failure) -> None:
        """The close that was waited for."""


@implementer(IProtocol, ISession, IStream, IHalfCloseableProtocol, IHandshakeListener)
class ServerProtocol:
    """One client connection: negotiation, then one command, then a record in the access log.

    Built by :class:`~socks5.server.factory.ServerFactory`; the session (:class:`~socks5.interfaces.ISession`) and the
    control connection's stream (:class:`~socks5.interfaces.IStream`) at once, because they live
    exactly as long.
    """

    __slots__ = (
        "_began",
        "_checking",
        "_client",
        "_command",
        "_deadlines",
        "_is_connected",
        "_is_over",
        "_is_reading",
        "_name_sent",
        "_negotiation",
        "_number",
        "_record",
        "_user",
        "access",
        "client_host",
        "factory",
        "has_client_ended",
        "near",
        "receiver",
        "request",
        "server_host",
        "settings",
        "transport",
    )

    _takes_certificates = True
    """Whether a certificate is a login."""

    _access: type[Access] = Access
    """What the rules are told about the client in."""

    def __init__(self, factory: Server, number: int) -> None:
        self.factory = factory
        self.settings = factory.settings
        self.transport: Any = None
        self.request: Request = None  # type: ignore[assignment]
        self.access: Access = None  # type: ignore[assignment]
        self.receiver: IStreamReceiver | None = None
        self.client_host = self.server_host = self.near = "127.0.0.1"
        self._client = ""
        self._number = number
        self._negotiation = ServerNegotiation(factory.methods)
        self._command: ICommand | None = None
        self._deadlines = factory.handshakes  # which of them hold, until the request
        self._checking: Deferred[Any] | None = None
        self._user: IUser | None = None
        self._name_sent: bytes | None = None
        self._record: SessionInfo | None = None
        self._began = 0.0 if factory.access_log is None else factory.now()
        self._is_over = False
        self._is_connected = True
        self._is_reading = True
        self.has_client_ended = False

    @property
    def control(self) -> IStream:
        """See :class:`socks5.interfaces.ISession`."""
        return self

    @property
    def bound(self) -> Address:
        """See :class:`socks5.interfaces.IStream`."""
        return near_end(self.transport)

    @property
    def far(self) -> Address:
        """See :class:`socks5.interfaces.IStream`."""
        return far_end(self.transport)

    @property
    def protection(self) -> IProtection | None:
        """See :class:`socks5.interfaces.ISession`. There is none without GSSAPI."""
        return None

    @property
    def reactor(self) -> Any:
        """See :class:`socks5.interfaces.ISession`."""
        return self.factory.reactor

    @property
    def idle_timers(self) -> IdleTimers:
        """See :class:`socks5.interfaces.ISession`."""
        return self.factory.idle_timers

    @property
    def dialer(self) -> IDialer:
        """See :class:`socks5.interfaces.ISession`."""
        return self.factory.dialer

    @property
    def counters(self) -> Counters:
        """See :class:`socks5.interfaces.ISession`."""
        return self.factory.counters

    # The control connection's events

    def makeConnection(self, transport: Any) -> None:
        """The client is there."""
        self.transport = transport
        if not isinstance(transport, Connection):
            prepare_transport(transport)
            keep_transport_alive(transport, self.settings.keepalive)
        self._deadlines.set(self, self._too_slow)

    def connectionMade(self) -> None:
        """See :meth:`makeConnection`."""

    def handshakeCompleted(self) -> None:
        """TLS is up, and nothing has come over it yet. A certificate that names somebody stands in
        for a password.
        """
        name = name_of(self.transport)
        self._user = None if name is None else User(name)
        if self._user is not None and self._takes_certificates:
            others = self._negotiation.methods
            self._negotiation.methods = (Method.NO_AUTHENTICATION, *others)

    def dataReceived(self, data: bytes) -> None:
        """The client sent octets."""
        if self.receiver is not None:
            self.receiver.dataReceived(data)
            return
        try:
            self._negotiate(data)
        except Exception:
            self.crashed(Failure())

    def readConnectionLost(self) -> None:
        """The client sent its end."""
        if self.receiver is not None:
            self.receiver.readConnectionLost()
            return
        try:
            self._client_ended()
        except Exception:
            self.crashed(Failure())

    def writeConnectionLost(self) -> None:
        """Our own end was sent; nothing depends on it."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone. The factory is told so once the command is over, too."""
        self._is_connected = False
        was_over = self._is_over
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.connectionLost(reason)  # leads to end(), now or when the other side is gone
        else:
            is_orderly = isinstance(reason.value, ConnectionDone)
            if not is_orderly and isinstance(reason.value, TLSError):
                self._tls_failed(reason.value)
            self._over("client closed" if is_orderly else "reset by client")
        if was_over:
            self.factory.gone(self)

    def _tls_failed(self, error: TLSError) -> None:
        self.counters.turned_away["TLS"] += 1
        left_out = self.factory.tls_lines.next()
        if left_out is not None:
            self.factory.log.debug(
                "no TLS with {client}: {reason}{others}",
                client=far_end(self.transport),
                reason=reason_of(error),
                others=f"; {left_out} more had none without a line" if left_out else "",
            )

    def crashed(self, failure: Failure) -> None:
        """See :meth:`socks5.interfaces.ISession.crashed`."""
        self.factory.log.failure("session {session} failed", failure=failure, session=self._number)
        try:
            self._end_crashed("internal error")
        except Exception:  # what failed may fail again: a context that no longer wraps replies
            self.factory.log.failure("session {session} is aborted", session=self._number)
            try:
                self._over("internal error")
            finally:
                self.abort()

    def _end_crashed(self, reason: str) -> None:
        """With a reply, if one is awaited."""
        if self._negotiation.stage in (Stage.COMMAND, Stage.SECOND_REPLY):
            self._refuse(ReplyCode.GENERAL_FAILURE, reason)
        elif self._is_over:
            self.abort()
        else:
            self.end(reason)

    # The negotiation

    def _negotiate(self, data: bytes) -> None:
        negotiation = self._negotiation
        if negotiation.stage is Stage.GREETING:
            self._learn_addresses()
        self._handle(negotiation.receive(data))
        if negotiation.pending > self.settings.max_optimistic and not negotiation.is_gathering:
            self._is_reading = False
            self.transport.pauseProducing()

    def _learn_addresses(self) -> None:
        """Who talks to whom. Asked with the first octets, for a PROXY header comes before them."""
        transport: Any = self.transport
        client = far_host(transport)
        if client:
            self._client = self.client_host = client
            near: str = near_end(transport).text
            self.server_host = self.near = near
            if near.startswith("fe80:"):
                self.near = transport.getHost().host
        if self.factory.access_log is not None:
            peer = str(far_end(transport))
            self._record = SessionInfo(self._number, peer, worker=self.factory.worker)

    def _handle(self, event: ServerEvent | None) -> None:
        output = self._negotiation.take_output()
        if output:
            self.transport.write(output)
        if event is None:
            if self._negotiation.stage is Stage.REQUEST:
                self._await_request()
        elif isinstance(event, CommandRequested):
            if self.factory.crowds.may_ask(self._client, self):
                self._serve(event.request)
            else:
                self._await_turn(event.request)
        elif isinstance(event, CredentialsReceived):
            if self._is_login(event.credentials):
                self._check(event)
            else:
                self._handle(self._negotiation.accept_credentials())
        elif isinstance(event, Rejected):
            self._reject(event.error)

    def _await_request(self) -> None:
        """The client may ask now, and take its time: some keep such connections in stock. Said again with each
        octet of a request, which gives no more time.
        """
        stocked = self.factory.stocked
        if self._deadlines is not stocked:
            self._deadlines.clear(self)
            self._deadlines = stocked
            stocked.set(self, self._asks_nothing)

    def _asks_nothing(self) -> None:
        self.end("no request in time")

    def _is_login(self, credentials: Credentials) -> bool:
        """Whether these are for a check. Where none are required, a name without a password is not: some clients
        offer this method without being told to, and send the name that the system has for their user.
        """
        is_optional = Method.NO_AUTHENTICATION in self._negotiation.methods
        return bool(credentials.password) or not is_optional

    def _check(self, event: CredentialsReceived) -> None:
        self._user = None  # whoever a certificate has named: the login counts
        self._name_sent = event.credentials.username
        authenticate = self.factory.authenticator.authenticate
        self._checking = checking = maybeDeferred(authenticate, event.credentials, self.client_host)
        checking.addCallback(as_user).addCallbacks(self._accepted, self._refused)
        checking.addErrback(self.crashed)

    def _accepted(self, user: IUser) -> None:
        self._checking = None
        if self._is_over:
            return
        self._user = user
        self._handle(self._negotiation.accept_credentials())
        self._go_on()

    def _go_on(self) -> None:
        """Something was answered that octets may have waited for."""
        if self.receiver is not None:
            return
        negotiation = self._negotiation
        if negotiation.is_gathering or negotiation.pending <= self.settings.max_optimistic:
            self._resume()
        if self.has_client_ended:
            self._client_ended()

    def _refused(self, failure: Failure) -> None:
        if self._is_over:
            return
        if not failure.check(LoginFailed):
            self.factory.log.failure("checking a login failed", failure=without_words(failure))
        self.counters.refused_logins += 1
        if failure.check(LoginNotJudged):
            self.counters.unjudged_logins += 1
        self._turn_down(failure)

    def _turn_down(self, failure: Failure) -> None:
        """Tell the client that its login is not accepted."""
        is_judged = failure.check(LoginFailed) and not failure.check(LoginNotJudged)
        reason = "" if is_judged else "nobody could judge the login"
        self._handle(self._negotiation.reject_credentials(reason))

    def _reject(self, error: SOCKSError) -> None:
        if isinstance(error, ProtocolError):
            self.counters.violations += 1
        if isinstance(error, NotSOCKS5):
            self.counters.turned_away[f"no SOCKS5: {error.kind}"] += 1
            self._record = None  # it was no session
        code = getattr(error, "reply", None)
        if code is not None:
            self._note_reply(code, UNSPECIFIED)
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, AuthenticationFailed) and self._name_sent is not None:
            reason += f"; name sent: {shown(self._name_sent)}"
        self._linger(reason)

    def _too_slow(self) -> None:
        self.end("handshake timed out")

    def _client_ended(self) -> None:
        """The client sent its end while the negotiation, or a command that has not replied, was
        under way: it has left, unless octets of it wait for the verdict, for its turn or for the target.
        """
        self.has_client_ended = True
        if self._command is not None:
            goes_on = self._command.client_ended()
        else:
            waits = self._checking is not None or self.request is not None
            goes_on = waits and self.pending_octets > 0
        if not goes_on:
            self.end("client closed")

    def _resume(self) -> None:
        """Read on, where too many octets had stopped that."""
        if not self._is_reading:
            self._is_reading = True
            self.transport.resumeProducing()

    # The command

    def _await_turn(self, request: Request) -> None:
        """Other requests of the client's address are served before this one."""
        self._deadlines.clear(self)  # it is not the client who lets us wait
        self.request = request

    def begin_command(self) -> None:
        """See :class:`socks5.net.crowds.Asker`."""
        try:
            self._serve(self.request)
            self._go_on()
        except Exception:
            self.crashed(Failure())

    def _serve(self, request: Request) -> None:
        factory = self.factory
        self._deadlines.clear(self)
        factory.crowds.end(self)
        factory.counters.requests[request.command] += 1
        self.request = request
        target = without_false_name(request.address)
        self.access = self._access(
            self._client, self.server_host, self._user, request.command, target, factory.listeners
        )
        if self._record is not None:
            self._note_request(self._record, request)
        serve = factory.commands.get(request.command)
        if serve is None or request.command not in self.settings.commands:
            self.fail(Failure(CommandNotSupported("this command is not served")))
        else:
            verdict = self.judge(None)
            if isinstance(verdict, Deferred):
                self._checking = verdict
                verdict.addCallback(self._judged, serve).addErrback(self.crashed)
            else:
                self._judged(verdict, serve)

    def _judged(self, verdict: Verdict, serve: Callable[[ISession], ICommand]) -> None:
        self._checking = None
        if self._is_over:
            return
        if verdict.is_allowed is not True:
            self.fail(Failure(NotAllowed("the rules forbid it")))
        else:
            self._command = serve(self)
            self._command.start()

    def judge(self, address: str | None, target: Address | None = None) -> Any:
        """See :meth:`socks5.interfaces.ISession.judge`."""
        access = self.access if target is None else self.access._replace(target=target)
        return self.factory.rules.judge(access, address)

    def reply(self, code: int, address: Address = UNSPECIFIED) -> None:
        """See :meth:`socks5.interfaces.ISession.reply`."""
        self._negotiation.reply(code, address)
        self._note_reply(code, address)
        self.transport.write(self._negotiation.take_output())

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
        if not self._is_over:
            self.reply(code)
            self._linger(reason)

    def take_optimistic(self) -> bytes:
        """See :meth:`socks5.interfaces.ISession.take_optimistic`."""
        if not self._is_reading:
            self.reactor.callLater(0, self._read_on)
        negotiation, self._negotiation = self._negotiation, _ESTABLISHED
        return negotiation.take_trailing()

    def _read_on(self) -> None:
        """Octets may come again: they have a receiver now. A relay of sockets reads by itself."""
        receiver: Any = self.receiver
        if isinstance(receiver, TransportSide) and receiver.is_paused:
            self._is_reading = True  # the relay resumes it, once its far side has sent enough
        elif not isinstance(receiver, SocketSide):
            self._resume()

    @property
    def pending_octets(self) -> int:
        """See :class:`socks5.interfaces.ISession`."""
        return self._negotiation.pending

    # The end

    def end(self, reason: str, text: str = "") -> None:
        """See :meth:`socks5.interfaces.ISession.end`."""
        if self._is_over:
            return
        self._over(text or reason)
        if self._is_connected:
            self.receiver = self.receiver or _Ignore(self)
            self._lose()

    def close(self, reason: str) -> None:
        """End the session from outside, whatever it is doing: what is written is still sent, for as
        long as that takes; see :meth:`abort`.
        """
        self._over(reason, self.settings.close_timeout or 1.0)
        if not isinstance(self.receiver, Side):  # a relay closes by itself, behind its octets
            self.receiver = self.receiver or _Ignore(self)
            self.transport.loseConnection()

    def abort(self) -> None:
        """Give up the control connection without waiting for anything to be sent."""
        self.transport.abortConnection()

    def drop(self) -> None:
        """The client has closed, or has had its time, after a failure."""
        self._lose()

    def _lose(self) -> None:
        """Close in order; by force if that takes too long, for TLS waits for the client's part in
        it.
        """
        self.transport.loseConnection()
        if self._is_connected:
            self.factory.closing.set(self, self.abort)

    def _linger(self, reason: str) -> None:
        """End after a failure: send what is written and our end, then read and drop until the
        client closes.
        """
        self._over(reason)
        self.receiver = _Ignore(self)
        transport: Any = self.transport
        if self.has_client_ended or not can_half_close(transport):
            self._lose()
            return
        self._resume()
        transport.loseWriteConnection()
        self.factory.closing.set(self, self.drop)

    def _over(self, reason: str, within: float = 0.0) -> None:
        """The session's business is done: stop everything, write the record. Happens once."""
        if self._is_over:
            return
        self._is_over = True
        if self._command is None:  # its beginning was the negotiation's end
            self._deadlines.clear(self)
            self.factory.crowds.end(self)
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()
        command, self._command = self._command, None
        if command is not None:
            command.stop(reason, within)  # type: ignore[arg-type]
        if self._record is not None:
            self._write_record(self._record, command, reason)
        if not self._is_connected:
            self.factory.gone(self)

    # The record

    def _note_request(self, record: SessionInfo, request: Request) -> None:
        record.command = COMMAND_NAMES.get(request.command, str(request.command))  # type: ignore[call-overload]
        record.target = str(request.address)

    def _note_reply(self, code: int, address: Address) -> None:
        self.factory.counters.replies[code] += 1
        if self._record is not None:
            self._record.reply = code
            if code == ReplyCode.SUCCEEDED:
                self._record.bound = str(address)

    def _write_record(self, record: SessionInfo, command: ICommand | None, reason: str) -> None:
        log = self.factory.access_log
        if self._negotiation.stage is Stage.GREETING:
            return
        assert log is not None  # else there were no record
        if self._user is not None:
            record.user = self._user.name
        if command is not None:
            record.bytes_up, record.bytes_down, record.dropped = (
                command.bytes_up,
                command.bytes_down,
                command.dropped,
            )
            record.drops = command.drops
        record.seconds = self.factory.now() - self._began
        record.reason = reason
        log.write(record)
