"""RESOLVE and RESOLVE_PTR: what is asked, and what is an answer."""

from collections.abc import Callable
from typing import Any

import pytest

from socks5.client import (
    ConnectionRefused,
    NameNotFound,
    Proxy,
    ProxyProtocolError,
    ProxyTimeout,
    ProxyUnreachable,
)
from tests.support.deferreds import told
from tests.support.hostile import OVERS, Cell, Hostile, proxies_of
from tests.support.reactor import FakeReactor
from tests.support.through import METHOD, OK, PROXY, proxies

Ask = Callable[[Proxy], Any]


def name_of_it(proxy: Proxy) -> Any:
    return proxy.resolve("www.example.org")


def address_of_it(proxy: Proxy) -> Any:
    return proxy.resolve_ptr("2001:db8::1")


NAMED = b"\5\xf0\0\3\x0fwww.example.org\0\0"
POINTED = b"\5\xf1\0\4" + bytes.fromhex("20010db8000000000000000000000001") + b"\0\0"


def asked(ask: Ask, reply: bytes, *urls: str) -> tuple[Any, bytes, FakeReactor]:
    """The outcome, what the last proxy was told, and the reactor."""
    reactor = FakeReactor()
    outcome = told(ask(proxies(reactor, PROXY, *urls, rdns=False)))
    transport = reactor.connectors[0].succeed()
    for data in ([METHOD, OK] if urls else []) + [METHOD]:
        transport.deliver(data)
    transport.clear()
    reactor.turn()
    transport.deliver(reply)
    reactor.turn()
    assert not transport.connected
    assert reactor.getDelayedCalls() == []
    return outcome[0], transport.value(), reactor


@pytest.mark.parametrize("urls", [(), ("socks5://second.example",)], ids=["one hop", "two"])
@pytest.mark.parametrize(
    ("ask", "request_", "reply", "answer"),
    [
        (name_of_it, NAMED, b"\1\xc0\0\2\1", "192.0.2.1"),
        (name_of_it, NAMED, b"\4" + bytes(15) + b"\1", "::1"),
        (address_of_it, POINTED, b"\3\5a.org", b"a.org"),
    ],
    ids=["IPv4", "IPv6", "a name"],
)
def test_an_answer(
    ask: Ask, request_: bytes, reply: bytes, answer: object, urls: tuple[str, ...]
) -> None:
    outcome, sent, _ = asked(ask, b"\5\0\0" + reply + b"\0\0", *urls)
    assert outcome == answer
    assert sent.endswith(request_)


@pytest.mark.parametrize(
    ("ask", "reply"),
    [
        (name_of_it, b"\1\xc0\0\2\1\0\x50"),
        (name_of_it, b"\3\5a.org\0\0"),
        (name_of_it, bytes([1, *bytes(6)])),
        (address_of_it, b"\3\5a.org\1\0"),
        (address_of_it, b"\3\0\0\0"),
        (address_of_it, b"\1\xc0\0\2\1\0\0"),
    ],
    ids=["a port", "a name", "zeros", "a port of a name", "an empty name", "an address"],
)
def test_what_is_no_answer(ask: Ask, reply: bytes) -> None:
    """So says a server that does not look at CMD."""
    outcome, _, _ = asked(ask, b"\5\0\0" + reply)
    assert type(outcome.value) is ProxyProtocolError
    assert (outcome.value.stage, outcome.value.hop) == ("reply", 1)
    asked_for = "an address of www.example.org" if ask is name_of_it else "the name of 2001:db8::1"
    text = f"192.0.2.9:1080 (hop 1), asked for {asked_for}: its reply is no answer to that"
    assert str(outcome.value) == text


@pytest.mark.parametrize("ask", [name_of_it, address_of_it])
def test_what_is_not_found(ask: Ask) -> None:
    outcome, _, _ = asked(ask, b"\5\4", "socks5://second.example")
    assert type(outcome.value) is NameNotFound
    assert outcome.value.hop == 2
    assert "second.example:1080 (hop 2), asked for" in str(outcome.value)
    assert "there is none" in str(outcome.value)


def test_another_failure_stays() -> None:
    outcome, _, _ = asked(name_of_it, b"\5\5")
    assert type(outcome.value) is ConnectionRefused


def test_a_hop_that_is_not_found_is_not_the_name() -> None:
    reactor = FakeReactor()
    outcome = told(name_of_it(proxies(reactor, PROXY, "socks5://second.example")))
    transport = reactor.connectors[0].succeed()
    transport.deliver(METHOD)
    transport.deliver(b"\5\4")
    assert type(outcome[0].value) is ProxyUnreachable


def test_no_goodbye_is_waited_for() -> None:
    """Over TLS a proxy may owe it for ever."""
    reactor, over = FakeReactor(), OVERS["TLS"]
    outcome = told(name_of_it(proxies_of(reactor, over)))
    proxy = Hostile(Cell(over, "reply", "silence"), reactor, reactor.connectors[0].succeed())
    proxy.say(b"\5\0\0\1\xc0\0\2\1\0\0")
    assert outcome == ["192.0.2.1"]
    assert proxy.has_gone


def test_it_ends_in_time() -> None:
    reactor = FakeReactor()
    outcome = told(name_of_it(Proxy.from_url(reactor, PROXY, timeout=3)))
    reactor.connectors[0].succeed()
    reactor.advance(3)
    assert type(outcome[0].value) is ProxyTimeout


@pytest.mark.parametrize(
    "ask",
    [
        lambda proxy: proxy.resolve(""),
        lambda proxy: proxy.resolve_ptr("a.org"),
        lambda proxy: proxy.resolve_ptr("fe80::1%eth0"),
        lambda proxy: Proxy.chain(proxy.reactor, [proxy, "http://a.org:1"]).resolve("a.org"),
    ],
)
def test_what_cannot_be_asked(ask: Ask) -> None:
    with pytest.raises(ValueError, match=r"."):
        ask(Proxy.from_url(FakeReactor(), PROXY))
