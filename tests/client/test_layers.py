"""Ways to the first proxy, in memory: by its name, its address, a UNIX socket, or any endpoint."""

from typing import Any, cast

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from socks5.client import (
    ConnectionRefused,
    Proxy,
    ProxyAuthError,
    ProxyProtocolError,
    ProxyUnreachable,
)
from tests.support.reactor import FakeReactor
from tests.support.through import LOGIN, METHOD, OK, PROXY, Asked, AtOnce, Resolver, refused


def test_a_unix_socket() -> None:
    asked = Asked("socks5://localhost/run/tor/socks")
    [(path, _, timeout, *_)] = asked.reactor.unixClients
    assert (path, timeout) == ("/run/tor/socks", None)


def test_a_name_of_a_proxy_is_looked_up_here() -> None:
    asked = Asked("socks5://proxy.example:9")
    assert [client[:2] for client in asked.reactor.tcpClients] == [("127.0.0.1", 9)]


def proxy_by_name() -> tuple[Asked, Resolver]:
    """The proxy's name is being looked up."""
    reactor = FakeReactor()
    resolver = Resolver()
    reactor.nameResolver = cast(Any, resolver)
    return Asked("socks5://proxy.example", reactor=reactor), resolver


def test_a_proxy_that_nobody_knows() -> None:
    asked, resolver = proxy_by_name()
    resolver.answer()
    assert type(asked.error) is ProxyUnreachable
    assert (asked.error.stage, asked.error.hop) == ("connect", 1)
    assert isinstance(asked.error.__cause__, error.DNSLookupError)
    assert not isinstance(asked.error, error.DNSLookupError)
    assert asked.leaves_nothing()


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_proxy_whose_first_address_is_dead(is_silent: bool) -> None:
    asked, resolver = proxy_by_name()
    resolver.answer("192.0.2.7", "192.0.2.8")
    if not is_silent:
        asked.connector.fail(error.ConnectionRefusedError())
    asked.reactor.advance(1)
    assert asked.connector.host == "192.0.2.8"
    asked.opened().deliver_reset()
    assert asked.program.notes[0] == "made"
    assert asked.leaves_nothing()


@pytest.mark.parametrize("name", ["my_proxy", "_a.example", "xn--ls8h.la"])
def test_a_name_that_twisteds_endpoint_refuses(name: str) -> None:
    reactor = FakeReactor()
    resolver = Resolver()
    reactor.nameResolver = cast(Any, resolver)
    asked = Asked(f"socks5://{name}:9", reactor=reactor)
    assert resolver.asked == [(name, 9)]
    resolver.receiver.addressResolved(IPv4Address("TCP", "192.0.2.9", 9))
    resolver.receiver.resolutionComplete()
    asked.opened()
    assert asked.program.notes == ["made"]


@pytest.mark.parametrize(
    ("url", "bind", "host"),
    [
        (PROXY, "192.0.2.2", "192.0.2.2"),
        (PROXY, ("192.0.2.2", 0), "192.0.2.2"),
        (PROXY, ("", 0), ""),
        ("socks5://[2001:db8::9]", *["fe80::1%a"] * 2),
    ],
)
def test_an_address_of_ours(url: str, bind: Any, host: str) -> None:
    asked = Asked(url, bind_address=bind)
    assert asked.connector.bind_address == (host, 0)


def test_ipv6_and_a_zone() -> None:
    asked = Asked("socks5://[fe80::1%25eth0]")
    assert asked.connector.host == "fe80::1%eth0"


def test_any_endpoint() -> None:
    reactor = FakeReactor()
    way = AtOnce()
    asked = Asked(Proxy.over(reactor, way, "ü", b"\xff"), reactor=reactor)
    way.transport.deliver(LOGIN)
    way.transport.reactor.advance(0)
    assert way.transport.value() == b"\5\2\0\2" + b"\1\2\xc3\xbc\1\xff"
    way.transport.deliver(b"\1\0")
    way.transport.deliver(OK)
    assert asked.program.notes == ["made"]


def test_an_endpoint_that_fails_when_it_has_connected() -> None:
    reactor = FakeReactor()
    way = AtOnce(error.ConnectionRefusedError())
    asked = Asked(Proxy.over(reactor, way), reactor=reactor)
    assert type(asked.error) is ProxyProtocolError


@implementer(IStreamClientEndpoint)
class Raising:
    """An endpoint that raises what it should tell."""

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        raise RuntimeError("what it raises")


def test_an_endpoint_that_raises() -> None:
    reactor = FakeReactor()
    asked = Asked(Proxy.over(reactor, Raising()), reactor=reactor)
    assert (type(asked.error), asked.error.stage) == (ProxyUnreachable, "connect")
    assert "what it raises" in str(asked.error)
    assert asked.leaves_nothing()


def test_a_refusal_by_what_an_endpoint_leads_through_is_not_the_targets() -> None:
    reactor = FakeReactor()
    first = Proxy.from_url(reactor, PROXY)
    asked = Asked(Proxy.over(reactor, first.endpoint("second.example", 1080)), reactor=reactor)
    transport = asked.accept()
    transport.deliver(METHOD)
    transport.deliver(refused(5))
    assert type(asked.error) is ProxyUnreachable
    assert type(asked.error.__cause__) is ConnectionRefused


def test_another_error_of_it_stays() -> None:
    reactor = FakeReactor()
    first = Proxy.from_url(reactor, PROXY)
    asked = Asked(Proxy.over(reactor, first.endpoint("second.example", 1080)), reactor=reactor)
    transport = asked.accept()
    transport.deliver(b"\5\xff")
    assert type(asked.error) is ProxyAuthError
