"""The order of the messages: what a server, and a client, may receive and send when, and how their two machines
are alike.

Machines without I/O. Octets go in by ``receive``, which returns the event that they
complete, if any; octets to send come out by ``take_output``. The caller owns the transport, the
clock and every asynchronous answer: while an answer is awaited (:attr:`Stage.CHECKING`,
:attr:`Stage.COMMAND`) further octets wait in the machine, and
``pending`` tells the caller how many, so that it can stop reading.

With GSSAPI (RFC 1961) the caller has the security context, and the machine has the order of its tokens. Once
a level of protection is agreed the caller takes the octets that wait out of the machine, and gives it from then
on what is in the tokens; what the machine then has to send goes into tokens.

The tables :data:`SERVER_NEXT` and :data:`CLIENT_NEXT` are the only places that know which stage may
follow which; only one method assigns the stage, and it checks the table. No step looks at how the
octets were cut into segments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from socks5.protocol.errors import LocalProtocolError, SOCKSError
from socks5.protocol.gssapi import Message, MessageType, size_of


class Stage(Enum):
    """Where a negotiation stands, named after what is awaited. The value is the words of the state
    diagram.
    """

    GREETING = "the client's greeting"
    METHOD = "the server's choice of method"
    CREDENTIALS = "user name and password"
    CONTEXT = "a token of the other side's (GSSAPI)"
    CHECKING = "the verdict on the credentials"
    TOKEN = "a token of one's own (GSSAPI)"
    PROTECTION = "the other side's level of protection (GSSAPI)"
    CHOICE = "the verdict on that level (GSSAPI)"
    REQUEST = "the request"
    COMMAND = "the reply"
    SECOND_REPLY = "the second reply (BIND)"
    ESTABLISHED = "nothing more: octets are relayed"
    CLOSED = "nothing more: the connection ends"

    __hash__ = object.__hash__  # a member is one object; Enum's own hashes the name, in Python


# Looked up for every message; a member of an Enum is found slowly by its name.
COMMAND, SECOND_REPLY, ESTABLISHED, CLOSED = (
    Stage.COMMAND,
    Stage.SECOND_REPLY,
    Stage.ESTABLISHED,
    Stage.CLOSED,
)

Table = Mapping[Stage, frozenset[Stage]]

SERVER_NEXT: Table = {
    Stage.GREETING: frozenset({Stage.CREDENTIALS, Stage.CONTEXT, Stage.REQUEST, Stage.CLOSED}),
    Stage.CREDENTIALS: frozenset({Stage.CHECKING, Stage.CLOSED}),
    Stage.CONTEXT: frozenset({Stage.CHECKING, Stage.CLOSED}),
    Stage.CHECKING: frozenset({Stage.CONTEXT, Stage.PROTECTION, Stage.REQUEST, Stage.CLOSED}),
    Stage.PROTECTION: frozenset({Stage.CHOICE, Stage.CLOSED}),
    Stage.CHOICE: frozenset({Stage.REQUEST, Stage.CLOSED}),
    Stage.REQUEST: frozenset({Stage.COMMAND, Stage.CLOSED}),
    Stage.COMMAND: frozenset({Stage.SECOND_REPLY, Stage.ESTABLISHED, Stage.CLOSED}),
    Stage.SECOND_REPLY: frozenset({Stage.ESTABLISHED, Stage.CLOSED}),
    Stage.ESTABLISHED: frozenset(),
    Stage.CLOSED: frozenset(),
}
"""The server's stages, and the stages that may follow each. The one circle, from CONTEXT to CHECKING and back,
is walked :data:`~socks5.protocol.gssapi.MAX_TOKENS` times at the most.
"""

CLIENT_NEXT: Table = {
    Stage.METHOD: frozenset({Stage.CHECKING, Stage.TOKEN, Stage.COMMAND, Stage.CLOSED}),
    Stage.CHECKING: frozenset({Stage.COMMAND, Stage.CLOSED}),
    Stage.TOKEN: frozenset({Stage.CONTEXT, Stage.PROTECTION, Stage.CLOSED}),
    Stage.CONTEXT: frozenset({Stage.TOKEN, Stage.CLOSED}),
    Stage.PROTECTION: frozenset({Stage.CHOICE, Stage.CLOSED}),
    Stage.CHOICE: frozenset({Stage.COMMAND, Stage.CLOSED}),
    Stage.COMMAND: frozenset({Stage.SECOND_REPLY, Stage.ESTABLISHED, Stage.CLOSED}),
    Stage.SECOND_REPLY: frozenset({Stage.ESTABLISHED, Stage.CLOSED}),
    Stage.ESTABLISHED: frozenset(),
    Stage.CLOSED: frozenset(),
}
"""The client's stages, and the stages that may follow each. The circle from TOKEN to CONTEXT and back is bounded
as on the server's side.
"""


@dataclass(frozen=True, slots=True)
class TokenReceived:
    """A token of the other side's security context, in no ``repr``.

    Server: answer with ``continue_context``; or with ``complete_context`` and, like credentials, with
    ``accept_credentials``; or with ``reject_credentials``. Client: answer with ``send_token`` or
    ``require_protection``; the first of these events comes without a token, before ours.
    """

    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProtectionReceived:
    """The other side's level of protection, in a token or, as NEC's implementation has it, bare: one octet.

    Server: answer with ``accept_protection`` or ``reject_protection``. Client: with ``accept_protection``, or
    close.
    """

    token: bytes = field(repr=False)

    @property
    def is_bare(self) -> bool:
        """Whether it is the octet itself: no token of a context is that short."""
        return len(self.token) == 1


@dataclass(frozen=True, slots=True)
class Rejected:
    """Either side: it is over. Send what ``take_output`` holds, then close."""

    error: SOCKSError


class Machine:
    """What both sides share: a stage, octets that wait, octets to send.

    Octets may come one by one, so those that nobody looks at yet gather in a place that grows cheaply: while
    an answer is awaited, or while a message whose length is known is not complete.
    """

    __slots__ = ("_behind", "_buffer", "_output", "_wanted", "stage")

    _next: ClassVar[Table]

    def __init__(self, first: Stage) -> None:
        self.stage = first
        self._buffer = b""
        self._behind: bytearray | None = None  # what has come behind them since they were looked at
        self._wanted = 0  # octets from which on a look is worth while
        self._output = b""

    def _enter(self, stage: Stage) -> None:
        if stage not in self._next[self.stage]:
            raise LocalProtocolError(f"{stage.name} cannot follow {self.stage.name}")
        self.stage = stage

    @property
    def pending(self) -> int:
        """How many octets wait in the machine, not yet understood or not yet taken."""
        if self._behind is None:
            return len(self._buffer)
        return len(self._buffer) + len(self._behind)

    def _gather(self, data: bytes) -> None:
        """Octets came behind others that wait."""
        if self._behind is None:
            self._behind = bytearray(data)
        else:
            self._behind.extend(data)

    def _is_enough(self) -> bool:
        """Whether a look is worth while at what waits, some of it behind the rest; it is in one piece then."""
        assert self._behind is not None
        if self.pending < self._wanted:
            return False
        self._buffer += self._behind
        self._behind = None
        return True

    def take_output(self) -> bytes:
        """The octets to send now, in one piece; each is returned once."""
        output, self._output = self._output, b""
        return output

    def take_trailing(self) -> bytes:
        """The octets that came behind the last message: the first ones to relay.

        :raises LocalProtocolError: the stage is not ESTABLISHED, so they may yet be a message.
        """
        if self.stage is not ESTABLISHED:
            raise LocalProtocolError(f"no octets to relay at {self.stage.name}")
        return self._take_waiting() if self._buffer else b""

    def _require(self, stage: Stage, what: str) -> None:
        if self.stage is not stage:
            raise LocalProtocolError(f"{what} at {self.stage.name}")

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

    def _close(self, error: SOCKSError) -> Rejected:
        self._enter(Stage.CLOSED)
        self._take_waiting()
        return Rejected(error)
