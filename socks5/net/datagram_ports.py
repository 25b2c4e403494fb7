"""UDP sockets in a poller, read one datagram after the other, and what others need too.

What each datagram costs is counted against its client's share (:mod:`socks5.net.datagram_turns`).
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.net.datagram_turns import SINGLE, Share
from socks5.net.poller import ARRIVALS, FAILED, Poller
from socks5.protocol.networks import socket_name

SINGLES = 32
"""Datagrams of one socket that are read one by one before others get theirs; also about how many a batch may hold
that have to be handled so.
"""

MAX_DATAGRAM = 65536
"""What a socket is read with: nothing that UDP can carry is cut."""

MOST_ERRORS = 512
"""Errors of one socket that are read at a time: more than its queue has room for by default."""

_RECVERR = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
"""IP_RECVERR (ip(7)) and IPV6_RECVERR."""

_ERROR_SIZE = 512
"""Octets for what the kernel says of an error, beside the datagram's own."""

_SO_MEMINFO = 55

_DROPS = struct.Struct("32xI")  # SK_MEMINFO_DROPS is the last of nine numbers

_MOST_DROPS = 0xFFFFFFFF  # it begins anew behind that


def kernel_drops(sock: socket.socket) -> int:
    """How many datagrams the kernel has dropped that were for a socket (SO_MEMINFO); 0 where it does not say."""
    try:
        told = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _DROPS.size)
    except OSError:  # before Linux 4.12
        return 0
    drops: int = _DROPS.unpack(told)[0]
    return drops


def _bound(interface: str, port: int) -> socket.socket:
    """:raises twisted.internet.error.CannotListenError: see :class:`DatagramPort`."""
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise CannotListenError(interface, port, error) from None
    try:
        sock.bind(socket_name(interface, port))
    except OSError as error:
        sock.close()
        raise CannotListenError(interface, port, error) from None
    return sock


class DatagramOwner(Protocol):
    """Who decides about the datagrams of its sockets."""

    def missed(self, is_up: bool, data: bytes, sender: tuple[str, int]) -> None:
        """A datagram without a route arrived; making one sends the next ones of its kind in
        batches.
        """

    def moved(self, is_up: bool, count: int, octets: int) -> None:
        """That many datagrams, with that many octets of payload, have left by their routes."""

    def unsendable(self, is_up: bool, count: int) -> None:
        """That many were not taken by the kernel."""

    def unreachable(self, target: tuple[str, int]) -> None:
        """ICMP says that a datagram has not reached *target*; only after :meth:`DatagramPort.hear_errors`."""


class DatagramPort:
    """A UDP socket in a poller; what the ports here have in common.

    :param poller: tells us when there are datagrams.
    :param interface: the IP literal to bind, with a zone where it needs one.
    :param port: the port; 0: the system's choice.
    :param is_up: whether this is the client's side, whose datagrams have a header.
    :param owner: decides about the datagrams.
    :param share: what our work is counted against; used up, the socket waits.
    :param buffer: octets of receive buffer to ask for.
    :raises twisted.internet.error.CannotListenError: the port is taken, or the address not ours, or there is no
        descriptor left.
    """

    _log = Logger()

    __slots__ = ("_hears_errors", "_is_up", "_lost", "_owner", "_poller", "_share", "_socket", "fd")

    def __init__(
        self,
        poller: Poller,
        interface: str,
        port: int,
        is_up: bool,
        owner: DatagramOwner,
        share: Share,
        buffer: int,
    ) -> None:
        self._socket = _bound(interface, port)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._lost = 0
        self.fd = self._socket.fileno()
        self._poller = poller
        self._is_up = is_up
        self._owner = owner
        self._share = share
        self._hears_errors = False
        poller.add(self.fd, self, ARRIVALS)

    def ready(self, events: int) -> None:
        """See :class:`socks5.net.poller.Owner`: take what has arrived. Each kind has its own way."""

    def crashed(self, failure: Failure) -> None:
        """See :class:`socks5.net.poller.Owner`: a datagram that hits a bug is dropped; the socket
        lives.
        """
        self._log.failure("a datagram was dropped", failure=failure)
        self._owner.unsendable(self._is_up, 1)
        if self.fd >= 0:
            self._poller.again(self.fd, ARRIVALS)

    # What ICMP says

    def hear_errors(self) -> None:
        """Have the owner told of targets that are not reached. Costs a reading for each ICMP message.

        From now on whatever is done to the socket may fail for an earlier datagram's sake, and does so once. The
        kernel also tells what has no room in the queue of errors, which is the receive buffer's.
        """
        if not self._hears_errors:
            self._hears_errors = True
            self._socket.setsockopt(*_RECVERR[self._socket.family], 1)

    def _take_errors(self) -> int:
        """Tell the owner what has been heard.

        :returns: how much that was. The kernel's next word is about a datagram of its own, then.
        """
        count = 0
        while self._hears_errors and count < MOST_ERRORS:
            try:
                _, said, _, name = self._socket.recvmsg(0, _ERROR_SIZE, socket.MSG_ERRQUEUE)
            except OSError:
                break
            count += 1
            self._share.left -= SINGLE
            number = int.from_bytes(said[0][2][:4], sys.byteorder)  # ee_errno comes first
            if number != errno.EMSGSIZE:
                self._owner.unreachable(name[:2])
        return count

    def _was_about_an_earlier_one(self) -> bool:
        """Whether an error may be no word about what was tried, which is to be tried once more then."""
        self._take_errors()
        return self._hears_errors

    def take_lost(self) -> int:
        """How many datagrams the kernel has dropped, most of them for want of room in the receive buffer, since this
        was asked last; at the least, for an aggregate counts as one.
        """
        lost = kernel_drops(self._socket)
        self._lost, lost = lost, (lost - self._lost) & _MOST_DROPS
        return lost

    # A datagram port as Twisted's

    def write(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Send one datagram.

        :raises OSError: the kernel does not take it.
        """
        name = socket_name(*addr)
        try:
            self._socket.sendto(datagram, name)
        except OSError:
            if not self._was_about_an_earlier_one():
                raise
            self._socket.sendto(datagram, name)

    def getHost(self) -> IPv4Address | IPv6Address:
        """The bound address."""
        name = self._socket.getsockname()
        return IPv4Address("UDP", *name) if len(name) == 2 else IPv6Address("UDP", *name)

    def stopListening(self) -> None:
        """Close the socket."""
        if self.fd >= 0:
            self._share.forget(self)
            self._poller.forget(self.fd)
            self.fd = -1
            self._socket.close()


class SinglePort(DatagramPort):
    """One UDP socket whose datagrams are all handled singly, by the owner."""

    __slots__ = ()

    @override
    def ready(self, events: int) -> None:
        share, receive = self._share, self._socket.recvfrom
        if events & FAILED:
            self._take_errors()
        for _ in range(SINGLES):
            if share.left <= 0:
                share.wait(self)
                return
            try:
                data, name = receive(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:  # of a datagram that was sent; the kernel says it once, behind which there may be more
                share.left -= 1
                continue
            share.left -= SINGLE
            self._owner.missed(self._is_up, data, name[:2])
            if self.fd < 0:
                return
        self._poller.again(self.fd, ARRIVALS)
