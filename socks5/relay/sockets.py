"""The relay for two plain TCP sockets: the same contract as :mod:`socks5.relay.relay`, without transports
in between.

Octets go through one buffer that all relays share: received into it and sent from it at once, so
what the peer's kernel does not take is the only copy, and while there is one its source is not
read. A direction that moves bulk is upgraded: its octets then stay in the kernel, spliced through a
pipe of a bounded pool, which it gives back when it falls silent. Where pipes, their budget or
``splice`` itself are missing it goes on copying, and nobody notices.
"""

from __future__ import annotations

import errno
import os
from socket import SHUT_WR
from typing import Any

from twisted.python.failure import Failure
from typing_extensions import override

from socks5.net.connection import DONE, LOST
from socks5.net.poller import FAILED, HUNG_UP, WRITABLE
from socks5.net.tcp_socket import unacknowledged
from socks5.relay.owned import OwnedSide
from socks5.relay.pipes import BULK, PIPE_SIZE, Pipe, PipePool
from socks5.relay.relay import Relay
from socks5.streams import IStream

BUFFER_SIZE = 262144
"""Octets of the shared buffer: what one read can move."""

TURNS = range(4)
"""Full reads of one socket before others get their turn."""

BULKY = 65536
"""Octets of one read that count as bulk."""

SMALL_TURNS = 32
"""Smaller reads in a row after which a direction is copied again."""

FLAGS = getattr(os, "SPLICE_F_NONBLOCK", 0) | getattr(os, "SPLICE_F_MOVE", 0)
"""Of splice(2)."""

UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP})
"""What splice(2) says where it, or a filter of system calls, does not let us: nothing was moved."""

BUFFER = memoryview(bytearray(BUFFER_SIZE))
"""Where everything is received: nobody leaves anything in it."""


class SocketSide(OwnedSide):
    """One end on a plain socket: receives from it, and sends on the peer's.

    What the peer's kernel does not take waits here, in :attr:`waiting` or in the pipe; meanwhile
    this end is not read.
    """

    __slots__ = (
        "_bulk",
        "_is_hung_up",
        "_is_readable",
        "_pipe",
        "is_closing",
        "is_ending",
        "is_failed",
        "waiting",
    )

    def __init__(self, relay: Relay, stream: IStream) -> None:
        super().__init__(relay, stream)
        self._is_readable = False
        self._is_hung_up = 0
        self.is_ending = False
        self.is_closing = False
        self.is_failed = False
        self._bulk = 0
        self._pipe: Pipe | None = None
        self.waiting: memoryview | None = None

    @property
    def is_blocked(self) -> bool:
        """Whether octets from this end wait for the peer's kernel."""
        return self.waiting is not None or (self._pipe is not None and self._pipe.octets > 0)

    @property
    def held(self) -> int:
        """How many those are."""
        waiting = 0 if self.waiting is None else len(self.waiting)
        return waiting + (0 if self._pipe is None else self._pipe.octets)

    @override
    def attach(self) -> None:
        """See :meth:`socks5.relay.relay.Side.attach`."""
        connection: Any = self.stream.transport
        if connection.is_readable:
            self._is_readable, self._is_hung_up = True, HUNG_UP
        unsent = self.take_over(connection)
        if unsent:
            self.peer.waiting = memoryview(unsent)

    @override
    def start(self) -> None:
        if self._is_readable and not (self.is_blocked or self.has_ended):
            self._receive()

    # What happens to the socket

    @override
    def ready(self, events: int) -> None:
        """See :class:`socks5.net.poller.Owner`."""
        peer = self.peer
        if events & WRITABLE and (peer.waiting or peer._pipe) and peer.is_blocked:
            peer.flush()
        if self.is_lost or (events == WRITABLE and not self.is_failed):
            return
        self._is_readable = True
        self._is_hung_up |= events & HUNG_UP
        if self.has_ended:
            if self.is_failed or events & FAILED:
                self.break_off()
        elif self.waiting is None and (self._pipe is None or not self._pipe.octets):
            self._receive()
        elif self.is_failed or events & FAILED:
            self.relay.failing(self)

    def _again(self) -> None:
        """Come back when others have had their turn."""
        self._poller.again(self.fd)

    def _pool(self) -> PipePool:
        pool: PipePool = self._poller.shared[PipePool]
        return pool

    def _receive(self) -> None:
        """Move octets to the peer until there are no more, its kernel has enough, or it is others'
        turn.
        """
        if self._pipe is not None:
            self._splice(self._pipe)
            return
        source, target = self.socket, self.peer.socket
        for _ in TURNS:
            try:
                count = source.recv_into(BUFFER)
            except BlockingIOError:
                self._is_empty()
                return
            except OSError:
                self.break_off()
                return
            if not count:
                self.receive_end()
                return
            self.octets += count
            try:
                sent = target.send(BUFFER[:count])
            except BlockingIOError:
                sent = 0
            except OSError:
                self.peer.fail()
                return
            if sent < count:
                self.waiting = memoryview(bytes(BUFFER[sent:count]))
                return
            if count < BULKY:
                self._bulk = 0
                if not self._is_hung_up:
                    self._is_readable = False
                    return
            elif self._is_bulk(count):
                self._receive()
                return
            elif self._poller.allowance <= 0:
                break
        self._again()

    def _is_empty(self) -> None:
        """Everything that arrived has been received."""
        self._is_readable, self._is_hung_up = False, 0
        if self.is_failed:
            self.break_off()

    def _is_bulk(self, count: int) -> bool:
        """Whether this direction is to be spliced from now on: it moves a lot, and there is a pipe
        for it.
        """
        self._poller.allowance -= count
        self._bulk += count
        if self._bulk >= BULK:
            self._bulk = 0
            self._pipe = self._pool().lend(self)
        return self._pipe is not None

    def _splice(self, pipe: Pipe) -> None:
        """Like :meth:`_receive`, without touching the octets."""
        poller = self._poller
        for _ in TURNS:
            try:
                count = os.splice(self.fd, pipe.writing, PIPE_SIZE, flags=FLAGS)
            except BlockingIOError:  # the pipe is empty, so it is the socket that has nothing
                if not self._is_hung_up:
                    self._is_empty()
                    return
                count = 0
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    self.break_off()
                    return
                self._pool().is_unavailable = True
                self.give_pipe_back()
                break
            if not count:  # an end; or an urgent octet, which splice(2) does not pass, but a read
                self.give_pipe_back()
                break
            poller.allowance -= count
            self.octets += count
            pipe.octets = count
            if not self._drain(pipe):
                return
            self._bulk = 0 if count >= BULKY else self._bulk + 1
            if self._bulk > SMALL_TURNS:
                self.give_pipe_back()
                break
            if poller.allowance <= 0:  # not before: who moves nothing would come last again
                break
        self._again()

    def _drain(self, pipe: Pipe) -> bool:
        """Empty the pipe into the peer's socket, as far as its kernel takes octets now.

        :returns: whether the pipe is empty.
        """
        target = self.peer
        while pipe.octets:
            try:
                pipe.octets -= os.splice(pipe.reading, target.fd, pipe.octets, flags=FLAGS)
            except BlockingIOError:
                return False
            except OSError:
                target.fail()
                return False
        return True

    @override
    def send(self, data: Any) -> None:
        """See :meth:`socks5.relay.relay.Side.send`. What the kernel does not take waits in the peer, which is not read
        meanwhile.
        """
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.fail()
            return
        if sent < len(data):
            self.peer.waiting = memoryview(data)[sent:]

    def flush(self) -> None:
        """The peer's kernel takes octets again: send what waits, then do what waited for that."""
        target = self.peer
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            target.send(waiting)
        else:
            assert self._pipe is not None
            self._drain(self._pipe)
        if self.is_blocked or target.is_failed:
            return
        if target.is_closing:
            target.lose()
        elif target.is_ending:
            target.shut_down()
        elif self._is_readable and not self.has_ended:
            self._receive()

    # The end

    def fail(self) -> None:
        """The socket cannot send: it was reset. What it received before that is still passed on,
        later, and then the reset; from the peer nothing more is read.
        """
        if not (self.is_failed or self.is_lost):
            self.is_failed = self.peer.has_ended = True
            self._is_hung_up = HUNG_UP
            self._again()

    def break_off(self) -> None:
        """The socket has failed, and everything that it received is read."""
        self.close_socket(LOST)

    @override
    def receive_end(self) -> None:
        """See :meth:`socks5.relay.relay.Side.receive_end`. To a socket whose error was told already, a reset looks
        like an end.
        """
        self._is_readable = False
        if self.is_failed:
            self.break_off()
        else:
            super().receive_end()

    @override
    def end(self) -> None:
        """See :meth:`socks5.relay.relay.Side.end`."""
        if self.peer.is_blocked:
            self.is_ending = True
        else:
            self.shut_down()

    def shut_down(self) -> None:
        """Send our end now."""
        try:
            self.socket.shutdown(SHUT_WR)
        except OSError:
            self.fail()

    @override
    def close(self) -> None:
        """See :meth:`socks5.relay.relay.Side.close`."""
        self.has_ended = True
        if self.peer.is_blocked:
            self.is_closing = True
        else:
            self.lose()

    def lose(self) -> None:
        """Everything is sent: close."""
        self.close_socket(DONE)

    @override
    def connectionLost(self, reason: Failure) -> None:
        """See :meth:`socks5.relay.relay.Side.connectionLost`. The peer's octets have nowhere to go, and our descriptor
        may soon be another's.
        """
        peer = self.peer
        self.fd = -1
        self.has_ended = peer.has_ended = True
        super().connectionLost(reason)
        if peer.is_lost:
            for side in (self, peer):
                if side._pipe is not None:
                    side.give_pipe_back()

    @override
    def unsent(self) -> int:
        """See :meth:`socks5.relay.relay.Side.unsent`."""
        return int(self.peer.held) + unacknowledged(self.socket)

    def empty_pipe(self) -> None:
        """Give the pipe back; octets in it, :data:`~socks5.relay.pipes.PIPE_SIZE` at the most, wait here instead."""
        pipe = self._pipe
        assert pipe is not None
        if pipe.octets:
            # All of them at once: a read of a pipe gives what is there (pipe(7)).
            self.waiting = memoryview(os.read(pipe.reading, pipe.octets))
            pipe.octets = 0
        self.give_pipe_back()

    def give_pipe_back(self) -> None:
        """Copy from now on; octets still in the pipe are lost with it."""
        self._bulk = 0
        pipe, self._pipe = self._pipe, None
        assert pipe is not None
        self._pool().give_back(self, pipe)
