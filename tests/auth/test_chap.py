"""Responses to a challenge as credentials of twisted.cred."""

from pathlib import Path

import pytest
from twisted.cred.checkers import (
    FilePasswordDB,
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface.verify import verifyObject

from socks5.auth.chap import Response
from socks5.logins import IFromClient
from socks5.protocol.chap import response_to
from socks5.protocol.chap_negotiation import ResponseReceived

CHALLENGE, SECRET, CLIENT = b"0123456789abcdef", b"correct horse", "192.0.2.7"


def response(
    secret: bytes = SECRET, user: bytes = b"alice", theirs: bytes | None = None
) -> Response:
    """What a client that knows *secret* has said."""
    answer = response_to(CHALLENGE, secret)
    return Response(ResponseReceived(user, CHALLENGE, answer, theirs), CLIENT)


def test_it_is_what_a_checker_with_plain_secrets_takes() -> None:
    credentials = response()
    assert verifyObject(IUsernameHashedPassword, credentials)
    assert verifyObject(IFromClient, credentials)
    assert not IUsernamePassword.providedBy(credentials)
    assert (credentials.username, credentials.client) == (b"alice", CLIENT)
    assert SECRET.decode() not in f"{credentials!r} {credentials} {vars(credentials)}"


@pytest.mark.parametrize("theirs", [None, b"", b"prove it"])
def test_the_right_secret_proves_what_the_client_wants_to_be_proved(theirs: bytes | None) -> None:
    credentials = response(theirs=theirs)
    assert credentials.checkPassword(SECRET)
    assert credentials.proof == (None if theirs is None else response_to(theirs, SECRET))


@pytest.mark.parametrize("answer", [b"", bytes(16), response_to(CHALLENGE, SECRET) + b"\0"])
def test_what_is_not_the_response_is_wrong_and_proves_nothing(answer: bytes) -> None:
    credentials = Response(ResponseReceived(b"alice", CHALLENGE, answer, b"prove it"), CLIENT)
    assert not credentials.checkPassword(SECRET)
    assert credentials.proof is None


@pytest.mark.parametrize("kind", ["in memory", "in a file"])
def test_twisteds_own_checkers_serve(kind: str, tmp_path: Path) -> None:
    checker: ICredentialsChecker
    if kind == "in memory":
        checker = InMemoryUsernamePasswordDatabaseDontUse(alice=SECRET)
        checker.addUser(b"alice", SECRET)
    else:
        (tmp_path / "users").write_bytes(b"alice:" + SECRET + b"\n")
        checker = FilePasswordDB(str(tmp_path / "users"))

    def judged(credentials: Response) -> list[object]:
        outcome: list[object] = []
        checking: Deferred[object] = maybeDeferred(checker.requestAvatarId, credentials)
        checking.addErrback(lambda failure: failure.trap(UnauthorizedLogin))
        checking.addCallback(outcome.append)
        return outcome

    assert judged(response()) == [b"alice"]
    assert judged(response(b"wrong")) == judged(response(user=b"bob")) == [UnauthorizedLogin]
