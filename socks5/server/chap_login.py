"""Logging in by a challenge: METHOD 3, CHAP (draft-ietf-aft-socks-chap-01). The secret never travels; what does is of
no use a second time.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernameHashedPassword
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from socks5.access import IUser
from socks5.auth import AnyOf, Realm
from socks5.auth.chap import Response
from socks5.logins import ILogin, ILoginSession, IMethod
from socks5.protocol.chap_negotiation import CHAPSubnegotiation, ResponseReceived
from socks5.protocol.messages import Method
from socks5.protocol.subnegotiation import Subnegotiation

CHALLENGE_SIZE = 32
"""Octets, of which the draft wants 16 at the least."""


@implementer(IMethod)
class CHAP:
    """The method.

    :param portal: its realm gives avatars for :class:`~socks5.access.IUser`; its checker takes
        :class:`~twisted.cred.credentials.IUsernameHashedPassword`, so it has the secrets themselves.
    :raises ValueError: there is no such checker.
    """

    number = Method.CHAP

    def __init__(self, portal: Portal) -> None:
        if IUsernameHashedPassword not in portal.listCredentialsInterfaces():
            raise ValueError("no checker of this portal takes IUsernameHashedPassword")
        self._portal = portal

    @classmethod
    def over(cls, *checkers: ICredentialsChecker) -> CHAP:
        """The ordinary case: one or more checkers, avatars of :class:`~socks5.auth.Realm`."""
        return cls(Portal(Realm(), [AnyOf(checkers)]))

    def negotiate(self) -> Subnegotiation:
        """See :meth:`socks5.logins.IMethod.negotiate`."""
        return CHAPSubnegotiation(os.urandom(CHALLENGE_SIZE))

    def login(self, session: ILoginSession) -> ILogin:
        """See :meth:`socks5.logins.IMethod.login`."""
        return _CHAPLogin(self._portal, session)


@implementer(ILogin)
class _CHAPLogin:
    """One session's."""

    __slots__ = ("_checking", "_portal", "_session")

    refusal = "user name or response not accepted"

    def __init__(self, portal: Portal, session: ILoginSession) -> None:
        self._portal = portal
        self._session = session
        self._checking: Deferred[Any] | None = None

    def take(self, event: ResponseReceived) -> None:
        """See :meth:`socks5.logins.ILogin.take`."""
        session = self._session
        session.name_sent = event.user
        response = Response(event, session.client_host)
        self._checking = checking = maybeDeferred(self._portal.login, response, None, IUser)
        checking.addCallbacks(self._accepted, session.turned_down, callbackArgs=(response,))
        checking.addErrback(session.crashed)

    def _accepted(self, outcome: tuple[object, IUser, object], response: Response) -> None:
        if response.proof is not None:
            self._session.subnegotiation.prove(response.proof)
        self._session.logged_in(outcome[1])

    def cancel(self) -> None:
        """See :meth:`socks5.logins.ILogin.cancel`."""
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()
