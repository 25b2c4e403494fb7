"""Addresses as sockets and Twisted have them, and as SOCKS5 carries them."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

from socks5.protocol.address import UNSPECIFIED, Address, unmap

LONGEST_PATH = 107
"""Octets of a UNIX socket's path: Linux has room for 108, with a zero behind it (unix(7))."""


def fits(path: str) -> bool:
    """Whether a UNIX socket can have this path."""
    return len(os.fsencode(path)) <= LONGEST_PATH


def address_from(name: Any) -> Address:
    """A socket's address, as the socket module has it, as a wire address.

    :returns: its text is shared with all other addresses of that host.
    """
    host = name[0]
    if ":" in host and ("%" in host or host.startswith("::ffff:")):
        host = unmap(host.partition("%")[0])
    return Address(sys.intern(host), name[1])


def text_of(name: Any) -> str:
    """The text of that, without the wire address."""
    host = name[0]
    return str(address_from(name)) if ":" in host else f"{host}:{name[1]}"


def twisted_address(name: Any) -> IPv4Address | IPv6Address:
    """A socket's address as Twisted has it, with the IPv6 zone that the socket module leaves out."""
    if ":" not in name[0]:
        return IPv4Address("TCP", *name)
    host, _ = socket.getnameinfo(name, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return IPv6Address("TCP", host, *name[1:])


def address_of(address: Any) -> Address:
    """A transport's ``getHost()`` or ``getPeer()`` as a wire address.

    :returns: an IP literal without IPv4 mapping and without IPv6 zone; 0.0.0.0:0 for what has no IP
        address (a UNIX socket).
    """
    host = getattr(address, "host", None)
    if not isinstance(host, str):
        return UNSPECIFIED
    return Address(unmap(host.partition("%")[0]), address.port)
