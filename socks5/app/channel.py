"""What a parent and one of its workers tell each other: messages of a kind, in order, over a stream of the system's,
with descriptors where a message has some (SCM_RIGHTS, unix(7)).

A message is its length in four octets and an object of JSON, whose key ``is`` names its kind. One that is more than
:data:`MAX_MESSAGE`, or none at all, ends the channel: whoever sends that is out of order.
"""

from __future__ import annotations

import json
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.logger import Logger
from zope.interface import implementer

MAX_MESSAGE = 2**26
"""Octets of a message."""

MAX_DESCRIPTORS = 250
"""With one message; the system takes 253."""

_LENGTH = 4
"""Octets."""

_CHUNK = 65536
"""Octets that are received at once."""

Message = Mapping[str, Any]

Handler = Callable[[Message, Sequence[int]], object]
"""Does what a message says. The descriptors that came with it are its to close."""


def _nothing() -> None:
    """What is done at an end that is told already, or that nobody waits for."""


class _Outgoing:
    """A message, or what is left of it to send."""

    def __init__(self, octets: bytes, descriptors: Iterable[int]) -> None:
        self.octets = memoryview(octets)
        self.descriptors = [os.dup(each) for each in descriptors]

    def send(self, end: socket.socket) -> bool:
        """Send what the system takes.

        :returns: whether that was all.
        :raises OSError: it takes nothing now (BlockingIOError), or nothing any more.
        """
        if self.descriptors:
            sent = socket.send_fds(end, [self.octets], self.descriptors)
            self.close()
        else:
            sent = end.send(self.octets)
        self.octets = self.octets[sent:]
        return not self.octets

    def close(self) -> None:
        """Close our copies of the descriptors."""
        while self.descriptors:
            os.close(self.descriptors.pop())


@implementer(IReadWriteDescriptor)
class Channel:
    """One end. It is read from :meth:`open` on.

    :param reactor: reads and writes.
    :param end: the socket.
    """

    _log = Logger()

    def __init__(self, reactor: Any, end: socket.socket) -> None:
        self._reactor = reactor
        self._socket = end
        self._ended: Callable[[], object] = _nothing
        self._handlers: dict[str, Handler] = {}
        self._came = bytearray()
        self._descriptors: deque[int] = deque()
        self._outgoing: deque[_Outgoing] = deque()
        self._is_writing = self._is_last_said = False
        end.setblocking(False)

    def open(self, ended: Callable[[], object] = _nothing) -> None:
        """Hear from now on.

        :param ended: called once, when the other end says no more, or something out of order.
        """
        self._ended = ended
        self._reactor.addReader(self)

    def hear(self, kind: str, handler: Handler) -> None:
        """Let *handler* do what messages of a kind say."""
        self._handlers[kind] = handler

    @property
    def is_clear(self) -> bool:
        """Whether nothing waits to be sent. Who would say the same again, with other numbers, better waits for that: an
        other end that has stopped would let the queue grow.
        """
        return not self._outgoing

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message; it is lost if there is no other end any more.

        :param message: becomes JSON; its key ``is`` names its kind.
        :param descriptors: go with it, at most :data:`MAX_DESCRIPTORS`. They are still the caller's to close.
        """
        assert len(descriptors) <= MAX_DESCRIPTORS
        if self.fileno() < 0 or self._is_last_said:
            return
        text = json.dumps({**message, "descriptors": len(descriptors)}, separators=(",", ":"))
        octets = text.encode()
        octets = len(octets).to_bytes(_LENGTH, "big") + octets
        self._outgoing.append(_Outgoing(octets, descriptors))
        if not self._is_writing:
            self.doWrite()

    def end(self) -> None:
        """Say no more, behind what was sent. The other end is heard still."""
        self._is_last_said = True
        if self.fileno() >= 0 and not self._outgoing:
            self._say_end()

    def _say_end(self) -> None:
        with suppress(OSError):  # there is no other end any more
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Hear and say no more."""
        if self.fileno() < 0:
            return
        self._reactor.removeReader(self)
        self._forget_outgoing()
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def _forget_outgoing(self) -> None:
        self._reactor.removeWriter(self)
        self._is_writing = False
        while self._outgoing:
            self._outgoing.popleft().close()

    # The reactor's

    def fileno(self) -> int:
        """See :class:`twisted.internet.interfaces.IFileDescriptor`; -1 once it is closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """See :class:`twisted.internet.interfaces.ILoggingContext`."""
        return "channel"

    def connectionLost(self, reason: Any = None) -> None:
        """The reactor has found an error, or ends."""
        self._is_out_of_order()

    def doWrite(self) -> None:
        """Send what waits, as far as the system takes it."""
        try:
            while self._outgoing:
                if not self._outgoing[0].send(self._socket):
                    continue
                self._outgoing.popleft()
        except BlockingIOError:
            if not self._is_writing:
                self._is_writing = True
                self._reactor.addWriter(self)
            return
        except OSError:  # its end is heard of where it is read
            self._forget_outgoing()
            return
        if self._is_writing:
            self._is_writing = False
            self._reactor.removeWriter(self)
        if self._is_last_said:
            self._say_end()

    def doRead(self) -> None:
        """Take what has come, all of it."""
        try:
            while self.fileno() >= 0:
                octets, descriptors, _, _ = socket.recv_fds(self._socket, _CHUNK, MAX_DESCRIPTORS)
                self._descriptors += descriptors
                if not octets:
                    self._is_heard_out()
                    return
                self._came += octets
                self._take_whole()
        except BlockingIOError:
            pass
        except (OSError, ValueError):
            self._is_out_of_order()

    def _take_whole(self) -> None:
        """Take the messages that are whole.

        :raises ValueError: there is something out of order.
        """
        while len(self._came) >= _LENGTH and self.fileno() >= 0:
            length = int.from_bytes(self._came[:_LENGTH], "big")
            if length > MAX_MESSAGE:
                raise ValueError(length)
            end = _LENGTH + length
            if len(self._came) < end:
                return
            text = bytes(self._came[_LENGTH:end])
            del self._came[:end]
            self._take(json.loads(text))

    def _take(self, message: Any) -> None:
        """:raises ValueError: it is none."""
        try:
            kind, count = message["is"], message["descriptors"]
            descriptors = [self._descriptors.popleft() for _ in range(count)]
        except (TypeError, LookupError) as error:
            raise ValueError(error) from None
        handler = self._handlers.get(kind)
        if handler is None:
            self._log.warn("the other process says {kind}, which is unknown here", kind=kind)
            for each in descriptors:
                os.close(each)
            return
        try:
            handler(message, descriptors)
        except Exception:
            self._log.failure("what the other process says of {kind} cannot be done", kind=kind)

    def _is_heard_out(self) -> None:
        """The other end says no more, though it may hear still."""
        self._reactor.removeReader(self)
        ended, self._ended = self._ended, _nothing
        ended()

    def _is_out_of_order(self) -> None:
        if self.fileno() >= 0:
            self.close()
            self._is_heard_out()
