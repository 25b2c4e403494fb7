"""What only our own connections do, beside the contract of every stream (``test_stream_sockets.py``)."""

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from socks5.net import connection, tcp_socket
from socks5.net.connection import Connection, far_end, far_host, near_end, unacknowledged
from socks5.net.connection import hosts as hosts_of
from socks5.net.poller import WRITABLE
from socks5.net.tcp_socket import reset_on_close
from socks5.protocol.address import Address
from tests.sockets.streams import MUCH, Wire, on_sockets, own, twisted
from tests.sockets.wires import Odd, raising, until
from tests.support.failures import Failures

Make = Callable[..., Awaitable[Wire]]


@pytest_twisted.async_yield_fixture(params=[own])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Connect a stream."""
    with ExitStack() as stack:
        made: list[Wire] = []

        async def connect(*hosts: str) -> Wire:
            made.append(await on_sockets(request.param)(stack, *hosts))
            return made[-1]

        yield connect
        for wire in made:
            if wire.receiver.reason is None:
                wire.transport.abortConnection()
                await wire.lost()


@pytest_twisted.async_fixture
async def wire(make: Make) -> Wire:
    return await make()


of_either_kind = pytest.mark.parametrize("make", [own, twisted], indirect=True)


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


@pytest.mark.parametrize("state", ["paused", "paused with octets", "ended", "broken"])
@pytest_twisted.ensureDeferred
async def test_a_reset_is_noticed_without_reading(wire: Wire, state: str) -> None:
    """Where nobody reads, nobody would ask; else the session held on to a client that is gone."""
    if state == "ended":
        wire.far.end()
        await until(lambda: wire.receiver.events == ["end"])
    else:
        wire.transport.pauseProducing()
        await wire.settled()
    if state == "paused with octets":
        wire.far.send(b"x")
    wire.far.reset()
    if state == "broken":
        wire.transport.write(b"too late")
    await wire.lost()
    assert wire.receiver.was_lost(ConnectionLost)


@pytest.mark.parametrize("is_late", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_write_that_fails_on_a_sound_connection_is_a_loss(
    wire: Wire, is_late: bool
) -> None:
    """Better than a stream with a hole in it."""
    wire.far.send(b"before ")
    await until(lambda: wire.receiver.octets == b"before ")
    wire.transport.socket = Odd(wire.transport.socket, send=raising(OSError()))
    if is_late:
        wire.far.send(b"on its way")
    wire.transport.write(b"x")
    await wire.lost()
    assert wire.receiver.was_lost(ConnectionLost)
    assert wire.receiver.octets == b"before " + b"on its way" * is_late


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
        await wire.settled()
        wire.transport.resumeProducing()  # which does not raise: its caller is somebody else
    await wire.lost()
    assert wire.receiver.was_lost(ZeroDivisionError)
    assert failures.take(ZeroDivisionError) == ["division by zero"]
    other.far.send(b"x")
    await until(lambda: other.receiver.octets == b"x")


@of_either_kind
@pytest.mark.parametrize(
    ("hosts", "seen", "kind"),
    [
        (["127.0.0.1"], "127.0.0.1", IPv4Address),
        (["::1"], "::1", IPv6Address),
        (["::", "127.0.0.1"], "::ffff:127.0.0.1", IPv6Address),
    ],
)
@pytest_twisted.ensureDeferred
async def test_both_ends_have_addresses_and_a_mapped_one_is_meant_as_ipv4(
    make: Make, hosts: list[str], seen: str, kind: Any
) -> None:
    wire = await make(*hosts)
    far, near = wire.far.socket.getsockname(), wire.far.socket.getpeername()
    assert wire.transport.getHost() == kind("TCP", seen, near[1])
    assert wire.transport.getPeer() == kind("TCP", seen, far[1])
    for _ in range(2):
        assert near_end(wire.transport) == Address(hosts[-1], near[1])
    assert far_end(wire.transport) == Address(hosts[-1], far[1])
    assert far_host(wire.transport) == hosts[-1]
    assert hosts_of(wire.transport) == (hosts[-1], hosts[-1])


def test_a_link_local_address_keeps_its_zone_for_who_listens_on_it() -> None:
    index, zone = socket.if_nameindex()[0]
    with socket.socket(socket.AF_INET6) as sock:
        made = Connection(None, sock, None, ("fe80::1", 80, 0, index))  # type: ignore[arg-type]
        assert made.getPeer() == IPv6Address("TCP", f"fe80::1%{zone}", 80, 0, index)
        assert made.far == Address("fe80::1", 80)


@pytest_twisted.ensureDeferred
async def test_one_that_always_has_octets_lets_the_others_have_their_turn(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wire.settled()
    monkeypatch.setattr(connection, "READ_SIZE", 10)
    monkeypatch.setattr(connection, "TURNS", range(2))
    wire.far.send(MUCH[:1000])
    lengths: list[int] = []
    wire.receiver.on_data = lambda data: lengths.append(len(data))
    wire.transport.is_readable = True
    wire.transport.resumeProducing()
    assert lengths == [10, 10]
    await until(lambda: wire.receiver.octets == MUCH[:1000])


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


@pytest.mark.parametrize("has_library", [True, False])
def test_a_close_can_be_made_a_reset(monkeypatch: pytest.MonkeyPatch, has_library: bool) -> None:
    if not has_library:
        monkeypatch.setattr(tcp_socket, "setsockopt", None)
    with socket.socket() as sock:
        reset_on_close(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 0)


def test_what_has_no_send_queue_has_sent_everything() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    with listening:
        assert unacknowledged(listening) == 0
    assert unacknowledged(listening) == 0


@pytest_twisted.ensureDeferred
async def test_a_relay_may_take_the_socket(wire: Wire) -> None:
    class Relay:
        def __init__(self) -> None:
            self.told: list[int] = []

        def ready(self, events: int) -> None:
            self.told.append(events)

        def crashed(self, failure: Failure) -> None:
            raise AssertionError

    await wire.settled()
    relay = Relay()
    wire.shrink()
    wire.transport.write(MUCH)
    waiting = wire.transport.release(relay)
    assert waiting
    assert MUCH.endswith(waiting)
    wire.far.send(b"x")
    await until(lambda: relay.told)
    with wire.transport.socket as taken:
        assert taken.recv(10) == b"x"
    wire.transport.abortConnection()
    wire.transport.write(b"y")
    assert (wire.receiver.octets, wire.receiver.events) == (b"", [])
    wire.receiver.connectionLost(Failure(ConnectionDone()))


@pytest_twisted.ensureDeferred
async def test_an_end_is_not_told_again_to_who_resumes(wire: Wire) -> None:
    wire.far.end()
    await until(lambda: wire.receiver.events == ["end"])
    wire.transport.pauseProducing()
    wire.transport.resumeProducing()
    await wire.settled()
    assert wire.receiver.events == ["end"]


@pytest_twisted.ensureDeferred
async def test_it_closes_without_a_receiver(wire: Wire) -> None:
    wire.transport.receiver = None
    wire.transport.loseConnection()
    await until(wire.far.sees_now)
    wire.receiver.connectionLost(Failure(ConnectionDone()))


@pytest_twisted.ensureDeferred
async def test_a_stream_tells_later_what_was_there_before_its_receiver(wire: Wire) -> None:
    wire.far.send(b"x")
    wire.transport.is_readable = True
    wire.transport.start()
    assert wire.receiver.octets == b""
    await until(lambda: wire.receiver.octets == b"x")
    wire.transport.loseConnection()
    wire.transport.start()
