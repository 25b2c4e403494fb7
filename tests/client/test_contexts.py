"""A login by a security context: what is sent, what will not do, and what is in tokens from then on."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.defer import fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint

from socks5.client import Proxy, ProxyAuthError, ProxyClosed, ProxyProtocolError, ProxyTimeout
from socks5.protocol.errors import RemoteProtocolError
from socks5.protocol.gssapi import ABORT, Message, MessageType, Protection
from tests.support.contexts import SECRET, Half, Initiating
from tests.support.reactor import FakeReactor
from tests.support.through import OK, PROXY, Asked, HalfCloseable, Program
from tests.support.transports import FakeTransport

METHOD = b"\5\1"
KEY = b"the key."
NONE, INTEGRITY, CONFIDENTIALITY = (
    Protection.NONE,
    Protection.INTEGRITY,
    Protection.CONFIDENTIALITY,
)


def token(octets: bytes, kind: MessageType = MessageType.CONTEXT) -> bytes:
    return Message(kind, octets).encode()


class Login:
    """One, and the proxy's side of it."""

    def __init__(self, program: Program | None = None, **how: Any) -> None:
        self.initiating = Initiating(**how)
        self.half = Half(KEY, b"server")
        self.asked = Asked(program=program, gssapi=self.initiating)
        self.transport: FakeTransport = self.asked.accept()

    def hear(self, *proxy: bytes) -> bytes:
        """What it says to that."""
        self.transport.clear()
        for data in proxy:
            self.transport.deliver(data)
        self.asked.reactor.turn()
        return self.transport.value()

    def complete(self) -> bytes:
        """Until the level is told."""
        assert self.hear(METHOD) == token(b"alice\0" + SECRET)
        return self.hear(token(KEY))

    def agree(self, level: bytes) -> bytes:
        """What it says to this answer."""
        if not self.initiating.is_bare:
            level = self.half.wrap(level, False)
        return self.hear(token(level, MessageType.PROTECTION))

    def wrap(self, data: bytes) -> bytes:
        is_confidential = self.initiating.level is CONFIDENTIALITY
        return token(self.half.wrap(data, is_confidential), MessageType.ENCAPSULATED)

    def opened(self) -> None:
        self.complete()
        self.agree(bytes((self.initiating.level,)))
        self.hear(self.wrap(OK))


def test_what_is_said_and_that_it_is_in_tokens_then() -> None:
    login = Login()
    assert login.transport.value() == b"\5\1\1"
    level = login.complete()
    assert level[:2] == b"\1\2"
    assert login.half.unwrap(level[4:]) == (b"\2", False)
    request = login.agree(b"\2")
    assert request[:2] == b"\1\3"
    assert login.half.unwrap(request[4:]) == (b"\5\1\0\3\x0fwww.example.org\1\xbb", True)
    login.hear(login.wrap(OK + b"hello"), login.wrap(b"world"))
    assert login.asked.program.notes == ["made", b"hello", b"world"]
    assert (login.initiating.hosts, login.initiating.clients) == (["192.0.2.9"], [""])


def test_more_than_was_asked_for_will_do() -> None:
    login = Login(level=INTEGRITY)
    login.complete()
    request = login.agree(b"\2")
    assert login.half.unwrap(request[4:])[1]


def test_nothing_is_in_tokens_if_that_was_asked_for() -> None:
    login = Login(level=NONE, is_bare=True)
    assert login.complete() == token(b"\0", MessageType.PROTECTION)
    assert login.agree(b"\0").startswith(b"\5\1\0\3")
    login.hear(OK)
    assert login.asked.program.notes == ["made"]


@pytest.mark.parametrize(
    ("how", "answer", "kind"),
    [
        ({}, b"\1", ProxyAuthError),
        ({}, b"\0", ProxyAuthError),
        ({"level": INTEGRITY}, b"\0", ProxyAuthError),
        ({}, b"\3", ProxyProtocolError),
        ({}, b"\2\2", ProxyProtocolError),
        ({}, b"", ProxyProtocolError),
        ({"is_bare": True}, b"\2\2", ProxyProtocolError),
    ],
)
def test_a_level_that_will_not_do(how: Any, answer: bytes, kind: type[Exception]) -> None:
    login = Login(**how)
    login.complete()
    assert login.agree(answer) == b""
    assert (type(login.asked.error), login.asked.error.stage) == (kind, "login")
    assert login.asked.leaves_nothing()


def test_a_level_that_is_not_the_contexts() -> None:
    login = Login()
    login.complete()
    login.hear(token(b"W" + bytes(40), MessageType.PROTECTION))
    assert type(login.asked.error) is ProxyProtocolError


def test_a_level_in_another_form() -> None:
    login = Login()
    login.complete()
    login.hear(token(b"\2", MessageType.PROTECTION))
    assert type(login.asked.error) is ProxyProtocolError


@pytest.mark.parametrize("method", [b"\5\0", b"\5\2"])
def test_another_method_would_strip_it_of_its_proof(method: bytes) -> None:
    login = Login()
    assert login.hear(method) == b""
    assert type(login.asked.error) is ProxyProtocolError


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (lambda token: fail(RuntimeError("no ticket")), "no ticket"),
        (lambda token: fail(RuntimeError()), "RuntimeError"),
        (lambda token: succeed(b""), "does not go on"),
        (lambda token: 1 / 0, "division"),
        (lambda token: succeed(bytes(65536)), "a token of 65536 octets"),
    ],
)
def test_a_context_that_cannot_be(step: Callable[[bytes], Any], words: str) -> None:
    login = Login()
    login.initiating.contexts[0].step = step  # type: ignore[method-assign]
    login.hear(METHOD)
    assert (type(login.asked.error), login.asked.error.stage) == (ProxyAuthError, "login")
    assert words in str(login.asked.error)
    assert login.asked.leaves_nothing()


@pytest.mark.parametrize("how", ["wrap", "unwrap", "size_limit"])
def test_a_complete_context_that_fails_all_the_same(how: str) -> None:
    def broken(*arguments: object) -> Any:
        raise RuntimeError("no more")

    login = Login()
    setattr(login.initiating.contexts[0], how, broken)
    login.hear(METHOD, token(KEY))
    login.agree(b"\2")
    assert (type(login.asked.error), login.asked.error.stage) == (ProxyAuthError, "login")
    assert "no security context: no more" in str(login.asked.error)
    assert login.asked.leaves_nothing()


def test_a_proxy_that_aborts() -> None:
    login = Login()
    login.hear(METHOD, ABORT)
    assert (type(login.asked.error), login.asked.error.stage) == (ProxyAuthError, "login")


@pytest.mark.parametrize("way", ["end", "silence", "cancelled"])
def test_nothing_is_read_while_a_step_is_under_way(way: str) -> None:
    """It may ask somebody far away, and the proxy may send without end."""
    login = Login(is_slow=True)
    login.hear(METHOD)
    assert not login.transport.is_reading
    if way == "end":
        login.initiating.contexts[0].go.callback(None)
        assert login.transport.is_reading
        login.transport.deliver_end()
        assert (type(login.asked.error), login.asked.error.stage) == (ProxyClosed, "login")
    elif way == "silence":
        login.asked.reactor.advance(30)
        assert (type(login.asked.error), login.asked.error.stage) == (ProxyTimeout, "login")
    else:
        login.asked.deferred.cancel()
        assert type(login.asked.error) is error.ConnectingCancelledError
    assert login.asked.leaves_nothing()


@pytest.mark.parametrize("fails", [True, False])
def test_a_step_that_comes_late_is_not_looked_at(fails: bool) -> None:
    login = Login(is_slow=True)
    login.hear(METHOD)
    login.transport.deliver_reset()
    assert type(login.asked.error) is ProxyClosed
    go = login.initiating.contexts[0].go
    if fails:
        go.errback(RuntimeError())
    else:
        go.callback(None)
    assert login.transport.value() == b""


def test_what_comes_before_our_token_is_no_answer() -> None:
    login = Login()
    login.hear(METHOD + token(KEY))
    assert type(login.asked.error) is ProxyProtocolError
    assert "asked for" in str(login.asked.error)


def test_something_that_is_no_token_where_the_reply_is_due() -> None:
    login = Login()
    login.complete()
    login.agree(b"\2")
    login.hear(OK)
    assert (type(login.asked.error), login.asked.error.stage) == (ProxyProtocolError, "reply")
    assert login.asked.leaves_nothing()
    assert not login.transport.connected


def test_something_that_is_no_token_ends_the_connection() -> None:
    login = Login()
    login.opened()
    login.hear(b"hello")
    assert login.asked.program.notes == ["made", RemoteProtocolError]
    assert login.asked.leaves_nothing()
    assert not login.transport.connected


class OneLeg(Initiating):
    """Whose context is complete with our first token; the proxy's answer is not for it."""

    is_complete = False

    def initiate(self, host: str, client: str = "", for_datagrams: bool = False) -> Any:
        return self

    def step(self, token: bytes) -> Any:
        assert token == b""
        self.is_complete = True
        return succeed(b"ticket")


def test_a_context_that_is_complete_before_the_proxys_last_token() -> None:
    asked = Asked(gssapi=OneLeg(level=NONE, is_bare=True))
    transport = asked.accept()
    transport.deliver(METHOD)
    transport.deliver(token(b""))
    asked.reactor.turn()
    said = b"\5\1\1" + token(b"ticket") + token(b"\0", MessageType.PROTECTION)
    assert transport.value() == said


def test_an_end_goes_through() -> None:
    login = Login(program=Program(kind=HalfCloseable))
    login.opened()
    login.transport.deliver_end()
    assert login.asked.program.notes == ["made", "read lost"]
    transport = login.asked.outcome[0].transport
    transport.pauseProducing()
    transport.resumeProducing()
    transport.loseConnection()
    login.asked.reactor.turn()
    assert login.asked.program.notes == ["made", "read lost", error.ConnectionDone]
    assert login.asked.leaves_nothing()


def over(reactor: FakeReactor, **how: Any) -> Proxy:
    return Proxy.over(reactor, TCP4ClientEndpoint(reactor, "192.0.2.9", 1), **how)


class Named(Initiating):
    """One that is told the proxy's name."""

    host = "proxy.example"


def test_the_name_of_the_proxys_key() -> None:
    reactor = FakeReactor()
    named = Named()
    asked = Asked(over(reactor, gssapi=named), reactor=reactor)
    asked.accept()
    assert named.hosts == ["proxy.example"]
    Proxy.from_url(reactor, "socks5://localhost/run/socks", gssapi=named)


@pytest.mark.parametrize(
    "call",
    [
        lambda reactor: Proxy.from_url(reactor, "socks5://a:secret@b", gssapi=Initiating()),
        lambda reactor: Proxy.from_url(reactor, "http://b:1", gssapi=Initiating()),
        lambda reactor: Proxy.from_url(reactor, PROXY, gssapi=Initiating(), pipelined=True),
        lambda reactor: Proxy.from_url(reactor, "socks5://localhost/a", gssapi=Initiating()),
        lambda reactor: over(reactor, gssapi=Initiating()),
    ],
)
def test_what_does_not_go_together(call: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        call(FakeReactor())
    assert "secret" not in str(caught.value)


def test_two_proxies_are_equal_by_the_same_initiator() -> None:
    reactor, one = FakeReactor(), Initiating()
    same = [Proxy.from_url(reactor, PROXY, gssapi=each) for each in (one, one, Initiating())]
    assert same[0] == same[1]
    assert same[0] != same[2]
    assert same[0] != Proxy.from_url(reactor, PROXY)
