"""A program that connects through proxies, in memory, and what a proxy says to it."""

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.client import Proxy, ProxyEndpoint
from tests.support.deferreds import told
from tests.support.reactor import FakeConnector, FakeReactor
from tests.support.transports import FakeTransport

OK = bytes.fromhex("05 00 00 01 cb007105 1f90")
"""A reply of success, with an address."""

PROXY = "socks5://192.0.2.9"
METHOD, LOGIN = b"\5\0", b"\5\2"


class Recording(Protocol):
    """Notes what happens to it, in the notes of its factory; does *then* once it is connected."""

    def __init__(self, notes: list[Any], then: Callable[[Any], object]) -> None:
        self.notes = notes
        self._then = then

    def connectionMade(self) -> None:
        self.notes.append("made")
        self._then(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.notes.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.notes.append(reason.type)


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recording):
    """Knows half-close."""

    def readConnectionLost(self) -> None:
        self.notes.append("read lost")

    def writeConnectionLost(self) -> None:
        self.notes.append("write lost")


class Program(Factory):
    """Builds such protocols, or does what it *builds*."""

    noisy = False

    def __init__(
        self,
        then: Callable[[Any], object] = bool,
        builds: Callable[[Any], Any] | None = None,
        kind: type[Recording] = Recording,
    ) -> None:
        self.notes: list[Any] = []
        self.targets: list[IAddress] = []
        self.starts = self.stops = 0
        self.then = then
        self._kind = kind
        self._builds = builds

    def doStart(self) -> None:
        self.starts += 1

    def doStop(self) -> None:
        self.stops += 1

    def buildProtocol(self, addr: IAddress | None) -> Any:
        assert addr is not None
        self.targets.append(addr)
        return self._kind(self.notes, self.then) if self._builds is None else self._builds(addr)


def refused(code: int) -> bytes:
    """A reply of failure, as far as it says something."""
    return bytes((5, code))


class Resolver:
    """Answers when a test says so."""

    def __init__(self, knows_cancel: bool = True) -> None:
        self.receiver: Any = None
        self.asked: list[tuple[str, int]] = []
        self.cancels = 0
        self._knows_cancel = knows_cancel

    def resolveHostName(self, receiver: Any, name: str, portNumber: int = 0) -> None:
        self.receiver = receiver
        self.asked.append((name, portNumber))
        receiver.resolutionBegan(self)

    def cancel(self) -> None:
        if not self._knows_cancel:
            raise NotImplementedError
        self.cancels += 1

    def answer(self, *hosts: str) -> None:
        for host in hosts:
            kind: Any = IPv6Address if ":" in host else IPv4Address
            self.receiver.addressResolved(kind("TCP", host, 443))
        self.receiver.resolutionComplete()


@implementer(IStreamClientEndpoint)
class AtOnce:
    """An endpoint that is connected at once, whatever it then tells."""

    def __init__(self, tells: Exception | None = None) -> None:
        self.transport: Any = None
        self._tells = tells

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        protocol = protocolFactory.buildProtocol(None)
        self.transport = FakeTransport(FakeReactor())
        self.transport.connect(protocol)
        if self._tells is None:
            return succeed(protocol)
        self.transport.deliver(b"\4")
        return fail(self._tells)


class Asked:
    """One connect through proxies.

    :param proxy: a URL, or a proxy whose reactor is *reactor*.
    """

    def __init__(
        self,
        proxy: str | Proxy = PROXY,
        host: str | bytes = "www.example.org",
        port: int = 443,
        *,
        program: Program | None = None,
        reactor: FakeReactor | None = None,
        **options: Any,
    ) -> None:
        self.reactor = reactor or FakeReactor()
        if isinstance(proxy, str):
            proxy = Proxy.from_url(self.reactor, proxy, **options)
        self.endpoint: ProxyEndpoint = proxy.endpoint(host, port)
        self.program = program or Program()
        self.deferred = self.endpoint.connect(self.program)
        self.outcome = told(self.deferred)

    @property
    def connector(self) -> FakeConnector:
        """The last attempt to connect."""
        return self.reactor.connectors[-1]

    def accept(self) -> FakeTransport:
        """The proxy accepts."""
        transport = self.connector.succeed()
        self.reactor.turn()
        return transport

    def opened(self, behind: bytes = b"") -> FakeTransport:
        """There is a tunnel. *behind*: what comes behind the reply."""
        transport = self.accept()
        transport.deliver(METHOD)
        transport.deliver(OK + behind)
        self.reactor.turn()
        transport.clear()
        return transport

    @property
    def error(self) -> Any:
        """How it failed."""
        [failure] = self.outcome
        assert isinstance(failure, Failure)
        return failure.value

    def leaves_nothing(self) -> bool:
        """No connection, no attempt at one and no timer."""
        self.reactor.turn()
        for connector in self.reactor.connectors:
            assert connector.state != "connecting"
        assert self.reactor.getDelayedCalls() == []
        assert self.program.starts == self.program.stops == 1
        return True


def proxies(reactor: FakeReactor, *urls: str, **options: Any) -> Proxy:
    """A chain."""
    return Proxy.chain(reactor, urls, **options)


TARGET = IPv4Address("TCP", "203.0.113.80", 443)
