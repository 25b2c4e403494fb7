"""A connection through proxies, in memory: what is asked, in which order a program is told, and how it can fail."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from socks5.client import (
    ConnectionRefused,
    GeneralFailure,
    Proxy,
    ProxyAuthError,
    ProxyProtocolError,
    ProxyTimeout,
    ProxyUnreachable,
    ReplyError,
    Tunnel,
    tunnel_of,
)
from socks5.protocol.address import Address
from tests.support.deferreds import told
from tests.support.failures import Failures
from tests.support.reactor import FakeReactor
from tests.support.through import (
    LOGIN,
    METHOD,
    OK,
    PROXY,
    Asked,
    AtOnce,
    Program,
    proxies,
    refused,
)

NAMED = b"\5\1\0\3\x0fwww.example.org\1\xbb"
USER = "socks5://alice:secret@192.0.2.9"
CREDENTIALS = b"\1\5alice\6secret"

TARGET = HostnameAddress(b"www.example.org", 443)


# ---------------------------------------------------------------- one that succeeds


def test_a_program_is_told_in_order_and_not_before_the_reply() -> None:
    asked = Asked()
    transport = asked.accept()
    assert (asked.connector.host, asked.connector.port) == ("192.0.2.9", 1080)
    assert transport.value() == b"\5\1\0"
    transport.clear()
    transport.deliver(METHOD)
    asked.reactor.turn()
    assert transport.value() == NAMED
    assert (asked.program.targets, asked.outcome) == ([], [])
    order: list[object] = asked.program.notes
    asked.deferred.addCallback(lambda protocol: order.append("fired"))
    transport.deliver(OK + b"hello")
    transport.deliver(b"world")
    assert order == ["made", "fired", b"hello", b"world"]
    assert asked.program.targets == [TARGET]
    transport.deliver_end()
    asked.reactor.turn()
    assert order[4:] == [error.ConnectionDone]
    assert asked.leaves_nothing()


@pytest.mark.parametrize(
    ("host", "address", "octets"),
    [
        ("192.0.2.1", IPv4Address("TCP", "192.0.2.1", 443), b"\1\xc0\0\2\1"),
        ("::1", IPv6Address("TCP", "::1", 443), b"\4" + bytes(15) + b"\1"),
        (b"www", HostnameAddress(b"www", 443), b"\3\3www"),
        ("127.1", HostnameAddress(b"127.1", 443), b"\3\x05127.1"),
    ],
)
def test_a_target_is_asked_for_and_told_as_it_is(host: Any, address: Any, octets: bytes) -> None:
    asked = Asked(host=host)
    transport = asked.accept()
    transport.deliver(METHOD)
    asked.reactor.turn()
    assert transport.value() == b"\5\1\0" + b"\5\1\0" + octets + b"\1\xbb"
    transport.deliver(OK)
    assert asked.program.targets == [address]
    tunnel = Tunnel(address, Address("203.0.113.5", 8080), "192.0.2.9:1080")
    assert tunnel_of(asked.outcome[0].transport) == tunnel


@pytest.mark.parametrize(
    ("url", "options", "proxy", "sent"),
    [
        (PROXY, {}, [METHOD], [b"\5\1\0", NAMED]),
        (USER, {}, [METHOD], [b"\5\2\0\2", NAMED]),
        (USER, {}, [LOGIN, b"\1\0"], [b"\5\2\0\2", CREDENTIALS, NAMED]),
        (
            USER,
            {"require_login": True},
            [LOGIN, b"\1\0"],
            [b"\5\1\2", CREDENTIALS, NAMED],
        ),
        ("socks5://alice@192.0.2.9", {}, [LOGIN, b"\5\0"], [b"\5\2\0\2", b"\1\5alice\0", NAMED]),
        (PROXY, {"pipelined": True}, [], [b"\5\1\0" + NAMED]),
        (
            USER,
            {"pipelined": True, "require_login": True},
            [],
            [b"\5\1\2" + CREDENTIALS + NAMED],
        ),
    ],
)
def test_what_a_proxy_is_told(
    url: str, options: dict[str, bool], proxy: list[bytes], sent: list[bytes]
) -> None:
    asked = Asked(url, **options)
    transport = asked.accept()
    for heard, said in zip([*proxy, b""], sent, strict=True):
        assert transport.value() == said
        transport.clear()
        transport.deliver(heard)
        asked.reactor.turn()
    end = {True: LOGIN + b"\1\0", False: METHOD}["require_login" in options]
    transport.deliver((end if "pipelined" in options else b"") + OK)
    assert asked.program.notes == ["made"]


@pytest.mark.parametrize(
    "bound",
    [
        *("03 00 0000", "03 01 61 0001", "01 00000000 0000", "04 " + "00" * 16 + "0000"),
        *("04 20010db8000000000000000000000005 1f90", "04 00000000000000000000ffffcb007105 1f90"),
    ],
)
def test_whatever_address_a_reply_has(bound: str) -> None:
    asked = Asked()
    transport = asked.accept()
    transport.deliver(METHOD)
    transport.deliver(b"\5\0\0" + bytes.fromhex(bound))
    assert asked.program.notes == ["made"]


def test_the_target_may_say_all_at_once_and_end() -> None:
    asked = Asked()
    transport = asked.accept()
    transport.deliver(METHOD)
    transport.deliver(OK + b"hello")
    transport.deliver_end()
    asked.reactor.turn()
    assert asked.program.notes == ["made", b"hello", error.ConnectionDone]
    assert asked.leaves_nothing()


@pytest.mark.parametrize("octets", [1, 127, 128, 255])
def test_a_login_of_any_length(octets: int) -> None:
    reactor = FakeReactor()
    way, name = AtOnce(), bytes((octets,)) * octets
    asked = Asked(Proxy.over(reactor, way, name, name), reactor=reactor)
    way.transport.deliver(LOGIN)
    way.transport.reactor.turn()
    length = bytes((octets,))
    assert way.transport.value() == b"\5\2\0\2" + b"\1" + (length + name) * 2
    assert asked.outcome == []


def test_http() -> None:
    asked = Asked("http://alice:secret@192.0.2.9:8080")
    transport = asked.accept()
    assert transport.value().startswith(b"CONNECT www.example.org:443 HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n" in transport.value()
    transport.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    assert asked.program.notes == ["made", b"hello"]


def test_a_chain_asks_hop_after_hop() -> None:
    reactor = FakeReactor()
    hops = ("socks5://a:b@192.0.2.9", "http://second.example:8080", "socks5://third.example")
    asked = Asked(proxies(reactor, *hops), reactor=reactor)
    transport = asked.accept()
    transport.deliver(METHOD)
    asked.reactor.turn()
    assert transport.value().endswith(b"\3\x0esecond.example\x1f\x90")
    transport.clear()
    transport.deliver(OK)
    asked.reactor.turn()
    assert transport.value().startswith(b"CONNECT third.example:1080 HTTP/1.1\r\n")
    transport.clear()
    transport.deliver(b"HTTP/1.0 200\r\n\r\n")
    asked.reactor.turn()
    assert transport.value() == b"\5\1\0"
    transport.deliver(METHOD)
    transport.deliver(OK + b"hi")
    assert asked.program.notes == ["made", b"hi"]
    tunnel = tunnel_of(asked.outcome[0].transport)
    assert tunnel is not None
    assert tunnel.proxy == "192.0.2.9:1080, second.example:8080, third.example:1080"


# ---------------------------------------------------------------- one that fails

FAILURES: dict[str, tuple[list[bytes], type[Exception], str]] = {
    **{
        f"refused in {count} octets": (
            [METHOD, b"\5\5\0\x09abcdef"[:count]],
            ConnectionRefused,
            "reply",
        )
        for count in (2, 3, 4, 10)
    },
    "refused, and more": ([METHOD, refused(5) + OK[2:] + b"x"], ConnectionRefused, "reply"),
    "an unassigned reply": ([METHOD, refused(99)], ReplyError, "reply"),
    "no method": ([b"\5\xff"], ProxyAuthError, "method"),
    "a method that was not offered": ([b"\5\1"], ProxyProtocolError, "method"),
    "HTTP": ([b"HTTP/1.1 400 Bad\r\n"], ProxyProtocolError, "method"),
    "a banner": ([b"220 mail.example ESMTP\r\n"], ProxyProtocolError, "method"),
    "SSH": ([b"SSH-2.0-x\r\n"], ProxyProtocolError, "method"),
    "a reply behind the method": ([METHOD + OK], ProxyProtocolError, "method"),
    "a reply behind the status": ([LOGIN, b"\1\0" + OK], ProxyProtocolError, "login"),
    "a status of version 0": ([LOGIN, b"\0\0"], ProxyProtocolError, "login"),
    "a status of version 2": ([LOGIN, b"\2\0"], ProxyProtocolError, "login"),
    "status 2": ([LOGIN, b"\1\2"], ProxyAuthError, "login"),
    "status 255, of version 5": ([LOGIN, b"\5\xff"], ProxyAuthError, "login"),
    "another version": ([METHOD, b"\4\x5a"], ProxyProtocolError, "reply"),
    "ATYP 0": ([METHOD, b"\5\0\0\0" + bytes(6)], ProxyProtocolError, "reply"),
    "ATYP 9": ([METHOD, b"\5\0\0\x09" + bytes(300)], ProxyProtocolError, "reply"),
}


@pytest.mark.parametrize("is_closed", [False, True])
@pytest.mark.parametrize(("proxy", "kind", "stage"), FAILURES.values(), ids=FAILURES)
def test_a_failure_has_its_class_and_says_where(
    proxy: list[bytes], kind: type[Exception], stage: str, is_closed: bool
) -> None:
    """Whether the proxy then closes or waits."""
    asked = Asked(USER)
    transport = asked.accept()
    for data in proxy:
        transport.deliver(data)
    if is_closed:
        transport.deliver_end()
    found = asked.error
    assert type(found) is kind
    assert (found.stage, found.hop) == (stage, 1)
    assert "192.0.2.9:1080" in str(found)
    assert asked.program.targets == []
    transport.deliver(OK)
    assert asked.leaves_nothing()
    assert not transport.connected


@pytest.mark.parametrize("hops", [1, 2])
def test_every_reply_of_the_last_hop_is_the_targets(hops: int) -> None:
    reactor = FakeReactor()
    proxy, told = proxies(reactor, *[PROXY] * hops), {}
    for code in range(1, 256):
        asked = Asked(proxy, reactor=reactor)
        transport = asked.accept()
        for data in [METHOD, OK] * (hops - 1) + [METHOD, refused(code)]:
            transport.deliver(data)
            reactor.turn()
        told[code] = asked.error.code
        assert isinstance(asked.error, ReplyError)
        assert (asked.error.stage, asked.error.hop) == ("reply", hops)
    assert told == {code: code for code in range(1, 256)}
    assert asked.leaves_nothing()


def test_a_wrong_login_says_nothing_of_it(log: list[str]) -> None:
    for url, heard in ((USER, [LOGIN, b"\1\1"]), (USER.replace("5:", ":"), [b"\5\xff"])):
        asked = Asked(url)
        transport = asked.accept()
        for data in heard:
            transport.deliver(data)
        assert type(asked.error) is ProxyAuthError
        assert asked.error.stage == ("login" if heard[0] == LOGIN else "method")
        [failure] = asked.outcome
        texts = [str(asked.error), repr(asked.error), failure.getTraceback(), str(failure)]
        texts += [repr(asked.endpoint), *log, failure.getBriefTraceback()]
        assert not any("secret" in text or "alice" in text for text in texts)


def test_http_that_wants_a_login() -> None:
    asked = Asked("http://alice:secret@192.0.2.9:8080")
    transport = asked.accept()
    transport.deliver(b"HTTP/1.1 407 No\r\nContent-Length: 9\r\n\r\n<html>")
    assert type(asked.error) is ProxyAuthError
    asked = Asked("http://192.0.2.9:8080")
    transport = asked.accept()
    transport.deliver(b"HTTP/1.1 500 Unable to connect\r\n\r\n")
    assert type(asked.error) is GeneralFailure
    assert asked.leaves_nothing()


def test_a_reset_is_told_as_the_reason_of_an_end() -> None:
    asked = Asked()
    asked.accept().deliver_reset()
    assert isinstance(asked.error.__cause__, error.ConnectionLost)


def test_without_a_time_out_nothing_ends_it() -> None:
    asked = Asked(timeout=None)
    asked.accept().deliver(METHOD)
    asked.reactor.advance(10**6)
    assert asked.outcome == []
    assert asked.reactor.getDelayedCalls() == []


def test_a_time_out_names_hop_and_stage() -> None:
    reactor = FakeReactor()
    chain = proxies(reactor, PROXY, "socks5://second.example", timeout=5)
    asked = Asked(chain, reactor=reactor)
    transport = asked.accept()
    transport.deliver(METHOD)
    transport.deliver(OK)
    reactor.advance(5)
    assert (asked.error.stage, asked.error.hop) == ("method", 2)
    assert str(asked.error) == (
        "second.example:1080 (hop 2), asked for www.example.org:443: not within 5 s, at stage method"
    )


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (error.ConnectionRefusedError(), error.ConnectionRefusedError),
        (error.TCPTimedOutError(), error.TCPTimedOutError),
        (Exception(), Exception),
    ],
)
def test_a_proxy_that_cannot_be_reached(failure: Exception, cause: type[Exception]) -> None:
    """``except ConnectionRefusedError`` is about the target."""
    asked = Asked()
    asked.connector.fail(failure)
    assert type(asked.error) is ProxyUnreachable
    assert not isinstance(asked.error, error.ConnectionRefusedError)
    assert isinstance(asked.error.__cause__, cause)
    assert (asked.error.stage, asked.error.hop) == ("connect", 1)
    assert asked.leaves_nothing()


@pytest.mark.parametrize("way", ["silence", "cancelled"])
def test_a_connection_under_way_is_given_up(way: str) -> None:
    asked = Asked(timeout=7)
    if way == "silence":
        asked.reactor.advance(7)
        assert (asked.error.stage, type(asked.error)) == ("connect", ProxyTimeout)
    else:
        asked.deferred.cancel()
        assert type(asked.error) is error.ConnectingCancelledError
    assert asked.leaves_nothing()


def test_a_refusal_by_an_earlier_hop_is_not_the_targets() -> None:
    reactor = FakeReactor()
    asked = Asked(proxies(reactor, PROXY, "socks5://second.example"), reactor=reactor)
    transport = asked.accept()
    transport.deliver(METHOD)
    transport.deliver(refused(5))
    assert type(asked.error) is ProxyUnreachable
    assert (asked.error.stage, asked.error.hop) == ("connect", 2)
    assert type(asked.error.__cause__) is ConnectionRefused
    assert "second.example:1080 (hop 2)" in str(asked.error)
    assert asked.leaves_nothing()


def test_a_hop_that_speaks_before_it_is_asked() -> None:
    reactor = FakeReactor()
    asked = Asked(proxies(reactor, PROXY, "socks5://second.example"), reactor=reactor)
    transport = asked.accept()
    transport.deliver(METHOD)
    transport.deliver(OK + METHOD)
    assert (type(asked.error), asked.error.hop) == (ProxyProtocolError, 2)
    assert asked.leaves_nothing()


# ---------------------------------------------------------------- a program that behaves badly


def test_a_factory_that_builds_none() -> None:
    asked = Asked(program=Program(builds=lambda _: None))
    transport = asked.opened(b"hello")
    assert type(asked.error) is error.NoProtocol
    assert asked.leaves_nothing()
    assert transport.far_sees == "reset"


@pytest.mark.parametrize("where", ["doStart", "buildProtocol", "connectionMade"])
def test_what_a_program_raises_is_what_it_gets(where: str) -> None:
    def fail(_: Any = None) -> Any:
        raise RuntimeError(where)

    program = Program(then=fail) if where == "connectionMade" else Program(builds=fail)
    if where == "doStart":
        program.doStart = fail  # type: ignore[method-assign]
        asked = Asked(program=program)
        assert asked.reactor.connectors == []
        assert asked.reactor.getDelayedCalls() == []
        assert program.stops == 0
    else:
        asked = Asked(program=program)
        transport = asked.opened(b"hello")
        assert asked.leaves_nothing()
        assert transport.far_sees == "reset"
    assert (type(asked.error), str(asked.error)) == (RuntimeError, where)


def test_a_factory_that_fails_to_stop_keeps_nobody_from_the_outcome(failures: Failures) -> None:
    def fail() -> None:
        raise RuntimeError

    program = Program()
    program.doStop = fail  # type: ignore[method-assign]
    asked = Asked(program=program)
    asked.deferred.cancel()
    assert type(asked.error) is error.ConnectingCancelledError
    assert len(failures.take(RuntimeError)) == 1


@pytest.mark.parametrize("where", ["buildProtocol", "connectionMade"])
def test_it_can_be_cancelled_while_a_protocol_is_made(where: str) -> None:
    def cancel(_: Any) -> Any:
        asked.deferred.cancel()
        return built

    built: Any = Program().buildProtocol(TARGET)
    in_build = where == "buildProtocol"
    program = Program(builds=cancel) if in_build else Program(then=cancel)
    asked = Asked(program=program)
    transport = asked.opened(b"hello")
    assert type(asked.error) is error.ConnectingCancelledError
    assert built.notes == []
    assert program.notes == ([] if in_build else ["made", error.ConnectionAborted])
    assert asked.leaves_nothing()
    assert not transport.connected


def test_what_it_raises_once_it_is_cancelled_is_not_told() -> None:
    def cancel_and_raise(_: Any) -> Any:
        asked.deferred.cancel()
        raise RuntimeError

    asked = Asked(program=Program(builds=cancel_and_raise))
    asked.opened()
    assert type(asked.error) is error.ConnectingCancelledError
    assert asked.leaves_nothing()


def test_a_connection_that_is_lost_ends_it_for_the_factory_once() -> None:
    asked = Asked()
    transport = asked.opened()
    assert (asked.program.starts, asked.program.stops) == (1, 0)
    transport.deliver_reset()
    assert asked.program.notes == ["made", error.ConnectionLost]
    assert asked.leaves_nothing()


# ---------------------------------------------------------------- what can be wrong with arguments

TLS = optionsForClientTLS("example.org")


def _any(what: object) -> Any:
    """An argument whose type is wrong."""
    return what


@pytest.mark.parametrize(
    "call",
    [
        lambda reactor: Proxy.from_url(reactor, PROXY, tls=TLS),
        lambda reactor: Proxy.from_url(reactor, "http://192.0.2.9:80", tls=TLS),
        lambda reactor: Proxy.from_url(reactor, PROXY, require_login=True),
        lambda reactor: Proxy.from_url(reactor, USER, pipelined=True),
        lambda reactor: Proxy.from_url(reactor, "http://192.0.2.9:80", pipelined=True),
        lambda reactor: Proxy.from_url(reactor, "http://a%3Ab:c@192.0.2.9:80"),
        lambda reactor: Proxy.from_url(reactor, f"socks5://{'a' * 256}:b@192.0.2.9"),
        lambda reactor: Proxy.from_url(reactor, f"socks5://a:{'b' * 256}@192.0.2.9"),
        lambda reactor: Proxy.from_url(reactor, PROXY, timeout=0),
        lambda reactor: Proxy.from_url(reactor, PROXY, timeout=float("inf")),
        lambda reactor: Proxy.from_url(reactor, PROXY, timeout=float("nan")),
        lambda reactor: Proxy.from_url(reactor, "socks5://localhost/a", bind_address="::1"),
        lambda reactor: Proxy.from_url(reactor, PROXY, bind_address="eth0"),
        lambda reactor: Proxy.from_url(reactor, PROXY, bind_address=("localhost", 0)),
        lambda reactor: Proxy.from_url(reactor, PROXY, bind_address="::1"),
        lambda reactor: Proxy.from_url(reactor, "socks5://[fe80::1%25a]", bind_address="192.0.2.2"),
        lambda reactor: Proxy.from_url(reactor, PROXY, bind_address=("192.0.2.2", 65536)),
        lambda reactor: Proxy.from_url(reactor, "socks5s://192.0.2.9", tls=_any(True)),
        lambda reactor: Proxy.from_url(reactor, PROXY).endpoint("a", 443, _any(None)),
        lambda reactor: Proxy.over(reactor, _any("tcp:192.0.2.9:1080")),
        lambda reactor: Proxy.over(reactor, AtOnce(), "alice"),
        lambda reactor: Proxy.over(reactor, AtOnce(), password="secret"),
        lambda reactor: Proxy.over(reactor, AtOnce(), "", ""),
        lambda reactor: Proxy.over(reactor, AtOnce(), "alice", "secret\ud800"),
        lambda reactor: Proxy.chain(reactor, []),
        lambda reactor: Proxy.chain(reactor, PROXY),
        lambda reactor: proxies(reactor, PROXY, "socks5://localhost/a"),
        lambda reactor: Proxy.chain(reactor, [PROXY, Proxy.over(reactor, AtOnce())]),
        lambda reactor: proxies(reactor, PROXY, "socks5://[fe80::1%25eth0]"),
        lambda reactor: Proxy.from_url(reactor, PROXY).endpoint("", 80),
        lambda reactor: Proxy.from_url(reactor, PROXY).endpoint("a", 0),
        lambda reactor: Proxy.from_url(reactor, PROXY).endpoint("a\r\nb" * 99, 80),
        lambda reactor: Proxy.from_url(reactor, "http://a.example:1").endpoint(b"a\r\nb", 80),
        lambda reactor: Proxy.from_environment(reactor, {"all_proxy": "secret"}),
        lambda reactor: Proxy.from_environment(reactor, {"all_proxy": PROXY, "no_proxy": "a/b"}),
    ],
)
def test_arguments_that_are_wrong_are_told_at_the_call(call: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        call(FakeReactor())
    assert "secret" not in str(caught.value) + repr(caught.value)


def test_two_are_equal_that_lead_the_same_way_by_the_same_login() -> None:
    one, other = FakeReactor(), FakeReactor()
    way, tls = TCP4ClientEndpoint(one, "192.0.2.9", 1), optionsForClientTLS("example.org")
    environ = {"all_proxy": PROXY, "no_proxy": "a"}

    def all_of(reactor: FakeReactor, timeout: float) -> list[Any]:
        url: Any = Proxy.from_url
        return [
            url(reactor, PROXY, timeout=timeout),
            url(reactor, USER, timeout=timeout),
            url(reactor, USER.replace("secret", "other"), timeout=timeout),
            url(reactor, USER, require_login=True, timeout=timeout),
            url(reactor, PROXY, rdns=False, timeout=timeout),
            url(reactor, PROXY, bind_address="192.0.2.2", timeout=timeout),
            url(reactor, PROXY, pipelined=True, timeout=timeout),
            url(reactor, "http://192.0.2.9:1080", timeout=timeout),
            url(reactor, "socks5s://192.0.2.9", timeout=timeout),
            url(reactor, "socks5s://192.0.2.9", tls=tls, timeout=timeout),
            url(reactor, "socks5s://192.0.2.9", tls=TLS, timeout=timeout),
            Proxy.over(reactor, way, timeout=timeout),
            Proxy.over(reactor, AtOnce(), timeout=timeout),
            Proxy.from_environment(reactor, environ, timeout=timeout),
            proxies(reactor, PROXY, USER, timeout=timeout),
            proxies(reactor, USER, PROXY, timeout=timeout),
        ]

    those, these = all_of(one, 1), all_of(other, 2)
    same = [
        (a, b) for a, first in enumerate(those) for b, then in enumerate(these) if first == then
    ]
    anew = 12  # an endpoint of its own each
    assert same == [(number, number) for number in range(len(those)) if number != anew]
    assert all(hash(those[a]) == hash(these[b]) for a, b in same)
    assert len({*those, *these}) == len(those) + 1
    assert those[0] != PROXY


def test_one_cannot_be_changed() -> None:
    proxy = Proxy.from_url(FakeReactor(), PROXY)
    with pytest.raises(dataclasses.FrozenInstanceError):
        proxy.rdns = False  # type: ignore[misc]


def test_a_chain_in_a_chain_is_flat_and_has_values_of_its_own() -> None:
    reactor = FakeReactor()
    inner = proxies(reactor, PROXY, USER, timeout=1, rdns=False)
    chain = Proxy.chain(reactor, [inner, "socks5://third.example"])
    assert chain == proxies(reactor, PROXY, USER, "socks5://third.example")
    assert (chain.timeout, chain.rdns) == (30.0, True)


def test_no_text_has_a_login() -> None:
    reactor = FakeReactor()
    proxy = proxies(reactor, "http://alice:secret@192.0.2.9:1", USER, "socks5s://alice:secret@a")
    endpoint = proxy.endpoint("www.example.org", 443)
    tls = proxy.endpoint("www.example.org", 443, tls=True)
    texts = [repr(proxy), str(proxy), repr(proxy.hops), repr(endpoint), f"{tls} {[tls]}"]
    assert repr(proxy) == "<Proxy 192.0.2.9:1, 192.0.2.9:1080, a:1080>"
    assert "over TLS" in repr(tls)
    assert "www.example.org:443" in repr(endpoint)
    assert not any("secret" in text or "alice" in text for text in texts)
    assert repr(Proxy.over(reactor, AtOnce(), "alice", "secret")) == "<Proxy the proxy>"
    assert repr(Proxy.from_url(reactor, "socks5://localhost/a")) == "<Proxy /a>"
    assert repr(Proxy.from_url(reactor, "socks5://[::1]")) == "<Proxy [::1]:1080>"


# ---------------------------------------------------------------- the environment


def test_no_proxy_in_the_environment() -> None:
    assert Proxy.from_environment(FakeReactor(), {}) is None


def test_a_target_that_goes_directly() -> None:
    reactor = FakeReactor()
    environ = {"all_proxy": PROXY, "no_proxy": "internal:80, 192.0.2.0/24"}
    proxy = Proxy.from_environment(reactor, environ, timeout=3, bind_address="192.0.2.2")
    assert proxy is not None
    assert proxy.goes_direct("a.internal", 80)
    assert not proxy.goes_direct("a.internal", 81)
    assert not Proxy.from_url(reactor, PROXY).goes_direct("a.internal", 80)
    program = Program()
    endpoint = proxy.endpoint("192.0.2.80", 80)
    assert repr(endpoint) == "<ProxyEndpoint 192.0.2.80:80 directly>"
    outcome = told(endpoint.connect(program))
    [connector] = reactor.connectors
    assert (connector.host, connector.bind_address) == ("192.0.2.80", ("192.0.2.2", 0))
    connector.succeed()
    assert program.notes == ["made"]
    assert tunnel_of(outcome[0].transport) is None
    proxy.endpoint("a.internal", 80).connect(Program())
    assert reactor.connectors[-1].host == "127.0.0.1"
    proxy.endpoint("203.0.113.1", 80).connect(Program())
    assert reactor.connectors[-1].host == "192.0.2.9"


def test_an_endpoint_is_one_of_twisteds() -> None:
    assert verifyObject(IStreamClientEndpoint, Asked().endpoint)


def test_a_failure_is_not_logged(log: list[str]) -> None:
    asked = Asked()
    asked.connector.fail(error.ConnectionRefusedError())
    assert isinstance(asked.outcome[0], Failure)
    assert log == []
