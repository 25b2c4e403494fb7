"""One request: its deadline, its cancelling, and its outcome, which it has once.

The one deadline is over all of it, look-ups and hops included. Whatever the outcome, nothing is left: no socket, no
timer and no look-up whose answer anybody takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from typing import Protocol as TypingProtocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from socks5.client.errors import ProxyTimeout, ReplyError
from socks5.client.hops import Hop
from socks5.client.layers import TCP, Bind, first_connection, layer_to
from socks5.client.lookup import Lookup
from socks5.client.names import twisted_address
from socks5.client.opening import Opening
from socks5.client.tunnel import Standing, steps_to
from socks5.protocol.address import Address
from socks5.protocol.messages import OF_ONE_ADDRESS, Command

_log = Logger()

MAX_ADDRESSES = 4
"""How many addresses of a name the proxy is asked for, where names are resolved here."""


class Way(TypingProtocol):
    """What there is to know of a :class:`~socks5.client.endpoint.Proxy`."""

    @property
    def reactor(self) -> Any:
        """What the way needs of one."""

    @property
    def hops(self) -> Sequence[Hop]:
        """The nearest first."""

    @property
    def timeout(self) -> float | None:
        """Seconds until the last reply."""

    @property
    def rdns(self) -> bool:
        """Whether names go to the last hop."""

    @property
    def bind_address(self) -> Bind:
        """Where the connection to the first comes from."""


def first_of(way: Way) -> IStreamClientEndpoint | TCP:
    """Leads to the first hop of a way, without its TLS."""
    return first_connection(way.reactor, way.hops[0], way.bind_address)


class Attempt(Standing):
    """See above.

    :param target: what the last hop is asked for.
    :param factory: its ``doStart`` and ``doStop`` are called once each.
    :param command: how it is asked: a CMD octet.
    :param first: see :func:`first_of`.
    """

    __slots__ = (
        *("outcome", "_way", "_target", "_shown", "_factory", "_command", "_first"),
        *("_timer", "_under_way", "_left", "_has_stopped"),
    )

    def __init__(
        self,
        way: Way,
        target: Address,
        factory: IProtocolFactory,
        command: int = Command.CONNECT,
        first: IStreamClientEndpoint | TCP | None = None,
    ) -> None:
        super().__init__()
        self.outcome: Deferred[Any] = Deferred(self._cancelled)
        self._way = way
        self._target = target
        self._shown = twisted_address(target)
        self._factory = factory
        self._command = command
        self._first = first or first_of(way)
        self._timer: Any = None
        self._under_way: Any  # what is cancelled if it is over before
        self._left: list[Address] = []
        self._has_stopped = False

    def start(self) -> Deferred[Any]:
        """Begin.

        :returns: :attr:`outcome`: fires with the protocol.
        """
        try:
            self._factory.doStart()
        except Exception:
            self._has_stopped = True
            self._fail(Failure())
            return self.outcome
        way = self._way
        if way.timeout is not None:
            self._timer = way.reactor.callLater(way.timeout, self._timed_out)
        is_for_the_proxy = way.rdns or self._command == Command.RESOLVE
        if self._target.is_name and not is_for_the_proxy:
            self.stage = "resolve"
            self._under_way = looking = Lookup(way.reactor, self._target).start()
            looking.addCallbacks(self._resolved, self._failed)
        else:
            self._left = [self._target]
            self._next()
        return self.outcome

    def _resolved(self, addresses: list[Address]) -> None:
        self._left = addresses[:MAX_ADDRESSES]
        self._next()

    def _next(self) -> None:
        """Ask for the next address, on a connection of its own."""
        way, address = self._way, self._left.pop(0)
        layer = layer_to(
            way.reactor, way.hops, self._first, self, self._command, address, self._shown
        )
        opening = Opening(layer, self._factory, self._succeed, self._failed, self.lost)
        self._under_way = opening
        opening.start(layer.below)

    def _succeed(self, protocol: Any) -> None:
        self._end()
        self.outcome.callback(protocol)

    def _failed(self, failure: Failure) -> None:
        """What was under way has failed."""
        value = failure.value
        if self.is_over:
            return
        if self._left and isinstance(value, ReplyError) and value.code in OF_ONE_ADDRESS:
            self._next()
        else:
            self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        self._end()
        self._stop()
        self.outcome.errback(failure)

    def _timed_out(self) -> None:
        self._timer = None
        steps = steps_to(self._way.hops, self._target, self._command)
        where = steps[self.hop - 1].text
        if self.stage == "resolve":
            where = f"{self._target.text}, to be resolved here"
        text = f"{where}: not within {self._way.timeout:g} s, at stage {self.stage}"
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
        self.clear_deadline()

    def clear_deadline(self) -> None:
        """What comes now may take as long as it wants."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def lost(self, reason: Failure) -> None:
        """The connection is gone that the protocol had."""
        self._stop()

    def _stop(self) -> None:
        """The factory has no connection, or none any more."""
        if not self._has_stopped:
            self._has_stopped = True
            try:
                self._factory.doStop()
            except Exception:  # which keeps nobody from the outcome
                _log.failure("a factory has failed to stop")
