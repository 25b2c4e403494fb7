"""A target's name resolved here, by the reactor's resolver, for a proxy that is not to know it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from socks5.names import hostname
from socks5.protocol.address import Address, unmap


@implementer(IResolutionReceiver)
class Lookup:
    """One look-up.

    :param reactor: IReactorPluggableNameResolver.
    :param target: a name and a port.
    """

    def __init__(self, reactor: Any, target: Address) -> None:
        self._reactor = reactor
        self._target = target
        self._found: list[Address] = []
        self._resolution: Any = None
        self._outcome: Deferred[list[Address]] = Deferred(self._cancelled)

    def start(self) -> Deferred[list[Address]]:
        """Begin.

        :returns: the addresses, with the port; fails
            with :exc:`twisted.internet.error.DNSLookupError` if there are none.
        """
        assert isinstance(self._target.host, bytes)
        try:
            name = hostname(self._target.host)
        except (DNSLookupError, UnicodeError):
            self.resolutionComplete()
        else:
            self._reactor.nameResolver.resolveHostName(self, name, self._target.port)
        return self._outcome

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """See :meth:`twisted.internet.interfaces.IResolutionReceiver.resolutionBegan`."""
        self._resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        """See :meth:`twisted.internet.interfaces.IResolutionReceiver.addressResolved`. One with a zone is of no use
        to a proxy.
        """
        host = getattr(address, "host", "%")
        if "%" not in host:
            self._found.append(Address(unmap(host), self._target.port))

    def resolutionComplete(self) -> None:
        """See :meth:`twisted.internet.interfaces.IResolutionReceiver.resolutionComplete`."""
        if self._outcome.called:
            return
        if self._found:
            self._outcome.callback(self._found)
        else:
            self._outcome.errback(DNSLookupError(f"no address for {self._target.text}"))

    def _cancelled(self, outcome: object) -> None:
        with suppress(NotImplementedError):  # Twisted's own cannot; nobody takes its answer
            self._resolution.cancel()
