"""A connection through proxies as ``connectTCP`` makes them: what drives a ClientFactory."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectingCancelledError, NotConnectingError, UserError
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from socks5.client.attempt import Attempt, Way
from socks5.client.names import twisted_address
from socks5.protocol.address import Address


@implementer(IConnector)
class Connector:
    """See :class:`twisted.internet.interfaces.IConnector`.

    :param factory: an IProtocolFactory that is told what ClientFactory is told.
    :ivar state: ``connecting``, ``connected`` or ``disconnected``.
    """

    def __init__(self, way: Way, target: Address, factory: Any) -> None:
        self._way = way
        self._target = target
        self._factory = factory
        self._is_started = False
        self._attempt: Attempt
        self._protocol: Any = None
        self.state = "disconnected"

    def connect(self) -> None:
        """See :meth:`twisted.internet.interfaces.IConnector.connect`.

        :raises RuntimeError: it is connected, or connects already.
        """
        if self.state != "disconnected":
            raise RuntimeError("cannot connect in this state")
        self.state = "connecting"
        if not self._is_started:
            self._is_started = True
            self._factory.doStart()
        self._attempt = _Connecting(self, self._way, self._target)
        outcome = self._attempt.start()
        try:
            self._factory.startedConnecting(self)
        finally:
            outcome.addErrback(self.failed)  # which may be the case already

    def stopConnecting(self) -> None:
        """See :meth:`twisted.internet.interfaces.IConnector.stopConnecting`."""
        if self.state != "connecting":
            raise NotConnectingError("we're not trying to connect")
        self._attempt.outcome.cancel()

    def disconnect(self) -> None:
        """See :meth:`twisted.internet.interfaces.IConnector.disconnect`."""
        if self.state == "connecting":
            self.stopConnecting()
        elif self.state == "connected":
            self._protocol.transport.loseConnection()

    def getDestination(self) -> IAddress:
        """See :meth:`twisted.internet.interfaces.IConnector.getDestination`."""
        return twisted_address(self._target)

    def build(self, addr: IAddress | None) -> Any:
        """There is a tunnel.

        :returns: the protocol.
        """
        attempt, built = self._attempt, self._factory.buildProtocol(addr)
        if built is not None and not attempt.is_over:  # it may have given up meanwhile
            self._protocol = built
            self.state = "connected"
        return built

    def failed(self, failure: Failure) -> None:
        """There is none."""
        if failure.check(ConnectingCancelledError):
            failure = Failure(UserError())
        self._over(self._factory.clientConnectionFailed, failure)

    def lost(self, attempt: Attempt, reason: Failure) -> None:
        """It is gone. One of which the protocol has failed at once was none."""
        if attempt is self._attempt and self.state == "connected":
            self._over(self._factory.clientConnectionLost, reason)

    def _over(self, tell: Any, reason: Failure) -> None:
        """Tell the factory, which may connect again then."""
        self.state = "disconnected"
        tell(self, reason)
        if self.state == "disconnected":
            self._is_started = False
            self._factory.doStop()


class _Connecting(Attempt):
    """Tells the connector of its end."""

    def __init__(self, connector: Connector, way: Way, target: Address) -> None:
        super().__init__(way, target, _Building(connector))
        self._connector = connector

    @override
    def lost(self, reason: Failure) -> None:
        super().lost(reason)
        self._connector.lost(self, reason)


class _Building(Factory):
    """Builds the protocols of a connector's factory."""

    noisy = False

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    @override
    def buildProtocol(self, addr: IAddress | None) -> Any:
        return self._connector.build(addr)
