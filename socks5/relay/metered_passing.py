"""The short way where octets are counted: for as long as neither end has received as much as is charged together.
Whoever goes on then goes the general way, and is charged there; whoever has ended before is charged at the end.
"""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure

from socks5.net.poller import HUNG_UP
from socks5.relay.meter import SMALL
from socks5.relay.passing import PassingEnd
from socks5.relay.sockets import BUFFER


class MeteredPassing:
    """Stands before an end in the poller, so that ends that are not metered pay nothing for it.

    :param end: that.
    """

    __slots__ = ("_end",)

    def __init__(self, end: PassingEnd) -> None:
        self._end: Any = end

    def ready(self, events: int) -> None:
        """See :meth:`socks5.relay.passing.PassingEnd.ready`. No more is received than may be charged later."""
        end = self._end
        while True:
            try:
                count = end.socket.recv_into(BUFFER, SMALL - end.octets)
            except BlockingIOError:
                return
            except OSError:
                end.was_reset()
                return
            if not count:
                end.ended(events)
                return
            end.octets += count
            try:
                sent = end.peer.socket.send(BUFFER[:count])
            except BlockingIOError:
                sent = 0
            except OSError:
                end.general().peer.fail()
                return
            if sent < count:
                end.general().waiting = memoryview(bytes(BUFFER[sent:count]))
                return
            if end.octets == SMALL:
                end.general()
                return
            if not events & HUNG_UP:
                return

    def crashed(self, failure: Failure) -> None:
        """See :class:`socks5.net.poller.Owner`."""
        self._end.crashed(failure)
