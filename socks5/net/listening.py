"""Listening: a string becomes a :class:`~socks5.net.places.Listen`, and that a port for the clients of a factory.

Over the port stand, in this order, the PROXY header, TLS, and the listener's policy. Where there is none of the first
two, and the port is for TCP, clients are on a :class:`~socks5.net.connection.Connection`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.python.components import proxyForInterface
from zope.interface import implementer

from socks5.counters import Counters
from socks5.net.certificates import Certificates
from socks5.net.descriptors import SessionLimit
from socks5.net.foreign import factory_at, listen_at, where_of
from socks5.net.haproxy import HeaderFactory
from socks5.net.openers import IPortOpener, IServedPort, PortOpener
from socks5.net.places import TCP, Foreign, Listen
from socks5.net.tls import TLSFactory
from socks5.net.tls_strings import tls_from
from socks5.settings import ListenerPolicy

_EXPECTED = (
    "expected ADDRESS:PORT, such as 127.0.0.1:1080 or [::1]:1080, or a server endpoint of Twisted's"
)


class Server(Protocol):
    """What listening takes of a :class:`~socks5.server.factory.ServerFactory`."""

    reactor: Any
    limit: SessionLimit
    counters: Counters

    def at(self, policy: ListenerPolicy) -> Any:
        """The factory of a listener under a policy: for the default policy, itself."""

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


@dataclass(frozen=True, slots=True)
class Served:
    """What the clients of a port are served with.

    :param sessions: the factory of their sessions.
    :param factory: what stands next to the port; None if its endpoint alone knows.
    """

    sessions: Any
    factory: Any


@implementer(IServedPort)
class _KnownPort(proxyForInterface(IListeningPort, "port")):  # type: ignore[misc]
    """A port of which the factory knows until it is closed."""

    def __init__(self, port: IListeningPort, server: Server, sessions: Any) -> None:
        super().__init__(server.listens_on(port))
        self._host = port.getHost()
        self._server: Server | None = server
        self.sessions = sessions

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

    def serve(self, served: Served) -> None:
        """See :meth:`socks5.net.openers.IServedPort.serve`. A port of somebody else's serves on as it did, and a
        parent's nobody.
        """
        serve = getattr(self.port, "serve", None)
        if serve is not None and served.factory is not None:
            serve(served.factory)
            self.sessions = served.sessions

    def _is_no_more_known(self, outcome: Any = None) -> Any:
        server, self._server = self._server, None
        if server is not None:
            server.listens_no_more_on(self)
        return outcome


def listen_with(
    opener: IPortOpener, at: Listen, server: Server, certificates: Certificates | None = None
) -> Deferred[IServedPort]:
    """Listen for the clients of a factory, which knows of the port until it is closed.

    :param opener: opens the port.
    :param certificates: those of :attr:`Listen.tls <socks5.net.places.Listen.tls>`, if they were read already.
    :returns: fires with the port; fails with what the opener raises.
    :raises ValueError: the factory cannot serve under that policy.
    :raises socks5.net.certificate_files.Unusable: the certificates cannot be used.
    """
    sessions = server.at(at.policy)
    over, below = _around(at, sessions, server, certificates, opener.reactor)
    if isinstance(at.where, Foreign):
        listening = maybeDeferred(listen_at, at.where, over, opener, below)
    else:
        listening = maybeDeferred(opener.open, at.where, below(over))
    return listening.addCallback(_KnownPort, server, sessions)


def served(at: Listen, server: Server, certificates: Certificates | None, reactor: Any) -> Served:
    """What the clients of a port that is open already would be served with.

    :param certificates: see :func:`listen_with`.
    :param reactor: the clock of TLS.
    :raises ValueError: see :func:`listen_with`.
    """
    sessions = server.at(at.policy)
    over, below = _around(at, sessions, server, certificates, reactor)
    if isinstance(at.where, Foreign):
        return Served(sessions, factory_at(at.where, over, below))
    return Served(sessions, below(over))


def _around(
    at: Listen, sessions: Any, server: Server, certificates: Certificates | None, reactor: Any
) -> tuple[Any, Callable[[Any], Any]]:
    """A listener's sessions, and TLS over them; and what makes of that, or of what an endpoint makes of it, the factory
    next to the port.
    """
    over = sessions
    if at.tls is not None:
        over = TLSFactory(certificates or Certificates(at.tls, reactor), sessions, reactor)

    def below(upper: Any) -> Any:
        proxies = at.policy.proxies
        if proxies is None:
            return upper
        return HeaderFactory(upper, proxies, server.reactor, server.counters)

    return over, below


def listen(reactor: Any, at: str | Listen, factory: Server) -> Deferred[IServedPort]:
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
