"""One datagram on its way to the first of its target's addresses that the rules allow and the kernel takes it for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from socks5.access import DENIED, NO_SOURCE, Verdict
from socks5.interfaces import Judge
from socks5.outbound.targets import Terms
from socks5.protocol.address import Address

MOST_TRIES = 8
"""Addresses of a name that one datagram is tried at."""


class Way(Protocol):
    """What a departure needs of :class:`~socks5.outbound.datagrams.DirectDatagrams`."""

    judge: Judge
    drop: Callable[..., None]

    def await_verdict(self, verdict: Deferred[Any], size: int, done: Callable[[Any], None]) -> bool:
        """Tell *done* the verdict; False: there is no room to wait for it."""

    def has_room_for(self, target: Address) -> bool:
        """Whether there may be a datagram for *target*."""

    def send_to(
        self,
        target: Address,
        host: str,
        payload: bytes,
        client: Hashable,
        terms: Terms | None = None,
    ) -> str:
        """Send it; why not, or ""."""

    def terms_for(self, verdict: Verdict, host: str) -> Terms | None:
        """What the verdict wants besides; None: what cannot be, for it has no source of that family."""


class Departure:
    """One datagram. The rules are asked about an address when it is wanted.

    :param hosts: the target's addresses, in the order in which they are tried; None asks about the target alone.
    """

    __slots__ = ("_client", "_left", "_payload", "_rule", "_target", "_tries", "_way", "_why")

    def __init__(
        self,
        way: Way,
        target: Address,
        hosts: Iterable[str | None],
        payload: bytes,
        client: Hashable,
    ) -> None:
        self._way = way
        self._target = target
        self._rule = ""
        self._left: Iterator[str | None] = iter(hosts)
        self._payload = payload
        self._client = client
        self._tries = MOST_TRIES
        self._why = "not allowed"

    def go_on(self, done: Callable[[], None] | None = None) -> None:
        """Try one address after the other, until there is a verdict to wait for.

        :param done: called where there is no other to try: then the datagram is somebody else's; None: it is dropped.
        """
        way = self._way
        for host in self._left:
            verdict = way.judge(host, self._target)
            if isinstance(verdict, Deferred):
                size, judged = len(self._payload), partial(self._judged, host, done)
                if not way.await_verdict(verdict, size, judged):
                    way.drop("too many verdicts")
                return
            if self._is_over(host, verdict):
                return
        if done is None:
            self._drop()
        else:
            done()

    def _judged(self, host: str | None, done: Callable[[], None] | None, verdict: Any) -> None:
        if not self._is_over(host, DENIED if isinstance(verdict, Failure) else verdict):
            self.go_on(done)

    def _is_over(self, host: str | None, verdict: Verdict) -> bool:
        """Send to *host*, if that is allowed; None: go on with the first address.

        :returns: whether nothing is left to be done.
        """
        is_allowed = verdict.is_allowed is True and verdict.via is None
        if host is None or not is_allowed:
            if not is_allowed:
                self._rule = verdict.rule
            return self._drop_if(host is None and not is_allowed)
        way = self._way
        if not way.has_room_for(self._target):
            self._why = "too many targets"
            return self._drop_if(True)
        terms = None
        if verdict.source is not NO_SOURCE or verdict.limits:
            terms = way.terms_for(verdict, host)
            if terms is None:
                self._why = "address family"
                return False
        self._why = way.send_to(self._target, host, self._payload, self._client, terms)
        self._tries -= 1
        return not self._why or self._drop_if(not self._tries)

    def _drop_if(self, is_over: bool) -> bool:
        if is_over:
            self._drop()
        return is_over

    def _drop(self) -> None:
        if self._rule and self._why == "not allowed":
            self._way.drop(self._why, 1, self._rule)
        else:
            self._way.drop(self._why)
