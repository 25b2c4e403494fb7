"""A transport with tokens between: what goes through, what is held back, and what ends it."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socks5.logins import IAcceptor, IContext, IProtection
from socks5.net.protected import Envelope, ProtectedTransport
from socks5.protocol.errors import RemoteProtocolError
from socks5.protocol.gssapi import ABORT, Message, MessageType, Protection, Tokens
from socks5.relay.transports import can_half_close
from socks5.streams import IStreamReceiver
from tests.support.contexts import FakeAcceptor, FakeContext, FakeInitiator
from tests.support.memory import octets_held_by
from tests.support.reactor import FakeReactor
from tests.support.transports import FakeTLSTransport, FakeTransport

INTEGRITY, CONFIDENTIALITY = Protection.INTEGRITY, Protection.CONFIDENTIALITY


@implementer(IStreamReceiver)
class Receiver:
    """Puts what is delivered into a wire's ``got``."""

    def __init__(self, wire: "Wire") -> None:
        self._wire = wire

    def dataReceived(self, data: bytes) -> None:
        self._wire.got.append(data)
        self._wire.on_data(self._wire)

    def readConnectionLost(self) -> None:
        self._wire.got.append("end")

    def connectionLost(self, reason: Failure) -> None:
        self._wire.got.append(reason)


class Wire:
    """A protected transport over a fake one, and its far end.

    ``got`` holds what was delivered, "end" for the end, and an error for what was no token.
    """

    def __init__(
        self,
        level: Protection = INTEGRITY,
        kind: type[FakeTransport] = FakeTransport,
        on_data: Callable[["Wire"], None] = lambda _: None,
        **options: Any,
    ) -> None:
        self.reactor = FakeReactor()
        context, self.initiator = FakeContext(FakeAcceptor(**options)), FakeInitiator()
        first = self.initiator.step(None)
        assert first is not None
        self.initiator.step(context.judge_first(first).token)
        self.level = level
        self.below = kind(self.reactor).connect(self)
        self.got: list[Any] = []
        self.on_data = on_data
        self.envelope = Envelope(context, level)
        self.transport: ProtectedTransport = self.envelope.over(self.below, Receiver(self))

    def makeConnection(self, transport: Any) -> None:
        """The wire is its owner."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        self.transport.connectionLost(reason)

    def message(self, data: bytes, is_confidential: bool | None = None) -> bytes:
        """What the far end sends for some octets."""
        if is_confidential is None:
            is_confidential = self.level is CONFIDENTIALITY
        return Message(
            MessageType.ENCAPSULATED, self.initiator.wrap(data, is_confidential)
        ).encode()

    def sent(self) -> list[tuple[bytes, bool]]:
        """What the far end makes of each message that it got."""
        self.reactor.turn()
        tokens, found = Tokens(), []
        tokens.add(self.below.value())
        while (token := tokens.next()) is not None:
            found.append(self.initiator.unwrap(token))
        assert len(tokens) == 0
        return found


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_the_fakes_keep_the_contracts(wire: Wire) -> None:
    assert verifyObject(IAcceptor, FakeAcceptor())
    assert verifyObject(IContext, FakeContext(FakeAcceptor()))
    assert verifyObject(IProtection, wire.envelope)
    for contract in (ITCPTransport, IConsumer, IPushProducer):
        assert verifyObject(contract, wire.transport)


# ---------------------------------------------------------------- sending


@pytest.mark.parametrize("level", [INTEGRITY, CONFIDENTIALITY])
def test_octets_go_out_in_tokens_of_the_level(level: Protection) -> None:
    wire = Wire(level)
    wire.transport.write(b"")
    wire.transport.write(b"hello")
    wire.transport.writeSequence([b"wor", b"ld"])
    is_encrypted = level is CONFIDENTIALITY
    assert (b"hello" in wire.below.value()) is False
    wire.reactor.turn()
    assert (b"hello" in wire.below.value()) is not is_encrypted
    assert wire.sent() == [(b"hello", is_encrypted), (b"world", is_encrypted)]


@pytest.mark.parametrize(("size", "pieces"), [(9, [9]), (10, [10]), (11, [10, 1]), (30, [10] * 3)])
def test_what_a_message_cannot_carry_goes_in_several(size: int, pieces: list[int]) -> None:
    wire = Wire(limit=10)
    data = bytes(range(size))
    wire.transport.write(data)
    sent = [each for each, _ in wire.sent()]
    assert [len(each) for each in sent] == pieces
    assert b"".join(sent) == data
    assert wire.below.calls.count("write") == 1


@pytest.mark.parametrize("fails_at", [1, 2])
def test_octets_that_cannot_be_wrapped_leave_no_gap(
    fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing comes behind them."""
    wire = Wire(limit=10)
    wire.transport.write(b"before")
    real, wrapped = FakeContext.wrap, 0

    def wrap(*what: Any) -> bytes:
        nonlocal wrapped
        wrapped += 1
        if wrapped == fails_at:
            raise ZeroDivisionError
        return real(*what)

    monkeypatch.setattr(FakeContext, "wrap", wrap)
    with pytest.raises(ZeroDivisionError):
        wire.transport.write(bytes(20))
    wire.transport.write(b"behind")
    wire.reactor.turn()
    assert wire.below.far_sees == "reset"
    assert b"behind" not in [data for data, _ in wire.sent()]
    assert [lost.type for lost in wire.got] == [ConnectionAborted]


# ---------------------------------------------------------------- receiving


@given(st.lists(st.binary(max_size=60), max_size=6), st.lists(st.integers(1, 200), max_size=6))
def test_cuts_never_change_what_is_delivered(sent: list[bytes], cuts: list[int]) -> None:
    wire = Wire(CONFIDENTIALITY)
    stream = b"".join(map(wire.message, sent))
    at = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    for start, end in pairwise(at):
        wire.below.deliver(stream[start:end])
    assert wire.got == [each for each in sent if each]


def test_a_message_may_be_empty(wire: Wire) -> None:
    wire.below.deliver(wire.message(b"one") + wire.message(b"") + wire.message(b"two"))
    assert wire.got == [b"one", b"two"]


def test_more_protection_than_agreed_will_do_and_less_will_not(wire: Wire) -> None:
    wire.below.deliver(wire.message(b"one", is_confidential=True))
    assert wire.got == [b"one"]
    wire = Wire(CONFIDENTIALITY)
    wire.below.deliver(wire.message(b"one", is_confidential=False) + wire.message(b"two"))
    [error] = wire.got
    assert error.check(RemoteProtocolError)
    assert "not encrypted" in str(error)


def flipped(message: bytes) -> bytes:
    return message[:-1] + bytes((message[-1] ^ 1,))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda wire, message: flipped(message),
        lambda wire, message: b"\5" + message[1:],
        lambda wire, message: b"\1\2" + message[2:],
        lambda wire, message: ABORT,
        lambda wire, message: b"\1\3\0\0" + message,
        lambda wire, message: b"\1\3\0\2hi" + message,
        lambda wire, message: Wire().message(b"from another context"),
    ],
)
def test_behind_what_is_no_token_nothing_is_delivered(
    wire: Wire, spoil: Callable[[Wire, bytes], bytes]
) -> None:
    first, second, third = map(wire.message, (b"one", b"two", b"three"))
    wire.below.deliver(first + spoil(wire, second) + third)
    wire.below.deliver(third)
    wire.transport.readConnectionLost()
    delivered, error = wire.got
    assert delivered == b"one"
    assert error.check(RemoteProtocolError)
    assert wire.transport.is_deaf


def test_one_message_is_gathered_and_no_more() -> None:
    """A peer that fills the longest message octet by octet, and the next, keeps no more than one here."""
    sizes: list[int] = []
    wire = Wire(on_data=lambda wire: sizes.append(len(wire.got.pop())))
    for _ in range(3):
        message = wire.message(bytes(65535 - 26))
        for start in range(0, len(message), 4096):
            wire.below.deliver(message[start : start + 4096])
            assert octets_held_by(wire.transport) < len(message) + 4096
    assert sizes == [65535 - 26] * 3


def test_a_paused_receiver_gets_nothing_until_it_resumes_and_the_end_behind_all() -> None:
    wire = Wire(on_data=lambda wire: wire.transport.pauseProducing())
    wire.below.deliver(wire.message(b"one") + wire.message(b"two") + wire.message(b"three"))
    assert wire.got == [b"one"]
    assert not wire.below.is_reading
    wire.transport.resumeProducing()
    assert wire.got == [b"one", b"two"]
    assert not wire.below.is_reading
    wire.transport.readConnectionLost()
    wire.transport.resumeProducing()
    assert wire.got == [b"one", b"two", b"three"]
    for _ in range(2):
        wire.transport.resumeProducing()
        assert wire.got == [b"one", b"two", b"three", "end"]
    assert wire.below.is_reading


def test_a_receiver_may_change_its_mind_at_once() -> None:
    def waver(wire: Wire) -> None:
        wire.transport.pauseProducing()
        wire.transport.resumeProducing()

    wire = Wire(on_data=waver)
    wire.below.deliver(b"".join(map(wire.message, (b"one", b"two", b"three"))))
    assert wire.got == [b"one", b"two", b"three"]
    assert wire.below.is_reading


# ---------------------------------------------------------------- back pressure, and ends


@pytest.mark.parametrize(
    ("cut", "reason"), [(0, ConnectionDone), (1, ConnectionLost), (10, ConnectionLost)]
)
def test_an_orderly_loss_comes_behind_all_octets(cut: int, reason: type[Exception]) -> None:
    """As over TLS, which has no half-close; paused or not. Cut within a token it is not orderly."""
    wire = Wire(on_data=lambda wire: wire.transport.pauseProducing())
    wire.below.deliver(wire.message(b"one") + wire.message(b"two"))
    assert wire.got == [b"one"]
    wire.on_data = lambda _: None
    wire.transport.dataReceived(wire.message(b"three")[:cut])
    wire.connectionLost(Failure(ConnectionDone()))
    assert wire.got[:-1] == [b"one", b"two"]
    assert wire.got[-1].type is reason


@pytest.mark.parametrize(("spoil", "loss"), [(flipped, ConnectionDone), (bytes, ConnectionLost)])
def test_a_loss_that_is_not_orderly_takes_what_waits_with_it(
    wire: Wire, spoil: Callable[[bytes], bytes], loss: type[Exception]
) -> None:
    wire.transport.pauseProducing()
    wire.transport.dataReceived(spoil(wire.message(b"one")) + b"more")
    wire.connectionLost(Failure(loss()))
    assert [lost.type for lost in wire.got] == [ConnectionLost]


@pytest.mark.parametrize("how", ["loseConnection", "abortConnection", "stopProducing"])
def test_whoever_closes_hears_nothing_more(how: str, wire: Wire) -> None:
    wire.transport.pauseProducing()
    wire.transport.dataReceived(wire.message(b"one"))
    getattr(wire.transport, how)()
    wire.reactor.turn()
    wire.transport.resumeProducing()
    assert wire.below.far_sees == ("reset" if how == "abortConnection" else "end")
    assert b"one" not in wire.got


def test_half_close_addresses_and_options_are_those_below(wire: Wire) -> None:
    transport: Any = wire.transport
    below: Any = wire.below
    assert can_half_close(transport)
    assert not can_half_close(Wire(kind=FakeTLSTransport).transport)
    below.TLS = True
    assert not can_half_close(transport)
    assert (transport.getHost(), transport.getPeer()) == (below.getHost(), below.getPeer())
    transport.setTcpNoDelay(True)
    assert (below.nodelay, transport.getTcpNoDelay()) == (True, True)
    transport.setTcpKeepAlive(True)
    assert (below.keepalive, transport.getTcpKeepAlive()) == (True, True)
