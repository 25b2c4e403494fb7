"""One contract for every way to a target, asked by clients on real sockets: sockets of our own, Twisted's, and a way in
memory, that has none.
"""

from collections.abc import Hashable
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from typing_extensions import override
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socks5.access import ALLOWED, DENIED, Access, Reason, Verdict
from socks5.client.hops import Hop
from socks5.client.urls import read
from socks5.interfaces import IDatagramReceiver, IDatagrams, IDialer, IPeerPort, Judge
from socks5.outbound.attempts import Stream
from socks5.outbound.direct import DirectDialer
from socks5.outbound.path import Path
from socks5.outbound.terms import Terms
from socks5.outbound.upstream import Upstream
from socks5.outbound.ways import Upstreams
from socks5.protocol.address import Address
from socks5.protocol.errors import ConnectionRefused, NotAllowed
from socks5.server.factory import ServerFactory
from socks5.settings import Settings
from socks5.streams import IStream
from tests.sockets.clients import Far, Network, Proxy, Target, packed
from tests.sockets.streams import FakeFar
from tests.sockets.wires import WithoutPoller, until
from tests.support.providers import Allow, FakeResolver
from tests.support.transports import FakeTransport

ELSEWHERE = Address("127.0.0.9", 9)
"""Whom the rules of a test may single out."""

ANYBODY = packed("0.0.0.0", 0)


BOUND = Address("192.0.2.10", 40001)
"""Where everything comes from, and peers are awaited, as clients are told."""


async def is_allowed(verdict: Verdict | Deferred[Verdict]) -> bool:
    return (await verdict if isinstance(verdict, Deferred) else verdict).is_allowed is True


class MemoryStream(Stream):
    """A stream whose transport has no address that would tell anything."""

    bound: Any = None
    far: Any = None

    def __init__(self, reactor: Any, far: Address, bound: Address) -> None:
        super().__init__()
        self.bound, self.far = bound, far
        FakeTransport(reactor).connect(self)


@implementer(IDialer)
class MemoryDialer:
    """A way of one's own, for all three commands, without a socket. To be played by tests: ``targets`` accept,
    ``accepted`` are the streams made, ``ports`` those of BINDs, ``datagrams`` the associations.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.targets: set[Address] = set()
        self.accepted: list[MemoryStream] = []
        self.ports: list[MemoryPort] = []
        self.datagrams: list[MemoryDatagrams] = []

    def dial(
        self, access: Access, target: Address, judge: Judge, *, settings: Settings, near: str
    ) -> Deferred[IStream]:
        return Deferred.fromCoroutine(self._dial(target, judge))

    async def _dial(self, target: Address, judge: Judge) -> IStream:
        if not await is_allowed(judge(target.text)):
            raise NotAllowed("not there")
        if target not in self.targets:
            raise ConnectionRefused("nobody listens")
        return self.connected(target, BOUND)

    def connected(self, far: Address, bound: Address) -> IStream:
        self.accepted.append(MemoryStream(self._reactor, far, bound))
        return self.accepted[-1]

    def open_datagrams(
        self,
        access: Access,
        judge: Judge,
        receiver: IDatagramReceiver,
        *,
        settings: Settings,
        near: str,
    ) -> "MemoryDatagrams":
        self.datagrams.append(MemoryDatagrams(judge, receiver))
        return self.datagrams[-1]

    def await_peer(
        self, access: Access, expected: Address, judge: Judge, *, settings: Settings, near: str
    ) -> Deferred[IPeerPort]:
        return Deferred.fromCoroutine(self._await_peer(expected, judge))

    async def _await_peer(self, expected: Address, judge: Judge) -> IPeerPort:
        if not (expected.is_unspecified or await is_allowed(judge(expected.text))):
            raise NotAllowed("not from there")
        self.ports.append(MemoryPort(self, expected, judge))
        return self.ports[-1]


@implementer(IPeerPort)
class MemoryPort:
    """Where a peer is awaited."""

    bound = BOUND

    def __init__(self, dialer: MemoryDialer, expected: Address, judge: Judge) -> None:
        self._dialer = dialer
        self._expected = expected
        self._judge = judge
        self.peer: Deferred[IStream] = Deferred()
        self.is_open = True

    def connect(self, host: Address) -> None:
        """Somebody comes."""
        Deferred.fromCoroutine(self._let_in(host))

    async def _let_in(self, host: Address) -> None:
        is_expected = self._expected.is_unspecified or self._expected.host == host.host
        if is_expected and await is_allowed(self._judge(host.text)) and self.is_open:
            self.close()
            self.peer.callback(self._dialer.connected(host, host))

    def close(self) -> None:
        self.is_open = False


@implementer(IDatagrams)
class MemoryDatagrams:
    """The targets of an association: ``sent`` is what has got there, :meth:`answer` what they say."""

    def __init__(self, judge: Judge, receiver: IDatagramReceiver) -> None:
        self._judge = judge
        self._receiver = receiver
        self._askers: dict[str, Hashable] = {}
        self.sent: list[tuple[bytes, Address]] = []

    def send(self, target: Address, payload: bytes, client: Hashable) -> None:
        sending = Deferred.fromCoroutine(self._send(target, payload, client))
        sending.addErrback(self._receiver.crashed)

    async def _send(self, target: Address, payload: bytes, client: Hashable) -> None:
        for host in (None, target.text):
            if not await is_allowed(self._judge(host, target)):
                self._receiver.dropped("not allowed")
                return
        self._askers[target.text] = client
        self.sent.append((payload, target))
        self._receiver.sent(len(payload))

    def answer(self, payload: bytes, sender: Address) -> None:
        """Somebody sends a datagram."""
        asker = self._askers.get(sender.text)
        if asker is None:
            self._receiver.dropped("unasked")
        else:
            self._receiver.received(payload, sender, asker)

    def join(self, port: Any) -> None:
        """There is nothing that goes in batches."""

    def rejudge(self) -> None:
        self._askers.clear()

    def close(self) -> None:
        """There is nothing to give back."""


class Direct(Network):
    """Targets on this host."""

    def __init__(self, stack: ExitStack, reactor: Any) -> None:
        super().__init__(stack)
        self.dialer = DirectDialer(reactor, FakeResolver())

    async def reached(self, target: Target) -> tuple[Any, tuple[str, int]]:
        """A target's end of the connection to it, and where that comes from."""
        return await target.accept()

    async def come(self, bound: tuple[str, int], host: str = "127.0.0.1") -> tuple[Any, Any]:
        """A peer that connects to where it is awaited, and its address."""
        peer = self.connect(bound, source=host)
        return peer, peer.host


class MemoryDatagramTarget:
    """The same for datagrams; see :class:`Datagrams`."""

    def __init__(self, dialer: MemoryDialer, number: int) -> None:
        self._dialer = dialer
        self.host = (f"192.0.2.{number}", 53)

    async def receive(self) -> tuple[bytes, Any]:
        [datagrams] = self._dialer.datagrams
        await until(lambda: any(target == Address(*self.host) for _, target in datagrams.sent))
        return datagrams.sent.pop(0)[0], None

    def send(self, data: bytes, to: object) -> None:
        self._dialer.datagrams[0].answer(data, Address(*self.host))


class FarInMemory(FakeFar):
    """The far end of a stream in memory, as :class:`Far` is a real one's."""

    async def receive(self, count: int) -> bytes:
        await until(lambda: self.count >= count or self.sees)
        return self.value()[:count]

    async def rest(self) -> bytes:
        await until(self.sees_now)
        return self.value()


class Memory:
    """Targets in memory."""

    def __init__(self, stack: ExitStack, reactor: Any) -> None:
        self.dialer = MemoryDialer(reactor)
        self._numbers = iter(range(53, 60))

    def listen(self) -> Any:
        self.dialer.targets.add(Address("192.0.2.80", 80))
        return SimpleNamespace(host=("192.0.2.80", 80))

    def refusing(self) -> tuple[str, int]:
        return "192.0.2.81", 80

    async def reached(self, target: object) -> tuple[Any, tuple[str, int]]:
        await until(lambda: self.dialer.accepted)
        return FarInMemory(self.dialer.accepted[0].transport), (BOUND.text, BOUND.port)

    async def come(self, bound: tuple[str, int], host: str = "127.0.0.1") -> tuple[Any, Any]:
        assert bound == (BOUND.text, BOUND.port)
        before = len(self.dialer.accepted)
        self.dialer.ports[0].connect(Address(host, 20))
        if len(self.dialer.accepted) == before:
            return None, (host, 20)
        return FarInMemory(self.dialer.accepted[-1].transport), (host, 20)

    def datagrams(self) -> MemoryDatagramTarget:
        return MemoryDatagramTarget(self.dialer, next(self._numbers))


def sent(verdict: Any) -> Any:
    if isinstance(verdict, Deferred):
        return verdict.addCallback(sent)
    return replace(verdict, rule="far", via="up") if verdict.is_allowed else verdict


class Sending(Upstreams):
    """Sends everybody who may connect, or be awaited, through one upstream, whatever the rules say of that."""

    @override
    def dial(
        self, access: Access, target: Address, judge: Judge, **asked: Any
    ) -> Deferred[IStream]:
        return super().dial(access, target, lambda host: sent(judge(host)), **asked)

    @override
    def await_peer(
        self, access: Access, expected: Address, judge: Judge, **asked: Any
    ) -> Deferred[IPeerPort]:
        return super().await_peer(access, expected, lambda host: sent(judge(host)), **asked)


class Behind(Direct):
    """The same, behind another proxy."""

    def __init__(self, stack: ExitStack, reactor: Any) -> None:
        super().__init__(stack, reactor)
        factory = ServerFactory(reactor, rules=Allow())
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        hop = Hop(read(f"socks5://127.0.0.1:{port.getHost().port}")[0])
        path = Path("up", [Upstream("up", hop, Terms())], reactor)
        self.dialer: Any = Sending(reactor, {"up": path}, self.dialer)

        def close() -> None:
            port.stopListening()
            factory.close_sessions(Reason.SHUTDOWN, 0)

        stack.callback(close)


@pytest.fixture(params=["own", "twisted", "memory", "upstream", "twisted upstream"])
def world(request: pytest.FixtureRequest) -> Any:
    from twisted.internet import reactor

    kinds = {"memory": Memory, "upstream": Behind, "twisted upstream": Behind}
    is_twisted = request.param.startswith("twisted")
    with ExitStack() as stack:
        kind: Any = kinds.get(request.param, Direct)
        yield kind(stack, WithoutPoller(reactor) if is_twisted else reactor)


def judging(verdict: Any) -> Allow:
    """Rules that say that of some address, and let everybody go anywhere else."""
    return Allow(lambda _, host: verdict if host == ELSEWHERE.text else ALLOWED)


def test_every_way_is_one(world: Any) -> None:
    assert verifyObject(IDialer, world.dialer)


# ---------------------------------------------------------------- CONNECT


@pytest_twisted.ensureDeferred
async def test_octets_and_ends_pass_both_ways(serve: Any, world: Any) -> None:
    proxy: Proxy = await serve(dialer=world.dialer)
    target = world.listen()
    client = await proxy.client(1, packed(*target.host), b"a question")
    far, source = await world.reached(target)
    assert await client.reply() == (0, source)
    client.end()
    assert await far.rest() == b"a question"
    far.send(b"an answer")
    far.end()
    assert await client.rest() == b"an answer"
    await proxy.gone()
    [record] = proxy.records
    assert (record.bytes_up, record.bytes_down, record.reason) == (10, 9, "target closed")
    assert record.bound == str(Address(*source))


@pytest_twisted.ensureDeferred
async def test_nobody_listens(serve: Any, world: Any) -> None:
    proxy: Proxy = await serve(dialer=world.dialer)
    client = await proxy.client(1, packed(*world.refusing()))
    assert (await client.reply())[0] == 5


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("command", [1, 2])
@pytest_twisted.ensureDeferred
async def test_who_is_refused_is_not_reached(
    serve: Any, world: Any, command: int, is_late: bool
) -> None:
    verdict: Deferred[Verdict] = Deferred()
    proxy: Proxy = await serve(dialer=world.dialer, rules=judging(verdict if is_late else DENIED))
    client = await proxy.client(command, ELSEWHERE.encode())
    if is_late:
        verdict.callback(DENIED)
    assert (await client.reply())[0] == 2


@pytest.mark.parametrize("command", [1, 2])
@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_waits_for_no_verdict(
    serve: Any, world: Any, command: int
) -> None:
    given_up: list[object] = []
    verdict: Deferred[Verdict] = Deferred(given_up.append)
    proxy: Proxy = await serve(dialer=world.dialer, rules=(rules := judging(verdict)))
    client = await proxy.client(command, ELSEWHERE.encode())
    await until(lambda: len(rules.asked) == 2)
    client.close()
    await proxy.gone()
    assert given_up == [verdict]


# ---------------------------------------------------------------- BIND


@pytest_twisted.ensureDeferred
async def test_a_peer_is_awaited_and_met(serve: Any, world: Any) -> None:
    proxy: Proxy = await serve(dialer=world.dialer, rules=Allow())
    client = await proxy.client(2, packed("127.0.0.2", 0))
    code, bound = await client.reply()
    stranger, _ = await world.come(bound, "127.0.0.3")
    peer, host = await world.come(bound, "127.0.0.2")
    assert (code, await client.reply()) == (0, (0, host))
    if stranger is not None:
        await until(stranger.sees_now)
    client.send(b"up")
    assert await peer.receive(2) == b"up"
    peer.send(b"down")
    assert await client.receive(4) == b"down"
    client.close()
    assert await peer.rest() is not None
    peer.end()
    await proxy.gone()
    assert [record.bound for record in proxy.records] == [str(Address(*host))]


@pytest_twisted.ensureDeferred
async def test_a_peer_waits_for_its_verdict(serve: Any, world: Any) -> None:
    """Unread; whoever is judged at once may come before it."""
    verdict: Deferred[Verdict] = Deferred()
    proxy: Proxy = await serve(dialer=world.dialer, rules=(rules := judging(verdict)))
    client = await proxy.client(2, ANYBODY)
    _, bound = await client.reply()
    peer, host = await world.come(bound, ELSEWHERE.text)
    await until(lambda: rules.asked[-1][1] == ELSEWHERE.text)
    if peer is not None:
        peer.send(b"early")
    verdict.callback(ALLOWED)
    assert await client.reply() == (0, host)
    if peer is not None:
        assert await client.receive(5) == b"early"
    client.close()
    await until(lambda: not list(proxy.factory.sessions) or peer is None or peer.sees_now())
    if peer is not None:
        peer.close() if isinstance(peer, Far) else peer.end()


# ---------------------------------------------------------------- UDP ASSOCIATE


@pytest.mark.parametrize("is_late", [False, True])
@pytest_twisted.ensureDeferred
async def test_datagrams_pass_both_ways(serve: Any, world: Any, is_late: bool) -> None:
    target, other = world.datagrams(), world.datagrams()
    verdict: Deferred[Verdict] = Deferred()
    asked: list[Any] = []

    def decide(access: Any, host: Any) -> Any:
        if host is None or access.target.port != target.host[1]:
            return ALLOWED
        asked.append(host)
        return verdict if is_late and len(asked) == 1 else ALLOWED

    proxy: Proxy = await serve(dialer=world.dialer, rules=Allow(decide))
    control, client = await proxy.associate()
    client.ask(target.host, b"first")
    if is_late:
        await until(lambda: asked)
        verdict.callback(ALLOWED)
    payload, source = await target.receive()
    client.ask(target.host, b"second")
    assert [payload, (await target.receive())[0]] == [b"first", b"second"]
    target.send(b"pong", source)
    assert await client.answer() == (b"pong", target.host)
    client.ask(other.host)
    await other.receive()
    control.close()
    await proxy.gone()
    [record] = proxy.records
    assert (record.bytes_up, record.bytes_down, record.drops) == (15, 4, {})


@pytest_twisted.ensureDeferred
async def test_datagrams_that_are_refused_are_dropped(serve: Any, world: Any) -> None:
    proxy: Proxy = await serve(dialer=world.dialer, rules=judging(DENIED))
    _, client = await proxy.associate()
    client.ask((ELSEWHERE.text, 9))
    await until(lambda: proxy.counters.dropped == {"not allowed": 1})
