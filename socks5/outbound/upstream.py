"""One proxy that targets are reached through, and who has a connection to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from socks5.access import NO_SOURCE
from socks5.client.hops import Hop
from socks5.outbound.terms import Terms
from socks5.protocol.messages import Command
from socks5.protocol.networks import subscriber
from socks5.settings import Settings

CLIENTS = 4
"""Among so many clients the connections to one upstream are shared out."""


class _Taken:
    """Places that are taken: how many, and how many by each client."""

    def __init__(self) -> None:
        self.all = 0
        self.by: Counter[bytes] = Counter()


class Upstream:
    """A proxy.

    :param name: how it is called.
    :param hop: where it is, and who logs in there.
    :param terms: how it is used.
    """

    def __init__(self, name: str, hop: Hop, terms: Terms) -> None:
        self.name = name
        self.hop = hop
        self.terms = terms
        self._taken = _Taken()
        self._share = max(1, terms.max_connections // CLIENTS)
        self._under: tuple[Settings, Settings] | None = None

    @property
    def key(self) -> object:
        """What it is equal to another one by, over a reload."""
        return self.name, self.hop.place, self.hop.login

    @property
    def has_udp(self) -> bool:
        """Whether it is asked for associations."""
        return Command.UDP_ASSOCIATE in self.terms.commands and not self.hop.is_http

    def under(self, settings: Settings) -> Settings:
        """A session's settings, with the source and the time that connections to it have."""
        if self._under is None or self._under[0] is not settings:
            terms = self.terms
            changed: dict[str, Any] = {"connect_timeout": terms.timeout}
            if terms.source != NO_SOURCE:
                changed |= {"outgoing": terms.source, "outgoing_family": None}
            self._under = settings, replace(settings, **changed)
        return self._under[1]

    def take(self, client: bytes) -> bool:
        """Take a place for one more connection.

        :param client: whose; see :func:`~socks5.protocol.networks.subscriber`.
        :returns: whether there is one.
        """
        taken = self._taken
        if taken.all >= self.terms.max_connections or taken.by[client] >= self._share:
            return False
        taken.all += 1
        taken.by[client] += 1
        return True

    def give_back(self, client: bytes) -> None:
        """That connection is gone."""
        taken = self._taken
        taken.all -= 1
        taken.by[client] -= 1
        if not taken.by[client]:
            del taken.by[client]

    def go_on(self, before: Upstream) -> None:
        """Take the place of another one that is the same proxy: its connections count on."""
        self._taken = before._taken


class Places:
    """One place at each of several upstreams.

    :param upstreams: those.
    :param client: the client's IP literal, or "".
    """

    __slots__ = ("_client", "_taken")

    def __init__(self, upstreams: Iterable[Upstream], client: str) -> None:
        self._client = subscriber(client)
        self._taken: list[Upstream] = []
        for each in upstreams:
            if not each.take(self._client):
                self.give_back()
                break
            self._taken.append(each)

    @property
    def are_there(self) -> bool:
        """Whether they are taken: all of them, or none is."""
        return bool(self._taken)

    def give_back(self) -> None:
        """They are free again. Harmless twice."""
        taken, self._taken = self._taken, []
        for each in taken:
            each.give_back(self._client)
