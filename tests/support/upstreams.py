"""Who has upstreams, in memory, and what comes of his dials."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from socks5 import Policy
from socks5.access import Verdict
from socks5.client.hops import Hop
from socks5.client.urls import read
from socks5.outbound.direct import DirectDialer
from socks5.outbound.failures import reply_for
from socks5.outbound.path import Path
from socks5.outbound.pool import Pool, Way
from socks5.outbound.terms import Terms
from socks5.outbound.upstream import Upstream
from socks5.outbound.ways import Upstreams
from socks5.protocol.address import Address
from socks5.protocol.messages import Command, Credentials, Reply, Request
from socks5.settings import Settings
from tests.support.providers import ASKER, FakeResolver, begin_dial
from tests.support.reactor import FakeReactor
from tests.support.sessions import NO_AUTHENTICATION, Server
from tests.support.transports import FakeTransport

HOST, NAME = "192.0.2.80", b"www.example.org"
TARGET = Address(HOST, 80)
UP = "203.0.113.1"
VIA = Verdict(True, "far", via="up")
LOGIN = Credentials(b"relay", b"secret")
BOUND = Address("198.51.100.9", 999)


def upstream(name: str = "up", url: str = f"socks5://{UP}", **options: Any) -> Upstream:
    terms = {key: options.pop(key) for key in tuple(options) if key in Terms.__dataclass_fields__}
    return Upstream(name, Hop(read(url)[0], **options), Terms(**terms))


def two(reactor: Any, **options: Any) -> dict[str, Way]:
    """A pool of two, the first with options; out after one failure."""
    first = upstream("one", fails=1, **options)
    second = upstream("two", "socks5://203.0.113.2")
    return {"up": Pool([Path(each.name, [each], reactor) for each in (first, second)])}


def chained(*urls: str, **terms: Any) -> Callable[[Any], dict[str, Way]]:
    """Several behind one another, the nearest first."""

    def ways(reactor: Any) -> dict[str, Way]:
        legs = [upstream(f"hop{number}", url, **terms) for number, url in enumerate(urls)]
        return {"up": Path("up", legs, reactor)}

    return ways


def give_upstream(server: Server, **terms: Any) -> None:
    """Have a server's rules find ``up``."""
    ways = {"up": Path("up", [upstream(**terms)], server.reactor)}
    before = server.factory.policy
    server.factory.replace(
        Policy(before.settings, before.rules, dialer=Upstreams(server.reactor, ways))
    )


class World:
    """Upstreams over Twisted's transports in memory.

    :param ways: makes them.
    :param verdicts: says of an address, or of None, what the rules say; else they send everything to ``up``.
    """

    def __init__(
        self,
        ways: Callable[[Any], dict[str, Way]] | None = None,
        verdicts: Callable[[str | None], Any] = lambda _: VIA,
        hosts: dict[bytes, Any] | None = None,
        **terms: Any,
    ) -> None:
        self.reactor = FakeReactor()
        self.resolver = FakeResolver(hosts)
        self.direct = DirectDialer(self.reactor, self.resolver)
        one = upstream(**terms)
        made = {"up": Path("up", [one], self.reactor)} if ways is None else ways(self.reactor)
        self.ways: dict[str, Any] = dict(made)
        self.dialer = Upstreams(self.reactor, made, self.direct)
        self.counters = self.dialer.begin(self.direct, Settings())
        self.asked: list[str | None] = []
        self._verdicts = verdicts

    def judge(self, host: str | None) -> Any:
        self.asked.append(host)
        return self._verdicts(host)

    def dial(self, target: Address = TARGET, **options: Any) -> "Dialling":
        return Dialling(begin_dial(self.dialer, target, self.judge, **options))

    def bind(self, expected: Address = TARGET, **settings: Any) -> "Dialling":
        access = ASKER._replace(command=Command.BIND, target=expected)
        asked: Any = {"settings": Settings(**settings), "near": "::1"}
        return Dialling(self.dialer.await_peer(access, expected, self.judge, **asked))

    @property
    def connecting(self) -> list[tuple[str, int]]:
        return [
            (each.host, each.port) for each in self.reactor.connectors if each.state == "connecting"
        ]

    def accept(self) -> FakeTransport:
        """Whoever was dialled last accepts."""
        return self.reactor.connectors[-1].succeed()

    def greeted(self, *before: bytes) -> FakeTransport:
        """It does, and has lets us ask."""
        transport = self.accept()
        for answer in (*before, NO_AUTHENTICATION):
            self.answer(transport, answer)
        return transport

    def answer(self, transport: FakeTransport, data: bytes) -> None:
        self.reactor.turn()
        transport.deliver(data)
        self.reactor.turn()

    def sent(self, transport: FakeTransport) -> bytes:
        self.reactor.turn()
        data = transport.value()
        transport.clear()
        return data

    def assert_nothing_is_left(self) -> None:
        self.reactor.turn()
        assert self.connecting == []
        assert len(self.direct.deadlines) == 0
        self.reactor.advance(400)
        assert self.reactor.getDelayedCalls() == []


class Dialling:
    """What has come of a dial."""

    def __init__(self, dialling: Deferred[Any]) -> None:
        self.deferred = dialling
        self.given: list[Any] = []
        dialling.addBoth(self.given.append)

    @property
    def failure(self) -> Failure:
        [failure] = self.given
        assert isinstance(failure, Failure), failure
        return failure

    @property
    def code(self) -> int:
        return reply_for(self.failure)

    @property
    def stream(self) -> Any:
        [stream] = self.given
        assert not isinstance(stream, Failure), stream
        return stream


def request(host: str | bytes = HOST, port: int = 80) -> bytes:
    return Request(Command.CONNECT, Address(host, port)).encode()


def reply(code: int = 0, bound: Address = BOUND) -> bytes:
    return Reply(code, bound).encode()
