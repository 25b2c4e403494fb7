"""One of several processes on the same ports: what a worker inherits, and how the parent opens it.

For every worker the parent opens a socket of its own at each address (SO_REUSEPORT: the kernel
spreads clients over them) and never accepts on any. No other process shares the port. What cannot be
opened twice - a UNIX socket, one inherited from systemd - is shared by all workers. A worker whose
parent is gone ends itself.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReadDescriptor,
    IStreamServerEndpoint,
)
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from socks5.net.descriptors import SessionLimit
from socks5.net.listening import adopted
from socks5.net.ports import BACKLOG, Port, prepare_listening

FIRST_DESCRIPTOR = 3
"""Where a worker's inherited sockets begin; before them are the standard streams."""

VARIABLE = "SOCKS5_WORKER"
"""The environment variable by which a parent tells a process that it is a worker."""


def worker_count(text: str) -> int:
    """``auto`` is one worker for each processor that this process may use.

    :raises ValueError: neither ``auto`` nor a number from 1 to 1024.
    """
    if text == "auto":
        return len(os.sched_getaffinity(0))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1024):
        raise ValueError(f"not a number of workers: {text!r}")
    return int(text)


@implementer(IListeningPort)
class _Opened:
    """What an endpoint gets for a port, where only the workers accept."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = sockets

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
        name = self._sockets[0].getsockname()
        for sock in self._sockets:
            sock.close()
        if isinstance(name, str) and name:
            with suppress(OSError):
                os.unlink(name)


class Opening:
    """Stands in for a parent's reactor: opens the sockets of an endpoint, for every worker, and
    accepts nobody.

    :param count: how many workers there will be.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self.sockets: list[list[socket.socket]] = []
        """For every listener, each worker's socket."""

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> _Opened:
        """See :meth:`twisted.internet.interfaces.IReactorTCP.listenTCP`."""
        opened: list[socket.socket] = []
        try:
            for number in range(self._count):
                opened.append(self._open(interface, port, max(backlog, BACKLOG), number == 0))
                prepare_listening(opened[-1], factory)
                port = opened[0].getsockname()[1]
        except OSError as error:
            for sock in opened:
                sock.close()
            raise CannotListenError(interface, port, error) from None
        self.sockets.append(opened)
        return _Opened(opened)

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> _Opened:
        """See :meth:`twisted.internet.interfaces.IReactorSSL.listenSSL`; the workers do the TLS."""
        return self.listenTCP(port, factory, backlog, interface)

    def listenUNIX(
        self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> _Opened:
        """See :meth:`twisted.internet.interfaces.IReactorUNIX.listenUNIX`."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(address)
            os.chmod(address, mode)
            sock.listen(max(backlog, BACKLOG))
        except OSError as error:
            sock.close()
            raise CannotListenError(None, address, error) from None
        return self._share(sock)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> _Opened:
        """See :meth:`twisted.internet.interfaces.IReactorSocket.adoptStreamPort`."""
        return self._share(socket.socket(fileno=os.dup(fileDescriptor)))

    def _share(self, sock: socket.socket) -> _Opened:
        self.sockets.append([sock] * self._count)
        return _Opened([sock])

    @staticmethod
    def _open(interface: str, port: int, backlog: int, is_first: bool) -> socket.socket:
        """One worker's socket.

        The first one of an address shares its port from the moment on when it has it, and not before: else the
        system would let it in beside whoever shares that port already, another proxy of the same user's.

        :raises OSError: the system does not let us.
        """
        host = interface or "0.0.0.0"
        family, _, _, _, name = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, not is_first)
            sock.bind(name)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.listen(backlog)
        except OSError:
            sock.close()
            raise
        return sock


class Inheriting:
    """A worker's reactor: each listener takes the next inherited socket, in the parent's order.

    :param count: how many were inherited.
    """

    def __init__(self, reactor: Any, limit: SessionLimit, count: int) -> None:
        self._reactor = reactor
        self._limit = limit
        # At other numbers, for an endpoint that adopts a descriptor closes it by its number.
        numbers = range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + count)
        self._sockets = [socket.socket(fileno=os.dup(number)) for number in numbers]
        for number in numbers:
            os.close(number)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def _next(self, interface: str, port: Any) -> socket.socket:
        """:raises CannotListenError: the parent has opened no more: it had no such address."""
        if not self._sockets:
            reason = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
            raise CannotListenError(interface, port, reason)
        return self._sockets.pop(0)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        """See :meth:`twisted.internet.interfaces.IReactorTCP.listenTCP`."""
        sock = self._next(interface, port)
        listening = Port(port, factory, backlog, interface, self._reactor, limit=self._limit)
        listening.adopt(sock)
        return listening

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> Port:
        """See :meth:`twisted.internet.interfaces.IReactorSSL.listenSSL`."""
        over_tls = TLSMemoryBIOFactory(contextFactory, False, factory)
        return self.listenTCP(port, over_tls, backlog, interface)

    def listenUNIX(self, address: str, factory: Any, *arguments: Any, **options: Any) -> Any:
        """See :meth:`twisted.internet.interfaces.IReactorUNIX.listenUNIX`."""
        return self.adoptStreamPort(-1, socket.AF_UNIX, factory)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        """See :meth:`twisted.internet.interfaces.IReactorSocket.adoptStreamPort`."""
        sock = self._next("", fileDescriptor)
        if sock.family != socket.AF_UNIX:
            return adopted(sock, factory, self._reactor, self._limit)
        with sock:
            sock.setblocking(False)
            return self._reactor.adoptStreamPort(sock.fileno(), sock.family, factory)


@implementer(IStreamServerEndpoint)
class NextInherited:
    """A worker's endpoint for ``systemd:``, whose variables name the parent.

    :param listening: its reactor; see :class:`Inheriting`.
    """

    def __init__(self, listening: Any) -> None:
        self._listening = listening

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See :meth:`twisted.internet.interfaces.IStreamServerEndpoint.listen`."""
        return execute(self._listening.adoptStreamPort, -1, socket.AF_UNSPEC, protocolFactory)


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker learns from its parent.

    :param number: from 1.
    :param sockets: how many it inherits.
    :param output: the descriptor of the parent's standard output, for the access log.
    :param heart: that of the pipe for signs of life, see :mod:`socks5.app.heartbeat`.
    :param ports: that of the table of ports that all workers share, see :class:`socks5.net.own.OwnPorts`.
    """

    number: int
    sockets: int
    output: int
    heart: int
    ports: int

    @classmethod
    def from_environment(cls) -> Worker | None:
        """This process as a worker, or None if it is none."""
        text = os.environ.pop(VARIABLE, None)
        return None if text is None else cls(*(int(part) for part in text.split(",")))

    def watch_parent(self, reactor: Any) -> None:
        """End this process in order when the parent is gone, which its end of our standard input
        tells. Ctrl-C in a terminal is the parent's to hear.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        reactor.addReader(_ParentWatch(reactor))


@implementer(IReadDescriptor)
class _ParentWatch:
    """Reads standard input, which ends with the parent."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def fileno(self) -> int:
        return 0

    def logPrefix(self) -> str:
        return "parent"

    def doRead(self) -> None:
        """Something to read, which there never is, or the end."""
        if not os.read(0, 1):
            self._end()

    def connectionLost(self, reason: Any) -> None:
        """The end, too; also the reactor's own."""
        self._end()

    def _end(self) -> None:
        self._reactor.removeReader(self)
        if self._reactor.running:
            self._reactor.stop()
