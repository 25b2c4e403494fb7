"""Slow checks: in threads, bounded, shared, remembered - and cancelled."""

import os
import random
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socks5.auth import Login, LoginNotJudged, work
from socks5.auth.users import keyed
from socks5.auth.work import Direct, Remembered, Threaded, Work
from tests.support.deferreds import outcome_of, told
from tests.support.memory import holds

CLIENT = "198.51.100.7"
OTHER = "198.51.100.8"


class Pool:
    """A thread pool whose threads run when the test says so."""

    made: "list[Pool]"

    def __init__(self, least: int, most: int, name: str) -> None:
        self.size = most
        self.calls: list[tuple[Callable[..., None], Callable[[], Any]]] = []
        self.is_running = False
        self.made.append(self)

    def start(self) -> None:
        self.is_running = True

    def stop(self) -> None:
        self.is_running = False

    def callInThreadWithCallback(  # noqa: N802
        self, tell: Callable[..., None], function: Callable[[], Any]
    ) -> None:
        self.calls.append((tell, function))
        assert len(self.calls) <= self.size

    def run(self) -> None:
        """One thread gets through with its call."""
        tell, function = self.calls.pop(0)
        try:
            result = function()
        except Exception:
            tell(False, Failure())
        else:
            tell(True, result)


class Reactor:
    """What the work needs of one."""

    def __init__(self) -> None:
        self.at_shutdown: list[Callable[[], None]] = []

    def callFromThread(self, function: Callable[..., None], *arguments: Any) -> None:
        function(*arguments)

    def addSystemEventTrigger(self, phase: str, event: str, trigger: Callable[[], None]) -> None:
        assert (phase, event) == ("during", "shutdown")
        self.at_shutdown.append(trigger)


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[Pool]:
    """The pools that are made; the thread that ends one is over as soon as it starts."""
    monkeypatch.setattr(work, "ThreadPool", Pool)
    monkeypatch.setattr(work, "Thread", lambda target, daemon: SimpleNamespace(start=target))
    made: list[Pool] = []
    monkeypatch.setattr(Pool, "made", made, raising=False)
    return made


# ---------------------------------------------------------------- the threads and their queue


def test_a_cancelled_check_that_runs_keeps_its_thread_until_it_is_over(pools: list[Pool]) -> None:
    busy = Work(Reactor, threads=1, waiting=2)
    running, waiting = busy.run(CLIENT, str, "a"), busy.run(CLIENT, int, "no number")
    outcome = told(running)
    running.cancel()
    assert outcome[0].check(CancelledError)
    assert len(pools[0].calls) == 1
    pools[0].run()
    pools[0].run()
    assert told(waiting)[0].check(ValueError)  # what a check raises is its outcome


def test_at_the_end_the_threads_go(pools: list[Pool]) -> None:
    world = Reactor()
    busy = Work(lambda: world, threads=1, waiting=2)
    running, waiting = told(busy.run(CLIENT, str, "a")), told(busy.run(CLIENT, str, "b"))
    [close] = world.at_shutdown
    close()
    close()
    assert not pools[0].is_running
    pools[0].run()
    assert running == ["a"]
    assert waiting[0].check(LoginNotJudged)
    assert outcome_of(busy.run(CLIENT, str, "c")).check(LoginNotJudged)
    Work(lambda: pytest.fail("asked for the reactor too early")).close()
    assert len(pools) == 1  # before the first check there is no thread and nothing to end


def test_without_a_thread_a_login_is_not_judged_and_the_turn_goes_on(
    monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    world, calls = Reactor(), []
    monkeypatch.setattr(world, "callFromThread", lambda *call: calls.append(call))
    busy = Work(lambda: world, threads=1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            assert outcome_of(busy.run(CLIENT, str, "a")).check(LoginNotJudged)
    assert log == ["no thread to check logins in: can't start new thread; times: 1"]
    begun: list[threading.Thread] = []
    start = threading.Thread.start
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda each: begun.append(each) or start(each))
        outcome = told(busy.run(CLIENT, str, "b"))
    busy.close()
    begun[0].join(5)
    for function, *arguments in calls:
        function(*arguments)
    assert outcome == ["b"]


@pytest.mark.parametrize("system", ["linux", "darwin"])
@pytest_twisted.ensureDeferred
async def test_real_threads_check_aside_and_step_back(
    system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where that does not concern the whole process."""
    monkeypatch.setattr(work.sys, "platform", system)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    busy, gate = Work(lambda: reactor), threading.Event()

    def judge(name: bytes, password: bytes) -> tuple[int, int]:
        gate.wait(5)
        thread = threading.get_native_id()
        return thread, os.getpriority(os.PRIO_PROCESS, thread)

    checker = Threaded(judge, busy)
    assert verifyObject(ICredentialsChecker, checker)
    waiting = [checker.requestAvatarId(UsernamePassword(b"a", b"b")) for _ in range(20)]
    gate.set()
    outcomes = [await each for each in waiting]
    busy.close()
    theirs = min(19, own + work.NICE) if system == "linux" else own
    assert {priority for _, priority in outcomes} == {theirs}
    threads = {thread for thread, _ in outcomes}
    assert threading.get_native_id() not in threads
    assert len(threads) <= work.THREADS
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


def test_a_check_waits_for_the_turn_of_its_client(pools: list[Pool]) -> None:
    judged: list[bytes] = []
    checker = Threaded(lambda name, password: judged.append(name), Work(Reactor, threads=1))
    for name, client in [(b"a", CLIENT), (b"b", CLIENT), (b"c", OTHER)]:
        told(checker.requestAvatarId(Login(name, b"secret", client)))
    told(checker.requestAvatarId(UsernamePassword(b"d", b"secret")))  # from who knows where
    for _ in range(4):
        pools[0].run()
    assert judged == [b"a", b"c", b"d", b"b"]


# ---------------------------------------------------------------- the memory


@implementer(ICredentialsChecker)
class Memory:
    """A memory over a slow checker, whose verdicts the test gives, with a clock and a stamp."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, size: int = 10) -> None:
        self.waits: list[Deferred[Any]] = []
        self.cancelled = 0
        self.clock = Clock()
        self.stamp = 0
        now = self.clock.seconds
        self.checker = Remembered(self, lambda: self.stamp, lifetime=60, size=size, now=now)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        self.waits.append(Deferred(self._cancel))
        return self.waits[-1]

    def _cancel(self, wait: Deferred[Any]) -> None:
        self.cancelled += 1

    def log_in(
        self, name: bytes = b"alice", password: bytes = b"secret", client: str = CLIENT
    ) -> Deferred[Any]:
        return self.checker.requestAvatarId(Login(name, password, client))

    def is_remembered(self, name: bytes = b"alice", password: bytes = b"secret") -> bool:
        asked = len(self.waits)
        login = self.log_in(name, password)
        if len(self.waits) == asked:
            known = self.checker.recall(Login(name, password, OTHER))
            return told(login) == [name] == [known]
        assert self.checker.recall(Login(name, password, OTHER)) is None
        told(login)
        login.cancel()
        return False


RIGHT_OR_WRONG = pytest.mark.parametrize("verdict", [b"alice", UnauthorizedLogin()])


@RIGHT_OR_WRONG
def test_200_equal_logins_are_one_check_and_a_right_one_is_remembered(verdict: Any) -> None:
    memory = Memory()
    assert verifyObject(ICredentialsChecker, memory.checker)
    outcomes = [told(memory.log_in()) for _ in range(200)]
    [wait] = memory.waits
    give(wait, verdict)
    assert all(is_like(outcome, verdict) for outcome in outcomes)
    assert memory.is_remembered() is (verdict == b"alice")
    asked = len(memory.waits)
    for login in [(b"alice", b"Secret"), (b"alices", b"ecret")]:  # these are others
        told(memory.log_in(*login))
    assert len(memory.waits) == asked + 2


def test_it_forgets_in_time_and_with_a_change() -> None:
    """Of the password nothing is kept, and of its digest nothing once anybody logs in after the time."""
    memory, password = Memory(), random.randbytes(20)
    memory.log_in(password=password)
    assert not holds(memory, password)
    for forget in (lambda: memory.clock.advance(1), lambda: setattr(memory, "stamp", 1)):
        memory.waits[-1].callback(b"alice")
        memory.clock.advance(59)
        assert memory.is_remembered(password=password)
        assert not holds(memory, password)
        forget()
        assert not memory.is_remembered(password=password)
        memory.log_in(password=password)
    memory.waits[-1].callback(b"alice")
    digest = keyed(b"alice", password)
    assert holds(memory, digest)
    memory.clock.advance(60)
    told(memory.log_in(b"bob"))
    assert not holds(memory, digest)


def test_a_check_from_before_a_change_is_not_for_those_who_come_after() -> None:
    memory = Memory()
    before = told(memory.log_in())
    memory.stamp = 1
    after = told(memory.log_in())
    assert len(memory.waits) == 2
    memory.waits[0].callback(b"alice")
    assert (before, after) == ([b"alice"], [])
    memory.waits[1].errback(UnauthorizedLogin())
    assert after[0].check(UnauthorizedLogin)
    assert not memory.is_remembered()


def test_it_remembers_so_many_and_the_latest() -> None:
    memory = Memory(size=2)
    for name in (b"a", b"b", b"c"):
        memory.log_in(name)
        memory.waits.pop().callback(name)
        memory.clock.advance(1)
    assert memory.is_remembered(b"b")
    assert memory.is_remembered(b"c")
    assert not memory.is_remembered(b"a")


def test_only_the_last_one_who_leaves_takes_the_check_along() -> None:
    memory = Memory()
    first, second, other = memory.log_in(), memory.log_in(), told(memory.log_in(client=OTHER))
    outcomes = [told(first), told(second)]
    first.cancel()
    assert memory.cancelled == 0
    second.cancel()
    assert memory.cancelled == 1
    assert all(outcome[0].check(CancelledError) for outcome in outcomes)
    assert other == []  # another client's check goes on
    give(memory.waits[1], b"alice")
    assert other == [b"alice"]


def test_one_may_leave_while_the_others_are_told() -> None:
    memory = Memory()
    first, second = memory.log_in(), memory.log_in()
    outcome = told(second)
    first.addCallback(lambda _: second.cancel())
    memory.waits[0].callback(b"alice")
    assert outcome[0].check(CancelledError)
    assert memory.cancelled == 0


@RIGHT_OR_WRONG
def test_equal_logins_of_two_clients_wait_apart_and_hear_the_first_verdict(verdict: Any) -> None:
    """Whoever shares a password with a bully does not wait in the bully's queue."""
    memory = Memory()
    outcomes = [told(memory.log_in(client=client)) for client in (CLIENT, OTHER, OTHER)]
    assert len(memory.waits) == 2
    give(memory.waits[1], verdict)
    assert [is_like(outcome, verdict) for outcome in outcomes] == [True] * 3
    assert memory.cancelled == 1  # the other check need not be done
    assert memory.is_remembered() is (verdict == b"alice")


@pytest.mark.parametrize("end", [LoginNotJudged(), CancelledError(), RuntimeError()])
def test_what_ends_the_check_of_one_client_is_not_the_others_affair(end: Exception) -> None:
    """A ban, a queue that is full, or a fault."""
    memory = Memory()
    one, other = told(memory.log_in()), told(memory.log_in(client=OTHER))
    give(memory.waits[0], end)
    assert is_like(one, end)
    assert other == []
    give(memory.waits[1], b"alice")
    assert other == [b"alice"]


def give(wait: Deferred[Any], end: Any) -> None:
    wait.errback(end) if isinstance(end, Exception) else wait.callback(end)


def is_like(outcome: list[Any], end: Any) -> bool:
    """Whether this is what was given."""
    [given] = outcome
    return given == end or given.check(type(end)) is not None


def test_a_judge_that_does_not_block_answers_at_once() -> None:
    def judge(name: bytes, password: bytes) -> bytes:
        if password != b"right":
            raise UnauthorizedLogin
        return name

    for checker in (Direct(judge), Remembered(Direct(judge))):
        assert verifyObject(ICredentialsChecker, checker)
        assert told(checker.requestAvatarId(UsernamePassword(b"a", b"right"))) == [b"a"]
        given = outcome_of(checker.requestAvatarId(UsernamePassword(b"a", b"wrong")))
        assert given.check(UnauthorizedLogin)


@pytest.mark.parametrize("is_right", [True, False])
def test_no_password_outlives_its_check(is_right: bool, pools: list[Pool]) -> None:
    def judge(name: bytes, password: bytes) -> bytes:
        if not is_right:
            raise UnauthorizedLogin
        return name

    password = random.randbytes(20)
    checker = Remembered(Threaded(judge, Work(Reactor)))
    outcome = told(checker.requestAvatarId(UsernamePassword(b"alice", password)))
    assert holds([checker, pools], password)  # until the thread takes it
    pools[0].run()
    assert outcome
    assert not holds([checker, pools], password)
