"""Targets whose names are resolved here, for a proxy that is not to know them, in memory."""

from typing import Any, cast

import pytest
from twisted.internet import error
from twisted.internet.address import HostnameAddress

from socks5.client import (
    ProxyTimeout,
)
from tests.support.reactor import FakeReactor
from tests.support.through import METHOD, OK, Asked, Resolver, refused


def resolving(
    host: str | bytes = "www.Example.org", knows_cancel: bool = True
) -> tuple[Asked, Resolver]:
    reactor = FakeReactor()
    resolver = Resolver(knows_cancel)
    reactor.nameResolver = cast(Any, resolver)
    return Asked(host=host, reactor=reactor, rdns=False), resolver


def test_a_name_is_resolved_here_and_the_proxy_is_asked_for_an_address() -> None:
    asked, resolver = resolving()
    assert resolver.asked == [("www.example.org", 443)]
    assert asked.reactor.connectors == []
    resolver.answer("fe80::1%eth0", "192.0.2.80")
    transport = asked.accept()
    transport.deliver(METHOD)
    asked.reactor.turn()
    assert transport.value() == b"\5\1\0\5\1\0\1\xc0\0\2\x50\1\xbb"
    transport.deliver(OK)
    assert asked.program.targets == [HostnameAddress(b"www.Example.org", 443)]


def test_an_address_is_not_looked_up() -> None:
    asked, resolver = resolving("192.0.2.80")
    assert resolver.asked == []
    assert len(asked.reactor.connectors) == 1


@pytest.mark.parametrize("code", [3, 4, 5, 6])
def test_the_next_address_is_tried_after_some_replies(code: int) -> None:
    asked, resolver = resolving()
    resolver.answer(*(f"192.0.2.{number}" for number in range(1, 7)))
    for number in range(1, 5):
        assert asked.outcome == []
        assert len(asked.reactor.connectors) == number
        transport = asked.accept()
        transport.deliver(METHOD)
        asked.reactor.turn()
        assert transport.value()[-6:] == bytes((192, 0, 2, number, 1, 0xBB))
        transport.deliver(refused(code))
    assert asked.error.code == code
    assert asked.leaves_nothing()


@pytest.mark.parametrize("data", [refused(1), refused(2), b"\4"])
def test_another_answer_is_about_all_addresses(data: bytes) -> None:
    asked, resolver = resolving()
    resolver.answer("192.0.2.1", "192.0.2.2")
    transport = asked.accept()
    transport.deliver(METHOD)
    transport.deliver(data)
    assert len(asked.reactor.connectors) == 1
    assert asked.leaves_nothing()


def test_one_deadline_is_over_all_addresses() -> None:
    asked, resolver = resolving()
    asked.reactor.advance(10)
    resolver.answer("192.0.2.1", "192.0.2.2")
    transport = asked.accept()
    transport.deliver(METHOD)
    asked.reactor.advance(10)
    transport.deliver(refused(5))
    asked.accept()
    asked.reactor.advance(9)
    assert asked.outcome == []
    asked.reactor.advance(1)
    assert (type(asked.error), asked.error.stage) == (ProxyTimeout, "method")
    assert asked.leaves_nothing()


@pytest.mark.parametrize("host", ["www.example.org", b"\xff", b"a..b"])
def test_a_name_that_has_no_address_here(host: str | bytes) -> None:
    asked, resolver = resolving(host)
    if resolver.asked:
        resolver.answer()
    assert type(asked.error) is error.DNSLookupError
    assert asked.leaves_nothing()


@pytest.mark.parametrize("knows_cancel", [True, False])
@pytest.mark.parametrize("way", ["silence", "cancelled"])
def test_a_look_up_is_given_up(way: str, knows_cancel: bool) -> None:
    asked, resolver = resolving(knows_cancel=knows_cancel)
    if way == "silence":
        asked.reactor.advance(30)
        assert (type(asked.error), asked.error.stage) == (ProxyTimeout, "resolve")
    else:
        asked.deferred.cancel()
        assert type(asked.error) is error.ConnectingCancelledError
    assert resolver.cancels == knows_cancel
    resolver.answer("192.0.2.1")
    assert asked.reactor.connectors == []
    assert asked.leaves_nothing()
