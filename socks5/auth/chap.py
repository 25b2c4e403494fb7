"""A response to a challenge as credentials for :mod:`twisted.cred`: any checker serves that has plain secrets."""

from __future__ import annotations

import hmac

from twisted.cred.credentials import IUsernameHashedPassword
from zope.interface import implementer

from socks5.logins import IFromClient
from socks5.protocol.chap import response_to
from socks5.protocol.chap_negotiation import ResponseReceived


@implementer(IUsernameHashedPassword, IFromClient)
class Response:
    """Says whether a secret is the one that somebody has answered our challenge with.

    :param received: what the client said.
    :param client: its IP literal.
    """

    def __init__(self, received: ResponseReceived, client: str) -> None:
        self.username = received.user
        self.client = client
        self.proof: bytes | None = None
        """Our own response, once the right secret has been seen, if the client has challenged us."""
        self._received = received

    def checkPassword(self, password: bytes) -> bool:
        """See :meth:`twisted.cred.credentials.IUsernameHashedPassword.checkPassword`. Takes as long for a wrong one."""
        received = self._received
        expected = response_to(received.challenge, password)
        is_right = hmac.compare_digest(expected, received.response)
        if is_right and received.their_challenge is not None:
            self.proof = response_to(received.their_challenge, password)
        return is_right
