"""What drives the machines of hops, without a connection of its own."""

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socks5.client.errors import ClientError, ProxyClosed, ProxyUnreachable
from socks5.client.hops import Hop
from socks5.client.tunnel import Handshake, Standing, Step
from socks5.client.urls import read
from socks5.protocol.address import Address
from socks5.protocol.messages import Reply
from socks5.streams import IStream, IStreamReceiver
from tests.support.through import METHOD, OK

TARGET = Address(b"www.example.org", 443)


@implementer(IStream)
class Driven:
    """One, the stream that it has, and what it tells."""

    bound: Any = None
    far: Any = None
    receiver: Any = None

    def __init__(self) -> None:
        self.sent = b""
        self.transport: Any = self
        self.told: list[tuple[Reply, bytes] | ClientError] = []
        self.standing = Standing()
        step = Step(1, Hop(read("socks5://192.0.2.9")[0]), TARGET)
        self.handshake = Handshake(
            [step],
            self.standing,
            lambda reply, behind: self.told.append((reply, behind)),
            self.told.append,
        )

    def write(self, data: bytes) -> None:
        self.sent += data


def test_it_tells_its_outcome_once() -> None:
    driven = Driven()
    assert verifyObject(IStream, driven)
    assert verifyObject(IStreamReceiver, driven.handshake)
    driven.handshake.begin(driven)
    assert driven.receiver is driven.handshake
    assert (driven.sent, driven.standing.stage) == (b"\5\1\0", "method")
    driven.handshake.dataReceived(METHOD)
    assert driven.standing.stage == "reply"
    driven.handshake.dataReceived(OK + b"hello")
    driven.handshake.dataReceived(b"what is not its business")
    driven.handshake.readConnectionLost()
    driven.handshake.connectionLost(Failure(ConnectionDone()))
    assert driven.told == [(Reply(0, Address("203.0.113.5", 8080)), b"hello")]


def test_an_end_is_told_once_and_says_what_was_due() -> None:
    driven = Driven()
    driven.handshake.begin(driven)
    driven.handshake.dataReceived(METHOD)
    driven.handshake.readConnectionLost()
    driven.handshake.connectionLost(Failure(ConnectionDone()))
    [error] = driven.told
    assert isinstance(error, ProxyClosed)
    assert str(error).endswith("when this was due: the reply")


def test_an_end_before_it_began_is_one_of_the_connection() -> None:
    driven = Driven()
    driven.handshake.connectionLost(Failure(ConnectionDone()))
    [error] = driven.told
    assert isinstance(error, ProxyUnreachable)
    assert error.stage == "connect"
