"""An epoll of our own, which stands in the reactor as one descriptor.

Sockets whose octets are only passed on register here, once in their life: edge-triggered, for
reading and writing at once, so pausing and resuming are flags instead of system calls, and a close
is its own unregistration. A ready socket costs one dictionary look-up and one call, not the
reactor's round of registrations, logging contexts and checks. Everything else - timers, other
descriptors, threads - stays the reactor's, and :meth:`Poller.doRead` gives it its turn after every
batch.

Needs Linux's epoll and a reactor with file descriptors; :func:`poller_of` says whether both are
there.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

BATCH = 80
"""Ready sockets served before it is looked whether something else is to be done. Room for them is taken from malloc(3)
for every batch, which has up to 1032 octets at hand.
"""

ALLOWANCE = 8 << 20
"""Octets that sockets may move in bulk in one batch, all together, besides one read of each: a few milliseconds'
work."""

OWNERS = 256
"""Descriptors that there is a place for at first; it grows with them."""

READABLE = getattr(select, "EPOLLIN", 1)
WRITABLE = getattr(select, "EPOLLOUT", 4)
HUNG_UP = (
    getattr(select, "EPOLLRDHUP", 0x2000)
    | getattr(select, "EPOLLHUP", 0x10)
    | getattr(select, "EPOLLERR", 8)
    | getattr(select, "EPOLLPRI", 2)
)
"""There is an end, an error or an urgent octet, at which a read stops, among the octets: read on until
nothing comes.
"""

FAILED = getattr(select, "EPOLLERR", 8)
"""There is an error behind the octets."""

EVERYTHING = READABLE | WRITABLE | HUNG_UP | getattr(select, "EPOLLET", 1 << 31)
"""All of that, each time that something becomes the case."""

ARRIVALS = EVERYTHING & ~WRITABLE
"""The same for who does not wait for room."""


class Owner(Protocol):
    """Whom the poller tells of a ready socket."""

    def ready(self, events: int) -> None:
        """The socket became readable, writable or hung up since it last was not."""

    def crashed(self, failure: Failure) -> None:
        """``ready`` raised: a bug. Give up the socket."""


@implementer(IReadDescriptor)
class Poller:
    """Sockets, edge-triggered, and their owners.

    Whoever makes one lets it serve: a reactor that watches it as a descriptor, or one that waits in
    it (:mod:`socks5.net.reactor`).

    :param reactor: the clock of :meth:`again_later`.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._owners: list[Owner | None] = [None] * OWNERS  # by descriptor
        self._fresh: set[int] = set()  # registered in this batch
        self.allowance = ALLOWANCE
        """What is left of that in this batch. Who moves bulk takes from it, and when it is used up comes again in a
        later batch."""
        self.is_interrupted = False
        """Whether the reactor is to have its turn behind this batch. Set by whoever gives it something to do."""
        self._behind: list[Callable[[], object]] = []  # what is called at the end of this batch
        self._is_serving = False
        self.shared: dict[type, Any] = {}
        """What those who use the poller share, by class."""

    def add(self, fd: int, owner: Owner, events: int = EVERYTHING) -> None:
        """Tell *owner* of everything that happens to *fd*, beginning with what is the case
        already.
        """
        try:
            self._owners[fd] = owner
        except IndexError:
            self._owners += [None] * (fd + 1)
            self._owners[fd] = owner
        if self._is_serving:
            if not self._fresh:
                self._behind.append(self._fresh.clear)
            self._fresh.add(fd)
        self._epoll.register(fd, events)

    def watch(self, fd: int, owner: Owner) -> None:
        """Tell *owner* in every batch in which *fd* is readable."""
        self.add(fd, owner, READABLE)

    def hand_over(self, fd: int, owner: Owner) -> None:
        """From now on tell *owner*, who must look for itself what is the case already."""
        self._owners[fd] = owner

    def again(self, fd: int, events: int = EVERYTHING) -> None:
        """Tell the owner once more, in a later batch, if the socket is still ready."""
        self._epoll.modify(fd, events)

    def again_later(self, fd: int, seconds: float) -> None:
        """The same after some time, if *fd* has an owner then: for what the system refuses now."""
        self._reactor.callLater(seconds, self._again_if_owned, fd)

    def _again_if_owned(self, fd: int) -> None:
        if self._owners[fd] is not None:
            self.again(fd)

    def forget(self, fd: int) -> None:
        """*fd* is about to be closed by its owner, which ends its registration, if there was one."""
        if fd < len(self._owners):
            self._owners[fd] = None

    def remove(self, fd: int) -> None:
        """Tell nobody any more; *fd* stays open."""
        owner, self._owners[fd] = self._owners[fd], None
        if owner is not None:
            self._epoll.unregister(fd)

    def behind(self, call: Callable[[], object]) -> None:
        """Call this once, behind what is done for the sockets that are ready now, in the order of these requests; at
        once if none are being served. It is for work that many of them have together, such as writing, and for what
        wakes another program: one that is woken in between is asleep again before the next time, for it has less to
        do than we, while of calls that come one behind the other only the first has to wake it.
        """
        if self._is_serving:
            self._behind.append(call)
        else:
            call()

    def fileno(self) -> int:
        """The epoll's own descriptor."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """What the reactor calls us."""
        return "socks5"

    def doRead(self) -> None:
        """Serve what is ready, for the reactor that watches us."""
        self.serve(0)

    def serve(self, seconds: float, rounds: int = 1) -> None:
        """Wait for ready sockets, and serve them: a batch, and further ones while there are any, the time is not
        over and nobody has set :attr:`is_interrupted`. A descriptor that was closed and given out anew meanwhile is
        left out: what the batch says of it is about its predecessor.

        :param seconds: to wait at the most, in all; negative: for ever.
        :param rounds: batches at the most.
        """
        owners, fresh, poll, behind = self._owners, self._fresh, self._poll, self._behind
        self.is_interrupted = False
        due = None if seconds < 0 else monotonic() + seconds
        try:
            for _ in range(rounds):
                self.allowance = ALLOWANCE
                self._is_serving = True
                for fd, events in poll(seconds, BATCH):
                    owner = owners[fd]
                    if owner is not None and fd not in fresh:
                        try:
                            owner.ready(events)
                        except Exception:
                            self._crash(owner)
                if behind:
                    self._call_behind()
                if self.is_interrupted:
                    return
                if due is not None:
                    seconds = due - monotonic()
                    if seconds <= 0.0:
                        return
        finally:
            self._call_behind()

    def _call_behind(self) -> None:
        self._is_serving = False
        calls = iter(self._behind)
        while self._behind:
            try:
                for call in calls:
                    call()
                self._behind.clear()
            except Exception:
                self._log.failure("what was left until behind a batch has failed")

    def _crash(self, owner: Owner) -> None:
        """Tell *owner* of the exception under way. What that raises in its turn is logged: the
        reactor would drop whom it comes from, and every other socket with us.
        """
        try:
            owner.crashed(Failure())
        except Exception:
            self._log.failure("a failed connection could not be given up")

    def connectionLost(self, reason: Failure) -> None:
        """The reactor disconnects everything at its end; the sockets' owners see to themselves."""

    def close(self) -> None:
        """Give the epoll back; for a reactor that ends before its process does."""
        self._epoll.close()


_pollers: WeakKeyDictionary[Any, Poller] = WeakKeyDictionary()


def poller_of(reactor: Any) -> Poller | None:
    """The reactor's poller, made at the first call; None where there can be none.

    :param reactor: one that wraps another names it as its ``wrapped``, one that waits in a poller has
        it as its ``poller``.
    """
    reactor = getattr(reactor, "wrapped", reactor)
    if not hasattr(select, "epoll") or not isinstance(reactor, PosixReactorBase):
        return None  # a reactor in memory says that it takes descriptors, too
    poller: Poller | None = getattr(reactor, "poller", None) or _pollers.get(reactor)
    if poller is None:
        poller = _pollers[reactor] = Poller(reactor)
        reactor.addReader(poller)
    return poller
