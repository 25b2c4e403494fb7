"""User name and password, the server's half (RFC 1929): one message, and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from socks5.protocol.messages import Credentials, CredentialsStatus
from socks5.protocol.stages import PASSWORD_NEXT, Stage
from socks5.protocol.subnegotiation import Exchange


@dataclass(frozen=True, slots=True)
class CredentialsReceived:
    """Answer with ``accept`` or ``reject``."""

    credentials: Credentials


class PasswordSubnegotiation(Exchange):
    """See :class:`~socks5.protocol.subnegotiation.Subnegotiation`. Its one event is :class:`CredentialsReceived`."""

    __slots__ = ()

    _next = PASSWORD_NEXT
    _refusal = CredentialsStatus(1).encode()

    def __init__(self) -> None:
        super().__init__(Stage.CREDENTIALS)

    def accept(self) -> None:
        """The credentials are right: STATUS 0.

        :raises LocalProtocolError: none are being checked.
        """
        self._enter(Stage.LOGGED_IN)
        self._output += CredentialsStatus(0).encode()

    def _await_credentials(self) -> CredentialsReceived | None:
        found = Credentials.decode(self._buffer)
        if found is None:
            return None
        credentials, used = found
        self._buffer = self._buffer[used:]
        self._enter(Stage.CHECKING)
        return CredentialsReceived(credentials)

    _steps: ClassVar = {Stage.CREDENTIALS: _await_credentials}
