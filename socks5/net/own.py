"""What is this machine's own: addresses, for those who must not send there what would come back, or ban whom all
share.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
import time
from collections.abc import Collection
from functools import lru_cache, reduce
from operator import or_
from tempfile import TemporaryFile
from typing import IO, Any
from weakref import WeakKeyDictionary
from zlib import crc32

from socks5.protocol.address import Address
from socks5.protocol.embedded import meanings
from socks5.protocol.networks import Networks, packed, socket_name

LIFETIME = 10.0
"""Seconds that an answer is remembered at the most. An address that has just come to this machine, as one that moves
between two machines does, is not noticed for so long by those who ask here: rules about ``@self``, bans, and whoever
keeps the proxy from leading to itself. To ask costs 50 us; a longer time would save nothing that is worth that.
"""

_SEVERAL = Networks.parse("0.0.0.0/8,224.0.0.0/4,255.255.255.255,::,ff00::/8")
"""What comes to this machine, perhaps among others, whatever the address of the socket there."""

_EVERY_MACHINES = _SEVERAL | Networks.parse("127.0.0.0/8,::1")
"""That, and loopback."""

PORTS = 65536
"""Octets of a process's table of ports: one for each. Its bits say which addresses the sockets with that port have."""

_ALL_IPV4, _ALL_IPV6, _ONE = 1, 2, 4
"""All of a family, or a single one: the lowest of six bits for those, which a checksum shares out."""

_CHANGES = 8  # octets before the tables

_PROCESS = 52
"""Bits of a change's number below the process's: microseconds, and more of them than there are changes."""

_UNSPECIFIED = ("0.0.0.0", "::")
"""All addresses, where somebody listens; this machine, where somebody connects."""

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def is_own_address(host: str, *, unknown: bool) -> bool:
    """Whether what is sent to an IP literal comes to this machine, perhaps among others (multicast).

    The kernel is asked. What redirects packets on their way (a NAT, a firewall's rule) cannot be seen so.

    :param host: an IP literal; an IPv6 one may have a zone.
    :param unknown: the answer where that cannot be found out now, for want of descriptors or memory; not remembered.
    :returns: False for what is no address.
    """
    if host in _EVERY_MACHINES:
        return True
    try:
        return _is_ours(host, int(time.monotonic() / LIFETIME))
    except OSError:
        return unknown


@lru_cache(maxsize=4096)
def _is_ours(host: str, period: int) -> bool:
    """Whether *host* is an address of this machine; asked once in each period.

    :raises OSError: it cannot be found out now.
    """
    try:
        return _is_source(host) or (":" not in host and _is_within(host))
    except OSError as error:  # not ours, not reachable, no such family
        if error.errno in _OUT_OF_RESOURCES:
            raise
        return False


def _is_source(host: str) -> bool:
    """Whether this machine's source address towards *host* is *host*, as it is towards its own, but for secondary
    IPv4 addresses: the source towards them is the primary one.

    :raises OSError: there is no route.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(socket_name(host, 9))  # sends nothing, and is the same for every port
        return packed(probe.getsockname()[0]) == packed(host)


def _is_within(host: str) -> bool:
    """Whether an IPv4 address can be bound, and is reached from loopback, from where no way leads out. Either alone
    may be so of others' addresses (the system's settings ip_nonlocal_bind, route_localnet).

    :raises OSError: it is not so.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        probe.connect((host, 9))
    return True


class OwnListeners:
    """Where a proxy listens for its clients. ``(host, port) in listeners`` says whether a connection to an IP
    literal comes to one of them.
    """

    def __init__(self) -> None:
        self._hosts: dict[int, list[str]] = {}

    def add(self, where: Address) -> None:
        """A listener has been opened."""
        self._hosts.setdefault(where.port, []).append(where.text)

    def discard(self, where: Address) -> None:
        """It is closed."""
        hosts = self._hosts[where.port]
        hosts.remove(where.text)
        if not hosts:
            del self._hosts[where.port]

    def __contains__(self, target: Any) -> bool:
        host, port = target
        hosts = self._hosts.get(port)
        return hosts is not None and _comes_to_any(host, hosts)


def _comes_to_any(host: str, listeners: Collection[str]) -> bool:
    """The same, in whatever form *host* is written."""
    return any(_comes_to(each, listeners) for each in meanings(host))


def _comes_to(host: str, listeners: Collection[str]) -> bool:
    """Whether a connection to *host*, to a port that they have, comes to one of the *listeners*."""
    if host.partition("%")[0] in listeners or host in _UNSPECIFIED:
        return True
    return any(each in _UNSPECIFIED for each in listeners) and is_own_address(host, unknown=True)


def _bit_of(octets: bytes) -> int:
    return _ONE << crc32(octets) % 6


@lru_cache(maxsize=256)
def _bits_of_socket(host: str) -> int:
    """What stands in the table for a socket that is bound to *host*; "::" means IPv4 as well."""
    if host in _UNSPECIFIED:
        return _ALL_IPV4 if host == "0.0.0.0" else _ALL_IPV4 | _ALL_IPV6
    return _bit_of(packed(host))


@lru_cache(maxsize=4096)
def _bits_that_hear(host: str) -> int:
    """What stands there for some socket that is reached at *host*, an address of this machine."""
    if host in _SEVERAL:
        return 0xFF
    octets = packed(host)
    return _bit_of(octets) | (_ALL_IPV4 if len(octets) == 4 else _ALL_IPV6)


class OwnPorts:
    """The UDP ports of the proxy's sockets, in memory that all its processes see. Each writes its own part only.

    ``port in ports`` says whether it is a port of ours, at whatever address.

    :param memory: of :meth:`size` octets; None: this process is the only one.
    :param process: the number of this one, from 0. A predecessor's ports are forgotten.
    """

    def __init__(self, memory: Any = None, process: int = 0) -> None:
        view = memoryview(bytearray(self.size(1)) if memory is None else memory)
        self.changes = view[:_CHANGES].cast("Q")
        """One number, which changes whenever a port has become ours, in whatever process."""
        self._tables = view[_CHANGES:]
        self._table = self._tables[process * PORTS : (process + 1) * PORTS]
        self._table[:] = bytes(PORTS)
        self._sockets: dict[int, list[int]] = {}  # their bits, by port
        # No process ever writes a number of another's, or of its own predecessor's, who counted from its start.
        self._next_change = process << _PROCESS | time.monotonic_ns() // 1000

    @classmethod
    def file_for(cls, processes: int) -> IO[bytes]:
        """A file in memory with tables for so many processes, which inherit it."""
        has_memory = hasattr(os, "memfd_create")
        file = os.fdopen(os.memfd_create("ports"), "r+b") if has_memory else TemporaryFile()  # noqa: SIM115
        file.truncate(cls.size(processes))
        return file

    @classmethod
    def inherited(cls, descriptor: int, process: int) -> OwnPorts:
        """The tables in such a file, for the process of that number, from 0."""
        return cls(mmap.mmap(descriptor, 0), process)

    @staticmethod
    def size(processes: int) -> int:
        """Octets of memory for so many processes."""
        return _CHANGES + processes * PORTS

    def __contains__(self, port: int) -> bool:
        return any(self._tables[port::PORTS])

    def hear(self, host: str, port: int) -> bool:
        """Whether a datagram that is sent there comes to a socket of ours. Of other addresses a sixth counts as one,
        where we have one with that port.

        :param host: an IP literal; an address of this machine, or several machines'.
        """
        bits = _bits_that_hear(host)
        return any(bits & each for each in self._tables[port::PORTS])

    def add(self, host: str, port: int) -> None:
        """A socket of this process has been bound to that address."""
        self._sockets.setdefault(port, []).append(_bits_of_socket(host))
        self._write(port)
        self._next_change += 1
        self.changes[0] = self._next_change

    def discard(self, host: str, port: int) -> None:
        """One such socket is closed."""
        self._sockets[port].remove(_bits_of_socket(host))
        self._write(port)

    def _write(self, port: int) -> None:
        sockets = self._sockets[port]
        self._table[port] = reduce(or_, sockets, 0)
        if not sockets:
            del self._sockets[port]


_ports: WeakKeyDictionary[Any, OwnPorts] = WeakKeyDictionary()


def ports_of(reactor: Any) -> OwnPorts:
    """The ports of the sockets that a reactor runs; made at the first call.

    :param reactor: one that wraps another names it as its ``wrapped``.
    """
    reactor = getattr(reactor, "wrapped", reactor)
    ports = _ports.get(reactor)
    if ports is None:
        ports = _ports[reactor] = OwnPorts()
    return ports


def share_ports(reactor: Any, ports: OwnPorts) -> None:
    """Let a reactor's ports be those, before it opens any."""
    _ports[reactor] = ports
