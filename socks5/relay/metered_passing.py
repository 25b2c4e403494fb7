"""The short way where octets are counted: for as long as small messages come, and nobody has to wait for them.

An end charges whole blocks, so it has nothing to remember: what is left over is charged by whoever goes on the general
way, or at the end of the session.
"""

from __future__ import annotations

from abc import abstractmethod
from os import readv, write

from typing_extensions import override

from socks5.net.poller import HUNG_UP
from socks5.relay.meter import BLOCK
from socks5.relay.passing import VIEWS, PassingEnd
from socks5.relay.sockets import BUFFER, TURNS

VECTOR = (BUFFER[:BLOCK],)
"""What readv(2) reads into."""


class MeteredPassing(PassingEnd):
    """An end whose octets are counted."""

    __slots__ = ()

    @override
    def ready(self, events: int, turns: int = len(TURNS)) -> None:
        """See :meth:`socks5.relay.passing.PassingEnd.ready`."""
        try:
            count = readv(self.fd, VECTOR)
        except BlockingIOError:
            return
        except OSError:
            self.was_reset()
            return
        if not count:
            self.ended(events)
            return
        octets = self.octets + count
        self.octets = octets  # type: ignore[misc]  # a subclass has the slot
        try:
            sent = write(self.peer.fd, VIEWS[count])
        except BlockingIOError:
            sent = 0
        except OSError:
            self.general().peer.fail()
            return
        if (sent < count or octets % BLOCK < count) and self._is_general(sent, count):
            return
        if events & HUNG_UP:
            if turns > 1:
                self.ready(events, turns - 1)
            else:
                self.general()

    def _is_general(self, sent: int, count: int) -> bool:
        """The peer's kernel takes no more, or a block is full: unless that is all, go the general way."""
        waiting = memoryview(bytes(BUFFER[sent:count]))
        wait = self.charge() if self.octets % BLOCK < count else 0.0
        if not (waiting or wait or count == BLOCK):
            return False
        side = self.general()
        if waiting:
            side.waiting = waiting
        if wait:
            side.gate.wait(wait)
        return True

    @abstractmethod
    def charge(self) -> float:
        """A block of octets has moved.

        :returns: seconds to wait.
        """
