"""The service that ``twistd socks5`` and ``python -m socks5`` run: listeners, sessions, access log,
signals.

Starts completely or not at all: what cannot be listened on is one sentence and a non-zero exit. Listens before
privileges are dropped, and says so once the reactor runs.
Stops in order: no new clients, every session closed, the access log written, all within
:data:`STOP_GRACE` and a moment.
"""

from __future__ import annotations

import errno
import gc
import os
import re
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Protocol

from OpenSSL.crypto import Error as PEMError
from twisted.application.service import IService, MultiService, Service
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.app.signals import Signals
from socks5.net.addresses import address_of
from socks5.net.certificates import Unusable
from socks5.net.tls import TLSEndpoint, tls_endpoint
from socks5.protocol.address import unmap
from socks5.server.factory import ServerFactory

STOP_GRACE = 2.0
"""Seconds in which sessions may still send what is written, at the end."""

LOOPBACK = ("127.0.0.1", "::1")
"""The interfaces of the default."""

_ADVICE = {
    errno.EADDRINUSE: "something listens there already, perhaps this proxy",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
    errno.EACCES: "ports below 1024 are for root, with twistd --uid USER, or for CAP_NET_BIND_SERVICE",
}
"""What an operator can make of the system's word, of a port; of a path it says enough."""

_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class StartRefused(SystemExit, Exception):
    """The service does not start, and the log has said why.

    A SystemExit, so that the process ends with status 1 and without a traceback; an Exception, so
    that twistd removes its pid file, and hands the sentence on when it was about to daemonize.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.code = 1


class _Surveyed(Exception):
    """Ends an endpoint's attempt to listen once it has said on what."""


class _Survey:
    """Stands in for a reactor to learn where an endpoint would listen, without listening."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.is_local = False

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        self.hosts.append(interface)
        raise _Surveyed

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        self.hosts.append(interface)
        raise _Surveyed

    def listenUNIX(self, *arguments: Any, **options: Any) -> Any:
        self.is_local = True
        raise _Surveyed

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        with socket.socket(fileno=os.dup(fileDescriptor)) as inherited:
            if inherited.family == socket.AF_UNIX:
                self.is_local = True
            else:
                self.hosts.append(inherited.getsockname()[0])
        raise _Surveyed


def is_loopback(interface: str) -> bool:
    """Whether only this host can reach a listener on *interface*: an IP literal, ``localhost``, or
    "" for all.
    """
    try:
        return interface == "localhost" or ip_address(unmap(interface)).is_loopback
    except ValueError:
        return False


def is_exposed(description: str) -> bool:
    """Whether others than this host can reach the endpoint that a string describes; when in doubt,
    yes. What listens with ``haproxy:`` serves a balancer's clients, wherever it listens.

    :param description: see :func:`endpoint_at`.
    :raises ValueError: it describes no endpoint; :exc:`~socks5.net.certificates.Unusable` if it is one
        for TLS that has no usable certificates.
    """
    survey = _Survey()
    try:
        endpoint = endpoint_at(survey, description)
    except Unusable:
        raise
    except Exception as error:
        raise ValueError(_what_is_wrong(error)) from error
    maybeDeferred(endpoint.listen, Factory()).addErrback(lambda _: None)
    if believes_headers(description):
        return True
    if survey.hosts:
        return not all(is_loopback(host) for host in survey.hosts)
    return not survey.is_local


def believes_headers(description: str) -> bool:
    """Whether a string describes Twisted's ``haproxy:``, in whatever spelling Twisted takes for it."""
    return kind_of(description) == "haproxy"


def kind_of(description: str) -> str:
    """The word before the first colon, as Twisted takes it: in lower case, without backslashes."""
    kind = re.match(r"(?:\\.|[^\\:])*", description)
    return "" if kind is None else re.sub(r"\\(.)", r"\1", kind[0]).lower()


def is_authenticated(description: str) -> bool:
    """Whether the endpoint itself lets nobody in whom it does not know: it wants certificates.

    :param description: one that :func:`is_exposed` has judged.
    """
    endpoint = endpoint_at(_Survey(), description)
    return isinstance(endpoint, TLSEndpoint) and endpoint.is_authenticated


def endpoint_at(listening: Any, description: str) -> IStreamServerEndpoint:
    """The endpoint for a string: ours (:mod:`socks5.net.tls`) or one of Twisted's.

    :param listening: the reactor that it listens with.
    """
    return tls_endpoint(listening, description) or serverFromString(listening, description)


def _what_is_wrong(error: Exception) -> str:
    """What Twisted's parsers raise, in words."""
    if isinstance(error, LookupError):
        return "no such socket is inherited"  # systemd:
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}"
    if isinstance(error, PEMError):
        return "no PEM key and certificate in that file"
    text = str(error) or type(error).__name__
    return re.sub(r"^\w+\(\) ", "", text)  # the name of the parser's function


def _where(port: IListeningPort) -> str:
    """What listens where, for people."""
    host: Any = port.getHost()
    is_unix = isinstance(host, UNIXAddress)
    return f"unix:{os.fsdecode(host.name)}" if is_unix else str(address_of(host))


Listener = tuple[str, IStreamServerEndpoint]
"""How an operator calls a place to listen, and the endpoint."""


def listeners_on(listening: Any, port: int, interfaces: Sequence[str]) -> list[Listener]:
    """One TCP port of some interfaces.

    :param listening: the reactor that the endpoints listen with.
    """

    def listener(interface: str) -> Listener:
        kind = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
        return f"{interface} port {port}", kind(listening, port, interface=interface)

    return [listener(interface) for interface in interfaces]


def listeners_at(listening: Any, descriptions: Sequence[str]) -> list[Listener]:
    """Endpoints given as strings.

    :param listening: the reactor that they listen with.
    """
    return [(text, endpoint_at(listening, text)) for text in descriptions]


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
    :param listeners: where to listen.
    :param optional: places that this machine may not have (IPv6 loopback): left out silently if so.
    :param access_log: opened at the start, written out at the end.
    :param announcer: tells the operator of the beginning and the end.
    :param reread: what SIGHUP asks for.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        factory: ServerFactory,
        listeners: Sequence[Listener],
        optional: Sequence[Listener] = (),
        access_log: Log | None = None,
        announcer: Announcer | None = None,
        reread: Callable[[], object] = lambda: None,
    ) -> None:
        self._reactor = reactor
        self.factory = factory
        self._listeners = listeners
        self._optional = optional
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
        for name, endpoint in self._listeners:
            self._listen(name, endpoint, ())
        for name, endpoint in self._optional:
            self._listen(name, endpoint, _NO_SUCH_ADDRESS)
        self._is_listening = True

    def _listen(self, name: str, endpoint: IStreamServerEndpoint, missing: Sequence[int]) -> None:
        def not_listening(failure: Failure) -> None:
            error = getattr(failure.value, "socketError", failure.value)
            number = getattr(error, "errno", None)
            if number not in missing:
                reason = getattr(error, "strerror", None) or str(error)
                is_port = isinstance(getattr(failure.value, "port", None), int)
                advice = f" ({_ADVICE[number]})" if is_port and number in _ADVICE else ""
                self._refuse(f"cannot listen on {name}: {reason}{advice}")
                if self._is_listening:  # an endpoint that took its time
                    self._stop()

        endpoint.listen(self.factory).addCallbacks(self._listening, not_listening)
        if self.refusal is not None:
            raise self.refusal

    def _listening(self, port: IListeningPort) -> None:
        self.ports.append(self.factory.listens_on(port))
        if self._is_announced:  # an endpoint that took its time
            self._announcer.begins([_where(port)])

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
            self._announcer.begins([_where(port) for port in self.ports])

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
        stopped.addCallback(lambda _: self.factory.close_sessions("shutdown", STOP_GRACE))
        stopped.addBoth(self._stopped)
        return stopped

    def _close_ports(self) -> Deferred[Any]:
        """Stop listening.

        :returns: fires when nothing listens any more.
        """
        ports, self.ports = self.ports, []
        for port in ports:
            self.factory.listens_no_more_on(port)
        closing = [maybeDeferred(port.stopListening) for port in ports]
        return DeferredList(closing, consumeErrors=True)

    def _stopped(self, result: Any) -> Any:
        if self.access_log is not None:
            self.access_log.close()
        return result if isinstance(result, Failure) else None
