"""Sockets that move batches under limits: while their association has to pay for what it moved, all that comes is
dropped.
"""

from __future__ import annotations

import ctypes
import errno
from typing import Protocol

from typing_extensions import override

from socks5.net.batch import ROUNDS, BatchPort
from socks5.net.batch_calls import libc
from socks5.net.batch_down import DownPort
from socks5.net.batch_up import UpPort
from socks5.net.poller import FAILED
from socks5.net.slots import SLOTS


class HoldBack(Protocol):
    """Says whether datagrams are dropped for now."""

    is_held: bool
    """Whether that may be: only then it is worth a question."""

    def __call__(self, count: int) -> bool:
        """Whether they are. If so, so many more have been."""


def _drop(port: BatchPort, hold_back: HoldBack, events: int) -> None:
    """Drop what has arrived, as far as it is the client's turn."""
    incoming, share = port._incoming, port._share
    if events & FAILED:
        port._take_errors()
    for _ in range(ROUNDS):
        if share.left <= 0:
            share.wait(port)
            return
        count = libc.recvmmsg(port.fd, incoming.at, SLOTS, 0, None)
        if count <= 0:
            if ctypes.get_errno() == errno.EAGAIN:
                return
            share.left -= 1
            continue  # as for others: an earlier datagram's error
        share.left -= count
        dropped = count
        for i, size in enumerate(incoming.lengths[:count].tolist()):
            if incoming.control_lengths[i]:  # several that came as one
                dropped += -(-size // incoming.segment_sizes[i]) - 1
        incoming.reset_control(count)
        hold_back(dropped)
        if count < SLOTS:
            return
    port._poller.again(port.fd)


class HeldUpPort(UpPort):
    """A client's socket. Its attribute is to be set."""

    __slots__ = ("hold_back",)

    hold_back: HoldBack

    @override
    def ready(self, events: int) -> None:
        hold_back = self.hold_back
        if hold_back.is_held and hold_back(0):
            _drop(self, hold_back, events)
        else:
            super().ready(events)


class HeldDownPort(DownPort):
    """A socket for targets, likewise."""

    __slots__ = ("hold_back",)

    hold_back: HoldBack

    @override
    def ready(self, events: int) -> None:
        hold_back = self.hold_back
        if hold_back.is_held and hold_back(0):
            _drop(self, hold_back, events)
        else:
            super().ready(events)
