"""Failures as REP octets, over the whole table; transports' addresses as wire addresses."""

import errno
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import error
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from socks5.net.addresses import address_of
from socks5.outbound.failures import most_telling, reply_for
from socks5.protocol import errors
from socks5.protocol.address import UNSPECIFIED, Address

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
    (error.UnknownHostError(), 4),
    (error.UserError(), 1),
    (error.ConnectBindError(errno.EADDRNOTAVAIL), 3),
    (error.ConnectError(), 1),
    (error.ConnectError("text in the errno's place"), 1),
    (error.ConnectingCancelledError(IPv4Address("TCP", "192.0.2.1", 80)), 1),
    (error.CannotListenError("127.0.0.1", 80, OSError(errno.EADDRINUSE, "")), 1),
    (error.ConnectionLost(), 1),
]

SYSTEM = [
    (OSError(), 1),
    (socket.gaierror(socket.EAI_NONAME, ""), 4),
    (socket.gaierror(errno.EACCES, "as it is on a system whose EAI numbers are positive"), 4),
    (socket.herror(1, ""), 4),
    (error.CannotListenError("fe80::1%none", 0, socket.gaierror(socket.EAI_NONAME, "")), 4),
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


# Of every number that the system may say, what it says of the target; the rest is about ourselves.
BY_ERRNO = {
    "EACCES": 2,
    "EPERM": 2,
    "EADDRNOTAVAIL": 3,
    "ENETDOWN": 3,
    "ENETUNREACH": 3,
    "ENODEV": 3,
    "ENONET": 3,
    "ENXIO": 3,
    "EHOSTDOWN": 4,
    "EHOSTUNREACH": 4,
    "EINVAL": 4,
    "ENOPROTOOPT": 4,
    "EPROTO": 4,
    "ECONNREFUSED": 5,
    "ETIMEDOUT": 6,
    "EAFNOSUPPORT": 8,
    "EPFNOSUPPORT": 8,
}


WAYS: dict[str, Callable[[int], Exception]] = {
    "as it is": lambda number: OSError(number, ""),
    "a connection": lambda number: error.getConnectError((number, "")),
    "a source address": lambda number: error.ConnectBindError(number, ""),
    "a port": lambda number: error.CannotListenError("127.0.0.1", 0, OSError(number, "")),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", sorted(errno.errorcode), ids=errno.errorcode.get)
def test_every_number_of_the_system_has_its_code(number: int, way: str) -> None:
    assert reply_for(Failure(WAYS[way](number))) == BY_ERRNO.get(errno.errorcode[number], 1)


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
        ([3, 2, 8, 1], 2),
        ([8, 3, 1], 3),
        ([1, 8], 8),
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
    unranked = [failure(1), failure(7)]
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
