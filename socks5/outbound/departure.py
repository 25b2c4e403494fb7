"""One datagram on its way to the first of its target's addresses that the rules allow and the kernel takes it for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from socks5.access import DENIED, Verdict
from socks5.interfaces import Judge
from socks5.protocol.address import Address

MOST_TRIES = 8
"""Addresses of a name that one datagram is tried at."""


class Way(Protocol):
    """What a departure needs of :class:`~socks5.outbound.datagrams.DirectDatagrams`."""

    judge: Judge
    drop: Callable[..., None]

    def await_verdict(self, verdict: Deferred[Any], size: int, done: Callable[[Any], None]) -> bool:
        """Tell *done* the verdict; False: there is no room to wait for it."""

    def send_as(
        self,
        verdict: Verdict,
        target: Address,
        host: str | None,
        payload: bytes,
        client: Hashable,
    ) -> str | None:
        """Send it as the verdict, which allows it, wants.

        :param host: the address that this is about; None: it is about the target alone.
        :returns: why not, or ""; None: an address is wanted first.
        """


NOT_ALLOWED = "not allowed"
"""Why a datagram is dropped that a rule forbids."""


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
        self._why = NOT_ALLOWED

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
        """Send to *host*, if that is allowed; None: to the target, or go on with its first address.

        :returns: whether nothing is left to be done.
        """
        why: str | None = NOT_ALLOWED
        if verdict.is_allowed is True:
            why = self._way.send_as(verdict, self._target, host, self._payload, self._client)
            self._tries -= 1
        if why is None:
            return False
        if why == NOT_ALLOWED:
            self._rule = verdict.rule
        else:
            self._why = why
        return not why or self._drop_if(host is None or not self._tries)

    def _drop_if(self, is_over: bool) -> bool:
        if is_over:
            self._drop()
        return is_over

    def _drop(self) -> None:
        if self._rule and self._why == NOT_ALLOWED:
            self._way.drop(NOT_ALLOWED, 1, self._rule)
        else:
            self._way.drop(self._why)
