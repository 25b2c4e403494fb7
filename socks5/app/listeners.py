"""The listeners of a process, and what an operator calls them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from socks5.net.addresses import address_of
from socks5.net.certificates import Certificates
from socks5.net.places import Listen

LOOPBACK = ("127.0.0.1", "::1")
"""The interfaces of the default."""

NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What the system says of an address that this machine does not have."""


_ADVICE = {
    errno.EADDRINUSE: "something listens there already, perhaps this proxy",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
    errno.EACCES: "ports below 1024 are for root, with twistd --uid USER, or for CAP_NET_BIND_SERVICE",
}
"""What an operator can make of the system's word, of a port; of a path it says enough."""


class Listener(NamedTuple):
    """One of them.

    :param name: how the operator calls it.
    :param at: where and how it listens.
    :param certificates: those of :attr:`~socks5.net.places.Listen.tls`, read already.
    :param is_optional: whether it is left out silently where this machine has no such address, as without IPv6.
    :param place: where a file asks for it; "" for no file.
    """

    name: str
    at: Listen
    certificates: Certificates | None = None
    is_optional: bool = False
    place: str = ""

    def wrong(self, sentence: str) -> str:
        """What is wrong with it, behind the place."""
        return f"{self.place}: {sentence}" if self.place else sentence


def certificates_of(listeners: Iterable[Listener]) -> list[Certificates]:
    """What SIGHUP has read again of them."""
    return [each.certificates for each in listeners if each.certificates is not None]


def place_of(port: IListeningPort) -> str:
    """What listens where, for people."""
    host: Any = port.getHost()
    is_unix = isinstance(host, UNIXAddress)
    return f"unix:{os.fsdecode(host.name)}" if is_unix else str(address_of(host))


def why_not(failure: Failure, listener: Listener) -> str | None:
    """Why it cannot be listened on, in words.

    :returns: None if that is all right.
    """
    error = getattr(failure.value, "socketError", failure.value)
    number = getattr(error, "errno", None)
    if listener.is_optional and number in NO_SUCH_ADDRESS:
        return None
    reason = getattr(error, "strerror", None) or str(error)
    is_port = isinstance(getattr(failure.value, "port", None), int)
    advice = f" ({_ADVICE[number]})" if is_port and number in _ADVICE else ""
    return listener.wrong(f"cannot listen on {listener.name}: {reason}{advice}")
