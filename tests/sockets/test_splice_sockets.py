"""What only sockets joined directly do: pipes, their pool, and the shared buffer.

A poller of the test's own is served by hand: nothing happens but in :meth:`Wired.serve`. What every relay
must do is in ``test_relay_sockets.py``.
"""

import errno
import fcntl
import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from zope.interface.verify import verifyObject

from socks5.deadlines import IdleTimers
from socks5.net import poller as poll
from socks5.relay import metered_sockets, pipes
from socks5.relay import sockets as splice
from socks5.relay.joining import join
from socks5.relay.pipes import PIPE_SIZE, SWEEP_INTERVAL, PipePool
from socks5.relay.sockets import BULK, SMALL_TURNS
from socks5.relay.transports import TransportSide
from socks5.settings import Settings
from socks5.streams import IStreamReceiver
from tests.sockets.wired import LINGER, NUMBERED, Watching, Wired
from tests.sockets.wires import Unwatched, descriptors, raising, turn
from tests.support.failures import Failures
from tests.support.limited import Meter
from tests.support.reactor import FakeReactor
from tests.support.sessions import Ends
from tests.support.transports import fake_stream

needs_splice = pytest.mark.skipif(not hasattr(os, "splice"), reason="no os.splice")
pytestmark = pytest.mark.skipif(not hasattr(__import__("select"), "epoll"), reason="no epoll")


@pytest_twisted.async_fixture
async def reactor() -> Unwatched:
    await turn()  # Twisted's own reactor has opened what it needs
    return Unwatched()


@pytest.fixture(params=[False, True], ids=["unmetered", "metered"])
def wire(request: pytest.FixtureRequest, reactor: Unwatched) -> Iterator[Callable[..., Wired]]:
    """Joins two programs; all that it joins have one poller and one pool. At the end nothing is left.

    The same holds under limits that are not reached.
    """
    before = descriptors()
    poller = Watching(reactor)
    made: list[Wired] = []

    def wire(window: int | None = None, start: bool = True, odd: Any = None) -> Wired:
        meter = Meter(room=PIPE_SIZE) if request.param else None
        made.append(Wired(reactor, poller, window, odd, meter))
        return made[-1].start() if start else made[-1]

    yield wire
    for each in made:
        each.finish()
    reactor.pump([LINGER / 4, *[SWEEP_INTERVAL] * 3])
    assert reactor.getDelayedCalls() == []
    assert poller.owned == set()
    assert poller.pool.lent == {}
    poller.close()
    assert descriptors() <= before


# ---------------------------------------------------------------- the path


def test_sockets_are_joined_directly(wire: Any) -> None:
    wired = wire()
    assert isinstance(wired.up, splice.SocketSide)
    assert verifyObject(IStreamReceiver, wired.up)
    wired.client.send(b"request")
    wired.serve()
    assert wired.target.value() == b"request"
    assert wired.up.dataReceived(b"never") is None
    assert wired.up.readConnectionLost() is None


def test_a_small_exchange_takes_one_read_each(wire: Any) -> None:
    """No read only to find out that there is no more; the very first may need one, for nobody knows
    whether the end came with it.
    """
    wired = wire(start=False, odd={})
    wired.target.send(b"before")
    wired.serve_before_start()
    wired.start()
    for reads in (2, 3, 4):
        assert wired.far.socket.reads == reads
        wired.target.send(b"answer")
        wired.serve()


# ---------------------------------------------------------------- pipes


def push(wired: Wired, script: str) -> bytes:
    """The target sends that, in pieces; the last octet of one with a ``!`` is urgent, a ``.`` is the end."""
    for piece in script.split():
        if piece == ".":
            wired.target.end()
        elif piece.endswith("!"):
            wired.target.urge(piece[:-1].encode())
        else:
            wired.target.send(piece.encode())
    return script.replace("!", "").replace(".", "").replace(" ", "").encode()


@needs_splice
@pytest.mark.parametrize(
    "script",
    ["abc .", "a! bcd", "abc!", "abc! .", "abc! def .", "a! b! c! .", "abc d! ef g! hi"],
)
@pytest.mark.parametrize("when", ["before bulk", "behind bulk", "served one by one"])
def test_an_urgent_octet_does_not_stop_what_is_spliced(wire: Any, script: str, when: str) -> None:
    """splice(2) does not pass it: it says that there is nothing more or, with an end behind it, that
    everything was read.
    """
    wired = wire()
    if when != "before bulk":
        wired.flood()
        wired.clear()
        assert wired.pipe is not None
    before = len(wired.client.octets)
    sent = b""
    for part in script.split() if when == "served one by one" else [script]:
        sent += push(wired, part)
        wired.serve()
    wired.serve(6)
    assert wired.client.value()[before:] == sent
    assert wired.client.sees == ("end" if script.endswith(".") else "")
    if not script.endswith("."):
        wired.flood()
        assert wired.pipe is not None


@needs_splice
def test_small_reads_give_the_pipe_back(wire: Any) -> None:
    wired = wire()
    wired.flood()
    wired.clear()
    for _ in range(SMALL_TURNS + 2):
        assert wired.pipe is not None or _ > SMALL_TURNS // 2
        wired.target.send(b"small")
        wired.serve()
        wired.client.value()
    assert wired.pipe is None
    wired.target.send(b"copied")
    wired.serve()
    assert wired.client.value().endswith(b"copied")


@needs_splice
def test_a_silent_direction_gives_its_pipe_back_and_pipes_are_closed(
    wire: Any, reactor: Unwatched
) -> None:
    wired = wire()
    before = descriptors()
    wired.flood()
    wired.clear()
    assert len(descriptors() - before) == 2
    reactor.advance(SWEEP_INTERVAL)
    assert wired.pipe is not None
    reactor.advance(SWEEP_INTERVAL)
    assert wired.pipe is None
    assert descriptors() <= before
    assert reactor.getDelayedCalls() == []
    wired.flood()
    assert wired.pipe is not None


@needs_splice
def test_bulk_goes_through_a_pipe_that_is_used_again_and_small_reads_do_not(wire: Any) -> None:
    first, second = wire(), wire()
    first.client.send(b"request")
    first.flood()
    assert first.relay.bytes_down == BULK * 8
    second.flood()
    assert list(first.poller.pool.lent) == [first.down, second.down]
    first.clear()
    pipe = first.pipe
    first.finish()
    third = wire()
    third.flood()
    assert third.pipe is pipe


@needs_splice
def test_octets_in_a_pipe_outlast_sweeps_until_pipes_are_short_and_go_to_who_moves_bulk(
    wire: Any, reactor: Unwatched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the reader stalls; and then none of its octets is lost."""
    monkeypatch.setattr(pipes, "PIPES", 2)
    stalled, busy, other = wire(window=1 << 18), wire(), wire()
    stalled.flood()
    stalled.clear()
    sent = stalled.stuff(stalled.target, len(NUMBERED))
    for _ in range(5):
        assert stalled.pipe.octets == stalled.down.held > 0
        reactor.advance(SWEEP_INTERVAL)
    busy.flood()
    reactor.advance(SWEEP_INTERVAL)
    busy.flood()
    other.flood()
    assert other.pipe is None
    held = stalled.down.held
    reactor.advance(SWEEP_INTERVAL)
    assert stalled.pipe is None
    assert len(stalled.down.waiting) == stalled.down.held == held
    assert busy.pipe is not None
    other.flood()
    assert other.pipe is not None
    while stalled.client.count < sent:
        stalled.serve(1)
    assert stalled.client.value() == NUMBERED[:sent]


@needs_splice
def test_a_pipe_with_octets_in_it_is_not_used_again(wire: Any) -> None:
    """Its receiver has sent something and reset the connection: that is heard to the end."""
    wired, other = wire(window=1 << 18), wire()
    wired.flood()
    wired.stuff(wired.target, PIPE_SIZE * 4)
    pipe = wired.pipe
    assert pipe.octets > 0
    wired.client.send(b"enough")
    wired.client.reset()
    wired.settle()
    assert (wired.target.value(), wired.target.sees) == (b"enough", "reset")
    assert wired.done == ["reset by client"]
    other.flood()
    assert other.pipe not in (pipe, None)


@needs_splice
@pytest.mark.parametrize(
    ("module", "name", "number"),
    [
        *((os, "splice", each) for each in (errno.EINVAL, errno.ENOSYS, errno.EPERM)),
        (os, "pipe2", errno.EMFILE),
        (fcntl, "fcntl", errno.EPERM),  # a small budget for pipes: one serves that is small
    ],
)
def test_a_system_that_does_not_splice_goes_unnoticed(
    wire: Any, module: Any, name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wired = wire()
    monkeypatch.setattr(module, name, raising(OSError(number, "no")))
    wired.flood()
    assert (wired.pipe is None, wired.done) == (module is os, [])
    assert wired.poller.pool.is_unavailable is (name == "splice")


def test_a_python_without_splice_goes_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "splice", raising=False)
    assert PipePool(Unwatched()).is_unavailable


@pytest.mark.parametrize("has_pipes", [True, False])
def test_bulk_of_many_takes_turns(
    wire: Any, monkeypatch: pytest.MonkeyPatch, has_pipes: bool
) -> None:
    """In one batch each moves some, no more than others can wait for, and the rest comes in later ones."""
    wired = [wire() for _ in range(3)]
    wired[0].poller.pool.is_unavailable = not has_pipes
    for each in wired:
        each.flood()
        each.clear()
        assert (each.pipe is not None) == has_pipes
    monkeypatch.setattr(poll, "ALLOWANCE", 1)
    monkeypatch.setattr(splice, "PIPE_SIZE", splice.BULKY)
    monkeypatch.setattr(metered_sockets, "PIPE_SIZE", splice.BULKY)
    before = [each.relay.bytes_down for each in wired]
    data = bytes(2 * splice.BULKY)
    for each in wired:
        each.target.send(data)
    moved: list[int] = []
    for _ in range(20):
        wired[0].serve(1)
        moved.append(sum(each.relay.bytes_down for each in wired) - sum(before) - sum(moved))
    if has_pipes:  # else each may read all of it at once
        assert max(moved) <= 3 * splice.BULKY
    assert [each.relay.bytes_down for each in wired] == [each + len(data) for each in before]
    assert [len(each.client.value()) for each in wired] == [len(data)] * 3


@pytest.mark.parametrize("first", [b"", b"first "])
def test_a_kernel_that_takes_nothing_is_asked_again(wire: Any, first: bytes) -> None:
    wired = wire(start=False, odd={"send": raising(BlockingIOError())}).start(first)
    wired.client.send(b"request")
    wired.serve()
    assert wired.up.held == len(first or b"request")
    del wired.far.socket.send
    wired.poller.again(wired.far.fd)
    wired.serve()
    assert wired.target.value() == first + b"request"


# ---------------------------------------------------------------- ends and resets


def while_more_is_on_its_way(wired: Wired) -> None:
    wired.start()
    wired.client.send(b"an upload")
    answer_and_reset(wired)


def before_anything_is_read(wired: Wired) -> None:
    answer_and_reset(wired)
    wired.start(b"first", True)


def before_it_has_begun(wired: Wired) -> None:
    wired.target.send(b"too large")
    wired.serve_before_start()
    wired.target.reset()
    wired.start()


def when_an_end_is_due(wired: Wired) -> None:
    wired.start()
    answer_and_reset(wired)
    wired.client.end()
    wired.up.ready(poll.READABLE | poll.HUNG_UP & ~poll.FAILED)


def answer_and_reset(wired: Wired) -> None:
    wired.target.send(b"too large")
    wired.target.reset()


@pytest.mark.parametrize(
    "when",
    [while_more_is_on_its_way, before_anything_is_read, before_it_has_begun, when_an_end_is_due],
)
def test_a_receiver_that_resets_is_heard_to_the_end(
    wire: Any, when: Callable[[Wired], None]
) -> None:
    """Although our sending fails before we have read the answer."""
    wired = wire(start=False)
    when(wired)
    wired.settle()
    assert (wired.client.value(), wired.client.sees) == (b"too large", "reset")
    assert wired.done == ["reset by target"]


def test_one_that_cannot_be_sent_to_is_a_reset(wire: Any) -> None:
    """Any error of a socket's ends it, even one that leaves it open."""
    wired = wire(odd={"send": raising(OSError(errno.ENOBUFS, "no"))})
    wired.client.send(b"request")
    wired.settle()
    assert wired.done == ["reset by target"]
    assert wired.client.sees_now() == "reset"


def test_octets_that_wait_for_the_kernel_when_the_relay_begins_go_first(wire: Any) -> None:
    """Then it is the transport of its streams, and closes when all has been taken; or at once."""
    wired = wire(window=1 << 15, start=False)
    wired.near.write(NUMBERED[: 1 << 18])
    wired.start()
    assert wired.up.transport is wired.up
    wired.up.loseConnection()
    assert not wired.up.is_lost
    while not wired.client.sees_now():
        wired.settle()
    assert wired.client.value() == NUMBERED[: 1 << 18]
    other = wire()
    other.up.abortConnection()
    other.settle()
    assert (other.client.sees_now(), other.target.sees_now()) == ("reset", "reset")
    other.up.lose()
    other.up.loseConnection()
    other.up.abortConnection()


def test_who_was_reset_just_now_has_no_address(wire: Any) -> None:
    wired = wire()
    assert str(wired.relay.far) == f"127.0.0.1:{wired.target.socket.getsockname()[1]}"
    assert wired.up.getHost().port == wired.client.socket.getpeername()[1]
    wired.target.reset()
    assert wired.relay.far is None


def test_sockets_of_the_past_are_not_touched(wire: Any) -> None:
    """Their descriptors may be others' by then."""
    wired = wire(window=1 << 16)
    wired.stuff(wired.target, 1 << 22)
    fd = wired.far.fd
    wired.target.reset()
    wired.serve()
    wired.down.abort()
    assert wired.down.fd == -1
    assert fd >= 0
    wired.down.fail()
    assert not wired.down.is_failed
    while not wired.client.sees_now():
        wired.settle()
    assert wired.done == ["reset by target"]


# ---------------------------------------------------------------- bugs, and what is left


def test_a_bug_ends_one_relay_and_is_logged(wire: Any, failures: Failures) -> None:
    wired, other = wire(odd={"recv_into": raising(RuntimeError("a bug"))}), wire()
    wired.target.send(b"answer")
    wired.settle()
    assert failures.take(RuntimeError) == ["a bug"]
    assert wired.client.sees_now() == "reset"
    assert wired.done == ["reset by target"]
    assert other.done == []


def close_in_order(wired: Wired) -> None:
    wired.client.end()
    wired.serve()
    wired.target.close()


def give_up(wired: Wired) -> None:
    wired.client.end()
    wired.serve()
    wired.reactor.pump([LINGER / 4] * 5)


@pytest.mark.parametrize(
    "end",
    [
        close_in_order,
        lambda wired: wired.client.reset(),
        lambda wired: wired.relay.stop("shutdown"),
        give_up,
    ],
    ids=["in order", "reset", "stopped", "given up"],
)
@pytest.mark.parametrize("octets", [0, BULK * 4])
def test_a_relay_leaves_no_circle_to_the_collector(
    reactor: Unwatched, end: Callable[[Wired], None], octets: int
) -> None:
    gc.collect()  # what earlier tests have left
    poller = Watching(reactor)

    def session() -> None:
        wired = Wired(reactor, poller)
        wired.start(b"first")
        wired.flood(octets)
        end(wired)
        wired.settle()
        assert len(wired.done) == 1
        wired.client.close()
        wired.target.close()

    session()  # makes what stays
    reactor.pump([SWEEP_INTERVAL] * 3)
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            session()
        reactor.pump([SWEEP_INTERVAL] * 3)
        assert gc.collect() == 0
    finally:
        gc.enable()
    poller.close()


def test_streams_that_are_not_ours_are_joined_by_transports() -> None:
    fake = FakeReactor()
    near, far = fake_stream(fake)[0], fake_stream(fake)[0]
    join(IdleTimers(fake), Settings(), near, far, Ends()).start()
    assert isinstance(near.receiver, TransportSide)
