"""The error tree: who is whose child, which REP octet is which error, what an error carries."""

from typing import Any

import pytest

from socks5.protocol import errors
from socks5.protocol.messages import Method

REPLIES = [
    *(errors.GeneralFailure, errors.NotAllowed, errors.NetworkUnreachable, errors.HostUnreachable),
    *(errors.ConnectionRefused, errors.TTLExpired, errors.CommandNotSupported),
    errors.AddressTypeNotSupported,
]
"""In the order of their codes, from 1 (RFC 1928 section 6)."""


@pytest.mark.parametrize(("code", "kind"), [*enumerate(REPLIES, 1)])
def test_each_assigned_code_has_its_error(code: int, kind: type[errors.ReplyError]) -> None:
    """By code or by class, the same error with the same code."""
    assert kind.__bases__ == (errors.ReplyError,)
    by_code = errors.ReplyError.for_code(code, "what failed")
    assert type(by_code) is kind
    assert (by_code.code, str(by_code)) == (code, "what failed")
    assert kind().code == code


def test_what_is_not_said_of_an_error_has_a_default() -> None:
    assert errors.ReplyError("what failed").code == 1
    assert str(errors.ConnectionRefused()) == "connection refused (REP 5)"
    assert str(errors.ReplyError(code=9)) == "unassigned (REP 9)"
    assert errors.RemoteProtocolError("what was wrong").reply is None
    for code in range(9, 256):
        error = errors.ReplyError.for_code(code)
        assert type(error) is errors.ReplyError
        assert error.code == code
        assert str(code) in str(error)


def test_a_subclass_without_a_code_keeps_its_parents() -> None:
    """And does not take its parent's place."""

    class BannedHost(errors.NotAllowed):
        pass

    assert BannedHost().code == 2
    assert type(errors.ReplyError.for_code(2)) is errors.NotAllowed


@pytest.mark.parametrize(
    ("offered", "text"),
    [
        ((), "nothing"),
        ((Method.NO_AUTHENTICATION, Method.GSSAPI), "none, gssapi"),
        (range(255), "none, gssapi, password, chap, 4, 5, 6, 7 and 247 more"),
    ],
)
def test_no_acceptable_method_says_both_sides(offered: Any, text: str) -> None:
    """Those without a name as numbers, and not all; any iterable will do, once."""
    error = errors.NoAcceptableMethod(iter(offered), iter((2,)))
    assert (error.offered, error.accepted) == (tuple(offered), (2,))
    assert str(error) == f"offered methods {text}, accepted password"
