"""The service that ``twistd socks5`` and ``python -m socks5`` run: listeners, sessions, access log, signals.

Starts completely or not at all: what cannot be listened on is one sentence and a non-zero exit. Listens before
privileges are dropped, and says so once the reactor runs.
Stops in order: no new clients, every session closed, the access log written, all within
:data:`STOP_GRACE` and a moment.
"""

from __future__ import annotations

import errno
import gc
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.access import Reason
from socks5.app.listeners import NO_SUCH_ADDRESS, Listener, place_of
from socks5.app.signals import Signals
from socks5.net.listening import listen_with
from socks5.net.openers import IPortOpener
from socks5.server.factory import ServerFactory

STOP_GRACE = 2.0
"""Seconds in which sessions may still send what is written, at the end."""

_ADVICE = {
    errno.EADDRINUSE: "something listens there already, perhaps this proxy",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
    errno.EACCES: "ports below 1024 are for root, with twistd --uid USER, or for CAP_NET_BIND_SERVICE",
}
"""What an operator can make of the system's word, of a port; of a path it says enough."""


class StartRefused(SystemExit, Exception):
    """The service does not start, and the log has said why.

    A SystemExit, so that the process ends with status 1 and without a traceback; an Exception, so
    that twistd removes its pid file, and hands the sentence on when it was about to daemonize.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.code = 1


class Log(Protocol):
    """What the service does with an access log."""

    def open(self) -> None:
        """:raises OSError: it cannot be opened."""

    def reopen(self) -> str | None:
        """Continue in the file that the path now leads to, which is returned.

        :raises OSError: it cannot be opened, and the file of before stays.
        """

    def close(self) -> None:
        """Leave nothing unwritten."""


class Announcer(Protocol):
    """Tells the operator where the proxy can be used, and that it ends."""

    def begins(self, places: Sequence[str]) -> None:
        """Clients are served at these places, and signals are taken."""

    def ends(self, sessions: int) -> None:
        """It stops, with so many sessions open."""


class LogAnnouncer:
    """The usual one: lines in the program's log."""

    log = Logger()

    def begins(self, places: Sequence[str]) -> None:
        """See :class:`Announcer`."""
        for place in places:
            self.log.info("SOCKS5 proxy listens on {where}", where=place)

    def ends(self, sessions: int) -> None:
        """See :class:`Announcer`."""
        self.log.info("SOCKS5 proxy stops; open sessions: {count}", count=sessions)


def refusal_of(service: IService) -> StartRefused | None:
    """Why a service of the command line's did not start, if it did not."""
    parts: Iterable[IService] = service if isinstance(service, MultiService) else (service,)
    return next((part.refusal for part in parts if isinstance(part, ProxyService)), None)


class ProxyService(Service):
    """Listens for clients of one factory.

    :param reactor: runs everything.
    :param factory: serves the clients.
    :param opener: opens the ports.
    :param listeners: where to listen.
    :param access_log: opened at the start, written out at the end.
    :param announcer: tells the operator of the beginning and the end.
    :param reread: what SIGHUP asks for.
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
    ) -> None:
        self._reactor = reactor
        self.factory = factory
        self._opener = opener
        self._listeners = listeners
        self.access_log = access_log
        self._announcer: Announcer = LogAnnouncer() if announcer is None else announcer
        also = {signal.SIGUSR1: self._reopen, signal.SIGHUP: reread}
        self._signals = Signals(reactor, self._stop, also)
        self._is_listening = False
        self._is_announced = False
        self.refusal: StartRefused | None = None
        """Why the service did not start, if it did not."""
        self.ports: list[IListeningPort] = []
        """What listens now."""

    @override
    def privilegedStartService(self) -> None:
        """Listen, while a privileged port may still be had.

        :raises StartRefused: something cannot be listened on; says what and why.
        """
        self._signals.take()
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        for listener in self._listeners:
            self._listen(listener)
        self._is_listening = True

    def _listen(self, listener: Listener) -> None:
        """:raises StartRefused: it cannot be listened on."""
        port = listen_with(self._opener, listener.at, self.factory, listener.certificates)
        port.addCallbacks(self._listening, self._not_listening, errbackArgs=(listener,))
        if self.refusal is not None:
            raise self.refusal

    def _listening(self, port: IListeningPort) -> None:
        self.ports.append(port)
        if self._is_announced:  # an endpoint that took its time
            self._announcer.begins([place_of(port)])

    def _not_listening(self, failure: Failure, listener: Listener) -> None:
        error = getattr(failure.value, "socketError", failure.value)
        number = getattr(error, "errno", None)
        if listener.is_optional and number in NO_SUCH_ADDRESS:
            return
        reason = getattr(error, "strerror", None) or str(error)
        is_port = isinstance(getattr(failure.value, "port", None), int)
        advice = f" ({_ADVICE[number]})" if is_port and number in _ADVICE else ""
        self._refuse(f"cannot listen on {listener.name}: {reason}{advice}")
        if self._is_listening:  # an endpoint that took its time
            self._stop()

    def give_up(self, reason: str) -> None:
        """End the process: something that the service needs is not to be had after all."""
        if self.refusal is None:
            self._refuse(reason)
            self._stop()

    def _refuse(self, reason: str) -> StartRefused:
        """Say why the service does not start."""
        sentence = f"socks5 does not start: {reason}"
        self.log.critical("{sentence}", sentence=sentence)
        self._close_ports()
        self.refusal = StartRefused(sentence)
        return self.refusal

    @override
    def startService(self) -> None:
        """Open the access log.

        :raises StartRefused: the access log cannot be opened.
        """
        if not self._is_listening:
            self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]
        if self.access_log is not None:
            try:
                self.access_log.open()
            except OSError as error:
                raise self._refuse(f"--access-log {error.filename}: {error.strerror}") from None
        self._reactor.callWhenRunning(self._begins)
        # What is here now stays for good: no collection need ever look at it again.
        self._reactor.callWhenRunning(gc.freeze)

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

    def _stop(self) -> None:
        with suppress(ReactorNotRunning):  # a second SIGTERM finds it stopping
            self._reactor.stop()

    @override
    def stopService(self) -> Deferred[None]:
        """Stop listening, end every session, write the access log.

        :returns: fires with None when that is done.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._is_listening = self._is_announced = False
        self._announcer.ends(self.factory.counters.open_connections)
        stopped = self._close_ports()
        stopped.addCallback(lambda _: self.factory.close_sessions(Reason.SHUTDOWN, STOP_GRACE))
        stopped.addBoth(self._stopped)
        return stopped

    def _close_ports(self) -> Deferred[Any]:
        """Stop listening.

        :returns: fires when nothing listens any more.
        """
        ports, self.ports = self.ports, []
        closing = [maybeDeferred(port.stopListening) for port in ports]
        return DeferredList(closing, consumeErrors=True)

    def _stopped(self, result: Any) -> Any:
        if self.access_log is not None:
            self.access_log.close()
        return result if isinstance(result, Failure) else None
