"""What every dialer must do, on real sockets of the loopback: with sockets of our own, and through
Twisted's endpoints where there is no poller.
"""

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.tcp import BaseClient
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from socks5.interfaces import IResolver
from socks5.net.poller import poller_of
from socks5.outbound import race
from socks5.outbound.direct import DirectDialer
from socks5.outbound.failures import reply_for
from socks5.protocol.address import Address
from socks5.protocol.errors import TTLExpired
from socks5.settings import PerFamily
from socks5.streams import IStream
from tests.sockets.streams import Receiver
from tests.sockets.wires import FarEnd, WithoutPoller, free_port, open_sockets, turn, until
from tests.support.providers import FakeResolver, begin_dial

NAME = b"example.org"


def sockets(resolver: IResolver) -> DirectDialer:
    from twisted.internet import reactor

    return DirectDialer(reactor, resolver)


def endpoints(resolver: IResolver) -> DirectDialer:
    from twisted.internet import reactor

    return DirectDialer(WithoutPoller(reactor), resolver)


@pytest.fixture(params=[sockets, endpoints])
def make_dialer(request: pytest.FixtureRequest) -> Callable[[IResolver], Any]:
    return request.param


class Dialling:
    """One dial under way, whose stream gets a receiver as soon as it is there."""

    def __init__(self, dialling: Deferred[IStream]) -> None:
        self.dialling = dialling
        self.receiver = Receiver()
        self.stream: Any = None
        self.failure: Failure | None = None
        dialling.addCallbacks(self._connected, self._failed)

    def _connected(self, stream: IStream) -> None:
        assert stream.receiver is None
        self.stream = stream
        stream.receiver = self.receiver

    def _failed(self, failure: Failure) -> None:
        self.failure = failure

    async def ended(self) -> None:
        await until(lambda: self.stream or self.failure)


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


@pytest_twisted.async_yield_fixture
async def dial(make_dialer: Any, targets: Targets) -> Any:
    """Dials, and sees to it that every attempt leaves no socket and no delayed call behind."""
    from twisted.internet import reactor

    assert poller_of(reactor)

    def descriptors() -> set[Any]:
        return {*reactor.getReaders(), *reactor.getWriters()}

    def calls() -> set[Any]:
        """Those of dials; what serves a dialer's deadlines goes by itself."""
        made_by = {race.__name__, BaseClient.__module__}
        found = reactor.getDelayedCalls()
        return {call for call in found if call.func.__module__ in made_by}

    before = descriptors(), calls()
    dialers: list[DirectDialer] = []
    made: list[Dialling] = []

    def dial(*hosts: str, **settings: Any) -> Dialling:
        dialers.append(make_dialer(FakeResolver({NAME: hosts})))
        where = Address(NAME if len(hosts) > 1 else hosts[0], targets.port)
        made.append(Dialling(begin_dial(dialers[-1], where, **settings)))
        return made[-1]

    yield dial
    for each in made:
        if each.stream is not None:
            each.stream.transport.abortConnection()
            await until(lambda each=each: "lost" in each.receiver.events)
    await until(lambda: descriptors() <= before[0])
    assert [len(dialer.deadlines) for dialer in dialers] == [0] * len(dialers)
    await until(lambda: calls() <= before[1])


# ---------------------------------------------------------------- connecting


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
    assert dialling.stream is None
    await dialling.ended()
    far = targets.accept(listener)
    transport = dialling.stream.transport
    assert verifyObject(IStream, dialling.stream)
    assert transport.getPeer() == kind("TCP", host, targets.port)
    ours = far.socket.getpeername()
    assert (transport.getHost().host, transport.getHost().port) == ours[:2]
    assert ours[0] == source
    handle = transport.getHandle()
    assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)


# ---------------------------------------------------------------- several addresses


@pytest_twisted.ensureDeferred
async def test_any_number_of_addresses_that_do_not_answer_is_overtaken(
    dial: Any, targets: Targets
) -> None:
    """They would use up the time of all, and the attempts that may be under way at once."""
    hosts = [f"127.0.0.{number}" for number in range(1, 11)]
    targets.listen(hosts[-1])
    for host in hosts[:-1]:
        targets.hang(host)
    dialling = dial(*hosts, attempt_delay=0.01)
    await dialling.ended()
    assert dialling.stream.transport.getPeer().host == hosts[-1]


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("hosts", [("127.0.0.1",), ("127.0.0.1", "127.0.0.2")])
@pytest_twisted.ensureDeferred
async def test_no_answer_in_time_is_reply_6(
    dial: Any, targets: Targets, hosts: tuple[str, ...]
) -> None:
    for host in hosts:
        targets.hang(host)
    dialling = dial(*hosts, attempt_delay=0.01, connect_timeout=0.03)
    await dialling.ended()
    assert dialling.failure.check(TTLExpired)
    assert reply_for(dialling.failure) == 6


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
    dialling.dialling.cancel()
    assert dialling.failure.check(CancelledError)
    await turn()
    assert not open_sockets() & made


@pytest.mark.parametrize("host", ["fe80::1%lo", "fe80::1"])
@pytest_twisted.ensureDeferred
async def test_a_link_local_address_that_leads_nowhere_has_its_reply(
    dial: Any, targets: Targets, host: str | bytes
) -> None:
    targets.port = free_port()
    dialling = dial(host)
    await dialling.ended()
    assert reply_for(dialling.failure) in (3, 4, 8)
