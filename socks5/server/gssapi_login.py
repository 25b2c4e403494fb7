"""Logging in by a security context: METHOD 1, GSSAPI (RFC 1961).

The context is the acceptor's business (:class:`~socks5.logins.IAcceptor`), the order of the messages the
sub-negotiation's. A login here asks the one, tells the other, and puts the session's octets into an
:class:`~socks5.net.protected.Envelope` once a level of protection is agreed, unless that is "none".
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.access import IUser
from socks5.logins import IAcceptor, IContext, ILogin, ILoginSession, IMethod, IProtection, Step
from socks5.net.protected import Envelope
from socks5.protocol.errors import NoAcceptableProtection, RemoteProtocolError
from socks5.protocol.gssapi import Protection, choose
from socks5.protocol.gssapi_negotiation import GSSAPISubnegotiation
from socks5.protocol.messages import Method
from socks5.protocol.stages import ProtectionReceived, TokenReceived
from socks5.protocol.subnegotiation import Subnegotiation
from socks5.server.verdicts import as_user


@implementer(IMethod)
class GSSAPI:
    """The method.

    :param acceptor: accepts security contexts.
    """

    number = Method.GSSAPI

    def __init__(self, acceptor: IAcceptor) -> None:
        self._acceptor = acceptor

    def negotiate(self) -> Subnegotiation:
        """See :meth:`socks5.logins.IMethod.negotiate`."""
        return GSSAPISubnegotiation()

    def login(self, session: ILoginSession) -> ILogin:
        """See :meth:`socks5.logins.IMethod.login`."""
        return _GSSAPILogin(session, self._acceptor.accept(session.client_host))


def _with_user(step: Step) -> Step:
    """A step of a context, whose user, if it has one, is a user.

    :raises socks5.server.verdicts.NotAUser: it has something else.
    """
    if step.user is not None:
        as_user(step.user)
    return step


@implementer(ILogin)
class _GSSAPILogin:
    """One session's."""

    __slots__ = ("_checking", "_context", "_session", "_user")

    refusal = "security context not accepted"

    def __init__(self, session: ILoginSession, context: IContext) -> None:
        self._session = session
        self._context = context
        self._checking: Deferred[Step] | None = None
        self._user: IUser | None = None

    def take(self, event: TokenReceived | ProtectionReceived) -> None:
        """See :meth:`socks5.logins.ILogin.take`."""
        if isinstance(event, ProtectionReceived):
            self._choose(event)
            return
        self._checking = checking = maybeDeferred(self._context.step, event.token)
        checking.addCallback(_with_user)
        checking.addCallbacks(self._stepped, self._session.turned_down)
        checking.addErrback(self._session.crashed)

    def _stepped(self, step: Step) -> None:
        self._user = step.user
        within: GSSAPISubnegotiation = self._session.subnegotiation
        if step.user is None:
            within.continue_context(step.token)
        else:
            within.complete_context(step.token)
            self._session.recognized(step.user)
        self._session.answered()

    def _choose(self, event: ProtectionReceived) -> None:
        """Agree on a level, answer in the client's form, and have it from then on."""
        context, session, user = self._context, self._session, self._user
        assert user is not None  # else the context were not complete
        try:
            required = event.token if event.is_bare else context.unwrap(event.token)[0]
            level = choose(required, context.protections())
        except (RemoteProtocolError, NoAcceptableProtection):
            session.turned_down(Failure())
            return
        answer = bytes((level,))
        session.subnegotiation.agree(answer if event.is_bare else context.wrap(answer, False))
        session.logged_in(user, self._protection(level))

    def _protection(self, level: Protection) -> IProtection | None:
        return None if level is Protection.NONE else Envelope(self._context, level)

    def cancel(self) -> None:
        """See :meth:`socks5.logins.ILogin.cancel`."""
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()
