"""What a client sends and receives until its command is served (RFC 1928, 1929, 1961); see
:mod:`socks5.protocol.stages`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from socks5.protocol.errors import (
    AuthenticationFailed,
    NoAcceptableMethod,
    RemoteProtocolError,
    ReplyError,
)
from socks5.protocol.gssapi import MAX_TOKENS, Message, MessageType
from socks5.protocol.machine import Machine
from socks5.protocol.messages import (
    VERSION,
    Command,
    Credentials,
    CredentialsStatus,
    Greeting,
    Method,
    MethodSelection,
    Reply,
    Request,
)
from socks5.protocol.stages import (
    CLIENT_NEXT,
    ProtectionReceived,
    Rejected,
    Stage,
    TokenReceived,
)


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """Client: the command succeeded so far; a BIND has two of these."""

    reply: Reply


ClientEvent = TokenReceived | ProtectionReceived | ReplyReceived | Rejected


class ClientNegotiation(Machine):
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
        return self._all(self._take_in(data))

    def _all(self, event: ClientEvent | None) -> list[ClientEvent]:
        """That event, and those that what waits completes."""
        events: list[ClientEvent] = []
        while event is not None:
            events.append(event)
            event = self._advance()
        return events

    def send_token(self, token: bytes) -> list[ClientEvent]:
        """Go on with the security context (RFC 1961 sections 3.2 to 3.4).

        :returns: what waited, as :meth:`receive` does.
        :raises LocalProtocolError: the server has not asked for a token, or it is too long.
        """
        message = Message(MessageType.CONTEXT, token).encode()
        self._enter(Stage.CONTEXT)
        self._output += message
        return self._all(self._advance())

    def require_protection(self, token: bytes) -> list[ClientEvent]:
        """The context is complete: tell the server a level of protection (RFC 1961 section 4).

        :param token: its octet in a token of the context or, as NEC's implementation has it, bare.
        :returns: what waited, as :meth:`receive` does.
        :raises LocalProtocolError: the server's last token has not come, or the token is too long.
        """
        message = Message(MessageType.PROTECTION, token).encode()
        self._enter(Stage.PROTECTION)
        self._output += message
        return self._all(self._advance())

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

    _steps: ClassVar = {
        Stage.METHOD: _await_method,
        Stage.CHECKING: _await_status,
        Stage.CONTEXT: _await_token,
        Stage.PROTECTION: _await_protection,
        Stage.COMMAND: _await_reply,
        Stage.SECOND_REPLY: _await_reply,
    }
