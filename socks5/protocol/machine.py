"""How the machines of a negotiation are alike: the server's half, the client's, and each sub-negotiation.

Machines without I/O. Octets go in by ``receive``, which returns what they complete; octets to send come out by
``take_output``. The caller owns the transport, the clock and every asynchronous answer: while an answer is awaited
further octets wait in the machine, and ``pending`` tells the caller how many, so that it can stop reading.

No step looks at how the octets were cut into segments; but the client's half takes for no answer
what comes before it was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from socks5.protocol.errors import LocalProtocolError, RemoteProtocolError, SOCKSError
from socks5.protocol.gssapi import Message, MessageType, size_of
from socks5.protocol.stages import CLOSED, ESTABLISHED, Rejected, Stage, Table


class Machine:
    """A stage, octets that wait, octets to send.

    Octets may come one by one, so those that nobody looks at yet gather in a place that grows cheaply: while
    an answer is awaited, or while a message whose length is known is not complete.
    """

    __slots__ = ("_behind", "_buffer", "_output", "_wanted", "stage")

    _next: ClassVar[Table]
    _steps: ClassVar[Mapping[Stage, Callable[[Any], Any]]]
    """What takes a message, by the stage that awaits one."""

    _last: ClassVar[Stage] = ESTABLISHED

    def __init__(self, first: Stage) -> None:
        self.stage = first
        self._buffer = b""
        self._behind: bytearray | None = None  # what has come behind them since they were looked at
        self._wanted = 0  # octets from which on a look is worth while
        self._output = b""

    @property
    def pending(self) -> int:
        """How many octets wait in the machine, not yet understood or not yet taken."""
        if self._behind is None:
            return len(self._buffer)
        return len(self._buffer) + len(self._behind)

    def take_output(self) -> bytes:
        """The octets to send now, in one piece; each is returned once."""
        output, self._output = self._output, b""
        return output

    def take_trailing(self) -> bytes:
        """The octets that came behind the last message: the first ones of what follows.

        :raises LocalProtocolError: the last stage is not reached, so they may yet be a message.
        """
        if self.stage is not self._last:
            raise LocalProtocolError(f"no octets behind the last message at {self.stage.name}")
        return self._take_waiting() if self._buffer else b""

    def _take_in(self, data: bytes) -> Any:
        """Octets came.

        :returns: the event that they complete. Behind each the machine waits for the caller's answer.
        """
        if self._buffer:
            self._gather(data)
        elif self.stage is not CLOSED:
            self._buffer = data
        return self._advance()

    def _gather(self, data: bytes) -> None:
        """Octets came behind others that wait."""
        if self._behind is None:
            self._behind = bytearray(data)
        else:
            self._behind.extend(data)

    def _advance(self) -> Any:
        """Take steps until there is an event, or octets are missing."""
        while self._buffer:
            step = self._steps.get(self.stage)
            if step is None or (self._behind is not None and not self._is_enough()):
                return None
            waiting = self._buffer
            try:
                event = step(self)
            except RemoteProtocolError as error:
                return self._violated(error)
            if event is not None or self._buffer is waiting:
                return event
        return None

    def _is_enough(self) -> bool:
        """Whether a look is worth while at what waits, some of it behind the rest; it is in one piece then."""
        assert self._behind is not None
        if self.pending < self._wanted:
            return False
        self._buffer += self._behind
        self._behind = None
        return True

    def _receive_message(self, kind: MessageType) -> Message | None:
        """Take a whole message of RFC 1961 out of what waits.

        :raises RemoteProtocolError: something else waits there.
        """
        found = Message.decode(self._buffer, kind)
        if found is None:
            self._wanted = size_of(self._buffer)
            return None
        message, used = found
        self._buffer = self._buffer[used:]
        self._wanted = 0
        return message

    def _take_waiting(self) -> bytes:
        waiting = self._buffer if self._behind is None else self._buffer + self._behind
        self._buffer, self._behind = b"", None
        return waiting

    def _require(self, stage: Stage, what: str) -> None:
        if self.stage is not stage:
            raise LocalProtocolError(f"{what} at {self.stage.name}")

    def _enter(self, stage: Stage) -> None:
        if stage not in self._next[self.stage]:
            raise LocalProtocolError(f"{stage.name} cannot follow {self.stage.name}")
        self.stage = stage

    def _violated(self, error: RemoteProtocolError) -> Rejected:
        """A step has met what may not be there."""
        return self._close(error)

    def _close(self, error: SOCKSError) -> Rejected:
        stage = self.stage
        self._enter(CLOSED)
        self._take_waiting()
        return Rejected(error, stage)
