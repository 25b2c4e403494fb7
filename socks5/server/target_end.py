"""The target's end of an ordinary session: first the attempt at the target, and the session's command all the time. See
:mod:`socks5.server.ends`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.access import Reason
from socks5.deadlines import Line
from socks5.interfaces import ICommand
from socks5.limits import ILease
from socks5.net.addresses import address_from
from socks5.net.poller import WRITABLE, Poller
from socks5.outbound.attempts import Single
from socks5.protocol.address import Address
from socks5.relay.meter import BLOCK
from socks5.relay.metered_passing import MeteredPassing
from socks5.relay.passing import PassingEnd
from socks5.server.stream_command import StreamCommand, is_allowed

_ENDS = Reason.TARGET_CLOSED, Reason.TARGET_RESET
"""Of an end that is a reset or not. A member of an Enum is found slowly by its name."""


class Client(Protocol):
    """What it knows of the client's end."""

    octets: int
    receiver: Any
    """The session."""

    def crashed(self, failure: Failure) -> None:
        """A bug."""

    def general(self) -> Any:
        """Go the general way from now on; what is returned is the client's side of the relay."""

    def general_command(self) -> Any:
        """The same; what is returned is the command of that."""

    def watch(self) -> None:
        """One of the two has ended."""

    def over(self, reason: Reason) -> None:
        """Close both sockets."""


@implementer(ICommand)
class TargetEnd(PassingEnd, Single):
    """See the module."""

    __slots__ = ("fd", "has_ended", "octets", "peer")

    dropped = 0
    drops: Mapping[str, int] = {}

    def __init__(
        self, poller: Poller, host: str, port: int, source: str | None, line: Line, waiter: Any
    ) -> None:
        # As of Single, which is not asked, for that takes half as long as the rest.
        self._poller, self._far, self._source = poller, (host, port), source
        self._line, self.waiter = line, waiter
        self.fd, self.octets, self.has_ended = -1, 0, False
        self.socket = self.peer = None

    peer: Client | None
    ready_alone = Single.ready

    @override
    def connected(self, sock: Any, name: Any, events: int) -> None:
        """See :meth:`socks5.outbound.attempts.Connecting.connected`. No connection is made for a client's end."""
        waiter = self.waiter
        if isinstance(waiter, StreamCommand):  # it goes the general way by now
            super().connected(sock, name, events)
            return
        self.fd, self._far = sock.fileno(), ()  # the socket says it, too
        self._line.clear(self)
        self.waiter = None
        waiter.join(self, name)
        if events != WRITABLE and self.peer is waiter:
            self._poller.again(self.fd)

    @override
    def crashed(self, failure: Failure) -> None:
        """See :class:`socks5.net.poller.Owner`."""
        if self.peer is None:
            super().crashed(failure)
        else:
            self.peer.crashed(failure)

    # The command

    def start(self) -> None:
        """See :meth:`socks5.interfaces.ICommand.start`."""
        self._line.set(self)
        self.connect()

    @property
    def bytes_up(self) -> int:
        """See :class:`socks5.interfaces.ICommand`."""
        return 0 if self.peer is None else self.peer.octets

    @property
    def bytes_down(self) -> int:
        """See :class:`socks5.interfaces.ICommand`."""
        return self.octets

    @property
    def far(self) -> Address | None:
        """See :class:`socks5.interfaces.ICommand`."""
        sock = self.socket
        try:
            return None if sock is None else address_from(sock.getpeername())
        except OSError:  # it is not connected, or no more
            return None

    def client_ended(self) -> bool:
        """See :meth:`socks5.interfaces.ICommand.client_ended`. Never asked: an end hands over first."""
        return False

    def rejudge(self) -> bool | Deferred[bool]:
        """See :meth:`socks5.interfaces.ICommand.rejudge`."""
        if self.peer is not None:
            whom = self.far
            return whom is None or is_allowed(self.peer.receiver.judge(whom.text))
        stays: bool | Deferred[bool] = self.waiter.general_command().rejudge()
        return stays

    def stop(self, reason: Reason, within: float) -> None:
        """See :meth:`socks5.interfaces.ICommand.stop`. What is over already, nobody waits for."""
        client = self.peer or self.waiter
        if client is not None and client.receiver is not None:
            client.general_command().stop(reason, within)

    # The end

    @override
    def general(self) -> Any:
        assert self.peer is not None
        return self.peer.general().peer

    @override
    def watch(self) -> None:
        assert self.peer is not None
        self.peer.watch()

    @override
    def close_both(self, is_reset: bool = False) -> None:
        assert self.peer is not None
        self.peer.over(_ENDS[is_reset])


class MeteredTargetEnd(MeteredPassing, TargetEnd):
    """The target's."""

    __slots__ = ()

    @override
    def charge(self) -> float:
        assert self.peer is not None
        meter: ILease = self.peer.receiver.meter
        return meter.moved(0, BLOCK)
