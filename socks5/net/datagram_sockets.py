"""The UDP sockets of one side of an association, of whatever kind they are: opened, known as ours, closed.

Where the reactor has a poller they are our own, which move batches where that is possible; else the reactor's.
"""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from typing_extensions import override

from socks5.net.batch_calls import is_available
from socks5.net.batch_down import DownPort
from socks5.net.batch_held import HeldDownPort, HeldUpPort, HoldBack
from socks5.net.batch_keys import Key, Route
from socks5.net.batch_up import UpPort
from socks5.net.datagram_ports import MAX_DATAGRAM, DatagramOwner, DatagramPort, SinglePort
from socks5.net.datagram_turns import Share
from socks5.net.own import OwnPorts
from socks5.net.poller import poller_of
from socks5.net.quiet_ports import listen_udp_quietly
from socks5.protocol.errors import LocalProtocolError

LEAST_BUFFER = 65536
"""Octets of receive buffer that a socket asks for at the least."""

UNSENDABLE = (OSError, MessageLengthError, CannotListenError, LocalProtocolError)
"""Too long, no route, port 0, a full buffer, no socket of that family: the datagram's bad luck."""

_NOT_THE_TARGETS = frozenset(
    {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EMSGSIZE, errno.EMFILE, errno.ENFILE}
)


def is_about_the_target(error: Exception) -> bool:
    """Whether what is :data:`UNSENDABLE` may be sent to another address: not if a buffer is full, it is too long, or
    there is no descriptor for a socket.
    """
    if isinstance(error, MessageLengthError):
        return False
    error = getattr(error, "socketError", error)  # as the system said it
    return getattr(error, "errno", None) not in _NOT_THE_TARGETS


class _Ordinary(DatagramProtocol):
    """Hands on what a socket of the reactor's receives."""

    noisy = False

    def __init__(self, owner: DatagramOwner, is_up: bool) -> None:
        self._owner = owner
        self._is_up = is_up

    @override
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._owner.missed(self._is_up, datagram, addr[:2])


class DatagramSockets:
    """Opens them.

    :param own: where their ports are known to be ours; None: they need not be.
    :param is_up: whether they face the client.
    :param owner: decides about their datagrams.
    :param share: the client's, what their work is counted against.
    :param buffer: octets of receive buffer; the kernel's memory for datagrams is everybody's, so those of a client
        with many associations are smaller.
    :param hold_back: says whether datagrams are dropped for now; None: never.
    :param has_headers: whether what comes has a header; None: it has one from a client.
    :ivar is_batched: whether they move batches, by ``routes``, where that is possible.
    """

    def __init__(
        self,
        reactor: Any,
        own: OwnPorts | None,
        is_up: bool,
        owner: DatagramOwner,
        share: Share,
        buffer: int,
        hold_back: HoldBack | None = None,
        has_headers: bool | None = None,
    ) -> None:
        self._reactor = reactor
        self._own = own
        self._is_up = is_up
        self._owner = owner
        self._share = share
        self._buffer = buffer
        self._hold_back = hold_back
        self._has_headers = is_up if has_headers is None else has_headers
        self._open: list[Any] = []
        self.routes: dict[Key, Route] = {}
        if hold_back is not None:
            hold_back.watch(self.routes)
        self.is_batched = False

    def open(self, interface: str, port: int) -> Any:
        """Open one, whose port is ours from then on.

        :raises twisted.internet.error.CannotListenError: the port is taken, or this host has no such address.
        """
        opened = self._listen(interface, port)
        if self._own is not None:
            bound = opened.getHost()
            self._own.add(bound.host, bound.port)
        self._open.append(opened)
        return opened

    def _listen(self, interface: str, port: int) -> Any:
        poller = poller_of(self._reactor)
        if poller is None:
            receiver = _Ordinary(self._owner, self._is_up)
            return listen_udp_quietly(self._reactor, port, receiver, interface, MAX_DATAGRAM)
        buffer = max(LEAST_BUFFER, self._buffer // (1 + self._share.budget.associations // 64))
        at = (poller, interface, port, self._is_up, self._owner, self._share, buffer)
        if self.is_batched and is_available():
            if self._hold_back is None:
                return (UpPort if self._has_headers else DownPort)(*at, self.routes)
            held = (HeldUpPort if self._has_headers else HeldDownPort)(*at, self.routes)
            held.hold_back = self._hold_back
            return held
        return SinglePort(*at)

    def take_lost(self) -> int:
        """How many datagrams the kernel has dropped since this was asked last, as far as it says so: nobody sees it
        happen.
        """
        return sum(each.take_lost() for each in self._open if isinstance(each, DatagramPort))

    def close(self) -> None:
        """Close them all; may be called twice."""
        while self._open:
            each = self._open.pop()
            if self._own is not None:
                bound = each.getHost()
                self._own.discard(bound.host, bound.port)
            each.stopListening()
