"""Ports that stop accepting while there is no room.

:class:`Port` is Twisted's own port with another accept loop; for UNIX sockets see :mod:`socks5.net.unix_ports`. Where
Twisted's accepts and closes what it has no descriptor for, these leave clients in the kernel's
queue: while the session limit is reached, and after the system itself has run out. Nobody waits there for long
(:mod:`socks5.net.shortage`). And of one address only some clients negotiate at a time (:mod:`socks5.net.crowds`).
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.net.descriptors import SessionLimit, Spare
from socks5.net.places import BACKLOG
from socks5.net.poller import Poller, poller_of
from socks5.net.quiet_ports import QuietPort
from socks5.net.serving import BATCH, LEAN_BATCH, LeanService, TwistedService
from socks5.net.tcp_options import keep_alive, prepare
from socks5.settings import Settings

FINISH_TIME = 1.0
"""Seconds that a port which is to close serves those who wait in the kernel's queue. It is long for a queue, and an end
for one that is never empty, because clients keep coming, or there is no room.
"""

RETRY_DELAY = 0.5
"""Seconds without accepting after the system could not give us a client."""

LOOK = 1024
"""Clients that are accepted at a time, those that have to wait included: for them next to nothing is done."""

_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})

THAT_CLIENT_ONLY = frozenset(
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


def prepare_listening(sock: socket.socket, factory: Any) -> None:
    """Set the options that the sockets of a factory's clients inherit; a UNIX socket has none. The sessions of one
    that stands behind others, as behind TLS, set theirs themselves.
    """
    if sock.family == socket.AF_UNIX:
        return
    settings: Settings | None = getattr(factory, "settings", None)
    prepare(sock)
    if settings is not None:
        keep_alive(sock, settings.keepalive)


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
        self._queued = 0  # clients in the kernel's queue at the last look
        self._taken = 0  # accepted since, from its front
        self._late = 0  # at its front, to be turned away
        self._counts_addresses = self._has_addresses = True
        self._spare = Spare()
        self._poller: Poller | None = None
        self._serve: Callable[[Any, Any], None] = TwistedService(self).serve
        self._is_watched = False
        self._finishing: IDelayedCall | None = None  # the latest moment, once it is to close
        self._finished: Deferred[None] | None = None
        self._is_left_to_others = False
        self._keeps_crowd = self._takes_the_last = False

    @override
    def createInternetSocket(self) -> socket.socket:
        sock: socket.socket = super().createInternetSocket()  # type: ignore[no-untyped-call]
        prepare_listening(sock, self.factory)
        return sock

    def adopt(self, sock: socket.socket, is_left_to_others: bool = False) -> None:
        """Listen on a socket that listens already, instead of a new one.

        :param is_left_to_others: whether others serve it after us: :meth:`finish` leaves them who waits there.
        """
        self._is_left_to_others = is_left_to_others
        sock.setblocking(False)
        prepare_listening(sock, self.factory)
        self._preexistingSocket = sock
        self._shouldShutdown = False  # others may listen on it, too
        self.startListening()

    def leave(self) -> None:
        """From now on others serve the socket after us: nothing of it is shut or deleted when this port closes."""
        self._is_left_to_others = True
        self._shouldShutdown = False

    def settings_changed(self) -> None:
        """See :class:`socks5.net.shortage.Pausable`."""
        prepare_listening(self.socket, self.factory)

    @override
    def startListening(self) -> None:
        self.factory.noisy = False  # an endpoint's wrapper announces itself, unless told not to
        super().startListening()
        self._limit.listeners.add(self)
        self._spare.take_back()
        self._has_addresses = self.addressFamily != socket.AF_UNIX
        self.stopReading()
        self._begin_service()
        self.startReading()

    def serve(self, factory: Any) -> None:
        """Serve who comes from now on with another factory."""
        if not self.connected:
            return
        before, self.factory = self.factory, factory
        factory.noisy = False
        factory.doStart()
        prepare_listening(self.socket, factory)
        self.stopReading()
        self._begin_service()
        self.resume()
        before.doStop()

    def _begin_service(self) -> None:
        """Serve as the factory of now wants it."""
        self._counts_addresses = not getattr(self.factory, "is_behind_balancer", False)
        is_lean = self._has_addresses and getattr(self.factory, "connection_type", None) is not None
        self._poller = poller = poller_of(self.reactor) if is_lean else None
        of_twisted = TwistedService(self)
        self._serve = of_twisted.serve if poller is None else LeanService(self, poller).serve

    @override
    def startReading(self) -> None:
        if self._poller is None:
            super().startReading()  # type: ignore[no-untyped-call]
        elif not self._is_watched:
            self._is_watched = True
            self._poller.watch(self.fileno(), self)

    @override
    def stopReading(self) -> None:
        if self._poller is None:
            super().stopReading()  # type: ignore[no-untyped-call]
        elif self._is_watched:
            self._is_watched = False
            self._poller.remove(self.fileno())

    def ready(self, events: int) -> None:
        """See :class:`socks5.net.poller.Owner`: clients wait."""
        self.doRead()

    def crashed(self, failure: Failure) -> None:
        """See :class:`socks5.net.poller.Owner`. Clients are accepted again after a moment."""
        self.log.failure("accepting failed", failure=failure)
        self._rest()

    @override
    def doRead(self) -> None:
        served, batch = 0, BATCH if self._poller is None else LEAN_BATCH
        limit, accept = self._limit, self._accepting()
        for _ in range(LOOK):
            if self.disconnecting or served == batch:
                return
            if not (limit.has_room or self._late):
                self.pause()
                return
            try:
                client, address = accept()
            except BlockingIOError:
                self._queued = self._late = 0
                if self._finishing is not None:
                    self._queue_ends()
                return
            except OSError as error:
                if error.errno in THAT_CLIENT_ONLY or self._turns_one_away(error):
                    continue
                self._wait(error)
                return
            served += self._receive(client, address)

    def _accepting(self) -> Any:
        """What gives the next client: its socket, and its address as the socket module has it. It raises OSError if
        there is none.

        For a :class:`~socks5.net.connection.Connection` the socket is its descriptor: the layer in Python around it
        costs as much as accept(2) itself.
        """
        listening: Any = self.socket
        return listening.accept if self._poller is None else listening._accept

    def _receive(self, client: Any, address: Any) -> bool:
        """Serve a client that was accepted, let it wait for its turn, or close it.

        :returns: whether it was served.
        """
        limit = self._limit
        self._taken += 1
        if self._late:
            self._late -= 1
        host = address[0] if self._has_addresses else ""
        if not limit.has_room:
            limit.turn_away()
            self._close(client)
        elif not self._counts_addresses or limit.crowds.is_free(host):
            self._serve(client, address)
            return True
        elif limit.crowds.wait(host, self, (client, address)):
            limit.enter()
        else:
            limit.turn_away_from_crowd(host)
            self._close(client)
        return False

    @staticmethod
    def _close(client: Any) -> None:
        """Close a client that nobody serves."""
        socket.close(client if isinstance(client, int) else client.detach())

    def take(self, client: Any) -> None:
        """See :meth:`socks5.net.crowds.Holder.take`."""
        sock, address = client
        try:
            self._limit.leave()
        finally:  # nobody else knows of this client's descriptor
            self._serve(self._as_served(sock), address)

    def _as_served(self, client: Any) -> Any:
        """A client that was accepted before others were served here than now: see :meth:`_accepting`."""
        if self._poller is None:
            return socket.socket(fileno=client) if isinstance(client, int) else client
        return client if isinstance(client, int) else client.detach()

    def drop(self, client: Any) -> None:
        """See :meth:`socks5.net.crowds.Holder.drop`."""
        sock, address = client
        self._close(sock)
        self._limit.turn_away_from_crowd(address[0] if self._has_addresses else "")
        self._limit.leave()

    def _wait(self, error: OSError) -> None:
        """The system has no client for us now, for want of descriptors as a rule: try again later."""
        self._limit.shortage.met(
            error.strerror or "accepting fails",
            "raise the limit of open files (ulimit -n) or lower --max-sessions"
            if error.errno in _OUT_OF_DESCRIPTORS
            else "",
        )
        self._rest()

    def _rest(self) -> None:
        """Accept nobody for a moment."""
        self.pause()
        if self._retry is None:  # who is turned away meanwhile may have failed, too
            self._retry = self.reactor.callLater(RETRY_DELAY, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._spare.take_back()
        self.resume()

    def pause(self) -> None:
        """See :meth:`socks5.net.shortage.Pausable.pause`."""
        self.stopReading()

    def resume(self) -> None:
        """See :meth:`socks5.net.shortage.Pausable.resume`. Nothing happens while another reason to wait
        holds.
        """
        if self._limit.has_room and self._retry is None and not self.disconnecting:
            self.startReading()

    def turn_away(self) -> None:
        """See :meth:`socks5.net.shortage.Pausable.turn_away`."""
        if self.disconnecting:
            return
        # First in, first out: who waited at the last look and was not taken since stands in front.
        self._late = max(0, self._queued - self._taken)
        self._queued, self._taken = self._queue_length(), 0
        if self._late:
            self.startReading()

    def _queue_length(self) -> int:
        """How many clients wait in the kernel's queue; where the system does not tell, as of a UNIX socket, as many
        as ever can.
        """
        if sys.platform != "linux" or not self._has_addresses:
            return BACKLOG
        # tcpi_unacked, which of a listening socket is the length of its queue (linux/tcp.h, net/ipv4/tcp.c)
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
        return int.from_bytes(info[24:28], sys.byteorder)

    def _turns_one_away(self, error: OSError) -> bool:
        """Close a client for which there is no descriptor, by means of the one that is kept for that.

        :returns: whether that was to be done, and was.
        """
        is_due = self._late > 0 and error.errno in _OUT_OF_DESCRIPTORS
        if not (is_due and self._spare.give()):
            return False
        try:
            client, _address = self._accepting()()
            self._taken += 1
            self._late -= 1
            self._limit.turn_away()
            self._close(client)
        except OSError:
            return False
        finally:
            self._spare.take_back()
        return True

    # The end

    def finish(self) -> Deferred[None]:
        """See :meth:`socks5.net.openers.IOpenPort.finish`."""
        finished = self._finished
        if finished is None:
            finished = self._finished = Deferred()
            self._keeps_crowd = True
            if not self.connected:
                finished.callback(None)
            elif self._is_left_to_others and not self.disconnecting:
                super().stopListening()  # type: ignore[no-untyped-call]
            elif not self.disconnecting:
                self._finishing = self.reactor.callLater(FINISH_TIME, self._queue_ends)
                self.doRead()  # for a queue that is empty is no event
        return finished

    def _queue_ends(self) -> None:
        """All that waited in the kernel's queue are served, or the time for that is over."""
        self._finish_no_longer()
        self._takes_the_last = True
        super().stopListening()  # type: ignore[no-untyped-call]

    def _finish_no_longer(self) -> None:
        finishing, self._finishing = self._finishing, None
        if finishing is not None and finishing.active():
            finishing.cancel()

    def _take_the_last(self) -> None:
        """Whoever has come since the queue was empty."""
        accept = self._accepting()
        for _ in range(LOOK):
            try:
                client, address = accept()
            except OSError:
                return
            self._receive(client, address)

    @override
    def stopListening(self) -> Any:  # type: ignore[override]
        """Close at once, whoever waits: in the kernel's queue, or for his turn, also of a port that has finished."""
        self._finish_no_longer()
        self._keeps_crowd = self._takes_the_last = False
        if not self.connected:
            self._limit.crowds.forget(self)
        elif self.disconnecting:  # in a moment
            return self.deferred
        return super().stopListening()  # type: ignore[no-untyped-call]

    @override
    def connectionLost(self, reason: Any = None) -> None:
        if self._takes_the_last:
            self._take_the_last()
        self._limit.listeners.discard(self)
        if not self._keeps_crowd:
            self._limit.crowds.forget(self)
        self._spare.give()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        super().connectionLost(reason)
        if self._finished is not None:
            self._finished.callback(None)
