"""A reload in a parent and its workers: in all of them, or in none.

1. The parent reads the file, in a thread, and makes of it what a process is made of: see :mod:`socks5.app.reload`. So
   what is wrong with it is said once, and no worker is asked.
2. The parent opens the listeners that are new: a socket for each worker (:class:`Agreement`).
3. Each worker gets the text, in the very file in memory that its successor would inherit, and its new sockets. It makes
   its own of that, in a thread, and opens everything that can fail to open, but its new ports accept nobody yet
   (:class:`Follower`). It says that it is ready, or why it is not.
4. If one is not ready, or ends before it has said so, or says nothing for :data:`PATIENCE`, all are told to forget it.
   One that begins meanwhile has what is in force, and is asked as the others are.
5. When all are ready, the parent closes its copies of the sockets that nobody wants any more: a socket is closed when
   its last copy is, and clients that the kernel queues there after the workers' are would never be served. From then on
   a worker that begins has the text and the sockets of then. The others are told to go.
6. Each of those changes in one turn of its reactor: new ports accept, others serve who has come, and close. It says how
   many sessions ended, when all are judged.

So all of them have the same text, whoever dies when. One that cannot do what it was ready for ends as well, for its
successor has the text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import count
from typing import IO, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from socks5.app.change import Change
from socks5.app.channel import MAX_DESCRIPTORS, Channel, Message
from socks5.app.configured import Configured
from socks5.app.exchange import Exchange, NotExchanged
from socks5.app.inherit import InheritedPorts, file_of, told_by
from socks5.app.reload import reasons_of
from socks5.net.descriptors import SessionLimit
from socks5.net.openers import IPortOpener
from socks5.threads import aside

PATIENCE = 10.0
"""Seconds that a worker may take until it is ready."""

SOCKETS, PREPARE, GO, FORGET = "sockets", "prepare", "go", "forget"
"""What the parent says: some of the new sockets; the text, and what all sockets are called; and the end of it."""

READY, REFUSED, CHANGED = "ready", "refused", "changed"
"""What a worker answers."""


class Member(Protocol):
    """A worker, from its start to its end: see :class:`socks5.app.lives.Life`."""

    name: str
    channel: Channel


class Crew(Protocol):
    """What an agreement takes of :class:`socks5.app.workers.Workers`."""

    @property
    def lives(self) -> Collection[Any]:
        """Those of now."""

    def accompany(self, companion: Any) -> None:
        """Let *companion* know of every life, from now on."""

    def part_from(self, companion: Any) -> None:
        """That is over."""

    def coming(self, name: str) -> tuple[Sequence[str], Sequence[int]]:
        """What all sockets are called, and the last of them, which that worker has not inherited."""

    def become(self, told: IO[bytes]) -> None:
        """Who begins from now on inherits what is open now, and is told this."""


_numbers = count(1)


class Agreement:
    """The parent's part: what a file changes in the parent and its workers, see :class:`socks5.app.reload.Changing`.

    :param reactor: waits for the workers.
    :param workers: they.
    :param own: what it changes in this process.
    :param after: what is to be in force.
    """

    def __init__(self, reactor: Any, workers: Crew, own: Change, after: Configured) -> None:
        self._reactor = reactor
        self._workers = workers
        self._own = own
        self._after = after
        self._number = next(_numbers)
        self._asked: set[Member] = set()
        self._unsettled: set[Member] = set()  # who has not answered
        self._decided: Deferred[None] | None = None
        self._changed: Deferred[int] | None = None
        self._ended = 0

    @property
    def exchange(self) -> Exchange:
        """Of the listeners."""
        return self._own.exchange

    async def open(self) -> None:
        """Open what is needed, and have all workers do so; or nobody.

        :raises NotExchanged: says what is in the way.
        """
        await self._own.open()
        try:
            self._told = file_of(self._after.told)
        except OSError as error:
            self._own.give_up()
            raise NotExchanged([f"workers cannot be told: {error.strerror}"]) from None
        decided: Deferred[None] = Deferred()
        self._decided = decided
        late = self._reactor.callLater(PATIENCE, self._is_late)
        self._workers.accompany(self)
        try:
            for life in [*self._workers.lives]:
                self.begins(life)
            self._settle()
            await decided
        except BaseException:
            self.give_up()
            raise
        finally:
            if late.active():
                late.cancel()

    def begins(self, life: Member) -> None:
        """A worker begins, or lives already: it is asked, too."""
        if self._decided is None:
            return
        answers = {READY: self._is_ready, REFUSED: self._is_refused, CHANGED: self._has_changed}
        for kind, handler in answers.items():
            life.channel.hear(kind, partial(self._hear, handler, life))
        self._asked.add(life)
        self._unsettled.add(life)
        names, sockets = self._workers.coming(life.name)
        try:
            for begin in range(0, len(sockets), MAX_DESCRIPTORS):
                life.channel.send({"is": SOCKETS}, sockets[begin : begin + MAX_DESCRIPTORS])
            self._say(life, PREPARE, {"sockets": names}, [self._told.fileno()])
        except OSError as error:
            self._fail([f"{life.name} cannot be told: {error.strerror}"])

    def ends(self, life: Member) -> None:
        """A worker has ended. Who was ready has a successor."""
        self._asked.discard(life)
        if life in self._unsettled and self._decided is not None:
            self._fail([f"{life.name} has ended before it was ready"])
        self._settle(life)

    def _say(
        self,
        life: Member,
        kind: str,
        more: Message | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        life.channel.send({"is": kind, "number": self._number, **(more or {})}, descriptors)

    def _hear(
        self,
        handler: Callable[[Member, Message], object],
        life: Member,
        message: Message,
        descriptors: Sequence[int],
    ) -> None:
        if message["number"] == self._number:  # else it is late
            handler(life, message)

    def _is_ready(self, life: Member, message: Message) -> None:
        self._settle(life)

    def _is_refused(self, life: Member, message: Message) -> None:
        self._fail([f"{life.name}: {reason}" for reason in message["reasons"]])

    def _is_late(self) -> None:
        names = ", ".join(sorted(life.name for life in self._unsettled))
        self._fail([f"{names}: not ready after {PATIENCE:g} s"])

    def _fail(self, reasons: Sequence[str]) -> None:
        decided, self._decided = self._decided, None
        if decided is not None:
            decided.errback(NotExchanged(reasons))

    def _settle(self, *lives: Member) -> None:
        """Those have answered; go on if nobody has to."""
        self._unsettled.difference_update(lives)
        if self._unsettled:
            return
        decided, self._decided = self._decided, None
        changed, self._changed = self._changed, None
        if decided is not None:
            decided.callback(None)
        if changed is not None:
            self._workers.part_from(self)
            changed.callback(self._ended)

    def give_up(self) -> None:
        """Close again what was opened, and have the workers do so."""
        self._workers.part_from(self)
        for life in self._asked:
            self._say(life, FORGET)
        self._told.close()
        self._own.give_up()

    def begin(self) -> Deferred[int]:
        """Let it hold, everywhere.

        :returns: fires with how many sessions ended for that in all workers, when all are judged.
        :raises NotExchanged: it is too late for that, and nothing is different.
        """
        judged = self._own.begin()
        self._workers.become(self._told)
        changed: Deferred[int] = Deferred()
        self._changed = changed
        self._unsettled = set(self._asked)
        for life in self._asked:
            self._say(life, GO)
        self._settle()
        return judged.addCallback(lambda _: changed)

    def _has_changed(self, life: Member, message: Message) -> None:
        self._ended += message["ended"]
        self._settle(life)


class Follower:
    """A worker's part.

    :param reactor: gives the thread.
    :param channel: to the parent.
    :param configured: what is in force.
    :param change: makes what a text changes: of what is in force, what is to be, and what opens ports.
    :param limit: of the factory that the ports are for.
    :param end: ends this process.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        channel: Channel,
        configured: Configured,
        change: Callable[[Configured, Configured, IPortOpener], Change],
        limit: SessionLimit,
        end: Callable[[], object],
    ) -> None:
        self._reactor = reactor
        self._channel = channel
        self.in_force = configured
        self._change = change
        self._limit = limit
        self._end = end
        self._sockets: list[int] = []
        self._number = 0  # of what is asked for now
        self._ready: tuple[Change, Configured, InheritedPorts] | None = None
        channel.hear(SOCKETS, self._take_sockets)
        channel.hear(PREPARE, self._prepare)
        channel.hear(GO, self._go)
        channel.hear(FORGET, self._forget)

    def _take_sockets(self, message: Message, descriptors: Sequence[int]) -> None:
        self._sockets += descriptors

    def _prepare(self, message: Message, descriptors: Sequence[int]) -> None:
        sockets, self._sockets = self._sockets, []
        self._number = message["number"]
        names, [told] = message["sockets"], descriptors
        new = names[len(names) - len(sockets) :]
        opener = InheritedPorts(self._reactor, self._limit, new, sockets, is_asleep=True)
        Deferred.fromCoroutine(self._get_ready(self._number, names, told, opener))

    async def _get_ready(
        self, number: int, names: Sequence[str], told: int, opener: InheritedPorts
    ) -> None:
        answer: dict[str, Any] = {"is": READY, "number": number}
        try:
            after = await aside(self._reactor, self._made_of, told, names)
            if number != self._number:
                raise NotExchanged(["nobody asks any more"])
            change = self._change(self.in_force, after, opener)
            await change.open()
            self._ready = change, after, opener
        except Exception as error:
            answer = {"is": REFUSED, "number": number, "reasons": reasons_of(error, self.log)}
        finally:
            os.close(told)
            opener.close()
        self._channel.send(answer)

    def _made_of(self, told: int, names: Sequence[str]) -> Configured:
        """:raises socks5.app.config.document.Refused: says everything that is wrong with it."""
        return self.in_force.told_again(told_by(told), names)

    def _forget(self, message: Message, descriptors: Sequence[int]) -> None:
        self._number = 0
        while self._sockets:
            os.close(self._sockets.pop())
        ready, self._ready = self._ready, None
        if ready is not None:
            ready[0].give_up()

    def _go(self, message: Message, descriptors: Sequence[int]) -> None:
        ready, self._ready = self._ready, None
        assert ready is not None
        change, self.in_force, opener = ready
        opener.wake()
        try:
            judged = change.begin()
        except Exception:
            self.log.failure("what this worker was ready for cannot be done; it ends")
            self._end()
            return
        number = self._number
        judged.addCallback(
            lambda ended: self._channel.send({"is": CHANGED, "number": number, "ended": ended})
        )
