"""What every stream must do, whatever it is made of: one contract.

Half-closes are TCP's alone; TLS has none. Where our own connections may do a thing at once, Twisted's
transports, and the fakes that stand for them, do it later.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, INegotiated, IPushProducer, ITCPTransport
from zope.interface.verify import verifyObject

from socks5.net import connection
from socks5.net.transport_stream import close
from socks5.relay.transports import can_half_close
from socks5.streams import IStream
from tests.sockets.streams import (
    MUCH,
    Producer,
    Wire,
    fake_tls,
    in_memory,
    on_sockets,
    own,
    tls,
    twisted,
)
from tests.support.transports import BUFFER_SIZE

OWN, TWISTED = on_sockets(own), on_sockets(twisted)
TCP = {"own": OWN, "twisted": TWISTED, "in memory": in_memory}
TLS = {"tls": tls, "fake tls": fake_tls}
AS_TWISTED = {"twisted": TWISTED, "in memory": in_memory}


def on(kinds: dict[str, Any]) -> Any:
    """For some kinds of streams only."""
    return pytest.mark.parametrize("connect", kinds.values(), ids=kinds, indirect=True)


@pytest.fixture(params=[*TCP.values(), *TLS.values()], ids=[*TCP, *TLS])
def connect(request: pytest.FixtureRequest) -> Callable[[ExitStack], Awaitable[Wire]]:
    """Connects a stream of the kind under test."""
    return request.param  # type: ignore[no-any-return]


@pytest_twisted.async_yield_fixture
async def wire(connect: Callable[[ExitStack], Awaitable[Wire]]) -> AsyncIterator[Wire]:
    with ExitStack() as stack:
        made = await connect(stack)
        yield made
        if made.receiver.reason is None:
            made.transport.abortConnection()
            await made.lost()


# ---------------------------------------------------------------- what it is


@on(TCP)
@pytest_twisted.ensureDeferred
async def test_it_is_a_tcp_transport(wire: Wire) -> None:
    for interface in (ITCPTransport, IConsumer, IPushProducer):
        assert verifyObject(interface, wire.transport, tentative=True)
    assert verifyObject(IStream, wire.stream)
    assert can_half_close(wire.transport)
    assert isinstance(wire.transport.getHost(), IPv4Address)
    assert isinstance(wire.transport.getPeer(), IPv4Address)
    assert wire.transport.connected
    assert not wire.transport.disconnecting
    for enabled in (True, False):
        wire.transport.setTcpNoDelay(enabled)
        wire.transport.setTcpKeepAlive(enabled)
        options = wire.transport.getTcpNoDelay(), wire.transport.getTcpKeepAlive()
        assert options == (enabled, enabled)


# ---------------------------------------------------------------- receiving


@pytest_twisted.ensureDeferred
async def test_octets_go_both_ways_and_much_is_received_whole(wire: Wire) -> None:
    wire.far.send(b"question")
    await wire.until(lambda: wire.receiver.octets == b"question")
    wire.transport.write(b"ans")
    wire.transport.writeSequence([b"w", b"er"])
    await wire.until(lambda: wire.far.value() == b"answer")
    assert (wire.receiver.events, wire.far.sees_now()) == ([], "")
    wire.shrink()
    sent = 0
    while sent < len(MUCH):
        sent += wire.far.push(MUCH[sent:])
        await wire.settled()
    await wire.until(lambda: len(wire.receiver.octets) == 8 + len(MUCH))
    assert wire.receiver.octets == b"question" + MUCH


@pytest.mark.parametrize("when", ["before", "after"])
@pytest_twisted.ensureDeferred
async def test_nothing_is_lost_to_a_pause(wire: Wire, when: str) -> None:
    """Whether the octets came before it or during it; without octets it is harmless."""
    wire.transport.pauseProducing()
    await wire.settled()
    wire.transport.resumeProducing()
    if when == "before":
        wire.far.send(b"one ")
    wire.transport.pauseProducing()
    if when == "after":
        wire.far.send(b"one ")
    await wire.settled()
    wire.far.send(b"two ")
    await wire.settled()
    got_before = wire.receiver.octets
    assert got_before == b"" or when == "before"
    wire.transport.resumeProducing()
    await wire.until(lambda: wire.receiver.octets == b"one two ")
    wire.far.send(b"three")
    await wire.until(lambda: wire.receiver.octets == b"one two three")


@pytest_twisted.ensureDeferred
async def test_a_receiver_may_pause_at_any_octets(wire: Wire) -> None:
    """And is told nothing more until it resumes, however much is there."""
    wire.receiver.on_data = lambda data: wire.transport.pauseProducing()
    received, sent = 0, 0
    while received < len(MUCH):
        sent += wire.far.push(MUCH[sent : sent + (1 << 18)])
        await wire.until(lambda: len(wire.receiver.octets) > received)  # noqa: B023
        received = len(wire.receiver.octets)
        await wire.settled()
        assert len(wire.receiver.octets) == received
        wire.transport.resumeProducing()
    assert wire.receiver.octets == MUCH


@pytest_twisted.ensureDeferred
async def test_a_receiver_may_pause_and_resume_at_once(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of times: it is not called inside its own call."""
    monkeypatch.setattr(connection, "READ_SIZE", 1)
    monkeypatch.setattr(connection, "TURNS", range(5000))
    depth: list[int] = []

    def on_data(data: bytes) -> None:
        depth.append(1)
        wire.transport.pauseProducing()
        wire.transport.resumeProducing()
        assert depth.pop() == 1
        assert depth == []

    wire.receiver.on_data = on_data
    wire.far.send(MUCH[:4000])
    await wire.until(lambda: wire.receiver.octets == MUCH[:4000])


# ---------------------------------------------------------------- sending


@on(TCP)
@pytest_twisted.ensureDeferred
async def test_a_producer_is_paused_while_much_waits_unless_it_leaves(wire: Wire) -> None:
    wire.shrink()
    producer, successor = Producer(), Producer()
    wire.transport.registerProducer(producer, True)
    with pytest.raises(RuntimeError):
        wire.transport.registerProducer(successor, True)
    wire.transport.write(b"little")
    await wire.settled()
    assert producer.told == []
    wire.transport.write(MUCH)
    wire.transport.write(b"more")
    await wire.settled()
    assert producer.told == ["pause"]
    await wire.until(lambda: wire.far.count == len(MUCH) + 10)
    await wire.until(lambda: producer.told == ["pause", "resume"])
    wire.transport.write(MUCH)
    wire.transport.unregisterProducer()  # while it is paused
    await wire.until(lambda: wire.far.count == 2 * len(MUCH) + 10)
    wire.transport.registerProducer(successor, True)
    await wire.settled()
    wire.transport.unregisterProducer()
    wire.transport.write(MUCH)
    await wire.until(lambda: wire.far.count == 3 * len(MUCH) + 10)
    assert (producer.told, successor.told) == (["pause", "resume", "pause"], [])


@on(TCP)
@pytest_twisted.ensureDeferred
async def test_a_producer_is_stopped_before_its_transport_is_lost(wire: Wire) -> None:
    wire.transport.registerProducer(Producer(wire.receiver.events), True)
    wire.far.reset()
    await wire.until(lambda: wire.receiver.events == ["stop", "lost"])
    late = Producer()
    wire.transport.registerProducer(late, True)
    assert late.told == ["stop"]


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize("data", [b"", b"last words"])
@on(TCP)
@pytest_twisted.ensureDeferred
async def test_an_end_is_told_once_behind_the_octets(wire: Wire, data: bytes) -> None:
    """And when the pause is over."""
    wire.transport.pauseProducing()
    wire.far.send(data)
    wire.far.end()
    await wire.settled()
    assert (wire.receiver.octets, wire.receiver.events) == (b"", [])
    wire.transport.resumeProducing()
    await wire.until(lambda: wire.receiver.events == ["end"])
    assert wire.receiver.octets == data
    wire.transport.write(b"answer")
    await wire.until(lambda: wire.far.value() == b"answer")
    await wire.settled()
    assert wire.receiver.events == ["end"]


@pytest.mark.parametrize("octets", [0, 10, len(MUCH)])
@on(TCP)
@pytest_twisted.ensureDeferred
async def test_our_end_comes_behind_the_octets_and_receiving_goes_on(
    wire: Wire, octets: int
) -> None:
    wire.shrink()
    wire.transport.write(MUCH[:octets])
    wire.transport.loseWriteConnection()
    await wire.until(wire.far.sees_now)
    assert (wire.far.sees, wire.far.value()) == ("end", MUCH[:octets])
    wire.transport.write(b"too late")
    wire.far.send(b"goes on")
    await wire.until(lambda: wire.receiver.octets == b"goes on")
    wire.far.end()
    await wire.until(lambda: wire.receiver.events == ["end"])
    wire.transport.loseConnection()
    assert wire.receiver.was_lost(ConnectionDone)


@pytest.mark.parametrize("octets", [0, 10, len(MUCH)])
@pytest_twisted.ensureDeferred
async def test_closing_waits_for_the_octets(wire: Wire, octets: int) -> None:
    """However many pieces the system does not take at once: they are sent later, in order."""
    wire.shrink()
    pieces = [MUCH[start : start + 50_000] for start in range(0, octets, 50_000)]
    for piece in pieces[:5]:
        wire.transport.write(piece[:octets])
    wire.transport.writeSequence(pieces[5:])
    wire.transport.loseConnection()
    wire.transport.loseConnection()
    await wire.until(wire.far.sees_now)
    assert (wire.far.sees, wire.far.value()) == ("end", MUCH[:octets])
    await wire.lost()
    assert wire.receiver.events == ["lost"]
    assert wire.receiver.was_lost(ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_it_may_be_closed_without_a_goodbye(wire: Wire) -> None:
    close(wire.transport)
    await wire.lost()
    assert wire.receiver.events == ["lost"]


@on(TCP)
@pytest_twisted.ensureDeferred
async def test_nothing_is_received_while_it_closes(wire: Wire) -> None:
    """Not even by one who says to go on; the far end has the time it needs."""
    wire.shrink()
    wire.transport.write(MUCH)
    wire.transport.loseConnection()
    wire.far.send(b"ignored")
    wire.transport.resumeProducing()
    await wire.settled()
    assert (wire.receiver.octets, wire.receiver.events) == (b"", [])
    await wire.until(lambda: wire.far.count == len(MUCH))
    await wire.lost()
    assert wire.receiver.octets == b""


@on(TCP)
@pytest_twisted.ensureDeferred
async def test_closing_ends_our_half_end(wire: Wire) -> None:
    wire.shrink()
    wire.transport.write(MUCH)
    wire.transport.loseWriteConnection()
    wire.transport.loseConnection()
    await wire.until(wire.far.sees_now)
    assert wire.far.value() == MUCH
    await wire.lost()
    assert wire.receiver.events == ["lost"]


@pytest_twisted.ensureDeferred
async def test_an_abort_is_a_reset_to_the_far_end(wire: Wire) -> None:
    wire.shrink()
    wire.transport.write(MUCH)
    wire.transport.abortConnection()
    wire.transport.abortConnection()
    await wire.lost()
    await wire.until(wire.far.sees_now)
    assert wire.far.sees == "reset"
    assert wire.receiver.events == ["lost"]
    if can_half_close(wire.transport):  # of TLS it is said to be lost
        assert wire.receiver.was_lost(ConnectionAborted)


@on(TCP)
@pytest_twisted.ensureDeferred
async def test_what_is_gone_is_left_in_peace(wire: Wire) -> None:
    """Closed as a producer may be told to stop: what it sends to cannot take any more."""
    wire.transport.stopProducing()
    await wire.lost()
    assert wire.receiver.was_lost(ConnectionDone)
    wire.transport.write(b"x")
    wire.transport.loseConnection()
    wire.transport.abortConnection()
    wire.transport.unregisterProducer()
    wire.transport.resumeProducing()
    await wire.settled()
    assert wire.receiver.events == ["lost"]


# ---------------------------------------------------------------- resets


@pytest.mark.parametrize("data", [b"", b"last words"])
@pytest.mark.parametrize("does_write", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_reset_is_a_loss_behind_the_octets(
    wire: Wire, data: bytes, does_write: bool
) -> None:
    """Also where a write meets it first: the system tells of it once, and then the reading sees an end."""
    wire.far.send(data)
    wire.far.reset()
    if does_write:
        wire.transport.write(b"too late")
        wire.transport.write(b"again")
    await wire.lost()
    assert wire.receiver.events == ["lost"]
    assert wire.receiver.was_lost(ConnectionLost)
    assert wire.receiver.octets == data


@pytest.mark.parametrize("is_close", [True, False])
@on(TCP)
@pytest_twisted.ensureDeferred
async def test_a_close_that_waits_and_an_end_that_meet_a_reset_are_a_loss(
    wire: Wire, is_close: bool
) -> None:
    if is_close:
        wire.shrink()
        wire.transport.write(MUCH)
        wire.transport.loseConnection()
        await wire.settled()
        wire.far.reset()
    else:
        wire.transport.pauseProducing()
        wire.far.reset()
        wire.transport.loseWriteConnection()
    await wire.lost()
    assert wire.receiver.events == ["lost"]
    assert wire.receiver.was_lost(ConnectionLost)


# ---------------------------------------------------------------- Twisted's, and its fakes


@on(AS_TWISTED)
@pytest_twisted.ensureDeferred
async def test_what_twisted_does_later_and_what_it_does_again(wire: Wire) -> None:
    with pytest.raises(TypeError):
        wire.transport.write("text")
    wire.transport.pauseProducing()
    wire.far.send(b"octets")
    wire.transport.resumeProducing()
    assert wire.receiver.octets == b""
    wire.far.end()
    await wire.until(lambda: wire.receiver.events == ["end"])
    wire.transport.resumeProducing()  # a socket at its end is readable for ever
    await wire.until(lambda: wire.receiver.events == ["end", "end"])
    wire.transport.loseConnection()
    wire.transport.abortConnection()
    assert wire.receiver.reason is None
    await wire.lost()
    assert wire.receiver.was_lost(ConnectionAborted)


@on(AS_TWISTED)
@pytest_twisted.ensureDeferred
async def test_a_close_waits_for_a_paused_producer(wire: Wire) -> None:
    wire.shrink()
    producer = Producer()
    wire.transport.registerProducer(producer, True)
    wire.transport.write(bytes(BUFFER_SIZE))
    assert producer.told == []
    wire.transport.write(MUCH)
    wire.transport.loseConnection()
    await wire.until(lambda: wire.far.value() and producer.told == ["pause", "resume"])
    assert wire.receiver.events == []
    wire.transport.unregisterProducer()
    await wire.lost()


@on(TLS)
@pytest_twisted.ensureDeferred
async def test_an_end_of_tls_is_one_of_both_directions(wire: Wire) -> None:
    assert INegotiated.providedBy(wire.transport)
    assert not can_half_close(wire.transport)
    wire.far.end()
    await wire.lost()
    assert wire.receiver.events == ["lost"]
    assert wire.receiver.was_lost(ConnectionDone)
    with pytest.raises(AttributeError):
        wire.transport.abortConnection()


@on(TLS)
@pytest_twisted.ensureDeferred
async def test_tls_receives_on_while_it_closes(wire: Wire) -> None:
    """Until the far end has closed too, which it may never do."""
    wire.transport.answers_close = False
    wire.far.send(b"late")
    wire.transport.loseConnection()
    await wire.settled()
    assert wire.receiver.octets == b"late"
    wire.far.end()
    await wire.lost()
    assert wire.receiver.was_lost(ConnectionDone)
