"""What a parent opens for its workers: one socket for each of them at each address.

The kernel spreads clients over the sockets of an address (SO_REUSEPORT). The parent never accepts on any. No other
process shares the port. What cannot be opened twice - a UNIX socket, one inherited from systemd - is shared by all
workers.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from zope.interface import implementer

from socks5.app.inherit import name_of
from socks5.net.openers import IPortOpener, Where
from socks5.net.places import BACKLOG, TCP, UNIX, Inherited
from socks5.net.ports import prepare_listening


@implementer(IListeningPort)
class OpenedPort:
    """A port where only the workers accept."""

    def __init__(self, sockets: Sequence[socket.socket], path: str | None = None) -> None:
        self._sockets = sockets
        self._path = path  # of a file that goes with them

    def getHost(self) -> Any:
        """See :meth:`twisted.internet.interfaces.IListeningPort.getHost`."""
        name = self._sockets[0].getsockname()
        if isinstance(name, (str, bytes)):
            return UNIXAddress(os.fsencode(name))
        return IPv4Address("TCP", *name[:2]) if len(name) == 2 else IPv6Address("TCP", *name)

    def startListening(self) -> None:
        """It listens already."""

    def stopListening(self) -> None:
        """Give up what the parent holds; a worker closes its own."""
        for sock in self._sockets:
            sock.close()
        if self._path is not None:
            with suppress(OSError):
                os.unlink(self._path)


@implementer(IPortOpener)
class PortsForWorkers:
    """A parent's opener: opens sockets for every worker, and accepts nobody.

    :param reactor: the parent's.
    :param count: how many workers there will be.
    """

    def __init__(self, reactor: Any, count: int) -> None:
        self.reactor = reactor
        self._count = count
        self.sockets: list[tuple[str, Sequence[socket.socket]]] = []
        """Each place, and each worker's socket there."""

    def open(self, where: Where, factory: Any) -> OpenedPort:
        """See :meth:`socks5.net.openers.IPortOpener.open`."""
        if isinstance(where, TCP):
            sockets = self._one_each(where)
        else:
            sock = where.duplicate() if isinstance(where, Inherited) else _bound(where)
            sockets = [sock] * self._count
        for sock in sockets:
            prepare_listening(sock, factory)
        self.sockets.append((name_of(where), sockets))
        return OpenedPort(sockets, where.path if isinstance(where, UNIX) else None)

    def _one_each(self, where: TCP) -> list[socket.socket]:
        """:raises CannotListenError: one of them is not to be had."""
        opened: list[socket.socket] = []
        try:
            for number in range(self._count):
                opened.append(_listening(where, number == 0))
                where = replace(where, port=opened[0].getsockname()[1])
        except OSError as error:
            for sock in opened:
                sock.close()
            raise CannotListenError(where.interface, where.port, error) from None
        return opened


def _bound(where: UNIX) -> socket.socket:
    """A listening UNIX socket.

    :raises CannotListenError: the system does not let us.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(where.path)
        os.chmod(where.path, where.mode)
        sock.listen(max(where.backlog, BACKLOG))
    except OSError as error:
        sock.close()
        raise CannotListenError(None, where.path, error) from None
    return sock


def _listening(where: TCP, is_first: bool) -> socket.socket:
    """One worker's socket.

    The first one of an address shares its port from the moment on when it has it, and not before: else the
    system would let it in beside whoever shares that port already, another proxy of the same user's.

    :raises OSError: the system does not let us.
    """
    host = where.interface or "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET  # as Twisted has it, for names too
    [(*_, name), *_] = socket.getaddrinfo(host, where.port, family, socket.SOCK_STREAM)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, not is_first)
        sock.bind(name)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.listen(max(where.backlog, BACKLOG))
    except OSError:
        sock.close()
        raise
    return sock
