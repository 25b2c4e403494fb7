"""RESOLVE and RESOLVE_PTR, of Tor's (its ``socks-extensions.txt``, section 2), as a client asks them.

The answer stands in BND.ADDR of the reply, with port 0.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.client.errors import HostUnreachable, NameNotFound, ProxyProtocolError
from socks5.client.transport import tunnel_of
from socks5.client.tunnel import Step
from socks5.net.transport_stream import close
from socks5.protocol.messages import Command


class _Answered(Protocol):
    """Has its answer, and needs the connection no more."""

    @override
    def connectionMade(self) -> None:
        close(self.transport)


class Asking(Factory):
    """Of a connection that is closed behind the reply."""

    noisy = False
    protocol = _Answered


def answer(asking: Deferred[Any], step: Step) -> Deferred[Any]:
    """The answer that a protocol's reply has: an IP literal, or a name.

    :param asking: fires with the protocol.
    :param step: what the last hop is asked for.
    """
    return asking.addCallbacks(_read, _not_found, callbackArgs=(step,), errbackArgs=(step,))


def _read(protocol: Any, step: Step) -> str | bytes:
    """A server that does not look at CMD answers as if it had connected: with an address of its own and a port, or
    with zeros for both, as many do.
    """
    tunnel = tunnel_of(protocol.transport)
    assert tunnel is not None
    bound = tunnel.bound
    is_of_the_kind = bound.is_name is (step.command == Command.RESOLVE_PTR)
    if bound.port != 0 or not is_of_the_kind or bound.is_unspecified:
        text = f"{step.text}: its reply is no answer to that"
        raise ProxyProtocolError(text, stage="reply", hop=step.number)
    return bound.host


def _not_found(failure: Failure, step: Step) -> Failure:
    error = failure.value
    if isinstance(error, HostUnreachable):
        text = f"{step.text}: there is none (REP 4)"
        return Failure(NameNotFound(text, stage=error.stage, hop=error.hop))
    return failure
