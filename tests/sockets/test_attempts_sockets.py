"""One attempt on a socket of our own: what it leads to, and that it leaves nothing behind."""

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from twisted.internet.error import ConnectionRefusedError

from socks5.net.connection import Connection
from socks5.net.poller import READABLE, Poller
from socks5.outbound import attempts
from socks5.outbound.attempts import SocketAttempt
from socks5.outbound.failures import reply_for
from tests.sockets.streams import Receiver
from tests.sockets.wires import FarEnd, Unwatched, open_sockets, raising
from tests.support.failures import Failures
from tests.support.ports import free_port

IP_BIND_ADDRESS_NO_PORT = 24


class World:
    """A poller, a target, and attempts to connect to it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.poller = Poller(Unwatched())
        self.outcomes: list[Any] = []
        self.receiver = Receiver()
        self.then: Callable[[], object] = lambda: None

    def listen(self, host: str = "127.0.0.1") -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return self._stack.enter_context(socket.create_server((host, 0), family=family))

    def accept(self, listener: socket.socket) -> FarEnd:
        return FarEnd(self._stack.enter_context(listener.accept()[0]))

    def attempt(self, name: Any, source: str | None = None) -> SocketAttempt:
        attempt = SocketAttempt(self.poller, name[0], name[1], source, self._done)
        attempt.start()
        return attempt

    def _done(self, attempt: Any, outcome: Any) -> None:
        self.outcomes.append(outcome)
        if isinstance(outcome, Connection):
            self._stack.callback(outcome.abortConnection)
            outcome.receiver = self.receiver
        self.then()

    def go(self) -> None:
        for _ in range(3):
            self.poller.doRead()


@pytest.fixture
def world() -> Iterator[World]:
    """When everybody else has closed, no socket is left."""
    before = open_sockets()
    with ExitStack() as stack:
        yield World(stack)
    assert open_sockets() <= before


# ---------------------------------------------------------------- connected


@pytest.mark.parametrize("has_ended", [False, True])
def test_what_the_target_sent_before_is_received(world: World, has_ended: bool) -> None:
    listener = world.listen()
    world.attempt(listener.getsockname())
    far = world.accept(listener)
    far.send(b"220 ready")
    if has_ended:
        far.end()
    world.go()
    assert (world.receiver.octets, world.receiver.events) == (b"220 ready", ["end"] * has_ended)


def test_who_gets_the_connection_may_close_it_at_once(world: World) -> None:
    listener = world.listen()

    def close() -> None:
        world.outcomes[0].loseConnection()

    world.then = close
    world.attempt(listener.getsockname())
    world.accept(listener).send(b"220 ready")
    world.go()
    assert world.receiver.events == ["lost"]


# ---------------------------------------------------------------- failed


def test_a_reset_before_it_is_noticed_to_be_connected_is_a_failure(world: World) -> None:
    listener = world.listen()
    world.attempt(listener.getsockname())
    world.accept(listener).reset()
    world.go()
    [failure] = world.outcomes
    assert reply_for(failure) == 1


def test_a_port_that_connects_to_itself_is_a_refusal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it happens where nobody listens on a port that the system chooses as the source."""
    port = free_port()

    class Unlucky(socket.socket):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.bind(("127.0.0.1", port))

    monkeypatch.setattr(socket, "SocketType", Unlucky)
    world.attempt(("127.0.0.1", port))
    world.go()
    [failure] = world.outcomes
    assert failure.check(ConnectionRefusedError)


def test_a_system_that_watches_no_more_sockets_is_a_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_more = raising(OSError(errno.ENOSPC, "max_user_watches"))
    monkeypatch.setattr(world.poller, "add", no_more)
    world.attempt(world.listen().getsockname())
    [failure] = world.outcomes
    assert reply_for(failure) == 1


def test_what_is_given_up_before_others_are_served_reaches_nobody(world: World) -> None:
    listener = world.listen()
    listener.setblocking(False)
    near, far = socket.socketpair()

    class GivesUp:
        def ready(self, events: int) -> None:
            world.attempt(listener.getsockname()).cancel()

    world.poller.watch(near.fileno(), GivesUp())  # type: ignore[arg-type]
    far.send(b"x")
    with near, far:
        world.go()
    assert not world.outcomes
    with pytest.raises(BlockingIOError):
        listener.accept()


# ---------------------------------------------------------------- from where


class Older(socket.socket):
    """A socket of a system that takes a port at once."""

    def setsockopt(self, level: int, option: int, value: Any) -> None:  # type: ignore[override]
        if (level, option) == (socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT):
            raise OSError(errno.ENOPROTOOPT, "")
        super().setsockopt(level, option, value)


@pytest.mark.parametrize(
    ("host", "source", "kind"),
    [
        ("127.0.0.1", "127.0.0.9", socket.socket),
        ("::1", "::1", socket.socket),
        ("127.0.0.1", "127.0.0.9", Older),
    ],
)
def test_a_source_address_takes_no_port_for_itself(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    source: str,
    kind: type[socket.socket],
) -> None:
    """Else so many connections, to whatever targets, would be all there can be."""
    monkeypatch.setattr(socket, "SocketType", kind)
    world.attempt(world.listen(host).getsockname(), source)
    world.go()
    [connection] = world.outcomes
    assert connection.getHost().host == source
    waits = connection.getHandle().getsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT)
    assert bool(waits) is (kind is not Older)


class NoSocket(socket.socket):
    def __init__(self, *arguments: Any) -> None:
        raise OSError(errno.EMFILE, "")


@pytest.mark.parametrize(
    ("host", "source", "kind", "reply"),
    [
        ("127.0.0.1", "192.0.2.1", socket.socket, 3),  # which is for documentation: nobody has it
        ("fe80::7%no-such-zone", None, socket.socket, 3),
        ("255.255.255.255", None, socket.socket, 3),
        ("127.0.0.1", None, NoSocket, 1),
    ],
    ids=["source", "zone", "target", "no descriptor"],
)
def test_what_fails_at_once_is_told_at_once(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    source: str | None,
    kind: type[socket.socket],
    reply: int,
) -> None:
    monkeypatch.setattr(socket, "SocketType", kind)
    world.attempt((host, 80), source)
    [failure] = world.outcomes
    assert reply_for(failure) == reply


def test_a_link_local_address_is_reached_in_its_zone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = world.listen("::1")
    asked: list[Any] = []

    class Elsewhere(socket.socket):
        """A machine whose neighbour is our listener."""

        def connect_ex(self, name: Any) -> int:  # type: ignore[override]
            asked.append(name)
            return super().connect_ex(listener.getsockname())

    monkeypatch.setattr(socket, "SocketType", Elsewhere)
    world.attempt(("fe80::7%lo", 80))
    world.go()
    [connection] = world.outcomes
    assert asked == [("fe80::7", 80, 0, socket.if_nametoindex("lo"))]
    assert connection.getPeer().host == "fe80::7%lo"
    assert str(connection.far) == "[fe80::7]:80"


def test_an_event_that_says_nothing_of_the_connection_changes_nothing(world: World) -> None:
    listener = world.listen()
    attempt = world.attempt(listener.getsockname())
    attempt.ready(READABLE)
    assert world.outcomes == []
    world.go()
    assert isinstance(world.outcomes[0], Connection)


# ---------------------------------------------------------------- given up


def test_one_that_is_given_up_is_closed_and_tells_nothing(world: World) -> None:
    listener = world.listen()
    attempt = world.attempt(listener.getsockname())
    attempt.cancel()
    attempt.cancel()
    world.go()
    assert world.outcomes == []


def test_one_given_up_by_another_in_the_same_batch_tells_nothing(world: World) -> None:
    """Both are connected; and the other one's descriptor may serve something else by then."""
    listener = world.listen()
    pair = [world.attempt(listener.getsockname()) for _ in range(2)]

    def settle() -> None:
        for attempt in pair:
            attempt.cancel()
        world.then = lambda: None
        world.attempt(("127.0.0.1", free_port()))

    world.then = settle
    world.poller.doRead()
    assert len(world.outcomes) == 1
    world.go()
    assert isinstance(world.outcomes[0], Connection)
    assert world.outcomes[1].check(ConnectionRefusedError)
    assert len(world.outcomes) == 2


# ---------------------------------------------------------------- bugs


def test_a_bug_fails_the_attempt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "Connection", lambda *_: 1 / 0)
    listener = world.listen()
    world.attempt(listener.getsockname())
    world.go()
    [failure] = world.outcomes
    assert failure.check(ZeroDivisionError)


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_bug_of_whom_it_is_for_is_logged(
    world: World, failures: Failures, is_refused: bool
) -> None:
    """And it is told once all the same."""
    name = ("127.0.0.1", free_port()) if is_refused else world.listen().getsockname()
    world.then = lambda: 1 / 0
    world.attempt(name)
    world.go()
    assert len(world.outcomes) == 1
    assert failures.take(ZeroDivisionError) == ["division by zero"]
