"""Each error is one of ours and one of Twisted's, and says what it is and nothing else."""

import errno

import pytest
from twisted.internet import error

from socks5.client import errors
from socks5.protocol import errors as protocol
from socks5.protocol.errors import SOCKSError

BY_CODE = {
    1: (errors.GeneralFailure, error.ConnectError, None),
    2: (errors.NotAllowed, error.ConnectError, errno.EACCES),
    3: (errors.NetworkUnreachable, error.NoRouteError, errno.ENETUNREACH),
    4: (errors.HostUnreachable, error.ConnectError, errno.EHOSTUNREACH),
    5: (errors.ConnectionRefused, error.ConnectionRefusedError, errno.ECONNREFUSED),
    6: (errors.TTLExpired, error.TimeoutError, errno.ETIMEDOUT),
    7: (errors.CommandNotSupported, error.ConnectError, errno.EOPNOTSUPP),
    8: (errors.AddressTypeNotSupported, error.ConnectError, errno.EAFNOSUPPORT),
    9: (errors.ReplyError, error.ConnectError, None),
    255: (errors.ReplyError, error.ConnectError, None),
}


@pytest.mark.parametrize("code", BY_CODE)
def test_a_reply_has_its_class_which_is_twisteds_as_well(code: int) -> None:
    kind, base, number = BY_CODE[code]
    found = protocol.ReplyError.for_code(code, "words")
    made = errors.error_for(found, "a proxy", "reply", 2)
    assert type(made) is kind
    assert isinstance(made, type(found))
    assert isinstance(made, base)
    assert isinstance(made, errors.ReplyError)
    assert (made.code, made.osError, made.stage, made.hop) == (code, number, "reply", 2)
    assert str(made) == "a proxy: words"
    assert not isinstance(made, OSError)


def test_a_class_alone_knows_its_code() -> None:
    assert {kind("words").code for kind, _, _ in BY_CODE.values()} == {*range(1, 9)}
    assert errors.NotAllowed("words").stage == "reply"


def test_the_tree_of_the_server_keeps_its_own() -> None:
    assert {type(protocol.ReplyError.for_code(code)).__module__ for code in range(1, 10)} == {
        "socks5.protocol.errors"
    }


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (protocol.NoAcceptableMethod((2,), ()), errors.ProxyAuthError),
        (protocol.AuthenticationFailed("no"), errors.ProxyAuthError),
        (protocol.RemoteProtocolError("no"), errors.ProxyProtocolError),
    ],
)
def test_what_is_no_reply_has_a_class_of_its_own(found: SOCKSError, kind: type) -> None:
    made = errors.error_for(found, "a proxy", "method", 1)
    assert type(made) is kind
    assert str(made) == f"a proxy: {found}"
    assert isinstance(made, error.ConnectError)
    assert not isinstance(made, error.ConnectionRefusedError)


def test_a_name_that_is_not_found_is_what_twisted_calls_it() -> None:
    made = errors.NameNotFound("words", hop=2)
    assert isinstance(made, error.DNSLookupError)
    assert isinstance(made, errors.HostUnreachable)
    assert (made.code, made.osError, made.hop, str(made)) == (4, errno.EHOSTUNREACH, 2, "words")


def test_a_time_out_is_one_of_twisteds() -> None:
    made = errors.ProxyTimeout("words", stage="tls", hop=3)
    assert isinstance(made, error.TimeoutError)
    assert (made.osError, made.stage, made.hop, str(made)) == (errno.ETIMEDOUT, "tls", 3, "words")


def test_a_proxy_that_takes_nobody_without_a_login_is_said_to_want_one() -> None:
    made = errors.error_for(protocol.NoAcceptableMethod((0,), ()), "a proxy", "method", 1)
    assert str(made) == "a proxy: offered methods none, accepted nothing: it wants a login"
