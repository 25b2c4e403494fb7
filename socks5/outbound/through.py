"""Streams that lead through proxies: how they come to be, one inside the other, and what they are in the end.

A connection to a proxy that speaks plainly is a socket of ours, which a relay takes as it takes any other. TLS is
Twisted's, over that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.client.errors import ProxyProtocolError
from socks5.client.hops import Hop
from socks5.client.tunnel import Handshake, Standing, Step, steps_to
from socks5.outbound.attempts import Stream
from socks5.protocol.address import Address, unmap
from socks5.protocol.messages import Reply
from socks5.streams import IStream, IStreamReceiver


@implementer(IHandshakeListener)
class _Secured(Stream):
    """What is within TLS."""

    def __init__(self) -> None:
        self.up: Deferred[None] | None = Deferred()

    def _is_up(self, failure: Failure | None = None) -> None:
        up, self.up = self.up, None
        if up is not None:
            up.callback(failure)  # a failure goes to the errbacks

    def handshakeCompleted(self) -> None:
        """See :meth:`twisted.internet.interfaces.IHandshakeListener.handshakeCompleted`. It comes as well where the
        certificate has another name.
        """
        transport: Any = self.transport
        if not transport.disconnecting:
            self._is_up()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_up(reason)
        super().connectionLost(reason)


class _Within(Factory):
    noisy = False

    def __init__(self, stream: _Secured) -> None:
        self._stream = stream

    @override
    def buildProtocol(self, addr: Any) -> _Secured:
        return self._stream


@implementer(IStreamReceiver)
class _Below:
    """Gives TLS what comes for it; an end there is the end of everything."""

    def __init__(self, tls: Any, transport: Any) -> None:
        self.dataReceived = tls.dataReceived
        self.connectionLost = tls.connectionLost
        self.readConnectionLost = transport.loseConnection


async def secured(stream: IStream, options: Any, clock: Any) -> IStream:
    """The stream within TLS over another one.

    :param options: IOpenSSLClientConnectionCreator.
    :raises Exception: what the connection was lost for; OpenSSL's errors among them.
    """
    within = _Secured()
    up = within.up
    assert up is not None
    transport: Any = stream.transport
    tls: Any = TLSMemoryBIOFactory(options, True, _Within(within), clock).buildProtocol(None)
    tls.makeConnection(transport)  # which may fail, and then is told nothing more
    stream.receiver = _Below(tls, transport)
    await up
    return within


@implementer(IStreamReceiver)
class _Watched:
    """Tells as soon as nobody but the target is waited for."""

    def __init__(self, handshake: Handshake, look: Callable[[], object]) -> None:
        self._handshake = handshake
        self._look = look
        self.readConnectionLost = handshake.readConnectionLost
        self.connectionLost = handshake.connectionLost

    def dataReceived(self, data: bytes) -> None:
        self._handshake.dataReceived(data)
        self._look()


Listens = Callable[[Reply, Any], object]
"""Is told the first reply to a BIND, and by what transport the proxy was asked."""


async def asked(
    stream: IStream,
    steps: Sequence[Step],
    standing: Standing,
    look: Callable[[], object],
    listens: Listens = lambda *_: None,
) -> tuple[Reply, bytes]:
    """Ask hops, each behind the one before.

    :param look: called when *standing* may have changed.
    :returns: the last reply, and what came behind it.
    """
    outcome: Deferred[tuple[Reply, bytes]] = Deferred()
    handshake = Handshake(
        steps,
        standing,
        lambda *answer: outcome.callback(answer),
        outcome.errback,
        lambda reply: listens(reply, stream.transport),
    )
    stream.receiver = _Watched(handshake, look)
    handshake.begin(stream.transport)
    look()
    return await outcome


async def led(
    stream: IStream,
    hops: Sequence[Hop],
    target: Address,
    command: int,
    standing: Standing,
    look: Callable[[], object],
    listens: Listens,
    clock: Any,
) -> tuple[IStream, Reply, bytes]:
    """Lead a connection with the first hop through all of them.

    :param command: what the last one is asked for.
    :returns: the stream to the target, the last reply, and what has come behind that.
    :raises ClientError: it does not come through.
    """
    steps = steps_to(hops, target, command)
    begun = 0
    for at, step in enumerate(steps):
        if step.hop.tls is None:
            continue
        if at > begun:
            _, early = await asked(stream, steps[begun:at], standing, look)
            if early:
                text = f"{step.text}: octets came before they were asked for"
                raise ProxyProtocolError(text, stage="tls", hop=step.number)
            begun = at
        standing.hop, standing.stage = step.number, "tls"
        try:
            stream = await secured(stream, step.hop.tls, clock)
        except CancelledError:
            raise
        except Exception as error:
            raise step.unreachable(error, "tls") from error
    return stream, *await asked(stream, steps[begun:], standing, look, listens)


class Through(Stream):
    """A stream through an upstream: what a relay gets.

    :param stream: of the connection.
    :param reply: the last proxy's.
    :param waiting: octets of the target's that have come behind it.
    :param target: what it leads to, as the rules have seen it.
    :param upstream: the upstream's name.
    :param near: our end of the client's connection, where nothing better can be told.
    :param gone: called when the connection is gone.
    """

    def __init__(
        self,
        stream: IStream,
        reply: Reply,
        waiting: bytes,
        target: Address,
        upstream: str,
        near: str,
        gone: Callable[[], object],
    ) -> None:
        self.waiting = waiting
        self.upstream = upstream
        self.said = reply.address
        """What the reply says, whatever it is worth."""
        self._target = target
        self._bound = _told(reply.address, stream, near)
        self._gone = gone
        self.transport = stream.transport
        receiver: Any = self
        stream.receiver = receiver

    @property
    @override
    def bound(self) -> Address:
        """What the last proxy says, if it says an address; else our end of the connection to the first."""
        return self._bound

    @property
    @override
    def far(self) -> Address | None:
        """The address that the upstream was asked for; None: it was a name, of which rules know no address."""
        return None if self._target.is_name else self._target

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone()
        super().connectionLost(reason)


def plain(address: Address) -> Address | None:
    """What it means where it is a literal and specified; None: nothing."""
    if address.is_name or address.is_unspecified:
        return None
    host = unmap(address.text)
    return address if host == address.host else Address(host, address.port)


def _told(address: Address, stream: IStream, near: str) -> Address:
    return plain(address) or plain(stream.bound) or Address(near.partition("%")[0], 0)
