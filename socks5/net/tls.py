"""SOCKS over TLS: the factory that puts TLS under sessions, and the endpoint string for it.

``tls:PORT:cert=FILE`` is parsed here and not by a plugin, for Twisted has a ``tls:`` of its own: a
folder of certificates, which stays as it is. TCP and TLS are kept apart (:class:`TLSEndpoint`), so
that another factory can stand between the two.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from typing_extensions import override
from zope.interface import implementer

from socks5.net.certificates import NAMES, Certificates, Files, Unusable, name_in

FORM = (
    "tls:PORT:cert=FILE[:key=FILE][:interface=ADDRESS][:clients=FILE]"
    "[:client-certificates=required|optional][:client-name=email|dns|uri|cn]"
)
"""What is parsed here."""

_HANDSHAKE = b"\x16"
"""What TLS begins with (RFC 8446 section 5.1)."""

_REST_OF_HEADER = bytes(5)
"""Makes OpenSSL refuse what begins otherwise: it would wait for so many octets, and a SOCKS5 greeting has
fewer."""

_OPTIONS = frozenset({"cert", "key", "interface", "clients", "client-certificates", "client-name"})


class TLSProtocol(BufferingTLSTransport):
    """TLS for one client, which notices at the first octet what is no TLS."""

    _has_begun = False

    @override
    def dataReceived(self, data: bytes) -> None:
        if not self._has_begun:
            self._has_begun = True
            if not data.startswith(_HANDSHAKE):
                data += _REST_OF_HEADER
        super().dataReceived(data)  # type: ignore[no-untyped-call]


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
    """TLS on TCP.

    :param tcp: listens.
    :param certificates: ours, and those that clients may show.
    :param clock: IReactorTime, not asked before the first client.
    """

    tcp: IStreamServerEndpoint
    certificates: Certificates
    clock: Any

    @property
    def is_authenticated(self) -> bool:
        """Whether nobody gets in without a certificate."""
        files = self.certificates.files
        return files.clients is not None and files.is_required

    def wrap(self, factory: IProtocolFactory) -> TLSFactory:
        """The factory for what :attr:`tcp` accepts."""
        return TLSFactory(self.certificates, factory, self.clock)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See :meth:`twisted.internet.interfaces.IStreamServerEndpoint.listen`."""
        return self.tcp.listen(self.wrap(protocolFactory))


def tls_endpoint(reactor: Any, description: str) -> TLSEndpoint | None:
    """The endpoint for a string.

    :param reactor: listens, and is the clock.
    :returns: None if the string is for Twisted: it does not begin with ``tls:``, or has neither a
        number for its first word nor a ``cert``.
    :raises Unusable: something is wrong with it, or with the files that it names.
    """
    words, options = _split(description)
    kind, *ports = words or [""]
    if kind != "tls":
        return None
    if not ("cert" in options or re.fullmatch("[0-9]+", "".join(ports[:1]))):
        _check_folder("".join(ports[:1]))
        return None
    if not (len(ports) == 1 and re.fullmatch("[0-9]{1,5}", ports[0]) and int(ports[0]) <= 65535):
        raise Unusable(f"expected one port, from 0 to 65535, in {FORM}")
    if unknown := sorted(options.keys() - _OPTIONS):
        raise Unusable(f"{unknown[0]}=: expected {FORM}")
    interface = options.get("interface", "")
    listen_at = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    tcp = listen_at(reactor, int(ports[0]), interface=interface)
    return TLSEndpoint(tcp, Certificates(_files(options), reactor), reactor)


def _check_folder(path: str) -> None:
    """Twisted serves TLS from a folder, and says nothing about one that has no certificate.

    :raises Unusable: so it is.
    """
    try:
        is_usable = any(name.endswith(".pem") for name in os.listdir(path or "."))
    except OSError:
        is_usable = False
    if not (path and is_usable):
        raise Unusable(
            f"{path or 'no port'}: expected a folder of PEM files with keys and certificates, or {FORM}"
        )


def _split(description: str) -> tuple[list[str], dict[str, str]]:
    """Words and options between colons; a backslash takes a colon's meaning, as in Twisted's strings."""
    words: list[str] = []
    options: dict[str, str] = {}
    for part in re.findall(r"(?:\\.|[^:\\])+", description):
        name, is_option, value = part.partition("=")
        text = re.sub(r"\\(.)", r"\1", value if is_option else name)
        if is_option:
            options[name] = text
        else:
            words.append(text)
    return words, options


def _files(options: dict[str, str]) -> Files:
    """:raises Unusable: an option is missing, or has no such value."""
    if not options.get("cert"):
        raise Unusable(
            f"cert=FILE is missing: expected {FORM}, or tls:DIRECTORY:PORT, a folder of PEM files"
        )
    for about in ("client-certificates", "client-name"):
        if about in options and "clients" not in options:
            raise Unusable(
                f"{about}= is about clients' certificates: expected clients=FILE with it"
            )
    must = options.get("client-certificates", "required")
    if must not in ("required", "optional"):
        raise Unusable(f"client-certificates={must}: expected required or optional")
    name = options.get("client-name")
    if name is not None and name not in NAMES:
        raise Unusable(f"client-name={name}: expected {' or '.join(NAMES)}")
    paths = {
        key: os.path.abspath(options[key]) for key in ("cert", "key", "clients") if key in options
    }
    return Files(
        cert=paths["cert"],
        key=paths.get("key", paths["cert"]),
        clients=paths.get("clients"),
        is_required=must == "required",
        names=tuple(NAMES) if name is None else (name,),
    )
