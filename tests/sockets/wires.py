"""What tests on real sockets share: waiting without sleeping, and plain sockets as the far ends.

Every wait is for something to become true, in as many turns of the reactor as that takes.
"""

import gc
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from twisted.internet.task import Clock, deferLater

PATIENCE = 30.0
"""Seconds until a wait is given up: only ever used up by a failure."""


async def turn() -> None:
    """Let the reactor go round once."""
    from twisted.internet import reactor

    await deferLater(reactor, 0)


async def until(condition: Callable[[], object]) -> None:
    """Go round until *condition* is true."""
    from twisted.internet import reactor

    end = reactor.seconds() + PATIENCE
    while not condition():
        assert reactor.seconds() < end, "it does not become true"
        await turn()


class Unwatched(Clock):
    """A reactor for a poller that is served when a test says so, and a clock."""

    def addReader(self, reader: Any) -> None:
        pass


class OnClock:
    """The reactor with a clock that a test turns."""

    def __init__(self, clock: Clock) -> None:
        from twisted.internet import reactor

        self.wrapped = reactor
        self.seconds, self.callLater = clock.seconds, clock.callLater

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)


class WithoutPoller:
    """A reactor, as it is where sockets cannot be our own."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


def descriptors() -> set[tuple[str, str]]:
    """Those of this process that are open, once what earlier tests have left is collected, and what each leads to. To
    be compared with what was there before, not by number: what other tests have left may close at any time.
    """
    gc.collect()
    return {(number, name) for number, name in _open() if not name.startswith("/proc/")}


def open_sockets() -> set[str]:
    """The sockets of this process, by the names that the system gives them."""
    return {name for _, name in _open() if name.startswith("socket:")}


def _open() -> Iterator[tuple[str, str]]:
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            yield descriptor, os.readlink(f"/proc/self/fd/{descriptor}")


class Odd:
    """A socket that counts how often it is read, and of which a method may be another."""

    def __init__(self, wrapped: socket.socket, **methods: Callable[..., Any]) -> None:
        self.wrapped = wrapped
        self.reads = 0
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        self.reads += name == "recv_into"
        return getattr(self.wrapped, name)


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*arguments: Any, **named: Any) -> Any:
        raise error

    return fail


class FarEnd:
    """A plain socket that plays the other program: it sees exactly what the system shows it.

    ``sees`` says what ended the octets: "" for nothing yet, "end" (EOF) or "reset" (ECONNRESET).
    Nothing is read unless it is asked for: a far end that nobody asks is a stalled reader.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self.sees = ""
        self._octets = bytearray()
        self._unsent = bytearray()

    def look(self) -> None:
        """Receive what has come by now."""
        while not self.sees:
            try:
                data = self.socket.recv(1 << 18)
            except BlockingIOError:
                break
            except ConnectionResetError:
                self.sees = "reset"
                break
            self._octets += data
            if not data:
                self.sees = "end"

    def value(self) -> bytes:
        """Everything received so far, up to now: a copy."""
        self.look()
        return bytes(self._octets)

    @property
    def octets(self) -> bytearray:
        """What was received, without a look for more."""
        return self._octets

    @property
    def count(self) -> int:
        """How many octets have come by now."""
        self.look()
        return len(self._octets)

    def sees_now(self) -> str:
        """``sees``, up to now."""
        self.look()
        return self.sees

    def read(self, octets: int) -> int:
        """Read at most so many octets.

        :returns: how many came.
        """
        try:
            data = self.socket.recv(octets)
        except BlockingIOError:
            return 0
        self._octets += data
        return len(data)

    def send(self, data: bytes) -> None:
        """Send; few enough octets for the system's buffer."""
        assert self.socket.send(data) == len(data)

    def urge(self, data: bytes) -> None:
        """Send, the last octet as an urgent one (RFC 6093)."""
        assert self.socket.send(data, socket.MSG_OOB) == len(data)

    def push(self, data: bytes) -> int:
        """Send what the system takes now, of much.

        :returns: how many octets that was.
        """
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0

    async def stuff(self, data: bytes, patience: int = 50) -> int:
        """Send of *data* what goes, until nothing goes any more for so many turns.

        :returns: how many octets that was.
        """
        sent = quiet = 0
        while quiet < patience:
            went = self.push(data[sent : sent + (1 << 17)])
            sent += went
            quiet = 0 if went else quiet + 1
            await turn()
        assert sent < len(data)
        return sent

    def end(self) -> None:
        """Send our end; goes on receiving."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Reset the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close, both directions at once."""
        self.socket.close()
