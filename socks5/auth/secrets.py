"""Secrets in plain text, which client and proxy share: for CHAP, and for passwords too.

A hash will not do for CHAP: whoever checks a response must know the secret itself. So the file is its owner's alone.
"""

from __future__ import annotations

import hmac
from typing import Any

from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from typing_extensions import override

from socks5.auth import Known, client_of
from socks5.auth.files import Plainly
from socks5.auth.users import Entry, Users, keyed, parse_plain


class SharedSecret:
    """A secret that is kept as it is. Only :mod:`socks5.auth` sees it."""

    cost = "shared"

    def __init__(self, secret: bytes) -> None:
        self.secret = secret

    def fits(self, password: bytes) -> bool:
        """See :class:`~socks5.auth.users.Secret`."""
        return hmac.compare_digest(keyed(self.secret), keyed(password))


def parse_shared(rest: bytes) -> Entry:
    """What stands behind the name in a file of secrets: the secret in UTF-8, colons included.

    :raises ValueError: that is empty, no UTF-8, or a hash, which would be the secret then.
    """
    parse_plain(rest)
    try:
        rest.decode()
    except UnicodeDecodeError:
        raise ValueError("expected a secret in UTF-8") from None
    return Entry(SharedSecret(rest))


class Secrets(Plainly):
    """Checks passwords, and responses to a challenge, by a file of secrets."""

    credentialInterfaces = (IUsernamePassword, IUsernameHashedPassword)

    @override
    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See :meth:`twisted.cred.checkers.ICredentialsChecker.requestAvatarId`."""
        if IUsernamePassword.providedBy(credentials):
            return super().requestAvatarId(credentials)
        users = self.file.current()
        if users is None:
            return self._work.run(client_of(credentials), self._judge_later, credentials)
        return maybeDeferred(_judge, users, credentials)

    def _judge_later(self, credentials: Any) -> Known:
        return _judge(self.file.users(), credentials)


def _judge(users: Users, credentials: Any) -> Known:
    """Let a user in whose response is right.

    :raises twisted.cred.error.UnauthorizedLogin: it is not, or there is no such user, for which it takes as long.
    """
    known = users.known_by(
        credentials.username, lambda secret: credentials.checkPassword(secret.secret)
    )
    if known is None:
        raise UnauthorizedLogin("wrong user name or response")
    return known
