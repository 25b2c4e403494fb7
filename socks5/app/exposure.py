"""Where to listen, from the strings of a command line, and who can reach that."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from OpenSSL.crypto import Error as PEMError
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory

from socks5.net.addresses import address_of
from socks5.net.certificates import Unusable
from socks5.net.tls import TLSEndpoint, tls_endpoint
from socks5.protocol.address import unmap

LOOPBACK = ("127.0.0.1", "::1")
"""The interfaces of the default."""

NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class _Surveyed(Exception):
    """Ends an endpoint's attempt to listen once it has said on what."""


class _Survey:
    """Stands in for a reactor to learn where an endpoint would listen, without listening."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.is_local = False

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        self.hosts.append(interface)
        raise _Surveyed

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        self.hosts.append(interface)
        raise _Surveyed

    def listenUNIX(self, *arguments: Any, **options: Any) -> Any:
        self.is_local = True
        raise _Surveyed

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        with socket.socket(fileno=os.dup(fileDescriptor)) as inherited:
            if inherited.family == socket.AF_UNIX:
                self.is_local = True
            else:
                self.hosts.append(inherited.getsockname()[0])
        raise _Surveyed


def is_loopback(interface: str) -> bool:
    """Whether only this host can reach a listener on *interface*: an IP literal, ``localhost``, or
    "" for all.
    """
    try:
        return interface == "localhost" or ip_address(unmap(interface)).is_loopback
    except ValueError:
        return False


def is_exposed(description: str) -> bool:
    """Whether others than this host can reach the endpoint that a string describes; when in doubt,
    yes. What listens with ``haproxy:`` serves a balancer's clients, wherever it listens.

    :param description: see :func:`endpoint_at`.
    :raises ValueError: it describes no endpoint; :exc:`~socks5.net.certificates.Unusable` if it is one
        for TLS that has no usable certificates.
    """
    survey = _Survey()
    try:
        endpoint = endpoint_at(survey, description)
    except Unusable:
        raise
    except Exception as error:
        raise ValueError(what_is_wrong(error)) from error
    maybeDeferred(endpoint.listen, Factory()).addErrback(lambda _: None)
    if believes_headers(description):
        return True
    if survey.hosts:
        return not all(is_loopback(host) for host in survey.hosts)
    return not survey.is_local


def believes_headers(description: str) -> bool:
    """Whether a string describes Twisted's ``haproxy:``, in whatever spelling Twisted takes for it."""
    return kind_of(description) == "haproxy"


def kind_of(description: str) -> str:
    """The word before the first colon, as Twisted takes it: in lower case, without backslashes."""
    kind = re.match(r"(?:\\.|[^\\:])*", description)
    return "" if kind is None else re.sub(r"\\(.)", r"\1", kind[0]).lower()


def is_authenticated(description: str) -> bool:
    """Whether the endpoint itself lets nobody in whom it does not know: it wants certificates.

    :param description: one that :func:`is_exposed` has judged.
    """
    endpoint = endpoint_at(_Survey(), description)
    return isinstance(endpoint, TLSEndpoint) and endpoint.is_authenticated


def endpoint_at(listening: Any, description: str) -> IStreamServerEndpoint:
    """The endpoint for a string: ours (:mod:`socks5.net.tls`) or one of Twisted's.

    :param listening: the reactor that it listens with.
    """
    return tls_endpoint(listening, description) or serverFromString(listening, description)


def what_is_wrong(error: Exception) -> str:
    """What Twisted's parsers raise, in words."""
    if isinstance(error, LookupError):
        return "no such socket is inherited"  # systemd:
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}"
    if isinstance(error, PEMError):
        return "no PEM key and certificate in that file"
    text = str(error) or type(error).__name__
    return re.sub(r"^\w+\(\) ", "", text)  # the name of the parser's function


def where_of(port: IListeningPort) -> str:
    """What listens where, for people."""
    host: Any = port.getHost()
    is_unix = isinstance(host, UNIXAddress)
    return f"unix:{os.fsdecode(host.name)}" if is_unix else str(address_of(host))


Listener = tuple[str, IStreamServerEndpoint]
"""How an operator calls a place to listen, and the endpoint."""


def listeners_on(listening: Any, port: int, interfaces: Sequence[str]) -> list[Listener]:
    """One TCP port of some interfaces.

    :param listening: the reactor that the endpoints listen with.
    """

    def listener(interface: str) -> Listener:
        kind = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
        return f"{interface} port {port}", kind(listening, port, interface=interface)

    return [listener(interface) for interface in interfaces]


def listeners_at(listening: Any, descriptions: Sequence[str]) -> list[Listener]:
    """Endpoints given as strings.

    :param listening: the reactor that they listen with.
    """
    return [(text, endpoint_at(listening, text)) for text in descriptions]
