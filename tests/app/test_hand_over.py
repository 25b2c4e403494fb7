"""A hand-over, seen from either process: what is started with what, who says what to whom, and who goes on."""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from socks5.app import handover
from socks5.app.announcing import Announcer
from socks5.app.assembly import makeService
from socks5.app.estate import VARIABLE, Left
from socks5.app.handover import HandOver, Heir
from socks5.app.inherit import FIRST_DESCRIPTOR
from socks5.app.service import refusal_of
from tests.sockets.wires import until
from tests.support.descriptors import numbered
from tests.support.options import parse


class Starter(Clock):
    """Notes what it is asked to start, and reads when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.started: list[tuple[list[str], dict[str, Any]]] = []
        self.error: OSError | None = None

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)

    def spawnProcess(self, protocol: Any, executable: str, arguments: Any, **options: Any) -> None:
        if self.error is not None:
            raise self.error
        channel = options["childFDs"][max(options["childFDs"])]
        self.channel = socket.socket(fileno=os.dup(channel))
        self.started.append((arguments, options))

    def read(self) -> None:
        for reader in tuple(self.readers):
            reader.doRead()


class Old:
    """A process that hands over two places, of which one has two sockets, and one none any more."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.reactor = Starter()
        self.sockets = [socket.socket() for _ in range(3)]
        self.events: list[object] = []
        environment = {"NOTIFY_SOCKET": "/run/notify"}
        self.hand_over = HandOver(self.reactor, self, environment, self.events.append)

    def left(self) -> Any:
        return [("a", self.sockets[:2]), ("gone", []), ("b", self.sockets[2:])]

    def leave(self) -> None:
        self.events.append("left")

    def take_possession(self) -> None:
        raise AssertionError("that is the other process's")

    def new_says(self, text: bytes, is_end: bool = False) -> None:
        if text:
            self.reactor.channel.sendall(text)
            self.reactor.read()
        if is_end:
            self.reactor.channel.close()
            self.reactor.read()

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        if self.reactor.started:
            self.reactor.channel.close()
            self.reactor.read()


@pytest.fixture
def old(log: list[str]) -> Iterator[Old]:
    made = Old(log)
    yield made
    made.close()


BEGINS = "SIGUSR2: a new process is started to take over"


@pytest.mark.parametrize("of_systemd", [0, 2])
def test_the_same_command_line_is_started_with_all_sockets_and_a_stream(
    of_systemd: int, old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one between. Systemd's sockets come first, if they are ours."""
    monkeypatch.setattr(handover, "systemds", lambda: [3, 4][:of_systemd])
    monkeypatch.setenv("SOME_OTHER", "value")
    old.hand_over.begin()
    first = FIRST_DESCRIPTOR + of_systemd
    [(command, options)] = old.reactor.started
    assert command[:3] == [sys.executable, "-IS", "-c"]
    assert command[4:] == [sys.executable, *sys.orig_argv[1:]]
    environment = options["env"]
    assert json.loads(environment[VARIABLE]) == {
        "first": first,
        "places": [["a", 2], ["b", 1]],
        "channel": first + 3,
    }
    assert environment["NOTIFY_SOCKET"] == "/run/notify"
    assert environment["SOME_OTHER"] == "value"
    assert environment.get("LISTEN_FDS") == ("2" if of_systemd else None)
    descriptors = options["childFDs"]
    assert [descriptors[number] for number in range(3)] == [0, 1, 2]
    own = [sock.fileno() for sock in old.sockets]
    assert [descriptors[number] for number in range(3, first)] == [3, 4][:of_systemd]
    assert [descriptors[first + number] for number in range(3)] == own
    assert verifyObject(IReadDescriptor, old.reactor.readers[0])
    assert old.reactor.readers[0].logPrefix() == "hand-over"
    assert old.log == [BEGINS]


def test_once_the_new_process_serves_everything_is_left_to_it(old: Old) -> None:
    """Which it learns by the end of the stream. Then it may be handed over again."""
    old.hand_over.begin()
    old.new_says(b"+43")
    assert old.events == []
    old.new_says(b"21\n+and what else\n")
    assert old.events == ["left", 4321]
    assert old.reactor.channel.recv(10) == b""
    assert (old.reactor.readers, old.reactor.getDelayedCalls(), old.log) == ([], [], [BEGINS])
    old.reactor.channel.close()
    old.hand_over.begin()
    assert len(old.reactor.started) == 2


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "the new process ended before it served; its lines say why"),
        (b"!socks5 does not start: that\n", "socks5 does not start: that"),
    ],
)
def test_if_the_new_process_ends_before_the_old_one_goes_on(
    said: bytes, reason: str, old: Old
) -> None:
    old.hand_over.begin()
    old.new_says(said, is_end=True)
    assert old.log == [BEGINS, f"SIGUSR2: nothing is handed over: {reason}"]
    assert (old.events, old.reactor.readers, old.reactor.getDelayedCalls()) == ([], [], [])


def test_a_new_process_that_takes_too_long_is_given_up(old: Old) -> None:
    old.hand_over.begin()
    old.hand_over.begin()
    old.reactor.advance(handover.PATIENCE)
    assert old.log == [
        BEGINS,
        "SIGUSR2: a hand-over is under way already",
        "SIGUSR2: nothing is handed over: the new process does not serve after 60 s",
    ]
    assert old.reactor.channel.recv(100) == b"!the new process does not serve after 60 s\n"
    assert old.reactor.channel.recv(10) == b""
    assert (old.events, old.reactor.readers, old.reactor.getDelayedCalls()) == ([], [], [])


def test_a_process_that_listens_no_more_leaves_nothing_to_one_that_has_just_begun(old: Old) -> None:
    old.hand_over.cancel()  # nothing is under way
    old.hand_over.begin()
    old.reactor.channel.sendall(b"+4321\n")
    old.hand_over.cancel()
    reason = "the proxy listens no more"
    assert old.log == [BEGINS, f"SIGUSR2: nothing is handed over: {reason}"]
    assert old.reactor.channel.recv(100) == f"!{reason}\n".encode()
    assert (old.events, old.reactor.readers, old.reactor.getDelayedCalls()) == ([], [], [])


def test_the_first_process_of_a_container_does_not_try(
    old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    old.hand_over.begin()
    said = "SIGUSR2: nothing is handed over: a container ends with its first process"
    assert (old.log, old.reactor.started) == ([said], [])


def test_without_a_process_nothing_is_handed_over(old: Old) -> None:
    old.reactor.error = BlockingIOError(11, "Resource temporarily unavailable")
    old.hand_over.begin()
    reason = "no process can be started: Resource temporarily unavailable"
    assert old.log == [BEGINS, f"SIGUSR2: nothing is handed over: {reason}"]
    old.reactor.error = None
    old.hand_over.begin()
    assert len(old.reactor.started) == 1


# ---------------------------------------------------------------- the new process


class Told(Announcer):
    def __init__(self, events: list[object]) -> None:
        self._events = events

    def begins(self, places: Any) -> None:
        self._events.append(list(places))


class New:
    """A process that takes over."""

    def __init__(self) -> None:
        self.reactor = Starter()
        self.events: list[object] = []
        self.old, ours = socket.socketpair()
        self.heir = Heir(
            self.reactor,
            ours.detach(),
            Told(self.events),
            lambda: self.events.append("taken"),
            self.events.append,
        )


@pytest.fixture
def new() -> Iterator[New]:
    made = New()
    yield made
    made.old.close()
    for reader in tuple(made.reactor.readers):
        reader.connectionLost(None)  # the reactor ends, which is the end of no stream
        reader.close()


def test_the_old_process_is_told_first_and_others_once_it_has_left_everything(new: New) -> None:
    new.heir.begins(["a"])
    new.heir.begins(["b"])
    assert new.old.recv(100) == b"+%d\n" % os.getpid()
    assert new.events == []
    new.old.close()
    new.reactor.read()
    assert new.events == ["taken", ["a", "b"]]
    new.heir.begins(["c"])
    assert new.events[2:] == [["c"]]
    assert new.reactor.readers == []


def test_the_old_process_is_told_why_the_new_one_does_not_start(new: New) -> None:
    new.heir.refuses("socks5 does not start: that\udcff")
    assert new.old.recv(100) == b"!socks5 does not start: that?\n"


@pytest.mark.parametrize("has_begun", [False, True])
def test_to_whom_nothing_is_left_does_not_serve(has_begun: bool, new: New) -> None:
    """Though it has said that it does: the two may speak at a time."""
    if has_begun:
        new.heir.begins(["a"])
    new.old.sendall(b"!it ends\n")
    new.old.close()
    for _ in range(2):
        new.reactor.read()
    assert new.events == ["nothing is handed over: it ends"]
    assert new.reactor.readers == []


@pytest.mark.parametrize("is_reset", [False, True])
def test_without_the_old_process_the_new_one_does_not_serve(is_reset: bool, new: New) -> None:
    if is_reset:
        new.heir.refuses("something that it does not read")
    new.old.close()
    new.reactor.read()
    assert new.events == ["the process that it was to take over from has ended"]
    new.heir.refuses("socks5 does not start: that")


# ---------------------------------------------------------------- a command line

LISTEN = "tcp:0:interface=127.0.0.1"


class Before:
    """A process that leaves two sockets: one that is wanted, and one that nobody wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wanted, unwanted = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self.wanted, self.unwanted = wanted.getsockname(), unwanted.getsockname()
        self.stream, theirs = socket.socketpair()
        first = numbered((wanted, unwanted, theirs))
        for sock in wanted, unwanted, theirs:
            sock.close()
        left = Left(first, [("[127.0.0.1]:0", 1), ("[192.0.2.1]:1080", 1)], first + 2)
        monkeypatch.setenv(VARIABLE, left.environment)
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
        self.stops = 0
        monkeypatch.setattr(reactor, "stop", self._stop)
        self.started: list[socket.socket] = []
        monkeypatch.setattr(reactor, "spawnProcess", self._start, raising=False)

    def _stop(self) -> None:
        self.stops += 1

    def _start(self, *arguments: Any, **options: Any) -> None:
        descriptors = options["childFDs"]
        self.started.append(socket.socket(fileno=os.dup(descriptors[max(descriptors)])))

    def close(self) -> None:
        for sock in (self.stream, *self.started):
            sock.close()


def is_refused(address: Any) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Iterator[Before]:
    made = Before(monkeypatch)
    yield made
    made.close()


@pytest.mark.usefixtures("handlers")
@pytest_twisted.ensureDeferred
async def test_a_command_line_takes_over_and_hands_over(before: Before, log: list[str]) -> None:
    """What it has no listener for it closes, but not before the old process has left everything."""
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    proxy: Any = makeService(parse("--listen", LISTEN), reactor, hands_over=True)
    proxy.startService()
    [port] = proxy.ports
    where = port.getHost()
    assert (where.host, where.port) == before.wanted
    assert before.stream.recv(100) == b"+%d\n" % os.getpid()
    assert log[-1] == f"SOCKS5 proxy listens on {where.host}:{where.port}"
    assert not is_refused(before.unwanted)
    before.stream.close()
    await until(lambda: is_refused(before.unwanted))

    signal.raise_signal(signal.SIGUSR2)
    await until(lambda: before.started)
    before.started[0].sendall(b"+4321\n")
    await until(lambda: before.stops)
    assert "SIGUSR2: process 4321 has taken over" in log
    assert "SOCKS5 proxy drains, for 3600 s at the most; open sessions: 0" in log
    assert proxy.ports == []
    await proxy.stopService()


@pytest_twisted.ensureDeferred
async def test_a_command_line_that_is_left_alone_does_not_start(
    before: Before, log: list[str]
) -> None:
    options = parse("--listen", LISTEN)
    proxy: Any = makeService(options, reactor, hands_over=True)
    before.stream.close()
    await until(lambda: before.stops)
    assert log == [
        "socks5 does not start: the process that it was to take over from has ended",
    ]
    assert refusal_of(proxy) is not None
    assert proxy.ports == []
    options.estate.close()  # as the end of the process does
