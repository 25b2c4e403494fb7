"""What drives the machines of hops, without a connection of its own."""

from typing import Any

import pytest
from OpenSSL import SSL
from service_identity.exceptions import DNSMismatch, IPAddressMismatch, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socks5.client.errors import ClientError, ProxyClosed, ProxyUnreachable
from socks5.client.hops import Hop
from socks5.client.tunnel import Handshake, Standing, Step
from socks5.client.urls import read
from socks5.protocol.address import Address
from socks5.protocol.messages import Command, Reply
from socks5.streams import IStream, IStreamReceiver
from tests.support.through import METHOD, OK

TARGET = Address(b"www.example.org", 443)
HOP = Hop(read("socks5://192.0.2.9")[0])


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
        step = Step(1, HOP, TARGET)
        self.handshake = Handshake(
            [step],
            self.standing,
            lambda reply, behind: self.told.append((reply, behind)),
            self.told.append,
        )

    def write(self, data: bytes) -> None:
        self.sent += data


@pytest.mark.parametrize(
    ("command", "target", "words"),
    [
        (Command.CONNECT, TARGET, "www.example.org:443"),
        (Command.CONNECT, Address(b"{}", 443), "{}:443"),
        (Command.BIND, Address("0.0.0.0", 0), "a port for a peer"),
        (Command.BIND, Address("2001:db8::1", 0), "a port for 2001:db8::1"),
        (Command.UDP_ASSOCIATE, Address("0.0.0.0", 0), "an association for UDP"),
        (Command.RESOLVE, Address(b"www.example.org", 0), "an address of www.example.org"),
        (Command.RESOLVE_PTR, Address("192.0.2.1", 0), "the name of 192.0.2.1"),
    ],
)
def test_what_a_proxy_is_asked_for(command: Command, target: Address, words: str) -> None:
    assert Step(2, HOP, target, command).text == f"192.0.2.9:1080 (hop 2), asked for {words}"


@pytest.mark.parametrize(
    ("cause", "stage", "words"),
    [
        (ConnectError(string="no way"), "connect", "no connection to it: An error occurred while"),
        (KeyError(), "connect", "no connection to it: KeyError"),
        (
            SSL.Error([("lib", "", "verify failed"), ("lib", "", "end")]),
            "tls",
            "no TLS with it: verify failed; end",
        ),
        (SSL.Error(), "tls", "no TLS with it: Error"),
        (SSL.Error([("lib", "", "certificate required")]), "method", "certificate required"),
        (
            VerificationError([DNSMismatch(DNS_ID("proxy.example"))]),
            "tls",
            "no TLS with it: its certificate is not for proxy.example",
        ),
        (
            VerificationError([IPAddressMismatch(IPAddress_ID("2001:db8::1"))]),
            "tls",
            "no TLS with it: its certificate is not for 2001:db8::1",
        ),
    ],
)
def test_why_a_proxy_is_not_reached(cause: Exception, stage: str, words: str) -> None:
    error = Step(1, HOP, TARGET).unreachable(cause, stage)
    assert str(error).startswith(f"{Step(1, HOP, TARGET).text}: {words}")
    assert error.__cause__ is cause


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
