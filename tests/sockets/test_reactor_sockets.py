"""The reactor that waits in a poller: its sockets, Twisted's, time and threads."""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.error import ReactorAlreadyInstalledError
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from socks5.net import reactor as reactor_module
from socks5.net.poller import poller_of
from socks5.net.reactor import PollerReactor, install
from tests.sockets.test_poller_sockets import Watched, Wires
from tests.support.failures import Failures

PATIENCE = 5.0


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
    reactor.callLater(0.05, reactor.stop)
    reactor.run(installSignalHandlers=False)
    assert {"socket", "thread"} <= set(seen)


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_a_socket_of_the_poller_s_may_stop_it(reactor: Any, watched: Watched, how: str) -> None:
    """With no timer that would end its waiting."""
    watched.then = getattr(reactor, how)
    reactor.run(installSignalHandlers=False)
    assert watched.took()


def test_a_timer_is_not_late_for_sockets_that_are_always_ready(
    reactor: Any, watched: Watched
) -> None:
    """Told once more for each time it was told, a socket is always ready."""
    calls: list[int] = []
    watched.then = lambda: reactor.poller.again(watched.socket.fileno())
    reactor.callLater(0.01, calls.append, 1)
    run(reactor, lambda: calls)


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
