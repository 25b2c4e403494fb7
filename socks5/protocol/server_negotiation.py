"""What a server receives and sends until it has replied (RFC 1928). What a method adds to that is a
:class:`~socks5.protocol.subnegotiation.Subnegotiation`, looked up by the method's number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.errors import (
    LocalProtocolError,
    NoAcceptableMethod,
    NotSOCKS5,
    RemoteProtocolError,
    ReplyError,
    SOCKSError,
)
from socks5.protocol.machine import Machine
from socks5.protocol.messages import (
    HTTP_ANSWER,
    REPLY_SUCCEEDED,
    Command,
    Greeting,
    Method,
    MethodSelection,
    Reply,
    Request,
)
from socks5.protocol.remembered import Remembered
from socks5.protocol.stages import (
    CLOSED,
    COMMAND,
    ESTABLISHED,
    SECOND_REPLY,
    SERVER_NEXT,
    Rejected,
    Stage,
)
from socks5.protocol.subnegotiation import NO_AUTHENTICATION, Methods, Subnegotiation


@dataclass(frozen=True, slots=True)
class CommandRequested:
    """Answer with ``reply``, twice for a BIND that succeeds."""

    request: Request


def _requested(buffer: bytes) -> tuple[CommandRequested, int] | None:
    found = Request.decode(buffer)
    return None if found is None else (CommandRequested(found[0]), found[1])


GREETINGS = Remembered(Greeting.decode)
REQUESTS = Remembered(_requested)
"""What a client's messages mean."""

_SELECTIONS = [MethodSelection(method).encode() for method in range(256)]


class ServerNegotiation(Machine):
    """The server's half (RFC 1928 sections 3-6).

    :param methods: those that are accepted.
    """

    __slots__ = ("_command", "_methods", "method", "subnegotiation")

    _next = SERVER_NEXT

    def __init__(self, methods: Methods = NO_AUTHENTICATION) -> None:
        super().__init__(Stage.GREETING)
        self._methods = methods
        self._command = 0
        self.method: int | None = None
        """The METHOD octet that was chosen."""
        self.subnegotiation: Subnegotiation | None = None
        """The method's, while the stage is SUBNEGOTIATION."""

    @property
    def methods(self) -> Methods:
        """The methods that are accepted. Others may be assigned until the client's greeting is complete.

        :raises LocalProtocolError: it is.
        """
        return self._methods

    @methods.setter
    def methods(self, methods: Methods) -> None:
        if self.stage is not Stage.GREETING:
            raise LocalProtocolError(f"the method is chosen already at {self.stage.name}")
        self._methods = methods

    @property
    @override
    def pending(self) -> int:
        """How many octets wait, not yet understood or not yet taken, in a sub-negotiation as well."""
        if self.subnegotiation is not None:
            return self.subnegotiation.pending
        behind = self._behind
        return len(self._buffer) if behind is None else len(self._buffer) + len(behind)

    @property
    def is_gathering(self) -> bool:
        """Whether what waits is a part of a sub-negotiation's message, for which its caller must read on."""
        return self.subnegotiation is not None and self.subnegotiation.is_gathering

    def receive(self, data: bytes) -> object | None:
        """Take octets from the client, or none: what waits is looked at again, as behind an answer to an event.

        :returns: the event that they complete: :class:`CommandRequested`,
            :class:`~socks5.protocol.stages.Rejected`, or one of the sub-negotiation's. Behind every event the
            machine waits for the caller's answer; until then further octets only gather.
        :raises LocalProtocolError: a method is chosen that cannot be carried out.
        """
        within = self.subnegotiation
        if within is not None:
            return self._receive_within(within, data)
        if self._buffer:
            self._gather(data)
        elif self.stage is not CLOSED:
            self._buffer = data
        event: object | None = self._advance()
        return event

    @override
    def take_output(self) -> bytes:
        """The octets to send now, a sub-negotiation's as well, in one piece; each is returned once."""
        output, self._output = self._output, b""
        within = self.subnegotiation
        return output if within is None else output + within.take_output()

    # The sub-negotiation

    def logged_in(self) -> bytes:
        """The client is accepted, and the sub-negotiation was told so.

        :returns: the octets that wait. They are to be given back by :meth:`receive`, out of whatever the method
            protects octets with, and so are all others from now on.
        :raises LocalProtocolError: there is no sub-negotiation, or it was not told.
        """
        waiting = self._within().take_trailing()
        self._leave(Stage.REQUEST)
        return waiting

    def reject(self, error: SOCKSError) -> Rejected:
        """The client is not accepted, and the sub-negotiation was told so.

        :param error: why.
        :raises LocalProtocolError: there is no sub-negotiation.
        """
        self._within()
        self._leave(CLOSED)
        return Rejected(error)

    def _within(self) -> Subnegotiation:
        if self.subnegotiation is None:
            raise LocalProtocolError(f"no sub-negotiation is under way at {self.stage.name}")
        return self.subnegotiation

    def _receive_within(self, within: Subnegotiation, data: bytes) -> object | None:
        try:
            event = within.receive(data)
        except RemoteProtocolError as error:
            event = Rejected(error)
        if isinstance(event, Rejected):
            self._leave(CLOSED)
        return event

    def _leave(self, stage: Stage) -> None:
        self._output += self._within().take_output()
        self._enter(stage)
        self.subnegotiation = None

    # The request

    def reply(self, code: int, address: Address = UNSPECIFIED) -> None:
        """Answer the request. Success leads to ESTABLISHED, or for BIND first to SECOND_REPLY;
        failure to CLOSED.

        :param code: the REP octet.
        :param address: BND.ADDR and BND.PORT; a failure always carries 0.0.0.0:0, full length.
        :raises LocalProtocolError: no request awaits a reply, or the address cannot be encoded.
        """
        stage = self.stage
        if stage is not COMMAND and stage is not SECOND_REPLY:
            raise LocalProtocolError(f"no request awaits a reply at {stage.name}")
        if code != 0:
            self._output += Reply(code).encode()
            self._close(ReplyError.for_code(code))
            return
        self._output += REPLY_SUCCEEDED + address.encode()
        is_first_of_two = self._command == Command.BIND and stage is COMMAND
        self._enter(SECOND_REPLY if is_first_of_two else ESTABLISHED)

    # What comes

    @override
    def _violated(self, error: RemoteProtocolError) -> Rejected:
        if error.reply is not None:
            self._output += Reply(error.reply).encode()
        elif isinstance(error, NotSOCKS5) and error.kind == "HTTP":
            self._output += HTTP_ANSWER
        return self._close(error)

    def _await_greeting(self) -> object | None:
        found = GREETINGS[self._buffer]
        if found is None:
            return None
        greeting, used = found
        for method in self._methods:
            if method in greeting.methods:
                break
        else:
            self._output += _SELECTIONS[Method.NO_ACCEPTABLE]
            return self._close(NoAcceptableMethod(greeting.methods, tuple(self._methods)))
        self._buffer = self._buffer[used:]
        make = self._methods[method]
        if make is not None or method != 0:
            return self._begin(method, make)
        self.method = method
        self._output += _SELECTIONS[method]
        self._enter(Stage.REQUEST)
        return None

    def _begin(self, method: int, make: Callable[[], Subnegotiation] | None) -> object | None:
        """Let the client be asked who it is, behind its greeting."""
        if make is None or method == Method.NO_ACCEPTABLE:
            raise LocalProtocolError(f"method {method} cannot be carried out")
        self.method = method
        self.subnegotiation = within = make()
        self._output += _SELECTIONS[method]
        self._enter(Stage.SUBNEGOTIATION)
        return self._receive_within(within, self._take_waiting())

    def _await_request(self) -> CommandRequested | None:
        found = REQUESTS[self._buffer]
        if found is None:
            return None
        requested, used = found
        self._buffer = self._buffer[used:]
        self._command = requested.request.command
        self._enter(COMMAND)
        return requested

    _steps: ClassVar = {Stage.GREETING: _await_greeting, Stage.REQUEST: _await_request}
