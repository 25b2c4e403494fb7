"""Streams that lead through proxies: how they come to be, one inside the other, and what they are in the end.

A connection to a proxy that speaks plainly is a socket of ours, which a relay takes as it takes any other. TLS is
Twisted's, over that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.client.errors import ProxyProtocolError
from socks5.client.hops import Hop
from socks5.client.tunnel import Handshake, Standing, Step, steps_to
from socks5.net.protected import Envelope
from socks5.outbound.attempts import Stream
from socks5.protocol.address import Address, unmap
from socks5.protocol.messages import Reply
from socks5.streams import IStream, IStreamReceiver


@implementer(IHandshakeListener)
class _Secured(Stream):
    """What is within TLS."""

    def __init__(self) -> None:
        self.up: Deferred[BaseException | None] | None = Deferred()
        """Fires with what the connection was lost for, which must not be raised: it may be the one that Twisted has for
        all, and would keep the traceback of each time.
        """

    def _is_up(self, lost_for: BaseException | None = None) -> None:
        up, self.up = self.up, None
        if up is not None:
            up.callback(lost_for)

    def handshakeCompleted(self) -> None:
        """See :meth:`twisted.internet.interfaces.IHandshakeListener.handshakeCompleted`. It comes as well where the
        certificate has another name.
        """
        transport: Any = self.transport
        if not transport.disconnecting:
            self._is_up()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_up(reason.value)
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


async def secured(stream: IStream, step: Step, clock: Any) -> IStream:
    """The stream within TLS over another one, which leads to the proxy of a step.

    :raises ProxyUnreachable: there is no TLS with it.
    """
    within = _Secured()
    up = within.up
    assert up is not None
    transport: Any = stream.transport
    try:
        tls: Any = TLSMemoryBIOFactory(step.hop.tls, True, _Within(within), clock).buildProtocol(
            None
        )
        tls.makeConnection(transport)  # which may fail, and then is told nothing more
    except Exception as error:
        raise step.unreachable(error, "tls") from error
    stream.receiver = _Below(tls, transport)
    lost_for = await up
    if lost_for is not None:
        raise step.unreachable(lost_for, "tls")
    return within


class Going(Standing):
    """How far a way is gone that leads through proxies.

    :param client: for whom.
    """

    __slots__ = ("awaited", "client", "look", "tell")

    def __init__(self, client: str = "") -> None:
        super().__init__()
        self.client = client
        self.awaited = 1
        """Which proxy's time it is: the one before it has been asked for it, and it has not been asked yet."""
        self.look: Callable[[Going], object] = bool
        """Called with this when that has changed."""
        self.tell: Callable[[Reply, Any], object] = lambda *_: None
        """Is told the first reply to a BIND, and by what transport the proxy was asked."""

    @override
    def moved(self) -> None:
        self.look(self)

    @override
    def listens(self, reply: Reply, step: Step, transport: Any) -> None:
        self.tell(reply, transport)


class Led(NamedTuple):
    """Where a connection leads that has been led through proxies.

    :param stream: leads to what the last was asked for.
    :param reply: its last one.
    :param waiting: what has come behind that.
    :param envelope: what datagrams travel in that it is sent; None: in nothing.
    """

    stream: IStream
    reply: Reply
    waiting: bytes
    envelope: Envelope | None


async def asked(stream: IStream, steps: Sequence[Step], standing: Standing) -> Led:
    """Ask hops, each behind the one before."""
    outcome: Deferred[tuple[Reply, bytes]] = Deferred()
    handshake = Handshake(
        steps, standing, lambda *answer: outcome.callback(answer), outcome.errback
    )
    handshake.begin(stream)
    answer = await outcome
    return Led(handshake.stream, *answer, handshake.envelope)


async def led(
    stream: IStream,
    hops: Sequence[Hop],
    target: Address,
    command: int,
    standing: Standing,
    clock: Any,
) -> Led:
    """Lead a connection with the first hop through all of them.

    :param command: what the last one is asked for.
    :raises ClientError: it does not come through.
    """
    steps = steps_to(hops, target, command)
    begun = 0
    for at, step in enumerate(steps):
        if step.hop.tls is None:
            continue
        if at > begun:
            stream, _, early, _ = await asked(stream, steps[begun:at], standing)
            if early:
                text = f"{step.text}: octets came before they were asked for"
                raise ProxyProtocolError(text, stage="tls", hop=step.number)
            begun = at
        standing.hop, standing.stage = step.number, "tls"
        stream = await secured(stream, step, clock)
    return await asked(stream, steps[begun:], standing)


class Through(Stream):
    """A stream through an upstream: what a relay gets.

    :param found: where the connection leads.
    :param target: what it leads to, as the rules have seen it.
    :param upstream: the upstream's name.
    :param near: our end of the client's connection, where nothing better can be told.
    :param gone: called when the connection is gone.
    """

    def __init__(
        self,
        found: Led,
        target: Address,
        upstream: str,
        near: str,
        gone: Callable[[], object],
    ) -> None:
        stream, reply, self.waiting, self.envelope = found
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
