"""The poller: who is told of what, and that nobody else is held up; and the reactor that waits in it."""

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.error import ReactorAlreadyInstalledError
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from socks5.net import poller as poll
from socks5.net import reactor as reactor_module
from socks5.net.poller import FAILED, HUNG_UP, READABLE, WRITABLE, Poller, poller_of
from socks5.net.reactor import PollerReactor, install
from tests.sockets.wires import PATIENCE, FarEnd, Unwatched, turn, until
from tests.support.failures import Failures


class Watched:
    """A socket in a poller, which records what it is told; and its far end."""

    def __init__(self, poller: Poller, near: socket.socket, far: FarEnd) -> None:
        self.poller = poller
        self.socket = near
        self.far = far
        self.told: list[int] = []
        self.crashes: list[Failure] = []
        self.then: Callable[[], object] = lambda: None
        near.setblocking(False)
        poller.add(near.fileno(), self)

    def ready(self, events: int) -> None:
        self.told.append(events)
        self.then()

    def crashed(self, failure: Failure) -> None:
        self.crashes.append(failure)

    def forget(self) -> int:
        """Close as an owner does.

        :returns: the descriptor, which the system will give out anew.
        """
        fd = self.socket.fileno()
        self.poller.forget(fd)
        self.socket.close()
        return fd

    def took(self) -> list[int]:
        """What it was told since the last time."""
        told, self.told = self.told, []
        return told


class Wires:
    """Watched sockets, closed with the test."""

    def __init__(self, stack: ExitStack, poller: Poller) -> None:
        self._stack = stack
        self.poller = poller
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=300))

    def watch(self) -> Watched:
        far = self._stack.enter_context(socket.create_connection(self._listener.getsockname()))
        near = self._stack.enter_context(self._listener.accept()[0])
        return Watched(self.poller, near, FarEnd(far))


@pytest.fixture
def wires() -> Iterator[Wires]:
    with ExitStack() as stack:
        yield Wires(stack, Poller(Unwatched()))


# ---------------------------------------------------------------- who is told


def test_what_is_the_case_already_is_told_first_and_each_change_once(wires: Wires) -> None:
    one, other = wires.watch(), wires.watch()
    other.far.send(b"x")
    wires.poller.doRead()
    assert (one.took(), other.took()) == ([WRITABLE], [READABLE | WRITABLE])
    for octets in (b"x", b"more"):
        wires.poller.doRead()
        assert one.took() == []
        one.far.send(octets)
        wires.poller.doRead()
        wires.poller.doRead()
        assert one.took() == [READABLE | WRITABLE]


@pytest.mark.parametrize("how", [FarEnd.end, FarEnd.reset])
def test_an_end_is_told_with_the_octets_before_it_and_a_reset_as_a_failure(
    wires: Wires, how: Callable[[FarEnd], None]
) -> None:
    one = wires.watch()
    one.far.send(b"x")
    how(one.far)
    wires.poller.doRead()
    [events] = one.took()
    assert events & READABLE
    assert events & HUNG_UP
    assert bool(events & FAILED) is (how is FarEnd.reset)


def test_an_owner_may_ask_to_be_told_again(wires: Wires) -> None:
    one = wires.watch()
    one.far.send(b"x")
    wires.poller.doRead()
    wires.poller.again(one.socket.fileno())
    assert one.took() == [READABLE | WRITABLE]
    wires.poller.doRead()
    assert one.took() == [READABLE | WRITABLE]
    one.then = lambda: wires.poller.again(one.socket.fileno())
    wires.poller.again(one.socket.fileno())
    wires.poller.doRead()
    assert len(one.took()) == 1  # and the next time in the next batch
    wires.poller.doRead()
    assert len(one.took()) == 1


def test_an_owner_may_ask_to_be_told_again_later() -> None:
    clock = Unwatched()
    with ExitStack() as stack:
        wires = Wires(stack, Poller(clock))
        one, other = wires.watch(), wires.watch()
        wires.poller.doRead()
        for each in (one, other):
            wires.poller.again_later(each.socket.fileno(), 0.5)
        other.forget()
        for seconds, told in ((0.4, [WRITABLE]), (0.1, [WRITABLE] * 2)):
            clock.advance(seconds)
            wires.poller.doRead()
            assert (one.told, other.told) == (told, [WRITABLE])


def test_a_removed_socket_stays_open_and_nobody_is_told(wires: Wires) -> None:
    one = wires.watch()
    for _ in range(2):
        wires.poller.remove(one.socket.fileno())
    one.far.send(b"x")
    wires.poller.doRead()
    assert one.took() == []
    assert one.socket.recv(10) == b"x"
    wires.poller.add(one.socket.fileno(), one)
    wires.poller.doRead()
    assert one.took() == [WRITABLE]


def test_there_is_a_place_for_every_descriptor(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll, "OWNERS", 1)
    wires.poller = Poller(Unwatched())
    with socket.socket() as beyond:
        wires.poller.forget(beyond.fileno())  # which was never registered
    several = [wires.watch() for _ in range(5)]
    wires.poller.doRead()
    assert [each.told for each in several] == [[WRITABLE]] * 5


# ---------------------------------------------------------------- a batch


def test_a_batch_is_bounded_and_everybody_has_a_turn(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll, "BATCH", 2)
    several = [wires.watch() for _ in range(5)]
    counts = []
    for _ in range(3):
        wires.poller.doRead()
        counts.append(sum(len(each.told) for each in several))
    assert counts == [2, 4, 5]
    assert [each.told for each in several] == [[WRITABLE]] * 5


def test_who_is_closed_by_one_before_it_in_the_batch_is_not_told(wires: Wires) -> None:
    one, other = wires.watch(), wires.watch()
    one.then, other.then = other.forget, one.forget
    wires.poller.doRead()
    assert [*one.told, *other.told] == [WRITABLE]


def test_what_a_batch_says_of_a_descriptor_is_not_about_its_successor(wires: Wires) -> None:
    """Closed, and given out anew, while the batch is served."""
    watched = [wires.watch() for _ in range(3)]
    made: list[Watched] = []

    def replace_others(one: Watched) -> None:
        for victim in watched:
            if victim is not one:
                near, far = socket.socketpair()
                with near:
                    moved = socket.socket(fileno=os.dup2(near.fileno(), victim.forget()))
                made.append(Watched(wires.poller, moved, FarEnd(far)))

    for each in watched:
        each.then = partial(replace_others, each)
        each.far.send(b"x")
    wires.poller.doRead()
    assert [successor.took() for successor in made] == [[], []]
    wires.poller.doRead()  # nothing that happened to a successor is lost
    assert [successor.took() for successor in made] == [[WRITABLE], [WRITABLE]]
    assert not any(each.crashes for each in watched)
    for successor in made:
        successor.forget()
        successor.far.close()


# ---------------------------------------------------------------- owners that raise


def test_an_owner_that_raises_is_told_so_and_the_others_are_served(
    wires: Wires, failures: Failures
) -> None:
    """Though it raises once more: else the reactor would take the poller for broken, and drop every connection with
    it.
    """

    def raises(failure: Failure) -> None:
        raise KeyError(failure)

    several = [wires.watch() for _ in range(4)]
    for each in several:
        each.then = lambda: 1 / 0
    for each in several[::2]:
        each.crashed = raises  # type: ignore[method-assign]
    wires.poller.doRead()
    assert [len(each.told) for each in several] == [1] * 4
    assert all(each.crashes[0].check(ZeroDivisionError) for each in several[1::2])
    assert len(failures.take(KeyError)) == 2


# ---------------------------------------------------------------- behind a batch


def test_what_sockets_have_together_is_done_behind_all_of_them(
    wires: Wires, failures: Failures
) -> None:
    """In the order in which it was asked for; of what fails nobody else takes notice."""
    several = [wires.watch() for _ in range(3)]
    order: list[str] = []

    def at_last() -> None:
        order.append("third")
        wires.poller.behind(lambda: order.append("at once"))  # no sockets are being served

    def happen() -> None:
        order.append("socket")
        if len(order) == 1:
            for each in (lambda: order.append("first"), lambda: 1 / 0, at_last):
                wires.poller.behind(each)

    for each in several:
        each.then = happen
    wires.poller.doRead()
    wires.poller.doRead()
    assert order == ["socket"] * 3 + ["first", "third", "at once"]
    assert len(failures.take(ZeroDivisionError)) == 1


# ---------------------------------------------------------------- inside a reactor


def test_it_is_a_descriptor_of_the_reactor_s() -> None:
    poller = Poller(Unwatched())
    assert verifyObject(IReadDescriptor, poller)
    assert poller.fileno() >= 0
    assert poller.logPrefix() == "socks5"
    poller.connectionLost(Failure(ZeroDivisionError()))


def test_a_reactor_has_one_poller_but_not_without_epoll_nor_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from twisted.internet import reactor

    poller = poller_of(reactor)
    assert poller is not None
    assert poller_of(reactor) is poller
    assert poller_of(SimpleNamespace(wrapped=reactor)) is poller
    assert poller_of(MemoryReactorClock()) is None
    assert poller_of(object()) is None
    monkeypatch.delattr(select, "epoll")
    assert poller_of(reactor) is None


@pytest_twisted.ensureDeferred
async def test_the_reactor_has_its_turn_while_a_socket_is_always_ready() -> None:
    from twisted.internet import reactor

    poller = poller_of(reactor)
    assert poller is not None
    with ExitStack() as stack:
        one = Wires(stack, poller).watch()
        one.then = lambda: poller.again(one.socket.fileno())
        await until(lambda: len(one.told) > 10)
        before = len(one.told)
        await turn()
        assert len(one.told) <= before + 5
        one.forget()


# ---------------------------------------------------------------- the reactor that waits in a poller


def close(reactor: Any) -> None:
    for waker in reactor._internalReaders:
        waker.connectionLost(Failure(ZeroDivisionError()))
    reactor.poller.close()
    reactor._poller.close()


@pytest.fixture
def reactor() -> Iterator[PollerReactor]:
    """One of its own, which is not installed."""
    made: Any = PollerReactor()
    yield made
    made.removeAll()
    close(made)


@pytest.fixture
def watched(reactor: PollerReactor) -> Iterator[Watched]:
    with ExitStack() as stack:
        yield Wires(stack, reactor.poller).watch()


def run(reactor: Any, condition: Callable[[], object]) -> None:
    """Let it work until *condition* is true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        reactor.iterate(0.1)


def test_it_is_where_the_poller_is_found(reactor: PollerReactor) -> None:
    assert poller_of(reactor) is reactor.poller
    assert poller_of(SimpleNamespace(wrapped=reactor)) is reactor.poller


def test_twisted_s_transports_are_served(reactor: Any) -> None:
    class Echo(Protocol):
        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)  # type: ignore[union-attr]
            self.transport.loseConnection()  # type: ignore[union-attr]

    port = reactor.listenTCP(0, Factory.forProtocol(Echo), interface="127.0.0.1")
    with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
        client.settimeout(PATIENCE)
        client.send(b"octets")
        run(reactor, lambda: select.select([client], [], [], 0)[0])
        assert client.recv(100) == b"octets"
    closed = port.stopListening()
    run(reactor, lambda: closed.called)


def test_delayed_calls_count_by_a_clock_that_nobody_sets(reactor: PollerReactor) -> None:
    before = time.monotonic()
    call = reactor.callLater(60, lambda: None)
    assert before + 60 <= call.getTime() <= time.monotonic() + 60
    call.cancel()


def test_without_a_time_it_waits_until_it_is_woken(reactor: PollerReactor) -> None:
    calls: list[int] = []
    waker = threading.Timer(0.01, reactor.callFromThread, [calls.append, 1])
    waker.start()
    reactor.doIteration(None)
    reactor.runUntilCurrent()
    waker.join()
    assert calls == [1]


def test_it_runs_and_stops(reactor: Any, watched: Watched) -> None:
    """With a timer, a thread and a socket of the poller's; signals are for tests/process."""
    seen: list[str] = []
    watched.then = lambda: seen.append("socket")
    reactor.callLater(0, watched.far.send, b"octets")
    reactor.callInThread(seen.append, "thread")

    def look() -> None:
        if {"socket", "thread"} <= set(seen):
            reactor.stop()
        else:
            reactor.callLater(0.001, look)

    reactor.callLater(0, look)
    reactor.run(installSignalHandlers=False)
    assert watched.took()


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_a_socket_of_the_poller_s_may_stop_it(reactor: Any, watched: Watched, how: str) -> None:
    """With no timer that would end its waiting."""
    watched.then = getattr(reactor, how)
    reactor.run(installSignalHandlers=False)
    assert watched.took()


@pytest.mark.parametrize("how", ["set", "moved"])
def test_a_call_that_a_socket_of_the_poller_s_sets_is_waited_for(
    reactor: Any, watched: Watched, how: str
) -> None:
    calls: list[int] = []
    later = reactor.callLater(2 * PATIENCE, calls.append, 1)
    run(reactor, watched.took)
    sooner = {
        "set": lambda: reactor.callLater(0.01, calls.append, 1),
        "moved": lambda: later.reset(0.01),
    }
    watched.then = sooner[how]
    watched.far.send(b"octets")
    before = time.monotonic()
    while not calls:
        reactor.doIteration(reactor.timeout())
        reactor.runUntilCurrent()
    assert time.monotonic() < before + PATIENCE


@pytest.mark.parametrize(("seconds", "batches"), [(PATIENCE, 3), (None, 3), (0, 1)])
def test_sockets_that_are_always_ready_do_not_keep_it(
    reactor: Any,
    watched: Watched,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float | None,
    batches: int,
) -> None:
    monkeypatch.setattr(reactor_module, "ROUNDS", 3)
    watched.then = lambda: reactor.poller.again(watched.socket.fileno())
    reactor.doIteration(seconds)
    assert len(watched.took()) == batches


def test_a_failure_of_its_own_is_logged(reactor: PollerReactor, failures: Failures) -> None:
    reactor.crashed(Failure(ZeroDivisionError()))
    assert len(failures.take(ZeroDivisionError)) == 1


def test_it_can_be_this_process_s_reactor(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[Any] = []
    monkeypatch.setattr(reactor_module, "installReactor", installed.append)
    made: Any = install()
    assert installed == [made]
    assert isinstance(made, PollerReactor)
    close(made)


def test_there_is_one_reactor_in_a_process() -> None:
    with pytest.raises(ReactorAlreadyInstalledError):
        install()
