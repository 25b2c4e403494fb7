"""The listeners of a process that accepts by itself: opened here, or left to it by the process before. The next one may
be left them.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from zope.interface import implementer

from socks5.app.estate import Estate
from socks5.net.descriptors import SessionLimit
from socks5.net.openers import IPortOpener, PortOpener, Ports, Where, adopted_ports
from socks5.net.places import UNIX, Inherited, name_of
from socks5.net.ports import Port
from socks5.net.unix_ports import UNIXPort


@implementer(IPortOpener)
class HomePorts:
    """Opens ports in this process, for sockets that were left where there are any.

    :param reactor: reads them.
    :param limit: of the factory that they are for.
    :param estate: what the process before has left.
    """

    def __init__(self, reactor: Any, limit: SessionLimit, estate: Estate) -> None:
        self.reactor = reactor
        self._limit = limit
        self._estate = estate
        self._opener = PortOpener(reactor, limit)
        self._open: list[tuple[Where, Sequence[Port]]] = []

    def open(self, where: Where, factory: Any) -> Port | Ports:
        """See :meth:`socks5.net.openers.IPortOpener.open`."""
        sockets = self._estate.take(where)
        if sockets:
            port: Port | Ports = adopted_ports(sockets, factory, self.reactor, self._limit)
        else:
            port = self._opener.open(where, factory)
        self._open = [each for each in self._open if any(port.connected for port in each[1])]
        self._open.append((where, list(port) if isinstance(port, Ports) else [port]))
        return port

    def left(self) -> list[tuple[str, list[socket.socket]]]:
        """See :class:`socks5.app.handover.Leaver`."""
        return [
            (name_of(where), [port.socket for port in ports if port.connected])
            for where, ports in self._open
            if not isinstance(where, Inherited)
        ]

    def leave(self) -> None:
        """See :class:`socks5.app.handover.Leaver`."""
        for _, ports in self._open:
            for port in ports:
                port.leave()

    def take_possession(self) -> None:
        """See :class:`socks5.app.handover.Leaver`."""
        for where, ports in self._open:
            for port in ports:
                if isinstance(where, UNIX) and isinstance(port, UNIXPort) and port.connected:
                    port.own(where.path, where.is_locked)
