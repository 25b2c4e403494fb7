"""A relay under limits on plain sockets: how much is received and spliced at a time, and what passes who is held.

What every relay must do is in ``test_relay_sockets.py``, what pipes must in ``test_splice_sockets.py``.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted

from socks5.policy.buckets import LEAST_BURST
from socks5.policy.limit import Limit
from socks5.policy.limits import Limits
from socks5.relay.meter import SMALL
from socks5.relay.pipes import PIPE_SIZE, SWEEP_INTERVAL
from socks5.relay.relay import RESET_DELAYS, RESET_PATIENCE
from socks5.relay.sockets import SMALL_TURNS
from tests.sockets.wired import LINGER, NUMBERED, Watching, Wired
from tests.sockets.wires import Unwatched, descriptors, raising, turn
from tests.support.failures import Failures
from tests.support.limited import Meter, asks

pytestmark = pytest.mark.skipif(not hasattr(__import__("select"), "epoll"), reason="no epoll")
needs_splice = pytest.mark.skipif(not hasattr(__import__("os"), "splice"), reason="no os.splice")


@pytest_twisted.async_fixture
async def reactor() -> Unwatched:
    await turn()  # Twisted's own reactor has opened what it needs
    return Unwatched()


@pytest.fixture
def wire(reactor: Unwatched) -> Iterator[Any]:
    """Joins two programs under a meter, by which everything has to be paid for with a second; nothing is left."""
    before = descriptors()
    poller = Watching(reactor)
    made: list[Wired] = []

    def wire(meter: Any = None, **options: Any) -> Wired:
        start = options.pop("start", True)
        meter = Meter(1.0, PIPE_SIZE) if meter is None else meter
        made.append(Wired(reactor, poller, meter=meter, **options))
        made[-1].meter = meter
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


def wait(wired: Wired, seconds: float = 1.0) -> None:
    wired.serve()
    wired.reactor.advance(seconds)
    wired.serve()


# ---------------------------------------------------------------- how much at a time


def test_who_has_to_pay_is_not_read_until_it_has_paid(wire: Any) -> None:
    wired = wire(Meter(1.0, 10_000))
    data = NUMBERED[:34_096]
    wired.client.send(data)
    wired.target.send(b"answer")
    arrived = [wired.target.count]
    for _ in range(5):
        wired.serve()
        arrived.append(wired.target.count)
        wired.reactor.advance(0.9)
        wired.serve()
        assert wired.target.count == arrived[-1]
        wired.reactor.advance(0.1)
    assert arrived == [0, 4_096, 14_096, 24_096, 34_096, 34_096]
    assert wired.target.value() == data
    assert wired.client.value() == b"answer"
    wired.client.send(b"small")
    wait(wired)
    assert wired.target.value() == data + b"small"
    assert wired.meter.up == len(data)


def test_a_small_message_costs_one_read_and_no_question(wire: Any) -> None:
    wired = wire(Meter(0.0, 0), start=False, odd={})  # with no room it could not be received
    wired.start()
    for reads in (1, 2, 3):
        wired.target.send(b"small")
        wired.serve()
        assert wired.far.socket.reads == reads
    assert wired.client.value() == b"small" * 3
    assert wired.meter.down == 0


def test_an_end_behind_a_small_message_is_seen(wire: Any) -> None:
    wired = wire()
    wired.client.send(b"small")
    wired.client.end()
    wired.serve()
    assert (wired.target.value(), wired.target.sees_now()) == (b"small", "end")


@needs_splice
def test_what_is_spliced_is_paid_for_too(wire: Any) -> None:
    meter = Meter(0.0, PIPE_SIZE)
    wired = wire(meter)
    wired.flood()
    wired.clear()
    assert wired.pipe is not None
    assert meter.down == wired.relay.bytes_down
    meter.wait, meter.least = 1.0, 100_000
    before = wired.relay.bytes_down
    wired.stuff(wired.target, 1 << 20)
    wired.serve()
    assert wired.relay.bytes_down - before <= 100_000
    assert wired.pipe is not None
    while wired.relay.bytes_down - before < 1 << 19:
        moved = wired.relay.bytes_down
        wired.client.look()
        wait(wired)
        assert 0 < wired.relay.bytes_down - moved <= 100_000


@needs_splice
def test_pipes_are_given_back_for_want_of_room(wire: Any) -> None:
    meter = Meter(0.0, PIPE_SIZE)
    wired = wire(meter)
    wired.flood()
    wired.clear()
    meter.wait, meter.least = 1.0, SMALL
    wired.target.push(bytes(1 << 19))
    for _ in range(SMALL_TURNS + 2):
        wait(wired)
    assert wired.pipe is None


def test_a_limit_in_truth(wire: Any, reactor: Unwatched) -> None:
    limits = Limits([Limit("slow", down=1e6)], server=["slow"], clock=reactor)
    lease = limits.enter(asks())
    wired = wire(lease)
    sent = 0
    for _ in range(400):
        with suppress(BlockingIOError):
            sent += wired.target.socket.send(bytes(1 << 16))
        wired.serve(2)
        wired.client.look()
        reactor.advance(0.005)
    assert wired.relay.bytes_down == pytest.approx(2e6 + LEAST_BURST, rel=0.05)
    assert lease.slowed == pytest.approx(2.0, rel=0.1)


# ---------------------------------------------------------------- what passes who is held


def hold(wired: Wired) -> None:
    """The client has to pay."""
    wired.client.send(bytes(SMALL))
    wired.serve()


def test_an_end_with_nothing_before_it_passes(wire: Any) -> None:
    wired = wire()
    hold(wired)
    wired.client.end()
    wired.serve()
    assert wired.target.sees_now() == "end"
    wired.target.end()
    wired.serve()
    assert wired.done == ["target closed"]


def test_an_end_waits_behind_octets_as_they_do(wire: Any) -> None:
    wired = wire()
    hold(wired)
    wired.client.send(b"behind")
    wired.client.end()
    wired.serve()
    assert wired.target.sees_now() == ""
    wait(wired)
    assert wired.target.sees_now() == "end"
    assert wired.target.value() == bytes(SMALL) + b"behind"


def test_a_reset_waits_behind_octets_for_a_while(wire: Any) -> None:
    wired = wire()
    hold(wired)
    wired.client.send(b"behind")
    wired.client.reset()
    wired.serve()
    assert wired.done == []
    wait(wired)
    wired.settle()
    assert (wired.target.value(), wired.target.sees) == (bytes(SMALL) + b"behind", "reset")
    assert wired.done == ["reset by client"]


def test_a_reset_does_not_wait_for_ever(wire: Any) -> None:
    wired = wire(Meter(1000.0, PIPE_SIZE))
    hold(wired)
    wired.client.send(b"behind")
    wired.client.reset()
    wired.serve()
    for _ in range(5):
        wait(wired, RESET_PATIENCE / 4)
    wired.settle()
    assert wired.done == ["reset by client"]
    assert wired.target.sees_now() == "reset"


def test_a_reset_of_the_other_side_passes(wire: Any) -> None:
    wired = wire()
    hold(wired)
    wired.client.send(b"behind")
    wired.target.reset()
    wired.serve()
    wired.settle()
    assert wired.done == ["reset by target"]


def test_one_that_cannot_be_sent_to_is_heard_to_the_end(wire: Any) -> None:
    """Although it is held."""
    wired = wire(odd={"send": raising(BrokenPipeError())})
    wired.target.send(bytes(SMALL))
    wired.serve()
    wired.target.send(b"behind")
    wired.client.send(b"request")
    wired.serve()
    assert wired.done == []
    wait(wired)
    assert wired.client.value() == bytes(SMALL) + b"behind"
    wired.reactor.pump(RESET_DELAYS)  # the system may say late that it got there
    assert wired.done == ["reset by target"]


@pytest.mark.parametrize(
    ("error", "done"),
    [(BlockingIOError(), []), (ConnectionResetError(), ["reset by target"])],
)
def test_a_look_for_an_end_may_find_something_else(wire: Any, error: Any, done: Any) -> None:
    wired = wire(odd={})
    wired.target.send(bytes(SMALL))
    wired.serve()
    wired.down.socket.recv = raising(error)
    wired.target.send(b"behind")
    wired.target.end()
    wired.serve()
    wired.settle()
    assert wired.done == done


def test_stopping_does_not_wait_for_who_is_held(wire: Any) -> None:
    wired = wire()
    hold(wired)
    wired.relay.stop("shutdown")
    wired.serve()
    assert wired.done == ["shutdown"]
    assert wired.target.value() == bytes(SMALL)


def test_who_is_stalled_and_held_goes_on_when_it_is_neither(wire: Any) -> None:
    wired = wire(Meter(5.0, PIPE_SIZE), window=1 << 13)
    sent = wired.stuff(wired.client, 1 << 19)
    assert wired.up.is_blocked or wired.up.gate.is_held
    while wired.target.count < sent:
        wired.serve(1)
        wired.reactor.advance(0.5)
    assert wired.target.value() == NUMBERED[:sent]


def test_a_bug_ends_one_relay(wire: Any, failures: Failures) -> None:
    wired, other = wire(odd={}), wire()
    wired.target.send(bytes(SMALL))
    hold(other)
    wired.serve()
    wired.target.send(b"behind")
    other.client.send(b"behind")
    wired.serve()
    wired.down.socket.recv_into = raising(ValueError("a bug"))
    wait(wired)
    assert failures.take(ValueError) == ["a bug"]
    wired.settle()
    assert len(wired.done) == 1
    assert other.target.value() == bytes(SMALL) + b"behind"


def test_a_kernel_that_takes_nothing_of_much_is_asked_again(wire: Any) -> None:
    wired = wire(odd={"send": raising(BlockingIOError())})
    wired.client.send(NUMBERED[: 2 * SMALL])
    wired.serve()
    assert wired.up.held == SMALL
    del wired.far.socket.send
    wait(wired)
    wired.poller.again(wired.far.fd)
    wired.serve()
    wait(wired)
    assert wired.target.value() == NUMBERED[: 2 * SMALL]


@pytest.mark.parametrize("error", [BlockingIOError(), BrokenPipeError()])
def test_much_may_not_be_taken(wire: Any, error: Exception) -> None:
    meter = Meter(0.0, PIPE_SIZE)
    wired = wire(meter, odd={})
    wired.client.send(NUMBERED[:SMALL])
    wired.serve()
    wired.far.socket.send = raising(error)
    wired.client.send(NUMBERED[:SMALL])
    wired.serve()
    if isinstance(error, BlockingIOError):
        assert wired.up.held == SMALL
        del wired.far.socket.send
    else:
        wired.settle()
        assert wired.done == ["reset by target"]
