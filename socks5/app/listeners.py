"""The listeners of a process, and what an operator calls them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IListeningPort

from socks5.net.addresses import address_of
from socks5.net.certificates import Certificates
from socks5.net.places import Listen

LOOPBACK = ("127.0.0.1", "::1")
"""The interfaces of the default."""

NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What the system says of an address that this machine does not have."""


class Listener(NamedTuple):
    """One of them.

    :param name: how the operator calls it.
    :param at: where and how it listens.
    :param certificates: those of :attr:`~socks5.net.places.Listen.tls`, read already.
    :param is_optional: whether it is left out silently where this machine has no such address, as without IPv6.
    """

    name: str
    at: Listen
    certificates: Certificates | None = None
    is_optional: bool = False


def certificates_of(listeners: Iterable[Listener]) -> list[Certificates]:
    """What SIGHUP has read again of them."""
    return [each.certificates for each in listeners if each.certificates is not None]


def place_of(port: IListeningPort) -> str:
    """What listens where, for people."""
    host: Any = port.getHost()
    is_unix = isinstance(host, UNIXAddress)
    return f"unix:{os.fsdecode(host.name)}" if is_unix else str(address_of(host))
