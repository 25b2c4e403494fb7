"""One name to its addresses, in one of two ways.

:class:`NameServerLookups` asks name servers itself, without a thread, and can be told to stop at any time.
:class:`HostnameLookups` asks a resolver of Twisted's kind: one that a program has installed, or the system's in
threads, which cannot be stopped.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, NamedTuple, Protocol

# GAIResolver has no public name; a reactor's nameResolver is its only public face.
from twisted.internet._resolver import GAIResolver
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from typing_extensions import override
from zope.interface import implementer

from socks5.deadlines import clock_of
from socks5.files import Kept
from socks5.net.nameservers import DatagramChannel, Inquiry
from socks5.net.preference import preferred
from socks5.net.resolvconf import ResolvConf
from socks5.protocol.address import unmap
from socks5.protocol.dns import MOST_ADDRESSES, MOST_ALIASES, Answer, Code, Kind, wire_name
from socks5.settings import OutgoingFamily
from socks5.threads import forget_unstarted

_log = Logger()

RESOLUTION_DELAY = 0.05
"""Seconds that IPv4 addresses wait for IPv6 ones (RFC 8305 section 3)."""

IPV4_DELAY = 2.5
"""Seconds that IPv6 addresses wait for IPv4 ones: so long that a question that was lost is put again. A client of
section 3 need not wait, for it adds what comes later; here that is lost, and where IPv6 leads nowhere nothing is left.
"""


class Outcome(NamedTuple):
    """What a lookup has found out.

    :param hosts: IP literals, the best first; none: there are none, or nobody could say.
    :param lifetime: how long this is so, in seconds; None: nobody has said.
    :param is_certain: whether this is all that there is to know; if not, an answer is missing.
    """

    hosts: tuple[str, ...]
    lifetime: float | None = None
    is_certain: bool = True


GIVEN_UP = Outcome((), is_certain=False)
"""Of a lookup that nobody waits for any more."""

Done = Callable[[Outcome | Failure], None]


class Lookups(Protocol):
    """A way to look names up."""

    def begin(self, name: str, done: Done) -> Callable[[], None]:
        """Look one up.

        :param name: see :func:`socks5.names.hostname`.
        :param done: called once, perhaps before this returns.
        :returns: gives the lookup up. What can be stopped is over then, with :data:`~socks5.net.lookups.GIVEN_UP`; what
            cannot goes on until it is over by itself. Harmless when it is.
        """


# ---------------------------------------------------------------- name servers


class NameServerLookups:
    """Asks the name servers of a resolv.conf, which is read again when it changes.

    :param reactor: see :class:`socks5.net.nameservers.Inquiry`.
    :param path: the file; one that is not there is as good as an empty one.
    :param family: says addresses of what families are of use.
    :param channel: see :class:`socks5.net.nameservers.Inquiry`.
    """

    def __init__(
        self,
        reactor: Any,
        path: str,
        family: Callable[[], OutgoingFamily] = lambda: OutgoingFamily.ANY,
        channel: Any = DatagramChannel,
    ) -> None:
        self._reactor = reactor
        self._family = family
        self._channel = channel
        domain = socket.gethostname().partition(".")[2]
        self._conf = Kept(clock_of(reactor), path, lambda text: ResolvConf.parse(text, domain))
        self._begun = 0

    def begin(self, name: str, done: Done) -> Callable[[], None]:
        """See :class:`Lookups`."""
        conf = self._conf.get()
        self._begun += conf.rotates
        inquire = partial(Inquiry, self._reactor, conf, first=self._begun, channel=self._channel)
        lookup = _Lookup(self._reactor, conf.candidates(name), self._kinds(conf), inquire, done)
        lookup.start()
        return lookup.give_up

    def _kinds(self, conf: ResolvConf) -> tuple[Kind, ...]:
        """What to ask for: addresses that nobody could use only cost time."""
        family = self._family()
        if family is OutgoingFamily.IPV6:
            return (Kind.AAAA,)
        if family is OutgoingFamily.IPV4 or not conf.has_ipv6:
            return (Kind.A,)
        return Kind.AAAA, Kind.A


class _Lookup:
    """One name: its candidates by the search list, and for each both families and their aliases."""

    def __init__(
        self,
        reactor: Any,
        candidates: list[str],
        kinds: tuple[Kind, ...],
        inquire: Callable[..., Inquiry],
        done: Done,
    ) -> None:
        self._reactor = reactor
        self._inquire = inquire
        self._candidates = candidates[::-1]
        self._kinds = kinds
        self._done: Done | None = done
        self._answers: dict[int, Answer | None] = {}
        self._inquiries: list[Inquiry] = []
        self._aliases = 0
        self._enough: IDelayedCall | None = None
        self._denied_for: list[float | None] = []
        self._is_certain = True

    def start(self) -> None:
        """Ask for the next candidate."""
        self._answers = {}
        self._aliases = 0
        self._ask(wire_name(self._candidates.pop()), self._kinds)

    def _ask(self, name: bytes, kinds: tuple[int, ...]) -> None:
        inquiry = self._inquire(name, kinds, self._told)
        self._inquiries.append(inquiry)
        inquiry.start()

    def _told(self, kind: int, answer: Answer | None) -> None:
        """See :class:`socks5.net.nameservers.Told`."""
        if answer is not None and answer.alias is not None and self._aliases < MOST_ALIASES:
            self._aliases += 1
            self._ask(answer.alias, (kind,))
            return
        self._answers[kind] = answer
        # Some servers deny the whole name where it only has no IPv6 address (RFC 4074 section 4.2).
        is_unknown = kind == Kind.A and answer is not None and answer.code == Code.NO_SUCH_NAME
        if is_unknown or len(self._answers) == len(self._kinds):
            self._conclude()
        elif answer is not None and answer.hosts:
            delay = RESOLUTION_DELAY if kind == Kind.A else IPV4_DELAY
            self._enough = self._reactor.callLater(delay, self._conclude)

    def _conclude(self) -> None:
        """No more is to come for this candidate, or it is not waited for."""
        self._stop()
        answers = [self._answers.get(kind) for kind in self._kinds]
        found = [answer for answer in answers if answer is not None and answer.hosts]
        if found:
            hosts = preferred(host for answer in found for host in answer.hosts)
            lifetime = min(answer.lifetime or 0 for answer in found)
            if Kind.A in self._kinds and self._answers.get(Kind.A) is None:
                lifetime = 0  # may be of no use to anybody without the IPv4 addresses
            self._finish(Outcome(hosts, lifetime, is_certain=None not in answers))
            return
        self._note_denial(answers)
        if self._candidates:
            self.start()
        else:
            lifetimes = [each for each in self._denied_for if each is not None]
            self._finish(Outcome((), min(lifetimes, default=None), self._is_certain))

    def _note_denial(self, answers: list[Answer | None]) -> None:
        given = [answer for answer in answers if answer is not None]
        is_unknown = any(answer.code == Code.NO_SUCH_NAME for answer in given)
        self._is_certain &= is_unknown or None not in answers
        self._denied_for += [answer.lifetime for answer in given]

    def _stop(self) -> None:
        if self._enough is not None and self._enough.active():
            self._enough.cancel()
        self._enough = None
        inquiries, self._inquiries = self._inquiries, []
        for inquiry in inquiries:
            inquiry.stop()

    def _finish(self, outcome: Outcome) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(outcome)

    def give_up(self) -> None:
        """See :class:`Lookups`."""
        self._stop()
        self._finish(GIVEN_UP)


# ---------------------------------------------------------------- resolvers of Twisted's kind


@implementer(IResolutionReceiver)
class _Receiver:
    """Gathers the addresses of one lookup.

    :param done: called with them, in order and each once, when there are no more; of each family with so many
        at the most as are taken of a name server's answer.
    """

    def __init__(self, done: Done) -> None:
        self._done: Done | None = done
        self._found: dict[str, None] = {}
        self._counts = Counter[bool]()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Nothing to keep: a lookup in a thread cannot be cancelled."""

    def addressResolved(self, address: IAddress) -> None:
        host = unmap(address.host)  # type: ignore[attr-defined]
        if host not in self._found and self._counts[":" in host] < MOST_ADDRESSES:
            self._counts[":" in host] += 1
            self._found[host] = None

    def resolutionComplete(self) -> None:
        # Without addresses nobody says whether there are none, or no name server has answered.
        self.finish(Outcome(tuple(self._found), is_certain=bool(self._found)))

    def finish(self, outcome: Outcome | Failure) -> None:
        """Tell the outcome; a resolver that says another is not listened to."""
        done, self._done = self._done, None
        if done is not None:
            done(outcome)
        elif isinstance(outcome, Failure):
            _log.failure("a resolver failed behind its answer", failure=outcome)


class HostnameLookups:
    """Asks a resolver of Twisted's kind.

    :param resolver: the resolver.
    """

    def __init__(self, resolver: IHostnameResolver) -> None:
        self._resolver = resolver

    def begin(self, name: str, done: Done) -> Callable[[], None]:
        """See :class:`Lookups`."""
        receiver = _Receiver(done)
        try:
            self._resolver.resolveHostName(receiver, name)
        except Exception:
            receiver.finish(Failure())
        return _do_nothing


def _do_nothing() -> None:
    """A lookup that cannot be stopped goes on."""


def _getaddrinfo(*arguments: Any, **options: Any) -> Any:
    """As the socket module's.

    :raises socket.gaierror: whatever went wrong: Twisted's resolver never tells of anything else.
    """
    try:
        return socket.getaddrinfo(*arguments, **options)
    except socket.gaierror:
        raise
    except (
        Exception
    ) as error:  # no memory or descriptors, or a name that the socket module does not encode
        raise socket.gaierror(socket.EAI_FAIL, str(error)) from error


class LookupThreads(ThreadPool):
    """Threads of lookups. One for which the system has no thread fails: Twisted's resolver would never tell of it."""

    @override
    def callInThreadWithCallback(
        self, onResult: Any, func: Callable[..., Any], *args: Any, **kw: Any
    ) -> None:
        try:
            super().callInThreadWithCallback(onResult, func, *args, **kw)
        except Exception as error:  # RuntimeError, MemoryError
            forget_unstarted(self)
            onResult(False, Failure(socket.gaierror(socket.EAI_FAIL, str(error))))

    @classmethod
    def begun(cls, threads: int) -> LookupThreads:
        """So many of them at the most."""
        pool = cls(0, threads, "socks5-names")
        # Daemons, for a name server that hangs must not hold up the exit.
        pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
        pool.start()
        return pool

    def close(self) -> None:
        """Let them go, without waiting for them. Harmless twice."""
        if not self.joined:
            self.joined = True
            Thread(target=self.stop, daemon=True).start()


class SystemLookups(HostnameLookups):
    """Asks the system's resolver, with all that nsswitch.conf(5) names, in threads of its own.

    :param reactor: where outcomes are told.
    :param threads: how many at the most.
    """

    def __init__(self, reactor: Any, threads: int) -> None:
        pool = LookupThreads.begun(threads)
        self.close = pool.close
        super().__init__(GAIResolver(reactor, lambda: pool, _getaddrinfo))
