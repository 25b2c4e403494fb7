"""Sessions that log in by a security context: METHOD 1, GSSAPI (RFC 1961).

The context is the acceptor's business (:class:`~socks5.interfaces.IAcceptor`), the order of the messages the
negotiation's. A session here asks the one, tells the other, and puts a
:class:`~socks5.net.protected.ProtectedTransport` under itself once a level of protection is agreed. If that is
"none" it goes on as any other session.

A context that is not accepted is a failed login: it counts, waits and bans as a wrong password does. Sessions of a
factory without GSSAPI know nothing of all this and pay nothing for it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.interfaces import IContext, IProtection, Step
from socks5.net.protected import Envelope, ProtectedTransport
from socks5.protocol.errors import NoAcceptableProtection, RemoteProtocolError
from socks5.protocol.gssapi import ABORT, Protection, choose
from socks5.protocol.server_negotiation import ServerEvent
from socks5.protocol.stages import ProtectionReceived, TokenReceived
from socks5.relay.relay import Side
from socks5.server.admission import GuardedSession
from socks5.server.session import Server
from socks5.server.verdicts import as_user
from socks5.settings import ListenerPolicy


def _with_user(step: Step) -> Step:
    """A step of a context, whose user, if it has one, is a user.

    :raises socks5.server.verdicts.NotAUser: it has something else.
    """
    if step.user is not None:
        as_user(step.user)
    return step


class GSSAPISession(GuardedSession):
    """A session whose client may log in by a security context."""

    __slots__ = ("_context", "_protected")

    def __init__(self, factory: Server, number: int, policy: ListenerPolicy) -> None:
        super().__init__(factory, number, policy)
        self._context: IContext | None = None
        self._protected: ProtectedTransport | None = None

    @property
    @override
    def protection(self) -> IProtection | None:
        """See :class:`socks5.interfaces.ISession`."""
        return None if self._protected is None else self._protected.envelope

    # The control connection's events

    @override
    def dataReceived(self, data: bytes) -> None:
        if self._protected is None:
            super().dataReceived(data)
        else:
            self._protected.received(data)

    @override
    def readConnectionLost(self) -> None:
        if self._protected is None:
            super().readConnectionLost()
        else:
            self._protected.ended()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._protected is not None:
            try:
                reason = self._protected.lost(reason)  # which delivers what has come before
            except Exception:
                self.factory.log.failure("session {session} failed", session=self._number)
                reason = Failure(ConnectionLost())
            self._unprotect()
        self._context = None
        super().connectionLost(reason)

    # The negotiation

    @override
    def _handle(self, event: ServerEvent | None) -> None:
        super()._handle(event)
        if isinstance(event, TokenReceived):
            self._check_token(event)
        elif isinstance(event, ProtectionReceived):
            self._choose(event)

    def _check_token(self, event: TokenReceived) -> None:
        if not self._is_let_in():
            return
        self._ask()
        self._user = None  # whoever a certificate has named: the login counts
        if self._context is None:
            acceptor = self.factory.gssapi
            assert acceptor is not None  # else METHOD 1 were not accepted
            self._context = acceptor.accept(self.client_host)
        checking: Deferred[Any] = maybeDeferred(self._context.step, event.token)
        self._checking = checking
        checking.addCallback(_with_user).addCallbacks(self._stepped, self._refused)
        checking.addErrback(self.crashed)

    def _stepped(self, step: Step) -> None:
        if self._is_over:
            return
        if step.user is not None:
            self._negotiation.complete_context(step.token)
            self._accepted(step.user)
            return
        self._checking = None
        self._end_asking()
        self._handle(self._negotiation.continue_context(step.token))
        self._go_on()

    def _choose(self, event: ProtectionReceived) -> None:
        """Agree on a level, answer in the client's form, and have it from then on."""
        context: Any = self._context
        negotiation = self._negotiation
        try:
            required = event.token if event.is_bare else context.unwrap(event.token)[0]
            level = choose(required, context.protections())
        except (RemoteProtocolError, NoAcceptableProtection) as error:
            self._handle(negotiation.reject_protection(error))
            return
        answer = bytes((level,))
        if not event.is_bare:
            answer = context.wrap(answer, False)
        waiting = negotiation.accept_protection(answer)
        self._handle(None)
        self._context = None
        if level is not Protection.NONE:
            self._protect(Envelope(context, level))
        has_ended, self.has_client_ended = self.has_client_ended, False
        self.dataReceived(waiting)
        if has_ended:
            self.readConnectionLost()  # behind all of that, or within a token

    # The protection

    def _protect(self, envelope: Envelope) -> None:
        self.transport = self._protected = ProtectedTransport(
            self.transport,
            envelope,
            super().dataReceived,
            super().readConnectionLost,
            self._violated,
        )

    def _unprotect(self) -> None:
        """There is nothing more to protect, and no circle is left to the collector."""
        assert self._protected is not None
        self.transport = self._protected.below
        self._protected = None

    def _violated(self, error: RemoteProtocolError) -> None:
        """Something came that is no token of this context. A target must not take the end that comes of that for
        the client's.
        """
        self._unprotect()
        if self._is_over:
            self.drop()
            return
        self.transport.write(ABORT)
        receiver: Any = self.receiver
        if isinstance(receiver, Side):
            self.transport.unregisterProducer()
            self.receiver = None
            receiver.connectionLost(Failure(ConnectionLost()))
        if not self._is_over:  # as it is where both sides are lost now
            self._reject(error)
