"""One call of ``connect``: its deadline, its cancelling, and its outcome, which it has once.

The one deadline is over all of it, look-ups and hops included. Whatever the outcome, nothing is left: no socket, no
timer and no look-up whose answer anybody takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.python.failure import Failure

from socks5.client.errors import ProxyTimeout, ReplyError
from socks5.client.hops import Hop
from socks5.client.layers import Layer
from socks5.client.lookup import Lookup
from socks5.client.tunnel import Standing
from socks5.protocol.address import Address
from socks5.protocol.messages import ReplyCode

MAX_ADDRESSES = 4
"""How many addresses of a name the proxy is asked for, where names are resolved here."""

_GO_ON = frozenset(
    {
        ReplyCode.NETWORK_UNREACHABLE,
        ReplyCode.HOST_UNREACHABLE,
        ReplyCode.CONNECTION_REFUSED,
        ReplyCode.TTL_EXPIRED,
    }
)
"""REP octets that say something of one address, and nothing of the next."""


class Attempt(Standing):
    """See above.

    :param clock: IReactorTime and, for look-ups, IReactorPluggableNameResolver.
    :param timeout: seconds for all of it; None: no end.
    :param hops: for texts.
    :param shown: the target, for ConnectingCancelledError.
    :param layer_to: makes the way to what the last hop is asked for.
    :param factory: its ``doStart`` and ``doStop`` are called once each.
    """

    __slots__ = (
        *("outcome", "_clock", "_timeout", "_hops", "_shown", "_layer_to", "_factory"),
        *("_timer", "_under_way", "_left", "_has_stopped"),
    )

    def __init__(
        self,
        clock: Any,
        timeout: float | None,
        hops: Sequence[Hop],
        shown: IAddress,
        layer_to: Callable[[Standing, Address], Layer],
        factory: IProtocolFactory,
    ) -> None:
        super().__init__()
        self.outcome: Deferred[Any] = Deferred(self._cancelled)
        self._clock = clock
        self._timeout = timeout
        self._hops = hops
        self._shown = shown
        self._layer_to = layer_to
        self._factory = factory
        self._timer: Any = None
        self._under_way: Deferred[Any]
        self._left: list[Address] = []
        self._has_stopped = False

    def start(self, target: Address, is_resolved_here: bool) -> Deferred[Any]:
        """Begin.

        :param is_resolved_here: whether the target is a name that no proxy is to know.
        :returns: :attr:`outcome`: fires with the protocol.
        """
        try:
            self._factory.doStart()
        except Exception:
            self._has_stopped = True
            self._fail(Failure())
            return self.outcome
        if self._timeout is not None:
            self._timer = self._clock.callLater(self._timeout, self._timed_out)
        if is_resolved_here:
            self.stage = "resolve"
            self._await(Lookup(self._clock, target).start(), self._resolved)
        else:
            self._left = [target]
            self._next()
        return self.outcome

    def _await(self, deferred: Deferred[Any], done: Callable[[Any], None]) -> None:
        """It is cancelled if it is over before."""
        self._under_way = deferred
        deferred.addCallbacks(done, self._failed)

    def _resolved(self, addresses: list[Address]) -> None:
        self._left = addresses[:MAX_ADDRESSES]
        self._next()

    def _next(self) -> None:
        """Ask for the next address, on a connection of its own."""
        layer = self._layer_to(self, self._left.pop(0))
        self._await(layer.connect(self._factory, self._stop), self._succeed)

    def _succeed(self, protocol: Any) -> None:
        self._end()
        self.outcome.callback(protocol)

    def _failed(self, failure: Failure) -> None:
        """What was under way has failed."""
        value = failure.value
        if self.is_over:
            return
        if self._left and isinstance(value, ReplyError) and value.code in _GO_ON:
            self._next()
        else:
            self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        self._end()
        self._stop()
        self.outcome.errback(failure)

    def _timed_out(self) -> None:
        self._timer = None
        where = (
            "the target's name"
            if self.stage == "resolve"
            else f"{self._hops[self.hop - 1]} (hop {self.hop})"
        )
        text = f"{where}: not in {self._timeout:g} s, at stage {self.stage}"
        error = ProxyTimeout(text, stage=self.stage, hop=self.hop)
        self._give_up()
        self._fail(Failure(error))

    def _cancelled(self, outcome: object) -> None:
        self._give_up()
        self._fail(Failure(ConnectingCancelledError(self._shown)))

    def _give_up(self) -> None:
        self._end()
        self._under_way.cancel()

    def _end(self) -> None:
        self.is_over = True
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _stop(self) -> None:
        """The factory has no connection, or none any more."""
        if not self._has_stopped:
            self._has_stopped = True
            self._factory.doStop()
