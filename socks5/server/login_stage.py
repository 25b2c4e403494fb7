"""What a session and the login of its client have to do with each other, whatever the method.

A method judges what the client sends; here that is counted, delayed and refused to those who are banned, and the
answer is given. The client is still read while a verdict or the answer waits, so its leaving ends the wait, and the
handshake's deadline goes on. A client that leaves before the verdict has cost its check all the same, and counts as one
that failed a little; but not one for whom the proxy was too slow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.access import IUser
from socks5.auth import LoginNotJudged, without_words
from socks5.auth.users import shown
from socks5.logins import ILogin, ILoginSession, IMethod, IProtection
from socks5.protocol.errors import AuthenticationFailed, SOCKSError
from socks5.protocol.messages import Method
from socks5.protocol.subnegotiation import Methods
from socks5.server.admission import Admission, Client
from socks5.server.shared import Shared
from socks5.server.verdicts import NotAUser, as_user
from socks5.settings import METHOD_NAMES, Settings

_METHODS: Mapping[int, str] = {number: name for name, number in METHOD_NAMES.items()}


class LoggingIn(Client, Protocol):
    """A session, as far as its login knows it."""

    admission: Admission | None
    client_host: str
    method: str
    shared: Shared
    user: IUser | None

    @property
    def methods(self) -> Methods:
        """Those that the client may use."""

    @property
    def settings(self) -> Settings:
        """See :class:`socks5.interfaces.ISession`."""

    @property
    def subnegotiation(self) -> Any:
        """See :class:`socks5.logins.ILoginSession`."""

    def crashed(self, failure: Failure) -> None:
        """See :meth:`socks5.interfaces.ISession.crashed`."""

    def answered(self) -> None:
        """The sub-negotiation has something to send, or can go on."""

    def logged_in(self, protection: IProtection | None) -> None:
        """It has ended well."""

    def turned_down(self, error: SOCKSError) -> None:
        """It has ended badly."""


@implementer(ILoginSession)
class LoginStage:
    """The login of one session, from the method's first event to its answer.

    :param session: whose.
    :param method: that was chosen.
    """

    __slots__ = ("_answer", "_asked_at", "_login", "_number", "_session", "name_sent")

    def __init__(self, session: LoggingIn, method: IMethod) -> None:
        self._session = session
        self._number = method.number
        self._asked_at: float | None = None  # since when a verdict is awaited
        self._answer: Deferred[Any] | None = None  # a negative one that waits
        self.name_sent: bytes | None = None
        """See :class:`socks5.logins.ILoginSession`."""
        # None once it is over: there is no circle then.
        self._login: ILogin | None = method.login(self)

    # What the method asks

    @property
    def reactor(self) -> Any:
        """See :class:`socks5.logins.ILoginSession`."""
        return self._session.shared.reactor

    @property
    def client_host(self) -> str:
        """See :class:`socks5.logins.ILoginSession`."""
        return self._session.client_host

    @property
    def subnegotiation(self) -> Any:
        """See :class:`socks5.logins.ILoginSession`."""
        return self._session.subnegotiation

    @property
    def is_optional(self) -> bool:
        """See :class:`socks5.logins.ILoginSession`."""
        return Method.NO_AUTHENTICATION in self._session.methods

    # Events

    def take(self, event: object) -> None:
        """Judge what the client has sent, unless it may not come in any more."""
        session, login = self._session, self._login
        assert login is not None  # else the sub-negotiation were over
        if session.admission is not None:
            if not session.admission.lets_in(session):
                return
            session.admission.asks(session, self.banned)
        self._asked_at = session.shared.now()
        login.take(event)

    @property
    def is_awaited(self) -> bool:
        """Whether a verdict, or its answer, is awaited: what the client has sent behind may still be of use."""
        return self._asked_at is not None or self._answer is not None

    def banned(self) -> None:
        """What counts as one with our client is banned. If ours is, too - it may be exempt -, what is checked for it
        need not be.
        """
        if self._login is not None and self._is_banned:
            self._login.cancel()

    def too_slow(self) -> None:
        """The handshake's time is over. That says nothing about the client if a login has waited for its verdict for
        at least half of that; but one that sends its login at the last moment is not to have a check for nothing.
        """
        session = self._session
        if self._asked_at is not None:
            waited = session.shared.now() - self._asked_at
            if waited >= session.settings.handshake_timeout / 2:
                self._end_asking()

    def forgive(self) -> None:
        """It is a bug of ours that ends the session, which says nothing about the client."""
        self._end_asking()

    def over(self) -> None:
        """The session is over: nobody waits for a verdict or an answer any more."""
        session, login = self._session, self._login
        self._login = None
        if self._end_asking() and session.admission is not None:  # there was no verdict yet
            session.admission.failed(session, is_judged=False)
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.cancel()
        if login is not None:
            login.cancel()

    @property
    def _is_banned(self) -> bool:
        session = self._session
        return session.admission is not None and session.admission.is_banned(session)

    def _end_asking(self) -> bool:
        """No verdict is awaited any more.

        :returns: whether one was.
        """
        asked_at, self._asked_at = self._asked_at, None
        if asked_at is None:
            return False
        if self._session.admission is not None:
            self._session.admission.has_asked(self._session, self.banned)
        return True

    # What the method says

    def answered(self) -> None:
        """See :meth:`socks5.logins.ILoginSession.answered`."""
        if self._login is not None:
            self._end_asking()
            self._session.answered()

    def recognized(self, user: IUser) -> None:
        """See :meth:`socks5.logins.ILoginSession.recognized`."""
        if self._login is not None:
            self._session.user = user

    def logged_in(self, user: IUser, protection: IProtection | None = None) -> None:
        """See :meth:`socks5.logins.ILoginSession.logged_in`."""
        session = self._session
        if self._login is None:
            return
        try:
            session_user = as_user(user)
        except NotAUser:
            self.turned_down(Failure())
            return
        if self._is_banned:
            self.turned_down(Failure(UnauthorizedLogin("banned while the login was checked")))
            return
        if session.admission is not None:
            session.admission.succeeded(session)
        session.user, session.method = session_user, _METHODS.get(self._number, str(self._number))
        self._let_in(protection)

    def needs_no_login(self) -> None:
        """See :meth:`socks5.logins.ILoginSession.needs_no_login`."""
        if not self.is_optional:
            raise LookupError("nobody comes in here without a login")
        self._let_in(None)

    def _let_in(self, protection: IProtection | None) -> None:
        self._end_asking()
        self._login = None
        self.subnegotiation.accept()
        self._session.logged_in(protection)

    def crashed(self, failure: Failure) -> None:
        """See :meth:`socks5.logins.ILoginSession.crashed`."""
        self._session.crashed(failure)

    def turned_down(self, failure: Failure) -> None:
        """See :meth:`socks5.logins.ILoginSession.turned_down`."""
        session = self._session
        if self._login is None:
            return
        if isinstance(failure.value, SOCKSError):
            self._end_asking()
            self._say_no(failure.value)
            return
        session.user = None  # whoever a certificate has named: the login counts
        if failure.check(CancelledError) and self._is_banned:
            failure = Failure(UnauthorizedLogin("banned before the login was checked"))
        if not failure.check(LoginFailed):
            session.shared.log.failure("checking a login failed", failure=without_words(failure))
        session.counters.refused_logins += 1
        if failure.check(LoginNotJudged):
            session.counters.unjudged_logins += 1
        self._answer_no(failure, self._login.refusal)

    def _answer_no(self, failure: Failure, refusal: str) -> None:
        """Say so, after a while if that is an answer to a guess."""
        delay = self._count(failure)
        is_judged = failure.check(LoginFailed) and not failure.check(LoginNotJudged)
        words = refusal if is_judged else "nobody could judge the login"
        failure.cleanFailure()  # its frames hold the password
        error = AuthenticationFailed(words)
        if delay <= 0:
            self._say_no(error)
            return
        waiting: Deferred[Any]
        self._answer = waiting = deferLater(self.reactor, delay)
        waiting.addCallbacks(lambda _: self._say_no(error), lambda _: None)  # the client has left
        waiting.addErrback(self._session.crashed)

    def _count(self, failure: Failure) -> float:
        """Seconds that the answer is to wait. A checker that broke says nothing about the client."""
        self._end_asking()
        session = self._session
        if session.admission is None or not failure.check(LoginFailed):
            return 0.0
        if isinstance(failure.value, LoginNotJudged):
            if not failure.value.was_refused:
                return 0.0
            return session.admission.failed(session, is_judged=False)
        return session.admission.failed(session)

    def _say_no(self, error: SOCKSError) -> None:
        self._answer = self._login = None
        self.subnegotiation.reject()
        self._session.turned_down(error)

    @property
    def who(self) -> str:
        """For the record of a login that was not accepted: whom the client claimed to be."""
        return "" if self.name_sent is None else f"; name sent: {shown(self.name_sent)}"
