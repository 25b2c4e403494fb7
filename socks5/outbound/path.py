"""One way through proxies: a single one, or several behind one another, with its health."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from socks5.access import NO_SOURCE, Access
from socks5.client.endpoint import Proxy
from socks5.client.errors import (
    ClientError,
    ProxyClosed,
    ProxyProtocolError,
    ProxyTimeout,
    ProxyUnreachable,
    ReplyError,
    TTLExpired,
)
from socks5.client.hops import Hop
from socks5.client.tunnel import steps_to
from socks5.client.whereabouts import own_address, relay_at
from socks5.deadlines import Deadlines, clock_of, in_time
from socks5.interfaces import Judge
from socks5.net.tcp_options import keep_transport_alive
from socks5.net.transport_stream import close
from socks5.outbound.associating import UpstreamAssociation
from socks5.outbound.awaiting import ThroughPort
from socks5.outbound.connecting import connected
from socks5.outbound.direct import DirectDialer
from socks5.outbound.health import Health
from socks5.outbound.lessons import NotThrough, lesson
from socks5.outbound.terms import Terms
from socks5.outbound.through import Going, Through, led, plain
from socks5.outbound.upstream import Places, Upstream
from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.messages import Command
from socks5.settings import PerFamily, Settings
from socks5.streams import IStream

T = TypeVar("T")


@dataclass(slots=True)
class Asked:
    """Who asks, by what means a way is gone, and how far that is.

    :param settings: the session's.
    :param near: our end of the client's connection.
    :param direct: connects to the first proxy.
    :param path: the way that is gone now.
    :param standing: how far.
    """

    access: Access
    settings: Settings
    near: str
    direct: DirectDialer
    path: Path | None = None
    standing: Going = field(default_factory=Going)

    def late(self) -> ClientError:
        """What it is if the time of the dial is over: the target's silence, if it is the target that was waited for."""
        path, standing = self.path, self.standing
        assert path is not None
        text = f"no answer within {self.settings.connect_timeout:g} s"
        has_asked = path.is_asking(standing)
        kind = TTLExpired if has_asked else ProxyTimeout
        return path.counted(kind(text, stage=standing.stage, hop=standing.hop))


class Path:
    """A way through proxies.

    :param name: the upstream's.
    :param legs: the proxies, the nearest first.
    :param reactor: the clock.
    """

    def __init__(self, name: str, legs: Sequence[Upstream], reactor: Any) -> None:
        self.name = name
        self.legs = tuple(legs)
        self._hops = [leg.hop for leg in legs]
        self._has_tls = any(hop.tls is not None for hop in self._hops)
        last = self.legs[-1].terms
        self.commands = last.commands
        if self._hops[-1].is_http:
            self.commands = last.commands & {Command.CONNECT}
        if not all(leg.has_udp for leg in self.legs):
            self.commands -= {Command.UDP_ASSOCIATE}  # each hop has an association
        self.resolves = last.resolves
        """Whether names of targets are resolved at its end."""
        self._reactor = reactor
        self.now = clock_of(reactor)
        self.used = -math.inf
        """When it was tried last."""
        self.is_gone = False
        """Whether it is an upstream of nobody's any more."""
        fails = min(leg.terms.fails for leg in self.legs)
        self._bears = fails, min(leg.terms.retry_after for leg in self.legs)
        self.health = Health(name, *self._bears, self.now)

    @property
    def keys(self) -> frozenset[object]:
        """See :attr:`socks5.outbound.link.LinkWay.keys`."""
        return frozenset((self.key,))

    @property
    def has_hope(self) -> bool:
        """Whether it may be used, be it for a trial."""
        return self.health.is_usable

    @property
    def key(self) -> object:
        """What it is equal to another one by, over a reload."""
        return self.name, tuple((hop.place, hop.login) for hop in self._hops)

    def go_on(self, before: Path) -> None:
        """Take the place of another one through the same proxies, by its terms: whoever is still on his way there
        learns for both.
        """
        self.health = before.health
        self.health.bear(*self._bears)

    def order(self, access: Access, target: Address) -> Iterable[Path]:
        """See :meth:`socks5.outbound.pool.Pool.order`: there is no other."""
        return (self,)

    async def dial(self, asked: Asked, target: Address) -> Through:
        """Reach a target.

        :raises NotThrough: it was not to be reached.
        :raises socks5.protocol.errors.ReplyError: the last proxy cannot even be asked for it.
        """
        return await self._use(asked, target, self._dial)

    async def listen(self, asked: Asked, target: Address, judge: Judge, via: str) -> ThroughPort:
        """Have the last proxy listen for a peer.

        :param target: the peer that is expected.
        :param judge: is asked about the one that comes.
        :param via: the name by which rules send him here.
        :raises NotThrough: as :meth:`dial`.
        """
        return await self._use(asked, target, partial(self._listen, judge, via))

    async def associate(self, asked: Asked) -> UpstreamAssociation:
        """Have an association at each proxy.

        :raises NotThrough: as :meth:`dial`.
        """
        return await self._use(asked, UNSPECIFIED, self._associate)

    async def look_up(self, asked: Asked, target: Address) -> Through:
        """Ask the last proxy for the address of a name, or the name of an address, which the stream has ``said``.

        :raises NotThrough: as :meth:`dial`.
        """
        return await self._use(asked, target, self._look_up)

    async def _use(
        self,
        asked: Asked,
        target: Address,
        reach: Callable[[Asked, Address, Going, Places], Awaitable[T]],
    ) -> T:
        """Learn from what becomes of it.

        :raises NotThrough: it was not to be reached.
        :raises socks5.protocol.errors.ReplyError: the last proxy cannot even be asked for it.
        """
        access, hops = asked.access, self._hops
        hops[-1].ask(access.command, target)  # before anything is opened
        places = Places(() if self.is_gone else self.legs, access.client)
        if not places.are_there:
            why = "it is one no more" if self.is_gone else "too many connections to it"
            error = ProxyUnreachable(why, stage="connect")
            raise NotThrough(self.counted(error), may_go_on=True)
        self.used = self.now()
        is_trial = self.health.enter()
        asked.path = self
        asked.standing = standing = Going(access.client)
        try:
            found_way = await reach(asked, target, standing, places)
        except ClientError as error:
            places.give_back()
            found = lesson(error, hops)
            if found.is_success:
                self.health.succeeded(is_trial)
            elif found.is_failure:
                self.health.failed(str(error), is_trial, found.is_final)
            else:
                self.health.left(is_trial)
            raise NotThrough(self.counted(error), found.may_go_on) from error
        except BaseException:
            places.give_back()
            self.health.left(is_trial)
            raise
        self.health.succeeded(is_trial)
        return found_way

    def is_asking(self, standing: Going) -> bool:
        """Whether the last proxy has been asked for the target, and nobody but the target is waited for."""
        return standing.stage == "reply" and standing.hop == len(self.legs)

    def counted(self, error: ClientError) -> ClientError:
        """A failure with its upstream in it, which counts."""
        stage = error.stage
        self.health.counters.failures[stage] += 1
        error.upstream = self.name
        error.args = (f"upstream {self.name}, hop {error.hop}, {stage}: {error}",)
        return error

    async def _look_up(
        self, asked: Asked, target: Address, standing: Going, places: Places
    ) -> Through:
        through = await self._dial(asked, target, standing, places)
        close(through.transport)
        if through.said.port != 0:
            text = f"{self._hops[-1]}: it does not know the command, for the answer has a port"
            raise ProxyProtocolError(text, stage="reply", hop=len(self.legs))
        return through

    async def _associate(
        self, asked: Asked, target: Address, standing: Going, places: Places
    ) -> UpstreamAssociation:
        """One proxy after another, each by way of those before it."""
        made = UpstreamAssociation(self.name, self.key)
        try:
            for count, leg in enumerate(self.legs, 1):
                hops = self._hops[:count]
                asked.standing = standing = Going(standing.client)
                try:
                    control = await self._dial(asked, target, standing, places, hops)
                except ReplyError as error:
                    if count < len(self.legs):
                        step = steps_to(hops, target, asked.access.command)[-1]
                        raise step.unreachable(error, "reply") from error
                    raise
                keep_transport_alive(control.transport, asked.settings.keepalive)
                made.add(hops, control, leg.terms.udp_address)
            await made.find_relay(asked.direct.resolver, asked.access.client)
            if made.ended_by:
                text = (
                    f"{self._hops[made.ended_by - 1]}: it closed the connection of an association"
                )
                raise ProxyClosed(text, stage="reply", hop=made.ended_by)
        except BaseException:
            made.close()
            raise
        return made

    async def _listen(
        self,
        judge: Judge,
        via: str,
        asked: Asked,
        target: Address,
        standing: Going,
        places: Places,
    ) -> ThroughPort:
        """Until the first reply; the port has the time of a BIND then."""

        def failed(failure: Failure) -> None:
            places.give_back()
            if isinstance(failure.value, ClientError):
                self.counted(failure.value)

        port = ThroughPort(plain(target), judge, via, self.name, failed)
        await port.open(standing, self._dial(asked, target, standing, places), self._listens_at)
        return port.wait(self._reactor, asked.settings.bind_timeout)

    def _listens_at(self, said: Address, transport: Any) -> Address:
        """Where the last proxy listens: that is known as its relay's address is.

        :raises ProxyProtocolError: nobody knows an address.
        """
        own = own_address(self._hops, transport)
        at = relay_at(said, own, self.legs[-1].terms.udp_address)
        if at.is_name:
            at = Address(own, at.port)
        if at.is_name:
            text = f"{self._hops[-1]}: it does not say where it listens"
            raise ProxyProtocolError(text, stage="reply", hop=len(self.legs))
        return at

    async def _dial(
        self,
        asked: Asked,
        target: Address,
        standing: Going,
        places: Places,
        hops: Sequence[Hop] | None = None,
    ) -> Through:
        """Within the time of each proxy. One that is asked for the target has the time of the whole dial.

        :param hops: those up to the one that is asked for it; None: all.
        """
        deadlines, hops = asked.direct.deadlines, hops or self._hops

        def late() -> ClientError:
            step = steps_to(hops, target, asked.access.command)[standing.hop - 1]
            text = f"{step.text}: no answer within {self._seconds(standing):g} s"
            return ProxyTimeout(text, stage=standing.stage, hop=standing.hop)

        standing.look = partial(self._look, deadlines)
        going = self._go(asked, hops, target, standing, places)
        return await in_time(deadlines, standing, self._seconds(standing), going, late)

    def _seconds(self, going: Going) -> float:
        """How long the proxy that has its time now may take."""
        return self.legs[going.awaited - 1].terms.timeout

    def _look(self, deadlines: Deadlines, going: Going) -> None:
        """Another one may have its time now."""
        before, going.awaited = going.awaited, going.hop + (going.stage == "reply")
        if going.awaited > len(self.legs):
            deadlines.clear(going)
        elif going.awaited > before:
            deadlines.prolong(going, self._seconds(going))

    async def _go(
        self,
        asked: Asked,
        hops: Sequence[Hop],
        target: Address,
        standing: Going,
        places: Places,
    ) -> Through:
        command = asked.access.command
        stream: Any = await self._connected(asked, hops, target)
        try:
            found = await led(stream, hops, target, command, standing, self._reactor)
        except BaseException:
            stream.transport.abortConnection()
            raise
        self.health.counters.open += 1
        gone = partial(self._gone, places)
        if command == Command.BIND:
            target = found.reply.address
        return Through(found, plain(target) or target, self.name, asked.near, gone)

    def _gone(self, places: Places) -> None:
        places.give_back()
        self.health.counters.open -= 1

    async def _connected(self, asked: Asked, hops: Sequence[Hop], target: Address) -> IStream:
        """A connection to the first proxy.

        :raises ClientError: there is none.
        """
        leg = self.legs[0]
        try:
            return await connected(
                leg, asked.access, asked.settings, asked.direct, self._reactor, self._has_tls
            )
        except CancelledError:
            raise
        except Exception as error:
            step = steps_to(hops, target, asked.access.command)[0]
            raise step.unreachable(error) from error


def path_to(name: str, proxy: Proxy, reactor: Any) -> Path:
    """The way through a client's proxy, or proxies. Its time-out and NO_PROXY do not count here.

    :param name: the upstream's.
    """
    bind = proxy.bind_address
    host = bind if isinstance(bind, str) or bind is None else bind[0]
    source = NO_SOURCE
    if host is not None:
        source = PerFamily(ipv6=host) if ":" in host else PerFamily(ipv4=host)
    terms = Terms(resolves=proxy.rdns, source=source)
    in_tls = replace(terms, commands=terms.commands - {Command.UDP_ASSOCIATE})  # datagrams are not
    legs = [
        Upstream(f"{name} {number}", hop, terms if hop.tls is None else in_tls)
        for number, hop in enumerate(proxy.hops, 1)
    ]
    return Path(name, legs, reactor)
