"""What CONNECT and BIND have in common: they wait for one stream, and join it to the client's.

While they wait the client is still read, so that its leaving is noticed; what it sends already is kept, bounded, and
goes to the other side first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from socks5.access import ALLOWED, Reason, Verdict
from socks5.interfaces import ISession
from socks5.outbound.attempts import Cancellable
from socks5.outbound.judging import judged, refusal
from socks5.protocol.address import Address
from socks5.protocol.messages import ReplyCode
from socks5.relay.joining import join
from socks5.relay.relay import Relay
from socks5.streams import IStream


def is_allowed(verdict: Verdict | Deferred[Verdict]) -> bool | Deferred[bool]:
    """What a verdict says, as a command says it when it is judged again."""
    if isinstance(verdict, Deferred):
        return verdict.addCallback(lambda later: later.is_allowed)
    return verdict.is_allowed


class StreamCommand:
    """One command that ends in a relay. A subclass starts it, and says :meth:`came` or :meth:`failed`."""

    __slots__ = (
        "_far",
        "_has_new_rules",
        "_is_stopped",
        "_relay",
        "_stream",
        "session",
        "upstream",
        "waiting",
    )

    dropped = 0
    drops: Mapping[str, int] = {}

    def __init__(self, session: ISession) -> None:
        self.session = session
        self.waiting: Cancellable | None = None
        """What is cancelled if the client leaves."""
        self.upstream = ""
        """The name of the upstream that it went through, or has tried last."""
        self._stream: IStream | None = None
        self._far: Address | None = None
        self._relay: Relay | None = None
        self._has_new_rules = False
        self._is_stopped = False

    @property
    def bytes_up(self) -> int:
        """See :class:`socks5.interfaces.ICommand`."""
        return 0 if self._relay is None else self._relay.bytes_up

    @property
    def bytes_down(self) -> int:
        """See :class:`socks5.interfaces.ICommand`."""
        return 0 if self._relay is None else self._relay.bytes_down

    @property
    def far(self) -> Address | None:
        """See :class:`socks5.interfaces.ICommand`. Known before the reply that says so is sent; remembered if it was
        asked for by then, for a closed socket does not say it any more.
        """
        if self._far is None:
            # A stream of somebody else's may be false, and there all the same.
            whom = self._relay if self._stream is None else self._stream
            self._far = None if whom is None else whom.far
        return self._far

    def came(self, stream: IStream) -> None:
        """The stream is there. If the rules were replaced meanwhile, those of now are asked once more."""
        self.waiting, self._stream = None, stream
        through: Any = stream
        self.upstream = getattr(through, "upstream", "")
        session = self.session
        try:
            if self._has_new_rules:
                self._judge_again(stream)
                return
            relay = self._join(stream)
            waiting: bytes = through.waiting if self.upstream else b""
            session.reply(ReplyCode.SUCCEEDED, stream.bound)
            self._relay = relay
            self._stream = None
            if waiting:
                session.control.transport.write(waiting)
            relay.start(session.take_optimistic(), session.has_client_ended, len(waiting))
        except Exception:  # here, for whoever calls knows nothing of the session
            session.crashed(Failure())
            transport: Any = stream.transport
            transport.abortConnection()

    def _join(self, stream: IStream) -> Relay:
        """Join the stream to the client's."""
        session = self.session
        return join(
            session.idle_timers,
            session.settings,
            session.control,
            stream,
            session,
            session.meter,
        )

    def goes_on(self, stream: IStream, octets_up: int, octets_down: int) -> None:
        """The stream is joined to the client's already, and so many octets have been passed on."""
        self._relay = relay = self._join(stream)
        relay.goes_on(octets_up, octets_down)

    def failed(self, failure: Failure) -> None:
        """There will be none."""
        self.upstream = getattr(failure.value, "upstream", self.upstream)
        if not self._is_stopped:
            self.session.fail(failure)

    def _judge_again(self, stream: IStream) -> None:
        self._has_new_rules = False
        verdict = self._ask()
        if isinstance(verdict, Deferred):
            self.waiting = verdict
        judged(stream, verdict, self.came, self._refused)

    def _refused(self, verdict: Verdict) -> None:
        self.failed(Failure(refusal(verdict, "the rules were replaced, and forbid it")))

    def _ask(self) -> Verdict | Deferred[Verdict]:
        """What the rules of now say of whom the stream leads to, if that has an address to ask about."""
        far = self.far
        return ALLOWED if far is None else self.session.judge(far.text)

    def rejudge(self) -> bool | Deferred[bool]:
        """See :meth:`socks5.interfaces.ICommand.rejudge`. Who is not there yet is judged once more when he is."""
        self._has_new_rules = True
        verdict = ALLOWED if self._relay is None else self._ask()
        return is_allowed(verdict)

    # The end

    def client_ended(self) -> bool:
        """See :meth:`socks5.interfaces.ICommand.client_ended`.

        A client that has sent octets and then its end waits for an answer to them; one that has
        sent nothing has left.
        """
        return self.session.pending_octets > 0

    def stop(self, reason: Reason, within: float) -> None:
        """See :meth:`socks5.interfaces.ICommand.stop`."""
        self._is_stopped = True
        if self._relay is not None:
            self._relay.stop(reason, by_force=within <= 0)
            return
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.cancel()
        self.session.end(reason)
