"""How a client that was accepted gets its session: on a transport of Twisted's, or on one of ours."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from socks5.net.addresses import address_from
from socks5.net.poller import Poller

BATCH = 4
"""Clients that are served with Twisted's transports, over TLS for example, or peers looked at, at a time before others
get their turn."""

LEAN_BATCH = 16
"""Clients that are served with our own: each costs a fraction."""


def _innermost(protocol: Any) -> Any:
    """What stands behind the wrappers that a factory has put around it: TLS, a PROXY header."""
    while (wrapped := getattr(protocol, "wrappedProtocol", None)) is not None:
        protocol = wrapped
    return protocol


class TwistedService:
    """Serves with Twisted's transports.

    :param port: Twisted's, or a kind of it; whose factory has the sessions.
    """

    def __init__(self, port: Any) -> None:
        self._port = port

    def serve(self, connection: socket.socket, address: Any) -> None:
        """Give one client its session; what goes wrong with that is no other client's concern."""
        port = self._port
        protocol = transport = None
        try:
            protocol = port.factory.buildProtocol(port._buildAddr(address))
            if protocol is None:
                connection.close()
                return
            port.sessionno += 1
            transport = port.transport(
                connection, protocol, address, port, port.sessionno, port.reactor
            )
            protocol.makeConnection(transport)
        except Exception:
            port.log.failure("a client could not be served")
            if transport is not None:
                transport.abortConnection()
                return
            connection.close()
            if protocol is not None:
                _innermost(protocol).connectionLost(Failure(ConnectionLost()))


class LeanService:
    """Serves with what the factory has for Twisted's transport, its ``connection_type``: such as a
    :class:`~socks5.net.connection.Connection`.

    :param port: listens; whose factory has the sessions.
    :param poller: tells the connections of their events.
    """

    def __init__(self, port: Any, poller: Poller) -> None:
        self._port = port
        self._poller = poller
        self._kind = port.factory.connection_type
        self._family = int(port.addressFamily)
        near = address_from(port.socket.getsockname())
        self._near = None if near.is_unspecified else near

    def serve(self, client: int, address: Any) -> None:
        """See :meth:`TwistedService.serve`."""
        poller = self._poller
        sock = socket.SocketType(self._family, socket.SOCK_STREAM, 0, client)
        connection = None
        try:
            protocol = self._port.factory.buildProtocol(address[0])
            if protocol is None:
                sock.close()
                return
            sock.setblocking(False)
            connection = self._kind(poller, sock, self._near, address)
            connection.receiver = protocol
            poller.add(connection.fd, connection, connection.events)
            protocol.makeConnection(connection)
        except Exception:
            self._port.log.failure("a client could not be served")
            if connection is None:
                sock.close()
            else:
                connection.abortConnection()
