"""Listeners in the place of those of now, while clients come: all of them, or none.

What listens where one of the new listeners is to listen stays open, and gets that one's name, certificates and policy.
What is not wanted any more serves who has come, and closes. All of it happens within one turn of the reactor, so that
no client meets half of it.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from socks5.app.listeners import Listener, why_not
from socks5.net.listening import Served, listen_with, served
from socks5.net.openers import IPortOpener, IServedPort
from socks5.net.places import TCP, UNIX, Place, can_share_clients, name_of
from socks5.server.factory import ServerFactory
from socks5.settings import ListenerPolicy


class NotExchanged(Exception):
    """Everything stays as it is.

    :param reasons: a sentence for each thing that is in the way.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = reasons
        super().__init__("; ".join(reasons))


def overlap(one: Place, other: Place) -> bool:
    """Whether two that are not the same could have each other's clients."""
    if not (isinstance(one, TCP) and isinstance(other, TCP)) or one.port != other.port:
        return False
    if not one.port or name_of(one) == name_of(other):
        return False
    return can_share_clients(one.interface, other.interface)


class Coming:
    """A factory as listeners see it that are going to be its own, once other logins are.

    :param server: the factory.
    :param methods: METHOD octets that there are then.
    """

    def __init__(self, server: ServerFactory, methods: Collection[int]) -> None:
        self._server = server
        self._methods = methods
        self.reactor = server.reactor
        self.limit = server.limit
        self.counters = server.counters

    def at(self, policy: ListenerPolicy) -> Any:
        """See :meth:`socks5.server.factory.ServerFactory.at`."""
        return self._server.at(policy, self._methods)

    def listens_on(self, port: IListeningPort) -> IListeningPort:
        """See :meth:`socks5.server.factory.ServerFactory.listens_on`."""
        return self._server.listens_on(port)

    def listens_no_more_on(self, port: IListeningPort) -> IListeningPort:
        """See :meth:`socks5.server.factory.ServerFactory.listens_no_more_on`."""
        return self._server.listens_no_more_on(port)


class _Kept(NamedTuple):
    """A port that stays open."""

    port: IServedPort
    before: Listener
    listener: Listener


class Exchange:
    """One attempt.

    :param opener: opens what is not open yet.
    :param server: whose sessions they are for.
    :param listening: what listens now.
    :param wanted: what is to listen then.
    :param methods: METHOD octets that there are then.
    """

    def __init__(
        self,
        opener: IPortOpener,
        server: ServerFactory,
        listening: Mapping[IServedPort, Listener],
        wanted: Sequence[Listener],
        methods: Collection[int],
    ) -> None:
        self._opener = opener
        self._listening = listening
        self._methods = methods
        self._methods_before = tuple(server.in_force.methods)
        self._coming = Coming(server, methods)
        present: defaultdict[str, deque[IServedPort]] = defaultdict(deque)
        for port, listener in listening.items():
            present[name_of(listener.at.where)].append(port)
        self._kept: list[_Kept] = []
        self._more: list[Listener] = []
        for listener in wanted:
            ports = present[name_of(listener.at.where)]
            if ports:
                port = ports.popleft()
                self._kept.append(_Kept(port, listening[port], listener))
            else:
                self._more.append(listener)
        self._fewer = [port for ports in present.values() for port in ports]
        self._opened: dict[IServedPort, Listener] = {}
        self._served: list[Served] = []
        self._modes: list[tuple[UNIX, UNIX]] = []

    @property
    def opened(self) -> int:
        """How many listeners are new."""
        return len(self._opened)

    @property
    def closed(self) -> int:
        """How many are not wanted any more."""
        return len(self._fewer)

    def open(self) -> None:
        """Open what is not open yet, and see to it that nothing fails from then on.

        :raises NotExchanged: something is in the way.
        """
        reasons = [*self._overlaps()]
        try:
            if not reasons:
                reasons = [*self._prepare(), *self._open()]
            if not reasons:
                reasons = [*self._change_modes()]
        finally:
            if reasons:
                self.give_up()
        if reasons:
            raise NotExchanged(reasons)

    def _overlaps(self) -> Iterator[str]:
        for listener in self._more:
            for other in self._listening.values():
                if overlap(listener.at.where, other.at.where):
                    yield listener.wrong(
                        f"{listener.name} overlaps {other.name}, where the proxy listens now: that needs a restart"
                    )

    def _prepare(self) -> Iterator[str]:
        for _, before, listener in self._kept:
            try:
                found = served(
                    listener.at, self._coming, listener.certificates, self._opener.reactor
                )
            except ValueError as error:
                yield listener.wrong(f"{listener.name}: {error}")
                continue
            self._served.append(found)
            is_other = replace(before.at, where=listener.at.where) != listener.at
            if found.factory is None and is_other:
                yield listener.wrong(
                    f"{listener.name}: this endpoint cannot change while it listens; that needs a restart"
                )

    def _open(self) -> Iterator[str]:
        for listener in self._more:
            try:
                listening = listen_with(
                    self._opener, listener.at, self._coming, listener.certificates
                )
            except ValueError as error:
                yield listener.wrong(f"{listener.name}: {error}")
                continue
            found: list[Any] = []
            listening.addBoth(found.append)
            if not found:
                listening.addBoth(_close_late, found)
                yield listener.wrong(
                    f"{listener.name}: this endpoint takes its time; that needs a restart"
                )
            elif isinstance(found[0], Failure):
                reason = why_not(found[0], listener)
                if reason is not None:
                    yield reason
            else:
                self._opened[found[0]] = listener

    def _change_modes(self) -> Iterator[str]:
        for _, before, listener in self._kept:
            old, new = before.at.where, listener.at.where
            if isinstance(old, UNIX) and isinstance(new, UNIX) and old.mode != new.mode:
                try:
                    os.chmod(new.path, new.mode)
                except OSError as error:
                    yield listener.wrong(f"{listener.name}: mode {new.mode:o}: {error.strerror}")
                else:
                    self._modes.append((old, new))

    def give_up(self) -> None:
        """Close what has been opened: everything is as it was."""
        for port in self._opened:
            port.stopListening()
        for old, _ in self._modes:
            with suppress(OSError):
                os.chmod(old.path, old.mode)

    def begin(self) -> dict[IServedPort, Listener]:
        """Serve with the new factories: the policy that they are for is in force now.

        :returns: what listens now, and which listener that is.
        """
        for (port, _, _), found in zip(self._kept, self._served, strict=True):
            _serve(port, found)
        for port in self._fewer:
            self._serve_the_last_of(port, self._listening[port])
        return {port: listener for port, _, listener in self._kept} | self._opened

    def _serve_the_last_of(self, port: IServedPort, listener: Listener) -> None:
        """Nobody comes in there who could not have come in before: what asks nobody for a login may not have been
        meant for whom only a login kept out.
        """
        policy = listener.at.policy
        if policy.methods is None:
            methods = tuple(each for each in self._methods_before if each in self._methods)
            at = replace(listener.at, policy=replace(policy, methods=methods))
            last = served(at, self._coming, listener.certificates, self._opener.reactor)
            _serve(port, last)


def _serve(port: IServedPort, found: Served) -> None:
    if found.factory is not None:
        found.sessions.succeed(port.sessions)
        port.serve(found)


def _close_late(outcome: object, found: Sequence[Any]) -> None:
    """An endpoint has listened after all."""
    if not isinstance(found[0], Failure):
        found[0].stopListening()
