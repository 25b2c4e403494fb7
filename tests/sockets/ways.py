"""A way of one's own, for all three commands: targets, peers and datagrams in memory, without a socket."""

from collections.abc import Hashable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from socks5.access import Access, Verdict
from socks5.interfaces import IDatagramReceiver, IDatagrams, IDialer, IPeerPort, Judge
from socks5.outbound.attempts import Stream
from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.errors import ConnectionRefused, NotAllowed
from socks5.settings import Settings
from socks5.streams import IStream
from tests.support.transports import FakeTransport

BOUND = Address("192.0.2.10", 40001)
"""Where everything comes from, and peers are awaited, as clients are told."""


async def is_allowed(verdict: Verdict | Deferred[Verdict]) -> bool:
    return (await verdict if isinstance(verdict, Deferred) else verdict).is_allowed is True


class MemoryStream(Stream):
    """A stream whose transport has no address that would tell anything."""

    bound: Any = UNSPECIFIED
    far: Any = None

    @classmethod
    def towards(cls, reactor: Any, far: Address, bound: Address) -> "MemoryStream":
        stream = cls()
        stream.bound, stream.far = bound, far
        FakeTransport(reactor).connect(stream)
        return stream


@implementer(IDialer)
class MemoryDialer:
    """To be played by tests: ``targets`` accept, ``error`` is why nobody does; ``accepted`` are the streams made,
    ``ports`` those of BINDs, ``datagrams`` the associations.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.targets: set[Address] = set()
        self.error: Exception = ConnectionRefused("nobody listens")
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
            raise self.error
        return self.connected(target, BOUND)

    def connected(self, far: Address, bound: Address) -> IStream:
        self.accepted.append(MemoryStream.towards(self._reactor, far, bound))
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
        self.is_open = True

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
        self.is_open = False
