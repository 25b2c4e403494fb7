"""Fragments of one client's datagrams (RFC 1928 section 7): one sequence at a time, from one port, for so long."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from socks5.protocol.datagram import Datagram, Reassembler
from socks5.settings import Settings


class Fragments:
    """The sequence that is under way.

    :param dropped: told for how many fragments there is no datagram.
    """

    def __init__(
        self, reactor: IReactorTime, settings: Settings, dropped: Callable[[int], None]
    ) -> None:
        self._reactor = reactor
        self._timeout = settings.reassembly_timeout
        self._dropped = dropped
        self._reassembler = Reassembler(settings.max_fragments)
        self._sender: Hashable = None
        self._timer: IDelayedCall | None = None

    def receive(self, datagram: Datagram, sender: Hashable) -> Datagram | None:
        """Take a datagram, of which others may be behind or before.

        :returns: the whole one, if this was the last part or is none.
        """
        if sender != self._sender:
            self.abandon()
            self._sender = sender
        whole, dropped = self._reassembler.receive(datagram)
        self._dropped(dropped)
        is_pending = self._reassembler.is_pending
        if self._timer is not None and (not is_pending or dropped):
            self._stop_timer()
        if is_pending and self._timer is None:
            self._timer = self._reactor.callLater(self._timeout, self._too_late)
        return whole

    @property
    def is_pending(self) -> bool:
        """Whether a sequence is under way."""
        return self._timer is not None

    def abandon(self) -> None:
        """Something else has come, or nothing comes any more."""
        if self._timer is not None:
            self._stop_timer()
            self._dropped(self._reassembler.clear())

    def _too_late(self) -> None:
        self._timer = None
        self._dropped(self._reassembler.clear())

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        assert timer is not None
        timer.cancel()
