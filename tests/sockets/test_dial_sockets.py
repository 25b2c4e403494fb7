"""What every dialer must do, on real sockets of the loopback: with sockets of our own, and through
Twisted's endpoints where there is no poller.
"""

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.tcp import BaseClient
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from socks5.net.poller import poller_of
from socks5.outbound import race
from socks5.outbound.direct import DirectDialer
from socks5.outbound.failures import reply_for
from socks5.protocol.address import Address
from socks5.protocol.errors import TTLExpired
from socks5.settings import PerFamily
from socks5.streams import IStream
from tests.sockets.streams import Receiver
from tests.sockets.wires import FarEnd, WithoutPoller, open_sockets, turn, until
from tests.support.ports import free_port
from tests.support.providers import FakeResolver, begin_dial

NAME = b"example.org"


class Targets:
    """Listeners on addresses of the loopback, all on one port."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.port = 0

    def listen(self, host: str = "127.0.0.1") -> socket.socket:
        """A target that accepts."""
        listener = self._bound(host)
        listener.listen()
        return listener

    def hang(self, host: str = "127.0.0.1") -> socket.socket:
        """A target that does not answer: its queue is full."""
        listener = self._bound(host)
        listener.listen(0)
        self._stack.enter_context(socket.create_connection(listener.getsockname()))
        return listener

    def _bound(self, host: str) -> socket.socket:
        """A socket on the common port, which is one that the system gives to no connection by itself: it might
        be taken on the next address.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = self._stack.enter_context(socket.socket(family))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        while not sock.getsockname()[1]:
            try:
                sock.bind((host, self.port or random.randrange(10_000, 32_768)))
            except OSError:
                assert not self.port, f"{host} port {self.port} is taken"
        self.port = sock.getsockname()[1]
        return sock

    def accept(self, listener: socket.socket) -> FarEnd:
        """The connection that waits there.

        :raises BlockingIOError: there is none.
        """
        return FarEnd(self._stack.enter_context(listener.accept()[0]))


@pytest.fixture
def targets() -> Iterator[Targets]:
    with ExitStack() as stack:
        yield Targets(stack)


@pytest_twisted.async_yield_fixture(params=["sockets", "endpoints"])
async def dial(request: pytest.FixtureRequest, targets: Targets) -> Any:
    """Dials, and sees to it that every attempt leaves no socket and no delayed call behind."""
    from twisted.internet import reactor

    assert poller_of(reactor)

    def left() -> set[Any]:
        """Descriptors, and calls of dials; what serves a dialer's deadlines goes by itself."""
        made_by = {race.__name__, BaseClient.__module__}
        calls = {each for each in reactor.getDelayedCalls() if each.func.__module__ in made_by}
        return {*reactor.getReaders(), *reactor.getWriters(), *calls}

    before = left()
    dialers: list[DirectDialer] = []
    made: list[tuple[Any, Receiver]] = []
    dials = reactor if request.param == "sockets" else WithoutPoller(reactor)

    def connected(stream: Any) -> Any:
        assert stream.receiver is None
        stream.receiver = receiver = Receiver()
        made.append((stream, receiver))
        return stream

    def dial(*hosts: str, **settings: Any) -> Deferred[Any]:
        dialers.append(DirectDialer(dials, FakeResolver({NAME: hosts})))
        where = Address(NAME if len(hosts) > 1 else hosts[0], targets.port)
        return begin_dial(dialers[-1], where, **settings).addCallback(connected)

    yield dial
    for stream, receiver in made:
        stream.transport.abortConnection()
        await until(lambda receiver=receiver: "lost" in receiver.events)
    await until(lambda: left() <= before)
    assert [len(dialer.deadlines) for dialer in dialers] == [0] * len(dialers)


async def failed(dialling: Deferred[Any]) -> Failure:
    """What it fails with."""
    failures: list[Failure] = []
    dialling.addErrback(failures.append)
    await until(lambda: failures)
    return failures[0]


@pytest.mark.parametrize(
    ("host", "source", "kind"),
    [("127.0.0.1", "127.0.0.9", IPv4Address), ("::1", "::1", IPv6Address)],
)
@pytest_twisted.ensureDeferred
async def test_an_address_is_connected_to_from_the_source_address(
    dial: Any, targets: Targets, host: str, source: str, kind: type
) -> None:
    """Nothing is delayed, and urgent octets stay in their place."""
    listener = targets.listen(host)
    dialling = dial(host, outgoing=PerFamily("127.0.0.9", "::1"))
    assert not dialling.called
    stream = await dialling
    ours = targets.accept(listener).socket.getpeername()
    assert verifyObject(IStream, stream)
    assert stream.transport.getPeer() == kind("TCP", host, targets.port)
    assert (stream.transport.getHost().host, stream.transport.getHost().port) == ours[:2]
    assert ours[0] == source
    handle = stream.transport.getHandle()
    assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)


@pytest_twisted.ensureDeferred
async def test_any_number_of_addresses_that_do_not_answer_is_overtaken(
    dial: Any, targets: Targets
) -> None:
    """They would use up the time of all, and the attempts that may be under way at once."""
    hosts = [f"127.0.0.{number}" for number in range(1, 11)]
    targets.listen(hosts[-1])
    for host in hosts[:-1]:
        targets.hang(host)
    stream = await dial(*hosts, attempt_delay=0.01)
    assert stream.transport.getPeer().host == hosts[-1]


@pytest.mark.parametrize("hosts", [("127.0.0.1",), ("127.0.0.1", "127.0.0.2")])
@pytest_twisted.ensureDeferred
async def test_no_answer_in_time_is_reply_6(
    dial: Any, targets: Targets, hosts: tuple[str, ...]
) -> None:
    for host in hosts:
        targets.hang(host)
    failure = await failed(dial(*hosts, attempt_delay=0.01, connect_timeout=0.03))
    assert failure.check(TTLExpired)
    assert reply_for(failure) == 6


@pytest.mark.parametrize(("turns", "attempts"), [(0, 1), (3, 2)])
@pytest_twisted.ensureDeferred
async def test_cancelling_gives_up_every_attempt(
    dial: Any, targets: Targets, turns: int, attempts: int
) -> None:
    for host in ("127.0.0.1", "127.0.0.2"):
        targets.hang(host)
    before = open_sockets()
    dialling = dial("127.0.0.1", "127.0.0.2", attempt_delay=0.0)
    for _ in range(turns):
        await turn()
    made = open_sockets() - before
    assert len(made) == attempts
    dialling.cancel()
    assert (await failed(dialling)).check(CancelledError)
    await turn()
    assert not open_sockets() & made


@pytest.mark.parametrize("host", ["fe80::1%lo", "fe80::1"])
@pytest_twisted.ensureDeferred
async def test_a_link_local_address_that_leads_nowhere_has_its_reply(
    dial: Any, targets: Targets, host: str
) -> None:
    targets.port = free_port()
    assert reply_for(await failed(dial(host))) in (3, 4, 8)
