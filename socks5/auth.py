"""Who somebody is: no authentication, or user name and password (RFC 1929) over
:mod:`twisted.cred`.

Any checker for :class:`~twisted.cred.credentials.IUsernamePassword` serves. User names and
passwords stay the octets that the client sent. No password leaves this module, in whatever form.

Floor 1½: imports floor 1 and :mod:`socks5.wire`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail, inlineCallbacks
from zope.interface import Interface, implementer

from socks5.interfaces import IAuthenticator, IUser
from socks5.wire import Credentials, Method


@implementer(IUser)
@dataclass(frozen=True, slots=True)
class User:
    """The avatar of :class:`Realm`: just a name, for rules and logs."""

    name: str


@implementer(IRealm)
class Realm:
    """Gives every checked user a :class:`User`."""

    def requestAvatar(
        self, avatarId: Any, mind: Any, *interfaces: type[Interface]
    ) -> tuple[Any, Any, Any]:
        """See :meth:`twisted.cred.portal.IRealm.requestAvatar`.

        :raises NotImplementedError: none of *interfaces* is :class:`~socks5.interfaces.IUser`.
        """
        if IUser not in interfaces:
            raise NotImplementedError("this realm has avatars for IUser only")
        name = (
            avatarId.decode("utf-8", "backslashreplace")
            if isinstance(avatarId, bytes)
            else str(avatarId)
        )
        return IUser, User(name), lambda: None


@implementer(ICredentialsChecker)
class AnyOf:
    """Accepts what one of several checkers accepts; asks them in order.

    A :class:`~twisted.cred.portal.Portal` keeps only the last checker of each credentials
    interface, so several are made one.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, checkers: Sequence[ICredentialsChecker]) -> None:
        self._checkers = tuple(checkers)

    @inlineCallbacks
    def requestAvatarId(self, credentials: IUsernamePassword) -> Any:
        """See :meth:`twisted.cred.checkers.ICredentialsChecker.requestAvatarId`."""
        for checker in self._checkers:
            try:
                return (yield checker.requestAvatarId(credentials))
            except LoginFailed:
                continue
        raise UnauthorizedLogin("no checker accepts this login")


@implementer(IAuthenticator)
class NoAuthentication:
    """Everybody may come in: METHOD 0."""

    methods = (Method.NO_AUTHENTICATION,)

    def authenticate(self, credentials: Credentials, client: str) -> Deferred[IUser]:
        """Nobody is asked for credentials, so none are right."""
        return fail(UnauthorizedLogin("no credentials were asked for"))


@implementer(IAuthenticator)
class PasswordAuthentication:
    """Only those with a right user name and password: METHOD 2, and no other.

    :param portal: its realm gives avatars for :class:`~socks5.interfaces.IUser`.
    """

    methods = (Method.USERNAME_PASSWORD,)

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    @classmethod
    def over(cls, *checkers: ICredentialsChecker) -> PasswordAuthentication:
        """The ordinary case: one or more checkers, avatars of :class:`Realm`."""
        return cls(Portal(Realm(), [AnyOf(checkers)]))

    def authenticate(self, credentials: Credentials, client: str) -> Deferred[IUser]:
        """See :meth:`socks5.interfaces.IAuthenticator.authenticate`."""
        login: Deferred[Any] = self._portal.login(
            UsernamePassword(credentials.username, credentials.password), None, IUser
        )
        return login.addCallback(lambda outcome: outcome[1])
