"""CHAP, the server's half (draft-ietf-aft-socks-chap-01): the client's algorithms, our challenge, its response, and the
verdict on that. Of the algorithms only HMAC-MD5 will do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from typing_extensions import override

from socks5.protocol.chap import GIVEN_UP, HMAC_MD5, Attribute, AttributeValues, size_of
from socks5.protocol.errors import AuthenticationFailed, RemoteProtocolError
from socks5.protocol.stages import CHAP_NEXT, Rejected, Stage
from socks5.protocol.subnegotiation import Exchange


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """Answer with ``accept``, before that ``prove`` if the client has challenged us; or with ``reject``."""

    user: bytes
    challenge: bytes
    """Ours."""
    response: bytes = field(repr=False)
    """What is said to prove that the user knows the secret."""
    their_challenge: bytes | None = None
    """What we are to prove the same with; None: the client does not ask."""


class CHAPSubnegotiation(Exchange):
    """See :class:`~socks5.protocol.subnegotiation.Subnegotiation`. Its one event is :class:`ResponseReceived`.

    The client may name its user with either message, and challenge us with either; the later one counts.

    :param challenge: random, for this client alone: 16 to 255 octets.
    """

    __slots__ = ("_challenge", "_proof", "_said")

    _next = CHAP_NEXT
    _refusal = AttributeValues({Attribute.STATUS: b"\1"}).encode()

    def __init__(self, challenge: bytes) -> None:
        super().__init__(Stage.ALGORITHMS)
        self._challenge = challenge
        self._said: dict[int, bytes] = {}
        self._proof: dict[int, bytes] = {}

    @property
    @override
    def is_gathering(self) -> bool:
        """Whether what waits is a part of a message, which may have up to 2048 octets."""
        return self.stage in (Stage.ALGORITHMS, Stage.RESPONSE)

    def prove(self, response: bytes) -> None:
        """We know the secret, too. It is said to the client by :meth:`accept`.

        :param response: to the client's challenge.
        """
        self._proof = {Attribute.RESPONSE: response}

    def accept(self) -> None:
        """The response is right: STATUS 0, behind our own response if there is one.

        :raises LocalProtocolError: none is being checked.
        """
        self._enter(Stage.LOGGED_IN)
        self._output += AttributeValues({**self._proof, Attribute.STATUS: b"\0"}).encode()

    def _await_algorithms(self) -> Rejected | None:
        values = self._receive_values()
        if values is None:
            return None
        if HMAC_MD5 not in values.get(Attribute.ALGORITHMS, b""):
            self._output += GIVEN_UP
            return self._close(AuthenticationFailed("the client offers no HMAC-MD5"))
        self._enter(Stage.RESPONSE)
        algorithm = bytes((HMAC_MD5,))
        ours: dict[int, bytes] = {
            Attribute.ALGORITHMS: algorithm,
            Attribute.CHALLENGE: self._challenge,
        }
        self._output += AttributeValues(ours).encode()
        return None

    def _await_response(self) -> ResponseReceived | Rejected | None:
        values = self._receive_values()
        if values is None:
            return None
        if not values:
            return self._close(AuthenticationFailed("the client gave up"))
        said = self._said
        if Attribute.RESPONSE not in values or Attribute.USER_IDENTITY not in said:
            raise RemoteProtocolError("a CHAP message without a user or without a response")
        self._enter(Stage.CHECKING)
        return ResponseReceived(
            said[Attribute.USER_IDENTITY],
            self._challenge,
            values[Attribute.RESPONSE],
            said.get(Attribute.CHALLENGE),
        )

    def _receive_values(self) -> dict[int, bytes] | None:
        """Take a whole message out of what waits."""
        found = AttributeValues.decode(self._buffer)
        if found is None:
            self._wanted = size_of(self._buffer)
            return None
        message, used = found
        self._buffer = self._buffer[used:]
        self._wanted = 0
        self._said.update(message.values)
        return dict(message.values)

    _steps: ClassVar = {Stage.ALGORITHMS: _await_algorithms, Stage.RESPONSE: _await_response}
