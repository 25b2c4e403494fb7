"""What a stream is to whoever takes its octets: a connected transport, and a receiver that can be changed."""

from __future__ import annotations

from twisted.internet.interfaces import ITransport
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from socks5.protocol.address import Address


class IStreamReceiver(Interface):
    """Who takes the events of one end of a stream."""

    def dataReceived(data: bytes) -> None:
        """Octets arrived."""

    def readConnectionLost() -> None:
        """The other side will send nothing more (half-close)."""

    def connectionLost(reason: Failure) -> None:
        """The transport is gone."""


class IStream(Interface):
    """A connected transport whose events go to a receiver that can be changed."""

    transport: ITransport = Attribute("The transport.")
    receiver: IStreamReceiver | None = Attribute("Who takes the events from now on.")
    bound: Address = Attribute(
        "What the client is told when it gets the stream: our address towards the target, or (BIND) the peer's."
    )
    far: Address | None = Attribute(
        "Whom it leads to, as the rules were asked; None where that has no address of its own. Only until the stream "
        "is given a receiver."
    )
