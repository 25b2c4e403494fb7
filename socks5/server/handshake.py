"""One client connection from its first octet to its command: greeting, login, request.

A session is put together from what it needs: a negotiation, which knows the order of the messages; an
:class:`~socks5.server.admission.Admission`, where clients and logins are looked at; a
:class:`~socks5.server.login_stage.LoginStage`, if the method has a login; an :class:`~socks5.interfaces.ICommand`. Here
events are handed from one to the other.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.access import NOBODY, Access, ClaimedAccess, Reason, Verdict
from socks5.auth import User
from socks5.deadlines import Line
from socks5.interfaces import IRules
from socks5.logins import IMethod, IProtection
from socks5.names import without_false_name
from socks5.net.connection import far_text, hosts
from socks5.net.tls import name_of
from socks5.outbound.judging import refusal
from socks5.protocol import ordinary
from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.errors import (
    CommandNotSupported,
    NotSOCKS5,
    ProtocolError,
    SOCKSError,
)
from socks5.protocol.messages import Command, Method, ReplyCode
from socks5.protocol.server_negotiation import CommandRequested
from socks5.protocol.stages import Rejected, Stage
from socks5.protocol.subnegotiation import Methods
from socks5.server.admission import Admission
from socks5.server.connect import Connect
from socks5.server.ends import ClientEnd
from socks5.server.in_force import InForce
from socks5.server.limited import enter
from socks5.server.login_stage import LoginStage
from socks5.server.session import Session
from socks5.server.shared import Shared

_CONNECT = Command.CONNECT


@implementer(IHandshakeListener)
class ServerProtocol(Session):
    """A session, built by :class:`~socks5.server.factory.ServerFactory`.

    :param shared: see :class:`~socks5.server.session.Session`.
    :param number: likewise.
    :param policy: likewise.
    :param admission: looks at who comes and who logs in; None: nobody does.
    """

    __slots__ = ("_judging", "_line", "_login", "_may_ask", "_speaks_something_else", "admission")

    def __init__(
        self, shared: Shared, number: int, policy: InForce, admission: Admission | None = None
    ) -> None:
        Session.__init__(self, shared, number, policy)  # super() takes as long as ten attributes
        self.admission = admission
        methods = policy.subnegotiations if admission is None else admission.methods(policy)
        self._negotiation = ordinary.begin(methods)
        self._login = self._judging = None
        self._line = policy.handshakes
        self._may_ask = self._speaks_something_else = False

    _login: LoginStage | None
    _judging: Deferred[Verdict] | None
    _line: Line  # in which it waits for the client, if it does

    # The control connection's events

    @override
    def makeConnection(self, transport: Any) -> None:
        Session.makeConnection(self, transport)
        self._line.set(self)
        if self.admission is not None:
            self.admission.meet(self)

    def handshakeCompleted(self) -> None:
        """TLS is up, and nothing has come over it yet. A certificate that names somebody stands in
        for a password.
        """
        name = name_of(self.transport)
        if name is None:
            return
        self.user, self.method = User(name), "certificate"
        if self.admission is None or self.admission.takes_certificates:
            others = self._negotiation.methods
            self._negotiation = ordinary.begin({Method.NO_AUTHENTICATION: None, **others})

    @override
    def received(self, data: bytes) -> None:
        negotiation = self._negotiation
        try:
            if negotiation is ordinary.GREETED and (target := ordinary.target_in(data)) is not None:
                self._negotiation = ordinary.ASKED
                self._requested(_CONNECT, target)
            elif negotiation is ordinary.UNBEGUN and ordinary.is_greeting(data):
                self._is_greeted()
            else:
                self._negotiate(data)
        except Exception:
            self.crashed(Failure())

    @override
    def ended(self) -> None:
        """The client has left, unless octets of it wait for a verdict, for its turn or for the target."""
        self.has_client_ended = True
        try:
            if self.command is not None:
                goes_on = self.command.client_ended()
            else:
                is_checked = self._login is not None and self._login.is_awaited
                waits = is_checked or self.access is not NOBODY
                goes_on = waits and self.pending_octets > 0
            if not goes_on:
                self.end(Reason.CLIENT_CLOSED)
        except Exception:
            self.crashed(Failure())

    @override
    def violated(self, reason: Failure) -> None:
        if self.is_over:
            self.lose()
        else:
            self._reject(reason.value)

    # The negotiation: straight on, as far as it is the ordinary one, or step by step

    def _is_greeted(self) -> None:
        """By a whole message of :mod:`socks5.protocol.ordinary`."""
        if self._meets_client():
            self._negotiation = ordinary.GREETED
            if self.shared.sessions.is_watched:
                self.shared.sessions.opened(self)
            if self._reason is None:
                self.transport.write(ordinary.SELECTED)
                self._await_request()

    def _negotiate(self, data: bytes) -> None:
        negotiation = self._negotiation = ordinary.own(self._negotiation)
        is_first = negotiation.stage is Stage.GREETING
        event = self._greet(data) if is_first else negotiation.receive(data)
        if is_first and self.is_over:  # it was not let in, or closed by somebody who watches
            return
        self._handle(event)
        most = self.policy.settings.max_optimistic
        if negotiation.pending > most and not negotiation.is_gathering:
            self.stop_reading()

    def _meets_client(self) -> bool:
        """The first octets are there. Who talks to whom is asked now, for a PROXY header comes before them.

        :returns: whether the client may come in.
        """
        if self.admission is not None and not self.admission.lets_in(self):
            return False
        transport = self.transport
        client, near = hosts(transport)
        if client:
            self.client = self.client_host = client
            self.server_host = self.near = near
            if ":" in near and near.startswith("fe80:"):
                self.near = transport.getHost().host
        if self.shared.keeps_records:
            self._peer = far_text(transport)
        return True

    def _greet(self, data: bytes) -> object | None:
        """Take the first octets."""
        if not self._meets_client():
            return None
        event = self._negotiation.receive(data)
        if isinstance(event, Rejected) and isinstance(event.error, NotSOCKS5):
            self._speaks_something_else = True
            self.counters.turned_away[f"no SOCKS5: {event.error.kind}"] += 1
        elif self._negotiation.stage is not Stage.GREETING and self.shared.sessions.is_watched:
            self.shared.sessions.opened(self)
        return event

    def _handle(self, event: object | None) -> None:
        output = self._negotiation.take_output()
        if output:
            self.control.transport.write(output)
        if event is None:
            if self._negotiation.stage is Stage.REQUEST:
                self._await_request()
        elif isinstance(event, CommandRequested):
            self._requested(event.request.command, event.request.address)
        elif isinstance(event, Rejected):
            self._reject(event.error)
        else:
            self._log_in(event)

    def _reject(self, error: Any) -> None:
        """The negotiation has failed."""
        if isinstance(error, ProtocolError):
            self.counters.violations += 1
        if getattr(error, "reply", None) is not None:
            self._note_reply(error.reply, UNSPECIFIED)
        reason = f"{type(error).__name__}: {error}"
        if self._login is not None:
            reason += self._login.who
        self._linger(reason)

    def too_slow(self) -> None:
        """It may not ask in time."""
        if self._login is not None:
            self._login.too_slow()
        self.end(Reason.NO_HANDSHAKE)

    def _await_request(self) -> None:
        """The client may ask now, and take its time: some keep such connections in stock. Said again with each
        octet of a request, which gives no more time.
        """
        if not self._may_ask:
            self._may_ask = True
            self._line.clear(self)
            line = self._line = self.policy.requests
            line.set(self)

    def asks_nothing(self) -> None:
        """It may, and does not."""
        self.end(Reason.NO_REQUEST)

    # The login

    def _log_in(self, event: object) -> None:
        if self._login is None:
            method = self.policy.methods[cast("int", self._negotiation.method)]
            self._login = LoginStage(self, cast("IMethod", method))
        self._login.take(event)

    @property
    def methods(self) -> Methods:
        """Those that the client may use."""
        return self._negotiation.methods

    @property
    def subnegotiation(self) -> Any:
        """See :class:`socks5.logins.ILoginSession`."""
        return self._negotiation.subnegotiation

    def answered(self) -> None:
        """The sub-negotiation has something to send, or can go on."""
        self._handle(self._negotiation.receive(b""))
        self._go_on()

    def logged_in(self, protection: IProtection | None) -> None:
        """The sub-negotiation has ended well: the client may ask, within *protection* if there is one."""
        self._login = None
        waiting = self._negotiation.logged_in()
        self._handle(None)
        if protection is not None:
            if isinstance(self.transport, ClientEnd):
                self.transport.hand_over()
            self.protect(protection)
        elif not waiting:
            self._negotiation = ordinary.GREETED  # as whoever is not asked who he is
        has_ended, self.has_client_ended = self.has_client_ended, False
        if waiting:
            self.dataReceived(waiting)
        if has_ended:
            self.readConnectionLost()  # behind all of that, or within a token
        self._go_on()

    def turned_down(self, error: SOCKSError) -> None:
        """The sub-negotiation has ended badly."""
        self._handle(self._negotiation.reject(error))

    def _go_on(self) -> None:
        """Something was answered that octets, or the client's end, may have waited for."""
        negotiation = self._negotiation
        if self.control.receiver is not None:
            return
        if negotiation.is_gathering or negotiation.pending <= self.settings.max_optimistic:
            self.resume()
        if self.has_client_ended:
            self.ended()

    # The request

    def _requested(self, command: int, address: Address) -> None:
        """Serve the request, unless others of the client's address are to be served before."""
        shared, admission, client = self.shared, self.admission, self.client
        kind: type[Access] = Access
        listener = ""
        if admission is not None:
            listener = admission.listener
            if admission.is_claimed(self):
                kind = ClaimedAccess
        target, server, user = without_false_name(address), self.server_host, self.user
        how = self.method
        asked = (client, server, user, command, target, shared.listeners, listener, how, "", False)
        self.access = tuple.__new__(kind, asked)  # what kind(*asked) does in its end
        self._line.clear(self)  # it is not the client who lets us wait
        if shared.crowds.may_ask(client, self):
            self._serve()

    def begin_command(self) -> None:
        """See :class:`socks5.net.crowds.Asker`."""
        try:
            self._serve()
            self._go_on()
        except Exception:
            self.crashed(Failure())

    def _serve(self) -> None:
        command, shared = self.access.command, self.shared
        shared.crowds.end(self)
        shared.counters.asked[command] += 1
        if command not in shared.commands or command not in self.policy.settings.commands:
            self.fail(Failure(CommandNotSupported("this command is not served")))
            return
        verdict = self.judge(None)
        if isinstance(verdict, Verdict):
            self._judged(verdict)
        else:
            self._await_verdict(verdict)

    def _await_verdict(self, verdict: Deferred[Verdict]) -> None:
        self._judging = verdict
        verdict.addCallback(self._judged_later, self.rules).addErrback(self.crashed)

    def _judged_later(self, verdict: Verdict, rules: IRules) -> None:
        self._judging = None
        if self.is_over:
            return
        last = verdict if self.rules is rules else self.judge(None)
        if isinstance(last, Verdict):
            self._judged(last)
            self._go_on()
        else:
            self._await_verdict(last)

    def _judged(self, verdict: Verdict) -> None:
        if not verdict.is_allowed:
            self.fail(Failure(refusal(verdict, "the rules forbid it")))
            return
        limits = self.shared.in_force.limits  # of now, as the rules are
        if limits is not None and (why := enter(self, limits, verdict)):
            self._refuse(ReplyCode.NOT_ALLOWED, why)
            return
        make: Any = self.shared.commands[self.access.command]
        end = self.transport
        if isinstance(end, ClientEnd):
            # Whose negotiation is not an ordinary one may have sent something behind the request.
            if make is Connect and self._negotiation is ordinary.ASKED and end.connect_for(self):
                return
            end.hand_over()
        self.command = make(self)
        self.command.start()

    # The end

    @override
    def crashed(self, failure: Failure) -> None:
        if self._login is not None:
            self._login.forgive()
        super().crashed(failure)

    @property
    @override
    def is_stranger(self) -> bool:
        return self._speaks_something_else or self._negotiation.stage is Stage.GREETING

    @override
    def leave_handshake(self) -> None:
        self._line.clear(self)
        self.shared.crowds.end(self)
        login, self._login = self._login, None
        if login is not None:
            login.over()
        judging, self._judging = self._judging, None
        if judging is not None:
            judging.cancel()
