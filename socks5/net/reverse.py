"""Addresses to names: the system's getnameinfo(3), in threads.

Each client has a share of the threads, and those who wait have their turns by client, as with names
(:mod:`socks5.net.resolver`). Nothing is remembered: few ask, and whoever has the address has chosen the answer.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import DNSLookupError

from socks5.deadlines import Deadlines
from socks5.names import hostname
from socks5.net.lookups import LookupThreads
from socks5.net.shares import Shares
from socks5.protocol.networks import socket_name
from socks5.settings import Capacity, Settings

CLIENTS_OF_THREADS = 8
"""Among so many clients the threads are shared out: what hangs keeps its thread, and must not have all of them."""


class _Asked:
    """An address whose name is looked up, or waits for that."""

    __slots__ = ("address", "wait")

    def __init__(self, address: str, leave: Callable[[_Asked], None]) -> None:
        self.address = address
        self.wait: Deferred[bytes] | None = Deferred(lambda _: leave(self))


class ReverseLookups:
    """See the module.

    :param reactor: where outcomes are told, and time passes.
    :param settings: gives the time-out.
    :param capacity: how many at a time.
    """

    def __init__(self, reactor: Any, settings: Callable[[], Settings], capacity: Capacity) -> None:
        threads = capacity.resolver_threads
        share = max(1, threads // CLIENTS_OF_THREADS)
        room, room_share = capacity.names_waiting, capacity.names_waiting_per_client
        self._reactor = reactor
        self._settings = settings
        self._threads = LookupThreads.begun(threads)
        self._shares: Shares[_Asked] = Shares(threads, share, room, room_share, self._begin)
        self._deadlines = Deadlines(reactor)
        self.close = self._threads.close

    def name_of(self, address: str, client: Hashable) -> Deferred[bytes]:
        """See :meth:`socks5.interfaces.IResolver.name_of`.

        :param client: whose share it is.
        """
        asked = _Asked(address, partial(self._leave, client))
        wait = asked.wait
        assert wait is not None
        seconds = self._settings().resolve_timeout
        self._deadlines.set(asked, seconds, partial(self._too_long, asked, client))
        if not self._shares.enter(asked, client):
            self._leave(client, asked)
            return fail(DNSLookupError("too many names are being resolved"))
        return wait

    def _leave(self, client: Hashable, asked: _Asked) -> None:
        """Nobody waits for it any more. What runs already keeps its thread until it is over."""
        asked.wait = None
        self._deadlines.clear(asked)
        self._shares.withdraw(asked, client)

    def _too_long(self, asked: _Asked, client: Hashable) -> None:
        wait = asked.wait
        assert wait is not None
        self._leave(client, asked)
        wait.errback(DNSLookupError("no name found in time"))

    def _begin(self, asked: _Asked, client: Hashable) -> None:
        """It is the turn of *client*."""
        tell = partial(self._reactor.callFromThread, self._over, asked, client)
        self._threads.callInThreadWithCallback(tell, _looked_up, asked.address)

    def _over(self, asked: _Asked, client: Hashable, is_found: bool, outcome: Any) -> None:
        wait = asked.wait
        if wait is not None:
            self._leave(client, asked)
            if is_found:
                wait.callback(outcome)
            else:
                wait.errback(outcome)
        self._shares.leave(client)


def _looked_up(address: str) -> bytes:
    """The name of an address, in a form that may be told: whoever has the address may have said anything.

    :raises twisted.internet.error.DNSLookupError: it has none.
    """
    try:
        name, _ = socket.getnameinfo(socket_name(address, 0), socket.NI_NAMEREQD)
        return hostname(name.removesuffix(".").encode()).encode()
    except (OSError, UnicodeError) as error:  # gaierror and DNSLookupError are OSErrors
        raise DNSLookupError("no name found") from error
