"""Real ports under a reactor, and a poller, that look at their sockets when the test says so."""

import select
import socket
from typing import Any

from twisted.internet.task import Clock
from typing_extensions import override

from socks5.net.poller import Poller


class SteppedReactor(Clock):
    """Reads what can be read when the test says so.

    :param has_poller: whether it has a :attr:`poller`.
    """

    def __init__(self, has_poller: bool = False) -> None:
        super().__init__()
        self.readers: set[Any] = set()
        self.poller = WatchedPoller(self) if has_poller else None

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)

    def addWriter(self, writer: Any) -> None:
        raise AssertionError("nothing is written here")

    def removeWriter(self, writer: Any) -> None:
        """None was added."""

    def turn(self) -> None:
        """Read once wherever there is something to read."""
        for reader in select.select(list(self.readers), (), (), 0)[0]:
            reader.doRead()
        if self.poller is not None:
            self.poller.serve(0)


class WatchedPoller(Poller):
    """Knows whom it tells of every client, or, as of a connection, of every change."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self.watched: dict[int, Any] = {}

    @override
    def watch(self, fd: int, owner: Any) -> None:
        super().watch(fd, owner)
        self.watched[fd] = owner

    @override
    def remove(self, fd: int) -> None:
        super().remove(fd)
        del self.watched[fd]


def is_open(client: socket.socket) -> bool:
    """Whether the client's connection, which does not block, is neither ended nor reset."""
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False
