"""The dialer of who has upstreams: the verdict on a target says whether it is reached directly, or through which.

It goes nowhere else. An upstream that is not to be reached is a failure, and never a reason to go directly. A name for
an upstream goes there as the rules have seen it, unless they have to see an address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.logger import Logger
from zope.interface import implementer

from socks5.access import ALLOWED, Access, Verdict
from socks5.client.endpoint import Proxy
from socks5.counters import UpstreamCounters
from socks5.deadlines import Line, in_time
from socks5.interfaces import IDatagramReceiver, IDatagrams, IDialer, IPeerPort, Judge
from socks5.loglimit import Sparing
from socks5.names import as_judged
from socks5.outbound.associating import UpstreamAssociation
from socks5.outbound.datagrams import DirectDatagrams
from socks5.outbound.direct import MOST_ADDRESSES, DirectDialer, interleaved
from socks5.outbound.judging import Allowed, allowed, known, refusal
from socks5.outbound.links import Lead
from socks5.outbound.path import Asked, Path, path_to
from socks5.outbound.peers import allowed_peers, listen_for
from socks5.outbound.pool import Use, Way, first_reached
from socks5.outbound.probing import Probe
from socks5.outbound.through import Through
from socks5.outbound.upstream import Upstream
from socks5.protocol.address import UNSPECIFIED, Address, unmap
from socks5.protocol.errors import (
    CommandNotSupported,
    GeneralFailure,
    HostUnreachable,
)
from socks5.protocol.messages import Command
from socks5.settings import Settings
from socks5.streams import IStream

MOST_TARGETS = 4
"""Addresses of one name that an upstream is asked for."""

_T = TypeVar("_T")
_log = Logger()


@implementer(IDialer)
class Upstreams:
    """See the module.

    :param reactor: the clock.
    :param ways: upstreams by the names that rules have for them; a client's proxy will do.
    :param direct: for targets that no rule sends to an upstream, and for the way to upstreams; None: the dialer of the
        server that is given this one.
    """

    def __init__(
        self, reactor: Any, ways: Mapping[str, Way | Proxy], direct: DirectDialer | None = None
    ) -> None:
        self._reactor = reactor
        self._ways: dict[str, Way] = {
            name: path_to(name, way, reactor) if isinstance(way, Proxy) else way
            for name, way in ways.items()
        }
        self._missing = Sparing(reactor)
        self._direct = direct
        self._probes: list[Probe] | None = None
        self._has_looked = False
        self._settings = Settings()
        self._servers = 0
        self._after: IDialer | None = None

    @property
    def direct(self) -> DirectDialer:
        """Who reaches whatever is not behind an upstream."""
        assert self._direct is not None, "no server uses it"
        return self._direct

    @property
    def _paths(self) -> Mapping[object, Path]:
        """All, each once."""
        found: dict[object, Path] = {}
        for way in self._ways.values():
            for path in (way,) if isinstance(way, Path) else way.paths:
                found[path.key] = path
        return found

    def over(self, direct: DirectDialer) -> None:
        """Use a server's dialer, unless there is another already."""
        if self._direct is None:
            self._direct = direct

    def begin(self, before: IDialer, settings: Settings) -> dict[str, UpstreamCounters]:
        """Serve from now on. Once an upstream was asked for something, those with a probe are looked at as well, until
        :meth:`end`.

        :param settings: of those looks.
        :param before: who has served; upstreams that are the same keep their health and their connections.
        :returns: what becomes of each.
        """
        paths = self._paths
        for path in paths.values():
            path.is_gone = False
        self._servers += before is not self
        if isinstance(before, Upstreams) and before is not self:
            _go_on(paths, before._paths)
        if self._probes is None:
            self._probes = [
                Probe(
                    path, probe, path.legs[0].terms.probe_every, self._look, self.direct.deadlines
                )
                for path in paths.values()
                if len(path.legs) == 1 and (probe := path.legs[0].terms.probe) is not None
            ]
            self._settings = settings
            self._has_looked = False
        return {path.name: path.health.counters for path in paths.values()}

    def end(self) -> None:
        """Serve one server no more. If there is no other, nothing is looked at any more, until it serves again. Whoever
        uses it still goes on.
        """
        self._servers -= 1
        if self._servers > 0:
            return
        probes, self._probes = self._probes, None
        for each in probes or ():
            each.stop()

    def go_on_as(self, after: IDialer) -> None:
        """Whoever still uses it is judged by new rules, and *after* has the upstreams that these name: to others nobody
        is led any more.
        """
        self._after = after
        if self._servers <= 0:
            stays = after._paths if isinstance(after, Upstreams) else {}
            for key, path in self._paths.items():
                path.is_gone = key not in stays

    def _look(self, path: Path, target: Address) -> Deferred[Through]:
        access = Access("", "", None, Command.CONNECT, target)
        asked = Asked(access, self._settings, "127.0.0.1", self.direct)
        return Deferred.fromCoroutine(self._looked(path, asked, target))

    async def _looked(self, path: Path, asked: Asked, target: Address) -> Through:
        """Reach what a probe asks for, which its operator has named, so that no rule is asked about it."""
        name, targets = target.host, [target]
        if isinstance(name, bytes) and not path.resolves:
            try:
                found = await self._allowed(asked, name, lambda _: ALLOWED)
            except DNSLookupError as error:
                raise HostUnreachable(str(error)) from error
            targets = [Address(host, target.port) for host in found.hosts]
        return await self._through(path, asked, targets)

    # CONNECT

    def dial(
        self, access: Access, target: Address, judge: Judge, *, settings: Settings, near: str
    ) -> Deferred[IStream]:
        """See :meth:`socks5.interfaces.IDialer.dial`."""
        asked = Asked(access, settings, near, self.direct)
        return Deferred.fromCoroutine(self._dial(asked, target, judge))

    def line(self, settings: Settings) -> Line:
        """See :meth:`socks5.outbound.direct.DirectDialer.line`."""
        return self.direct.line(settings)

    def dial_judged(
        self,
        access: Access,
        verdict: Verdict | Deferred[Verdict],
        host: str,
        port: int,
        settings: Settings,
    ) -> Deferred[IStream]:
        """See :meth:`socks5.outbound.direct.DirectDialer.dial_judged`."""
        asked = Asked(access, settings, access.server, self.direct)
        return Deferred.fromCoroutine(self._dial_judged(asked, verdict, host, port))

    async def _dial(self, asked: Asked, target: Address, judge: Judge) -> IStream:
        host = target.host
        if isinstance(host, str):
            literal = unmap(host)
            return await self._dial_judged(asked, judge(literal), literal, target.port)
        said = as_judged(target)
        verdict = await known(judge(None))
        if verdict.is_allowed is not True:
            raise refusal(verdict, "the target is not allowed")
        if verdict.via is not None:
            way = self._way(verdict.via)
            if way.resolves:
                return await self._through(way, asked, [said])
        return await self._dial_resolved(asked, host, target.port, judge)

    async def _dial_judged(
        self, asked: Asked, verdict: Verdict | Deferred[Verdict], host: str, port: int
    ) -> IStream:
        """Dial an address."""
        judged = await known(verdict)
        if judged.is_allowed is True and judged.via is not None:
            return await self._through(self._way(judged.via), asked, [Address(host, port)])
        access, direct, settings = asked.access, asked.direct, asked.settings
        # Whether that family is reached, and how a refusal is said, is its business.
        return await direct.dial(
            access, Address(host, port), lambda _: judged, settings=settings, near=asked.near
        )

    async def _dial_resolved(self, asked: Asked, name: bytes, port: int, judge: Judge) -> IStream:
        """Dial the addresses of a name that the rules allow. The first one decides which way."""
        access, direct, settings = asked.access, asked.direct, asked.settings
        found = await self._allowed(asked, name, judge)
        if found.via is not None:
            targets = [Address(host, port) for host in found.hosts]
            return await self._through(self._way(found.via), asked, targets)
        dialling = direct.dial_found(access.client, found, port, settings)
        return await dialling.addErrback(direct.has_failed, name)

    async def _allowed(self, asked: Asked, name: bytes, judge: Judge) -> Allowed:
        """The addresses of a name that the rules allow."""
        access, settings = asked.access, asked.settings
        hosts = settings.family.in_order(await asked.direct.resolver.resolve(name, access.client))
        if not hosts:
            raise HostUnreachable("the name has no address of a family that is reached")
        first = interleaved(hosts)[:MOST_ADDRESSES]
        found = allowed(first, judge, MOST_TARGETS, Allowed(access, takes_via=True))
        return await found if isinstance(found, Deferred) else found

    # Through

    def _find(self, name: str) -> Way | None:
        """The upstream of that name, of those that serve now: whoever began with others has the rules of now, too."""
        now = self if self._servers > 0 or self._after is None else self._after
        return now._ways.get(name) if isinstance(now, Upstreams) else None

    def _way(self, name: str) -> Way:
        """The same, for a verdict: it may be one of the rules of before, which knew upstreams of then.

        :raises GeneralFailure: there is none, which nobody should have allowed.
        """
        way = self._find(name) or self._ways.get(name)
        if way is not None:
            return way
        left_out = self._missing.next()
        if left_out is not None:
            _log.error(
                "there is no upstream {name}, which a rule wants{more}",
                name=name,
                more=f" ({left_out} more times had no line)" if left_out else "",
            )
        raise GeneralFailure(f"there is no upstream {name}")

    def wants_addresses(self, name: str) -> bool:
        """Whether names are resolved here before anything goes to the upstream of that name, and the rules are asked
        about their addresses.
        """
        way = self._find(name)
        return way is not None and not way.resolves

    async def _through(self, way: Way, asked: Asked, targets: Sequence[Address]) -> Through:
        return await self._used(way, asked, targets, lambda path, to: path.dial(asked, to))

    async def _used(self, way: Way, asked: Asked, targets: Sequence[Address], use: Use[_T]) -> _T:
        """Reach the first of *targets* that can be reached, in the time that a dial has."""
        if not self._has_looked:
            self._has_looked = True
            for each in self._probes or ():
                each.start()
        if asked.access.command not in way.commands:
            raise CommandNotSupported("this command is not for that upstream")
        going = first_reached(way, asked, targets, use)
        seconds = asked.settings.connect_timeout
        return await in_time(asked.direct.deadlines, object(), seconds, going, asked.late)

    # RESOLVE and RESOLVE_PTR

    def look_up(
        self, access: Access, via: str, target: Address, *, settings: Settings, near: str
    ) -> Deferred[Through]:
        """Have an upstream say the address of a name, or the name of an address, of whose verdict that is the ``via``.

        :returns: fires with a closed stream that has ``said`` it, which nobody has judged; or fails as :meth:`dial`.
        """
        asked = Asked(access, settings, near, self.direct)
        return Deferred.fromCoroutine(self._look_up(asked, via, target))

    async def _look_up(self, asked: Asked, via: str, target: Address) -> Through:
        said, way = as_judged(target), self._way(via)
        return await self._used(way, asked, [said], lambda path, to: path.look_up(asked, to))

    # BIND

    def await_peer(
        self, access: Access, expected: Address, judge: Judge, *, settings: Settings, near: str
    ) -> Deferred[IPeerPort]:
        """See :meth:`socks5.interfaces.IDialer.await_peer`."""
        asked = Asked(access, settings, near, self.direct)
        return Deferred.fromCoroutine(self._await_peer(asked, expected, judge))

    async def _await_peer(self, asked: Asked, expected: Address, judge: Judge) -> IPeerPort:
        """The request, or the first address that is allowed, says which way."""
        access, direct, settings = asked.access, asked.direct, asked.settings
        port = expected.port
        if expected.is_name and not expected.is_unspecified:
            via = (await known(judge(None))).via
            if via is not None and self._way(via).resolves:
                return await self._listen(asked, via, [as_judged(expected)], judge)
        found = await allowed_peers(
            direct.resolver, access, expected, judge, settings, takes_via=True
        )
        if found.via is None:
            return listen_for(direct.reactor, found, port, judge, settings, asked.near)
        targets = [Address(each, port) for each in found.hosts[:MOST_TARGETS]]
        return await self._listen(asked, found.via, targets or [UNSPECIFIED], judge)

    async def _listen(
        self, asked: Asked, via: str, targets: Sequence[Address], judge: Judge
    ) -> IPeerPort:
        return await self._used(
            self._way(via), asked, targets, lambda path, to: path.listen(asked, to, judge, via)
        )

    # UDP ASSOCIATE

    def open_datagrams(
        self,
        access: Access,
        judge: Judge,
        receiver: IDatagramReceiver,
        *,
        settings: Settings,
        near: str,
    ) -> IDatagrams:
        """See :meth:`socks5.interfaces.IDialer.open_datagrams`."""
        asked = (access, judge, receiver)
        datagrams = self.direct.open_datagrams(*asked, settings=settings, near=near)
        self.lead(datagrams)
        return datagrams

    def lead(self, datagrams: Any) -> None:
        """Have an association's datagrams go through these upstreams, where verdicts say so: whether it is new, or of
        before a reload. Those of somebody else's making go nowhere where a verdict names one.

        :param datagrams: :class:`~socks5.interfaces.IDatagrams`.
        """
        if not isinstance(datagrams, DirectDatagrams):
            return

        def open_(way: Way, target: Address) -> Deferred[UpstreamAssociation]:
            asked = Asked(datagrams.access, datagrams.settings, datagrams.near, self.direct)
            opening = self._used(way, asked, [target], lambda path, _: path.associate(asked))
            return Deferred.fromCoroutine(opening)

        datagrams.follow(Lead(self._way, self._find, open_))


def _go_on(paths: Mapping[object, Path], before: Mapping[object, Path]) -> None:
    """Have paths that were there before keep their health, and proxies their connections."""
    legs: dict[object, Upstream] = {}
    for path in before.values():
        for leg in path.legs:
            legs[leg.key] = leg
    for key, path in paths.items():
        if key in before:
            path.go_on(before[key])
        for leg in path.legs:
            if leg.key in legs:
                leg.go_on(legs[leg.key])
