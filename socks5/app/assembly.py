"""What the plugin for twistd names: the options of a command line, and the service that they ask for."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from twisted.application.service import IService, MultiService

from socks5.app import systemd
from socks5.app.agreement import Agreement, Crew, Follower
from socks5.app.announcing import Announcer, LogAnnouncer, Together
from socks5.app.change import Change
from socks5.app.channel import Channel
from socks5.app.config.document import Refused
from socks5.app.configured import Configured, sentences, sentences_of_options
from socks5.app.counting import CountingParent, CountingWorker
from socks5.app.handover import HandOver, Heir, Leaver, refuse
from socks5.app.heartbeat import Heart
from socks5.app.home import HomePorts
from socks5.app.inherit import InheritedPorts, Worker, obey
from socks5.app.listeners import certificates_of
from socks5.app.options import Options
from socks5.app.reload import Changing, Reload
from socks5.app.reread import Rereading, Source
from socks5.app.service import ProxyService
from socks5.net.descriptors import raise_descriptor_limit
from socks5.net.openers import IPortOpener
from socks5.net.own import OwnPorts, share_ports
from socks5.server.factory import ServerFactory

__all__ = ["Options", "makeService", "this_reactor"]


def this_reactor() -> Any:
    """The process's reactor. Installs one that waits in our poller, if there is none yet and the system has epoll."""
    if hasattr(select, "epoll") and "twisted.internet.reactor" not in sys.modules:
        from socks5.net.reactor import install

        install()
    from twisted.internet import reactor

    return reactor


def makeService(options: Options, reactor: Any = None, hands_over: bool = False) -> IService:
    """The service for a command line.

    :param reactor: runs it; default: the installed one.
    :param hands_over: whether another process with this command line may take over.
    """
    if reactor is None:
        reactor = this_reactor()
    raise_descriptor_limit()
    asked = _asked(options, reactor)
    if options.worker is not None:
        return _worker(asked, options.worker, reactor)
    asked.warn()
    make = _parent if asked.workers > 1 else _alone
    return make(asked, options, reactor, hands_over)


def _alone(asked: Configured, options: Options, reactor: Any, hands_over: bool) -> IService:
    """The service of a process without workers."""
    access_log = asked.access_log(reactor, None)
    factory = _factory(asked, reactor, access_log=access_log)
    home = HomePorts(reactor, factory.limit, options.estate)
    succession = _Succession(asked, options, reactor, home, hands_over)
    announcer = succession.announcer
    others = {"drain": asked.drain, "hand_over": succession.hand_over}
    service, become = _serving(asked, factory, home, access_log, announcer, **others)
    succession.service = service
    if asked.file:
        _reload(asked, succession, announcer, home, become)
    return service


def _worker(asked: Configured, worker: Worker, reactor: Any) -> IService:
    """The service of a worker, whose parent has opened the listeners."""
    access_log = asked.access_log(reactor, worker)
    factory = _factory(asked, reactor, access_log=access_log, worker=worker.number)
    share_ports(reactor, OwnPorts.inherited(worker.ports, worker.number - 1))
    opener = InheritedPorts(reactor, factory.limit, worker.sockets)
    channel = worker.channel_to_parent(reactor)
    heart = Heart(reactor, channel, lambda: factory.counters.open_connections)
    others = {"drain": None, "sharing": CountingWorker(reactor, channel)}
    service, become = _serving(asked, factory, opener, access_log, heart, **others)
    if asked.file:
        _follow(asked, channel, service, become)
    obey(channel, reactor, lambda: service.end(inf))
    return service


def _serving(
    asked: Configured,
    factory: ServerFactory,
    opener: IPortOpener,
    access_log: Any,
    announcer: Announcer,
    **others: Any,
) -> tuple[ProxyService, Callable[[Sequence[Source]], object]]:
    """The service of a process that serves clients, and what has it read other sources again than before."""
    reactor = factory.reactor
    listeners = asked.listeners(reactor)
    sources = [*asked.sources, *certificates_of(listeners)]
    rereading = Rereading(reactor, sources, access_log, announcer)
    if sources or asked.file:
        reactor.callWhenRunning(rereading.watch)
    service = ProxyService(
        *(reactor, factory, opener, listeners, access_log, announcer, rereading.begin),
        wrong=asked.made.document.problem,
        **others,
    )
    return service, rereading.become


def _reload(
    configured: Configured,
    succession: _Succession,
    announcer: Announcer,
    opener: IPortOpener,
    become: Callable[[Sequence[Source]], object],
    workers: Crew | None = None,
) -> None:
    """Have SIGHUP read the file again, for the workers too if there are some."""
    reactor, service = opener.reactor, succession.service

    def take(after: Configured, sources: Sequence[Source]) -> None:
        become(sources)
        succession.time = after.hand_over
        service.drain_time = after.drain

    def change(before: Configured, after: Configured) -> Changing:
        if workers is None:
            return Change(service, opener, before, after, take)
        own = Change(service, opener, before, after, take, keeps_log=False)
        return Agreement(reactor, workers, own, after)

    def reopen() -> None:
        if service.access_log is not None:
            service.access_log.reopen()

    reload = Reload(reactor, configured, change, reopen, announcer, lambda: service.objection)
    service.reread = reload.begin
    reactor.callWhenRunning(reload.watch)


def _follow(
    configured: Configured,
    channel: Channel,
    service: ProxyService,
    become: Callable[[Sequence[Source]], object],
) -> None:
    """Have a parent's reload change this worker, which leaves SIGHUP to it."""

    def change(before: Configured, after: Configured, opener: IPortOpener) -> Change:
        return Change(service, opener, before, after, lambda _, sources: become(sources))

    reactor, limit = service.factory.reactor, service.factory.limit
    Follower(reactor, channel, configured, change, limit, lambda: service.end(0))
    service.reread = lambda: None


def _asked(options: Options, reactor: Any) -> Configured:
    """What is asked for, by a file, if there is one, else by the command line.

    :raises SystemExit: something is wrong with the file (status 1), or with the command line (2); says what.
    """
    file = options["config"]
    document = options.document if file is None else None
    try:
        return Configured(
            file or "", reactor, options.worker, options.arguments, options.is_daemon, document
        )
    except Refused as error:
        if file is None:
            sys.stderr.write(sentences_of_options(error.problems))
        else:
            sys.stderr.write(sentences(error.problems, "nothing was started"))
        first, *others = map(str, error.problems)
        refuse(options.left, f"{first}; {len(others)} more errors" if others else first)
        raise SystemExit(2 if file is None else 1) from None


def _factory(asked: Configured, reactor: Any, **others: Any) -> ServerFactory:
    """What serves as was asked for."""
    return ServerFactory(
        reactor,
        policy=asked.policy_of_sessions(reactor),
        capacity=asked.capacity,
        **others,
    )


class _Succession:
    """Who was there before this process, and who comes behind it; and who is told.

    :param opener: opens its listeners.
    :param hands_over: see :func:`makeService`.
    """

    service: ProxyService

    def __init__(
        self,
        asked: Configured,
        options: Options,
        reactor: Any,
        opener: Leaver,
        hands_over: bool,
    ) -> None:
        self._estate = options.estate
        self._opener = opener
        self.time = asked.hand_over
        """Seconds that sessions may go on behind a hand-over."""
        told = systemd.from_environment(reactor)
        environment = told.environment if isinstance(told, systemd.Systemd) else {}
        if options.left is not None:
            told = Heir(reactor, options.left.channel, told, self._taken, self._give_up)
        self.announcer = Together(LogAnnouncer(), told)
        self.hand_over = HandOver(reactor, opener, environment, self._done) if hands_over else None

    def _taken(self) -> None:
        self._opener.take_possession()
        self._estate.close()

    def _give_up(self, reason: str) -> None:
        self.service.give_up(reason)

    def _done(self, process: int) -> None:
        self.announcer.hands_over(process)
        self.service.end(self.time)


def _parent(asked: Configured, options: Options, reactor: Any, hands_over: bool) -> IService:
    """The service of a parent: its workers, and the sockets that they inherit."""
    from socks5.app.sharing import PortsForWorkers
    from socks5.app.workers import Workers, WorkersFiles, WorkersLog

    count = asked.workers
    opener = PortsForWorkers(reactor, count, options.estate)
    factory = _factory(asked, reactor)  # serves nobody

    def give_up(reason: str) -> None:
        front.give_up(reason)

    succession = _Succession(asked, options, reactor, opener, hands_over)
    workers = Workers(
        reactor, opener, asked.arguments, count, give_up, succession.announcer, asked.told
    )
    reread = Rereading(reactor, (), WorkersFiles(workers), workers).begin
    log = WorkersLog(workers)
    sharing = CountingParent(reactor)
    workers.accompany(sharing)
    front = ProxyService(
        reactor,
        factory,
        opener,
        asked.listeners(reactor),
        log,
        workers,
        reread,
        drain=asked.drain,
        drained=workers.drain,
        hand_over=succession.hand_over,
        sharing=sharing,
        wrong=asked.made.document.problem,
    )
    succession.service = front
    if asked.file:
        _reload(asked, succession, workers, opener, lambda _: None, workers)
    family = MultiService()
    front.setServiceParent(family)
    workers.setServiceParent(family)
    return family
