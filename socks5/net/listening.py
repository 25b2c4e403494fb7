"""Reactors whose listening ports are ours, for endpoints that ask them.

:class:`ListeningReactor` puts ports that keep to the session limit under every endpoint that listens by TCP, TLS or
UNIX socket, and under an inherited TCP socket (``systemd:``); an inherited UNIX socket stays Twisted's.
:class:`QuietReactor` is for sessions.
"""

from __future__ import annotations

import os
import socket
from typing import Any, TypeVar

from twisted.internet import tcp, udp
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import directlyProvides, providedBy

from socks5.net.descriptors import SessionLimit
from socks5.net.ports import BACKLOG, Port, QuietDatagramPort, QuietPort, UNIXPort


def adopted(sock: socket.socket, factory: Any, reactor: Any, limit: SessionLimit) -> Port:
    """A port for a TCP socket that somebody else has opened, and that listens already."""
    name = sock.getsockname()
    port = Port(name[1], factory, BACKLOG, name[0], reactor, limit=limit)
    port.adopt(sock)
    return port


_AnyPort = TypeVar("_AnyPort", QuietPort, QuietDatagramPort, Port, UNIXPort)


def _started(port: _AnyPort) -> _AnyPort:
    port.startListening()
    return port


class QuietReactor:
    """A reactor whose TCP and UDP ports keep quiet; everything else, and all that it provides, is
    the reactor's.
    """

    def __init__(self, reactor: Any) -> None:
        self.wrapped = reactor
        self.seconds, self.callLater = reactor.seconds, reactor.callLater  # often asked for
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> tcp.Port:
        """See :meth:`twisted.internet.interfaces.IReactorTCP.listenTCP`."""
        return _started(QuietPort(port, factory, backlog, interface, self.wrapped))

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> udp.Port:
        """See :meth:`twisted.internet.interfaces.IReactorUDP.listenUDP`."""
        return _started(QuietDatagramPort(port, protocol, interface, maxPacketSize, self.wrapped))


class ListeningReactor:
    """A reactor whose listening ports are a :class:`~socks5.net.ports.Port` or
    :class:`~socks5.net.ports.UNIXPort`; everything else is
    the reactor's.

    For :func:`twisted.internet.endpoints.serverFromString` and the endpoint classes.
    """

    def __init__(self, reactor: Any, limit: SessionLimit) -> None:
        self._reactor = reactor
        self._limit = limit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        """See :meth:`twisted.internet.interfaces.IReactorTCP.listenTCP`."""
        backlog = max(backlog, BACKLOG)
        return _started(Port(port, factory, backlog, interface, self._reactor, limit=self._limit))

    def listenSSL(
        self,
        port: int,
        factory: Any,
        contextFactory: Any,
        backlog: int = 50,
        interface: str = "",
    ) -> Port:
        """See :meth:`twisted.internet.interfaces.IReactorSSL.listenSSL`."""
        over_tls = TLSMemoryBIOFactory(contextFactory, False, factory)
        return self.listenTCP(port, over_tls, backlog, interface)

    def listenUNIX(
        self,
        address: str,
        factory: Any,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: int = 0,
    ) -> UNIXPort:
        """See :meth:`twisted.internet.interfaces.IReactorUNIX.listenUNIX`."""
        backlog = max(backlog, BACKLOG)
        return _started(
            UNIXPort(
                address,
                factory,
                backlog,
                mode,
                self._reactor,
                wantPID,
                limit=self._limit,
            )
        )

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        """See :meth:`twisted.internet.interfaces.IReactorSocket.adoptStreamPort`. A UNIX socket stays Twisted's."""
        if addressFamily == socket.AF_UNIX:
            return self._reactor.adoptStreamPort(fileDescriptor, addressFamily, factory)
        sock = socket.socket(fileno=os.dup(fileDescriptor))
        return adopted(sock, factory, self._reactor, self._limit)
