"""Failures as REP octets, and which of several speaks for all; transports' addresses as wire addresses."""

import errno
import socket
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from socks5.net.addresses import address_of
from socks5.outbound.failures import most_telling, reply_for
from socks5.protocol import errors
from socks5.protocol.address import UNSPECIFIED, Address

FAILURES = [
    (errors.GeneralFailure(), 1),
    (errors.TTLExpired(), 6),
    (errors.ReplyError("by an upstream proxy", 0x42), 0x42),
    (errors.RemoteProtocolError("not a reply", 8), 1),
    (error.NoRouteError(errno.ENETUNREACH), 3),
    (error.NoRouteError(), 3),
    (error.DNSLookupError("unknown"), 4),
    (error.UnknownHostError(), 4),
    (error.ConnectionRefusedError(), 5),
    (error.TimeoutError(), 6),
    (error.TCPTimedOutError(), 6),
    (error.ConnectError(errno.EHOSTUNREACH), 4),
    (error.ConnectBindError(errno.EADDRNOTAVAIL), 3),
    (error.ConnectError(), 1),
    (error.ConnectError("text in the errno's place"), 1),
    (error.ConnectError(string="Connection refused"), 1),  # the text says nothing
    (error.ConnectingCancelledError(IPv4Address("TCP", "192.0.2.1", 80)), 1),
    (error.CannotListenError("127.0.0.1", 80, OSError(errno.EADDRINUSE, "")), 1),
    (error.CannotListenError("fe80::1%none", 0, socket.gaierror(socket.EAI_NONAME, "")), 4),
    (OSError(), 1),
    (socket.gaierror(errno.EACCES, "as it is on a system whose EAI numbers are positive"), 4),
    (socket.herror(1, ""), 4),
    (CancelledError(), 1),
    (ZeroDivisionError(), 1),
]


@pytest.mark.parametrize(
    ("value", "code"),
    FAILURES,
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else str(each),
)
def test_every_failure_has_its_code(value: Exception, code: int) -> None:
    assert reply_for(Failure(value)) == code


OF_THE_TARGET = {
    2: ["EACCES", "EPERM"],
    3: ["EADDRNOTAVAIL", "ENETDOWN", "ENETUNREACH", "ENODEV", "ENONET", "ENXIO"],
    4: ["EHOSTDOWN", "EHOSTUNREACH", "EINVAL", "ENOPROTOOPT", "EPROTO"],
    5: ["ECONNREFUSED"],
    6: ["ETIMEDOUT"],
    8: ["EAFNOSUPPORT", "EPFNOSUPPORT"],
}
"""Of every number that the system may say, what it says of the target; the rest is about ourselves."""


def test_every_number_of_the_system_has_its_code() -> None:
    codes = {name: code for code, names in OF_THE_TARGET.items() for name in names}
    for number, name in errno.errorcode.items():
        for way in (
            OSError(number, ""),
            error.getConnectError((number, "")),
            error.ConnectBindError(number, ""),
            error.CannotListenError("127.0.0.1", 0, OSError(number, "")),
        ):
            assert (name, reply_for(Failure(way))) == (name, codes.get(name, 1))


def failure(code: int) -> Failure:
    return Failure(errors.ReplyError.for_code(code))


def test_one_that_came_further_says_more_and_the_earliest_of_equals_speaks() -> None:
    ranked = [failure(code) for code in (5, 6, 4, 2, 3, 8, 1)]
    for at, most in enumerate(ranked):
        rest = ranked[at:]
        assert most_telling(rest) is most_telling(rest[::-1]) is most
    assert most_telling([failure(3), ranked[0], failure(5)]) is ranked[0]
    assert most_telling([ranked[-1], failure(7)]) is ranked[-1]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (IPv4Address("TCP", "192.0.2.1", 80), Address("192.0.2.1", 80)),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 80), Address("192.0.2.1", 80)),
        (IPv6Address("TCP", "fe80::1%eth0", 80), Address("fe80::1", 80)),
        (IPv6Address("TCP", "fe80::1", 80, 0, 2), Address("fe80::1", 80)),
        (UNIXAddress(b"/run/socks5"), UNSPECIFIED),
        (HostnameAddress(b"example.org", 80), UNSPECIFIED),
        (None, UNSPECIFIED),
    ],
    ids=str,
)
def test_a_transport_s_address_is_a_wire_address(address: Any, expected: Address) -> None:
    assert address_of(address) == expected
