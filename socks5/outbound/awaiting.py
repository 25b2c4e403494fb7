"""Where a proxy awaits the peer of a BIND for us."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.access import Verdict
from socks5.interfaces import IPeerPort, Judge
from socks5.outbound.judging import judged, only_via, refusal
from socks5.outbound.through import Going, Through
from socks5.protocol.address import Address
from socks5.protocol.errors import GeneralFailure, TTLExpired
from socks5.protocol.messages import Reply
from socks5.streams import IStream


@implementer(IPeerPort)
class ThroughPort:
    """A port of a proxy's, which says by its first reply where it is, and by its second who has come.

    :param expected: who may come; None: whoever the proxy lets in.
    :param judge: is asked about who has come.
    :param via: the name by which rules send him here; by another one nobody comes in.
    :param upstream: the proxy's own name.
    :param failed: called if there was a port, and there is no second reply of success.
    """

    bound: Address

    def __init__(
        self,
        expected: Address | None,
        judge: Judge,
        via: str,
        upstream: str,
        failed: Callable[[Failure], object],
    ) -> None:
        self.upstream = upstream
        self.peer: Deferred[IStream] = Deferred(lambda _: self.close())
        self._first: Deferred[tuple[Reply, Any]] = Deferred()
        self._expected = expected
        self._judge = judge
        self._via = via
        self._failed = failed
        self._give_up: Callable[[], object] | None = None
        self._is_closed = False
        self._timer: Any = None

    async def open(
        self,
        standing: Going,
        dialling: Coroutine[Any, Any, Through],
        where: Callable[[Address, Any], Address],
    ) -> None:
        """Await the first reply.

        :param dialling: the request, which returns with the second one.
        :param where: says where it is, by what the first one says and the transport that it came by.
        :raises Exception: there is no port.
        """
        standing.tell = lambda *said: self._first.callback(said)
        going = Deferred.fromCoroutine(dialling)

        def give_up() -> None:
            standing.is_over = True
            going.cancel()

        going.addBoth(self._ended)
        try:
            reply, transport = await self._first
            self.bound = where(reply.address, transport)
        except BaseException:
            give_up()
            raise
        self._give_up = give_up

    def wait(self, clock: Any, seconds: float) -> ThroughPort:
        """Wait so long for the second, and no longer."""
        self._timer = clock.callLater(seconds, self._too_long)
        return self

    def _ended(self, outcome: Through | Failure) -> None:
        """The second reply is there: the peer's stream, or why there is none. Or it is why there is no first one."""
        if not self._first.called:
            assert isinstance(outcome, Failure)
            self._first.errback(outcome)
            return
        is_awaited = self._leave() is not None
        if isinstance(outcome, Failure):
            self._failed(outcome)
            if is_awaited:
                self.peer.errback(outcome)
            return
        try:
            self._look_at(outcome)
        except Exception:  # here, for whoever calls knows nothing of rules
            self._refuse(outcome, Failure())

    def _look_at(self, stream: Through) -> None:
        peer = stream.far
        if peer is None or peer.is_unspecified:
            self._refuse(stream, Failure(GeneralFailure("nobody says who has come")))
        elif self._expected is not None and peer.host != self._expected.host:
            self._refuse(stream, Failure(GeneralFailure(f"another peer came, {peer}")))
        else:
            verdict = only_via(self._judge(peer.text), self._via)
            if isinstance(verdict, Deferred):
                self._give_up = verdict.cancel
            judged(stream, verdict, self._take, self._refused)

    def _take(self, stream: IStream) -> None:
        self._give_up = None
        self.peer.callback(stream)

    def _refused(self, verdict: Verdict) -> None:
        if not self._is_closed:
            self.peer.errback(Failure(refusal(verdict, "the rules forbid the peer")))

    def _refuse(self, stream: Through, failure: Failure) -> None:
        transport: Any = stream.transport
        transport.abortConnection()
        self.peer.errback(failure)

    def _leave(self) -> Callable[[], object] | None:
        give_up, self._give_up = self._give_up, None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        return give_up

    def _too_long(self) -> None:
        self.close()
        self.peer.errback(Failure(TTLExpired("no peer connected in time")))

    def close(self) -> None:
        """See :meth:`socks5.interfaces.IPeerPort.close`."""
        self._is_closed = True
        give_up = self._leave()
        if give_up is not None:
            give_up()
