"""Logging in by user name and password: METHOD 2 (RFC 1929)."""

from __future__ import annotations

from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from socks5.access import IUser
from socks5.logins import IAuthenticator, ILogin, ILoginSession, IMethod
from socks5.protocol.messages import Method
from socks5.protocol.password_negotiation import CredentialsReceived, PasswordSubnegotiation
from socks5.protocol.subnegotiation import Subnegotiation


@implementer(IMethod)
class Password:
    """The method.

    :param authenticator: judges credentials.
    """

    number = Method.USERNAME_PASSWORD

    def __init__(self, authenticator: IAuthenticator) -> None:
        self._authenticator = authenticator

    def negotiate(self) -> Subnegotiation:
        """See :meth:`socks5.logins.IMethod.negotiate`."""
        return PasswordSubnegotiation()

    def login(self, session: ILoginSession) -> ILogin:
        """See :meth:`socks5.logins.IMethod.login`."""
        return _PasswordLogin(self._authenticator, session)


@implementer(ILogin)
class _PasswordLogin:
    """One session's."""

    __slots__ = ("_authenticator", "_checking", "_session")

    refusal = "user name or password not accepted"

    def __init__(self, authenticator: IAuthenticator, session: ILoginSession) -> None:
        self._authenticator = authenticator
        self._session = session
        self._checking: Deferred[IUser] | None = None

    def take(self, event: CredentialsReceived) -> None:
        """Where no login is required, a name without a password is none: some clients offer this method without
        being told to, and send the name that the system has for their user.
        """
        session, credentials = self._session, event.credentials
        if session.is_optional and not credentials.password:
            session.needs_no_login()
            return
        session.name_sent = credentials.username
        authenticate = self._authenticator.authenticate
        self._checking = checking = maybeDeferred(authenticate, credentials, session.client_host)
        checking.addCallbacks(session.logged_in, session.turned_down)
        checking.addErrback(session.crashed)

    def cancel(self) -> None:
        """See :meth:`socks5.logins.ILogin.cancel`."""
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()
