"""GSSAPI, the server's half (RFC 1961): the tokens of a security context, then a level of protection.

It has the order of the messages; the caller has the context.
"""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from socks5.protocol.errors import AuthenticationFailed, LocalProtocolError, RemoteProtocolError
from socks5.protocol.gssapi import ABORT, MAX_TOKENS, Message, MessageType
from socks5.protocol.stages import (
    GSSAPI_NEXT,
    ProtectionReceived,
    Rejected,
    Stage,
    TokenReceived,
)
from socks5.protocol.subnegotiation import Exchange


class GSSAPISubnegotiation(Exchange):
    """See :class:`~socks5.protocol.subnegotiation.Subnegotiation`.

    Its events are :class:`~socks5.protocol.stages.TokenReceived`, up to
    :data:`~socks5.protocol.gssapi.MAX_TOKENS` of them, and then one
    :class:`~socks5.protocol.stages.ProtectionReceived`. Behind ``accept`` octets travel in tokens, unless the level
    that was agreed is 0.
    """

    __slots__ = ("_agreed", "_tokens")

    _next = GSSAPI_NEXT
    _checked = frozenset({Stage.CHECKING, Stage.CHOICE})
    _refusal = ABORT

    def __init__(self) -> None:
        super().__init__(Stage.CONTEXT)
        self._tokens = 0
        self._agreed: bytes | None = None

    @property
    @override
    def is_gathering(self) -> bool:
        """Whether what waits is a part of one of RFC 1961's messages, which may have up to 65539 octets."""
        return self.stage in (Stage.CONTEXT, Stage.PROTECTION)

    def continue_context(self, token: bytes) -> None:
        """The context needs another token of the client's (section 3.6).

        :param token: ours.
        :raises LocalProtocolError: no token is being checked, or ours is too long.
        """
        self._answer_token(token, Stage.CONTEXT)

    def complete_context(self, token: bytes) -> None:
        """The context is complete; the client is to tell its level of protection.

        :param token: our last one, which is sent even if it is empty.
        :raises LocalProtocolError: no token is being checked, or ours is too long.
        """
        self._answer_token(token, Stage.PROTECTION)

    def _answer_token(self, token: bytes, stage: Stage) -> None:
        message = Message(MessageType.CONTEXT, token).encode()
        self._enter(stage)
        self._output += message

    def agree(self, token: bytes) -> None:
        """A level of protection will do (section 4). It is said to the client by :meth:`accept`.

        :param token: our answer, in the client's form.
        :raises LocalProtocolError: the client has not told its level, or our answer is too long.
        """
        self._require(Stage.CHOICE, "no level of protection awaits an answer")
        self._agreed = Message(MessageType.PROTECTION, token).encode()

    def accept(self) -> None:
        """The client is logged in, at the level of protection that :meth:`agree` was told.

        :raises LocalProtocolError: no level is agreed.
        """
        if self._agreed is None:
            raise LocalProtocolError(f"no level of protection is agreed at {self.stage.name}")
        self._enter(Stage.LOGGED_IN)
        self._output += self._agreed

    @override
    def _violated(self, error: RemoteProtocolError) -> Rejected:
        self._output += ABORT
        return self._close(error)

    def _await_token(self) -> TokenReceived | Rejected | None:
        if self._tokens == MAX_TOKENS:
            raise RemoteProtocolError(f"no security context after {MAX_TOKENS} tokens")
        message = self._receive_message(MessageType.CONTEXT)
        if message is None:
            return None
        if message.kind == MessageType.ABORT:
            return self._given_up()
        self._tokens += 1
        self._enter(Stage.CHECKING)
        return TokenReceived(message.token)

    def _await_protection(self) -> ProtectionReceived | Rejected | None:
        message = self._receive_message(MessageType.PROTECTION)
        if message is None:
            return None
        if message.kind == MessageType.ABORT:
            return self._given_up()
        self._enter(Stage.CHOICE)
        return ProtectionReceived(message.token)

    def _given_up(self) -> Rejected:
        return self._close(AuthenticationFailed("the client gave up its security context"))

    _steps: ClassVar = {Stage.CONTEXT: _await_token, Stage.PROTECTION: _await_protection}
