"""The negotiation of most clients: nobody is asked who he is, each message comes whole, and the request is CONNECT.

It needs no machine of its own. All sessions that have got equally far stand at one machine, which is never told
anything; whatever else happens to one, :func:`own` gives it a machine that stands at the same place and goes on from
there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from socks5.protocol.address import UNSPECIFIED, Address, unmap
from socks5.protocol.errors import RemoteProtocolError
from socks5.protocol.messages import (
    REPLY_SUCCEEDED,
    Command,
    Greeting,
    Method,
    MethodSelection,
    ReplyCode,
    Request,
)
from socks5.protocol.remembered import Remembered
from socks5.protocol.server_negotiation import GREETINGS, REQUESTS, ServerNegotiation
from socks5.protocol.subnegotiation import NO_AUTHENTICATION, Methods

SELECTED = MethodSelection(Method.NO_AUTHENTICATION).encode()
"""What a greeting is answered with."""


def _behind(*messages: Greeting | Request) -> ServerNegotiation:
    """A machine that has received these."""
    machine = ServerNegotiation(NO_AUTHENTICATION)
    for message in messages:
        machine.receive(message.encode())
    machine.take_output()
    return machine


_MESSAGES = Greeting((Method.NO_AUTHENTICATION,)), Request(Command.CONNECT, UNSPECIFIED)


def _succeed(machine: ServerNegotiation) -> None:
    machine.reply(ReplyCode.SUCCEEDED)
    machine.take_output()


UNBEGUN, GREETED, ASKED, ESTABLISHED = (_behind(*_MESSAGES[:count]) for count in (0, 1, 2, 2))
"""The machines that sessions share: before the greeting, behind it, behind the request, behind the reply."""

_succeed(ESTABLISHED)

_BEHIND = {UNBEGUN: 0, GREETED: 1, ASKED: 2, ESTABLISHED: 2}


def begin(methods: Methods) -> ServerNegotiation:
    """A machine for a new session, which may be shared.

    :param methods: those that are accepted.
    """
    is_open = methods is NO_AUTHENTICATION or methods == NO_AUTHENTICATION
    return UNBEGUN if is_open else ServerNegotiation(methods)


def own(machine: ServerNegotiation) -> ServerNegotiation:
    """The machine, or where that is shared a new one in its place, which may be told things."""
    count = _BEHIND.get(machine)
    if count is None:
        return machine
    made = _behind(*_MESSAGES[:count])
    if machine is ESTABLISHED:
        _succeed(made)
    return made


def is_greeting(data: bytes) -> bool:
    """Whether these octets are a greeting and nothing else, that offers to go on without a login."""
    return data in _OPEN or _OPEN[data] is not None


def target_in(data: bytes) -> Address | None:
    """Where to connect, if these octets are a CONNECT and nothing else."""
    found = _CONNECTS.get(data) or _CONNECTS[data]
    return None if found is None else found[0]


def _open(data: bytes) -> tuple[Greeting, int] | None:
    try:
        found = GREETINGS[data]
    except RemoteProtocolError:
        return None
    is_ordinary = found is not None and found[1] == len(data) and 0 in found[0].methods
    return found if is_ordinary else None


def _connect(data: bytes) -> tuple[Address, int] | None:
    try:
        found = REQUESTS[data]
    except RemoteProtocolError:
        return None
    if found is None or found[1] != len(data):
        return None
    request = found[0].request
    return (request.address, len(data)) if request.command == Command.CONNECT else None


_OPEN = Remembered(_open)
_CONNECTS = Remembered(_connect)
"""Those of them that are ordinary. What is known is found sooner by ``in`` and ``get``."""


def success(address: Address) -> bytes:
    """The reply.

    :raises LocalProtocolError: the address cannot be encoded.
    """
    return REPLY_SUCCEEDED + address.encode()


def success_from(name: Any) -> bytes:
    """The same, of an address as the socket module has it."""
    port: int = name[1]
    return _success_from(name[0]) + port.to_bytes(2)


@lru_cache(maxsize=1024)
def _success_from(host: str) -> bytes:
    """That without the port."""
    return success(Address(unmap(host.partition("%")[0]), 0))[:-2]
