"""The links of one client's association: what of its datagrams goes through which upstream, as the verdicts on their
targets say. Where a verdict sends them, they go, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError

from socks5.access import Verdict
from socks5.names import as_judged
from socks5.outbound.associating import UpstreamAssociation
from socks5.outbound.departure import NOT_ALLOWED
from socks5.outbound.link import NO_UPSTREAM, Departing, Link, LinkWay, Side
from socks5.outbound.targets import DatagramTerms
from socks5.protocol.address import Address
from socks5.protocol.errors import ReplyError
from socks5.protocol.messages import Command


class Lead(NamedTuple):
    """How a dialer leads datagrams through its upstreams.

    :param way: gives the upstream that a verdict names.
    :param find: gives the one that has such a name now; None: there is none any more.
    :param open: has one open an association, for a target.
    """

    way: Callable[[str], LinkWay]
    find: Callable[[str], LinkWay | None]
    open: Callable[[Any, Address], Deferred[UpstreamAssociation]]


class Links:
    """See the module.

    :ivar lead: of the dialer of now; after a reload another one is put here. None: the dialer has no upstreams.
    """

    def __init__(self, side: Side) -> None:
        self._side = side
        self.lead: Lead | None = None
        self._links: dict[str, Link] = {}

    @property
    def upstreams(self) -> set[str]:
        """The names of the ways that datagrams have gone, or that were tried for them."""
        return {name for link in self._links.values() for name in link.upstreams}

    def send_again(self, target: Address, payload: bytes, client: Hashable) -> str | None:
        """Send to a target that one of them knows.

        :returns: why not, or ""; None: none of them does.
        """
        for link in self._links.values():
            if link.knows(target):
                return link.send_again(target, payload, client)
        return None

    def send_as(
        self, verdict: Verdict, target: Address, host: str | None, payload: bytes, client: Hashable
    ) -> str | None:
        """See :meth:`socks5.outbound.datagrams.DirectDatagrams.send_as`. The verdict names an upstream."""
        assert verdict.via is not None
        if self.lead is None:
            return NOT_ALLOWED
        try:
            way = self.lead.way(verdict.via)
        except ReplyError:  # there is none of that name
            return NO_UPSTREAM
        if Command.UDP_ASSOCIATE not in way.commands:
            return NO_UPSTREAM
        far: str | bytes | None = host
        if host is None and target.is_name and way.resolves:
            try:
                far = as_judged(target).host
            except DNSLookupError:
                return "unknown name"
        if far is None:
            return None
        meter = self._side.receiver.meter_of(verdict) if verdict.limits else None
        terms = DatagramTerms(None, meter, Address(far, target.port))
        return self._link(verdict.via, way).send(target, payload, client, terms)

    def _link(self, via: str, way: LinkWay) -> Link:
        link = self._links.get(via)
        if link is None:
            link = self._links[via] = Link(self._side, way, self._open)
        return link

    def _open(self, way: LinkWay, target: Address) -> Deferred[UpstreamAssociation]:
        assert self.lead is not None
        return self.lead.open(way, target)

    def rejudge(self) -> list[Departing]:
        """The rules are others now.

        :returns: what has waited, and is to be judged anew.
        """
        if self.lead is None:
            return []
        find, links = self.lead.find, self._links.items()
        return [each for via, link in links for each in link.rejudge(find(via))]

    def look(self) -> None:
        """See :meth:`socks5.outbound.link.Link.look`."""
        for link in self._links.values():
            link.look()

    def close(self) -> None:
        """The client's association is over."""
        for link in self._links.values():
            link.close()
