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

from socks5.app.estate import Estate
from socks5.app.inherit import MORE
from socks5.net.openers import IPortOpener, Where
from socks5.net.places import BACKLOG, TCP, UNIX, Inherited, name_of
from socks5.net.ports import prepare_listening


@implementer(IListeningPort)
class OpenedPort:
    """A port where only the workers accept."""

    def __init__(self, where: Where, sockets: Sequence[socket.socket]) -> None:
        self.where = where
        self.sockets = sockets
        self.path: str | None = None
        """Of a file that goes with them, if it is ours to delete."""

    @property
    def is_open(self) -> bool:
        """Whether the parent holds them."""
        return self.sockets[0].fileno() >= 0

    def getHost(self) -> Any:
        """See :meth:`twisted.internet.interfaces.IListeningPort.getHost`."""
        name = self.sockets[0].getsockname()
        if isinstance(name, (str, bytes)):
            return UNIXAddress(os.fsencode(name))
        return IPv4Address("TCP", *name[:2]) if len(name) == 2 else IPv6Address("TCP", *name)

    def startListening(self) -> None:
        """It listens already."""

    def stopListening(self) -> None:
        """Give up what the parent holds; a worker closes its own."""
        for sock in self.sockets:
            sock.close()
        path, self.path = self.path, None
        if path is not None:
            with suppress(OSError):
                os.unlink(path)


@implementer(IPortOpener)
class PortsForWorkers:
    """A parent's opener: opens sockets for every worker, and accepts nobody.

    :param reactor: the parent's.
    :param count: how many workers there will be.
    :param estate: what the process before has left.
    """

    def __init__(self, reactor: Any, count: int, estate: Estate | None = None) -> None:
        self.reactor = reactor
        self._count = count
        self._estate = Estate() if estate is None else estate
        self._opened: list[OpenedPort] = []

    @property
    def _open(self) -> list[OpenedPort]:
        """The ports of now."""
        return [port for port in self._opened if port.is_open]

    @property
    def sockets(self) -> list[tuple[str, Sequence[socket.socket]]]:
        """Each place, and each worker's socket there, in the order in which they were opened; further ones of a place
        are called ``MORE``.
        """
        return [
            (MORE if number else name_of(port.where), row)
            for port in self._open
            for number, row in enumerate(self._rows(port.sockets))
        ]

    def open(self, where: Where, factory: Any) -> OpenedPort:
        """See :meth:`socks5.net.openers.IPortOpener.open`."""
        left = self._estate.take(where)
        if left:
            sockets = left
        elif isinstance(where, TCP):
            sockets = self._one_each(where)
        else:
            sockets = [where.duplicate() if isinstance(where, Inherited) else _bound(where)]
        for sock in sockets:
            prepare_listening(sock, factory)
        port = OpenedPort(where, sockets)
        if isinstance(where, UNIX) and not left:
            port.path = where.path
        self._opened = [*self._open, port]
        return port

    def _rows(self, sockets: Sequence[socket.socket]) -> list[list[socket.socket]]:
        """One socket for each worker, as often as it takes until each socket is some worker's."""
        last = max(len(sockets), self._count)
        return [
            [sockets[(begin + number) % len(sockets)] for number in range(self._count)]
            for begin in range(0, last, self._count)
        ]

    def left(self) -> list[tuple[str, list[socket.socket]]]:
        """See :class:`socks5.app.handover.Leaver`."""
        return [
            (name_of(port.where), list(port.sockets))
            for port in self._open
            if not isinstance(port.where, Inherited)
        ]

    def leave(self) -> None:
        """See :class:`socks5.app.handover.Leaver`."""
        for port in self._open:
            port.path = None

    def take_possession(self) -> None:
        """See :class:`socks5.app.handover.Leaver`."""
        for port in self._open:
            port.path = port.where.path if isinstance(port.where, UNIX) else None

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
