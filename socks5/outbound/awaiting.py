"""Where a proxy awaits the peer of a BIND for us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.access import Verdict
from socks5.interfaces import IPeerPort, Judge
from socks5.outbound.judging import judged, only_via, refusal
from socks5.outbound.through import Through
from socks5.protocol.address import Address
from socks5.protocol.errors import GeneralFailure, TTLExpired
from socks5.streams import IStream


@implementer(IPeerPort)
class ThroughPort:
    """A port of a proxy's, between its two replies.

    :param bound: where that is.
    :param expected: who may come: an IP literal; None: whoever the proxy lets in.
    :param judge: is asked about who has come.
    :param via: the name by which rules send him here; by another one nobody comes in.
    :param upstream: the proxy's own name.
    :param give_up: called if nobody is waited for any more.
    """

    def __init__(
        self,
        bound: Address,
        expected: str | None,
        judge: Judge,
        via: str,
        upstream: str,
        give_up: Callable[[], object],
    ) -> None:
        self.bound = bound
        self.upstream = upstream
        self.peer: Deferred[IStream] = Deferred(lambda _: self.close())
        self._expected = expected
        self._judge = judge
        self._via = via
        self._give_up: Callable[[], object] | None = give_up
        self._is_closed = False
        self._timer: Any = None

    def wait(self, clock: Any, seconds: float) -> ThroughPort:
        """Wait so long, and no longer."""
        self._timer = clock.callLater(seconds, self._too_long)
        return self

    def ended(self, outcome: Through | Failure) -> None:
        """The second reply is there: the peer's stream, or why there is none."""
        if not self._is_open():
            return
        self._leave()
        if isinstance(outcome, Failure):
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
        elif self._expected is not None and peer.host != self._expected:
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

    def _is_open(self) -> bool:
        return self._give_up is not None

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
