"""The service that ``twistd socks5`` and ``python -m socks5`` run: listeners, sessions, access log, signals.

Starts completely or not at all: what cannot be listened on is one sentence and a non-zero exit. Listens before
privileges are dropped, and says so once the reactor runs.
Stops in order: no new clients, every session closed, the access log written, all within
:data:`STOP_GRACE` and a moment. Before that it may drain: it listens no more, and sessions end by themselves.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.access import Reason
from socks5.app.access_log import Log
from socks5.app.announcing import Announcer, LogAnnouncer
from socks5.app.config.places import Path
from socks5.app.counting import Sharing
from socks5.app.listeners import Listener, place_of, why_not
from socks5.app.signals import Signals
from socks5.deadlines import clock_of
from socks5.net.listening import listen_with
from socks5.net.openers import IPortOpener, IServedPort
from socks5.server.factory import ServerFactory

STOP_GRACE = 2.0
"""Seconds in which sessions may still send what is written, at the end."""


class StartRefused(SystemExit, Exception):
    """The service does not start, and the log has said why.

    A SystemExit, so that the process ends with status 1 and without a traceback; an Exception, so
    that twistd removes its pid file, and hands the sentence on when it was about to daemonize.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.code = 1


def not_opened(expected: str, error: OSError) -> str:
    """What is wrong with a file."""
    return f"expected {expected}, got {error.filename} ({error.strerror})"


def refusal_of(service: IService) -> StartRefused | None:
    """Why a service of the command line's did not start, if it did not."""
    parts: Iterable[IService] = service if isinstance(service, MultiService) else (service,)
    return next((part.refusal for part in parts if isinstance(part, ProxyService)), None)


class Successor(Protocol):
    """What has another process take over; see :class:`socks5.app.handover.HandOver`."""

    @property
    def is_under_way(self) -> bool:
        """Whether that process has our listeners as they are now, and does not serve yet."""

    def begin(self) -> None:
        """Start it."""

    def cancel(self) -> None:
        """Leave it nothing, if it does not serve yet: our listeners close."""


class ProxyService(Service):
    """Listens for clients of one factory.

    :param reactor: runs everything.
    :param factory: serves the clients.
    :param opener: opens the ports.
    :param listeners: where to listen.
    :param access_log: opened at the start, written out at the end.
    :param announcer: tells the operator of the beginning and the end.
    :param reread: what SIGHUP asks for.
    :param drain: seconds that SIGTERM leaves to sessions; 0: it stops at once. None: SIGTERM is somebody else's.
    :param drained: waits for the last session, see :meth:`socks5.server.factory.ServerFactory.drain`; default: that of
        the *factory*.
    :param sharing: has to do with limits that other processes share.
    :param hand_over: what SIGUSR2 asks for; None: it can be had of another program only.
    :param wrong: makes a sentence about a key one that begins with the place where that was said.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        factory: ServerFactory,
        opener: IPortOpener,
        listeners: Sequence[Listener],
        access_log: Log | None = None,
        announcer: Announcer | None = None,
        reread: Callable[[], object] = lambda: None,
        drain: float | None = 0.0,
        drained: Callable[[float], Deferred[int]] | None = None,
        hand_over: Successor | None = None,
        sharing: Sharing | None = None,
        wrong: Callable[[Path, str], object] = lambda _, sentence: sentence,
    ) -> None:
        self._reactor = reactor
        self.factory = factory
        self._opener = opener
        self._listeners = listeners
        self.access_log = access_log
        self._announcer = LogAnnouncer() if announcer is None else announcer
        self.reread = reread
        """What SIGHUP asks for."""
        self.drain_time = drain
        """Seconds that SIGTERM leaves to sessions; None: it is somebody else's."""
        self._wait_for_sessions = factory.drain if drained is None else drained
        self._draining: Deferred[None] | None = None
        self._waiting: Deferred[int] | None = None
        # Closed, but some clients of theirs may wait for their turn; or about to be closed.
        self._drained_ports: Sequence[IServedPort] = ()
        self._closing: set[IServedPort] = set()
        self._hand_over = hand_over
        self._sharing = sharing
        self._wrong = wrong
        also = {
            signal.SIGUSR1: self._reopen,
            signal.SIGUSR2: self._be_succeeded,
            signal.SIGHUP: self._read_again,
        }
        self._signals = Signals(reactor, self._terminated, also)
        self._is_listening = False
        self._is_announced = False
        self.refusal: StartRefused | None = None
        """Why the service did not start, if it did not."""
        self.listeners: dict[IServedPort, Listener] = {}
        """What listens now, and which of the listeners that is."""

    @property
    def is_serving(self) -> bool:
        """Whether clients are accepted: not any more while it drains."""
        return bool(self.running) and self._draining is None

    @property
    def objection(self) -> str:
        """Why nothing of it may be replaced by another just now; "" if it may."""
        if not self.is_serving:
            return "the proxy serves no more"
        is_handed_over = self._hand_over is not None and self._hand_over.is_under_way
        return "a hand-over is under way" if is_handed_over else ""

    @property
    def hands_over(self) -> bool:
        """Whether SIGUSR2 has another process take over."""
        return self._hand_over is not None

    @property
    def ports(self) -> list[IServedPort]:
        """What listens now."""
        return list(self.listeners)

    @override
    def privilegedStartService(self) -> None:
        """Listen, while a privileged port may still be had.

        :raises StartRefused: something cannot be listened on; says what and why.
        """
        self._signals.take()
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        reasons: list[str] = []
        for listener in self._listeners:
            port = listen_with(self._opener, listener.at, self.factory, listener.certificates)
            port.addCallback(self._listening, listener)
            port.addErrback(self._not_listening, listener, reasons)
        if reasons:
            raise self._refuse(*reasons)
        self._is_listening = True

    def _listening(self, port: IServedPort, listener: Listener) -> None:
        self.listeners[port] = listener
        if self._is_announced:  # an endpoint that took its time
            self._announcer.begins([place_of(port)])

    def _not_listening(self, failure: Failure, listener: Listener, reasons: list[str]) -> None:
        reason = why_not(failure, listener)
        if reason is None:
            return
        reasons.append(reason)
        if self._is_listening:  # an endpoint that took its time
            self._refuse(reason)
            self._stop()

    def exchange(self, listeners: dict[IServedPort, Listener]) -> None:
        """Listen at these ports, which are open, from now on; others that are open now serve who has come, and close.

        :param listeners: which listener each is.
        """
        before, self.listeners = self.listeners, listeners
        if more := [place_of(port) for port in listeners if port not in before]:
            self._announcer.begins(more)
        closing = [port for port in before if port not in listeners]
        if not self.factory.crowds.waiting:  # for their turn, at a port that may be closed
            self._drained_ports = [port for port in self._drained_ports if port in self._closing]
        self._drained_ports = [*self._drained_ports, *closing]
        self._close(closing, lambda port: port.finish())

    def give_up(self, reason: str) -> None:
        """End the process: something that the service needs is not to be had after all."""
        if self.refusal is None:
            self._refuse(reason)
            self._stop()

    def _refuse(self, *reasons: str) -> StartRefused:
        """Say why the service does not start, a line for each reason."""
        for reason in reasons:
            self.log.critical("socks5 does not start: {reason}", reason=reason)
        sentence = f"socks5 does not start: {'; '.join(reasons)}"
        self._close_ports()
        self.refusal = StartRefused(sentence)
        self._announcer.refuses(sentence)
        return self.refusal

    @override
    def startService(self) -> None:
        """Open the access log, and what is remembered of quotas.

        :raises StartRefused: one of them cannot be opened.
        """
        if not self._is_listening:
            self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]
        if reasons := [*self._open_files()]:
            raise self._refuse(*reasons)
        self._reactor.callWhenRunning(self._begins)
        # What is here now stays for good: no collection need ever look at it again.
        self._reactor.callWhenRunning(gc.freeze)

    def _open_files(self) -> Iterator[str]:
        """
        :returns: why one of them cannot be opened, a sentence each.
        """
        try:
            if self.access_log is not None:
                self.access_log.open()
        except OSError as error:
            sentence = not_opened("a file that can be written", error)
            yield str(self._wrong(("log", "access"), sentence))
        try:
            self.open_limits()
        except OSError as error:
            yield str(self._wrong(("server", "state"), not_opened("a file of quotas", error)))

    def open_limits(self) -> None:
        """Read what was used of quotas, and share what is counted with other processes: of the limits of now.

        :raises OSError: it cannot be read; it is counted all the same.
        """
        limits = self.factory.in_force.limits
        try:
            if limits is not None:
                limits.open()
        finally:
            if self._sharing is not None:
                self._sharing.become(limits)

    def _begins(self) -> None:
        """The reactor runs."""
        self._signals.take_from_reactor()
        if self.running:
            self._is_announced = True
            self._announcer.begins([place_of(port) for port in self.ports])

    def _reopen(self) -> None:
        if self.access_log is None:
            return
        try:
            self.access_log.reopen()
        except OSError as error:
            self.log.error(
                "access log {path} stays as it was: {reason}",
                path=error.filename,
                reason=error.strerror,
            )

    def _read_again(self) -> None:
        if self._draining is None:
            self.reread()
        else:
            self.log.warn("SIGHUP: nothing is read again, for the proxy drains")

    def _be_succeeded(self) -> None:
        if self._hand_over is None:
            self.log.warn("SIGUSR2: nothing is handed over; only the program socks5 does that")
        elif self._draining is not None:
            self.log.warn("SIGUSR2: nothing is handed over, for the proxy drains")
        else:
            self._hand_over.begin()

    # The end

    def _terminated(self) -> None:
        """SIGTERM, for the first time or once more."""
        if self.drain_time is not None:
            self.end(self.drain_time)

    def end(self, drain: float) -> None:
        """End the process: at once, if it drains already.

        :param drain: see :meth:`drain`; 0: it does not.
        """
        if drain and self.running and self._draining is None:
            self.drain(drain).addCallback(lambda _: self._stop())
        else:
            self._stop()

    def _stop(self) -> None:
        with suppress(ReactorNotRunning):  # a second SIGTERM finds it stopping
            self._reactor.stop()

    def drain(self, within: float) -> Deferred[None]:
        """Listen no more, behind those who have come already, and leave sessions the time to end by themselves.

        :param within: seconds, at the most.
        :returns: fires with None when the last session is gone, or the time is over, or the service stops.
        """
        if self._draining is None:
            self._draining = Deferred.fromCoroutine(self._drain(within))
        return self._draining

    async def _drain(self, within: float) -> None:
        now = clock_of(self._reactor)
        began = now()
        self._announcer.drains(within, self.factory.counters.open_connections)
        self._drained_ports = [*self._drained_ports, *self.listeners]
        self.listeners = {}
        await self._close(self._drained_ports, lambda port: port.finish())
        rest = began + within - now() if self.running else 0.0
        self._waiting = self._wait_for_sessions(max(0.0, rest))
        left = await self._waiting
        self._announcer.has_drained(now() - began, left)

    @override
    def stopService(self) -> Deferred[None]:
        """Stop listening, end every session, write the access log.

        :returns: fires with None when that is done.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        if self._waiting is not None:
            self._waiting.cancel()
        self._draining = self._waiting = None
        self._announcer.ends(self.factory.counters.open_connections)
        stopped = self._close_ports()
        self._is_listening = self._is_announced = False
        stopped.addCallback(lambda _: self.factory.close_sessions(Reason.SHUTDOWN, STOP_GRACE))
        stopped.addBoth(self._stopped)
        return stopped

    def _close_ports(self) -> Deferred[Any]:
        """Stop listening, and let nobody wait any more who has come.

        :returns: fires when nothing listens any more.
        """
        drained, self._drained_ports = self._drained_ports, ()
        for port in drained:  # of which it is told already
            port.stopListening()
        ports, self.listeners = self.ports, {}
        return self._close(ports, lambda port: port.stopListening())

    def _close(
        self, ports: Iterable[IServedPort], end: Callable[[IServedPort], Any]
    ) -> Deferred[Any]:
        closing = []
        if self._hand_over is not None:
            self._hand_over.cancel()
        for port in ports:
            self._closing.add(port)
            place = place_of(port) if self._is_announced else None
            closing.append(maybeDeferred(end, port).addBoth(self._closed, port, place))
        return DeferredList(closing, consumeErrors=True)

    def _closed(self, outcome: Any, port: IServedPort, place: str | None) -> Any:
        self._closing.discard(port)
        if place is not None and not isinstance(outcome, Failure):
            self._announcer.closes(place)
        return outcome

    def _stopped(self, result: Any) -> Any:
        if self.access_log is not None:
            self.access_log.close()
        limits = self.factory.in_force.limits
        done = succeed(None) if self._sharing is None else self._sharing.last()
        if limits is not None:
            done.addCallback(lambda _: limits.close())
        return done.addCallback(lambda _: result if isinstance(result, Failure) else None)
