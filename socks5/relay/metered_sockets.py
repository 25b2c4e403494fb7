"""One end of a relay under limits on a plain socket: no more is received, or spliced, at a time than there is room for.

The poller tells only once what has arrived, so when an end is held no more it looks by itself.
"""

from __future__ import annotations

import os
from socket import MSG_PEEK

from twisted.python.failure import Failure
from typing_extensions import override

from socks5.net.poller import FAILED, READABLE, WRITABLE
from socks5.relay.meter import SMALL, Gate, MeteredRelay
from socks5.relay.pipes import PIPE_SIZE, Pipe
from socks5.relay.sockets import (
    BUFFER,
    BUFFER_SIZE,
    BULKY,
    FLAGS,
    SMALL_TURNS,
    TURNS,
    UNSUPPORTED,
    SocketSide,
)
from socks5.streams import IStream

_ORDINARY = READABLE | WRITABLE
"""What a socket says that has received something, and whose peer sees to its octets."""


class MeteredSocketSide(SocketSide):
    """See the module, and :class:`~socks5.relay.sockets.SocketSide`."""

    __slots__ = ("_is_small", "gate")

    def __init__(self, relay: MeteredRelay, stream: IStream) -> None:
        super().__init__(relay, stream)
        self.gate = Gate(relay, self._resume)
        self._is_small = True  # are the messages, as far as we know

    def charge(self, octets: int) -> None:
        """So many have come before the relay began."""
        self.gate.charge(octets)

    @override
    def ready(self, events: int) -> None:
        """See :class:`socks5.net.poller.Owner`. A small message where nothing waits goes the shortest way."""
        peer = self.peer
        if (
            events == _ORDINARY
            and self._is_small
            and not (
                self.has_ended
                or self.waiting
                or self._pipe
                or peer.waiting
                or peer._pipe
                or self.gate.hold
            )
            and self._receive_small(self.gate)
        ):
            return
        super().ready(events)

    @override
    def _receive(self) -> None:
        gate = self.gate
        if gate.hold is not None:
            self._look_for_ends()
            return
        if self._pipe is not None:
            self._splice(self._pipe)
            return
        if self._is_small and self._receive_small(gate):
            return
        for _ in TURNS:
            room = gate.room
            count = self._take(min(room, BUFFER_SIZE))
            if not count:
                return
            is_all = count < room and count < BULKY
            self._is_small = is_all and count < SMALL
            is_held = gate.charge(count)
            if not self._pass_on(count) or is_held:
                return
            if is_all:
                self._bulk = 0
                if not self._is_hung_up:
                    self._is_readable = False
                    return
            elif count >= BULKY and self._is_bulk(count):
                self._receive()
                return
            elif self._poller.allowance <= 0:
                break
        self._again()

    def _receive_small(self, gate: Gate) -> bool:
        """Receive no more than may be charged later: as a rule that is all there is.

        :returns: whether there is nothing more to do.
        """
        self._is_readable = True
        room = SMALL - gate.owed
        try:
            count = self.socket.recv_into(BUFFER, room)
        except BlockingIOError:
            self._is_empty()
            return True
        except OSError:
            self.break_off()
            return True
        if not count:
            self.receive_end()
            return True
        self.octets += count
        gate.owed += count
        if count == room:
            self._is_small = False
            is_held = gate.charge(0)
            return not self._pass_on(count) or is_held
        try:
            sent = self.peer.socket.send(BUFFER[:count])
        except BlockingIOError:
            sent = 0
        except OSError:
            self.peer.fail()
            return True
        if sent < count:
            self.waiting = memoryview(bytes(BUFFER[sent:count]))
            return True
        self._is_readable = bool(self._is_hung_up)
        return not self._is_readable

    def _take(self, room: int) -> int:
        """Receive, as long as the socket gives something.

        :returns: how much; 0: it gives nothing more.
        """
        try:
            count = self.socket.recv_into(BUFFER, room)
        except BlockingIOError:
            self._is_empty()
            return 0
        except OSError:
            self.break_off()
            return 0
        if count:
            self.octets += count
        else:
            self.receive_end()
        return count

    def _pass_on(self, count: int) -> bool:
        """Send what was received.

        :returns: whether the peer's kernel has taken it all.
        """
        try:
            sent = self.peer.socket.send(BUFFER[:count])
        except BlockingIOError:
            sent = 0
        except OSError:
            self.peer.fail()
            return False
        if sent < count:
            self.waiting = memoryview(bytes(BUFFER[sent:count]))
            return False
        return True

    @override
    def _splice(self, pipe: Pipe) -> None:
        poller = self._poller
        for _ in TURNS:
            try:
                count = os.splice(
                    self.fd, pipe.writing, min(self.gate.room, PIPE_SIZE), flags=FLAGS
                )
            except BlockingIOError:
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
            if not count:
                self.give_pipe_back()
                break
            poller.allowance -= count
            self.octets += count
            is_held = self.gate.charge(count)
            pipe.octets = count
            if not self._drain(pipe):
                return
            self._bulk = 0 if count >= BULKY else self._bulk + 1
            if self._bulk > SMALL_TURNS:
                self.give_pipe_back()
                break
            if is_held:
                return
            if poller.allowance <= 0:
                break
        self._again()

    # Being held

    def _look_for_ends(self) -> None:
        """What is behind octets that have come has to wait as they do; a reset no longer than for a slow reader."""
        if self.is_failed or self._is_hung_up & FAILED:
            self.relay.failing(self)
        elif self._is_hung_up:
            try:
                is_end = not self.socket.recv(1, MSG_PEEK)
            except BlockingIOError:
                return
            except OSError:
                self.break_off()
                return
            if is_end:
                self.receive_end()

    def _resume(self) -> None:
        """It is held no more."""
        if self._is_readable and not (self.is_blocked or self.has_ended):
            try:
                self._receive()
            except Exception:  # here, for whoever calls knows nothing of the socket
                self.crashed(Failure())

    @override
    def connectionLost(self, reason: Failure) -> None:
        """See :meth:`socks5.relay.relay.Side.connectionLost`."""
        self.gate.close()
        super().connectionLost(reason)
