"""SOCKS over TLS: the factory that puts TLS under sessions, and an endpoint for programs that want one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from typing_extensions import override
from zope.interface import implementer

from socks5.net.certificate_files import steps_of
from socks5.net.certificate_names import name_in
from socks5.net.certificates import Certificates
from socks5.net.tls_strings import tls_from

_HANDSHAKE = b"\x16"
"""What TLS begins with (RFC 8446 section 5.1)."""

_REST_OF_HEADER = bytes(5)
"""Makes OpenSSL refuse what begins otherwise: it would wait for so many octets, and a SOCKS5 greeting has
fewer."""

MAX_STEPS = 10_000
"""Steps of TLS's own in one connection. A new key (RFC 8446 section 4.6.3) is seven, with the answer that it may ask
for, which the client need not read; programs change theirs after millions of records.
"""


class BoundedTLS(BufferingTLSTransport):
    """TLS for one client, who is cut off if it takes too many steps of its own."""

    @override
    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)  # type: ignore[no-untyped-call]
        if steps_of(self.getHandle()) > MAX_STEPS:
            self.abortConnection()


class TLSProtocol(BoundedTLS):
    """The same, which notices at the first octet what is no TLS."""

    _has_begun = False

    @override
    def dataReceived(self, data: bytes) -> None:
        if not self._has_begun:
            self._has_begun = True
            if not data.startswith(_HANDSHAKE):
                data += _REST_OF_HEADER
        super().dataReceived(data)


class TLSFactory(TLSMemoryBIOFactory):
    """Puts TLS under the protocols of another factory.

    :param certificates: ours, and those that clients may show.
    :param factory: builds the protocols.
    :param clock: IReactorTime.
    """

    protocol = TLSProtocol

    def __init__(self, certificates: Certificates, factory: IProtocolFactory, clock: Any) -> None:
        super().__init__(certificates, False, factory, clock)
        self.certificates = certificates

    @override
    def startFactory(self) -> None:
        self.certificates.warn()

    @override
    def buildProtocol(self, addr: Any) -> TLSMemoryBIOProtocol | None:  # type: ignore[override]
        """None if the other factory has none for this client."""
        protocol: Any = self.wrappedFactory.buildProtocol(addr)
        return None if protocol is None else self.protocol(self, protocol)


def name_of(transport: Any) -> str | None:
    """Whom the client's certificate names: somebody, if the listener asks for certificates and the
    client has shown one, because a certificate that names nobody ends the handshake.

    :param transport: of TLS, its handshake completed.
    """
    factory = transport.factory
    if not isinstance(factory, TLSFactory):
        return None  # another's TLS: what it verified, and what for, is not ours to know
    certificate = transport.getPeerCertificate()
    return None if certificate is None else name_in(certificate, factory.certificates.files.names)


@implementer(IStreamServerEndpoint)
@dataclass(frozen=True, slots=True)
class TLSEndpoint:
    """TLS on TCP, kept apart, so that another factory can stand between the two.

    :param tcp: listens.
    :param certificates: ours, and those that clients may show.
    :param clock: IReactorTime, not asked before the first client.
    """

    tcp: IStreamServerEndpoint
    certificates: Certificates
    clock: Any

    def wrap(self, factory: IProtocolFactory) -> TLSFactory:
        """The factory for what :attr:`tcp` accepts."""
        return TLSFactory(self.certificates, factory, self.clock)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See :meth:`twisted.internet.interfaces.IStreamServerEndpoint.listen`."""
        return self.tcp.listen(self.wrap(protocolFactory))


def tls_endpoint(reactor: Any, description: str) -> TLSEndpoint | None:
    """The endpoint for a string, where :func:`socks5.net.listening.listen` is not what a program wants.

    :param reactor: listens, and is the clock.
    :returns: None if the string is for Twisted; see :func:`~socks5.net.tls_strings.tls_from`.
    :raises Unusable: something is wrong with it, or with the files that it names.
    """
    found = tls_from(description)
    if found is None:
        return None
    where, files = found
    kind = TCP6ServerEndpoint if ":" in where.interface else TCP4ServerEndpoint
    tcp = kind(reactor, where.port, interface=where.interface)
    return TLSEndpoint(tcp, Certificates(files, reactor), reactor)
