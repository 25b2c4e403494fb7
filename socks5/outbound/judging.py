"""Verdicts on the way to a target. One that is there at once costs nothing; while another is awaited, what it is about
waits: the next address of a name, or a stream that is there already, which is kept unread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.access import DENIED, Verdict
from socks5.interfaces import Judge
from socks5.net.connection import Connection
from socks5.streams import IStream, IStreamReceiver


def allowed(
    hosts: Iterable[str], judge: Judge, most: int, found: tuple[str, ...] = ()
) -> tuple[str, ...] | Deferred[tuple[str, ...]]:
    """Those of *hosts* that the rules allow, *most* of them at the most. They are asked for one after the other.

    :param found: those that are known already.
    """
    left = iter(hosts)
    for host in left:
        verdict = judge(host)
        if isinstance(verdict, Deferred):
            return verdict.addCallback(_go_on, host, left, judge, most, found)
        if verdict.is_allowed is True:
            found += (host,)
            if len(found) == most:
                break
    return found


def _go_on(
    verdict: Verdict,
    host: str,
    left: Iterable[str],
    judge: Judge,
    most: int,
    found: tuple[str, ...],
) -> tuple[str, ...] | Deferred[tuple[str, ...]]:
    """The verdict on *host* is there now."""
    if verdict.is_allowed is True:
        found += (host,)
    return found if len(found) == most else allowed(left, judge, most, found)


def judged(
    stream: IStream,
    verdict: Verdict | Deferred[Verdict],
    taken: Callable[[IStream], object],
    refused: Callable[[], object],
) -> None:
    """Have *stream* taken if it is allowed, else close it; now, or when that is known. A verdict that is cancelled, or
    fails, refuses; the loss of the stream cancels it.

    :param taken: called with the stream, whose receiver it sets.
    :param refused: called once it is closed.
    """
    if isinstance(verdict, Deferred):
        held = _Held(stream, verdict)
        verdict.addErrback(lambda _: DENIED)
        verdict.addCallback(
            lambda later: held.let_go(lambda: judged(stream, later, taken, refused))
        )
    elif verdict.is_allowed is True:
        taken(stream)
    else:
        transport: Any = stream.transport
        transport.loseConnection()
        refused()


@implementer(IStreamReceiver)
class _Held:
    """Keeps a stream from being read."""

    def __init__(self, stream: IStream, verdict: Deferred[Verdict]) -> None:
        transport: Any = stream.transport
        transport.pauseProducing()
        stream.receiver = self
        self._stream = stream
        self._transport = transport
        self._verdict = verdict

    def let_go(self, take: Callable[[], object]) -> None:
        """Let *take* set another receiver, or close the stream."""
        self._stream.receiver = None
        take()
        if not isinstance(self._transport, Connection):  # a relay resumes that, or has its socket
            self._transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """Never called: the transport is paused."""

    def readConnectionLost(self) -> None:
        """Never called either."""

    def connectionLost(self, reason: Failure) -> None:
        self._verdict.cancel()
