"""One attempt to connect to one address: on a socket of our own, or through Twisted's endpoints.

:class:`Connecting` is a non-blocking ``connect`` and one registration in a :class:`~socks5.net.poller.Poller`:
:class:`Single` where a target has one address, :class:`SocketAttempt` where it has several.
:class:`EndpointAttempt` does it wherever there is no poller. Each tells its outcome once, a connected
stream or a failure; or nothing any more after its ``cancel``.
"""

from __future__ import annotations

import errno
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from operator import methodcaller
from typing import Any, Protocol

from twisted.internet import protocol
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import getConnectError
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.deadlines import Line
from socks5.net.addresses import address_from
from socks5.net.connection import Connection
from socks5.net.poller import HUNG_UP, WRITABLE, Poller
from socks5.net.tcp_options import prepare, prepare_transport
from socks5.net.transport_stream import TransportStream
from socks5.protocol.errors import TTLExpired
from socks5.protocol.networks import socket_name
from socks5.streams import IStream

_IP_BIND_ADDRESS_NO_PORT = 24
"""Linux: choose the source port when connecting, so that one port serves many destinations
(ip(7)).
"""

_IPV4, _IPV6 = int(socket.AF_INET), int(socket.AF_INET6)

_UNDER_WAY = frozenset({0, errno.EINPROGRESS})
"""What connect(2) says unless it has failed."""

_STREAM = socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0)

Outcome = Any  # IStream | Failure

_log = Logger()


class Attempt(Protocol):
    """An attempt at one address."""

    def start(self) -> None:
        """Begin; may call *done* at once."""

    def cancel(self) -> None:
        """Give up; *done* is not called any more."""


class Stream(TransportStream):
    """The stream of a transport of Twisted's: octets are passed on as they come."""

    @override
    def makeConnection(self, transport: Any) -> None:
        """The peer is there."""
        prepare_transport(transport)
        super().makeConnection(transport)  # type: ignore[no-untyped-call]


class Streams(protocol.Factory):
    """Makes a stream for every connection."""

    noisy = False
    protocol = Stream


class EndpointAttempt:
    """Through a client endpoint of Twisted's."""

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        source: str | None,
        timeout: float,
        done: Callable[[Attempt, Outcome], None],
    ) -> None:
        kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        bind = None if source is None else (source, 0)
        self._connecting = kind(reactor, host, port, timeout=timeout, bindAddress=bind).connect(
            Streams()
        )
        self._is_cancelled = False
        self._done = done

    def start(self) -> None:
        """See :class:`Attempt`."""
        self._connecting.addBoth(self._finish)

    def _finish(self, outcome: Outcome) -> None:
        if not self._is_cancelled:
            self._done(self, outcome)

    def cancel(self) -> None:
        """See :class:`Attempt`."""
        self._is_cancelled = True
        self._connecting.cancel()


class Connecting(ABC):
    """On a socket of our own. A subclass says whom the outcome is told."""

    __slots__ = ("_far", "_poller", "_source", "socket")

    def __init__(self, poller: Poller, host: str, port: int, source: str | None) -> None:
        self._poller = poller
        self._far: tuple[Any, ...] = (host, port)
        self._source = source
        self.socket: socket.SocketType | None = None

    @abstractmethod
    def done(self, outcome: Outcome) -> None:
        """There is a stream, or a failure. Said once."""

    def connect(self) -> None:
        """Begin. The target is woken together with those of others."""
        try:
            self._make()
        except OSError as error:
            self._fail(error.errno or errno.EIO)
            return
        self._poller.behind(self._knock)

    def _knock(self) -> None:
        sock = self.socket
        if sock is None:  # cancelled meanwhile
            return
        try:
            number = sock.connect_ex(self._far)
            if number in _UNDER_WAY:
                self._poller.add(sock.fileno(), self)
                return
        except OSError as error:
            number = error.errno or errno.EIO
        self._fail(number)

    def _make(self) -> None:
        """Make the socket.

        :raises OSError: there is none, or not with that source address.
        """
        host = self._far[0]
        family = _IPV6 if ":" in host else _IPV4
        sock = self.socket = socket.SocketType(family, _STREAM)
        prepare(sock)
        if self._source is not None:
            with suppress(OSError):  # Linux before 4.2 chooses at once
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((self._source, 0))
        if "%" in host:
            self._far = socket_name(*self._far)

    def ready(self, events: int) -> None:
        """See :class:`socks5.net.poller.Owner`."""
        sock = self.socket
        assert sock is not None
        if events & HUNG_UP:
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                self._fail(number)
                return
        if events & WRITABLE:
            name, far = sock.getsockname(), self._far
            if (
                name[1] == far[1] and name[0] == far[0]
            ):  # by chance TCP can connect a port to itself
                self._fail(errno.ECONNREFUSED)
            else:
                self.connected(sock, name, events)

    def connected(self, sock: socket.SocketType, name: Any, events: int) -> None:
        """It is.

        :param name: its near end, as the socket module has it.
        :param events: what else is the case already.
        """
        connection = Connection(self._poller, sock, address_from(name), self._far)
        self.socket = None
        self._poller.hand_over(connection.fd, connection)
        connection.is_readable = events != WRITABLE
        self.done(connection)
        connection.start()

    def crashed(self, failure: Failure) -> None:
        """See :class:`socks5.net.poller.Owner`: the attempt has failed, unless it was over."""
        if self.socket is None:
            _log.failure("whom an attempt was for failed", failure=failure)
        else:
            self._close()
            self.done(failure)

    def _fail(self, number: int) -> None:
        self._close()
        self.done(Failure(getConnectError((number, os.strerror(number)))))

    def _close(self) -> None:
        sock, self.socket = self.socket, None
        if sock is not None:
            self._poller.forget(sock.fileno())
            sock.close()

    def cancel(self) -> None:
        """See :class:`Attempt`."""
        self._close()


class SocketAttempt(Connecting):
    """One of several."""

    __slots__ = ("_done",)

    def __init__(
        self,
        poller: Poller,
        host: str,
        port: int,
        source: str | None,
        done: Callable[[Attempt, Outcome], None],
    ) -> None:
        super().__init__(poller, host, port, source)
        self._done = done

    def start(self) -> None:
        """See :class:`Attempt`."""
        self.connect()

    @override
    def done(self, outcome: Outcome) -> None:
        self._done(self, outcome)


class Cancellable(Protocol):
    """What is under way."""

    def cancel(self) -> None:
        """Give it up. Nothing happens if it is over."""


class Waiter(Protocol):
    """Who waits for a stream."""

    def came(self, stream: IStream) -> None:
        """It is there."""

    def failed(self, failure: Failure) -> None:
        """There will be none."""


TOO_LONG = methodcaller("too_long")
"""What is done with a :class:`Single` whose time is over."""


class Single(Connecting):
    """The only one, at a target that has one address.

    :param line: serves its time-out.
    """

    __slots__ = ("_line", "waiter")

    def __init__(
        self, poller: Poller, host: str, port: int, source: str | None, line: Line
    ) -> None:
        Connecting.__init__(self, poller, host, port, source)
        self._line = line
        self.waiter: Any = None

    def begin(self, waiter: Waiter) -> None:
        """Begin, and tell *waiter* how it went, maybe at once, unless it is cancelled."""
        self.waiter = waiter
        self._line.set(self)
        self.connect()

    @override
    def done(self, outcome: Outcome) -> None:
        waiter = self.settle()
        if isinstance(outcome, Failure):
            waiter.failed(outcome)
        else:
            waiter.came(outcome)

    def settle(self) -> Any:
        """It is over.

        :returns: who waits.
        """
        self._line.clear(self)
        waiter, self.waiter = self.waiter, None
        return waiter

    def too_long(self) -> None:
        """It has taken so long that it has failed."""
        self._close()
        self.done(silence(self._line.seconds))

    @override
    def cancel(self) -> None:
        """See :class:`Attempt`. Nothing happens to one that is over."""
        self.settle()
        self._close()


def silence(seconds: float) -> Failure:
    """What it is when no address has answered in time."""
    return Failure(TTLExpired(f"no answer within {seconds:g} s"))
