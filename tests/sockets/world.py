"""Our own servers and targets on real sockets, for clients that go through proxies: the fixture ``world``."""

from pathlib import Path
from typing import Any

from twisted.internet import ssl
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource

from socks5 import Reason, ServerFactory, listen
from socks5.client import Proxy
from socks5.net.certificates import Certificates
from socks5.net.tls import TLSFactory
from tests.support.certificates import Authority, one_file


class Server(Protocol):
    """Gives back what it gets, and begins TLS if it is asked to."""

    def connectionMade(self) -> None:
        self.transport.write(b"hello ")

    def dataReceived(self, data: bytes) -> None:
        if data == b"STARTTLS":
            self.transport.write(b"begin")
            self.transport.startTLS(self.factory.options)  # type: ignore[union-attr]
        else:
            self.transport.write(data)


class Page(Resource):
    """Says which connection a request came by, and keeps requests."""

    isLeaf = True  # noqa: N815

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []

    def render_GET(self, request: Any) -> bytes:  # noqa: N802
        self.requests.append(request)
        return str(request.getClientAddress().port).encode()


class World:
    """Proxies, a target, and an authority that vouches for all of them."""

    def __init__(self, directory: Path) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.authority = Authority(directory)
        self.pem = self.authority.server()
        self._factories: list[ServerFactory] = []
        self._ports: list[Any] = []

    @property
    def roots(self) -> Any:
        return ssl.trustRootFromCertificates(
            [ssl.Certificate.loadPEM(self.authority.path.read_bytes())]
        )

    def verifying(self, name: str = "localhost", own: Path | None = None) -> Any:
        """What a client verifies by, and the certificate it shows."""
        shown = None if own is None else ssl.PrivateCertificate.loadPEM(own.read_bytes())
        return ssl.optionsForClientTLS(name, self.roots, shown)

    @property
    def certificates(self) -> Certificates:
        return Certificates(one_file(self.pem), self.reactor)

    async def start(
        self, kind: str = "tcp:0", interface: str = "127.0.0.1", **parameters: Any
    ) -> tuple[ServerFactory, int]:
        """Start a server with parameters of its factory.

        :returns: the factory, and the port.
        """
        factory = ServerFactory(self.reactor, **parameters)
        self._factories.append(factory)
        port = await listen(self.reactor, f"{kind}:interface={interface}", factory)
        self._ports.append(port)
        return factory, port.getHost().port

    async def proxy(
        self, is_tls: bool = False, clients: str = "", acceptor: Any = None, **options: Any
    ) -> Proxy:
        """Start one."""
        kind = f"tls:0:cert={self.pem}{clients}" if is_tls else "tcp:0"
        _, port = await self.start(kind, gssapi=acceptor)
        url = f"socks5{'s' if is_tls else ''}://127.0.0.1:{port}"
        if is_tls:
            options.setdefault("tls", self.verifying())
        return Proxy.from_url(self.reactor, url, **options)

    def serve(self, factory: Any, is_tls: bool = False) -> int:
        """Start a target.

        :returns: its port.
        """
        if is_tls:
            factory = TLSFactory(self.certificates, factory, self.reactor)
        self._ports.append(self.reactor.listenTCP(0, factory, interface="127.0.0.1"))
        return int(self._ports[-1].getHost().port)

    def target(self, protocol: Any = Server, is_tls: bool = False) -> int:
        """The same, for a protocol."""
        factory: Any = Factory.forProtocol(protocol)
        factory.options = self.certificates
        return self.serve(factory, is_tls)

    async def close(self) -> None:
        for port in self._ports:
            await port.stopListening()
        for factory in self._factories:
            await factory.close_sessions(Reason.SHUTDOWN, grace=0)
