"""A reload in a parent and its workers: all of them have the same text, whoever refuses, is late or dies when."""

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from socks5.app import agreement
from socks5.app.agreement import (
    CHANGED,
    FORGET,
    GO,
    PATIENCE,
    PREPARE,
    READY,
    REFUSED,
    SOCKETS,
    Agreement,
    Follower,
)
from socks5.app.assembly import makeService
from socks5.app.channel import Channel
from socks5.app.configured import Configured
from socks5.app.exchange import NotExchanged
from socks5.app.inherit import VARIABLE, Worker, file_of, told_by
from socks5.net.own import OwnPorts
from socks5.net.places import TCP, name_of
from tests.app.test_reread import Threads
from tests.app.test_workers import Spawner
from tests.sockets.wires import turn, until
from tests.support.failures import Failures
from tests.support.options import parse as options_of
from tests.support.sessions import session_limit

pytestmark = pytest.mark.usefixtures("handlers")


class Line:
    """A channel, whose other end the test is."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.messages: list[Any] = []
        self.descriptors: list[int] = []
        self.error: OSError | None = None
        self._handlers: dict[str, Callable[[Any, Sequence[int]], object]] = {}

    def hear(self, kind: str, handler: Callable[[Any, Sequence[int]], object]) -> None:
        self._handlers[kind] = handler

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        if descriptors and self.error is not None:
            raise self.error
        self.said.append(message["is"])
        self.messages.append(message)
        self.descriptors += descriptors

    def hears(self, kind: str, descriptors: Sequence[int] = (), **message: Any) -> None:
        """The other end says something."""
        self._handlers[kind]({"is": kind, **message}, descriptors)


# ---------------------------------------------------------------- the parent's part


class Member:
    """A worker."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.channel: Any = Line()

    def answers(self, kind: str, number: int | None = None, **message: Any) -> None:
        if number is None:
            number = self.channel.messages[-1]["number"]
        self.channel.hears(kind, number=number, **message)


class Own:
    """What changes in the parent."""

    exchange: Any = "an exchange"

    def __init__(self) -> None:
        self.words: list[str] = []
        self.reason = ""

    def _note(self, word: str) -> None:
        self.words.append(word)
        if word == self.reason:
            raise NotExchanged([f"it does not {word}"])

    async def open(self) -> None:
        self._note("open")

    def give_up(self) -> None:
        self._note("give up")

    def begin(self) -> Deferred[int]:
        self._note("begin")
        return succeed(0)


class House:
    """A parent, its workers, and what comes of a reload."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.own: Any = Own()
        self.lives = [Member("worker-1"), Member("worker-2")]
        self.sockets: list[int] = []
        self.texts: list[bytes] = []
        self._companions: list[Any] = []
        self.opened: list[Any] = []
        """None, or the reasons, once that is clear."""
        self.ended: list[int] = []

    # What an agreement takes of workers

    def accompany(self, companion: Any) -> None:
        self._companions.append(companion)

    def part_from(self, companion: Any) -> None:
        self._companions.remove(companion)

    def coming(self, name: str) -> tuple[Sequence[str], Sequence[int]]:
        return ["a", "b"], self.sockets

    def become(self, told: Any) -> None:
        self.texts.append(told_by(told.fileno()))
        told.close()

    # What happens

    def reload(self) -> None:
        after: Any = SimpleNamespace(told=b"the text")
        self.agreement = Agreement(self.clock, self, self.own, after)
        opening = Deferred.fromCoroutine(self.agreement.open())
        opening.addCallbacks(self._begin, lambda failure: failure.value.reasons)
        opening.addCallback(self.opened.append)

    def _begin(self, _: None) -> Sequence[str] | None:
        try:
            self.agreement.begin().addCallback(self.ended.append)
        except NotExchanged as error:
            self.agreement.give_up()
            return error.reasons
        return None

    def dies(self, life: Member) -> None:
        self.lives.remove(life)
        for each in [*self._companions]:
            each.ends(life)

    def begins(self, life: Member) -> None:
        self.lives.append(life)
        for each in [*self._companions]:
            each.begins(life)

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for anything any more."""
        return not self._companions and not self.clock.getDelayedCalls()


@pytest.fixture
def house() -> House:
    return House()


def test_all_go_when_all_are_ready(house: House) -> None:
    first, second = house.lives
    house.reload()
    assert house.agreement.exchange == "an exchange"
    first.answers(READY)
    assert (house.opened, house.own.words) == ([], ["open"])
    second.answers(READY)
    assert (house.opened, house.own.words) == ([None], ["open", "begin"])
    assert house.texts == [b"the text"]
    assert [each.channel.said for each in house.lives] == [[PREPARE, GO]] * 2
    assert first.channel.messages[0]["sockets"] == ["a", "b"]
    first.answers(CHANGED, ended=3)
    assert not house.ended
    second.answers(CHANGED, ended=4)
    assert house.ended == [7]
    assert house.is_over


def test_new_sockets_come_before_the_text_and_not_too_many_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "MAX_DESCRIPTORS", 2)
    house.sockets = [7, 8, 9]
    house.reload()
    for each in house.lives:
        assert each.channel.said == [SOCKETS, SOCKETS, PREPARE]
        assert each.channel.descriptors[:3] == [7, 8, 9]


def test_without_workers_it_is_the_parents_alone(house: House) -> None:
    """All are dead at that moment; who begins has the text."""
    house.lives = []
    house.reload()
    assert (house.texts, house.ended, house.is_over) == ([b"the text"], [0], True)


@pytest.mark.parametrize("is_ready_before", [False, True])
def test_if_one_refuses_all_forget_it(is_ready_before: bool, house: House) -> None:
    """Answers that come later change nothing, nor do they in the next attempt."""
    first, second = house.lives
    house.reload()
    if is_ready_before:
        first.answers(READY)
    second.answers(REFUSED, reasons=["x is wrong", "y too"])
    assert house.opened == [["worker-2: x is wrong", "worker-2: y too"]]
    assert house.own.words == ["open", "give up"]
    assert [each.channel.said for each in house.lives] == [[PREPARE, FORGET]] * 2
    assert (house.texts, house.is_over) == ([], True)
    number = first.channel.messages[-1]["number"]
    first.answers(REFUSED, reasons=["late"])
    second.answers(READY)
    assert len(house.opened) == 1
    house.reload()
    for each in house.lives:
        each.answers(READY, number)
    assert len(house.opened) == 1
    for each in house.lives:
        each.answers(READY)
    assert house.opened[1:] == [None]


def test_one_that_is_late_is_named(house: House) -> None:
    house.lives.append(Member("worker-3"))
    house.reload()
    house.lives[1].answers(READY)
    house.clock.advance(PATIENCE)
    assert house.opened == [["worker-1, worker-3: not ready after 10 s"]]
    assert house.is_over


@pytest.mark.parametrize("reason", ["open", "begin"])
def test_if_the_parent_cannot_nobody_does(reason: str, house: House) -> None:
    """It may be too late when all are ready, for the proxy stops."""
    house.own.reason = reason
    house.reload()
    if reason == "begin":
        for each in house.lives:
            each.answers(READY)
    assert house.opened == [[f"it does not {reason}"]]
    said = [] if reason == "open" else [PREPARE, FORGET]
    assert [each.channel.said for each in house.lives] == [said] * 2
    assert (house.texts, house.is_over) == ([], True)


def test_what_the_system_has_not_is_in_the_way(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(errno.EMFILE, "Too many open files")
    house.lives[1].channel.error = error
    house.reload()
    assert house.opened == [["worker-2 cannot be told: Too many open files"]]
    assert house.lives[0].channel.said == [PREPARE, FORGET]

    def refused(octets: bytes) -> None:
        raise error

    monkeypatch.setattr("socks5.app.agreement.file_of", refused)
    house.reload()
    assert house.opened[1:] == [["workers cannot be told: Too many open files"]]
    assert (house.own.words, house.is_over) == (["open", "give up"] * 2, True)


# ---------------------------------------------------------------- who dies when


def test_one_that_dies_before_it_is_ready_is_in_the_way(house: House) -> None:
    """What it was asked may be why."""
    first, second = house.lives
    house.reload()
    first.answers(READY)
    house.dies(second)
    assert house.opened == [["worker-2 has ended before it was ready"]]
    assert first.channel.said == [PREPARE, FORGET]
    assert second.channel.said == [PREPARE]


def test_one_that_dies_when_it_is_ready_is_not(house: House) -> None:
    """Its successor has the new text, or is asked."""
    first, second = house.lives
    house.reload()
    first.answers(READY)
    house.dies(first)
    successor = Member("worker-1")
    house.begins(successor)
    second.answers(READY)
    assert house.opened == []
    successor.answers(READY)
    assert house.opened == [None]
    assert [each.channel.said for each in (first, second, successor)] == [
        [PREPARE],
        [PREPARE, GO],
        [PREPARE, GO],
    ]


def test_those_that_die_or_begin_behind_that_are_not_waited_for(house: House) -> None:
    """Nor are they asked: they have begun with the new text."""
    first, second = house.lives
    house.reload()
    for each in first, second:
        each.answers(READY)
    house.dies(first)
    successor = Member("worker-1")
    house.begins(successor)
    assert (successor.channel.said, house.ended) == ([], [])
    second.answers(CHANGED, ended=2)
    assert (house.ended, house.is_over) == ([2], True)


# ---------------------------------------------------------------- a worker's part


class Changes:
    """What changes in a worker."""

    def __init__(self, wrong: Exception | None) -> None:
        self.words: list[str] = []
        self.judged: Deferred[int] = Deferred()
        self.wrong: Exception | None = None
        self._wrong = wrong

    async def open(self) -> None:
        if self._wrong is not None:
            raise self._wrong
        self.words.append("open")

    def give_up(self) -> None:
        self.words.append("give up")

    def begin(self) -> Deferred[int]:
        self.words.append("begin")
        if self.wrong is not None:
            raise self.wrong
        return self.judged


TEXT = """\
[listener.a]
address = "127.0.0.1"
"""


class Mate:
    """A worker whose parent the test is."""

    def __init__(self, folder: Path) -> None:
        self.threads = Threads()
        self.line: Any = Line()
        self.changes: list[Changes] = []
        self.wrong: Exception | None = None
        """Why the next change cannot be opened."""
        self.ends = 0
        self.file = folder / "s.toml"
        self.file.write_text(TEXT)
        self.parent = Configured(str(self.file), self.threads)
        with file_of(self.parent.told) as told:
            worker = Worker(1, 2, [name_of(TCP(1080, "127.0.0.1"))], 1, 2, 3, told.fileno())
            configured = Configured(str(self.file), self.threads, worker)
        own = self.threads, self.line, configured, self._change
        self.follower = Follower(*own, session_limit(10), self._end)

    def _change(self, before: Configured, after: Configured, opener: Any) -> Any:
        assert before is self.follower.in_force
        self.changes.append(Changes(self.wrong))
        return self.changes[-1]

    def _end(self) -> None:
        self.ends += 1

    def is_asked(
        self, text: str, number: int = 1, sockets: Sequence[socket.socket] = (), wait: bool = True
    ) -> None:
        """The parent has another text, and sockets."""
        names = ["kept", *(f"new {each}" for each in range(len(sockets)))]
        for sock in sockets:
            self.line.hears(SOCKETS, [os.dup(sock.fileno())])
        self.file.write_text(text or TEXT)
        told = self.parent.again().told if text else b"no JSON"
        with file_of(told) as file:
            self.line.hears(PREPARE, [os.dup(file.fileno())], number=number, sockets=names)
        if wait:
            self.threads.run()

    @property
    def answer(self) -> Any:
        return self.line.messages[-1]


def open_descriptors() -> set[str]:
    """Those of sockets and of files in memory."""
    found = set()
    for each in os.listdir("/proc/self/fd"):
        try:
            link = os.readlink(f"/proc/self/fd/{each}")
        except OSError:  # the folder's own
            continue
        if link.startswith(("socket:", "/memfd:")):
            found.add(each)
    return found


@pytest.fixture
def mate(tmp_path: Path) -> Iterator[Mate]:
    before = open_descriptors()
    yield Mate(tmp_path)
    assert open_descriptors() <= before, "what it was given is closed"


def test_a_worker_is_ready_and_goes_when_it_is_told_to(mate: Mate) -> None:
    before = mate.follower.in_force
    mate.is_asked(TEXT + "port = 1081\n")
    [change] = mate.changes
    assert mate.answer == {"is": READY, "number": 1}
    assert change.words == ["open"]
    assert mate.follower.in_force is before
    mate.line.hears(GO, number=1)
    assert change.words == ["open", "begin"]
    after = mate.follower.in_force
    assert [each.at.where for each in after.made.listeners] == [TCP(1081, "127.0.0.1")]
    assert after.worker is not None
    assert after.worker.sockets == ["kept"]
    change.judged.callback(5)
    assert mate.answer == {"is": CHANGED, "number": 1, "ended": 5}


def test_a_worker_forgets_what_it_was_ready_for(mate: Mate) -> None:
    """Or is asked for something else, and gets ready for that alone."""
    before = mate.follower.in_force
    mate.is_asked(TEXT)
    mate.line.hears(FORGET, number=1)
    assert mate.changes[0].words == ["open", "give up"]
    assert mate.follower.in_force is before
    with socket.socket() as sock:
        mate.is_asked(TEXT, 2, [sock], wait=False)
        mate.line.hears(FORGET, number=2)
        mate.is_asked(TEXT, 3, [sock], wait=False)
        mate.threads.run()
    answers = [(each["is"], each["number"]) for each in mate.line.messages]
    assert answers == [(READY, 1), (REFUSED, 2), (READY, 3)]
    assert len(mate.changes) == 2


def test_sockets_of_which_nothing_comes_are_closed(mate: Mate) -> None:
    """The parent could not tell what they are for."""
    with socket.socket() as sock:
        mate.line.hears(SOCKETS, [os.dup(sock.fileno())])
        mate.line.hears(FORGET, number=1)
    mate.is_asked(TEXT, 2)
    assert mate.answer["is"] == READY


def test_a_worker_says_why_it_is_not_ready(mate: Mate, failures: Failures) -> None:
    with socket.socket() as sock:
        for error in NotExchanged(["this", "that"]), TypeError("a bug"):
            mate.wrong = error
            mate.is_asked(TEXT, 1, [sock])
        assert [each["reasons"] for each in mate.line.messages] == [["this", "that"], ["TypeError"]]
        failures.take(TypeError)
        mate.is_asked("", 1, [sock])
        assert mate.answer["is"] == REFUSED
        failures.take(ValueError)
        mate.threads.error = RuntimeError("can't start new thread")
        mate.is_asked(TEXT, 1, [sock])
    assert mate.answer["reasons"] == ["there is no thread to read it in: can't start new thread"]


def test_a_worker_that_cannot_do_what_it_was_ready_for_ends(mate: Mate, failures: Failures) -> None:
    mate.is_asked(TEXT)
    mate.changes[0].wrong = TypeError("a bug")
    mate.line.hears(GO, number=1)
    assert (mate.ends, mate.line.said) == (1, [READY])
    failures.take(TypeError)


# ---------------------------------------------------------------- the services

WORKERS = """\
server.workers = 2
log.access = "off"
listener.a = { address = "127.0.0.1", port = 0 }
"""
MORE = """\
server.drain = "7s"
listener.b = { address = "127.0.0.2", port = 0 }
"""


def test_with_a_file_a_parent_asks_its_workers(tmp_path: Path, log: list[str]) -> None:
    """And says once what came of it. Who asks for it again meanwhile has it once more."""
    file, spawner = tmp_path / "s.toml", Spawner()
    file.write_text(WORKERS)
    family: Any = makeService(options_of("--config", str(file)), spawner)
    front, _ = family
    family.startService()
    file.write_text(MORE + WORKERS)
    front.reread()
    spawner.run()
    assert spawner.signals == [signal.SIGUSR1] * 2, "their logs go on"
    told: list[Any] = []

    def hears(message: Any, descriptors: Sequence[int]) -> None:
        told.append(message)
        for each in descriptors:
            os.close(each)

    def answer(kind: str, **more: int) -> None:
        for channel, (life, *_) in zip(spawner.channels, spawner.spawned, strict=True):
            channel.doRead()
            channel.send({"is": kind, "number": told[-1]["number"], **more})
            life.channel.doRead()

    for channel in spawner.channels:
        for kind in (SOCKETS, PREPARE, GO):
            channel.hear(kind, hears)
    for _ in range(3):
        front.reread()
    answer(READY)
    answer(CHANGED, ended=2)
    assert [each["is"] for each in told] == [SOCKETS, PREPARE] * 2 + [GO] * 2
    assert f"{file} is reloaded: 0 rules, listeners +1 -0, 4 sessions ended" in log
    assert front.drain_time == 7
    told.clear()
    spawner.run()
    answer(READY)
    answer(CHANGED, ended=0)
    assert [each["is"] for each in told] == [PREPARE] * 2 + [GO] * 2
    assert log[-1] == f"{file} is reloaded: 0 rules, listeners +0 -0, 0 sessions ended"
    assert log.count(f"SIGHUP: {file} is read again") == 2
    ended = family.stopService()
    for number in range(2):
        spawner.end(number, 0)
    spawner.advance(1)
    assert ended.called
    spawner.close()


@pytest_twisted.ensureDeferred
async def test_with_a_file_a_worker_changes_when_its_parent_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not for a signal; how long it may drain its parent knows."""
    monkeypatch.setattr("socks5.app.assembly.raise_descriptor_limit", lambda: None)
    monkeypatch.setattr("socks5.app.reread.Rereading.watch", lambda _: None)
    file = tmp_path / "s.toml"
    file.write_text(WORKERS)
    configured = Configured(str(file), reactor)
    ours, theirs = socket.socketpair()
    parent = Channel(reactor, ours)
    own = Channel(reactor, theirs)
    answers: list[Any] = []
    for kind in READY, CHANGED:
        parent.hear(kind, lambda message, descriptors: answers.append(message))
    parent.open()
    table, told = OwnPorts.file_for(1), file_of(configured.told)
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(socket.create_server((f"127.0.0.{number}", 0))) for number in (1, 2)
        )
        names = [name_of(TCP(0, f"127.0.0.{number}")) for number in (1, 2)]
        monkeypatch.setattr("socks5.app.inherit.FIRST_DESCRIPTOR", os.dup(first.fileno()))
        worker = Worker(1, 2, names[:1], 1, theirs.fileno(), table.fileno(), told.fileno())
        monkeypatch.setattr(Worker, "channel_to_parent", lambda self, reactor: own)
        monkeypatch.setenv(VARIABLE, worker.environment)
        proxy: Any = makeService(options_of("--config", str(file)), reactor)
        proxy.startService()
        proxy.reread()
        file.write_text(MORE + WORKERS)
        parent.send({"is": SOCKETS}, [second.fileno()])
        with file_of(configured.again().told) as text:
            message = {"is": PREPARE, "number": 3, "sockets": names}
            parent.send(message, [text.fileno()])
        await until(lambda: answers)
        assert len(proxy.ports) == 1
        parent.send({"is": GO, "number": 3})
        await until(lambda: len(answers) == 2)
        assert [each["is"] for each in answers] == [READY, CHANGED]
        assert (len(proxy.ports), proxy.drain_time) == (2, None)
        stack.enter_context(socket.create_connection(second.getsockname()))
        await until(lambda: proxy.factory.counters.connections)
        await proxy.stopService()
    for each in table, told, own, parent:
        each.close()
    await turn()
