"""The order of the messages: what a server, and a client, may receive and send when.

The tables :data:`SERVER_NEXT`, :data:`CLIENT_NEXT` and those of the sub-negotiations are the only places that know
which stage may follow which; only one method assigns the stage, :class:`~socks5.protocol.machine.Machine`'s, and it
checks the table.

With GSSAPI (RFC 1961) the caller has the security context, and the machine has the order of its tokens. Once
a level of protection is agreed the caller takes the octets that wait out of the machine, and gives it from then
on what is in the tokens; what the machine then has to send goes into tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from socks5.protocol.errors import SOCKSError


class Stage(Enum):
    """Where a negotiation stands, named after what is awaited. The value is the words of the state
    diagram.
    """

    GREETING = "the client's greeting"
    METHOD = "the server's choice of method"
    SUBNEGOTIATION = "what the method's sub-negotiation awaits"
    CREDENTIALS = "user name and password"
    ALGORITHMS = "the client's algorithms (CHAP)"
    RESPONSE = "the response to our challenge (CHAP)"
    CONTEXT = "a token of the other side's (GSSAPI)"
    CHECKING = "the verdict on the credentials"
    TOKEN = "a token of one's own (GSSAPI)"
    PROTECTION = "the other side's level of protection (GSSAPI)"
    CHOICE = "the verdict on that level (GSSAPI)"
    REQUEST = "the request"
    LOGGED_IN = "nothing more: the client is logged in"
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
    Stage.GREETING: frozenset({Stage.SUBNEGOTIATION, Stage.REQUEST, Stage.CLOSED}),
    Stage.SUBNEGOTIATION: frozenset({Stage.REQUEST, Stage.CLOSED}),
    Stage.REQUEST: frozenset({Stage.COMMAND, Stage.CLOSED}),
    Stage.COMMAND: frozenset({Stage.SECOND_REPLY, Stage.ESTABLISHED, Stage.CLOSED}),
    Stage.SECOND_REPLY: frozenset({Stage.ESTABLISHED, Stage.CLOSED}),
    Stage.ESTABLISHED: frozenset(),
    Stage.CLOSED: frozenset(),
}
"""The server's stages, and the stages that may follow each."""

PASSWORD_NEXT: Table = {
    Stage.CREDENTIALS: frozenset({Stage.CHECKING, Stage.CLOSED}),
    Stage.CHECKING: frozenset({Stage.LOGGED_IN, Stage.CLOSED}),
    Stage.LOGGED_IN: frozenset(),
    Stage.CLOSED: frozenset(),
}
"""The server's within its stage SUBNEGOTIATION, where the method is user name and password."""

CHAP_NEXT: Table = {
    Stage.ALGORITHMS: frozenset({Stage.RESPONSE, Stage.CLOSED}),
    Stage.RESPONSE: frozenset({Stage.CHECKING, Stage.CLOSED}),
    Stage.CHECKING: frozenset({Stage.LOGGED_IN, Stage.CLOSED}),
    Stage.LOGGED_IN: frozenset(),
    Stage.CLOSED: frozenset(),
}
"""The same where it is CHAP."""

GSSAPI_NEXT: Table = {
    Stage.CONTEXT: frozenset({Stage.CHECKING, Stage.CLOSED}),
    Stage.CHECKING: frozenset({Stage.CONTEXT, Stage.PROTECTION, Stage.CLOSED}),
    Stage.PROTECTION: frozenset({Stage.CHOICE, Stage.CLOSED}),
    Stage.CHOICE: frozenset({Stage.LOGGED_IN, Stage.CLOSED}),
    Stage.LOGGED_IN: frozenset(),
    Stage.CLOSED: frozenset(),
}
"""The same where it is GSSAPI. The one circle, from CONTEXT to CHECKING and back, is walked
:data:`~socks5.protocol.gssapi.MAX_TOKENS` times at the most.
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

    Server: answer with ``continue_context``, ``complete_context`` or ``reject``. Client: answer with ``send_token``
    or ``require_protection``; the first of these events comes without a token, before ours.
    """

    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProtectionReceived:
    """The other side's level of protection, in a token or, as NEC's implementation has it, bare: one octet.

    Server: answer with ``agree`` and ``accept``, or with ``reject``. Client: with ``accept_protection``, or close.
    """

    token: bytes = field(repr=False)

    @property
    def is_bare(self) -> bool:
        """Whether it is the octet itself: no token of a context is that short."""
        return len(self.token) == 1


@dataclass(frozen=True, slots=True)
class Rejected:
    """Either side: it is over. Send what ``take_output`` holds, then close.

    :param stage: what was awaited; None: the caller's verdict.
    """

    error: SOCKSError
    stage: Stage | None = None
