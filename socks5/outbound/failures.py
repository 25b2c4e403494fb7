"""Failures as REP octets.

:func:`reply_for` is total and goes by type and ``errno``, never by text.
"""

from __future__ import annotations

import errno
import socket

from twisted.internet import error
from twisted.python.failure import Failure

from socks5.client.errors import ClientError
from socks5.protocol.errors import ReplyError
from socks5.protocol.messages import ReplyCode

_BY_NAME = {
    "EACCES": ReplyCode.NOT_ALLOWED,  # a "prohibit" route, or a firewall's word
    "EPERM": ReplyCode.NOT_ALLOWED,  # this host's own firewall
    "ENETUNREACH": ReplyCode.NETWORK_UNREACHABLE,
    "ENETDOWN": ReplyCode.NETWORK_UNREACHABLE,
    "ENONET": ReplyCode.NETWORK_UNREACHABLE,
    "EADDRNOTAVAIL": ReplyCode.NETWORK_UNREACHABLE,  # no such source address, or no port left on it
    "ENODEV": ReplyCode.NETWORK_UNREACHABLE,  # an IPv6 zone without an interface
    "ENXIO": ReplyCode.NETWORK_UNREACHABLE,
    "EHOSTUNREACH": ReplyCode.HOST_UNREACHABLE,
    "EHOSTDOWN": ReplyCode.HOST_UNREACHABLE,
    "EINVAL": ReplyCode.HOST_UNREACHABLE,  # an address that nothing can be sent to: 240.0.0.1, fe80::1
    "ENOPROTOOPT": ReplyCode.HOST_UNREACHABLE,  # ICMP: no TCP there
    "EPROTO": ReplyCode.HOST_UNREACHABLE,  # ICMP: a parameter problem
    "ECONNREFUSED": ReplyCode.CONNECTION_REFUSED,
    "ETIMEDOUT": ReplyCode.TTL_EXPIRED,
    "EAFNOSUPPORT": ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED,  # a kernel without that family
    "EPFNOSUPPORT": ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED,
}
"""What the system says of a target. All other numbers are about ourselves, out of descriptors for example, and
become GENERAL_FAILURE.
"""

_BY_ERRNO: dict[object, ReplyCode] = {
    getattr(errno, name): code for name, code in _BY_NAME.items() if hasattr(errno, name)
}

_BY_TYPE: tuple[tuple[type[BaseException], ReplyCode], ...] = (
    (error.DNSLookupError, ReplyCode.HOST_UNREACHABLE),
    (error.UnknownHostError, ReplyCode.HOST_UNREACHABLE),
    (socket.gaierror, ReplyCode.HOST_UNREACHABLE),  # whose numbers are another table's
    (socket.herror, ReplyCode.HOST_UNREACHABLE),
    (error.NoRouteError, ReplyCode.NETWORK_UNREACHABLE),
    (error.ConnectionRefusedError, ReplyCode.CONNECTION_REFUSED),
    (error.TimeoutError, ReplyCode.TTL_EXPIRED),
    (error.TCPTimedOutError, ReplyCode.TTL_EXPIRED),
)

MOST_TELLING_FIRST = (
    ReplyCode.CONNECTION_REFUSED,
    ReplyCode.TTL_EXPIRED,
    ReplyCode.HOST_UNREACHABLE,
    ReplyCode.NOT_ALLOWED,
    ReplyCode.NETWORK_UNREACHABLE,
    ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED,
)
"""Which of several failed attempts speaks for all: one that reached the host says more than one
that was forbidden on the way, and that says more than one that found no route.
"""


def reply_for(failure: Failure) -> int:
    """The REP octet for why a command failed (RFC 1928 section 6); 1 for everything that has no
    code of its own.
    """
    value = failure.value
    if isinstance(value, ReplyError):
        return value.code
    if isinstance(value, ClientError):  # about an upstream, whatever it is besides
        return ReplyCode.GENERAL_FAILURE
    if isinstance(value, error.CannotListenError):
        value = value.socketError  # as the system said it, to UDP and BIND
    for kind, code in _BY_TYPE:
        if isinstance(value, kind):
            return code
    number = getattr(value, "osError", None) or getattr(value, "errno", None)
    return _BY_ERRNO.get(number, ReplyCode.GENERAL_FAILURE)


def most_telling(failures: list[Failure]) -> Failure:
    """The failure that speaks for all of *failures*, of which there is at least one; the earliest
    of equals.
    """

    order: tuple[int, ...] = MOST_TELLING_FIRST

    def rank(failure: Failure) -> int:
        code = reply_for(failure)
        return order.index(code) if code in order else len(order)

    return min(failures, key=rank)
