"""Listening: ports that stop accepting while there is no room, and ports that keep quiet.

:class:`Port` and :class:`UNIXPort` are Twisted's own ports with another accept loop. Where Twisted's
accepts and closes what it has no descriptor for, these leave clients in the kernel's queue: while
the session limit is reached, and for a moment after the system itself has run out.

None of the ports here logs that it starts and ends, as Twisted's do: the service says in a line
of its own where it listens, and the ports of every BIND and UDP ASSOCIATE are nobody's concern.

:class:`ListeningReactor` puts the former under every endpoint that listens by TCP, TLS or UNIX
socket; an inherited socket (``systemd:``) stays Twisted's. :class:`QuietReactor` is for sessions.

Floor 2: imports :mod:`socks5.limits`.
"""

from __future__ import annotations

import errno
import socket
from typing import Any, TypeVar

from twisted.internet import tcp, udp, unix
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger, LogLevel
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python import log
from typing_extensions import override
from zope.interface import directlyProvides, providedBy

from socks5.limits import SessionLimit

BACKLOG = 1024
"""Clients in the kernel's queue; the system may allow fewer (net.core.somaxconn)."""

RETRY_DELAY = 0.5
"""Seconds without accepting after the system could not give us a client."""

BATCH = 64
"""Clients accepted at a time before others get their turn."""

_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})

_THAT_CLIENT_ONLY = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPERM,  # the firewall's word
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
    }
)
"""What accept() reports of a client that is gone already (accept(2), "Error handling")."""

_WITHOUT_TEXT = {"log_format": "", "log_level": LogLevel.debug}
"""Makes a log event one that observers leave out, having nothing to write."""


class _Quiet:
    """Mixed into a port of Twisted's: what that logs by itself has no text."""

    def startListening(self) -> None:
        """See :meth:`twisted.internet.interfaces.IListeningPort.startListening`."""
        log.callWithContext(_WITHOUT_TEXT, super().startListening)  # type: ignore[misc]

    def connectionLost(self, reason: Any = None) -> None:
        """The port is closed."""
        log.callWithContext(_WITHOUT_TEXT, super().connectionLost, reason)  # type: ignore[misc]


class QuietPort(_Quiet, tcp.Port):
    """A TCP port."""


class QuietDatagramPort(_Quiet, udp.Port):
    """A UDP port."""


class Port(QuietPort):
    """A listening TCP port that pauses.

    :param limit: asked before every accept.
    """

    log = Logger()
    factory: Any
    reactor: Any

    def __init__(self, *arguments: Any, limit: SessionLimit) -> None:
        super().__init__(*arguments)
        self._limit = limit
        self._retry: IDelayedCall | None = None
        self._has_complained = False

    @override
    def startListening(self) -> None:
        self.factory.noisy = False  # an endpoint's wrapper announces itself, unless told not to
        super().startListening()
        self._limit.listeners.add(self)

    @override
    def doRead(self) -> None:
        for _ in range(BATCH):
            if self.disconnecting:
                return
            if not self._limit.has_room:
                self.pause()
                return
            try:
                connection, address = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _THAT_CLIENT_ONLY:
                    continue
                self._wait(error)
                return
            self._has_complained = False
            self._serve(connection, address)

    def _serve(self, connection: socket.socket, address: Any) -> None:
        """Give one client its session; what goes wrong with that is no other client's concern."""
        transport = None
        try:
            protocol = self.factory.buildProtocol(self._buildAddr(address))
            if protocol is None:
                connection.close()
                return
            self.sessionno += 1
            transport = self.transport(
                connection, protocol, address, self, self.sessionno, self.reactor
            )
            protocol.makeConnection(transport)
        except Exception:
            self.log.failure("a client could not be served")
            if transport is None:
                connection.close()
            else:
                transport.abortConnection()

    def _wait(self, error: OSError) -> None:
        """The system has no client for us now, for want of descriptors as a rule: try again later,
        and say so once.
        """
        if not self._has_complained:
            self._has_complained = True
            self.log.warn(
                "accepting pauses: {reason}{hint}",
                reason=error.strerror,
                hint="; raise the limit of open files (ulimit -n) or lower --max-sessions"
                if error.errno in _OUT_OF_DESCRIPTORS
                else "",
            )
        self.pause()
        self._retry = self.reactor.callLater(RETRY_DELAY, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self.resume()

    def pause(self) -> None:
        """See :meth:`socks5.limits.Pausable.pause`."""
        self.stopReading()

    def resume(self) -> None:
        """See :meth:`socks5.limits.Pausable.resume`. Nothing happens while another reason to wait
        holds.
        """
        if self._limit.has_room and self._retry is None and not self.disconnecting:
            self.startReading()

    @override
    def connectionLost(self, reason: Any = None) -> None:
        self._limit.listeners.discard(self)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        super().connectionLost(reason)


class UNIXPort(Port, unix.Port):
    """The same for a UNIX socket."""


_AnyPort = TypeVar("_AnyPort", QuietPort, QuietDatagramPort, Port, UNIXPort)


def _started(port: _AnyPort) -> _AnyPort:
    port.startListening()
    return port


class QuietReactor:
    """A reactor whose TCP and UDP ports keep quiet; everything else, and all that it provides, is
    the reactor's.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> tcp.Port:
        """See :meth:`twisted.internet.interfaces.IReactorTCP.listenTCP`."""
        return _started(QuietPort(port, factory, backlog, interface, self._reactor))

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> udp.Port:
        """See :meth:`twisted.internet.interfaces.IReactorUDP.listenUDP`."""
        return _started(QuietDatagramPort(port, protocol, interface, maxPacketSize, self._reactor))


class ListeningReactor:
    """A reactor whose listening ports are a :class:`Port` or :class:`UNIXPort`; everything else is
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
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
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
        wantPID: int = 0,  # noqa: N803
    ) -> UNIXPort:
        """See :meth:`twisted.internet.interfaces.IReactorUNIX.listenUNIX`."""
        backlog = max(backlog, BACKLOG)
        return _started(
            UNIXPort(address, factory, backlog, mode, self._reactor, wantPID, limit=self._limit)
        )
