"""What becomes of logins when a policy is replaced: whether somebody is still a user, and whether who has not asked for
anything yet may still come in the way that he has.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from socks5.access import DENIED, Access, IUser, Verdict
from socks5.interfaces import IRules
from socks5.logins import IAuthenticator
from socks5.server.admission import Admission
from socks5.server.shared import Shared
from socks5.settings import METHOD_NAMES

_CERTIFICATE = "certificate"

_BY_PASSWORD = ("password", "chap")
"""How the users of an authenticator log in, and those of the same sources."""


class LoggedIn(Protocol):
    """A session, as far as it is looked at here."""

    admission: Admission | None
    method: str
    shared: Shared


def renewed(session: LoggedIn, user: IUser | None) -> IUser | None:
    """A user as the source of now has it; the same where there is none to be asked.

    :returns: None: it does not know that user any more.
    """
    if user is None or session.method not in _BY_PASSWORD:
        return user
    authenticator: IAuthenticator | None = session.shared.in_force.authenticator
    if authenticator is None:
        return None
    renew: Any = getattr(authenticator, "renew", None)  # programs' may be older than that
    return user if renew is None else renew(user)


def is_accepted(session: LoggedIn) -> bool:
    """Whether clients may come in now at the session's listener by the method that it came in by."""
    admission = session.admission
    if session.method == _CERTIFICATE:
        return admission is None or admission.takes_certificates
    in_force = session.shared.in_force
    methods = in_force.subnegotiations if admission is None else admission.methods(in_force)
    number = METHOD_NAMES.get(session.method)
    return (int(session.method) if number is None else number) in methods


@implementer(IRules)
class Reconsidering:
    """Rules for a session that has asked for nothing yet when they came: what it has said of itself, it has said to
    others.

    :param given: the rules.
    :param session: whose.
    """

    def __init__(self, given: IRules, session: LoggedIn) -> None:
        self.given = given
        self._session = session

    def judge(self, access: Access, address: str | None) -> Verdict | Deferred[Verdict]:
        """See :meth:`socks5.interfaces.IRules.judge`."""
        user = renewed(self._session, access.user)
        if not is_accepted(self._session) or (user is None and access.user is not None):
            return DENIED
        if user is not access.user:
            access = access._replace(user=user)
        return self.given.judge(access, address)  # type: ignore[return-value]
