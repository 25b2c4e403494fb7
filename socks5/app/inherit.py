"""One of several processes on the same ports: what a worker inherits.

Every listener of a worker takes the socket that the parent has opened for the like of it, whatever the order. What the
two tell each other goes through a channel (:mod:`socks5.app.channel`). When a worker ends, its parent says there:
:data:`DRAIN`, or the end of the channel, which comes with the parent's own, too.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from tempfile import TemporaryFile
from typing import IO, Any

from twisted.internet.error import CannotListenError, ReactorNotRunning
from zope.interface import implementer

from socks5.app.channel import Channel
from socks5.net.descriptors import SessionLimit
from socks5.net.openers import IPortOpener, Ports, Where, adopted_ports
from socks5.net.places import Inherited, name_of
from socks5.net.ports import Port

FIRST_DESCRIPTOR = 3
"""Where a worker's inherited sockets begin; before them are the standard streams."""

DRAIN = "drain"
"""By this kind of message a parent tells a worker to listen no more, and to end when its last session is gone."""

MORE = "more"
"""The name of a socket that belongs to the place before it, which has several."""

VARIABLE = "SOCKS5_WORKER"
"""The environment variable by which a parent tells a process that it is a worker."""


def file_of(octets: bytes) -> IO[bytes]:
    """A file in memory that holds these octets, for processes that inherit it."""
    has_memory = hasattr(os, "memfd_create")
    file = os.fdopen(os.memfd_create("told"), "r+b") if has_memory else TemporaryFile()  # noqa: SIM115
    file.write(octets)
    file.flush()
    return file


def told_by(descriptor: int) -> bytes:
    """What is in such a file, which others read as well."""
    octets, size = b"", os.fstat(descriptor).st_size
    while len(octets) < size:
        octets += os.pread(descriptor, size - len(octets), len(octets))
    return octets


@implementer(IPortOpener)
class InheritedPorts:
    """A worker's opener: each listener takes the socket that the parent has opened for it.

    :param reactor: reads them.
    :param limit: of the factory that they are for.
    :param names: what was inherited, see :attr:`Worker.sockets`.
    :param descriptors: the same; default: those of a process that begins.
    :param is_asleep: whether nobody is accepted before :meth:`wake`.
    """

    def __init__(
        self,
        reactor: Any,
        limit: SessionLimit,
        names: Sequence[str],
        descriptors: Iterable[int] | None = None,
        is_asleep: bool = False,
    ) -> None:
        self.reactor = reactor
        self._limit = limit
        self._sockets: dict[str, deque[list[socket.socket]]] = {}
        self._is_asleep = is_asleep
        self._asleep: list[Port] = []
        place: list[socket.socket] = []
        numbers = count(FIRST_DESCRIPTOR) if descriptors is None else descriptors
        for name, number in zip(names, numbers, strict=False):
            sock = socket.socket(fileno=number)
            sock.set_inheritable(False)
            if name != MORE:
                place = []
                self._sockets.setdefault(name, deque()).append(place)
            place.append(sock)

    def open(self, where: Where, factory: Any) -> Port | Ports:
        """See :meth:`socks5.net.openers.IPortOpener.open`.

        :raises twisted.internet.error.CannotListenError: the parent has opened no such socket, or no more: this machine
            does not have that address.
        """
        name = name_of(where)
        places = self._sockets.get(name)
        if not places:
            reason = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
            raise CannotListenError(None, name, reason)
        port = adopted_ports(
            places.popleft(), factory, self.reactor, self._limit, isinstance(where, Inherited)
        )
        if self._is_asleep:
            self._put_to_sleep(port if isinstance(port, Ports) else [port])
        return port

    def _put_to_sleep(self, ports: Iterable[Port]) -> None:
        for port in ports:
            port.pause()
            self._limit.listeners.discard(port)  # which has ports resume
            self._asleep.append(port)

    def wake(self) -> None:
        """Accept clients from now on."""
        for port in self._asleep:
            self._limit.listeners.add(port)
            port.resume()

    def close(self) -> None:
        """Give up what nobody took."""
        for places in self._sockets.values():
            for place in places:
                for sock in place:
                    sock.close()


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker learns from its parent.

    :param number: from 1.
    :param count: how many workers there are.
    :param sockets: which it inherits, see :func:`~socks5.net.places.name_of`: from :data:`FIRST_DESCRIPTOR` on, in this
        order.
    :param output: the descriptor of the parent's standard output, for the access log.
    :param channel: that of the channel to the parent.
    :param ports: that of the table of ports that all workers share, see :class:`socks5.net.own.OwnPorts`.
    :param told: that of a file with what the parent tells its workers besides, see :func:`told_by`; 0: nothing.
    """

    number: int
    count: int
    sockets: Sequence[str]
    output: int
    channel: int
    ports: int
    told: int = 0

    @classmethod
    def from_environment(cls) -> Worker | None:
        """This process as a worker, or None if it is none."""
        text = os.environ.pop(VARIABLE, None)
        return None if text is None else cls(**json.loads(text))

    @property
    def environment(self) -> str:
        """What stands in :data:`VARIABLE` for this worker."""
        return json.dumps(asdict(self))

    def channel_to_parent(self, reactor: Any) -> Channel:
        """The channel, which is not open yet."""
        end = socket.socket(fileno=self.channel)
        end.set_inheritable(False)
        return Channel(reactor, end)


def obey(channel: Channel, reactor: Any, drain: Callable[[], object]) -> None:
    """Do as the parent says. Ctrl-C in a terminal, and a hand-over, are the parent's to hear of.

    :param channel: to the parent; it is opened.
    :param drain: called when it tells to drain.
    """
    for number in signal.SIGINT, signal.SIGUSR2:
        signal.signal(number, signal.SIG_IGN)

    def ended() -> None:
        with suppress(ReactorNotRunning):  # a signal had it stop, and this is of the same turn
            reactor.stop()

    channel.hear(DRAIN, lambda message, descriptors: drain())
    channel.open(ended)
