"""The slim TCP transport: it keeps the contract of Twisted's own, which runs the same tests.

``make`` is where the two join in.
"""

import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ISystemHandle, ITCPTransport
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from socks5.interfaces import IStream
from socks5.net import connection as transport
from socks5.net.addresses import address_from
from socks5.net.connection import Connection, far_end, near_end, unacknowledged
from socks5.net.poller import WRITABLE, poller_of
from socks5.outbound.attempts import Stream
from socks5.protocol.address import Address
from tests.sockets.wires import FarEnd, turn, until
from tests.support.failures import Failures

SMALL = 1 << 14
"""Octets asked for as a socket's buffer."""

MUCH = random.Random(1).randbytes(1 << 20)
"""More than all buffers on the way hold, and without a period: an order that is wrong shows."""


class Receiver:
    """Records the events of a transport."""

    def __init__(self) -> None:
        self.octets = b""
        self.events: list[str] = []
        self.reason: Failure | None = None
        self.on_data: Callable[[bytes], object] = lambda data: None

    def dataReceived(self, data: bytes) -> None:
        assert self.reason is None
        self.octets += data
        self.on_data(data)

    def readConnectionLost(self) -> None:
        self.events.append("end")

    def connectionLost(self, reason: Failure) -> None:
        self.events.append("lost")
        self.reason = reason

    def was_lost(self, kind: type[Exception]) -> bool:
        return self.reason is not None and self.reason.check(kind) is kind


class Producer:
    """Records what it is told; Twisted repeats the word to pause."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        if self.told[-1:] != ["pause"]:
            self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class Wire:
    """A transport with its receiver, and its far end."""

    def __init__(self, stream: Any, receiver: Receiver, far: FarEnd) -> None:
        self.stream = stream
        self.transport = stream.transport
        self.receiver = receiver
        self.far = far

    def shrink(self) -> None:
        """Make the system's buffers small."""
        for each in (self.transport.getHandle(), self.far.socket):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)

    async def lost(self) -> None:
        await until(lambda: self.receiver.reason)


Make = Callable[..., Awaitable[Wire]]


async def settled() -> None:
    """Everything that has happened on the loopback has been noticed."""
    for _ in range(5):
        await turn()


async def own(listener: socket.socket, receiver: Receiver) -> Any:
    from twisted.internet import reactor

    poller = poller_of(reactor)
    assert poller is not None
    sock, name = listener.accept()
    sock.setblocking(False)
    connection = Connection(poller, sock, None, name)
    connection.receiver = receiver
    poller.add(connection.fd, connection)
    return connection


async def twisted(listener: socket.socket, receiver: Receiver) -> Any:
    from twisted.internet import reactor

    made: list[Stream] = []

    class Streams(Factory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Stream:
            made.append(Stream())
            made[0].receiver = receiver
            return made[0]

    listener.setblocking(False)
    port = reactor.adoptStreamPort(listener.fileno(), listener.family, Streams())
    await until(lambda: made and made[0].transport)
    await port.stopListening()
    return made[0]


@pytest_twisted.async_yield_fixture(params=[own, twisted])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Connect a transport of the kind under test."""
    with ExitStack() as stack:
        made: list[Wire] = []

        async def connect(host: str = "127.0.0.1", to: str | None = None) -> Wire:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            is_dual = to is not None
            listener = stack.enter_context(
                socket.create_server((host, 0), family=family, dualstack_ipv6=is_dual)
            )
            port = listener.getsockname()[1]
            client = stack.enter_context(socket.create_connection((to or host, port)))
            receiver = Receiver()
            made.append(Wire(await request.param(listener, receiver), receiver, FarEnd(client)))
            return made[-1]

        yield connect
        for wire in made:
            if wire.receiver.reason is None:
                wire.transport.abortConnection()
                await wire.lost()


@pytest_twisted.async_fixture
async def wire(make: Make) -> Wire:
    """A transport of either kind."""
    return await make()


only_own = pytest.mark.parametrize("make", [own], indirect=True)


# ---------------------------------------------------------------- receiving


@pytest_twisted.ensureDeferred
async def test_octets_go_both_ways(wire: Wire) -> None:
    wire.far.send(b"question")
    await until(lambda: wire.receiver.octets == b"question")
    wire.transport.write(b"ans")
    wire.transport.writeSequence([b"w", b"er"])
    await until(lambda: wire.far.value() == b"answer")
    assert wire.receiver.events == []


@pytest_twisted.ensureDeferred
async def test_however_much_is_sent_everything_is_received(wire: Wire) -> None:
    wire.shrink()
    sent = 0
    while sent < len(MUCH):
        sent += wire.far.push(MUCH[sent:])
        await turn()
    await until(lambda: len(wire.receiver.octets) == len(MUCH))
    assert wire.receiver.octets == MUCH


@pytest.mark.parametrize("when", ["before", "after"])
@pytest_twisted.ensureDeferred
async def test_nothing_is_lost_to_a_pause(wire: Wire, when: str) -> None:
    """Whether the octets, or the end, came before it or during it."""
    if when == "before":
        wire.far.send(b"one ")
    wire.transport.pauseProducing()
    if when == "after":
        wire.far.send(b"one ")
    await settled()
    wire.far.send(b"two ")
    await settled()
    assert wire.receiver.octets == b""
    wire.transport.resumeProducing()
    await until(lambda: wire.receiver.octets == b"one two ")
    wire.far.send(b"three")
    await until(lambda: wire.receiver.octets == b"one two three")


@pytest_twisted.ensureDeferred
async def test_an_end_waits_for_the_pause_to_be_over(wire: Wire) -> None:
    wire.transport.pauseProducing()
    wire.far.send(b"last")
    wire.far.end()
    await settled()
    assert (wire.receiver.octets, wire.receiver.events) == (b"", [])
    wire.transport.resumeProducing()
    await until(lambda: wire.receiver.events == ["end"])
    assert wire.receiver.octets == b"last"


@pytest_twisted.ensureDeferred
async def test_a_receiver_may_pause_at_any_octets(wire: Wire) -> None:
    """And is told nothing more until it resumes, however much is there."""
    wire.receiver.on_data = lambda data: wire.transport.pauseProducing()
    received, sent = 0, 0
    while received < len(MUCH):
        sent += wire.far.push(MUCH[sent:])
        await until(lambda: len(wire.receiver.octets) > received)  # noqa: B023
        received = len(wire.receiver.octets)
        await settled()
        assert len(wire.receiver.octets) == received
        wire.transport.resumeProducing()
    assert wire.receiver.octets == MUCH


@pytest_twisted.ensureDeferred
async def test_a_receiver_may_pause_and_resume_at_once(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of times: it is not called inside its own call."""
    monkeypatch.setattr(transport, "READ_SIZE", 1)
    monkeypatch.setattr(transport, "TURNS", range(5000))
    depth: list[int] = []

    def on_data(data: bytes) -> None:
        depth.append(1)
        wire.transport.pauseProducing()
        wire.transport.resumeProducing()
        assert depth.pop() == 1
        assert depth == []

    wire.receiver.on_data = on_data
    wire.far.send(MUCH[:4000])
    await until(lambda: wire.receiver.octets == MUCH[:4000])


@pytest_twisted.ensureDeferred
async def test_pausing_and_resuming_without_octets_is_harmless(wire: Wire) -> None:
    for _ in range(3):
        wire.transport.pauseProducing()
        await settled()
        wire.transport.resumeProducing()
    wire.far.send(b"x")
    await until(lambda: wire.receiver.octets == b"x")


# ---------------------------------------------------------------- sending


@pytest_twisted.ensureDeferred
async def test_what_the_system_does_not_take_is_sent_later_in_order(wire: Wire) -> None:
    wire.shrink()
    pieces = [MUCH[start : start + 50_000] for start in range(0, len(MUCH), 50_000)]
    for piece in pieces[:5]:
        wire.transport.write(piece)
    wire.transport.writeSequence(pieces[5:])
    await settled()
    assert wire.receiver.events == []
    await until(lambda: wire.far.count == len(MUCH))
    assert wire.far.value() == MUCH


@only_own
@pytest_twisted.ensureDeferred
async def test_a_full_buffer_loses_nothing(wire: Wire) -> None:
    """Not even where the system says that it takes octets, and then takes none."""
    wire.shrink()
    filled = 0
    with suppress(BlockingIOError):
        while True:
            filled += wire.transport.getHandle().send(bytes(1000))
    wire.transport.write(b"first ")
    wire.transport.write(b"second")
    wire.transport.ready(WRITABLE)
    await until(lambda: wire.far.count == filled + 12)
    assert wire.far.value()[filled:] == b"first second"


@pytest_twisted.ensureDeferred
async def test_a_producer_is_paused_while_much_waits(wire: Wire) -> None:
    wire.shrink()
    producer = Producer()
    wire.transport.registerProducer(producer, True)
    wire.transport.write(b"little")
    await settled()
    assert producer.told == []
    wire.transport.write(MUCH)
    wire.transport.write(b"more")
    await settled()
    assert producer.told == ["pause"]
    await until(lambda: wire.far.count == len(MUCH) + 10)
    await until(lambda: producer.told == ["pause", "resume"])
    wire.transport.write(MUCH)
    assert producer.told == ["pause", "resume", "pause"]
    wire.transport.unregisterProducer()


@pytest_twisted.ensureDeferred
async def test_a_producer_that_leaves_is_left_alone(wire: Wire) -> None:
    wire.shrink()
    producer = Producer()
    wire.transport.registerProducer(producer, True)
    wire.transport.write(MUCH)
    wire.transport.unregisterProducer()
    await until(lambda: wire.far.count == len(MUCH))
    await settled()
    assert producer.told == ["pause"]
    successor = Producer()
    wire.transport.registerProducer(successor, True)
    wire.transport.write(MUCH)
    assert (producer.told, successor.told) == (["pause"], ["pause"])
    wire.transport.unregisterProducer()


@pytest_twisted.ensureDeferred
async def test_there_is_one_producer_at_a_time(wire: Wire) -> None:
    wire.transport.registerProducer(Producer(), True)
    with pytest.raises(RuntimeError):
        wire.transport.registerProducer(Producer(), True)
    wire.transport.unregisterProducer()
    wire.transport.registerProducer(Producer(), True)
    wire.transport.unregisterProducer()


@pytest_twisted.ensureDeferred
async def test_a_producer_is_stopped_with_the_connection(wire: Wire) -> None:
    producer, late = Producer(), Producer()
    wire.transport.registerProducer(producer, True)
    wire.far.reset()
    await wire.lost()
    wire.transport.registerProducer(late, True)
    assert (producer.told, late.told) == (["stop"], ["stop"])


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize("data", [b"", b"last words"])
@pytest_twisted.ensureDeferred
async def test_an_end_is_told_once_behind_the_octets(wire: Wire, data: bytes) -> None:
    wire.far.send(data)
    wire.far.end()
    await until(lambda: wire.receiver.events == ["end"])
    assert wire.receiver.octets == data
    wire.transport.write(b"answer")
    await until(lambda: wire.far.value() == b"answer")
    await settled()
    assert wire.receiver.events == ["end"]


@pytest.mark.parametrize("octets", [0, 10, len(MUCH)])
@pytest_twisted.ensureDeferred
async def test_our_end_comes_behind_the_octets_and_receiving_goes_on(
    wire: Wire, octets: int
) -> None:
    wire.shrink()
    wire.transport.write(MUCH[:octets])
    wire.transport.loseWriteConnection()
    await until(wire.far.sees_now)
    assert (wire.far.sees, wire.far.value()) == ("end", MUCH[:octets])
    wire.transport.write(b"too late")
    wire.far.send(b"goes on")
    await until(lambda: wire.receiver.octets == b"goes on")
    wire.far.end()
    await until(lambda: wire.receiver.events == ["end"])
    wire.transport.loseConnection()
    await wire.lost()
    assert wire.receiver.was_lost(ConnectionDone)


@pytest.mark.parametrize("octets", [0, 10, len(MUCH)])
@pytest_twisted.ensureDeferred
async def test_closing_waits_for_the_octets(wire: Wire, octets: int) -> None:
    wire.shrink()
    wire.transport.write(MUCH[:octets])
    wire.transport.loseConnection()
    wire.transport.loseConnection()
    await until(wire.far.sees_now)
    assert (wire.far.sees, wire.far.value()) == ("end", MUCH[:octets])
    await wire.lost()
    assert wire.receiver.events == ["lost"]
    assert wire.receiver.was_lost(ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_nothing_is_received_while_it_closes(wire: Wire) -> None:
    """Not even by one who says to go on; the far end has the time it needs."""
    wire.shrink()
    wire.transport.write(MUCH)
    wire.transport.loseConnection()
    wire.far.send(b"ignored")
    wire.transport.resumeProducing()
    await settled()
    assert (wire.receiver.octets, wire.receiver.events) == (b"", [])
    await until(lambda: wire.far.count == len(MUCH))
    await wire.lost()
    assert wire.receiver.octets == b""


@pytest_twisted.ensureDeferred
async def test_closing_ends_our_half_end(wire: Wire) -> None:
    wire.shrink()
    wire.transport.write(MUCH)
    wire.transport.loseWriteConnection()
    wire.transport.loseConnection()
    await until(wire.far.sees_now)
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
    await until(wire.far.sees_now)
    assert wire.far.sees == "reset"
    assert wire.receiver.events == ["lost"]
    assert wire.receiver.was_lost(ConnectionAborted)


@pytest_twisted.ensureDeferred
async def test_a_producer_told_to_stop_closes(wire: Wire) -> None:
    """The transport as a producer: what it sends to cannot take any more."""
    wire.transport.stopProducing()
    await wire.lost()
    assert wire.receiver.was_lost(ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_what_is_gone_is_left_in_peace(wire: Wire) -> None:
    wire.transport.loseConnection()
    await wire.lost()
    wire.transport.write(b"x")
    wire.transport.loseConnection()
    wire.transport.abortConnection()
    wire.transport.unregisterProducer()
    wire.transport.resumeProducing()
    await settled()
    assert wire.receiver.events == ["lost"]


# ---------------------------------------------------------------- resets


@pytest.mark.parametrize("data", [b"", b"last words"])
@pytest_twisted.ensureDeferred
async def test_a_reset_is_a_loss_behind_the_octets(wire: Wire, data: bytes) -> None:
    wire.far.send(data)
    wire.far.reset()
    await wire.lost()
    assert wire.receiver.events == ["lost"]
    assert wire.receiver.was_lost(ConnectionLost)
    assert wire.receiver.octets == data


@pytest.mark.parametrize("data", [b"", b"last words"])
@pytest_twisted.ensureDeferred
async def test_a_reset_that_a_write_meets_first_is_no_end(wire: Wire, data: bytes) -> None:
    """The system tells of it once: in the write, and then the reading sees an end of file."""
    wire.far.send(data)
    wire.far.reset()
    wire.transport.write(b"too late")
    wire.transport.write(b"again")
    await wire.lost()
    assert wire.receiver.events == ["lost"]
    assert wire.receiver.was_lost(ConnectionLost)
    assert wire.receiver.octets == data


@pytest_twisted.ensureDeferred
async def test_a_reset_ends_a_close_that_waits(wire: Wire) -> None:
    wire.shrink()
    wire.transport.write(MUCH)
    wire.transport.loseConnection()
    await settled()
    wire.far.reset()
    await wire.lost()
    assert wire.receiver.events == ["lost"]
    assert wire.receiver.was_lost(ConnectionLost)


@pytest_twisted.ensureDeferred
async def test_an_end_that_meets_a_reset_is_a_loss(wire: Wire) -> None:
    wire.transport.pauseProducing()
    wire.far.reset()
    wire.transport.loseWriteConnection()
    await wire.lost()
    assert wire.receiver.events == ["lost"]
    assert wire.receiver.was_lost(ConnectionLost)


@only_own
@pytest.mark.parametrize("state", ["paused", "paused with octets", "ended", "broken"])
@pytest_twisted.ensureDeferred
async def test_a_reset_is_noticed_without_reading(wire: Wire, state: str) -> None:
    """Where nobody reads, nobody would ask; else the session held on to a client that is gone."""
    if state == "ended":
        wire.far.end()
        await until(lambda: wire.receiver.events == ["end"])
    else:
        wire.transport.pauseProducing()
        await settled()
    if state == "paused with octets":
        wire.far.send(b"x")
    wire.far.reset()
    if state == "broken":
        wire.transport.write(b"too late")
    await wire.lost()
    assert wire.receiver.was_lost(ConnectionLost)


@only_own
@pytest.mark.parametrize("is_late", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_write_that_fails_on_a_sound_connection_is_a_loss(
    wire: Wire, is_late: bool
) -> None:
    """Better than a stream with a hole in it."""

    class Failing:
        def __init__(self, sock: socket.socket) -> None:
            self._socket = sock

        def send(self, data: bytes) -> int:
            raise OSError

        def __getattr__(self, name: str) -> Any:
            return getattr(self._socket, name)

    wire.far.send(b"before ")
    await until(lambda: wire.receiver.octets == b"before ")
    wire.transport.socket = Failing(wire.transport.socket)
    if is_late:
        wire.far.send(b"on its way")
    wire.transport.write(b"x")
    await wire.lost()
    assert wire.receiver.was_lost(ConnectionLost)
    assert wire.receiver.octets == b"before " + b"on its way" * is_late


# ---------------------------------------------------------------- receivers that raise


@only_own
@pytest.mark.parametrize("is_paused", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_receiver_that_raises_ends_its_connection_and_no_other(
    make: Make, failures: Failures, is_paused: bool
) -> None:
    wire, other = await make(), await make()
    wire.receiver.on_data = lambda data: 1 / 0
    if is_paused:
        wire.transport.pauseProducing()
    wire.far.send(b"x")
    if is_paused:
        await settled()
        wire.transport.resumeProducing()  # which does not raise: its caller is somebody else
    await wire.lost()
    assert wire.receiver.was_lost(ZeroDivisionError)
    assert failures.take(ZeroDivisionError) == ["division by zero"]
    other.far.send(b"x")
    await until(lambda: other.receiver.octets == b"x")


# ---------------------------------------------------------------- who and how


@pytest.mark.parametrize(("host", "kind"), [("127.0.0.1", IPv4Address), ("::1", IPv6Address)])
@pytest_twisted.ensureDeferred
async def test_both_ends_have_addresses(make: Make, host: str, kind: Any) -> None:
    wire = await make(host)
    far = wire.far.socket
    assert wire.transport.getHost() == kind("TCP", *far.getpeername())
    assert wire.transport.getPeer() == kind("TCP", *far.getsockname())
    for _ in range(2):
        assert near_end(wire.transport) == Address(host, far.getpeername()[1])
    assert far_end(wire.transport) == Address(host, far.getsockname()[1])


@pytest_twisted.ensureDeferred
async def test_a_mapped_address_is_meant_as_ipv4(make: Make) -> None:
    wire = await make("::", "127.0.0.1")
    near, far = wire.transport.getHost(), wire.transport.getPeer()
    assert (near.host, far.host) == ("::ffff:127.0.0.1", "::ffff:127.0.0.1")
    assert near_end(wire.transport).host == far_end(wire.transport).host == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("192.0.2.1", 1), Address("192.0.2.1", 1)),
        (("2001:db8::1", 1, 0, 0), Address("2001:db8::1", 1)),
        (("::ffff:192.0.2.1", 1, 0, 0), Address("192.0.2.1", 1)),
        (("fe80::1%eth0", 1, 0, 2), Address("fe80::1", 1)),
    ],
)
def test_a_socket_s_address_on_the_wire(name: Any, address: Address) -> None:
    assert address_from(name) == address


def test_a_link_local_address_keeps_its_zone_for_who_listens_on_it() -> None:
    index, zone = socket.if_nameindex()[0]
    with socket.socket(socket.AF_INET6) as sock:
        connection = Connection(None, sock, None, ("fe80::1", 80, 0, index))  # type: ignore[arg-type]
        assert connection.getPeer() == IPv6Address("TCP", f"fe80::1%{zone}", 80, 0, index)
        assert connection.far == Address("fe80::1", 80)


@pytest_twisted.ensureDeferred
async def test_options_are_the_socket_s(wire: Wire) -> None:
    near, handle = wire.transport, wire.transport.getHandle()
    for enabled in (True, False):
        near.setTcpNoDelay(enabled)
        near.setTcpKeepAlive(enabled)
        assert (near.getTcpNoDelay(), near.getTcpKeepAlive()) == (enabled, enabled)
        assert bool(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) is enabled
        assert bool(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is enabled


@pytest_twisted.ensureDeferred
async def test_it_is_a_tcp_transport(wire: Wire) -> None:
    for interface in (ITCPTransport, ISystemHandle, IConsumer, IPushProducer):
        assert verifyObject(interface, wire.transport, tentative=True)
    assert verifyObject(IStream, wire.stream)
    assert wire.transport.connected
    assert not wire.transport.disconnecting


# ---------------------------------------------------------------- ours alone


@only_own
@pytest_twisted.ensureDeferred
async def test_one_that_always_has_octets_lets_the_others_have_their_turn(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settled()
    monkeypatch.setattr(transport, "READ_SIZE", 10)
    monkeypatch.setattr(transport, "TURNS", range(2))
    wire.far.send(MUCH[:1000])
    lengths: list[int] = []
    wire.receiver.on_data = lambda data: lengths.append(len(data))
    wire.transport.is_readable = True
    wire.transport.resumeProducing()
    assert lengths == [10, 10]
    await until(lambda: wire.receiver.octets == MUCH[:1000])


@only_own
@pytest_twisted.ensureDeferred
async def test_octets_not_acknowledged_can_be_counted(wire: Wire) -> None:
    wire.shrink()
    assert wire.transport.unsent == 0
    wire.transport.write(MUCH)
    seen = wire.transport.unsent
    assert len(MUCH) // 2 < seen <= len(MUCH)
    await until(lambda: wire.far.count == len(MUCH))
    await until(lambda: wire.transport.unsent == 0)
    wire.transport.loseConnection()
    assert wire.transport.unsent == 0


def test_what_has_no_send_queue_has_sent_everything() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    with listening:
        assert unacknowledged(listening) == 0
    assert unacknowledged(listening) == 0


@only_own
@pytest_twisted.ensureDeferred
async def test_a_relay_may_take_the_socket_and_gives_it_back_to_be_closed(wire: Wire) -> None:
    class Relay:
        def __init__(self) -> None:
            self.told: list[int] = []

        def ready(self, events: int) -> None:
            self.told.append(events)

        def crashed(self, failure: Failure) -> None:
            raise AssertionError

    await settled()
    relay = Relay()
    ends = wire.transport.near, wire.transport.far
    taken = wire.transport.detach(relay)
    assert (wire.transport.near, wire.transport.far) == ends
    wire.far.send(b"x")
    await until(lambda: relay.told)
    assert (taken.recv(10), wire.receiver.octets) == (b"x", b"")
    wire.transport.loseConnection()
    assert wire.receiver.events == ["lost"]


@only_own
@pytest_twisted.ensureDeferred
async def test_an_end_is_not_told_again_to_who_resumes(wire: Wire) -> None:
    wire.far.end()
    await until(lambda: wire.receiver.events == ["end"])
    wire.transport.pauseProducing()
    wire.transport.resumeProducing()
    await settled()
    assert wire.receiver.events == ["end"]


@only_own
@pytest_twisted.ensureDeferred
async def test_it_closes_without_a_receiver(wire: Wire) -> None:
    wire.transport.receiver = None
    wire.transport.loseConnection()
    await until(wire.far.sees_now)
    wire.receiver.connectionLost(Failure(ConnectionDone()))


@only_own
@pytest_twisted.ensureDeferred
async def test_a_stream_tells_later_what_was_there_before_its_receiver(wire: Wire) -> None:
    wire.far.send(b"x")
    wire.transport.is_readable = True
    wire.transport.start()
    assert wire.receiver.octets == b""
    await until(lambda: wire.receiver.octets == b"x")
    wire.transport.loseConnection()
    wire.transport.start()
