"""BIND: a port at the last proxy, for one peer that connects to it.

It is asked for as a connection is; but the time-out is over with the first reply, which says where the proxy listens.
What comes then - a peer, a failure, an end - is told to whoever asks the port.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.client.attempt import Attempt, Way
from socks5.client.errors import ProxyProtocolError
from socks5.client.names import TwistedAddress, twisted_address
from socks5.client.tunnel import Step
from socks5.client.whereabouts import own_address, spelt
from socks5.protocol.address import Address
from socks5.protocol.messages import Command, Reply


class Binding(Attempt):
    """One BIND.

    :param expected: the peer; unspecified: anybody.
    :param factory: for the peer's protocol.
    """

    def __init__(self, way: Way, expected: Address, factory: IProtocolFactory) -> None:
        super().__init__(way, expected, factory, Command.BIND)
        self._listening: Deferred[BindPort] = Deferred(lambda _: self.outcome.cancel())
        self._port: BindPort | None = None

    def listen(self) -> Deferred[BindPort]:
        """Begin.

        :returns: fires with the first reply.
        """
        self.start().addBoth(self._ended)
        return self._listening

    def _ended(self, outcome: Any) -> None:
        """There is a peer, or there will be none."""
        if self._port is None:
            self._listening.errback(outcome)
        else:
            self._port.ended(outcome)

    @override
    def listens(self, reply: Reply, step: Step, transport: Any) -> None:
        self.clear_deadline()
        self._left = []
        at = spelt(reply.address)
        if at.is_unspecified:
            at = Address(own_address(self._way.hops, transport), at.port)
        self._port = BindPort(self.outcome, twisted_address(at))
        self._listening.callback(self._port)

    @override
    def ends(self, reply: Reply, step: Step) -> tuple[TwistedAddress, TwistedAddress]:
        assert self._port is not None
        peer, expected = spelt(reply.address), step.target
        if not (expected.is_name or expected.is_unspecified or peer.host == expected.host):
            text = f"{step.text}: another peer came, {peer}"
            raise ProxyProtocolError(text, stage=self.stage, hop=step.number)
        return twisted_address(peer), self._port.getHost()


@implementer(IListeningPort)
class BindPort:
    """Where a proxy listens for a peer. See :meth:`socks5.client.endpoint.Proxy.bind`.

    :param outcome: the peer's protocol is awaited by it.
    :param host: what the first reply says; the proxy's own address if it says nothing.
    """

    _log = Logger()

    def __init__(self, outcome: Deferred[Any], host: TwistedAddress) -> None:
        self._outcome = outcome
        self._host = host
        self._waiting: list[Deferred[IProtocol]] = []
        self._is_stopped = False
        self._found: Any = None

    def getHost(self) -> TwistedAddress:
        """See :meth:`twisted.internet.interfaces.IListeningPort.getHost`: the proxy's, to be told to the peer."""
        return self._host

    def startListening(self) -> None:
        """See :meth:`twisted.internet.interfaces.IListeningPort.startListening`. It has been, and is not again.

        :raises twisted.internet.error.CannotListenError: always.
        """
        error = OSError(errno.EALREADY, os.strerror(errno.EALREADY))
        raise CannotListenError(self._host, None, error)

    def stopListening(self) -> Deferred[None]:
        """See :meth:`twisted.internet.interfaces.IListeningPort.stopListening`. Nothing, once a peer is there."""
        if self._found is None:
            self._is_stopped = True
            self._outcome.cancel()
        return succeed(None)

    def when_accepted(self) -> Deferred[IProtocol]:
        """The peer's protocol, for each who asks.

        :returns: fires once the peer has connected and its protocol is connected. Fails with one of
            :mod:`socks5.client.errors`, of stage ``peer``, or with what the factory raises; with
            :exc:`twisted.internet.error.ConnectingCancelledError` once the port is stopped. Cancelled, it alone waits
            no more.
        """
        asked: Deferred[IProtocol] = Deferred(self._waiting.remove)
        if self._found is None:
            self._waiting.append(asked)
        else:
            asked.callback(self._found)
        return asked

    def ended(self, outcome: Any) -> None:
        """The peer's protocol, or the Failure that there is instead."""
        self._found = outcome
        if isinstance(outcome, Failure) and not self._waiting and not self._is_stopped:
            self._log.warn("no peer came: {error}", error=outcome.value)
        while self._waiting:
            self._waiting.pop(0).callback(outcome)
