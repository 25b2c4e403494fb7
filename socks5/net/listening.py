"""Listening: a string becomes a :class:`~socks5.net.places.Listen`, and that a port for the clients of a factory.

Over the port stand, in this order, the PROXY header, TLS, and the listener's policy. Where there is none of the first
two, and the port is for TCP, clients are on a :class:`~socks5.net.connection.Connection`.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.python.components import proxyForInterface
from zope.interface import implementer

from socks5.counters import Counters
from socks5.net.certificates import Certificates
from socks5.net.descriptors import SessionLimit
from socks5.net.foreign import listen_at, where_of
from socks5.net.haproxy import HeaderFactory
from socks5.net.openers import IOpenPort, IPortOpener, PortOpener
from socks5.net.places import TCP, Foreign, Listen
from socks5.net.tls import TLSFactory
from socks5.net.tls_strings import tls_from
from socks5.settings import ListenerPolicy

_EXPECTED = (
    "expected ADDRESS:PORT, such as 127.0.0.1:1080 or [::1]:1080, or a server endpoint of Twisted's"
)


class Served(Protocol):
    """What listening takes of a :class:`~socks5.server.factory.ServerFactory`."""

    reactor: Any
    limit: SessionLimit
    counters: Counters

    def at(self, policy: ListenerPolicy) -> Any:
        """The factory of a listener under a policy."""

    def listens_on(self, port: IListeningPort) -> IListeningPort:
        """Clients come in at this port."""

    def listens_no_more_on(self, port: IListeningPort) -> IListeningPort:
        """That is over."""


def listen_from(description: str, policy: ListenerPolicy | None = None) -> Listen:
    """The listener that a string describes.

    :param description: ``ADDRESS:PORT`` with an IPv6 address in brackets, ``tls:PORT:cert=FILE``
        (:data:`socks5.net.tls_strings.FORM`), or a server endpoint of Twisted's.
    :param policy: what it lets in; default: everything.
    :raises ValueError: it describes none; says what was expected.
    """
    policy = ListenerPolicy() if policy is None else policy
    plain = _address_and_port(description)
    if plain is not None:
        return Listen(plain, policy=policy)
    over_tls = tls_from(description)
    if over_tls is not None:
        return Listen(*over_tls, policy)
    try:
        return Listen(where_of(description), policy=policy)
    except ValueError as error:
        raise ValueError(f"{_EXPECTED}: {error}") from error


_ADDRESS_AND_PORT = re.compile(r"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\]):([0-9]{1,5})", re.ASCII)


def _address_and_port(text: str) -> TCP | None:
    """What ``ADDRESS:PORT`` means; None if it is something else, for no endpoint of Twisted's looks like it.

    :raises ValueError: it is nearly that; says what was expected.
    """
    found = _ADDRESS_AND_PORT.fullmatch(text)
    if found is None:
        return None
    address, port = found[1] or found[2], int(found[3])
    try:
        is_right = ip_address(address).version == (4 if found[1] else 6) and port <= 65535
    except ValueError:
        is_right = False
    if not is_right:
        raise ValueError("expected ADDRESS:PORT with an IP address and a port from 0 to 65535")
    return TCP(port, address)


@implementer(IOpenPort)
class _KnownPort(proxyForInterface(IListeningPort, "port")):  # type: ignore[misc]
    """A port of which the factory knows until it is closed."""

    def __init__(self, port: IListeningPort, factory: Served) -> None:
        super().__init__(factory.listens_on(port))
        self._host = port.getHost()
        self._factory: Served | None = factory

    def getHost(self) -> Any:
        """See :meth:`twisted.internet.interfaces.IListeningPort.getHost`; also of a port that is closed."""
        return self._host

    def stopListening(self) -> Any:
        """See :meth:`twisted.internet.interfaces.IListeningPort.stopListening`; may be called twice."""
        self._is_no_more_known()
        return self.port.stopListening()

    def finish(self) -> Deferred[None]:
        """See :meth:`socks5.net.openers.IOpenPort.finish`. A port of somebody else's just closes."""
        end = getattr(self.port, "finish", self.port.stopListening)
        return maybeDeferred(end).addBoth(self._is_no_more_known)

    def _is_no_more_known(self, outcome: Any = None) -> Any:
        factory, self._factory = self._factory, None
        if factory is not None:
            factory.listens_no_more_on(self)
        return outcome


def listen_with(
    opener: IPortOpener, at: Listen, factory: Served, certificates: Certificates | None = None
) -> Deferred[IOpenPort]:
    """Listen for the clients of a factory, which knows of the port until it is closed.

    :param opener: opens the port.
    :param certificates: those of :attr:`Listen.tls <socks5.net.places.Listen.tls>`, if they were read already.
    :returns: fires with the port; fails with what the opener raises.
    :raises ValueError: the factory cannot serve under that policy.
    :raises socks5.net.certificate_files.Unusable: the certificates cannot be used.
    """
    served: Any = factory if at.policy == ListenerPolicy() else factory.at(at.policy)
    if at.tls is not None:
        own = certificates or Certificates(at.tls, opener.reactor)
        served = TLSFactory(own, served, opener.reactor)

    def below(upper: Any) -> Any:
        proxies = at.policy.proxies
        if proxies is None:
            return upper
        return HeaderFactory(upper, proxies, factory.reactor, factory.counters)

    if isinstance(at.where, Foreign):
        listening = maybeDeferred(listen_at, at.where, served, opener, below)
    else:
        listening = maybeDeferred(opener.open, at.where, below(served))
    return listening.addCallback(_KnownPort, factory)


def listen(reactor: Any, at: str | Listen, factory: Served) -> Deferred[IOpenPort]:
    """Listen for the clients of a :class:`~socks5.server.factory.ServerFactory`, with ports that pause at its session
    limit and, where clients come by plain TCP, put them on the lean path.

    :param reactor: reads the port.
    :param at: where; a string is what ``--listen`` takes.
    :returns: fires with the port; fails with :exc:`~twisted.internet.error.CannotListenError` if there can be none.
    :raises ValueError: the string describes no listener, its certificates cannot be used, or the factory has not the
        methods of the policy; says what was expected.
    """
    where = listen_from(at) if isinstance(at, str) else at
    return listen_with(PortOpener(reactor, factory.limit), where, factory)
