"""Who somebody is: no authentication, or user name and password (RFC 1929) over
:mod:`twisted.cred`.

Any checker for :class:`~twisted.cred.credentials.IUsernamePassword` serves. User names and
passwords stay the octets that the client sent. No password leaves this folder, in whatever form.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import CancelledError, Deferred, fail, inlineCallbacks
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

from socks5.access import IUser
from socks5.logins import IAuthenticator, IFromClient, IMemory
from socks5.loglimit import Sparing
from socks5.protocol.messages import Credentials, Method

_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


@implementer(IFromClient)
class Login(UsernamePassword):
    """A user name and password, octets, and where they come from.

    :param client: the client's IP literal.
    """

    def __init__(self, username: bytes, password: bytes, client: str) -> None:
        super().__init__(username, password)
        self.client = client


def client_of(credentials: Any) -> str:
    """The IP literal of whoever has sent credentials; "" if they do not know it."""
    return credentials.client if IFromClient.providedBy(credentials) else ""


class LoginNotJudged(LoginFailed):
    """Nobody could say whether a login is right: too many wait, or who should know does not answer.

    The login is refused like a wrong one, but it says nothing about who tried.

    :param was_refused: some other source of users could, and did not know it: a guess all the same.
    """

    def __init__(self, *arguments: object, was_refused: bool = False) -> None:
        super().__init__(*arguments)
        self.was_refused = was_refused


class CheckFailed(Exception):
    """A checker broke. What it said is left out, for it may hold the password."""


def without_words(failure: Failure) -> Failure:
    """Where a checker broke and by what kind of error, for the log.

    :param failure: of the checker.
    """
    kind = failure.type.__name__ if failure.type else "?"
    error = CheckFailed(f"{kind}; its message is left out, for it may hold a password")
    return Failure(error, CheckFailed, failure.getTracebackObject())


class Known(bytes):
    """The avatar ID of a checker that knows more of a user than the name, which it is.

    :param name: the user's name, octets.
    :param groups: see :class:`~socks5.access.IUser`.
    :param settings: likewise.
    """

    groups: frozenset[str]
    settings: Mapping[str, str]

    def __new__(
        cls,
        name: bytes,
        groups: frozenset[str] = frozenset(),
        settings: Mapping[str, str] = _NO_SETTINGS,
    ) -> Self:
        """The name, with what else is known."""
        known = super().__new__(cls, name)
        known.groups = groups
        known.settings = settings
        return known


@implementer(IUser)
@dataclass(frozen=True, slots=True)
class User:
    """The avatar of :class:`Realm`, for rules and logs; see :class:`~socks5.access.IUser`."""

    name: str
    groups: frozenset[str] = frozenset()
    settings: Mapping[str, str] = field(default_factory=lambda: _NO_SETTINGS, hash=False)


@implementer(IRealm)
class Realm:
    """Gives every checked user a :class:`User`, with groups and settings if the avatar ID is
    :class:`Known`.
    """

    def requestAvatar(
        self, avatarId: Any, mind: Any, *interfaces: type[Interface]
    ) -> tuple[Any, Any, Any]:
        """See :meth:`twisted.cred.portal.IRealm.requestAvatar`.

        :raises NotImplementedError: none of *interfaces* is :class:`~socks5.access.IUser`.
        :raises twisted.cred.error.UnauthorizedLogin: the avatar ID is none, or Twisted's for anonymous ones.
        """
        if IUser not in interfaces:
            raise NotImplementedError("this realm has avatars for IUser only")
        if avatarId is None or avatarId == ():
            raise UnauthorizedLogin("the checker names nobody")
        name = (
            avatarId.decode("utf-8", "backslashreplace")
            if isinstance(avatarId, bytes)
            else str(avatarId)
        )
        if isinstance(avatarId, Known):
            return IUser, User(name, avatarId.groups, avatarId.settings), lambda: None
        return IUser, User(name), lambda: None


@implementer(ICredentialsChecker)
class AnyOf:
    """Accepts what one of several checkers accepts; asks them in order, but first those that remember the login:
    nobody waits for one checker's work who is known to another.

    A :class:`~twisted.cred.portal.Portal` keeps only the last checker of each credentials
    interface, so several are made one, which asks those that know what to do with the credentials. One that fails
    otherwise than by a refusal lets nobody in and does not hide those behind it.
    """

    log = Logger()

    def __init__(self, checkers: Sequence[ICredentialsChecker]) -> None:
        self._checkers = tuple(checkers)
        kinds = dict.fromkeys(kind for each in checkers for kind in each.credentialInterfaces)
        self.credentialInterfaces = tuple(kinds) or (IUsernamePassword,)
        self._lines = Sparing()

    @inlineCallbacks
    def requestAvatarId(self, credentials: Any) -> Any:
        """See :meth:`twisted.cred.checkers.ICredentialsChecker.requestAvatarId`.

        :raises LoginNotJudged: no checker accepts the login, and one of them could not judge it.
        """
        checkers = [each for each in self._checkers if _serves(each, credentials)]
        memories: list[Any] = [each for each in checkers if IMemory.providedBy(each)]
        for memory in memories:
            if (known := memory.recall(credentials)) is not None:
                return known
        is_judged, was_refused = True, False
        for checker in checkers:
            try:
                return (yield checker.requestAvatarId(credentials))
            except CancelledError:
                raise
            except LoginNotJudged:
                is_judged = False
            except LoginFailed:
                was_refused = True
            except (GeneratorExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                is_judged = False
                self._say(checker, error)
        if not is_judged:
            raise LoginNotJudged("a checker could not judge this login", was_refused=was_refused)
        raise UnauthorizedLogin("no checker accepts this login")

    def _say(self, checker: ICredentialsChecker, error: BaseException) -> None:
        """Log the place and the kind of a bug, but not at every login. Not its text, which may hold the
        password.
        """
        left_out = self._lines.next()
        if left_out is None:
            return
        self.log.error(
            "{checker} failed with {kind}; its message is left out, for it may hold a password{others}\n{place}",
            others=f"; {left_out} more failed without a line" if left_out else "",
            checker=type(checker).__name__,
            kind=type(error).__name__,
            place="".join(traceback.format_tb(error.__traceback__)),
        )


def _serves(checker: ICredentialsChecker, credentials: object) -> bool:
    """Whether credentials are of a kind that a checker takes."""
    return any(kind.providedBy(credentials) for kind in checker.credentialInterfaces)


@implementer(IAuthenticator)
class NoAuthentication:
    """Everybody may come in: METHOD 0."""

    methods = (Method.NO_AUTHENTICATION,)

    def authenticate(self, credentials: Credentials, client: str) -> Deferred[IUser]:
        """Nobody is asked for credentials, so none are right."""
        return fail(UnauthorizedLogin("no credentials were asked for"))

    def renew(self, user: IUser) -> IUser | None:
        """Nobody has logged in."""
        return None


@implementer(IAuthenticator)
class PasswordAuthentication:
    """Only those with a right user name and password: METHOD 2, and no other.

    :param portal: its realm gives avatars for :class:`~socks5.access.IUser`.
    """

    methods = (Method.USERNAME_PASSWORD,)

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._checkers: Sequence[ICredentialsChecker] | None = None

    @classmethod
    def over(cls, *checkers: ICredentialsChecker) -> PasswordAuthentication:
        """The ordinary case: one or more checkers, avatars of :class:`Realm`."""
        made = cls(Portal(Realm(), [AnyOf(checkers)]))
        made._checkers = checkers
        return made

    def renew(self, user: IUser) -> IUser | None:
        """See :meth:`socks5.logins.IAuthenticator.renew`. Files can tell; whoever else may know a user cannot."""
        others = self._checkers is None
        for checker in self._checkers or ():
            file: Any = getattr(checker, "file", None)
            if file is None:
                others = True
            elif (known := file.known(user.name)) is not None:
                avatar: IUser = Realm().requestAvatar(known, None, IUser)[1]
                return avatar
        return user if others else None

    def authenticate(self, credentials: Credentials, client: str) -> Deferred[IUser]:
        """See :meth:`socks5.logins.IAuthenticator.authenticate`."""
        sent = Login(credentials.username, credentials.password, client)
        login: Deferred[Any] = self._portal.login(sent, None, IUser)
        return login.addCallback(lambda outcome: outcome[1])
