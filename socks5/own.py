"""What is this machine's own: addresses, for those who must not send there what would come back, or ban whom all
share.

Floor 1½: imports :mod:`socks5.networks`.
"""

from __future__ import annotations

import errno
import socket
import time
from functools import lru_cache

from socks5.networks import Networks, packed

LIFETIME = 10.0
"""Seconds that an answer is remembered at the most: addresses come and go."""

_EVERY_MACHINES = Networks.parse(
    "0.0.0.0/8,127.0.0.0/8,224.0.0.0/4,255.255.255.255,::,::1,ff00::/8"
)
"""Loopback, and what reaches this machine among others."""

_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def is_own_address(host: str) -> bool:
    """Whether what is sent to an IP literal comes to this machine, perhaps among others (multicast).

    The kernel is asked: its source address towards one of its own is that address. What redirects packets on
    their way (a NAT, a firewall's rule) cannot be seen so.

    :param host: an IP literal; an IPv6 one may have a zone.
    :returns: also where that cannot be found out now, for want of descriptors; False for what is no address.
    """
    return host in _EVERY_MACHINES or _is_source(host, int(time.monotonic() / LIFETIME))


@lru_cache(maxsize=4096)
def _is_source(host: str, period: int) -> bool:
    """Whether this machine's source address towards *host* is *host*; asked once in each period."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # sends nothing, and is the same for every port
            return packed(probe.getsockname()[0]) == packed(host)
    except OSError as error:  # not reachable, no such family
        return error.errno in _OUT_OF_DESCRIPTORS
