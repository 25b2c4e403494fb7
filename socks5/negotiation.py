"""The order of the messages: what a server, and a client, may receive and send when.

Two machines without I/O. Octets go in by ``receive``, which returns the event that they
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

Floor 0: imports nothing of Twisted; of the package only :mod:`socks5.wire`,
:mod:`socks5.encapsulation` and :mod:`socks5.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, Generic, TypeVar

from socks5.encapsulation import ABORT, MAX_TOKENS, Message, MessageType, size_of
from socks5.errors import (
    AuthenticationFailed,
    LocalProtocolError,
    NoAcceptableMethod,
    NotSOCKS5,
    RemoteProtocolError,
    ReplyError,
    SOCKSError,
)
from socks5.wire import (
    REPLY_SUCCEEDED,
    UNSPECIFIED,
    VERSION,
    Address,
    Command,
    Credentials,
    CredentialsStatus,
    Greeting,
    Method,
    MethodSelection,
    Reply,
    Request,
)


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
_COMMAND, _SECOND_REPLY, _ESTABLISHED, _CLOSED = (
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
is walked :data:`~socks5.encapsulation.MAX_TOKENS` times at the most.
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

_AFTER_METHOD: Mapping[int, Stage] = {
    Method.NO_AUTHENTICATION: Stage.REQUEST,
    Method.USERNAME_PASSWORD: Stage.CREDENTIALS,
    Method.GSSAPI: Stage.CONTEXT,
}

_Found = TypeVar("_Found")

REMEMBERED = 1024
"""Messages of a kind that are not decoded again: a few programs make most of the clients, and they
ask for the same targets again and again.
"""


class _Memory(dict[bytes, "tuple[_Found, int] | None"], Generic[_Found]):
    """What octets mean, by the octets: looks up what came before, and decodes the rest.

    Nothing stands in it that came behind a message: that may be a password.

    :param decode: gives what the octets begin with and how many it used, or None while some are missing.
    """

    def __init__(self, decode: Callable[[bytes], tuple[_Found, int] | None]) -> None:
        super().__init__()
        self._decode = decode

    def __missing__(self, buffer: bytes) -> tuple[_Found, int] | None:
        found = self._decode(buffer)
        if found is not None and found[1] == len(buffer):
            if len(self) >= REMEMBERED:
                self.clear()
            self[buffer] = found
        return found


_SELECTION = {method: MethodSelection(method).encode() for method in _AFTER_METHOD}

HTTP_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"this is a SOCKS5 proxy: configure it as socks5://, not as an HTTP proxy\n"
)
"""Sent to a client whose first octet is the capital letter of an HTTP method."""


@dataclass(frozen=True, slots=True)
class CredentialsReceived:
    """Server: answer with ``accept_credentials`` or ``reject_credentials``."""

    credentials: Credentials


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
class CommandRequested:
    """Server: answer with ``reply``, twice for a BIND that succeeds."""

    request: Request


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """Client: the command succeeded so far; a BIND has two of these."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Rejected:
    """Either side: it is over. Send what ``take_output`` holds, then close."""

    error: SOCKSError


def _requested(buffer: bytes) -> tuple[CommandRequested, int] | None:
    found = Request.decode(buffer)
    return None if found is None else (CommandRequested(found[0]), found[1])


_GREETINGS = _Memory(Greeting.decode)
_REQUESTS = _Memory(_requested)

ServerEvent = CredentialsReceived | TokenReceived | ProtectionReceived | CommandRequested | Rejected
ClientEvent = TokenReceived | ProtectionReceived | ReplyReceived | Rejected


class _Machine:
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
        if self.stage is not _ESTABLISHED:
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


class ServerNegotiation(_Machine):
    """The server's half (RFC 1928 sections 3-6, RFC 1929, RFC 1961).

    :param methods: the METHOD octets that are accepted, in the server's order of preference.
    :raises LocalProtocolError: one of them cannot be carried out here.
    """

    __slots__ = ("_command", "_last_token", "_methods", "_tokens")

    _next = SERVER_NEXT

    def __init__(self, methods: Sequence[int] = (Method.NO_AUTHENTICATION,)) -> None:
        for method in methods:
            if method not in _AFTER_METHOD:
                raise LocalProtocolError(f"cannot carry out all of the methods {list(methods)}")
        super().__init__(Stage.GREETING)
        self._methods = methods
        self._command = 0
        self._tokens = 0
        self._last_token: bytes | None = None

    @property
    def methods(self) -> Sequence[int]:
        """The METHOD octets that are accepted, in the server's order of preference. Others may be
        assigned until the client's greeting is complete.

        :raises LocalProtocolError: it is, or one of them cannot be carried out here.
        """
        return self._methods

    @methods.setter
    def methods(self, methods: Sequence[int]) -> None:
        if self.stage is not Stage.GREETING:
            raise LocalProtocolError(f"the method is chosen already at {self.stage.name}")
        if not _AFTER_METHOD.keys() >= set(methods):
            raise LocalProtocolError(f"cannot carry out all of the methods {list(methods)}")
        self._methods = methods

    def receive(self, data: bytes) -> ServerEvent | None:
        """Take octets from the client.

        :returns: the event that they complete. Behind every event the machine waits for the caller's
            answer; until then further octets only gather.
        """
        if self._buffer:
            self._gather(data)
        elif self.stage is not _CLOSED:
            self._buffer = data
        return self._advance()

    @property
    def is_gathering(self) -> bool:
        """Whether what waits is a part of one of RFC 1961's messages, which may have up to 65539 octets."""
        return self.stage in (Stage.CONTEXT, Stage.PROTECTION)

    def accept_credentials(self) -> ServerEvent | None:
        """The credentials are right (RFC 1929: STATUS 0; RFC 1961: the last token of the context, even if
        it is empty); what waited behind them is understood now.

        :raises LocalProtocolError: no credentials are being checked, or the context is not complete.
        """
        self._require(Stage.CHECKING, "no credentials are being checked")
        if not self._tokens:
            self._enter(Stage.REQUEST)
            self._output += CredentialsStatus(0).encode()
            return self._advance()
        if self._last_token is None:
            raise LocalProtocolError("the context is not complete")
        message = Message(MessageType.CONTEXT, self._last_token).encode()
        self._enter(Stage.PROTECTION)
        self._output += message
        return self._advance()

    def reject_credentials(self, reason: str = "") -> Rejected:
        """The credentials are wrong (RFC 1929: STATUS not 0; RFC 1961 section 3.8: an abort; then close).

        :param reason: for the record, if it is another one.
        :raises LocalProtocolError: no credentials are being checked.
        """
        self._require(Stage.CHECKING, "no credentials are being checked")
        if self._tokens:
            self._output += ABORT
            return self._close(AuthenticationFailed(reason or "security context not accepted"))
        self._output += CredentialsStatus(1).encode()
        return self._close(AuthenticationFailed(reason or "user name or password not accepted"))

    def continue_context(self, token: bytes) -> ServerEvent | None:
        """The context needs another token of the client's (RFC 1961 section 3.6).

        :param token: ours.
        :raises LocalProtocolError: no token is being checked, or ours is too long.
        """
        self._require_token()
        message = Message(MessageType.CONTEXT, token).encode()
        self._enter(Stage.CONTEXT)
        self._output += message
        return self._advance()

    def complete_context(self, token: bytes) -> None:
        """The context is complete. Whether its user may come in is still to be said.

        :param token: our last one, which may be empty.
        :raises LocalProtocolError: no token is being checked.
        """
        self._require_token()
        self._last_token = token

    def _require_token(self) -> None:
        self._require(Stage.CHECKING, "no token is being checked")
        if not self._tokens:
            raise LocalProtocolError("what is being checked is no token")

    def accept_protection(self, token: bytes) -> bytes:
        """A level of protection is agreed (RFC 1961 section 4).

        :param token: our answer, in the client's form.
        :returns: the octets that wait. They are to be given back by :meth:`receive`, out of their tokens if
            the level is not 0, and so are all others from now on.
        :raises LocalProtocolError: the client has not told its level, or our answer is too long.
        """
        self._require(Stage.CHOICE, "no level of protection awaits an answer")
        message = Message(MessageType.PROTECTION, token).encode()
        self._enter(Stage.REQUEST)
        self._output += message
        return self._take_waiting()

    def reject_protection(self, error: SOCKSError) -> Rejected:
        """No level of protection is agreed: an abort, then close.

        :raises LocalProtocolError: the client has not told its level.
        """
        self._require(Stage.CHOICE, "no level of protection awaits an answer")
        self._output += ABORT
        return self._close(error)

    def reply(self, code: int, address: Address = UNSPECIFIED) -> None:
        """Answer the request. Success leads to ESTABLISHED, or for BIND first to SECOND_REPLY;
        failure to CLOSED.

        :param code: the REP octet.
        :param address: BND.ADDR and BND.PORT; a failure always carries 0.0.0.0:0, full length.
        :raises LocalProtocolError: no request awaits a reply, or the address cannot be encoded.
        """
        stage = self.stage
        if stage is not _COMMAND and stage is not _SECOND_REPLY:
            raise LocalProtocolError(f"no request awaits a reply at {stage.name}")
        if code != 0:
            self._output += Reply(code).encode()
            self._close(ReplyError.for_code(code))
            return
        self._output += REPLY_SUCCEEDED + address.encode()
        is_first_of_two = self._command == Command.BIND and stage is _COMMAND
        self._enter(_SECOND_REPLY if is_first_of_two else _ESTABLISHED)

    def _advance(self) -> ServerEvent | None:
        """Take steps until octets are missing or the caller must answer."""
        while self._buffer:
            step = _SERVER_STEPS.get(self.stage)
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

    def _violated(self, error: RemoteProtocolError) -> Rejected:
        if error.reply is not None:
            self._output += Reply(error.reply).encode()
        elif self.is_gathering:
            self._output += ABORT
        elif isinstance(error, NotSOCKS5) and error.kind == "HTTP":
            self._output += HTTP_ANSWER
        return self._close(error)

    def _await_greeting(self) -> ServerEvent | None:
        found = _GREETINGS[self._buffer]
        if found is None:
            return None
        greeting, used = found
        for method in self._methods:
            if method in greeting.methods:
                break
        else:
            self._output += MethodSelection(Method.NO_ACCEPTABLE).encode()
            return self._close(NoAcceptableMethod(greeting.methods, self._methods))
        self._buffer = self._buffer[used:]
        self._output += _SELECTION[method]
        self._enter(_AFTER_METHOD[method])
        return None

    def _await_credentials(self) -> ServerEvent | None:
        found = Credentials.decode(self._buffer)
        if found is None:
            return None
        credentials, used = found
        self._buffer = self._buffer[used:]
        self._enter(Stage.CHECKING)
        return CredentialsReceived(credentials)

    def _await_token(self) -> ServerEvent | None:
        if self._tokens == MAX_TOKENS:
            raise RemoteProtocolError(f"no security context after {MAX_TOKENS} tokens")
        message = self._receive_message(MessageType.CONTEXT)
        if message is None:
            return None
        if message.kind == MessageType.ABORT:
            return self._close(AuthenticationFailed("the client gave up its security context"))
        self._tokens += 1
        self._enter(Stage.CHECKING)
        return TokenReceived(message.token)

    def _await_protection(self) -> ServerEvent | None:
        message = self._receive_message(MessageType.PROTECTION)
        if message is None:
            return None
        if message.kind == MessageType.ABORT:
            return self._close(AuthenticationFailed("the client gave up its security context"))
        self._enter(Stage.CHOICE)
        return ProtectionReceived(message.token)

    def _await_request(self) -> ServerEvent | None:
        found = _REQUESTS[self._buffer]
        if found is None:
            return None
        requested, used = found
        self._buffer = self._buffer[used:]
        self._command = requested.request.command
        self._enter(_COMMAND)
        return requested


_SERVER_STEPS: dict[Stage, Callable[[ServerNegotiation], ServerEvent | None]] = {
    Stage.GREETING: ServerNegotiation._await_greeting,
    Stage.CREDENTIALS: ServerNegotiation._await_credentials,
    Stage.CONTEXT: ServerNegotiation._await_token,
    Stage.PROTECTION: ServerNegotiation._await_protection,
    Stage.REQUEST: ServerNegotiation._await_request,
}


class ClientNegotiation(_Machine):
    """The client's half (RFC 1928 sections 3-6, RFC 1929, RFC 1961). ``take_output`` holds the greeting
    at once.

    :param request: what to ask for, once the server lets us.
    :param credentials: offered beside "no authentication", or None.
    :param has_context: whether GSSAPI is offered, before all others.
    :raises LocalProtocolError: the request or the credentials cannot be encoded.
    """

    __slots__ = ("_credentials", "_is_bind", "_methods", "_request", "_tokens")

    _next = CLIENT_NEXT

    def __init__(
        self, request: Request, credentials: Credentials | None = None, has_context: bool = False
    ) -> None:
        super().__init__(Stage.METHOD)
        self._request = request.encode()
        self._is_bind = request.command == Command.BIND
        self._credentials = None if credentials is None else credentials.encode()
        self._methods: tuple[int, ...] = (Method.NO_AUTHENTICATION,)
        if credentials is not None:
            self._methods += (Method.USERNAME_PASSWORD,)
        if has_context:
            self._methods = (Method.GSSAPI, *self._methods)
        self._tokens = 0
        self._output += Greeting(self._methods).encode()

    def receive(self, data: bytes) -> list[ClientEvent]:
        """Take octets from the server.

        :returns: the events that they complete, in order: both replies of a BIND may be glued
            together.
        """
        if self._buffer:
            self._gather(data)
        elif self.stage is not _CLOSED:
            self._buffer = data
        return self._advance()

    def _advance(self) -> list[ClientEvent]:
        """Take steps until octets are missing or the caller must answer."""
        events: list[ClientEvent] = []
        while self._buffer:
            step = _CLIENT_STEPS.get(self.stage)
            if step is None or (self._behind is not None and not self._is_enough()):
                break
            waiting = len(self._buffer)
            try:
                event = step(self)
            except RemoteProtocolError as error:
                event = self._close(error)
            if event is not None:
                events.append(event)
            if len(self._buffer) == waiting:
                break
        return events

    def send_token(self, token: bytes) -> list[ClientEvent]:
        """Go on with the security context (RFC 1961 sections 3.2 to 3.4).

        :returns: what waited, as :meth:`receive` does.
        :raises LocalProtocolError: the server has not asked for a token, or it is too long.
        """
        self._require(Stage.TOKEN, "no token is awaited")
        message = Message(MessageType.CONTEXT, token).encode()
        self._enter(Stage.CONTEXT)
        self._output += message
        return self._advance()

    def require_protection(self, token: bytes) -> list[ClientEvent]:
        """The context is complete: tell the server a level of protection (RFC 1961 section 4).

        :param token: its octet in a token of the context or, as NEC's implementation has it, bare.
        :returns: what waited, as :meth:`receive` does.
        :raises LocalProtocolError: the server's last token has not come, or the token is too long.
        """
        self._require(Stage.TOKEN, "no level of protection is awaited")
        message = Message(MessageType.PROTECTION, token).encode()
        self._enter(Stage.PROTECTION)
        self._output += message
        return self._advance()

    def accept_protection(self) -> bytes:
        """The server's level will do. From now on, unless it is 0, what there is to send goes into tokens,
        beginning with the request, and what is received comes out of them.

        :returns: the octets that wait, to be given back by :meth:`receive`.
        :raises LocalProtocolError: the server has not told its level.
        """
        self._require(Stage.CHOICE, "the server has not told its level of protection")
        self._send_request()
        return self._take_waiting()

    def receive_end(self) -> Rejected | None:
        """The server closed its side.

        :returns: None once ESTABLISHED or CLOSED; else why it is over. A failure reply that was cut
            short behind its REP octet still gives its own error: such servers exist.
        """
        if self.stage in (Stage.ESTABLISHED, Stage.CLOSED):
            return None
        if self._has_failure_code():
            return self._close(ReplyError.for_code(self._buffer[1]))
        return self._close(
            RemoteProtocolError(f"the server closed when this was due: {self.stage.value}")
        )

    def _has_failure_code(self) -> bool:
        """Whether what waits begins like a reply that says why it failed."""
        buffer = self._buffer
        awaits_reply = self.stage in (Stage.COMMAND, Stage.SECOND_REPLY)
        return awaits_reply and len(buffer) >= 2 and buffer[0] == VERSION and buffer[1] != 0

    def _await_method(self) -> ClientEvent | None:
        found = MethodSelection.decode(self._buffer)
        if found is None:
            return None
        selection, used = found
        if selection.method == Method.NO_ACCEPTABLE:
            return self._close(NoAcceptableMethod(self._methods, ()))
        if selection.method not in self._methods:
            raise RemoteProtocolError(
                f"the server chose method {selection.method}, which was not offered"
            )
        self._buffer = self._buffer[used:]
        if selection.method == Method.GSSAPI:
            self._enter(Stage.TOKEN)
            return TokenReceived(b"")
        if selection.method == Method.USERNAME_PASSWORD and self._credentials is not None:
            self._enter(Stage.CHECKING)
            self._output += self._credentials
        else:
            self._send_request()
        return None

    def _await_token(self) -> ClientEvent | None:
        if self._tokens == MAX_TOKENS:
            raise RemoteProtocolError(f"no security context after {MAX_TOKENS} tokens")
        message = self._receive_message(MessageType.CONTEXT)
        if message is None:
            return None
        if message.kind == MessageType.ABORT:
            return self._close(AuthenticationFailed("the server refuses the security context"))
        self._tokens += 1
        self._enter(Stage.TOKEN)
        return TokenReceived(message.token)

    def _await_protection(self) -> ClientEvent | None:
        message = self._receive_message(MessageType.PROTECTION)
        if message is None:
            return None
        if message.kind == MessageType.ABORT:
            return self._close(AuthenticationFailed("the server refuses the level of protection"))
        self._enter(Stage.CHOICE)
        return ProtectionReceived(message.token)

    def _await_status(self) -> ClientEvent | None:
        found = CredentialsStatus.decode(self._buffer)
        if found is None:
            return None
        status, used = found
        if status.status != 0:
            return self._close(
                AuthenticationFailed(f"user name or password not accepted (status {status.status})")
            )
        self._buffer = self._buffer[used:]
        self._send_request()
        return None

    def _send_request(self) -> None:
        self._enter(Stage.COMMAND)
        self._output += self._request

    def _await_reply(self) -> ClientEvent | None:
        try:
            found = Reply.decode(self._buffer)
        except RemoteProtocolError:
            if self._has_failure_code():
                return self._close(ReplyError.for_code(self._buffer[1]))
            raise
        if found is None:
            return None
        reply, used = found
        if reply.code != 0:
            return self._close(ReplyError.for_code(reply.code))
        self._buffer = self._buffer[used:]
        is_first_of_two = self._is_bind and self.stage is Stage.COMMAND
        self._enter(Stage.SECOND_REPLY if is_first_of_two else Stage.ESTABLISHED)
        return ReplyReceived(reply)


_CLIENT_STEPS: dict[Stage, Callable[[ClientNegotiation], ClientEvent | None]] = {
    Stage.METHOD: ClientNegotiation._await_method,
    Stage.CHECKING: ClientNegotiation._await_status,
    Stage.CONTEXT: ClientNegotiation._await_token,
    Stage.PROTECTION: ClientNegotiation._await_protection,
    Stage.COMMAND: ClientNegotiation._await_reply,
    Stage.SECOND_REPLY: ClientNegotiation._await_reply,
}
