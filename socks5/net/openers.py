"""Who opens a port: the one seam below every listener.

Here is the opener of a process that listens for itself. Those of several processes on the same ports are in
:mod:`socks5.app.inherit`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.python.components import proxyForInterface
from zope.interface import Attribute, Interface, implementer

from socks5.net.descriptors import SessionLimit
from socks5.net.places import BACKLOG, TCP, UNIX, Inherited
from socks5.net.ports import Port
from socks5.net.unix_ports import NO_FILE, UNIXPort

Where = TCP | UNIX | Inherited
"""What can be opened: everything but what only a foreign endpoint knows."""


class IOpenPort(IListeningPort):
    """A port that can also be closed without turning away who has come."""

    def finish() -> Deferred[None]:
        """Serve the clients that wait in the kernel's queue already, for a second at the most, and close. Those of a
        socket that others have opened, as systemd has, are left there, for whoever listens next.

        :returns: fires with None when the port is closed. Clients that wait for their turn among those of their address
            keep it until the port is told to stop listening.
        """


class IServedPort(IOpenPort):
    """A port that can also serve with something else than it was opened for."""

    sessions: Any = Attribute("The factory of the sessions of its clients.")

    def serve(served: Any) -> None:
        """Serve with something else who comes from now on.

        :param served: what :func:`socks5.net.listening.served` gives.
        """


class IPortOpener(Interface):
    """Opens ports, or stands for who does."""

    reactor: Any = Attribute("The reactor of the ports.")

    def open(where: Where, factory: Any) -> IListeningPort:
        """Open a port.

        :param where: what clients connect to.
        :param factory: builds a protocol for each.
        :raises twisted.internet.error.CannotListenError: the system does not let us, or somebody is there already.
        """


def adopted(
    sock: socket.socket,
    factory: Any,
    reactor: Any,
    limit: SessionLimit,
    is_left_to_others: bool = False,
) -> Port:
    """A port for a socket that somebody else has opened, and that listens already; ours from now on.

    :param is_left_to_others: see :meth:`socks5.net.ports.Port.adopt`.
    """
    if sock.family == socket.AF_UNIX:
        port: Port = UNIXPort(NO_FILE, factory, BACKLOG, 0, reactor, limit=limit)
    else:
        interface, number = sock.getsockname()[:2]
        port = Port(number, factory, BACKLOG, interface, reactor, limit=limit)
    port.adopt(sock, is_left_to_others)
    return port


@implementer(IOpenPort)
class Ports(proxyForInterface(IListeningPort, "first")):  # type: ignore[misc]
    """Several sockets of one address, as one port."""

    def __init__(self, ports: Sequence[Port]) -> None:
        super().__init__(ports[0])
        self._ports = ports

    def __iter__(self) -> Iterator[Port]:
        return iter(self._ports)

    def stopListening(self) -> Deferred[Any]:
        """See :meth:`twisted.internet.interfaces.IListeningPort.stopListening`."""
        closing = [maybeDeferred(port.stopListening) for port in self._ports]
        return DeferredList(closing, consumeErrors=True)

    def finish(self) -> Deferred[None]:
        """See :meth:`socks5.net.openers.IOpenPort.finish`."""
        finishing = DeferredList([port.finish() for port in self._ports])
        return finishing.addCallback(lambda _: None)

    def serve(self, factory: Any) -> None:
        """See :meth:`socks5.net.ports.Port.serve`."""
        for port in self._ports:
            port.serve(factory)


def adopted_ports(
    sockets: Sequence[socket.socket],
    factory: Any,
    reactor: Any,
    limit: SessionLimit,
    is_left_to_others: bool = False,
) -> Port | Ports:
    """The same for all sockets of one address, of which there is one at least."""
    ports = [adopted(sock, factory, reactor, limit, is_left_to_others) for sock in sockets]
    return ports[0] if len(ports) == 1 else Ports(ports)


@implementer(IPortOpener)
class PortOpener:
    """Opens ports in this process that keep to the session limit.

    :param reactor: reads them.
    :param limit: of the factory that they are for.
    """

    def __init__(self, reactor: Any, limit: SessionLimit) -> None:
        self.reactor = reactor
        self._limit = limit

    def open(self, where: Where, factory: Any) -> Port:
        """See :meth:`IPortOpener.open`."""
        if isinstance(where, Inherited):
            return adopted(where.duplicate(), factory, self.reactor, self._limit, True)
        backlog = max(where.backlog, BACKLOG)
        if isinstance(where, TCP):
            at: tuple[Any, ...] = where.port, factory, backlog, where.interface, self.reactor
            port = Port(*at, limit=self._limit)
        else:
            at = where.path, factory, backlog, where.mode, self.reactor, where.is_locked
            port = UNIXPort(*at, limit=self._limit)
        port.startListening()
        return port
