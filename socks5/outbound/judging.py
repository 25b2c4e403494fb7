"""Verdicts on the way to a target. One that is there at once costs nothing; while another is awaited, what it is about
waits: the next address of a name, or a stream that is there already, which is kept unread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.access import ALLOWED, DENIED, NO_NAME, NO_SOURCE, Access, Verdict
from socks5.interfaces import Judge
from socks5.net.connection import Connection
from socks5.net.transport_stream import close
from socks5.protocol.errors import AddressTypeNotSupported, HostUnreachable, NotAllowed, ReplyError
from socks5.protocol.messages import ReplyCode
from socks5.settings import PerFamily, Settings
from socks5.streams import IStream, IStreamReceiver


def refusal(verdict: Verdict, words: str) -> ReplyError:
    """What becomes the reply that a refusal asks for.

    :param words: for the record.
    """
    if verdict is NO_NAME:
        return HostUnreachable("not a host name")
    code = verdict.reply
    return NotAllowed(words, code if 1 <= code <= 0xFF else ReplyCode.NOT_ALLOWED)


def is_plain(verdict: Verdict | Deferred[Verdict]) -> bool:
    """Whether it allows, at once, and wants nothing else."""
    return (
        isinstance(verdict, Verdict)
        and verdict.is_allowed is True
        and verdict.source is NO_SOURCE
        and verdict.via is None
    )


def only_via(
    verdict: Verdict | Deferred[Verdict], via: str | None = None
) -> Verdict | Deferred[Verdict]:
    """A verdict for somebody who has come already: it refuses, if it wants him to come another way.

    :param via: the upstream that he has come through; None: through none.
    """
    if isinstance(verdict, Deferred):
        return verdict.addCallback(only_via, via)
    return verdict if verdict.via == via else DENIED


def source_of(verdict: Verdict, access: Access) -> PerFamily | None:
    """Where somebody who is allowed leaves from: a family without an address is not used. None: as the settings say."""
    source = verdict.source
    if isinstance(source, PerFamily):
        return None if source == NO_SOURCE else source
    here = access.server if access.client else ""  # a UNIX socket has no address
    return PerFamily(ipv6=here) if ":" in here else PerFamily(ipv4=here or None)


async def known(verdict: Verdict | Deferred[Verdict]) -> Verdict:
    """The same, once it is there."""
    return await verdict if isinstance(verdict, Deferred) else verdict


class Allowed:
    """Which of a target's addresses may be used.

    :param access: who asks for what.
    :param takes_via: whether somebody here goes by the first one's ``via``.
    """

    __slots__ = ("_access", "_first", "_refused", "_takes_via", "has_family", "hosts", "source")

    def __init__(self, access: Access, takes_via: bool = False) -> None:
        self._access = access
        self._takes_via = takes_via
        self._first: Verdict | None = None
        self._refused: Verdict = DENIED
        self.hosts: tuple[str, ...] = ()
        """Those, in order."""
        self.source: PerFamily | None = None
        """Where they are reached from; None: from where the settings say."""
        self.has_family = True
        """Whether all that are missing are so for what the rules say of them, and not for want of a source."""

    def add(self, host: str, verdict: Verdict) -> None:
        """Take note of a verdict. Of those that allow the first says how: others have to agree."""
        is_elsewhere = verdict.via is not None and not self._takes_via  # nobody here goes that way
        if verdict.is_allowed is not True or is_elsewhere:
            self._refused = verdict
            return
        if verdict is ALLOWED and self._first is None:
            self._first = verdict
        elif self._first is None:
            self._first = verdict
            self.source = source_of(verdict, self._access)
        elif not _are_alike(verdict, self._first):
            return
        if self.source is None or self.source.like(host) is not None:
            self.hosts += (host,)
        else:
            self.has_family = False

    @property
    def via(self) -> str | None:
        """Through which upstream they are reached; None: through none."""
        return None if self._first is None else self._first.via

    def under(self, settings: Settings) -> Settings:
        """The settings, with the source in them."""
        return settings if self.source is None else replace(settings, outgoing=self.source)

    def refusal(self, words: str) -> ReplyError:
        """Why there are none.

        :param words: for the record, if the rules forbid them.
        """
        if self.has_family:
            return refusal(self._refused, words)
        return AddressTypeNotSupported("the rule has no source of that family")


def _are_alike(verdict: Verdict, other: Verdict) -> bool:
    return verdict is other or (
        (verdict.source, verdict.limits) == (other.source, other.limits)
        and verdict.via == other.via
    )


def allowed(
    hosts: Iterable[str], judge: Judge, most: int, found: Allowed
) -> Allowed | Deferred[Allowed]:
    """Those of *hosts* that the rules allow, *most* of them at the most. They are asked for one after the other.

    :param found: what is known already; takes note of what is found.
    """
    left = iter(hosts)
    for host in left:
        verdict = judge(host)
        if isinstance(verdict, Deferred):
            return verdict.addCallback(_go_on, host, left, judge, most, found)
        found.add(host, verdict)
        if len(found.hosts) == most:
            break
    return found


def _go_on(
    verdict: Verdict, host: str, left: Iterable[str], judge: Judge, most: int, found: Allowed
) -> Allowed | Deferred[Allowed]:
    """The verdict on *host* is there now."""
    found.add(host, verdict)
    return found if len(found.hosts) == most else allowed(left, judge, most, found)


def judged(
    stream: IStream,
    verdict: Verdict | Deferred[Verdict],
    taken: Callable[[IStream], object],
    refused: Callable[[Verdict], object],
) -> None:
    """Have *stream* taken if it is allowed, else close it; now, or when that is known. A verdict that is cancelled, or
    fails, refuses; the loss of the stream cancels it.

    :param taken: called with the stream, whose receiver it sets.
    :param refused: called once it is closed, with the verdict.
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
        close(stream.transport)
        refused(verdict)


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
