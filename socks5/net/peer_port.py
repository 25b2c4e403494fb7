"""A listening TCP socket in a poller, for the peer of a BIND."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from socks5.net.addresses import address_from
from socks5.net.connection import Connection
from socks5.net.poller import Poller
from socks5.net.ports import RETRY_DELAY, THAT_CLIENT_ONLY, Port
from socks5.net.serving import BATCH
from socks5.net.tcp_options import prepare
from socks5.protocol.address import Address
from socks5.streams import IStream

_STREAM = socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0)


class PeerConnection(Connection):
    """The peer's connection: a client is told where it comes from."""

    __slots__ = ()

    bound = Connection.far


class PeerPort:
    """A listening TCP socket in a poller, for the peer of a BIND.

    :param poller: tells us of peers.
    :param interface: the IP literal to listen on.
    :param port: the port; 0: the system's choice.
    :param awaits: asked with the IP literal of each that connects; others are closed.
    :param connected: called with the stream of each that is let in.
    :raises twisted.internet.error.CannotListenError: the system does not let us.
    """

    __slots__ = ("_awaits", "_connected", "_poller", "_socket")

    def __init__(
        self,
        poller: Poller,
        interface: str,
        port: int,
        awaits: Callable[[str], bool],
        connected: Callable[[IStream], None],
    ) -> None:
        self._poller = poller
        self._awaits = awaits
        self._connected = connected
        self._socket: socket.socket | None = None
        kind = socket.AF_INET6 if ":" in interface else socket.AF_INET
        try:
            self._socket = socket.socket(kind, _STREAM)
            prepare(self._socket)
            self._listen(self._socket, interface, port)
        except OSError as error:
            self.stopListening()
            raise CannotListenError(interface, port, error) from None

    def _listen(self, sock: socket.socket, interface: str, port: int) -> None:
        """:raises OSError: the system does not let us."""
        # Resolved for the sake of an IPv6 zone.
        flags = socket.AI_NUMERICHOST
        sock.bind(socket.getaddrinfo(interface, port, type=socket.SOCK_STREAM, flags=flags)[0][4])
        sock.listen()
        self._poller.add(sock.fileno(), self)

    def getHost(self) -> Address:
        """Where it listens."""
        assert self._socket is not None
        return address_from(self._socket.getsockname())

    def ready(self, events: int) -> None:
        """See :class:`socks5.net.poller.Owner`."""
        for _ in range(BATCH):
            if self._socket is None:
                return
            try:
                sock, name = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in THAT_CLIENT_ONLY:
                    continue
                self._poller.again_later(self._socket.fileno(), RETRY_DELAY)
                return
            self._meet(sock, name)
        if self._socket is not None:
            self._poller.again(self._socket.fileno())

    def _meet(self, sock: socket.socket, name: Any) -> None:
        """Let a peer in, or close its connection."""
        is_awaited = False
        try:
            is_awaited = self._awaits(address_from(name).text)
        finally:
            if not is_awaited:
                sock.close()
        if is_awaited:
            sock.setblocking(False)
            connection = PeerConnection(self._poller, sock, None, name)
            self._poller.add(connection.fd, connection)
            self._connected(connection)

    def crashed(self, failure: Failure) -> None:
        """See :class:`socks5.net.poller.Owner`: a peer that could not be let in. The wait goes on."""
        Port.log.failure("a peer could not be let in", failure=failure)
        if self._socket is not None:  # others may have come with it
            self._poller.again_later(self._socket.fileno(), RETRY_DELAY)

    def stopListening(self) -> None:
        """Close the socket; may be called twice."""
        sock, self._socket = self._socket, None
        if sock is not None:
            self._poller.forget(sock.fileno())
            sock.close()
