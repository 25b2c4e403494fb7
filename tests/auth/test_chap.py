"""Responses to a challenge as credentials of twisted.cred."""

from pathlib import Path

import pytest
from twisted.cred.checkers import (
    FilePasswordDB,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import maybeDeferred
from zope.interface.verify import verifyObject

from socks5.auth.chap import Response
from socks5.logins import IFromClient
from socks5.protocol.chap import response_to
from socks5.protocol.chap_negotiation import ResponseReceived
from tests.support.deferreds import outcome_of

CHALLENGE, SECRET, CLIENT = b"0123456789abcdef", b"correct horse", "192.0.2.7"


def response(
    secret: bytes = SECRET, user: bytes = b"alice", theirs: bytes | None = None
) -> Response:
    """What a client that knows *secret* has said."""
    answer = response_to(CHALLENGE, secret)
    return Response(ResponseReceived(user, CHALLENGE, answer, theirs), CLIENT)


@pytest.mark.parametrize("theirs", [None, b"", b"prove it"])
def test_the_right_secret_proves_what_the_client_wants_to_be_proved(theirs: bytes | None) -> None:
    credentials = response(theirs=theirs)
    assert verifyObject(IUsernameHashedPassword, credentials)
    assert verifyObject(IFromClient, credentials)
    assert not IUsernamePassword.providedBy(credentials)
    assert (credentials.username, credentials.client) == (b"alice", CLIENT)
    assert SECRET.decode() not in f"{credentials!r} {credentials} {vars(credentials)}"
    assert credentials.checkPassword(SECRET)
    assert credentials.proof == (None if theirs is None else response_to(theirs, SECRET))


@pytest.mark.parametrize("answer", [b"", bytes(16), response_to(CHALLENGE, SECRET) + b"\0"])
def test_what_is_not_the_response_is_wrong_and_proves_nothing(answer: bytes) -> None:
    credentials = Response(ResponseReceived(b"alice", CHALLENGE, answer, b"prove it"), CLIENT)
    assert not credentials.checkPassword(SECRET)
    assert credentials.proof is None


def test_twisteds_own_checkers_serve(tmp_path: Path) -> None:
    in_memory = InMemoryUsernamePasswordDatabaseDontUse()
    in_memory.addUser(b"alice", SECRET)
    (tmp_path / "users").write_bytes(b"alice:" + SECRET + b"\n")
    for checker in (in_memory, FilePasswordDB(str(tmp_path / "users"))):
        for credentials in (response(b"wrong"), response(user=b"bob")):
            refusal = outcome_of(maybeDeferred(checker.requestAvatarId, credentials))
            assert refusal.check(UnauthorizedLogin)
        assert outcome_of(maybeDeferred(checker.requestAvatarId, response())) == b"alice"
