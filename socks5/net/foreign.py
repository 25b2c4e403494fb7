"""Server endpoints that Twisted and its plugins make of a string: ``ssl:``, ``haproxy:``, and whatever is installed.

They ask a reactor for a port. :class:`EndpointReactor` is what they get for one, and it asks an opener: so their
ports are as ours, with workers, PROXY headers and the session limit. Nothing else that listens imitates a reactor.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

from OpenSSL.crypto import Error as PEMError
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from socks5.net.addresses import LONGEST_PATH, fits
from socks5.net.certificate_files import count_steps
from socks5.net.openers import IPortOpener, Where
from socks5.net.places import TCP, UNIX, Foreign, Inherited
from socks5.net.tls import BoundedTLS


class EndpointReactor:
    """A reactor that has its ports opened by an opener; everything else is the opener's reactor's.

    :param opener: opens them.
    :param description: the string of the endpoint.
    :param below: makes, of the endpoint's factory, the one that stands next to the port.
    """

    def __init__(
        self, opener: IPortOpener, description: str, below: Callable[[Any], Any] = lambda it: it
    ) -> None:
        self._opener = opener
        self._description = description
        self._below = below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opener.reactor, name)

    def _open(self, where: Where, factory: Any) -> IListeningPort:
        return self._opener.open(where, self._below(factory))

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """See :meth:`twisted.internet.interfaces.IReactorTCP.listenTCP`."""
        return self._open(TCP(port, interface, backlog), factory)

    def listenSSL(
        self,
        port: int,
        factory: Any,
        contextFactory: Any,
        backlog: int = 50,
        interface: str = "",
    ) -> IListeningPort:
        """See :meth:`twisted.internet.interfaces.IReactorSSL.listenSSL`.

        :param contextFactory: as ``ssl:`` has it, a :class:`~twisted.internet.ssl.CertificateOptions`.
        """
        count_steps(contextFactory.getContext())
        over_tls = TLSMemoryBIOFactory(contextFactory, False, factory)
        over_tls.protocol = BoundedTLS
        return self.listenTCP(port, over_tls, backlog, interface)

    def listenUNIX(
        self,
        address: str,
        factory: Any,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: int = 0,
    ) -> IListeningPort:
        """See :meth:`twisted.internet.interfaces.IReactorUNIX.listenUNIX`."""
        return self._open(UNIX(address, mode, bool(wantPID), backlog), factory)

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: Any, factory: Any
    ) -> IListeningPort:
        """See :meth:`twisted.internet.interfaces.IReactorSocket.adoptStreamPort`."""
        return self._open(Inherited(self._description, fileDescriptor), factory)


class _Asked(Exception):
    """Ends an endpoint's attempt to listen once it has said on what."""


@implementer(IPortOpener)
class Asking:
    """Opens nothing, and learns what would be opened, and what would be served there."""

    reactor = None

    def __init__(self) -> None:
        self.asked: list[Where] = []
        self.factories: list[Any] = []

    def open(self, where: Where, factory: Any) -> NoReturn:
        """See :meth:`socks5.net.openers.IPortOpener.open`."""
        self.asked.append(where)
        self.factories.append(factory)
        raise _Asked


def kind_of(description: str) -> str:
    """The word before the first colon, as Twisted takes it: in lower case, without backslashes."""
    kind = re.match(r"(?:\\.|[^\\:])*", description)
    return "" if kind is None else re.sub(r"\\(.)", r"\1", kind[0]).lower()


PLAIN = frozenset({"tcp", "tcp6", "unix", "systemd"})
"""Kinds of endpoints that are nothing but what they listen on."""


def where_of(description: str) -> Where | Foreign:
    """What a string describes, as Twisted understands it, in every spelling that it takes.

    :raises ValueError: it describes no endpoint; says why.
    """
    asking = Asking()
    try:
        endpoint = serverFromString(EndpointReactor(asking, description), description)
    except Exception as error:
        raise ValueError(_what_is_wrong(error)) from error
    maybeDeferred(endpoint.listen, Factory()).addErrback(lambda _: None)
    kind = kind_of(description)
    for where in asking.asked:
        if isinstance(where, UNIX) and not fits(where.path):
            raise ValueError(f"the path of a UNIX socket has at most {LONGEST_PATH} octets")
    if kind in PLAIN and asking.asked:  # not for a descriptor of systemd's that is none
        return asking.asked[0]
    # What listens with ``haproxy:`` serves a balancer's clients, wherever it listens.
    is_local = asking.asked and not any(where.is_exposed for where in asking.asked)
    return Foreign(description, not is_local or kind == "haproxy")


def listen_at(
    where: Foreign, factory: Any, opener: IPortOpener, below: Callable[[Any], Any]
) -> Deferred[IListeningPort]:
    """Have a foreign endpoint listen.

    :param below: makes the factory next to the port; see :class:`EndpointReactor`.
    """
    reactor: Any = EndpointReactor(opener, where.description, below)
    endpoint: IStreamServerEndpoint = serverFromString(reactor, where.description)
    return endpoint.listen(factory)


def factory_at(where: Foreign, factory: Any, below: Callable[[Any], Any]) -> Any:
    """The factory that a foreign endpoint would have next to its port; None if it does not ask for a port.

    :param below: see :func:`listen_at`.
    """
    asking = Asking()
    maybeDeferred(listen_at, where, factory, asking, below).addErrback(lambda _: None)
    return asking.factories[0] if asking.factories else None


def _what_is_wrong(error: Exception) -> str:
    """What Twisted's parsers raise, in words."""
    if isinstance(error, LookupError):
        return "no such socket is inherited"  # systemd:
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}"
    if isinstance(error, PEMError):
        return "no PEM key and certificate in that file"
    text = str(error) or type(error).__name__
    return re.sub(r"^\w+\(\) ", "", text)  # the name of the parser's function
