"""What a server receives and sends until it has replied (RFC 1928, 1929, 1961); see :mod:`socks5.protocol.stages`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.errors import (
    AuthenticationFailed,
    LocalProtocolError,
    NoAcceptableMethod,
    NotSOCKS5,
    RemoteProtocolError,
    ReplyError,
    SOCKSError,
)
from socks5.protocol.gssapi import ABORT, MAX_TOKENS, Message, MessageType
from socks5.protocol.messages import (
    REPLY_SUCCEEDED,
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
    CLOSED,
    COMMAND,
    ESTABLISHED,
    SECOND_REPLY,
    SERVER_NEXT,
    Machine,
    ProtectionReceived,
    Rejected,
    Stage,
    TokenReceived,
)

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
class CommandRequested:
    """Server: answer with ``reply``, twice for a BIND that succeeds."""

    request: Request


def _requested(buffer: bytes) -> tuple[CommandRequested, int] | None:
    found = Request.decode(buffer)
    return None if found is None else (CommandRequested(found[0]), found[1])


_GREETINGS = _Memory(Greeting.decode)

_REQUESTS = _Memory(_requested)

ServerEvent = CredentialsReceived | TokenReceived | ProtectionReceived | CommandRequested | Rejected


class ServerNegotiation(Machine):
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
        elif self.stage is not CLOSED:
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
        if stage is not COMMAND and stage is not SECOND_REPLY:
            raise LocalProtocolError(f"no request awaits a reply at {stage.name}")
        if code != 0:
            self._output += Reply(code).encode()
            self._close(ReplyError.for_code(code))
            return
        self._output += REPLY_SUCCEEDED + address.encode()
        is_first_of_two = self._command == Command.BIND and stage is COMMAND
        self._enter(SECOND_REPLY if is_first_of_two else ESTABLISHED)

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
        self._enter(COMMAND)
        return requested


_SERVER_STEPS: dict[Stage, Callable[[ServerNegotiation], ServerEvent | None]] = {
    Stage.GREETING: ServerNegotiation._await_greeting,
    Stage.CREDENTIALS: ServerNegotiation._await_credentials,
    Stage.CONTEXT: ServerNegotiation._await_token,
    Stage.PROTECTION: ServerNegotiation._await_protection,
    Stage.REQUEST: ServerNegotiation._await_request,
}
