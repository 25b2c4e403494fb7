"""Shares of work: who has used up theirs waits until others were served, and comes again in turn."""

import gc
from typing import Any
from weakref import ref

import pytest
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from socks5.net import datagram_turns as turns
from socks5.net.datagram_turns import SHARE, Share, Turns, turns_of
from tests.support.failures import Failures
from tests.support.reactor import SteppedClock

CLIENT, OTHER = "198.51.100.7", "198.51.100.8"


class Socket:
    """Something that has *work* to do, and does it in pieces of *size*, which it notes in *done*."""

    def __init__(self, name: str, share: Share, work: int, done: list[str], size: int = 1) -> None:
        self._name = name
        self._share = share
        self._work = work
        self._size = size
        self._done = done

    def ready(self, events: int) -> None:
        while self._work:
            if self._share.left <= 0:
                self._share.wait(self)
                return
            self._share.left -= self._size
            self._work -= 1
            self._done.append(self._name)

    def crashed(self, failure: Failure) -> None:
        failure.raiseException()


@pytest.fixture
def reactor(monkeypatch: pytest.MonkeyPatch) -> SteppedClock:
    monkeypatch.setattr(turns, "SHARE", 3)
    monkeypatch.setattr(turns, "ROUND", 6)
    return SteppedClock()


def turn(reactor: SteppedClock, done: list[str]) -> str:
    """What is done in one turn of the reactor."""
    done.clear()
    reactor.turn()
    return "".join(done)


def test_a_client_stops_at_its_share_and_goes_on_when_others_were_served(
    reactor: SteppedClock,
) -> None:
    done: list[str] = []
    share = Turns(reactor).share_of(CLIENT)
    Socket("a", share, 8, done).ready(0)
    assert done == ["a"] * 3
    assert [turn(reactor, done) for _ in range(3)] == ["aaa", "aa", ""]
    assert reactor.getDelayedCalls() == []


def test_sockets_of_a_client_share_and_take_turns(reactor: SteppedClock) -> None:
    done: list[str] = []
    share = Turns(reactor).share_of(CLIENT)
    for name in "abc":
        Socket(name, share, 5, done).ready(0)
    assert done == ["a"] * 3
    assert [turn(reactor, done) for _ in range(4)] == ["aab", "ccc", "bbb", "ccb"]


def test_who_took_too_much_begins_with_a_debt(reactor: SteppedClock) -> None:
    done: list[str] = []
    share = Turns(reactor).share_of(CLIENT)
    Socket("a", share, 2, done, size=10).ready(0)
    assert [turn(reactor, done) for _ in range(4)] == ["", "", "a", ""]


def test_clients_have_a_share_each_and_a_round_its_bound(reactor: SteppedClock) -> None:
    done: list[str] = []
    queue = Turns(reactor)
    hosts = [f"198.51.100.{number}" for number in range(3)]
    shares = [queue.share_of(host) for host in hosts]
    for name, share in zip("abc", shares, strict=True):
        Socket(name, share, 9, done).ready(0)
    assert done == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    # Two are served in a round; the third is the next one's first.
    assert [turn(reactor, done) for _ in range(3)] == ["aaabbb", "cccaaa", "bbbccc"]


def test_what_is_gone_waits_no_more(reactor: SteppedClock) -> None:
    done: list[str] = []
    share = Turns(reactor).share_of(CLIENT)
    sockets = [Socket(name, share, 4, done) for name in "ab"]
    for each in sockets:
        each.ready(0)
    share.forget(sockets[0])
    share.forget(sockets[0])
    assert turn(reactor, done) == "bbb"


@pytest.mark.parametrize("fails_again", [False, True])
def test_a_bug_of_one_is_not_the_others(
    fails_again: bool, reactor: SteppedClock, failures: Failures
) -> None:
    class Broken(Socket):
        def ready(self, events: int) -> None:
            raise ZeroDivisionError("a bug")

        def crashed(self, failure: Failure) -> None:
            done.append("!")
            if fails_again:
                failure.raiseException()

    done: list[str] = []
    queue = Turns(reactor)
    shares = [queue.share_of(each) for each in (CLIENT, CLIENT, OTHER)]
    kinds = (Broken, Socket, Socket)
    for kind, name, share in zip(kinds, "abc", shares, strict=True):
        share.left = 0
        share.wait(kind(name, share, 1, done))
    assert turn(reactor, done) == "!bc"
    assert not fails_again or failures.take(ZeroDivisionError) == ["a bug"]


def test_one_subscriber_has_one_share_as_long_as_it_uses_it() -> None:
    queue = Turns(Clock())
    share: Any = queue.share_of("2001:db8::1")
    assert queue.share_of("2001:db8::2:1") is share
    assert queue.share_of("2001:db8:0:1::1") is not share
    assert queue.share_of(CLIENT) is not queue.share_of(OTHER)
    share.left = 1
    gone = ref(share)
    del share
    gc.collect()
    assert gone() is None
    assert queue.share_of("2001:db8::1").left == SHARE


def test_a_reactor_has_one_queue_which_does_not_keep_it() -> None:
    class Wrapper:
        def __init__(self, reactor: Clock) -> None:
            self.wrapped = reactor

    clock = Clock()
    assert turns_of(clock) is turns_of(Wrapper(clock))
    assert turns_of(clock) is not turns_of(Clock())
    gone = ref(clock)
    del clock
    gc.collect()
    assert gone() is None
