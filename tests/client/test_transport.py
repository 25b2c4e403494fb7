"""The transport behind proxies: what is held and when it comes, half-closes, producers, and what it does not tell."""

from collections.abc import Callable
from socket import socket
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IHandshakeListener,
    ILoggingContext,
    INegotiated,
    IOpenSSLClientConnectionCreator,
    IPushProducer,
    ISSLTransport,
    IStreamClientEndpoint,
    ISystemHandle,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socks5.client import Proxy, ProxyUnreachable, tunnel_of
from socks5.client.opening import Reached
from tests.support.reactor import FakeReactor
from tests.support.through import METHOD, OK, Asked, HalfCloseable, Program, Recording
from tests.support.transports import FakeTLSTransport, FakeTransport


def opened(
    behind: bytes = b"", then: Callable[[Any], object] = bool, **options: Any
) -> tuple[Asked, FakeTransport, Any]:
    """A connection through a proxy, the transport below it, and the one that the protocol has."""
    asked = Asked(program=Program(then, **options))
    below = asked.opened(behind)
    return asked, below, asked.outcome[0].transport


def pause(transport: Any) -> None:
    transport.pauseProducing()


# ---------------------------------------------------------------- octets behind the reply


def test_octets_wait_while_nobody_reads() -> None:
    asked, below, transport = opened(b"hello", pause)
    below.deliver(b"world")
    assert asked.program.notes == ["made"]
    transport.resumeProducing()
    transport.resumeProducing()
    assert asked.program.notes == ["made"], "not before the call has returned"
    asked.reactor.turn()
    assert asked.program.notes == ["made", b"hello", b"world"]
    transport.pauseProducing()
    below.deliver(b"!")
    transport.resumeProducing()
    asked.reactor.turn()
    assert asked.program.notes[3:] == [b"!"]


def test_it_can_pause_again_before_they_come() -> None:
    asked, _, transport = opened(b"hello", pause)
    transport.resumeProducing()
    transport.pauseProducing()
    asked.reactor.turn()
    assert asked.program.notes == ["made"]
    transport.resumeProducing()
    asked.reactor.turn()
    assert asked.program.notes == ["made", b"hello"]


def test_it_can_pause_at_what_has_waited() -> None:
    asked, below, transport = opened(b"hello", pause)
    received = asked.outcome[0].dataReceived

    def read_and_pause(data: bytes) -> None:
        received(data)
        transport.pauseProducing()

    asked.outcome[0].dataReceived = read_and_pause
    below.deliver(b"world")
    transport.resumeProducing()
    asked.reactor.turn()
    asked.reactor.turn()
    assert asked.program.notes == ["made", b"hello"]


def test_what_comes_all_the_same_waits_behind_it() -> None:
    """TLS does not stop at once."""
    asked, _, transport = opened(b"hello", pause)
    transport.dataReceived(b"world")
    transport.resumeProducing()
    asked.reactor.turn()
    assert asked.program.notes == ["made", b"helloworld"]


@pytest.mark.parametrize("is_resumed", [True, False])
def test_they_come_before_the_end_of_the_connection(is_resumed: bool) -> None:
    asked, below, transport = opened(b"hello", pause)
    if is_resumed:
        transport.resumeProducing()
    below.deliver_reset()
    assert asked.program.notes == ["made", b"hello", error.ConnectionLost]
    assert asked.leaves_nothing()


def test_they_come_before_a_half_close() -> None:
    asked, _, transport = opened(b"hello", pause, kind=HalfCloseable)
    transport.readConnectionLost()
    assert asked.program.notes == ["made", b"hello", "read lost"]


@pytest.mark.parametrize("how", ["loseConnection", "abortConnection", "stopProducing"])
def test_nobody_gets_them_who_has_closed(how: str) -> None:
    asked, _, _ = opened(b"hello", lambda transport: getattr(transport, how)())
    asked.reactor.turn()
    assert asked.program.notes[:1] == ["made"]
    assert b"hello" not in asked.program.notes
    assert asked.leaves_nothing()


def test_one_that_closed_while_they_waited_gets_none() -> None:
    asked, _, transport = opened(b"hello", pause)
    transport.resumeProducing()
    transport.loseConnection()
    asked.reactor.turn()
    assert b"hello" not in asked.program.notes
    assert asked.leaves_nothing()


def test_a_protocol_that_fails_at_its_end_ends_it_for_the_factory() -> None:
    asked, below, _ = opened(b"")
    asked.outcome[0].connectionLost = lambda reason: 1 / 0
    with pytest.raises(ZeroDivisionError):
        below.deliver_reset()
    assert asked.program.stops == 1


# ---------------------------------------------------------------- ends


def test_half_closes_go_through_both_ways() -> None:
    asked, below, transport = opened(kind=HalfCloseable)
    below.deliver_end()
    assert asked.program.notes == ["made", "read lost"]
    transport.write(b"bye")
    transport.loseWriteConnection()
    asked.reactor.turn()
    assert asked.program.notes == ["made", "read lost", "write lost"]
    assert below.far_sees == "end"
    assert below.value() == b"bye"


def test_who_knows_no_half_close_loses_the_connection_at_the_others_end() -> None:
    asked, below, transport = opened()
    transport.write(b"bye")
    below.deliver_end()
    asked.reactor.turn()
    assert below.value() == b"bye"
    assert asked.program.notes == ["made", error.ConnectionDone]
    assert asked.leaves_nothing()
    transport.abortConnection()
    assert below.calls.count("abortConnection") == 0


def test_whose_own_end_is_sent_is_not_told_who_knows_no_half_close() -> None:
    asked, _, transport = opened()
    transport.loseWriteConnection()
    asked.reactor.turn()
    assert asked.program.notes == ["made"]


@pytest.mark.parametrize("kind", [Recording, HalfCloseable])
def test_a_wrapper_of_twisteds_knows_no_half_close(kind: Any) -> None:
    """It provides what its transport does, and hands on what it does not know to that."""
    wrapping = WrappingFactory(program := Program(kind=kind))
    asked = Asked(program=Program(builds=wrapping.buildProtocol))
    below = asked.opened()
    assert not IHalfCloseableProtocol.providedBy(asked.outcome[0])
    asked.outcome[0].transport.loseWriteConnection()
    asked.reactor.turn()
    below.deliver_end()
    asked.reactor.turn()
    assert program.notes == ["made", error.ConnectionDone]
    assert asked.leaves_nothing()


class Producer:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


def test_a_producer_is_stopped_at_the_others_end() -> None:
    """Else the transport would wait for it."""
    asked, below, transport = opened()
    producer = Producer()
    transport.registerProducer(producer, True)
    assert below.producer is producer
    below.deliver_end()
    asked.reactor.turn()
    assert producer.told == ["stop"]
    assert asked.leaves_nothing()


def test_a_producer_can_come_and_go() -> None:
    asked, below, transport = opened()
    transport.registerProducer(Producer(), True)
    transport.unregisterProducer()
    assert below.producer is None
    below.deliver_end()
    asked.reactor.turn()
    assert asked.leaves_nothing()


# ---------------------------------------------------------------- what it is


def test_it_is_what_the_transport_below_is() -> None:
    _, below, transport = opened()
    for interface in (ITCPTransport, IConsumer, IPushProducer):
        assert verifyObject(interface, transport)
    assert ILoggingContext.providedBy(transport)
    assert IHalfCloseableProtocol.providedBy(below.protocol)
    assert transport.getPeer() == below.getPeer()
    assert transport.getHost() == below.getHost()
    transport.setTcpNoDelay(True)
    assert below.nodelay


def test_its_prefix_in_the_log() -> None:
    class Silent:
        """One that has no prefix of its own."""

        def makeConnection(self, transport: Any) -> None:
            self.transport = transport

    _, _, transport = opened()
    assert transport.logPrefix() == "Recording (SOCKS5)"
    asked = Asked(program=Program(builds=lambda _: Silent()))
    asked.opened()
    assert asked.outcome[0].transport.logPrefix() == "Silent (SOCKS5)"


def test_what_is_no_tunnel() -> None:
    for transport in (FakeTransport(FakeReactor()), None, object()):
        assert tunnel_of(transport) is None


class Certified(FakeTLSTransport):
    """TLS to a proxy, with all that tells of it."""

    wrappedProtocol: Any = None

    def getPeerCertificate(self) -> str:
        return "the proxy's"

    def getHandle(self) -> str:
        return "the proxy's"

    @property
    def socket(self) -> str:
        return "the proxy's, too"


@implementer(IStreamClientEndpoint)
class OverTLS:
    """An endpoint over TLS; the TLS tells of its handshake, as Twisted's does to what is next to it, or not."""

    def __init__(
        self, reactor: FakeReactor, tells: bool = True, tls: type[Certified] = Certified
    ) -> None:
        self.below = tls(reactor)
        self.tells = tells

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        protocol = protocolFactory.buildProtocol(None)
        self.below.wrappedProtocol = protocol if self.tells else None
        self.below.connect(protocol)
        return succeed(protocol)


def asked_over_tls(program: Program | None = None, **how: Any) -> tuple[Asked, Any, Reached]:
    """The TCP connection is there."""
    reactor = FakeReactor()
    way = OverTLS(reactor, **how)
    asked = Asked(Proxy.over(reactor, way), reactor=reactor, program=program)
    reactor.turn()
    return asked, way.below, way.below.protocol


def opened_over_tls(tls: type[Certified] = Certified, **options: Any) -> tuple[Asked, Any, Any]:
    asked, below, reached = asked_over_tls(Program(**options), tls=tls)
    reached.handshakeCompleted()
    below.deliver(METHOD)
    below.deliver(OK)
    return asked, below, asked.outcome[0].transport


def test_nothing_is_said_before_tls_is_there() -> None:
    asked, below, reached = asked_over_tls()
    assert IHandshakeListener.providedBy(reached)
    assert below.value() == b""
    reached.handshakeCompleted()
    asked.reactor.turn()
    assert below.value() == b"\5\1\0"


def test_a_tls_that_does_not_tell_is_not_awaited() -> None:
    _, below, reached = asked_over_tls(tells=False)
    assert not IHandshakeListener.providedBy(reached)
    assert below.value() == b"\5\1\0"


def test_it_does_not_tell_of_the_tls_to_the_proxy() -> None:
    """It would be taken for the target's, by those who ask whether a password may go out."""
    _, below, transport = opened_over_tls()
    assert ISSLTransport.providedBy(below)
    for interface in (ISSLTransport, INegotiated, ISystemHandle):
        assert not interface.providedBy(transport)
    for name in ("getPeerCertificate", "negotiatedProtocol", "getHandle"):
        assert not hasattr(transport, name)
    assert transport.socket == "the proxy's, too"
    assert ITCPTransport.providedBy(transport) or not ITCPTransport.providedBy(below)


def test_over_tls_half_a_close_is_a_whole_one() -> None:
    asked, below, transport = opened_over_tls(kind=HalfCloseable)
    transport.loseWriteConnection()
    asked.reactor.turn()
    assert "loseConnection" in below.calls
    assert asked.program.notes == ["made", error.ConnectionDone]


class Deaf(Certified):
    """Over a TCP connection, to a proxy that never says goodbye."""

    def __init__(self, reactor: FakeReactor) -> None:
        super().__init__(reactor)
        self.transport = FakeTransport(reactor).connect(Protocol())

    def loseConnection(self) -> None:
        self.calls.append("loseConnection")


def test_a_proxys_goodbye_is_not_waited_for_for_ever() -> None:
    """It is a close in order all the same, whatever TLS says of the end that it has not heard."""
    asked, below, transport = opened_over_tls(tls=Deaf)
    transport.loseConnection()
    transport.loseConnection()
    asked.reactor.pump([1] * 9)
    assert below.transport.calls == []
    asked.reactor.advance(1)
    assert below.transport.calls == ["loseConnection"]
    below.deliver_reset()
    assert asked.program.notes == ["made", error.ConnectionDone]
    transport.loseConnection()
    assert asked.leaves_nothing()


def test_a_proxy_that_is_gone_before_its_time_is_no_close_in_order() -> None:
    asked, below, transport = opened_over_tls(tls=Deaf)
    transport.loseConnection()
    asked.reactor.advance(1)
    below.deliver_reset()
    assert asked.program.notes == ["made", error.ConnectionLost]
    assert asked.leaves_nothing()


class Slow(FileDescriptor):
    """A socket whose far end takes an octet now and then."""

    def __init__(self) -> None:
        super().__init__(FakeReactor())
        self.dataBuffer = b"goodbye"
        self.calls: list[str] = []
        with socket() as self.socket:
            pass

    def loseConnection(self) -> None:
        self.calls.append("loseConnection")


def test_a_proxy_has_time_for_its_goodbye_as_long_as_it_takes_octets() -> None:
    asked, below, transport = opened_over_tls(tls=Deaf)
    below.transport = slow = Slow()
    transport.loseConnection()
    for _ in slow.dataBuffer:
        asked.reactor.pump([1] * 9)
        slow.offset += 1
    asked.reactor.pump([1] * 10)
    assert slow.calls == []
    asked.reactor.advance(1)
    assert slow.calls == ["loseConnection"]
    transport.abortConnection()
    asked.reactor.turn()
    assert asked.program.notes == ["made", error.ConnectionAborted]


@implementer(IOpenSSLClientConnectionCreator)
class Silent:
    """TLS with a target that has shaken hands, and says nothing any more."""

    def clientConnectionForTLS(self, protocol: Any) -> Any:  # noqa: N802
        return self

    def __getattr__(self, name: str) -> Callable[..., object]:
        return lambda *arguments: False

    def bio_read(self, size: int) -> bytes:
        raise SSL.WantReadError

    recv = bio_read


def test_nor_is_a_targets_behind_a_proxy_over_tls() -> None:
    asked, below, transport = opened_over_tls(tls=Deaf)
    transport.startTLS(Silent())
    transport.loseConnection()
    asked.reactor.pump([1] * 9)
    assert below.transport.calls == []
    asked.reactor.advance(1)
    assert below.calls[-1] == below.transport.calls[-1] == "loseConnection"


def test_a_producer_is_waited_for_before_a_goodbye() -> None:
    asked, below, transport = opened_over_tls(tls=Deaf)
    transport.registerProducer(Recording([], bool), True)
    transport.loseConnection()
    asked.reactor.advance(10)
    assert below.transport.calls == []
    transport.unregisterProducer()
    asked.reactor.pump([1] * 10)
    assert below.transport.calls == ["loseConnection"]


def test_nothing_is_left_of_a_close_over_tls_with_both_goodbyes() -> None:
    asked, _, transport = opened_over_tls()
    transport.loseConnection()
    asked.reactor.turn()
    assert asked.program.notes == ["made", error.ConnectionDone]
    assert asked.leaves_nothing()


def test_half_a_close_over_tls_waits_for_the_other_half() -> None:
    asked, below, transport = opened_over_tls(tls=Deaf)
    transport.loseWriteConnection()
    assert below.calls[-1] == "loseConnection"
    asked.reactor.advance(10)
    assert below.transport.calls == []


def test_nothing_is_said_over_a_tls_that_has_failed() -> None:
    """Twisted tells of a handshake that is complete even if the certificate has another name."""
    asked, below, reached = asked_over_tls()
    below.disconnecting = True
    reached.handshakeCompleted()
    reached.connectionLost(Failure(ValueError("another name")))
    assert below.value() == b""
    assert (asked.error.stage, str(asked.error.__cause__)) == ("tls", "another name")
    assert type(asked.error) is ProxyUnreachable
    assert asked.leaves_nothing()
