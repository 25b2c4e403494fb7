"""Failures as REP octets, over the whole table; transports' addresses as wire addresses."""

import errno
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import error
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from socks5 import errors
from socks5.replies import address_of, most_telling, reply_for
from socks5.wire import UNSPECIFIED, Address

OURS = [
    (errors.GeneralFailure(), 1),
    (errors.NotAllowed(), 2),
    (errors.NetworkUnreachable(), 3),
    (errors.HostUnreachable(), 4),
    (errors.ConnectionRefused(), 5),
    (errors.TTLExpired(), 6),
    (errors.CommandNotSupported(), 7),
    (errors.AddressTypeNotSupported(), 8),
    (errors.ReplyError("by an upstream proxy", 0x42), 0x42),
]

TWISTED = [
    (error.NoRouteError(errno.ENETUNREACH), 3),
    (error.DNSLookupError("unknown"), 4),
    (error.ConnectionRefusedError(), 5),
    (error.TimeoutError(), 6),
    (error.TCPTimedOutError(), 6),
    (error.ConnectError(errno.EHOSTUNREACH), 4),
    (error.UnknownHostError(), 1),
    (error.UserError(), 1),
    (error.ConnectBindError(errno.EADDRNOTAVAIL), 1),
    (error.ConnectError(), 1),
    (error.ConnectError("text in the errno's place"), 1),
    (error.ConnectingCancelledError(IPv4Address("TCP", "192.0.2.1", 80)), 1),
    (error.CannotListenError("127.0.0.1", 80, OSError(errno.EADDRINUSE, "")), 1),
    (error.ConnectionLost(), 1),
]

SYSTEM = [
    (OSError(errno.ENETUNREACH, ""), 3),
    (OSError(errno.EHOSTUNREACH, ""), 4),
    (OSError(errno.ECONNREFUSED, ""), 5),
    (OSError(errno.ETIMEDOUT, ""), 6),
    (OSError(errno.EACCES, ""), 2),
    (OSError(errno.EMFILE, ""), 1),
    (OSError(), 1),
    (socket.gaierror(socket.EAI_NONAME, ""), 1),
]

OTHERS = [
    (CancelledError(), 1),
    (ZeroDivisionError(), 1),
    (errors.SOCKSError(), 1),
    (errors.RemoteProtocolError("not a reply", 8), 1),
]


@pytest.mark.parametrize(
    ("value", "code"),
    [*OURS, *TWISTED, *SYSTEM, *OTHERS],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else str(each),
)
def test_every_failure_has_its_code(value: Exception, code: int) -> None:
    assert reply_for(Failure(value)) == code


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENETUNREACH, 3),
        (errno.EHOSTUNREACH, 4),
        (errno.ECONNREFUSED, 5),
        (errno.ETIMEDOUT, 6),
        (errno.EACCES, 2),
        (errno.EPERM, 1),
    ],
)
def test_what_twisted_makes_of_a_system_s_error_has_its_code(number: int, code: int) -> None:
    """As a real connection attempt fails: ``getConnectError`` chooses the class."""
    assert reply_for(Failure(error.getConnectError((number, "")))) == code


@pytest.mark.parametrize("text", ["Connection refused", "Network is unreachable", "timed out"])
def test_the_text_says_nothing(text: str) -> None:
    assert reply_for(Failure(error.ConnectError(string=text))) == 1
    assert reply_for(Failure(Exception(text))) == 1


# ---------------------------------------------------------------- which of several speaks for all


def failure(code: int) -> Failure:
    return Failure(errors.ReplyError.for_code(code))


@pytest.mark.parametrize(
    ("codes", "telling"),
    [
        ([3, 4, 6, 5, 1], 5),
        ([3, 4, 6, 1], 6),
        ([3, 4, 1], 4),
        ([3, 1], 3),
        ([1, 3], 3),
        ([1], 1),
        ([2, 5], 5),
    ],
)
def test_one_that_came_further_says_more(codes: list[int], telling: int) -> None:
    for order in (codes, codes[::-1]):
        assert reply_for(most_telling([failure(code) for code in order])) == telling


def test_the_earliest_of_equals_speaks() -> None:
    failures = [failure(3), failure(5), failure(5)]
    assert most_telling(failures) is failures[1]
    unranked = [failure(1), failure(2)]
    assert most_telling(unranked) is unranked[0]


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (IPv4Address("TCP", "192.0.2.1", 80), Address("192.0.2.1", 80)),
        (IPv4Address("UDP", "192.0.2.1", 0), Address("192.0.2.1", 0)),
        (IPv6Address("TCP", "2001:db8::1", 65535), Address("2001:db8::1", 65535)),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 80), Address("192.0.2.1", 80)),
        (IPv6Address("TCP", "fe80::1%eth0", 80), Address("fe80::1", 80)),
        (IPv6Address("TCP", "fe80::1", 80, 0, 2), Address("fe80::1", 80)),
        (UNIXAddress(b"/run/socks5"), UNSPECIFIED),
        (UNIXAddress(None), UNSPECIFIED),
        (HostnameAddress(b"example.org", 80), UNSPECIFIED),
        (None, UNSPECIFIED),
    ],
    ids=str,
)
def test_a_transport_s_address_is_a_wire_address(address: Any, expected: Address) -> None:
    assert address_of(address) == expected


@given(st.ip_addresses(), st.integers(0, 65535))
def test_whatever_an_address_is_it_can_be_sent(host: Any, port: int) -> None:
    """BND.ADDR of a reply is what a transport's address becomes."""
    kind, family = (
        (IPv4Address, socket.AF_INET) if host.version == 4 else (IPv6Address, socket.AF_INET6)
    )
    address = address_of(kind("TCP", socket.inet_ntop(family, host.packed), port))
    decoded = Address.decode(address.encode())
    assert decoded is not None
    assert decoded[0] == address
    assert not str(decoded[0].host).startswith("::ffff:")
