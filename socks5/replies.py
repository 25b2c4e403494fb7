"""Failures as REP octets, and transports' addresses as wire addresses.

:func:`reply_for` is total and goes by type and ``errno``, never by text. Knows no sessions.

Floor 2: imports from floors 0 and 1.
"""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet import error
from twisted.python.failure import Failure

from socks5.errors import ReplyError
from socks5.wire import UNSPECIFIED, Address, ReplyCode, unmap

_BY_ERRNO = {
    errno.ENETUNREACH: ReplyCode.NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: ReplyCode.HOST_UNREACHABLE,
    errno.ECONNREFUSED: ReplyCode.CONNECTION_REFUSED,
    errno.ETIMEDOUT: ReplyCode.TTL_EXPIRED,
    errno.EACCES: ReplyCode.NOT_ALLOWED,  # a "prohibit" route, or a firewall's word
}

_BY_TYPE: tuple[tuple[type[BaseException], ReplyCode], ...] = (
    (error.NoRouteError, ReplyCode.NETWORK_UNREACHABLE),
    (error.ConnectionRefusedError, ReplyCode.CONNECTION_REFUSED),
    (error.DNSLookupError, ReplyCode.HOST_UNREACHABLE),
    (error.TimeoutError, ReplyCode.TTL_EXPIRED),
    (error.TCPTimedOutError, ReplyCode.TTL_EXPIRED),
)

MOST_TELLING_FIRST = (
    ReplyCode.CONNECTION_REFUSED,
    ReplyCode.TTL_EXPIRED,
    ReplyCode.HOST_UNREACHABLE,
    ReplyCode.NETWORK_UNREACHABLE,
)
"""Which of several failed attempts speaks for all: one that reached the host says more than one
that found no route.
"""


def reply_for(failure: Failure) -> int:
    """The REP octet for why a command failed (RFC 1928 section 6); 1 for everything that has no
    code of its own.
    """
    value = failure.value
    if isinstance(value, ReplyError):
        return value.code
    for kind, code in _BY_TYPE:
        if isinstance(value, kind):
            return code
    number = getattr(value, "osError", None) or getattr(value, "errno", None)
    return _BY_ERRNO.get(number, ReplyCode.GENERAL_FAILURE)  # type: ignore[arg-type]


def most_telling(failures: list[Failure]) -> Failure:
    """The failure that speaks for all of *failures*, of which there is at least one; the earliest
    of equals.
    """

    order: tuple[int, ...] = MOST_TELLING_FIRST

    def rank(failure: Failure) -> int:
        code = reply_for(failure)
        return order.index(code) if code in order else len(order)

    return min(failures, key=rank)


def address_of(address: Any) -> Address:
    """A transport's ``getHost()`` or ``getPeer()`` as a wire address.

    :returns: an IP literal without IPv4 mapping and without IPv6 zone; 0.0.0.0:0 for what has no IP
        address (a UNIX socket).
    """
    host = getattr(address, "host", None)
    if not isinstance(host, str):
        return UNSPECIFIED
    return Address(unmap(host.partition("%")[0]), address.port)
