"""Ports that do not log that they start and end, as Twisted's do.

The service says in a line of its own where it listens, and the ports of every BIND and UDP ASSOCIATE are nobody's
concern. Those are Twisted's only where there is no poller, see :mod:`socks5.net.peer_port` and
:mod:`socks5.net.datagram_ports`.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp, udp
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import LogLevel
from twisted.python import log
from typing_extensions import override

DATAGRAMS = 32
"""Datagrams of one socket taken at a time before others get their turn."""

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
    """A UDP port, where there is no poller for one of :mod:`socks5.net.batch`."""

    @override
    def doRead(self) -> None:
        """Hand on what has arrived, at most :data:`DATAGRAMS`: Twisted's own goes on until so many octets were
        read, which datagrams without any never are.
        """
        receive: Any = self.socket.recvfrom
        for _ in range(DATAGRAMS):
            try:
                data, name = receive(self.maxPacketSize)
            except OSError:  # nothing more, or some error, which is about one datagram
                return
            self.protocol.datagramReceived(data, name[:2])


def listen_tcp_quietly(reactor: Any, port: int, factory: Any, interface: str) -> Any:
    """:meth:`twisted.internet.interfaces.IReactorTCP.listenTCP`, without a line in the log.

    :raises twisted.internet.error.CannotListenError: the system does not let us.
    """
    if not isinstance(reactor, PosixReactorBase):  # which has ports of its own
        return reactor.listenTCP(port, factory, interface=interface)
    quiet = QuietPort(port, factory, 50, interface, reactor)
    quiet.startListening()
    return quiet


def listen_udp_quietly(
    reactor: Any, port: int, protocol: Any, interface: str, max_packet_size: int
) -> Any:
    """:meth:`twisted.internet.interfaces.IReactorUDP.listenUDP`, without a line in the log.

    :raises twisted.internet.error.CannotListenError: the system does not let us.
    """
    if not isinstance(reactor, PosixReactorBase):
        return reactor.listenUDP(port, protocol, interface=interface, maxPacketSize=max_packet_size)
    quiet = QuietDatagramPort(port, protocol, interface, max_packet_size, reactor)
    quiet.startListening()
    return quiet
