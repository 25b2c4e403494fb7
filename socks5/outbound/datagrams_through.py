"""The targets' side of an association, of who has upstreams: some datagrams go directly, others through one of them, as
the verdict on their target says. Where a verdict sends them, they go, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from typing_extensions import override

from socks5.access import Verdict
from socks5.names import as_judged
from socks5.outbound.associating import UpstreamAssociation
from socks5.outbound.datagrams import DirectDatagrams
from socks5.outbound.link import NO_UPSTREAM, Link, LinkWay, Side
from socks5.outbound.targets import DatagramTerms, looks_in
from socks5.protocol.address import Address
from socks5.protocol.errors import ReplyError
from socks5.protocol.messages import Command


class DatagramsThrough(DirectDatagrams):
    """See the module.

    :param way: gives the upstream that a verdict names.
    :param find: gives the one that has such a name now; None: there is none any more.
    :param open_: has one open an association, for a target.
    :param shared: what :class:`~socks5.outbound.datagrams.DirectDatagrams` is made with.
    """

    def __init__(
        self,
        way: Callable[[str], LinkWay],
        find: Callable[[str], LinkWay | None],
        open_: Callable[[Any, Address], Deferred[UpstreamAssociation]],
        *shared: Any,
    ) -> None:
        super().__init__(*shared)
        self._way = way
        self._find = find
        self._open = open_
        self._links: dict[str, Link] = {}
        looks = looks_in(self._settings.udp_idle_timeout)
        self._side = Side(
            *(self._reactor, self._settings, self._receiver, self._share, self._ourselves),
            *(self._routes, self._waiting, looks),
        )

    @property
    def upstream(self) -> str:
        """The names of the ways that datagrams have gone, or that were tried for them; "" if they went directly."""
        names = {name for link in self._links.values() for name in link.upstreams}
        return ", ".join(sorted(names))

    @override
    def _send_anew(self, target: Address, payload: bytes, client: Hashable) -> None:
        for link in self._links.values():
            if link.knows(target):
                why = link.send_again(target, payload, client)
                if why:
                    self.drop(why)
                return
        super()._send_anew(target, payload, client)

    @override
    def send_as(
        self,
        verdict: Verdict,
        target: Address,
        host: str | None,
        payload: bytes,
        client: Hashable,
    ) -> str | None:
        """See :meth:`socks5.outbound.datagrams.DirectDatagrams.send_as`."""
        if verdict.via is None:
            return super().send_as(verdict, target, host, payload, client)
        try:
            way = self._way(verdict.via)
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
        meter = self._receiver.meter_of(verdict) if verdict.limits else None
        terms = DatagramTerms(None, meter, Address(far, target.port))
        return self._link(verdict.via, way).send(target, payload, client, terms)

    def _link(self, via: str, way: LinkWay) -> Link:
        link = self._links.get(via)
        if link is None:
            link = self._links[via] = Link(self._side, way, self._open)
        return link

    @override
    def rejudge(self) -> None:
        """See :meth:`socks5.interfaces.IDatagrams.rejudge`."""
        super().rejudge()
        links = self._links.items()
        waiting = [each for via, link in links for each in link.rejudge(self._find(via))]
        for each in waiting:
            self.send(each.target, each.payload, each.client)

    @override
    def _look(self) -> None:
        super()._look()
        for link in self._links.values():
            link.look()

    @override
    def close(self) -> None:
        """See :meth:`socks5.interfaces.IDatagrams.close`."""
        super().close()
        for link in self._links.values():
            link.close()
