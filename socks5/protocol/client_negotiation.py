"""What a client sends and receives until its command is served (RFC 1928, 1929, 1961); see
:mod:`socks5.protocol.stages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from socks5.protocol.errors import (
    AuthenticationFailed,
    LocalProtocolError,
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

_PIPELINED = ((Method.NO_AUTHENTICATION,), (Method.USERNAME_PASSWORD,))
"""All that can be offered where nobody waits for the answer."""


@lru_cache(maxsize=64)
def _greeting(methods: tuple[int, ...]) -> bytes:
    return Greeting(methods).encode()


class ClientNegotiation(Machine):
    """The client's half (RFC 1928 sections 3-6, RFC 1929, RFC 1961). ``take_output`` holds the greeting
    at once.

    What comes before it was asked for is no answer, and ends it: octets of the server's that are there already when
    the next message is written. Of a failure VER and REP say all that there is; no more of it is awaited.

    :param request: what to ask for, once the server lets us.
    :param methods: METHOD octets, those that are offered, in our order.
    :param credentials: for USERNAME_PASSWORD, if it is among them, and only then.
    :param is_pipelined: whether greeting, credentials and request go out in one piece. Then what comes early may be an
        answer, and one method alone can be offered, NO_AUTHENTICATION or USERNAME_PASSWORD.
    :raises LocalProtocolError: the request, the methods or the credentials cannot be encoded, or do not go together.
    """

    __slots__ = ("_credentials", "_is_bind", "_is_pipelined", "_methods", "_request", "_tokens")

    _next = CLIENT_NEXT

    def __init__(
        self,
        request: Request,
        methods: Sequence[int] = (Method.NO_AUTHENTICATION,),
        credentials: Credentials | None = None,
        *,
        is_pipelined: bool = False,
    ) -> None:
        super().__init__(Stage.METHOD)
        if (credentials is None) is (Method.USERNAME_PASSWORD in methods):
            raise LocalProtocolError(
                "credentials are for the method USERNAME_PASSWORD, which needs them"
            )
        if is_pipelined and tuple(methods) not in _PIPELINED:
            raise LocalProtocolError("only one method can be pipelined, of 0 and 2")
        self._request = request.encode()
        self._is_bind = request.command == Command.BIND
        self._credentials = b"" if credentials is None else credentials.encode()
        self._methods = tuple(methods)
        self._is_pipelined = is_pipelined
        self._tokens = 0
        self._output = _greeting(self._methods)
        if is_pipelined:
            self._output += self._credentials + self._request

    def receive(self, data: bytes) -> list[ClientEvent]:
        """Take octets from the server.

        :returns: the events that they complete, in order: both replies of a BIND may be glued
            together.
        """
        events: list[ClientEvent] = []
        event = self._take_in(data)
        while event is not None:
            events.append(event)
            event = self._advance()
        return events

    def send_token(self, token: bytes) -> list[ClientEvent]:
        """Go on with the security context (RFC 1961 sections 3.2 to 3.4).

        :returns: nothing, or that it is over: something came before it was asked for.
        :raises LocalProtocolError: the server has not asked for a token, or it is too long.
        """
        return self._answer(Stage.CONTEXT, Message(MessageType.CONTEXT, token).encode())

    def require_protection(self, token: bytes) -> list[ClientEvent]:
        """The context is complete: tell the server a level of protection (RFC 1961 section 4).

        :param token: its octet in a token of the context or, as NEC's implementation has it, bare.
        :returns: as :meth:`send_token`.
        :raises LocalProtocolError: the server's last token has not come, or the token is too long.
        """
        return self._answer(Stage.PROTECTION, Message(MessageType.PROTECTION, token).encode())

    def accept_protection(self) -> list[ClientEvent]:
        """The server's level will do. From now on, unless it is 0, what there is to send goes into tokens,
        beginning with the request, and what is received comes out of them.

        :returns: as :meth:`send_token`.
        :raises LocalProtocolError: the server has not told its level.
        """
        self._require(Stage.CHOICE, "the server has not told its level of protection")
        return self._answer(Stage.COMMAND, self._request)

    def _answer(self, stage: Stage, message: bytes) -> list[ClientEvent]:
        """Say the caller's answer."""
        try:
            self._say(stage, message)
        except RemoteProtocolError as error:
            return [self._violated(error)]
        return []

    def _say(self, stage: Stage, message: bytes) -> None:
        """Enter a stage by sending a message, unless it went out with the greeting.

        :raises RemoteProtocolError: what should come behind it is there before it.
        """
        if self._is_pipelined:
            self._enter(stage)
            return
        if self.pending:
            raise RemoteProtocolError("octets came before they were asked for")
        self._enter(stage)
        self._output += message

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
        if selection.method == Method.USERNAME_PASSWORD:
            self._say(Stage.CHECKING, self._credentials)
        else:
            self._say(Stage.COMMAND, self._request)
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
        self._say(Stage.COMMAND, self._request)
        return None

    def _await_reply(self) -> ClientEvent | None:
        buffer = self._buffer
        if len(buffer) >= 2 and buffer[0] == VERSION and buffer[1] != 0:
            return self._close(ReplyError.for_code(buffer[1]))
        found = Reply.decode(buffer)
        if found is None:
            return None
        reply, used = found
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
