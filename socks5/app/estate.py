"""What a process that goes leaves to one that comes in its place: listening sockets, and a word between the two.

The one that comes takes for each of its listeners all sockets that were left for the same address, however many there
are: on one that nobody accepts on, the kernel would queue clients for ever. What it has no listener for it closes.

Those of systemd's come first, as systemd itself hands them over (sd_listen_fds(3)), so whoever looks for them finds
them.
"""

from __future__ import annotations

import json
import os
import socket
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from socks5.net.foreign import where_of
from socks5.net.openers import Where
from socks5.net.places import Inherited, name_of

VARIABLE = "SOCKS5_HAND_OVER"
"""The environment variable by which a process is told of its estate."""


def systemds() -> list[int]:
    """The descriptors that systemd, or the process before, has handed to this one."""
    found: list[int] = []
    with suppress(ValueError):  # there are no more
        while isinstance(where := where_of(f"systemd:domain=INET:index={len(found)}"), Inherited):
            assert where.descriptor is not None
            found.append(where.descriptor)
    return found


@dataclass(frozen=True, slots=True)
class Left:
    """How the estate is told of.

    :param first: the first descriptor of what is no socket of systemd's.
    :param places: what begins there, in this order: each place, and how many sockets were left for it.
    :param channel: the descriptor of the stream between the two processes, see :mod:`socks5.app.handover`.
    """

    first: int
    places: Sequence[tuple[str, int]]
    channel: int

    @property
    def environment(self) -> str:
        """What stands in :data:`VARIABLE`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> Left | None:
        """What was left to this process, or None if nobody was there before it."""
        text = os.environ.pop(VARIABLE, None)
        return None if text is None else cls(**json.loads(text))


class Estate:
    """The sockets.

    :param left: what was left; None: nothing.
    """

    def __init__(self, left: Left | None = None) -> None:
        self._sockets: dict[str, deque[list[socket.socket]]] = {}
        number, places = (0, ()) if left is None else (left.first, left.places)
        for name, count in places:
            sockets = [socket.socket(fileno=each) for each in range(number, number + count)]
            for sock in sockets:
                sock.set_inheritable(False)
            self._sockets.setdefault(name, deque()).append(sockets)
            number += count

    def take(self, where: Where) -> list[socket.socket]:
        """What was left for a listener; nothing if there was none."""
        if isinstance(where, Inherited):
            return []
        found = self._sockets.get(name_of(where))
        return found.popleft() if found else []

    def close(self) -> None:
        """Give up what nobody took."""
        sockets, self._sockets = self._sockets, {}
        for sock in (sock for groups in sockets.values() for group in groups for sock in group):
            sock.close()
