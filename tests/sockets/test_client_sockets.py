"""The client on real sockets: through one proxy and several, with TLS to them, to the target, begun in the middle."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import error
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    ISSLTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.mail.pop3 import AdvancedPOP3Client, InsecureAuthenticationDisallowed
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.client import Proxy, ProxyClosed, ProxyUnreachable, Tunnel, tunnel_of
from socks5.protocol.gssapi import Protection
from tests.sockets.wires import until
from tests.sockets.world import World
from tests.support.contexts import FakeAcceptor, Initiating
from tests.support.deferreds import told
from tests.support.ports import free_port


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Protocol):
    """Answers at the other's end."""

    def __init__(self) -> None:
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def readConnectionLost(self) -> None:
        self.transport.write(self.received[::-1])
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass


class Client(Protocol):
    """Gathers what it gets."""

    lost: Any = None
    received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason.value


def client_factory() -> Factory[Client]:
    factory = Factory.forProtocol(Client)
    factory.noisy = False
    return factory


async def exchange(client: Client, word: bytes = b"world") -> None:
    """Say something, hear it, and close."""
    await until(lambda: client.received == b"hello ")
    assert client.transport is not None
    client.transport.write(word)
    await until(lambda: client.received == b"hello " + word)
    await close(client)


async def close(client: Any) -> None:
    client.transport.loseConnection()
    await until(lambda: client.lost)
    assert type(client.lost) is error.ConnectionDone


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("hops", ["0", "1", "01", "10", "11", "010", "101"])
@pytest_twisted.ensureDeferred
async def test_through_proxies(world: World, hops: str, is_tls: bool) -> None:
    """A digit each: 1 is over TLS. The target is, too, or is not."""
    proxy = Proxy.chain(world.reactor, [await world.proxy(digit == "1") for digit in hops])
    port = world.target(is_tls=is_tls)
    options = world.verifying() if is_tls else False
    client = await proxy.endpoint("127.0.0.1", port, options).connect(client_factory())
    tunnel = tunnel_of(client.transport)
    assert isinstance(tunnel, Tunnel)
    assert tunnel.proxy.count("127.0.0.1") == len(hops)
    assert ISSLTransport.providedBy(client.transport) is is_tls
    await exchange(client, b"w" * 100_000)


@pytest.mark.parametrize("is_tls", [False, True])
@pytest_twisted.ensureDeferred
async def test_twisteds_own_tls_over_an_endpoint(world: World, is_tls: bool) -> None:
    proxy = await world.proxy(is_tls)
    endpoint = wrapClientTLS(
        world.verifying(),
        proxy.endpoint("127.0.0.1", world.target(is_tls=True)),
        clock=world.reactor,
    )
    client: Any = await endpoint.connect(client_factory())
    assert tunnel_of(client.transport) is not None
    await exchange(client)


@pytest.mark.parametrize("hops", ["0", "1", "01"])
@pytest.mark.parametrize("has_producer", [False, True])
@pytest_twisted.ensureDeferred
async def test_tls_begun_in_the_middle_is_the_targets(
    world: World, hops: str, has_producer: bool
) -> None:
    """Twisted's wrappers would put it under the proxy's."""
    proxy = Proxy.chain(world.reactor, [await world.proxy(digit == "1") for digit in hops])
    client = await proxy.endpoint("127.0.0.1", world.target()).connect(client_factory())
    transport: Any = client.transport
    await until(lambda: client.received == b"hello ")
    transport.write(b"STARTTLS")
    await until(lambda: client.received == b"hello begin")
    assert not ISSLTransport.providedBy(transport)
    producer = Producer()
    if has_producer:
        transport.registerProducer(producer, True)
    transport.startTLS(world.verifying())
    transport.write(b"secret")
    await until(lambda: client.received == b"hello beginsecret")
    assert ISSLTransport.providedBy(transport)
    assert transport.getPeerCertificate() is not None
    assert transport.logPrefix().startswith("Client (")
    if has_producer:
        transport.unregisterProducer()
    await close(client)


class Producer:
    """One that has nothing to send."""

    def pauseProducing(self) -> None:
        pass

    resumeProducing = stopProducing = pauseProducing


@implementer(IHandshakeListener)
class Listening(Client):
    """Is told of handshakes."""

    handshakes = 0

    def handshakeCompleted(self) -> None:
        self.handshakes += 1


@pytest_twisted.ensureDeferred
async def test_who_listens_is_told_of_the_targets_handshake_alone(world: World) -> None:
    proxy = await world.proxy(is_tls=True)
    endpoint = proxy.endpoint("127.0.0.1", world.target())
    client = await endpoint.connect(Factory.forProtocol(Listening))
    assert client.transport is not None
    client.transport.write(b"STARTTLS")
    await until(lambda: client.received == b"hello begin")
    assert client.handshakes == 0
    client.transport.startTLS(world.verifying())  # type: ignore[attr-defined]
    await until(lambda: client.handshakes)
    await close(client)


@pytest_twisted.ensureDeferred
async def test_a_half_close_goes_through(world: World) -> None:
    proxy = await world.proxy()
    endpoint = proxy.endpoint("127.0.0.1", world.target(HalfCloseable))
    client = await endpoint.connect(client_factory())
    transport: Any = client.transport
    transport.write(b"abc")
    transport.loseWriteConnection()
    await until(lambda: client.lost)
    assert client.received == b"cba"
    assert type(client.lost) is error.ConnectionDone


# ---------------------------------------------------------------- security contexts

ALL_LEVELS = (Protection.NONE, Protection.INTEGRITY, Protection.CONFIDENTIALITY)


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("is_bare", [False, True])
@pytest.mark.parametrize("level", ALL_LEVELS)
@pytest_twisted.ensureDeferred
async def test_a_login_by_a_context(
    world: World, level: Protection, is_bare: bool, is_tls: bool
) -> None:
    """Of two hops, and to the second one's target over TLS or not."""
    hops = []
    for legs in (1, 3):
        acceptor = FakeAcceptor(protections=ALL_LEVELS, legs=legs)
        hops.append(await world.proxy(acceptor=acceptor, gssapi=Initiating(level, is_bare)))
    proxy = Proxy.chain(world.reactor, hops)
    options = world.verifying() if is_tls else False
    endpoint = proxy.endpoint("127.0.0.1", world.target(is_tls=is_tls), options)
    await exchange(await endpoint.connect(client_factory()), b"w" * 200_000)


@pytest.mark.parametrize("second", ["0", "1"])
@pytest_twisted.ensureDeferred
async def test_another_hop_behind_one_with_a_context(world: World, second: str) -> None:
    first = await world.proxy(is_tls=True, acceptor=FakeAcceptor(), gssapi=Initiating())
    proxy = Proxy.chain(world.reactor, [first, await world.proxy(second == "1")])
    await exchange(await proxy.endpoint("127.0.0.1", world.target()).connect(client_factory()))


@pytest_twisted.ensureDeferred
async def test_a_half_close_within_tokens(world: World) -> None:
    hops = [await world.proxy(acceptor=FakeAcceptor(), gssapi=Initiating()) for _ in "12"]
    proxy = Proxy.chain(world.reactor, hops)
    endpoint = proxy.endpoint("127.0.0.1", world.target(HalfCloseable))
    client = await endpoint.connect(client_factory())
    transport: Any = client.transport
    transport.write(b"abc")
    transport.loseWriteConnection()
    await until(lambda: client.lost)
    assert client.received == b"cba"


# ---------------------------------------------------------------- TLS that fails


async def failure(world: World, proxy: Proxy) -> Any:
    """How a connection through it fails."""
    connecting = told(proxy.endpoint("127.0.0.1", world.target()).connect(client_factory()))
    await until(lambda: connecting)
    [found] = connecting
    assert isinstance(found, Failure)
    return found.value


@pytest.mark.parametrize(
    ("verifies", "words"),
    [
        (lambda world: None, "certificate verify failed"),
        (lambda world: world.verifying("example.org"), "its certificate is not for example.org"),
    ],
    ids=["another authority", "another name"],
)
@pytest_twisted.ensureDeferred
async def test_a_certificate_that_will_not_do(world: World, verifies: Any, words: str) -> None:
    """Nothing is said to such a proxy, and the words that help are kept."""
    proxy = await world.proxy(is_tls=True, tls=verifies(world))
    found = await failure(world, proxy)
    assert (type(found), found.stage) == (ProxyUnreachable, "tls")
    assert words in str(found)
    assert found.__cause__ is not None


@pytest_twisted.ensureDeferred
async def test_no_certificate_of_ours_where_one_is_asked_for(world: World) -> None:
    """With TLS 1.3 we are told when we have said something."""
    clients = f":clients={world.authority.path}"
    found = await failure(world, await world.proxy(is_tls=True, clients=clients))
    assert type(found) is ProxyUnreachable
    assert "certificate required" in str(found)
    own = world.authority.client("anna")
    proxy = await world.proxy(True, f"{clients}:client-name=cn", tls=world.verifying(own=own))
    await exchange(await proxy.endpoint("127.0.0.1", world.target()).connect(client_factory()))


@pytest.mark.parametrize("is_tls", [False, True])
@pytest_twisted.ensureDeferred
async def test_tls_to_a_plain_port_and_the_other_way_round(world: World, is_tls: bool) -> None:
    there = (await world.proxy(not is_tls)).hops[0].place
    assert there is not None
    url = f"socks5{'s' if is_tls else ''}://127.0.0.1:{there.port}"
    found = await failure(world, Proxy.from_url(world.reactor, url))
    assert (type(found), found.stage) == (
        (ProxyUnreachable, "tls") if is_tls else (ProxyClosed, "method")
    )


@pytest_twisted.ensureDeferred
async def test_nobody_listens(world: World) -> None:
    proxy = Proxy.from_url(world.reactor, f"socks5://127.0.0.1:{free_port()}")
    found = await failure(world, proxy)
    assert type(found) is ProxyUnreachable
    assert isinstance(found.__cause__, error.ConnectionRefusedError)


# ---------------------------------------------------------------- the target's TLS


@pytest_twisted.ensureDeferred
async def test_a_factory_behind_tls_that_builds_none(world: World) -> None:
    proxy = await world.proxy()
    factory = client_factory()
    factory.buildProtocol = lambda addr: None  # type: ignore[method-assign]
    endpoint = proxy.endpoint("127.0.0.1", world.target(is_tls=True), tls=True)
    connecting = told(endpoint.connect(factory))
    await until(lambda: connecting)
    assert isinstance(connecting[0].value, error.NoProtocol)


@pytest_twisted.ensureDeferred
async def test_a_target_is_verified_for_its_name(world: World) -> None:
    """Which begins behind the reply, so that the protocol is there already."""
    proxy = await world.proxy()
    endpoint = proxy.endpoint("127.0.0.1", world.target(is_tls=True), tls=True)
    client = await endpoint.connect(client_factory())
    await until(lambda: client.lost)
    assert "certificate verify failed" in str(client.lost)


@pytest_twisted.ensureDeferred
async def test_a_target_that_goes_directly_may_be_over_tls(world: World) -> None:
    environ = {"all_proxy": "socks5://127.0.0.1:1", "no_proxy": "127.0.0.1"}
    proxy = Proxy.from_environment(world.reactor, environ)
    assert proxy is not None
    endpoint = proxy.endpoint("127.0.0.1", world.target(is_tls=True), world.verifying())
    client = await endpoint.connect(client_factory())
    assert tunnel_of(client.transport) is None
    await exchange(client)


class Rude(Protocol):
    """Ends the connection under its TLS once it is asked to."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.transport.loseConnection()  # type: ignore[union-attr]


@pytest.mark.parametrize("hops", ["0", "1", "01"])
@pytest_twisted.ensureDeferred
async def test_a_targets_tls_that_just_ends(world: World, hops: str) -> None:
    proxy = Proxy.chain(world.reactor, [await world.proxy(digit == "1") for digit in hops])
    endpoint = proxy.endpoint("127.0.0.1", world.target(Rude, is_tls=True), world.verifying())
    client = await endpoint.connect(client_factory())
    assert client.transport is not None
    client.transport.write(b"end")
    await until(lambda: client.lost)
    assert type(client.lost) is error.ConnectionLost


class Mail(Protocol):
    """Greets as a mail server does, and hears no password."""

    heard = b""

    def connectionMade(self) -> None:
        self.transport.write(b"+OK hello\r\n")

    def dataReceived(self, data: bytes) -> None:
        Mail.heard += data
        self.transport.write(b"-ERR\r\n")


class MailClient(AdvancedPOP3Client):
    """Logs in once it is greeted."""

    def __init__(self) -> None:
        self.outcome: list[Any] = []

    def serverGreeting(self, greeting: bytes) -> None:  # noqa: N802
        self.outcome = told(self.login(b"alice", b"secret"))  # type: ignore[no-untyped-call]


@pytest_twisted.ensureDeferred
async def test_the_proxys_tls_does_not_let_a_password_out_to_the_target(world: World) -> None:
    """It goes in the clear behind the proxy."""
    proxy = await world.proxy(is_tls=True)
    endpoint = proxy.endpoint("127.0.0.1", world.target(Mail))
    client: Any = await endpoint.connect(Factory.forProtocol(MailClient))
    await until(lambda: client.outcome)
    assert client.outcome[0].check(InsecureAuthenticationDisallowed)
    assert b"secret" not in Mail.heard
    client.transport.abortConnection()
