"""Two sockets joined without a relay: for as long as nothing happens but small messages, ends and resets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from os import readv, write
from socket import SHUT_WR
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from socks5.net.poller import FAILED, HUNG_UP
from socks5.net.tcp_socket import reset_on_close, unacknowledged
from socks5.relay.sockets import BUFFER, BULKY, TURNS
from socks5.specialised import with_own_code

VECTOR = (BUFFER,)
"""What readv(2) reads into."""

SMALL = 2048
"""Octets of the greatest message whose view is kept."""


class _Views(dict[int, memoryview]):
    """The first octets of the buffer, by their number. To make a view takes as long as to send it, so those of small
    messages are kept.
    """

    def __missing__(self, count: int) -> memoryview:
        view = BUFFER[:count]
        if count <= SMALL:
            self[count] = view
        return view


VIEWS = _Views()


class PassingEnd(ABC):
    """One of two ends: what its kernel has received goes to its peer's kernel.

    It keeps the contract of a :class:`~socks5.relay.relay.Relay`, as far as it gets. Whatever else happens it leaves to
    the :class:`~socks5.relay.sockets.SocketSide` that takes its place (:meth:`general`). A subclass has the attributes.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        socket: Any
        fd: int
        octets: int
        has_ended: bool
        peer: Any

    @override
    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.ready = with_own_code(cls.ready)  # type: ignore[method-assign]

    def ready(self, events: int, turns: int = len(TURNS)) -> None:
        """See :class:`socks5.net.poller.Owner`. One read a turn, unless there is an end behind it."""
        peer = self.peer
        if peer is None:
            self.ready_alone(events)
            return
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
        self.octets += count  # type: ignore[misc]  # a subclass has the slot
        try:
            sent = write(peer.fd, VIEWS[count])
        except BlockingIOError:
            sent = 0
        except OSError:
            self.general().peer.fail()
            return
        if sent < count:
            self.general().waiting = memoryview(bytes(BUFFER[sent:count]))
        elif count >= BULKY:
            self.general()
        elif events & HUNG_UP:
            if turns > 1:
                self.ready(events, turns - 1)
            else:
                self.general()

    @abstractmethod
    def ready_alone(self, events: int) -> None:
        """The same before."""

    @abstractmethod
    def general(self) -> Any:
        """Go the general way from now on.

        :returns: what takes our place.
        """

    def ended(self, events: int) -> None:
        """Nothing more will come: the peer is told so, and if it has ended as well, that is all. An end may be said
        again.
        """
        peer = self.peer
        if events & FAILED:  # to a socket that has ended a reset looks like an end
            self.was_reset()
        elif peer.has_ended:
            self.close_both()
        elif not self.has_ended:
            self.has_ended = True  # type: ignore[misc]
            try:
                peer.socket.shutdown(SHUT_WR)
            except OSError:
                self.general().peer.fail()
            else:
                self.watch()

    @abstractmethod
    def watch(self) -> None:
        """See to it that the other direction ends in time."""

    def was_reset(self) -> None:
        """The socket was reset: so is the peer's, unless it has to wait for octets that came before."""
        if unacknowledged(self.peer.socket):
            self.general().break_off()
        else:
            reset_on_close(self.peer.socket)
            self.close_both(is_reset=True)

    @abstractmethod
    def close_both(self, is_reset: bool = False) -> None:
        """Close both sockets, for ours has ended, or was reset."""
